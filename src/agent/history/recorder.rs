//! Codes samples for the log: as differences where that can be, whole where a chunk begins.

use std::sync::Arc;

use prost::Message as _;

use super::definition::{Catalogue, FirstIds, SchemaDefinition};
use super::log::Log;
use super::types::{Moment, Why};
use crate::protocol::data::coding::Run;
use crate::protocol::data::dictionary::Sampled;

/// Most bytes of an encoded sample: half of what a message may have.
const MAX_SAMPLE_BYTES: usize = 512 * 1024;

/// The log, and what coding the next sample needs.
#[derive(Debug)]
pub(super) struct Recorder {
    pub(super) log: Log,
    catalogue: Catalogue,
    run: Run,
}

impl Recorder {
    pub(super) fn new(log: Log) -> Self {
        Self {
            log,
            catalogue: Catalogue::default(),
            run: Run::default(),
        }
    }

    /// As [`History::append`](super::History::append).
    pub(super) fn append(
        &mut self,
        sampled: Sampled,
        boot: [u8; 16],
        first: FirstIds,
        now: Moment,
    ) -> Option<u64> {
        let series = sampled.series.iter().map(|series| series.id).max();
        let schemas = sampled.schemas.iter().map(|schema| schema.id).max();
        self.log.note_ids(series, schemas);
        self.catalogue
            .update(&sampled.series, &sampled.schemas, first);
        if self.log.begins_chunk() {
            self.run.clear();
        }
        let mut whole = sampled.sample;
        whole.seq = self.log.next;
        whole.time = now.time;
        whole.boottime = now.boottime;
        whole.boot = boot.to_vec();
        let schemas = whole.schemas.iter().map(|id| self.catalogue.schema(*id));
        let schemas: Option<Vec<_>> = schemas
            .map(Option::<&Arc<SchemaDefinition>>::cloned)
            .collect();
        let mut coded = whole.clone();
        let encode = |run: &mut Run, sample: &mut _| {
            let catalogue = &self.catalogue;
            run.encode(sample, |id| {
                catalogue.schema(id).map(|schema| &*schema.layout)
            })
        };
        let (Some(schemas), Ok(())) = (schemas, encode(&mut self.run, &mut coded)) else {
            // The run has half of it.
            self.log.close();
            return None;
        };
        let mut bytes = coded.encode_to_vec();
        if !coded.whole && !self.log.has_room(bytes.len()) {
            self.log.close();
            self.run.clear();
            encode(&mut self.run, &mut whole).ok()?;
            bytes = whole.encode_to_vec();
        }
        let seq = if bytes.len() > MAX_SAMPLE_BYTES {
            self.log.append_lost(Why::TooLarge, now)
        } else {
            self.log.append(&bytes, &schemas, first, now)
        };
        // If no collector wants it.
        self.log.trim();
        Some(seq)
    }
}
