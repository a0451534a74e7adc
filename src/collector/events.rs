//! All events of the collector that an administrator may look for, in one place: `MESSAGE_ID`,
//! fields and text.
//!
//! The text is complete by itself, for readers of a terminal; the fields are for `journalctl
//! HOST=web1` and for programs.

mod access;
mod history;
mod publish;
mod viewers;

pub(crate) use access::*;
pub(crate) use history::*;
pub(crate) use publish::*;
pub(crate) use viewers::*;

use std::fmt::Display;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tracing::{debug, error, info, warn};

use super::access::Listener;
use super::host_lines::{LeftOut, Whose};
use super::hosts::{Proof, Renamed, Twin};
use super::settings::Loaded;
use super::store::file::Trouble;
use crate::base::quantity::whole_seconds;
use crate::base::text;
use crate::base::throttle::Tell;
use crate::curve::keys::PublicKey;
use crate::curve::router::{Listen, RoutingIdBytes};
use crate::systemd::log::Lost;
use crate::systemd::message_id;

pub(crate) mod push;

pub(crate) fn start_refused(error: &dyn Display) {
    let error = error.to_string();
    error!(
        message_id = message_id::COLLECTOR_CONFIGURATION_INVALID,
        error, "{error}"
    );
}

pub(crate) fn loaded(loaded: &Loaded) {
    for warning in &loaded.warnings {
        warn!("{warning}");
    }
}

pub(crate) fn key_generated(path: &Path, public_key: &str) {
    let path = path.display().to_string();
    info!(
        message_id = message_id::COLLECTOR_KEY_GENERATED,
        path,
        public_key,
        "Made the collector's key pair in {path}; agents need its public key: {public_key}"
    );
}

pub(crate) fn keys_unseen(directories: &[PathBuf]) {
    for directory in directories {
        let path = directory.display().to_string();
        warn!(path, "Cannot read {path}: a key there is ignored");
    }
}

pub(crate) fn ready(endpoint: &str, public_key: &str) {
    info!(
        message_id = message_id::COLLECTOR_READY,
        endpoint,
        public_key,
        "Listening for agents at {endpoint}; the public key they need is {public_key}"
    );
}

pub(crate) fn web_ready(address: Listen) {
    let url = format!("http://{address}/metrics");
    info!(
        message_id = message_id::COLLECTOR_WEB_READY,
        url, "Serving Prometheus at {url}"
    );
}

pub(crate) fn web_accept_failed(error: &dyn Display, untold: u64) {
    let error = error.to_string();
    let more = more(untold);
    warn!(
        error,
        "The web server cannot accept connections now: {error}{more}"
    );
}

pub(crate) fn web_host_refused(peer: IpAddr, host: &dyn Display, file: &Path, untold: u64) {
    let host = host.to_string();
    let file = text::path(file);
    let more = more(untold);
    warn!(
        host,
        "Refused a request of {peer} for {host}: that is not a name of this collector; \
         to allow it, set hosts = [\"{host}\"] in the section [web] of {file}, and reload the \
         collector{more}"
    );
}

pub(crate) fn scrape_without_thread(error: &dyn Display, untold: u64) {
    let error = error.to_string();
    let more = more(untold);
    warn!(
        error,
        "A scrape was refused: no thread could be started: {error}{more}"
    );
}

pub(crate) fn stopping(why: &str, totals: &str) {
    info!(
        message_id = message_id::COLLECTOR_STOPPING,
        "Stopping on {why}: {totals}"
    );
}

pub(crate) fn host_appeared(host: &str, routing_id: &RoutingIdBytes) {
    let routing_id = routing_id.to_string();
    let name = text::quoted(host);
    info!(
        message_id = message_id::COLLECTOR_HOST_APPEARED,
        host, routing_id, "{name} reports"
    );
}

