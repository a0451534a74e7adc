//! One source of a set: whether it is enabled, when it is due, how it fares.

use std::time::{Duration, Instant};

use super::{SourceStatus, Transition};
use crate::metrics::{Samples, table::METRICS};
use crate::sources::{
    Context, Grid, News, Purpose, Sink, Source, SourceDefinition, error::CollectError,
};

/// A source and how it fares.
pub(super) struct Slot {
    pub(super) definition: &'static SourceDefinition,
    /// There while it is enabled.
    pub(super) source: Option<Box<dyn Source>>,
    /// It is part of every nth metrics sample.
    pub(super) every: u32,
    /// So many metrics samples come before the next with it.
    pub(super) wait: u32,
    samples: u64,
    pub(super) errors: u64,
    /// Of these the readings that failed as a whole.
    pub(super) failed: u64,
    last_error: Option<String>,
    last_duration: Duration,
    max_duration: Duration,
    pub(super) total_duration: Duration,
    /// How many values there was no room for.
    pub(super) cut: u64,
    /// How many of those were in the last metrics sample.
    cut_now: u64,
    /// True if that was reported.
    told_cut: bool,
    /// Why the last reading failed, if it did.
    fault: Option<CollectError>,
    /// True if `fault` changed since it was last reported.
    changed: bool,
    /// True if the last report was a failure.
    told_failed: bool,
    /// The values that are left out, each reported once.
    odd_values: OddValues,
}

/// Most left-out values of a source that are reported one by one. A file of another form has
/// hundreds, and ten lines of the log are enough to see that.
const MAX_TOLD: usize = 16;

/// After how long without it a value that is left out again is reported again.
const FORGET: Duration = Duration::from_secs(60 * 60);

/// Which values are left out, as far as that was reported.
#[derive(Debug, Default)]
struct OddValues {
    /// With when it was left out the last time.
    told: Vec<(CollectError, Instant)>,
    /// What is to be reported.
    untold: Vec<(String, BeganAgain)>,
    /// None while no more than [`MAX_TOLD`] were left out; then true once that was reported.
    more: Option<bool>,
}

/// Whether counters are sent that began again, instead of being left out.
#[derive(Debug)]
struct BeganAgain(bool);

impl OddValues {
    fn add(&mut self, error: CollectError, now: Instant) {
        self.told
            .retain(|(_, seen)| now.saturating_duration_since(*seen) < FORGET);
        let known = self.told.iter_mut().find(|(one, _)| one.same_value(&error));
        if let Some((_, seen)) = known {
            *seen = now;
        } else if self.told.len() < MAX_TOLD {
            let began_again = BeganAgain(error.began_again());
            self.untold.push((error.to_string(), began_again));
            self.told.push((error, now));
        } else {
            self.add_unnamed();
        }
    }

    /// There are more than those that were named.
    fn add_unnamed(&mut self) {
        self.more.get_or_insert(false);
    }

    fn news(&mut self, name: &'static str) -> impl Iterator<Item = Transition> + use<> {
        let untold = std::mem::take(&mut self.untold).into_iter();
        let more = self
            .more
            .as_mut()
            .is_some_and(|told| !std::mem::replace(told, true));
        untold
            .map(move |(error, BeganAgain(began_again))| {
                if began_again {
                    Transition::BeganAgain { name, error }
                } else {
                    Transition::LeftOut { name, error }
                }
            })
            .chain(more.then_some(Transition::LeftOutMore { name }))
    }
}

impl Slot {
    pub(super) fn new(definition: &'static SourceDefinition) -> Self {
        Self {
            definition,
            source: None,
            every: 1,
            wait: 0,
            samples: 0,
            errors: 0,
            failed: 0,
            last_error: None,
            last_duration: Duration::ZERO,
            max_duration: Duration::ZERO,
            total_duration: Duration::ZERO,
            cut: 0,
            cut_now: 0,
            told_cut: false,
            fault: None,
            changed: false,
            told_failed: false,
            odd_values: OddValues::default(),
        }
    }

    /// Returns true if it is part of the next sample for this purpose.
    pub(super) fn is_due(&self, purpose: Purpose) -> bool {
        purpose != Purpose::Metrics || self.wait == 0
    }

