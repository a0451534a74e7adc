//! How a log goes on after an earlier run of the agent. Pure.

use super::cursor::Cursor;
use super::log::{Kept, Log, Piece};
use super::scan::End;
use super::segment::Header;
use super::types::{HistoryEvent, Limits, Moment, Standing, Why};

/// What an earlier run has left, read so far as is needed to go on.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// In the order of their numbers, with their bytes.
    pub(super) segments: Vec<(Header, u64)>,
    /// How the last of them ends. Its state may be of an earlier one, where the last has none.
    pub(super) end: End,
    /// Files that were no use, and that are gone.
    pub(super) unreadable: u64,
    /// The earlier run did not end by a stop that kept everything.
    pub(super) killed: bool,
}

impl Log {
    /// Goes on from what was found, for these collectors. `stream` is the number of this run.
    ///
    /// The samples of an earlier run keep its stream. Where it was killed, it is not known how many
    /// samples it had taken and neither sent nor written: one number of this run is lost in their place, so that
    /// each collector is told.
    pub(super) fn restore<'a>(
        found: &Found,
        stream: u64,
        limits: Limits,
        collectors: impl Iterator<Item = &'a str> + Clone,
        now: Moment,
    ) -> Self {
        let mut log = Self::new(stream, limits);
        log.spill.enabled = true;
        if found.unreadable > 0 {
            log.events.push(HistoryEvent::Unreadable(found.unreadable));
        }
        let end = &found.end;
        if end.damaged > 0 {
            log.events.push(HistoryEvent::TailDamaged(end.damaged));
        }
        let last = log.restore_pieces(found);
        let state = end.state.as_ref();
        let closed = state.is_some_and(|state| state.closed) && end.damaged == 0;
        let killed = found.killed || !(closed || found.segments.is_empty());
        let why = if killed { Why::Unwritten } else { Why::Damaged };
        let incomplete = killed || found.unreadable > 0;
        log.next = last + 1;
        let samples = log.kept_after(0);
        if samples > 0 {
            let bytes = log.spill.bytes();
            log.events.push(HistoryEvent::Found { samples, bytes });
        }
        if incomplete {
            log.pieces.push_back(Piece {
                first: log.next,
                last: log.next,
                first_time: end.last_time,
                last_time: now.time,
                kept: Kept::Lost(why),
            });
            log.next += 1;
        }
        let (series, schema) = end.ids;
        log.note_ids(Some(series), Some(schema));
        log.spill.go_on_after(last);
        if let Some(state) = state {
            log.note_ids(Some(state.last_series), Some(state.last_schema));
            for cursor in &state.cursors {
                // One that declined may have been asked again since this was written.
                let standing = if cursor.taking {
                    Standing::Taking
                } else {
                    Standing::Unknown
                };
                log.add_cursor(&cursor.name, standing, cursor.acked.min(last));
            }
        } else {
            // It is not known what they have: all is told again, and what they have is dropped there.
            let first = log.pieces.front().map_or(last, |piece| piece.first - 1);
            for name in collectors.clone() {
                log.add_cursor(name, Standing::Unknown, first);
            }
        }
        // What was taken before this boot, or may have been, has waited for long.
        let since = if found.segments.is_empty() {
            now.boottime
        } else {
            0
        };
        let next = log.next;
        log.cursors.values_mut().for_each(|cursor: &mut Cursor| {
            let is_behind = cursor.acked + 1 < next;
            cursor.restore(last, is_behind.then_some(since));
        });
        if incomplete {
            log.count_lost(last + 1, last + 1, why, |_, _| (end.last_time, now.time));
        }
        log.set_collectors(collectors);
        log
    }

    /// Takes what the segments have. Returns the last number.
    fn restore_pieces(&mut self, found: &Found) -> u64 {
        let end = &found.end;
        let newest = found.segments.last();
        let last = newest.map_or(0, |(newest, _)| end.last.max(newest.first - 1));
        let nexts = found
            .segments
            .iter()
            .skip(1)
            .map(|(next, _)| (next.first - 1, next.time));
        let ends = nexts.chain(std::iter::once((last, end.last_time)));
        for ((header, bytes), (last, last_time)) in found.segments.iter().zip(ends) {
            self.spill.found(header.number, *bytes);
            if last < header.first {
                continue;
            }
            self.pieces.push_back(Piece {
                first: header.first,
                last,
                first_time: header.time,
                last_time: last_time.max(header.time),
                kept: Kept::Disk(header.number),
            });
            match self.earlier.back_mut() {
                Some((end, stream)) if *stream == header.stream => *end = last,
                _ => self.earlier.push_back((last, header.stream)),
            }
        }
        last
    }
}
