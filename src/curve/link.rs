//! What the socket monitor's events mean for a link that connects once. Pure.
//!
//! libzmq reports steps (`zmq_socket_monitor(3)`); what matters is whether
//! the link came up, and where it ended: before TCP, within the handshake, or
//! after it. A wrong key shows itself as a connection that the peer drops
//! within the handshake, with or without a word about it from the monitor.

use std::fmt;
use std::os::fd::RawFd;
use std::time::{Duration, Instant};

use super::context::HANDSHAKE_INTERVAL;

/// Time after which TCP's connecting is given up.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// By how much a time-out that libzmq measured may seem shorter to us, who
/// hear of both its ends later.
const CLOCK_SLACK: Duration = Duration::from_millis(500);

/// Why there was no TCP connection. libzmq does not tell the error's number;
/// what is here follows from when the attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectFailure {
    /// The kernel refused at once: no route, or no such network.
    NoRoute,
    /// The peer's host or the network refused.
    Refused,
    /// No answer within [`CONNECT_TIMEOUT`].
    TimedOut,
}

/// Why the CURVE handshake failed on an open TCP connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandshakeFailure {
    /// The connection ended within the handshake. The likely cause is that the
    /// server's key is not the one that we were given.
    Dropped,
    /// The peer did not finish it within [`HANDSHAKE_INTERVAL`].
    TimedOut,
    /// The peer broke the protocol, in ZMTP's or in CURVE's eyes: it does not
    /// speak CURVE, or its key is another (`ZMQ_PROTOCOL_ERROR_…` of `zmq.h`).
    Protocol(u32),
    /// The peer refused our key (ZAP status code, as in 400).
    Refused(u32),
}

/// Why a link is down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkDownCause {
    /// TCP connected, and then no handshake succeeded.
    HandshakeFailed(HandshakeFailure),
    /// The link had been up: the peer went, the network failed, a heartbeat
    /// was not answered, or the peer sent a frame that is too large.
    Disconnected,
    /// libzmq failed in a way that it should not; its words.
    Socket(&'static str),
}

impl fmt::Display for ConnectFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRoute => f.write_str("network unreachable"),
            Self::Refused => f.write_str("connection refused or host unreachable"),
            Self::TimedOut => write!(f, "no answer within {} s", CONNECT_TIMEOUT.as_secs()),
        }
    }
}

impl fmt::Display for HandshakeFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dropped => f.write_str("the peer dropped the connection during the handshake"),
            Self::TimedOut => {
                let limit = HANDSHAKE_INTERVAL.as_secs();
                write!(f, "the peer did not finish the handshake within {limit} s")
            }
            Self::Protocol(code) => {
                write!(f, "the peer violated the handshake protocol ({code:#010x})")
            }
            Self::Refused(status) => write!(f, "the peer refused our key (status {status})"),
        }
    }
}

impl fmt::Display for LinkDownCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HandshakeFailed(failure) => failure.fmt(f),
            Self::Disconnected => f.write_str("the connection ended"),
            Self::Socket(reason) => write!(f, "libzmq: {reason}"),
        }
    }
}

/// A change of the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LinkEvent {
    Up,
    Down(LinkDownCause),
    ConnectFailed(ConnectFailure),
}

/// An event of the socket monitor, as far as it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MonitorEvent {
    ConnectDelayed,
    /// With libzmq's descriptor.
    Connected(RawFd),
    Closed,
    HandshakeSucceeded,
    HandshakeDropped,
    HandshakeBroken(u32),
    HandshakeRefused(u32),
    Disconnected,
}

impl MonitorEvent {
    /// Events to ask the monitor for. Not `MONITOR_STOPPED`: the monitor is not read any more
    /// then.
    pub(super) const MASK: i32 = zmq::SocketEvent::CONNECT_DELAYED as i32
        | zmq::SocketEvent::CONNECTED as i32
        | zmq::SocketEvent::CLOSED as i32
        | zmq::SocketEvent::HANDSHAKE_SUCCEEDED as i32
        | zmq::SocketEvent::HANDSHAKE_FAILED_NO_DETAIL as i32
        | zmq::SocketEvent::HANDSHAKE_FAILED_PROTOCOL as i32
        | zmq::SocketEvent::HANDSHAKE_FAILED_AUTH as i32
        | zmq::SocketEvent::DISCONNECTED as i32;

