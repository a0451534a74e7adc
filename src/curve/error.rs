//! Why there is no socket, or why a message was not sent.

use std::io;
use std::net::SocketAddr;

use thiserror::Error;

use super::endpoint::with_interface_name;

/// Why there is no socket.
#[derive(Debug, Error)]
pub enum TransportError {
    /// The system has no room for another socket.
    #[error("cannot open a socket: {0}")]
    Open(#[source] io::Error),
    /// An address that cannot be connected to.
    #[error("cannot connect to {address}: expected an address and a port other than 0")]
    Address {
        /// The address.
        address: SocketAddr,
    },
    /// The system refuses addresses of this family.
    #[error(
        "cannot connect to {}: the system refuses {family}; RestrictAddressFamilies= of the \
         unit needs it, if the kernel has it",
        with_interface_name(*address),
        family = family_of(address)
    )]
    Family {
        /// The address.
        address: SocketAddr,
    },
    /// An address that cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// The address, `*:PORT` for every one of the host.
        address: String,
        /// The system's answer.
        source: io::Error,
    },
    /// The runtime cannot wait for the socket.
    #[error("cannot wait for the socket: {0}")]
    Reactor(#[source] io::Error),
}

fn family_of(address: &SocketAddr) -> &'static str {
    if address.is_ipv4() {
        "AF_INET"
    } else {
        "AF_INET6"
    }
}

/// Why a message was not sent. Nothing of it was queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SendError {
    /// The link is down, or as much as may be is queued already.
    #[error("the link is down or its queue is full")]
    WouldBlock,
    /// No peer has this routing id (any more).
    #[error("no peer of this routing id is connected")]
    UnknownPeer,
    /// A message has at least one frame.
    #[error("the message has no frame")]
    Empty,
}
