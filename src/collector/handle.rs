//! How others ask the collector's task: what it knows, and to do something.
//!
//! The web server, the bus and the writer of the state have one. Orders go through a
//! bounded channel; the loop takes a few in each turn, and answers. What changes all the
//! time, and the state, is read without asking.

use std::path::PathBuf;
use std::sync::Arc;

use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, broadcast, mpsc, oneshot, watch};

use super::access::key_log::ListedKey;
use super::hosts::NotForgotten;
use super::listing::{Listing, Selection};
use super::prometheus::own::Figure;
use super::push::TargetStatus;
use super::state::{CollectorState, Counters, CountersSnapshot, HostChange};
use crate::collector::hosts::snapshot::{HostSnapshot, Snapshot};
use crate::curve::keys::PublicKey;

/// Most orders that wait. More askers wait for room.
const MAX_ORDERS: usize = 16;

/// Most hosts that came or went of which a listener has not heard yet. Who is further
/// behind misses the oldest: a fleet that comes at once is one number, not ten thousand
/// signals.
const MAX_CHANGES: usize = 256;

/// Who waits for an answer.
pub(super) type Answer<T> = oneshot::Sender<T>;

/// Something to be done by the collector's task.
#[derive(Debug)]
pub(super) enum Order {
    /// Say what the table of hosts holds.
    Snapshot(Answer<Snapshot>),
    /// Say what it counts of itself.
    Figures(Answer<Vec<Figure>>),
    /// List hosts.
    List(Selection, Answer<Listing>),
    /// Say what is known of one host.
    Host(Box<str>, Answer<Option<Box<HostSnapshot>>>),
    /// Say which keys came.
    Keys(Answer<Vec<ListedKey>>),
    /// Say how the targets of remote write fare.
    Targets(Answer<Vec<TargetStatus>>),
    /// Forget a host that is not there.
    Forget(Box<str>, Answer<Result<(), NotForgotten>>),
    /// Say which key the next start will have. The permit ends with the reading.
    NextKey(OwnedSemaphorePermit, Answer<Result<NextKey, ReloadError>>),
    /// Read the configuration again.
    Reload(Answer<Result<(), ReloadError>>),
}

/// Asks the collector's task.
#[derive(Clone, Debug)]
pub struct Handle {
    orders: mpsc::Sender<Order>,
    state: watch::Receiver<Arc<CollectorState>>,
    gauges: Arc<Counters>,
    changes: broadcast::Sender<HostChange>,
}

/// The loop's ends of the channels.
#[derive(Debug)]
pub(super) struct Inbox {
    pub(super) orders: mpsc::Receiver<Order>,
    pub(super) state: watch::Sender<Arc<CollectorState>>,
    pub(super) gauges: Arc<Counters>,
    pub(super) changes: broadcast::Sender<HostChange>,
}

/// The collector stops, and answers no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the collector is stopping")]
pub struct Stopping;

/// Why the settings stay as they are.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ReloadError {
    /// They have a mistake.
    #[error("{0}")]
    Invalid(String),
    /// They could not be read now.
    #[error("the configuration was not read: {0}")]
    NotRead(String),
}

/// The key pair that the settings mean now, where it is another than the one in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NextKey {
    /// The one in force.
    Same,
    /// Another one, in this file.
    Other(PublicKey, PathBuf),
    /// One that the next start makes, in this file.
    Made(PathBuf),
}

impl Handle {
    /// A handle, and what the loop takes orders from.
    pub(super) fn new(state: CollectorState) -> (Self, Inbox) {
        let (orders, taken) = mpsc::channel(MAX_ORDERS);
        let (published, watched) = watch::channel(Arc::new(state));
        let changes = broadcast::Sender::new(MAX_CHANGES);
        let gauges = Arc::new(Counters::default());
        let inbox = Inbox {
            orders: taken,
            state: published,
            gauges: Arc::clone(&gauges),
            changes: changes.clone(),
        };
        let handle = Self {
            orders,
            state: watched,
            gauges,
            changes,
        };
        (handle, inbox)
    }

    /// The table of hosts at this moment.
    ///
    /// # Errors
    ///
    /// [`Stopping`].
    pub async fn snapshot(&self) -> Result<Snapshot, Stopping> {
        self.ask(Order::Snapshot).await
    }

    /// What the collector's task counts of itself.
    ///
    /// # Errors
    ///
    /// [`Stopping`].
    pub async fn figures(&self) -> Result<Vec<Figure>, Stopping> {
        self.ask(Order::Figures).await
    }

    /// Some of the hosts, without what they report.
    ///
    /// # Errors
    ///
    /// [`Stopping`].
    pub async fn list(&self, selection: Selection) -> Result<Listing, Stopping> {
        self.ask(|answer| Order::List(selection, answer)).await
    }

    /// All that is known of a host; None for one that is not known.
    ///
    /// # Errors
    ///
    /// [`Stopping`].
    pub async fn host(&self, name: &str) -> Result<Option<Box<HostSnapshot>>, Stopping> {
        self.ask(|answer| Order::Host(name.into(), answer)).await
    }

    /// The keys that came, in no order: some ten thousand at most.
    ///
    /// # Errors
    ///
    /// [`Stopping`].
    pub async fn keys(&self) -> Result<Vec<ListedKey>, Stopping> {
        self.ask(Order::Keys).await
    }

    /// How the targets of remote write fare.
    ///
    /// # Errors
    ///
    /// [`Stopping`].
    pub async fn targets(&self) -> Result<Vec<TargetStatus>, Stopping> {
        self.ask(Order::Targets).await
    }

    /// Forgets a host that is not there.
    ///
    /// # Errors
    ///
    /// [`Stopping`]; [`NotForgotten`] inside.
    pub async fn forget(&self, name: &str) -> Result<Result<(), NotForgotten>, Stopping> {
        self.ask(|answer| Order::Forget(name.into(), answer)).await
    }

    /// The key that the next start will have. Who asks has to bound how many do: the settings are
    /// read, and the permit ends with that.
    ///
    /// # Errors
    ///
    /// [`Stopping`]; [`ReloadError`] inside: the settings or the key file have a mistake.
    pub async fn next_key(
        &self,
        permit: OwnedSemaphorePermit,
    ) -> Result<Result<NextKey, ReloadError>, Stopping> {
        self.ask(|answer| Order::NextKey(permit, answer)).await
    }

    /// Reads the configuration again, and waits until it is in force.
    ///
    /// # Errors
    ///
    /// [`Stopping`]; [`ReloadError`] inside, and nothing has changed then.
    pub async fn reload(&self) -> Result<Result<(), ReloadError>, Stopping> {
        self.ask(Order::Reload).await
    }

    /// The collector's state.
    #[must_use]
    pub fn state(&self) -> Arc<CollectorState> {
        Arc::clone(&self.state.borrow())
    }

    /// The collector's state, to be told when it changes.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Arc<CollectorState>> {
        self.state.clone()
    }

    /// The numbers that change all the time.
    #[must_use]
    pub fn counters(&self) -> CountersSnapshot {
        self.gauges.read()
    }

    /// The hosts that come and go from now on.
    #[must_use]
    pub fn host_changes(&self) -> broadcast::Receiver<HostChange> {
        self.changes.subscribe()
    }

    /// Whether the collector's task has ended.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.orders.is_closed()
    }

    async fn ask<T>(&self, order: impl FnOnce(Answer<T>) -> Order) -> Result<T, Stopping> {
        let (answer, answered) = oneshot::channel();
        self.orders
            .send(order(answer))
            .await
            .map_err(|_| Stopping)?;
        answered.await.map_err(|_| Stopping)
    }
}
