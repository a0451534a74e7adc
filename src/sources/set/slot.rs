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
    /// How often it was read, and how that went.
    pub(super) counts: Counts,
    /// How long it took to read.
    durations: Durations,
    last_error: Option<String>,
    cut: CutValues,
    fault: Fault,
    /// The values that are left out, each reported once.
    odd_values: OddValues,
}

/// What came of the readings of a source.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    /// Readings that gave values.
    samples: u64,
    /// What could not be read: values, and readings as a whole.
    pub(super) errors: u64,
    /// Of these the readings that failed as a whole.
    pub(super) failed: u64,
    /// How many values there was no room for.
    pub(super) cut: u64,
    /// The time that all of it took.
    pub(super) duration: Duration,
}

#[derive(Clone, Copy, Debug, Default)]
struct Durations {
    last: Duration,
    max: Duration,
}

/// Values of the last metrics sample that there was no room for.
#[derive(Debug, Default)]
struct CutValues {
    now: u64,
    /// True if that was reported.
    told: bool,
}

impl CutValues {
    /// Told once for as long as it goes on, however the number changes.
    fn news(&mut self, name: &'static str) -> Option<Transition> {
        let told = std::mem::replace(&mut self.told, self.now > 0);
        let values = self.now;
        (self.told && !told).then_some(Transition::Cut { name, values })
    }
}

/// Whether the last reading failed as a whole.
#[derive(Debug, Default)]
struct Fault {
    /// Why it failed, if it did.
    error: Option<CollectError>,
    /// True if `error` changed since it was last reported.
    changed: bool,
    /// True if the last report was a failure.
    told: bool,
}

impl Fault {
    fn ends(&mut self) {
        self.changed |= self.error.take().is_some();
    }

    fn begins(&mut self, error: CollectError) {
        let known = self.error.as_ref();
        self.changed |= known.is_none_or(|known| !known.same_cause(&error));
        self.error = Some(error);
    }

    fn news(&mut self, name: &'static str) -> Option<Transition> {
        if !std::mem::take(&mut self.changed) {
            return None;
        }
        let told = std::mem::replace(&mut self.told, self.error.is_some());
        match &self.error {
            Some(error) => Some(Transition::Failed {
                name,
                error: error.to_string(),
            }),
            None => told.then_some(Transition::Recovered { name }),
        }
    }
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
            counts: Counts::default(),
            durations: Durations::default(),
            last_error: None,
            cut: CutValues::default(),
            fault: Fault::default(),
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
        self.cut.told = false;
        // A failure of a disabled source is not reported any more.
        self.fault = Fault::default();
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
        let lasted = started.elapsed();
        self.durations.last = lasted;
        self.durations.max = self.durations.max.max(lasted);
        self.counts.duration += lasted;
        let cut = out.cut() - cut;
        self.counts.cut += cut;
        if purpose == Purpose::Metrics {
            self.cut.now = cut;
        }
        self.counts.errors += left_out.count();
        if left_out.count() > left_out.named().len() as u64 {
            self.odd_values.add_unnamed();
        }
        for error in left_out.take_named() {
            self.last_error = Some(error.to_string());
            self.odd_values.add(error, started);
        }
        match result {
            Ok(()) => {
                self.counts.samples += 1;
                self.fault.ends();
            }
            Err(error) => {
                self.counts.errors += 1;
                self.counts.failed += 1;
                self.last_error = Some(error.to_string());
                self.fault.begins(error);
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
        let own = [self.fault.news(name), self.cut.news(name)]
            .into_iter()
            .flatten();
        own.chain(self.odd_values.news(name)).chain(asked)
    }

    /// Why this reading failed, if the last one did.
    pub(super) fn fault(&self) -> Option<String> {
        self.fault.error.as_ref().map(ToString::to_string)
    }

    /// How it fares, where so much time is between two metrics messages.
    pub(super) fn status(&self, metrics: Duration) -> SourceStatus {
        SourceStatus {
            name: self.definition.name,
            description: self.definition.description,
            enabled: self.source.is_some(),
            interval: metrics.saturating_mul(self.every),
            cut: self.counts.cut,
            samples: self.counts.samples,
            errors: self.counts.errors,
            last_error: self.last_error.clone(),
            fault: self.fault(),
            lack: self.source.as_ref().and_then(|source| source.lack()),
            last_duration: self.durations.last,
            max_duration: self.durations.max,
        }
    }
}
