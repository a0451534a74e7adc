//! What a metric is, for all code that reads, sends, keeps or shows one.
//!
//! - [`Definition`] and [`table`]: name, unit and kind of every metric that the agent has;
//! - [`samples`]: values by name, ready for the wire;
//! - [`families`]: which metrics are reported together;
//! - [`latest`]: a host's latest value of each.

pub mod families;
pub mod latest;
pub mod samples;
pub mod table;

pub use latest::LatestMetrics;
pub use samples::{Name, Samples, Value};

/// Returns true if the metric of this name, with or without an instance, is a count that only grows:
/// also one that the table does not have.
#[must_use]
pub fn is_count(name: &str) -> bool {
    let plain = name.split_once('[').map_or(name, |(plain, _)| plain);
    plain.strip_suffix(".total").is_some()
}

/// How a metric's value behaves over time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A value that goes up and down.
    Gauge,
    /// A count since boot that only grows, except for a wrap or a reset; its name ends in `.total`.
    Counter,
    /// A fact of the inventory, as text.
    Info,
}

impl Kind {
    /// The name that documentation and `ListMetrics` use for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gauge => "gauge",
            Self::Counter => "counter",
            Self::Info => "info",
        }
    }
}

/// What a metric means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    /// The name on the wire, without an instance.
    pub name: &'static str,
    /// What an instance in brackets is, such as `device`; None if there is but one value.
    pub instance: Option<&'static str>,
    /// The unit; empty for a number without one and for text.
    pub unit: &'static str,
    /// How it behaves over time.
    pub kind: Kind,
    /// One phrase for a person.
    pub description: &'static str,
    /// True if it is part of `metrics` messages.
    pub in_metrics: bool,
    /// True if it is part of `model` messages.
    pub in_model: bool,
    /// The name of the source that reads it.
    pub source: &'static str,
}
