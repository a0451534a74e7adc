//! How many connections there may be, and who goes when there are too many. Pure.
//!
//! Strangers cost as little as possible: a few hundred may be in their handshake at a time, and
//! each network may begin a number of handshakes a second. If there are more, the oldest of the
//! network that has most of them goes, so that those who flood crowd out each other; but none
//! before it had the time for a handshake, so that a fleet that returns at once does not crowd out
//! itself. Meanwhile the kernel holds those who come.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use crate::base::network::Network;
use crate::curve::keys::PublicKey;
use crate::curve::timing::HANDSHAKE_TIMEOUT;

/// Connections in their handshake, at most. Each holds some 3 KiB, and a flood of as many a second
/// leaves each of them a second.
pub(super) const MAX_HALF_OPEN: usize = 4096;

/// What a stranger has at least: four round trips to another continent, and the wait for its turn.
const LEAST_TIME: Duration = Duration::from_secs(1);

/// The same for one of a network that has more than [`CROWD`] of them, so that those who come while
/// it floods wait for less than a second.
const LEAST_TIME_IN_CROWD: Duration = Duration::from_millis(150);

/// More strangers than come from one network at a time without a reason.
const CROWD: usize = 64;

/// Handshakes that one network may begin in a second: a fifth of one processor.
const MAX_HANDSHAKES: u32 = 1000;

/// Networks that are counted one by one in a second; further ones count as one.
const MAX_NETWORKS: usize = 65_536;

/// Connections that hold one key, at most: each host of it may have come back before its last
/// connection was noticed to be dead.
const MAX_OF_KEY: u32 = 2000;

/// Counts.
#[derive(Debug, Default)]
pub(super) struct Admission {
    /// Those in their handshake, by age, the oldest first; some of them may have left.
    half_open: VecDeque<HalfOpen>,
    /// How many of these are still in it.
    open: usize,
    /// The same by network.
    shares: HashMap<Network, usize>,
    /// Handshakes begun in this second, by network.
    begun: HashMap<Network, u32>,
    second: Option<Instant>,
    keys: HashMap<PublicKey, u32>,
}

#[derive(Clone, Copy, Debug)]
struct HalfOpen {
    token: u64,
    network: Network,
    since: Instant,
    has_left: bool,
}

/// Whether there is room for a stranger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    Free,
    /// If this one goes.
    InsteadOf(u64),
    /// Not before then.
    Later(Instant),
}

impl Admission {
    /// A stranger has connected.
    pub(super) fn came(&mut self, token: u64, address: IpAddr, now: Instant) {
        let network = Network::of(address);
        self.half_open.push_back(HalfOpen {
            token,
            network,
            since: now,
            has_left: false,
        });
        self.open += 1;
        *self.shares.entry(network).or_default() += 1;
    }

    /// How many are in their handshake.
    pub(super) fn half_open(&self) -> usize {
        self.open
    }

    /// Its handshake has ended, one way or the other.
    pub(super) fn left(&mut self, token: u64) {
        // The oldest are first, and most leave soon after they came: from the back.
        let found = self.half_open.iter_mut().rfind(|one| one.token == token);
        if let Some(one) = found.filter(|one| !one.has_left) {
            one.has_left = true;
            self.open -= 1;
            if let Some(share) = self.shares.get_mut(&one.network) {
                *share -= 1;
                if *share == 0 {
                    self.shares.remove(&one.network);
                }
            }
        }
        while self.half_open.front().is_some_and(|one| one.has_left) {
            self.half_open.pop_front();
        }
        // Where the first one stays long, those who came and went behind it would pile up.
        if self.half_open.len() > 2 * MAX_HALF_OPEN {
            self.half_open.retain(|one| !one.has_left);
        }
    }

    /// Whether there is room for one more stranger, where known peers leave so many places.
    pub(super) fn room(&self, now: Instant, places: usize) -> Room {
        if self.open < places.min(MAX_HALF_OPEN) {
            return Room::Free;
        }
        let Some((oldest, crowd)) = self.crowded() else {
            return Room::Free;
        };
        let least = if crowd > CROWD {
            LEAST_TIME_IN_CROWD
        } else {
            LEAST_TIME
        };
        if oldest.since + least <= now {
            Room::InsteadOf(oldest.token)
        } else {
            Room::Later(oldest.since + least)
        }
    }

    /// The oldest stranger of the network that has most of them; where several have as many, the
    /// oldest of all of theirs.
    pub(super) fn oldest(&self) -> Option<u64> {
        self.crowded().map(|(oldest, _)| oldest.token)
    }

    /// That stranger, and how many its network has.
    fn crowded(&self) -> Option<(&HalfOpen, usize)> {
        let most = self.shares.values().max()?;
        let mut all = self.half_open.iter();
        let oldest =
            all.find(|one| !one.has_left && self.shares.get(&one.network) == Some(most))?;
        Some((oldest, *most))
    }

    /// The stranger whose time is over first, and when that is.
    pub(super) fn next_due(&self) -> Option<(Instant, u64)> {
        let first = self.half_open.iter().find(|one| !one.has_left)?;
        Some((first.since + HANDSHAKE_TIMEOUT, first.token))
    }

    /// Returns false if this network has begun too many handshakes in this second.
    pub(super) fn may_begin(&mut self, address: IpAddr, now: Instant) -> bool {
        let second = Duration::from_secs(1);
        if self
            .second
            .is_none_or(|begun| now.saturating_duration_since(begun) >= second)
        {
            self.second = Some(now);
            self.begun.clear();
        }
        let mut network = Network::of(address);
        if self.begun.len() >= MAX_NETWORKS && !self.begun.contains_key(&network) {
            network = Network::of(Ipv6Addr::UNSPECIFIED.into());
        }
        let begun = self.begun.entry(network).or_default();
        *begun += 1;
        *begun <= MAX_HANDSHAKES
    }

