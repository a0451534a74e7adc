//! What of the log goes to disk, when, and what is read back.
//!
//! Pure: decides, and hands out [`Job`]s; [`files`](super::files) does them. Owns the numbers of the
//! segments and what is in each. Nothing is written while every collector answers in time.

use std::collections::{BTreeMap, HashSet, VecDeque};

use super::frame_writer::{Current, FrameWriter};
use super::log::{Kept, Log, Piece};
use super::reading::{Part, Read};
use super::segment::{CursorState, Header, State};
use super::types::{HistoryEvent, Moment, Standing, Why};

/// Between two batches, in µs: what a power cut or a kill may cost while a collector is away.
pub(super) const BATCH_INTERVAL: u64 = 10_000_000;

/// After a failure of the disk, in µs.
pub(super) const RETRY_INTERVAL: u64 = 60_000_000;

/// Most bytes of a batch, above which the next one follows at once: they are in memory twice
/// while they are written.
const MAX_BATCH_BYTES: usize = 256 * 1024;

/// So many segments share the limit on disk: where it is full, that part of it goes.
const SEGMENTS: u64 = 32;

/// A segment is not smaller than this, whatever the limit.
const MIN_SEGMENT_BYTES: u64 = 64 * 1024;

/// Most segments. An agent that is killed again and again leaves small ones.
pub(super) const MAX_SEGMENTS: usize = 1024;

/// Read back for a collector at a time.
pub(super) const READ_BYTES: usize = 128 * 1024;

/// What is appended to a segment.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Write {
    pub(super) segment: u64,
    /// It is a new file.
    pub(super) create: bool,
    pub(super) bytes: Vec<u8>,
}

/// Work with files.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Job {
    Write(Write),
    Remove(Vec<u64>),
    Read(Read),
    /// A run ends, and everything that somebody needs is kept.
    End,
}

/// A file with a part of the log.
#[derive(Clone, Copy, Debug)]
struct Segment {
    bytes: u64,
}

/// A batch that is being written.
#[derive(Debug)]
struct Writing {
    current: Current,
    created: bool,
    bytes: u64,
    from: u64,
    to: u64,
    closed: bool,
}

/// What is on disk, and what is being done about it.
#[derive(Debug, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own: any of them may hold with any other"
)]
pub(super) struct Spill {
    /// Files can be used at all.
    pub(super) enabled: bool,
    segments: BTreeMap<u64, Segment>,
    current: Option<Current>,
    last_number: u64,
    writing: Option<Writing>,
    remove: Vec<u64>,
    removing: bool,
    /// Everything up to this number is on disk, lost or acknowledged.
    written: u64,
    /// When the last batch began, in µs since boot.
    batch_at: u64,
    /// More waits than one batch takes.
    go_on: bool,
    /// When the disk is tried again, in µs since boot.
    failing: Option<u64>,
    /// It was told that the disk fails.
    failure_told: bool,
    stopping: bool,
    closed: bool,
    /// The highest ids of series and schemas that were given.
    last_ids: (u32, u32),
}

impl Spill {
    /// Bytes on disk.
    pub(super) fn bytes(&self) -> u64 {
        self.segments.values().map(|segment| segment.bytes).sum()
    }

    pub(super) fn is_failing(&self) -> bool {
        self.failing.is_some()
    }

    /// Whether the next sample should begin a chunk, as the segment is full.
    pub(super) fn rotates(&self, limit: u64) -> bool {
        self.current
            .as_ref()
            .is_some_and(|current| self.is_full(current.number, limit))
    }

    fn is_full(&self, segment: u64, limit: u64) -> bool {
        let bytes = self.segments.get(&segment).map_or(0, |file| file.bytes);
        bytes >= (limit / SEGMENTS).max(MIN_SEGMENT_BYTES)
    }

    /// Lets go of segments of which nothing is needed. The latest one has the state of all.
    pub(super) fn let_go(&mut self, pieces: &VecDeque<Piece>) {
        let in_use: HashSet<u64> = pieces.iter().filter_map(Piece::segment).collect();
        let latest = self.segments.last_key_value().map(|(number, _)| *number);
        let latest = latest.filter(|_| !pieces.is_empty());
        let writing = self.writing.as_ref().map(|writing| writing.current.number);
        let gone: Vec<u64> = self
            .segments
            .keys()
            .copied()
            .filter(|number| {
                !in_use.contains(number) && Some(*number) != latest && Some(*number) != writing
            })
            .collect();
        for number in gone {
            self.drop_segment(number);
        }
    }

