//! What the agent keeps for a collector, as a sentence.

use zbus::Variant;

use super::{number, printable, string};
use crate::base::clock::span;
use crate::base::quantity::bytes;
use crate::base::text::counted;
use crate::ctl::proxy::Values;

/// What is kept for the collector: nothing is said of one that gives no receipts and for which nothing
/// is kept.
pub(super) fn kept(connection: &Values) -> String {
    let (behind, lost) = (number(connection, "Behind"), losses(connection));
    let behind_for = number(connection, "BehindUSec");
    let away = string(connection, "State") != "reporting";
    if behind == 0 || !away {
        return match string(connection, "Acknowledges").as_str() {
            "" => lost.trim_start_matches("; ").to_owned(),
            _ if behind_for < UNDER_WAY && lost.is_empty() => {
                "every sample is acknowledged".to_owned()
            }
            _ if behind_for < UNDER_WAY => format!("nothing waits{lost}"),
            _ => format!("catching up, {} to go{lost}", counted(behind, "sample")),
        };
    }
    let kept = match number(connection, "KeptOnDisk") {
        0 => number(connection, "Kept"),
        disk => disk,
    };
    let room = match number(connection, "RoomUSec") {
        0 => String::new(),
        room => format!(", room for {}", lasting(room)),
    };
    format!(
        "collector away for {}; {} kept ({} of {}{room}){lost}",
        lasting(behind_for),
        counted(behind, "sample"),
        bytes(kept),
        bytes(number(connection, "KeptLimit")),
    )
}

/// For so long a sample is under way where all is well, in µs: receipts come 5 s apart at least.
const UNDER_WAY: u64 = 15 * SECOND;

/// What was lost, each reason behind a semicolon.
fn losses(connection: &Values) -> String {
    let by_reason = connection.get("Losses").map(|value| &**value);
    let Some(Variant::Array(by_reason)) = by_reason else {
        return String::new();
    };
    let told = by_reason.iter().filter_map(|loss| {
        let Variant::Structure(loss) = loss else {
            return None;
        };
        let [
            Variant::Str(reason),
            Variant::U64(count),
            Variant::U64(first),
            Variant::U64(last),
        ] = loss.fields()
        else {
            return None;
        };
        let text = lost(*count, *first, *last, &printable(reason));
        Some(format!("; {text}"))
    });
    told.collect()
}

/// So many samples, which were taken from the first time to the last (0 where it is not known), are lost.
pub(super) fn lost(count: u64, from: u64, to: u64, reason: &str) -> String {
    let micros = |usec: u64| i64::try_from(usec).unwrap_or(0);
    let of = span(micros(from), micros(to));
    // How many an agent that was killed had not written is not known.
    let many = match reason {
        UNKNOWN_NUMBER => "samples".to_owned(),
        _ => counted(count, "sample"),
    };
    format!("{many} lost{of}: {reason}")
}

/// The reason for losses of which the number is not known.
const UNKNOWN_NUMBER: &str = "unwritten";

/// A time as a person says it: `3 days`, `2 h 10 min`, `5 min`, `12 s`.
fn lasting(usec: u64) -> String {
    let seconds = usec / SECOND;
    match (seconds / DAY, seconds / HOUR, seconds / MINUTE) {
        (days @ 2.., _, _) => counted(days, "day"),
        (_, hours @ 1.., minutes) => format!("{hours} h {} min", minutes % 60),
        (_, 0, minutes @ 1..) => format!("{minutes} min"),
        _ => format!("{seconds} s"),
    }
}

const SECOND: u64 = 1_000_000;
/// In seconds, as the following.
const DAY: u64 = 24 * HOUR;
const HOUR: u64 = 60 * MINUTE;
const MINUTE: u64 = 60;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ctl::proxy::tests::values;

    #[test]
    fn an_outage_is_told_with_what_is_kept() {
        let outage = |state: &'static str, behind: u64, acknowledges: &'static str| {
            let time = 1_790_000_000_000_000_u64;
            let lost = vec![
                ("disk-full", 1200_u64, time, time + 5_000_000),
                ("unwritten", 1, 0, time),
            ];
            values(vec![
                ("State", Variant::from(state)),
                ("Acknowledges", Variant::from(acknowledges)),
                ("Behind", Variant::U64(behind)),
                ("BehindUSec", Variant::U64(behind * 5 * 1_000_000)),
                ("Kept", Variant::U64(17)),
                ("KeptOnDisk", Variant::U64(1_258_291)),
                ("KeptLimit", Variant::U64(64 * 1024 * 1024)),
                ("RoomUSec", Variant::U64(3 * 24 * 3600 * 1_000_000)),
                ("Losses", Variant::from(lost)),
            ])
        };
        let lost = "1,200 samples lost from 2026-09-21T14:13:20Z to 2026-09-21T14:13:25Z: disk-full; \
                    samples lost until 2026-09-21T14:13:20Z: unwritten";
        assert_eq!(
            kept(&outage("stale", 1560, "")),
            format!(
                "collector away for 2 h 10 min; 1,560 samples kept (1.1M of 64.0M, room for 3 days); {lost}"
            )
        );
        assert_eq!(
            kept(&outage("reporting", 1560, "engine")),
            format!("catching up, 1,560 samples to go; {lost}")
        );
        assert_eq!(
            kept(&outage("reporting", 1, "engine")),
            format!("nothing waits; {lost}")
        );
        assert_eq!(kept(&outage("reporting", 0, "")), lost);
        assert_eq!(kept(&values(vec![])), "");
    }

    #[test]
    fn a_time_is_told_in_words() {
        for (seconds, text) in [
            (12, "12 s"),
            (300, "5 min"),
            (7800, "2 h 10 min"),
            (90_000, "25 h 0 min"),
            (3 * 86_400 + 5, "3 days"),
        ] {
            assert_eq!(lasting(seconds * 1_000_000), text);
        }
    }
}
