//! Events of viewing clients.

use std::fmt::Display;
use std::time::Duration;

use tracing::{debug, info, warn};

use super::{refusal_text, sender};
use crate::collector::clients::Who;
use crate::collector::complaints::Tell;
use crate::curve::keys::PublicKey;
use crate::curve::router::RoutingIdBytes;
use crate::systemd::message_id;

pub(crate) fn listening_for_clients(endpoint: &str) {
    info!(endpoint, "Listening for viewing clients at {endpoint}");
}

/// Of a client: its address, its key and its routing id, as text.
fn shown(who: &Who) -> (&str, String, String) {
    let address = who.address.as_deref().unwrap_or("an unknown address");
    let key = who.key.map(|key| key.to_string()).unwrap_or_default();
    (address, key, who.routing_id.to_string())
}

pub(crate) fn client_came(who: &Who) {
    let (address, public_key, routing_id) = shown(who);
    info!(
        message_id = message_id::SERVER_CLIENT_CAME,
        address, public_key, routing_id, "A client looks on from {address} (key {public_key})"
    );
}

pub(crate) fn client_left(who: &Who) {
    let (address, public_key, routing_id) = shown(who);
    info!(
        message_id = message_id::SERVER_CLIENT_GONE,
        address, public_key, routing_id, "The client at {address} has gone (key {public_key})"
    );
}

pub(crate) fn client_silent(who: &Who, silence: Duration) {
    let (address, public_key, routing_id) = shown(who);
    let silence = silence.as_secs();
    info!(
        message_id = message_id::SERVER_CLIENT_GONE,
        address,
        public_key,
        routing_id,
        "The client at {address} has gone: nothing heard for {silence} s (key {public_key})"
    );
}

pub(crate) fn client_made_room(who: &Who) {
    let (address, public_key, routing_id) = shown(who);
    info!(
        message_id = message_id::SERVER_CLIENT_GONE,
        address,
        public_key,
        routing_id,
        "The client at {address} has made room for another: it was silent for longest (key \
         {public_key})"
    );
}

pub(crate) fn client_not_allowed(who: &Who) {
    let (address, public_key, routing_id) = shown(who);
    warn!(
        message_id = message_id::SERVER_CLIENT_GONE,
        address,
        public_key,
        routing_id,
        "The client at {address} is sent nothing more: its key is not on the list any more \
         ({public_key})"
    );
}

pub(crate) fn client_slow(who: &Who, messages: u64) {
    let (address, public_key, routing_id) = shown(who);
    warn!(
        message_id = message_id::SERVER_CLIENT_SLOW,
        address,
        public_key,
        routing_id,
        messages,
        "The client at {address} does not keep up, and has missed {messages} message(s)"
    );
}

pub(crate) fn client_refused(
    routing_id: &RoutingIdBytes,
    key: Option<&PublicKey>,
    address: Option<&str>,
    error: &dyn Display,
    tell: Tell,
) {
    let (sender, public_key) = sender(routing_id, key, address);
    let routing_id = routing_id.to_string();
    let error = error.to_string();
    let what = ["a client's message", "message(s) of ever new clients"];
    let Some(text) = refusal_text(what, &sender, &error, tell) else {
        return;
    };
    warn!(
        message_id = message_id::SERVER_CLIENT_REFUSED,
        routing_id, public_key, address, error, "{text}"
    );
}

pub(crate) fn client_not_sent(routing_id: &RoutingIdBytes, error: &dyn Display) {
    debug!(routing_id = %routing_id, "a client was not sent a message: {error}");
}
