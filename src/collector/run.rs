//! The collector's task: one loop that owns everything which changes.
//!
//! Each turn reads at most a batch of messages and does at most a batch of what is due,
//! so that no flood keeps pings, expiry or a signal from their turn; libzmq reads its
//! connections fairly among them. Nothing in it waits for a peer or a reader, and the
//! watchdog is fed from here and nowhere else.

use std::future::ready;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::time::sleep_until;

use super::access::control::{self, Access};
use super::backlog::{Ahead, Backlog};
use super::events;
use super::handle::{Handle, Inbox, Order};
use super::host_lines::HostLines;
use super::hosts::{Due, Host, Hosts, Restored};
use super::pacer::Pacer;
use super::printer::Printer;
use super::push::Pushes;
use super::reload::{Asker, InForce, Read, Reloads};
use super::settings::{Inputs, Loaded};
use super::sinks::Sinks;
use super::speaking::send;
use super::state::{CollectorState, HostChange, Phase};
use super::status_line::{Counts, health, line, totals};
use super::store::Writer;
use super::throttle::{PeerThrottle, Sender, Throttle};
use super::viewers::Viewers;
use crate::curve::context::TransportError;
use crate::curve::frames::Received;
use crate::curve::keys::PublicKey;
use crate::curve::router::{Router, RoutingIdBytes};
use crate::protocol::message::Control;
use crate::systemd::log::LogControl;
use crate::systemd::notify::Notifier;
use crate::systemd::pressure::{PressureWatch, give_back};
use crate::systemd::signals::{Request, Signals};

/// Most pings and expiries in one turn.
const BATCH_DUE: usize = 256;

/// Pings wait for each other for this long, so that a large fleet's do not wake the loop
/// one by one.
const DUE_PAUSE: Duration = Duration::from_millis(25);

/// What is due for longer than this shows that the loop did not run.
const DEAF: Duration = Duration::from_secs(1);

/// What the collector starts with.
pub struct Start {
    /// Listens already.
    pub router: Router,
    /// Who may report over it.
    pub access: Access,
    /// Where, as people read it.
    pub endpoint: String,
    /// What agents know this collector by.
    pub public_key: PublicKey,
    /// The viewers, or that none are allowed.
    pub viewers: Viewers,
    /// Where listening for viewers and for HTTP is done; empty for nowhere.
    pub other_endpoints: [String; 2],
    /// Where settings come from, for reloads.
    pub inputs: Inputs,
    /// The settings to begin with.
    pub loaded: Loaded,
    /// The log's switches.
    pub log: LogControl,
    /// Where messages are printed, if at all.
    pub printer: Option<Printer>,
    /// Where samples are pushed to.
    pub pushes: Pushes,
    /// The hosts known before.
    pub restored: Vec<Restored>,
    /// Who keeps the hosts for the next start, if anybody.
    pub writer: Option<Writer>,
    /// The service manager.
    pub notifier: Notifier,
    /// The signals to obey.
    pub signals: Signals,
    /// Tells when memory is short.
    pub pressure: PressureWatch,
}

