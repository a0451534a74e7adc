//! What the table of hosts held at one moment, for readers that take their time.
//!
//! Taking it copies no grid: they are shared. Holding one for long keeps memory that the table
//! has freed.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::collector::schemas::HostGrid;
use crate::curve::keys::PublicKey;
use crate::metrics::LatestMetrics;

/// All hosts at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The hosts, sorted by name.
    pub hosts: Vec<HostSnapshot>,
    /// When it was taken.
    pub taken: SystemTime,
}

/// A host at one moment.
#[derive(Clone, Debug)]
pub struct HostSnapshot {
    /// The name that it reports under: 1 to 255 bytes without control characters.
    pub name: Arc<str>,
    /// Whether the host reports.
    pub presence: Presence,
    /// How long ago it was last heard from.
    pub silence: Duration,
    /// Since when it is in that state.
    pub since: SystemTime,
    /// What was counted since the collector started.
    pub counts: MessageCounts,
    /// When it last reported metrics, since the collector started.
    pub last_metrics: Option<SystemTime>,
    /// The public key that it reports with, where that is known.
    pub key: Option<PublicKey>,
    /// True if the names of its key are those of several hosts, and not of one that was
    /// renamed; None if the key has only this name.
    pub several_hosts: Option<bool>,
    /// The network address that it reports from, without a port.
    pub address: Option<Arc<str>>,
    /// The operating system that a host that is gone reported.
    pub os: Option<Arc<str>>,
    /// Its model; None if it is gone.
    pub model: Option<Arc<HostGrid>>,
    /// Its metrics; empty if it does not report.
    pub metrics: LatestMetrics<HostGrid>,
}

/// What is counted of a host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MessageCounts {
    /// How many messages it has sent.
    pub messages: u64,
    /// How often it came back after it was gone.
    pub comebacks: u64,
    /// How many of its messages came while its key reported from two machines at a time.
    pub shared: u64,
}

/// Whether a host reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Presence {
    /// It reports.
    Reporting,
    /// It reported before this collector was restarted, and has not reported since.
    Expected,
    /// It was silent for too long.
    Gone,
}

impl Presence {
    /// The word for it on the bus and in lists.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reporting => "reporting",
            Self::Expected => "expected",
            Self::Gone => "gone",
        }
    }
}
