//! From a metric of a grid to a series of Prometheus: family, labels, value.
//!
//! For a metric of the table everything comes from its row: the words of its name, the
//! base unit and, of a counter, `_total` make the name; the row's word for an instance is
//! the label's name. A metric that is not in the table, or not as the table has it (an
//! instance where there is none, text for a number), keeps its name with `_` for what is
//! not allowed there, its instance in the label [`ITEM`], and its value as it is. Such a
//! name never takes the place of a family that is described here: the metric is left out,
//! as is one that differs from another only in what `_` stands for. Both are counted.
//!
//! Decides names only: labels are as they came, and who writes them escapes them.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::fmt::{self, Write as _};
use std::ops::Deref;
use std::sync::LazyLock;

use super::number::{Number, Scale};
use crate::metrics::table::METRICS;
use crate::metrics::{Definition, Kind};
use crate::protocol::grid::{Grid, Value};

mod meanings;
mod sizes;

pub(crate) use meanings::Meanings;
pub(crate) use sizes::{for_each_text, for_each_text_of_names, host_bytes};

/// What the name of everything that hosts report begins with.
pub const NAMESPACE: &str = "metrics_agent_";

/// The label with the host's name.
pub const HOST: &str = "host";

/// The label with the instance of a metric that is not in the table.
pub const ITEM: &str = "item";

/// The label with the text of an info series.
pub const TEXT: &str = "value";

/// 1 for each host that reports, 0 for each other that is known.
pub static UP: LazyLock<Family> = LazyLock::new(|| Family {
    name: format!("{NAMESPACE}up"),
    kind: Type::Gauge,
    help: "1 where the host reports, 0 where it is expected to or gone",
});

/// When each host was last heard from. A time, not an age: it changes only when there was
/// something to hear.
pub static LAST_SEEN: LazyLock<Family> = LazyLock::new(|| Family {
    name: format!("{NAMESPACE}last_seen_timestamp_seconds"),
    kind: Type::Gauge,
    help: "When the host was last heard from, in seconds since 1970",
});

const UNKNOWN_NUMBER: &str = "A metric that this collector has no description of";
const UNKNOWN_TEXT: &str = "A text that this collector has no description of";

/// Names whose words would mislead, or say what Prometheus has another word for. `_count`
/// is what histograms have.
const RENAMED: &[(&str, &str)] = &[("cpu.percent", "cpu_busy"), ("proc.count", "processes")];

/// How a family's values behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Type {
    /// It only grows, but for resets.
    Counter,
    /// It goes up and down.
    Gauge,
    /// Always 1: the text is a label.
    Info,
}

impl Type {
    /// The word for it in the text format 0.0.4, which has none for info.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge | Self::Info => "gauge",
        }
    }
}

/// What series with one name have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Family {
    /// The name; letters, digits and `_`.
    pub name: String,
    /// How its values behave.
    pub kind: Type,
    /// One phrase for a person, on one line and without a backslash.
    pub help: &'static str,
}

/// The family of a series.
#[derive(Clone, Debug, PartialEq)]
pub enum SeriesFamily<'a> {
    /// Of the table of metrics.
    Table(&'static Family),
    /// Made of the metric's name.
    Made(Cow<'a, Family>),
}

impl SeriesFamily<'_> {
    /// The same for longer; borrowed where it comes from the table.
    #[must_use]
    pub fn into_static(self) -> Cow<'static, Family> {
        match self {
            Self::Table(family) => Cow::Borrowed(family),
            Self::Made(family) => Cow::Owned(family.into_owned()),
        }
    }
}

impl Deref for SeriesFamily<'_> {
    type Target = Family;

    fn deref(&self) -> &Family {
        match self {
            Self::Table(family) => family,
            Self::Made(family) => family,
        }
    }
}

/// One series of a host, and its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Series<'a> {
    /// What it has in common with others.
    pub family: SeriesFamily<'a>,
    /// The label of the instance, name and value, where there is one.
    pub instance: Option<(&'static str, &'a str)>,
    /// The value of the label [`TEXT`], of an info series and no other.
    pub text: Option<&'a str>,
    /// The value.
    pub number: Number,
}

impl Series<'_> {
    /// Returns true if its metric is in the table.
    #[must_use]
    pub fn is_known(&self) -> bool {
        matches!(self.family, SeriesFamily::Table(_))
    }
}

