//! The metrics inside a message, as a collector reads them.
//!
//! [`Grid::parse`] takes a peer's JSON and returns a flat, sorted table of metric names
//! and values, or says what is wrong with it. It refuses anything nested before building
//! it, and everything beyond the bounds below, so that a hostile agent costs no more
//! than the bytes it sent. A name that occurs twice is refused, too: senders keep their
//! metrics in maps, so it is a broken one, and letting the last win would hide that.
//!
//! Text values may hold any character that JSON can; outputs escape them as they need.
//!
//! [`Grid::of`] makes the same table of a sample whose names were said before, in a [`Schema`].

use std::fmt;
use std::sync::Arc;

use serde::ser::{Serialize, SerializeMap, Serializer};

use self::packed::{Packed, Values};
use super::message::{Excerpt, GridKind, MAX_GRID_BYTES, Malformed};

mod names;
mod packed;
mod read;

pub use names::{Names, Schema, ValueType};

/// Most metrics in one grid: ten times what a big host with every collector enabled has.
pub const MAX_METRICS: usize = 10_000;

/// Most bytes of a metric's name: instances in brackets are device, mount and unit names,
/// of which the longest (unit names, systemd.unit(5)) have at most 255.
pub const MAX_NAME_BYTES: usize = 256;

/// Most bytes of a text value: a path (`PATH_MAX`) fits.
pub const MAX_TEXT_BYTES: usize = 4096;

/// A grid's metrics, sorted by name, each name once.
///
/// Names are kept apart from values. Those of a message that was parsed are its own; those of a
/// [`Schema`] are shared by all grids that are made with it, and such a grid costs as many bytes as its
/// values need, 8.5 for one at most.
#[derive(Clone, Default)]
pub struct Grid {
    names: Arc<Names>,
    /// The bits of each value, at the place of its name.
    values: Packed,
    /// How many values are there.
    present: usize,
}

/// The value of a metric. Numbers stay as the sender wrote them: an integer is not made
/// a float, which would lose counters above 2^53.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// An integer, not negative.
    Unsigned(u64),
    /// A negative integer.
    Signed(i64),
    /// Any other number; always finite.
    Float(f64),
    /// Text, in model grids only.
    Text(&'a str),
}

impl Value<'_> {
    /// The number, rounded to the nearest float where it has more than 53 bits; None for
    /// text.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        reason = "the rounding is what the caller asks for"
    )]
    pub fn as_f64(&self) -> Option<f64> {
        match *self {
            Self::Unsigned(number) => Some(number as f64),
            Self::Signed(number) => Some(number as f64),
            Self::Float(number) => Some(number),
            Self::Text(_) => None,
        }
    }
}

impl Grid {
    /// Reads the grid of a message of this kind.
    ///
    /// # Errors
    ///
    /// [`Malformed::GridTooLarge`] or [`Malformed::Grid`].
    pub fn parse(bytes: &[u8], kind: GridKind) -> Result<Self, Malformed> {
        if bytes.len() > MAX_GRID_BYTES {
            return Err(Malformed::GridTooLarge { bytes: bytes.len() });
        }
        read::read(bytes, kind).map_err(Malformed::from)
    }

    /// A sample with these values, in the schema's order, absent ones as None. What is no value,
    /// a float that is not finite, is absent, too.
    ///
    /// # Errors
    ///
    /// [`WrongLength`] if there are more or fewer than the schema has.
    pub fn of(
        schema: &Schema,
        values: impl IntoIterator<Item = Option<u64>>,
    ) -> Result<Self, WrongLength> {
        let (names, expected) = (schema.names(), schema.len());
        let wrong = |found| WrongLength { expected, found };
        let mut sorted = vec![None; expected];
        let mut values = values.into_iter();
        for (position, place) in schema.places().enumerate() {
            let value = values.next().ok_or(wrong(position))?;
            if let Some(sorted) = sorted.get_mut(place) {
                *sorted = value.filter(|bits| !names.refuses(place, *bits));
            }
        }
        match values.next() {
            Some(_) => Err(wrong(expected + 1)),
            None => Ok(Self {
                names: Arc::clone(names),
                present: sorted.iter().flatten().count(),
                values: Packed::of(&sorted),
            }),
        }
    }

    /// The names of its metrics, and of those that are absent.
    #[must_use]
    pub fn names(&self) -> &Arc<Names> {
        &self.names
    }

    /// Returns true if both have the same metrics, whatever their values. Costs next to nothing
    /// where both were made with one schema.
    #[must_use]
    pub fn has_names_of(&self, other: &Self) -> bool {
        if Arc::ptr_eq(&self.names, &other.names) {
            let all = self.names.len();
            self.present == other.present
                && (self.present == all || self.values.lacks_same(&other.values, all))
        } else {
            self.len() == other.len()
                && self.iter().zip(other.iter()).all(|((a, _), (b, _))| a == b)
        }
    }

