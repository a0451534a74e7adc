//! Keys, certificates, and CURVE sockets: a [`router`] that listens, on the state machines of
//! [`zmtp`], and a [`dealer`] that connects, on libzmq.
//!
//! What is above it sees frames, link events and typed errors, never a `zmq` type. It refuses to
//! look up names in its sockets (an address is an argument; [`resolve`] looks up), to decide when
//! to reconnect (its sockets never do so by themselves), and to interpret a message.

pub mod certificate;
pub mod context;
pub mod dealer;
pub mod endpoint;
pub mod frames;
pub mod keys;
pub mod link;
pub mod own;
pub(crate) mod resolve;
pub mod router;
mod socket;
pub mod tcp;
mod z85;
pub mod zmtp;
