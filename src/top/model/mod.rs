//! What is known of the fleet: messages in, rows out. Pure: time is an argument.
//!
//! Bounded in hosts and in bytes. Of each host the values of its row are kept, and what
//! its messages say together where there is room; rates of everything that one host
//! counts are kept for the one that is looked at.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use thiserror::Error;

use crate::metrics::latest::grid_bytes;
use crate::protocol::grid::Grid;
use crate::protocol::message::{GridKind, Malformed};
use crate::protocol::state::{HostState, StateGrid};

pub mod detail;
pub mod history;
pub mod host;
pub mod rates;
pub mod readings;

pub use detail::Detail;
use host::Room;
pub use host::{Host, SILENT_AFTER, State, Told};
use rates::Rates;

/// Most hosts: the largest fleet that one collector is meant for.
pub const MAX_HOSTS: usize = 10_000;

/// Most bytes of messages that are kept. A host with a hundred services takes some 200 kB;
/// of those for which there is no room, only the row is kept until they are looked at.
pub const MAX_KEPT_BYTES: usize = 256 * 1024 * 1024;

/// From here on what a host said before its last message is not kept.
const HALF_KEPT_BYTES: usize = MAX_KEPT_BYTES / 2;

/// A host of which nothing was heard for this long is forgotten.
pub const FORGET_AFTER: Duration = Duration::from_secs(600);

/// A collector of which nothing was heard for this long, who is asked every 10 s and answers
/// with every model: what is known of the hosts is that old.
pub const STALE_AFTER: Duration = Duration::from_secs(15);

/// What is known of the fleet.
#[derive(Debug, Default)]
pub struct Fleet {
    hosts: HashMap<Arc<str>, Host>,
    kept_bytes: usize,
    watched: Option<Watched>,
    version: u64,
    refused: u64,
    /// When the collector was last heard.
    word: Option<Instant>,
}

/// The host that is viewed.
#[derive(Debug)]
struct Watched {
    name: Arc<str>,
    rates: Rates,
}

/// How many hosts there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Hosts that report.
    pub reporting: usize,
    /// Hosts without metrics so far.
    pub waiting: usize,
    /// Hosts that reported before the collector was restarted.
    pub expected: usize,
    /// Silent hosts.
    pub silent: usize,
    /// Hosts that are gone, as the collector says.
    pub gone: usize,
}

impl Counts {
    /// All of them.
    #[must_use]
    pub fn all(self) -> usize {
        self.reporting + self.waiting + self.expected + self.silent + self.gone
    }
}

/// Why a message was refused.
#[derive(Clone, Copy, Debug, PartialEq, Error)]
pub enum Refusal {
    /// What is in it.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// [`MAX_HOSTS`].
    #[error("too many hosts to show (limit {MAX_HOSTS})")]
    Full,
}

impl Fleet {
    /// Takes a message of a host.
    ///
    /// # Errors
    ///
    /// [`Refusal`], counted.
    pub fn take(
        &mut self,
        now: Instant,
        name: &str,
        kind: GridKind,
        json: &[u8],
    ) -> Result<(), Refusal> {
        let taken = self.take_in(now, name, kind, json);
        if taken.is_err() {
            self.refused += 1;
        }
        taken
    }

    fn take_in(
        &mut self,
        now: Instant,
        name: &str,
        kind: GridKind,
        json: &[u8],
    ) -> Result<(), Refusal> {
        // Before there is a host for it.
        let metrics = match kind {
            GridKind::Metrics => Some(Grid::parse(json, kind)?),
            GridKind::Model => None,
        };
        let full = self.hosts.len() >= MAX_HOSTS;
        let host = match self.hosts.get_mut(name) {
            Some(host) => host,
            None if full => return Err(Refusal::Full),
            None => {
                let mut host = Host::new(name.into(), now);
                if metrics.is_none() {
                    host.take_model(now, json)?;
                    self.version += 1;
                }
                let name = Arc::clone(&host.name);
                self.hosts.entry(name).or_insert(host)
            }
        };
        let Some(grid) = metrics else {
            if host.take_model(now, json)? {
                self.version += 1;
            }
            return Ok(());
        };
        host.take_metrics(now, &grid);
        let kept_before = host.kept.bytes();
        let watched = self
            .watched
            .as_mut()
            .filter(|watched| *watched.name == *name);
        let room = if watched.is_some() || self.kept_bytes <= HALF_KEPT_BYTES {
            Room::Both
        } else if self.kept_bytes <= MAX_KEPT_BYTES {
            Room::Last
        } else {
            Room::None
        };
        if let Some(watched) = watched {
            watched.rates.take(now, &grid, |_| true);
        }
        let bytes = grid_bytes(&grid, json.len());
        host.kept.take(now, grid, bytes, room);
        self.kept_bytes = self.kept_bytes - kept_before + host.kept.bytes();
        self.version += 1;
        Ok(())
    }

