//! metrics-agent: reports a host's metrics to a collector over CurveZMQ, is
//! supervised by systemd, and is observed and adjusted over D-Bus.
//!
//! The rooms of this library, from the pure to the practical:
//!
//! - [`base`]: text for people, terminals and shells, for all of them;
//! - [`protocol`]: the messages and the agent's session as a pure state machine;
//! - [`curve`]: keys, certificates and the CURVE sockets on libzmq;
//! - [`collectors`]: from the kernel's files to samples;
//! - [`config`]: the settings, their layers and their validation;
//! - [`agent`]: the daemon that owns sessions, timers and samplers;
//! - [`dbus`]: the bus interface, served and called;
//! - [`systemd`]: readiness, watchdog, the journal, credentials;
//! - [`server`]: the other end, `metrics-collector`;
//! - [`top`]: the fleet on a terminal, `metrics-top`;
//! - [`daemon`]: the agent put together;
//! - `bus_socket`: a connection to a message bus that reads no message without bound;
//! - [`durable`]: files that outlast a crash, for all of them;
//! - [`exit`]: how the daemons end.

pub mod agent;
pub mod base;
mod bus_socket;
pub mod collectors;
pub mod config;
pub mod ctl;
pub mod curve;
pub mod daemon;
pub mod dbus;
pub mod durable;
pub mod exit;
pub mod protocol;
pub mod server;
pub mod systemd;
pub mod top;

#[cfg(test)]
#[path = "../tests/integration/private_bus.rs"]
mod private_bus;
