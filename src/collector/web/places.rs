//! Who may have the metrics now and who has to come again, pure.
//!
//! Where there is no place, the answer goes that has stood still for longest, as its reader
//! does not read: who takes places to keep others from them loses them.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::collector::network::Network;

/// Answers of `/metrics` at a time, those that wait for their turn included. Each holds on
/// to the metrics as they were when it began, and has a thread.
pub(super) const MAX_ANSWERS: usize = 4;

/// How many of these one peer may have: one that does not read its answer must not keep
/// all others from theirs. A pair of Prometheus servers behind one proxy is one peer.
pub(super) const MAX_ANSWERS_OF_PEER: usize = 2;

/// A reader that has taken nothing for this long may lose its place to another: over a
/// slow line a piece takes less.
pub(super) const STILL: Duration = Duration::from_millis(500);

/// A place.
pub(super) type PlaceId = u64;

/// The answers that are being made or sent, each with what ends it.
#[derive(Debug)]
pub(super) struct Places<E> {
    answers: Vec<Answer<E>>,
    next: PlaceId,
}

#[derive(Debug)]
struct Answer<E> {
    id: PlaceId,
    peer: Network,
    /// Since when its reader has taken nothing of what is there.
    still: Option<Instant>,
    end: E,
}

/// Too many are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Taken;

impl<E> Default for Places<E> {
    fn default() -> Self {
        Self {
            answers: Vec::new(),
            next: 0,
        }
    }
}

impl<E> Places<E> {
    /// Takes a place for this peer, whose answer `end` ends; and what ends the answer that
    /// has to go for it.
    pub(super) fn take(
        &mut self,
        now: Instant,
        peer: IpAddr,
        end: E,
    ) -> Result<(PlaceId, Option<E>), Taken> {
        let peer = Network::of(peer);
        let own = self.answers.iter().filter(|other| other.peer == peer);
        let other = if own.count() >= MAX_ANSWERS_OF_PEER {
            Some(self.longest_still(now, |other| other.peer == peer)?)
        } else if self.answers.len() >= MAX_ANSWERS {
            Some(self.longest_still(now, |_| true)?)
        } else {
            None
        };
        let other = other.map(|place| self.answers.swap_remove(place).end);
        let id = self.next;
        self.next += 1;
        self.answers.push(Answer {
            id,
            peer,
            still: None,
            end,
        });
        Ok((id, other))
    }

    fn longest_still(
        &self,
        now: Instant,
        among: impl Fn(&Answer<E>) -> bool,
    ) -> Result<usize, Taken> {
        let answers = self.answers.iter().enumerate();
        let still = answers.filter(|(_, answer)| among(answer));
        let still = still.filter_map(|(place, answer)| Some((answer.still?, place)));
        match still.min() {
            Some((since, place)) if now.saturating_duration_since(since) >= STILL => Ok(place),
            _ => Err(Taken),
        }
    }

    /// The reader has something to take since then, or nothing.
    pub(super) fn stands_still(&mut self, id: PlaceId, since: Option<Instant>) {
        // One that had to go may still end what it was at.
        if let Some(answer) = self.answers.iter_mut().find(|answer| answer.id == id) {
            answer.still = since;
        }
    }

    /// Gives it back.
    pub(super) fn give_back(&mut self, id: PlaceId) {
        self.answers.retain(|answer| answer.id != id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn no_peer_has_all_places() {
        let now = Instant::now();
        let mut places = Places::default();
        let take = |places: &mut Places<()>, address| {
            let taken = places.take(now, peer(address), ());
            taken.map(|(id, other)| {
                assert_eq!(other, None);
                id
            })
        };
        for (id, address) in (0..).zip([
            "192.0.2.1",
            "::ffff:192.0.2.1",
            "2001:db8::1",
            "2001:db8::2",
        ]) {
            assert_eq!(take(&mut places, address), Ok(id), "{address}");
            if address.contains("ffff") {
                assert_eq!(take(&mut places, "192.0.2.1"), Err(Taken));
            }
        }
        assert_eq!(take(&mut places, "192.0.2.2"), Err(Taken));
        places.give_back(2);
        assert_eq!(take(&mut places, "192.0.2.2"), Ok(4));
        places.give_back(0);
        assert_eq!(take(&mut places, "2001:db8:0:1::"), Ok(5));
    }

    #[test]
    fn who_has_stood_still_for_longest_makes_room() {
        let start = Instant::now();
        let mut places = Places::default();
        let take = |places: &mut Places<&'static str>, at, address, end| {
            places.take(start + at, peer(address), end)
        };
        take(&mut places, Duration::ZERO, "192.0.2.1", "a").unwrap();
        take(&mut places, Duration::ZERO, "192.0.2.1", "b").unwrap();
        take(&mut places, Duration::ZERO, "192.0.2.2", "c").unwrap();
        places.stands_still(0, Some(start + STILL));
        places.stands_still(1, Some(start));
        places.stands_still(2, Some(start));
        // Nobody has for long enough.
        let early = STILL / 2;
        let refused = take(&mut places, early, "192.0.2.1", "x");
        assert_eq!(refused, Err(Taken));
        // One of its own goes, though another's stands still as well.
        let taken = take(&mut places, STILL, "192.0.2.1", "d");
        assert_eq!(taken, Ok((3, Some("b"))));
        // What has gone is nobody's place.
        places.give_back(1);
        // Who goes on reading stays.
        places.stands_still(0, None);
        let refused = take(&mut places, 10 * STILL, "192.0.2.1", "x");
        assert_eq!(refused, Err(Taken));
        // Where all places are taken, anybody's may go.
        take(&mut places, STILL, "192.0.2.2", "e").unwrap();
        let taken = take(&mut places, STILL, "192.0.2.3", "f");
        assert_eq!(taken, Ok((5, Some("c"))));
    }
}
