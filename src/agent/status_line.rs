//! The one line that `systemctl status` shows (`STATUS=` of `sd_notify(3)`).

use std::fmt::Write as _;
use std::time::Duration;

use super::state::{AgentState, State};
use crate::base::clock::boottime_usec;
use crate::base::quantity::whole_seconds;
use crate::base::text;
use crate::base::text::grouped;

/// What the agent is doing, worth reading: `Reporting to collector.example.org:5556
/// every 5s: 1,234 sent, last heard 2s ago`. `now` is as [`boottime_usec`] has it: the wall clock
/// may be set.
pub(crate) fn line(agent: &AgentState, now: u64) -> String {
    match (agent.state, agent.connections.as_slice()) {
        (State::Reporting, [only]) => format!(
            "Reporting to {} every {}: {} sent, {}",
            only.endpoint,
            humantime::format_duration(agent.intervals.metrics),
            grouped(only.totals.messages_sent()),
            heard(only.totals.last_heard(), now)
        ),
        (State::Reporting, several) => {
            let reporting = several
                .iter()
                .filter(|connection| connection.state == State::Reporting)
                .count();
            let mut line = format!(
                "Reporting to {reporting} of {} collectors every {}: {} sent, {}",
                several.len(),
                humantime::format_duration(agent.intervals.metrics),
                grouped(agent.totals.messages_sent()),
                heard(agent.totals.last_heard(), now)
            );
            for away in several.iter().filter(|c| c.state != State::Reporting) {
                line.push_str("; ");
                line.push_str(&away.name);
                line.push_str(": ");
                line.push_str(&away.reason);
            }
            line
        }
        _ => agent.reason.clone(),
    }
}

/// The time since the last sign of life, coarse, as people read it.
fn heard(at: u64, now: u64) -> String {
    if at == 0 {
        return "nothing heard yet".to_owned();
    }
    let ago = whole_seconds(Duration::from_micros(now.saturating_sub(at)));
    format!("last heard {ago} ago")
}

/// [`line()`] at the present time, as it may be shown; so many samples are kept for a collector that is
/// away.
pub(crate) fn line_now(agent: &AgentState, kept: u64) -> String {
    let mut line = line(agent, boottime_usec());
    if kept > 0 {
        let samples = if kept == 1 { "sample" } else { "samples" };
        // Writing to a string can't fail.
        let _ = write!(line, "; {} {samples} kept", grouped(kept));
    }
    text::of(&line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_sign_of_life_is_in_whole_seconds() {
        assert_eq!(heard(0, 5), "nothing heard yet");
        assert_eq!(heard(1_000_000, 3_900_000), "last heard 2s ago");
        // Heard while this was being asked.
        assert_eq!(heard(5_000_000, 1_000_000), "last heard 0s ago");
    }
}