    /// Returns true if everything that it began for a sample of this grid has ended. A source
    /// without a value there is not waited for.
    pub(super) fn is_ready(&self, grid: Grid) -> bool {
        let source = self.source.as_ref();
        source.is_none_or(|source| !self.tells(grid) || source.ready())
    }

    fn tells(&self, grid: Grid) -> bool {
        METRICS
            .iter()
            .any(|metric| metric.source == self.definition.name && grid.admits(metric))
    }

    /// Returns true if that changed anything.
    pub(super) fn set_enabled(&mut self, enabled: bool, context: &Context) -> bool {
        if enabled == self.source.is_some() {
            return false;
        }
        self.source = enabled.then(|| (self.definition.open)(context));
        self.wait = 0;
        self.told_cut = false;
        // A failure of a disabled source is not reported any more.
        self.fault = None;
        self.changed = false;
        self.told_failed = false;
        self.odd_values = OddValues::default();
        true
    }

    /// Reads it once, if it is enabled.
    pub(super) fn run(
        &mut self,
        purpose: Purpose,
        grid: Grid,
        scratch: &mut Vec<u8>,
        out: &mut Samples,
    ) {
        let Some(source) = &mut self.source else {
            return;
        };
        let cut = out.cut();
        let started = Instant::now();
        let mut sink = Sink::new(purpose, grid, out);
        let result = source.collect(scratch, &mut sink);
        let mut left_out = sink.into_left_out();
        self.last_duration = started.elapsed();
        self.max_duration = self.max_duration.max(self.last_duration);
        self.total_duration += self.last_duration;
        let cut = out.cut() - cut;
        self.cut += cut;
        if purpose == Purpose::Metrics {
            self.cut_now = cut;
        }
        self.errors += left_out.count();
        if left_out.count() > left_out.named().len() as u64 {
            self.odd_values.add_unnamed();
        }
        for error in left_out.take_named() {
            self.last_error = Some(error.to_string());
            self.odd_values.add(error, started);
        }
        match result {
            Ok(()) => {
                self.samples += 1;
                self.changed |= self.fault.take().is_some();
            }
            Err(error) => {
                self.errors += 1;
                self.failed += 1;
                self.last_error = Some(error.to_string());
                let known = self.fault.as_ref();
                self.changed |= known.is_none_or(|known| !known.same_cause(&error));
                self.fault = Some(error);
            }
        }
    }

    /// What is new since this was last asked.
    pub(super) fn news(&mut self) -> impl Iterator<Item = Transition> + use<> {
        let name = self.definition.name;
        let source = self.source.as_mut();
        let asked = source.map(|source| source.news());
        let asked = asked.into_iter().flatten().map(move |news| match news {
            News::Stuck(instance) => Transition::Stuck { name, instance },
            News::Answers(instance) => Transition::Unstuck {
                name,
                instance,
                gone: false,
            },
            News::Gone(instance) => Transition::Unstuck {
                name,
                instance,
                gone: true,
            },
        });
        let own = [self.fault_news(), self.cut_news()].into_iter().flatten();
        own.chain(self.odd_values.news(name)).chain(asked)
    }

    /// Why this reading failed, if the last one did.
    pub(super) fn fault(&self) -> Option<String> {
        self.fault.as_ref().map(ToString::to_string)
    }

    fn fault_news(&mut self) -> Option<Transition> {
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

    /// Told once for as long as it goes on, however the number changes.
    fn cut_news(&mut self) -> Option<Transition> {
        let told = std::mem::replace(&mut self.told_cut, self.cut_now > 0);
        (self.told_cut && !told).then_some(Transition::Cut {
            name: self.definition.name,
            values: self.cut_now,
        })
    }

    /// How it fares, where so much time is between two metrics messages.
    pub(super) fn status(&self, metrics: Duration) -> SourceStatus {
        SourceStatus {
            name: self.definition.name,
            description: self.definition.description,
            enabled: self.source.is_some(),
            interval: metrics.saturating_mul(self.every),
            cut: self.cut,
            samples: self.samples,
            errors: self.errors,
            last_error: self.last_error.clone(),
            fault: self.fault(),
            lack: self.source.as_ref().and_then(|source| source.lack()),
            last_duration: self.last_duration,
            max_duration: self.max_duration,
        }
    }
}
