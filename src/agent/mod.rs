//! The daemon: owns the sessions, timers and samplers, applies settings, publishes
//! its state.
//!
//! One task owns everything that changes; others reach it through a
//! [`Handle`](handle::Handle).

pub mod handle;
pub mod state;
pub mod totals;
