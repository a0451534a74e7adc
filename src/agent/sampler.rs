//! One sample for all: runs the sources, and makes the grid that every connection of the first wire
//! sends.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::connection::Grid;
use super::counters::Counters;
use super::events;
use super::handle::{GridKind, OrderError};
use super::pending::SampleRequest;
use crate::agent::settings::Settings;
use crate::metrics::Samples;
use crate::protocol::message::encode_grid;
use crate::sources::background::Wakeup;
use crate::sources::{
    Context, Counts, Grid as Wanted, Keeping, KeepingPlace, Options, Purpose, Root, SampleOneError,
    SourceSet, SourceStatus, Transition, UnknownSource,
};
use crate::systemd::log::LogControl;

/// The sources with the buffers that every sample uses again.
pub(crate) struct Sampler {
    set: SourceSet,
    wakeup: Wakeup,
    samples: Samples,
    /// How many were taken for metrics messages.
    taken: Arc<AtomicU64>,
    keeping: KeepingPlace,
    grid: Arc<Grid>,
}

impl Sampler {
    /// One for the sources of the settings. `totals` and `log` are the agent's.
    pub(crate) fn open(
        root: Root,
        settings: &Settings,
        totals: Arc<Counters>,
        log: LogControl,
    ) -> Result<Self, UnknownSource> {
        let mut context = Context::new(root);
        context.options = Arc::new(settings.options.clone());
        let taken = Arc::new(AtomicU64::new(0));
        let samples = Arc::clone(&taken);
        context.counts = Arc::new(move || Counts {
            samples: samples.load(Relaxed),
            messages_sent: totals.messages_sent(),
            messages_received: totals.messages_received(),
            bytes_sent: totals.bytes_sent(),
            messages_dropped: totals.messages_dropped(),
            reconnects: totals.reconnects(),
            log_lost: log.lost(),
        });
        Ok(Self {
            wakeup: context.wakeup.clone(),
            keeping: context.keeping.clone(),
            set: SourceSet::open(context, settings.intervals.metrics, &settings.sources)?,
            samples: Samples::new(),
            taken,
            grid: Arc::default(),
        })
    }

    /// Starts the work that the requested sample needs and that may block. Returns true if all of
    /// it is there already.
    pub(crate) fn prepare(&mut self, want: &SampleRequest, now: Instant) -> bool {
        match want {
            SampleRequest::Metrics => self.set.prepare(Purpose::Metrics, Wanted::Metrics, now),
            SampleRequest::Model { .. } => self.set.prepare(Purpose::Model, Wanted::Model, now),
            SampleRequest::Facts => self.set.prepare(Purpose::Query, Wanted::Model, now),
            SampleRequest::Query(kind, _) => self.set.prepare(Purpose::Query, wanted(*kind), now),
            SampleRequest::QueryOne(name, _) => self.set.prepare_one(name, now),
        }
        self.ready(want)
    }

    /// Returns true if the work that was started for this request is done.
    pub(crate) fn ready(&self, want: &SampleRequest) -> bool {
        match want {
            SampleRequest::Metrics => self.set.ready(Wanted::Metrics),
            SampleRequest::Model { .. } | SampleRequest::Facts => self.set.ready(Wanted::Model),
            SampleRequest::Query(kind, _) => self.set.ready(wanted(*kind)),
            SampleRequest::QueryOne(name, _) => self.set.one_ready(name),
        }
    }

    /// Until [`ready`](Self::ready) may have changed. Cancel safe.
    pub(crate) async fn changed(&self) {
        self.wakeup.rung().await;
    }

    /// Says what is kept, for samples to come.
    pub(crate) fn note_keeping(&self, note: impl FnOnce(&mut Keeping)) {
        note(&mut self.keeping.lock());
    }

    /// Takes a sample, which is kept until the next one.
    pub(crate) fn take(&mut self, kind: GridKind) -> &Samples {
        let purpose = match kind {
            GridKind::Metrics => {
                self.taken.fetch_add(1, Relaxed);
                Purpose::Metrics
            }
            GridKind::Model => Purpose::Model,
        };
        let transitions = self.set.sample(purpose, wanted(kind), &mut self.samples);
        announce(transitions);
        &self.samples
    }

