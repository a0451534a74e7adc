//! Events about refusals, allow lists, pins and the record of keys.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tracing::{error, info, warn};

use super::{more, refusal_text};
use crate::base::text;
use crate::base::throttle::Tell;
use crate::collector::access::directory::{Change, no_key_in, told};
use crate::collector::access::gate::AccessCounters;
use crate::collector::access::{AccessRefusal, Listener, ShutOut, allow, forget};
use crate::curve::keys::PublicKey;
use crate::systemd::message_id;

pub(crate) fn key_refused(listener: Listener, key: &PublicKey, address: &str, tell: Tell) {
    let (role, list) = (listener.role(), listener.directory());
    let command = allow(listener, key);
    let public_key = key.to_string();
    match tell {
        Tell::Nothing => {}
        Tell::Peer { untold } => {
            let more = more(untold);
            warn!(
                message_id = message_id::COLLECTOR_KEY_REFUSED,
                public_key,
                address,
                role,
                command,
                "Refused the key {public_key} of {address}, as it is not in {list}; `{command}` \
                 lets that {role} in{more}"
            );
        }
        Tell::Crowd { untold } => {
            let keys = untold + 1;
            warn!(
                message_id = message_id::COLLECTOR_KEY_REFUSED,
                public_key,
                address,
                role,
                command,
                "Refused handshakes of many different keys ({keys} since the last such line), the \
                 last {public_key} of {address}, as none is in {list}"
            );
        }
    }
}

pub(crate) fn name_taken(host: &str, address: Option<&str>, refusal: &AccessRefusal, tell: Tell) {
    let address = address.unwrap_or("an unknown address");
    let error = refusal.to_string();
    let command = forget(host);
    let what = [
        "a message",
        "messages of many different keys under names of others",
    ];
    let Some(text) = refusal_text(what, address, &error, tell) else {
        return;
    };
    error!(
        message_id = message_id::COLLECTOR_NAME_TAKEN,
        host, address, error, command, "{text}"
    );
}

pub(crate) fn list_changed(listener: Listener, change: &Change, listed: usize, counts: bool) {
    let list = listener.directory();
    let mut parts = Vec::new();
    for (what, names) in [("new", &change.added), ("gone", &change.removed)] {
        if !names.is_empty() {
            parts.push(format!("{what}: {}", told(names)));
        }
    }
    let what = parts.join("; ");
    let hint = if counts {
        ""
    } else {
        "; the list does not count, as every key is let in"
    };
    let keys = text::counted(listed as u64, "key");
    info!(
        message_id = message_id::COLLECTOR_LIST_CHANGED,
        list, "Read {list}: {keys} ({what}){hint}"
    );
}

pub(crate) fn list_problems(listener: Listener, problems: &[String]) {
    for error in problems {
        warn!(
            message_id = message_id::COLLECTOR_LIST_PROBLEM,
            list = listener.directory(),
            error,
            "{error}"
        );
    }
}

pub(crate) fn lists_unwatched(error: &dyn Display, interval: Duration) {
    let interval = interval.as_secs();
    warn!(
        "The kernel does not report changes of the allow lists: {error}; they are read every {interval} s"
    );
}

pub(crate) fn lists_are_slow(time: Duration) {
    let time = time.as_secs();
    warn!("The allow lists are not read after {time} s; their keys are refused until then");
}

pub(crate) fn no_agent_is_listed(directories: &[PathBuf]) {
    let no_key = no_key_in(directories);
    warn!(
        "No agent is let in yet, as {no_key}; `metrics-collector keys list` \
         shows who came, `metrics-collector keys allow` lets one in"
    );
}

pub(crate) fn shut_out(shut_out: &ShutOut) {
    let (keys, reporting) = (shut_out.keys, shut_out.reporting);
    warn!(
        keys,
        reporting,
        "{shut_out}; what is not listed is refused from now on. `metrics-collector keys list` \
         shows these keys, `metrics-collector keys allow` lets them in"
    );
}

pub(crate) fn keys_not_restored(error: &dyn Display) {
    let error = error.to_string();
    warn!(
        message_id = message_id::COLLECTOR_ACCESS_NOT_KEPT,
        error, "{error}; the record of keys that came starts over"
    );
}

pub(crate) fn keys_kept_by_another(directory: &Path) {
    let path = directory.display().to_string();
    warn!(
        path,
        "Another metrics-collector keeps the record of keys in {path}; this one keeps none"
    );
}

pub(crate) fn access_not_kept(error: &dyn Display, untold: u64) {
    let error = error.to_string();
    let more = more(untold);
    error!(
        message_id = message_id::COLLECTOR_ACCESS_NOT_KEPT,
        error, "The record of keys and pinned names may be lost at a restart: {error}{more}"
    );
}

pub(crate) fn pin_forgotten(host: &str) {
    let name = text::quoted(host);
    info!(
        message_id = message_id::COLLECTOR_PIN_FORGOTTEN,
        host,
        "The host name {name} is no longer pinned: it will belong to the next key that reports \
         under it"
    );
}

pub(crate) fn pins_of_key_forgotten(key: &PublicKey, names: usize) {
    let public_key = key.to_string();
    let pinned = text::counted(names as u64, "pinned host name");
    info!(
        message_id = message_id::COLLECTOR_PINS_OF_KEY_FORGOTTEN,
        public_key,
        names,
        "Forgot {pinned} of the key {public_key}: each will belong to the next key that reports \
         under it"
    );
}

pub(crate) fn bad_requests(problems: &[String]) {
    for error in problems {
        warn!("Dropped a request of another process: {error}");
    }
}

pub(crate) fn access_totals(totals: AccessCounters) {
    let AccessCounters {
        admitted,
        refused,
        messages_refused,
    } = totals;
    let connections = text::counted(admitted, "connection");
    let messages = text::counted(messages_refused, "message");
    info!(
        "Since the start: {connections} let in and {refused} refused; over those let in, \
         {messages} refused for the key or the host name"
    );
}