/// The collector's task.
pub struct Collector {
    pub(super) router: Router,
    pub(super) access: Access,
    endpoint: String,
    public_key: String,
    pub(super) hosts: Hosts,
    pub(super) counts: Counts,
    pub(super) throttle: PeerThrottle<(Sender, &'static str)>,
    /// Metrics that are left out of all series, by host.
    pub(super) too_large: PeerThrottle<(Arc<str>, Box<str>)>,
    pub(super) host_lines: HostLines,
    /// When there was last no room for what a host reports.
    pub(super) full: Option<Instant>,
    pub(super) backlog: Backlog,
    /// What was read before its turn.
    pub(super) ahead: Ahead<(RoutingIdBytes, Received)>,
    pub(super) pacer: Pacer,
    /// Requests for models that were refused.
    pub(super) unasked: Throttle,
    pub(super) sinks: Sinks,
    pub(super) viewers: Viewers,
    pub(super) writer: Option<Writer>,
    /// The time of the batch of messages at hand, once somebody wanted to know.
    pub(super) time: Option<SystemTime>,
    handle: Handle,
    pub(super) inbox: Inbox,
    pub(super) reloads: Reloads,
    pub(super) in_force: InForce,
    deafness: Throttle,
    pub(super) notifier: Notifier,
    signals: Signals,
    pressure: PressureWatch,
    /// When what is due was last looked at.
    attended: Instant,
}

enum Happened {
    Signal(Request),
    ReaderGone,
    Order(Order),
    ReloadEnded(Vec<Asker>, Read),
    Access(control::Event),
    Message((RoutingIdBytes, Received)),
    Viewer((RoutingIdBytes, Received)),
    Deadline,
    MemoryShort,
}

impl Collector {
    /// A collector that has not begun yet.
    #[must_use]
    pub fn new(start: Start, now: Instant) -> Self {
        let [viewers_endpoint, web_endpoint] = start.other_endpoints;
        let (handle, inbox) = Handle::new(CollectorState {
            phase: Phase::Ready,
            public_key: start.public_key,
            endpoint: start.endpoint.clone(),
            viewers_endpoint,
            web_endpoint,
            web_hosts: start.loaded.settings.web_hosts.clone(),
            configuration_files: start.loaded.files().to_vec(),
        });
        let mut hosts = Hosts::new(start.loaded.settings.timing);
        hosts.restore(now, start.restored);
        Self {
            router: start.router,
            access: start.access,
            endpoint: start.endpoint,
            public_key: start.public_key.to_string(),
            hosts,
            counts: Counts::default(),
            throttle: PeerThrottle::default(),
            too_large: PeerThrottle::default(),
            host_lines: HostLines::new(now),
            full: None,
            viewers: start.viewers,
            backlog: Backlog::new(now),
            ahead: Ahead::default(),
            pacer: Pacer::new(now),
            unasked: Throttle::default(),
            sinks: Sinks::new(start.printer, start.pushes),
            writer: start.writer,
            time: None,
            handle,
            inbox,
            reloads: Reloads::new(start.inputs),
            in_force: InForce::new(start.loaded, start.log),
            deafness: Throttle::default(),
            notifier: start.notifier,
            signals: start.signals,
            pressure: start.pressure,
            attended: now,
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
    /// libzmq has failed as it never should.
    pub async fn run(mut self) -> Result<(), TransportError> {
        events::ready(&self.endpoint, &self.public_key);
        let status = self.status();
        self.notifier.ready(&status);
        let why = loop {
            match self.wait().await? {
                Happened::Signal(Request::Stop(signal)) => break signal,
                Happened::ReaderGone => break "the end of standard output's reader",
                Happened::Signal(Request::Reload) => self.reload(None),
                Happened::ReloadEnded(askers, read) => self.reload_ended(askers, read),
                Happened::Order(order) => self.obey(order),
                Happened::Access(event) => {
                    let handled = self.access.handle(event, Instant::now())?;
                    if handled.viewers_changed {
                        self.viewers.review(&mut |key| self.access.is_viewer(&key));
                    }
                    if handled.closed {
                        self.tell_who_is_shut_out();
                    }
                    // However many handshakes there are, messages have their turn.
                    self.turn(None).await?;
                }
                Happened::Message(first) => self.turn(Some(first)).await?,
                Happened::Viewer(first) => {
                    let now = Instant::now();
                    let access = &mut self.access;
                    self.viewers.hear(now, first, &mut |key| {
                        access.admit_viewer(now, Some(key)).is_ok()
                    })?;
                    // However much they say, agents have their turn.
                    self.turn(None).await?;
                }
                Happened::Deadline => self.turn(None).await?,
                Happened::MemoryShort => self.spare_memory(),
            }
        };
        self.notifier.stopping(&format!("Stopping on {why}"));
        self.publish_end();
        events::stopping(why, &totals(self.hosts.reporting(), self.counts));
        // What is lost for good first: a receiver of samples may be slow, and is the last to be
        // waited for. All of it takes 5 s at most, of the unit's 10.
        self.keep_last();
        self.access.finish().await;
        self.sinks.finish();
        Ok(())
    }

    async fn wait(&mut self) -> Result<Happened, TransportError> {
        let due = self.hosts.next_due();
        let due = due.map(|due| due.max(self.attended + DUE_PAUSE));
        let keep = self.writer.as_ref().and_then(Writer::next_due);
        let deadlines = [
            due,
            self.pacer.next_due(),
            keep,
            self.viewers.next_due(),
            self.notifier.deadline(),
            self.host_lines.next_due(),
        ];
        let deadline = deadlines.into_iter().flatten().min();
        Ok(tokio::select! {
            biased;
            request = self.signals.next(!self.reloads.is_running()) => Happened::Signal(request),
            () = self.sinks.reader_gone() => Happened::ReaderGone,
            Some(order) = self.inbox.orders.recv() => Happened::Order(order),
            (askers, read) = self.reloads.ended() => Happened::ReloadEnded(askers, read),
            () = until(deadline) => Happened::Deadline,
            () = self.pressure.felt() => Happened::MemoryShort,
            event = self.access.next() => Happened::Access(event?),
            message = self.viewers.receive() => Happened::Viewer(message?),
            () = ready(()), if !self.ahead.is_empty() => Happened::Deadline,
            message = self.router.receive() => Happened::Message(message?),
        })
    }

    /// What the hosts said stays; what was only room goes.
    fn spare_memory(&mut self) {
        if self.pressure.due(Instant::now()) {
            self.sinks.let_go();
            events::memory_given_back(give_back());
        }
    }

    async fn turn(
        &mut self,
        first: Option<(RoutingIdBytes, Received)>,
    ) -> Result<(), TransportError> {
        let drained = self.hear_batch(first)?;
        let now = Instant::now();
        self.attend(now);
        for left_out in self.host_lines.take_due(now) {
            events::host_lines_left_out(left_out);
        }
        self.ask_waiting(now);
        if self.notifier.due(now) {
            let status = self.status();
            self.notifier.alive(&status, now);
        }
        self.sinks.attend(now);
        self.viewers.attend(now, &self.hosts);
        self.publish_counters();
        self.keep_hosts(now);
        if !drained {
            // There is more at once: let the runtime look at signals and timers before.
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// Sends the pings that are due, and lets go of hosts that are gone.
    fn attend(&mut self, now: Instant) {
        let Some(due) = self.hosts.next_due().filter(|due| *due <= now) else {
            return;
        };
        let late = now.saturating_duration_since(due.max(self.attended));
        if late > DEAF {
            self.hosts.was_deaf(now);
            if self.deafness.note(now).is_some() {
                events::was_deaf(late);
            }
        }
        self.attended = now;
        for _ in 0..BATCH_DUE {
            match self.hosts.take_due(now) {
                // Who is refused must not take this for a sign that it is heard.
                Some(Due::Ping { name, .. }) if !self.is_let_in(&name) => {}
                Some(Due::Ping { to, .. }) => send(&mut self.router, &to, Control::Ping),
                Some(Due::Gone {
                    name,
                    routing_id,
                    silence,
                }) => {
                    self.sinks.host_gone(&name);
                    self.tell(HostChange::Gone(Arc::clone(&name)));
                    self.tell_state(now, &name);
                    self.hosts_changed();
                    let host = self.hosts.get(&name);
                    let address = host.and_then(Host::address).map(|address| &**address);
                    let key = host.and_then(Host::key);
                    if self.host_lines.note(now, key, address) {
                        events::host_gone(&name, routing_id.as_ref(), silence);
                    }
                }
                Some(Due::Renamed(renamed)) => {
                    let name = &renamed.old.name;
                    if renamed.was_there {
                        self.sinks.host_gone(name);
                        self.tell(HostChange::Gone(Arc::clone(name)));
                    }
                    self.tell_forgotten(now, &renamed.old);
                    self.hosts_changed();
                    let address = renamed.old.address.as_deref();
                    if self.host_lines.note(now, renamed.old.key, address) {
                        events::host_renamed(&renamed);
                    }
                }
                Some(Due::Forgotten(forgotten)) => {
                    self.tell_forgotten(now, &forgotten);
                    self.hosts_changed();
                    let address = forgotten.address.as_deref();
                    if self.host_lines.note(now, forgotten.key, address) {
                        events::host_forgotten(&forgotten.name);
                    }
                }
                None => break,
            }
        }
    }

    pub(super) fn status(&self) -> String {
        let totals = totals(self.hosts.reporting(), self.counts);
        let refused = self.access.totals().refused;
        let health = health(self.viewers.len(), refused, &self.sinks.targets());
        line(&self.endpoint, &self.public_key, &totals, &health)
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}
