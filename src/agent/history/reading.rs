//! What is read back from disk for a collector: how far ahead, and what becomes of it. Pure.

use std::collections::VecDeque;

use super::chunk::Chunk;
use super::types::Why;

/// Parts that wait for a collector, above which no more is read ahead.
const READ_AHEAD: usize = 2;

/// Samples that were read back, or are found to be lost.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part {
    Chunk(Chunk),
    Lost { first: u64, last: u64, why: Why },
}

impl Part {
    pub(super) fn first(&self) -> u64 {
        match self {
            Self::Chunk(chunk) => chunk.first(),
            Self::Lost { first, .. } => *first,
        }
    }

    pub(super) fn last(&self) -> u64 {
        match self {
            Self::Chunk(chunk) => chunk.last(),
            Self::Lost { last, .. } => *last,
        }
    }
}

/// What is read of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Read {
    /// The cursor that needs it.
    pub(super) token: u32,
    pub(super) segment: u64,
    pub(super) from: u64,
    pub(super) until: u64,
}

/// What was read back for a cursor.
#[derive(Debug, Default)]
pub(super) struct Reading {
    ready: VecDeque<Part>,
    wanted: Option<(u64, u64, u64)>,
    under_way: Option<Read>,
}

impl Reading {
    /// The part that has this number.
    pub(super) fn part(&self, seq: u64) -> Option<&Part> {
        let mut ready = self.ready.iter();
        ready.find(|part| (part.first()..=part.last()).contains(&seq))
    }

    /// Asks for more, unless that is under way already.
    pub(super) fn want(&mut self, segment: u64, from: u64, until: u64) {
        if self.under_way.is_none() {
            self.wanted = Some((segment, from, until));
        }
    }

    /// Lets go of everything up to this number.
    pub(super) fn pass(&mut self, seq: u64) {
        while self.ready.front().is_some_and(|part| part.last() <= seq) {
            self.ready.pop_front();
        }
    }

    /// The number after what is ready, if more should be read ahead.
    pub(super) fn next(&self, sent: u64) -> Option<u64> {
        let next = self.ready.back().map_or(sent, Part::last) + 1;
        (self.ready.len() < READ_AHEAD && self.under_way.is_none()).then_some(next)
    }

    /// What is to be read for this cursor now, if anything. It is under way then.
    pub(super) fn start(&mut self, token: u32) -> Option<Read> {
        if self.under_way.is_some() {
            return None;
        }
        let (segment, from, until) = self.wanted.take()?;
        let read = Read {
            token,
            segment,
            from,
            until,
        };
        self.under_way = Some(read);
        Some(read)
    }

    /// This is what came of it.
    pub(super) fn take(&mut self, read: Read, result: Result<Vec<Part>, String>) {
        let asked = self.under_way.take();
        if asked != Some(read) {
            return;
        }
        let ready = &mut self.ready;
        let mut next = read.from;
        let lost = |first, last| Part::Lost {
            first,
            last,
            why: Why::Damaged,
        };
        let before = ready.len();
        for part in result.unwrap_or_default() {
            // What is missing in between is damaged; what comes twice is of no use.
            if part.last() < next {
                continue;
            }
            if part.first() > next {
                ready.push_back(lost(next, part.first().min(read.until + 1) - 1));
            }
            next = part.last() + 1;
            if part.first() <= read.until {
                ready.push_back(part);
            }
        }
        // The segment ends before it should.
        if ready.len() == before {
            ready.push_back(lost(next, read.until));
        }
    }

    /// Lets go of everything: reading begins elsewhere.
    pub(super) fn clear(&mut self) {
        self.ready.clear();
        self.wanted = None;
        // What comes of it is of no use any more.
        if let Some(read) = &mut self.under_way {
            read.from = u64::MAX;
        }
    }
}
