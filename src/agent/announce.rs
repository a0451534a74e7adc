//! What of a connection's ups and downs is worth a line in the log. Pure.
//!
//! A collector that is away costs one line when it goes and one when it is back,
//! however often it is tried in between. One more is due where it turns out meanwhile
//! that its key is the trouble, as no patience mends that.

use std::time::{Duration, Instant};

/// Failed handshakes in a row before an outage that began otherwise is put down to the
/// key. One alone also happens to a collector that ends while it is being connected to.
const TELLING_HANDSHAKES: u32 = 2;

/// How often messages that were not understood are worth a line.
const MALFORMED_EVERY: Duration = Duration::from_secs(60);

/// A line to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Line {
    /// The collector answered.
    Reporting,
    /// It was answering and is not any more.
    Lost,
    /// It has not answered since the agent started.
    Waiting,
    /// It drops the connection during the handshake.
    KeyRefused,
}

/// What was told about a connection so far.
#[derive(Debug, Default)]
pub(crate) struct Announcer {
    has_reported: bool,
    outage_told: bool,
    key_told: bool,
    handshakes: u32,
    malformed_told: Option<Instant>,
    malformed_untold: u64,
}

impl Announcer {
    /// The connection is reporting.
    pub(crate) fn reporting(&mut self) -> Line {
        self.has_reported = true;
        self.outage_told = false;
        self.key_told = false;
        self.handshakes = 0;
        Line::Reporting
    }

    /// An attempt or a connection failed, in the handshake or otherwise.
    pub(crate) fn failed(&mut self, in_handshake: bool) -> Option<Line> {
        self.handshakes = if in_handshake { self.handshakes + 1 } else { 0 };
        let first = !std::mem::replace(&mut self.outage_told, true);
        if in_handshake && (first || self.handshakes >= TELLING_HANDSHAKES) {
            let told = std::mem::replace(&mut self.key_told, true);
            return (!told).then_some(Line::KeyRefused);
        }
        first.then_some(if self.has_reported {
            Line::Lost
        } else {
            Line::Waiting
        })
    }

    /// A message was not understood. Returns how many were kept quiet about since the last
    /// line, where another line is due.
    pub(crate) fn malformed(&mut self, now: Instant) -> Option<u64> {
        let due = self
            .malformed_told
            .is_none_or(|told| now.saturating_duration_since(told) >= MALFORMED_EVERY);
        if due {
            self.malformed_told = Some(now);
            Some(std::mem::take(&mut self.malformed_untold))
        } else {
            self.malformed_untold += 1;
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_one_line_down_and_one_up() {
        let mut told = Announcer::default();
        assert_eq!(told.reporting(), Line::Reporting);
        assert_eq!(told.failed(false), Some(Line::Lost));
        for _ in 0..100 {
            assert_eq!(told.failed(false), None);
        }
        assert_eq!(told.reporting(), Line::Reporting);
        assert_eq!(told.failed(false), Some(Line::Lost));
    }

    #[test]
    fn a_collector_that_never_answered_was_not_lost() {
        let mut told = Announcer::default();
        assert_eq!(told.failed(false), Some(Line::Waiting));
        assert_eq!(told.failed(false), None);
    }

    #[test]
    fn a_wrong_key_is_told_once() {
        let mut told = Announcer::default();
        assert_eq!(told.failed(true), Some(Line::KeyRefused));
        assert_eq!(told.failed(true), None);
        assert_eq!(told.failed(false), None);
        assert_eq!(told.failed(true), None);
    }

    #[test]
    fn a_key_changed_during_an_outage_is_told_after_a_second_failure() {
        let mut told = Announcer::default();
        told.reporting();
        assert_eq!(told.failed(false), Some(Line::Lost));
        assert_eq!(told.failed(true), None);
        assert_eq!(told.failed(false), None);
        assert_eq!(told.failed(true), None);
        assert_eq!(told.failed(true), Some(Line::KeyRefused));
        assert_eq!(told.failed(true), None);
    }

    #[test]
    fn a_flood_of_nonsense_is_a_line_a_minute() {
        let start = Instant::now();
        let mut told = Announcer::default();
        assert_eq!(told.malformed(start), Some(0));
        for _ in 0..1000 {
            assert_eq!(told.malformed(start + Duration::from_secs(59)), None);
        }
        assert_eq!(told.malformed(start + Duration::from_secs(60)), Some(1000));
    }
}
