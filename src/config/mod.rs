//! The settings: their layers, their validation, and where each value came from.
//!
//! What leaves this module is valid: [`load()`] reads every layer, checks each
//! value where it stands, merges, and returns [`Settings`] whose types hold no
//! bad state. A mistake is a [`ConfigError`] that names the file and line (or
//! the variable), the key, the value and what was expected. Nothing here logs,
//! resolves names, or keeps state between two loads.
//!
//! Later layers win: built-in defaults; `/usr/lib/metrics-agent/metrics-agent.toml`;
//! `/etc/metrics-agent/metrics-agent.toml`; the drop-ins beside either, in the
//! order of their file names; the environment; the command line; what was set
//! over D-Bus persistently.

mod document;
mod environment;
mod error;
mod files;
mod fragment;
mod interval;
mod keys;
pub mod layers;
mod load;
mod metrics;
mod mistaken;
pub mod persistent;
pub mod print;
pub mod running;
pub mod service;
mod settings;
mod sources;
pub mod table;
#[cfg(test)]
mod testbed;
mod values;

pub use error::{ConfigError, Place, Problem, Reason, Suggestion, Warning};
pub(crate) use error::{PING_INTERVAL, Problems};
pub use files::MAX_FILE_BYTES;
pub use fragment::{AGENT, RESERVED_VARIABLES};
pub use interval::{
    METRICS_INTERVAL, OutOfRange, STALE_INTERVAL, metrics_interval, stale_interval,
};
pub(crate) use interval::{deserialize_within, format as format_time, parse as parse_time};
pub use keys::KeyPolicy;
pub use load::{Layered, Loaded, MAX_COLLECTORS, load, read};
pub(crate) use metrics::Flag;
pub use settings::{CollectorSettings, Intervals, Settings};
pub use sources::{ETC_DIR, Overrides, STATE_DIR, Sources, USR_DIR};
pub use values::{
    ConnectionName, ConnectionNameError, HostName, HostNameError, LogLevel,
    MAX_CONNECTION_NAME_BYTES, MAX_HOST_NAME_BYTES, UnknownLogLevel,
};
