//! One connection to a collector, as the agent's task sees it: its parameters, the orders it takes
//! and the reports it sends. The task itself is in [`task`].
//!
//! A task notes by when it will have run again ([`Progress`]). If one is long overdue, the agent's
//! task stops feeding the watchdog, so that systemd restarts the agent.

mod choice;
mod finder;
mod history;
mod probe;
mod resolve1;
mod srv;
mod story;
mod task;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{Notify, mpsc, watch};

use super::counters::CounterWriter;
use super::reason_text::sentence;
use super::state::{ConnectionState, State};
use crate::agent::settings::CollectorSettings;
use crate::curve::keys::KeyPair;
use crate::protocol::data::{Offer, Receipt};
use crate::protocol::session::{Reason, SessionSettings};

pub(crate) use choice::PROBE_EVERY;
pub(crate) use story::Moved;
pub(crate) use task::run;

/// Orders that wait for a connection at most. A sample that finds no room is dropped and
/// counted: the connection is stuck, and a fresher sample follows.
pub(crate) const ORDERS: usize = 8;

/// A grid as it goes on the wire, with the name it goes under.
#[derive(Debug)]
pub(crate) struct Grid {
    pub(crate) host: Arc<str>,
    pub(crate) json: Vec<u8>,
}

impl Default for Grid {
    fn default() -> Self {
        Self {
            host: Arc::from(""),
            json: Vec::new(),
        }
    }
}

/// Orders of the agent's task to a connection.
#[derive(Debug)]
pub(crate) enum Order {
    /// The host's name is known: connect.
    Start,
    /// A sample is due.
    Metrics(Arc<Grid>),
    /// The answer to [`Report::NeedsModel`] with the same link.
    Model { grid: Arc<Grid>, link: u64 },
    /// What is next for a collector that has offered to take history.
    History(Box<HistoryOrder>),
    /// Close and end.
    Stop,
}

/// Samples for a collector of the second wire. They are never dropped: what the socket does not take
/// waits in the connection, and what has not left when the link goes is handed out again.
#[derive(Debug)]
pub(crate) struct HistoryOrder {
    /// The name that they go under.
    pub(crate) host: Arc<str>,
    /// The bodies of DATA messages, in order.
    pub(crate) bodies: Vec<Vec<u8>>,
    /// The link that they are for; on another one they are of no use.
    pub(crate) link: u64,
    /// They are the sample that is due, in place of a METR message.
    pub(crate) fresh: bool,
}

/// The connection's end of what the agent's task orders. Only samples queue; the rest
/// can't be missed and needs no room, so that the agent's task never waits for a
/// connection.
pub(crate) struct Orders {
    pub(crate) queue: mpsc::Receiver<Order>,
    /// The intervals in force.
    pub(crate) settings: watch::Receiver<SessionSettings>,
    /// Close and reconnect, at once.
    pub(crate) reconnect: Arc<Notify>,
}

/// Reports of a connection to the agent's task.
#[derive(Debug)]
pub(crate) enum Report {
    /// Its published state is another one now.
    Changed(ConnectionState),
    /// The collector asked for the model on this link.
    NeedsModel { link: u64 },
    /// The collector takes history on this link.
    Offered { link: u64, offer: Offer },
    /// The collector has answered on this link, and has not said that it takes history.
    Declined,
    /// The collector has acknowledged samples on this link.
    Receipt { link: u64, receipt: Receipt },
    /// This link, whose collector takes history, is down.
    LinkLost { link: u64 },
}

/// Which connection a report comes from: the same name may be configured again later.
pub(crate) type Serial = u64;

/// What a connection is made of.
pub(crate) struct ConnectionParams {
    pub(crate) serial: Serial,
    /// When it came to be.
    pub(crate) made: SystemTime,
    pub(crate) name: String,
    /// Where the collector is, and its keys.
    pub(crate) collector: Arc<CollectorSettings>,
    /// Between two probes of the first address: [`PROBE_EVERY`], but in tests.
    pub(crate) probe_every: Duration,
    pub(crate) keys: Arc<KeyPair>,
    pub(crate) counters: CounterWriter,
    pub(crate) progress: Arc<Progress>,
    pub(crate) reports: mpsc::Sender<(Serial, Report)>,
}

impl ConnectionParams {
    /// The state before the task has run.
    pub(crate) fn initial_state(&self) -> ConnectionState {
        ConnectionState {
            name: self.name.clone(),
            endpoint: self.collector.first_address(),
            server_key: self.collector.first_key(),
            collector: Arc::clone(&self.collector),
            state: State::Connecting,
            state_since: self.made,
            reason: sentence(Reason::NotStarted, ""),
            routing_id: String::new(),
            connected_since: None,
            wants_metrics: false,
            totals: self.counters.connection(),
        }
    }
}

/// How long past its deadline a task counts as late rather than stuck. A host that swaps
/// or was suspended catches up in seconds.
const GRACE: Duration = Duration::from_secs(20);

/// Not running: nothing is expected.
const IDLE: u64 = u64::MAX;

/// By when a task will have run again.
#[derive(Debug)]
pub(crate) struct Progress {
    origin: Instant,
    // Milliseconds since the origin.
    expected: AtomicU64,
}

impl Progress {
    pub(crate) fn new(origin: Instant) -> Self {
        Self {
            origin,
            expected: AtomicU64::new(IDLE),
        }
    }

    /// The task sleeps now and will run again by then, whatever happens.
    pub(crate) fn expect_by(&self, deadline: Instant) {
        let millis = deadline.saturating_duration_since(self.origin).as_millis();
        let millis = u64::try_from(millis).unwrap_or(IDLE - 1).min(IDLE - 1);
        self.expected.store(millis, Relaxed);
    }

    /// The task has ended.
    pub(crate) fn done(&self) {
        self.expected.store(IDLE, Relaxed);
    }

    /// True if the task should have run long ago.
    pub(crate) fn stuck(&self, now: Instant) -> bool {
        let expected = self.expected.load(Relaxed);
        expected != IDLE
            && now.saturating_duration_since(self.origin)
                > Duration::from_millis(expected).saturating_add(GRACE)
    }
}

#[cfg(test)]
mod tests;
