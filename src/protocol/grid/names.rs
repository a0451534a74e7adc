//! The names of a grid's metrics, sorted, and what their values are.
//!
//! Grids that have the same names may share them: [`Names::build`] takes the names of a schema
//! once, and keeps the way from the schema's order to the sorted one, so that a sample costs
//! neither sorting nor reading of names. It holds names of peers to the same rules as
//! [`Grid::parse`](super::Grid::parse). Knows no value but a constant text.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use super::{GridFault, MAX_METRICS, MAX_NAME_BYTES, MAX_TEXT_BYTES, Value};
use crate::protocol::message::{Excerpt, MAX_GRID_BYTES};

/// Names of metrics, sorted, each name once, and the type of each value.
#[derive(Clone, Default)]
pub struct Names {
    /// Each name, with its constant text, if it has one, right behind it.
    text: Box<str>,
    entries: Box<[Entry]>,
}

/// What the values of a metric are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ValueType<'a> {
    /// Integers that are not negative.
    Unsigned,
    /// Integers.
    Signed,
    /// Other numbers.
    Float,
    /// This text: another text makes other names.
    Text(&'a str),
}

/// A name in a text, and what its value is, in 8 bytes: there is one for each metric of each host that has names
/// of its own.
#[derive(Clone, Copy)]
pub(super) struct Entry {
    start: u32,
    name_bytes: u16,
    /// How long its constant text is; or beyond any length, the kind of its numbers.
    text_bytes: u16,
}

/// A [`ValueType`] without its text.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Unsigned,
    Signed,
    Float,
    Text,
}

const _: () = assert!(MAX_TEXT_BYTES < Entry::FLOAT as usize);

impl Entry {
    const UNSIGNED: u16 = u16::MAX;
    const SIGNED: u16 = u16::MAX - 1;
    const FLOAT: u16 = u16::MAX - 2;

    /// A name that is about to stand at the end of this text; None where it is not allowed.
    pub(super) fn new(text: &str, name: &str) -> Option<Self> {
        let legal =
            !name.is_empty() && name.len() <= MAX_NAME_BYTES && !name.chars().any(char::is_control);
        legal.then_some(())?;
        Some(Self {
            start: u32::try_from(text.len()).ok()?,
            name_bytes: u16::try_from(name.len()).ok()?,
            text_bytes: Self::UNSIGNED,
        })
    }

    /// The same with a number of this kind; with no text, if it is none.
    pub(super) fn with(self, kind: Kind) -> Self {
        let text_bytes = match kind {
            Kind::Unsigned => Self::UNSIGNED,
            Kind::Signed => Self::SIGNED,
            Kind::Float => Self::FLOAT,
            Kind::Text => 0,
        };
        Self { text_bytes, ..self }
    }

    fn kind(self) -> Kind {
        match self.text_bytes {
            Self::UNSIGNED => Kind::Unsigned,
            Self::SIGNED => Kind::Signed,
            Self::FLOAT => Kind::Float,
            _ => Kind::Text,
        }
    }

    /// The same with a text, which is about to stand behind the name; None where it is too long.
    pub(super) fn with_text(self, text: &str) -> Option<Self> {
        let fits = text.len() <= MAX_TEXT_BYTES;
        Some(Self {
            text_bytes: u16::try_from(text.len()).ok().filter(|_| fits)?,
            ..self
        })
    }

    /// Its name in this text.
    pub(super) fn name(self, text: &str) -> &str {
        let start = self.start as usize;
        let end = start + usize::from(self.name_bytes);
        text.get(start..end).unwrap_or_default()
    }

    fn text(self, text: &str) -> &str {
        let start = self.start as usize + usize::from(self.name_bytes);
        let end = start + usize::from(self.text_bytes);
        text.get(start..end).unwrap_or_default()
    }
}

