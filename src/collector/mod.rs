//! `metrics-collector`: the other end of the agents' connections.
//!
//! It owns the ROUTER that agents connect to and the table of hosts, and prints received
//! messages on standard output if asked to.
//!
//! - [`start`]: settings, keys, sockets and the loop put together;
//! - [`run`]: the one loop that owns everything which changes; it only dispatches. Its parts:
//!   [`agents`], the connections; [`ingest`], what becomes of a message; [`fleet`], the table of
//!   hosts with all that follows it, such as the [`sinks`]; [`reload`], new settings; `orders`,
//!   what others ask for, such as a page of the hosts;
//! - [`hosts`]: the table of hosts, pure: who reports, who is due a ping, who is gone;
//! - [`handle`]: how others ask it; [`state`]: what they read without asking;
//! - [`local`]: what the files of the one on this host say;
//! - [`listening`]: whether the addresses of the settings are free, for `--check-config`;
//! - [`schemas`]: names that hosts said once, and what follows from them;
//! - [`hosts::snapshot`]: the table at one moment, for those who read it at their own pace;
//! - [`access`]: who may report, and who may watch;
//! - [`keys_command`]: `metrics-collector keys`, an administrator's way to that;
//! - [`viewers`]: those who watch what the agents report;
//! - [`store`]: what is still known after a restart;
//! - [`backlog`]: what is dropped when more comes than can be read, pure;
//! - [`descriptors`]: how many connections each socket may have, pure;
//! - [`pacer`]: when models are asked for, pure;
//! - [`host_lines`]: which hosts that come and go are, pure;
//! - [`prometheus`]: what hosts report as Prometheus wants it;
//! - [`web`]: where that is scraped;
//! - [`publish`]: where programs of this host follow it;
//! - [`bus`]: its object on the message bus;
//! - [`arguments`]: its command line;
//! - [`settings`] and [`keys`]: what it runs with;
//! - [`mod@line`] and [`printer`]: `--print`, one JSON object a line;
//! - [`events`]: what is logged, in one place.
//!
//! Keeps no history: of each host what it said last, bounded in number and bytes.

pub mod access;
mod agents;
pub mod arguments;
pub mod backlog;
pub mod bus;
pub mod descriptors;
pub(crate) mod events;
mod fleet;
pub mod handle;
mod history;
pub mod host_lines;
pub mod hosts;
pub mod hosts_command;
mod ingest;
pub mod keys;
pub mod keys_command;
pub mod line;
pub mod listening;
pub mod local;
mod orders;
pub mod pacer;
pub mod printer;
pub mod prometheus;
pub mod public_key;
pub mod publish;
pub mod push;
mod refusal;
mod reload;
pub mod run;
pub mod schemas;
pub mod settings;
mod sinks;
pub mod start;
pub mod state;
mod status_line;
pub mod store;
pub mod viewers;
pub mod web;
