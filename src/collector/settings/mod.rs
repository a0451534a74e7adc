//! What the collector runs with: its table of settings, their layers, and where its files
//! are.
//!
//! What leaves this module is valid: [`load()`] reads every layer, checks each value where
//! it stands, merges, and returns [`Settings`] whose types hold no bad state. A mistake is
//! a [`ConfigError`](crate::config::ConfigError) that names the file and line (or the
//! variable, or the option), the key, the value and what was expected. Nothing here logs,
//! opens a socket, or keeps state between two loads.
//!
//! Later layers win: built-in defaults; `/usr/lib/metrics-collector/metrics-collector.toml`;
//! `/etc/metrics-collector/metrics-collector.toml`; the drop-ins beside either, in the order
//! of their file names; the environment; the command line.

mod fragment;
mod inputs;
mod load;
pub mod print;
mod values;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

use super::hosts::Timing;
use super::keys::Found;
use super::publish::endpoint::{Endpoint, SocketMode};
use crate::base::text;
use crate::collector::keys::KeysError;
use crate::config::{ConnectionName, LogLevel, Place, Reason, format_time, service::Note};
use crate::curve::{certificate::Concern, router::Listen};
use crate::dbus::BusAddress;
use crate::protocol::{DEFAULT_METRICS_INTERVAL, DEFAULT_STALE_INTERVAL, LONGEST_PING_INTERVAL};
use load::{MAX_HEADERS, MAX_LABELS, MAX_REMOTE_WRITES};

pub use fragment::COLLECTOR;
pub use inputs::{ETC_DIR, Given, Inputs, USR_DIR};
pub use load::{Layered, Loaded, files, load, read};
pub use values::{
    Authorized, HeaderName, HeaderValue, LabelName, LabelValue, PushUrl, UserName, WebHost,
};

/// Where metrics are scraped.
pub const DEFAULT_WEB_PORT: u16 = 9650;

/// Everything an administrator can set, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Where to listen.
    pub listen: Listening,
    /// What the web server answers to besides the names of this host.
    pub web_hosts: Vec<WebHost>,
    /// Where to publish, if at all.
    pub publish: Option<Publish>,
    /// Whom to listen to.
    pub access: Access,
    /// Pings, expiry, and how long a host that is gone is remembered.
    pub timing: Timing,
    /// Where metrics are written to, by the names in the settings.
    pub remote_write: BTreeMap<ConnectionName, RemoteWrite>,
    /// How much to log.
    pub log_level: LogLevel,
    /// The message bus to be on.
    pub bus: BusAddress,
}

/// Where to listen; no two at one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listening {
    /// For agents.
    pub agents: Listen,
    /// For viewers, if at all.
    pub viewers: Option<Listen>,
    /// For those who scrape metrics, if at all.
    pub web: Option<Listen>,
}

/// Where programs of this host follow what agents send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish {
    /// Where.
    pub endpoint: Endpoint,
    /// Who may connect.
    pub mode: SocketMode,
}

/// Whom to listen to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// Which keys of agents are taken.
    pub authorized: Authorized,
    /// Whether a host's name belongs to the key that first reported under it.
    pub pin_names: bool,
}

/// One place that metrics are written to, as Prometheus' remote write has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteWrite {
    /// Where to.
    pub url: PushUrl,
    /// Who the collector is there.
    pub credentials: Option<Credentials>,
    /// The certificates of authorities to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// How long a request may take.
    pub timeout: Duration,
    /// Whether agents keep samples until this target has them.
    pub acknowledge: bool,
    /// What is sent with each request.
    pub headers: BTreeMap<HeaderName, HeaderValue>,
    /// What is added to each series.
    pub labels: BTreeMap<LabelName, LabelValue>,
}