    /// A segment of an earlier run is there.
    pub(super) fn found(&mut self, number: u64, bytes: u64) {
        self.segments.insert(number, Segment { bytes });
        self.last_number = self.last_number.max(number);
    }

    /// The directory could not be read, so nothing is known of what is in it: new segments have
    /// higher numbers than any before, and the first is tried later.
    pub(super) fn cannot_be_read(&mut self, now: Moment) {
        self.last_number = u64::try_from(now.time).unwrap_or(0);
        self.failing = Some(now.boottime.saturating_add(RETRY_INTERVAL));
        self.failure_told = true;
    }

    /// Everything up to this number is as an earlier run has left it.
    pub(super) fn go_on_after(&mut self, seq: u64) {
        self.written = seq;
    }

    fn drop_segment(&mut self, number: u64) {
        self.segments.remove(&number);
        self.remove.push(number);
        self.current.take_if(|current| current.number == number);
    }
}

impl Piece {
    /// The segment that has samples of it.
    fn segment(&self) -> Option<u64> {
        match &self.kept {
            Kept::Memory(held) => held.segment,
            Kept::Disk(segment) => Some(*segment),
            Kept::Lost(_) => None,
        }
    }
}

impl Log {
    /// Remembers the highest ids that were given, for the next start.
    pub(super) fn note_ids(&mut self, series: Option<u32>, schema: Option<u32>) {
        let (last_series, last_schema) = &mut self.spill.last_ids;
        *last_series = series.map_or(*last_series, |id| id.max(*last_series));
        *last_schema = schema.map_or(*last_schema, |id| id.max(*last_schema));
    }

    /// The highest ids of series and schemas that were given in this log.
    pub(super) fn last_ids(&self) -> (u32, u32) {
        self.spill.last_ids
    }

    /// Nothing is appended any more: everything that somebody still needs is written.
    pub(super) fn stop(&mut self) {
        self.close();
        self.spill.stopping = true;
        // Once more, even if the disk had failed a moment ago.
        self.spill.failing = None;
    }

    /// Whether everything is done that [`stop`](Self::stop) asks for, or cannot be.
    pub(super) fn is_stopped(&self) -> bool {
        let spill = &self.spill;
        let idle = spill.writing.is_none() && !spill.removing && spill.remove.is_empty();
        let needed = spill.enabled && self.limits.disk > 0 && !self.pieces.is_empty();
        idle && (!needed || spill.closed || spill.failing.is_some())
    }

    /// Whether a stop has left nothing that somebody needs in memory alone.
    pub(super) fn is_all_kept(&self) -> bool {
        self.pieces.is_empty() || self.spill.closed
    }

    /// Whether files are or may be in use.
    pub(super) fn uses_disk(&self) -> bool {
        let spill = &self.spill;
        !spill.segments.is_empty() || spill.writing.is_some() || spill.removing
    }

    /// What is to be done with files now. Each job is answered by [`wrote`](Self::wrote),
    /// [`removed`](Self::removed) or [`have_read`](Self::have_read).
    pub(super) fn jobs(&mut self, now: Moment) -> Vec<Job> {
        let mut jobs = Vec::new();
        if !self.spill.enabled {
            return jobs;
        }
        self.leave_disk(now);
        if self.wants_batch(now) {
            jobs.push(Job::Write(self.batch(now)));
        }
        if !self.spill.removing && !self.spill.remove.is_empty() {
            self.spill.removing = true;
            jobs.push(Job::Remove(std::mem::take(&mut self.spill.remove)));
        }
        for cursor in self.cursors.values_mut() {
            jobs.extend(cursor.reading.start(cursor.token).map(Job::Read));
        }
        jobs
    }

    /// When [`jobs`](Self::jobs) has more to do if nothing else happens, in µs since boot.
    pub(super) fn deadline(&self) -> Option<u64> {
        let spill = &self.spill;
        if !spill.enabled || self.limits.disk == 0 || spill.writing.is_some() {
            return None;
        }
        if !self.has_unwritten() {
            return None;
        }
        let due = if spill.segments.is_empty() {
            self.behind_since()?.saturating_add(self.after())
        } else {
            spill.batch_at.saturating_add(BATCH_INTERVAL)
        };
        Some(due.max(spill.failing.unwrap_or(0)))
    }

    fn after(&self) -> u64 {
        u64::try_from(self.limits.after.as_micros()).unwrap_or(u64::MAX / 2)
    }

