//! What several rooms need and no crate has: text for people and terminals, the terminal itself,
//! a pager, words for a shell, files that outlast a crash, a connection to a message bus that
//! reads no message without bound, threads and what they share, how the daemons wait, and how they
//! end.
//!
//! Names, addresses and messages come from peers, from files and from the bus. Whatever of them
//! a person sees, in a log, a table, a status line or an error, goes through [`text`]; a command
//! that a person may paste is made by [`shell`].

pub(crate) mod bus_socket;
pub mod clock;
pub mod columns;
pub mod durable;
pub mod exit;
pub(crate) mod host_name;
pub mod json;
pub mod locale;
pub(crate) mod monitor;
pub(crate) mod network;
pub(crate) mod offload;
pub mod pager;
pub mod process;
pub(crate) mod quantity;
pub(crate) mod random;
pub mod shell;
pub mod terminal;
pub mod text;
pub mod throttle;
pub(crate) mod waiting;
pub(crate) mod worker;
