//! The collector on the bus: the object that it serves.
//!
//! `dbus/*.xml` documents it. This room translates between the bus and the collector's public
//! [`Handle`](crate::collector::handle::Handle); it decides nothing about hosts.

pub(crate) mod collector1;
mod next_key;
pub mod proxy;
pub mod service;
