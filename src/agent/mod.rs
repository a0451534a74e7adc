//! The daemon: owns the sessions, timers and samplers, applies settings, publishes
//! its state.
//!
//! - [`run`]: the one loop that owns everything which changes, with [`orders`] and
//!   [`slow`] for what others ask of it;
//! - [`connections`] and [`connection`]: a task per collector, each driving a session;
//! - [`sampler`] and [`ticker`]: one sample per tick for all of them;
//! - [`handle`], [`state`] and [`counters`]: how the rest of the program sees it;
//! - [`events`]: what is logged, in one place;
//! - [`settings`]: what an administrator can set;
//! - [`bus`]: its objects on the message bus;
//! - [`start`]: all of it put together;
//! - [`arguments`]: its command line;
//! - [`alarm`]: the timer that the loop sleeps on;
//! - the pure helpers: [`log_gate`], [`reason_text`], [`status_line`].
//!
//! Its loop refuses to know D-Bus: [`bus`] is a client of the [`Handle`](handle::Handle).

mod alarm;
pub mod arguments;
pub mod bus;
mod connection;
mod connections;
pub mod counters;
pub(crate) mod events;
pub mod handle;
pub mod history;
mod in_force;
mod log_gate;
mod losses;
mod orders;
mod outlet;
mod pending;
mod reason_text;
mod recording;
mod reported_name;
pub mod run;
mod sampler;
pub mod settings;
mod slow;
pub mod start;
pub mod state;
mod status_line;
mod ticker;
