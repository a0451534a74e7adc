//! The agent's side of one connection, as a state machine without any I/O.
//!
//! Events go in with the time at which they happened; actions come out, to be done in their order.
//! The machine decides everything the protocol leaves to the agent: when to reconnect and after
//! which wait, when to say hello, whether to answer a request for the model, whether a sample is
//! sent. The shell around it owns the socket and the timer and decides nothing.
//!
//! What the shell promises:
//!
//! - After [`Action::Open`] it looks the name up, makes a socket with a fresh routing id and
//!   reports [`Event::Opened`], or [`Event::OpenFailed`]. The transport's own reconnecting is off.
//! - After [`Action::Close`] the session gets no more events of that socket, or of the attempt to
//!   make it.
//! - When [`Session::deadline`] has come it reports [`Event::Tick`].
//!
//! A shell that breaks a promise makes the session wait longer, never panic.
//!
//! How the rules combine where the protocol is silent:
//!
//! - A failure is followed by a wait. Where the collector has several addresses or keys, the shell
//!   says that another one is left ([`Event::TryNext`]): then there is none, and it does not count
//!   for the next one either.
//! - The window of one model answer in [`SessionSettings::model_min_interval`] spans connections:
//!   it protects a collector to which all agents return at once. A collector that still lacks the
//!   model gets metrics and asks again.
//! - A connection stays [`State::Stale`] through every attempt to restore it, until the collector
//!   says something or an administrator orders a reconnect. So its state changes once when a
//!   collector goes and once when it is back.
//! - A message from the collector ends staleness and resets the back-off; only its request for
//!   the model starts the metrics.
//! - If nothing that was sent is acknowledged although the collector is heard, the connection is
//!   stale until something large has arrived, whatever the collector says meanwhile: hello and its
//!   answer pass where metrics do not. Metrics are still sent, because only they can show that the
//!   path works again.
//! - A collector answers hello before it has received anything that it could refuse. So after it
//!   has refused what this host reports, its request for the model is answered, but the connection
//!   stays [`State::Stale`] until the next message or until enough time has passed. A ping shows
//!   that the host is accepted, because only accepted hosts are pinged. Silence shows it as well,
//!   because a collector that refuses says so.
//! - A collector that may refuse shows that beforehand: it pings before it asks for the model. Then
//!   its next message is its decision, and the connection reports only from then on.

use std::time::{Duration, Instant};

use super::backoff::Backoff;

mod delivery;
mod turn;
mod types;

use delivery::Watch;
pub use delivery::{Delivery, UNACKNOWLEDGED_LIMIT};
use turn::Turn;
pub use types::{Action, Actions, Event, LinkDown, OpenFailure, Reason, State};

/// At most one model answer in this time, from the protocol's third session rule.
pub const MODEL_MIN_INTERVAL: Duration = Duration::from_secs(5);

/// Silence after which a connection is stale, unless set otherwise.
pub const STALE_INTERVAL: Duration = Duration::from_secs(30);

/// The longest that looking up a name and making a socket may take, and again the longest
/// until that socket's link is up. A resolver gives up after about 20 s, a TCP connect to
/// a host that drops packets after two minutes: the stale interval, which can be an hour,
/// is no bound for these.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// Deadlines lie no further ahead, so that no interval can overflow the clock.
const FAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// The intervals that a session follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionSettings {
    /// Silence after which the connection is closed and opened again.
    pub stale_interval: Duration,
    /// At most one model answer in this time.
    pub model_min_interval: Duration,
    /// See [`CONNECT_TIMEOUT`]. An attempt is ended by the shorter of this and
    /// `stale_interval`.
    pub connect_timeout: Duration,
}

impl Default for SessionSettings {
    fn default() -> Self {
        Self {
            stale_interval: STALE_INTERVAL,
            model_min_interval: MODEL_MIN_INTERVAL,
            connect_timeout: CONNECT_TIMEOUT,
        }
    }
}

impl SessionSettings {
    fn attempt_limit(&self) -> Duration {
        self.connect_timeout.min(self.stale_interval)
    }
}

/// One connection of the agent to one collector.
#[derive(Clone, Debug)]
pub struct Session {
    settings: SessionSettings,
    phase: Phase,
    backoff: Backoff,
    /// Why the connection is stale; None if it is not.
    failure: Option<Reason>,
    /// The collector has refused what was sent, and not shown since that it takes it.
    refused: bool,
    last_received: Option<Instant>,
    last_model: Option<Instant>,
    /// For how long nothing was acknowledged, as long as nothing large has arrived since.
    undelivered: Option<Duration>,
}

/// The phase of the connection, with the data of that phase.
#[derive(Clone, Copy, Debug)]
enum Phase {
    /// Not started.
    New { since: Instant },
    /// Open was ordered; there is no socket yet.
    Opening { since: Instant, ordered: bool },
    /// There is a socket; its link is not up.
    Connecting { since: Instant },
    /// The link is up and hello was said.
    Linked {
        up_since: Instant,
        /// The last sign of life on this socket; before the first, when it was made.
        silent_since: Instant,
        dialogue: Dialogue,
        delivery: Watch,
    },
    /// No socket, until then.
    BackingOff {
        until: Instant,
        /// The back-off without this wait, for where it is not waited for.
        before: Backoff,
    },
    /// For good.
    Stopped,
}

