//! The samples that a message amounts to: a series for each metric, and each series once. Pure.

use std::collections::HashSet;
use std::sync::Arc;

use crate::collector::prometheus::naming::{self, Series, UP};
use crate::collector::prometheus::number::Number;
use crate::collector::schemas::HostGrid;
use crate::protocol::grid::Value;

/// The value that ends a series: a NaN with these bits and no other.
pub(super) const STALE: u64 = 0x7ff0_0000_0000_0002;

/// Most bytes of a text that is a label. Receivers refuse series with longer ones, from
/// 2,048 on.
const MAX_LABEL_BYTES: usize = 1024;

/// One sample.
#[derive(Debug)]
pub(super) struct Sample<'a> {
    pub(super) host: &'a str,
    pub(super) name: &'a str,
    pub(super) instance: Option<(&'static str, &'a str)>,
    /// The label of an info series.
    pub(super) text: Option<&'a str>,
    pub(super) value: f64,
    /// In milliseconds since 1970.
    pub(super) time: i64,
}

/// What is told of a host at one time.
pub(super) struct Telling<'a, F> {
    pub(super) host: &'a str,
    pub(super) time: i64,
    pub(super) unique: &'a mut Unique,
    pub(super) out: &'a mut F,
}

impl<E, F: FnMut(&Sample<'_>) -> Result<(), E>> Telling<'_, F> {
    pub(super) fn up(&mut self, is_up: bool) -> Result<(), E> {
        (self.out)(&up(self.host, is_up, self.time))
    }

    /// All that a grid says, but for what those before it have said.
    pub(super) fn all(&mut self, grid: &HostGrid, before: &[Arc<HostGrid>]) -> Result<(), E> {
        for (place, metric) in grid.numbered() {
            if before.iter().all(|grid| grid.get(metric.0).is_none()) {
                self.tell(grid.series(place, metric), Number::as_f64)?;
            }
        }
        Ok(())
    }

    pub(super) fn value(&mut self, name: &str, value: Value<'_>) -> Result<(), E> {
        self.tell(naming::series(name, value), Number::as_f64)
    }

    pub(super) fn stale(&mut self, name: &str, value: Value<'_>) -> Result<(), E> {
        let stale = |_| f64::from_bits(STALE);
        self.tell(naming::series(name, value), stale)
    }

    fn tell(
        &mut self,
        series: Option<Series<'_>>,
        number: impl FnOnce(Number) -> f64,
    ) -> Result<(), E> {
        let Some(mut series) = series else {
            return Ok(());
        };
        // A label without a value is none.
        series.instance = series.instance.filter(|(_, value)| !value.is_empty());
        series.text = series.text.map(cut).filter(|text| !text.is_empty());
        if !self.unique.first(&series) {
            return Ok(());
        }
        (self.out)(&Sample {
            host: self.host,
            name: &series.family.name,
            instance: series.instance,
            text: series.text,
            value: number(series.number),
            time: self.time,
        })
    }
}

/// That a host is up, or down.
pub(super) fn up(host: &str, up: bool, time: i64) -> Sample<'_> {
    Sample {
        host,
        name: &UP.name,
        instance: None,
        text: None,
        value: if up { 1.0 } else { 0.0 },
        time,
    }
}

/// Tells each series once.
#[derive(Debug, Default)]
pub(super) struct Unique {
    /// The series of metrics that are not in the table: those of the table differ as their
    /// metrics do.
    taken: HashSet<Key>,
}

type Key = (String, Option<String>, Option<String>);

impl Unique {
    /// Another message begins.
    pub(super) fn clear(&mut self) {
        self.taken.clear();
    }

    fn first(&mut self, series: &Series<'_>) -> bool {
        let owned = |text: &str| text.to_owned();
        series.is_known()
            || self.taken.insert((
                series.family.name.clone(),
                series.instance.map(|(_, value)| owned(value)),
                series.text.map(owned),
            ))
    }
}

/// The beginning of a text.
pub(super) fn cut(text: &str) -> &str {
    if text.len() <= MAX_LABEL_BYTES {
        return text;
    }
    // A character has four bytes at most.
    let mut ends = (MAX_LABEL_BYTES - 3..=MAX_LABEL_BYTES).rev();
    ends.find_map(|end| text.get(..end)).unwrap_or_default()
}
