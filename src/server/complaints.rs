//! Which of many like events are worth a line in the log. Pure: time is an argument.
//!
//! A peer that sends nonsense is named once a minute, with a count of what was not told;
//! a crowd of them, beyond what is remembered, is one line a minute together.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

use crate::curve::router::RoutingIdBytes;

/// Between two lines on the same thing.
pub const TELL_INTERVAL: Duration = Duration::from_secs(60);

/// Most peers remembered by name: more that misbehave within a minute are an attack, and
/// their names say nothing.
pub const MAX_PEERS: usize = 256;

/// One kind of event, told at once and then once in [`TELL_INTERVAL`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Throttle {
    told: Option<Instant>,
    untold: u64,
}

impl Throttle {
    /// One more: Some where it is to be told, with the number of those before it that
    /// were not.
    pub fn note(&mut self, now: Instant) -> Option<u64> {
        if self.told.is_some_and(|told| recent(told, now)) {
            self.untold += 1;
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.untold))
    }
}

/// What to say of a message that was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tell {
    /// Nothing now.
    Nothing,
    /// Name the peer and the fault.
    Peer {
        /// Refused since the last line on that peer, without one of their own.
        untold: u64,
    },
    /// Too many peers to name this one: say what they sent together.
    Crowd {
        /// Refused since the last line on the crowd, without one of their own.
        untold: u64,
    },
}

/// What was refused, by peer: its routing id, its key, or whatever else it is known by.
#[derive(Debug)]
pub struct Complaints<P = RoutingIdBytes> {
    peers: HashMap<P, Throttle>,
    /// No peer may be forgotten before.
    full_until: Option<Instant>,
    crowd: Throttle,
}

impl<P> Default for Complaints<P> {
    fn default() -> Self {
        Self {
            peers: HashMap::new(),
            full_until: None,
            crowd: Throttle::default(),
        }
    }
}

impl<P: Hash + Eq + Clone> Complaints<P> {
    /// Something of `peer` was refused.
    pub fn note(&mut self, now: Instant, peer: &P) -> Tell {
        if let Some(throttle) = self.peers.get_mut(peer) {
            let told = throttle.note(now);
            return told.map_or(Tell::Nothing, |untold| Tell::Peer { untold });
        }
        if self.peers.len() >= MAX_PEERS && !self.forget_oldest(now) {
            let told = self.crowd.note(now);
            return told.map_or(Tell::Nothing, |untold| Tell::Crowd { untold });
        }
        let mut throttle = Throttle::default();
        throttle.note(now);
        self.peers.insert(peer.clone(), throttle);
        Tell::Peer { untold: 0 }
    }

    /// What comes of `peer` from now on is news.
    pub fn forgive(&mut self, peer: &P) {
        self.peers.remove(peer);
    }

    /// Makes room, if the peer told of longest ago may be forgotten.
    fn forget_oldest(&mut self, now: Instant) -> bool {
        if self.full_until.is_some_and(|until| now < until) {
            return false;
        }
        // A few hundred, and not once more until one of them may go.
        let told = |(_, throttle): &(&P, &Throttle)| throttle.told;
        let Some((peer, throttle)) = self.peers.iter().min_by_key(told) else {
            return true;
        };
        if let Some(told) = throttle.told.filter(|told| recent(*told, now)) {
            self.full_until = Some(told + TELL_INTERVAL);
            return false;
        }
        let peer = peer.clone();
        self.peers.remove(&peer);
        true
    }
}

fn recent(told: Instant, now: Instant) -> bool {
    now.saturating_duration_since(told) < TELL_INTERVAL
}

/// How many lines on hosts that come and go may be written at once: twice the largest
/// fleet that one collector is meant for, all of it returning.
const HOST_LINES_BURST: u32 = 20_000;

/// How many more may follow: one in this time.
const HOST_LINE_INTERVAL: Duration = Duration::from_millis(20);

/// Keeps hosts that come and go from filling the log, where a peer makes them up.
#[derive(Debug)]
pub struct HostLines {
    left: u32,
    refilled: Instant,
    left_out: Throttle,
}

/// What to say of a host that came or went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostLine {
    /// All of it.
    Write,
    /// That lines are left out: this many so far without a word, and this one.
    LeftOut {
        /// Those before this one.
        untold: u64,
    },
    /// Nothing.
    Nothing,
}

