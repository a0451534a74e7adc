//! The sources of a running agent.
//!
//! Owns which of them are enabled and when each is due, runs them, and counts how each fares. A
//! source that fails costs only its own values, and is tried again with the next sample. Does not
//! log: it reports once that a source failed, once that it recovered, and once why a value is left
//! out.

use std::time::{Duration, Instant};

use super::{Context, Grid, Purpose, Sink, UnknownSource, options::Options};
use crate::metrics::{
    Samples,
    table::{AGENT, AGENT_SOURCE_CUT, AGENT_SOURCE_ERRORS, AGENT_SOURCE_FAILED, AGENT_SOURCE_TIME},
};
use crate::sources::SOURCES;

mod slot;

use slot::Slot;

/// What became of a source, as far as its reader does not know it yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transition {
    /// It fails, for another reason than before or for the first time since it worked.
    Failed {
        /// Its name.
        name: &'static str,
        /// Why, for a person: the file, the line and what was expected.
        error: String,
    },
    /// One of its values is left out, as it cannot be read or makes no sense; the others are
    /// reported.
    LeftOut {
        /// Its name.
        name: &'static str,
        /// Why, for a person: the file, the line and what was found.
        error: String,
    },
    /// Counters of one of its instances began again at lower values, and are sent so.
    BeganAgain {
        /// Its name.
        name: &'static str,
        /// Which, for a person: the file, the line and what was found.
        error: String,
    },
    /// So many of its values are left out that further ones are not reported one by one.
    LeftOutMore {
        /// Its name.
        name: &'static str,
    },
    /// It works again.
    Recovered {
        /// Its name.
        name: &'static str,
    },
    /// It has more values than there is room for.
    Cut {
        /// Its name.
        name: &'static str,
        /// How many were left out of one sample.
        values: u64,
    },
    /// One of the things that it asks does not answer; only their values are left out.
    Stuck {
        /// Its name.
        name: &'static str,
        /// Who does not answer: a mount, a sensor.
        instance: String,
    },
    /// One that did not answer no longer hangs.
    Unstuck {
        /// Its name.
        name: &'static str,
        /// Who did not answer.
        instance: String,
        /// True if it no longer exists; else it answers again.
        gone: bool,
    },
}

/// How a source fares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceStatus {
    /// Its name in settings and on the bus.
    pub name: &'static str,
    /// One phrase for a person.
    pub description: &'static str,
    /// True if it is part of samples.
    pub enabled: bool,
    /// The time between two readings for metrics messages.
    pub interval: Duration,
    /// How many values were left out, as there were too many.
    pub cut: u64,
    /// How many readings it has made.
    pub samples: u64,
    /// How many readings failed, which are not among `samples`, and how many values were left
    /// out of others, as they could not be read or made no sense.
    pub errors: u64,
    /// The last of them since the agent started, also where all went well since.
    pub last_error: Option<String>,
    /// Why the last reading failed; None if it did not.
    pub fault: Option<String>,
    /// Why it has no values on this host, though nothing fails.
    pub lack: Option<&'static str>,
    /// How long the last reading took, a failed one too.
    pub last_duration: Duration,
    /// How long the longest reading took.
    pub max_duration: Duration,
}

/// A single source has no values to give.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SampleOneError {
    /// There is no source of this name.
    #[error(transparent)]
    Unknown(#[from] UnknownSource),
    /// It is not enabled.
    #[error("the source \"{name}\" is disabled; enable it to sample it")]
    Disabled {
        /// Its name.
        name: &'static str,
    },
    /// It failed.
    #[error("the source \"{name}\" failed: {error}")]
    Failed {
        /// Its name.
        name: &'static str,
        /// Why, for a person.
        error: String,
    },
}

/// Every source known, enabled or not.
pub struct SourceSet {
    context: Context,
    metrics_interval: Duration,
    slots: Vec<Slot>,
    scratch: Vec<u8>,
}