    /// The value of the metric with this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Value<'_>> {
        let (_, value) = self.at(self.names.place(name)?)?;
        Some(value)
    }

    /// Every metric, sorted by name.
    #[must_use]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, Value<'_>)> {
        self.numbered().map(|(_, metric)| metric)
    }

    /// The same, each with its place among the [`names`](Self::names).
    #[must_use]
    pub fn numbered(&self) -> Numbered<'_> {
        Numbered {
            names: &self.names,
            values: self.values.iter(self.names.len()),
            place: 0,
            left: self.present,
        }
    }

    /// The metric whose name is at this place; None where it is absent.
    #[must_use]
    pub fn at(&self, place: usize) -> Option<(&str, Value<'_>)> {
        let bits = self.values.get(self.names.len(), place)?;
        self.names.value(place, bits)
    }

    /// How many metrics there are, without those that are absent.
    #[must_use]
    pub fn len(&self) -> usize {
        self.present
    }

    /// Returns true if there are none: a grid may be empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.present == 0
    }

    /// What it takes in memory at most, in bytes, with all of its names, shared or not.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.names.bytes() + self.bytes_without_names()
    }

    /// The same without its names.
    #[must_use]
    pub fn bytes_without_names(&self) -> usize {
        size_of::<Self>() + Packed::most_bytes(self.names.len())
    }
}

impl AsRef<Self> for Grid {
    fn as_ref(&self) -> &Self {
        self
    }
}

/// The metrics of a grid, each with the place of its name.
#[derive(Clone, Debug)]
pub struct Numbered<'a> {
    names: &'a Names,
    values: Values<'a>,
    place: usize,
    left: usize,
}

impl<'a> Iterator for Numbered<'a> {
    type Item = (usize, (&'a str, Value<'a>));

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        loop {
            let place = self.place;
            self.place += 1;
            if let Some(bits) = self.values.next()? {
                return Some((place, self.names.value(place, bits)?));
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Numbered<'_> {}

impl PartialEq for Grid {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl fmt::Debug for Grid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl Serialize for Grid {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.len()))?;
        for (name, value) in self.iter() {
            map.serialize_entry(name, &value)?;
        }
        map.end()
    }
}

impl Serialize for Value<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match *self {
            Self::Unsigned(number) => serializer.serialize_u64(number),
            Self::Signed(number) => serializer.serialize_i64(number),
            Self::Float(number) => serializer.serialize_f64(number),
            Self::Text(text) => serializer.serialize_str(text),
        }
    }
}

/// What is wrong inside a grid. Names are shown cut and escaped.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum GridFault {
    /// Not JSON.
    #[error("a grid that is not valid JSON (line {line}, column {column})")]
    Syntax {
        /// From 1.
        line: usize,
        /// In bytes.
        column: usize,
    },
    /// JSON, but something else at the top.
    #[error("a grid that is not a JSON object")]
    NotAnObject,
    /// More than [`MAX_METRICS`].
    #[error("a grid of more than {MAX_METRICS} metrics")]
    TooManyMetrics,
    /// Names are 1 to [`MAX_NAME_BYTES`] bytes without control characters.
    #[error(
        "a metric name that is empty, longer than {MAX_NAME_BYTES} bytes or has control characters: \"{0}\""
    )]
    Name(Excerpt),
    /// An array or object for a value.
    #[error("the metric \"{0}\" has a nested value")]
    Nested(Excerpt),
    /// A boolean or null for a value.
    #[error("the metric \"{0}\" is neither a finite number nor text")]
    NotANumber(Excerpt),
    /// Beyond any float.
    #[error("the metric \"{0}\" is a number that is too large; at most 1.79e308 is allowed")]
    TooLarge(Excerpt),
    /// Text outside of a model grid.
    #[error("the metric \"{0}\" is text, which only model messages may hold")]
    TextInMetrics(Excerpt),
    /// More than [`MAX_TEXT_BYTES`].
    #[error("the metric \"{0}\" is text of more than {MAX_TEXT_BYTES} bytes")]
    TextTooLong(Excerpt),
    /// A name more than once.
    #[error("the metric \"{0}\" occurs twice")]
    Duplicate(Excerpt),
    /// Names and texts of a schema that no message could hold.
    #[error("a schema whose names and texts have more than {MAX_GRID_BYTES} bytes")]
    TooMuchText,
}

/// A sample that does not have as many values as its schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a sample of {found} values for a schema of {expected}")]
pub struct WrongLength {
    /// How many the schema has.
    pub expected: usize,
    /// How many there were; of too many, the first that is too many counts alone.
    pub found: usize,
}

#[cfg(test)]
mod tests;
