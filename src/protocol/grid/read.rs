//! JSON to a grid, refusing early: nothing nested is ever built.

use std::fmt;
use std::sync::Arc;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::error::Category;

use super::names::{Entry, Kind, Names};
use super::packed::Packed;
use super::{Grid, GridFault, MAX_METRICS};
use crate::protocol::message::{Excerpt, GridKind};

/// The metrics of a JSON object.
pub(super) fn read(bytes: &[u8], kind: GridKind) -> Result<Grid, GridFault> {
    let mut builder = Builder {
        // Escapes only ever make JSON longer than the text that they represent.
        text: String::with_capacity(bytes.len()),
        metrics: Vec::new(),
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
        .map(|entry| Excerpt::new(entry.name(&builder.text).as_bytes()));
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
        (None, Ok(())) => builder.sorted(),
    }
}

/// What the visitors below fill. The typed fault travels here, since `serde_json` would
/// keep only its text.
struct Builder {
    /// Names, each with the text that is its value behind it.
    text: String,
    /// In the sender's order, each with the bits of its value.
    metrics: Vec<(Entry, u64)>,
    kind: GridKind,
    fault: Option<GridFault>,
    /// The metric whose value is read.
    reading: Option<Entry>,
}

impl Builder {
    fn refuse<T, E: Error>(&mut self, fault: GridFault) -> Result<T, E> {
        self.fault = Some(fault);
        Err(E::custom("refused"))
    }

    fn sorted(mut self) -> Result<Grid, GridFault> {
        let text = &self.text;
        self.metrics
            .sort_unstable_by(|(a, _), (b, _)| a.name(text).cmp(b.name(text)));
        // No larger than they are: they are kept until the next grid comes, by the thousand.
        let entries = self.metrics.iter().map(|(entry, _)| *entry).collect();
        let values: Vec<_> = self.metrics.iter().map(|(_, bits)| Some(*bits)).collect();
        Ok(Grid {
            names: Arc::new(Names::sorted(self.text, entries)?),
            present: values.len(),
            values: Packed::of(&values),
        })
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
            let metric = map.next_value_seed(ValueSeed {
                builder: self.0,
                name,
            })?;
            self.0.reading = None;
            self.0.metrics.push(metric);
        }
        Ok(())
    }
}

struct NameSeed<'b>(&'b mut Builder);

impl<'de> DeserializeSeed<'de> for NameSeed<'_> {
    type Value = Entry;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Entry, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for NameSeed<'_> {
    type Value = Entry;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a metric's name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Entry, E> {
        let Some(entry) = Entry::new(&self.0.text, name) else {
            let excerpt = Excerpt::new(name.as_bytes());
            return self.0.refuse(GridFault::Name(excerpt));
        };
        if self.0.metrics.len() >= MAX_METRICS {
            return self.0.refuse(GridFault::TooManyMetrics);
        }
        self.0.text.push_str(name);
        Ok(entry)
    }
}

struct ValueSeed<'b> {
    builder: &'b mut Builder,
    name: Entry,
}

/// A metric, and the bits of its value.
type Metric = (Entry, u64);

impl ValueSeed<'_> {
    fn refuse<E: Error>(self, fault: fn(Excerpt) -> GridFault) -> Result<Metric, E> {
        let name = Excerpt::new(self.name.name(&self.builder.text).as_bytes());
        self.builder.refuse(fault(name))
    }
}

impl<'de> DeserializeSeed<'de> for ValueSeed<'_> {
    type Value = Metric;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Metric, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ValueSeed<'_> {
    type Value = Metric;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number or text")
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Metric, E> {
        Ok((self.name.with(Kind::Unsigned), number))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Metric, E> {
        Ok((self.name.with(Kind::Signed), number.cast_unsigned()))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Metric, E> {
        if number.is_finite() {
            Ok((self.name.with(Kind::Float), number.to_bits()))
        } else {
            self.refuse(GridFault::NotANumber)
        }
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Metric, E> {
        match (self.builder.kind, self.name.with_text(text)) {
            (GridKind::Metrics, _) => self.refuse(GridFault::TextInMetrics),
            (GridKind::Model, None) => self.refuse(GridFault::TextTooLong),
            (GridKind::Model, Some(entry)) => {
                self.builder.text.push_str(text);
                Ok((entry, 0))
            }
        }
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Metric, E> {
        self.refuse(GridFault::NotANumber)
    }

    fn visit_unit<E: Error>(self) -> Result<Metric, E> {
        self.refuse(GridFault::NotANumber)
    }

    // Refused at the opening bracket, so the depth does not matter.
    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<Metric, A::Error> {
        self.refuse(GridFault::Nested)
    }

    fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<Metric, A::Error> {
        self.refuse(GridFault::Nested)
    }
}
