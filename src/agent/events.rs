//! Every event of the agent that an administrator may want to find, in one place: its `MESSAGE_ID`,
//! its fields and its text.
//!
//! The text says all that matters by itself, for people at a terminal; the fields are for
//! `journalctl CONNECTION=main` and for programs.

use std::fmt::Display;
use std::path::Path;
use std::time::Duration;

use tracing::{debug, error, info, warn};

use crate::agent::connection::Moved;
use crate::agent::history::types::{HistoryEvent, Loss, Why};
use crate::agent::settings::Loaded;
use crate::agent::settings::Warning;
use crate::base::{clock, quantity, text};
use crate::protocol::data::Receipt;
use crate::systemd::log::Lost;
use crate::systemd::message_id;

pub(crate) fn ready(version: &str, host_name: &str, public_key: &str, connections: usize) {
    let collectors = text::counted(connections as u64, "collector");
    info!(
        message_id = message_id::AGENT_READY,
        host_name,
        public_key,
        "metrics-agent {version} is ready, reporting as {host_name} to {collectors}"
    );
}

pub(crate) fn unconfigured(reason: &str) {
    warn!(message_id = message_id::AGENT_UNCONFIGURED, "{reason}");
}

pub(crate) fn stopping(signal: &str) {
    info!(
        message_id = message_id::AGENT_STOPPING,
        "Stopping on {signal}"
    );
}

pub(crate) fn reporting(connection: &str, endpoint: &str) {
    info!(
        message_id = message_id::CONNECTION_REPORTING,
        connection,
        endpoint,
        state = "reporting",
        "Reporting to {connection} ({endpoint})"
    );
}

pub(crate) fn moved(connection: &str, endpoint: &str, public_key: &str, moved: &Moved) {
    match moved {
        Moved::To { from, why } => info!(
            message_id = message_id::CONNECTION_MOVED,
            connection,
            endpoint,
            public_key,
            previous = from,
            reason = why,
            "Reporting to {connection} at {endpoint} now, not at {from} any more: {why}"
        ),
        Moved::Key { from } => info!(
            message_id = message_id::CONNECTION_OTHER_KEY,
            connection,
            endpoint,
            public_key,
            previous = from,
            "Reporting to {connection} ({endpoint}), which has the key {public_key} now, not \
             {from} any more"
        ),
    }
}

pub(crate) fn lost(connection: &str, endpoint: &str, state: &str, reason: &str) {
    warn!(
        message_id = message_id::CONNECTION_LOST,
        connection,
        endpoint,
        state,
        reason,
        "Lost {connection} ({endpoint}), trying again until it is back: {reason}"
    );
}

pub(crate) fn unsteady(connection: &str, endpoint: &str, state: &str, quiet: Duration) {
    let quiet = humantime::format_duration(quiet);
    let reason = "it is flapping";
    warn!(
        message_id = message_id::CONNECTION_LOST,
        connection,
        endpoint,
        state,
        reason,
        "{connection} ({endpoint}) is flapping; further messages are suppressed for {quiet}"
    );
}

pub(crate) fn waiting(connection: &str, endpoint: &str, state: &str, reason: &str) {
    warn!(
        message_id = message_id::CONNECTION_WAITING,
        connection,
        endpoint,
        state,
        reason,
        "Not reporting to {connection} ({endpoint}) yet, trying until it works: {reason}"
    );
}

pub(crate) fn key_refused(connection: &str, endpoint: &str, public_key: &str, reason: &str) {
    error!(
        message_id = message_id::CONNECTION_KEY_REFUSED,
        connection,
        endpoint,
        public_key,
        reason,
        "No secure connection to {connection} ({endpoint}): {reason}"
    );
}

pub(crate) fn not_secured(connection: &str, endpoint: &str, reason: &str) {
    error!(
        message_id = message_id::CONNECTION_NOT_SECURED,
        connection, endpoint, reason, "No secure connection to {connection} ({endpoint}): {reason}"
    );
}

