//! What a source is, what it is made with, and where it puts its values.

use std::{
    path::Path,
    sync::{Arc, MutexGuard},
    time::Instant,
};

use super::{
    background::{Prober, Wakeup},
    bus::SystemBus,
    error::{CollectError, Malformed},
    file::Root,
    odd::{LeftOut, Odd},
    options::Options,
    survey::News,
};
use crate::base::monitor::Lock;
use crate::metrics::{Definition, Samples};

/// What a reading is for.
///
/// `cpu.percent` is a difference "since the previous reading", so each purpose has a previous
/// reading of its own: a query over D-Bus, or a source's request for the model, does not cut the
/// interval of the metrics stream short.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// The periodic metrics messages.
    Metrics,
    /// The answers to a collector's `model` request.
    Model,
    /// A query over D-Bus; nothing is sent.
    Query,
}

/// Which of a source's metrics are wanted.
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
    /// Returns true if a metric belongs into this grid.
    #[must_use]
    pub fn admits(self, definition: &Definition) -> bool {
        match self {
            Self::Metrics => definition.in_metrics,
            Self::Model => definition.in_model,
            Self::All => true,
        }
    }
}

/// Where a source puts its values: keeps those that the wanted grid admits, and why
/// others are left out.
#[derive(Debug)]
pub struct Sink<'a> {
    purpose: Purpose,
    grid: Grid,
    samples: &'a mut Samples,
    left_out: LeftOut,
}

impl<'a> Sink<'a> {
    /// Appends to `samples` what `grid` admits.
    pub fn new(purpose: Purpose, grid: Grid, samples: &'a mut Samples) -> Self {
        Self {
            purpose,
            grid,
            samples,
            left_out: LeftOut::default(),
        }
    }

    /// What the reading is for.
    #[must_use]
    pub fn purpose(&self) -> Purpose {
        self.purpose
    }

    /// Which values are wanted. What makes only others need not be read at all.
    #[must_use]
    pub fn grid(&self) -> Grid {
        self.grid
    }

    /// Takes an integer, in the definition's unit.
    pub fn unsigned(&mut self, definition: &'static Definition, value: u64) {
        if self.grid.admits(definition) {
            self.samples.push_unsigned(definition, None, value);
        }
    }

    /// Takes a float, in the definition's unit; one that is not finite is left out.
    pub fn float(&mut self, definition: &'static Definition, value: f64) {
        if self.grid.admits(definition) {
            self.samples.push_float(definition, None, value);
        }
    }

