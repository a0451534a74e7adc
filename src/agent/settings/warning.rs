//! What is wrong and does not keep the agent from starting.

use std::time::Duration;

use thiserror::Error;

use super::persistent::PersistentError;
use crate::config::service::Note;
use crate::config::{Place, format_time};
use crate::curve::certificate::Concern;
use crate::protocol::LONGEST_PING_INTERVAL;

/// What the agent goes on in spite of, and an administrator should know.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Warning {
    /// The file of persistent settings is no good. It is the agent's own file,
    /// so its loss must not stop the agent: what was set over D-Bus is lost,
    /// and the next persistent setting overwrites the file.
    #[error("ignoring what was set over D-Bus persistently: {0}")]
    PersistentIgnored(#[source] PersistentError),
    /// A key file that others have a say in.
    #[error(transparent)]
    Key(#[from] Concern),
    /// A file that the service sees otherwise than who checks it.
    #[error(transparent)]
    Note(#[from] Note),
    /// Silence that is no sign of trouble.
    #[error(
        "{place}: intervals.stale: {} is not longer than the {} between two pings of some \
         collectors: from those the agent disconnects again and again; 30s is enough for all",
        format_time(*.stale), format_time(LONGEST_PING_INTERVAL)
    )]
    ShortStale {
        /// Where it stands.
        place: Place,
        /// The interval that is set.
        stale: Duration,
    },
}
