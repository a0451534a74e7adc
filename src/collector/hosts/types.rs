//! Input and output types of the table of hosts, and its limits.

use std::sync::Arc;
use std::time::{Duration, Instant};

use thiserror::Error;

use super::weight::{OverShare, Weight};
use crate::base::network::Network;
use crate::collector::schemas::HostGrid;
use crate::curve::keys::PublicKey;
use crate::curve::router::RoutingIdBytes;
use crate::protocol::grid::Grid;
use crate::protocol::message::GridKind;

/// Maximum number of known hosts, gone ones included: ten times the largest fleet that one
/// collector is designed for. The oldest gone host of the key with the most hosts makes room,
/// but only for a key with fewer: a key that invents names does not displace the hosts of other
/// keys. A host takes some 500 bytes besides its grids.
pub const MAX_HOSTS: usize = 100_000;

/// Maximum number of hosts on one connection. An agent reports one, and a new name after its
/// host was renamed; a relay may report a rack. A peer that invents names fills this, not the
/// table.
pub const MAX_HOSTS_PER_CONNECTION: usize = 100;

/// Maximum number of hosts of one key, gone ones included: a relay may have a key for all its
/// racks. A key that invents names, over however many connections, fills this, not the table.
pub const MAX_HOSTS_PER_KEY: usize = 1000;

/// Maximum weight of all hosts: 10,000 of them with 50 KiB each. In memory that is half of what
/// the unit's `MemoryMax=` leaves. At `/metrics` it takes some four seconds, of the ten that
/// Prometheus waits by default.
pub const MAX_KEPT: Weight = Weight {
    memory: 512 * 1024 * 1024,
    text: 512 * 1024 * 1024,
};

/// Maximum number of hosts with new keys from one network once the table is three quarters
/// full, so that one machine that makes up keys leaves room for others.
pub const MAX_NEW_HOSTS_OF_NETWORK: usize = MAX_HOSTS / 4;

/// The same for what such hosts take of [`MAX_KEPT`].
pub const MAX_NEW_OF_NETWORK: Weight = Weight {
    memory: MAX_KEPT.memory / 4,
    text: MAX_KEPT.text / 4,
};

/// How often hosts are pinged, when they count as gone, and when they are forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Interval between two pings to a host.
    pub ping_interval: Duration,
    /// A host that was silent for this long is gone.
    pub host_timeout: Duration,
    /// A host that is gone for this long is forgotten.
    pub forget_after: Duration,
}

/// The peer at the other end of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Peer<'a> {
    /// The connection.
    pub routing_id: &'a RoutingIdBytes,
    /// The peer's public key, where it is known.
    pub key: Option<PublicKey>,
    /// Its address, without a port; needed only if [`Hosts::knows`](super::Hosts::knows) is
    /// false for this peer.
    pub address: Option<&'a str>,
    /// Why its key is trusted.
    pub trust: Trust,
}

/// Why the key of a host is trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// It is on the list of agents.
    Listed,
    /// The host's name belongs to it already.
    Pinned,
    /// Not trusted: any peer can make a key.
    New,
}

/// A host that was known before the collector was restarted.
#[derive(Debug)]
pub struct Restored {
    /// Its name.
    pub name: Arc<str>,
    /// The key that it reported with.
    pub key: Option<PublicKey>,
    /// True if the names of its key are those of several hosts, and not of one that was
    /// renamed.
    pub several_hosts: Option<bool>,
    /// Where it reported from.
    pub address: Option<Arc<str>>,
    /// The operating system that it reported, if it is gone.
    pub os: Option<Arc<str>>,
    /// Its model, and how many bytes it had on the wire.
    pub model: Option<(Grid, usize)>,
    /// How long ago it was last heard from.
    pub silence: Duration,
    /// How long it has been gone, if it is.
    pub gone: Option<Duration>,
}

/// What a host reports.
#[derive(Debug)]
pub struct Report<'a> {
    /// The name that it reports under.
    pub host: &'a str,
    /// What the grid holds.
    pub kind: GridKind,
    /// What it says: one grid, or one for each source of the agent. None for a message that only says
    /// that the host is there.
    pub grids: Vec<Arc<HostGrid>>,
    /// How many bytes a grid had on the wire; where it has a schema, that does not matter.
    pub wire_bytes: usize,
}

/// The result of a report.
#[derive(Debug)]
pub struct Ingested {
    /// The host that appeared or moved.
    pub change: Option<Change>,
    /// The collector does not know the host's model and has not asked recently: ask now.
    pub ask_model: bool,
    /// These are the first metrics, and deployed viewers lack the model, which
    /// [waited](super::Host::model_waits) for them.
    pub model_may_go: bool,
    /// The host's name, as it is kept.
    pub name: Arc<str>,
    /// The gone host that had to make room, if any.
    pub forgotten: Option<Forgotten>,
    /// Another machine reports with the same key at this time.
    pub twin: Option<Twin>,
}