/// `keys` are that of the new connection and that of the one before, if these differ.
pub(crate) fn host_replaced(
    host: &str,
    routing_id: &RoutingIdBytes,
    keys: Option<(PublicKey, PublicKey)>,
    untold: u64,
) {
    let routing_id = routing_id.to_string();
    let public_key = keys.map(|(now, _)| now.to_string());
    let public_key_before = keys.map(|(_, before)| before.to_string());
    let with = match (&public_key, &public_key_before) {
        (Some(now), Some(before)) => format!(", with the key {now}, and before with {before}"),
        _ => String::new(),
    };
    let more = more(untold);
    let name = text::quoted(host);
    info!(
        message_id = message_id::COLLECTOR_HOST_REPLACED,
        host,
        routing_id,
        public_key,
        public_key_before,
        "{name} reports on another connection now{with}{more}"
    );
}

pub(crate) fn host_gone(host: &str, routing_id: Option<&RoutingIdBytes>, silence: Duration) {
    let routing_id = routing_id.map(ToString::to_string);
    let silence = silence.as_secs();
    let name = text::quoted(host);
    warn!(
        message_id = message_id::COLLECTOR_HOST_GONE,
        host, routing_id, "{name} is gone: nothing heard for {silence} s"
    );
}

pub(crate) fn host_forgotten(host: &str) {
    let name = text::quoted(host);
    info!(host, "{name} is forgotten: it was gone for long enough");
}

pub(crate) fn host_forgotten_as_asked(host: &str) {
    let name = text::quoted(host);
    info!(
        host,
        "{name} is forgotten, as an administrator asked for it"
    );
}

pub(crate) fn host_renamed(renamed: &Renamed, is_pinned: bool) {
    let (host, new_name) = (&*renamed.old.name, &*renamed.new);
    let (old, new) = (text::quoted(host), text::quoted(new_name));
    let pin = if is_pinned {
        let command = super::access::forget(host);
        format!("; no other key may report as {old} before `{command}`")
    } else {
        String::new()
    };
    info!(
        message_id = message_id::COLLECTOR_HOST_RENAMED,
        host,
        new_name,
        "{old} was renamed to {new}: the same key reports as {new}, and {old} is \
         silent since; {old} is forgotten{pin}"
    );
}

pub(crate) fn key_shared(twin: &Twin) {
    let [host, other_host] = &twin.hosts;
    let shown = |address: &Option<Arc<str>>| {
        let address = address.as_deref();
        address.unwrap_or("an unknown address").to_owned()
    };
    let [address, other_address] = twin.addresses.each_ref().map(shown);
    let public_key = twin.key.to_string();
    let may_be_one = twin.addresses[0] == twin.addresses[1] && host == other_host;
    let doubt = match twin.proof {
        Some(Proof::Boots) => "; the ids of their boots differ, so they are not one",
        Some(Proof::Uptimes) => {
            "; their boots have one id, but their uptimes differ, so they are not one"
        }
        None if may_be_one => {
            "; if it is one machine, its agent has two connections to this collector: remove one"
        }
        None => "",
    };
    let (name, other) = (text::quoted(host), text::quoted(other_host));
    warn!(
        message_id = message_id::COLLECTOR_KEY_SHARED,
        host = &**host,
        other_host = &**other_host,
        address,
        other_address,
        public_key,
        "The key {public_key} reports from two machines at a time, as {name} from {address} and as \
         {other} from {other_address}: was one cloned from the other? On the clone, remove \
         agent.key_secret and restart metrics-agent, which makes a key of its own{doubt}"
    );
}

pub(crate) fn host_lines_left_out(left_out: LeftOut) {
    let LeftOut { of, lines } = left_out;
    let suppressed = text::counted(lines, "line");
    let (mut public_key, mut address) = (None, None);
    let whose = match of {
        Whose::Key(key) => format!(" of the key {}", public_key.insert(key.to_string())),
        Whose::Network(network) => format!(" from {}", address.insert(network.to_string())),
        Whose::All => String::new(),
    };
    warn!(
        public_key,
        address, lines, "Too many hosts{whose} come and go: suppressed {suppressed} about them"
    );
}

