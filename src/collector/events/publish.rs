//! Events of `[publish]`.

use std::fmt::Display;

use tracing::{info, warn};

use super::more;
use crate::base::text;
use crate::systemd::message_id;

pub(crate) fn publish_ready(endpoint: &dyn Display) {
    let endpoint = endpoint.to_string();
    info!(
        message_id = message_id::COLLECTOR_PUBLISH_READY,
        endpoint, "Publishing what agents send at {endpoint}"
    );
}

pub(crate) fn publish_accept_failed(endpoint: &str, error: &dyn Display, untold: u64) {
    let error = error.to_string();
    let more = more(untold);
    warn!(
        endpoint,
        error, "Readers of {endpoint} cannot be accepted now: {error}{more}"
    );
}

pub(crate) fn publish_reader_refused(endpoint: &str, why: &dyn Display, untold: u64) {
    let more = more(untold);
    warn!(endpoint, "Disconnected a reader of {endpoint}: {why}{more}");
}

pub(crate) fn publish_reader_slow(endpoint: &str, messages: u64) {
    let missed = text::counted(messages, "message");
    warn!(
        message_id = message_id::COLLECTOR_PUBLISH_SLOW,
        endpoint,
        messages,
        "A reader of {endpoint} does not keep up; {missed} dropped since the start"
    );
}
