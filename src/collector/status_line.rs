//! The one line that `systemctl status` shows (`STATUS=` of `sd_notify(3)`).

use std::fmt::Write as _;

use super::prometheus::own::{self, Figure};
use super::push::TargetStatus;
use crate::base::text;
use crate::base::text::{counted, grouped};

/// Most targets of remote write that the line names, those that fail first.
const TARGETS: usize = 3;

/// Most characters of an error in it.
const MAX_ERROR: usize = 80;

/// What the collector has seen since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Messages that were understood.
    pub(super) messages: u64,
    /// Messages that were refused.
    pub(super) refused: u64,
    /// Metrics that later ones had overtaken before they were looked into.
    pub(super) dropped: u64,
    /// Messages of keys that reported from two machines at the time.
    pub(super) shared: u64,
    /// Bytes of all messages that were looked into.
    pub(super) bytes: u64,
}

impl Counts {
    /// The same for Prometheus.
    pub(super) fn figures(self) -> Vec<Figure> {
        vec![
            Figure::plain(&own::MESSAGES, self.messages),
            Figure::plain(&own::REFUSED, self.refused),
            Figure::plain(&own::DROPPED, self.dropped),
            Figure::plain(&own::SHARED, self.shared),
        ]
    }
}

/// What there is to show for it: `3 hosts, 1,234 messages, 0 refused`, and where the
/// collector could not keep up `, 7 dropped`.
pub(super) fn totals(hosts: usize, counts: Counts) -> String {
    let Counts {
        messages,
        refused,
        dropped,
        ..
    } = counts;
    let mut totals = format!(
        "{}, {}, {} refused",
        counted(hosts as u64, "host"),
        counted(messages, "message"),
        grouped(refused)
    );
    if dropped > 0 {
        totals.push_str(", ");
        totals.push_str(&grouped(dropped));
        totals.push_str(" dropped");
    }
    totals
}

/// What else there is to know of its health, where there is any: viewers, handshakes that
/// were refused, and how each target of remote write fares.
pub(super) fn health(viewers: usize, shut_out: u64, targets: &[TargetStatus]) -> String {
    let mut health = String::new();
    if viewers > 0 {
        let _ = write!(health, ", {}", counted(viewers as u64, "viewer"));
    }
    if shut_out > 0 {
        let _ = write!(health, ", {} refused", counted(shut_out, "handshake"));
    }
    // What fails must not hide among what does not.
    let (failing, well): (Vec<_>, Vec<_>) = targets.iter().partition(|target| target.failing);
    for target in failing.into_iter().chain(well).take(TARGETS) {
        let _ = write!(
            health,
            "; remote write {}: {} sent, {} failed, {} dropped, {} waiting",
            target.name,
            grouped(target.sent),
            grouped(target.failed),
            grouped(target.dropped),
            grouped(target.queued),
        );
        if let Some(error) = target.last_error.as_deref().filter(|_| target.failing) {
            let _ = write!(health, ", fails: {}", text::shortened(error, MAX_ERROR));
        }
    }
    if let Some(more) = targets.len().checked_sub(TARGETS).filter(|more| *more > 0) {
        let _ = write!(health, "; {more} more");
    }
    health
}

/// The line: `Listening at *:5556: 3 hosts, 1,234 messages, 0 refused; public key rq:rM…`.
pub(super) fn line(endpoint: &str, public_key: &str, totals: &str, health: &str) -> String {
    text::of(&format_args!(
        "Listening at {endpoint}: {totals}{health}; public key {public_key}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_worth_reading() {
        let counts = Counts {
            messages: 1234,
            ..Counts::default()
        };
        assert_eq!(totals(3, counts), "3 hosts, 1,234 messages, 0 refused");
        let counts = Counts {
            messages: 1,
            refused: 1_000_000,
            ..Counts::default()
        };
        assert_eq!(totals(1, counts), "1 host, 1 message, 1,000,000 refused");
        let counts = Counts {
            dropped: 7654,
            ..counts
        };
        assert_eq!(
            totals(1, counts),
            "1 host, 1 message, 1,000,000 refused, 7,654 dropped"
        );
        assert_eq!(
            line("*:5556", "KEY", "no hosts", ", 1 viewer"),
            "Listening at *:5556: no hosts, 1 viewer; public key KEY"
        );
    }

    #[test]
    fn it_tells_how_the_collector_itself_fares() {
        assert_eq!(health(0, 0, &[]), "");
        let target = |name: &str, failing: bool| TargetStatus {
            name: name.parse().unwrap(),
            url: "http://127.0.0.1/".to_owned(),
            sent: 1234,
            failed: 1,
            dropped: 2,
            queued: 3,
            failing,
            last_error: Some("HTTP 503\nlater".to_owned()),
            last_success: None,
            moved: 0,
            acknowledge: true,
        };
        assert_eq!(
            health(2, 1000, &[target("mimir", true), target("b", false)]),
            ", 2 viewers, 1,000 handshakes refused\
             ; remote write mimir: 1,234 sent, 1 failed, 2 dropped, 3 waiting, fails: HTTP 503\\nlater\
             ; remote write b: 1,234 sent, 1 failed, 2 dropped, 3 waiting"
        );
        let many: Vec<_> = ["a", "b", "c", "d", "e"]
            .map(|name| target(name, false))
            .into();
        assert!(health(1, 1, &many).ends_with("; 2 more"));
        let last_fails: Vec<_> = ["a", "b", "c", "d", "e"]
            .map(|name| target(name, name == "e"))
            .into();
        let health_of_them = health(0, 0, &last_fails);
        let names = health_of_them.split("remote write ").skip(1);
        let names: Vec<_> = names.filter_map(|part| part.split(':').next()).collect();
        assert_eq!(names, ["e", "a", "b"]);
        assert!(
            health_of_them.contains("fails: HTTP 503"),
            "{health_of_them}"
        );
        let long = TargetStatus {
            last_error: Some("ä".repeat(1000)),
            ..target("a", true)
        };
        assert!(health(0, 0, &[long]).ends_with("ää…"));
    }
}
