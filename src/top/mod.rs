//! `metrics-top`: the fleet on a terminal.
//!
//! A viewing client of the collector: it says hello, and shows what the agents report.
//!
//! - [`arguments`] and [`keys`]: what it runs with;
//! - [`link`]: the link to the collector as a state machine, pure; [`connection`]: its shell;
//! - [`model`]: what is known of the fleet, pure: messages in, rows out;
//! - [`sort`], [`input`], [`app`]: order, keys, and where one is, pure;
//! - [`view`]: the screen, drawn into a buffer, pure;
//! - [`terminal`]: the terminal taken and given back; [`run`]: the loop; [`once`]: the table
//!   as plain text.
//!
//! Everything from outside is bounded, and no control character of it reaches the terminal.

pub mod app;
pub mod arguments;
pub mod connection;
pub mod input;
pub mod keys;
pub mod link;
pub mod model;
pub mod once;
pub mod run;
pub mod sort;
pub mod start;
pub mod terminal;
pub mod text;
pub mod view;
