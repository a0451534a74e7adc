//! The settings in force: valid by their types, never changed in place. A
//! reload makes new ones.

use std::collections::BTreeMap;
use std::time::Duration;

use super::values::{ConnectionName, HostName, LogLevel};
use crate::curve::endpoint::Endpoint;
use crate::curve::keys::{KeyPair, PublicKey};
use crate::dbus::BusAddress;
use crate::sources::Options;

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
    /// The metric collectors to run, each once, all of them known.
    pub collect: Vec<String>,
    /// What was chosen about them.
    pub options: Options,
    /// How much to log.
    pub log_level: LogLevel,
    /// The message bus to be on.
    pub bus: BusAddress,
}

/// One collector: where it is, and how it is known.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CollectorSettings {
    /// Where it listens.
    pub endpoint: Endpoint,
    /// The key that it must prove to have.
    pub public_key: PublicKey,
}

/// The intervals. From [`load`](super::load()) they are within
/// [`METRICS_INTERVAL`](super::METRICS_INTERVAL) and
/// [`STALE_INTERVAL`](super::STALE_INTERVAL).
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
        metrics: Duration::from_secs(5),
        stale: Duration::from_secs(30),
    };
}

impl Default for Intervals {
    fn default() -> Self {
        Self::DEFAULT
    }
}
