//! The one line that `systemctl status` shows (`STATUS=` of `sd_notify(3)`).

use super::prometheus::own::{self, Figure};
use crate::systemd::notify::grouped;

/// What the collector has seen since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Messages that were understood.
    pub(super) messages: u64,
    /// Messages that were refused.
    pub(super) refused: u64,
    /// Metrics that later ones had overtaken before they were looked into.
    pub(super) dropped: u64,
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
    let of = |count: u64, one, several| {
        let noun = if count == 1 { one } else { several };
        format!("{} {noun}", grouped(count))
    };
    let mut totals = format!(
        "{}, {}, {} refused",
        of(hosts as u64, "host", "hosts"),
        of(messages, "message", "messages"),
        grouped(refused)
    );
    if dropped > 0 {
        totals.push_str(", ");
        totals.push_str(&grouped(dropped));
        totals.push_str(" dropped");
    }
    totals
}

/// The line: `Listening at *:5556: 3 hosts, 1,234 messages, 0 refused; public key rq:rM…`.
pub(super) fn line(endpoint: &str, public_key: &str, totals: &str) -> String {
    format!("Listening at {endpoint}: {totals}; public key {public_key}")
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
            line("*:5556", "KEY", "no hosts"),
            "Listening at *:5556: no hosts; public key KEY"
        );
    }
}
