//! What is counted: messages, bytes, losses, and when things last happened.
//!
//! Counters only report; no decision depends on them. They start at 0 with the process and never go
//! down. One writer (the connection's task) and any number of readers, so every access is relaxed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::SystemTime;

use crate::base::clock::{boottime_usec, realtime_usec};

/// The totals of one connection, or of the whole agent.
#[derive(Debug, Default)]
pub struct Counters {
    messages_sent: AtomicU64,
    messages_received: AtomicU64,
    bytes_sent: AtomicU64,
    messages_dropped: AtomicU64,
    reconnects: AtomicU64,
    handshake_failures: AtomicU64,
    malformed_messages: AtomicU64,
    last_received: AtomicU64,
    last_heard: AtomicU64,
    last_sent: AtomicU64,
    last_model: AtomicU64,
}

impl Counters {
    /// Messages handed to the transport, both control and grid.
    pub fn messages_sent(&self) -> u64 {
        self.messages_sent.load(Relaxed)
    }

    /// Messages that arrived, understood or not.
    pub fn messages_received(&self) -> u64 {
        self.messages_received.load(Relaxed)
    }

    /// Bytes of all frames of the messages sent, before encryption and framing.
    pub fn bytes_sent(&self) -> u64 {
        self.bytes_sent.load(Relaxed)
    }

    /// Messages that were due and could not be handed to the transport.
    pub fn messages_dropped(&self) -> u64 {
        self.messages_dropped.load(Relaxed)
    }

    /// Connections opened after the first one.
    pub fn reconnects(&self) -> u64 {
        self.reconnects.load(Relaxed)
    }

    /// Connections that the peer dropped before the CURVE handshake was through.
    pub fn handshake_failures(&self) -> u64 {
        self.handshake_failures.load(Relaxed)
    }

    /// Messages that arrived and that the protocol does not know.
    pub fn malformed_messages(&self) -> u64 {
        self.malformed_messages.load(Relaxed)
    }

    /// When a message last arrived: µs since 1970, `CLOCK_REALTIME`; 0: never.
    pub fn last_received(&self) -> u64 {
        self.last_received.load(Relaxed)
    }

    /// The same by a clock that cannot be set, to compute how long ago that was: µs as returned by
    /// [`boottime_usec`]; 0: never.
    pub fn last_heard(&self) -> u64 {
        self.last_heard.load(Relaxed)
    }

    /// When a message was last sent: µs since 1970, `CLOCK_REALTIME`; 0: never.
    pub fn last_sent(&self) -> u64 {
        self.last_sent.load(Relaxed)
    }

    /// When a model message was last sent: µs since 1970, `CLOCK_REALTIME`; 0: never.
    pub fn last_model(&self) -> u64 {
        self.last_model.load(Relaxed)
    }
}

/// Counts into a connection's totals and into the agent's, which outlive it.
#[derive(Debug, Clone)]
pub struct CounterWriter {
    connection: Arc<Counters>,
    agent: Arc<Counters>,
}

impl CounterWriter {
    /// New totals for a connection, counted into `agent` as well.
    pub fn new(agent: Arc<Counters>) -> Self {
        Self {
            connection: Arc::default(),
            agent,
        }
    }

    /// The connection's own totals.
    #[must_use]
    pub fn connection(&self) -> Arc<Counters> {
        Arc::clone(&self.connection)
    }

    fn both(&self, field: impl Fn(&Counters) -> &AtomicU64, by: u64) {
        field(&self.connection).fetch_add(by, Relaxed);
        field(&self.agent).fetch_add(by, Relaxed);
    }

    fn stamp(&self, field: impl Fn(&Counters) -> &AtomicU64) {
        let now = realtime_usec(SystemTime::now());
        field(&self.connection).store(now, Relaxed);
        field(&self.agent).store(now, Relaxed);
    }

    /// A message of this many bytes was handed to the transport.
    pub fn sent(&self, bytes: usize) {
        self.both(|t| &t.messages_sent, 1);
        self.both(|t| &t.bytes_sent, bytes as u64);
        self.stamp(|t| &t.last_sent);
    }

    /// The message just sent was a model.
    pub fn sent_model(&self) {
        self.stamp(|t| &t.last_model);
    }

    /// A message arrived.
    pub fn received(&self) {
        self.both(|t| &t.messages_received, 1);
        self.stamp(|t| &t.last_received);
        let now = boottime_usec();
        self.connection.last_heard.store(now, Relaxed);
        self.agent.last_heard.store(now, Relaxed);
    }

    /// The message that arrived was not understood.
    pub fn malformed(&self) {
        self.both(|t| &t.malformed_messages, 1);
    }

    /// A message was due and could not be sent.
    pub fn dropped(&self) {
        self.both(|t| &t.messages_dropped, 1);
    }

    /// A connection was opened again.
    pub fn reconnected(&self) {
        self.both(|t| &t.reconnects, 1);
    }

    /// The peer dropped the connection before the handshake was through.
    pub fn handshake_failed(&self) {
        self.both(|t| &t.handshake_failures, 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_counts_into_itself_and_the_agent() {
        let agent = Arc::new(Counters::default());
        let first = CounterWriter::new(Arc::clone(&agent));
        let second = CounterWriter::new(Arc::clone(&agent));
        first.sent(10);
        second.sent(5);
        second.dropped();
        assert_eq!(first.connection().messages_sent(), 1);
        assert_eq!(first.connection().bytes_sent(), 10);
        assert_eq!(first.connection().messages_dropped(), 0);
        assert_eq!(agent.messages_sent(), 2);
        assert_eq!(agent.bytes_sent(), 15);
        assert_eq!(agent.messages_dropped(), 1);
        assert_ne!(agent.last_sent(), 0);
        assert_eq!(agent.last_received(), 0);
    }

    #[test]
    fn what_was_heard_has_the_time_of_both_clocks() {
        let counters = CounterWriter::new(Arc::default());
        assert_eq!(counters.connection().last_heard(), 0);
        let (wall, boot) = (realtime_usec(SystemTime::now()), boottime_usec());
        counters.received();
        let heard = counters.connection();
        assert!(heard.last_received() >= wall);
        assert!((boot..=boottime_usec()).contains(&heard.last_heard()));
        assert_eq!(counters.agent.last_heard(), heard.last_heard());
    }
}
