//! How far each collector is: what it has acknowledged, what is under way to it, what comes next.
//!
//! Owns the cursors of a [`Log`] and what is done for one of them. Refuses to send: a batch is
//! handed out, and counts as under way until it is acknowledged or the link is lost.

use std::collections::VecDeque;

use super::chunk::Chunk;
use super::log::{Kept, Log, note_loss};
use super::reading::{Part, Reading};
use super::types::{Batch, HistoryEvent, Loss, Losses, Moment, Standing, Why};
use crate::protocol::data::reader::MAX_SAMPLES;
use crate::protocol::data::wire::Lost;

/// The first and the last number of samples that are lost, and why.
type LostRange = (u64, u64, Why);

/// Most losses of a batch. There are few, as neighbours are merged.
const MAX_LOSSES: usize = 32;

/// What a loss takes in a message, at most.
const LOST_BYTES: usize = 64;

/// What a message has besides samples, losses and definitions, at most.
const BODY_BYTES: usize = 128;

/// What a sample has in a message in front of it, at most: its field and its length.
const ITEM_BYTES: usize = 4;

/// Samples that the collector has not got in time: under way when they had to go, so that it is not
/// known yet whether they are lost.
#[derive(Clone, Copy, Debug)]
struct Doubtful {
    first: u64,
    last: u64,
    why: Why,
    /// When the first and the last were taken; 0 if that is not known.
    first_time: i64,
    last_time: i64,
}

/// A collector's place in the log.
#[derive(Debug)]
pub(super) struct Cursor {
    pub(super) token: u32,
    pub(super) standing: Standing,
    /// Everything up to this number needs no more to be sent.
    pub(super) acked: u64,
    /// Everything up to this number was handed out on this link. As `acked` while there is none.
    pub(super) sent: u64,
    /// The highest number that was ever handed out.
    highest: u64,
    /// Bytes that may be under way; None while no link takes history.
    window: Option<usize>,
    /// The last number and the bytes of each batch that is under way.
    under_way: VecDeque<(u64, usize)>,
    under_way_bytes: usize,
    /// Since when it is behind, in µs since boot: when the first sample that it has not acknowledged
    /// was appended.
    pub(super) since: Option<u64>,
    pub(super) reading: Reading,
    pub(super) lost: Losses,
    doubtful: Option<Doubtful>,
    /// The first number that was lost since it had everything, and the last.
    losing: Option<(u64, u64)>,
    /// What was lost since then.
    lost_since: Losses,
}

impl Cursor {
    pub(super) fn new(token: u32, standing: Standing, acked: u64) -> Self {
        Self {
            token,
            standing,
            acked,
            sent: acked,
            highest: acked,
            window: None,
            under_way: VecDeque::new(),
            under_way_bytes: 0,
            since: None,
            reading: Reading::default(),
            lost: Losses::default(),
            doubtful: None,
            losing: None,
            lost_since: Losses::default(),
        }
    }

    /// It goes on from an earlier run, in which anything up to `highest` may have been sent, and is
    /// behind since then.
    pub(super) fn restore(&mut self, highest: u64, since: Option<u64>) {
        self.highest = highest;
        self.since = since;
    }

    /// Whether samples are kept for it.
    pub(super) fn holds(&self) -> bool {
        self.standing != Standing::Declined
    }

    /// Counts what is lost of these, and returns it with whether nothing was lost before since it had all.
    pub(super) fn lose(
        &mut self,
        first: u64,
        last: u64,
        why: Why,
        times: impl Fn(u64, u64) -> (i64, i64),
    ) -> Option<(Loss, bool)> {
        let (unsure, until) = (first.max(self.acked + 1), last.min(self.sent));
        if unsure <= until {
            // Under way: it may arrive.
            let (first_time, last_time) = times(unsure, until);
            let doubtful = self.doubtful.get_or_insert(Doubtful {
                first: unsure,
                last: until,
                why,
                first_time,
                last_time,
            });
            (doubtful.last, doubtful.last_time) = (until, last_time);
        }
        let first = first.max(self.sent + 1);
        (first <= last).then(|| self.count(first, last, why, times(first, last)))
    }

    fn count(&mut self, first: u64, last: u64, why: Why, times: (i64, i64)) -> (Loss, bool) {
        let loss = Loss {
            samples: last - first + 1,
            first: times.0,
            last: times.1,
        };
        let begins = self.losing.is_none();
        let losing = self.losing.get_or_insert((first, last));
        losing.1 = losing.1.max(last);
        self.lost.add(why, loss);
        self.lost_since.add(why, loss);
        (loss, begins)
    }

