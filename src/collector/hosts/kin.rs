//! The hosts of each key: whether a key reports from two machines at a time, and which names
//! are old ones of a host that was renamed. Pure.
//!
//! An agent takes a new routing id for each connection and never uses an old one again. So
//! two machines are at work where an older connection of a key goes on speaking long after
//! a newer one has begun: a machine was cloned with its key. One connection that reports
//! for many hosts, as a gateway does, is one machine.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::host::{Host, State};
use super::vocabulary::{Due, Peer, Renamed, Twin};
use super::{Hosts, PublicKey};
use crate::collector::hosts::snapshot::Presence;
use crate::curve::router::RoutingIdBytes;

/// What an old connection still had on its way is read within moments of the new one's
/// beginning; what comes later was sent later.
const SETTLED: Duration = Duration::from_secs(10);

/// Most connections of a key remembered that hosts were taken from: so many clones of one
/// machine are told apart, and one more is still a clone.
const MAX_LEFT: usize = 4;

/// Between two lines on the same key: a clone stays until somebody sees to it.
const TELL_INTERVAL: Duration = Duration::from_secs(3600);

/// The old name's last message may be read after the first one of the new name.
const OVERLAP: Duration = Duration::from_secs(2);

/// Of more than two names, so long is between the last message of one and the first of the next at
/// least: a gateway reports its hosts one right after the other.
const APART: Duration = Duration::from_millis(500);

/// Most names of a machine that are known as such: its first boot gives it two or three. A key
/// with more hosts is a gateway's.
const MAX_NAMES: usize = 8;

/// What is known of each key that has hosts.
#[derive(Debug, Default)]
pub(super) struct Kin {
    keys: HashMap<PublicKey, OfKey>,
}

#[derive(Debug, Default)]
struct OfKey {
    /// All of its hosts, also those that are gone: one, but for relays.
    hosts: Vec<Arc<str>>,
    newest: Option<Link>,
    /// Connections that a host was taken from by another one of this key, and when first.
    left: VecDeque<(RoutingIdBytes, Instant)>,
    told: Option<Instant>,
}

/// A connection of a key.
#[derive(Debug)]
struct Link {
    routing_id: RoutingIdBytes,
    since: Instant,
    heard: Instant,
    host: Arc<str>,
    address: Option<Arc<str>>,
}

impl Kin {
    /// One more host of a key.
    pub(super) fn own(&mut self, key: Option<PublicKey>, host: &Arc<str>) {
        if let Some(key) = key {
            self.keys.entry(key).or_default().hosts.push(host.clone());
        }
    }

    /// One host less of a key.
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

    /// The hosts of a key, where they may all be names of one machine.
    fn few(&self, key: PublicKey) -> Option<&[Arc<str>]> {
        let hosts = &self.keys.get(&key)?.hosts;
        (hosts.len() <= MAX_NAMES).then_some(hosts)
    }

    /// A host has gone over to another connection of the same key.
    fn taken(&mut self, now: Instant, key: PublicKey, from: &RoutingIdBytes) {
        let Some(of) = self.keys.get_mut(&key) else {
            return;
        };
        if of.left.iter().any(|(id, _)| id == from) {
            return;
        }
        if of.left.len() >= MAX_LEFT {
            of.left.pop_front();
        }
        of.left.push_back((from.clone(), now));
    }

    /// A host was heard over a connection of its key, which is `new` to it or not: whether
    /// another machine reports with the same key at this time.
    fn heard(
        &mut self,
        now: Instant,
        (patience, new): (Duration, bool),
        peer: Peer<'_>,
        name: &Arc<str>,
        address: Option<&Arc<str>>,
    ) -> Option<Twin> {
        let key = peer.key?;
        let of = self.keys.get_mut(&key)?;
        let link = |host: &Arc<str>| Link {
            routing_id: peer.routing_id.clone(),
            since: now,
            heard: now,
            host: Arc::clone(host),
            address: address.cloned(),
        };
        let long_ago = |then| now.saturating_duration_since(then) >= SETTLED;
        let Some(newest) = &mut of.newest else {
            of.newest = Some(link(name));
            return None;
        };
        if newest.routing_id == *peer.routing_id {
            newest.heard = now;
            if !new && long_ago(newest.since) {
                // It has what others may have taken from it for a moment.
                of.left.retain(|(id, _)| id != peer.routing_id);
            }
            return None;
        }
        let old = if new {
            let left = of.left.iter().find(|(id, _)| id == peer.routing_id);
            left.is_some_and(|(_, first)| long_ago(*first))
        } else {
            long_ago(newest.since)
        };
        // The newer one may have been the one that ended.
        let both = now.saturating_duration_since(newest.heard) < patience;
        let twin = (both && old).then(|| Twin {
            key,
            hosts: [Arc::clone(name), Arc::clone(&newest.host)],
            addresses: [address.cloned(), newest.address.clone()],
            tell: of
                .told
                .is_none_or(|told| now.saturating_duration_since(told) >= TELL_INTERVAL),
        });
        if !both && !new {
            of.newest = Some(link(name));
        }
        if twin.as_ref().is_some_and(|twin| twin.tell) {
            of.told = Some(now);
        }
        twin
    }

