//! What waits to be sent to one target, in order, within bounds. Pure.
//!
//! Beyond the limits the oldest messages are dropped, and counted, as new ones are worth more.
//! The end of a host is never dropped, as its series would seem to go on: it is kept apart and
//! comes out first, before the remaining messages, which are all younger.
//!
//! History is not dropped where the target holds back receipts. How much of it agents may send is bounded
//! by their windows, which are smallest where there is no room ([`Queue::has_room`]).

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;

use super::receipts::Ticket;
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
    /// A host reported on the first wire.
    Message {
        host: Arc<str>,
        kind: GridKind,
        grid: Arc<HostGrid>,
        /// When, by the collector's clock.
        time: i64,
    },
    /// A sample of a host on the second wire.
    History {
        host: Arc<str>,
        /// What each source said, one grid for each.
        grids: Arc<[Arc<HostGrid>]>,
        /// When it was taken, by the host's clock, corrected.
        time: i64,
        ticket: Option<Ticket>,
    },
    /// A host on the second wire was heard, by the collector's clock.
    Up { host: Arc<str>, time: i64 },
    /// A host is gone, by the collector's clock.
    Gone { host: Arc<str>, time: i64 },
}

impl Item {
    /// How many samples it stands for: those of the message, and that the host is up. The
    /// end of series is none.
    pub(super) fn samples(&self) -> usize {
        match self {
            Self::Message { grid, .. } => grid.len() + 1,
            Self::History { grids, .. } => grids.iter().map(|grid| grid.len()).sum(),
            Self::Up { .. } => 1,
            Self::Gone { .. } => 0,
        }
    }

    /// The host that it is about.
    pub(super) fn host(&self) -> &Arc<str> {
        match self {
            Self::Message { host, .. }
            | Self::History { host, .. }
            | Self::Up { host, .. }
            | Self::Gone { host, .. } => host,
        }
    }

    /// What a receipt waits for.
    pub(super) fn ticket(&self) -> Option<Ticket> {
        match self {
            Self::History { ticket, .. } => *ticket,
            _ => None,
        }
    }

    fn bytes(&self) -> usize {
        let grids = match self {
            Self::Message { grid, .. } => grid.bytes(),
            Self::History { grids, .. } => grids.iter().map(|grid| grid.bytes()).sum(),
            Self::Up { .. } | Self::Gone { .. } => 0,
        };
        ENTRY_BYTES + grids
    }
}

/// What waits.
#[derive(Debug)]
pub(super) struct Queue {
    limits: Limits,
    /// Whether history is kept until it is sent.
    keeps: bool,
    /// What may be dropped, with its place among all: the oldest first.
    items: VecDeque<(u64, Item)>,
    /// What is kept: history and the ends of hosts on it, with its place among all.
    kept: VecDeque<(u64, Item)>,
    /// The place of the next item.
    next: u64,
    /// Hosts whose last item in `kept` is their end: a second one says no more, so there are
    /// never more ends than samples and hosts.
    ended: HashSet<Arc<str>>,
    /// Hosts that went, and when first, before everything in `items`.
    early: BTreeMap<Arc<str>, i64>,
    samples: usize,
    bytes: usize,
    /// Of these, what is in `kept`.
    kept_samples: usize,
    kept_bytes: usize,
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
    /// Nothing waits yet. With `keeps`, history is never dropped.
    pub(super) fn new(limits: Limits, keeps: bool) -> Self {
        Self {
            limits,
            keeps,
            items: VecDeque::new(),
            kept: VecDeque::new(),
            next: 0,
            ended: HashSet::new(),
            early: BTreeMap::new(),
            samples: 0,
            bytes: 0,
            kept_samples: 0,
            kept_bytes: 0,
            dropping: None,
        }
    }

