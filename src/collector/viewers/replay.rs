//! The latest messages of agents, for viewers that could not take them at once. Pure.
//!
//! Kept only while a viewer is behind, and limited in number and bytes: the oldest go first.

use std::collections::VecDeque;
use std::sync::Arc;

use super::types::Kind;

/// Most messages: two seconds of 10,000 hosts that report every 5 s. Who is further behind
/// is better served with newer ones.
pub(super) const MAX_MESSAGES: usize = 4096;

/// Most bytes of their grids: a thirtieth of what the unit's `MemoryMax=` allows, and two
/// seconds of 1,000 hosts that report a hundred services each.
pub(super) const MAX_BYTES: usize = 32 * 1024 * 1024;

/// A message.
#[derive(Debug)]
pub(super) struct Taped {
    pub(super) host: Arc<str>,
    pub(super) kind: Kind,
    pub(super) grid: Box<[u8]>,
}

/// Messages by number, from 0 since the collector's start.
#[derive(Debug, Default)]
pub(super) struct ReplayBuffer {
    messages: VecDeque<Taped>,
    /// The number of the first.
    start: u64,
    bytes: usize,
}

impl ReplayBuffer {
    /// The number of the oldest message.
    pub(super) fn start(&self) -> u64 {
        self.start
    }

    /// The number that the next message will have.
    pub(super) fn end(&self) -> u64 {
        self.start + self.messages.len() as u64
    }

    /// The bytes of all grids.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn get(&self, number: u64) -> Option<&Taped> {
        let at = number.checked_sub(self.start)?;
        self.messages.get(usize::try_from(at).ok()?)
    }

    pub(super) fn push(&mut self, host: &Arc<str>, kind: Kind, grid: &[u8]) {
        self.bytes += grid.len();
        self.messages.push_back(Taped {
            host: Arc::clone(host),
            kind,
            grid: grid.into(),
        });
        while self.messages.len() > MAX_MESSAGES || self.bytes > MAX_BYTES {
            self.forget_oldest();
        }
    }

    /// Drops what no viewer needs any more: all before this number, or all.
    pub(super) fn forget_before(&mut self, number: Option<u64>) {
        let number = number.unwrap_or_else(|| self.end());
        while self.start < number && !self.messages.is_empty() {
            self.forget_oldest();
        }
        if self.messages.is_empty() && self.messages.capacity() > 0 {
            self.messages = VecDeque::new();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some(oldest) = self.messages.pop_front() {
            self.bytes -= oldest.grid.len();
            self.start += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::message::GridKind;

    fn push(replay: &mut ReplayBuffer, bytes: usize) {
        let kind = Kind::Grid(GridKind::Metrics);
        replay.push(&"web1".into(), kind, &vec![b' '; bytes]);
    }

    #[test]
    fn a_tape_is_bounded_in_number_and_bytes() {
        let mut replay = ReplayBuffer::default();
        for _ in 0..MAX_MESSAGES + 10 {
            push(&mut replay, 1);
        }
        assert_eq!(
            (replay.start(), replay.end()),
            (10, 10 + MAX_MESSAGES as u64)
        );
        assert_eq!(replay.bytes(), MAX_MESSAGES);
        assert!(replay.get(9).is_none() && replay.get(replay.end()).is_none());
        assert_eq!(replay.get(10).unwrap().grid.len(), 1);
        push(&mut replay, MAX_BYTES);
        assert_eq!(replay.bytes(), MAX_BYTES);
        assert_eq!(replay.end() - replay.start(), 1);
    }

    #[test]
    fn what_no_viewer_needs_goes_and_numbers_stay() {
        let mut replay = ReplayBuffer::default();
        for bytes in [1, 2, 3] {
            push(&mut replay, bytes);
        }
        replay.forget_before(Some(2));
        assert_eq!((replay.start(), replay.end(), replay.bytes()), (2, 3, 3));
        replay.forget_before(None);
        assert_eq!((replay.start(), replay.end(), replay.bytes()), (3, 3, 0));
        push(&mut replay, 4);
        assert_eq!(replay.get(3).unwrap().grid.len(), 4);
    }
}
