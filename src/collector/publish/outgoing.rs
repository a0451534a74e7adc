//! What the PUB socket sends to one reader, pure: whole messages wait for the reader up to a bound,
//! and are dropped past it.

use std::collections::VecDeque;

use super::incoming::{has_more, header};

/// Most bytes that wait for a reader: some hundred messages, or a longer pause of its.
pub(super) const MAX_WAITING_BYTES: usize = 4 * 1024 * 1024;

/// An empty buffer that is larger than this is given back.
const KEPT: usize = 64 * 1024;

/// The length of a greeting.
const GREETING: usize = 64;

/// What goes to a reader.
#[derive(Debug)]
pub(super) struct Outgoing {
    limit: usize,
    greeted: bool,
    /// The beginning of a message that has not come whole.
    partial: Vec<u8>,
    waiting: VecDeque<u8>,
}

impl Outgoing {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            greeted: false,
            partial: Vec::new(),
            waiting: VecDeque::new(),
        }
    }

    /// Takes what the PUB socket sent. Returns how many messages had no room.
    pub(super) fn receive(&mut self, bytes: &[u8]) -> u64 {
        self.partial.extend_from_slice(bytes);
        let partial = std::mem::take(&mut self.partial);
        let mut rest = partial.as_slice();
        let mut dropped = 0;
        while let Some((message, behind)) = self
            .whole(rest)
            .and_then(|length| rest.split_at_checked(length))
        {
            if !self.push(message) {
                dropped += 1;
            }
            self.greeted = true;
            rest = behind;
        }
        self.partial = rest.to_vec();
        dropped
    }

    /// Adds a whole message, or an answer to a ping. Returns false if there is no room.
    pub(super) fn push(&mut self, message: &[u8]) -> bool {
        // A message that is larger than all of the room still has its turn.
        let fits = self.waiting.is_empty() || self.waiting.len() + message.len() <= self.limit;
        if fits {
            self.waiting.extend(message);
        }
        fits
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// What is to be written next.
    pub(super) fn front(&self) -> &[u8] {
        self.waiting.as_slices().0
    }

    /// So much of it was written.
    pub(super) fn written(&mut self, bytes: usize) {
        self.waiting.drain(..bytes.min(self.waiting.len()));
        if self.waiting.is_empty() && self.waiting.capacity() > KEPT {
            self.waiting = VecDeque::new();
        }
    }

    /// The length of the first message, if its frames are all announced.
    fn whole(&self, bytes: &[u8]) -> Option<usize> {
        if !self.greeted {
            return Some(GREETING);
        }
        let mut length = 0_usize;
        loop {
            let (flags, body, size) = header(bytes.get(length..)?)?;
            length = length
                .checked_add(size)?
                .checked_add(body.try_into().ok()?)?;
            if !has_more(flags) {
                return Some(length);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: usize = 100;

    fn message(byte: u8, length: u8) -> Vec<u8> {
        let body = vec![byte; length.into()];
        let first = [&[1, length][..], &body].concat();
        [first, vec![0, 1, b'.']].concat()
    }

    fn greeted() -> Outgoing {
        let mut outgoing = Outgoing::new(ROOM);
        assert_eq!(outgoing.receive(&[9; GREETING]), 0);
        assert_eq!(written(&mut outgoing), [9; GREETING]);
        outgoing
    }

    /// All that a reader gets that reads.
    fn written(outgoing: &mut Outgoing) -> Vec<u8> {
        let mut all = Vec::new();
        while !outgoing.is_empty() {
            let front = outgoing.front().to_vec();
            outgoing.written(front.len());
            all.extend(front);
        }
        all
    }

    #[test]
    fn everything_passes_where_there_is_room() {
        let all = [message(1, 10), message(2, 0), message(3, 50)].concat();
        for size in 1..=all.len() {
            let mut outgoing = greeted();
            for piece in all.chunks(size) {
                assert_eq!(outgoing.receive(piece), 0);
            }
            assert_eq!(written(&mut outgoing), all, "{size}");
        }
    }

    #[test]
    fn whole_messages_are_dropped_past_the_bound() {
        let mut outgoing = greeted();
        let kept = [message(1, 40), message(2, 40)].concat();
        assert_eq!(outgoing.receive(&kept), 0);
        // A reader may have got a part already.
        outgoing.written(10);
        assert_eq!(outgoing.receive(&message(3, 40)), 1);
        let (start, end) = (message(4, 40), message(5, 1));
        assert_eq!(outgoing.receive(&start[..20]), 0, "not whole yet");
        assert_eq!(outgoing.receive(&[&start[20..], &end].concat()), 1);
        assert!(outgoing.waiting.len() <= ROOM);
        assert_eq!(written(&mut outgoing), [&kept[10..], &end].concat());
        // It goes on as soon as there is room.
        assert_eq!(outgoing.receive(&start), 0);
        assert_eq!(written(&mut outgoing), start);
    }

    #[test]
    fn a_message_larger_than_the_bound_goes_alone() {
        let mut outgoing = greeted();
        let large = message(1, 200);
        assert_eq!(outgoing.receive(&[&large[..], &message(2, 1)].concat()), 1);
        assert_eq!(written(&mut outgoing), large);
    }

    #[test]
    fn memory_is_given_back() {
        let mut outgoing = Outgoing::new(MAX_WAITING_BYTES);
        outgoing.receive(&[0; GREETING]);
        for _ in 0..10_000 {
            outgoing.receive(&message(1, 255));
        }
        assert!(outgoing.waiting.capacity() > KEPT);
        written(&mut outgoing);
        assert!(outgoing.waiting.capacity() + outgoing.partial.capacity() <= KEPT);
    }
}