    /// Begins again after what is acknowledged. Returns what was under way and is lost.
    fn rewind(&mut self) -> Option<(Why, Loss, bool)> {
        self.window = None;
        self.sent = self.acked;
        self.under_way.clear();
        self.under_way_bytes = 0;
        self.reading.clear();
        let sent = self.doubtful.take()?;
        let times = (sent.first_time, sent.last_time);
        let (loss, begins) = self.count(sent.first, sent.last, sent.why, times);
        Some((sent.why, loss, begins))
    }

    /// Returns what it was told to be lost, once there is no more of that.
    fn acknowledge(&mut self, seq: u64) -> Losses {
        self.acked = seq;
        self.sent = self.sent.max(seq);
        while let Some((_, bytes)) = self.under_way.front().filter(|(last, _)| *last <= seq) {
            self.under_way_bytes -= bytes;
            self.under_way.pop_front();
        }
        self.reading.pass(seq);
        self.doubtful = self.doubtful.and_then(|mut doubtful| {
            if doubtful.first <= seq {
                (doubtful.first, doubtful.first_time) = (seq + 1, 0);
            }
            (doubtful.first <= doubtful.last).then_some(doubtful)
        });
        if self.losing.take_if(|(_, last)| *last <= seq).is_some() {
            return std::mem::take(&mut self.lost_since);
        }
        Losses::default()
    }
}

