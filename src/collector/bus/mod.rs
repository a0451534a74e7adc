//! The collector on the bus: the object that it serves.
//!
//! `dbus/*.xml` documents it. This room translates between the bus and the collector's public
//! [`Handle`](crate::collector::handle::Handle); it decides nothing about hosts.

mod next_key;
pub mod proxy;
pub(crate) mod server1;
pub mod service;