/// One key that reports from two machines at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Twin {
    /// The key.
    pub key: PublicKey,
    /// The host that was heard, and that of the other connection; often of one name.
    pub hosts: [Arc<str>; 2],
    /// Where they are.
    pub addresses: [Option<Arc<str>>; 2],
    /// Why they are two machines for sure, where that is known.
    pub proof: Option<Proof>,
    /// True if it should be logged: once an hour.
    pub tell: bool,
}

/// What shows that two machines report, and not one twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Their boots have ids that differ.
    Boots,
    /// Their uptimes differ.
    Uptimes,
}

/// A host that reports under another name now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renamed {
    /// The name that is forgotten.
    pub old: Forgotten,
    /// The name that it reports under.
    pub new: Arc<str>,
    /// The old name reported, or was expected to, until now.
    pub was_there: bool,
}

/// A host that was forgotten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forgotten {
    /// Its name.
    pub name: Arc<str>,
    /// The key that it reported with.
    pub key: Option<PublicKey>,
    /// Where it reported from.
    pub address: Option<Arc<str>>,
    /// When it was last heard from.
    pub last_seen: Instant,
}

/// A host that appeared or moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It did not report before: unknown, gone, or only expected.
    Appeared,
    /// It reports over another connection than before.
    Replaced {
        /// If it should be logged: the number of such changes that were not logged since the
        /// last time. Two hosts with the same name take it from each other all the time.
        tell: Option<u64>,
        /// The key that it had on the connection before, if that was another one.
        key_before: Option<PublicKey>,
    },
}

/// Why a report was refused. The table is unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Full {
    /// [`MAX_HOSTS`].
    #[error("too many hosts (limit {MAX_HOSTS})")]
    Hosts,
    /// [`MAX_HOSTS_PER_CONNECTION`].
    #[error("too many hosts on this connection (limit {MAX_HOSTS_PER_CONNECTION})")]
    Connection,
    /// [`MAX_HOSTS_PER_KEY`].
    #[error("too many hosts of this key (limit {MAX_HOSTS_PER_KEY})")]
    Key(PublicKey),
    /// [`MAX_KEPT`] in memory.
    #[error("all hosts together have too many values (limit {} MiB of memory)", MAX_KEPT.memory / (1024 * 1024))]
    Memory,
    /// [`MAX_KEPT`] at `/metrics`.
    #[error("all hosts together have too many values (limit {} MiB at /metrics)", MAX_KEPT.text / (1024 * 1024))]
    Text,
    /// [`MAX_NEW_HOSTS_OF_NETWORK`].
    #[error(
        "too many hosts of unlisted keys from {0} (limit {MAX_NEW_HOSTS_OF_NETWORK} while three \
         quarters of the host table are taken); `metrics-collector keys allow` lists a key"
    )]
    NetworkHosts(Network),
    /// [`MAX_NEW_OF_NETWORK`] in memory.
    #[error(
        "hosts of unlisted keys from {0} have too many values (limit {mib} MiB while three quarters of \
         the memory for values are taken); `metrics-collector keys allow` lists a key",
        mib = MAX_NEW_OF_NETWORK.memory / (1024 * 1024)
    )]
    NetworkMemory(Network),
    /// [`MAX_NEW_OF_NETWORK`] at `/metrics`.
    #[error(
        "hosts of unlisted keys from {0} have too many values (limit {mib} MiB at /metrics while three \
         quarters of the space there are taken); `metrics-collector keys allow` lists a key",
        mib = MAX_NEW_OF_NETWORK.text / (1024 * 1024)
    )]
    NetworkText(Network),
    /// The share of a key or of a connection.
    #[error(transparent)]
    Share(#[from] OverShare),
}

/// An action that is due for a host.
#[derive(Debug)]
pub enum Due {
    /// Send a ping.
    Ping {
        /// To this host.
        name: Arc<str>,
        /// Over this connection.
        to: RoutingIdBytes,
    },
    /// It was silent for too long: it is gone.
    Gone {
        /// Its name.
        name: Arc<str>,
        /// The connection that it reported over; None for one that was expected only.
        routing_id: Option<RoutingIdBytes>,
        /// How long nothing was heard.
        silence: Duration,
    },
    /// It was gone for so long that it was removed from the table.
    Forgotten(Forgotten),
    /// It reports under another name now, and the old one was removed from the table.
    Renamed(Renamed),
}

/// Why a host is not forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NotForgotten {
    /// No such host.
    #[error("no host of this name is known")]
    Unknown,
    /// It reports, so its next message would add it again.
    #[error("it reports; stop its agent first")]
    Reporting,
}
