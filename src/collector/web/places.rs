//! Who may have the metrics now, who waits for them and who has to come again, pure.
//!
//! Where there is no place, the answer makes room whose reader has stood still for longest: who
//! takes places to keep others from them loses them. Until one may go, requests wait.
//!
//! One place of each address is for connections that have read a whole answer before, so that a
//! scraper which keeps its connection has its turn however many others come from the same address.
//! The other one is for new ones, so that who reads an answer first and none after that does not
//! keep out a scraper which makes a connection for each.

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::base::network::Network;

/// Answers of `/metrics` at a time. Each holds on to the metrics as they were when it began, and
/// has a thread.
pub(super) const MAX_ANSWERS: usize = 4;

/// How many of these one peer may have: one that does not read its answer must not keep
/// all others from theirs. A pair of Prometheus servers behind one proxy is one peer.
pub(super) const MAX_ANSWERS_OF_PEER: usize = 2;

/// A reader that has taken nothing for this long may lose its place to another: over a
/// slow line a piece takes less.
pub(super) const STILL: Duration = Duration::from_millis(500);

/// The same for one that has never read on after a pause, nor read an answer before.
pub(super) const STILL_FROM_THE_FIRST: Duration = Duration::from_millis(100);

/// The same for all pauses of an answer together: who reads a little now and then keeps a
/// place for no longer.
pub(super) const STILL_IN_ALL: Duration = Duration::from_secs(2);

/// How many requests of new connections wait for a place.
pub(super) const MAX_WAITING: usize = 8;

/// The same of one peer.
pub(super) const MAX_WAITING_OF_PEER: usize = 4;

/// How many requests of known connections of one peer wait: no peer has so many scrapers.
pub(super) const MAX_KNOWN_WAITING_OF_PEER: usize = 8;

/// How many known ones of a peer keep a place that a new one could have.
const KNOWN_THAT_STAY: usize = 1;

/// A place, or a turn to wait for one.
pub(super) type PlaceId = u64;

/// The answers that are being made or sent, each with what ends it.
#[derive(Debug)]
pub(super) struct Places<E> {
    answers: Vec<Answer<E>>,
    /// In the order in which they came.
    waiting: VecDeque<Waiter>,
    next: PlaceId,
}

#[derive(Clone, Copy, Debug)]
struct Waiter {
    id: PlaceId,
    peer: Network,
    /// Its connection has read a whole answer before.
    known: bool,
}

#[derive(Debug)]
struct Answer<E> {
    of: Waiter,
    /// Since when its reader has taken nothing of what is there.
    still: Option<Instant>,
    /// How long it stood still before.
    stood: Duration,
    /// It has read on after it had stood still.
    reads: bool,
    end: E,
}

/// Too many are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Taken;

/// What a request that waits gets.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Turn<E> {
    /// A place, and what ends the answer that has to go for it.
    Now(Option<E>),
    /// It waits on.
    Later,
}

impl<E> Default for Places<E> {
    fn default() -> Self {
        Self {
            answers: Vec::new(),
            waiting: VecDeque::new(),
            next: 0,
        }
    }
}

impl<E> Places<E> {
    /// Begins to wait for a place; `known` if the connection has read a whole answer before.
    pub(super) fn wait(&mut self, peer: IpAddr, known: bool) -> Result<PlaceId, Taken> {
        let peer = Network::of(peer);
        if known {
            let own = self.waiting.iter();
            let own = own.filter(|other| other.known && other.peer == peer);
            if own.count() >= MAX_KNOWN_WAITING_OF_PEER {
                return Err(Taken);
            }
        } else {
            self.make_room_to_wait(peer)?;
        }
        let id = self.next;
        self.next += 1;
        self.waiting.push_back(Waiter { id, peer, known });
        Ok(id)
    }

    /// Returns true if a request of a new connection of this peer could not even wait.
    pub(super) fn is_crowded(&self, peer: IpAddr) -> bool {
        let peer = Network::of(peer);
        let own = self.unknown().filter(|(_, other)| other.peer == peer);
        own.count() >= MAX_WAITING_OF_PEER
    }

