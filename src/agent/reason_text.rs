//! Why a connection is in its state, as one sentence for a person. Pure.

use std::time::Duration;

use crate::base::quantity::whole_seconds;
use crate::curve::dealer::{HandshakeFailure, Suspect};
use crate::curve::endpoint::{DEFAULT_PORT, DEFAULT_VIEWERS_PORT};
use crate::protocol::LONGEST_PING_INTERVAL;
use crate::protocol::session::{OpenFailure, Reason};

/// The sentence for `reason`. `detail` is what the system said of the latest failure; it is empty
/// if nothing was said.
pub(crate) fn sentence(reason: Reason, detail: &str) -> String {
    match reason {
        Reason::NotStarted => "about to connect".to_owned(),
        Reason::Opening => "connecting".to_owned(),
        Reason::Ordered if detail.is_empty() => "reconnecting on request".to_owned(),
        Reason::NotYetConnected => "waiting for the connection to be accepted".to_owned(),
        Reason::NotYetAnswered => {
            "connected and said hello; the collector has not answered yet".to_owned()
        }
        Reason::AwaitingModelRequest => {
            "the collector is alive but has not asked for this host's metrics".to_owned()
        }
        Reason::AwaitingVerdict => {
            "the collector has asked for this host's metrics and not taken any yet".to_owned()
        }
        Reason::MetricsRequested => "the collector answers".to_owned(),
        Reason::Silent { lasting } if lasting <= LONGEST_PING_INTERVAL => format!(
            "the collector has been silent for {}; some ping every {} only, see intervals.stale",
            seconds(lasting),
            seconds(LONGEST_PING_INTERVAL)
        ),
        Reason::Silent { lasting } => {
            format!(
                "the collector has been silent for {}, as long as intervals.stale allows",
                seconds(lasting)
            )
        }
        Reason::Unacknowledged { lasting } => format!(
            "nothing that was sent has been acknowledged for {}; large packets may be lost on the \
             way: try a smaller MTU",
            seconds(lasting)
        ),
        Reason::LinkLost => with("the connection was lost", detail),
        Reason::HandshakeFailed if detail.is_empty() => "the handshake failed".to_owned(),
        Reason::Unreachable => with("the collector cannot be reached", detail),
        Reason::Refused => {
            "the collector refuses what this host reports; the collector's log says why".to_owned()
        }
        Reason::ConnectTimedOut { after } => {
            format!("no secure connection within {}", seconds(after))
        }
        Reason::OpenFailed(OpenFailure::NameLookUp) if detail.is_empty() => "no address".to_owned(),
        // The look-up's error says itself that there is no address, and of what.
        Reason::HandshakeFailed
        | Reason::OpenFailed(OpenFailure::NameLookUp)
        // Why it was ordered.
        | Reason::Ordered => detail.to_owned(),
        Reason::OpenFailed(OpenFailure::Socket) => with("no socket", detail),
        Reason::Stopped => "told to stop".to_owned(),
    }
}

/// The most likely cause of this handshake failure with a collector at this port, which may have one
/// of so many keys; and whose key it concerns.
pub(crate) fn handshake(failure: &HandshakeFailure, port: u16, keys: usize) -> String {
    match failure.suspect() {
        Suspect::ServerKey if keys > 1 => {
            format!("{failure}; most likely its key is none of the {keys} that are configured")
        }
        Suspect::ServerKey => {
            format!("{failure}; most likely its key is not the configured public_key")
        }
        Suspect::Listener => {
            format!("{failure}; most likely something else than a collector listens there")
        }
        // It answers, so its own key is the right one.
        Suspect::OwnKey if port == DEFAULT_VIEWERS_PORT => format!(
            "{failure}; most likely this is the port for viewers, as {port} is by default: agents \
             report to another, by default {DEFAULT_PORT}"
        ),
        Suspect::OwnKey => {
            format!("{failure}; most likely the agent's public key is not on the collector's list")
        }
        Suspect::Server => format!("{failure}; the collector's log may say why"),
    }
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
    if time.as_secs() > 0 {
        return whole_seconds(time);
    }
    humantime::format_duration(Duration::from_millis(u64::from(time.subsec_millis())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::curve::zmtp::connection::Awaits;
    use crate::curve::zmtp::{Command, Speaks, Violation};

    #[test]
    fn a_failure_carries_what_the_system_said() {
        assert_eq!(
            sentence(Reason::Unreachable, "Connection refused"),
            "the collector cannot be reached: Connection refused"
        );
        assert_eq!(sentence(Reason::LinkLost, ""), "the connection was lost");
        // Which says by itself that there is no address.
        let unknown = "the name c does not resolve: Name or service not known";
        let reason = Reason::OpenFailed(OpenFailure::NameLookUp);
        assert_eq!(sentence(reason, unknown), unknown);
    }

    #[test]
    fn a_failed_handshake_names_the_key_that_it_is_about() {
        let dropped = |command| HandshakeFailure::Dropped(Awaits::Command(command));
        let told = |failure| {
            sentence(
                Reason::HandshakeFailed,
                &handshake(&failure, DEFAULT_PORT, 1),
            )
        };
        assert_eq!(
            told(dropped(Command::Welcome)),
            "the peer closed the connection where its WELCOME was due; most likely its key is not \
             the configured public_key"
        );
        assert_eq!(
            handshake(&dropped(Command::Welcome), DEFAULT_PORT, 2),
            "the peer closed the connection where its WELCOME was due; most likely its key is none \
             of the 2 that are configured"
        );
        let http = HandshakeFailure::Protocol(Violation::NotZmtp(Speaks::Http));
        assert_eq!(
            told(http),
            "the peer speaks HTTP, not ZMTP; most likely something else than a collector listens \
             there"
        );
        let refused = || HandshakeFailure::Refused("400".into());
        assert_eq!(
            told(refused()),
            "the peer refused our key (status 400); most likely the agent's public key is not \
             on the collector's list"
        );
        assert_eq!(
            handshake(&refused(), DEFAULT_VIEWERS_PORT, 1),
            "the peer refused our key (status 400); most likely this is the port for viewers, as \
             5557 is by default: agents report to another, by default 5556"
        );
        for other in [
            HandshakeFailure::TimedOut,
            HandshakeFailure::Dropped(Awaits::Greeting),
            dropped(Command::Ready),
        ] {
            let text = told(other);
            assert!(text.ends_with("the collector's log may say why"), "{text}");
        }
        assert_eq!(
            sentence(Reason::HandshakeFailed, ""),
            "the handshake failed"
        );
    }

    #[test]
    fn what_does_not_arrive_points_at_the_path() {
        let lasting = Duration::from_millis(20_015);
        assert_eq!(
            sentence(Reason::Unacknowledged { lasting }, ""),
            "nothing that was sent has been acknowledged for 20s; large packets may be lost on the \
             way: try a smaller MTU"
        );
    }

    #[test]
    fn a_silence_is_told_in_whole_seconds() {
        let reason = |millis| Reason::Silent {
            lasting: Duration::from_millis(millis),
        };
        assert_eq!(
            sentence(reason(30_012), ""),
            "the collector has been silent for 30s, as long as intervals.stale allows"
        );
        assert_eq!(
            sentence(reason(999), ""),
            "the collector has been silent for 999ms; some ping every 15s only, see \
             intervals.stale"
        );
    }
}
