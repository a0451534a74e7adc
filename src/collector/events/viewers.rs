//! Events of viewers.

use std::fmt::Display;
use std::time::Duration;

use tracing::{debug, info, warn};

use super::log_refusal;
use crate::base::text;
use crate::base::throttle::Tell;
use crate::collector::viewers::Who;
use crate::curve::keys::PublicKey;
use crate::curve::router::RoutingIdBytes;
use crate::systemd::message_id;

pub(crate) fn listening_for_viewers(endpoint: &str) {
    info!(endpoint, "Listening for viewers at {endpoint}");
}

/// Of a viewer: its address, its key and its routing id, as text.
fn shown(who: &Who) -> (&str, String, String) {
    let address = who.address.as_deref().unwrap_or("an unknown address");
    let key = who.key.map(|key| key.to_string()).unwrap_or_default();
    (address, key, who.routing_id.to_string())
}

pub(crate) fn viewer_came(who: &Who) {
    let (address, public_key, routing_id) = shown(who);
    info!(
        message_id = message_id::COLLECTOR_VIEWER_CAME,
        address, public_key, routing_id, "Viewer connected from {address} (key {public_key})"
    );
}

pub(crate) fn viewer_left(who: &Who) {
    viewer_gone(who, "");
}

pub(crate) fn viewer_silent(who: &Who, silence: Duration) {
    let silence = silence.as_secs();
    viewer_gone(who, &format!(": nothing heard for {silence} s"));
}

pub(crate) fn viewer_made_room(who: &Who) {
    viewer_gone(who, " to make room for another: it was silent for longest");
}

fn viewer_gone(who: &Who, why: &str) {
    let (address, public_key, routing_id) = shown(who);
    info!(
        message_id = message_id::COLLECTOR_VIEWER_GONE,
        address, public_key, routing_id, "The viewer at {address} has gone{why} (key {public_key})"
    );
}

pub(crate) fn viewer_not_allowed(who: &Who) {
    let (address, public_key, routing_id) = shown(who);
    warn!(
        message_id = message_id::COLLECTOR_VIEWER_GONE,
        address,
        public_key,
        routing_id,
        "The viewer at {address} receives nothing more: its key is no longer on the list \
         ({public_key})"
    );
}

pub(crate) fn viewer_slow(who: &Who, messages: u64) {
    let (address, public_key, routing_id) = shown(who);
    let missed = text::counted(messages, "message");
    warn!(
        message_id = message_id::COLLECTOR_VIEWER_SLOW,
        address,
        public_key,
        routing_id,
        messages,
        "The viewer at {address} does not keep up, and has missed {missed}"
    );
}

pub(crate) fn viewer_refused(
    from: &RoutingIdBytes,
    key: Option<&PublicKey>,
    address: Option<&str>,
    error: &dyn Display,
    tell: Tell,
) {
    let what = ["a viewer's message", "messages of many different viewers"];
    log_refusal(
        message_id::COLLECTOR_VIEWER_REFUSED,
        what,
        (from, key, address),
        error,
        tell,
    );
}

pub(crate) fn viewer_not_sent(routing_id: &RoutingIdBytes, error: &dyn Display) {
    debug!(routing_id = %routing_id, "a viewer was not sent a message: {error}");
}