/// The series of a metric of a host, or None where a family of the table, or of the
/// collector's own, has that name, or where the value is too large for its base unit.
///
/// Of one host, other metrics may be the same series, see [`Naming`].
#[must_use]
pub fn series<'a>(name: &'a str, value: Value<'a>) -> Option<Series<'a>> {
    let (plain, instance) = split(name);
    let is_text = matches!(value, Value::Text(_));
    match row(plain, instance, is_text) {
        Some(row) => row.series(instance, value),
        None => made_series(Cow::Owned(made_family(plain, is_text)?), instance, value),
    }
}

/// The row of the table that describes such a metric.
fn row(plain: &str, instance: Option<&str>, is_text: bool) -> Option<&'static Row> {
    let row = BY_METRIC.get(plain);
    row.filter(|row| row.describes(instance, is_text)).copied()
}

/// The family of a metric that no row describes; None where its name belongs to another.
fn made_family(plain: &str, is_text: bool) -> Option<Family> {
    let family = if is_text {
        Family {
            name: format!("{NAMESPACE}{}_info", Sanitised(plain)),
            kind: Type::Info,
            help: UNKNOWN_TEXT,
        }
    } else {
        let name = format!("{NAMESPACE}{}", Sanitised(plain));
        Family {
            kind: if name.ends_with("_total") {
                Type::Counter
            } else {
                Type::Gauge
            },
            name,
            help: UNKNOWN_NUMBER,
        }
    };
    (!RESERVED.contains(family.name.as_str())).then_some(family)
}

/// A series of such a family; None where the value is too large.
fn made_series<'a>(
    family: Cow<'a, Family>,
    instance: Option<&'a str>,
    value: Value<'a>,
) -> Option<Series<'a>> {
    let (text, number) = match value {
        Value::Text(text) => (Some(text), Number::ONE),
        value => (None, Number::scaled(value, Scale::Times(1))?),
    };
    Some(Series {
        family: SeriesFamily::Made(family),
        instance: instance.map(|instance| (ITEM, instance)),
        text,
        number,
    })
}

/// The metrics of a grid that are left out of every series, as they are too large for their base
/// unit.
pub(crate) fn too_large(grid: &Grid) -> impl Iterator<Item = &str> {
    /// What every conversion survives: the largest has six digits.
    const HARMLESS: f64 = f64::MAX / 1e6;
    grid.iter().filter_map(|(name, value)| match value {
        Value::Float(number) if number.abs() > HARMLESS => {
            series(name, value).is_none().then_some(name)
        }
        _ => None,
    })
}

/// Returns true if series of hosts may have a label of this name themselves, so that settings
/// must not add it.
#[must_use]
pub fn is_label(name: &str) -> bool {
    [HOST, ITEM, TEXT].contains(&name) || METRICS.iter().any(|row| row.instance == Some(name))
}

/// The families that are described here: of the table, sorted by name, without those of the
/// collector's own.
pub fn known() -> impl ExactSizeIterator<Item = &'static Family> {
    ROWS.iter().map(|row| &row.family)
}

/// Returns true if the table has this metric in metrics messages.
#[must_use]
pub fn is_in_metrics(name: &str) -> bool {
    let (plain, instance) = split(name);
    let row = BY_METRIC.get(plain);
    row.is_some_and(|row| row.in_metrics && row.label.is_some() == instance.is_some())
}

/// Names the metrics of one host, each series once: the first metric that it is made from
/// has it, the others are counted.
#[derive(Debug, Default)]
pub struct Naming {
    /// The series of metrics that are not in the table, by name and instance.
    taken: HashSet<(String, Option<String>)>,
    clashes: u64,
}

impl Naming {
    /// The series of a metric; None where another has it.
    pub fn series<'a>(&mut self, name: &'a str, value: Value<'a>) -> Option<Series<'a>> {
        self.first(series(name, value))
    }

    /// The same where the series of the metric is known, if it has one.
    pub(super) fn first<'a>(&mut self, series: Option<Series<'a>>) -> Option<Series<'a>> {
        // Two metrics of the table, or two instances, are never the same series.
        let series = series.filter(|series| {
            series.is_known() || {
                let instance = series.instance.map(|(_, value)| value.to_owned());
                self.taken.insert((series.family.name.clone(), instance))
            }
        });
        self.clashes += u64::from(series.is_none());
        series
    }

    /// Goes on with another host, or with another message.
    pub fn begin(&mut self) {
        self.taken.clear();
    }

    /// How many metrics were left out since it was made.
    #[must_use]
    pub fn clashes(&self) -> u64 {
        self.clashes
    }
}

/// A metric's name without its instance, and that.
fn split(name: &str) -> (&str, Option<&str>) {
    let parts = name.strip_suffix(']').and_then(|name| name.split_once('['));
    match parts {
        Some((plain, instance)) if !plain.is_empty() => (plain, Some(instance)),
        _ => (name, None),
    }
}