impl Log {
    /// Sets which collectors there are. A new one begins at the end; one that is gone holds nothing
    /// back any more.
    pub(super) fn set_collectors<'a>(&mut self, names: impl Iterator<Item = &'a str> + Clone) {
        self.cursors
            .retain(|name, _| names.clone().any(|known| known == name));
        for name in names {
            if !self.cursors.contains_key(name) {
                self.add_cursor(name, Standing::Unknown, self.next - 1);
            }
        }
        self.trim();
    }

    pub(super) fn add_cursor(&mut self, name: &str, standing: Standing, acked: u64) {
        self.tokens += 1;
        let cursor = Cursor::new(self.tokens, standing, acked);
        self.cursors.insert(name.to_owned(), cursor);
    }

    /// A link of this collector takes history, so many bytes at a time.
    pub(super) fn offered(&mut self, name: &str, window: usize, now: Moment) {
        let next = self.next;
        let Some(cursor) = self.cursors.get_mut(name) else {
            return;
        };
        if cursor.standing == Standing::Declined && cursor.acked + 1 < next {
            // What was not kept for it is told as a gap in front of what is.
            cursor.since = Some(now.boottime);
        }
        cursor.standing = Standing::Taking;
        cursor.window = Some(window);
    }

    /// The collector is there and takes no history: nothing is kept for it any more.
    pub(super) fn declined(&mut self, name: &str) {
        let kept = self.cursors.get(name).map(|cursor| Loss {
            samples: self.kept_after(cursor.acked),
            first: self.first_time_after(cursor.acked).unwrap_or(0),
            last: self.pieces.back().map_or(0, |piece| piece.last_time),
        });
        if let Some(cursor) = self.cursors.get_mut(name)
            && cursor.holds()
        {
            if let Some((why, loss, begins)) = cursor.rewind() {
                note_loss(&mut self.events, name, why, loss, begins);
            }
            if cursor.standing == Standing::Taking {
                if let Some(loss) = kept.filter(|loss| loss.samples > 0) {
                    cursor.lost.add(Why::Declined, loss);
                    note_loss(&mut self.events, name, Why::Declined, loss, true);
                }
            } else {
                // It has never had anything of this log.
                cursor.acked = self.next - 1;
                cursor.sent = cursor.acked;
            }
            cursor.standing = Standing::Declined;
            cursor.since = None;
        }
        self.trim();
    }

    /// Its link is down: what was under way is sent again on the next one.
    pub(super) fn link_lost(&mut self, name: &str) {
        let cursor = self.cursors.get_mut(name);
        if let Some((why, loss, begins)) = cursor.and_then(Cursor::rewind) {
            note_loss(&mut self.events, name, why, loss, begins);
        }
    }

    /// Everything up to `seq` has arrived. Returns false if that cannot be: another log is meant, or
    /// samples that were never sent.
    pub(super) fn acked(&mut self, name: &str, stream: u64, seq: u64) -> bool {
        let mut earlier = self.earlier.iter();
        let run = earlier.find(|(_, of)| *of == stream);
        if run.is_none() && stream != self.stream {
            return false;
        }
        // A run that was killed may have sent more than it had written.
        let seq = run.map_or(seq, |(last, _)| seq.min(*last));
        let next = self.next;
        let Some(cursor) = self.cursors.get_mut(name) else {
            return false;
        };
        if seq > cursor.highest {
            return false;
        }
        // A late one changes nothing.
        if seq <= cursor.acked {
            return true;
        }
        for (why, loss) in cursor.acknowledge(seq).iter() {
            self.events.push(HistoryEvent::Lost {
                collector: name.to_owned(),
                why,
                loss,
            });
        }
        if seq + 1 >= next {
            cursor.since = None;
        } else if let Some(boottime) = self.boottime_of(seq + 1)
            && let Some(cursor) = self.cursors.get_mut(name)
        {
            cursor.since = Some(boottime);
        }
        self.trim();
        true
    }

    /// When the sample was appended, where it is in memory.
    fn boottime_of(&self, seq: u64) -> Option<u64> {
        let Kept::Memory(held) = &self.pieces.get(self.place_of(seq))?.kept else {
            return None;
        };
        Some(held.chunk.entry(held.chunk.index_of(seq))?.boottime)
    }

    /// What is next for this collector, in a batch of at most so many bytes if more than one sample is
    /// in it. None if nothing is, if the window is full, or if it is being read from disk.
    pub(super) fn next_batch(&mut self, name: &str, most: usize) -> Option<Batch> {
        let cursor = self.cursors.get(name)?;
        let (stream, last) = self.stream_of(cursor.sent + 1);
        if stream != self.stream_of(cursor.acked + 1).0 {
            // A collector knows one stream of a host at a time: it has all of one before the next.
            return None;
        }
        let end = self.next.min(last.saturating_add(1));
        let (name, mut cursor) = self.cursors.remove_entry(name)?;
        let (mut batch, damaged) = self.fill(&mut cursor, most, end).unzip();
        for (from, to, why) in damaged.unwrap_or_default() {
            // What is handed out once more was counted before.
            let from = from.max(cursor.highest + 1);
            if from <= to {
                let (loss, begins) = cursor.count(from, to, why, (0, 0));
                note_loss(&mut self.events, &name, why, loss, begins);
            }
        }
        if let Some(batch) = &mut batch {
            batch.stream = stream;
            cursor.sent = batch.last;
            cursor.highest = cursor.highest.max(batch.last);
            let bytes = batch.bytes.len() + batch.lost.len() * LOST_BYTES;
            cursor.under_way.push_back((batch.last, bytes));
            cursor.under_way_bytes += bytes;
            cursor.reading.pass(batch.last);
            self.read_ahead(&mut cursor);
        }
        self.cursors.insert(name, cursor);
        batch
    }

    /// The batch that was handed out last was sent in so many bytes, with all that goes with its samples.
    pub(super) fn sent(&mut self, name: &str, bytes: usize) {
        if let Some(cursor) = self.cursors.get_mut(name)
            && let Some((_, counted)) = cursor.under_way.back_mut()
        {
            cursor.under_way_bytes = cursor.under_way_bytes - *counted + bytes;
            *counted = bytes;
        }
    }

    /// Asks for what comes next from disk, while what is ready is on its way.
    fn read_ahead(&self, cursor: &mut Cursor) {
        if let Some(next) = cursor.reading.next(cursor.sent)
            && let Some(piece) = self.pieces.get(self.place_of(next))
            && let Kept::Disk(segment) = piece.kept
        {
            cursor
                .reading
                .want(segment, next.max(piece.first), piece.last);
        }
    }

    /// The batch, and what of it turned out to be lost.
    fn fill(&self, cursor: &mut Cursor, most: usize, end: u64) -> Option<(Batch, Vec<LostRange>)> {
        let room = cursor.window?.saturating_sub(cursor.under_way_bytes);
        let room = room.saturating_sub(BODY_BYTES);
        let mut filling = Filling {
            batch: Batch {
                first: cursor.sent + 1,
                ..Batch::default()
            },
            room: room.min(most),
            alone: cursor.under_way.is_empty(),
            damaged: Vec::new(),
        };
        let mut at = cursor.sent + 1;
        while at < end && filling.batch.lost.len() < MAX_LOSSES {
            let piece = self.pieces.get(self.place_of(at));
            let first = piece.map_or(end, |piece| piece.first.min(end));
            if at < first {
                // Nothing was kept for it while it declined.
                filling.lost(at, first - 1, Why::Declined, 0, 0);
                at = first;
                continue;
            }
            let Some(piece) = piece else {
                break;
            };
            let last = match &piece.kept {
                Kept::Lost(why) => {
                    let known = if at == piece.first {
                        piece.first_time
                    } else {
                        0
                    };
                    filling.lost(at, piece.last, *why, known, piece.last_time);
                    Some(piece.last)
                }
                Kept::Memory(held) => filling.chunk(&held.chunk, at, end),
                Kept::Disk(segment) => match cursor.reading.part(at) {
                    Some(Part::Chunk(chunk)) => filling.chunk(chunk, at, end.min(piece.last + 1)),
                    Some(Part::Lost { last, why, .. }) => {
                        let last = (*last).min(piece.last);
                        filling.found_lost(at, last, *why);
                        Some(last)
                    }
                    None => {
                        cursor.reading.want(*segment, at, piece.last);
                        None
                    }
                },
            };
            match last {
                Some(last) => at = last + 1,
                None => break,
            }
        }
        let mut batch = filling.batch;
        batch.last = at - 1;
        if batch.last < batch.first {
            return None;
        }
        batch.behind = self.kept_after(batch.last);
        Some((batch, filling.damaged))
    }
}