/// Who the collector is to a place that it writes to. The files were there when the
/// settings were loaded; what they hold is read by who needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// HTTP's basic authentication.
    Basic {
        /// The user.
        username: UserName,
        /// The file with the password.
        password_file: PathBuf,
    },
    /// A bearer token.
    Bearer {
        /// The file with the token.
        token_file: PathBuf,
    },
}

/// The keys whose new values take a restart, as they are written in the settings.
#[must_use]
pub fn restart_needed(in_force: &Loaded, new: &Loaded) -> Vec<&'static str> {
    let (old, settings) = (&in_force.settings, &new.settings);
    let public = |loaded: &Loaded| match &loaded.keys {
        Found::Keys(keys) => Some(keys.pair.public),
        Found::Unclear(_) | Found::Nowhere { .. } => None,
    };
    let endpoint = |settings: &Settings| {
        let publish = settings.publish.as_ref();
        publish.map(|publish| publish.endpoint.clone())
    };
    let mode = |settings: &Settings| settings.publish.as_ref().map(|publish| publish.mode);
    // Without an endpoint a mode means nothing.
    let both = old.publish.is_some() && settings.publish.is_some();
    let differences = [
        ("listen.agents", old.listen.agents != settings.listen.agents),
        (
            "listen.viewers",
            old.listen.viewers != settings.listen.viewers,
        ),
        ("listen.web", old.listen.web != settings.listen.web),
        ("publish.endpoint", endpoint(old) != endpoint(settings)),
        ("publish.mode", both && mode(old) != mode(settings)),
        ("curve.secret_key_file", public(in_force) != public(new)),
        (
            "agents.pin_names",
            old.access.pin_names != settings.access.pin_names,
        ),
        ("dbus.bus", old.bus != settings.bus),
    ];
    differences
        .into_iter()
        .filter_map(|(key, differs)| differs.then_some(key))
        .collect()
}

/// A mistake between settings.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Mistake {
    /// Two would listen at one place.
    #[error("{0} has this port already; choose another one, or \"none\"")]
    SamePort(&'static str),
    /// More than [`MAX_REMOTE_WRITES`].
    #[error("too many remote write targets: {0} (limit {MAX_REMOTE_WRITES})")]
    TooManyTargets(usize),
    /// More than [`MAX_HEADERS`].
    #[error("too many headers: {0} (limit {MAX_HEADERS})")]
    TooManyHeaders(usize),
    /// More than [`MAX_LABELS`].
    #[error("too many labels: {0} (limit {MAX_LABELS})")]
    TooManyLabels(usize),
    /// A target without an address.
    #[error("missing: set where to write to, such as \"https://mimir.example.org/api/v1/push\"")]
    NoUrl,
    /// A user without a password.
    #[error("missing: required with username")]
    NoPassword,
    /// A password without a user.
    #[error("missing: required with password_file")]
    NoUser,
    /// Two ways to say who one is.
    #[error("set either a bearer token or a password, not both")]
    TwoCredentials,
    /// Two headers that differ in case alone.
    #[error("is the same header as {0}")]
    SameHeader(String),
    /// A file that is nowhere.
    #[error("{name} not found: looked in {}; put the file there", looked.join(", "))]
    NoFile {
        /// The file's name.
        name: String,
        /// Where it was looked for.
        looked: Vec<String>,
    },
    /// A file that this user must not read.
    #[error("{}: cannot be read: {source}", text::path(.path))]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The key pair.
    #[error(transparent)]
    Keys(#[from] KeysError),
}

impl From<Mistake> for Reason {
    fn from(mistake: Mistake) -> Self {
        Self::Program(Box::new(mistake))
    }
}

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
        "{place}: hosts.ping_interval: {} is longer than the {} that agents expect at most; those \
         whose intervals.stale is no longer than it ({} where it is not set) would reconnect again \
         and again",
        format_time(*.interval), format_time(LONGEST_PING_INTERVAL),
        format_time(DEFAULT_STALE_INTERVAL)
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

#[cfg(test)]
mod tests;