    /// Where too many wait, the last one of the peer goes that most are of.
    fn make_room_to_wait(&mut self, peer: Network) -> Result<(), Taken> {
        let of = |peer| {
            self.unknown()
                .filter(|(_, other)| other.peer == peer)
                .count()
        };
        let own = of(peer);
        if own >= MAX_WAITING_OF_PEER {
            return Err(Taken);
        }
        if self.unknown().count() >= MAX_WAITING {
            let last = self
                .unknown()
                .max_by_key(|(at, other)| (of(other.peer), *at));
            let (at, _) = last
                .filter(|(_, other)| of(other.peer) > own + 1)
                .ok_or(Taken)?;
            self.waiting.remove(at);
        }
        Ok(())
    }

    fn unknown(&self) -> impl Iterator<Item = (usize, &Waiter)> {
        let waiting = self.waiting.iter().enumerate();
        waiting.filter(|(_, waiter)| !waiter.known)
    }

    /// Waits no longer.
    pub(super) fn give_up(&mut self, id: PlaceId) {
        self.waiting.retain(|waiter| waiter.id != id);
    }

    /// Takes the place that this one waits for, and whose answer `end` ends. The first known one of
    /// a peer comes first, then new ones, then further known ones; of these peers with fewer
    /// answers, then who has waited for longer. An error where another one waits instead.
    pub(super) fn take(&mut self, now: Instant, id: PlaceId, end: E) -> Result<Turn<E>, Taken> {
        if !self.waiting.iter().any(|waiter| waiter.id == id) {
            return Err(Taken);
        }
        let able = self.waiting.iter().filter_map(|waiter| {
            let room = self.room(now, waiter)?;
            Some((*waiter, room))
        });
        // The first of several that are equal.
        let first =
            able.min_by_key(|(waiter, _)| (self.rank(waiter), self.answers_of(waiter.peer)));
        let Some((of, room)) = first.filter(|(waiter, _)| waiter.id == id) else {
            return Ok(Turn::Later);
        };
        self.give_up(id);
        let other = match room {
            Room::Free => None,
            Room::Of(place) => Some(self.answers.swap_remove(place).end),
        };
        self.answers.push(Answer {
            of,
            still: None,
            stood: Duration::ZERO,
            reads: of.known,
            end,
        });
        Ok(Turn::Now(other))
    }

    fn rank(&self, waiter: &Waiter) -> u8 {
        match (waiter.known, self.known_of(waiter.peer)) {
            (true, 0..KNOWN_THAT_STAY) => 0,
            (false, _) => 1,
            (true, _) => 2,
        }
    }

    /// The answers to known connections of a peer.
    fn known_of(&self, peer: Network) -> usize {
        let all = self.answers.iter();
        let known = all.filter(|answer| answer.of.known && answer.of.peer == peer);
        known.count()
    }

    fn answers_of(&self, peer: Network) -> usize {
        let own = self.answers.iter().filter(|other| other.of.peer == peer);
        own.count()
    }

    fn room(&self, now: Instant, waiter: &Waiter) -> Option<Room> {
        let own = self.answers_of(waiter.peer) >= MAX_ANSWERS_OF_PEER;
        if !own && self.answers.len() < MAX_ANSWERS {
            return Some(Room::Free);
        }
        let answers = self.answers.iter().enumerate();
        let others = answers.filter(|(_, other)| !own || other.of.peer == waiter.peer);
        // The last known one of a peer that reads slowly does not go for a new one, as that may
        // never read; its connection ends by itself where a piece takes too long.
        let stays =
            |of: &Waiter| !waiter.known && of.known && self.known_of(of.peer) <= KNOWN_THAT_STAY;
        let may_go = others.filter(|(_, other)| !stays(&other.of) && other.may_go(now));
        let longest = may_go.max_by_key(|(place, other)| (other.still_for(now), Reverse(*place)));
        longest.map(|(place, _)| Room::Of(place))
    }

    /// The reader has something to take now, or has nothing.
    pub(super) fn stands_still(&mut self, id: PlaceId, now: Instant, still: bool) {
        // One that had to go may still end what it was at.
        if let Some(answer) = self.answers.iter_mut().find(|answer| answer.of.id == id) {
            let stood = answer.still_for(now);
            answer.stood += stood;
            // What is taken at once fills the kernel's buffers, and is no sign of a reader.
            answer.reads |= stood >= STILL_FROM_THE_FIRST;
            answer.still = still.then_some(now);
        }
    }

