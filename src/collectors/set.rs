//! The metric collectors of a running agent.
//!
//! Owns which of them are enabled, runs them, and counts how each fares. One that fails
//! costs its own values and nobody else's, and is tried again with the next sample.
//! Refuses to log: it says once that a collector failed, and once that it recovered.

use std::time::{Duration, Instant};

use super::{
    Collector, Grid, Purpose, Sink,
    definition::{COLLECTORS, CollectorDefinition},
    error::{CollectError, UnknownCollector},
    sample::Samples,
    source::Root,
};

/// What became of a collector, as far as its reader does not know it yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transition {
    /// It fails, for another reason than before or for the first time since it worked.
    Failed {
        /// Its name.
        name: &'static str,
        /// Why, for a person: the file, the line and what was expected.
        error: String,
    },
    /// It works again.
    Recovered {
        /// Its name.
        name: &'static str,
    },
}

/// How a collector fares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CollectorStatus {
    /// Its name in settings and on the bus.
    pub name: &'static str,
    /// One phrase for a person.
    pub description: &'static str,
    /// Whether it is part of samples.
    pub enabled: bool,
    /// How many readings it has made.
    pub samples: u64,
    /// How many readings failed; they are not among `samples`.
    pub errors: u64,
    /// The last failure since the agent started, also where readings have succeeded since.
    pub last_error: Option<String>,
    /// How long the last reading took, a failed one too.
    pub last_duration: Duration,
    /// How long the longest reading took.
    pub max_duration: Duration,
}

/// A single collector has no values to give.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SampleOneError {
    /// There is none of this name.
    #[error(transparent)]
    Unknown(#[from] UnknownCollector),
    /// It is not enabled.
    #[error("the metric collector \"{name}\" is disabled; enable it to sample it")]
    Disabled {
        /// Its name.
        name: &'static str,
    },
    /// It failed.
    #[error("the metric collector \"{name}\" failed: {error}")]
    Failed {
        /// Its name.
        name: &'static str,
        /// Why, for a person.
        error: String,
    },
}

/// Every metric collector known, enabled or not.
pub struct CollectorSet {
    root: Root,
    slots: Vec<Slot>,
    scratch: Vec<u8>,
}

impl CollectorSet {
    /// Enables the named collectors, to read below `root`.
    ///
    /// A file that is not there yet is no error: its collector tries at each sample.
    pub fn open(root: Root, names: &[impl AsRef<str>]) -> Result<Self, UnknownCollector> {
        let mut set = Self {
            root,
            slots: COLLECTORS.iter().map(Slot::new).collect(),
            scratch: Vec::new(),
        };
        set.enable_only(names)?;
        Ok(set)
    }

    /// Enables the named collectors and disables the others; all or, where a name is not
    /// known, nothing. Those that stay enabled keep their files and previous readings.
    pub fn enable_only(&mut self, names: &[impl AsRef<str>]) -> Result<(), UnknownCollector> {
        for name in names {
            self.slot(name.as_ref())?;
        }
        for slot in &mut self.slots {
            let wanted = names
                .iter()
                .any(|name| name.as_ref() == slot.definition.name);
            slot.set_enabled(wanted, &self.root);
        }
        Ok(())
    }

    /// Enables or disables a collector; whether that changed anything.
    ///
    /// A disabled collector holds no file open; an enabled one begins anew, so that no
    /// difference reaches back beyond the moment of enabling.
    pub fn set_enabled(&mut self, name: &str, enabled: bool) -> Result<bool, UnknownCollector> {
        Ok(slot_mut(&mut self.slots, name)?.set_enabled(enabled, &self.root))
    }

    /// Replaces the content of `out` by a fresh reading of every enabled collector.
    ///
    /// Returns what is news about them; nothing is allocated where there is none.
    #[must_use = "a failure is told once"]
    pub fn sample(&mut self, purpose: Purpose, grid: Grid, out: &mut Samples) -> Vec<Transition> {
        out.clear();
        for slot in &mut self.slots {
            slot.run(purpose, grid, &mut self.scratch, out);
        }
        self.transitions()
    }

    /// Replaces the content of `out` by everything that one collector has, for somebody who
    /// asks. What is news about it is told by the next [`transitions`](Self::transitions) or
    /// [`sample`](Self::sample).
    pub fn sample_one(&mut self, name: &str, out: &mut Samples) -> Result<(), SampleOneError> {
        out.clear();
        let slot = slot_mut(&mut self.slots, name)?;
        let name = slot.definition.name;
        if slot.collector.is_none() {
            return Err(SampleOneError::Disabled { name });
        }
        slot.run(Purpose::Query, Grid::All, &mut self.scratch, out);
        match &slot.fault {
            None => Ok(()),
            Some(fault) => Err(SampleOneError::Failed {
                name,
                error: fault.to_string(),
            }),
        }
    }

