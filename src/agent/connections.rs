//! The set of connections: starts and ends their tasks, passes orders on, keeps what
//! they last said of themselves.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;

use super::connection::Progress;
use super::connection::{
    self, ConnectionParams, Grid, HistoryOrder, Order, Orders, Report, Serial,
};
use super::counters::{CounterWriter, Counters};
use super::state::ConnectionState;
use crate::agent::settings::{CollectorSettings, MAX_COLLECTORS, Settings};
use crate::base::offload;
use crate::base::throttle::Throttle;
use crate::curve::keys::KeyPair;
use crate::protocol::session::SessionSettings;

/// Reports that wait for the agent's task at most; a connection past that waits its turn.
const REPORTS: usize = 64;

/// Orders that may wait besides those with samples of the history: what is due now must not find the queue
/// full of what was.
const ROOM_FOR_OTHERS: usize = connection::ORDERS / 2;

const _: () = assert!(
    offload::MAX_THREADS >= 2 * (MAX_COLLECTORS + 2),
    "each connection may look up a name while an earlier look-up hangs"
);

struct Running {
    serial: Serial,
    settings: CollectorSettings,
    keys: Arc<KeyPair>,
    orders: mpsc::Sender<Order>,
    reconnect: Arc<Notify>,
    counters: CounterWriter,
    progress: Arc<Progress>,
    state: ConnectionState,
    /// Receipts that cannot be.
    receipts: Throttle,
    task: JoinHandle<()>,
}

/// Every configured connection, by name.
pub(crate) struct Connections {
    running: BTreeMap<String, Running>,
    /// Told to stop, not ended yet.
    ending: Vec<JoinHandle<()>>,
    started: bool,
    serials: Serial,
    origin: Instant,
    session: watch::Sender<SessionSettings>,
    totals: Arc<Counters>,
    report_to: mpsc::Sender<(Serial, Report)>,
    reports: mpsc::Receiver<(Serial, Report)>,
}

impl Connections {
    pub(crate) fn new(session: SessionSettings, now: Instant) -> Self {
        let (report_to, reports) = mpsc::channel(REPORTS);
        Self {
            running: BTreeMap::new(),
            ending: Vec::new(),
            started: false,
            serials: 0,
            origin: now,
            session: watch::Sender::new(session),
            totals: Arc::default(),
            report_to,
            reports,
        }
    }

    /// The totals of all connections that there ever were.
    pub(crate) fn totals(&self) -> Arc<Counters> {
        Arc::clone(&self.totals)
    }

    pub(crate) fn len(&self) -> usize {
        self.running.len()
    }

    /// The last reported state of each, ordered by name.
    pub(crate) fn states(&self) -> Vec<ConnectionState> {
        self.running
            .values()
            .map(|running| running.state.clone())
            .collect()
    }

    /// Brings the connections in line with the settings. Connections whose settings did not change
    /// go on undisturbed; the others restart at `now`.
    pub(crate) fn apply(&mut self, settings: &Settings, now: SystemTime) {
        let keys = Arc::new(settings.key_pair.clone());
        let gone: Vec<String> = self
            .running
            .iter()
            .filter(|(name, running)| {
                configured(settings, name) != Some(&running.settings)
                    || running.keys.public != keys.public
            })
            .map(|(name, _)| name.clone())
            .collect();
        for name in gone {
            if let Some(running) = self.running.remove(&name) {
                self.ending.push(end(running));
            }
        }
        self.ending.retain(|task| !task.is_finished());
        for (name, collector) in &settings.collectors {
            if !self.running.contains_key(name.as_str()) {
                let running = self.spawn(name.as_str(), collector, &keys, now);
                self.running.insert(name.to_string(), running);
            }
        }
    }

    fn spawn(
        &mut self,
        name: &str,
        collector: &CollectorSettings,
        keys: &Arc<KeyPair>,
        now: SystemTime,
    ) -> Running {
        self.serials += 1;
        let counters = CounterWriter::new(Arc::clone(&self.totals));
        let progress = Arc::new(Progress::new(self.origin));
        let plan = ConnectionParams {
            serial: self.serials,
            made: now,
            name: name.to_owned(),
            collector: Arc::new(collector.clone()),
            probe_every: connection::PROBE_EVERY,
            keys: Arc::clone(keys),
            counters: counters.clone(),
            progress: Arc::clone(&progress),
            reports: self.report_to.clone(),
        };
        let state = plan.initial_state();
        let (orders, queue) = mpsc::channel(connection::ORDERS);
        let reconnect = Arc::new(Notify::new());
        let obeyed = Orders {
            queue,
            settings: self.session.subscribe(),
            reconnect: Arc::clone(&reconnect),
        };
        if self.started {
            // The channel is new: there is room.
            let _ = orders.try_send(Order::Start);
        }
        Running {
            serial: self.serials,
            settings: collector.clone(),
            keys: Arc::clone(keys),
            orders,
            reconnect,
            counters,
            progress,
            state,
            receipts: Throttle::default(),
            task: tokio::spawn(connection::run(plan, obeyed)),
        }
    }

    /// Lets the connections begin. Until then nothing leaves the host.
    pub(crate) fn start(&mut self) {
        if !std::mem::replace(&mut self.started, true) {
            for running in self.running.values() {
                let _ = running.orders.try_send(Order::Start);
            }
        }
    }

