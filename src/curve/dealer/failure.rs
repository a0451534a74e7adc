//! Why a link did not come up, or is down.

use std::fmt;
use std::io;

use rustix::io::Errno;

use crate::curve::timing::{CONNECT_TIMEOUT, HANDSHAKE_TIMEOUT};
use crate::curve::zmtp::connection::Awaits;
use crate::curve::zmtp::{Command, Violation};

/// Why there was no TCP connection.
#[derive(Debug)]
pub enum ConnectFailure {
    /// The system's answer: its own, of the peer's host, or of a host on the way.
    System(io::Error),
    /// No answer within [`CONNECT_TIMEOUT`].
    TimedOut,
}

impl fmt::Display for ConnectFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System(error) => f.write_str(&plain(error)),
            Self::TimedOut => write!(f, "no answer within {} s", CONNECT_TIMEOUT.as_secs()),
        }
    }
}

/// Why the CURVE handshake failed on an open TCP connection.
#[derive(Debug)]
pub enum HandshakeFailure {
    /// The connection ended within the handshake, while this was waited for. The likely cause of
    /// an end before WELCOME is that the server's key is not the one that we were given.
    Dropped(Awaits),
    /// The peer did not finish it within [`HANDSHAKE_TIMEOUT`].
    TimedOut,
    /// The peer broke the protocol, in ZMTP's or in CURVE's eyes: it does not speak CURVE, or
    /// its key is another.
    Protocol(Violation),
    /// The peer refused our key, with this status of ZAP
    /// ([RFC 27](https://rfc.zeromq.org/spec/27/)), as in 400.
    Refused(Box<str>),
}

/// Whose fault a failed handshake is, most likely.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suspect {
    /// The server has another key than the one that we were given.
    ServerKey,
    /// The server does not let our key in.
    OwnKey,
    /// What listens there is no such server.
    Listener,
    /// The server has its reasons: it is busy, or full.
    Server,
}

impl HandshakeFailure {
    /// What to look at first.
    #[must_use]
    pub fn suspect(&self) -> Suspect {
        match self {
            Self::Refused(_) => Suspect::OwnKey,
            // A server cannot read a HELLO that was made for another key, and closes.
            Self::Dropped(Awaits::Command(Command::Welcome))
            | Self::Protocol(Violation::Forged(Command::Welcome)) => Suspect::ServerKey,
            Self::Dropped(_) | Self::TimedOut => Suspect::Server,
            Self::Protocol(_) => Suspect::Listener,
        }
    }
}

impl fmt::Display for HandshakeFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dropped(Awaits::Greeting) => {
                f.write_str("the peer closed the connection before it said what it is")
            }
            Self::Dropped(Awaits::Command(command)) => {
                write!(
                    f,
                    "the peer closed the connection where its {command} was due"
                )
            }
            Self::TimedOut => {
                let limit = HANDSHAKE_TIMEOUT.as_secs();
                write!(f, "the peer did not finish the handshake within {limit} s")
            }
            Self::Protocol(violation) => violation.fmt(f),
            Self::Refused(status) => write!(f, "the peer refused our key (status {status})"),
        }
    }
}

/// Why a link is down.
#[derive(Debug)]
pub enum LinkDownCause {
    /// TCP connected, and then no handshake succeeded.
    HandshakeFailed(HandshakeFailure),
    /// The link had been up, and the peer closed it.
    Closed,
    /// The link had been up, and the connection failed.
    Failed(io::Error),
    /// The link had been up, and the peer broke a rule or was silent for too long.
    Violated(Violation),
    /// The kernel has no random numbers for a handshake (yet).
    NoRandom(io::Error),
}

impl LinkDownCause {
    /// What a rule that the peer broke means for the link.
    pub(super) fn of(violation: Violation, was_up: bool) -> Self {
        match violation {
            Violation::NoRandom(error) => Self::NoRandom(error),
            violation if was_up => Self::Violated(violation),
            Violation::Refused(status) => Self::HandshakeFailed(HandshakeFailure::Refused(status)),
            violation => Self::HandshakeFailed(HandshakeFailure::Protocol(violation)),
        }
    }
}

impl fmt::Display for LinkDownCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HandshakeFailed(failure) => failure.fmt(f),
            Self::Closed => f.write_str("the peer closed it"),
            Self::Failed(error) => f.write_str(&plain(error)),
            Self::Violated(violation) => violation.fmt(f),
            Self::NoRandom(error) => write!(f, "the kernel has no random numbers yet: {error}"),
        }
    }
}

/// An error of the network, as it stands behind what failed.
fn plain(error: &io::Error) -> String {
    let known = match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::CONNREFUSED) => "connection refused",
        Some(Errno::CONNRESET | Errno::PIPE) => "connection reset by the peer's host",
        Some(Errno::HOSTUNREACH) => "no route to the host",
        Some(Errno::NETUNREACH) => "network unreachable",
        Some(Errno::NETDOWN) => "network down",
        Some(Errno::TIMEDOUT) => "no answer from the peer's host",
        Some(Errno::ADDRNOTAVAIL) => "no local address or port left for it",
        Some(Errno::PERM | Errno::ACCESS) => {
            "forbidden on this host, by a firewall or the unit's IPAddressDeny="
        }
        _ => return error.to_string(),
    };
    known.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_s_answer_is_told_in_words() {
        let told = |errno: Errno| ConnectFailure::System(errno.into()).to_string();
        assert_eq!(told(Errno::CONNREFUSED), "connection refused");
        assert_eq!(told(Errno::HOSTUNREACH), "no route to the host");
        assert_eq!(
            told(Errno::NOBUFS),
            "No buffer space available (os error 105)"
        );
        let reset = LinkDownCause::Failed(Errno::CONNRESET.into());
        assert_eq!(reset.to_string(), "connection reset by the peer's host");
    }

    #[test]
    fn a_violation_means_what_the_link_was() {
        let of = |violation, was_up| LinkDownCause::of(violation, was_up);
        assert!(matches!(
            of(Violation::Refused("400".into()), false),
            LinkDownCause::HandshakeFailed(HandshakeFailure::Refused(status)) if &*status == "400"
        ));
        assert!(matches!(
            of(Violation::Forged(Command::Welcome), false),
            LinkDownCause::HandshakeFailed(HandshakeFailure::Protocol(_))
        ));
        let late = of(Violation::Forged(Command::Message), true);
        assert!(matches!(late, LinkDownCause::Violated(_)));
        assert_eq!(
            late.to_string(),
            "the peer's MESSAGE was made with another key or changed on its way"
        );
        let early = Violation::NoRandom(Errno::AGAIN.into());
        assert!(matches!(of(early, false), LinkDownCause::NoRandom(_)));
    }
}
