//! The task that owns a session, its socket and its deadline.
//!
//! The session decides (see [`crate::protocol::session`]), and which address and key are tried the
//! choice ([`super::choice`]); this task carries out. It has names looked up, opens and closes the
//! socket, sends, receives, counts, and reports changes to the agent's task. Every wait has a limit.

use std::collections::VecDeque;
use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::time::sleep_until;

use super::choice::{Choice, Failure};
use super::finder::{Finder, Found};
use super::history::SecondWire;
use super::probe::{Aim, Probe};
use super::story::Story;
use super::{ConnectionParams, Grid, HistoryOrder, Order, Orders, Report};
use crate::agent::events;
use crate::agent::log_gate::{Line, LogGate, UNSTEADY_WINDOW};
use crate::agent::reason_text::{handshake, sentence};
use crate::agent::state::{ConnectionState, State};
use crate::curve::dealer::{Dealer, DealerEvent, DealerOptions, LinkDownCause, RoutingId, Suspect};
use crate::curve::zmtp::message::Received;
use crate::protocol::data::Word;
use crate::protocol::message::{Control, FromCollector, GridKind, Message, decode_from_collector};
use crate::protocol::session::{
    Action, Delivery, Event, LinkDown, OpenFailure, Reason, Session, SessionSettings,
    State as SessionState,
};

/// How long the last messages of a connection may take to leave at a clean stop.
const LINGER: Duration = Duration::from_millis(100);

/// Why a link is closed whose host has got another name.
const RENAMED: &str = "reconnecting, as this host has another name";

/// Runs a connection until it is ordered to stop, or the agent's task is gone.
pub(crate) async fn run(plan: ConnectionParams, mut orders: Orders) {
    // Nothing leaves the host before its name is known.
    loop {
        match orders.queue.recv().await {
            Some(Order::Start) => break,
            Some(Order::Stop) | None => return,
            Some(_) => {}
        }
    }
    let settings = *orders.settings.borrow_and_update();
    let mut connection = Connection::new(plan, settings);
    connection.advance(Event::Start, None).await;
    while let Some(deadline) = connection.session.deadline() {
        connection.plan.progress.expect_by(deadline);
        let happened = tokio::select! {
            order = orders.queue.recv() => Happened::Order(order.unwrap_or(Order::Stop)),
            Ok(()) = orders.settings.changed() => Happened::Configured(
                *orders.settings.borrow_and_update()
            ),
            () = orders.reconnect.notified() => Happened::Reconnect,
            event = next_event(&mut connection.dealer) => Happened::Socket(event),
            found = connection.finder.find(connection.choice.step()),
                if connection.looking_up => Happened::Found(found),
            is_reachable = connection.probe.outcome() => Happened::Probed(is_reachable),
            () = sleep_until(deadline.into()) => Happened::Deadline,
        };
        connection.handle(happened).await;
    }
    connection.plan.progress.done();
}

async fn next_event(dealer: &mut Option<Dealer>) -> DealerEvent {
    match dealer {
        Some(dealer) => dealer.event().await,
        None => pending().await,
    }
}

/// The task's own state.
struct Connection {
    plan: ConnectionParams,
    session: Session,
    choice: Choice,
    probe: Probe,
    finder: Finder,
    /// A look-up is under way for the session's Open.
    looking_up: bool,
    /// The addresses not tried yet in this connecting.
    addresses: VecDeque<SocketAddr>,
    dealer: Option<Dealer>,
    routing_id: String,
    /// Counts the links, so that a late model is not sent on the next one.
    link: u64,
    connected_since: Option<SystemTime>,
    /// The name that this link has reported under. A collector takes a second name on one link for
    /// another host.
    reported_as: Option<Arc<str>>,
    second_wire: SecondWire,
    /// A link whose collector took history is down, and the agent's task does not know yet.
    lost: Option<u64>,
    opened_before: bool,
    /// The next opening was requested, or is due to another host name.
    ordered: bool,
    detail: String,
    /// Whose fault the latest failed handshake is, most likely.
    suspect: Option<Suspect>,
    announcer: LogGate,
    story: Story,
    published: ConnectionState,
}

enum Happened {
    Order(Order),
    Configured(SessionSettings),
    Reconnect,
    Socket(DealerEvent),
    Found(Result<Found, String>),
    Probed(bool),
    Deadline,
}

