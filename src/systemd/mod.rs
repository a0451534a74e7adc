//! systemd's protocols: readiness, watchdog, the journal, credentials.

pub mod message_id;
