//! What several rooms need and no crate has: text for people and terminals, the terminal itself,
//! a pager, and words for a shell.
//!
//! Names, addresses and messages come from peers, from files and from the bus. Whatever of them
//! a person sees, in a log, a table, a status line or an error, goes through [`text`]; a command
//! that a person may paste is made by [`shell`].

pub mod columns;
pub mod json;
pub mod locale;
pub mod pager;
pub mod shell;
pub mod terminal;
pub mod text;
