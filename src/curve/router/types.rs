//! What a ROUTER is given, and what it tells.

use std::net::IpAddr;

use super::MAX_UNFINISHED;
use super::ended::Endings;
use super::listen::Listen;
use super::peer::Origin;
use crate::curve::keys::KeyPair;
use crate::curve::timing::HANDSHAKE_TIMEOUT;
use crate::curve::zmtp::Violation;
use crate::curve::zmtp::message::Received;

/// What a [`Router`](super::Router) needs to listen.
#[derive(Clone, Copy, Debug)]
pub struct RouterOptions<'a> {
    /// Where to listen.
    pub listen: Listen,
    /// The server's keys.
    pub keys: &'a KeyPair,
    /// Connections at a time, strangers included: each takes a descriptor.
    pub connections: usize,
}

/// How a [`Router`](super::Router) fares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Connections, strangers included.
    pub connections: usize,
    /// Those of them that are in their handshake.
    pub handshakes: usize,
    /// As many connections may be.
    pub limit: usize,
    /// Those that have ended or were not taken.
    pub endings: Endings,
}

/// What a [`Router`](super::Router) has to tell.
#[derive(Debug)]
pub enum Arrived {
    /// A peer has proved its key: [`Router::answer`](super::Router::answer) lets it in or not.
    Knock(Origin),
    /// A peer that was let in sent this.
    Message(Origin, Received),
    /// A connection has ended because of what its peer did; others end without a word.
    Failed {
        /// Who it was, if it had been let in.
        origin: Option<Origin>,
        /// Where it came from.
        address: IpAddr,
        /// What it did.
        why: Failure,
    },
}

/// Why a connection was ended.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// It broke a rule.
    #[error(transparent)]
    Violation(#[from] Violation),
    /// It did not finish its handshake.
    #[error("the peer did not finish the handshake within {} s", HANDSHAKE_TIMEOUT.as_secs())]
    Slow,
    /// There were too many strangers.
    #[error("there were too many connections in their handshake, and it was the oldest")]
    Crowded,
    /// Its network was too quick.
    #[error("too many handshakes in one second from its network")]
    TooMany,
    /// All peers together had begun too much, and it had begun most.
    #[error(
        "all connections together held more than {} MiB of messages that are not whole, and it \
         most of that",
        MAX_UNFINISHED >> 20
    )]
    Unfinished,
    /// There are no descriptors left for it.
    #[error("there are {limit} connections already")]
    Full {
        /// As many may be.
        limit: usize,
    },
    /// Its key has too many.
    #[error("its key has too many connections")]
    KeyFull,
}

/// The answer to a [`Arrived::Knock`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Let it in.
    Allow,
    /// Refuse its key, and tell it so (status 400).
    Deny,
}
