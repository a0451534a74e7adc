//! `metrics-top`: the fleet on a terminal.
//!
//! A viewer of the collector: it says hello, and shows what the agents report.
//!
//! - [`arguments`], [`keys`], [`known`] and [`local`]: what it runs with;
//! - [`link`]: the link to the collector as a state machine, pure; [`connection`]: its driver;
//! - [`model`]: what is known of the fleet, pure: messages in, rows out;
//! - [`health`]: what is worst about a host, pure;
//! - [`sort`], [`input`], [`app`]: order, keys, and where one is, pure;
//! - [`view`]: the screen, drawn into a buffer, pure;
//! - [`terminal`]: the terminal taken and given back; [`run`]: the loop; [`once`]: the table
//!   as plain text.
//!
//! Everything from outside is bounded, and no control character of it reaches the terminal.

pub mod app;
pub mod arguments;
pub mod connection;
pub mod health;
pub mod input;
pub mod keys;
pub mod known;
pub mod link;
pub mod local;
pub mod model;
pub mod once;
pub mod run;
pub mod sort;
pub mod start;
pub mod terminal;
pub mod view;