    /// True once the connections were let begin.
    pub(crate) fn started(&self) -> bool {
        self.started
    }

    /// The next report, from whichever connection. Cancel safe.
    pub(crate) async fn report(&mut self) -> (Serial, Report) {
        match self.reports.recv().await {
            Some(report) => report,
            // Never: we hold a sender ourselves.
            None => std::future::pending().await,
        }
    }

    /// Stores a new state; returns the previous one. None if the connection is no longer in the
    /// settings.
    pub(crate) fn note(
        &mut self,
        serial: Serial,
        state: ConnectionState,
    ) -> Option<ConnectionState> {
        let running = self.by_serial(serial)?;
        Some(std::mem::replace(&mut running.state, state))
    }

    /// Returns true if some connection but those `told` wants samples.
    pub(crate) fn any_wants_metrics(&self, told: &[String]) -> bool {
        self.wanting(told).next().is_some()
    }

    fn wanting(&self, told: &[String]) -> impl Iterator<Item = &Running> {
        let others = self.running.iter().filter(|(name, _)| !told.contains(name));
        let others = others.map(|(_, running)| running);
        others.filter(|running| running.state.wants_metrics)
    }

    /// Hands a sample to every connection that wants one, but to those `told` of it.
    pub(crate) fn send_metrics(&self, grid: &Arc<Grid>, told: &[String]) {
        for running in self.wanting(told) {
            if running
                .orders
                .try_send(Order::Metrics(Arc::clone(grid)))
                .is_err()
            {
                running.counters.dropped();
            }
        }
    }

    /// Returns true if this connection sends samples now, and more of the history may wait for it.
    pub(crate) fn has_room_for_history(&self, name: &str) -> bool {
        self.running.get(name).is_some_and(|running| {
            running.state.wants_metrics && running.orders.capacity() > ROOM_FOR_OTHERS
        })
    }

    /// Hands samples of the history to a connection that has room for them.
    pub(crate) fn send_history(&self, name: &str, order: HistoryOrder) {
        if let Some(running) = self.running.get(name) {
            // There is room: nothing else gives orders. One that has ended loses its link with it.
            let _ = running.orders.try_send(Order::History(Box::new(order)));
        }
    }

    /// The name of a connection that is in the settings.
    pub(crate) fn name_of(&self, serial: Serial) -> Option<&str> {
        let mut running = self.running.iter();
        let (name, _) = running.find(|(_, running)| running.serial == serial)?;
        Some(name)
    }

    /// A receipt was of no use. Returns how many were kept quiet about since the last line, where another
    /// line is due.
    pub(crate) fn receipt_refused(&mut self, serial: Serial, now: Instant) -> Option<u64> {
        let running = self.by_serial(serial)?;
        running.counters.malformed();
        running.receipts.note(now)
    }

    /// The connection of this name.
    pub(crate) fn serial_of(&self, name: &str) -> Option<Serial> {
        Some(self.running.get(name)?.serial)
    }

    /// Hands a model to the connection that asked for it on this link.
    pub(crate) fn send_model(&mut self, serial: Serial, grid: Arc<Grid>, link: u64) {
        if let Some(running) = self.by_serial(serial)
            && running
                .orders
                .try_send(Order::Model { grid, link })
                .is_err()
        {
            running.counters.dropped();
        }
    }

    /// Tells every connection the intervals in force.
    pub(crate) fn configure(&self, session: SessionSettings) {
        self.session.send_if_modified(|current| {
            let changed = *current != session;
            *current = session;
            changed
        });
    }

    /// Reconnects the named connection, or all. Returns false if there is none of that name.
    pub(crate) fn reconnect(&self, name: Option<&str>) -> bool {
        let mut found = name.is_none();
        for (running_name, running) in &self.running {
            if name.is_none_or(|name| name == running_name) {
                found = true;
                running.reconnect.notify_one();
            }
        }
        found
    }

    /// A connection whose task should have run long ago.
    pub(crate) fn stuck(&self, now: Instant) -> Option<&str> {
        let mut running = self.running.iter();
        let (name, _) = running.find(|(_, running)| running.progress.stuck(now))?;
        Some(name)
    }

    /// Ends every connection and returns once all have.
    pub(crate) async fn stop(&mut self) {
        for running in std::mem::take(&mut self.running).into_values() {
            self.ending.push(end(running));
        }
        // The reports are not read any more: a connection must not wait for that.
        self.reports.close();
        for task in self.ending.drain(..) {
            let _ = task.await;
        }
    }

    fn by_serial(&mut self, serial: Serial) -> Option<&mut Running> {
        self.running
            .values_mut()
            .find(|running| running.serial == serial)
    }
}

fn configured<'a>(settings: &'a Settings, name: &str) -> Option<&'a CollectorSettings> {
    let mut collectors = settings.collectors.iter();
    let (_, found) = collectors.find(|(configured, _)| configured.as_str() == name)?;
    Some(found)
}

/// Orders a connection to end. This also closes its orders' channel, which has the same effect if
/// there is no room for the order.
fn end(running: Running) -> JoinHandle<()> {
    let _ = running.orders.try_send(Order::Stop);
    running.task
}
