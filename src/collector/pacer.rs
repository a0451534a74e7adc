//! Paces the requests for models, so that a fleet that returns at once does not send its models
//! at once. Pure: time is an argument.
//!
//! A few are asked for at once; beyond that requests wait in the order in which they came,
//! each connection once. They wait for no more than [`LONGEST_WAIT`]: an agent that has
//! said hello hears nothing before its answer, and gives the collector up after 30 s. Where
//! more would have to wait, a request is refused: that agent comes again after its back-off.

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};

use crate::curve::router::RoutingIdBytes;

/// How many models are asked for at once: some 0.5 MiB come back, half a turn's work.
pub const BURST: u32 = 100;

/// After that, one in this time. A model of 5 KiB takes some 100 µs to read and keep, so
/// that models take a tenth of the collector's time.
pub const INTERVAL: Duration = Duration::from_millis(1);

/// The longest that a request waits: well below the 30 s after which an agent that hears
/// nothing starts again (protocol, the stale interval). 10,000 agents that come at once
/// have all been asked after 10 s.
pub const LONGEST_WAIT: Duration = Duration::from_secs(20);

/// Most requests that wait.
const MAX_WAITING: usize = (LONGEST_WAIT.as_nanos() / INTERVAL.as_nanos()) as usize;

/// Requests that wait are let out so many at a time: the loop does not wake for each.
const BATCH: u32 = 25;

/// Paces the requests for models.
#[derive(Debug)]
pub struct Pacer {
    /// When the whole burst is there again, if nothing more is asked for.
    full: Instant,
    waiting: VecDeque<RoutingIdBytes>,
    /// The same, for finding them.
    known: HashSet<RoutingIdBytes>,
}

/// The result of a request for a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Send it.
    Now,
    /// It waits, or one to the same connection does.
    Later,
    /// As many wait as may.
    Refused,
}

