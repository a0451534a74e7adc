//! When the next sample is due. Pure: time is an argument.
//!
//! Ticks keep their phase and do not drift; a tick that was missed (a suspended machine,
//! a starved process) is skipped, not made up for.

use std::time::{Duration, Instant};

/// The beat of the metrics messages.
#[derive(Debug, Clone)]
pub(crate) struct Ticker {
    interval: Duration,
    running: Option<Beat>,
}

#[derive(Debug, Clone, Copy)]
struct Beat {
    /// The last tick, or the start.
    last: Instant,
    next: Instant,
}

impl Ticker {
    /// A ticker at rest.
    pub(crate) fn new(interval: Duration) -> Self {
        Self {
            interval,
            running: None,
        }
    }

    /// Ticks from one interval after `now` on; a running ticker goes on as it is.
    pub(crate) fn start(&mut self, now: Instant) {
        if self.running.is_none() {
            self.running = Some(Beat {
                last: now,
                next: now + self.interval,
            });
        }
    }

    /// Rests until the next start.
    pub(crate) fn stop(&mut self) {
        self.running = None;
    }

    /// A new interval, in force at once: the next tick is due one new interval after the last.
    pub(crate) fn set_interval(&mut self, interval: Duration) {
        self.interval = interval;
        if let Some(beat) = &mut self.running {
            beat.next = beat.last + interval;
        }
    }

    /// When to call [`advance`](Self::advance) next; None at rest.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.running.map(|beat| beat.next)
    }

    /// True once for each tick that is due at `now`, however many were missed.
    pub(crate) fn advance(&mut self, now: Instant) -> bool {
        let Some(beat) = &mut self.running else {
            return false;
        };
        if now < beat.next {
            return false;
        }
        // Late by less than an interval: keep the phase. By more: begin a new one.
        let kept = beat.next + self.interval;
        beat.last = beat.next;
        if kept <= now {
            beat.last = now;
        }
        beat.next = beat.last + self.interval;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn it_ticks_without_drift() {
        let start = Instant::now();
        let mut ticker = Ticker::new(SECOND);
        assert_eq!(ticker.deadline(), None);
        assert!(!ticker.advance(start));
        ticker.start(start);
        for beat in 1..5_u32 {
            let due = start + beat * SECOND;
            let early = start + beat * SECOND.saturating_sub(Duration::from_millis(1));
            assert_eq!(ticker.deadline(), Some(due));
            assert!(!ticker.advance(early));
            assert!(ticker.advance(due + Duration::from_millis(3)));
        }
    }

    #[test]
    fn missed_ticks_are_skipped() {
        let start = Instant::now();
        let mut ticker = Ticker::new(SECOND);
        ticker.start(start);
        let late = start + 100 * SECOND + Duration::from_millis(300);
        assert!(ticker.advance(late));
        assert!(!ticker.advance(late));
        assert_eq!(ticker.deadline(), Some(late + SECOND));
    }

    #[test]
    fn a_new_interval_counts_from_the_last_tick() {
        let start = Instant::now();
        let mut ticker = Ticker::new(10 * SECOND);
        ticker.start(start);
        assert!(ticker.advance(start + 10 * SECOND));
        ticker.set_interval(2 * SECOND);
        assert_eq!(ticker.deadline(), Some(start + 12 * SECOND));
        ticker.set_interval(60 * SECOND);
        assert_eq!(ticker.deadline(), Some(start + 70 * SECOND));
    }

    #[test]
    fn a_shorter_interval_may_be_due_at_once() {
        let start = Instant::now();
        let mut ticker = Ticker::new(60 * SECOND);
        ticker.start(start);
        ticker.set_interval(SECOND);
        assert!(ticker.advance(start + 30 * SECOND));
        assert_eq!(ticker.deadline(), Some(start + 31 * SECOND));
    }

    #[test]
    fn starting_twice_keeps_the_beat() {
        let start = Instant::now();
        let mut ticker = Ticker::new(SECOND);
        ticker.start(start);
        ticker.start(start + SECOND / 2);
        assert_eq!(ticker.deadline(), Some(start + SECOND));
        ticker.stop();
        assert_eq!(ticker.deadline(), None);
    }
}