    /// Since when the collector that takes history and is furthest behind is so.
    fn behind_since(&self) -> Option<u64> {
        let taking = self.cursors.values();
        let taking = taking.filter(|cursor| cursor.standing == Standing::Taking);
        taking.filter_map(|cursor| cursor.since).min()
    }

    fn is_behind(&self, now: Moment) -> bool {
        self.behind_since()
            .is_some_and(|since| now.boottime >= since.saturating_add(self.after()))
    }

    /// Removes all files once every collector answers again, and what is kept is all in memory.
    fn leave_disk(&mut self, now: Moment) {
        let spill = &self.spill;
        let needed = spill.stopping || spill.writing.is_some() || self.is_behind(now);
        let on_disk = |piece: &Piece| matches!(piece.kept, Kept::Disk(_));
        if spill.segments.is_empty() || needed || self.pieces.iter().any(on_disk) {
            return;
        }
        for piece in &mut self.pieces {
            if let Kept::Memory(held) = &mut piece.kept {
                held.written = 0;
                held.segment = None;
            }
        }
        let all: Vec<u64> = self.spill.segments.keys().copied().collect();
        for number in all {
            self.spill.drop_segment(number);
        }
        self.spill.written = 0;
    }

    fn wants_batch(&self, now: Moment) -> bool {
        let spill = &self.spill;
        if spill.writing.is_some() || self.limits.disk == 0 {
            return false;
        }
        if spill.failing.is_some_and(|again| now.boottime < again) && !spill.stopping {
            return false;
        }
        if spill.stopping {
            return !spill.closed && spill.failing.is_none() && !self.pieces.is_empty();
        }
        let unwritten = self.has_unwritten();
        if unwritten && (spill.go_on || (self.behind_since().is_some() && self.is_tight())) {
            return true;
        }
        if spill.segments.is_empty() {
            return unwritten && self.is_behind(now);
        }
        unwritten && now.boottime >= spill.batch_at.saturating_add(BATCH_INTERVAL)
    }

    /// Something that somebody needs is in memory alone, or is lost and not told on disk.
    fn has_unwritten(&self) -> bool {
        let written = self.spill.written;
        self.pieces.back().is_some_and(|piece| piece.last > written)
    }

    /// Half of the memory is taken by what is not on disk.
    fn is_tight(&self) -> bool {
        let held = self.pieces.iter().filter_map(|piece| match &piece.kept {
            Kept::Memory(held) => Some(held.chunk.bytes_from(held.written)),
            Kept::Disk(_) | Kept::Lost(_) => None,
        });
        held.sum::<usize>() >= self.limits.memory / 2
    }

    /// Makes the next batch.
    fn batch(&mut self, now: Moment) -> Write {
        let latest = self.next - 1;
        let spill = &mut self.spill;
        let limit = self.limits.disk;
        let mut place = self
            .pieces
            .partition_point(|piece| piece.last <= spill.written);
        // A chunk is in one segment.
        let inside = self.pieces.get(place).and_then(|piece| match &piece.kept {
            Kept::Memory(held) if held.written > 0 => held.segment,
            _ => None,
        });
        let current = spill.current.take().filter(|current| {
            inside == Some(current.number) || !spill.is_full(current.number, limit)
        });
        let mut bytes = Vec::new();
        let created = current.is_none();
        let mut from = spill.written + 1;
        let mut current = current.unwrap_or_else(|| {
            spill.last_number += 1;
            Current::new(spill.last_number)
        });
        if created {
            // What is lost in front of it is told here once more: the segment that tells it may go.
            while let Some(before) = place.checked_sub(1)
                && self.pieces.get(before).is_some_and(Piece::is_lost)
            {
                place = before;
            }
            // What the last segment has of this chunk cannot be gone on with in another one.
            from = self.pieces.get(place).map_or(from, |piece| piece.first);
        }
        let most =
            usize::try_from(limit / 8).map_or(MAX_BATCH_BYTES, |part| part.min(MAX_BATCH_BYTES));
        let mut frames = FrameWriter::new(&mut current);
        let mut to = from - 1;
        for piece in self.pieces.range(place..) {
            if frames.len() >= most {
                break;
            }
            match &piece.kept {
                Kept::Lost(why) => frames.lost(piece, *why),
                Kept::Disk(_) => {}
                Kept::Memory(held) => frames.chunk(&held.chunk, held.chunk.index_of(from)),
            }
            to = piece.last;
        }
        // What is in no piece any more was acknowledged by all.
        to = if to + 1 < self.pieces.back().map_or(0, |piece| piece.last + 1) {
            to
        } else {
            latest
        };
        let closed = spill.stopping && to == latest;
        let body = frames.finish(State {
            cursors: self
                .cursors
                .iter()
                .map(|(name, cursor)| CursorState {
                    name: name.clone(),
                    acked: cursor.acked,
                    taking: cursor.standing == Standing::Taking,
                })
                .collect(),
            closed,
            last_series: spill.last_ids.0,
            last_schema: spill.last_ids.1,
        });
        if created {
            let header = Header {
                stream: self.stream,
                number: current.number,
                first: self.pieces.get(place).map_or(self.next, |_| from),
                time: self.pieces.get(place).map_or(0, |piece| piece.first_time),
            };
            header.write(&mut bytes);
        }
        bytes.extend_from_slice(&body);
        let segment = current.number;
        self.spill.writing = Some(Writing {
            current,
            created,
            bytes: bytes.len() as u64,
            from,
            to,
            closed,
        });
        self.spill.go_on = to < latest;
        self.spill.batch_at = now.boottime;
        self.make_room(bytes.len() as u64);
        Write {
            segment,
            create: created,
            bytes,
        }
    }