impl Connection {
    fn new(plan: ConnectionParams, settings: SessionSettings) -> Self {
        Self {
            session: Session::new(settings, Instant::now()),
            published: plan.initial_state(),
            choice: Choice::new(&plan.collector, &mut fastrand::f64),
            probe: Probe::new(plan.probe_every),
            plan,
            finder: Finder::default(),
            looking_up: false,
            addresses: VecDeque::new(),
            dealer: None,
            routing_id: String::new(),
            link: 0,
            connected_since: None,
            reported_as: None,
            second_wire: SecondWire::default(),
            lost: None,
            opened_before: false,
            ordered: false,
            detail: String::new(),
            suspect: None,
            announcer: LogGate::default(),
            story: Story::default(),
        }
    }

    async fn handle(&mut self, happened: Happened) {
        self.take(happened).await;
        self.send_history();
        if let Some(link) = self.lost.take() {
            self.report(Report::LinkLost { link }).await;
        }
    }

    async fn take(&mut self, happened: Happened) {
        match happened {
            Happened::Deadline => self.advance(Event::Tick, None).await,
            Happened::Order(order) => self.handle_order(order).await,
            Happened::Configured(settings) => self.advance(Event::Configure(settings), None).await,
            Happened::Reconnect => {
                self.choice.begin_round();
                self.story.leaving("a reconnect was requested");
                self.reconnect("").await;
            }
            Happened::Socket(event) => self.handle_socket(event).await,
            Happened::Found(found) => self.handle_found(found).await,
            Happened::Probed(is_reachable) => {
                if let Some(lasting) = self.choice.probed(is_reachable) {
                    let why = back_to(self.choice.address(), lasting);
                    self.story.leaving(&why);
                    self.reconnect(&why).await;
                }
            }
        }
    }

    async fn handle_found(&mut self, found: Result<Found, String>) {
        match found {
            Ok(Found::Targets(targets)) => {
                // The look-up goes on with the first of them.
                self.choice.found(targets, &mut fastrand::f64);
                self.publish().await;
            }
            Ok(Found::Addresses(addresses)) => {
                self.looking_up = false;
                self.addresses = addresses;
                self.connect_next().await;
            }
            Err(error) => {
                self.looking_up = false;
                self.detail = error;
                let event = Event::OpenFailed(OpenFailure::NameLookUp);
                self.advance(event, None).await;
            }
        }
    }

    async fn handle_order(&mut self, order: Order) {
        match order {
            Order::Start => {}
            Order::Metrics(grid) | Order::Model { grid, .. } if self.is_renamed(&grid.host) => {
                self.reconnect(RENAMED).await;
            }
            Order::History(order) if self.is_renamed(&order.host) => {
                self.reconnect(RENAMED).await;
            }
            Order::Metrics(grid) => {
                self.look().await;
                self.advance(Event::SampleReady, Some(&grid)).await;
            }
            Order::Model { grid, link } => {
                if link == self.link && self.connected_since.is_some() {
                    self.send_grid(&grid, GridKind::Model);
                }
            }
            Order::History(order) => {
                // What is for a link that is down is handed out again.
                if order.link == self.link && self.connected_since.is_some() {
                    self.take_history(*order).await;
                }
            }
            Order::Stop => {
                // Before the session closes it: what is under way may still leave.
                if let Some(dealer) = self.dealer.take() {
                    dealer.close(LINGER).await;
                }
                self.advance(Event::Stop, None).await;
            }
        }
    }

    /// Samples for a collector that takes history. Those that are due are the session's affair as those of
    /// a METR message are.
    async fn take_history(&mut self, order: HistoryOrder) {
        let fresh = order.fresh;
        if fresh {
            self.look().await;
        }
        if self.connected_since.is_some() {
            self.second_wire.push(order);
        }
        if fresh {
            self.advance(Event::SampleReady, None).await;
        }
    }

    /// Sends what waits, as much as the socket takes now. The rest is tried again after whatever
    /// happens next: a collector that takes what is before it says so.
    fn send_history(&mut self) {
        while self.session.wants_metrics()
            && let Some(dealer) = &mut self.dealer
            && let Some((host, body)) = self.second_wire.next()
        {
            let frames = Message::Data {
                host: &host,
                body: &body,
            }
            .frames();
            if let Err(error) = dealer.try_send(&frames) {
                events::sending_failed(&self.plan.name, &error);
                self.second_wire.put_back((host, body));
                break;
            }
            let bytes = frames.iter().map(|frame| frame.len()).sum();
            self.plan.counters.sent(bytes);
            self.reported_as = Some(host);
        }
    }

