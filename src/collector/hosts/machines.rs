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
//! appeared, and however many there are.
//!
//! In doubt a name is kept, because an alert that is missing is worse than one too many:
//!
//! - Two names that were there side by side, for however short a time, are kept as those of two
//!   hosts. The other names of their key are not affected.
//! - A key whose connections report under names in turn, again and again, has several hosts.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::boots::{OtherMachine, boot_id};
use super::types::{Change, Peer, Proof, Twin};
use super::{Hosts, PublicKey};
use crate::collector::schemas::HostGrid;
use crate::curve::router::RoutingIdBytes;
use crate::metrics::table::SYS_UPTIME;
use crate::protocol::grid::Grid;
use crate::protocol::message::GridKind;

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

/// When an agent reports over a new connection, it has closed the old one two round trips
/// before. What is read of the old one so long after the first report is a sign that another
/// host is there, even if it comes only once.
const CLOSED: Duration = Duration::from_secs(1);

/// How often a key may go back to a name that is not given up yet, with nothing given up in
/// between. A machine whose name changes at its first boot goes back once or twice. A relay that
/// makes a connection for each report does so all the time.
const MAX_RETURNS: u32 = 8;

/// What is known of each key that has hosts.
#[derive(Debug, Default)]
pub(super) struct Machines {
    /// Boxed, as up to half of the places are empty.
    keys: HashMap<PublicKey, Box<KeyMachines>>,
}

#[derive(Debug, Default)]
struct KeyMachines {
    /// All of its hosts, also those that are gone.
    hosts: Vec<Arc<str>>,
    /// True if they are not names of one machine.
    several: bool,
    /// How often it went back to a name since the last one was given up.
    returns: u32,
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
pub(super) struct Link {
    routing_id: RoutingIdBytes,
    began: Instant,
    /// Since when connections of the key report under this name and no other.
    pub(super) named: Instant,
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
            let hosts = &mut self.keys.entry(key).or_default().hosts;
            if hosts.is_empty() {
                // Most keys have one.
                hosts.reserve_exact(1);
            }
            hosts.push(host.clone());
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
            of.returns = 0;
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
    pub(super) fn machine(&self, key: PublicKey) -> Option<(&Link, &[Arc<str>])> {
        let of = self.keys.get(&key)?;
        let newest = of.newest.as_ref().filter(|_| !of.several)?;
        Some((newest, &of.hosts))
    }

    /// The name of the newest connection of a key, and how long it has been there, if this peer
    /// reports under another name over an older connection.
    fn beside(&self, now: Instant, peer: Peer<'_>, host: &str) -> Option<(Arc<str>, Duration)> {
        let of = self.keys.get(&peer.key?)?;
        let newest = of.newest.as_ref()?;
        let other = newest.routing_id != *peer.routing_id && *newest.voice.host != *host;
        let mut older = of.older.iter().filter(|_| other && !of.several);
        let older = older.find(|older| older.routing_id == *peer.routing_id)?;
        let lasted = now.saturating_duration_since(older.until);
        Some((Arc::clone(&newest.voice.host), lasted))
    }

    /// Records a message of a host over a connection of its key, and whether it appeared there
    /// or moved there with it. Returns a [`Twin`] if another machine reports with the same key
    /// at this time.
    fn note(
        &mut self,
        (patience, change): (Duration, Option<Change>),
        peer: Peer<'_>,
        voice: Voice,
    ) -> Option<Twin> {
        let key = peer.key?;
        let of = self.keys.get_mut(&key)?;
        let now = voice.heard;
        let is_back = matches!(change, Some(Change::Replaced { .. }));
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
                None if change.is_some() => {
                    of.returned(is_back, &voice.host);
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
        Some(Twin {
            key,
            hosts: [voice.host, other.host],
            addresses: [voice.address, other.address],
            proof: None,
            tell: of.tell(now),
        })
    }
}

impl Link {
    /// The name that it reports under.
    pub(super) fn host(&self) -> &Arc<str> {
        &self.voice.host
    }
}

impl KeyMachines {
    /// Returns true if a line about this key is due.
    fn tell(&mut self, now: Instant) -> bool {
        let long_ago = |told| now.saturating_duration_since(told) >= TELL_INTERVAL;
        let tell = self.told.is_none_or(long_ago);
        if tell {
            self.told = Some(now);
        }
        tell
    }

