//! The sender's ids: which series and schemas there are, and what of it a sample needs that is new.
//!
//! A source says nearly always the same series in the same order; then a sample costs one comparison
//! of each name, and nothing is looked up or allocated but the sample itself. Where a few are missing they are told as absent;
//! where more has changed, the source has another schema.
//!
//! Ids only grow. What is not used any more is forgotten with everything else once it is most of all;
//! the series in use are defined again then, under new ids.

use std::collections::{HashMap, HashSet};

use super::coding::Layout;
use super::wire::{Kind, Label, Sample, Schema, Series, Type};

/// The label that has the text of a fact.
pub const TEXT_LABEL: &str = "value";

/// So many series more than four times those in use may be known before all are forgotten.
const SPARE: usize = 1000;

/// Most schemas known before all are forgotten: far below what a receiver keeps.
const MAX_SCHEMAS: usize = 1000;

/// One value of a sample, and what it means.
#[derive(Clone, Copy, Debug)]
pub struct Point<'a> {
    /// The metric.
    pub name: &'a str,
    /// The label of the instance, such as `device`, and its value.
    pub instance: Option<(&'a str, &'a str)>,
    /// How it behaves.
    pub kind: Kind,
    /// Its unit.
    pub unit: &'a str,
    /// The value.
    pub value: Value<'a>,
}

/// A value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// An integer, not negative.
    Unsigned(u64),
    /// A finite number.
    Float(f64),
    /// A fact.
    Text(&'a str),
}

impl<'a> Value<'a> {
    fn parts(self) -> (Type, u64, Option<&'a str>) {
        match self {
            Self::Unsigned(value) => (Type::Unsigned, value, None),
            Self::Float(value) => (Type::Float, value.to_bits(), None),
            Self::Text(text) => (Type::Unsigned, 1, Some(text)),
        }
    }
}

/// A sample with complete values, and the definitions that it is the first to need.
#[derive(Debug, Default)]
pub struct Sampled {
    /// Its values are complete, its number, times and boot are not set.
    pub sample: Sample,
    /// Series that are new.
    pub series: Vec<Series>,
    /// Schemas that are new. Each names series of this or of earlier samples.
    pub schemas: Vec<Schema>,
}

/// What is known of a series.
#[derive(Debug)]
struct Known {
    id: u32,
    name: String,
    instance: Option<String>,
    text: Option<String>,
    kind: Type,
}

impl Known {
    fn is(&self, point: &Point<'_>) -> bool {
        let (kind, _, text) = point.value.parts();
        self.kind == kind
            && self.name == point.name
            && self.instance.as_deref() == point.instance.map(|(_, value)| value)
            && self.text.as_deref() == text
    }
}

/// The latest schema of a source.
#[derive(Debug)]
struct Current {
    schema: u32,
    /// Places in [`Dictionary::known`].
    series: Vec<usize>,
}

/// The sender's ids.
#[derive(Debug, Default)]
pub struct Dictionary {
    known: Vec<Known>,
    /// Places in `known`, by what distinguishes a series.
    places: HashMap<String, usize>,
    current: HashMap<String, Current>,
    /// Ids by source and series.
    schemas: HashMap<(String, Vec<usize>), u32>,
    last_series: u32,
    last_schema: u32,
    /// The ids that were the last when everything was forgotten.
    forgotten: (u32, u32),
}

impl Dictionary {
    /// A dictionary whose ids are higher than these, which were given before.
    #[must_use]
    pub fn after(last_series: u32, last_schema: u32) -> Self {
        Self {
            last_series,
            last_schema,
            forgotten: (last_series, last_schema),
            ..Self::default()
        }
    }

    /// The lowest ids of series and of schemas to which the latest sample and those to come refer:
    /// the first that were given since everything was forgotten last.
    #[must_use]
    pub fn first_ids(&self) -> (u32, u32) {
        let (series, schema) = self.forgotten;
        (series.saturating_add(1), schema.saturating_add(1))
    }