    /// True if this link has reported under another name than this.
    fn is_renamed(&self, host: &Arc<str>) -> bool {
        let reported_as = self.reported_as.as_ref();
        reported_as.is_some_and(|reported_as| reported_as != host)
    }

    /// Reconnects at once. `why` is empty if it was requested.
    async fn reconnect(&mut self, why: &str) {
        self.ordered = true;
        why.clone_into(&mut self.detail);
        self.advance(Event::Reconnect, None).await;
    }

    async fn handle_socket(&mut self, event: DealerEvent) {
        match event {
            DealerEvent::LinkUp => {
                self.link += 1;
                self.choice.linked();
                self.connected_since = Some(SystemTime::now());
                self.detail.clear();
                self.advance(Event::LinkUp, None).await;
            }
            DealerEvent::LinkDown(cause) => {
                let event = match cause {
                    LinkDownCause::HandshakeFailed(_) => Event::LinkDown(LinkDown::HandshakeFailed),
                    LinkDownCause::Closed
                    | LinkDownCause::Failed(_)
                    | LinkDownCause::Violated(_) => Event::LinkDown(LinkDown::Disconnected),
                    LinkDownCause::NoRandom(_) => Event::OpenFailed(OpenFailure::Socket),
                };
                self.detail = match cause {
                    LinkDownCause::HandshakeFailed(failure) => {
                        self.suspect = Some(failure.suspect());
                        let keys = self.plan.collector.public_keys.len();
                        handshake(&failure, self.choice.port(), keys)
                    }
                    other => other.to_string(),
                };
                self.advance(event, None).await;
            }
            DealerEvent::ConnectFailed(error) => {
                self.detail = error.to_string();
                self.connect_next().await;
            }
            DealerEvent::Received(received) => {
                self.plan.counters.received();
                let message = match received {
                    Received::Message(frames) => match decode_from_collector(&frames.as_slices()) {
                        Ok(FromCollector::Control(control)) => Ok(control),
                        Ok(FromCollector::Word(word)) => return self.handle_word(word).await,
                        Err(error) => {
                            self.not_understood(&error);
                            Err(())
                        }
                    },
                    Received::TooManyFrames { found } => {
                        self.not_understood(&format_args!("it has {found} frames"));
                        Err(())
                    }
                };
                self.advance(Event::Received(message), None).await;
                match message {
                    Ok(Control::Model) => self.second_wire.asked(),
                    Ok(Control::Ping) if self.second_wire.pinged() => {
                        self.report(Report::Declined).await;
                    }
                    _ => {}
                }
            }
        }
    }

    /// A word of the second wire.
    async fn handle_word(&mut self, word: Word) {
        let link = self.link;
        match word {
            Word::Offer(offer) => {
                self.advance(Event::Heard, None).await;
                if self.connected_since.is_some() {
                    self.second_wire.offered();
                    self.report(Report::Offered { link, offer }).await;
                }
            }
            Word::Receipt(receipt) => {
                // Only who takes what this host reports acknowledges it.
                self.advance(Event::Received(Ok(Control::Ping)), None).await;
                if self.second_wire.is_offered() {
                    self.report(Report::Receipt { link, receipt }).await;
                }
            }
        }
    }

    fn not_understood(&mut self, error: &dyn std::fmt::Display) {
        self.plan.counters.malformed();
        if let Some(untold) = self.announcer.malformed(Instant::now()) {
            events::not_understood(&self.plan.name, &self.published.endpoint, error, untold);
        }
    }

    /// Connects to the next address; reports a failure to the session once there is none left.
    async fn connect_next(&mut self) {
        // The socket of the address before, if any.
        let first = self.dealer.take().is_none();
        let mut failure = Event::ConnectFailed;
        while let (Some(address), Some(server_key)) =
            (self.addresses.pop_front(), self.choice.key())
        {
            let routing_id = RoutingId::random();
            let options = DealerOptions {
                address,
                server_key,
                keys: &self.plan.keys,
                routing_id,
            };
            match Dealer::connect(options) {
                Ok(dealer) => {
                    self.dealer = Some(dealer);
                    self.routing_id = routing_id.to_string();
                    if first {
                        self.advance(Event::Opened, None).await;
                    } else {
                        self.publish().await;
                    }
                    return;
                }
                Err(error) => {
                    self.detail = error.to_string();
                    failure = Event::OpenFailed(OpenFailure::Socket);
                }
            }
        }
        self.advance(failure, None).await;
    }

