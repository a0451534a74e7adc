//! What waits to be sent to one target, in order, within bounds. Pure.
//!
//! Beyond the limits the oldest messages are dropped, and counted, as new ones are worth more.
//! The end of a host is never dropped, as its series would seem to go on: it is kept apart and
//! comes out first, before the remaining messages, which are all younger.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::collector::schemas::HostGrid;
use crate::protocol::message::GridKind;

/// How much may wait.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Samples.
    pub(super) samples: usize,
    /// Bytes of the messages in memory, of which targets that wait for the same share one.
    pub(super) bytes: usize,
}

/// Of a thousand hosts with 400 samples every 5 s three quarters of a minute, at some 60 bytes
/// a sample: a receiver's restart. It is a quarter of the unit's `MemoryMax=`. All targets are
/// given the same messages and hold the latest of them, so that it bounds what all of them
/// hold together.
pub(super) const LIMITS: Limits = Limits {
    samples: 5_000_000,
    bytes: 256 * 1024 * 1024,
};

/// Maximum number of ended hosts that are kept apart: twice the largest fleet.
const MAX_EARLY: usize = 20_000;

/// What an entry takes besides its grid, about.
const ENTRY_BYTES: usize = 128;

/// Something that happened, in milliseconds since 1970.
#[derive(Clone, Debug)]
pub(super) enum Item {
    /// A host reported.
    Message {
        host: Arc<str>,
        kind: GridKind,
        grid: Arc<HostGrid>,
        time: i64,
    },
    /// A host is gone.
    Gone { host: Arc<str>, time: i64 },
}

impl Item {
    /// How many samples it stands for: those of the message, and that the host is up. The
    /// end of series is none.
    pub(super) fn samples(&self) -> usize {
        match self {
            Self::Message { grid, .. } => grid.len() + 1,
            Self::Gone { .. } => 0,
        }
    }

    /// The pin of that key.
    pub(super) fn host(&self) -> &str {
        match self {
            Self::Message { host, .. } | Self::Gone { host, .. } => host,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Message { grid, .. } => ENTRY_BYTES + grid.bytes(),
            Self::Gone { .. } => ENTRY_BYTES,
        }
    }
}

/// What waits.
#[derive(Debug)]
pub(super) struct Queue {
    limits: Limits,
    /// The oldest first.
    items: VecDeque<Item>,
    /// Hosts that went, and when first, before everything in `items`.
    early: BTreeMap<Arc<str>, i64>,
    samples: usize,
    bytes: usize,
    /// Samples dropped since it began to drop; None where it does not.
    dropping: Option<u64>,
}

/// What putting something in has led to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Pushed {
    /// Samples that had to go for it.
    pub(super) dropped: u64,
    /// Whether these are the first since there was room.
    pub(super) began: bool,
}

