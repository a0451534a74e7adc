//! JSON to a grid, refusing early: nothing nested is ever built.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::error::Category;

use super::{Entry, Grid, GridFault, MAX_METRICS, MAX_NAME_BYTES, MAX_TEXT_BYTES, Span, Stored};
use crate::protocol::message::{Excerpt, GridKind};

/// The metrics of a JSON object, in the sender's order; names may still occur twice.
pub(super) fn read(bytes: &[u8], kind: GridKind) -> Result<Grid, GridFault> {
    let mut builder = Builder {
        grid: Grid {
            // Escapes only ever make JSON longer than the text that they represent.
            text: String::with_capacity(bytes.len()),
            entries: Vec::new(),
        },
        kind,
        fault: None,
        reading: None,
    };
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let read = json
        .deserialize_map(GridVisitor(&mut builder))
        .and_then(|()| json.end());
    let reading = builder
        .reading
        .map(|name| Excerpt::new(builder.grid.slice(name).as_bytes()));
    match (builder.fault, read) {
        (Some(fault), _) => Err(fault),
        (None, Err(error)) if error.classify() == Category::Data => Err(GridFault::NotAnObject),
        // The one mistake of this category that is not in the JSON syntax; only its text shows
        // that.
        (None, Err(error)) if error.to_string().starts_with("number out of range") => {
            Err(reading.map_or(GridFault::NotAnObject, GridFault::TooLarge))
        }
        (None, Err(error)) => Err(GridFault::Syntax {
            line: error.line(),
            column: error.column(),
        }),
        (None, Ok(())) => {
            let mut grid = builder.grid;
            // It is kept until the next one comes, by the thousand.
            grid.text.shrink_to_fit();
            grid.entries.shrink_to_fit();
            Ok(grid)
        }
    }
}

/// What the visitors below fill. The typed fault travels here, since `serde_json` would
/// keep only its text.
struct Builder {
    grid: Grid,
    kind: GridKind,
    fault: Option<GridFault>,
    /// The metric whose value is read.
    reading: Option<Span>,
}

impl Builder {
    fn refuse<T, E: Error>(&mut self, fault: GridFault) -> Result<T, E> {
        self.fault = Some(fault);
        Err(E::custom("refused"))
    }
}

struct GridVisitor<'b>(&'b mut Builder);

impl<'de> Visitor<'de> for GridVisitor<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of metrics")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key_seed(NameSeed(self.0))? {
            self.0.reading = Some(name);
            let value = map.next_value_seed(ValueSeed {
                builder: self.0,
                name,
            })?;
            self.0.reading = None;
            self.0.grid.entries.push(Entry { name, value });
        }
        Ok(())
    }
}

struct NameSeed<'b>(&'b mut Builder);

impl<'de> DeserializeSeed<'de> for NameSeed<'_> {
    type Value = Span;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Span, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for NameSeed<'_> {
    type Value = Span;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a metric's name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Span, E> {
        if name.is_empty() || name.len() > MAX_NAME_BYTES || name.chars().any(char::is_control) {
            let excerpt = Excerpt::new(name.as_bytes());
            self.0.refuse(GridFault::Name(excerpt))
        } else if self.0.grid.len() >= MAX_METRICS {
            self.0.refuse(GridFault::TooManyMetrics)
        } else {
            Ok(self.0.grid.push_text(name))
        }
    }
}

struct ValueSeed<'b> {
    builder: &'b mut Builder,
    name: Span,
}

impl ValueSeed<'_> {
    fn refuse<E: Error>(self, fault: fn(Excerpt) -> GridFault) -> Result<Stored, E> {
        let name = Excerpt::new(self.builder.grid.slice(self.name).as_bytes());
        self.builder.refuse(fault(name))
    }
}

impl<'de> DeserializeSeed<'de> for ValueSeed<'_> {
    type Value = Stored;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Stored, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ValueSeed<'_> {
    type Value = Stored;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number or text")
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Stored, E> {
        Ok(Stored::Unsigned(number))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Stored, E> {
        Ok(Stored::Signed(number))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Stored, E> {
        if number.is_finite() {
            Ok(Stored::Float(number))
        } else {
            self.refuse(GridFault::NotANumber)
        }
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Stored, E> {
        match self.builder.kind {
            GridKind::Metrics => self.refuse(GridFault::TextInMetrics),
            GridKind::Model if text.len() > MAX_TEXT_BYTES => self.refuse(GridFault::TextTooLong),
            GridKind::Model => Ok(Stored::Text(self.builder.grid.push_text(text))),
        }
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Stored, E> {
        self.refuse(GridFault::NotANumber)
    }

    fn visit_unit<E: Error>(self) -> Result<Stored, E> {
        self.refuse(GridFault::NotANumber)
    }

    // Refused at the opening bracket, so the depth does not matter.
    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<Stored, A::Error> {
        self.refuse(GridFault::Nested)
    }

    fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<Stored, A::Error> {
        self.refuse(GridFault::Nested)
    }
}
