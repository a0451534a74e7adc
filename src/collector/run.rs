//! The collector's task: one loop that owns everything which changes.
//!
//! Each turn reads at most a batch of messages and does at most a batch of what is due,
//! so that no flood keeps pings, expiry or a signal from their turn; connections are read
//! fairly among them. Nothing in it waits for a peer or a reader, and the
//! watchdog is fed from here and nowhere else.

use std::future::ready;
use std::time::{Duration, Instant};

use super::access::Listener;
use super::access::control::{self, Access};
use super::agents::Agents;
use super::descriptors::Shares;
use super::events;
use super::fleet::Fleet;
use super::handle::{Handle, Inbox, Order};
use super::hosts::{Hosts, Restored};
use super::ingest::Ingest;
use super::printer::Printer;
use super::publish::Publisher;
use super::push::Pushes;
use super::reload::{Asker, InForce, Read, Reloads, answer_all};
use super::settings::{Inputs, Loaded};
use super::sinks::Sinks;
use super::state::{CollectorState, Phase};
use super::status_line::{health, line, totals};
use super::store::Writer;
use super::viewers::{Asked, Viewers};
use crate::base::throttle::Throttle;
use crate::base::waiting::until;
use crate::curve::TransportError;
use crate::curve::keys::PublicKey;
use crate::curve::router::{Arrived, Router, Verdict};
use crate::protocol::message::Control;
use crate::systemd::daemon::{Request, Signals};
use crate::systemd::log::LogControl;
use crate::systemd::notify::Notifier;
use crate::systemd::pressure::{PressureWatch, give_back};

/// Most pings and expiries in one turn.
const BATCH_DUE: usize = 256;

/// Pings wait for each other for this long, so that a large fleet's do not wake the loop
/// one by one.
const DUE_PAUSE: Duration = Duration::from_millis(25);

/// If something is due for longer than this, the event loop has stalled.
const STALL: Duration = Duration::from_secs(1);

/// What the collector starts with.
pub struct Start {
    /// Listens already.
    pub router: Router,
    /// Who may report over it.
    pub access: Access,
    /// Where it listens.
    pub endpoints: Endpoints,
    /// What agents know this collector by.
    pub public_key: PublicKey,
    /// The viewers, or that none are allowed.
    pub viewers: Viewers,
    /// How many connections the sockets may have.
    pub shares: Shares,
    /// Where settings come from, for reloads.
    pub inputs: Inputs,
    /// The settings to begin with.
    pub loaded: Loaded,
    /// Where messages are printed, if at all.
    pub printer: Option<Printer>,
    /// Where samples are pushed to.
    pub pushes: Pushes,
    /// Where programs of this host follow what agents send, if anywhere.
    pub publisher: Publisher,
    /// The hosts known before.
    pub restored: Vec<Restored>,
    /// The writer that saves the hosts for the next start, if there is one.
    pub writer: Option<Writer>,
    /// What it is told by the system, and tells it.
    pub process: Process,
}

/// Where the collector listens, as people read it.
pub struct Endpoints {
    /// For agents.
    pub agents: String,
    /// For viewers; empty for nowhere.
    pub viewers: String,
    /// For HTTP; empty for nowhere.
    pub web: String,
}

/// The collector as a process of the system.
pub struct Process {
    /// The log's switches.
    pub log: LogControl,
    /// The service manager.
    pub notifier: Notifier,
    /// The signals to obey.
    pub signals: Signals,
    /// Tells when memory is short.
    pub pressure: PressureWatch,
}

/// The collector's task.
pub struct Collector {
    pub(super) agents: Agents,
    pub(super) shares: Shares,
    pub(super) ingest: Ingest,
    pub(super) fleet: Fleet,
    pub(super) reloads: Reloads,
    pub(super) in_force: InForce,
    handle: Handle,
    pub(super) inbox: Inbox,
    notifier: Notifier,
    signals: Signals,
    pressure: PressureWatch,
    /// When what is due was last looked at.
    attended: Instant,
    /// Stalls of the loop that are logged.
    stalls: Throttle,
}

enum Happened {
    Signal(Request),
    ReaderGone,
    Order(Order),
    ReloadEnded(Vec<Asker>, Read),
    Access(control::Event),
    Agent(Arrived),
    Viewer(Arrived),
    Deadline,
    MemoryShort,
}

