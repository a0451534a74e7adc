//! Why a connection is in its state, as one sentence for a person. Pure.

use std::time::Duration;

use crate::curve::link::HandshakeFailure;
use crate::protocol::session::{OpenFailure, Reason};

/// The sentence for `reason`. `detail` is what the system said of the latest failure; it is
/// empty where nothing was said.
pub(crate) fn sentence(reason: Reason, detail: &str) -> String {
    match reason {
        Reason::NotStarted => "about to connect".to_owned(),
        Reason::Opening => "connecting".to_owned(),
        Reason::Ordered => "connecting anew, as was ordered".to_owned(),
        Reason::NotYetConnected => "waiting for the connection to be accepted".to_owned(),
        Reason::NotYetAnswered => {
            "connected and said hello; the collector has not answered yet".to_owned()
        }
        Reason::AwaitingModelRequest => {
            "the collector is alive but has not asked for this host's metrics".to_owned()
        }
        Reason::MetricsRequested => "the collector answers".to_owned(),
        Reason::Silent { lasting } => {
            format!("the collector has been silent for {}", seconds(lasting))
        }
        Reason::LinkLost => with("the connection was lost", detail),
        Reason::HandshakeFailed => with("the handshake failed", detail),
        Reason::Unreachable => with("the collector cannot be reached", detail),
        Reason::ConnectTimedOut { after } => {
            format!("no secure connection came about within {}", seconds(after))
        }
        Reason::OpenFailed(OpenFailure::NameLookUp) => with("no address", detail),
        Reason::OpenFailed(OpenFailure::Socket) => with("no socket", detail),
        Reason::Stopped => "told to stop".to_owned(),
    }
}

/// What a failed handshake most likely means, and the way out.
pub(crate) fn handshake_detail(failure: HandshakeFailure) -> String {
    let likely = match failure {
        HandshakeFailure::Dropped | HandshakeFailure::Protocol(_) => {
            "most likely its key is not the configured public_key"
        }
        HandshakeFailure::Refused(_) => {
            "the collector has to be told this agent's key (metrics-agentctl public-key)"
        }
        HandshakeFailure::TimedOut => "most likely it is no collector that listens there",
    };
    format!("{failure}; {likely}")
}

fn with(what: &str, detail: &str) -> String {
    if detail.is_empty() {
        what.to_owned()
    } else {
        format!("{what}: {detail}")
    }
}

/// A time as people read it: whole seconds, unless there are none.
fn seconds(time: Duration) -> humantime::FormattedDuration {
    let coarse = if time.as_secs() == 0 {
        Duration::from_millis(u64::from(time.subsec_millis()))
    } else {
        Duration::from_secs(time.as_secs())
    };
    humantime::format_duration(coarse)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_carries_what_the_system_said() {
        assert_eq!(
            sentence(Reason::Unreachable, "Connection refused"),
            "the collector cannot be reached: Connection refused"
        );
        assert_eq!(sentence(Reason::LinkLost, ""), "the connection was lost");
    }

    #[test]
    fn a_silence_is_told_in_whole_seconds() {
        let reason = |millis| Reason::Silent {
            lasting: Duration::from_millis(millis),
        };
        assert_eq!(
            sentence(reason(30_012), ""),
            "the collector has been silent for 30s"
        );
        assert_eq!(
            sentence(reason(999), ""),
            "the collector has been silent for 999ms"
        );
    }
}
