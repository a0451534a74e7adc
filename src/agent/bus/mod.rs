//! The agent on the bus: the objects that it serves.
//!
//! `dbus/*.xml` documents them. This room translates between the bus and the agent's public
//! [`Handle`](crate::agent::handle::Handle); it decides nothing about metrics.

pub(crate) mod agent1;
mod announce;
pub(crate) mod collector1;
pub(crate) mod connection1;
pub mod service;
#[cfg(test)]
mod tests;