impl SourceSet {
    /// Enables the named sources, to be read at every `metrics_interval` or less often.
    ///
    /// A file that is not there yet is no error: its source tries at each sample.
    pub fn open(
        context: Context,
        metrics_interval: Duration,
        names: &[impl AsRef<str>],
    ) -> Result<Self, UnknownSource> {
        let mut set = Self {
            context,
            metrics_interval,
            slots: SOURCES.iter().map(Slot::new).collect(),
            scratch: Vec::new(),
        };
        set.enable_only(names)?;
        set.set_interval(metrics_interval);
        Ok(set)
    }

    /// What comes with the settings. A source whose options changed starts over.
    pub fn set_options(&mut self, options: Options) {
        let old = std::mem::replace(&mut self.context.options, options.into());
        for slot in &mut self.slots {
            let name = slot.definition.name;
            if slot.source.is_some() && !self.context.options.same_for(&old, name) {
                slot.source = Some((slot.definition.open)(&self.context));
            }
        }
        self.set_interval(self.metrics_interval);
    }

    /// The time between two metrics messages; each source's own interval is rounded up
    /// to a multiple of it.
    pub fn set_interval(&mut self, metrics: Duration) {
        self.metrics_interval = metrics;
        for slot in &mut self.slots {
            let wanted = self.context.options.intervals.get(slot.definition.name);
            slot.every = wanted.map_or(1, |wanted| multiple(*wanted, metrics));
            slot.wait = slot.wait.min(slot.every - 1);
        }
    }

    /// The next metrics sample has all there is: there is a new receiver.
    pub fn start_over(&mut self) {
        for slot in &mut self.slots {
            slot.wait = 0;
        }
    }

    /// Begins, for the sources that the next such sample will run, what has to run
    /// beside the loop.
    pub fn prepare(&mut self, purpose: Purpose, grid: Grid, now: Instant) {
        for slot in &mut self.slots {
            if slot.is_due(purpose)
                && let Some(source) = &mut slot.source
            {
                source.prepare(grid, now);
            }
        }
    }

    /// The same for one source, on request.
    pub fn prepare_one(&mut self, name: &str, now: Instant) {
        if let Ok(slot) = slot_mut(&mut self.slots, name)
            && let Some(source) = &mut slot.source
        {
            source.prepare(Grid::All, now);
        }
    }

    /// Returns true if everything that was begun for a sample of this grid has ended.
    #[must_use]
    pub fn ready(&self, grid: Grid) -> bool {
        self.slots.iter().all(|slot| slot.is_ready(grid))
    }

    /// The same for one source.
    #[must_use]
    pub fn one_ready(&self, name: &str) -> bool {
        self.slot(name).is_ok_and(|slot| slot.is_ready(Grid::All))
    }

    /// Enables the named sources and disables the others; all or, where a name is not
    /// known, nothing. Those that stay enabled keep their files and previous readings.
    pub fn enable_only(&mut self, names: &[impl AsRef<str>]) -> Result<(), UnknownSource> {
        for name in names {
            self.slot(name.as_ref())?;
        }
        for slot in &mut self.slots {
            let wanted = names
                .iter()
                .any(|name| name.as_ref() == slot.definition.name);
            slot.set_enabled(wanted, &self.context);
        }
        Ok(())
    }

    /// Enables or disables a source; whether that changed anything.
    ///
    /// A disabled source holds no file open; an enabled one starts over, so that no
    /// difference reaches back beyond the moment of enabling.
    pub fn set_enabled(&mut self, name: &str, enabled: bool) -> Result<bool, UnknownSource> {
        Ok(slot_mut(&mut self.slots, name)?.set_enabled(enabled, &self.context))
    }

