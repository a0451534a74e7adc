mod model;
mod rig;
