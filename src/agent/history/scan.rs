//! Reads the samples of a segment from its beginning. Pure, but for the reader that gives the bytes.
//!
//! Owns what the segment has defined so far. What is damaged costs its own samples, and those after
//! them in the same chunk, which are coded as differences to them.

use std::collections::HashMap;
use std::io::{self, Read};
use std::sync::Arc;

use prost::Message as _;

use super::chunk::{Chunk, MAX_CHUNK_SAMPLES};
use super::definition::{FirstIds, SchemaDefinition, SeriesDefinition};
use super::reading::Part;
use super::segment::{Frame, Frames, SampleHead, State};
use super::types::Why;
use crate::protocol::data::wire::{Lost, Reason, Schema, Series};

/// Where a segment has been read up to.
#[derive(Debug)]
pub struct Scan<R> {
    frames: Frames<R>,
    series: HashMap<u32, Arc<SeriesDefinition>>,
    schemas: HashMap<u32, Arc<SchemaDefinition>>,
    /// The chunk to which the next samples may belong.
    chunk: Option<Chunk>,
    /// What was handed out ends here.
    passed: u64,
    state: Option<State>,
    /// The highest number so far of a sample or loss.
    last: u64,
    /// When the latest sample was taken.
    last_time: i64,
    /// The highest ids that are defined.
    ids: (u32, u32),
}

/// How a segment ends.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct End {
    /// The last state that is told.
    pub state: Option<State>,
    /// The highest number of a sample or loss; 0 if there is none.
    pub last: u64,
    /// When the last sample was taken, in µs since 1970; 0 if there is none.
    pub last_time: i64,
    /// The highest ids of series and schemas.
    pub ids: (u32, u32),
    /// Bytes at the end that belong to no whole frame.
    pub damaged: u64,
}

impl<R: Read> Scan<R> {
    /// Begins behind the header.
    pub fn new(input: R) -> Self {
        Self {
            frames: Frames::new(input),
            series: HashMap::new(),
            schemas: HashMap::new(),
            chunk: None,
            passed: 0,
            state: None,
            last: 0,
            last_time: 0,
            ids: (0, 0),
        }
    }

    /// Everything up to this number was read already.
    pub(super) fn passed(&self) -> u64 {
        self.passed
    }

    /// Reads on to the next samples from `from` to `until`, until they are `most` bytes or more. Whatever is
    /// left out in between is damaged. Less than `until` at the end means that the segment ends there.
    ///
    /// # Errors
    ///
    /// The system's.
    pub(super) fn read(&mut self, from: u64, until: u64, most: usize) -> io::Result<Vec<Part>> {
        let mut found = Found {
            parts: Vec::new(),
            bytes: 0,
            from,
        };
        while found.bytes < most && self.passed < until {
            if let Some(chunk) = self.chunk.take_if(|chunk| chunk.last() >= until) {
                if chunk.first() > until {
                    self.chunk = Some(chunk);
                } else {
                    self.pass(chunk, &mut found);
                }
                break;
            }
            if let Some(frame) = self.frames.next_frame()? {
                self.take(frame, &mut found);
                continue;
            }
            if let Some(chunk) = self.chunk.take() {
                self.pass(chunk, &mut found);
            }
            break;
        }
        Ok(found.parts)
    }

    /// Reads to the end.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn finish(mut self) -> io::Result<End> {
        let mut found = Found {
            parts: Vec::new(),
            bytes: 0,
            from: u64::MAX,
        };
        let mut damaged = 0;
        while let Some(frame) = self.frames.next_frame()? {
            damaged = self.frames.damaged();
            self.take(frame, &mut found);
        }
        Ok(End {
            state: self.state,
            last: self.last,
            last_time: self.last_time,
            ids: self.ids,
            damaged: self.frames.damaged() - damaged + self.frames.left(),
        })
    }

    fn take(&mut self, frame: Frame, found: &mut Found) {
        for bytes in &frame.series {
            if let Ok(series) = Series::decode(&**bytes) {
                let series = SeriesDefinition::new(&series);
                self.ids.0 = self.ids.0.max(series.id);
                self.series.insert(series.id, Arc::new(series));
            }
        }
        for bytes in &frame.schemas {
            let schema = Schema::decode(&**bytes).ok();
            let schema = schema.and_then(|schema| {
                SchemaDefinition::new(&schema, |id| self.series.get(&id).cloned())
            });
            if let Some(schema) = schema {
                self.ids.1 = self.ids.1.max(schema.id);
                self.schemas.insert(schema.id, Arc::new(schema));
            }
        }
        let first_ids = FirstIds {
            series: frame.first_series,
            schema: frame.first_schema,
        };
        let mut lost = frame.lost.iter().peekable();
        for bytes in &frame.samples {
            let Ok(head) = SampleHead::decode(&**bytes) else {
                continue;
            };
            while let Some(lost) = lost.next_if(|lost| lost.from < head.seq) {
                self.lost(lost, found);
            }
            self.sample(&head, bytes, first_ids, found);
        }
        for lost in lost {
            self.lost(lost, found);
        }
        if frame.state.is_some() {
            self.state = frame.state;
        }
    }

    fn lost(&mut self, lost: &Lost, found: &mut Found) {
        if let Some(chunk) = self.chunk.take() {
            self.pass(chunk, found);
        }
        if lost.from <= self.last || lost.to < lost.from || lost.to == u64::MAX {
            return;
        }
        self.last = lost.to;
        let why = match lost.reason() {
            Reason::Full => Why::DiskFull,
            Reason::Unwritten => Why::Unwritten,
            Reason::TooLarge => Why::TooLarge,
            Reason::Unknown | Reason::Damaged => Why::Damaged,
        };
        self.passed = lost.to;
        if lost.to >= found.from {
            found.parts.push(Part::Lost {
                first: lost.from,
                last: lost.to,
                why,
            });
        }
    }

    fn sample(&mut self, head: &SampleHead, bytes: &[u8], first_ids: FirstIds, found: &mut Found) {
        // Numbers only grow.
        if head.seq <= self.last || head.seq == u64::MAX {
            return;
        }
        self.last = head.seq;
        self.last_time = head.time;
        let follows = |chunk: &mut Chunk| {
            !head.whole && head.seq == chunk.last() + 1 && chunk.len() < MAX_CHUNK_SAMPLES
        };
        let mut chunk = if let Some(chunk) = self.chunk.take_if(follows) {
            chunk
        } else {
            if let Some(chunk) = self.chunk.take() {
                self.pass(chunk, found);
            }
            if !head.whole {
                return;
            }
            Chunk::new(head.seq, first_ids)
        };
        let schemas = head.schemas.iter().map(|id| self.schemas.get(id));
        let Some(schemas) = schemas.collect::<Option<Vec<_>>>() else {
            // Its definition is damaged. Those after it in this chunk build on it.
            if chunk.len() > 0 {
                self.pass(chunk, found);
            }
            return;
        };
        for schema in schemas {
            chunk.add_schema(schema);
        }
        chunk.push(bytes, head.time, head.boottime);
        self.chunk = Some(chunk);
    }

    /// Hands a chunk out, unless it is not asked for.
    fn pass(&mut self, mut chunk: Chunk, found: &mut Found) {
        self.passed = chunk.last();
        if chunk.last() >= found.from {
            chunk.close();
            found.bytes += chunk.bytes_from(0);
            found.parts.push(Part::Chunk(chunk));
        }
    }
}

/// What was read.
struct Found {
    parts: Vec<Part>,
    bytes: usize,
    from: u64,
}