    /// Counts a connection of this key; false if it has too many.
    pub(super) fn enter(&mut self, key: PublicKey) -> bool {
        let count = self.keys.entry(key).or_default();
        if *count >= MAX_OF_KEY {
            return false;
        }
        *count += 1;
        true
    }

    /// A connection of this key that was counted has ended.
    pub(super) fn leave(&mut self, key: &PublicKey) {
        if let Some(count) = self.keys.get_mut(key) {
            *count -= 1;
            if *count == 0 {
                self.keys.remove(key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn those_who_flood_crowd_out_each_other() {
        let now = Instant::now();
        let mut admission = Admission::default();
        admission.came(1, address("192.0.2.1"), now);
        assert_eq!(admission.room(now, usize::MAX), Room::Free);
        for token in 2..=MAX_HALF_OPEN as u64 {
            // Many addresses of one machine.
            let address = Ipv6Addr::from((0x2001_0db8_u128 << 96) + u128::from(token));
            admission.came(token, address.into(), now);
        }
        let soon = now + LEAST_TIME_IN_CROWD;
        assert_eq!(admission.room(now, usize::MAX), Room::Later(soon));
        assert_eq!(admission.room(soon, usize::MAX), Room::InsteadOf(2));
        assert_eq!(admission.oldest(), Some(2));
        admission.left(2);
        assert_eq!(admission.room(now, usize::MAX), Room::Free);
        // A second word changes nothing.
        admission.left(2);
        admission.came(9001, address("198.51.100.1"), now);
        assert_eq!(admission.room(soon, usize::MAX), Room::InsteadOf(3));
    }

    /// A flood from many addresses: who has just come has its time.
    #[test]
    fn where_no_network_has_more_than_others_the_oldest_goes() {
        let now = Instant::now();
        let mut admission = Admission::default();
        let age = Duration::from_micros(100);
        let full = u32::try_from(MAX_HALF_OPEN).unwrap();
        for number in 0..full {
            let address = IpAddr::V4(number.into());
            admission.came(number.into(), address, now + age * number);
        }
        let soon = now + LEAST_TIME;
        assert_eq!(admission.room(now, usize::MAX), Room::Later(soon));
        for (old, new) in (0_u32..100).zip(full..) {
            let due = soon + age * old;
            assert_eq!(admission.room(due, usize::MAX), Room::InsteadOf(old.into()));
            admission.left(old.into());
            admission.came(new.into(), IpAddr::V4(new.into()), due);
        }
        // Where there are fewer places, strangers have their time, too.
        let oldest = soon + age * 100;
        assert_eq!(admission.room(soon, 10), Room::Later(oldest));
        assert_eq!(admission.room(oldest, 10), Room::InsteadOf(100));
        assert_eq!(admission.room(soon, 513), Room::Later(oldest));
        // Two of one network go before, and have as much time.
        admission.left(100);
        admission.came(9000, IpAddr::V4(110.into()), soon);
        assert_eq!(admission.oldest(), Some(110));
        let due = soon + age * 110;
        assert_eq!(admission.room(soon, usize::MAX), Room::Later(due));
    }

    #[test]
    fn memory_is_bounded_by_those_who_are_there() {
        let now = Instant::now();
        let mut admission = Admission::default();
        admission.came(0, address("192.0.2.1"), now);
        for token in 1..100_000 {
            admission.came(token, address("192.0.2.2"), now);
            admission.left(token);
        }
        assert!(admission.half_open.len() <= 2 * MAX_HALF_OPEN + 1);
        let due = now + HANDSHAKE_TIMEOUT;
        assert_eq!(admission.next_due(), Some((due, 0)));
        admission.left(0);
        assert_eq!(admission.next_due(), None);
        assert!(admission.half_open.is_empty() && admission.shares.is_empty());
    }

    #[test]
    fn a_network_has_so_many_handshakes_a_second() {
        let now = Instant::now();
        let mut admission = Admission::default();
        for number in 0..MAX_HANDSHAKES {
            let address = Ipv6Addr::from((0x2001_0db8_u128 << 96) + u128::from(number));
            assert!(admission.may_begin(address.into(), now));
        }
        assert!(!admission.may_begin(address("2001:db8::1"), now));
        assert!(admission.may_begin(address("2001:db8:0:1::1"), now));
        let later = now + Duration::from_secs(1);
        assert!(admission.may_begin(address("2001:db8::1"), later));
        // The table is bounded, too.
        for number in 0..10_000_u32 {
            let _ = admission.may_begin(IpAddr::V4(number.into()), later);
        }
        assert!(admission.begun.len() <= MAX_NETWORKS + 1);
    }

    #[test]
    fn a_key_has_so_many_connections() {
        let key = PublicKey::from_bytes([1; 32]);
        let mut admission = Admission::default();
        for _ in 0..MAX_OF_KEY {
            assert!(admission.enter(key));
        }
        assert!(!admission.enter(key));
        assert!(admission.enter(PublicKey::from_bytes([2; 32])));
        admission.leave(&key);
        assert!(admission.enter(key));
        assert!(!admission.enter(key));
        for _ in 0..MAX_OF_KEY {
            admission.leave(&key);
        }
        assert_eq!(admission.keys.len(), 1);
    }
}
