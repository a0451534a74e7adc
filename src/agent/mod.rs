//! The daemon: owns the sessions, timers and samplers, applies settings, publishes
//! its state.
//!
//! - [`run`]: the one loop that owns everything which changes, with [`orders`] and
//!   [`slow`] for what others ask of it;
//! - [`connections`] and [`connection`]: a task per collector, each driving a session;
//! - [`sampler`] and [`ticker`]: one sample per tick for all of them;
//! - [`handle`], [`state`] and [`totals`]: how the rest of the program sees it;
//! - [`events`]: what is logged, in one place;
//! - [`settings`]: what an administrator can set;
//! - [`bus`]: its objects on the message bus;
//! - [`start`]: all of it put together;
//! - [`arguments`]: its command line;
//! - [`alarm`]: the timer that the loop sleeps on;
//! - the pure helpers: [`announce`], [`sentence`], [`summary`], [`status_line`],
//!   [`progress`].
//!
//! Its loop refuses to know D-Bus: [`bus`] is a client of the [`Handle`](handle::Handle).

mod alarm;
mod announce;
pub mod arguments;
pub mod bus;
mod connection;
mod connections;
pub(crate) mod events;
pub mod handle;
mod name_keeper;
mod orders;
mod progress;
mod round;
pub mod run;
mod sampler;
mod sentence;
pub mod settings;
mod slow;
pub mod start;
pub mod state;
mod status_line;
mod summary;
mod ticker;
pub mod totals;
mod written;