    /// Keeps to the limit on disk: the oldest segments go.
    pub(super) fn make_room(&mut self, bytes: u64) {
        let writing = self
            .spill
            .writing
            .as_ref()
            .map(|writing| writing.current.number);
        while self.spill.bytes() + bytes > self.limits.disk
            || self.spill.segments.len() >= MAX_SEGMENTS
        {
            let mut segments = self.spill.segments.keys().copied();
            let Some(oldest) = segments.find(|number| Some(*number) != writing) else {
                return;
            };
            self.lose_segment(oldest, Why::DiskFull);
        }
    }

    fn lose_segment(&mut self, number: u64, why: Why) {
        for place in 0..self.pieces.len() {
            match self.pieces.get_mut(place).map(|piece| &mut piece.kept) {
                Some(Kept::Disk(segment)) if *segment == number => self.lose(place, why),
                Some(Kept::Memory(held)) if held.segment == Some(number) => held.segment = None,
                _ => {}
            }
        }
        self.spill.drop_segment(number);
        self.merge_lost();
    }

    /// A batch was written, or not. Returns whether that is news.
    pub(super) fn wrote(&mut self, result: Result<(), String>, now: Moment) {
        let Some(writing) = self.spill.writing.take() else {
            return;
        };
        let number = writing.current.number;
        match result {
            Ok(()) => {
                let spill = &mut self.spill;
                spill
                    .segments
                    .entry(number)
                    .or_insert(Segment { bytes: 0 })
                    .bytes += writing.bytes;
                spill.written = writing.to;
                spill.closed = writing.closed;
                spill.current = Some(writing.current);
                spill.failing = None;
                if std::mem::take(&mut spill.failure_told) {
                    self.events.push(HistoryEvent::DiskWorks);
                }
                self.mark_written(number, writing.from, writing.to);
            }
            Err(text) => {
                let spill = &mut self.spill;
                spill.go_on = false;
                if writing.created {
                    spill.remove.push(number);
                }
                spill.failing = Some(now.boottime.saturating_add(RETRY_INTERVAL));
                if !std::mem::replace(&mut spill.failure_told, true) {
                    self.events.push(HistoryEvent::DiskFailing(text));
                }
            }
        }
        // What was written may have been acknowledged since.
        self.trim();
        self.bound();
    }

    fn mark_written(&mut self, number: u64, from: u64, to: u64) {
        let place = self.place_of(from);
        for piece in self.pieces.range_mut(place..) {
            if piece.first > to {
                break;
            }
            if let Kept::Memory(held) = &mut piece.kept {
                held.written = held.chunk.index_of(to + 1).min(held.chunk.len());
                held.segment = Some(number);
            }
        }
    }

    /// Files were removed, as far as that worked.
    pub(super) fn removed(&mut self) {
        self.spill.removing = false;
    }

    /// Samples were read back for a cursor.
    pub(super) fn have_read(&mut self, read: Read, result: Result<Vec<Part>, String>) {
        let mut cursors = self.cursors.values_mut();
        let Some(cursor) = cursors.find(|cursor| cursor.token == read.token) else {
            return;
        };
        cursor.reading.take(read, result);
    }
}
