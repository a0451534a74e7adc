//! The table of hosts: who reports, over which connection, and what they said last.
//!
//! Pure: time is an argument, and what is to be done comes back as data. A message costs
//! a look-up, however many hosts there are; pings and expiry come out of one ordered
//! agenda with a single entry for each host, which is looked at when that host is due a
//! ping or may have been silent for too long, and never because a message came.
//!
//! A host is known by its name alone. Whoever reports under a name has it: a name that
//! shows up on another connection moves there.

use std::cmp::Reverse;
use std::collections::binary_heap::PeekMut;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::complaints::Throttle;
use crate::curve::router::RoutingIdBytes;
use crate::protocol::grid::Grid;
use crate::protocol::session::MODEL_MIN_INTERVAL;

mod host;
mod merged;
mod vocabulary;

pub use host::Host;
use host::Kept;
pub use merged::{Merged, Part};
pub use vocabulary::{
    Change, Due, Full, Heard, MAX_HOSTS, MAX_HOSTS_PER_CONNECTION, MAX_KEPT_BYTES, Report, Timing,
};

/// The hosts that report.
#[derive(Debug)]
pub struct Hosts {
    timing: Timing,
    table: HashMap<Arc<str>, Host>,
    /// For each host, once: when to look at it next.
    agenda: BinaryHeap<Reverse<(Instant, Arc<str>)>>,
    /// How many hosts report over each connection.
    connections: HashMap<RoutingIdBytes, usize>,
    kept_bytes: usize,
    phase: u32,
    /// Silence counts from here on at the earliest.
    hearing_since: Option<Instant>,
}

impl Hosts {
    /// An empty table.
    #[must_use]
    pub fn new(timing: Timing) -> Self {
        Self {
            timing,
            table: HashMap::new(),
            agenda: BinaryHeap::new(),
            connections: HashMap::new(),
            kept_bytes: 0,
            phase: 0,
            hearing_since: None,
        }
    }