    /// The first frame of the monitor's message: a 16-bit event and a 32-bit
    /// value in the host's byte order.
    pub(super) fn parse(frame: &[u8]) -> Option<Self> {
        let (event, value) = frame.split_first_chunk()?;
        let event = i32::from(u16::from_ne_bytes(*event));
        let value = u32::from_ne_bytes(value.try_into().ok()?);
        // The crate's own conversion panics for numbers that it does not know.
        [
            (zmq::SocketEvent::CONNECT_DELAYED, Self::ConnectDelayed),
            (
                zmq::SocketEvent::CONNECTED,
                Self::Connected(value.cast_signed()),
            ),
            (zmq::SocketEvent::CLOSED, Self::Closed),
            (
                zmq::SocketEvent::HANDSHAKE_SUCCEEDED,
                Self::HandshakeSucceeded,
            ),
            (
                zmq::SocketEvent::HANDSHAKE_FAILED_NO_DETAIL,
                Self::HandshakeDropped,
            ),
            (
                zmq::SocketEvent::HANDSHAKE_FAILED_PROTOCOL,
                Self::HandshakeBroken(value),
            ),
            (
                zmq::SocketEvent::HANDSHAKE_FAILED_AUTH,
                Self::HandshakeRefused(value),
            ),
            (zmq::SocketEvent::DISCONNECTED, Self::Disconnected),
        ]
        .into_iter()
        .find_map(|(known, meaning)| (known as i32 == event).then_some(meaning))
    }
}

/// Where a link stands. It goes forward only: a new try is a new link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    /// `delayed`: the kernel has sent the request and waits.
    Connecting {
        since: Instant,
        delayed: bool,
    },
    Handshaking {
        since: Instant,
    },
    Up,
    Down,
}

impl Link {
    pub(super) const fn new(now: Instant) -> Self {
        Self::Connecting {
            since: now,
            delayed: false,
        }
    }

