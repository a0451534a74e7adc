//! Keys, certificates, and CURVE sockets: a [`router`] that listens and a [`dealer`] that
//! connects, both on the state machines of [`zmtp`].
//!
//! What is above it sees frames, link events and typed errors, never a byte of ZMTP. It refuses to
//! look up names in its sockets (an address is an argument; [`resolve`] looks up), to decide when
//! to reconnect (its sockets never do so by themselves), and to interpret a message.

pub mod certificate;
pub mod dealer;
pub mod endpoint;
mod error;
pub mod keys;
mod outgoing;
pub mod own;
pub(crate) mod resolve;
pub mod router;
mod tcp;
pub mod timing;
mod z85;
pub mod zmtp;

pub use error::{SendError, TransportError};
