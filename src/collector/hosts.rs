//! The table of hosts: which hosts report, over which connection, and their latest values.
//!
//! Pure: time is an argument, and actions are returned as data. A message costs one look-up,
//! however many hosts there are. Pings and expiry come from one ordered agenda with a single
//! entry for each present host. The entry is looked at when the host is due a ping or may have
//! been silent for too long, never because a message arrived.
//!
//! A host is known by its name. A name that shows up on another connection moves there. Which
//! key may report under which name is decided before.
//!
//! A host that is gone keeps its name here, but none of its values, until it is forgotten. One
//! that was known before the collector was restarted is expected for as long as a host may be
//! silent.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::base::network::Network;
use crate::collector::schemas::HostGrid;
use crate::curve::keys::PublicKey;
use crate::curve::router::RoutingIdBytes;
use crate::metrics::LatestMetrics;
use crate::metrics::families::FamilySet;
use crate::metrics::latest::Said;
use crate::protocol::message::GridKind;
use crate::protocol::session::MODEL_MIN_INTERVAL;

mod boots;
mod due;
mod host;
mod machines;
mod newcomers;
mod peers;
mod persistence;
mod renames;
pub mod snapshot;
mod types;
mod uptimes;
mod vitals;
mod weight;

use boots::Boots;
use due::given_up;
pub use host::{Host, MAX_OS_BYTES, says_refusable, speaks_history};
use host::{Kept, State};
use machines::Machines;
use peers::Peers;
pub use types::{
    Change, Due, Forgotten, Full, Ingested, MAX_HOSTS, MAX_HOSTS_PER_CONNECTION, MAX_HOSTS_PER_KEY,
    MAX_KEPT, MAX_NEW_HOSTS_OF_NETWORK, MAX_NEW_OF_NETWORK, NotForgotten, Peer, Proof, Renamed,
    Report, Restored, Timing, Trust, Twin,
};
use uptimes::Uptimes;
pub use vitals::{ViewerKind, Vitals};
use weight::beyond;
pub use weight::{CONNECTION_SHARE, Holder, KEY_SHARE, OverShare, Resource, Weight};

/// The hosts that report, reported or are expected to.
#[derive(Debug)]
pub struct Hosts {
    timing: Timing,
    /// Boxed, as up to half of the places are empty.
    table: HashMap<Arc<str>, Box<Host>>,
    /// For each host that reports or is expected, once: when to look at it next.
    agenda: BTreeSet<(Instant, Arc<str>)>,
    /// Each host that is gone, by the time when it went.
    gone: BTreeSet<(Instant, Arc<str>)>,
    expected: usize,
    peers: Peers,
    machines: Machines,
    /// The weight of all hosts.
    kept: Weight,
    phase: u32,
    /// Silence is counted from this time at the earliest.
    hearing_since: Option<Instant>,
}

impl Hosts {
    /// An empty table.
    #[must_use]
    pub fn new(timing: Timing) -> Self {
        Self {
            timing,
            table: HashMap::new(),
            agenda: BTreeSet::new(),
            gone: BTreeSet::new(),
            expected: 0,
            peers: Peers::default(),
            machines: Machines::default(),
            kept: Weight::NONE,
            phase: 0,
            hearing_since: None,
        }
    }

    /// Changes the times. What is already scheduled stays at its old time.
    pub fn set_timing(&mut self, timing: Timing) {
        self.timing = timing;
    }

    /// How many hosts report.
    #[must_use]
    pub fn reporting(&self) -> usize {
        self.agenda.len() - self.expected
    }

    /// How many hosts are expected.
    #[must_use]
    pub fn expected(&self) -> usize {
        self.expected
    }

    /// How many hosts are gone.
    #[must_use]
    pub fn gone(&self) -> usize {
        self.gone.len()
    }

