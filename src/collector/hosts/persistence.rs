//! Snapshots of the table for other tasks, and restoring it after a restart.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::Hosts;
use super::host::{Host, Kept, Machine, State, Times};
use super::types::{Forgotten, MAX_HOSTS, MAX_KEPT, Restored};
use super::vitals::Vitals;
use super::weight::{Weight, beyond, weigh};
use crate::base::network::Network;
use crate::collector::hosts::snapshot::{HostSnapshot, MessageCounts, Presence, Snapshot};
use crate::collector::schemas::HostGrid;
use crate::metrics::LatestMetrics;
use crate::protocol::state::{HostState, StateGrid};

impl Hosts {
    /// Every host as it is at `now`, which is `wall` on the wall clock.
    #[must_use]
    pub fn snapshot(&self, now: Instant, wall: SystemTime) -> Snapshot {
        let mut hosts: Vec<_> = self
            .table
            .iter()
            .map(|(name, host)| self.host_snapshot(now, wall, name, host))
            .collect();
        hosts.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Snapshot { hosts, taken: wall }
    }

    /// One host as it is at `now`.
    #[must_use]
    pub fn snapshot_of(&self, now: Instant, wall: SystemTime, name: &str) -> Option<HostSnapshot> {
        let (name, host) = self.table.get_key_value(name)?;
        Some(self.host_snapshot(now, wall, name, host))
    }

    /// The state of a host as viewers are told; None if it is not known.
    #[must_use]
    pub fn state_of(&self, now: Instant, wall: SystemTime, name: &str) -> Option<StateGrid> {
        let host = self.get(name)?;
        let at = |instant| at(now, wall, instant);
        let absent = host.presence() != Presence::Reporting;
        let address = host.address().filter(|_| absent);
        Some(StateGrid {
            state: match host.presence() {
                Presence::Reporting => HostState::Reporting,
                Presence::Expected => HostState::Expected,
                Presence::Gone => HostState::Gone,
            },
            last_seen: at(host.last_seen()),
            since: at(host.since()),
            address: address.map(|address| (**address).into()),
            os: host.os().map(|os| (**os).into()),
        })
    }

    fn host_snapshot(
        &self,
        now: Instant,
        wall: SystemTime,
        name: &Arc<str>,
        host: &Host,
    ) -> HostSnapshot {
        HostSnapshot {
            name: Arc::clone(name),
            presence: host.presence(),
            silence: now.saturating_duration_since(host.times.last_seen),
            since: earlier(wall, now.saturating_duration_since(host.times.since)),
            counts: host.counts,
            last_metrics: host
                .times
                .last_metrics
                .map(|last| earlier(wall, now.saturating_duration_since(last))),
            key: host.key,
            several_hosts: match self.machines.several(host.key) {
                // It is not known of which of them after a restart.
                Some(several) => Some(several || host.machine.beside),
                None => host.machine.beside.then_some(true),
            },
            address: host.address.clone(),
            os: host.os().cloned(),
            model: host.model().cloned(),
            metrics: host.metrics().map(LatestMetrics::shown).unwrap_or_default(),
        }
    }

    /// Restores hosts that were known before a restart: those that reported then are expected
    /// now. Hosts that do not fit are left out.
    pub fn restore(&mut self, now: Instant, hosts: impl IntoIterator<Item = Restored>) {
        for restored in hosts {
            if self.table.len() >= MAX_HOSTS || self.table.contains_key(&restored.name) {
                continue;
            }
            let ago = |time| now.checked_sub(time).unwrap_or(now);
            let model = restored.model.map(|(grid, wire_bytes)| {
                let grid = HostGrid::from(grid);
                let (weight, _) = weigh(&restored.name, &grid, wire_bytes);
                Kept {
                    grid: Arc::new(grid),
                    weight,
                }
            });
            let gone = restored.gone;
            let model = model.filter(|Kept { weight, .. }| {
                gone.is_none()
                    && beyond(self.kept.plus(*weight), MAX_KEPT).is_none()
                    && self.peers.key_has_room(restored.key, *weight)
            });
            let since = gone.map_or(now, ago);
            // Its key is checked against the list with its next message.
            let newcomer = restored.address.as_deref().and_then(Network::parse);
            let host = Host {
                state: gone.map_or(State::Expected, |_| State::Gone),
                model,
                key: restored.key,
                address: restored.address,
                os: restored.os,
                newcomer: restored.key.and(newcomer),
                times: Times {
                    since,
                    last_seen: ago(restored.silence),
                    ..Times::new(now)
                },
                counts: MessageCounts::default(),
                vitals: Vitals::default(),
                refusable: None,
                machine: Machine::default(),
                place: gone.map_or(now + self.timing.host_timeout, |_| since),
            };
            self.peers.own(host.key);
            let weight = host.weight();
            self.kept = self.kept.plus(weight);
            self.peers
                .weigh((host.key, None), None, Weight::NONE, weight);
            self.peers.arrive(host.newcomer, weight);
            self.machines
                .restore(host.key, &restored.name, restored.several_hosts);
            let entry = (host.place, Arc::clone(&restored.name));
            if gone.is_some() {
                self.peers.went(host.key, entry.clone());
                self.gone.insert(entry);
            } else {
                self.expected += 1;
                self.agenda.insert(entry);
            }
            self.table.insert(restored.name, Box::new(host));
        }
    }
}

impl Forgotten {
    /// The same as viewers are told.
    #[must_use]
    pub fn state(&self, now: Instant, wall: SystemTime) -> StateGrid {
        StateGrid {
            state: HostState::Forgotten,
            last_seen: at(now, wall, self.last_seen),
            since: at(now, wall, now),
            address: None,
            os: None,
        }
    }
}

/// A point in time in seconds since 1970, to the millisecond.
fn at(now: Instant, wall: SystemTime, instant: Instant) -> f64 {
    let time = earlier(wall, now.saturating_duration_since(instant));
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    let rounded = since.unwrap_or_default() + Duration::from_micros(500);
    Duration::new(rounded.as_secs(), 1_000_000 * rounded.subsec_millis()).as_secs_f64()
}

/// A point in time that long before another.
fn earlier(wall: SystemTime, time: Duration) -> SystemTime {
    wall.checked_sub(time).unwrap_or(SystemTime::UNIX_EPOCH)
}