    /// Takes what the collector says of a host that does not report, or does again. `wall` is
    /// now, in seconds since 1970.
    ///
    /// # Errors
    ///
    /// [`Refusal`], counted.
    pub fn take_state(
        &mut self,
        now: Instant,
        wall: f64,
        name: &str,
        json: &[u8],
    ) -> Result<(), Refusal> {
        let said = StateGrid::parse(json).inspect_err(|_| self.refused += 1)?;
        // A state that this version does not know.
        let Some(said) = said else { return Ok(()) };
        self.version += 1;
        if said.state == HostState::Forgotten {
            if let Some(host) = self.hosts.remove(name) {
                self.kept_bytes -= host.kept.bytes();
            }
            return Ok(());
        }
        if let Some(host) = self.hosts.get_mut(name) {
            host.take_state(now, wall, &said);
        } else if said.state != HostState::Reporting {
            if self.hosts.len() >= MAX_HOSTS {
                self.refused += 1;
                return Err(Refusal::Full);
            }
            let mut host = Host::new(name.into(), now);
            host.take_state(now, wall, &said);
            self.hosts.insert(Arc::clone(&host.name), host);
        }
        Ok(())
    }

    /// Records any message of the collector. A time in which the collector was not heard does
    /// not count as a host's silence.
    pub fn hear(&mut self, now: Instant) {
        if self.is_stale(now) {
            for host in self.hosts.values_mut() {
                host.presence.quiet_since = now;
                host.presence.mentioned = now;
            }
        }
        self.word = Some(now);
    }

    /// When the collector was last heard.
    #[must_use]
    pub fn word(&self) -> Option<Instant> {
        self.word
    }

    /// Returns true if the collector was silent for longer than it ever is.
    #[must_use]
    pub fn is_stale(&self, now: Instant) -> bool {
        self.word
            .is_some_and(|word| now.saturating_duration_since(word) >= STALE_AFTER)
    }

    /// The time of which is known how the hosts are: now, or when the collector was last heard.
    #[must_use]
    pub fn as_of(&self, now: Instant) -> Instant {
        match self.word {
            Some(word) if self.is_stale(now) => word,
            _ => now,
        }
    }

    /// Returns true if this is the host that is watched, or none is.
    #[must_use]
    pub fn watches(&self, name: Option<&Arc<str>>) -> bool {
        self.watched.as_ref().map(|watched| &watched.name) == name
    }

    /// Watches a host, or none: rates are kept for all its counters.
    pub fn watch(&mut self, name: Option<&Arc<str>>) {
        if !self.watches(name) {
            let hosts = &self.hosts;
            self.watched = name.map(|name| Watched {
                name: Arc::clone(name),
                rates: hosts
                    .get(name)
                    .map(|host| Rates::between(&host.kept.before, &host.kept.metrics))
                    .unwrap_or_default(),
            });
        }
    }

    /// Forgets hosts that were silent for long while the collector was heard.
    pub fn expire(&mut self, now: Instant) {
        let now = self.as_of(now);
        let before = self.hosts.len();
        let kept = &mut self.kept_bytes;
        self.hosts.retain(|_, host| {
            let keep = now.saturating_duration_since(host.presence.mentioned) < FORGET_AFTER;
            if !keep {
                *kept -= host.kept.bytes();
            }
            keep
        });
        if self.hosts.len() != before {
            self.version += 1;
        }
    }

    /// Changes with everything that is taken.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Messages that were refused.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Every host, in no order.
    #[must_use]
    pub fn hosts(&self) -> impl ExactSizeIterator<Item = &Host> {
        self.hosts.values()
    }

    /// A host.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Host> {
        self.hosts.get(name)
    }

    /// How many hosts there are.
    #[must_use]
    pub fn counts(&self, now: Instant) -> Counts {
        let mut counts = Counts::default();
        let as_of = self.as_of(now);
        for host in self.hosts.values() {
            match host.state(as_of) {
                State::Reporting => counts.reporting += 1,
                State::Waiting => counts.waiting += 1,
                State::Expected => counts.expected += 1,
                State::Silent => counts.silent += 1,
                State::Gone => counts.gone += 1,
            }
        }
        counts
    }

    /// All that is known of a host; with rates where it is the one that is watched.
    #[must_use]
    pub fn detail(&self, name: &str) -> Option<Detail> {
        let host = self.hosts.get(name)?;
        let watched = self.watched.as_ref();
        let rates = watched.filter(|watched| *watched.name == *name);
        Some(Detail::of(host, rates.map(|watched| &watched.rates)))
    }
}

#[cfg(test)]
mod tests;
