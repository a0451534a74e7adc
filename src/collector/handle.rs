//! How other tasks query the collector's task, and order it to do something.
//!
//! The web server, the bus and the writer of the state have a handle. Orders go through a
//! bounded channel; the loop takes a few in each turn, and answers. Counters and the state are
//! read without asking the loop.

use std::path::PathBuf;
use std::sync::Arc;

use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, broadcast, mpsc, oneshot, watch};

use super::access::key_log::ListedKey;
use super::hosts::NotForgotten;
use super::orders::{Listing, Selection};
use super::prometheus::own::Figure;
use super::push::TargetStatus;
use super::state::{CollectorState, Counters, CountersSnapshot, HostChange};
use crate::collector::hosts::snapshot::{HostSnapshot, Snapshot};
use crate::curve::keys::PublicKey;

/// Maximum number of waiting orders. Further callers wait for room.
const MAX_ORDERS: usize = 16;

/// Maximum number of changes of hosts that wait for a listener. A listener that is further
/// behind misses the oldest: for a fleet that connects at once, ten thousand signals would be
/// of no use.
const MAX_CHANGES: usize = 256;

/// Where the answer to an order goes.
pub(super) type Answer<T> = oneshot::Sender<T>;

/// An order to the collector's task.
#[derive(Debug)]
pub(super) enum Order {
    /// Return a snapshot of the table of hosts.
    Snapshot(Answer<Snapshot>),
    /// Return the collector's own figures.
    Figures(Answer<Vec<Figure>>),
    /// List hosts.
    List(Selection, Answer<Listing>),
    /// Return what is known of one host.
    Host(Box<str>, Answer<Option<Box<HostSnapshot>>>),
    /// Return the keys that have connected.
    Keys(Answer<Vec<ListedKey>>),
    /// Return the status of the remote-write targets.
    Targets(Answer<Vec<TargetStatus>>),
    /// Forget a host that is not there.
    Forget(Box<str>, Answer<Result<(), NotForgotten>>),
    /// Return the key that the next start will use. The permit is released when the reading
    /// ends.
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

/// The collector is stopping and does not answer any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the collector is stopping")]
pub struct Stopping;

/// Why an order was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum OrderError<E> {
    /// The collector stops.
    #[error(transparent)]
    Stopping(Stopping),
    /// It failed.
    #[error("{0}")]
    Failed(E),
}

/// Why a reload failed; the settings in force stay.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ReloadError {
    /// They have a mistake.
    #[error("{0}")]
    Invalid(String),
    /// They could not be read now.
    #[error("the configuration was not read: {0}")]
    NotRead(String),
}

/// The key pair that the next start will use, compared with the one in force.
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
    /// Makes a handle, and the inbox that the loop reads.
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

    /// The collector's own figures.
    ///
    /// # Errors
    ///
    /// [`Stopping`].
    pub async fn figures(&self) -> Result<Vec<Figure>, Stopping> {
        self.ask(Order::Figures).await
    }

    /// Some of the hosts, without their metrics.
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

    /// The keys that have connected, in no order: some ten thousand at most.
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
    /// [`NotForgotten`], or the collector stops.
    pub async fn forget(&self, name: &str) -> Result<(), OrderError<NotForgotten>> {
        self.order(|answer| Order::Forget(name.into(), answer))
            .await
    }

    /// The key that the next start will use. The caller must limit the number of calls, because
    /// each reads the settings; the permit is released when that ends.
    ///
    /// # Errors
    ///
    /// The settings or the key file have a mistake, or the collector stops.
    pub async fn next_key(
        &self,
        permit: OwnedSemaphorePermit,
    ) -> Result<NextKey, OrderError<ReloadError>> {
        self.order(|answer| Order::NextKey(permit, answer)).await
    }

    /// Reads the configuration again, and waits until it is in force.
    ///
    /// # Errors
    ///
    /// [`ReloadError`], and nothing has changed then; or the collector stops.
    pub async fn reload(&self) -> Result<(), OrderError<ReloadError>> {
        self.order(Order::Reload).await
    }

    /// The collector's state.
    #[must_use]
    pub fn state(&self) -> Arc<CollectorState> {
        Arc::clone(&self.state.borrow())
    }

    /// The collector's state, for watching its changes.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Arc<CollectorState>> {
        self.state.clone()
    }

    /// The numbers that change all the time.
    #[must_use]
    pub fn counters(&self) -> CountersSnapshot {
        self.gauges.read()
    }

    /// The hosts that appear and go from now on.
    #[must_use]
    pub fn host_changes(&self) -> broadcast::Receiver<HostChange> {
        self.changes.subscribe()
    }

    /// Returns true if the collector's task has ended.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.orders.is_closed()
    }

    /// Asks for something that can fail.
    async fn order<T, E>(
        &self,
        order: impl FnOnce(Answer<Result<T, E>>) -> Order,
    ) -> Result<T, OrderError<E>> {
        let answer = self.ask(order).await.map_err(OrderError::Stopping)?;
        answer.map_err(OrderError::Failed)
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