    /// Gives it back.
    pub(super) fn give_back(&mut self, id: PlaceId) {
        self.answers.retain(|answer| answer.of.id != id);
    }
}

/// A place for one that waits.
#[derive(Clone, Copy)]
enum Room {
    /// One that is free.
    Free,
    /// That of an answer that has to go.
    Of(usize),
}

impl<E> Answer<E> {
    fn still_for(&self, now: Instant) -> Duration {
        let still = self.still.map(|since| now.saturating_duration_since(since));
        still.unwrap_or_default()
    }

    fn may_go(&self, now: Instant) -> bool {
        let still = self.still_for(now);
        let patience = if self.reads {
            STILL
        } else {
            STILL_FROM_THE_FIRST
        };
        still >= patience || self.stood + still >= STILL_IN_ALL
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// One that does not wait where there is no place at once.
    fn come<E>(
        places: &mut Places<E>,
        now: Instant,
        address: &str,
        end: E,
    ) -> Result<(PlaceId, Option<E>), Taken> {
        let id = places.wait(peer(address), false)?;
        let turn = places.take(now, id, end);
        places.give_up(id);
        match turn? {
            Turn::Now(other) => Ok((id, other)),
            Turn::Later => Err(Taken),
        }
    }

    #[test]
    fn no_peer_has_all_places() {
        let now = Instant::now();
        let mut places = Places::default();
        let take = |places: &mut Places<()>, address| {
            come(places, now, address, ()).map(|(id, other)| {
                assert_eq!(other, None);
                id
            })
        };
        let mut ids = Vec::new();
        for address in [
            "192.0.2.1",
            "::ffff:192.0.2.1",
            "2001:db8::1",
            "2001:db8::2",
        ] {
            ids.push(take(&mut places, address).unwrap());
            if address.contains("ffff") {
                assert_eq!(take(&mut places, "192.0.2.1"), Err(Taken));
            }
        }
        assert_eq!(take(&mut places, "192.0.2.2"), Err(Taken));
        places.give_back(ids[2]);
        assert!(take(&mut places, "192.0.2.2").is_ok());
        places.give_back(ids[0]);
        assert!(take(&mut places, "2001:db8:0:1::").is_ok());
    }

    #[test]
    fn what_has_stood_still_for_longest_makes_room() {
        let start = Instant::now();
        let mut places = Places::default();
        let take = |places: &mut Places<&'static str>, at, address, end| {
            come(places, start + at, address, end)
        };
        let still = STILL_FROM_THE_FIRST;
        let (a, _) = take(&mut places, Duration::ZERO, "192.0.2.1", "a").unwrap();
        let (b, _) = take(&mut places, Duration::ZERO, "192.0.2.1", "b").unwrap();
        let (c, _) = take(&mut places, Duration::ZERO, "192.0.2.2", "c").unwrap();
        places.stands_still(a, start + still, true);
        places.stands_still(b, start, true);
        places.stands_still(c, start, true);
        // None has for long enough.
        let refused = take(&mut places, still / 2, "192.0.2.1", "x");
        assert_eq!(refused, Err(Taken));
        // One of its own goes, though another's stands still as well.
        let (d, other) = take(&mut places, still, "192.0.2.1", "d").unwrap();
        assert_eq!(other, Some("b"));
        // What has gone has no place to give back.
        places.give_back(b);
        // Who goes on reading stays, and has more time then.
        places.stands_still(a, start + 3 * still, false);
        places.stands_still(d, start + 3 * still, false);
        let refused = take(&mut places, 10 * STILL, "192.0.2.1", "x");
        assert_eq!(refused, Err(Taken));
        places.stands_still(a, start + 10 * STILL, true);
        let refused = take(&mut places, 10 * STILL + 4 * still, "192.0.2.1", "x");
        assert_eq!(refused, Err(Taken));
        let taken = take(&mut places, 11 * STILL, "192.0.2.1", "f");
        assert_eq!(taken.unwrap().1, Some("a"));
        // Where all places are taken, that of any peer may go.
        take(&mut places, STILL, "192.0.2.2", "e").unwrap();
        let taken = take(&mut places, STILL, "192.0.2.3", "g");
        assert_eq!(taken.unwrap().1, Some("c"));
    }

