//! How others ask the collector's task: what it knows, and to do something.
//!
//! The web server, the bus and the keeper of the state have one. Orders go through a
//! bounded channel; the loop takes a few in each turn, and answers.

use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

use super::prometheus::own::Figure;
use super::snapshot::Snapshot;

/// Most orders that wait. More askers wait for room.
const MAX_ORDERS: usize = 16;

/// Something to be done by the collector's task.
#[derive(Debug)]
pub(super) enum Order {
    /// Say what the table of hosts holds.
    Snapshot(oneshot::Sender<Snapshot>),
    /// Say what it counts of itself.
    Figures(oneshot::Sender<Vec<Figure>>),
}

/// Asks the collector's task.
#[derive(Clone, Debug)]
pub struct Handle {
    orders: mpsc::Sender<Order>,
}

/// The collector stops, and answers no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the collector is stopping")]
pub struct Stopping;

impl Handle {
    /// A handle, and what the loop takes orders from.
    pub(super) fn new() -> (Self, mpsc::Receiver<Order>) {
        let (orders, taken) = mpsc::channel(MAX_ORDERS);
        (Self { orders }, taken)
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

    async fn ask<T>(&self, order: impl FnOnce(oneshot::Sender<T>) -> Order) -> Result<T, Stopping> {
        let (answer, answered) = oneshot::channel();
        self.orders
            .send(order(answer))
            .await
            .map_err(|_| Stopping)?;
        answered.await.map_err(|_| Stopping)
    }
}