    /// Takes those integers that there are.
    pub fn unsigned_all(
        &mut self,
        values: impl IntoIterator<Item = (&'static Definition, Option<u64>)>,
    ) {
        for (definition, value) in values {
            if let Some(value) = value {
                self.unsigned(definition, value);
            }
        }
    }

    /// Takes a fact of the inventory.
    pub fn text(&mut self, definition: &'static Definition, value: &str) {
        if self.grid.admits(definition) {
            self.samples.push_text(definition, None, value);
        }
    }

    /// Takes an integer of one instance. An instance must come once for each metric: a
    /// grid with a name that occurs twice is refused whole.
    pub fn unsigned_of(&mut self, definition: &'static Definition, instance: &str, value: u64) {
        if self.grid.admits(definition) {
            self.samples
                .push_unsigned(definition, Some(instance), value);
        }
    }

    /// Takes those integers of one instance that there are.
    pub fn unsigned_all_of(
        &mut self,
        instance: &str,
        values: impl IntoIterator<Item = (&'static Definition, Option<u64>)>,
    ) {
        for (definition, value) in values {
            if let Some(value) = value {
                self.unsigned_of(definition, instance, value);
            }
        }
    }

    /// Takes a float of one instance, as [`unsigned_of`](Self::unsigned_of) an integer.
    pub fn float_of(&mut self, definition: &'static Definition, instance: &str, value: f64) {
        if self.grid.admits(definition) {
            self.samples.push_float(definition, Some(instance), value);
        }
    }

    /// Takes a fact about one instance, as [`unsigned_of`](Self::unsigned_of) an integer.
    pub fn text_of(&mut self, definition: &'static Definition, instance: &str, value: &str) {
        if self.grid.admits(definition) {
            self.samples.push_text(definition, Some(instance), value);
        }
    }

    /// Takes why a value, or all values of an instance, cannot be had.
    pub fn left_out(&mut self, error: impl Into<CollectError>) {
        self.left_out.add(error.into());
    }

    /// What `parse` finds in the text of a file; takes what is odd in it.
    pub(super) fn parse<T>(
        &mut self,
        path: &Path,
        text: &[u8],
        parse: impl FnOnce(&[u8], &mut Odd) -> Result<T, Malformed>,
    ) -> Result<T, CollectError> {
        let mut odd = Odd::default();
        let parsed = parse(text, &mut odd);
        let parsed = parsed.map_err(|problem| CollectError::malformed(path, problem))?;
        self.odd(path, odd);
        Ok(parsed)
    }

    /// Takes why values of a file are left out.
    pub fn odd(&mut self, path: &Path, odd: Odd) {
        if !odd.is_empty() {
            self.left_out.add_all(path, odd);
        }
    }

    /// Takes over the reasons for left-out values from another reader.
    pub fn left_out_all(&mut self, others: &mut LeftOut) {
        self.left_out.append(others);
    }

    /// Why values were left out of this reading.
    #[must_use]
    pub fn into_left_out(self) -> LeftOut {
        self.left_out
    }

    /// Counts instances that the source left out, as there were too many of them.
    pub fn cut(&mut self, instances: usize) {
        self.samples.add_cut(instances as u64);
    }
}

/// Reads one group of metrics.
///
/// An odd value costs only itself or its instance: it is given to [`Sink::left_out`] or
/// [`Sink::odd`], and everything else is reported. An error of [`collect`](Self::collect) is for
/// the file that the source is about, if that cannot be opened or has none of the expected content;
/// what is in the sink by then stays. `scratch` is the set's read buffer, with no content worth
/// keeping.
///
/// What may block is never done in [`collect`](Self::collect). It is begun in
/// [`prepare`](Self::prepare), by a job for [`Context::prober`] or a task,
/// rings the wakeup when it is done, and `collect` reports the result.
pub trait Source: Send {
    /// Begins what has to run beside the loop before these values can be collected.
    fn prepare(&mut self, _grid: Grid, _now: Instant) {}

    /// Returns true if everything that was begun has ended. The wait for that is limited: values
    /// may be collected before, and are those that are there.
    fn ready(&self) -> bool {
        true
    }

    /// Unreported news about the things that it asks.
    fn news(&mut self) -> Vec<News> {
        Vec::new()
    }

    /// Why it has no values on this host, though nothing fails; None if it has some, or was
    /// not read yet.
    fn lack(&self) -> Option<&'static str> {
        None
    }

    /// Reads once and puts every value that it has into `sink`.
    fn collect(&mut self, scratch: &mut Vec<u8>, sink: &mut Sink<'_>) -> Result<(), CollectError>;
}

/// What the agent counts, for the source of the agent itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Samples for metrics messages, with the one that is being taken.
    pub samples: u64,
    /// Messages sent.
    pub messages_sent: u64,
    /// Messages received.
    pub messages_received: u64,
    /// Bytes of the messages sent.
    pub bytes_sent: u64,
    /// Messages that could not be sent.
    pub messages_dropped: u64,
    /// Connections opened again.
    pub reconnects: u64,
    /// Log lines that found no room.
    pub log_lost: u64,
}

/// Where to ask for the counts.
pub type CountsSource = Arc<dyn Fn() -> Counts + Send + Sync>;

/// What the agent keeps for collectors that acknowledge samples, as of the latest sample.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keeping {
    /// Bytes in memory.
    pub memory: u64,
    /// Bytes on disk.
    pub disk: u64,
    /// The collectors for which samples are kept, or may have to be.
    pub collectors: Vec<KeptFor>,
}

/// What is kept for one collector.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeptFor {
    /// Its name in the settings.
    pub collector: String,
    /// Samples that it has not acknowledged.
    pub behind: u64,
    /// How long ago the first of them was taken, in µs; 0 without any.
    pub behind_usec: u64,
    /// Samples that are lost for it.
    pub lost: u64,
}

/// Where the agent says what it keeps.
#[derive(Debug, Clone, Default)]
pub struct KeepingPlace(Arc<Lock<Keeping>>);

impl KeepingPlace {
    /// To say it, and to read it.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Keeping> {
        self.0.lock()
    }
}

/// What a source is made with.
#[derive(Clone)]
pub struct Context {
    /// Where /proc, /sys and the rest are found.
    pub root: Root,
    /// What the administrator chose.
    pub options: Arc<Options>,
    /// Does what may block.
    pub prober: Prober,
    /// To be rung when [`Source::ready`] may have become true.
    pub wakeup: Wakeup,
    /// For sources that ask services.
    pub bus: SystemBus,
    /// What the agent counts.
    pub counts: CountsSource,
    /// What the agent keeps.
    pub keeping: KeepingPlace,
}

impl Context {
    /// One for the files below a root, with defaults for all the rest.
    #[must_use]
    pub fn new(root: Root) -> Self {
        let wakeup = Wakeup::default();
        Self {
            root,
            options: Arc::default(),
            prober: Prober::new(wakeup.clone()),
            wakeup,
            bus: SystemBus::default(),
            counts: Arc::new(Counts::default),
            keeping: KeepingPlace::default(),
        }
    }
}
