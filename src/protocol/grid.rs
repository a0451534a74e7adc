//! The metrics inside a message, as a collector reads them.
//!
//! [`Grid::parse`] takes a peer's JSON and returns a flat, sorted table of metric names
//! and values, or says what is wrong with it. It refuses anything nested before building
//! it, and everything beyond the bounds below, so that a hostile agent costs no more
//! than the bytes it sent. A name that occurs twice is refused, too: senders keep their
//! metrics in maps, so it is a broken one, and letting the last win would hide that.
//!
//! Text values may hold any character that JSON can; outputs escape them as they need.

use std::fmt;

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::message::{Excerpt, GridKind, MAX_GRID_BYTES, Malformed};

mod read;

/// Most metrics in one grid: ten times what a big host with every collector enabled has.
pub const MAX_METRICS: usize = 10_000;

/// Most bytes of a metric's name: instances in brackets are device, mount and unit names,
/// of which the longest (unit names, systemd.unit(5)) have at most 255.
pub const MAX_NAME_BYTES: usize = 256;

/// Most bytes of a text value: a path (`PATH_MAX`) fits.
pub const MAX_TEXT_BYTES: usize = 4096;

/// A grid's metrics, sorted by name, each name once.
#[derive(Clone, Default)]
pub struct Grid {
    // One text for all names and text values: a grid is two allocations, whatever it holds.
    text: String,
    entries: Vec<Entry>,
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
        read::read(bytes, kind)?.sorted().map_err(Malformed::from)
    }

    /// The value of the metric with this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Value<'_>> {
        let at = self
            .entries
            .binary_search_by(|entry| self.slice(entry.name).cmp(name))
            .ok()?;
        self.entries.get(at).map(|entry| self.value(*entry))
    }

    /// Every metric, sorted by name.
    #[must_use]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, Value<'_>)> {
        self.entries
            .iter()
            .map(|entry| (self.slice(entry.name), self.value(*entry)))
    }

    /// The metric at this place of [`iter`](Self::iter).
    #[must_use]
    pub fn at(&self, place: usize) -> Option<(&str, Value<'_>)> {
        let entry = self.entries.get(place)?;
        Some((self.slice(entry.name), self.value(*entry)))
    }

    /// How many metrics there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns true if there are none: a grid may be empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What it takes in memory, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.text.capacity() + self.entries.capacity() * size_of::<Entry>()
    }

    fn value(&self, entry: Entry) -> Value<'_> {
        match entry.value {
            Stored::Unsigned(number) => Value::Unsigned(number),
            Stored::Signed(number) => Value::Signed(number),
            Stored::Float(number) => Value::Float(number),
            Stored::Text(span) => Value::Text(self.slice(span)),
        }
    }

    fn slice(&self, span: Span) -> &str {
        slice(&self.text, span)
    }

    fn push_text(&mut self, text: &str) -> Span {
        // The whole text has at most MAX_GRID_BYTES bytes, which fits.
        let end = |text: &str| u32::try_from(text.len()).unwrap_or(u32::MAX);
        let start = end(&self.text);
        self.text.push_str(text);
        Span {
            start,
            end: end(&self.text),
        }
    }

    fn sorted(mut self) -> Result<Self, GridFault> {
        let text = &self.text;
        self.entries
            .sort_unstable_by(|a, b| slice(text, a.name).cmp(slice(text, b.name)));
        let twice = self.entries.windows(2).find_map(|pair| match pair {
            [a, b] if slice(text, a.name) == slice(text, b.name) => Some(a.name),
            _ => None,
        });
        match twice {
            Some(name) => Err(GridFault::Duplicate(Excerpt::new(
                self.slice(name).as_bytes(),
            ))),
            None => Ok(self),
        }
    }
}

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
}

#[derive(Clone, Copy)]
struct Entry {
    name: Span,
    value: Stored,
}

#[derive(Clone, Copy)]
enum Stored {
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Text(Span),
}

/// A part of [`Grid::text`], in bytes.
#[derive(Clone, Copy)]
struct Span {
    start: u32,
    end: u32,
}

fn slice(text: &str, span: Span) -> &str {
    text.get(span.start as usize..span.end as usize)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests;
