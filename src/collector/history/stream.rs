//! How far a host's log was received, and what its agent is told of it. Pure.
//!
//! A log is received in the order of its numbers. What was received already is dropped without a word:
//! a lost receipt makes the agent send it again. What is left out is counted, and the log goes on
//! after it: what cannot be had must not block what can.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::protocol::data::Body;

/// The shortest time between two receipts of a host that is behind, but where its window fills.
const WHILE_BEHIND: Duration = Duration::from_secs(1);

/// The same of a host that tells what is now. Each receipt wakes its agent, which costs more than the rest of a
/// receipt, and an agent has time: what is not acknowledged is in its memory.
const WHILE_LEVEL: Duration = Duration::from_secs(5);

/// A host's log.
#[derive(Debug)]
pub(super) struct Stream {
    /// Its number.
    pub(super) id: u64,
    /// The same for those that settle samples: another one once the log has gone back.
    pub(super) ticket: u64,
    /// The number that is expected next.
    next: u64,
    /// Nothing has come on this link yet. What another collector acknowledged meanwhile does not come
    /// here: its agent goes on after that.
    begins: bool,
    /// Messages that are not settled: the last number of each, and its bytes.
    open: VecDeque<(u64, usize)>,
    open_bytes: usize,
    /// The highest number that may be acknowledged.
    settled: u64,
    /// The highest number that was acknowledged on this link.
    told: Option<u64>,
    told_at: Option<Instant>,
    /// Bytes of messages that were settled since then.
    settled_bytes: usize,
    /// The last message told what is now.
    is_level: bool,
}

/// What a range of numbers is to a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// It is what was expected.
    Next,
    /// It was received already.
    Again,
    /// So many numbers before it are missing.
    After(u64),
}

impl Stream {
    /// A log that begins with this number, as far as this collector knows.
    pub(super) fn new(id: u64, first: u64) -> Self {
        Self {
            id,
            ticket: id,
            next: first,
            begins: true,
            open: VecDeque::new(),
            open_bytes: 0,
            settled: first.saturating_sub(1),
            told: Some(first.saturating_sub(1)),
            told_at: None,
            settled_bytes: 0,
            is_level: false,
        }
    }

    /// Other samples come under the numbers from this one on: what is known of those before is of no use.
    pub(super) fn go_back(&mut self, seq: u64) {
        *self = Self {
            ticket: self.ticket.wrapping_add(1),
            told: None,
            ..Self::new(self.id, seq)
        };
    }

    /// How many samples and losses of a body are new.
    pub(super) fn count_new<S>(&self, body: &Body<S>) -> usize {
        let ends = body.items.iter().map(|item| item.range().1);
        ends.filter(|to| *to >= self.next).count()
    }

    /// Its agent has another connection: it is told again how far the log was received.
    pub(super) fn linked(&mut self) {
        self.begins = true;
        self.told = None;
        self.told_at = None;
    }

    /// A sample or loss arrives.
    pub(super) fn arrive(&mut self, from: u64, to: u64) -> Arrival {
        if to < self.next {
            self.begins = false;
            return Arrival::Again;
        }
        let begins = std::mem::take(&mut self.begins);
        let missing = if begins {
            0
        } else {
            from.saturating_sub(self.next)
        };
        self.next = to.saturating_add(1);
        match missing {
            0 => Arrival::Next,
            missing => Arrival::After(missing),
        }
    }

    /// A message was taken, with so many bytes that are new, which told what is now or did not.
    pub(super) fn took(&mut self, bytes: usize, is_level: bool) {
        self.is_level = is_level;
        let last = self.received();
        if last <= self.settled {
            // All of it was here already: a receipt was lost.
            self.told = None;
            return;
        }
        self.open_bytes += bytes;
        match self.open.back_mut() {
            Some((known, counted)) if *known == last => *counted += bytes,
            _ => self.open.push_back((last, bytes)),
        }
    }

    /// Bytes of messages that are not settled.
    pub(super) fn open_bytes(&self) -> usize {
        self.open_bytes
    }

    /// The highest number that was received.
    pub(super) fn received(&self) -> u64 {
        self.next.saturating_sub(1)
    }

    /// Everything up to this number is settled.
    pub(super) fn settled(&self) -> u64 {
        self.settled
    }

    /// Everything up to this number is where it was wanted. More than was received never is.
    pub(super) fn settle(&mut self, seq: u64) {
        self.settled = self.settled.max(seq.min(self.received()));
        while let Some((last, bytes)) = self.open.front().copied() {
            if last > self.settled {
                break;
            }
            self.open.pop_front();
            self.open_bytes -= bytes;
            self.settled_bytes += bytes;
        }
    }

