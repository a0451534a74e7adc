//! How a log goes on after an earlier run of the agent. Pure.

use super::cursor::Cursor;
use super::log::{Kept, Log, Piece};
use super::scan::End;
use super::segment::Header;
use super::types::{HistoryEvent, Limits, Standing, Why};

/// So many numbers are left out where nothing says which had been used: more than fit between two batches.
const UNKNOWN_RESERVE: u64 = 1000;

/// What an earlier run has left, read so far as is needed to go on.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// In the order of their numbers, all of one log, with their bytes.
    pub(super) segments: Vec<(Header, u64)>,
    /// How the last of them ends. Its state may be of an earlier one, where the last has none.
    pub(super) end: End,
    /// Files that were no use, and that are gone.
    pub(super) unreadable: u64,
}

impl Log {
    /// Goes on from what was found, for these collectors. `stream` is the number of a new log, if nothing
    /// was found.
    pub(super) fn restore<'a>(
        found: Found,
        stream: u64,
        limits: Limits,
        collectors: impl Iterator<Item = &'a str> + Clone,
    ) -> Self {
        let mut log = Self::new(stream, limits);
        log.spill.enabled = true;
        if found.unreadable > 0 {
            log.events.push(HistoryEvent::Unreadable(found.unreadable));
        }
        let Some((last_segment, _)) = found.segments.last() else {
            log.set_collectors(collectors);
            return log;
        };
        let end = found.end;
        if end.damaged > 0 {
            log.events.push(HistoryEvent::TailDamaged(end.damaged));
        }
        log.stream = last_segment.stream;
        let last = end.last.max(last_segment.first - 1);
        let nexts = found
            .segments
            .iter()
            .skip(1)
            .map(|(next, _)| (next.first - 1, next.time));
        let ends = nexts.chain(std::iter::once((last, end.last_time)));
        for ((header, bytes), (last, last_time)) in found.segments.iter().zip(ends) {
            log.spill.found(header.number, *bytes);
            if last >= header.first {
                log.pieces.push_back(Piece {
                    first: header.first,
                    last,
                    first_time: header.time,
                    last_time: last_time.max(header.time),
                    kept: Kept::Disk(header.number),
                });
            }
        }
        let state = end.state.as_ref();
        let reserved = state.map_or(last + UNKNOWN_RESERVE, |state| state.reserved.max(last));
        let unwritten = reserved - last;
        log.next = reserved + 1;
        let samples = log.kept_after(0);
        if samples > 0 {
            let bytes = log.spill.bytes();
            log.events.push(HistoryEvent::Found { samples, bytes });
        }
        if unwritten > 0 {
            log.events.push(HistoryEvent::EndedUnwritten(unwritten));
            log.pieces.push_back(Piece {
                first: last + 1,
                last: reserved,
                first_time: end.last_time,
                last_time: 0,
                kept: Kept::Lost(Why::Unwritten),
            });
        }
        let (series, schema) = end.ids;
        log.note_ids(Some(series), Some(schema));
        log.spill.go_on_after(reserved);
        if let Some(state) = state {
            log.note_ids(Some(state.last_series), Some(state.last_schema));
            for cursor in &state.cursors {
                let standing = match (cursor.taking, cursor.declined) {
                    (true, _) => Standing::Taking,
                    (_, true) => Standing::Declined,
                    _ => Standing::Unknown,
                };
                log.add_cursor(&cursor.name, standing, cursor.acked.min(reserved));
            }
        } else {
            // It is not known what they have: all is told again, and what they have is dropped there.
            let first = log.pieces.front().map_or(reserved, |piece| piece.first - 1);
            for name in collectors.clone() {
                log.add_cursor(name, Standing::Unknown, first);
            }
        }
        log.cursors
            .values_mut()
            .for_each(|cursor: &mut Cursor| cursor.restore(reserved));
        if unwritten > 0 {
            log.count_lost(last + 1, reserved, Why::Unwritten);
        }
        log.set_collectors(collectors);
        log
    }
}
