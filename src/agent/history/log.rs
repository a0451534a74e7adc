//! The log of samples: one for all collectors, each with a cursor of its own.
//!
//! Pure: no file, no clock. Owns the numbers of samples, what is kept of them and where, and what is
//! lost. [`cursor`](super::cursor) has what is done for a single collector, [`spill`](super::spill) what
//! goes to disk.
//!
//! Every number from the oldest that some collector still needs up to the latest is in exactly one
//! [`Piece`]: in memory, on disk, or lost. Where the log is full, the oldest piece goes.

use std::collections::{BTreeMap, VecDeque};

use super::chunk::Chunk;
use super::cursor::Cursor;
use super::definition::{FirstIds, SchemaDefinition, Weights};
use super::spill::Spill;
use super::types::{HistoryEvent, Limits, Loss, Moment, Standing, Status, Usage, Why};
use std::sync::Arc;
use std::time::Duration;

/// Most pieces that are lost with another piece of the same kind of loss beside them. Past that,
/// neighbours become one, whatever their reasons.
const MAX_LOST_PIECES: usize = 64;

/// What becomes of samples with consecutive numbers, all of one run of the agent.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) first: u64,
    pub(super) last: u64,
    /// When the first and the last were taken, in µs since 1970; 0 if that is not known.
    pub(super) first_time: i64,
    pub(super) last_time: i64,
    pub(super) kept: Kept,
}

/// Where the samples of a piece are.
#[derive(Debug)]
pub(super) enum Kept {
    /// In memory, and perhaps on disk as well.
    Memory(Held),
    /// In the segment with this number, alone.
    Disk(u64),
    /// Nowhere.
    Lost(Why),
}

/// A chunk in memory.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) chunk: Chunk,
    /// How many of its samples are on disk.
    pub(super) written: usize,
    /// The segment in which they are. None if they are in none, or were in one that is gone.
    pub(super) segment: Option<u64>,
}

impl Piece {
    pub(super) fn is_lost(&self) -> bool {
        matches!(self.kept, Kept::Lost(_))
    }

    /// When this sample of it was taken; 0 if that is not known.
    fn time_of(&self, seq: u64) -> i64 {
        match &self.kept {
            Kept::Memory(held) => {
                let entry = held.chunk.entry(held.chunk.index_of(seq));
                entry.map_or(0, |entry| entry.time)
            }
            _ if seq == self.first => self.first_time,
            _ if seq == self.last => self.last_time,
            _ => 0,
        }
    }
}

/// The log.
#[derive(Debug)]
pub(super) struct Log {
    /// The number by which collectors know the samples of this run. Each run has its own, so that none can
    /// give other samples the numbers of what an earlier one has sent.
    pub(super) stream: u64,
    /// Runs before of which samples were found, as receipts may come late: the last number of each, and its stream.
    pub(super) earlier: VecDeque<(u64, u64)>,
    pub(super) limits: Limits,
    /// The number of the next sample.
    pub(super) next: u64,
    /// Consecutive, up to the sample before `next`.
    pub(super) pieces: VecDeque<Piece>,
    /// The last piece is a chunk to which samples may be added.
    pub(super) open: bool,
    /// Bytes of the chunks in memory.
    pub(super) chunks: usize,
    pub(super) weights: Weights,
    pub(super) cursors: BTreeMap<String, Cursor>,
    /// Numbers the cursors that there ever were.
    pub(super) tokens: u32,
    pub(super) spill: Spill,
    /// A few for each collector and failure; each is told once.
    pub(super) events: Vec<HistoryEvent>,
}

impl Log {
    /// An empty log.
    pub(super) fn new(stream: u64, limits: Limits) -> Self {
        Self {
            stream,
            earlier: VecDeque::new(),
            limits,
            next: 1,
            pieces: VecDeque::new(),
            open: false,
            chunks: 0,
            weights: Weights::default(),
            cursors: BTreeMap::new(),
            tokens: 0,
            spill: Spill::default(),
            events: Vec::new(),
        }
    }

    /// Returns true if some collector needs the samples to come.
    pub(super) fn wanted(&self) -> bool {
        self.cursors.values().any(Cursor::holds)
    }