impl Queue {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            items: VecDeque::new(),
            early: BTreeMap::new(),
            samples: 0,
            bytes: 0,
            dropping: None,
        }
    }

    /// Puts something in, and lets the oldest go where there is no room.
    pub(super) fn push(&mut self, item: Item) -> Pushed {
        self.samples += item.samples();
        self.bytes += item.bytes();
        self.items.push_back(item);
        let mut dropped = 0;
        while self.samples > self.limits.samples || self.bytes > self.limits.bytes {
            // The newest stays, whatever its size: a message is bounded.
            if self.items.len() <= 1 {
                break;
            }
            match self.take_item() {
                Some(Item::Gone { host, time }) => {
                    self.early.entry(host).or_insert(time);
                    if self.early.len() > MAX_EARLY {
                        self.early.pop_first();
                    }
                }
                Some(message) => dropped += message.samples() as u64,
                None => break,
            }
        }
        let began = dropped > 0 && self.dropping.is_none();
        if dropped > 0 {
            *self.dropping.get_or_insert(0) += dropped;
        }
        Pushed { dropped, began }
    }

    /// The oldest.
    pub(super) fn pop(&mut self) -> Option<Item> {
        if let Some((host, time)) = self.early.pop_first() {
            return Some(Item::Gone { host, time });
        }
        self.take_item()
    }

    fn take_item(&mut self) -> Option<Item> {
        let item = self.items.pop_front()?;
        self.samples -= item.samples();
        self.bytes -= item.bytes();
        Some(item)
    }

    /// How many samples were dropped, once there is room again: half of all, so that it is
    /// not said again and again.
    pub(super) fn room_again(&mut self) -> Option<u64> {
        let half = |limit: usize| limit / 2;
        let room =
            self.samples <= half(self.limits.samples) && self.bytes <= half(self.limits.bytes);
        self.dropping.take_if(|_| room)
    }

    /// Returns true if nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty() && self.early.is_empty()
    }

    /// How many samples wait.
    pub(super) fn samples(&self) -> usize {
        self.samples
    }

    /// Lets go of everything.
    pub(super) fn clear(&mut self) {
        *self = Self::new(self.limits);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::grid::Grid;

    fn message(host: &str, time: i64, metrics: usize) -> Item {
        let pairs: Vec<_> = (0..metrics).map(|n| format!("\"m{n}\":1")).collect();
        let text = format!("{{{}}}", pairs.join(","));
        let grid = Grid::parse(text.as_bytes(), GridKind::Metrics).unwrap();
        Item::Message {
            host: host.into(),
            kind: GridKind::Metrics,
            grid: Arc::new(grid.into()),
            time,
        }
    }

    fn gone(host: &str, time: i64) -> Item {
        Item::Gone {
            host: host.into(),
            time,
        }
    }

    fn shown(queue: &mut Queue) -> Vec<String> {
        let mut shown = Vec::new();
        while let Some(item) = queue.pop() {
            shown.push(match item {
                Item::Message { host, time, .. } => format!("{host}@{time}"),
                Item::Gone { host, time } => format!("-{host}@{time}"),
            });
        }
        shown
    }

    fn limits(samples: usize) -> Limits {
        Limits {
            samples,
            bytes: usize::MAX,
        }
    }

    #[test]
    fn what_came_first_goes_first() {
        let mut queue = Queue::new(limits(100));
        for item in [message("a", 1, 3), gone("b", 2), message("a", 3, 2)] {
            assert_eq!(queue.push(item), Pushed::default());
        }
        assert_eq!(queue.samples(), 7);
        assert_eq!(shown(&mut queue), ["a@1", "-b@2", "a@3"]);
        assert!(queue.is_empty());
        assert_eq!((queue.samples, queue.bytes), (0, 0));
    }

    #[test]
    fn past_its_bound_the_oldest_go_and_are_counted() {
        let mut queue = Queue::new(limits(10));
        for time in 0..2 {
            queue.push(message("a", time, 4));
        }
        let pushed = queue.push(message("a", 2, 4));
        assert_eq!((pushed.dropped, pushed.began), (5, true));
        let pushed = queue.push(message("a", 3, 9));
        // Both had to go.
        assert_eq!((pushed.dropped, pushed.began), (10, false));
        assert_eq!(queue.room_again(), None);
        assert_eq!(shown(&mut queue), ["a@3"]);
        assert_eq!(queue.room_again(), Some(15));
        assert_eq!(queue.room_again(), None);
    }

    #[test]
    fn bytes_are_bounded_too_and_the_newest_always_stays() {
        let one = message("a", 0, 50).bytes();
        let mut queue = Queue::new(Limits {
            samples: usize::MAX,
            bytes: 2 * one,
        });
        for time in 0..3 {
            queue.push(message("a", time, 50));
        }
        assert_eq!(queue.samples(), 2 * 51);
        let huge = queue.push(message("a", 3, 500));
        assert_eq!(huge.dropped, 2 * 51);
        assert_eq!(shown(&mut queue), ["a@3"]);
    }

    #[test]
    fn that_a_host_went_is_not_dropped() {
        let mut queue = Queue::new(limits(10));
        queue.push(message("a", 1, 8));
        queue.push(gone("a", 2));
        queue.push(gone("b", 2));
        queue.push(message("a", 3, 8));
        queue.push(gone("a", 4));
        queue.push(message("c", 5, 8));
        assert_eq!(shown(&mut queue), ["-a@2", "-b@2", "-a@4", "c@5"]);
    }

    #[test]
    fn hosts_that_went_are_bounded() {
        let mut queue = Queue::new(limits(1));
        for number in 0..MAX_EARLY + 100 {
            queue.push(gone(&number.to_string(), 1));
            queue.push(message("a", 2, 1));
        }
        assert_eq!(queue.early.len(), MAX_EARLY);
        assert_eq!(queue.items.len(), 1);
    }
}
