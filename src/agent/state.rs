//! The agent's state as it is published: what it is doing, and why.
//!
//! Plain values, made by the agent's task and read by everybody else. Nothing here
//! changes anything.

use std::fmt::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::counters::Counters;
use super::history::types::{Loss, Why};
use crate::agent::settings::CollectorSettings;
use crate::base::text;
use crate::curve::dealer::Delivery;
use crate::curve::keys::PublicKey;
use crate::protocol::session;

/// What a connection, or the agent as a whole, is doing.
///
/// Ordered from worst to best, as the agent's state is the best among its
/// connections'.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// No collector is configured. Only the agent as a whole can be in this state.
    Unconfigured,
    /// The end is near: SIGTERM, or the connection left the settings.
    Stopping,
    /// Silent for longer than the stale interval, or the link is down.
    Stale,
    /// No answer to hello yet.
    Connecting,
    /// A collector answered; metrics are on their way.
    Reporting,
}

impl State {
    /// The name that D-Bus, the journal and the command line use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unconfigured => "unconfigured",
            Self::Stopping => "stopping",
            Self::Stale => "stale",
            Self::Connecting => "connecting",
            Self::Reporting => "reporting",
        }
    }

    /// Since when this state holds, entered or found again `now`, after the state `before`
    /// that held since `then`: one that is the same goes on.
    #[must_use]
    pub(crate) fn since(self, (before, then): (Self, SystemTime), now: SystemTime) -> SystemTime {
        if self == before { then } else { now }
    }
}

impl From<session::State> for State {
    fn from(state: session::State) -> Self {
        match state {
            session::State::Connecting => Self::Connecting,
            session::State::Reporting => Self::Reporting,
            session::State::Stale => Self::Stale,
            session::State::Stopping => Self::Stopping,
        }
    }
}

impl From<Delivery> for session::Delivery {
    fn from(found: Delivery) -> Self {
        Self {
            outstanding: found.outstanding,
            kept: found.kept,
            acknowledged: found.acknowledged,
            heard: found.heard,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The intervals in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Intervals {
    /// Between two metrics messages.
    pub metrics: Duration,
    /// Silence after which a connection is stale.
    pub stale: Duration,
}

/// Where an interval in force comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The settings: a file and its line, a variable, or the default.
    Settings(String),
    /// An order since the start, which is gone at the next start.
    RunTime,
    /// An order that outlasts a restart, in this file.
    Kept(PathBuf),
}

impl Origin {
    /// The kind's name, and the place where there is one.
    #[must_use]
    pub fn to_words(&self) -> (&'static str, String) {
        match self {
            Self::Settings(place) => ("settings", place.clone()),
            Self::RunTime => ("run-time", String::new()),
            Self::Kept(file) => ("kept", file.to_string_lossy().into_owned()),
        }
    }
}

/// Where the intervals in force come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origins {
    /// Of the metrics interval.
    pub metrics: Origin,
    /// Of the stale interval.
    pub stale: Origin,
}

/// Everything about the agent that is announced when it changes.
#[derive(Debug, Clone)]
pub struct AgentState {
    /// The name that the host reports under.
    pub host_name: String,
    /// The agent's own public key.
    pub public_key: PublicKey,
    /// The best state among the connections.
    pub state: State,
    /// When `state` last became another one; at first, when the agent was made.
    pub state_since: SystemTime,
    /// One sentence for a person: why it is in this state.
    pub reason: String,
    /// The intervals in force.
    pub intervals: Intervals,
    /// Where they come from.
    pub origins: Origins,
    /// One for each configured collector, in the order of their names.
    pub connections: Vec<ConnectionState>,
    /// The metric sources and whether each is enabled, in the order of the settings.
    pub sources: Vec<(&'static str, bool)>,
    /// The files that the settings in force came from, in order.
    pub configuration_files: Vec<PathBuf>,
    /// The totals of all connections since the process started, those that have
    /// left the settings included.
    pub totals: Arc<Counters>,
}

/// One connection's part of [`AgentState`].
#[derive(Debug, Clone)]
pub struct ConnectionState {
    /// Its name in the settings, `[collector.NAME]`.
    pub name: String,
    /// The address in use: `host:port`, or `srv:` and the name of a service whose targets are not
    /// known yet.
    pub endpoint: String,
    /// The public key that the collector must have there, in Z85.
    pub server_key: String,
    /// What is configured: all addresses and keys.
    pub collector: Arc<CollectorSettings>,
    /// What it is doing.
    pub state: State,
    /// When `state` last became another one; at first, when the connection was made.
    pub state_since: SystemTime,
    /// One sentence for a person: why it is in this state.
    pub reason: String,
    /// The DEALER's routing id; empty while no socket is open.
    pub routing_id: String,
    /// When the link last came up; None while it is down.
    pub connected_since: Option<SystemTime>,
    /// The collector has asked for metrics on this link. They are also sent while it is unknown
    /// whether they arrive, and the state is not reporting then.
    pub wants_metrics: bool,
    /// Its totals since it was configured.
    pub totals: Arc<Counters>,
}

/// Something happened that the bus announces beside the state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happening {
    /// A connection has another state.
    State(StateChange),
    /// Samples are lost for a collector.
    Lost(SamplesLost),
}

/// Samples that are lost for a collector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SamplesLost {
    /// The connection's name.
    pub connection: String,
    /// Why.
    pub why: Why,
    /// Which.
    pub loss: Loss,
}