    /// Tells the session what happened and does what it decides. `sample` is what
    /// [`Event::SampleReady`] is about.
    async fn advance(&mut self, event: Event, sample: Option<&Grid>) {
        let actions = self
            .session
            .handle(event, Instant::now(), &mut fastrand::f64);
        // Neither sending a sample nor looking at the earlier ones changes what is published.
        let quiet = match event {
            Event::SampleReady => matches!(*actions, [] | [Action::SendMetrics]),
            Event::Looked(_) => actions.is_empty(),
            _ => false,
        };
        let (mut look, mut next) = (false, false);
        for action in actions {
            match action {
                Action::Open => self.open(),
                Action::Close => self.close(),
                Action::SendHello => {
                    self.send(Message::Control(Control::Hello));
                }
                Action::SendModel => self.report(Report::NeedsModel { link: self.link }).await,
                Action::SendMetrics => {
                    if let Some(grid) = sample {
                        self.send_grid(grid, GridKind::Metrics);
                    }
                }
                Action::Look => look = true,
                // The agent's task follows what is published.
                Action::StartMetrics | Action::StopMetrics => {}
                Action::BackOff { reason, .. } => next = self.handle_failure(reason),
                Action::StateChanged { new, .. } => {
                    if new == SessionState::Reporting {
                        self.announce_reporting();
                    }
                }
            }
        }
        if next {
            Box::pin(self.advance(Event::TryNext, None)).await;
        } else if !quiet {
            self.follow();
            self.publish().await;
        }
        if look {
            Box::pin(self.look()).await;
        }
    }

    /// Tells the session what the kernel knows of what was sent.
    async fn look(&mut self) {
        if let Some(dealer) = self.dealer.as_ref().filter(|dealer| dealer.is_up()) {
            let found = dealer.delivery().map(Delivery::from);
            self.advance(Event::Looked(found), None).await;
        }
    }

    fn open(&mut self) {
        self.looking_up = true;
        self.finder.begin();
        let ordered = std::mem::take(&mut self.ordered);
        // A reconnect that was requested is not a sign of trouble.
        if std::mem::replace(&mut self.opened_before, true) && !ordered {
            self.plan.counters.reconnected();
        }
    }

    fn close(&mut self) {
        self.looking_up = false;
        self.addresses.clear();
        self.dealer = None;
        self.routing_id.clear();
        self.connected_since = None;
        self.reported_as = None;
        if self.second_wire.end() {
            self.lost = Some(self.link);
        }
    }

    /// Notes that an attempt or the connection failed. Returns true if another address or key is to
    /// be tried at once; if not, it is said in the log.
    fn handle_failure(&mut self, reason: Reason) -> bool {
        let in_handshake = reason == Reason::HandshakeFailed;
        let failure = match self.suspect {
            Some(Suspect::ServerKey) if in_handshake => Failure::Key,
            _ => Failure::Other,
        };
        if in_handshake {
            self.plan.counters.handshake_failed();
        }
        let address = self.choice.address().to_owned();
        self.story.failed(&address, &sentence(reason, &self.detail));
        if self.choice.failed(failure, Instant::now()) {
            return true;
        }
        let why = self.story.round_ended(self.choice.has_several());
        if let Some(line) = self.announcer.failed(in_handshake, Instant::now()) {
            self.write(line, &address, &why);
        }
        false
    }

    /// Says in the log that it reports, and if it is to another address or key than before.
    fn announce_reporting(&mut self) {
        let (address, key) = (self.choice.address(), self.choice.key_text());
        let moved = self.story.reporting(address, key);
        match (self.announcer.reporting(Instant::now()), moved) {
            (Some(Line::Reporting), Some(moved)) => {
                events::moved(&self.plan.name, address, key, &moved);
            }
            (Some(line), _) => self.write(line, address, ""),
            (None, _) => {}
        }
    }

