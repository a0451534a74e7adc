//! Which connection has to go when there are too many, pure.
//!
//! One that waits for its peer, for a request or until the beginning of an answer is read, costs
//! the peer nothing. So a new one takes the place of one that waits: of the peer that has most, the
//! one that has stood still for longest. There are so many that a peer which asks and reads at once
//! is never that one, however fast another opens connections at the same address.
//!
//! A connection that has read an answer is kept before those that have not, so that a scraper has
//! it next time; of each peer only the first few, as an answer may fit into buffers unread.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Instant;

use crate::base::network::Network;

/// How many of a peer are kept because they have read an answer.
pub(super) const MAX_KEPT_OF_PEER: usize = 8;

/// A connection.
pub(super) type Id = u64;

/// The connections that there are.
#[derive(Debug)]
pub(super) struct Connections {
    /// So many at a time.
    most: usize,
    all: HashMap<Id, Connection>,
    /// How many each peer has.
    shares: HashMap<Network, usize>,
    next: Id,
}

#[derive(Debug)]
struct Connection {
    peer: Network,
    /// Since when it waits for its peer; None while the peer waits for an answer.
    waits: Option<Instant>,
    /// It has read a whole answer.
    known: bool,
    /// It is one of the first of its peer that have.
    kept: bool,
}

/// The decision on a new connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admitted {
    /// It stays.
    Stays(Id),
    /// It takes the place of another, which has to go.
    InsteadOf {
        /// It.
        id: Id,
        /// The other.
        other: Id,
    },
    /// All others are being answered.
    No,
}

