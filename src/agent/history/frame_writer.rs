//! Divides a batch of samples into the frames of a segment, with what they mean in front of them. Pure.

use std::collections::HashSet;

use super::chunk::Chunk;
use super::log::Piece;
use super::segment::{Frame, State};
use super::types::Why;
use crate::protocol::data::wire::Lost;

/// Most definitions that are put in front of samples in one frame, in bytes.
const MAX_DEFINITIONS_BYTES: usize = 128 * 1024;

/// The segment to which batches are appended.
#[derive(Debug, Default)]
pub(super) struct Current {
    pub(super) number: u64,
    /// Ids that are defined in it.
    series: HashSet<u32>,
    schemas: HashSet<u32>,
}

/// Divides a batch into frames.
pub(super) struct FrameWriter<'a> {
    current: &'a mut Current,
    frame: Frame,
    in_frame: usize,
    bytes: Vec<u8>,
}

impl Current {
    /// A segment of this number, in which nothing is defined yet.
    pub(super) fn new(number: u64) -> Self {
        Self {
            number,
            ..Self::default()
        }
    }
}

impl<'a> FrameWriter<'a> {
    pub(super) fn new(current: &'a mut Current) -> Self {
        Self {
            current,
            frame: Frame::default(),
            in_frame: 0,
            bytes: Vec::new(),
        }
    }

    fn end_frame(&mut self) {
        std::mem::take(&mut self.frame).write(&mut self.bytes);
        self.in_frame = 0;
    }

    pub(super) fn lost(&mut self, piece: &Piece, why: Why) {
        self.frame.lost.push(Lost {
            from: piece.first,
            to: piece.last,
            reason: why.reason().into(),
            from_time: piece.first_time,
            to_time: piece.last_time,
        });
    }

    /// How many bytes there are so far.
    pub(super) fn len(&self) -> usize {
        self.bytes.len() + self.in_frame
    }

    fn add(&mut self, bytes: usize) {
        if self.in_frame + bytes > MAX_DEFINITIONS_BYTES {
            self.end_frame();
        }
        self.in_frame += bytes;
    }

    pub(super) fn chunk(&mut self, chunk: &Chunk, from: usize) {
        if from >= chunk.len() {
            return;
        }
        let first_ids = chunk.first_ids();
        let same = self.frame.first_series == first_ids.series
            && self.frame.first_schema == first_ids.schema;
        if !self.frame.samples.is_empty() && !same {
            self.end_frame();
        }
        for schema in chunk.schemas() {
            if !self.current.schemas.insert(schema.id) {
                continue;
            }
            for series in &schema.series {
                if self.current.series.insert(series.id) {
                    self.add(series.encoded.len());
                    self.frame.series.push(series.encoded.to_vec());
                }
            }
            self.add(schema.encoded.len());
            self.frame.schemas.push(schema.encoded.to_vec());
        }
        for index in from..chunk.len() {
            let sample = chunk.sample(index);
            self.add(sample.len());
            self.frame.first_series = first_ids.series;
            self.frame.first_schema = first_ids.schema;
            self.frame.samples.push(sample.to_vec());
        }
    }

    /// All of it, with this state at its end.
    pub(super) fn finish(mut self, state: State) -> Vec<u8> {
        self.frame.state = Some(state);
        self.end_frame();
        self.bytes
    }
}
