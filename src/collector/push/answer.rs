//! What an answer, or a missing answer, means for the samples and for the target's health. Pure.
//!
//! As the protocol requires, errors of the receiver lead to a retry, refusals do not. Text of a
//! receiver is shown truncated and escaped.
//!
//! A failure that the next attempt fixes is not logged, such as a connection that the receiver
//! has just closed. A lasting one is logged once, and once when it is over; a target that keeps
//! failing and recovering is logged at most once a minute.

use std::time::{Duration, Instant, SystemTime};

use crate::base::{text::shortened, throttle::Throttle};

/// The longest wait that a receiver may ask for; after it, the request is sent again.
pub(super) const MAX_RETRY_AFTER: Duration = Duration::from_secs(300);

/// Most bytes of an answer that are looked at.
pub(super) const MAX_ANSWER_BYTES: usize = 4096;

/// Most characters of an answer that are shown.
const MAX_SHOWN: usize = 200;

/// What a receiver has answered.
#[derive(Clone, Debug, Default)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) retry_after: Option<String>,
    pub(super) location: Option<String>,
    /// Its beginning.
    pub(super) body: Vec<u8>,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The samples have arrived.
    Delivered,
    /// The same again, not before this time has passed.
    Again {
        reason: String,
        not_before: Duration,
    },
    /// It does not know us, or does not let us.
    Unauthorised { reason: String },
    /// It takes smaller requests only.
    TooLarge { reason: String },
    /// It will never take these samples.
    Refused { reason: String },
}

impl Answer {
    /// What it means at this time.
    pub(super) fn verdict(&self, now: SystemTime) -> Verdict {
        let reason = self.reason();
        match self.status {
            200..=299 => Verdict::Delivered,
            300..=399 => Verdict::Again {
                reason: self.redirect(),
                not_before: Duration::ZERO,
            },
            401 | 403 => Verdict::Unauthorised { reason },
            413 => Verdict::TooLarge { reason },
            400..=428 | 430..=499 => Verdict::Refused { reason },
            _ => Verdict::Again {
                reason,
                not_before: self.wait(now),
            },
        }
    }

    fn reason(&self) -> String {
        let line = first_line(&self.body);
        if line.is_empty() {
            format!("it answers {}", self.status)
        } else {
            format!("it answers {}: {line}", self.status)
        }
    }

    fn redirect(&self) -> String {
        let to = self.location.as_deref().unwrap_or("nowhere");
        format!(
            "it answers {}, a redirection to {}, which is not followed; set `url` to where it \
             should go",
            self.status,
            first_line(to.as_bytes())
        )
    }

    /// RFC 9110, 10.2.3: seconds, or a date in one of the three forms of 5.6.7.
    fn wait(&self, now: SystemTime) -> Duration {
        let Some(text) = self.retry_after.as_deref().map(str::trim) else {
            return Duration::ZERO;
        };
        if let Ok(seconds) = text.parse::<u64>() {
            return Duration::from_secs(seconds).min(MAX_RETRY_AFTER);
        }
        let Ok(date) = httpdate::parse_http_date(text) else {
            return Duration::ZERO;
        };
        date.duration_since(now)
            .unwrap_or_default()
            .min(MAX_RETRY_AFTER)
    }
}

/// The first line that says something, cut, on one line of ours.
pub(super) fn first_line(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let line = text.lines().map(str::trim).find(|line| !line.is_empty());
    shortened(line.unwrap_or_default(), MAX_SHOWN).into_owned()
}

/// After this many failures in a row, one line is logged.
const TELL_AT: u32 = 2;

/// How one target fares.
#[derive(Debug, Default)]
pub(super) struct Health {
    failing: Option<Failing>,
    told: Throttle,
}

#[derive(Debug)]
struct Failing {
    since: Instant,
    failures: u32,
    told: bool,
    /// How many samples had been dropped when it began.
    dropped: u64,
}

/// A target works that was said to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Recovered {
    /// How long it did.
    pub(super) lasted: Duration,
    /// How many samples were dropped meanwhile.
    pub(super) dropped: u64,
}

impl Health {
    /// Records a failure. Returns true if it should be logged.
    pub(super) fn failed(&mut self, now: Instant, dropped: u64) -> bool {
        let failing = self.failing.get_or_insert(Failing {
            since: now,
            failures: 0,
            told: false,
            dropped,
        });
        failing.failures = failing.failures.saturating_add(1);
        if failing.told || failing.failures < TELL_AT || self.told.note(now).is_none() {
            return false;
        }
        failing.told = true;
        true
    }

