//! The agent's settings: their table, and the values in force, which are valid by their types and
//! never changed in place. A reload makes new ones.
//!
//! What leaves this module is valid: [`load()`] reads every layer, checks each value in its place,
//! merges, and returns [`Settings`] whose types hold no bad state. A mistake is a
//! [`ConfigError`](crate::config::ConfigError) that names the file and line (or the variable), the
//! key, the value and what was expected. Nothing here logs, resolves names, or keeps state between
//! two loads.
//!
//! Later layers win: built-in defaults; `/usr/lib/metrics-agent/metrics-agent.toml`;
//! `/etc/metrics-agent/metrics-agent.toml`; the drop-ins beside either, in the order of their file
//! names; the environment; the command line; what was set over D-Bus persistently.

mod address;
mod fragment;
mod inputs;
mod keys;
mod load;
mod metrics;
pub mod persistent;
pub mod print;
mod spool;
#[cfg(test)]
mod testbed;
mod values;

use std::collections::BTreeMap;
use std::time::Duration;

use thiserror::Error;

use crate::config::{ConnectionName, LogLevel, Place, format_time, service::Note};
use crate::curve::keys::{KeyPair, PublicKey};
use crate::curve::{certificate::Concern, endpoint::Endpoint};
use crate::dbus::BusAddress;
use crate::protocol::{DEFAULT_METRICS_INTERVAL, DEFAULT_STALE_INTERVAL, LONGEST_PING_INTERVAL};
use crate::sources::Options;
use persistent::PersistentError;

pub use crate::protocol::{METRICS_INTERVAL, STALE_INTERVAL};
pub use address::{AddressError, CollectorAddress, DEFAULT_SERVICE, ServiceName};
pub use fragment::AGENT;
pub use inputs::{ETC_DIR, Inputs, Overrides, STATE_DIR, USR_DIR};
pub use keys::KeyPolicy;
pub use load::{Layered, Loaded, MAX_COLLECTORS, files, load, read};
pub use spool::Spool;
pub use values::{
    EndpointOrder, HostName, HostNameError, MAX_HOST_NAME_BYTES, metrics_interval, stale_interval,
};

/// Everything an administrator can set, checked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The name to report under; without one, the host's own.
    pub host_name: Option<HostName>,
    /// The collectors to report to, by the name of their connection. May be
    /// empty: then the agent is unconfigured.
    pub collectors: BTreeMap<ConnectionName, CollectorSettings>,
    /// The agent's own keys.
    pub key_pair: KeyPair,
    /// How often, and how long.
    pub intervals: Intervals,
    /// The sources to run, each once, all of them known.
    pub sources: Vec<String>,
    /// What was chosen about them.
    pub options: Options,
    /// What is kept for collectors that are away.
    pub spool: Spool,
    /// How much to log.
    pub log_level: LogLevel,
    /// The message bus to be on.
    pub bus: BusAddress,
}

/// The most addresses of one section. Each is tried before the agent waits; real sites have two or
/// three.
pub const MAX_ENDPOINTS: usize = 16;

/// The most keys of one section: a renewal needs two, and two for each of a few collectors that
/// stand in for each other. Each costs a handshake wherever it is not the right one.
pub const MAX_KEYS: usize = 8;

/// One collector, or several that stand in for each other: where it is, and how it is known.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CollectorSettings {
    /// Where it listens: 1 to [`MAX_ENDPOINTS`] addresses, each once.
    pub endpoints: Vec<CollectorAddress>,
    /// In which order these are tried.
    pub order: EndpointOrder,
    /// The keys of which it must prove to have one: 1 to [`MAX_KEYS`], each once.
    pub public_keys: Vec<PublicKey>,
}

impl CollectorSettings {
    /// The address that is named first.
    #[must_use]
    pub fn first_address(&self) -> String {
        let first = self.endpoints.first();
        first.map(ToString::to_string).unwrap_or_default()
    }

    /// The key that is named first, in Z85.
    #[must_use]
    pub fn first_key(&self) -> String {
        let first = self.public_keys.first();
        first.map(ToString::to_string).unwrap_or_default()
    }
}

/// The intervals. From [`load`](load()) they are within
/// [`METRICS_INTERVAL`] and [`STALE_INTERVAL`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intervals {
    /// Between two metrics messages.
    pub metrics: Duration,
    /// Silence after which a connection is stale.
    pub stale: Duration,
}

impl Intervals {
    /// 5 s and 30 s.
    pub const DEFAULT: Self = Self {
        metrics: DEFAULT_METRICS_INTERVAL,
        stale: DEFAULT_STALE_INTERVAL,
    };
}

impl Default for Intervals {
    fn default() -> Self {
        Self::DEFAULT
    }
}

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
