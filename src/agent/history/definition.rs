//! What the values of kept samples mean: series and schemas, encoded once and shared by all that need
//! them.
//!
//! Owns [`Catalogue`], what the sampler's dictionary may still refer to. What only old records need
//! lives as long as these do. Refuses to give ids: they are the dictionary's
//! ([`protocol::data::dictionary`](crate::protocol::data::dictionary)).

use std::collections::{BTreeMap, HashMap};
use std::mem::size_of;
use std::sync::Arc;

use prost::Message as _;

use crate::protocol::data::coding::Layout;
use crate::protocol::data::dictionary::layout_of;
use crate::protocol::data::wire::{Schema, Series, Type};

/// What an allocation, its counters and its place in a table take beside the content.
const ENTRY_BYTES: usize = 96;

/// A series, as it is told to a collector and written to disk.
#[derive(Debug, PartialEq, Eq)]
pub struct SeriesDefinition {
    /// Its id, from 1.
    pub id: u32,
    /// What the bits of its values mean.
    pub kind: Type,
    /// An encoded [`Series`].
    pub encoded: Box<[u8]>,
}

impl SeriesDefinition {
    /// The definition of a series.
    #[must_use]
    pub fn new(series: &Series) -> Self {
        Self {
            id: series.id,
            kind: series.r#type(),
            encoded: series.encode_to_vec().into(),
        }
    }

    fn bytes(&self) -> usize {
        ENTRY_BYTES + self.encoded.len()
    }
}

/// What a source says together, with every series of it.
#[derive(Debug, PartialEq, Eq)]
pub struct SchemaDefinition {
    /// Its id, from 1.
    pub id: u32,
    /// An encoded [`Schema`].
    pub encoded: Box<[u8]>,
    /// Its series in their order.
    pub series: Vec<Arc<SeriesDefinition>>,
    /// Their ids and types.
    pub layout: Box<Layout>,
}

impl SchemaDefinition {
    /// The definition of a schema whose series `find` knows; None if one of them is unknown.
    #[must_use]
    pub fn new(
        schema: &Schema,
        mut find: impl FnMut(u32) -> Option<Arc<SeriesDefinition>>,
    ) -> Option<Self> {
        let mut series = Vec::with_capacity(schema.series.len());
        let layout = layout_of(schema, |id| {
            let found = find(id)?;
            let kind = found.kind;
            series.push(found);
            Some(kind)
        })?;
        Some(Self {
            id: schema.id,
            encoded: schema.encode_to_vec().into(),
            series,
            layout,
        })
    }

    fn bytes(&self) -> usize {
        let one = size_of::<Arc<SeriesDefinition>>() + size_of::<(u32, Type)>();
        ENTRY_BYTES + self.encoded.len() + self.layout.len() * one
    }
}

/// Every definition that a sample to come may refer to.
#[derive(Debug, Default)]
pub(super) struct Catalogue {
    series: BTreeMap<u32, Arc<SeriesDefinition>>,
    schemas: BTreeMap<u32, Arc<SchemaDefinition>>,
}

impl Catalogue {
    /// Adds what is new, and forgets what has a lower id than these: samples do not refer to it any
    /// more.
    pub(super) fn update(&mut self, series: &[Series], schemas: &[Schema], first: FirstIds) {
        self.series = self.series.split_off(&first.series);
        self.schemas = self.schemas.split_off(&first.schema);
        for new in series {
            self.series
                .insert(new.id, Arc::new(SeriesDefinition::new(new)));
        }
        for new in schemas {
            let found = SchemaDefinition::new(new, |id| self.series.get(&id).cloned());
            if let Some(schema) = found {
                self.schemas.insert(schema.id, Arc::new(schema));
            }
        }
    }

    /// The definition of a schema.
    pub(super) fn schema(&self, id: u32) -> Option<&Arc<SchemaDefinition>> {
        self.schemas.get(&id)
    }
}

/// The lowest ids that samples refer to from some point on. They only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct FirstIds {
    /// Of series.
    pub series: u32,
    /// Of schemas.
    pub schema: u32,
}

/// What the definitions that chunks hold take in memory, each counted once.
#[derive(Debug, Default)]
pub(super) struct Weights {
    schemas: HashMap<u32, usize>,
    series: HashMap<u32, usize>,
    bytes: usize,
}

impl Weights {
    /// Bytes of all definitions that are held.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn hold(&mut self, schema: &SchemaDefinition) {
        let held = self.schemas.entry(schema.id).or_default();
        *held += 1;
        if *held > 1 {
            return;
        }
        self.bytes += schema.bytes();
        for series in &schema.series {
            let held = self.series.entry(series.id).or_default();
            *held += 1;
            if *held == 1 {
                self.bytes += series.bytes();
            }
        }
    }

    pub(super) fn let_go(&mut self, schema: &SchemaDefinition) {
        if !release(&mut self.schemas, schema.id) {
            return;
        }
        self.bytes -= schema.bytes();
        for series in &schema.series {
            if release(&mut self.series, series.id) {
                self.bytes -= series.bytes();
            }
        }
    }
}

/// Counts one holder less; true if that was the last.
fn release(held: &mut HashMap<u32, usize>, id: u32) -> bool {
    match held.get_mut(&id) {
        Some(count) if *count > 1 => {
            *count -= 1;
            false
        }
        Some(_) => held.remove(&id).is_some(),
        None => false,
    }
}
