//! Events of the targets that samples are pushed to.

use std::fmt::Display;
use std::time::Duration;

use tracing::{error, info, warn};

use crate::base::quantity::whole_seconds;
use crate::base::text;
use crate::systemd::message_id;

pub(crate) fn failing(target: &str, url: &dyn Display, error: &dyn Display) {
    let url = url.to_string();
    let error = error.to_string();
    warn!(
        message_id = message_id::COLLECTOR_PUSH_FAILING,
        target_name = target,
        url,
        error,
        "Remote write {target} to {url} fails: {error}; what hosts report waits in memory, and \
         is tried again at growing intervals"
    );
}

pub(crate) fn recovered(target: &str, lasted: Duration, dropped: u64) {
    let lasted = whole_seconds(lasted);
    let lost = match dropped {
        0 => "nothing was lost".to_owned(),
        dropped => format!("{} dropped meanwhile", text::counted(dropped, "sample")),
    };
    info!(
        message_id = message_id::COLLECTOR_PUSH_RECOVERED,
        target_name = target,
        dropped,
        "Remote write {target} works again after {lasted}; {lost}"
    );
}

pub(crate) fn refused(
    target: &str,
    url: &dyn Display,
    error: &dyn Display,
    samples: usize,
    untold: u64,
) {
    let url = url.to_string();
    let error = error.to_string();
    let more = super::more(untold);
    let lost = text::counted(samples as u64, "sample");
    warn!(
        message_id = message_id::COLLECTOR_PUSH_REFUSED,
        target_name = target,
        url,
        error,
        "Remote write {target} to {url} refuses {lost} for good: {error}{more}"
    );
}

pub(crate) fn dropping(target: &str, url: &dyn Display) {
    let url = url.to_string();
    warn!(
        message_id = message_id::COLLECTOR_PUSH_DROPPING,
        target_name = target,
        url,
        "Remote write {target} to {url} does not keep up: from now on the oldest of what waits \
         is dropped"
    );
}

pub(crate) fn keeps_up(target: &str, dropped: u64) {
    let lost = text::counted(dropped, "sample");
    info!(
        target_name = target,
        dropped, "Remote write {target} keeps up again; {lost} dropped"
    );
}

pub(crate) fn overtaken(target: &str, host: &str, untold: u64) {
    let more = super::more(untold);
    let name = text::quoted(host);
    warn!(
        target_name = target,
        host,
        "Remote write {target}: a message of {name} was dropped, as the one before it has a later \
         time: the clock was set back, or {name} reports more than a thousand times a second{more}"
    );
}

pub(crate) fn left(target: &str, samples: usize) {
    let unsent = text::counted(samples as u64, "sample");
    warn!(
        target_name = target,
        samples, "Remote write {target} ends with {unsent} not sent"
    );
}

pub(crate) fn not_started(target: &str, url: &dyn Display, error: &dyn Display) {
    let url = url.to_string();
    let error = error.to_string();
    error!(
        target_name = target,
        url, error, "Remote write {target} to {url} has no thread, and nothing is sent: {error}"
    );
}