/// The sender of a message: its key if known, because a peer chooses its routing id freely.
fn sender(
    routing_id: &RoutingIdBytes,
    key: Option<&PublicKey>,
    address: Option<&str>,
) -> (String, Option<String>) {
    let address = address.unwrap_or("an unknown address");
    match key.map(ToString::to_string) {
        Some(key) => (format!("{address} (the key {key})"), Some(key)),
        None => (format!("{address} ({routing_id})"), None),
    }
}

pub(crate) fn refused(
    from: &RoutingIdBytes,
    key: Option<&PublicKey>,
    address: Option<&str>,
    error: &dyn Display,
    tell: Tell,
) {
    let what = ["a message", "messages from many different peers"];
    log_refusal(
        message_id::COLLECTOR_MESSAGE_REFUSED,
        what,
        (from, key, address),
        error,
        tell,
    );
}

/// Logs that a message was refused, if that is to be told.
fn log_refusal(
    message_id: &str,
    what: [&str; 2],
    (routing_id, key, address): (&RoutingIdBytes, Option<&PublicKey>, Option<&str>),
    error: &dyn Display,
    tell: Tell,
) {
    let (sender, public_key) = sender(routing_id, key, address);
    let routing_id = routing_id.to_string();
    let error = error.to_string();
    let Some(text) = refusal_text(what, &sender, &error, tell) else {
        return;
    };
    warn!(message_id, routing_id, public_key, address, error, "{text}");
}

/// A connection was ended because of what its peer did.
pub(crate) fn connection_failed(
    listener: Listener,
    key: Option<PublicKey>,
    address: &str,
    why: &dyn Display,
    tell: Tell,
) {
    let role = listener.role();
    let public_key = key.map(|key| key.to_string());
    let peer = match &public_key {
        Some(key) => format!("{address} (the key {key})"),
        None => address.to_owned(),
    };
    let error = why.to_string();
    let text = match tell {
        Tell::Nothing => return,
        Tell::Peer { untold } => {
            let more = more(untold);
            format!("Ended a connection of {peer} to the {role}s' port: {error}{more}")
        }
        Tell::Crowd { untold } => {
            let connections = untold + 1;
            format!(
                "Ended connections of many different peers to the {role}s' port ({connections} \
                 since the last such line), the last of {peer}: {error}"
            )
        }
    };
    warn!(public_key, address, error, "{text}");
}

pub(crate) fn metric_too_large(host: &str, metric: &str, tell: Tell) {
    let (name, quoted) = (text::quoted(host), text::quoted(metric));
    let more = match tell {
        Tell::Nothing => return,
        Tell::Peer { untold } | Tell::Crowd { untold } => more(untold),
    };
    warn!(
        host,
        metric,
        "The metric {quoted} of {name} is left out at /metrics and in remote write: it is too \
         large for its unit{more}"
    );
}

/// The log line about refused messages of one sender, or of many new ones. `what` names their
/// kind.
fn refusal_text([one, many]: [&str; 2], sender: &str, error: &str, tell: Tell) -> Option<String> {
    match tell {
        Tell::Nothing => None,
        Tell::Peer { untold } => {
            let more = more(untold);
            Some(format!("Refused {one} from {sender}: {error}{more}"))
        }
        Tell::Crowd { untold } => {
            let messages = untold + 1;
            Some(format!(
                "Refused {many} ({messages} since the last such line), the last from {sender}: \
                 {error}"
            ))
        }
    }
}

fn more(untold: u64) -> String {
    if untold == 0 {
        String::new()
    } else {
        format!(" ({untold} more since the last such line)")
    }
}

pub(crate) fn sending_failed(routing_id: &RoutingIdBytes, word: &str, error: &dyn Display) {
    debug!(routing_id = %routing_id, "a {word} was not sent: {error}");
}

pub(crate) fn hosts_restored(hosts: usize) {
    let hosts = text::counted(hosts as u64, "host");
    info!("Restored {hosts} from before the restart, each expected or gone");
}