impl Connections {
    /// None yet, and at most so many.
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            all: HashMap::new(),
            shares: HashMap::new(),
            next: 0,
        }
    }

    /// A new one, which waits.
    pub(super) fn admit(&mut self, now: Instant, peer: IpAddr) -> Admitted {
        let peer = Network::of(peer);
        let mut other = None;
        if self.all.len() >= self.most {
            let Some(goes) = self.goes_for(peer) else {
                return Admitted::No;
            };
            self.ended(goes);
            other = Some(goes);
        }
        let id = self.next;
        self.next += 1;
        let connection = Connection {
            peer,
            waits: Some(now),
            known: false,
            kept: false,
        };
        self.all.insert(id, connection);
        *self.shares.entry(peer).or_default() += 1;
        match other {
            Some(other) => Admitted::InsteadOf { id, other },
            None => Admitted::Stays(id),
        }
    }

    /// Which one goes for a new one of this peer; None if that would have more than the other.
    fn goes_for(&self, peer: Network) -> Option<Id> {
        let own = self.shares.get(&peer).copied().unwrap_or_default() + 1;
        let share = |of: Network, share: usize| share + usize::from(of == peer);
        let mut peers: Vec<_> = self
            .shares
            .iter()
            .map(|(of, count)| (*of, share(*of, *count)))
            .collect();
        peers.retain(|(_, share)| *share >= own);
        peers.sort_unstable_by_key(|(_, share)| Reverse(*share));
        let mut most = peers.chunk_by(|(_, one), (_, other)| one == other);
        most.find_map(|most| self.longest_still(most))
    }

    /// The one of these peers that has stood still for longest, those that are kept last.
    fn longest_still(&self, of: &[(Network, usize)]) -> Option<Id> {
        let all = self.all.iter();
        let of_these = all.filter(|(_, one)| of.iter().any(|(peer, _)| *peer == one.peer));
        let waiting = of_these.filter_map(|(id, one)| Some((one.kept, one.waits?, *id)));
        waiting.min().map(|(_, _, id)| id)
    }

    /// It has asked; whether it has read a whole answer before.
    pub(super) fn asked(&mut self, id: Id) -> bool {
        self.waits(id, None);
        let connection = self.all.get(&id);
        connection.is_some_and(|connection| connection.known)
    }

    /// Since when it waits for its peer, or that it does not.
    pub(super) fn waits(&mut self, id: Id, since: Option<Instant>) {
        // One that had to go may still end what it was at.
        if let Some(connection) = self.all.get_mut(&id) {
            connection.waits = since;
        }
    }

    /// It has its answer, perhaps one of `/metrics` that it read to its end.
    pub(super) fn answered(&mut self, id: Id, now: Instant, read: bool) {
        let Some(connection) = self.all.get_mut(&id) else {
            return;
        };
        connection.waits = Some(now);
        connection.known |= read;
        let peer = connection.peer;
        if !read || connection.kept {
            return;
        }
        let kept = self
            .all
            .values()
            .filter(|other| other.kept && other.peer == peer);
        let kept = kept.count() < MAX_KEPT_OF_PEER;
        if let Some(connection) = self.all.get_mut(&id) {
            connection.kept = kept;
        }
    }

    /// It is gone.
    pub(super) fn ended(&mut self, id: Id) {
        let Some(gone) = self.all.remove(&id) else {
            return;
        };
        if let Some(share) = self.shares.get_mut(&gone.peer) {
            *share -= 1;
            if *share == 0 {
                self.shares.remove(&gone.peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::collector::descriptors::MAX_WEB;

    const SECOND: Duration = Duration::from_secs(1);

    fn peer(number: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, number])
    }

    /// Full of connections of one peer, each a second younger than the one before.
    fn full(start: Instant) -> Connections {
        let mut connections = Connections::new(MAX_WEB);
        for id in 0..MAX_WEB as u64 {
            let at = start + SECOND * u32::try_from(id).unwrap();
            assert_eq!(connections.admit(at, peer(1)), Admitted::Stays(id));
        }
        connections
    }

    #[test]
    fn the_one_that_has_waited_for_longest_goes() {
        let start = Instant::now();
        let mut connections = full(start);
        // The first is answered, the second was, the third waits since it came.
        connections.asked(0);
        connections.asked(1);
        let now = start + 1000 * SECOND;
        connections.answered(1, now, false);
        let new = MAX_WEB as u64;
        for (id, other) in [(new, 2), (new + 1, 3)] {
            let admitted = connections.admit(now, peer(1));
            assert_eq!(admitted, Admitted::InsteadOf { id, other });
            connections.answered(other, now, false);
        }
        connections.ended(new);
        assert_eq!(connections.admit(now, peer(1)), Admitted::Stays(new + 2));
    }

    #[test]
    fn one_that_is_answered_stays() {
        let now = Instant::now();
        let mut connections = full(now);
        for id in 0..MAX_WEB as u64 {
            connections.asked(id);
        }
        assert_eq!(connections.admit(now, peer(1)), Admitted::No);
        connections.answered(7, now, false);
        let id = MAX_WEB as u64;
        let admitted = connections.admit(now, peer(2));
        assert_eq!(admitted, Admitted::InsteadOf { id, other: 7 });
    }

    #[test]
    fn one_that_has_read_an_answer_stays_before_those_that_have_not() {
        let start = Instant::now();
        let mut connections = full(start);
        assert!(!connections.asked(0));
        connections.answered(0, start, true);
        // All others come and go.
        for new in 0..100 {
            let id = MAX_WEB as u64 + new;
            let other = new + 1;
            let now = start + 1000 * SECOND;
            let admitted = connections.admit(now, peer(1));
            assert_eq!(admitted, Admitted::InsteadOf { id, other });
        }
        assert!(connections.asked(0));
    }

    /// An answer that fits into the kernel's buffers counts as read.
    #[test]
    fn a_peer_that_only_seems_to_read_keeps_few_connections() {
        let start = Instant::now();
        let mut connections = full(start);
        for id in 0..MAX_WEB as u64 {
            assert!(!connections.asked(id));
            connections.answered(id, start + SECOND, true);
        }
        let now = start + 2 * SECOND;
        for new in 0..2 * MAX_WEB as u64 {
            let admitted = connections.admit(now + SECOND, peer(1));
            let id = MAX_WEB as u64 + new;
            let other = MAX_KEPT_OF_PEER as u64 + new;
            assert_eq!(admitted, Admitted::InsteadOf { id, other });
        }
        assert!(connections.asked(0));
        // Once one of these is gone, the next that reads is kept.
        connections.ended(3);
        let (one, other) = (3 * MAX_WEB as u64 - 2, 3 * MAX_WEB as u64 - 1);
        connections.answered(other, now, true);
        connections.answered(one, now, true);
        assert!(connections.all[&other].kept && !connections.all[&one].kept);
    }

    /// It is answered, but does not read.
    #[test]
    fn one_that_does_not_take_the_beginning_of_its_answer_goes() {
        let start = Instant::now();
        let mut connections = full(start);
        for id in 0..MAX_WEB as u64 {
            connections.asked(id);
        }
        let now = start + 1000 * SECOND;
        assert_eq!(connections.admit(now, peer(1)), Admitted::No);
        connections.waits(5, Some(start + SECOND));
        connections.waits(6, Some(start));
        connections.waits(7, Some(start));
        // It has taken it, and waits for the rest.
        connections.waits(6, None);
        let id = MAX_WEB as u64;
        for (id, other) in [(id, 7), (id + 1, 5)] {
            let admitted = connections.admit(now, peer(1));
            assert_eq!(admitted, Admitted::InsteadOf { id, other });
            connections.asked(id);
        }
        assert_eq!(connections.admit(now, peer(1)), Admitted::No);
    }

    #[test]
    fn many_of_one_peer_push_none_of_another_out() {
        let start = Instant::now();
        let mut connections = full(start);
        let now = start + 1000 * SECOND;
        let id = MAX_WEB as u64;
        let admitted = connections.admit(start, peer(2));
        assert_eq!(admitted, Admitted::InsteadOf { id, other: 0 });
        for new in 1..100 {
            let other = if new < id { new } else { new + 1 };
            let id = id + new;
            let admitted = connections.admit(now, peer(1));
            assert_eq!(admitted, Admitted::InsteadOf { id, other }, "{new}");
        }
        // Nor where all of their own are answered.
        for id in 0..id + 100 {
            if id != MAX_WEB as u64 {
                connections.asked(id);
            }
        }
        assert_eq!(connections.admit(now, peer(1)), Admitted::No);
        assert!(matches!(
            connections.admit(now, peer(3)),
            Admitted::InsteadOf { .. }
        ));
    }
}