    /// It took something, or gave a proper answer; what to say.
    pub(super) fn works(&mut self, now: Instant, dropped: u64) -> Option<Recovered> {
        let failing = self.failing.take()?;
        failing.told.then(|| Recovered {
            lasted: now.saturating_duration_since(failing.since),
            dropped: dropped.saturating_sub(failing.dropped),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::text::hostile;
    use proptest::prelude::*;

    fn answer(status: u16, body: &str) -> Answer {
        Answer {
            status,
            body: body.as_bytes().to_vec(),
            ..Answer::default()
        }
    }

    fn verdict(status: u16) -> Verdict {
        answer(status, "").verdict(SystemTime::UNIX_EPOCH)
    }

    #[test]
    fn what_the_protocol_says_of_each_status() {
        for status in [200, 202, 204] {
            assert_eq!(verdict(status), Verdict::Delivered);
        }
        for status in [100, 301, 429, 500, 503, 599, 600] {
            assert!(matches!(verdict(status), Verdict::Again { .. }), "{status}");
        }
        assert!(matches!(verdict(413), Verdict::TooLarge { .. }));
        for status in [400, 404, 408, 422, 428, 430, 499] {
            assert!(
                matches!(verdict(status), Verdict::Refused { .. }),
                "{status}"
            );
        }
        for status in [401, 403] {
            assert!(matches!(verdict(status), Verdict::Unauthorised { .. }));
        }
    }

    #[test]
    fn the_first_line_is_the_reason() {
        let refused = |reason: &str| Verdict::Refused {
            reason: reason.to_owned(),
        };
        let now = SystemTime::UNIX_EPOCH;
        let found = answer(400, "\r\n  out of order sample\nmore\n").verdict(now);
        assert_eq!(found, refused("it answers 400: out of order sample"));
        assert_eq!(answer(400, "").verdict(now), refused("it answers 400"));
        let found = answer(400, "a\u{1b}[31mb\u{202e}c\0").verdict(now);
        let shown = "it answers 400: a\\u{1b}[31mb\\u{202e}c\\u{0}";
        assert_eq!(found, refused(shown));
        let Verdict::Refused { reason } = answer(400, &"ä".repeat(1000)).verdict(now) else {
            panic!();
        };
        assert_eq!(
            reason.chars().count(),
            "it answers 400: ".len() + MAX_SHOWN + 1
        );
        let mut bytes = answer(400, "");
        bytes.body = vec![0xff, b'a'];
        assert_eq!(bytes.verdict(now), refused("it answers 400: \u{fffd}a"));
    }

    #[test]
    fn a_redirection_is_named_and_not_followed() {
        let mut answer = answer(307, "");
        answer.location = Some("https://login.example.org/\n".to_owned());
        let Verdict::Again { reason, .. } = answer.verdict(SystemTime::UNIX_EPOCH) else {
            panic!();
        };
        assert!(reason.contains("to https://login.example.org/, which is not followed"));
    }

    #[test]
    fn how_long_to_wait_is_seconds_or_a_date_and_bounded() {
        // Sun, 06 Nov 1994 08:49:37 GMT, as in RFC 9110.
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let wait = |text: &str| {
            let mut answer = answer(503, "");
            answer.retry_after = Some(text.to_owned());
            match answer.verdict(now) {
                Verdict::Again { not_before, .. } => not_before.as_secs(),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(wait("17"), 17);
        assert_eq!(wait(" 17 "), 17);
        assert_eq!(wait("Sun, 06 Nov 1994 08:50:37 GMT"), 60);
        // The two obsolete forms, of RFC 850 and of asctime(3).
        assert_eq!(wait("Sunday, 06-Nov-94 08:50:37 GMT"), 60);
        assert_eq!(wait("Sun Nov  6 08:50:37 1994"), 60);
        assert_eq!(wait("Sun, 06 Nov 1994 08:49:00 GMT"), 0);
        assert_eq!(wait("Sun, 06 Nov 1994 18:49:37 GMT"), 300);
        assert_eq!(wait("999999999999"), 300);
        assert_eq!(wait("99999999999999999999999"), 0);
        for nonsense in ["", "soon", "-5", "1.5"] {
            assert_eq!(wait(nonsense), 0, "{nonsense}");
        }
    }

    proptest! {
        #[test]
        fn no_answer_does_anything_to_a_terminal(text in hostile::texts()) {
            let mut answer = answer(400, &text);
            answer.location = Some(text);
            for reason in [answer.reason(), answer.redirect()] {
                hostile::assert_harmless(&reason);
                prop_assert!(!reason.contains('\n'), "{reason:?}");
            }
        }
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn an_outage_is_two_lines() {
        let start = Instant::now();
        let mut health = Health::default();
        assert_eq!(health.works(start, 0), None);
        assert!(!health.failed(start, 7));
        assert!(health.failed(start + SECOND, 7));
        for second in 2..100 {
            assert!(!health.failed(start + second * SECOND, 7));
        }
        let recovered = Recovered {
            lasted: 100 * SECOND,
            dropped: 5,
        };
        assert_eq!(health.works(start + 100 * SECOND, 12), Some(recovered));
        assert_eq!(health.works(start + 100 * SECOND, 12), None);
    }

    #[test]
    fn a_hiccup_is_no_line() {
        let start = Instant::now();
        let mut health = Health::default();
        for _ in 0..3 {
            assert!(!health.failed(start, 0));
            assert_eq!(health.works(start, 0), None);
        }
    }

    #[test]
    fn one_that_comes_and_goes_is_told_of_once_a_minute() {
        let start = Instant::now();
        let mut health = Health::default();
        let mut lines = 0;
        for second in 0..600 {
            let now = start + second * SECOND;
            lines += u32::from(health.failed(now, 0));
            lines += u32::from(health.failed(now, 0));
            lines += u32::from(health.works(now, 0).is_some());
        }
        assert_eq!(lines, 20);
        // One that lasts is told of as soon as it may be.
        let now = start + 601 * SECOND;
        assert!(!health.failed(now, 0));
        assert!((0..60).any(|second| health.failed(now + second * SECOND, 0)));
    }
}
