//! What goes into the table of hosts and what comes out of it, and its bounds.

use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use crate::curve::router::RoutingIdBytes;
use crate::protocol::grid::Grid;
use crate::protocol::message::GridKind;

/// Most hosts at a time: ten times the largest fleet that one collector is meant for. A
/// host takes some 500 bytes besides its grids.
pub const MAX_HOSTS: usize = 100_000;

/// Most hosts over one connection. An agent reports one, and a new name after its host was
/// renamed; a relay may report a rack. A peer that invents names fills this, not the table.
pub const MAX_HOSTS_PER_CONNECTION: usize = 100;

/// Most bytes of all grids kept, as [`grid_bytes`](super::grid_bytes) counts them: 10,000 hosts with 50 KiB
/// each, and half of what the unit's `MemoryMax=` leaves.
pub const MAX_KEPT_BYTES: usize = 512 * 1024 * 1024;

/// How often hosts are pinged and when they are given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Between two pings to a host.
    pub ping_interval: Duration,
    /// A host that was silent for this long is gone.
    pub host_timeout: Duration,
}

/// What a host reports.
#[derive(Debug)]
pub struct Report<'a> {
    /// The name that it reports under.
    pub host: &'a str,
    /// What the grid holds.
    pub kind: GridKind,
    /// The grid.
    pub grid: Grid,
    /// How many bytes the grid had on the wire.
    pub wire_bytes: usize,
}

/// What a report has led to.
#[derive(Debug)]
pub struct Heard<'a> {
    /// Who came or moved.
    pub change: Option<Change>,
    /// The collector does not know the host's model and has not asked of late: ask now.
    pub ask_model: bool,
    /// The grid, as it is kept.
    pub grid: &'a Grid,
}

/// A host that came or moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It was not in the table.
    Appeared,
    /// It reports over another connection than before.
    Replaced {
        /// Whether to say so, and of how many such changes nothing was said since the
        /// last time: two hosts under one name take it from each other all the time.
        tell: Option<u64>,
    },
}

/// Why a report was not taken. What was there stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Full {
    /// [`MAX_HOSTS`].
    #[error("a new host beyond the {MAX_HOSTS} that there may be")]
    Hosts,
    /// [`MAX_HOSTS_PER_CONNECTION`].
    #[error("a new host beyond the {MAX_HOSTS_PER_CONNECTION} that one connection may report")]
    Connection,
    /// [`MAX_KEPT_BYTES`].
    #[error("a grid beyond the {} MiB that all may take", MAX_KEPT_BYTES / (1024 * 1024))]
    Memory,
}

/// What is to be done for a host whose time has come.
#[derive(Debug)]
pub enum Due {
    /// Send a ping.
    Ping {
        /// To this host.
        name: Arc<str>,
        /// Over this connection.
        to: RoutingIdBytes,
    },
    /// It was silent for too long and is not in the table any more.
    Gone {
        /// Its name.
        name: Arc<str>,
        /// The connection that it reported over.
        routing_id: RoutingIdBytes,
        /// How long nothing was heard.
        silence: Duration,
    },
}