    #[test]
    fn who_reads_a_little_now_and_then_makes_room() {
        let start = Instant::now();
        let mut places = Places::default();
        let one = "192.0.2.1";
        for known in [false, true] {
            let crawls = places.wait(peer(one), known).unwrap();
            assert_eq!(places.take(start, crawls, known), Ok(Turn::Now(None)));
            let reads = places.wait(peer(one), false).unwrap();
            assert_eq!(places.take(start, reads, known), Ok(Turn::Now(None)));
            let pause = STILL.mul_f64(0.99);
            let mut now = start;
            let mut last = start;
            for _ in 0..5 {
                assert_eq!(come(&mut places, now, one, known), Err(Taken));
                places.stands_still(crawls, now, true);
                last = now;
                now += pause;
                places.stands_still(crawls, now, false);
            }
            assert!(now > start + STILL_IN_ALL && last < start + STILL_IN_ALL);
            if known {
                // A new one may never read; another known one has.
                assert_eq!(come(&mut places, now, one, true), Err(Taken));
            }
            let waits = places.wait(peer(one), known).unwrap();
            assert_eq!(places.take(now, waits, known), Ok(Turn::Now(Some(known))));
            places.give_back(waits);
            places.give_back(reads);
        }
    }

    #[test]
    fn who_waits_has_a_place_before_who_comes_later() {
        let now = Instant::now();
        let mut places = Places::default();
        let (one, other) = ("192.0.2.1", "192.0.2.2");
        let (a, _) = come(&mut places, now, one, 'a').unwrap();
        come(&mut places, now, one, 'b').unwrap();
        let waits: Vec<_> = (0..MAX_WAITING_OF_PEER)
            .map(|_| places.wait(peer(one), false).unwrap())
            .collect();
        assert_eq!(places.wait(peer(one), false), Err(Taken));
        for id in &waits {
            assert_eq!(places.take(now, *id, 'x'), Ok(Turn::Later));
        }
        // Others do not wait for a place that these could not have.
        assert!(come(&mut places, now, other, 'c').is_ok());
        places.give_back(a);
        assert_eq!(places.take(now, waits[1], 'x'), Ok(Turn::Later));
        assert_eq!(places.take(now, waits[0], 'd'), Ok(Turn::Now(None)));
        // Who gives up is in the way of none.
        places.stands_still(waits[0], now, true);
        places.give_up(waits[1]);
        assert_eq!(places.take(now, waits[1], 'x'), Err(Taken));
        let later = now + STILL_FROM_THE_FIRST;
        assert_eq!(places.take(later, waits[3], 'x'), Ok(Turn::Later));
        assert_eq!(places.take(later, waits[2], 'e'), Ok(Turn::Now(Some('d'))));
    }

    #[test]
    fn who_has_read_an_answer_before_has_a_place_before_all_that_have_not() {
        let now = Instant::now();
        let mut places = Places::default();
        let one = "192.0.2.1";
        come(&mut places, now, one, 'a').unwrap();
        let (b, _) = come(&mut places, now, one, 'b').unwrap();
        let new: Vec<_> = (0..MAX_WAITING_OF_PEER)
            .map(|_| places.wait(peer(one), false).unwrap())
            .collect();
        let known = places.wait(peer(one), true).unwrap();
        places.stands_still(b, now, true);
        let later = now + STILL_FROM_THE_FIRST;
        assert_eq!(places.take(later, new[0], 'x'), Ok(Turn::Later));
        assert_eq!(places.take(later, known, 'k'), Ok(Turn::Now(Some('b'))));
        // It goes for none of them; for another known one, though it has not read on yet.
        places.stands_still(known, later, true);
        let last = later + STILL;
        let early = later + STILL.mul_f64(0.99);
        let other = places.wait(peer(one), true).unwrap();
        assert_eq!(places.take(early, other, 'x'), Ok(Turn::Later));
        assert_eq!(places.take(last, new[0], 'x'), Ok(Turn::Later));
        places.give_up(other);
        assert_eq!(
            places.take(last + STILL_IN_ALL, new[0], 'x'),
            Ok(Turn::Later)
        );
        let other = places.wait(peer(one), true).unwrap();
        assert_eq!(places.take(last, other, 'o'), Ok(Turn::Now(Some('k'))));
    }

