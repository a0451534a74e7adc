//! When to ask the peer for a sign of life, and when it counts as gone
//! ([RFC 37](https://rfc.zeromq.org/spec/37/), and what libzmq makes of it).

use std::time::{Duration, Instant};

use super::violation::Violation;

/// How an end minds its peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeartbeatOptions {
    /// From one PING to the next; None to send none.
    pub interval: Option<Duration>,
    /// How long nothing may be heard after one.
    pub timeout: Duration,
    /// Told to the peer: it may drop us if it hears nothing for this long. Below 65 s, since
    /// libzmq computes with it in 16 bits.
    pub ttl: Duration,
}

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Nothing,
    Ping,
}

/// The state of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heartbeat {
    heard: Instant,
    /// When the next PING is due.
    next: Option<Instant>,
    /// Since when a PING has waited for anything to be heard.
    asked: Option<Instant>,
    /// What the peer said: how long our silence may last, or rather how often it sends itself.
    peer_ttl: Option<Duration>,
}

impl Heartbeat {
    pub(super) fn new(now: Instant, options: &HeartbeatOptions) -> Self {
        Self {
            heard: now,
            next: options.interval.map(|interval| now + interval),
            asked: None,
            peer_ttl: None,
        }
    }

    /// Any frame is a sign of life.
    pub(super) fn heard(&mut self, now: Instant) {
        self.heard = now;
        self.asked = None;
    }

    /// The peer sent a PING with this: it counts as gone if it is silent for as long. 0 is never.
    pub(super) fn announced(&mut self, ttl: Duration) {
        self.peer_ttl = (!ttl.is_zero()).then_some(ttl);
    }

    /// When [`Heartbeat::due`] has something to tell, if nothing is heard before.
    pub(super) fn deadline(&self, options: &HeartbeatOptions) -> Option<Instant> {
        let answer = self.asked.map(|asked| asked + options.timeout);
        let silence = self.peer_ttl.map(|ttl| self.heard + ttl);
        let ping = options.interval.and(self.next);
        [ping, answer, silence].into_iter().flatten().min()
    }

    /// # Errors
    ///
    /// [`Violation::Silent`].
    pub(super) fn due(
        &mut self,
        now: Instant,
        options: &HeartbeatOptions,
    ) -> Result<Due, Violation> {
        let silent = now.saturating_duration_since(self.heard);
        let unanswered = self
            .asked
            .is_some_and(|asked| now >= asked + options.timeout);
        if unanswered || self.peer_ttl.is_some_and(|ttl| silent >= ttl) {
            return Err(Violation::Silent(silent));
        }
        let (Some(next), Some(interval)) = (self.next, options.interval) else {
            return Ok(Due::Nothing);
        };
        if now < next {
            return Ok(Due::Nothing);
        }
        // After a pause of the process there is one, not all that were missed.
        self.next = Some(now + interval);
        self.asked.get_or_insert(now);
        Ok(Due::Ping)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const OPTIONS: HeartbeatOptions = HeartbeatOptions {
        interval: Some(Duration::from_secs(10)),
        timeout: Duration::from_secs(10),
        ttl: Duration::from_secs(30),
    };

    #[test]
    fn a_dead_peer_is_noticed_within_20_s() {
        let start = Instant::now();
        let mut beat = Heartbeat::new(start, &OPTIONS);
        assert_eq!(beat.deadline(&OPTIONS), Some(start + 10 * SECOND));
        assert_eq!(
            beat.due(start + 9 * SECOND, &OPTIONS).unwrap(),
            Due::Nothing
        );
        assert_eq!(beat.due(start + 10 * SECOND, &OPTIONS).unwrap(), Due::Ping);
        assert_eq!(
            beat.due(start + 10 * SECOND, &OPTIONS).unwrap(),
            Due::Nothing
        );
        assert_eq!(beat.deadline(&OPTIONS), Some(start + 20 * SECOND));
        let violation = beat.due(start + 20 * SECOND, &OPTIONS).unwrap_err();
        assert_eq!(violation.to_string(), "the peer was silent for 20 s");
    }

    #[test]
    fn whatever_is_heard_is_an_answer() {
        let start = Instant::now();
        let mut beat = Heartbeat::new(start, &OPTIONS);
        for round in 1..10 {
            let asked = start + 10 * round * SECOND;
            assert_eq!(beat.due(asked, &OPTIONS).unwrap(), Due::Ping);
            beat.heard(asked + 9 * SECOND);
        }
        // A process that stood still asks once.
        let late = start + 300 * SECOND;
        beat.heard(late);
        assert_eq!(beat.due(late, &OPTIONS).unwrap(), Due::Ping);
        assert_eq!(beat.due(late, &OPTIONS).unwrap(), Due::Nothing);
    }

    #[test]
    fn pings_that_were_switched_off_are_not_waited_for() {
        let start = Instant::now();
        let mut beat = Heartbeat::new(start, &OPTIONS);
        let quiet = HeartbeatOptions {
            interval: None,
            ..OPTIONS
        };
        assert_eq!(beat.deadline(&quiet), None);
        let late = start + 100 * SECOND;
        assert_eq!(beat.due(late, &quiet).unwrap(), Due::Nothing);
    }

    #[test]
    fn a_peers_own_word_bounds_its_silence() {
        let quiet = HeartbeatOptions {
            interval: None,
            ..OPTIONS
        };
        let start = Instant::now();
        let mut beat = Heartbeat::new(start, &quiet);
        assert_eq!(beat.deadline(&quiet), None);
        assert_eq!(
            beat.due(start + 1000 * SECOND, &quiet).unwrap(),
            Due::Nothing
        );
        beat.heard(start + 1000 * SECOND);
        beat.announced(30 * SECOND);
        assert_eq!(beat.deadline(&quiet), Some(start + 1030 * SECOND));
        assert_eq!(
            beat.due(start + 1029 * SECOND, &quiet).unwrap(),
            Due::Nothing
        );
        assert!(beat.due(start + 1030 * SECOND, &quiet).is_err());
        beat.announced(Duration::ZERO);
        assert_eq!(
            beat.due(start + 9000 * SECOND, &quiet).unwrap(),
            Due::Nothing
        );
    }
}
