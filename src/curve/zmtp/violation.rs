//! What a peer can do wrong, in words for those who run either end.

use std::fmt;
use std::io;

use thiserror::Error;

use super::metadata::SocketType;

/// A command of the handshake, or a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// The client's first.
    Hello,
    /// The server's answer to it.
    Welcome,
    /// The client proves who it is.
    Initiate,
    /// The server lets it in.
    Ready,
    /// The server does not.
    Error,
    /// A sealed frame.
    Message,
    /// Anything else.
    Other,
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Hello => "HELLO",
            Self::Welcome => "WELCOME",
            Self::Initiate => "INITIATE",
            Self::Ready => "READY",
            Self::Error => "ERROR",
            Self::Message => "MESSAGE",
            Self::Other => "an unknown command",
        })
    }
}

/// What a peer that does not speak ZMTP seems to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaks {
    /// A TLS client hello.
    Tls,
    /// A request or an answer of HTTP.
    Http,
    /// SSH's banner.
    Ssh,
    /// Nothing that we know.
    Unknown,
}

impl fmt::Display for Speaks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Tls => "TLS",
            Self::Http => "HTTP",
            Self::Ssh => "SSH",
            Self::Unknown => "another protocol",
        })
    }
}

/// Why a connection cannot go on.
#[derive(Debug, Error)]
pub enum Violation {
    /// The first bytes are not ZMTP's.
    #[error("the peer speaks {0}, not ZMTP")]
    NotZmtp(Speaks),
    /// A ZMTP from before CURVE.
    #[error("the peer speaks ZMTP {0}, which has no CURVE; 3.0 is needed")]
    OldZmtp(u8),
    /// Another mechanism of ZMTP.
    #[error("the peer wants the mechanism {0}, not CURVE")]
    Mechanism(Box<str>),
    /// A frame that exceeds its bound.
    #[error("the peer announces a frame of {found} bytes; at most {limit} are accepted here")]
    FrameTooLarge {
        /// What its header says.
        found: u64,
        /// What is accepted.
        limit: usize,
    },
    /// A message that exceeds its bound.
    #[error("the peer's message has more than {limit} bytes")]
    MessageTooLarge {
        /// What is accepted.
        limit: usize,
    },
    /// A message that does not end.
    #[error("the peer's message has more than {limit} frames and does not end")]
    MessageEndless {
        /// How many were read and dropped.
        limit: u32,
    },
    /// A command that does not have the form that it must have.
    #[error("the peer's {0} is malformed")]
    Malformed(Command),
    /// A command at a time when it makes no sense.
    #[error("the peer sent {found} where {expected} was due")]
    Unexpected {
        /// What came.
        found: Command,
        /// What would have been right.
        expected: Command,
    },
    /// A command that was made with other keys, or changed on its way.
    #[error("the peer's {0} was made with another key or changed on its way")]
    Forged(Command),
    /// A nonce that was there before.
    #[error("the peer's {0} has a nonce that is not higher than the last one")]
    Replayed(Command),
    /// A public key that keeps no secret.
    #[error("the peer's {0} has a public key that keeps no secret")]
    WeakKey(Command),
    /// A socket that ours cannot talk with.
    #[error("the peer is a socket of type {found}, which a {ours} cannot talk with")]
    SocketType {
        /// What it is.
        found: Box<str>,
        /// What we are.
        ours: SocketType,
    },
    /// The peer refused us: an ERROR command's reason.
    #[error("the peer refused the connection: {0}")]
    Refused(Box<str>),
    /// Nothing was heard for too long.
    #[error("the peer was silent for {} s", .0.as_secs())]
    Silent(std::time::Duration),
    /// All nonces are used up: 2^64 of them.
    #[error("the connection has used up its nonces")]
    Exhausted,
    /// The kernel has no random numbers.
    #[error("the kernel has no random numbers yet: {0}")]
    NoRandom(#[source] io::Error),
}
