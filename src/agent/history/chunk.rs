//! Consecutive samples that are coded as differences, each to the one before.
//!
//! Owns their bytes and the definitions that they need. A chunk can be read from its first sample
//! only; [`Chunk::recode`] makes any later one the first of a message.

use std::mem::size_of;
use std::ops::Range;
use std::sync::Arc;

use prost::Message as _;

use super::definition::{FirstIds, SchemaDefinition};
use crate::protocol::data::coding::{Run, Unfit};
use crate::protocol::data::wire::Sample;

/// Most bytes of a chunk that has more than one sample. What is damaged on disk costs a chunk at
/// most, and a chunk is what is read back at a time.
pub(super) const MAX_CHUNK_BYTES: usize = 64 * 1024;

/// Most samples of a chunk: five minutes at an interval of five seconds. A message that begins inside
/// of a chunk costs the decoding of all samples before.
pub(super) const MAX_CHUNK_SAMPLES: usize = 64;

/// A sample of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Where its bytes end.
    end: usize,
    /// When it was taken, in µs since 1970.
    pub(super) time: i64,
    /// When it was appended or read, in µs since boot.
    pub(super) boottime: u64,
}

/// Samples with consecutive numbers, of which the first is coded whole.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Chunk {
    first: u64,
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    /// By id.
    schemas: Vec<Arc<SchemaDefinition>>,
    /// The lowest ids that these samples and all later ones refer to.
    first_ids: FirstIds,
}

impl Chunk {
    pub(super) fn new(first: u64, first_ids: FirstIds) -> Self {
        Self {
            first,
            bytes: Vec::new(),
            entries: Vec::new(),
            schemas: Vec::new(),
            first_ids,
        }
    }

    /// The number of its first sample.
    pub(super) fn first(&self) -> u64 {
        self.first
    }

    /// How many samples it has.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The number of its last sample; one less than the first where it is empty.
    pub(super) fn last(&self) -> u64 {
        self.first + self.entries.len() as u64 - 1
    }

    pub(super) fn first_ids(&self) -> FirstIds {
        self.first_ids
    }

    pub(super) fn schemas(&self) -> &[Arc<SchemaDefinition>] {
        &self.schemas
    }

    pub(super) fn entry(&self, index: usize) -> Option<&Entry> {
        self.entries.get(index)
    }

    /// The place of the sample with this number.
    pub(super) fn index_of(&self, seq: u64) -> usize {
        usize::try_from(seq.saturating_sub(self.first)).unwrap_or(usize::MAX)
    }

    /// Whether a sample of so many bytes may be added.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        self.entries.is_empty()
            || (self.entries.len() < MAX_CHUNK_SAMPLES
                && self.bytes.len() + bytes <= MAX_CHUNK_BYTES)
    }

    /// Adds an encoded sample.
    pub(super) fn push(&mut self, sample: &[u8], time: i64, boottime: u64) {
        self.bytes.extend_from_slice(sample);
        let end = self.bytes.len();
        self.entries.push(Entry {
            end,
            time,
            boottime,
        });
    }

    /// Adds a definition that its samples need; false if it has that already.
    pub(super) fn add_schema(&mut self, schema: &Arc<SchemaDefinition>) -> bool {
        let place = self.schemas.binary_search_by_key(&schema.id, |has| has.id);
        if let Err(place) = place {
            self.schemas.insert(place, Arc::clone(schema));
        }
        place.is_err()
    }

    /// Gives back memory that a chunk to which nothing is added does not need.
    pub(super) fn close(&mut self) {
        self.bytes.shrink_to_fit();
        self.entries.shrink_to_fit();
        self.schemas.shrink_to_fit();
    }

    /// The bytes of a sample; none if there is no such one.
    pub(super) fn sample(&self, index: usize) -> &[u8] {
        self.bytes.get(self.span(index)).unwrap_or_default()
    }

    fn span(&self, index: usize) -> Range<usize> {
        let end = |index: usize| self.entries.get(index).map(|entry| entry.end);
        let begin = index.checked_sub(1).map_or(Some(0), end);
        begin.unwrap_or(0)..end(index).unwrap_or(0)
    }

    /// Bytes of all samples from this place on.
    pub(super) fn bytes_from(&self, index: usize) -> usize {
        self.bytes.len() - self.span(index).start.min(self.bytes.len())
    }

    /// What it takes in memory, its definitions aside.
    pub(super) fn memory(&self) -> usize {
        size_of::<Self>()
            + self.bytes.capacity()
            + self.entries.capacity() * size_of::<Entry>()
            + self.schemas.capacity() * size_of::<Arc<SchemaDefinition>>()
    }

    /// Codes samples from this place on again, as the first of a message, and gives each to `take`,
    /// until that wants no more.
    pub(super) fn recode(
        &self,
        from: usize,
        mut take: impl FnMut(&[u8]) -> bool,
    ) -> Result<(), Unfit> {
        let layout = |id: u32| {
            let place = self.schemas.binary_search_by_key(&id, |schema| schema.id);
            let schema = place.ok().and_then(|place| self.schemas.get(place));
            schema.map(|schema| &*schema.layout)
        };
        let (mut read, mut written) = (Run::default(), Run::default());
        for index in 0..self.entries.len() {
            let mut sample = Sample::decode(self.sample(index)).map_err(|_| Unfit)?;
            read.decode(&mut sample, layout)?;
            if index < from {
                continue;
            }
            written.encode(&mut sample, layout)?;
            if !take(&sample.encode_to_vec()) {
                break;
            }
        }
        Ok(())
    }
}
