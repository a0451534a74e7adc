//! Which of many like events are worth a line in the log. Pure: time is an argument.
//!
//! A peer that sends nonsense is named once a minute, with a count of what was not told;
//! a crowd of them, beyond what is remembered, is one line a minute together.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

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

/// What was refused, by peer: its key, or whatever else it is known by.
#[derive(Debug)]
pub struct PeerThrottle<P> {
    peers: HashMap<P, Throttle>,
    /// No peer may be forgotten before.
    full_until: Option<Instant>,
    crowd: Throttle,
}

impl<P> Default for PeerThrottle<P> {
    fn default() -> Self {
        Self {
            peers: HashMap::new(),
            full_until: None,
            crowd: Throttle::default(),
        }
    }
}

impl<P: Hash + Eq + Clone> PeerThrottle<P> {
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

#[cfg(test)]
mod tests {
    use super::*;
    fn peer(number: usize) -> String {
        number.to_string()
    }

    #[test]
    fn a_peer_is_named_once_a_minute_with_what_was_not_told() {
        let start = Instant::now();
        let mut throttle = PeerThrottle::default();
        let (a, b) = (peer(1), peer(2));
        assert_eq!(throttle.note(start, &a), Tell::Peer { untold: 0 });
        for second in 1..60 {
            let now = start + Duration::from_secs(second);
            assert_eq!(throttle.note(now, &a), Tell::Nothing);
        }
        assert_eq!(throttle.note(start, &b), Tell::Peer { untold: 0 });
        let later = start + TELL_INTERVAL;
        assert_eq!(throttle.note(later, &a), Tell::Peer { untold: 59 });
        assert_eq!(throttle.note(later, &a), Tell::Nothing);
        assert_eq!(throttle.note(later, &b), Tell::Peer { untold: 0 });
    }

    #[test]
    fn a_crowd_is_one_line_a_minute() {
        let start = Instant::now();
        let mut throttle = PeerThrottle::default();
        for number in 0..MAX_PEERS {
            let told = throttle.note(start, &peer(number));
            assert_eq!(told, Tell::Peer { untold: 0 });
        }
        let stranger = |number| peer(MAX_PEERS + number);
        assert_eq!(
            throttle.note(start, &stranger(0)),
            Tell::Crowd { untold: 0 }
        );
        for number in 1..100 {
            assert_eq!(throttle.note(start, &stranger(number)), Tell::Nothing);
        }
        // Those that are known are still told apart.
        let later = start + TELL_INTERVAL;
        assert_eq!(throttle.note(later, &peer(3)), Tell::Peer { untold: 0 });
        // There is room again: for all but the one that was told of just now.
        for number in 0..MAX_PEERS - 1 {
            let told = throttle.note(later, &stranger(number));
            assert_eq!(told, Tell::Peer { untold: 0 }, "{number}");
        }
        assert_eq!(
            throttle.note(later, &stranger(MAX_PEERS)),
            Tell::Crowd { untold: 99 }
        );
        assert_eq!(throttle.note(later, &peer(3)), Tell::Nothing);
    }

    #[test]
    fn a_flood_of_peers_takes_bounded_memory() {
        let start = Instant::now();
        let mut throttle = PeerThrottle::default();
        for step in 0..100_000_u32 {
            let now = start + step * Duration::from_millis(13);
            // Now the same few, now ever new ones.
            let number = if step % 3 == 0 { step % 300 } else { step };
            throttle.note(now, &peer(number as usize));
            assert!(throttle.peers.len() <= MAX_PEERS);
        }
    }
}