    /// Makes a sample of these values. Those of one source stand together.
    pub fn sample<'a>(
        &mut self,
        points: impl IntoIterator<Item = (&'a str, Point<'a>)>,
    ) -> Sampled {
        self.tidy();
        let mut sampled = Sampled::default();
        let mut points = points.into_iter().peekable();
        while let Some((source, _)) = points.peek() {
            let source = *source;
            let of_source = std::iter::from_fn(|| {
                let next = points.next_if(|(of, _)| *of == source);
                next.map(|(_, point)| point)
            });
            self.source(source, of_source, &mut sampled);
        }
        sampled.sample.whole = true;
        sampled
    }

    /// The ids and types of a schema in use, as [`Layout`] has them.
    #[must_use]
    pub fn layout(&self, schema: u32) -> Option<Vec<(u32, Type)>> {
        let mut all = self.current.values();
        let current = all.find(|current| current.schema == schema)?;
        let series = current
            .series
            .iter()
            .filter_map(|place| self.known.get(*place));
        Some(series.map(|known| (known.id, known.kind)).collect())
    }

    fn source<'a>(
        &mut self,
        source: &str,
        mut points: impl Iterator<Item = Point<'a>>,
        sampled: &mut Sampled,
    ) {
        // Among all series of the sample.
        let begin = sampled.sample.values.len() + sampled.sample.absent.len();
        let mut absent = Vec::new();
        let (mut at, mut odd) = (0, None);
        let current = self.current.get(source);
        let series = current.map_or(&[][..], |current| &current.series);
        for point in points.by_ref() {
            let rest = series.get(at..).unwrap_or_default();
            let known =
                |place: &usize| self.known.get(*place).is_some_and(|known| known.is(&point));
            let Some(skipped) = rest.iter().position(known) else {
                odd = Some(point);
                break;
            };
            absent.extend(at..at + skipped);
            at += skipped + 1;
            sampled.sample.values.push(point.value.parts().1);
        }
        if odd.is_none() {
            absent.extend(at..series.len());
        }
        if let Some(current) = current
            && odd.is_none()
            && absent.len() * 4 <= series.len()
        {
            let absent = absent.iter().map(|place| begin + place);
            let absent = absent.map(|place| u32::try_from(place).unwrap_or(u32::MAX));
            sampled.sample.absent.extend(absent);
            sampled.sample.schemas.push(current.schema);
            return;
        }
        let absent: HashSet<_> = absent.into_iter().collect();
        let had = series.iter().take(at).enumerate();
        let had = had.filter(|(place, _)| !absent.contains(place));
        let mut series: Vec<_> = had.map(|(_, known)| *known).collect();
        let mut within: HashSet<_> = series.iter().copied().collect();
        for point in odd.into_iter().chain(points) {
            let place = self.place(&point, sampled);
            // A series has one value.
            if within.insert(place) {
                series.push(place);
                sampled.sample.values.push(point.value.parts().1);
            }
        }
        let schema = self.schema(source, &series, sampled);
        sampled.sample.schemas.push(schema);
        let current = Current { schema, series };
        self.current.insert(source.to_owned(), current);
    }

    /// The place of a series that may be new.
    fn place(&mut self, point: &Point<'_>, sampled: &mut Sampled) -> usize {
        let (kind, _, text) = point.value.parts();
        let instance = point.instance.map(|(_, value)| value);
        // No part has a NUL: control characters are escaped in names and instances.
        let key = format!(
            "{}\0{}{}\0{}{}\0{}",
            point.name,
            u8::from(instance.is_some()),
            instance.unwrap_or_default(),
            u8::from(text.is_some()),
            text.unwrap_or_default(),
            i32::from(kind),
        );
        if let Some(place) = self.places.get(&key) {
            return *place;
        }
        self.last_series += 1;
        let labels = point.instance.into_iter();
        let labels = labels.chain(text.map(|text| (TEXT_LABEL, text)));
        let labels = labels.map(|(name, value)| Label {
            name: name.to_owned(),
            value: value.to_owned(),
        });
        sampled.series.push(Series {
            id: self.last_series,
            name: point.name.to_owned(),
            labels: labels.collect(),
            kind: point.kind.into(),
            unit: point.unit.to_owned(),
            description: String::new(),
            r#type: kind.into(),
        });
        let place = self.known.len();
        self.known.push(Known {
            id: self.last_series,
            name: point.name.to_owned(),
            instance: instance.map(str::to_owned),
            text: text.map(str::to_owned),
            kind,
        });
        self.places.insert(key, place);
        place
    }

    /// The id of a schema that may be new.
    fn schema(&mut self, source: &str, series: &[usize], sampled: &mut Sampled) -> u32 {
        let key = (source.to_owned(), series.to_vec());
        if let Some(id) = self.schemas.get(&key) {
            return *id;
        }
        self.last_schema += 1;
        let id = self.last_schema;
        let mut before = 0;
        let ids = series.iter().filter_map(|place| self.known.get(*place));
        let differences = ids.map(|known| {
            let difference = known.id.wrapping_sub(before).cast_signed();
            before = known.id;
            difference
        });
        sampled.schemas.push(Schema {
            id,
            source: source.to_owned(),
            series: differences.collect(),
        });
        self.schemas.insert(key, id);
        id
    }

    /// Forgets everything once most of it is not used any more.
    fn tidy(&mut self) {
        let in_use: usize = self
            .current
            .values()
            .map(|current| current.series.len())
            .sum();
        if self.known.len() > 4 * in_use + SPARE || self.schemas.len() > MAX_SCHEMAS {
            *self = Self::after(self.last_series, self.last_schema);
        }
    }
}

/// The ids and types of a schema's series, of what defined them.
#[must_use]
pub fn layout_of(
    schema: &Schema,
    mut kind: impl FnMut(u32) -> Option<Type>,
) -> Option<Box<Layout>> {
    let mut id = 0_u32;
    let series = schema.series.iter().map(|difference| {
        id = id.checked_add_signed(*difference)?;
        Some((id, kind(id)?))
    });
    series.collect()
}

#[cfg(test)]
mod tests;
