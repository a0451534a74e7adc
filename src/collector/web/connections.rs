//! Which connection has to go when there are too many, pure.
//!
//! One that waits, for a request or for its rest, costs the peer nothing; one that is
//! answered is what this server is for. So a new one takes the place of one that waits: of the
//! peer that has most, one that has not read an answer yet before one that has, and of these the
//! one that has waited for longest. Who opens connections to keep others out loses them; a
//! scraper that asks at once is answered, and one that keeps its connection has it next time.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Instant;

use crate::collector::network::Network;

/// A few servers of Prometheus and people who look; each may cost some 100 KB.
pub(super) const MAX_CONNECTIONS: usize = 32;

/// A connection.
pub(super) type Id = u64;

/// The connections that there are.
#[derive(Debug, Default)]
pub(super) struct Connections {
    all: HashMap<Id, Connection>,
    next: Id,
}

#[derive(Debug)]
struct Connection {
    peer: Network,
    /// Since when it waits; None while it is answered.
    waits: Option<Instant>,
    /// It has read a whole answer.
    known: bool,
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
    /// A new one, which waits.
    pub(super) fn admit(&mut self, now: Instant, peer: IpAddr) -> Admitted {
        let peer = Network::of(peer);
        let mut other = None;
        if self.all.len() >= MAX_CONNECTIONS {
            let Some(goes) = self.goes_for(peer) else {
                return Admitted::No;
            };
            self.all.remove(&goes);
            other = Some(goes);
        }
        let id = self.next;
        self.next += 1;
        let connection = Connection {
            peer,
            waits: Some(now),
            known: false,
        };
        self.all.insert(id, connection);
        match other {
            Some(other) => Admitted::InsteadOf { id, other },
            None => Admitted::Stays(id),
        }
    }

    /// Which one goes for a new one of this peer; None if that would have more than the other.
    fn goes_for(&self, peer: Network) -> Option<Id> {
        let mut shares = HashMap::from([(peer, 1_usize)]);
        for connection in self.all.values() {
            *shares.entry(connection.peer).or_default() += 1;
        }
        let share = |peer| shares.get(peer).copied().unwrap_or_default();
        let waiting = self.all.iter().filter_map(|(id, connection)| {
            let since = connection.waits?;
            Some((
                Reverse(share(&connection.peer)),
                connection.known,
                since,
                *id,
            ))
        });
        let (Reverse(most), _, _, id) = waiting.min()?;
        (most >= share(&peer)).then_some(id)
    }

    /// It has asked; whether it has read a whole answer before.
    pub(super) fn asked(&mut self, id: Id) -> bool {
        let connection = self.all.get_mut(&id);
        connection.is_some_and(|connection| {
            connection.waits = None;
            connection.known
        })
    }

    /// It has its answer, perhaps one of `/metrics` that it read to its end.
    pub(super) fn answered(&mut self, id: Id, now: Instant, read: bool) {
        // One that had to go may still end what it was at.
        if let Some(connection) = self.all.get_mut(&id) {
            connection.waits = Some(now);
            connection.known |= read;
        }
    }

    /// It is gone.
    pub(super) fn ended(&mut self, id: Id) {
        self.all.remove(&id);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn peer(number: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, number])
    }

    /// Full of connections of one peer, each a second younger than the one before.
    fn full(start: Instant) -> Connections {
        let mut connections = Connections::default();
        for id in 0..MAX_CONNECTIONS as u64 {
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
        let now = start + 100 * SECOND;
        connections.answered(1, now, false);
        let new = MAX_CONNECTIONS as u64;
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
        for id in 0..MAX_CONNECTIONS as u64 {
            connections.asked(id);
        }
        assert_eq!(connections.admit(now, peer(1)), Admitted::No);
        connections.answered(7, now, false);
        let id = MAX_CONNECTIONS as u64;
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
            let id = MAX_CONNECTIONS as u64 + new;
            let other = new + 1;
            let now = start + 100 * SECOND;
            let admitted = connections.admit(now, peer(1));
            assert_eq!(admitted, Admitted::InsteadOf { id, other });
        }
        assert!(connections.asked(0));
    }

    #[test]
    fn many_of_one_peer_push_none_of_another_out() {
        let start = Instant::now();
        let mut connections = full(start);
        let now = start + 100 * SECOND;
        let id = MAX_CONNECTIONS as u64;
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
            if id != MAX_CONNECTIONS as u64 {
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
