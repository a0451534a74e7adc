//! What the table knows of one host.

use std::sync::Arc;
use std::time::Instant;

use super::boots::Boots;
use super::types::Peer;
use super::uptimes::Uptimes;
use super::vitals::{ViewerKind, Vitals};
use super::weight::Weight;
use crate::base::network::Network;
use crate::base::throttle::Throttle;
use crate::collector::hosts::snapshot::{MessageCounts, Presence};
use crate::collector::schemas::HostGrid;
use crate::curve::keys::PublicKey;
use crate::curve::router::RoutingIdBytes;
use crate::metrics::LatestMetrics;
use crate::metrics::families::FamilySet;
use crate::metrics::table::{AGENT_WIRE, HOST_OS};
use crate::protocol::grid::{Grid, Value};
use crate::protocol::message::{GridKind, UNDERSTANDS_REFUSED};

/// Maximum bytes of the operating system's name that is kept of a gone host.
pub const MAX_OS_BYTES: usize = 128;

/// What is known of a host.
#[derive(Debug)]
pub struct Host {
    pub(super) state: State,
    pub(super) model: Option<Kept>,
    pub(super) key: Option<PublicKey>,
    pub(super) address: Option<Arc<str>>,
    /// The operating system that it reported before it was gone. Nothing else of its model is
    /// kept.
    pub(super) os: Option<Arc<str>>,
    /// The network that it counts for, if its key is not trusted.
    pub(super) newcomer: Option<Network>,
    pub(super) times: Times,
    pub(super) counts: MessageCounts,
    /// Its latest values of the metrics that some viewers want in its model.
    pub(super) vitals: Vitals,
    /// The connection that it went on, if its agent understands refusals.
    pub(super) refusable: Option<RoutingIdBytes>,
    pub(super) machine: Machine,
    /// Its place in the agenda of those that are there, or among those that are gone.
    pub(super) place: Instant,
}

/// When something last happened to a host.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// When its model was last asked for.
    pub(super) asked: Option<Instant>,
    /// Since when it is in this state.
    pub(super) since: Instant,
    pub(super) last_seen: Instant,
    /// When it last reported metrics.
    pub(super) last_metrics: Option<Instant>,
}

impl Times {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            asked: None,
            since: now,
            last_seen: now,
            last_metrics: None,
        }
    }
}

/// What is known of the machine behind a name.
#[derive(Debug, Default)]
pub(super) struct Machine {
    /// When the name went from one connection to another.
    pub(super) replacements: Throttle,
    pub(super) boots: Boots,
    pub(super) uptimes: Uptimes,
    /// Another name of its key was there at the same time: it is no old name of a machine.
    pub(super) beside: bool,
}

/// Whether a host is there, and what it has only while it is.
#[derive(Debug)]
pub(super) enum State {
    Reporting {
        routing_id: RoutingIdBytes,
        metrics: LatestMetrics<HostGrid>,
        ping_due: Instant,
    },
    Expected,
    Gone,
}

/// A grid, and what it takes.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub(super) grid: Arc<HostGrid>,
    pub(super) weight: Weight,
}

/// Returns true if an agent that sends this model understands refusals.
#[must_use]
pub fn says_refusable(model: &Grid) -> bool {
    model.get(UNDERSTANDS_REFUSED).is_some()
}

/// Returns true if an agent that sends this model tells every sample on the second wire, once it was
/// offered.
#[must_use]
pub fn speaks_history(model: &Grid) -> bool {
    let wire = model.get(AGENT_WIRE.name).and_then(|wire| wire.as_f64());
    wire.is_some_and(|wire| wire >= 2.0)
}

/// The operating system that a model names, cut if it is too long.
fn os_of(model: &Grid) -> Option<Arc<str>> {
    match model.get(HOST_OS.name) {
        Some(Value::Text(os)) => {
            let mut ends = (0..=MAX_OS_BYTES.min(os.len())).rev();
            let end = ends.find(|end| os.is_char_boundary(*end))?;
            os.get(..end).map(Into::into)
        }
        _ => None,
    }
}

impl Host {
    /// Drops its model, because it is gone; its operating system is kept.
    pub(super) fn let_go_of_model(&mut self) {
        let os = self.model().and_then(|model| os_of(model));
        self.os = os.or(self.os.take());
        self.model = None;
    }

    /// A new host.
    pub(super) fn new(
        now: Instant,
        state: State,
        key: Option<PublicKey>,
        address: Option<Arc<str>>,
    ) -> Self {
        Self {
            state,
            model: None,
            key,
            address,
            os: None,
            newcomer: None,
            times: Times::new(now),
            counts: MessageCounts::default(),
            vitals: Vitals::default(),
            refusable: None,
            machine: Machine::default(),
            place: now,
        }
    }

    /// Whether the host reports.
    #[must_use]
    pub fn presence(&self) -> Presence {
        match self.state {
            State::Reporting { .. } => Presence::Reporting,
            State::Expected => Presence::Expected,
            State::Gone => Presence::Gone,
        }
    }

    /// The connection that it reports over, while it does.
    #[must_use]
    pub fn routing_id(&self) -> Option<&RoutingIdBytes> {
        match &self.state {
            State::Reporting { routing_id, .. } => Some(routing_id),
            State::Expected | State::Gone => None,
        }
    }

