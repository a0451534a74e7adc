//! Problems that do not keep the collector from starting.

use std::time::Duration;

use thiserror::Error;

use super::PushUrl;
use crate::config::service::Note;
use crate::config::{Place, format_time};
use crate::curve::certificate::Concern;
use crate::protocol::{DEFAULT_METRICS_INTERVAL, DEFAULT_STALE_INTERVAL};

/// A problem that does not stop the collector, but that an administrator should know.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Warning {
    /// A key file that others have a say in.
    #[error(transparent)]
    Key(#[from] Concern),
    /// A file that the service sees otherwise than who checks it.
    #[error(transparent)]
    Note(#[from] Note),
    /// A link-local address whose interface this host does not have now: it may come later.
    #[error("{place}: {url} cannot be reached: this host has no such interface now")]
    NoInterface {
        /// Where it stands.
        place: Place,
        /// The address with its interface.
        url: PushUrl,
    },
    /// Pings that agents do not wait for.
    #[error(
        "{place}: hosts.ping_interval: {} is not shorter than the {} of silence after which \
         agents reconnect, where their intervals.stale is not set",
        format_time(*.interval), format_time(DEFAULT_STALE_INTERVAL)
    )]
    RarePings {
        /// Where it stands.
        place: Place,
        /// The interval.
        interval: Duration,
    },
    /// Hosts that are gone between two of their messages.
    #[error(
        "{place}: hosts.timeout: {} is not longer than the {} between two messages of an agent \
         whose intervals.metrics is not set: its host is gone between them",
        format_time(*.timeout), format_time(DEFAULT_METRICS_INTERVAL)
    )]
    ShortTimeout {
        /// Where it stands.
        place: Place,
        /// The time.
        timeout: Duration,
    },
}
