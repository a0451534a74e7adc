//! The hosts of each key: whether a key reports from two machines at a time, and which names
//! are old ones of a host that was renamed. Pure.
//!
//! An agent uses a new routing id for each connection, reports under one name over it, and
//! never uses an old one again. So a key has several hosts
//!
//! - where one connection reports under two names, as a gateway does;
//! - where an older connection goes on reporting under another name long after a newer one has
//!   begun: a gateway has several connections, or a clone has a name of its own.
//!
//! That stays so, also over a restart of the collector. All names of any other key are names of
//! one machine: each began on a newer connection, after the old one fell silent. The name that
//! it reports under now is its name, and the others are old ones, in whatever order they
//! appeared.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::host::State;
use super::types::{Due, Peer, Renamed, Twin};
use super::{Hosts, PublicKey};
use crate::collector::hosts::snapshot::Presence;
use crate::curve::router::RoutingIdBytes;

/// Messages that were on their way over an old connection are read within moments after the new
/// one begins, unless the path was lost: the kernel sends them again for minutes, and then they
/// arrive together. So a message later than this counts only if another one follows it as much
/// later still.
const SETTLED: Duration = Duration::from_secs(10);

/// Maximum number of older connections of a key that are remembered: this many clones of one
/// name are told apart, and one more is still recognized as a clone.
const MAX_OLDER: usize = 8;

/// Interval between two lines about the same key: a clone stays until an administrator fixes
/// it.
const TELL_INTERVAL: Duration = Duration::from_secs(3600);

/// Maximum number of names of one machine: its first boot gives it two or three, and old ones
/// expire. A key with more names has several hosts.
const MAX_NAMES: usize = 8;

/// What is known of each key that has hosts.
#[derive(Debug, Default)]
pub(super) struct Machines {
    keys: HashMap<PublicKey, KeyMachines>,
}

#[derive(Debug, Default)]
struct KeyMachines {
    /// All of its hosts, also those that are gone.
    hosts: Vec<Arc<str>>,
    /// True if they are not names of one machine.
    several: bool,
    newest: Option<Link>,
    /// Connections before the newest.
    older: VecDeque<Older>,
    /// When the first and the last late message over an older connection were read, since the
    /// newest began.
    late: Option<(Instant, Instant)>,
    /// The last message over an older connection, long after the newest had begun.
    beside: Option<Voice>,
    told: Option<Instant>,
}

/// The newest connection of a key.
#[derive(Debug)]
struct Link {
    routing_id: RoutingIdBytes,
    began: Instant,
    /// Since when connections of the key report under this name and no other.
    named: Instant,
    voice: Voice,
}

/// An older connection of a key.
#[derive(Debug)]
struct Older {
    routing_id: RoutingIdBytes,
    /// When the one after it began.
    until: Instant,
    heard: Instant,
}

/// A message over a connection.
#[derive(Clone, Debug)]
struct Voice {
    heard: Instant,
    host: Arc<str>,
    address: Option<Arc<str>>,
}

impl Machines {
    /// Adds a host of a key.
    pub(super) fn own(&mut self, key: Option<PublicKey>, host: &Arc<str>) {
        if let Some(key) = key {
            self.keys.entry(key).or_default().hosts.push(host.clone());
        }
    }

    /// Adds a host of a key from before a restart, with what [`several`](Self::several) was
    /// then. If that is not known of two of them, they count as separate hosts: a missed alert
    /// is worse than one too many.
    pub(super) fn restore(
        &mut self,
        key: Option<PublicKey>,
        host: &Arc<str>,
        several: Option<bool>,
    ) {
        self.own(key, host);
        if let Some(of) = key.and_then(|key| self.keys.get_mut(&key)) {
            of.several |= several.unwrap_or(of.hosts.len() > 1);
        }
    }

    /// Removes a host of a key.
    pub(super) fn disown(&mut self, key: Option<PublicKey>, host: &str) {
        let Some(key) = key else { return };
        if let Some(of) = self.keys.get_mut(&key) {
            if let Some(at) = of.hosts.iter().position(|known| **known == *host) {
                of.hosts.swap_remove(at);
            }
            if of.hosts.is_empty() {
                self.keys.remove(&key);
            }
        }
    }

    /// Returns true if the names of a key are those of several hosts; None while it has one
    /// name and never had several hosts.
    pub(super) fn several(&self, key: Option<PublicKey>) -> Option<bool> {
        let of = self.keys.get(&key?)?;
        (of.several || of.hosts.len() > 1).then_some(of.several)
    }

    /// The newest connection of a key whose names are those of one machine, and these names.
    fn machine(&self, key: PublicKey) -> Option<(&Link, &[Arc<str>])> {
        let of = self.keys.get(&key)?;
        let one = !of.several && of.hosts.len() <= MAX_NAMES;
        Some((of.newest.as_ref().filter(|_| one)?, &of.hosts))
    }

