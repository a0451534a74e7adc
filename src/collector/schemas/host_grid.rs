//! A host's grid as the collector keeps it and hands it on.

use std::ops::Deref;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use super::described::Described;
use crate::collector::prometheus::naming::{self, Series};
use crate::protocol::grid::{Grid, Value, WrongLength};

/// What a host said, with what is known of its names where they were said in a schema.
#[derive(Clone, Debug, Default)]
pub struct HostGrid {
    grid: Grid,
    described: Option<Arc<Described>>,
}

impl HostGrid {
    /// A sample with these values, in the schema's order, absent ones as None.
    ///
    /// # Errors
    ///
    /// [`WrongLength`] if there are more or fewer than the schema has.
    pub fn of(
        described: &Arc<Described>,
        values: impl IntoIterator<Item = Option<u64>>,
    ) -> Result<Self, WrongLength> {
        Ok(Self {
            grid: Grid::of(described.schema(), values)?,
            described: Some(Arc::clone(described)),
        })
    }

    /// Its schema; None where it has names of its own.
    #[must_use]
    pub fn described(&self) -> Option<&Arc<Described>> {
        self.described.as_ref()
    }

    /// The series of its metric at this place, as [`Grid::numbered`] has it; None where it has
    /// none.
    #[must_use]
    pub fn series<'a>(
        &'a self,
        place: usize,
        (name, value): (&'a str, Value<'a>),
    ) -> Option<Series<'a>> {
        match &self.described {
            Some(described) => described.series(place, (name, value)),
            None => naming::series(name, value),
        }
    }

    /// What it takes in memory, in bytes: without names that hosts share, with all others.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match &self.described {
            Some(described) => self.grid.bytes_without_names() + described.charged_bytes(),
            None => self.grid.bytes(),
        }
    }
}

impl From<Grid> for HostGrid {
    fn from(grid: Grid) -> Self {
        Self {
            grid,
            described: None,
        }
    }
}

impl Deref for HostGrid {
    type Target = Grid;

    fn deref(&self) -> &Grid {
        &self.grid
    }
}

impl AsRef<Grid> for HostGrid {
    fn as_ref(&self) -> &Grid {
        &self.grid
    }
}

impl Serialize for HostGrid {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.grid.serialize(serializer)
    }
}
