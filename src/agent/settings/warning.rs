//! Problems that do not keep the agent from starting.

use std::time::Duration;

use thiserror::Error;

use super::persistent::PersistentError;
use crate::config::service::Note;
use crate::config::{Place, format_time};
use crate::curve::certificate::Concern;
use crate::curve::endpoint::Endpoint;
use crate::protocol::LONGEST_PING_INTERVAL;

/// A problem that does not stop the agent, and that an administrator should know.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Warning {
    /// The file of persistent settings is no good. It is the agent's own file,
    /// so its loss must not stop the agent: what was set over D-Bus is lost,
    /// and the next persistent setting overwrites the file.
    #[error("settings kept over D-Bus are ignored: {0}")]
    PersistentIgnored(#[source] PersistentError),
    /// A key file that other users can access or change.
    #[error(transparent)]
    Key(#[from] Concern),
    /// A file that the service sees differently from the checking user.
    #[error(transparent)]
    Note(#[from] Note),
    /// A link-local address whose interface this host does not have now: it may come later.
    #[error("{place}: {endpoint} cannot be reached: this host has no such interface now")]
    NoInterface {
        /// The origin of the value.
        place: Place,
        /// The address with its interface.
        endpoint: Endpoint,
    },
    /// A stale interval that is too short for some collectors.
    #[error(
        "{place}: intervals.stale: {} is not longer than the {} between two pings of some collectors; the agent would disconnect from these again and again; 30s is enough for all",
        format_time(*.stale), format_time(LONGEST_PING_INTERVAL)
    )]
    ShortStale {
        /// The origin of the value.
        place: Place,
        /// The interval that is set.
        stale: Duration,
    },
}