/// A batch that is being filled.
struct Filling {
    batch: Batch,
    room: usize,
    /// Nothing else is under way: a batch of one sample is handed out however large it is.
    alone: bool,
    /// What turned out to be lost.
    damaged: Vec<(u64, u64, Why)>,
}

impl Filling {
    fn lost(&mut self, from: u64, to: u64, why: Why, from_time: i64, to_time: i64) {
        self.batch.lost.push(Lost {
            from,
            to,
            reason: why.reason().into(),
            from_time,
            to_time,
        });
    }

    fn found_lost(&mut self, from: u64, to: u64, why: Why) {
        self.lost(from, to, why, 0, 0);
        self.damaged.push((from, to, why));
    }

    fn has_room(&self, bytes: usize, samples: usize) -> bool {
        let items = self.batch.ends.len() + samples;
        self.batch.bytes.len() + bytes + items * ITEM_BYTES <= self.room
            && items + self.batch.lost.len() <= MAX_SAMPLES
    }

    fn sample(&mut self, bytes: &[u8]) {
        self.batch.bytes.extend_from_slice(bytes);
        self.batch.ends.push(self.batch.bytes.len());
    }

    /// Adds samples of a chunk, from the number `at` to below `end`; returns the last one added. A
    /// chunk is divided only where the batch has nothing else: going on inside of it costs
    /// decoding.
    fn chunk(&mut self, chunk: &Chunk, at: u64, end: u64) -> Option<u64> {
        let from = chunk.index_of(at);
        let until = chunk.index_of(end).min(chunk.len());
        let fits = self.has_room(chunk.bytes_from(from), until.checked_sub(from)?);
        let empty = self.batch.ends.is_empty();
        let may_divide = empty && self.alone;
        if !(fits || may_divide) {
            return None;
        }
        if empty {
            self.batch.first_ids = chunk.first_ids();
        }
        let mut added = 0;
        let mut add = |filling: &mut Self, bytes: &[u8]| {
            let first = filling.batch.ends.is_empty() && filling.alone;
            let fits = from + added < until && (first || filling.has_room(bytes.len(), 1));
            if fits {
                filling.sample(bytes);
                added += 1;
            }
            fits
        };
        let recoded = if from == 0 {
            let mut samples = (0..until).map(|index| chunk.sample(index));
            samples.all(|sample| add(self, sample));
            Ok(())
        } else {
            chunk.recode(from, |sample| add(self, sample))
        };
        if recoded.is_err() && added == 0 {
            // Its checksum was right and its content is not: as good as damaged.
            self.found_lost(at, chunk.last().min(end - 1), Why::Damaged);
            return Some(chunk.last().min(end - 1));
        }
        for schema in chunk.schemas() {
            let schemas = &mut self.batch.schemas;
            let place = schemas.binary_search_by_key(&schema.id, |has| has.id);
            if let Err(place) = place {
                schemas.insert(place, std::sync::Arc::clone(schema));
            }
        }
        (added > 0).then(|| at + added as u64 - 1)
    }
}
