//! Decides which changes of a connection are logged. Pure.
//!
//! A collector that is away costs one line when it goes and one when it is back, however often the
//! agent tries to reconnect in between. There is one more line if the cause turns out to be its
//! key, because waiting does not fix that. For a connection that keeps coming and going, the log
//! says so once and is then silent for a while.

use std::time::{Duration, Instant};

use crate::base::throttle::Throttle;

/// Failed handshakes in a row before an outage that began otherwise is attributed to the key. A
/// single one also happens if a collector ends while the agent connects to it.
const TELLING_HANDSHAKES: u32 = 2;

/// Lines about a connection that comes and goes in [`UNSTEADY_WINDOW`] before there are no more.
const UNSTEADY_LINES: u32 = 10;

/// How long no more lines are logged about a connection that comes and goes.
pub(crate) const UNSTEADY_WINDOW: Duration = Duration::from_secs(600);

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
    NotSecured,
    /// It comes and goes: nothing more of that for [`UNSTEADY_WINDOW`].
    Unsteady,
}

/// What was logged about a connection so far.
#[derive(Debug, Default)]
pub(crate) struct LogGate {
    has_reported: bool,
    outage_told: bool,
    handshake_told: bool,
    handshakes: u32,
    /// Since when lines are counted, and how many there were.
    window: Option<(Instant, u32)>,
    malformed: Throttle,
}

impl LogGate {
    /// The connection is reporting.
    pub(crate) fn reporting(&mut self, now: Instant) -> Option<Line> {
        self.has_reported = true;
        self.outage_told = false;
        self.handshake_told = false;
        self.handshakes = 0;
        self.bounded(Line::Reporting, now)
    }

    /// An attempt or a connection failed, in the handshake or otherwise.
    pub(crate) fn failed(&mut self, in_handshake: bool, now: Instant) -> Option<Line> {
        self.handshakes = if in_handshake { self.handshakes + 1 } else { 0 };
        let key = in_handshake && (!self.outage_told || self.handshakes >= TELLING_HANDSHAKES);
        let line = if key && !self.handshake_told {
            Line::NotSecured
        } else if self.outage_told {
            return None;
        } else if self.has_reported {
            Line::Lost
        } else {
            Line::Waiting
        };
        let told = self.bounded(line, now)?;
        // An outage that was not logged, because there were too many, is logged once it lasts.
        if told == line {
            self.outage_told = true;
            self.handshake_told |= line == Line::NotSecured;
        }
        Some(told)
    }

    /// Returns the line; if there were too many, one last line that says so, then None.
    fn bounded(&mut self, line: Line, now: Instant) -> Option<Line> {
        let (since, lines) = self
            .window
            .filter(|(since, _)| now.saturating_duration_since(*since) < UNSTEADY_WINDOW)
            .unwrap_or((now, 0));
        self.window = Some((since, lines.saturating_add(1)));
        match lines {
            0..UNSTEADY_LINES => Some(line),
            UNSTEADY_LINES => Some(Line::Unsteady),
            _ => None,
        }
    }

    /// A message was not understood. Returns how many were kept quiet about since the last
    /// line, where another line is due.
    pub(crate) fn malformed(&mut self, now: Instant) -> Option<u64> {
        self.malformed.note(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_one_line_down_and_one_up() {
        let now = Instant::now();
        let mut told = LogGate::default();
        assert_eq!(told.reporting(now), Some(Line::Reporting));
        assert_eq!(told.failed(false, now), Some(Line::Lost));
        for _ in 0..100 {
            assert_eq!(told.failed(false, now), None);
        }
        assert_eq!(told.reporting(now), Some(Line::Reporting));
        assert_eq!(told.failed(false, now), Some(Line::Lost));
    }

    #[test]
    fn a_collector_that_never_answered_was_not_lost() {
        let now = Instant::now();
        let mut told = LogGate::default();
        assert_eq!(told.failed(false, now), Some(Line::Waiting));
        assert_eq!(told.failed(false, now), None);
    }

    #[test]
    fn a_wrong_key_is_told_once() {
        let now = Instant::now();
        let mut told = LogGate::default();
        assert_eq!(told.failed(true, now), Some(Line::NotSecured));
        assert_eq!(told.failed(true, now), None);
        assert_eq!(told.failed(false, now), None);
        assert_eq!(told.failed(true, now), None);
    }

    #[test]
    fn a_key_changed_during_an_outage_is_told_after_a_second_failure() {
        let now = Instant::now();
        let mut told = LogGate::default();
        told.reporting(now);
        assert_eq!(told.failed(false, now), Some(Line::Lost));
        assert_eq!(told.failed(true, now), None);
        assert_eq!(told.failed(false, now), None);
        assert_eq!(told.failed(true, now), None);
        assert_eq!(told.failed(true, now), Some(Line::NotSecured));
        assert_eq!(told.failed(true, now), None);
    }

    #[test]
    fn a_flood_of_nonsense_is_a_line_a_minute() {
        let start = Instant::now();
        let mut told = LogGate::default();
        assert_eq!(told.malformed(start), Some(0));
        for _ in 0..1000 {
            assert_eq!(told.malformed(start + Duration::from_secs(59)), None);
        }
        assert_eq!(told.malformed(start + Duration::from_secs(60)), Some(1000));
    }

    #[test]
    fn a_connection_that_comes_and_goes_is_left_alone_for_a_while() {
        let now = Instant::now();
        let mut told = LogGate::default();
        let mut lines = Vec::new();
        for _ in 0..100 {
            lines.extend(told.reporting(now));
            lines.extend(told.failed(false, now));
        }
        assert_eq!(lines.len(), 11, "{lines:?}");
        assert_eq!(lines.last(), Some(&Line::Unsteady));
        // It has been away ever since: that is logged once the time is over.
        assert_eq!(told.failed(false, now + UNSTEADY_WINDOW / 2), None);
        let later = now + UNSTEADY_WINDOW;
        assert_eq!(told.failed(false, later), Some(Line::Lost));
        assert_eq!(told.failed(false, later), None);
        assert_eq!(told.reporting(later), Some(Line::Reporting));
    }
}