impl HostLines {
    /// Nothing was written yet.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self {
            left: HOST_LINES_BURST,
            refilled: now,
            left_out: Throttle::default(),
        }
    }

    /// One more host came or went.
    pub fn note(&mut self, now: Instant) -> HostLine {
        let passed = now.saturating_duration_since(self.refilled).as_nanos();
        let earned = passed / HOST_LINE_INTERVAL.as_nanos();
        if earned > 0 {
            let earned = u32::try_from(earned).unwrap_or(u32::MAX);
            self.left = self.left.saturating_add(earned).min(HOST_LINES_BURST);
            self.refilled = now;
        }
        if self.left > 0 {
            self.left -= 1;
            return HostLine::Write;
        }
        let told = self.left_out.note(now);
        told.map_or(HostLine::Nothing, |untold| HostLine::LeftOut { untold })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(number: usize) -> RoutingIdBytes {
        RoutingIdBytes::from(number.to_string().as_bytes())
    }

    #[test]
    fn a_peer_is_named_once_a_minute_with_what_was_not_told() {
        let start = Instant::now();
        let mut complaints = Complaints::default();
        let (a, b) = (peer(1), peer(2));
        assert_eq!(complaints.note(start, &a), Tell::Peer { untold: 0 });
        for second in 1..60 {
            let now = start + Duration::from_secs(second);
            assert_eq!(complaints.note(now, &a), Tell::Nothing);
        }
        assert_eq!(complaints.note(start, &b), Tell::Peer { untold: 0 });
        let later = start + TELL_INTERVAL;
        assert_eq!(complaints.note(later, &a), Tell::Peer { untold: 59 });
        assert_eq!(complaints.note(later, &a), Tell::Nothing);
        assert_eq!(complaints.note(later, &b), Tell::Peer { untold: 0 });
    }

    #[test]
    fn a_peer_that_was_forgiven_is_named_at_once() {
        let start = Instant::now();
        let mut complaints = Complaints::default();
        let (a, b) = (peer(1), peer(2));
        complaints.note(start, &a);
        complaints.note(start, &b);
        complaints.forgive(&a);
        assert_eq!(complaints.note(start, &a), Tell::Peer { untold: 0 });
        assert_eq!(complaints.note(start, &b), Tell::Nothing);
    }

    #[test]
    fn a_crowd_is_one_line_a_minute() {
        let start = Instant::now();
        let mut complaints = Complaints::default();
        for number in 0..MAX_PEERS {
            let told = complaints.note(start, &peer(number));
            assert_eq!(told, Tell::Peer { untold: 0 });
        }
        let stranger = |number| peer(MAX_PEERS + number);
        assert_eq!(
            complaints.note(start, &stranger(0)),
            Tell::Crowd { untold: 0 }
        );
        for number in 1..100 {
            assert_eq!(complaints.note(start, &stranger(number)), Tell::Nothing);
        }
        // Those that are known are still told apart.
        let later = start + TELL_INTERVAL;
        assert_eq!(complaints.note(later, &peer(3)), Tell::Peer { untold: 0 });
        // There is room again: for all but the one that was told of just now.
        for number in 0..MAX_PEERS - 1 {
            let told = complaints.note(later, &stranger(number));
            assert_eq!(told, Tell::Peer { untold: 0 }, "{number}");
        }
        assert_eq!(
            complaints.note(later, &stranger(MAX_PEERS)),
            Tell::Crowd { untold: 99 }
        );
        assert_eq!(complaints.note(later, &peer(3)), Tell::Nothing);
    }

    #[test]
    fn a_flood_of_peers_takes_bounded_memory() {
        let start = Instant::now();
        let mut complaints = Complaints::default();
        for step in 0..100_000_u32 {
            let now = start + step * Duration::from_millis(13);
            // Now the same few, now ever new ones.
            let number = if step % 3 == 0 { step % 300 } else { step };
            complaints.note(now, &peer(number as usize));
            assert!(complaints.peers.len() <= MAX_PEERS);
        }
    }

    #[test]
    fn made_up_hosts_do_not_fill_the_log() {
        let start = Instant::now();
        let mut lines = HostLines::new(start);
        for _ in 0..HOST_LINES_BURST {
            assert_eq!(lines.note(start), HostLine::Write);
        }
        assert_eq!(lines.note(start), HostLine::LeftOut { untold: 0 });
        assert_eq!(lines.note(start), HostLine::Nothing);
        let later = start + HOST_LINE_INTERVAL;
        assert_eq!(lines.note(later), HostLine::Write);
        assert_eq!(lines.note(later), HostLine::Nothing);
        let minute = start + TELL_INTERVAL;
        for _ in 0..TELL_INTERVAL.as_millis() / HOST_LINE_INTERVAL.as_millis() - 1 {
            assert_eq!(lines.note(minute), HostLine::Write);
        }
        assert_eq!(lines.note(minute), HostLine::LeftOut { untold: 2 });
    }
}