/// What the collector has said since the hello on this link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dialogue {
    Unanswered,
    /// Something, but it did not ask for the model.
    Alive,
    /// It asked for the model, after a ping: metrics are sent, and it will say whether it takes
    /// them.
    Judging,
    /// It asked for the model: metrics are sent.
    Asked,
}

impl Session {
    /// A session that opens its connection at its first [`Event::Start`] or
    /// [`Event::Tick`].
    #[must_use]
    pub fn new(settings: SessionSettings, now: Instant) -> Self {
        Self {
            settings,
            phase: Phase::New { since: now },
            backoff: Backoff::new(),
            failure: None,
            refused: false,
            last_received: None,
            last_model: None,
            undelivered: None,
        }
    }

    /// Takes an event that happened at `now` and decides what is to be done, in the
    /// order of the actions. `random` gives numbers evenly distributed in 0..1 and is
    /// asked only when backing off begins. Never allocates.
    ///
    /// A `now` earlier than a previous one counts as no time having passed.
    pub fn handle(
        &mut self,
        event: Event,
        now: Instant,
        random: &mut impl FnMut() -> f64,
    ) -> Actions {
        let mut actions = Actions::new();
        let old = self.state();
        let mut turn = Turn {
            session: self,
            now,
            actions: &mut actions,
        };
        turn.take(event, random);
        let new = self.state();
        if new != old {
            actions.push(Action::StateChanged {
                old,
                new,
                reason: self.reason(),
            });
        }
        actions
    }

    /// When [`Event::Tick`] is due next, whatever happens. None only once stopped.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::New { since } => Some(since),
            Phase::Opening { since, .. } | Phase::Connecting { since } => {
                Some(later(since, self.settings.attempt_limit()))
            }
            Phase::Linked {
                silent_since,
                delivery,
                ..
            } => {
                let silent = later(silent_since, self.settings.stale_interval);
                Some(delivery.look_at().map_or(silent, |look| look.min(silent)))
            }
            Phase::BackingOff { until, .. } => Some(until),
            Phase::Stopped => None,
        }
    }

    /// The state that an administrator sees.
    #[must_use]
    pub fn state(&self) -> State {
        match self.phase {
            Phase::Stopped => State::Stopping,
            Phase::Linked {
                dialogue: Dialogue::Asked,
                ..
            } if self.undelivered.is_none() && !self.refused => State::Reporting,
            _ if self.failure.is_some() => State::Stale,
            _ => State::Connecting,
        }
    }

    /// Why it is in this state. While stale, this is the latest failure: it changes
    /// without the state when an attempt to restore the connection fails otherwise.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match (self.phase, self.failure) {
            (Phase::Stopped, _) => Reason::Stopped,
            (
                Phase::Linked {
                    dialogue: Dialogue::Asked,
                    ..
                },
                _,
            ) if self.undelivered.is_none() && !self.refused => Reason::MetricsRequested,
            (_, Some(failure)) => failure,
            (Phase::New { .. }, None) => Reason::NotStarted,
            (Phase::Opening { ordered: true, .. }, None) => Reason::Ordered,
            (Phase::Opening { .. } | Phase::BackingOff { .. }, None) => Reason::Opening,
            (Phase::Connecting { .. }, None) => Reason::NotYetConnected,
            (
                Phase::Linked {
                    dialogue: Dialogue::Unanswered,
                    ..
                },
                None,
            ) => Reason::NotYetAnswered,
            (
                Phase::Linked {
                    dialogue: Dialogue::Alive,
                    ..
                },
                None,
            ) => Reason::AwaitingModelRequest,
            (Phase::Linked { .. }, None) => Reason::AwaitingVerdict,
        }
    }

    /// Returns true if a sample would be sent now, so that it is worth taking one.
    #[must_use]
    pub fn wants_metrics(&self) -> bool {
        matches!(
            self.phase,
            Phase::Linked {
                dialogue: Dialogue::Asked | Dialogue::Judging,
                ..
            }
        )
    }

    /// Since when the link is up; None while it is down.
    #[must_use]
    pub fn connected_since(&self) -> Option<Instant> {
        match self.phase {
            Phase::Linked { up_since, .. } => Some(up_since),
            _ => None,
        }
    }

    /// The collector's last message, on this connection or an earlier one.
    #[must_use]
    pub fn last_received(&self) -> Option<Instant> {
        self.last_received
    }

    /// The last model answer, on this connection or an earlier one.
    #[must_use]
    pub fn last_model(&self) -> Option<Instant> {
        self.last_model
    }

    /// The settings in force.
    #[must_use]
    pub fn settings(&self) -> &SessionSettings {
        &self.settings
    }

    fn holds_socket(&self) -> bool {
        matches!(
            self.phase,
            Phase::Opening { .. } | Phase::Connecting { .. } | Phase::Linked { .. }
        )
    }
}

fn later(from: Instant, interval: Duration) -> Instant {
    from.checked_add(interval.min(FAR)).unwrap_or(from)
}

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