impl Pacer {
    /// One that has not asked yet.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self {
            full: now,
            waiting: VecDeque::new(),
            known: HashSet::new(),
        }
    }

    /// A model is wanted over this connection.
    pub fn ask(&mut self, now: Instant, to: &RoutingIdBytes) -> Asked {
        if self.waiting.is_empty() && self.use_one(now) {
            return Asked::Now;
        }
        if self.known.contains(to) {
            return Asked::Later;
        }
        if self.waiting.len() >= MAX_WAITING {
            return Asked::Refused;
        }
        self.known.insert(to.clone());
        self.waiting.push_back(to.clone());
        Asked::Later
    }

    /// When there is something to send next.
    #[must_use]
    pub fn next_due(&self) -> Option<Instant> {
        let waiting = u32::try_from(self.waiting.len()).unwrap_or(u32::MAX);
        let batch = waiting.min(BATCH);
        // So many are there when so many are missing from the whole burst.
        (batch > 0).then(|| {
            self.full
                .checked_sub(INTERVAL * (BURST - batch))
                .unwrap_or(self.full)
        })
    }

    /// The next connection to ask; to be called until there is none.
    pub fn take_due(&mut self, now: Instant) -> Option<RoutingIdBytes> {
        if self.waiting.is_empty() || !self.use_one(now) {
            return None;
        }
        let to = self.waiting.pop_front()?;
        self.known.remove(&to);
        if self.waiting.is_empty() {
            // A fleet's return is rare, and its room is large.
            (self.waiting, self.known) = (VecDeque::new(), HashSet::new());
        }
        Some(to)
    }

    /// Uses one of the burst, and returns true if there was one.
    fn use_one(&mut self, now: Instant) -> bool {
        let full = self.full.max(now) + INTERVAL;
        let there = full.saturating_duration_since(now) <= INTERVAL * BURST;
        if there {
            self.full = full;
        }
        there
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn peer(number: usize) -> RoutingIdBytes {
        RoutingIdBytes::from(number.to_string().as_bytes())
    }

    /// Lets out what is due until nothing waits: who, and when.
    fn drain(pacer: &mut Pacer) -> Vec<(RoutingIdBytes, Instant)> {
        let mut out = Vec::new();
        while let Some(at) = pacer.next_due() {
            let before = out.len();
            while let Some(to) = pacer.take_due(at) {
                out.push((to, at));
            }
            assert!(out.len() > before, "what is due is there");
        }
        out
    }

    #[test]
    fn a_few_are_asked_at_once() {
        let now = Instant::now();
        let mut pacer = Pacer::new(now);
        for number in 0..BURST as usize {
            assert_eq!(pacer.ask(now, &peer(number)), Asked::Now);
        }
        assert_eq!(pacer.next_due(), None);
        assert_eq!(pacer.ask(now, &peer(1000)), Asked::Later);
        assert_eq!(pacer.next_due(), Some(now + INTERVAL));
        assert_eq!(pacer.take_due(now), None);
        assert_eq!(pacer.take_due(now + INTERVAL), Some(peer(1000)));
        assert_eq!(pacer.next_due(), None);
        // And again, once some time has passed.
        let later = now + INTERVAL * (BURST + 1);
        for number in 0..BURST as usize {
            assert_eq!(pacer.ask(later, &peer(number)), Asked::Now);
        }
        assert_eq!(pacer.ask(later, &peer(1000)), Asked::Later);
    }

    /// Ten thousand agents are a fleet; their stale interval is 30 s.
    #[test]
    fn a_fleet_that_comes_at_once_is_asked_in_time_and_in_order() {
        let now = Instant::now();
        let mut pacer = Pacer::new(now);
        let fleet: Vec<_> = (0..10_000).map(peer).collect();
        for to in &fleet {
            assert_ne!(pacer.ask(now, to), Asked::Refused);
            // Each says it twice.
            assert_ne!(pacer.ask(now, to), Asked::Refused);
        }
        let out = drain(&mut pacer);
        assert!(out.len() <= fleet.len());
        let expected = &fleet[fleet.len() - out.len()..];
        assert!(out.iter().map(|(to, _)| to).eq(expected));
        let last = out.last().unwrap().1 - now;
        assert!(last < Duration::from_secs(11), "{last:?}");
        // Never more at a time than a few.
        let most = out.chunk_by(|a, b| a.1 == b.1).map(<[_]>::len).max();
        assert_eq!(most, Some(BATCH as usize));
    }

    #[test]
    fn who_would_wait_too_long_is_refused() {
        let now = Instant::now();
        let mut pacer = Pacer::new(now);
        let mut number = 0;
        while pacer.ask(now, &peer(number)) != Asked::Refused {
            number += 1;
        }
        assert_eq!(number, MAX_WAITING + BURST as usize);
        // Those that wait already still do, once.
        assert_eq!(pacer.ask(now, &peer(number - 1)), Asked::Later);
        let out = drain(&mut pacer);
        assert_eq!(out.len(), MAX_WAITING);
        assert_eq!(out.last().unwrap().1, now + LONGEST_WAIT);
        assert_eq!(pacer.waiting.capacity(), 0);
    }

    proptest! {
        /// At any time, in any order: no connection is lost or asked twice, and no span of time
        /// sees more than its share.
        #[test]
        fn the_pace_holds(steps in prop::collection::vec((0_u64..30_000, 0_usize..2000), 0..3000)) {
            let start = Instant::now();
            let mut pacer = Pacer::new(start);
            let mut now = start;
            let mut sent = Vec::new();
            let mut wanted = std::collections::BTreeSet::new();
            for (micros, number) in steps {
                now += Duration::from_micros(micros / 50);
                match pacer.ask(now, &peer(number)) {
                    Asked::Now => sent.push(now),
                    Asked::Later => {
                        wanted.insert(peer(number));
                    }
                    Asked::Refused => prop_assert!(false, "there is room"),
                }
                if micros % 3 == 0 {
                    while let Some(to) = pacer.take_due(now) {
                        prop_assert!(wanted.remove(&to));
                        sent.push(now);
                    }
                }
                prop_assert_eq!(pacer.waiting.len(), pacer.known.len());
                prop_assert_eq!(pacer.waiting.len(), wanted.len());
            }
            for (to, at) in drain(&mut pacer) {
                prop_assert!(wanted.remove(&to));
                sent.push(at);
            }
            prop_assert!(wanted.is_empty());
            for window in sent.windows(BURST as usize + 1) {
                let passed = window[BURST as usize] - window[0];
                prop_assert!(passed >= INTERVAL, "{passed:?}");
            }
        }
    }
}