    /// A new connection reports under this name, which may be one that is not given up yet.
    fn returned(&mut self, is_back: bool, host: &str) {
        let newest = self.newest.as_ref();
        if is_back && newest.is_some_and(|newest| *newest.voice.host != *host) {
            self.returns += 1;
            self.several |= self.returns >= MAX_RETURNS;
        }
    }

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
    /// Records a message of a host, with what it says, and whether the host appeared or moved with
    /// it.
    pub(super) fn note_machine(
        &mut self,
        now: Instant,
        peer: Peer<'_>,
        name: &Arc<str>,
        change: Option<Change>,
        (kind, grids): (GridKind, &[Arc<HostGrid>]),
    ) -> Option<Twin> {
        let patience = self.timing.host_timeout;
        let host = self.table.get_mut(name)?;
        let address = host.address.clone();
        // The one that has the uptime, of those of one message.
        let of_uptime = grids
            .iter()
            .find(|grid| grid.get(SYS_UPTIME.name).is_some());
        let grid: Option<&Grid> = of_uptime.or(grids.first()).map(|grid| &***grid);
        let of_boot = grid.filter(|_| kind == GridKind::Model);
        let boot = of_boot.and_then(boot_id);
        let machine = &mut host.machine;
        let other = boot.and_then(|boot| machine.boots.note(now, boot, address.as_ref()));
        let uptimes = &mut machine.uptimes;
        let in_boot = grid
            .and_then(|grid| uptimes.note(now, peer.routing_id, (kind, grid), address.as_ref()));
        let other = other.map(|other| (other, Proof::Boots));
        let other = other.or_else(|| Some((in_boot?, Proof::Uptimes)));
        self.note_beside(now, peer, name);
        let voice = Voice {
            heard: now,
            host: Arc::clone(name),
            address: address.clone(),
        };
        let twin = self.machines.note((patience, change), peer, voice);
        if change.is_some()
            && self.peers.hosts_on(peer.routing_id) > 1
            && let Some(of) = peer.key.and_then(|key| self.machines.keys.get_mut(&key))
        {
            of.several = true;
        }
        let Some((OtherMachine(other), proof)) = other else {
            return twin;
        };
        let key = peer.key?;
        let twin = twin.or_else(|| {
            Some(Twin {
                key,
                hosts: [Arc::clone(name), Arc::clone(name)],
                addresses: [address, other],
                proof: Some(proof),
                tell: self.machines.keys.get_mut(&key)?.tell(now),
            })
        })?;
        Some(Twin {
            proof: Some(proof),
            ..twin
        })
    }

    /// Notes two names of a key that are there at the same time.
    fn note_beside(&mut self, now: Instant, peer: Peer<'_>, name: &Arc<str>) {
        let Some((other, lasted)) = self.machines.beside(now, peer, name) else {
            return;
        };
        let boot = |name| {
            self.table
                .get(name)
                .and_then(|host| host.machine.boots.current())
        };
        let boots_differ = match (boot(name), boot(&other)) {
            (Some(one), Some(other)) => one != other,
            _ => false,
        };
        if lasted < CLOSED && !boots_differ {
            return;
        }
        for name in [name, &other] {
            if let Some(host) = self.table.get_mut(name) {
                host.machine.beside = true;
            }
        }
    }

    /// Counts a message of a host whose key reports from two machines.
    pub fn count_shared(&mut self, name: &str) {
        if let Some(host) = self.table.get_mut(name) {
            host.counts.shared += 1;
        }
    }
}
