//! A schema, and what the collector derives of its names alone.

use std::sync::Arc;

use crate::collector::prometheus::naming::{Meanings, Series, for_each_text_of_names, host_bytes};
use crate::metrics::families::{Family, FamilyBytes, FamilyBytesBuilder, FamilySet};
use crate::protocol::grid::{Names, Schema, Value};

/// A schema, and what follows from its names.
#[derive(Debug)]
pub struct Described {
    schema: Schema,
    families: FamilySet,
    /// Without the names of hosts.
    texts: FamilyBytes,
    meanings: Meanings,
    /// True if each host that uses it is charged for it.
    is_charged: bool,
}

impl Described {
    /// Describes a schema that no other host shares, so that each host is charged for it.
    #[must_use]
    pub fn new(schema: Schema) -> Self {
        let mut texts = FamilyBytesBuilder::default();
        let mut family = None;
        for_each_text_of_names(schema.names(), |name, bytes| {
            family = name.map(Family::of).or(family);
            if let Some(family) = family {
                texts.add(family, bytes);
            }
        });
        let texts = texts.done();
        Self {
            families: texts.families(),
            texts,
            meanings: Meanings::of(schema.names()),
            schema,
            is_charged: true,
        }
    }

    /// The same for any number of hosts, none of which is charged for it.
    pub(super) fn shared(self) -> Self {
        Self {
            is_charged: false,
            ..self
        }
    }

    /// The schema.
    #[must_use]
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Its names, sorted.
    #[must_use]
    pub fn names(&self) -> &Arc<Names> {
        self.schema.names()
    }

    /// The families of its metrics.
    #[must_use]
    pub fn families(&self) -> FamilySet {
        self.families
    }

    /// What a grid of it takes at `/metrics`, at most, as a report of this host.
    #[must_use]
    pub fn texts(&self, host: &str) -> FamilyBytes {
        self.texts.with_each(host_bytes(host))
    }

    /// The series of the metric whose name is at this place of the names; None where it has none.
    #[must_use]
    pub fn series<'a>(&'a self, place: usize, metric: (&'a str, Value<'a>)) -> Option<Series<'a>> {
        self.meanings.series(place, metric)
    }

    /// What it takes in memory, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.schema.bytes() + self.texts.bytes() + self.meanings.bytes()
    }

    /// The part of it that each host which uses it is charged for.
    #[must_use]
    pub fn charged_bytes(&self) -> usize {
        if self.is_charged { self.bytes() } else { 0 }
    }
}