    /// Records a message of a host over a connection of its key, which may be `new` to it.
    /// Returns a [`Twin`] if another machine reports with the same key at this time.
    fn note(
        &mut self,
        (patience, new): (Duration, bool),
        peer: Peer<'_>,
        voice: Voice,
    ) -> Option<Twin> {
        let key = peer.key?;
        let of = self.keys.get_mut(&key)?;
        let now = voice.heard;
        let of_late = |then| now.saturating_duration_since(then) < patience;
        let Some(newest) = &mut of.newest else {
            of.begin(patience, peer.routing_id, voice);
            return None;
        };
        let other = if newest.routing_id == *peer.routing_id {
            of.several |= newest.voice.host != voice.host;
            newest.voice.heard = now;
            of.beside.clone().filter(|beside| of_late(beside.heard))?
        } else {
            let mut older = of.older.iter_mut();
            let older = older.find(|older| older.routing_id == *peer.routing_id);
            let until = match older {
                Some(older) => {
                    older.heard = now;
                    older.until
                }
                None if new => {
                    of.begin(patience, peer.routing_id, voice);
                    return None;
                }
                None => newest.began,
            };
            if now.saturating_duration_since(until) < SETTLED {
                return None;
            }
            let names_differ = newest.voice.host != voice.host;
            if !of_late(newest.voice.heard) {
                of.several |= names_differ;
                // The newer one was the one that ended.
                of.older
                    .retain(|older| older.routing_id != *peer.routing_id);
                of.begin(patience, peer.routing_id, voice);
                return None;
            }
            let (first, last) = of.late.unwrap_or((now, now));
            of.late = Some((first, now));
            // What arrives together has nothing of the newer one between.
            of.several |= names_differ && newest.voice.heard > last;
            if now.saturating_duration_since(first) < SETTLED {
                return None;
            }
            let newest = newest.voice.clone();
            of.beside = Some(voice.clone());
            newest
        };
        let tell = of
            .told
            .is_none_or(|told| now.saturating_duration_since(told) >= TELL_INTERVAL);
        if tell {
            of.told = Some(now);
        }
        Some(Twin {
            key,
            hosts: [voice.host, other.host],
            addresses: [voice.address, other.address],
            tell,
        })
    }
}

impl KeyMachines {
    /// A connection begins, and becomes the newest.
    fn begin(&mut self, patience: Duration, routing_id: &RoutingIdBytes, voice: Voice) {
        let now = voice.heard;
        let before = self.newest.take();
        let same_name = before.as_ref().filter(|link| link.voice.host == voice.host);
        self.newest = Some(Link {
            routing_id: routing_id.clone(),
            began: now,
            named: same_name.map_or(now, |link| link.named),
            voice,
        });
        self.beside = None;
        self.late = None;
        let Some(before) = before else { return };
        self.older
            .retain(|older| now.saturating_duration_since(older.heard) < patience);
        if self.older.len() >= MAX_OLDER {
            // A connection that goes on reporting is kept, however many others there are.
            self.older.pop_back();
        }
        self.older.push_back(Older {
            routing_id: before.routing_id,
            until: now,
            heard: before.voice.heard,
        });
    }
}

impl Hosts {
    /// Records a message of a host, over a connection that may be `new` to it.
    pub(super) fn note_machine(
        &mut self,
        now: Instant,
        peer: Peer<'_>,
        name: &Arc<str>,
        new: bool,
    ) -> Option<Twin> {
        let patience = self.timing.host_timeout;
        let voice = Voice {
            heard: now,
            host: Arc::clone(name),
            address: self.table.get(name)?.address.clone(),
        };
        let twin = self.machines.note((patience, new), peer, voice);
        if new
            && self.peers.hosts_on(peer.routing_id) > 1
            && let Some(of) = peer.key.and_then(|key| self.machines.keys.get_mut(&key))
        {
            of.several = true;
        }
        twin
    }

    /// Counts a message of a host whose key reports from two machines.
    pub fn count_shared(&mut self, name: &str) {
        if let Some(host) = self.table.get_mut(name) {
            host.shared += 1;
        }
    }

    /// The name that a silent host reports under now, if it was renamed and went on reporting
    /// after the old name had ended.
    pub(super) fn renamed_to(&self, old: &str) -> Option<Arc<str>> {
        let silent = self.table.get(old)?;
        let (link, _) = self.machines.machine(silent.key?)?;
        let name = &link.voice.host;
        let host = self.table.get(name)?;
        let silent_since = match silent.state {
            // No host was heard before the restart was over.
            State::Expected => silent.since,
            State::Reporting { .. } | State::Gone => silent.last_seen,
        };
        let went_on = host.last_seen >= silent_since + self.timing.host_timeout / 2;
        let reports = host.presence() == Presence::Reporting && host.key == silent.key;
        (went_on && reports && **name != *old).then(|| Arc::clone(name))
    }

    /// An old name of a machine that is gone, once the machine has reported under another name
    /// for long enough.
    pub(super) fn give_up_old_name(&mut self, now: Instant, new: &Arc<str>) -> Option<Due> {
        let host = self.table.get(new)?;
        let (link, names) = self.machines.machine(host.key?)?;
        let since = link.named.max(host.since);
        if link.voice.host != *new
            || host.presence() != Presence::Reporting
            || now.saturating_duration_since(since) < self.timing.host_timeout
        {
            return None;
        }
        let is_gone = |name: &&Arc<str>| {
            let host = self.table.get(*name);
            host.is_some_and(|host| host.presence() == Presence::Gone)
        };
        let old = names.iter().find(is_gone).cloned()?;
        let old = self.forget(&old).ok()?;
        Some(Due::Renamed(Renamed {
            old,
            new: Arc::clone(new),
            was_there: false,
        }))
    }
}