    /// What is known of a host.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Host> {
        self.table.get(name).map(|host| &**host)
    }

    /// Every host, in no order.
    #[must_use]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Arc<str>, &Host)> {
        self.table.iter().map(|(name, host)| (name, &**host))
    }

    /// Returns true if hosts already report over this connection with this key.
    #[must_use]
    pub fn knows(&self, routing_id: &RoutingIdBytes, key: Option<PublicKey>) -> bool {
        self.peers.know(routing_id, key)
    }

    /// The name of this host as it is kept, if it reports over this connection with this key.
    #[must_use]
    pub fn name_at(
        &self,
        routing_id: &RoutingIdBytes,
        key: Option<PublicKey>,
        host: &str,
    ) -> Option<Arc<str>> {
        let (name, host) = self.table.get_key_value(host)?;
        let is_at = host.key() == key && host.routing_id() == Some(routing_id);
        is_at.then(|| Arc::clone(name))
    }

    /// Returns true if reports may be refused soon: some limit is three quarters reached. From
    /// there on networks are limited, too.
    #[must_use]
    pub fn may_refuse(&self) -> bool {
        self.table.len() >= MAX_HOSTS - MAX_NEW_HOSTS_OF_NETWORK
            || beyond(self.kept, MAX_KEPT.minus(MAX_NEW_OF_NETWORK)).is_some()
            || self.peers.some_near_bound()
    }

    /// Returns true if there is room for this beside the weight of all hosts.
    fn all_have_room(&self, freed: Weight, more: Weight) -> Result<(), Full> {
        match beyond(self.kept.minus(freed).plus(more), MAX_KEPT) {
            Some(Resource::Memory) => Err(Full::Memory),
            Some(Resource::Text) => Err(Full::Text),
            None => Ok(()),
        }
    }

    /// Enters a host's report.
    ///
    /// # Errors
    ///
    /// [`Full`] if a limit is reached. The host, if it is known on that connection, still
    /// counts as heard from.
    pub fn ingest(
        &mut self,
        now: Instant,
        peer: Peer<'_>,
        report: Report<'_>,
    ) -> Result<Ingested, Full> {
        let Report {
            host: name,
            kind,
            grids,
            wire_bytes,
        } = report;
        let (said, weight, families) = weighed(name, kind, &grids, wire_bytes);
        let mut moved = true;
        let (mut freed, mut freed_of_key, mut freed_of_connection) = Default::default();
        if let Some(host) = self.table.get_mut(name) {
            if host.is_at(peer) {
                host.times.last_seen = now;
                moved = false;
                freed = host.freed_by(kind, families);
            } else if !(host.keeps_model(peer) && kind == GridKind::Metrics) {
                freed = host.weight();
            }
            if host.key == peer.key {
                freed_of_key = freed;
            }
            if host.routing_id() == Some(peer.routing_id) {
                freed_of_connection = freed;
            }
        }
        let counts_for = self.newcomer(peer, name);
        self.all_have_room(freed, weight)?;
        self.network_has_room(counts_for, name, freed, weight)?;
        self.peers
            .share(peer, weight, freed_of_key, freed_of_connection)?;
        let (change, forgotten) = if moved {
            let (change, forgotten) = self.settle(now, peer, name, counts_for)?;
            (Some(change), forgotten)
        } else {
            (None, None)
        };
        self.count_for(counts_for, name);
        let Some((name, host)) = self.table.get_key_value(name) else {
            unreachable!("a host that was not in the table has just been put there");
        };
        let (name, before) = (Arc::clone(name), host.weight());
        let twin = self.note_machine(now, peer, &name, change, (kind, &grids));
        let Some(host) = self.table.get_mut(&name) else {
            unreachable!("it was there just now");
        };
        host.counts.messages += 1;
        let model_waited = host.model_waits();
        if kind == GridKind::Metrics && !grids.is_empty() {
            host.times.last_metrics = Some(now);
        }
        match (kind, &mut host.state) {
            (GridKind::Metrics, State::Reporting { metrics, .. }) => {
                for grid in &grids {
                    host.vitals.take(grid);
                }
                if !said.is_empty() {
                    metrics.take_all(now, said);
                }
            }
            (GridKind::Model, _) => {
                // A model is one grid.
                let grid = grids.first().cloned();
                host.model = grid.map(|grid| Kept { grid, weight });
            }
            (GridKind::Metrics, State::Expected | State::Gone) => {
                unreachable!("a host that is heard from reports")
            }
        }
        let after = host.weight();
        self.kept = self.kept.minus(before).plus(after);
        self.peers
            .weigh((peer.key, counts_for), Some(peer.routing_id), before, after);
        let ask_model = host.model.is_none()
            && host
                .times
                .asked
                .is_none_or(|asked| now.saturating_duration_since(asked) >= MODEL_MIN_INTERVAL);
        if ask_model {
            host.times.asked = Some(now);
        }
        Ok(Ingested {
            change,
            ask_model,
            model_may_go: model_waited && kind == GridKind::Metrics,
            name,
            forgotten,
            twin,
        })
    }

    /// Puts a new or known host onto a connection. Also returns the host that had to make room
    /// for it.
    fn settle(
        &mut self,
        now: Instant,
        peer: Peer<'_>,
        name: &str,
        counts_for: Option<Network>,
    ) -> Result<(Change, Option<Forgotten>), Full> {
        let known = self.table.get(name);
        let new_to_key = known.is_none_or(|host| host.key != peer.key);
        let beat = known.and_then(|host| match host.state {
            State::Reporting { ping_due, .. } => Some(ping_due),
            State::Expected | State::Gone => None,
        });
        self.peers.room(peer, new_to_key)?;
        if known.is_none() {
            self.network_has_place(counts_for)?;
        }
        let mut forgotten = None;
        if known.is_none() && self.table.len() >= MAX_HOSTS {
            forgotten = Some(self.make_room(peer.key).ok_or(Full::Hosts)?);
        }
        let address = self.peers.join(peer);
        if new_to_key {
            self.peers.own(peer.key);
        }
        // A host that only changes its connection keeps its rhythm of pings.
        let ping_due = beat.unwrap_or_else(|| now + self.first_ping());
        let state = State::Reporting {
            routing_id: peer.routing_id.clone(),
            metrics: LatestMetrics::default(),
            ping_due,
        };
        let Some((name, _)) = self.table.get_key_value(name) else {
            let name: Arc<str> = name.into();
            let mut host = Box::new(Host::new(now, state, peer.key, address));
            host.place = self.attention(&host, ping_due);
            self.agenda.insert((host.place, Arc::clone(&name)));
            self.machines.own(peer.key, &name);
            self.table.insert(name, host);
            return Ok((Change::Appeared, forgotten));
        };
        let name = Arc::clone(name);
        let Some(mut host) = self.table.remove(&name) else {
            unreachable!("it was there just now");
        };
        let before = host.weight();
        self.kept = self.kept.minus(before);
        self.peers
            .weigh(host.payers(), host.routing_id(), before, Weight::NONE);
        if !host.keeps_model(peer) {
            // The peer on the new connection has not sent this model.
            host.model = None;
        }
        let entry = (host.place, Arc::clone(&name));
        if matches!(host.state, State::Gone) {
            self.peers.not_gone(host.key, &entry);
        }
        if new_to_key {
            self.peers.disown(host.key);
            host.vitals = Vitals::default();
            host.os = None;
            host.machine.boots = Boots::default();
            host.machine.uptimes = Uptimes::default();
            host.machine.beside = false;
            self.machines.disown(host.key, &name);
            self.machines.own(peer.key, &name);
        }
        let key_before = host.key.filter(|_| new_to_key);
        (host.key, host.address) = (peer.key, address);
        let change = match std::mem::replace(&mut host.state, state) {
            State::Reporting { routing_id, .. } => {
                self.peers.leave(&routing_id);
                self.agenda.remove(&entry);
                Change::Replaced {
                    tell: host.machine.replacements.note(now),
                    key_before,
                }
            }
            State::Expected => {
                self.agenda.remove(&entry);
                self.expected -= 1;
                host.times.since = now;
                Change::Appeared
            }
            State::Gone => {
                self.gone.remove(&entry);
                host.counts.comebacks += 1;
                host.times.since = now;
                Change::Appeared
            }
        };
        host.times.last_seen = now;
        host.place = self.attention(&host, ping_due);
        self.agenda.insert((host.place, Arc::clone(&name)));
        let after = host.weight();
        self.kept = self.kept.plus(after);
        self.peers
            .weigh(host.payers(), host.routing_id(), Weight::NONE, after);
        self.table.insert(name, host);
        Ok((change, forgotten))
    }

    fn attention(&self, host: &Host, ping_due: Instant) -> Instant {
        ping_due.min(given_up(self.timing, self.hearing_since, host))
    }

    /// The delay before a host's first ping: a different part of the interval for each host, so
    /// that a fleet that connects at once is not pinged at once for ever after.
    fn first_ping(&mut self) -> Duration {
        // 2^32 divided by the golden ratio: each step falls into the largest gap.
        self.phase = self.phase.wrapping_add(2_654_435_769);
        let nanos = (self.timing.ping_interval.as_nanos() * u128::from(self.phase)) >> 32;
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// What a message says, what it weighs, and the families of metrics that it replaces.
fn weighed(
    host: &str,
    kind: GridKind,
    grids: &[Arc<HostGrid>],
    wire_bytes: usize,
) -> (Vec<Said<HostGrid>>, Weight, FamilySet) {
    let (mut weight, mut families) = (Weight::NONE, FamilySet::default());
    let said = grids.iter().map(|grid| {
        let (of_grid, texts) = weight::weigh(host, grid, wire_bytes);
        weight = weight.plus(of_grid);
        if kind == GridKind::Metrics {
            families = families.with(texts.families());
        }
        Said {
            grid: Arc::clone(grid),
            families: texts.families(),
            bytes: of_grid.memory,
            texts,
        }
    });
    (said.collect(), weight, families)
}

#[cfg(test)]
mod tests;