/// One connection went from one state to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateChange {
    /// The connection's name.
    pub connection: String,
    /// The state it left.
    pub old: State,
    /// The state it is in now.
    pub new: State,
    /// Why, in one sentence.
    pub reason: String,
}

/// The best state among the connections, and one sentence about them all. A collector can be
/// added to `file`.
pub(crate) fn summarize(connections: &[ConnectionState], file: &Path) -> (State, String) {
    let Some(best) = connections.iter().map(|connection| connection.state).max() else {
        let file = text::path(file);
        let reason = format!(
            "No collector is configured: add a [collector.NAME] section with endpoint and \
             public_key to {file}, then reload metrics-agent"
        );
        return (State::Unconfigured, reason);
    };
    let mut reason = String::new();
    for connection in connections {
        if !reason.is_empty() {
            reason.push_str("; ");
        }
        let ConnectionState {
            endpoint,
            reason: why,
            ..
        } = connection;
        // Writing to a string can't fail.
        let _ = match connection.state {
            State::Reporting => write!(reason, "Reporting to {endpoint}"),
            State::Connecting => write!(reason, "Connecting to {endpoint}: {why}"),
            State::Stale => write!(reason, "Not reporting to {endpoint}: {why}"),
            State::Stopping | State::Unconfigured => write!(reason, "{endpoint}: {why}"),
        };
    }
    (best, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_that_is_the_same_goes_on() {
        let at = |second| SystemTime::UNIX_EPOCH + Duration::from_secs(second);
        let stale = (State::Stale, at(3));
        assert_eq!(State::Stale.since(stale, at(9)), at(3));
        assert_eq!(State::Reporting.since(stale, at(9)), at(9));
        // The clock was set back: then is what it says now, all the same.
        assert_eq!(State::Reporting.since(stale, at(1)), at(1));
        assert_eq!(State::Stale.since(stale, at(1)), at(3));
    }

    fn connection(endpoint: &str, state: State, reason: &str) -> ConnectionState {
        ConnectionState {
            name: endpoint.to_owned(),
            endpoint: endpoint.to_owned(),
            server_key: "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7".to_owned(),
            collector: std::sync::Arc::new(CollectorSettings {
                endpoints: vec![endpoint.parse().unwrap()],
                order: crate::agent::settings::EndpointOrder::Listed,
                public_keys: Vec::new(),
            }),
            state,
            state_since: std::time::SystemTime::UNIX_EPOCH,
            reason: reason.to_owned(),
            routing_id: String::new(),
            connected_since: None,
            wants_metrics: false,
            totals: std::sync::Arc::default(),
        }
    }

    #[test]
    fn no_connection_is_unconfigured_and_says_what_is_missing() {
        let (state, reason) = summarize(&[], Path::new("/srv/agent.toml"));
        assert_eq!(state, State::Unconfigured);
        assert_eq!(
            reason,
            "No collector is configured: add a [collector.NAME] section with endpoint and \
             public_key to /srv/agent.toml, then reload metrics-agent"
        );
    }

    #[test]
    fn the_best_connection_makes_the_state() {
        let connections = [
            connection("a:5556", State::Stale, "it is away"),
            connection("b:5556", State::Reporting, "it answers"),
            connection("c:5556", State::Connecting, "connecting"),
        ];
        let (state, reason) = summarize(&connections, Path::new(""));
        assert_eq!(state, State::Reporting);
        assert_eq!(
            reason,
            "Not reporting to a:5556: it is away; Reporting to b:5556; \
             Connecting to c:5556: connecting"
        );
    }
}
