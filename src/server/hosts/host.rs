//! What the table knows of one host.

use std::time::Instant;

use crate::curve::router::RoutingIdBytes;
use crate::protocol::grid::Grid;
use crate::protocol::message::GridKind;
use crate::server::complaints::Throttle;

/// What is known of a host.
#[derive(Debug)]
pub struct Host {
    pub(super) routing_id: RoutingIdBytes,
    pub(super) model: Option<Kept>,
    pub(super) metrics: Option<Kept>,
    /// When its model was last asked for.
    pub(super) asked: Option<Instant>,
    pub(super) since: Instant,
    pub(super) last_seen: Instant,
    pub(super) ping_due: Instant,
    pub(super) messages: u64,
    pub(super) replacements: Throttle,
}

#[derive(Debug)]
pub(super) struct Kept {
    pub(super) grid: Grid,
    pub(super) bytes: usize,
}

impl Host {
    /// The connection that it reports over.
    #[must_use]
    pub fn routing_id(&self) -> &RoutingIdBytes {
        &self.routing_id
    }

    /// Its last model over this connection.
    #[must_use]
    pub fn model(&self) -> Option<&Grid> {
        self.model.as_ref().map(|kept| &kept.grid)
    }

    /// Its last metrics over this connection.
    #[must_use]
    pub fn metrics(&self) -> Option<&Grid> {
        self.metrics.as_ref().map(|kept| &kept.grid)
    }

    /// When it came to the table.
    #[must_use]
    pub fn since(&self) -> Instant {
        self.since
    }

    /// When it was last heard from.
    #[must_use]
    pub fn last_seen(&self) -> Instant {
        self.last_seen
    }

    /// How many messages it has sent, over all its connections.
    #[must_use]
    pub fn messages(&self) -> u64 {
        self.messages
    }

    pub(super) fn slot(&mut self, kind: GridKind) -> &mut Option<Kept> {
        match kind {
            GridKind::Model => &mut self.model,
            GridKind::Metrics => &mut self.metrics,
        }
    }

    pub(super) fn kept_bytes(&self) -> usize {
        let grids = [&self.model, &self.metrics];
        grids.into_iter().flatten().map(|kept| kept.bytes).sum()
    }
}