pub(crate) fn state_damaged(trouble: &Trouble) {
    let path = trouble.path.display().to_string();
    let error = trouble.what.to_string();
    let aside = match &trouble.aside {
        Ok(aside) => format!("it is left as {}", aside.display()),
        Err(error) => format!("it cannot be left under another name: {error}"),
    };
    warn!(
        message_id = message_id::COLLECTOR_STATE_DAMAGED,
        path, error, "Cannot use all of {path}, which keeps hosts over a restart: {error}; {aside}"
    );
}

pub(crate) fn state_not_kept(error: &dyn Display) {
    let error = error.to_string();
    warn!(
        message_id = message_id::COLLECTOR_STATE_NOT_KEPT,
        error, "The hosts are not kept over a restart: {error}; trying again every minute"
    );
}

pub(crate) fn state_kept_again() {
    info!("The hosts are kept over a restart again");
}

pub(crate) fn behind() {
    warn!(
        message_id = message_id::COLLECTOR_BEHIND,
        "Messages arrive faster than this collector can process them: only the latest metrics of \
         each host are processed, older ones are dropped; give the agents a longer metrics \
         interval, or some of them another collector"
    );
}

pub(crate) fn caught_up(lasted: Duration, dropped: u64) {
    let lasted = whole_seconds(lasted);
    let messages = text::counted(dropped, "message");
    info!(
        message_id = message_id::COLLECTOR_CAUGHT_UP,
        dropped, "Caught up after {lasted}: dropped {messages}"
    );
}

pub(crate) fn models_not_asked_for(untold: u64) {
    let requests = untold + 1;
    warn!(
        "Too many agents wait for a model request: {requests} more get none and will connect again"
    );
}

pub(crate) fn was_deaf(time: Duration) {
    let time = whole_seconds(time);
    warn!("The event loop stalled for {time}; the time-outs of hosts were extended");
}

pub(crate) fn lines_dropped(untold: u64) {
    let lines = text::counted(untold + 1, "line");
    warn!("The reader of standard output does not keep up: dropped {lines}");
}

pub(crate) fn printing_failed(error: &dyn Display, untold: u64) {
    let error = error.to_string();
    let more = more(untold);
    error!(
        error,
        "Lines were lost, as standard output failed: {error}{more}"
    );
}

pub(crate) fn reloaded() {
    info!(
        message_id = message_id::COLLECTOR_CONFIGURATION_RELOADED,
        "Configuration reloaded"
    );
}

pub(crate) fn reload_refused(error: &dyn Display) {
    let error = error.to_string();
    error!(
        message_id = message_id::COLLECTOR_CONFIGURATION_INVALID,
        error, "The configuration was not reloaded, and nothing has changed: {error}"
    );
}

pub(crate) fn restart_needed(settings: &str) {
    warn!(
        message_id = message_id::COLLECTOR_RESTART_NEEDED,
        settings, "These settings differ from those in force, and take a restart: {settings}"
    );
}

pub(crate) fn bus_unavailable(error: &dyn Display) {
    let error = error.to_string();
    warn!(
        message_id = message_id::COLLECTOR_BUS_UNAVAILABLE,
        error,
        "Not on the bus, trying again until it is back: {error}; until then reload with \
         `systemctl reload metrics-collector`, or, where that fails, with `systemctl kill -s HUP \
         metrics-collector`"
    );
}

pub(crate) fn bus_available(name: &str) {
    info!(
        message_id = message_id::COLLECTOR_BUS_AVAILABLE,
        "On the bus again as {name}"
    );
}

pub(crate) fn log_lines_lost(lost: Lost) {
    let (lines, since) = (lost.lines, humantime::format_rfc3339_seconds(lost.since));
    let since = since.to_string();
    let lost = text::counted(lines, "log line");
    warn!(
        message_id = message_id::COLLECTOR_LOG_LINES_LOST,
        lines, since, "Lost {lost} since {since}: the log's queue was full"
    );
}

pub(crate) fn memory_given_back(any: bool) {
    let what = if any { "free memory" } else { "nothing" };
    debug!("Memory is short on this host: {what} was given back");
}

#[cfg(test)]
mod tests;