    /// A host has come over a connection that is new to it.
    fn joined(&mut self, now: Instant, peer: Peer<'_>, name: &Arc<str>, host: &Host) {
        let Some(of) = peer.key.and_then(|key| self.keys.get_mut(&key)) else {
            return;
        };
        let known = of.newest.as_ref();
        if known.is_some_and(|newest| newest.routing_id == *peer.routing_id) {
            return;
        }
        of.newest = Some(Link {
            routing_id: peer.routing_id.clone(),
            since: now,
            heard: now,
            host: Arc::clone(name),
            address: host.address.clone(),
        });
    }
}

impl Hosts {
    /// A host has come to a connection, from another one where it had one.
    pub(super) fn kin_moved(
        &mut self,
        now: Instant,
        peer: Peer<'_>,
        name: &Arc<str>,
        from: Option<(Option<PublicKey>, RoutingIdBytes)>,
    ) -> Option<Twin> {
        let patience = self.timing.host_timeout;
        let host = self.table.get(name)?;
        let twin = self
            .kin
            .heard(now, (patience, true), peer, name, host.address.as_ref());
        if let Some((key, id)) = from
            && key == peer.key
            && let Some(key) = key
        {
            self.kin.taken(now, key, &id);
        }
        self.kin.joined(now, peer, name, host);
        twin
    }

    /// A host was heard where it is.
    pub(super) fn kin_heard(
        &mut self,
        now: Instant,
        peer: Peer<'_>,
        name: &Arc<str>,
    ) -> Option<Twin> {
        let patience = self.timing.host_timeout;
        let address = self.table.get(name)?.address.as_ref();
        self.kin.heard(now, (patience, false), peer, name, address)
    }

    /// Counts a message of a host whose key reports from two machines.
    pub fn count_shared(&mut self, name: &str) {
        if let Some(host) = self.table.get_mut(name) {
            host.shared += 1;
        }
    }

    /// The names of a key, the oldest first, where each was silent before the next one came: one
    /// machine that was renamed, maybe several times. None where two were there side by side, as
    /// behind a gateway, or may have been.
    fn chain(&self, key: PublicKey) -> Option<Vec<&Arc<str>>> {
        let hosts = self.kin.few(key)?.iter();
        let hosts = hosts.map(|name| Some((name, self.table.get(name)?)));
        let mut hosts = hosts.collect::<Option<Vec<_>>>()?;
        hosts.sort_by_key(|(_, host)| (host.first, host.last_seen));
        let are_two = hosts.len() == 2;
        let one_by_one = hosts.windows(2).all(|pair| match pair {
            [(_, old), (_, new)] => new.first.is_some_and(|first| {
                if are_two {
                    old.last_seen <= first + OVERLAP
                } else {
                    old.last_seen + APART <= first
                }
            }),
            _ => true,
        });
        one_by_one.then(|| hosts.into_iter().map(|(name, _)| name).collect())
    }

    /// The name that a silent host reports under now, where it was renamed: the last one of its
    /// key, a new one, that went on reporting after the old one had ended.
    pub(super) fn renamed_to(&self, old: &str) -> Option<Arc<str>> {
        let silent = self.table.get(old)?;
        let chain = self.chain(silent.key?)?;
        let name = *chain.last()?;
        let host = self.table.get(name)?;
        let went_on = host.last_seen >= silent.last_seen + self.timing.host_timeout / 2;
        let reports = went_on && host.presence() == Presence::Reporting;
        (reports && host.new_name && **name != *old).then(|| Arc::clone(name))
    }

    /// Once a host of a new name has reported for long enough: an old name of it, where that
    /// was gone before.
    pub(super) fn take_old_name(&mut self, now: Instant, new: &Arc<str>) -> Option<Due> {
        let patience = self.timing.host_timeout;
        let host = self.table.get(new)?;
        if !host.new_name || now.saturating_duration_since(host.since) < patience {
            return None;
        }
        let chain = self
            .chain(host.key?)
            .filter(|chain| chain.last() == Some(&new));
        let old = chain.into_iter().flatten().filter(|name| *name != new);
        let gone = |name: &&Arc<str>| {
            let host = self.table.get(*name);
            host.is_some_and(|host| matches!(host.state, State::Gone))
        };
        let (gone, rest): (Vec<_>, Vec<_>) = old.partition(gone);
        let Some(old) = gone.first().map(|name| Arc::clone(name)) else {
            if rest.is_empty()
                && let Some(host) = self.table.get_mut(new)
            {
                host.new_name = false;
            }
            return None;
        };
        let old = self.forget(&old).ok()?;
        Some(Due::Renamed(Renamed {
            old,
            new: Arc::clone(new),
            was_there: false,
        }))
    }
}
