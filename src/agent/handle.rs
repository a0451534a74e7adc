//! How others reach the agent: orders by messages, state by a published snapshot.
//!
//! A [`Handle`] is cheap to clone and never blocks the agent. Reading the state
//! costs a reference count; whatever changes the agent, or needs its samplers, is an
//! order that its task carries out between two samples.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{broadcast, mpsc, oneshot, watch};

use super::history::types::{Status, Usage};
use super::state::{AgentState, Happening};
use crate::metrics::table::METRICS;
use crate::metrics::{Definition, Samples};
use crate::protocol::data::Acknowledged;
use crate::sources::SourceStatus;

/// Which grid to sample: what changes, or what rarely does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GridKind {
    /// The grid of a `metrics` message.
    Metrics,
    /// The grid of a `model` message.
    Model,
}

/// A change of the intervals; None leaves an interval as it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct IntervalChange {
    /// Between two metrics messages.
    pub metrics: Option<Duration>,
    /// Silence after which a connection is stale.
    pub stale: Option<Duration>,
}

/// What is kept for one collector, and for all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryStatus {
    /// How far this collector is.
    pub collector: Status,
    /// What is kept for all collectors together.
    pub usage: Usage,
    /// What its receipts mean; None while it does not take history.
    pub acknowledges: Option<Acknowledged>,
}

/// Why an order was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    /// A value outside its range; the text names the range.
    #[error("{0}")]
    OutOfRange(String),
    /// No connection of that name is configured.
    #[error("no connection is named {0:?}")]
    NoSuchConnection(String),
    /// No source of that name is known.
    #[error("no source is named {0:?}")]
    NoSuchSource(String),
    /// The configuration is invalid: it changed nothing.
    #[error("{0}")]
    InvalidConfiguration(String),
    /// The setting is in force but could not be kept for the next start.
    #[error("the setting is in force but will not survive a restart: {0}")]
    NotKept(String),
    /// Sampling gave no value at all.
    #[error("{0}")]
    NotSampled(String),
    /// The agent is ending and takes no more orders.
    #[error("the agent is stopping")]
    Stopping,
}

/// Where the answer to an order goes.
pub(crate) type Answer<T> = oneshot::Sender<Result<T, OrderError>>;

/// An order to the agent's task.
#[derive(Debug)]
pub(crate) enum Order {
    SetIntervals {
        change: IntervalChange,
        persistent: bool,
        answer: Answer<()>,
    },
    Revert(Answer<()>),
    /// None: every connection.
    Reconnect(Option<String>, Answer<()>),
    Reload(Answer<()>),
    Sample(GridKind, Answer<Samples>),
    SampleSource(String, Answer<Samples>),
    SetEnabled {
        source: String,
        enabled: bool,
        answer: Answer<()>,
    },
    SourceStatus(String, Answer<SourceStatus>),
    HistoryStatus(String, Answer<HistoryStatus>),
}

/// Orders that wait for the agent's task at most; a caller past that waits its turn.
pub(crate) const ORDERS: usize = 16;

/// State changes that a slow listener may lag behind before it loses the oldest.
pub(crate) const STATE_CHANGES: usize = 64;

/// The agent as the rest of the program sees it.
#[derive(Debug, Clone)]
pub struct Handle {
    pub(crate) orders: mpsc::Sender<Order>,
    pub(crate) state: watch::Receiver<Arc<AgentState>>,
    pub(crate) changes: broadcast::Sender<Happening>,
}

impl Handle {
    /// The state as it is now.
    #[must_use]
    pub fn state(&self) -> Arc<AgentState> {
        Arc::clone(&self.state.borrow())
    }

    /// A receiver that wakes whenever the published state has changed.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Arc<AgentState>> {
        self.state.clone()
    }

    /// Every change of a connection's state, and every loss, from now on.
    #[must_use]
    pub fn happenings(&self) -> broadcast::Receiver<Happening> {
        self.changes.subscribe()
    }

    /// True once the agent's task has ended.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.orders.is_closed()
    }

    /// Every metric that the agent knows.
    #[must_use]
    pub fn metrics(&self) -> &'static [&'static Definition] {
        METRICS
    }

    /// Sets intervals at once; `persistent` keeps them for the next start too.
    pub async fn set_intervals(
        &self,
        change: IntervalChange,
        persistent: bool,
    ) -> Result<(), OrderError> {
        self.order(|answer| Order::SetIntervals {
            change,
            persistent,
            answer,
        })
        .await
    }

    /// Drops every persistent and run-time setting: back to the files.
    pub async fn revert(&self) -> Result<(), OrderError> {
        self.order(Order::Revert).await
    }

    /// Closes every connection, or the one named, and opens it again, at once.
    pub async fn reconnect(&self, connection: Option<String>) -> Result<(), OrderError> {
        self.order(|answer| Order::Reconnect(connection, answer))
            .await
    }

    /// Reads the configuration again; an invalid one changes nothing.
    pub async fn reload(&self) -> Result<(), OrderError> {
        self.order(Order::Reload).await
    }

    /// A fresh grid, without sending it.
    pub async fn sample(&self, kind: GridKind) -> Result<Samples, OrderError> {
        self.order(|answer| Order::Sample(kind, answer)).await
    }

    /// A fresh sample of one source, without sending it.
    pub async fn sample_source(&self, name: &str) -> Result<Samples, OrderError> {
        self.order(|answer| Order::SampleSource(name.to_owned(), answer))
            .await
    }

    /// Enables or disables a source until the next start or [`revert`](Self::revert).
    pub async fn set_enabled(&self, name: &str, enabled: bool) -> Result<(), OrderError> {
        self.order(|answer| Order::SetEnabled {
            source: name.to_owned(),
            enabled,
            answer,
        })
        .await
    }

    /// What a source has done so far.
    pub async fn source_status(&self, name: &str) -> Result<SourceStatus, OrderError> {
        self.order(|answer| Order::SourceStatus(name.to_owned(), answer))
            .await
    }

    /// What is kept for a collector.
    pub async fn history_status(&self, name: &str) -> Result<HistoryStatus, OrderError> {
        self.order(|answer| Order::HistoryStatus(name.to_owned(), answer))
            .await
    }

    async fn order<T>(&self, order: impl FnOnce(Answer<T>) -> Order) -> Result<T, OrderError> {
        let (answer, answered) = oneshot::channel();
        self.orders
            .send(order(answer))
            .await
            .map_err(|_| OrderError::Stopping)?;
        answered.await.map_err(|_| OrderError::Stopping)?
    }
}
