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
mod mistake;
pub mod print;
pub mod table;
#[cfg(test)]
mod tests;
mod values;
mod warning;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

pub use inputs::{ETC_DIR, Given, Inputs, USR_DIR};
pub use load::{Layered, Loaded, load, read};
pub use mistake::Mistake;
pub use table::COLLECTOR;
pub use values::{
    Authorized, HeaderName, HeaderValue, LabelName, LabelValue, PushUrl, UserName, WebHost,
};
pub use warning::Warning;

use super::hosts::Timing;
use super::keys::Found;
use crate::config::{ConnectionName, LogLevel};
use crate::curve::router::Listen;
use crate::dbus::BusAddress;

/// Where metrics are scraped.
pub const DEFAULT_WEB_PORT: u16 = 9650;

/// Everything an administrator can set, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Where to listen.
    pub listen: Listening,
    /// What the web server answers to besides the names of this host.
    pub web_hosts: Vec<WebHost>,
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
    let differences = [
        ("listen.agents", old.listen.agents != settings.listen.agents),
        (
            "listen.viewers",
            old.listen.viewers != settings.listen.viewers,
        ),
        ("listen.web", old.listen.web != settings.listen.web),
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