impl Names {
    /// The names of a schema, in the order in which its samples have their values.
    ///
    /// # Errors
    ///
    /// [`GridFault::Name`], [`GridFault::Duplicate`], [`GridFault::TextTooLong`],
    /// [`GridFault::TooManyMetrics`] or [`GridFault::TooMuchText`]: what no message could have.
    pub fn build<'a>(
        series: impl IntoIterator<Item = (&'a str, ValueType<'a>)>,
    ) -> Result<Schema, GridFault> {
        let mut text = String::new();
        let mut entries = Vec::new();
        for (name, value) in series {
            if entries.len() >= MAX_METRICS {
                return Err(GridFault::TooManyMetrics);
            }
            let excerpt = || Excerpt::new(name.as_bytes());
            let entry = Entry::new(&text, name).ok_or_else(|| GridFault::Name(excerpt()))?;
            text.push_str(name);
            entries.push(match value {
                ValueType::Unsigned => entry.with(Kind::Unsigned),
                ValueType::Signed => entry.with(Kind::Signed),
                ValueType::Float => entry.with(Kind::Float),
                ValueType::Text(value) => {
                    let entry = entry.with_text(value);
                    text.push_str(value);
                    entry.ok_or_else(|| GridFault::TextTooLong(excerpt()))?
                }
            });
            if text.len() > MAX_GRID_BYTES {
                return Err(GridFault::TooMuchText);
            }
        }
        // MAX_METRICS fit into 16 bits.
        let mut order: Vec<(u16, Entry)> = (0..).zip(entries).collect();
        order.sort_unstable_by(|(_, a), (_, b)| a.name(&text).cmp(b.name(&text)));
        let mut places = vec![0; order.len()].into_boxed_slice();
        for (sorted, (position, _)) in (0..).zip(&order) {
            if let Some(place) = places.get_mut(usize::from(*position)) {
                *place = sorted;
            }
        }
        let entries = order.into_iter().map(|(_, entry)| entry).collect();
        Ok(Schema {
            names: Arc::new(Self::sorted(text, entries)?),
            places,
        })
    }

    /// Sorted already; each name may still occur twice.
    pub(super) fn sorted(text: String, entries: Box<[Entry]>) -> Result<Self, GridFault> {
        let twice = entries.windows(2).find_map(|pair| match pair {
            [a, b] if a.name(&text) == b.name(&text) => Some(a.name(&text)),
            _ => None,
        });
        match twice {
            Some(name) => Err(GridFault::Duplicate(Excerpt::new(name.as_bytes()))),
            None => Ok(Self {
                text: text.into_boxed_str(),
                entries,
            }),
        }
    }

    /// How many names there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns true if there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The place of this name among all, from 0.
    #[must_use]
    pub fn place(&self, name: &str) -> Option<usize> {
        self.entries
            .binary_search_by(|entry| entry.name(&self.text).cmp(name))
            .ok()
    }

    /// The name at this place, and what its value is.
    #[must_use]
    pub fn at(&self, place: usize) -> Option<(&str, ValueType<'_>)> {
        self.entries.get(place).map(|entry| self.shown(*entry))
    }

    /// Each name, sorted, and what its value is.
    #[must_use]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, ValueType<'_>)> {
        self.entries.iter().map(|entry| self.shown(*entry))
    }

    /// What they take in memory, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.text.len() + size_of_val(&*self.entries)
    }

    fn shown(&self, entry: Entry) -> (&str, ValueType<'_>) {
        let value = match entry.kind() {
            Kind::Unsigned => ValueType::Unsigned,
            Kind::Signed => ValueType::Signed,
            Kind::Float => ValueType::Float,
            Kind::Text => ValueType::Text(entry.text(&self.text)),
        };
        (entry.name(&self.text), value)
    }

    /// The name at this place, and the value that these bits are there.
    pub(super) fn value(&self, place: usize, bits: u64) -> Option<(&str, Value<'_>)> {
        let entry = self.entries.get(place)?;
        let value = match (entry.kind(), bits.cast_signed()) {
            (Kind::Signed, number) if number < 0 => Value::Signed(number),
            (Kind::Unsigned | Kind::Signed, _) => Value::Unsigned(bits),
            (Kind::Float, _) => Value::Float(f64::from_bits(bits)),
            (Kind::Text, _) => Value::Text(entry.text(&self.text)),
        };
        Some((entry.name(&self.text), value))
    }

    /// Returns true if these bits are no value that may stand at this place: no finite number.
    pub(super) fn refuses(&self, place: usize, bits: u64) -> bool {
        let kind = self.entries.get(place).map(|entry| entry.kind());
        matches!(kind, Some(Kind::Float)) && !f64::from_bits(bits).is_finite()
    }
}

impl PartialEq for Names {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Names {}

impl Hash for Names {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.len().hash(state);
        self.iter().for_each(|entry| entry.hash(state));
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// What the samples of one source have: names, and in which order their values come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Schema {
    names: Arc<Names>,
    /// For each position in a sample, the place of its name.
    places: Box<[u16]>,
}

impl Schema {
    /// Its names, sorted.
    #[must_use]
    pub fn names(&self) -> &Arc<Names> {
        &self.names
    }

    /// How many values a sample has of it, absent ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Returns true if its samples have no values.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// For each position in a sample, the place of its name.
    pub(super) fn places(&self) -> impl Iterator<Item = usize> {
        self.places.iter().copied().map(usize::from)
    }

    /// What it takes in memory, in bytes, its names included.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.names.bytes() + size_of_val(&*self.places)
    }
}