    /// How many hosts there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether no host reports.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// What is known of a host.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Host> {
        self.table.get(name)
    }

    /// Every host, in no order.
    #[must_use]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Host)> {
        self.table.iter().map(|(name, host)| (&**name, host))
    }

    /// Takes what a host reports over the connection `from`.
    ///
    /// # Errors
    ///
    /// [`Full`] where it is past a bound. The host, if it is known on that connection,
    /// counts as heard from all the same.
    pub fn hear(
        &mut self,
        now: Instant,
        from: &RoutingIdBytes,
        report: Report<'_>,
    ) -> Result<Heard<'_>, Full> {
        let Report {
            host: name, kind, ..
        } = report;
        let bytes = grid_bytes(&report.grid, report.wire_bytes);
        let count = self.table.len();
        let (freed, moved) = match self.table.get_mut(name) {
            Some(host) if host.routing_id == *from => {
                host.last_seen = now;
                (host.slot(kind).as_ref().map_or(0, |kept| kept.bytes), false)
            }
            Some(host) => (host.kept_bytes(), true),
            None if count >= MAX_HOSTS => return Err(Full::Hosts),
            None => (0, true),
        };
        let kept_bytes = self.kept_bytes - freed + bytes;
        if kept_bytes > MAX_KEPT_BYTES {
            return Err(Full::Memory);
        }
        let change = if moved {
            Some(self.settle(now, from, name)?)
        } else {
            None
        };
        self.kept_bytes = kept_bytes;
        let Some(host) = self.table.get_mut(name) else {
            unreachable!("a host that was not in the table has just been put there");
        };
        host.messages += 1;
        let kept = Kept {
            grid: report.grid,
            bytes,
        };
        *host.slot(kind) = Some(kept);
        let ask_model = host.model.is_none()
            && host
                .asked
                .is_none_or(|asked| now.saturating_duration_since(asked) >= MODEL_MIN_INTERVAL);
        if ask_model {
            host.asked = Some(now);
        }
        let grid = match &*host.slot(kind) {
            Some(kept) => &kept.grid,
            None => unreachable!("the grid has just been put there"),
        };
        Ok(Heard {
            change,
            ask_model,
            grid,
        })
    }

    /// Puts a host onto a connection: a new one, or one that had another.
    fn settle(&mut self, now: Instant, from: &RoutingIdBytes, name: &str) -> Result<Change, Full> {
        match self.connections.get_mut(&**from) {
            Some(hosts) if *hosts >= MAX_HOSTS_PER_CONNECTION => return Err(Full::Connection),
            Some(hosts) => *hosts += 1,
            None => {
                self.connections.insert(from.clone(), 1);
            }
        }
        if let Some(host) = self.table.get_mut(name) {
            let previous = std::mem::replace(&mut host.routing_id, from.clone());
            // Whoever is at the other end of the new connection has not said them.
            host.model = None;
            host.metrics = None;
            host.last_seen = now;
            let tell = host.replacements.note(now);
            self.leave(&previous);
            return Ok(Change::Replaced { tell });
        }
        let name: Arc<str> = name.into();
        let host = Host {
            routing_id: from.clone(),
            model: None,
            metrics: None,
            asked: None,
            since: now,
            last_seen: now,
            ping_due: now + self.first_ping(),
            messages: 0,
            replacements: Throttle::default(),
        };
        self.agenda
            .push(Reverse((self.attention(&host), Arc::clone(&name))));
        self.table.insert(name, host);
        Ok(Change::Appeared)
    }

    /// A host has left this connection.
    fn leave(&mut self, connection: &RoutingIdBytes) {
        if let Some(hosts) = self.connections.get_mut(&**connection) {
            *hosts -= 1;
            if *hosts == 0 {
                self.connections.remove(&**connection);
            }
        }
    }

    /// When [`take_due`](Self::take_due) may have something next; None while nobody reports.
    #[must_use]
    pub fn next_due(&self) -> Option<Instant> {
        self.agenda.peek().map(|Reverse((at, _))| *at)
    }

    /// The next thing to be done at `now`; to be called until there is none.
    pub fn take_due(&mut self, now: Instant) -> Option<Due> {
        loop {
            let mut entry = self.agenda.peek_mut()?;
            let Reverse((at, name)) = &mut *entry;
            if *at > now {
                return None;
            }
            let Some(host) = self.table.get_mut(name) else {
                unreachable!("a host leaves the table with its entry in the agenda");
            };
            let given_up = given_up(self.timing, self.hearing_since, host);
            if given_up <= now {
                let name = Arc::clone(name);
                PeekMut::pop(entry);
                return self.remove(now, name);
            }
            let ping = host.ping_due <= now;
            if ping {
                host.ping_due = next_beat(host.ping_due, self.timing.ping_interval, now);
            }
            *at = host.ping_due.min(given_up);
            if ping {
                return Some(Due::Ping {
                    name: Arc::clone(name),
                    to: host.routing_id.clone(),
                });
            }
        }
    }

    /// The collector itself was deaf (stopped, starved, suspended) until `now`: nobody
    /// is held silent for what it may have missed.
    pub fn was_deaf(&mut self, now: Instant) {
        self.hearing_since = Some(now);
    }

    fn remove(&mut self, now: Instant, name: Arc<str>) -> Option<Due> {
        let host = self.table.remove(&name)?;
        self.leave(&host.routing_id);
        self.kept_bytes -= host.kept_bytes();
        let silence = now.saturating_duration_since(host.last_seen);
        Some(Due::Gone {
            name,
            routing_id: host.routing_id,
            silence,
        })
    }

    fn attention(&self, host: &Host) -> Instant {
        host.ping_due
            .min(given_up(self.timing, self.hearing_since, host))
    }

    /// From a host's coming to its first ping: a part of the interval, another for each,
    /// so that a fleet that comes at once is not pinged at once for ever after.
    fn first_ping(&mut self) -> Duration {
        // 2^32 divided by the golden ratio: each step falls into the largest gap.
        self.phase = self.phase.wrapping_add(2_654_435_769);
        let nanos = (self.timing.ping_interval.as_nanos() * u128::from(self.phase)) >> 32;
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// When a host is given up, unless it is heard from before.
fn given_up(timing: Timing, hearing_since: Option<Instant>, host: &Host) -> Instant {
    let heard = hearing_since.map_or(host.last_seen, |since| since.max(host.last_seen));
    heard + timing.host_timeout
}

/// The first beat after `now`, in step with `due`: missed ones are skipped.
fn next_beat(due: Instant, interval: Duration, now: Instant) -> Instant {
    let late = now.saturating_duration_since(due).as_nanos();
    let into_beat = late.checked_rem(interval.as_nanos()).unwrap_or(0);
    let into_beat = Duration::from_nanos(u64::try_from(into_beat).unwrap_or(0));
    now + interval.saturating_sub(into_beat)
}

/// What a grid takes in memory, in bytes, at most: the text of the message, and its
/// entries in a vector that has grown by doubling.
#[must_use]
pub fn grid_bytes(grid: &Grid, wire_bytes: usize) -> usize {
    const ENTRY_BYTES: usize = 24;
    wire_bytes + 2 * ENTRY_BYTES * grid.len()
}

#[cfg(test)]
mod tests;
