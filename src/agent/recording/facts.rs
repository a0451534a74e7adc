//! What a sample says on the second wire: its values, and from time to time the facts of the model.
//!
//! Facts rarely change. They go along with the first sample, with the first after they have changed,
//! and once in [`EVERY`], so that an engine that forgets what is silent knows them. Pure: time is an
//! argument.

use std::collections::HashSet;
use std::iter::from_fn;

use crate::metrics::{Kind, Name, Samples, Value};
use crate::protocol::data::Point;
use crate::protocol::data::dictionary::Value as Told;
use crate::protocol::data::wire;

/// Between two samples with the facts, in µs: engines take what is silent for five minutes as gone.
const EVERY: u64 = 60 * 1_000_000;

/// The source that facts are told as, since a sample with values of a source replaces all that is
/// known of it.
const SOURCE: &str = "model";

/// The metric whose value is the boot id, which every sample has anyway.
const BOOT_ID: &str = "sys.boot.id";

/// The facts of the latest model, and when they are due.
#[derive(Debug, Default)]
pub(super) struct Facts {
    latest: Samples,
    /// There was a model, with facts or without.
    are_known: bool,
    /// In µs since boot.
    due: u64,
}

impl Facts {
    /// Returns true before the first model.
    pub(super) fn are_unknown(&self) -> bool {
        !self.are_known
    }

    /// Takes them from a model.
    pub(super) fn learn(&mut self, model: &Samples) {
        self.are_known = true;
        let mut facts = Samples::new();
        for (name, value) in model.iter().filter(|(name, _)| is_fact(*name)) {
            match value {
                Value::Unsigned(value) => {
                    facts.push_unsigned(name.definition, name.instance, value);
                }
                Value::Float(value) => facts.push_float(name.definition, name.instance, value),
                Value::Text(value) => facts.push_text(name.definition, name.instance, value),
            }
        }
        if facts != self.latest {
            self.latest = facts;
            self.due = 0;
        }
    }

    /// The facts, if they go along with a sample of this time, in µs since boot.
    pub(super) fn due(&mut self, boottime: u64) -> Option<&Samples> {
        if self.latest.is_empty() || boottime < self.due {
            return None;
        }
        self.due = boottime.saturating_add(EVERY);
        Some(&self.latest)
    }
}

/// Whether no sample of what changes has it.
fn is_fact(name: Name<'_>) -> bool {
    let definition = name.definition;
    definition.in_model && !definition.in_metrics && definition.name != BOOT_ID
}

/// The values of a sample, those of each source together, and then facts.
pub(super) fn points<'a>(
    samples: &'a Samples,
    facts: impl Iterator<Item = (Name<'a>, Value<'a>)>,
) -> impl Iterator<Item = (&'a str, Point<'a>)> {
    let mut order = Vec::new();
    let mut is_sorted = true;
    for (name, _) in samples.iter() {
        let source = name.definition.source;
        if order.last() != Some(&source) {
            is_sorted &= !order.contains(&source);
            order.push(source);
        }
    }
    // One that speaks twice in a sample, as the agent's own does at its end, is put together.
    let mut seen = HashSet::new();
    order.retain(|source| !is_sorted && seen.insert(*source));
    let mut values = samples.iter();
    let in_order = from_fn(move || if is_sorted { values.next() } else { None });
    let sorted = order.into_iter().flat_map(move |source| {
        let values = samples.iter();
        values.filter(move |(name, _)| name.definition.source == source)
    });
    let values = in_order.chain(sorted);
    let values = values.map(|(name, value)| (name.definition.source, point(name, value)));
    values.chain(facts.map(|(name, value)| (SOURCE, point(name, value))))
}

fn point<'a>(name: Name<'a>, value: Value<'a>) -> Point<'a> {
    Point {
        name: name.definition.name,
        instance: name.definition.instance.zip(name.instance),
        kind: match name.definition.kind {
            Kind::Gauge => wire::Kind::Gauge,
            Kind::Counter => wire::Kind::Counter,
            Kind::Info => wire::Kind::Info,
        },
        unit: name.definition.unit,
        value: match value {
            Value::Unsigned(value) => Told::Unsigned(value),
            Value::Float(value) => Told::Float(value),
            Value::Text(text) => Told::Text(text),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::table::{
        AGENT, CPU_PERCENT, HOST_OS, MEM_FREE, MEM_TOTAL, SYS_BOOT_ID, SYS_UPTIME,
    };

    fn model() -> Samples {
        let mut model = Samples::new();
        model.push_float(&SYS_UPTIME, None, 5.0);
        model.push_text(&SYS_BOOT_ID, None, "abc");
        model.push_unsigned(&MEM_TOTAL, None, 16);
        model.push_text(&HOST_OS, None, "Debian 12");
        model
    }

    #[test]
    fn facts_go_with_the_first_sample_then_each_minute_and_when_they_change() {
        let mut facts = Facts::default();
        assert!(facts.are_unknown());
        assert_eq!(facts.due(5), None);
        facts.learn(&model());
        let names = |facts: &Samples| {
            let names = facts.iter().map(|(name, _)| name.to_string());
            names.collect::<Vec<_>>()
        };
        assert_eq!(facts.due(5).map(names).unwrap(), ["mem.total", "host.os"]);
        assert_eq!(facts.due(5 + EVERY - 1), None);
        facts.learn(&model());
        assert_eq!(facts.due(5 + EVERY - 1), None, "nothing has changed");
        assert!(facts.due(5 + EVERY).is_some());
        let mut other = model();
        other.push_unsigned(&MEM_TOTAL, None, 17);
        facts.learn(&other);
        assert_eq!(facts.due(6 + EVERY).unwrap().len(), 3);
    }

    #[test]
    fn a_model_without_facts_is_not_asked_for_again() {
        let mut facts = Facts::default();
        facts.learn(&Samples::new());
        assert!(!facts.are_unknown());
        assert_eq!(facts.due(5), None);
    }

    #[test]
    fn what_a_source_says_in_two_parts_is_told_together() {
        let agent = crate::metrics::table::METRICS
            .iter()
            .copied()
            .find(|metric| metric.source == AGENT && metric.in_metrics)
            .unwrap();
        let mut samples = Samples::new();
        samples.push_unsigned(agent, None, 1);
        samples.push_unsigned(&MEM_FREE, None, 2);
        samples.push_float(&CPU_PERCENT, None, 3.0);
        let sources = |samples: &Samples| {
            let points = points(samples, [].into_iter());
            points
                .map(|(source, _)| source.to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(sources(&samples), ["agent", "meminfo", "cpu"]);
        samples.push_unsigned(agent, Some("x"), 4);
        assert_eq!(sources(&samples), ["agent", "agent", "meminfo", "cpu"]);
    }

    #[test]
    fn facts_are_a_source_of_their_own() {
        let mut samples = Samples::new();
        samples.push_unsigned(&MEM_FREE, None, 2);
        let model = model();
        let told: Vec<_> = points(&samples, model.iter().skip(2)).collect();
        let sources: Vec<_> = told.iter().map(|(source, _)| *source).collect();
        assert_eq!(sources, ["meminfo", SOURCE, SOURCE]);
        assert!(matches!(told[2].1.value, Told::Text("Debian 12")));
        assert!(
            crate::sources::SOURCES
                .iter()
                .all(|source| source.name != SOURCE)
        );
    }
}
