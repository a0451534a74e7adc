//! Which connection has to go when there are too many, pure.
//!
//! One that waits, for a request or for its rest, costs the peer nothing; one that is
//! answered is what this server is for. So a new one takes the place of the one that has
//! waited for longest: whoever opens connections to keep others out loses them, and a
//! scraper that asks at once is answered.

use std::collections::HashMap;
use std::time::Instant;

/// A few servers of Prometheus and people who look; each may cost some 100 KB.
pub(super) const MAX_CONNECTIONS: usize = 32;

/// A connection.
pub(super) type Id = u64;

/// The connections that there are.
#[derive(Debug, Default)]
pub(super) struct Connections {
    /// Since when each waits; None while it is answered.
    waiting: HashMap<Id, Option<Instant>>,
    next: Id,
}

/// What becomes of a new connection.
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
    pub(super) fn admit(&mut self, now: Instant) -> Admitted {
        let mut other = None;
        if self.waiting.len() >= MAX_CONNECTIONS {
            let waiting = self.waiting.iter();
            let waiting = waiting.filter_map(|(id, since)| Some(((*since)?, *id)));
            let Some((_, longest)) = waiting.min() else {
                return Admitted::No;
            };
            self.waiting.remove(&longest);
            other = Some(longest);
        }
        let id = self.next;
        self.next += 1;
        self.waiting.insert(id, Some(now));
        match other {
            Some(other) => Admitted::InsteadOf { id, other },
            None => Admitted::Stays(id),
        }
    }

    /// It has asked.
    pub(super) fn asked(&mut self, id: Id) {
        self.set(id, None);
    }

    /// It has its answer.
    pub(super) fn answered(&mut self, id: Id, now: Instant) {
        self.set(id, Some(now));
    }

    /// It is gone.
    pub(super) fn ended(&mut self, id: Id) {
        self.waiting.remove(&id);
    }

    fn set(&mut self, id: Id, state: Option<Instant>) {
        // One that had to go may still end what it was at.
        if let Some(waiting) = self.waiting.get_mut(&id) {
            *waiting = state;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_one_that_has_waited_for_longest_goes() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let mut connections = Connections::default();
        for id in 0..MAX_CONNECTIONS as u64 {
            let at = start + second * u32::try_from(id).unwrap();
            assert_eq!(connections.admit(at), Admitted::Stays(id));
        }
        // The first is answered, the second was, the third waits since it came.
        connections.asked(0);
        connections.asked(1);
        let now = start + 100 * second;
        connections.answered(1, now);
        let new = MAX_CONNECTIONS as u64;
        assert_eq!(
            connections.admit(now),
            Admitted::InsteadOf { id: new, other: 2 }
        );
        connections.answered(2, now);
        assert_eq!(
            connections.admit(now),
            Admitted::InsteadOf {
                id: new + 1,
                other: 3
            }
        );
        connections.ended(new);
        assert_eq!(connections.admit(now), Admitted::Stays(new + 2));
    }

    #[test]
    fn one_that_is_answered_stays() {
        let now = Instant::now();
        let mut connections = Connections::default();
        for id in 0..MAX_CONNECTIONS as u64 {
            connections.admit(now);
            connections.asked(id);
        }
        assert_eq!(connections.admit(now), Admitted::No);
        connections.answered(7, now);
        let id = MAX_CONNECTIONS as u64;
        assert_eq!(connections.admit(now), Admitted::InsteadOf { id, other: 7 });
    }
}
