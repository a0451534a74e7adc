//! The agent's task: one loop that owns everything which changes.
//!
//! It waits for whatever comes first (a signal, an order, a connection's report, the end
//! of a slow job, a deadline), deals with it at once, and goes back to waiting. Nothing
//! in it blocks, and the watchdog is fed from here and nowhere else.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{broadcast, mpsc, watch};
use tokio::time::timeout;

use super::alarm::Alarm;
use super::connection::{Report, Serial};
use super::connections::Connections;
use super::events;
use super::handle::{Handle, ORDERS, Order, STATE_CHANGES};
use super::history::Finished;
use super::history::types::Limits;
use super::in_force::InForce;
use super::losses::Losses;
use super::pending::{SampleRequest, Sampling};
use super::recording::{Recording, boot_id};
use super::reported_name::ReportedName;
use super::sampler::Sampler;
use super::slow::{Job, Outcome, SlowJobs};
use super::state::summarize;
use super::state::{AgentState, Happening, Intervals, State, StateChange};
use crate::agent::settings::{Inputs, Loaded, Settings, Spool};
use crate::config::ConnectionName;
use crate::protocol::session::{MODEL_MIN_INTERVAL, SessionSettings};
use crate::sources::{Root, UnknownSource};
use crate::systemd::daemon::{Request, Signals};
use crate::systemd::log::LogControl;
use crate::systemd::notify::Notifier;
use crate::systemd::pressure::{PressureWatch, give_back};

/// How long the connections may take to end. Each lingers a tenth of a second at most.
const FAREWELL: Duration = Duration::from_millis(500);

/// How long it may take at a stop to write down what is kept for collectors that are away. With the
/// farewell before, this is within the five seconds that the unit has.
const HISTORY_FAREWELL: Duration = Duration::from_secs(4);

/// What the agent starts with.
pub struct Start {
    /// Where settings come from, for reloads.
    pub inputs: Arc<Inputs>,
    /// The settings to begin with.
    pub loaded: Loaded,
    /// Where the sources find /proc and /sys: `/`, but in tests.
    pub root: Root,
    /// The service manager.
    pub notifier: Notifier,
    /// The log's switches.
    pub log: LogControl,
    /// The signals to obey.
    pub signals: Signals,
    /// Tells when memory is short.
    pub pressure: PressureWatch,
}