impl Collector {
    /// A collector that has not begun yet.
    #[must_use]
    pub fn new(start: Start, now: Instant) -> Self {
        let Endpoints {
            agents: endpoint,
            viewers: viewers_endpoint,
            web: web_endpoint,
        } = start.endpoints;
        let (handle, inbox) = Handle::new(CollectorState {
            phase: Phase::Ready,
            public_key: start.public_key,
            endpoint,
            viewers_endpoint,
            web_endpoint,
            web_hosts: start.loaded.settings.web_hosts.clone(),
            web_file: start.loaded.web_file(),
            configuration_files: start.loaded.files().to_vec(),
        });
        let mut hosts = Hosts::new(start.loaded.settings.timing);
        hosts.restore(now, start.restored);
        let sinks = Sinks::new(start.printer, start.pushes, start.publisher);
        let followers = (start.access, sinks, start.viewers);
        Self {
            agents: Agents::new(start.router, now),
            shares: start.shares,
            ingest: Ingest::new(now),
            fleet: Fleet::new(hosts, followers, start.writer, inbox.changes.clone(), now),
            reloads: Reloads::new(start.inputs),
            in_force: InForce::new(start.loaded, start.process.log),
            handle,
            inbox,
            notifier: start.process.notifier,
            signals: start.process.signals,
            pressure: start.process.pressure,
            attended: now,
            stalls: Throttle::default(),
        }
    }

    /// What others ask it through.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Says that the service is ready, and works until a signal says stop, or the reader
    /// of what it prints has gone.
    ///
    /// # Errors
    ///
    /// epoll(7) failed unexpectedly.
    pub async fn run(mut self) -> Result<(), TransportError> {
        {
            let state = self.inbox.state.borrow();
            events::ready(&state.endpoint, &state.public_key.to_string());
        }
        let status = self.status();
        self.notifier.ready(&status);
        let why = loop {
            match self.wait().await? {
                Happened::Signal(Request::Stop(signal)) => break signal,
                Happened::ReaderGone => break "the end of standard output's reader",
                Happened::Signal(Request::Reload) => self.reload(None),
                Happened::ReloadEnded(askers, read) => self.reload_ended(askers, read),
                Happened::Order(order) => self.handle_order(order),
                Happened::Access(event) => {
                    self.handle_access(event);
                    self.turn(None).await?;
                }
                Happened::Agent(first) => self.turn(Some(first)).await?,
                Happened::Viewer(first) => {
                    self.handle_viewer(first)?;
                    // However much they say, agents have their turn.
                    self.turn(None).await?;
                }
                Happened::Deadline => self.turn(None).await?,
                Happened::MemoryShort => self.spare_memory(),
            }
        };
        self.notifier.stopping(&format!("Stopping on {why}"));
        self.publish_end();
        let totals = totals(self.fleet.hosts.reporting(), self.ingest.counts);
        events::stopping(why, &totals);
        // First what would be lost for good: a receiver of samples may be slow, and is waited
        // for last. All of it takes 5 s at most, of the unit's 10.
        self.fleet.keep_last().await;
        self.fleet.access.finish().await;
        self.fleet.sinks.finish();
        // What engines have taken until now is not sent again to the next collector, nor ever told as lost.
        let now = Instant::now();
        settle(&mut self.agents, &mut self.fleet.sinks, now);
        self.agents.send_last_receipts(now);
        Ok(())
    }

    async fn wait(&mut self) -> Result<Happened, TransportError> {
        let due = self.fleet.hosts.next_due();
        let due = due.map(|due| due.max(self.attended + DUE_PAUSE));
        let deadlines = [due, self.agents.next_due(), self.notifier.deadline()];
        let deadline = deadlines.into_iter().flatten();
        let deadline = deadline.chain(self.fleet.next_due()).min();
        Ok(tokio::select! {
            biased;
            request = self.signals.next(!self.reloads.is_running()) => Happened::Signal(request),
            () = self.fleet.sinks.reader_gone() => Happened::ReaderGone,
            Some(order) = self.inbox.orders.recv() => Happened::Order(order),
            (askers, read) = self.reloads.ended() => Happened::ReloadEnded(askers, read),
            () = until(deadline) => Happened::Deadline,
            () = self.pressure.felt() => Happened::MemoryShort,
            event = self.fleet.access.next() => Happened::Access(event),
            arrived = self.fleet.viewers.receive() => Happened::Viewer(arrived?),
            () = ready(()), if !self.ingest.is_empty() => Happened::Deadline,
            () = self.fleet.sinks.progressed() => Happened::Deadline,
            arrived = self.agents.receive() => Happened::Agent(arrived?),
        })
    }

    /// Has the configuration read again, and the service manager told.
    pub(super) fn reload(&mut self, asker: Asker) {
        self.notifier.reloading();
        // Also where the configuration turns out to be invalid.
        self.fleet.access.reread(Instant::now());
        self.reloads.ask(asker);
        self.ready_again();
    }