    /// Takes an event of the monitor that was read at `now`.
    pub(super) fn observe(&mut self, event: MonitorEvent, now: Instant) -> Option<LinkEvent> {
        let waited =
            |since, limit: Duration| now.saturating_duration_since(since) + CLOCK_SLACK >= limit;
        let failed = |failure| LinkEvent::Down(LinkDownCause::HandshakeFailed(failure));
        let (next, meaning) = match (*self, event) {
            (Self::Connecting { since, .. }, MonitorEvent::ConnectDelayed) => {
                let delayed = true;
                (Self::Connecting { since, delayed }, None)
            }
            (Self::Connecting { .. }, MonitorEvent::Connected(_)) => {
                (Self::Handshaking { since: now }, None)
            }
            (Self::Connecting { since, delayed }, MonitorEvent::Closed) => {
                let failure = match delayed {
                    false => ConnectFailure::NoRoute,
                    true if waited(since, CONNECT_TIMEOUT) => ConnectFailure::TimedOut,
                    true => ConnectFailure::Refused,
                };
                (Self::Down, Some(LinkEvent::ConnectFailed(failure)))
            }
            (Self::Handshaking { .. }, MonitorEvent::HandshakeSucceeded) => {
                (Self::Up, Some(LinkEvent::Up))
            }
            (Self::Handshaking { .. }, MonitorEvent::HandshakeBroken(code)) => {
                (Self::Down, Some(failed(HandshakeFailure::Protocol(code))))
            }
            (Self::Handshaking { .. }, MonitorEvent::HandshakeRefused(status)) => {
                (Self::Down, Some(failed(HandshakeFailure::Refused(status))))
            }
            (
                Self::Handshaking { since },
                MonitorEvent::HandshakeDropped | MonitorEvent::Disconnected,
            ) => {
                let failure = if waited(since, HANDSHAKE_INTERVAL) {
                    HandshakeFailure::TimedOut
                } else {
                    HandshakeFailure::Dropped
                };
                (Self::Down, Some(failed(failure)))
            }
            (Self::Up, MonitorEvent::Disconnected) => {
                let meaning = LinkEvent::Down(LinkDownCause::Disconnected);
                (Self::Down, Some(meaning))
            }
            // A second word on what is known: a failed handshake is also
            // a disconnection.
            (state, _) => (state, None),
        };
        *self = next;
        meaning
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use MonitorEvent as M;

    fn events(events: &[(M, u64)]) -> Vec<LinkEvent> {
        let start = Instant::now();
        let mut link = Link::new(start);
        events
            .iter()
            .filter_map(|&(event, at_ms)| link.observe(event, start + Duration::from_millis(at_ms)))
            .collect()
    }

    fn handshake(failure: HandshakeFailure) -> [LinkEvent; 1] {
        [LinkEvent::Down(LinkDownCause::HandshakeFailed(failure))]
    }

    #[test]
    fn a_link_comes_up_and_goes_down_once() {
        let life = [
            (M::ConnectDelayed, 0),
            (M::Connected(9), 1),
            (M::HandshakeSucceeded, 3),
            (M::Disconnected, 50_000),
            (M::Disconnected, 50_000),
        ];
        let down = LinkEvent::Down(LinkDownCause::Disconnected);
        assert_eq!(events(&life), [LinkEvent::Up, down]);
    }

    #[test]
    fn tells_why_there_was_no_connection() {
        let failed = |failure| [LinkEvent::ConnectFailed(failure)];
        let refused = [(M::ConnectDelayed, 0), (M::Closed, 1)];
        assert_eq!(events(&refused), failed(ConnectFailure::Refused));
        let late = [(M::ConnectDelayed, 0), (M::Closed, 10_000)];
        assert_eq!(events(&late), failed(ConnectFailure::TimedOut));
        let at_once = [(M::Closed, 0)];
        assert_eq!(events(&at_once), failed(ConnectFailure::NoRoute));
    }

    #[test]
    fn tells_why_a_handshake_failed() {
        // With the monitor's word, and without.
        let named = [
            (M::Connected(9), 0),
            (M::HandshakeDropped, 5),
            (M::Disconnected, 5),
        ];
        assert_eq!(events(&named), handshake(HandshakeFailure::Dropped));
        let silent = [(M::Connected(9), 0), (M::Disconnected, 5)];
        assert_eq!(events(&silent), handshake(HandshakeFailure::Dropped));
        // The clock starts with the connection, not with the attempt.
        let slow = [(M::Connected(9), 9_000), (M::HandshakeDropped, 10_500)];
        assert_eq!(events(&slow), handshake(HandshakeFailure::Dropped));
        let stuck = [(M::Connected(9), 9_000), (M::HandshakeDropped, 18_900)];
        assert_eq!(events(&stuck), handshake(HandshakeFailure::TimedOut));
        let broken = [
            (M::Connected(9), 0),
            (M::HandshakeBroken(0x1100_0001), 5),
            (M::Disconnected, 5),
        ];
        let protocol = HandshakeFailure::Protocol(0x1100_0001);
        assert_eq!(events(&broken), handshake(protocol));
        let refused = [(M::Connected(9), 0), (M::HandshakeRefused(400), 5)];
        assert_eq!(events(&refused), handshake(HandshakeFailure::Refused(400)));
    }

    #[test]
    fn parses_the_monitors_frames() {
        let frame = |event: u16, value: u32| {
            let mut frame = event.to_ne_bytes().to_vec();
            frame.extend(value.to_ne_bytes());
            frame
        };
        // Numbers of zmq.h.
        assert_eq!(M::parse(&frame(0x0001, 7)), Some(M::Connected(7)));
        assert_eq!(M::parse(&frame(0x0200, 7)), Some(M::Disconnected));
        assert_eq!(M::parse(&frame(0x1000, 0)), Some(M::HandshakeSucceeded));
        assert_eq!(
            M::parse(&frame(0x2000, 0x1100_0001)),
            Some(M::HandshakeBroken(0x1100_0001))
        );
        assert_eq!(M::parse(&frame(0x0003, 0)), None);
        assert_eq!(M::parse(&frame(0x0200, 7)[..5]), None);
        assert_eq!(M::parse(b""), None);
    }
}