/// Why the agent cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The settings name a source that does not exist.
    #[error(transparent)]
    Source(#[from] UnknownSource),
    /// The kernel has no timer left.
    #[error("no timer: {0}")]
    Timer(#[source] std::io::Error),
}

/// The daemon's task.
pub struct Agent {
    pub(super) in_force: InForce,
    pub(super) name: ReportedName,
    pub(super) sampling: Sampling,
    alarm: Alarm,
    pub(super) connections: Connections,
    pub(super) recording: Recording,
    pub(super) slow: SlowJobs,
    pub(super) notifier: Notifier,
    signals: Signals,
    pressure: PressureWatch,
    orders: mpsc::Receiver<Order>,
    pub(super) state: watch::Sender<Arc<AgentState>>,
    pub(super) changes: broadcast::Sender<Happening>,
    pub(super) losses: Losses,
}

impl Agent {
    /// An agent that has not begun yet, and the handle by which others reach it. Must be
    /// called within the runtime that will run it.
    pub fn new(start: Start) -> Result<(Self, Handle), StartError> {
        let (now, made) = (Instant::now(), SystemTime::now());
        let in_force = InForce::new(start.loaded, start.log.clone());
        let settings = &in_force.settings;
        let intervals = in_force.intervals();
        let name = ReportedName::new(settings.host_name.as_ref().map(ToString::to_string));
        let mut connections = Connections::new(session_settings(intervals), now);
        connections.apply(settings, made);
        let recording = Recording::open(
            start.inputs.state_directory.as_deref(),
            limits(settings),
            settings.collectors.keys().map(ConnectionName::as_str),
            boot_id(),
        );
        let (order, orders) = mpsc::channel(ORDERS);
        let (changes, _) = broadcast::channel(STATE_CHANGES);
        let sampler = Sampler::open(start.root, settings, connections.totals(), start.log)?;
        let sampling = Sampling::new(sampler, intervals.metrics);
        let first = snapshot(&in_force, &name, &sampling.sampler, &connections, made);
        let (state, watched) = watch::channel(Arc::new(first));
        let handle = Handle {
            orders: order,
            state: watched,
            changes: changes.clone(),
        };
        let agent = Self {
            in_force,
            name,
            sampling,
            alarm: Alarm::new().map_err(StartError::Timer)?,
            connections,
            recording,
            slow: SlowJobs::new(start.inputs),
            notifier: start.notifier,
            signals: start.signals,
            pressure: start.pressure,
            orders,
            state,
            changes,
            losses: Losses::default(),
        };
        Ok((agent, handle))
    }

    /// Says that the service is ready, and works until a signal says stop.
    pub async fn run(mut self) {
        let line = self.status_line(&self.state.borrow());
        self.notifier.ready(&line);
        if self.name.settled() {
            self.begin();
        }
        let signal = loop {
            let happened = self.wait().await;
            if let Happened::Signal(Request::Stop(signal)) = happened {
                break signal;
            }
            self.handle(happened);
        };
        self.stop(signal).await;
    }

    async fn wait(&mut self) -> Happened {
        let deadline = [
            self.sampling.ticker.deadline(),
            self.sampling.pending.deadline(),
            self.notifier.deadline(),
            self.recording.deadline(),
            self.losses.due(Instant::now()),
        ]
        .into_iter()
        .flatten()
        .min();
        tokio::select! {
            biased;
            request = self.signals.next(!self.slow.reloads()) => Happened::Signal(request),
            () = self.alarm.until(deadline) => Happened::Deadline,
            () = self.sampling.sampler.changed(), if self.sampling.pending.is_waiting() => Happened::SampleMoved,
            (serial, report) = self.connections.report() => Happened::Report(serial, report),
            Some(order) = self.orders.recv() => Happened::Order(order),
            job = self.recording.finished_job() => Happened::HistoryMoved(job),
            (job, outcome) = self.slow.ended() => Happened::JobEnded(job, outcome),
            () = self.name.changed() => Happened::NameChanged,
            () = self.pressure.felt() => Happened::MemoryShort,
        }
    }

    fn handle(&mut self, happened: Happened) {
        match happened {
            // Stop is the loop's own affair.
            Happened::Signal(Request::Stop(_)) | Happened::Deadline | Happened::SampleMoved => {}
            Happened::Signal(Request::Reload) => self.slow_reload(None),
            Happened::Report(serial, report) => self.handle_report(serial, report),
            Happened::Order(order) => self.handle_order(order),
            Happened::JobEnded(job, outcome) => self.job_ended(job, outcome),
            Happened::HistoryMoved(job) => {
                self.recording.finished(job);
                self.hand_out_to_all();
            }
            Happened::NameChanged => self.name_changed(),
            Happened::MemoryShort => self.spare_memory(),
        }
        self.announce_history();
        let now = Instant::now();
        if self.recording.deadline().is_some_and(|due| due <= now) {
            self.recording.tick();
        }
        if self.sampling.ticker.advance(now) {
            self.sample(SampleRequest::Metrics);
        }
        while let Some(want) = self
            .sampling
            .pending
            .take(|want| self.sampling.sampler.ready(want), now)
        {
            self.serve(want);
        }
        if self.notifier.due(now) {
            match self.connections.stuck(now) {
                None => self
                    .notifier
                    .alive(&self.status_line(&self.state.borrow()), now),
                Some(name) => {
                    events::stuck(name);
                    self.notifier.withhold(now);
                }
            }
        }
    }

    fn handle_report(&mut self, serial: Serial, report: Report) {
        match report {
            Report::NeedsModel { link } => self.sample(SampleRequest::Model { serial, link }),
            Report::Offered { link, offer } => self.history_offered(serial, link, offer),
            Report::Declined => self.history_declined(serial),
            Report::Receipt { link, receipt } => self.history_acknowledged(serial, link, receipt),
            Report::LinkLost { link } => self.history_link_lost(serial, link),
            Report::Changed(new) => {
                let change = (new.name.clone(), new.state, new.reason.clone());
                let wants_metrics = new.wants_metrics;
                let Some(old) = self.connections.note(serial, new) else {
                    return;
                };
                self.publish();
                let (connection, new, reason) = change;
                if wants_metrics && !old.wants_metrics {
                    self.name.look_again();
                    self.sampling.sampler.start_over();
                }
                if old.state != new {
                    // Usually there is no listener.
                    let _ = self.changes.send(Happening::State(StateChange {
                        connection,
                        old: old.state,
                        new,
                        reason,
                    }));
                }
                self.rest_or_tick();
            }
        }
    }

    pub(super) fn name_changed(&mut self) {
        let previous = self.state.borrow().host_name.clone();
        let current = self.name.current();
        if *current != *previous {
            // Before the first hello no collector knows the previous name.
            if self.connections.started() {
                events::host_name_changed(&previous, &current);
            }
            self.publish();
        }
        if self.name.settled() && !self.connections.started() {
            self.begin();
        }
    }

    /// Does what has to wait until the host's name is known: the first hello, and logging the name
    /// that this host reports under.
    fn begin(&mut self) {
        let state = Arc::clone(&self.state.borrow());
        events::ready(
            env!("CARGO_PKG_VERSION"),
            &state.host_name,
            &state.public_key.to_string(),
            self.connections.len(),
        );
        if state.state == State::Unconfigured {
            events::unconfigured(&state.reason);
        }
        self.announce_history();
        self.connections.start();
        self.rest_or_tick();
    }

    /// Between two samples nothing of their buffers is needed.
    fn spare_memory(&mut self) {
        if self.pressure.due(Instant::now()) {
            self.sampling.sampler.let_go();
            self.recording.spare_memory();
            events::memory_given_back(give_back());
        }
    }

    /// Publishes the state as it is now.
    pub(super) fn publish(&mut self) {
        let now = SystemTime::now();
        let (in_force, sampler) = (&self.in_force, &self.sampling.sampler);
        let mut next = snapshot(in_force, &self.name, sampler, &self.connections, now);
        let before = Arc::clone(&self.state.borrow());
        next.state_since = next.state.since((before.state, before.state_since), now);
        let line = self.status_line(&next);
        self.state.send_replace(Arc::new(next));
        self.notifier.status(&line);
    }

    /// Who listens on the bus hears of the end of every connection.
    fn publish_end(&mut self, reason: &str) {
        let now = SystemTime::now();
        let mut last = AgentState::clone(&self.state.borrow());
        last.state = State::Stopping;
        last.state_since = now;
        reason.clone_into(&mut last.reason);
        for connection in &mut last.connections {
            let old = std::mem::replace(&mut connection.state, State::Stopping);
            connection.state_since = now;
            reason.clone_into(&mut connection.reason);
            let _ = self.changes.send(Happening::State(StateChange {
                connection: connection.name.clone(),
                old,
                new: State::Stopping,
                reason: reason.to_owned(),
            }));
        }
        self.state.send_replace(Arc::new(last));
    }

    async fn stop(mut self, signal: &'static str) {
        self.notifier.stopping(&format!("Stopping on {signal}"));
        events::stopping(signal);
        self.publish_end(&format!("Stopping on {signal}"));
        if timeout(FAREWELL, self.connections.stop()).await.is_err() {
            events::farewell_cut_short();
        }
        if timeout(HISTORY_FAREWELL, self.recording.stopped())
            .await
            .is_err()
        {
            events::history_cut_short();
        }
        self.announce_history();
    }
}

enum Happened {
    Signal(Request),
    Deadline,
    SampleMoved,
    Report(Serial, Report),
    Order(Order),
    JobEnded(Job, Outcome),
    HistoryMoved(Finished),
    NameChanged,
    MemoryShort,
}

/// How much of the history is kept.
pub(super) fn limits(settings: &Settings) -> Limits {
    let Spool {
        memory,
        disk,
        after,
    } = settings.spool;
    Limits {
        memory: usize::try_from(memory).unwrap_or(usize::MAX),
        disk,
        after,
    }
}

pub(super) fn session_settings(intervals: Intervals) -> SessionSettings {
    SessionSettings {
        stale_interval: intervals.stale,
        model_min_interval: MODEL_MIN_INTERVAL,
        ..SessionSettings::default()
    }
}

/// The state, entered `now`.
fn snapshot(
    in_force: &InForce,
    name: &ReportedName,
    sampler: &Sampler,
    connections: &Connections,
    now: SystemTime,
) -> AgentState {
    let connections_now = connections.states();
    let (state, reason) = summarize(&connections_now, &in_force.collector_file);
    AgentState {
        host_name: name.current().to_string(),
        public_key: in_force.settings.key_pair.public,
        state,
        state_since: now,
        reason,
        intervals: in_force.intervals(),
        origins: in_force.origins(),
        connections: connections_now,
        sources: sampler.enabled(),
        configuration_files: in_force.files.clone(),
        totals: connections.totals(),
    }
}