    /// Tells the choice whether it reports, and has probed what the choice wants probed.
    fn follow(&mut self) {
        let now = Instant::now();
        let reports = self.session.state() == SessionState::Reporting;
        self.choice.reports(reports, now);
        let aim = self.choice.to_probe().map(|(address, server_keys)| Aim {
            address,
            server_keys,
            keys: Arc::clone(&self.plan.keys),
        });
        self.probe.follow(aim, now, fastrand::f64());
    }

    /// Writes a line about this address to the log. `why` is for those that are about a failure.
    fn write(&self, line: Line, endpoint: &str, why: &str) {
        let name = &self.plan.name;
        let state = State::from(self.session.state()).as_str();
        match line {
            Line::Reporting => events::reporting(name, endpoint),
            Line::Lost => events::lost(name, endpoint, state, why),
            Line::Waiting => events::waiting(name, endpoint, state, why),
            Line::NotSecured => match self.suspect {
                Some(Suspect::OwnKey) => {
                    let own_key = self.plan.keys.public.to_string();
                    events::not_allowed(name, endpoint, &own_key, why);
                }
                Some(Suspect::ServerKey) => {
                    let keys = self.plan.collector.public_keys.iter();
                    let expected: Vec<_> = keys.map(ToString::to_string).collect();
                    events::key_refused(name, endpoint, &expected.join(", "), why);
                }
                Some(Suspect::Listener | Suspect::Server) | None => {
                    events::not_secured(name, endpoint, why);
                }
            },
            Line::Unsteady => events::unsteady(name, endpoint, state, UNSTEADY_WINDOW),
        }
    }

    fn send_grid(&mut self, grid: &Grid, kind: GridKind) {
        let sent = self.send(Message::Grid {
            host: &grid.host,
            grid: &grid.json,
            kind,
        });
        if sent {
            self.reported_as = Some(Arc::clone(&grid.host));
        }
        if sent && kind == GridKind::Model {
            self.plan.counters.sent_model();
        }
    }

    /// Hands a message to the transport, now or never. True if that worked.
    fn send(&mut self, message: Message<'_>) -> bool {
        let frames = message.frames();
        match self.dealer.as_mut().map(|dealer| dealer.try_send(&frames)) {
            Some(Ok(())) => {
                let bytes = frames.iter().map(|frame| frame.len()).sum();
                self.plan.counters.sent(bytes);
                return true;
            }
            Some(Err(error)) => events::sending_failed(&self.plan.name, &error),
            None => {}
        }
        self.plan.counters.dropped();
        false
    }

    /// Publishes the state if it has changed.
    async fn publish(&mut self) {
        let state = State::from(self.session.state());
        let reason = self.reason(state);
        let (endpoint, server_key) = (self.choice.address(), self.choice.key_text());
        let was = &mut self.published;
        if was.state == state
            && was.endpoint == endpoint
            && was.server_key == server_key
            && was.reason == reason
            && was.routing_id == self.routing_id
            && was.connected_since == self.connected_since
            && was.wants_metrics == self.session.wants_metrics()
        {
            return;
        }
        was.state_since = state.since((was.state, was.state_since), SystemTime::now());
        was.state = state;
        was.reason = reason;
        endpoint.clone_into(&mut was.endpoint);
        server_key.clone_into(&mut was.server_key);
        was.routing_id.clone_from(&self.routing_id);
        was.connected_since = self.connected_since;
        was.wants_metrics = self.session.wants_metrics();
        let report = Report::Changed(was.clone());
        self.report(report).await;
    }

    /// One sentence for a person: why it is in this state.
    fn reason(&self, state: State) -> String {
        let failures = match state {
            State::Stale if self.choice.has_several() => self.story.failures(),
            _ => None,
        };
        let reason = || sentence(self.session.reason(), &self.detail);
        match (failures, self.choice.to_probe()) {
            (Some(failures), _) => failures,
            (None, Some((first, _))) => format!("{}, in place of {first}", reason()),
            (None, None) => reason(),
        }
    }

    async fn report(&mut self, report: Report) {
        // The agent's task never waits for a connection, so there is room soon. It is gone
        // only at the very end.
        let _ = self.plan.reports.send((self.plan.serial, report)).await;
    }
}

/// Why the agent goes back to this address.
fn back_to(first: &str, lasting: Duration) -> String {
    let lasting = humantime::format_duration(lasting);
    format!("{first}, which is preferred, has been reachable for {lasting}")
}