    /// Encodes the sample that was taken last. Reuses the last grid's memory once every connection
    /// has let go of it.
    pub(crate) fn encode(&mut self, host: &Arc<str>) -> Arc<Grid> {
        if Arc::get_mut(&mut self.grid).is_none() {
            self.grid = Arc::default();
        }
        if let Some(grid) = Arc::get_mut(&mut self.grid) {
            grid.host = Arc::clone(host);
            if let Err(error) = encode_grid(&self.samples, &mut grid.json) {
                // Names and values are ours, so this is a bug; an empty grid keeps the
                // session alive and the log says what is wrong.
                events::grid_not_encoded(&error);
                grid.json.clear();
                grid.json.extend_from_slice(b"{}");
            }
        }
        Arc::clone(&self.grid)
    }

    /// Lets go of the buffers; the next sample makes them again.
    pub(crate) fn let_go(&mut self) {
        self.samples = Samples::new();
        self.grid = Arc::default();
    }

    /// A fresh sample on request. Does not affect the metrics messages.
    pub(crate) fn query(&mut self, kind: GridKind) -> Result<Samples, OrderError> {
        let mut samples = Samples::new();
        announce(self.set.sample(Purpose::Query, wanted(kind), &mut samples));
        if samples.is_empty() {
            return Err(OrderError::NotSampled(
                "no enabled source gave a value; the log says why".to_owned(),
            ));
        }
        Ok(samples)
    }

    /// A fresh sample of one source. One that is disabled has none.
    pub(crate) fn query_one(&mut self, name: &str) -> Result<Samples, OrderError> {
        let mut samples = Samples::new();
        let result = self.set.sample_one(name, &mut samples);
        announce(self.set.transitions());
        match result {
            Ok(()) => Ok(samples),
            Err(SampleOneError::Unknown(_)) => Err(OrderError::NoSuchSource(name.to_owned())),
            Err(error) => Err(OrderError::NotSampled(error.to_string())),
        }
    }

    /// What comes with the settings.
    pub(crate) fn set_options(&mut self, options: &Options) {
        self.set.set_options(options.clone());
    }

    /// The time between two metrics messages.
    pub(crate) fn set_interval(&mut self, metrics: Duration) {
        self.set.set_interval(metrics);
    }

    /// The next metrics message has all there is.
    pub(crate) fn start_over(&mut self) {
        self.set.start_over();
    }

    /// Enables exactly these. The names come from validated settings.
    pub(crate) fn enable_only(&mut self, names: &[String]) -> Result<(), UnknownSource> {
        self.set.enable_only(names)
    }

    pub(crate) fn set_enabled(&mut self, name: &str, enabled: bool) -> Result<(), OrderError> {
        self.set
            .set_enabled(name, enabled)
            .map(drop)
            .map_err(|_| OrderError::NoSuchSource(name.to_owned()))
    }

    pub(crate) fn status(&self, name: &str) -> Result<SourceStatus, OrderError> {
        self.set
            .status(name)
            .map_err(|_| OrderError::NoSuchSource(name.to_owned()))
    }

    /// Every source with whether it is enabled.
    pub(crate) fn enabled(&self) -> Vec<(&'static str, bool)> {
        self.set
            .statuses()
            .map(|status| (status.name, status.enabled))
            .collect()
    }
}

fn wanted(kind: GridKind) -> Wanted {
    match kind {
        GridKind::Metrics => Wanted::Metrics,
        GridKind::Model => Wanted::Model,
    }
}

/// A failure is logged once, and again when it changes or ends.
fn announce(transitions: Vec<Transition>) {
    for transition in transitions {
        match transition {
            Transition::Failed { name, error } => events::source_failed(name, &error),
            Transition::LeftOut { name, error } => events::value_left_out(name, &error),
            Transition::BeganAgain { name, error } => events::counters_began_again(name, &error),
            Transition::LeftOutMore { name } => events::more_values_left_out(name),
            Transition::Recovered { name } => events::source_recovered(name),
            Transition::Cut { name, values } => events::source_cut(name, values),
            Transition::Stuck { name, instance } => events::instance_stuck(name, &instance),
            Transition::Unstuck {
                name,
                instance,
                gone,
            } => events::instance_unstuck(name, &instance, gone),
        }
    }
}
