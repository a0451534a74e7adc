//! The collector's web server: what Prometheus scrapes.
//!
//! It owns a listening socket and the connections on it, and answers `GET` and `HEAD` of
//! `/metrics`, `/` and `/-/healthy` over HTTP/1.1, to any client that can reach its address: no
//! keys, no TLS. A proxy can add those; by default only this host can reach it. Requests for
//! another host name are refused: a browser could have been misled by it.
//!
//! The cost of clients is limited: connections, by a time-out for each step and by closing the one
//! that has stood still for longest when there are too many ([`connections`]); the size of a
//! request; and answers of `/metrics`, which begin with text that all share ([`editions`]), and go
//! on few at a time, of which one is worked on ([`scrapes`]), on a thread of its own.
//!
//! - [`listen`]: the socket;
//! - [`serve`]: its connections;
//! - [`connections`] and [`places`]: who has to go and who has to come again, pure;
//! - [`hosts`]: the names that this collector answers to;
//! - [`pages`]: what is answered to which request, pure;
//! - [`scrapes`], [`editions`], [`turn`] and [`body`]: how the hosts' metrics become an answer;
//! - [`clock`]: how long a connection may take for the next thing.

mod body;
mod clock;
mod connections;
mod editions;
mod hosts;
mod listen;
mod pages;
mod places;
mod scrapes;
mod serve;
mod turn;

pub use listen::{BindError, Web, way_out};
