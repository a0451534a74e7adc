//! What is kept of series and schemas that agents define: each once, however many hosts have it.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hash, Hasher, RandomState};
use std::sync::{Arc, Weak};

use super::shared::Shared;
use crate::collector::schemas::{Described, HostGrid, Schemas};
use crate::curve::keys::PublicKey;
use crate::protocol::data::Keep;
use crate::protocol::data::dictionary::TEXT_LABEL;
use crate::protocol::data::reader::Defined;
use crate::protocol::data::wire::{Series, Type};
use crate::protocol::grid::{Names, ValueType};

/// Most bytes of all series that are known: as those of all schemas.
pub(super) const MAX_BYTES: usize = 64 * 1024 * 1024;

/// What an entry takes besides its texts, about.
const ENTRY_BYTES: usize = 120;

/// How many series may come, at least, before it is looked which are still held by somebody.
const MIN_NEWS: usize = 4096;

/// A series as the table of hosts names it.
#[derive(Debug, PartialEq)]
pub(super) struct Named {
    /// What distinguishes it.
    series: Series,
    /// None if it is of no use.
    name: Option<Box<str>>,
}

impl Named {
    fn bytes(&self) -> usize {
        let labels = self.series.labels.iter();
        let labels = labels.map(|label| 48 + label.name.len() + label.value.len());
        let text = &self.series;
        ENTRY_BYTES
            + labels.sum::<usize>()
            + text.name.len()
            + text.unit.len()
            + text.description.len()
            + self.name.as_ref().map_or(0, |name| name.len())
    }

    fn text(&self) -> Option<&str> {
        let mut labels = self.series.labels.iter();
        let text = labels.find(|label| label.name == TEXT_LABEL)?;
        Some(&text.value)
    }
}

/// A series that is known: the same one is the same place in memory.
#[derive(Clone, Debug)]
pub(super) struct KnownSeries(Arc<Named>);

impl PartialEq for KnownSeries {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for KnownSeries {}

impl Hash for KnownSeries {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.0).hash(state);
    }
}

/// A schema as the table of hosts has it.
#[derive(Debug)]
pub(super) struct KeptSchema {
    described: Arc<Described>,
    /// Places of series that are of no use, ascending.
    left_out: Box<[u32]>,
}

/// One that hosts share is the same place in memory, too.
impl PartialEq for KeptSchema {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.described, &other.described) && self.left_out == other.left_out
    }
}

impl Eq for KeptSchema {}

impl Hash for KeptSchema {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.described).hash(state);
        self.left_out.hash(state);
    }
}

impl KeptSchema {
    /// What a source said. None if that is nothing.
    pub(super) fn grid(&self, values: &[u64], absent: &[u32]) -> Option<HostGrid> {
        let mut left_out = self.left_out.iter().copied().peekable();
        let mut absent = absent.iter().copied().peekable();
        let values = values.iter().zip(0_u32..).filter_map(|(value, place)| {
            let is_absent = absent.next_if_eq(&place).is_some();
            let is_of_use = left_out.next_if_eq(&place).is_none();
            is_of_use.then_some((!is_absent).then_some(*value))
        });
        let grid = HostGrid::of(&self.described, values).ok()?;
        (!grid.is_empty()).then_some(grid)
    }
}

/// Series and schemas of all hosts.
#[derive(Debug, Default)]
pub(super) struct Keeper {
    schemas: Schemas,
    /// Whose definitions are read.
    pub(super) key: Option<PublicKey>,
    known: HashMap<u64, Weak<Named>>,
    hasher: RandomState,
    bytes: usize,
    news: usize,
    pub(super) shared: Shared<KnownSeries, KeptSchema>,
}

impl Keeper {
    /// Lets go of what no host holds.
    fn let_go(&mut self) {
        self.news = 0;
        self.bytes = 0;
        let bytes = &mut self.bytes;
        self.known.retain(|_, known| {
            let held = known.upgrade();
            *bytes += held.as_ref().map_or(0, |named| named.bytes());
            held.is_some()
        });
    }
}

/// The name of a series as the first wire has it: with its instance in brackets.
fn name_of(series: &Series) -> Option<Box<str>> {
    let mut instances = series
        .labels
        .iter()
        .filter(|label| label.name != TEXT_LABEL);
    let instance = instances.next();
    if instances.next().is_some() {
        return None;
    }
    Some(match instance {
        Some(instance) => format!("{}[{}]", series.name, instance.value).into(),
        None => series.name.as_str().into(),
    })
}

fn value_type(named: &Named) -> ValueType<'_> {
    match (named.text(), named.series.r#type()) {
        (Some(text), _) => ValueType::Text(text),
        (None, Type::Unsigned) => ValueType::Unsigned,
        (None, Type::Signed) => ValueType::Signed,
        (None, Type::Float) => ValueType::Float,
    }
}

impl Keep for Keeper {
    type Series = KnownSeries;
    type Schema = KeptSchema;

    fn series(&mut self, series: &Series, usable: bool) -> KnownSeries {
        let mut named = Named {
            series: series.clone(),
            name: name_of(series).filter(|_| usable),
        };
        // The same rules as for a schema of it alone: one that is odd costs no other.
        let alone = named.name.as_deref().map(|name| (name, value_type(&named)));
        if alone.is_some_and(|alone| Names::build([alone]).is_err()) {
            named.name = None;
        }
        let hash = self.hasher.hash_one(series);
        let known = self.known.get(&hash).and_then(Weak::upgrade);
        if let Some(known) = known.filter(|known| **known == named) {
            return KnownSeries(known);
        }
        self.news += 1;
        if self.news >= MIN_NEWS.max(self.known.len() / 4) || self.bytes > MAX_BYTES {
            self.let_go();
        }
        if self.bytes + named.bytes() > MAX_BYTES {
            named.name = None;
            named.series = Series {
                r#type: series.r#type,
                ..Series::default()
            };
            return KnownSeries(Arc::new(named));
        }
        self.bytes += named.bytes();
        let named = Arc::new(named);
        self.known.insert(hash, Arc::downgrade(&named));
        KnownSeries(named)
    }

    fn is(kept: &KnownSeries, series: &Series) -> bool {
        kept.0.series == *series
    }

    fn is_usable(kept: &KnownSeries) -> bool {
        kept.0.name.is_some()
    }

    fn kind(kept: &KnownSeries) -> Type {
        kept.0.series.r#type()
    }

    fn schema(&mut self, _: &str, series: &[&KnownSeries]) -> Option<KeptSchema> {
        let named = series.iter().filter_map(|KnownSeries(named)| {
            let name = named.name.as_deref()?;
            Some((name, value_type(named)))
        });
        // Two series with one name make it useless: which of both is meant cannot be told.
        let schema = Names::build(named).ok()?;
        let left_out = series
            .iter()
            .zip(0..)
            .filter(|(named, _)| named.0.name.is_none());
        Some(KeptSchema {
            left_out: left_out.map(|(_, place)| place).collect(),
            described: self.schemas.describe(self.key, schema),
        })
    }

    fn share(&mut self, defined: &mut Arc<Defined<KnownSeries, KeptSchema>>) {
        self.shared.share(defined);
    }
}
