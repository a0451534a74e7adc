//! metrics-agent: reports a host's metrics to a collector over CurveZMQ, is
//! supervised by systemd, and is observed and adjusted over D-Bus.
//!
//! The rooms of this library, from the pure to the practical:
//!
//! - [`base`]: what several rooms need: text, terminals, files that outlast a crash, exits;
//! - [`protocol`]: the messages and the agent's session as a pure state machine;
//! - [`curve`]: keys, certificates and the CURVE sockets;
//! - [`metrics`]: what a metric is, and the table of those that the agent has;
//! - [`sources`]: from the kernel's files to samples;
//! - [`config`]: the settings, their layers and their validation;
//! - [`agent`]: the daemon that owns sessions, timers and samplers;
//! - [`dbus`]: the bus interface, served and called;
//! - [`systemd`]: readiness, watchdog, the journal, credentials;
//! - [`collector`]: the other end, `metrics-collector`;
//! - [`top`]: the fleet on a terminal, `metrics-top`.

pub mod agent;
pub mod base;
pub mod collector;
pub mod config;
pub mod ctl;
pub mod curve;
pub mod dbus;
pub mod metrics;
pub mod protocol;
pub mod sources;
pub mod systemd;
pub mod top;

#[cfg(test)]
#[path = "../tests/integration/private_bus.rs"]
mod private_bus;
