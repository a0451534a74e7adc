mod cuts;
mod disk;
mod model;
mod rig;