    /// Decides whether the next sample begins a chunk, in which case it must be coded whole.
    pub(super) fn begins_chunk(&mut self) -> bool {
        // Who has everything gets the next sample as it is kept, without coding it once more.
        let sent = self.cursors.values().filter(|cursor| cursor.holds());
        if sent.into_iter().all(|cursor| cursor.sent + 1 == self.next) {
            self.close();
        }
        if self.spill.rotates(self.limits.disk) {
            self.close();
        }
        !self.open
    }

    /// Ends the chunk to which samples are added. The next one begins another.
    pub(super) fn close(&mut self) {
        if !std::mem::replace(&mut self.open, false) {
            return;
        }
        if let Some(Piece {
            kept: Kept::Memory(held),
            ..
        }) = self.pieces.back_mut()
        {
            self.chunks -= held.chunk.memory();
            held.chunk.close();
            self.chunks += held.chunk.memory();
        }
    }

    /// Whether a sample of so many bytes fits into the chunk that is open.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        match self.pieces.back() {
            Some(Piece {
                kept: Kept::Memory(held),
                ..
            }) if self.open => held.chunk.has_room(bytes),
            _ => false,
        }
    }

    /// Adds an encoded sample, which has the number `next`. Begins a chunk with it if none is open.
    pub(super) fn append(
        &mut self,
        sample: &[u8],
        schemas: &[Arc<SchemaDefinition>],
        first_ids: FirstIds,
        now: Moment,
    ) -> u64 {
        let seq = self.take_number(now);
        if !self.open {
            let chunk = Chunk::new(seq, first_ids);
            self.chunks += chunk.memory();
            self.pieces.push_back(Piece {
                first: seq,
                last: seq,
                first_time: now.time,
                last_time: now.time,
                kept: Kept::Memory(Held {
                    chunk,
                    written: 0,
                    segment: None,
                }),
            });
            self.open = true;
        }
        if let Some(piece) = self.pieces.back_mut()
            && let Kept::Memory(held) = &mut piece.kept
        {
            piece.last = seq;
            piece.last_time = now.time;
            self.chunks -= held.chunk.memory();
            held.chunk.push(sample, now.time, now.boottime);
            for schema in schemas {
                if held.chunk.add_schema(schema) {
                    self.weights.hold(schema);
                }
            }
            self.chunks += held.chunk.memory();
        }
        self.bound();
        seq
    }

    /// Adds a sample that is lost at once.
    pub(super) fn append_lost(&mut self, why: Why, now: Moment) -> u64 {
        self.close();
        let seq = self.take_number(now);
        self.pieces.push_back(Piece {
            first: seq,
            last: seq,
            first_time: now.time,
            last_time: now.time,
            kept: Kept::Lost(why),
        });
        self.count_lost(seq, seq, why, |_, _| (now.time, now.time));
        self.merge_lost();
        seq
    }

    /// The stream that has this number, and its last one.
    pub(super) fn stream_of(&self, seq: u64) -> (u64, u64) {
        let mut earlier = self.earlier.iter();
        let run = earlier.find(|(last, _)| seq <= *last);
        run.map_or((self.stream, u64::MAX), |(last, stream)| (*stream, *last))
    }

    fn take_number(&mut self, now: Moment) -> u64 {
        let seq = self.next;
        self.next += 1;
        for cursor in self.cursors.values_mut().filter(|cursor| cursor.holds()) {
            cursor.since.get_or_insert(now.boottime);
        }
        seq
    }

    /// Bytes in memory.
    pub(super) fn memory(&self) -> usize {
        self.chunks + self.weights.bytes()
    }

    /// Drops what all have acknowledged.
    pub(super) fn trim(&mut self) {
        let holding = self.cursors.values().filter(|cursor| cursor.holds());
        let floor = holding.map(|cursor| cursor.acked).min();
        let floor = floor.unwrap_or(self.next - 1);
        while self.pieces.front().is_some_and(|piece| piece.last <= floor) {
            if let Some(piece) = self.pieces.pop_front() {
                self.forget(piece);
            }
        }
        if self.pieces.is_empty() {
            self.open = false;
        }
        self.spill.let_go(&self.pieces);
    }

    /// Accounts for a piece that is gone.
    fn forget(&mut self, piece: Piece) {
        if let Kept::Memory(held) = piece.kept {
            self.release(&held.chunk);
        }
    }

    fn release(&mut self, chunk: &Chunk) {
        self.chunks -= chunk.memory();
        for schema in chunk.schemas() {
            self.weights.let_go(schema);
        }
    }

    /// Keeps to the limit of memory.
    pub(super) fn bound(&mut self) {
        while self.memory() > self.limits.memory {
            if !self.evict() && !self.drop_oldest_in_memory() {
                return;
            }
        }
    }

    /// Puts other limits in force.
    pub(super) fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
        self.bound();
        self.make_room(0);
        self.trim();
    }

    /// Lets go of all chunks that are on disk as well.
    pub(super) fn spare_memory(&mut self) {
        while self.evict() {}
    }

    /// Lets go of the oldest chunk that is on disk as well; false if there is none.
    fn evict(&mut self) -> bool {
        let last = self.pieces.len().saturating_sub(usize::from(self.open));
        let place = self.pieces.iter().take(last).position(|piece| {
            matches!(&piece.kept, Kept::Memory(held)
                if held.segment.is_some() && held.written == held.chunk.len())
        });
        let Some(place) = place else {
            return false;
        };
        self.replace(place, |held| held.segment.map(Kept::Disk));
        self.merge_disk(place);
        true
    }

    /// Loses the oldest chunk in memory; false if there is none.
    fn drop_oldest_in_memory(&mut self) -> bool {
        let in_memory = |piece: &Piece| matches!(piece.kept, Kept::Memory(_));
        let Some(place) = self.pieces.iter().position(in_memory) else {
            return false;
        };
        if place + 1 == self.pieces.len() {
            self.open = false;
        }
        // It had been written to a segment that had to go.
        let was_on_disk = matches!(self.pieces.get(place), Some(Piece { kept: Kept::Memory(held), .. })
            if held.written == held.chunk.len());
        let why = if was_on_disk {
            Why::DiskFull
        } else {
            Why::MemoryFull
        };
        self.lose(place, why);
        self.merge_lost();
        true
    }

    /// Makes a piece a lost one.
    pub(super) fn lose(&mut self, place: usize, why: Why) {
        let Some(piece) = self.pieces.get_mut(place) else {
            return;
        };
        let (first, last) = (piece.first, piece.last);
        let before = Piece {
            kept: std::mem::replace(&mut piece.kept, Kept::Lost(why)),
            ..*piece
        };
        let times = |first, last| (before.time_of(first), before.time_of(last));
        self.count_lost(first, last, why, times);
        self.forget(before);
    }

    fn replace(&mut self, place: usize, kept: impl FnOnce(&Held) -> Option<Kept>) {
        if let Some(piece) = self.pieces.get_mut(place)
            && let Kept::Memory(held) = &piece.kept
            && let Some(kept) = kept(held)
        {
            let before = std::mem::replace(&mut piece.kept, kept);
            if let Kept::Memory(held) = before {
                self.release(&held.chunk);
            }
        }
    }

    /// Makes neighbours in one segment one piece.
    fn merge_disk(&mut self, place: usize) {
        for place in [place + 1, place] {
            let Some(before) = place.checked_sub(1) else {
                continue;
            };
            if let (Some(a), Some(b)) = (self.pieces.get(before), self.pieces.get(place))
                && let (Kept::Disk(one), Kept::Disk(other)) = (&a.kept, &b.kept)
                && one == other
            {
                self.merge(before);
            }
        }
    }

    /// Makes losses beside each other one piece, as far as nothing that a person wants to know is lost.
    pub(super) fn merge_lost(&mut self) {
        let lost = self.pieces.iter().filter(|piece| piece.is_lost()).count();
        let crowded = lost > MAX_LOST_PIECES;
        let mut place = 1;
        while let (Some(a), Some(b)) = (self.pieces.get(place - 1), self.pieces.get(place)) {
            match (&a.kept, &b.kept) {
                (Kept::Lost(one), Kept::Lost(other))
                    if (one == other || crowded)
                        && self.stream_of(a.first) == self.stream_of(b.first) =>
                {
                    self.merge(place - 1);
                }
                _ => place += 1,
            }
        }
    }

    /// Makes a piece and the next one a single piece, as the first one is.
    fn merge(&mut self, place: usize) {
        if let Some(second) = self.pieces.remove(place + 1)
            && let Some(first) = self.pieces.get_mut(place)
        {
            first.last = second.last;
            first.last_time = second.last_time;
        }
    }

    /// Counts samples as lost for each collector that has not got them.
    /// `times` says when the first and the last were taken, 0 where that is not known.
    pub(super) fn count_lost(
        &mut self,
        first: u64,
        last: u64,
        why: Why,
        times: impl Fn(u64, u64) -> (i64, i64),
    ) {
        for (name, cursor) in &mut self.cursors {
            if !cursor.holds() {
                continue;
            }
            if let Some((loss, begins)) = cursor.lose(first, last, why, &times) {
                note_loss(&mut self.events, name, why, loss, begins);
            }
        }
    }

    /// The place of the piece that has this number, or of the first one after it.
    pub(super) fn place_of(&self, seq: u64) -> usize {
        self.pieces.partition_point(|piece| piece.last < seq)
    }

    /// How many samples are kept with higher numbers than this.
    pub(super) fn kept_after(&self, seq: u64) -> u64 {
        let pieces = self.pieces.range(self.place_of(seq + 1)..);
        let kept = pieces.filter(|piece| !piece.is_lost());
        kept.map(|piece| piece.last - piece.first.max(seq + 1) + 1)
            .sum()
    }

    /// When the first sample that is kept with a higher number was taken. None if there is none.
    pub(super) fn first_time_after(&self, seq: u64) -> Option<i64> {
        let mut pieces = self.pieces.range(self.place_of(seq + 1)..);
        pieces.find(|piece| !piece.is_lost()).map(|piece| {
            let Kept::Memory(held) = &piece.kept else {
                return piece.first_time;
            };
            let entry = held.chunk.entry(held.chunk.index_of(seq + 1));
            entry.map_or(piece.first_time, |entry| entry.time)
        })
    }

    /// How far a collector is; None if it is not known.
    pub(super) fn status(&self, name: &str) -> Option<Status> {
        let cursor = self.cursors.get(name)?;
        let mut status = Status {
            standing: cursor.standing,
            behind: 0,
            since: None,
            lost: cursor.lost,
        };
        if cursor.standing != Standing::Declined {
            status.behind = self.kept_after(cursor.acked);
            status.since = self.first_time_after(cursor.acked);
        }
        Some(status)
    }

    /// What the log takes.
    pub(super) fn usage(&self) -> Usage {
        let disk = self.spill.bytes();
        let kept = |piece: &&Piece| !piece.is_lost() && piece.first_time > 0;
        let first = self.pieces.iter().find(kept);
        let last = self.pieces.iter().rfind(kept);
        let span = first.zip(last).and_then(|(first, last)| {
            let span = u64::try_from(last.last_time - first.first_time).ok()?;
            Some((span, last.last - first.first))
        });
        let (used, all) = if disk > 0 && self.limits.disk > 0 {
            (disk, self.limits.disk)
        } else {
            (self.chunks as u64, self.limits.memory as u64)
        };
        // Two or three samples say nothing of the rest.
        let room = span.filter(|(_, samples)| *samples >= 8 && used > 0);
        let room = room.map(|(span, _)| u128::from(span) * u128::from(all) / u128::from(used));
        Usage {
            memory: self.memory(),
            disk,
            limits: self.limits,
            room: room.map(|room| Duration::from_micros(u64::try_from(room).unwrap_or(u64::MAX))),
            disk_failing: self.spill.is_failing(),
        }
    }
}

/// Tells of a loss: together with the one before, if that was not taken yet.
pub(super) fn note_loss(
    events: &mut Vec<HistoryEvent>,
    name: &str,
    why: Why,
    loss: Loss,
    begins: bool,
) {
    for event in events.iter_mut() {
        if let HistoryEvent::Losing {
            collector,
            why: before,
            loss: together,
            ..
        } = event
            && (collector.as_str(), *before) == (name, why)
            && !begins
        {
            together.add(loss);
            return;
        }
    }
    events.push(HistoryEvent::Losing {
        collector: name.to_owned(),
        why,
        loss,
        begins,
    });
}
