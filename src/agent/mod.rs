//! The daemon: owns the sessions, timers and samplers.
