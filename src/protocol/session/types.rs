//! The types of the session: its events and its actions.

use std::fmt;
use std::ops::Deref;
use std::time::Duration;

use super::SessionSettings;
use super::delivery::Delivery;
use crate::protocol::message::Control;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Begin: the same as a tick, named for the reader.
    Start,
    /// The deadline may have come. One that comes early does nothing.
    Tick,
    /// There is a socket now, connecting.
    Opened,
    /// There is none, or it cannot be used.
    OpenFailed(OpenFailure),
    /// No TCP connection came about (refused, no route, timed out) and no address is left
    /// to try.
    ConnectFailed,
    /// The socket monitor: the handshake succeeded.
    LinkUp,
    /// The socket monitor: the link is gone.
    LinkDown(LinkDown),
    /// A message from the collector, understood or not.
    Received(Result<Control, ()>),
    /// A message from the collector that shows that it is alive, and says nothing of this host.
    Heard,
    /// A metrics sample is ready to be sent.
    SampleReady,
    /// What the kernel knows of what was sent on this link; None if it does not say. To be reported
    /// before each [`Event::SampleReady`], and for [`Action::Look`].
    Looked(Option<Delivery>),
    /// The connection is to be made again, at once: an administrator wants it, or the host has
    /// another name.
    Reconnect,
    /// The failure that was just reported by [`Action::BackOff`] needs no wait, because another
    /// address or key of the collector has not failed yet: that one is tried at once.
    TryNext,
    /// New settings, in force from now.
    Configure(SessionSettings),
    /// No more; final.
    Stop,
}

/// Why no socket came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenFailure {
    /// The collector's name has no address now.
    NameLookUp,
    /// The socket could not be made, or failed.
    Socket,
}

/// What the socket monitor said when the link went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkDown {
    /// Only that. Before the link was up the session takes it for a failed handshake.
    Disconnected,
    /// The handshake failed.
    HandshakeFailed,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Look the name up, make a fresh socket with a fresh routing id, connect it.
    Open,
    /// Drop the socket, or the attempt to make one.
    Close,
    /// Send [`Control::Hello`].
    SendHello,
    /// Sample and send a model grid.
    SendModel,
    /// Send the metrics sample.
    SendMetrics,
    /// Say what the kernel knows of what was sent, [`Event::Looked`].
    Look,
    /// From now on [`Event::SampleReady`] is answered: run the metrics timer.
    StartMetrics,
    /// From now on it is not.
    StopMetrics,
    /// For the record: a connection or attempt failed; the next one is opened after the
    /// delay.
    BackOff {
        /// What failed.
        reason: Reason,
        /// How long until the next [`Action::Open`].
        delay: Duration,
    },
    /// For the record: the state is another one now. Always the last action.
    StateChanged {
        /// The state before the event.
        old: State,
        /// The state after it.
        new: State,
        /// Why.
        reason: Reason,
    },
}

/// The state of a connection, as D-Bus shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// The collector did not answer hello yet.
    Connecting,
    /// Metrics are sent.
    Reporting,
    /// The collector was silent too long or the link is down; it is tried again and again.
    Stale,
    /// Stopped for good.
    Stopping,
}

impl State {
    /// The name on D-Bus.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Reporting => "reporting",
            Self::Stale => "stale",
            Self::Stopping => "stopping",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a connection is in its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Connecting: not started.
    NotStarted,
    /// Connecting: the name is being looked up and the socket made.
    Opening,
    /// Connecting: the same, as requested by [`Event::Reconnect`].
    Ordered,
    /// Connecting: there is a socket, and no link.
    NotYetConnected,
    /// Connecting: the link is up, hello was said, nothing came back.
    NotYetAnswered,
    /// Connecting: the collector is alive, but has not asked for the model.
    AwaitingModelRequest,
    /// Connecting: the collector asked for the model, and has not said yet whether it takes what
    /// this host reports.
    AwaitingVerdict,
    /// Reporting: the collector asked for it.
    MetricsRequested,
    /// Stale: no message from the collector for this long.
    Silent {
        /// Since its last message on this connection, or since the socket was made.
        lasting: Duration,
    },
    /// Stale: the collector is heard, and nothing that was sent to it is acknowledged.
    Unacknowledged {
        /// For how long, when that was noticed.
        lasting: Duration,
    },
    /// Stale: the link was up and went down.
    LinkLost,
    /// Stale: the link went down before it was up. The configured public key of the
    /// collector is the likely cause.
    HandshakeFailed,
    /// Stale: no TCP connection was made.
    Unreachable,
    /// Stale: the collector says that it refuses what this host reports.
    Refused,
    /// Stale: the lookup, or the connection with its handshake, took too long.
    ConnectTimedOut {
        /// How long it was waited for.
        after: Duration,
    },
    /// Stale: there was not even a socket.
    OpenFailed(OpenFailure),
    /// Stopping.
    Stopped,
}

/// The most actions of one event: a link that fails while reporting stops the metrics,
/// closes, backs off and changes the state.
const MAX_ACTIONS: usize = 4;

/// The actions of one event, in the order to do them. Derefs to `[Action]`; no allocation.
#[derive(Clone, Copy, Debug)]
pub struct Actions {
    actions: [Action; MAX_ACTIONS],
    count: usize,
}

impl Actions {
    pub(super) const fn new() -> Self {
        Self {
            // Filling; never seen beyond `count`.
            actions: [Action::Close; MAX_ACTIONS],
            count: 0,
        }
    }

    pub(super) fn push(&mut self, action: Action) {
        let slot = self.actions.get_mut(self.count);
        debug_assert!(slot.is_some(), "more than {MAX_ACTIONS} actions");
        if let Some(slot) = slot {
            *slot = action;
            self.count += 1;
        }
    }
}

impl Deref for Actions {
    type Target = [Action];

    fn deref(&self) -> &[Action] {
        self.actions.get(..self.count).unwrap_or(&self.actions)
    }
}

impl IntoIterator for Actions {
    type Item = Action;
    type IntoIter = std::iter::Take<std::array::IntoIter<Action, MAX_ACTIONS>>;

    fn into_iter(self) -> Self::IntoIter {
        self.actions.into_iter().take(self.count)
    }
}
