//! A link whose collector takes history: what it was told, and the bodies of the messages to it.
//!
//! Pure. A link is told what values mean before the first sample that needs it, once.

use std::collections::HashSet;

use crate::agent::connection::Serial;
use crate::agent::history::definition::FirstIds;
use crate::agent::history::types::Batch;
use crate::protocol::data::{BodyWriter, Offer, Sent};

/// What a sample or loss takes in a body besides its own bytes: a tag and a length.
const ITEM_BYTES: usize = 8;

/// What a loss takes in a body at most.
const LOST_BYTES: usize = 64;

/// A link, from its collector's offer to its end.
#[derive(Debug)]
pub(super) struct Link {
    /// Of the connection.
    pub(super) serial: Serial,
    /// Among the links of this connection.
    pub(super) number: u64,
    /// The latest offer.
    pub(super) offer: Offer,
    series: HashSet<u32>,
    schemas: HashSet<u32>,
    first: FirstIds,
}

impl Link {
    pub(super) fn new(serial: Serial, number: u64, offer: Offer) -> Self {
        Self {
            serial,
            number,
            offer,
            series: HashSet::new(),
            schemas: HashSet::new(),
            first: FirstIds::default(),
        }
    }

    /// Returns true if it is this link of this connection.
    pub(super) fn is(&self, serial: Serial, number: u64) -> bool {
        (self.serial, self.number) == (serial, number)
    }

    /// The bodies that tell of a batch: one, but where definitions fill messages of their own, which
    /// then go before.
    pub(super) fn bodies(&mut self, batch: &Batch, sent: &Sent) -> Vec<Vec<u8>> {
        let mut bodies = Vec::new();
        let mut body = BodyWriter::new(batch.stream);
        // Of a message that has definitions alone, and those that wait are behind it.
        let items = batch.last.saturating_sub(batch.first).saturating_add(1);
        let before = Sent {
            behind: sent.behind.saturating_add(items),
            now_from: 0,
            ..*sent
        };
        let mut make_room = |body: &mut BodyWriter, bytes: usize| {
            if !body.has_room(bytes) {
                let full = std::mem::replace(body, BodyWriter::new(batch.stream));
                bodies.push(full.finish(&before));
            }
        };
        if batch.first_ids > self.first {
            self.first = batch.first_ids;
            let FirstIds { series, schema } = self.first;
            self.series.retain(|id| *id >= series);
            self.schemas.retain(|id| *id >= schema);
            body.first_ids(series, schema);
        }
        for schema in &batch.schemas {
            if !self.schemas.insert(schema.id) {
                continue;
            }
            for series in &schema.series {
                if self.series.insert(series.id) {
                    make_room(&mut body, series.encoded.len());
                    body.series(&series.encoded);
                }
            }
            make_room(&mut body, schema.encoded.len());
            body.schema(&schema.encoded);
        }
        // Samples are coded as differences within one message: they stay together.
        let samples = batch.samples().map(|sample| sample.len() + ITEM_BYTES);
        let lost = batch.lost.len() * LOST_BYTES;
        make_room(&mut body, samples.sum::<usize>() + lost);
        for sample in batch.samples() {
            body.sample(sample);
        }
        for lost in &batch.lost {
            body.lost(lost);
        }
        bodies.push(body.finish(sent));
        bodies
    }
}
