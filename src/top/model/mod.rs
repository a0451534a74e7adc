//! What is known of the fleet: messages in, rows out. Pure: time is an argument.
//!
//! Bounded in hosts and in bytes. Of each host the values of its row are kept, and what
//! its messages say together where there is room; rates of everything that one host
//! counts are kept for the one that is looked at.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use thiserror::Error;

use crate::protocol::grid::Grid;
use crate::protocol::message::{GridKind, Malformed};
use crate::server::families::FamilySet;
use crate::server::hosts::{Merged, grid_bytes};

pub mod detail;
pub mod history;
pub mod host;
pub mod rates;

pub use detail::Detail;
pub use host::{Host, SILENT_AFTER, State};
use rates::Rates;

/// Most hosts: the largest fleet that one collector is meant for.
pub const MAX_HOSTS: usize = 10_000;

/// Most bytes of messages that are kept. A host with a hundred services takes some 200 kB;
/// of those for which there is no room, only the row is kept until they are looked at.
pub const MAX_KEPT_BYTES: usize = 256 * 1024 * 1024;

/// A host of which nothing was heard for this long is forgotten.
pub const FORGET_AFTER: Duration = Duration::from_secs(600);

/// What is known of the fleet.
#[derive(Debug, Default)]
pub struct Fleet {
    hosts: HashMap<Arc<str>, Host>,
    kept_bytes: usize,
    watched: Option<Watched>,
    version: u64,
    refused: u64,
}

/// The host that is looked at.
#[derive(Debug)]
struct Watched {
    name: Arc<str>,
    rates: Rates,
}

/// How many hosts there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Whose metrics come.
    pub reporting: usize,
    /// Whose metrics were not heard yet.
    pub waiting: usize,
    /// Who are silent.
    pub silent: usize,
}

impl Counts {
    /// All of them.
    #[must_use]
    pub fn all(self) -> usize {
        self.reporting + self.waiting + self.silent
    }
}

/// Why a message was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Error)]
pub enum Refusal {
    /// What is in it.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// [`MAX_HOSTS`].
    #[error("a host beyond the {MAX_HOSTS} that can be shown")]
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
        let watched = self
            .watched
            .as_mut()
            .filter(|watched| *watched.name == *name);
        let room = watched.is_some() || self.kept_bytes <= MAX_KEPT_BYTES;
        if let Some(watched) = watched {
            watched.rates.take(now, &grid, |_| true);
        }
        let before = host.metrics.bytes();
        if room {
            let bytes = grid_bytes(&grid, json.len());
            let families = FamilySet::of(&grid);
            host.metrics.take(now, Arc::new(grid), families, bytes);
            host.metrics.expire(now);
        } else {
            host.metrics = Merged::default();
        }
        self.kept_bytes = self.kept_bytes - before + host.metrics.bytes();
        self.version += 1;
        Ok(())
    }

    /// Looks at a host more closely, or at none: rates of all that it counts.
    pub fn watch(&mut self, name: Option<&Arc<str>>) {
        if self.watched.as_ref().map(|watched| &watched.name) != name {
            self.watched = name.map(|name| Watched {
                name: Arc::clone(name),
                rates: Rates::default(),
            });
        }
    }

    /// Forgets hosts that were not heard of for long.
    pub fn expire(&mut self, now: Instant) {
        let before = self.hosts.len();
        let kept = &mut self.kept_bytes;
        self.hosts.retain(|_, host| {
            let keep = now.saturating_duration_since(host.mentioned) < FORGET_AFTER;
            if !keep {
                *kept -= host.metrics.bytes();
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

    /// Messages that were not taken.
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
        for host in self.hosts.values() {
            match host.state(now) {
                State::Reporting => counts.reporting += 1,
                State::Waiting => counts.waiting += 1,
                State::Silent => counts.silent += 1,
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
