//! The engine of settings, for any program with a [`table::Schema`]: layers of files and variables,
//! checked at their origins, merged, and printed with where each came from.
//!
//! A mistake is a [`ConfigError`] that names the file and line (or the variable), the key, the
//! value and what was expected. Each program has its own table of settings. Nothing here logs, or
//! keeps state between two loads.

mod document;
mod environment;
pub(crate) mod error;
pub(crate) mod files;
pub mod layers;
mod mistakes;
pub(crate) mod one_or_more;
pub mod print;
pub mod service;
pub mod table;
mod values;

pub(crate) use error::Problems;
pub use error::{ConfigError, Place, Problem, Reason, Suggestion};
pub use files::MAX_FILE_BYTES;
pub use values::{
    ConnectionName, ConnectionNameError, LogLevel, MAX_CONNECTION_NAME_BYTES, OutOfRange,
    UnknownLogLevel,
};
pub(crate) use values::{
    Flag, deserialize_within, format as format_time, parse as parse_time, within,
};
