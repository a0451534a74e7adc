//! The agent's state as a whole, out of its connections'. Pure.

use std::fmt::Write as _;

use super::state::{ConnectionState, State};

/// Why there is nothing to do, and the way out.
pub(crate) const UNCONFIGURED: &str = "No collector is configured: add a [collector.NAME] \
     section with endpoint and public_key to a file such as \
     /etc/metrics-agent/metrics-agent.d/collector.toml, then reload metrics-agent";

/// The best state among the connections, and one sentence about them all.
pub(crate) fn summarize(connections: &[ConnectionState]) -> (State, String) {
    let Some(best) = connections.iter().map(|connection| connection.state).max() else {
        return (State::Unconfigured, UNCONFIGURED.to_owned());
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
    use crate::curve::keys::PublicKey;

    fn connection(endpoint: &str, state: State, reason: &str) -> ConnectionState {
        ConnectionState {
            name: endpoint.to_owned(),
            endpoint: endpoint.to_owned(),
            server_key: "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"
                .parse::<PublicKey>()
                .unwrap(),
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
        let (state, reason) = summarize(&[]);
        assert_eq!(state, State::Unconfigured);
        assert!(reason.contains("[collector.NAME]"));
    }

    #[test]
    fn the_best_connection_makes_the_state() {
        let (state, reason) = summarize(&[
            connection("a:5556", State::Stale, "it is away"),
            connection("b:5556", State::Reporting, "it answers"),
            connection("c:5556", State::Connecting, "connecting"),
        ]);
        assert_eq!(state, State::Reporting);
        assert_eq!(
            reason,
            "Not reporting to a:5556: it is away; Reporting to b:5556; \
             Connecting to c:5556: connecting"
        );
    }
}