    #[test]
    fn who_read_an_answer_once_does_not_keep_new_ones_out() {
        let start = Instant::now();
        let mut places = Places::default();
        let one = "192.0.2.1";
        let known = |places: &mut Places<char>| places.wait(peer(one), true);
        let (a, b) = (known(&mut places).unwrap(), known(&mut places).unwrap());
        assert_eq!(places.take(start, a, 'a'), Ok(Turn::Now(None)));
        assert_eq!(places.take(start, b, 'b'), Ok(Turn::Now(None)));
        // It comes after as many more of them as may wait.
        let more: Vec<_> = (0..MAX_KNOWN_WAITING_OF_PEER)
            .map(|_| known(&mut places).unwrap())
            .collect();
        assert_eq!(known(&mut places), Err(Taken));
        let new = places.wait(peer(one), false).unwrap();
        places.stands_still(a, start + STILL, true);
        places.stands_still(b, start, true);
        let early = start + STILL.mul_f64(0.99);
        assert_eq!(places.take(early, new, 'n'), Ok(Turn::Later));
        let now = start + STILL;
        assert_eq!(places.take(now, more[0], 'x'), Ok(Turn::Later));
        assert_eq!(places.take(now, new, 'n'), Ok(Turn::Now(Some('b'))));
        // It reads, and none goes for it but who stands still.
        places.stands_still(new, now, false);
        let now = now + STILL;
        let other = places.wait(peer(one), false).unwrap();
        assert_eq!(places.take(now, other, 'o'), Ok(Turn::Later));
        assert_eq!(places.take(now, more[0], 'm'), Ok(Turn::Now(Some('a'))));
        assert_eq!(places.take(now, more[1], 'x'), Ok(Turn::Later));
        // A place that is free is the next new one's.
        places.give_back(new);
        assert_eq!(places.take(now, more[1], 'x'), Ok(Turn::Later));
        assert_eq!(places.take(now, other, 'o'), Ok(Turn::Now(None)));
        // From another address, where all places are taken.
        let stranger = "192.0.2.2";
        come(&mut places, now, stranger, 'p').unwrap();
        let crawls = places.wait(peer(stranger), true).unwrap();
        assert_eq!(places.take(now, crawls, 'c'), Ok(Turn::Now(None)));
        places.stands_still(more[0], now, true);
        places.stands_still(crawls, now, true);
        let third = places.wait(peer("192.0.2.3"), false).unwrap();
        // Each of these peers has one known one, which stays.
        let now = now + STILL_IN_ALL;
        assert_eq!(places.take(now, third, 't'), Ok(Turn::Later));
    }

    #[test]
    fn peers_share_the_room_to_wait() {
        let now = Instant::now();
        let mut places = Places::default();
        let mut answers = Vec::new();
        for address in ["192.0.2.1", "192.0.2.1", "192.0.2.2", "192.0.2.2"] {
            let (answer, _) = come(&mut places, now, address, 'a').unwrap();
            answers.push(answer);
        }
        let wait = |places: &mut Places<char>, address: &str| places.wait(peer(address), false);
        let mut flood = Vec::new();
        for address in ["192.0.2.1", "192.0.2.2"] {
            for _ in 0..MAX_WAITING_OF_PEER {
                flood.push(wait(&mut places, address).unwrap());
            }
        }
        // The last one of those with most gives way to others, down to one for each.
        let mut others = Vec::new();
        for number in 0..MAX_WAITING - 2 {
            let address = format!("198.51.100.{number}");
            others.push(wait(&mut places, &address).unwrap());
        }
        assert_eq!(wait(&mut places, "203.0.113.1"), Err(Taken));
        assert_eq!(wait(&mut places, "192.0.2.1"), Err(Taken));
        let gone: Vec<_> = flood
            .iter()
            .map(|id| places.take(now, *id, 'x').is_err())
            .collect();
        assert_eq!(gone, [false, true, true, true, false, true, true, true]);
        // Peers without an answer come before those that have some.
        places.give_back(answers[0]);
        assert_eq!(places.take(now, flood[0], 'x'), Ok(Turn::Later));
        assert_eq!(places.take(now, others[0], 'o'), Ok(Turn::Now(None)));
    }
}