    /// What is news about the collectors since this was last asked.
    #[must_use = "a failure is told once"]
    pub fn transitions(&mut self) -> Vec<Transition> {
        self.slots.iter_mut().filter_map(Slot::news).collect()
    }

    /// How every collector fares, in the order in which they run.
    pub fn statuses(&self) -> impl ExactSizeIterator<Item = CollectorStatus> {
        self.slots.iter().map(Slot::status)
    }

    /// How one collector fares.
    pub fn status(&self, name: &str) -> Result<CollectorStatus, UnknownCollector> {
        self.slot(name).map(Slot::status)
    }

    fn slot(&self, name: &str) -> Result<&Slot, UnknownCollector> {
        self.slots
            .iter()
            .find(|slot| slot.definition.name == name)
            .ok_or_else(|| UnknownCollector {
                name: name.to_owned(),
            })
    }
}

/// Apart from the rest of the set, so that its other fields stay free to be borrowed.
fn slot_mut<'s>(slots: &'s mut [Slot], name: &str) -> Result<&'s mut Slot, UnknownCollector> {
    slots
        .iter_mut()
        .find(|slot| slot.definition.name == name)
        .ok_or_else(|| UnknownCollector {
            name: name.to_owned(),
        })
}

/// A collector and how it fares.
struct Slot {
    definition: &'static CollectorDefinition,
    /// There while it is enabled.
    collector: Option<Box<dyn Collector>>,
    samples: u64,
    errors: u64,
    last_error: Option<String>,
    last_duration: Duration,
    max_duration: Duration,
    /// Why the last reading failed, if it did.
    fault: Option<CollectError>,
    /// Whether `fault` changed since it was last told.
    changed: bool,
    /// Whether a failure is what was last told.
    told_failed: bool,
}

impl Slot {
    fn new(definition: &'static CollectorDefinition) -> Self {
        Self {
            definition,
            collector: None,
            samples: 0,
            errors: 0,
            last_error: None,
            last_duration: Duration::ZERO,
            max_duration: Duration::ZERO,
            fault: None,
            changed: false,
            told_failed: false,
        }
    }

    fn set_enabled(&mut self, enabled: bool, root: &Root) -> bool {
        if enabled == self.collector.is_some() {
            return false;
        }
        self.collector = enabled.then(|| (self.definition.open)(root));
        // Whoever disables a collector that fails wants to hear no more of it.
        self.fault = None;
        self.changed = false;
        self.told_failed = false;
        true
    }

    fn run(&mut self, purpose: Purpose, grid: Grid, scratch: &mut Vec<u8>, out: &mut Samples) {
        let Some(collector) = &mut self.collector else {
            return;
        };
        let started = Instant::now();
        let result = collector.collect(purpose, scratch, &mut Sink::new(grid, out));
        self.last_duration = started.elapsed();
        self.max_duration = self.max_duration.max(self.last_duration);
        match result {
            Ok(()) => {
                self.samples += 1;
                self.changed |= self.fault.take().is_some();
            }
            Err(error) => {
                self.errors += 1;
                self.last_error = Some(error.to_string());
                let known = self.fault.as_ref();
                self.changed |= known.is_none_or(|known| !known.same_cause(&error));
                self.fault = Some(error);
            }
        }
    }

    fn news(&mut self) -> Option<Transition> {
        let name = self.definition.name;
        if !std::mem::take(&mut self.changed) {
            return None;
        }
        let told_failed = std::mem::replace(&mut self.told_failed, self.fault.is_some());
        match &self.fault {
            Some(fault) => Some(Transition::Failed {
                name,
                error: fault.to_string(),
            }),
            None => told_failed.then_some(Transition::Recovered { name }),
        }
    }

    fn status(&self) -> CollectorStatus {
        CollectorStatus {
            name: self.definition.name,
            description: self.definition.description,
            enabled: self.collector.is_some(),
            samples: self.samples,
            errors: self.errors,
            last_error: self.last_error.clone(),
            last_duration: self.last_duration,
            max_duration: self.max_duration,
        }
    }
}

#[cfg(test)]
mod tests;