    /// Puts what was read in force, or says why not.
    fn reload_ended(&mut self, askers: Vec<Asker>, read: Read) {
        let result = self
            .in_force
            .handle(read, &mut self.fleet, &self.inbox.state);
        self.ready_again();
        answer_all(askers, &result);
    }

    /// The settings in force are valid, be they new or old: the service is ready again,
    /// unless more is being read.
    fn ready_again(&mut self) {
        if !self.reloads.is_running() {
            let status = self.status();
            self.notifier.ready(&status);
        }
    }

    /// The public key in force.
    pub(super) fn key(&self) -> PublicKey {
        self.inbox.state.borrow().public_key
    }

    fn handle_access(&mut self, event: control::Event) {
        let fleet = &mut self.fleet;
        let handled = fleet.access.handle(event, Instant::now());
        if handled.agents_changed {
            let access = &fleet.access;
            self.agents.review(&mut |key| access.is_agent(key));
        }
        if handled.viewers_changed {
            let access = &fleet.access;
            fleet.viewers.review(&mut |key| access.is_viewer(&key));
        }
        if handled.closed {
            fleet.log_who_is_shut_out();
        }
    }

    fn handle_viewer(&mut self, first: Arrived) -> Result<(), TransportError> {
        let (now, fleet) = (Instant::now(), &mut self.fleet);
        let access = &mut fleet.access;
        fleet.viewers.handle(now, first, &mut |asked| match asked {
            Asked::Knock(peer) => access.knock(now, Listener::Viewers, peer) == Verdict::Allow,
            Asked::Message(key) => access.admit_viewer(now, Some(key)).is_ok(),
        })
    }

    /// Frees unused capacity; the hosts' values are kept.
    fn spare_memory(&mut self) {
        if self.pressure.due(Instant::now()) {
            self.fleet.sinks.let_go();
            events::memory_given_back(give_back());
        }
    }

    async fn turn(&mut self, first: Option<Arrived>) -> Result<(), TransportError> {
        let fleet = &mut self.fleet;
        let drained = self.ingest.read_batch(&mut self.agents, fleet, first)?;
        let now = Instant::now();
        self.attend(now);
        let fleet = &mut self.fleet;
        for left_out in fleet.lines.take_due(now) {
            events::host_lines_left_out(left_out);
        }
        self.agents.ask_waiting(now, fleet.may_refuse(now));
        self.agents.acknowledge(fleet.sinks.acknowledged());
        for host in fleet.forgotten.drain(..) {
            self.agents.history.forget(&host);
        }
        settle(&mut self.agents, &mut fleet.sinks, now);
        self.agents
            .send_receipts(now, |host| fleet.hosts.told(now, host));
        if self.notifier.due(now) {
            let status = self.status();
            self.notifier.alive(&status, now);
        } else if fleet.count.changed(fleet.hosts.reporting(), now) {
            let status = self.status();
            self.notifier.status(&status);
        }
        let fleet = &mut self.fleet;
        fleet.sinks.attend(now);
        fleet.viewers.attend(now, &fleet.hosts);
        self.publish_counters();
        self.fleet.keep(now);
        if !drained {
            // There is more at once: let the runtime look at signals and timers before.
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// Sends the pings that are due, and lets go of hosts that are gone.
    fn attend(&mut self, now: Instant) {
        let hosts = &mut self.fleet.hosts;
        let Some(due) = hosts.next_due().filter(|due| *due <= now) else {
            return;
        };
        let late = now.saturating_duration_since(due.max(self.attended));
        if late > STALL {
            hosts.was_deaf(now);
            if self.stalls.note(now).is_some() {
                events::was_deaf(late);
            }
        }
        self.attended = now;
        for _ in 0..BATCH_DUE {
            let Some(due) = self.fleet.hosts.take_due(now) else {
                break;
            };
            if let Some(to) = self.fleet.handle_due(now, due) {
                self.agents.send(&to, Control::Ping);
            }
        }
    }

    fn status(&self) -> String {
        let fleet = &self.fleet;
        let totals = totals(fleet.hosts.reporting(), self.ingest.counts);
        let refused = fleet.access.totals().refused;
        let health = health(fleet.viewers.len(), refused, &fleet.sinks.targets());
        let state = self.inbox.state.borrow();
        line(
            &state.endpoint,
            &state.public_key.to_string(),
            &totals,
            &health,
        )
    }
}

/// What is where it was wanted may be acknowledged.
fn settle(agents: &mut Agents, sinks: &mut Sinks, now: Instant) {
    for settled in sinks.settled() {
        let ticket = settled.ticket;
        agents
            .history
            .settle(now, &settled.host, ticket.stream, ticket.seq);
    }
}
