//! ZMTP 3 with CURVE as state machines: bytes in, bytes and events out.
//!
//! It owns what both ends of a connection say to each other: the greeting, the four commands of
//! the handshake, sealed messages and heartbeats
//! ([RFC 23](https://rfc.zeromq.org/spec/23/), [RFC 26](https://rfc.zeromq.org/spec/26/),
//! [RFC 37](https://rfc.zeromq.org/spec/37/)). It does no I/O and knows no clock: time, random
//! bytes and the decision on a key are arguments. Everything that a peer can make it hold is
//! bounded; a peer that breaks a rule is a [`Violation`], after which nothing of the connection
//! may be used but the bytes that are to be sent.

pub mod boxes;
pub mod connection;
mod frames;
mod greeting;
mod handshake;
mod heartbeat;
pub mod input;
mod link;
pub mod message;
mod metadata;
pub mod random;
mod violation;

pub use handshake::Credentials;
pub use metadata::SocketType;
pub use violation::{Command, Speaks, Violation};

#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod test_ends;