    /// The number to acknowledge now; or None, and when it is time, if anything waits.
    pub(super) fn receipt(&mut self, now: Instant, window: usize) -> Result<u64, Option<Instant>> {
        if self.told == Some(self.settled) {
            return Err(None);
        }
        let between = if self.is_level {
            WHILE_LEVEL
        } else {
            WHILE_BEHIND
        };
        let due = self.told_at.map_or(now, |at| at + between);
        // An agent that waits for room in its window loses time.
        if due > now && self.settled_bytes * 4 < window {
            return Err(Some(due));
        }
        self.told = Some(self.settled);
        self.told_at = Some(now);
        self.settled_bytes = 0;
        Ok(self.settled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_comes_again_or_is_missing_is_told_apart() {
        let mut stream = Stream::new(1, 5);
        assert_eq!(stream.arrive(5, 5), Arrival::Next);
        assert_eq!(stream.arrive(5, 5), Arrival::Again);
        assert_eq!(stream.arrive(3, 4), Arrival::Again);
        assert_eq!(stream.arrive(6, 9), Arrival::Next);
        assert_eq!(stream.arrive(12, 12), Arrival::After(2));
        // A loss that reaches back: the part that is new counts.
        assert_eq!(stream.arrive(10, 20), Arrival::Next);
        assert_eq!(stream.received(), 20);
        assert_eq!(
            stream.arrive(u64::MAX, u64::MAX),
            Arrival::After(u64::MAX - 21)
        );
        assert_eq!(stream.arrive(u64::MAX, u64::MAX), Arrival::Next);
    }

    #[test]
    fn what_another_collector_has_acknowledged_is_not_missing() {
        let mut stream = Stream::new(1, 1);
        assert_eq!(stream.arrive(1, 4), Arrival::Next);
        // Its agent was connected to another one, which has acknowledged up to 9, and comes back.
        stream.linked();
        assert_eq!(stream.arrive(10, 10), Arrival::Next);
        assert_eq!(stream.received(), 10);
        assert_eq!(stream.arrive(12, 12), Arrival::After(1));
        // One that is told again says where its agent goes on.
        stream.linked();
        assert_eq!(stream.arrive(12, 12), Arrival::Again);
        assert_eq!(stream.arrive(14, 14), Arrival::After(1));
    }

    #[test]
    fn receipts_are_rare_but_where_the_window_fills() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let mut stream = Stream::new(1, 1);
        assert_eq!(stream.receipt(start, 1000), Err(None));
        stream.arrive(1, 1);
        stream.took(100, false);
        stream.settle(1);
        assert_eq!(stream.receipt(start, 1000), Ok(1));
        assert_eq!(stream.receipt(start, 1000), Err(None));
        stream.arrive(2, 2);
        stream.took(100, false);
        assert_eq!(stream.receipt(start, 1000), Err(None));
        stream.settle(7);
        assert_eq!(stream.receipt(start, 1000), Err(Some(start + second)));
        assert_eq!(stream.receipt(start, 400), Ok(2));
        stream.arrive(3, 3);
        stream.took(1, false);
        stream.settle(3);
        assert_eq!(stream.receipt(start + second, 1000), Ok(3));
        // A new connection is told at once.
        stream.linked();
        assert_eq!(stream.receipt(start + second, 1000), Ok(3));
        assert_eq!(stream.receipt(start + second, 1000), Err(None));
        // A host that is not behind can wait.
        stream.arrive(4, 4);
        stream.took(1, true);
        stream.settle(4);
        let due = start + 6 * second;
        assert_eq!(stream.receipt(start + 3 * second, 1000), Err(Some(due)));
        assert_eq!(stream.receipt(due, 1000), Ok(4));
    }

    proptest! {
        /// What is acknowledged was received and settled, never goes back, and all that is open is counted.
        #[test]
        fn nothing_is_acknowledged_that_was_not_settled(steps in prop::collection::vec((0..4_u8, 0..30_u64, 0..50_u64), 1..60)) {
            let mut now = Instant::now();
            let mut stream = Stream::new(9, 1);
            let (mut settled, mut told) = (0, 0);
            for (what, a, b) in steps {
                match what {
                    0 => {
                        stream.arrive(a.max(1), a.max(1) + b);
                        stream.took(10, a % 2 == 0);
                    }
                    1 => {
                        stream.settle(a);
                        settled = settled.max(a.min(stream.received()));
                    }
                    2 => now += Duration::from_millis(a * b),
                    _ => stream.linked(),
                }
                if let Ok(seq) = stream.receipt(now, 100) {
                    prop_assert!(seq <= settled && seq >= told);
                    told = seq;
                }
                let open: usize = stream.open.iter().map(|(_, bytes)| bytes).sum();
                prop_assert_eq!(stream.open_bytes(), open);
                prop_assert!(stream.open.iter().all(|(last, _)| *last > stream.settled));
            }
        }
    }
}