    /// Replaces the content of `out` by a fresh reading of every enabled source that is
    /// due.
    ///
    /// Returns what is news about them; nothing is allocated where there is none.
    #[must_use = "a failure is told once"]
    pub fn sample(&mut self, purpose: Purpose, grid: Grid, out: &mut Samples) -> Vec<Transition> {
        out.clear();
        let tells = self.slot(AGENT).is_ok_and(|slot| slot.is_due(purpose));
        for slot in &mut self.slots {
            let due = slot.is_due(purpose);
            if purpose == Purpose::Metrics {
                slot.wait = slot.wait.checked_sub(1).unwrap_or(slot.every - 1);
            }
            if due {
                slot.run(purpose, grid, &mut self.scratch, out);
            }
        }
        if tells {
            self.tell_of_sources(grid, out);
        }
        self.transitions()
    }

    /// Replaces the content of `out` by everything that one source has, on request. News about the
    /// source is reported by the next [`transitions`](Self::transitions) or
    /// [`sample`](Self::sample).
    pub fn sample_one(&mut self, name: &str, out: &mut Samples) -> Result<(), SampleOneError> {
        out.clear();
        let slot = slot_mut(&mut self.slots, name)?;
        let name = slot.definition.name;
        if slot.source.is_none() {
            return Err(SampleOneError::Disabled { name });
        }
        slot.run(Purpose::Query, Grid::All, &mut self.scratch, out);
        if let Some(error) = slot.fault() {
            return Err(SampleOneError::Failed { name, error });
        }
        if name == AGENT {
            self.tell_of_sources(Grid::All, out);
        }
        Ok(())
    }

    /// The state of the sources is part of the agent's own metrics.
    fn tell_of_sources(&self, grid: Grid, out: &mut Samples) {
        let Ok(Slot {
            source: Some(_), ..
        }) = self.slot(AGENT)
        else {
            return;
        };
        let mut sink = Sink::new(Purpose::Metrics, grid, out);
        for slot in self.slots.iter().filter(|slot| slot.source.is_some()) {
            let name = slot.definition.name;
            let time = u64::try_from(slot.counts.duration.as_micros()).unwrap_or(u64::MAX);
            sink.unsigned_of(&AGENT_SOURCE_TIME, name, time);
            sink.unsigned_of(&AGENT_SOURCE_ERRORS, name, slot.counts.errors);
            sink.unsigned_of(&AGENT_SOURCE_FAILED, name, slot.counts.failed);
            sink.unsigned_of(&AGENT_SOURCE_CUT, name, slot.counts.cut);
        }
    }

    /// What is news about the sources since this was last asked.
    #[must_use = "a failure is told once"]
    pub fn transitions(&mut self) -> Vec<Transition> {
        self.slots.iter_mut().flat_map(Slot::news).collect()
    }

    /// How every source fares, in the order in which they run.
    #[must_use]
    pub fn statuses(&self) -> impl ExactSizeIterator<Item = SourceStatus> {
        let metrics = self.metrics_interval;
        self.slots.iter().map(move |slot| slot.status(metrics))
    }

    /// How one source fares.
    pub fn status(&self, name: &str) -> Result<SourceStatus, UnknownSource> {
        self.slot(name)
            .map(|slot| slot.status(self.metrics_interval))
    }

    fn slot(&self, name: &str) -> Result<&Slot, UnknownSource> {
        self.slots
            .iter()
            .find(|slot| slot.definition.name == name)
            .ok_or_else(|| UnknownSource {
                name: name.to_owned(),
            })
    }
}

/// Apart from the rest of the set, so that its other fields stay free to be borrowed.
fn slot_mut<'s>(slots: &'s mut [Slot], name: &str) -> Result<&'s mut Slot, UnknownSource> {
    slots
        .iter_mut()
        .find(|slot| slot.definition.name == name)
        .ok_or_else(|| UnknownSource {
            name: name.to_owned(),
        })
}

/// How many metrics intervals a source's own takes.
fn multiple(wanted: Duration, metrics: Duration) -> u32 {
    let times = wanted.as_nanos().div_ceil(metrics.as_nanos().max(1));
    u32::try_from(times).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests;