/// A row of the table of metrics.
struct Row {
    metric: &'static str,
    family: Family,
    label: Option<&'static str>,
    scale: Scale,
    in_metrics: bool,
}

impl Row {
    fn new(metric: &'static Definition) -> Self {
        let (base, scale) = base_unit(metric.unit);
        Self {
            metric: metric.name,
            family: Family {
                name: family_name(metric, base),
                kind: match metric.kind {
                    Kind::Gauge => Type::Gauge,
                    Kind::Counter => Type::Counter,
                    Kind::Info => Type::Info,
                },
                help: metric.description,
            },
            label: metric.instance,
            scale,
            in_metrics: metric.in_metrics,
        }
    }

    /// Returns true if the instance and the value are as the table has them.
    fn describes(&self, instance: Option<&str>, is_text: bool) -> bool {
        self.label.is_some() == instance.is_some() && (self.family.kind == Type::Info) == is_text
    }

    /// The series of what it describes; None where the value is too large.
    fn series<'a>(
        &'static self,
        instance: Option<&'a str>,
        value: Value<'a>,
    ) -> Option<Series<'a>> {
        let (text, number) = match value {
            Value::Text(text) => (Some(text), Number::ONE),
            value => (None, Number::scaled(value, self.scale)?),
        };
        Some(Series {
            family: SeriesFamily::Table(&self.family),
            instance: self.label.zip(instance),
            text,
            number,
        })
    }
}

/// Sorted by the families' names.
static ROWS: LazyLock<Vec<Row>> = LazyLock::new(|| {
    let mut rows: Vec<_> = METRICS.iter().copied().map(Row::new).collect();
    rows.sort_by(|a, b| a.family.name.cmp(&b.family.name));
    rows
});

static BY_METRIC: LazyLock<HashMap<&str, &Row>> =
    LazyLock::new(|| ROWS.iter().map(|row| (row.metric, row)).collect());

/// What no other metric may be called.
static RESERVED: LazyLock<HashSet<&str>> = LazyLock::new(|| {
    let own = [&*UP, &*LAST_SEEN];
    let families = known().chain(own);
    families.map(|family| family.name.as_str()).collect()
});

/// The word for the base unit, and the way to it. A plain number has none.
fn base_unit(unit: &str) -> (&'static str, Scale) {
    match unit {
        "s" => ("seconds", Scale::Times(1)),
        "ms" => ("seconds", Scale::Places(3)),
        "us" => ("seconds", Scale::Places(6)),
        "B" => ("bytes", Scale::Times(1)),
        "kB" => ("bytes", Scale::Times(1024)),
        "%" => ("ratio", Scale::Places(2)),
        // node_exporter has speeds in bytes, too: they are what traffic is compared with.
        "Mbit/s" => ("bytes_per_second", Scale::Times(1_000_000 / 8)),
        "celsius" => ("celsius", Scale::Times(1)),
        "rpm" => ("rpm", Scale::Times(1)),
        "V" => ("volts", Scale::Times(1)),
        "A" => ("amperes", Scale::Times(1)),
        "W" => ("watts", Scale::Times(1)),
        _ => ("", Scale::Times(1)),
    }
}

/// The words of the metric's name, then the base unit, then what its kind asks for; no word
/// twice.
fn family_name(metric: &Definition, base: &str) -> String {
    let suffix = match metric.kind {
        Kind::Gauge => "",
        Kind::Counter => "total",
        Kind::Info => "info",
    };
    let renamed = RENAMED.iter().find(|(name, _)| *name == metric.name);
    let name = renamed.map_or(metric.name, |(_, name)| name);
    let own = match metric.kind {
        Kind::Counter => name.strip_suffix(".total").unwrap_or(name),
        Kind::Gauge | Kind::Info => name,
    };
    let words = own.split('.').enumerate().map(|(at, word)| match word {
        // The namespace has the word already.
        "agent" if at == 0 => "self",
        word => word,
    });
    let words = words.filter(|word| *word != base);
    let ends = [base, suffix].into_iter().filter(|word| !word.is_empty());
    let words: Vec<&str> = words.chain(ends).collect();
    format!("{NAMESPACE}{}", words.join("_"))
}

/// A name with `_` for each character that is not allowed in it.
struct Sanitised<'a>(&'a str);

impl fmt::Display for Sanitised<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| {
            let allowed = c.is_ascii_alphanumeric() || c == '_';
            f.write_char(if allowed { c } else { '_' })
        })
    }
}

#[cfg(test)]
mod tests;