pub(crate) fn not_allowed(connection: &str, endpoint: &str, own_key: &str, reason: &str) {
    error!(
        message_id = message_id::CONNECTION_NOT_ALLOWED,
        connection,
        endpoint,
        public_key = own_key,
        reason,
        "Not let in by {connection} ({endpoint}): {reason}; this agent's key is {own_key}"
    );
}

pub(crate) fn not_understood(connection: &str, endpoint: &str, error: &dyn Display, untold: u64) {
    let error = error.to_string();
    let more = more(untold);
    warn!(
        message_id = message_id::MESSAGE_NOT_UNDERSTOOD,
        connection,
        endpoint,
        error,
        "Ignored a message from {connection} ({endpoint}): {error}{more}"
    );
}

/// What to say of lines that were kept quiet about.
fn more(untold: u64) -> String {
    match untold {
        0 => String::new(),
        untold => format!(" ({untold} more since the last such line)"),
    }
}

pub(crate) fn reloaded(connections: usize) {
    let collectors = text::counted(connections as u64, "collector");
    info!(
        message_id = message_id::CONFIGURATION_RELOADED,
        "Configuration reloaded: {collectors}"
    );
}

pub(crate) fn reload_refused(error: &dyn Display) {
    let error = error.to_string();
    error!(
        message_id = message_id::CONFIGURATION_INVALID,
        error, "The new configuration is invalid and changed nothing: {error}"
    );
}

pub(crate) fn start_refused(error: &dyn Display) {
    let error = error.to_string();
    error!(
        message_id = message_id::CONFIGURATION_INVALID,
        error, "{error}"
    );
}

pub(crate) fn configuration_ignored(warning: &dyn Display) {
    let error = warning.to_string();
    warn!(
        message_id = message_id::CONFIGURATION_INVALID,
        error, "{error}"
    );
}

pub(crate) fn setting_changed(setting: &str, value: &str, persistent: bool) {
    let until = if persistent {
        "also after a restart"
    } else {
        "until the agent ends"
    };
    info!(
        message_id = message_id::SETTING_CHANGED,
        setting, value, "{setting} is {value} now, {until}"
    );
}

pub(crate) fn settings_reverted() {
    info!(
        message_id = message_id::SETTING_CHANGED,
        setting = "intervals",
        value = "as configured",
        "Settings made over D-Bus were dropped: the configuration files are in force"
    );
}

pub(crate) fn setting_not_kept(setting: &str, path: &Path, error: &dyn Display) {
    let (path, error) = (path.display().to_string(), error.to_string());
    error!(
        message_id = message_id::SETTING_NOT_KEPT,
        setting, path, error, "{setting} is in force but will not survive a restart: {error}"
    );
}

/// Logs what an administrator should know about settings that were just read.
pub(crate) fn loaded(loaded: &Loaded) {
    for warning in &loaded.warnings {
        match warning {
            Warning::PersistentIgnored(_) => configuration_ignored(warning),
            other => warn!("{other}"),
        }
    }
    if let Some(path) = &loaded.generated_key {
        key_generated(path, &loaded.settings.key_pair.public.to_string());
    }
}

fn key_generated(path: &Path, public_key: &str) {
    let path = path.display().to_string();
    info!(
        message_id = message_id::KEY_GENERATED,
        path, public_key, "Made the agent's key pair in {path}; its public key is {public_key}"
    );
}

pub(crate) fn host_name_changed(previous: &str, host_name: &str) {
    info!(
        message_id = message_id::HOST_NAME_CHANGED,
        host_name, previous, "Reporting as {host_name} from now on, not as {previous} any more"
    );
}

pub(crate) fn source_failed(source: &str, error: &dyn Display) {
    let error = error.to_string();
    warn!(
        message_id = message_id::SOURCE_FAILED,
        source, error, "The metrics of {source} are left out: {error}"
    );
}

