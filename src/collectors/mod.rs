//! From the kernel's files to samples.
//!
//! Owns what is measured: the table of metrics and of metric collectors
//! ([`definition`]), one file per collector ([`uptime`], [`meminfo`], [`cpu`]), and the
//! [`set::CollectorSet`] that runs them and counts how they fare. Refuses to know where
//! samples go, when they are due, and what an administrator is told of a failure: it
//! returns values, errors and [`set::Transition`]s.
//!
//! Each collector is a pure parser from bytes to a raw sample and a thin reader around
//! it. Files stay open and are read again from their beginning; the root that they are
//! found under is an argument ([`source::Root`]), so tests use captured files.

pub mod cpu;
pub mod definition;
pub mod error;
pub mod meminfo;
pub mod sample;
pub mod set;
pub mod source;
pub mod uptime;

pub use definition::{CollectorDefinition, Definition, default_names};
pub use error::{CollectError, Malformed, SourceError, UnknownCollector};
pub use sample::{Samples, Value};
pub use set::{CollectorSet, CollectorStatus, SampleOneError, Transition};
pub use source::Root;

/// Who a reading is for.
///
/// `cpu.percent` is a difference "since the previous reading", so each purpose has a
/// previous reading of its own: what somebody asks for over D-Bus, or a collector's
/// request for the model, does not cut the interval of the metrics stream short.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// The periodic metrics messages.
    Metrics,
    /// The answers to a collector's `model` request.
    Model,
    /// Somebody asked, over D-Bus; nothing is sent.
    Query,
}

/// Which of a collector's metrics are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Grid {
    /// What changes: the grid of a `metrics` message.
    Metrics,
    /// What rarely changes: the grid of a `model` message.
    Model,
    /// Everything that is collected.
    All,
}

impl Grid {
    /// Whether a metric belongs into this grid.
    #[must_use]
    pub fn admits(self, definition: &Definition) -> bool {
        match self {
            Self::Metrics => definition.in_metrics,
            Self::Model => definition.in_model,
            Self::All => true,
        }
    }
}

/// Where a collector puts its values: keeps those that the wanted grid admits.
#[derive(Debug)]
pub struct Sink<'a> {
    grid: Grid,
    samples: &'a mut Samples,
}

impl<'a> Sink<'a> {
    /// Appends to `samples` what `grid` admits.
    pub fn new(grid: Grid, samples: &'a mut Samples) -> Self {
        Self { grid, samples }
    }

    /// Takes an integer, in the definition's unit.
    pub fn unsigned(&mut self, definition: &'static Definition, value: u64) {
        if self.grid.admits(definition) {
            self.samples.push_unsigned(definition.name, value);
        }
    }

    /// Takes a float, in the definition's unit; one that is not finite is left out.
    pub fn float(&mut self, definition: &'static Definition, value: f64) {
        if self.grid.admits(definition) {
            self.samples.push_float(definition.name, value);
        }
    }
}

/// What reads one group of metrics.
///
/// A collector reads and parses first, and fills the sink when nothing can fail any more:
/// its values are one reading or none. `scratch` is the set's read buffer, of no content worth keeping.
pub trait Collector: Send {
    /// Reads the source once and puts every value that it has into `sink`.
    fn collect(
        &mut self,
        purpose: Purpose,
        scratch: &mut Vec<u8>,
        sink: &mut Sink<'_>,
    ) -> Result<(), CollectError>;
}
