//! What the collector publishes: its state, its counters, and the hosts that appear and go.
//! Other tasks read it without asking the loop.

use std::path::PathBuf;
use std::sync::Arc;

use super::settings::WebHost;
use crate::base::monitor::Lock;
use crate::curve::keys::PublicKey;

/// The collector's state; published again when any of it changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CollectorState {
    /// Whether it works.
    pub phase: Phase,
    /// What agents know it by.
    pub public_key: PublicKey,
    /// Where it listens for agents, as people read it.
    pub endpoint: String,
    /// Where it listens for viewers; empty for nowhere.
    pub viewers_endpoint: String,
    /// Where metrics are scraped; empty for nowhere.
    pub web_endpoint: String,
    /// What the web server answers to besides the names of this host.
    pub web_hosts: Vec<WebHost>,
    /// Where an administrator adds such names.
    pub web_file: PathBuf,
    /// The files that the settings came from, in order.
    pub configuration_files: Vec<PathBuf>,
}

/// Whether the collector works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It hears agents.
    Ready,
    /// It was told to stop.
    Stopping,
}

impl Phase {
    /// The word for it on the bus.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Stopping => "stopping",
        }
    }
}

/// A host that came or went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostChange {
    /// It was not there, and reports now.
    Appeared(Arc<str>),
    /// It was silent for too long.
    Gone(Arc<str>),
}

/// Numbers that change all the time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CountersSnapshot {
    /// The hosts in the table.
    pub hosts: HostCounts,
    /// Keys on record, of agents and of viewers.
    pub keys: u64,
    /// Handshakes that were refused, of agents and of viewers.
    pub shut_out: u64,
    /// The viewers.
    pub viewers: ViewerCounts,
    /// Messages of keys that reported from two machines at the time.
    pub shared: u64,
    /// Messages that were understood.
    pub received: u64,
    /// Messages that were refused.
    pub refused: u64,
    /// Bytes of all messages.
    pub bytes: u64,
    /// Messages that a sink could not take, and metrics that were replaced by later ones.
    pub dropped: u64,
}

/// How many hosts are in each state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostCounts {
    /// Hosts that report.
    pub reporting: u64,
    /// Hosts that are expected.
    pub expected: u64,
    /// Hosts that are gone.
    pub gone: u64,
}

/// What viewers cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ViewerCounts {
    /// Viewers that are connected.
    pub connected: u64,
    /// Messages sent to them.
    pub messages: u64,
    /// Messages that they missed.
    pub lost: u64,
    /// Messages of theirs that were refused.
    pub refused: u64,
}

/// The counters as the loop shares them: those of one moment. It sets them once in a turn, and
/// readers copy only a few words, so the lock is never held for long.
#[derive(Debug, Default)]
pub(super) struct Counters(Lock<CountersSnapshot>);

impl Counters {
    pub(super) fn set(&self, counters: CountersSnapshot) {
        *self.0.lock() = counters;
    }

    pub(super) fn read(&self) -> CountersSnapshot {
        *self.0.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_is_read() {
        let counters = CountersSnapshot {
            hosts: HostCounts {
                reporting: 1,
                expected: 2,
                gone: 3,
            },
            keys: 4,
            shut_out: 5,
            viewers: ViewerCounts {
                connected: 6,
                messages: 11,
                lost: 12,
                refused: 13,
            },
            shared: 14,
            received: 7,
            refused: 8,
            bytes: 9,
            dropped: 10,
        };
        let gauges = Counters::default();
        gauges.set(counters);
        assert_eq!(gauges.read(), counters);
    }
}
