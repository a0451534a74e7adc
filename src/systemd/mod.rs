//! systemd's protocols: readiness, watchdog, the journal, credentials.

pub mod log;
pub mod message_id;
pub mod notify;
pub mod signals;