pub(crate) fn value_left_out(source: &str, error: &dyn Display) {
    let error = error.to_string();
    warn!(
        message_id = message_id::VALUE_LEFT_OUT,
        source, error, "A value of {source} is left out, the others are sent: {error}"
    );
}

pub(crate) fn counters_began_again(source: &str, error: &dyn Display) {
    let error = error.to_string();
    warn!(
        message_id = message_id::COUNTERS_BEGAN_AGAIN,
        source, error, "Counters of {source} went far back, and are sent as they are now: {error}"
    );
}

pub(crate) fn more_values_left_out(source: &str) {
    let error = "too many to name each";
    warn!(
        message_id = message_id::VALUE_LEFT_OUT,
        source, error, "More values of {source} are left out: {error}"
    );
}

pub(crate) fn source_cut(source: &str, values: u64) {
    let (noun, verb) = if values == 1 {
        ("value", "is")
    } else {
        ("values", "are")
    };
    warn!(
        message_id = message_id::SOURCE_CUT,
        source,
        values,
        "{values} {noun} of {source} {verb} left out, as there are too many; \
         narrow [metrics.{source}] to those that matter"
    );
}

pub(crate) fn instance_stuck(source: &str, instance: &str) {
    warn!(
        message_id = message_id::INSTANCE_STUCK,
        source,
        instance,
        "{instance} does not answer: its values of {source} are left out until it does"
    );
}

pub(crate) fn instance_unstuck(source: &str, instance: &str, gone: bool) {
    let outcome = if gone { "is gone" } else { "answers again" };
    info!(
        message_id = message_id::INSTANCE_UNSTUCK,
        source, instance, outcome, "{instance}, which did not answer {source}, {outcome}"
    );
}

pub(crate) fn source_recovered(source: &str) {
    info!(
        message_id = message_id::SOURCE_RECOVERED,
        source, "The metrics of {source} are back"
    );
}

pub(crate) fn grid_not_encoded(error: &dyn Display) {
    error!("a sample could not be encoded, an empty one goes out in its place: {error}");
}

pub(crate) fn bus_unavailable(error: &dyn Display) {
    let error = error.to_string();
    warn!(
        message_id = message_id::BUS_UNAVAILABLE,
        error,
        "Not on the bus, trying again: {error}; until then reload with `systemctl reload \
         metrics-agent`, or, where that fails, with `systemctl kill -s HUP metrics-agent`"
    );
}

pub(crate) fn bus_available(name: &str) {
    info!(
        message_id = message_id::BUS_AVAILABLE,
        "On the bus again as {name}"
    );
}

pub(crate) fn sending_failed(connection: &str, error: &dyn Display) {
    debug!(connection, "a message was not sent: {error}");
}

pub(crate) fn source_enabled(source: &str, enabled: bool) {
    let value = if enabled { "enabled" } else { "disabled" };
    info!(
        message_id = message_id::SETTING_CHANGED,
        setting = "metrics.sources",
        source,
        value,
        "The source {source} is {value} now"
    );
}

pub(crate) fn stuck(connection: &str) {
    error!(
        connection,
        "the connection {connection} is stuck: the watchdog is not notified any more, so that \
         systemd restarts the agent"
    );
}

pub(crate) fn next_start_only(setting: &str) {
    warn!("{setting} has changed; that takes effect with the next start");
}

pub(crate) fn farewell_cut_short() {
    warn!("a connection did not close in time; ending all the same");
}