    /// Puts something in, and lets the oldest that may be dropped go where there is no room.
    pub(super) fn push(&mut self, item: Item, keep: bool) -> Pushed {
        if keep && self.keeps {
            self.keep(item);
        } else {
            self.samples += item.samples();
            self.bytes += item.bytes();
            self.items.push_back((self.next, item));
            self.next += 1;
        }
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

    fn keep(&mut self, item: Item) {
        if let Item::Gone { host, .. } = &item {
            if !self.ended.insert(Arc::clone(host)) {
                return;
            }
        } else if !self.ended.is_empty() {
            self.ended.remove(item.host());
        }
        let (samples, bytes) = (item.samples(), item.bytes());
        self.samples += samples;
        self.bytes += bytes;
        self.kept_samples += samples;
        self.kept_bytes += bytes;
        self.kept.push_back((self.next, item));
        self.next += 1;
    }

    /// Returns true if more history should be put in: it takes half of the room at most, as
    /// it is not dropped for what else waits.
    pub(super) fn has_room(&self) -> bool {
        self.kept_samples < self.limits.samples / 2 && self.kept_bytes < self.limits.bytes / 2
    }

    /// The oldest.
    pub(super) fn pop(&mut self) -> Option<Item> {
        if let Some((host, time)) = self.early.pop_first() {
            return Some(Item::Gone { host, time });
        }
        let place = |items: &VecDeque<(u64, Item)>| items.front().map(|(place, _)| *place);
        match (place(&self.items), place(&self.kept)) {
            (Some(item), Some(kept)) if kept < item => self.take_kept(),
            (None, Some(_)) => self.take_kept(),
            _ => self.take_item(),
        }
    }

    fn take_item(&mut self) -> Option<Item> {
        let (_, item) = self.items.pop_front()?;
        self.samples -= item.samples();
        self.bytes -= item.bytes();
        Some(item)
    }

    fn take_kept(&mut self) -> Option<Item> {
        let (_, item) = self.kept.pop_front()?;
        let (samples, bytes) = (item.samples(), item.bytes());
        self.samples -= samples;
        self.bytes -= bytes;
        self.kept_samples -= samples;
        self.kept_bytes -= bytes;
        if let Item::Gone { host, .. } = &item {
            self.ended.remove(host);
        }
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
        self.items.is_empty() && self.kept.is_empty() && self.early.is_empty()
    }

    /// How many samples wait.
    pub(super) fn samples(&self) -> usize {
        self.samples
    }

    /// How many samples wait that are not dropped.
    pub(super) fn kept_samples(&self) -> usize {
        self.kept_samples
    }

    /// Takes out what is not dropped.
    pub(super) fn take_all_kept(&mut self) -> Vec<Item> {
        std::iter::from_fn(|| self.take_kept()).collect()
    }

    /// Lets go of what may be dropped.
    pub(super) fn clear_dropping(&mut self) {
        self.early.clear();
        while self.take_item().is_some() {}
    }

    /// Lets go of everything.
    pub(super) fn clear(&mut self) {
        *self = Self::new(self.limits, self.keeps);
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
                Item::History { host, time, .. } => format!("{host}:{time}"),
                Item::Up { host, time } => format!("+{host}@{time}"),
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
        let mut queue = Queue::new(limits(100), true);
        for item in [message("a", 1, 3), gone("b", 2), message("a", 3, 2)] {
            assert_eq!(queue.push(item, false), Pushed::default());
        }
        assert_eq!(queue.samples(), 7);
        assert_eq!(shown(&mut queue), ["a@1", "-b@2", "a@3"]);
        assert!(queue.is_empty());
        assert_eq!((queue.samples, queue.bytes), (0, 0));
    }

    #[test]
    fn past_its_bound_the_oldest_go_and_are_counted() {
        let mut queue = Queue::new(limits(10), true);
        for time in 0..2 {
            queue.push(message("a", time, 4), false);
        }
        let pushed = queue.push(message("a", 2, 4), false);
        assert_eq!((pushed.dropped, pushed.began), (5, true));
        let pushed = queue.push(message("a", 3, 9), false);
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
        let mut queue = Queue::new(
            Limits {
                samples: usize::MAX,
                bytes: 2 * one,
            },
            true,
        );
        for time in 0..3 {
            queue.push(message("a", time, 50), false);
        }
        assert_eq!(queue.samples(), 2 * 51);
        let huge = queue.push(message("a", 3, 500), false);
        assert_eq!(huge.dropped, 2 * 51);
        assert_eq!(shown(&mut queue), ["a@3"]);
    }

    #[test]
    fn that_a_host_went_is_not_dropped() {
        let mut queue = Queue::new(limits(10), true);
        queue.push(message("a", 1, 8), false);
        queue.push(gone("a", 2), false);
        queue.push(gone("b", 2), false);
        queue.push(message("a", 3, 8), false);
        queue.push(gone("a", 4), false);
        queue.push(message("c", 5, 8), false);
        assert_eq!(shown(&mut queue), ["-a@2", "-b@2", "-a@4", "c@5"]);
    }

    #[test]
    fn hosts_that_went_are_bounded() {
        let mut queue = Queue::new(limits(1), true);
        for number in 0..MAX_EARLY + 100 {
            queue.push(gone(&number.to_string(), 1), false);
            queue.push(message("a", 2, 1), false);
        }
        assert_eq!(queue.early.len(), MAX_EARLY);
        assert_eq!(queue.items.len(), 1);
    }

    fn history(host: &str, time: i64, metrics: usize) -> Item {
        let Item::Message { host, grid, .. } = message(host, time, metrics) else {
            unreachable!()
        };
        Item::History {
            host,
            grids: [grid].into(),
            time,
            ticket: None,
        }
    }

    #[test]
    fn history_is_kept_and_the_rest_is_dropped_for_it_in_order() {
        let mut queue = Queue::new(limits(12), true);
        queue.push(message("a", 1, 3), false);
        queue.push(history("b", 2, 4), true);
        queue.push(message("a", 3, 3), false);
        let pushed = queue.push(history("b", 4, 4), true);
        assert_eq!((pushed.dropped, pushed.began), (4, true));
        let pushed = queue.push(history("b", 5, 4), true);
        // The newest message stays.
        assert_eq!(pushed, Pushed::default());
        queue.push(gone("b", 6), true);
        queue.push(message("a", 7, 3), false);
        assert_eq!(
            shown(&mut queue),
            ["b:2", "b:4", "b:5", "-b@6", "a@7"],
            "what is kept comes in its turn"
        );
        assert_eq!((queue.samples, queue.bytes), (0, 0));
        assert_eq!((queue.kept_samples, queue.kept_bytes), (0, 0));
    }

    #[test]
    fn history_has_room_up_to_half() {
        let mut queue = Queue::new(limits(20), true);
        queue.push(history("b", 1, 9), true);
        assert!(queue.has_room());
        queue.push(history("b", 2, 1), true);
        assert!(!queue.has_room());
        // Other messages do not count, and are not what holds it back.
        queue.pop();
        queue.push(message("a", 3, 100), false);
        assert!(queue.has_room());
    }

    #[test]
    fn a_target_that_holds_nothing_back_drops_history_too() {
        let mut queue = Queue::new(limits(10), false);
        for time in 0..3 {
            queue.push(history("b", time, 4), true);
        }
        assert!(queue.has_room());
        assert_eq!(shown(&mut queue), ["b:1", "b:2"]);
    }

    #[test]
    fn ends_that_are_kept_are_as_many_as_their_hosts() {
        let mut queue = Queue::new(limits(10), true);
        for time in 0..100 {
            queue.push(gone("a", time), true);
            queue.push(gone("b", time), true);
        }
        queue.push(history("a", 100, 1), true);
        queue.push(gone("a", 101), true);
        queue.push(gone("a", 102), true);
        assert_eq!(shown(&mut queue), ["-a@0", "-b@0", "a:100", "-a@101"]);
        queue.push(gone("a", 103), true);
        assert_eq!(shown(&mut queue), ["-a@103"]);
    }
}
