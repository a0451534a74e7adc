//! systemd's protocols: readiness, watchdog, memory pressure, the journal.

pub mod daemon;
pub mod log;
pub mod message_id;
pub mod notify;
pub mod pressure;