/// What happened to what is kept for collectors.
pub(crate) fn history(event: &HistoryEvent) {
    match event {
        HistoryEvent::DiskFailing(error) => {
            warn!(
                message_id = message_id::SAMPLES_NOT_WRITTEN,
                error,
                "Samples for collectors that are away are kept in memory alone, trying again: {error}"
            );
        }
        HistoryEvent::DiskWorks => {
            info!(
                message_id = message_id::SAMPLES_WRITTEN_AGAIN,
                "Samples for collectors that are away are kept on disk again"
            );
        }
        HistoryEvent::Found { samples, bytes } => {
            let (found, size) = (text::counted(*samples, "sample"), quantity::bytes(*bytes));
            info!(
                message_id = message_id::SAMPLES_FOUND,
                samples, bytes, "Going on with {found} of an earlier run ({size} on disk)"
            );
        }
        HistoryEvent::TailDamaged(bytes) => {
            let size = quantity::bytes(*bytes);
            damaged(&format!("the last {size} on disk cannot be read"));
        }
        HistoryEvent::Unreadable(files) => {
            let files = text::counted(*files, "file");
            damaged(&format!("{files} could not be read and had to be removed"));
        }
        // Said when it began, or when the agent started.
        HistoryEvent::Losing { begins: false, .. }
        | HistoryEvent::Lost {
            why: Why::Unwritten,
            ..
        } => {}
        HistoryEvent::Losing {
            collector,
            why,
            loss,
            ..
        } => {
            // Those of a kill are over.
            let verb = match why {
                Why::Unwritten => "are",
                _ => "are being",
            };
            let text = format!("Samples for {collector} {verb} lost");
            samples_lost(collector, *why, loss, &text);
        }
        HistoryEvent::Lost {
            collector,
            why,
            loss,
        } => {
            let lost = text::counted(loss.samples, "sample");
            let text = format!("{collector} has all samples that are kept; {lost} are lost");
            samples_lost(collector, *why, loss, &text);
        }
    }
}

fn samples_lost(connection: &str, why: Why, loss: &Loss, text: &str) {
    let (reason, of) = (why_lost(why), clock::span(loss.first, loss.last));
    let (samples, first, last) = (loss.samples, loss.first, loss.last);
    let word = why.as_word();
    warn!(
        message_id = message_id::SAMPLES_LOST,
        connection,
        samples,
        first,
        last,
        why = word,
        reason,
        "{text}{of}: {reason}"
    );
}

fn damaged(error: &str) {
    warn!(
        message_id = message_id::SAMPLES_DAMAGED,
        error, "Samples of an earlier run are not complete: {error}"
    );
}

fn why_lost(why: Why) -> &'static str {
    match why {
        Why::MemoryFull => "spool.memory is full, and the disk is not used",
        Why::DiskFull => "spool.disk is full, and the oldest have to go",
        Why::Damaged => "they are damaged on disk, or it cannot be read",
        Why::Unwritten => {
            "the agent was killed, the host lost power, or the disk could not be used, before they were sent or written; how many is not known"
        }
        Why::TooLarge => "one is too large for a message",
        Why::Declined => "the collector takes none any more, as an older program does",
    }
}

pub(crate) fn receipt_refused(connection: &str, receipt: Receipt, untold: u64) {
    let more = more(untold);
    let Receipt { stream, seq } = receipt;
    warn!(
        message_id = message_id::RECEIPT_REFUSED,
        connection,
        "Ignored a receipt from {connection} for sample {seq} of the log {stream:016x}, which this agent \
         never sent: samples are kept until there is a right one; if this goes on, restart \
         that collector{more}"
    );
}

pub(crate) fn history_cut_short() {
    warn!(
        "the disk was too slow at the end: samples that collectors have not acknowledged may not be kept"
    );
}

pub(crate) fn log_lines_lost(lost: Lost) {
    let (lines, since) = (lost.lines, humantime::format_rfc3339_seconds(lost.since));
    let since = since.to_string();
    let lost = text::counted(lines, "log line");
    warn!(
        message_id = message_id::LOG_LINES_LOST,
        lines, since, "Lost {lost} since {since}: the log's queue was full"
    );
}

pub(crate) fn memory_given_back(any: bool) {
    let what = if any { "free memory" } else { "nothing" };
    debug!("Memory is short on this host: {what} was given back");
}