    /// Returns true if its agent, on this connection, understands refusals, by the last model
    /// that it sent there; also while the host is gone between two messages.
    #[must_use]
    pub fn understands_refusal(&self, from: &RoutingIdBytes) -> bool {
        let model_says = || self.model().is_some_and(|model| says_refusable(model));
        match self.routing_id() {
            Some(routing_id) => routing_id == from && model_says(),
            None => self.refusable.as_ref() == Some(from),
        }
    }

    /// Its last model: over this connection, or from before the collector's restart.
    #[must_use]
    pub fn model(&self) -> Option<&Arc<HostGrid>> {
        self.model.as_ref().map(|kept| &kept.grid)
    }

    /// Its metrics, while it reports.
    #[must_use]
    pub fn metrics(&self) -> Option<&LatestMetrics<HostGrid>> {
        match &self.state {
            State::Reporting { metrics, .. } => Some(metrics),
            State::Expected | State::Gone => None,
        }
    }

    /// The public key that it reports with.
    #[must_use]
    pub fn key(&self) -> Option<PublicKey> {
        self.key
    }

    /// The network address that it reports from, without a port.
    #[must_use]
    pub fn address(&self) -> Option<&Arc<str>> {
        self.address.as_ref()
    }

    /// The operating system that a host that is gone reported.
    #[must_use]
    pub fn os(&self) -> Option<&Arc<str>> {
        self.os
            .as_ref()
            .filter(|_| matches!(self.state, State::Gone))
    }

    /// Since when it reports, is expected or gone.
    #[must_use]
    pub fn since(&self) -> Instant {
        self.times.since
    }

    /// When it was last heard from.
    #[must_use]
    pub fn last_seen(&self) -> Instant {
        self.times.last_seen
    }

    /// How many messages it has sent, over all its connections, since this collector
    /// started.
    #[must_use]
    pub fn messages(&self) -> u64 {
        self.counts.messages
    }

    /// Its latest values of the metrics that some viewers want in its model.
    #[must_use]
    pub fn vitals(&self) -> &Vitals {
        &self.vitals
    }

    /// Returns true if its model cannot be sent to deployed viewers yet: they would fail on it.
    #[must_use]
    pub fn model_waits(&self) -> bool {
        self.model()
            .is_some_and(|model| self.vitals.are_awaited(model))
    }

    /// Writes its model for these viewers as JSON into `out`, which is empty. Returns false if
    /// there is none for them yet.
    pub fn write_model(&self, viewers: ViewerKind, out: &mut Vec<u8>) -> bool {
        let waits = viewers == ViewerKind::Deployed && self.model_waits();
        let Some(model) = self.model().filter(|_| !waits) else {
            return false;
        };
        let written = serde_json::to_writer(&mut *out, &**model).is_ok();
        if written {
            self.vitals.complete(model, viewers, out);
        }
        written
    }

    /// Writes as JSON into `out`, which is empty, what its oldest message before that time still holds
    /// the latest values of, beside families that are `told` already. Returns its families; None where
    /// there is nothing more, or the host does not report.
    pub fn write_metrics(
        &self,
        before: Instant,
        told: FamilySet,
        out: &mut Vec<u8>,
    ) -> Option<FamilySet> {
        self.metrics()?.write_next(before, told, out)
    }

    /// How often it came back after it was gone.
    #[must_use]
    pub fn comebacks(&self) -> u64 {
        self.counts.comebacks
    }

    /// How many of its messages came while its key reported from two machines.
    #[must_use]
    pub fn shared(&self) -> u64 {
        self.counts.shared
    }

    /// When it last reported metrics, since this collector started.
    #[must_use]
    pub fn last_metrics(&self) -> Option<Instant> {
        self.times.last_metrics
    }

    /// The key and the connection whose shares it uses.
    pub(super) fn payers(&self) -> (Option<PublicKey>, Option<Network>) {
        (self.key, self.newcomer)
    }

    /// Returns true if it reports over this connection, with this key.
    pub(super) fn is_at(&self, peer: Peer<'_>) -> bool {
        self.key == peer.key && self.routing_id() == Some(peer.routing_id)
    }

    /// Returns true if the known model is valid for this peer: one from before the collector's
    /// restart is, for the same key.
    pub(super) fn keeps_model(&self, peer: Peer<'_>) -> bool {
        matches!(self.state, State::Expected) && self.key == peer.key
    }

    /// The weight that a message of this kind, with these families, replaces.
    pub(super) fn freed_by(&self, kind: GridKind, families: FamilySet) -> Weight {
        match kind {
            GridKind::Model => self.model.as_ref().map_or(Weight::NONE, |kept| kept.weight),
            GridKind::Metrics => self.metrics().map_or(Weight::NONE, |all| {
                all.weight().minus(all.weight_without(families))
            }),
        }
    }

    /// Its weight.
    pub(super) fn weight(&self) -> Weight {
        let model = self.model.as_ref().map_or(Weight::NONE, |kept| kept.weight);
        model.plus(self.metrics().map_or(Weight::NONE, LatestMetrics::weight))
    }

    /// The part of it in memory.
    #[cfg(test)]
    pub(super) fn kept_bytes(&self) -> usize {
        self.weight().memory
    }
}
