//! `metrics-collector`: the other end of the agents' connections.
//!
//! It owns the ROUTER that agents connect to and the table of the hosts that report,
//! and says what it hears on standard output where that is asked for.
//!
//! - [`start`]: settings, keys, sockets and the loop put together;
//! - [`run`]: the one loop that owns everything which changes;
//! - [`hosts`]: the table of hosts, pure: who reports, who is due a ping, who is gone;
//! - [`families`]: which metrics are reported together;
//! - [`snapshot`]: the table at one moment, for those who read it at their own pace;
//! - [`access`]: who may report, and who may watch;
//! - [`keys_command`]: `metrics-collector keys`, an administrator's way to that;
//! - [`complaints`]: which refused messages are worth a line in the log, pure;
//! - [`arguments`]: its command line;
//! - [`settings`] and [`keys`]: what it runs with;
//! - [`mod@line`] and [`printer`]: `--print`, one JSON object a line;
//! - [`events`]: what is logged, in one place.
//!
//! Keeps no history: of each host the last grid of either kind, bounded in number and bytes.

pub mod access;
pub mod arguments;
pub mod complaints;
pub(crate) mod events;
pub mod families;
pub mod handle;
pub mod hosts;
pub mod keys;
pub mod keys_command;
pub mod line;
pub mod printer;
pub mod run;
pub mod settings;
pub mod snapshot;
pub mod start;
mod status_line;
