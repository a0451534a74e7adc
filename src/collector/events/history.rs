//! Events of hosts' logs: what was lost, what was wrong, and their clocks.

use std::time::Duration;

use tracing::{info, warn};

use crate::base::clock::span;
use crate::base::text;
use crate::base::throttle::Tell;
use crate::collector::history::{ClockNews, News};
use crate::protocol::data::wire::Reason;
use crate::systemd::message_id;

/// Says what there is to say of a host's log.
pub(crate) fn history(host: &str, news: &News, tell: Tell) {
    let more = match tell {
        Tell::Nothing => return,
        Tell::Peer { untold } | Tell::Crowd { untold } => super::more(untold),
    };
    let name = text::quoted(host);
    match news {
        News::Lost {
            samples,
            reason,
            from_time,
            to_time,
        } => {
            let lost = match reason {
                Reason::Unwritten => "samples".to_owned(),
                _ => text::counted(*samples, "sample"),
            };
            let (why, of) = (why(*reason), span(*from_time, *to_time));
            warn!(
                message_id = message_id::COLLECTOR_SAMPLES_LOST,
                host,
                samples,
                from = from_time,
                to = to_time,
                reason = reason.as_word(),
                "The agent of {name} has lost {lost}{of}: {why}{more}"
            );
        }
        News::Missing(samples) => {
            let lost = text::counted(*samples, "sample");
            warn!(
                message_id = message_id::COLLECTOR_SAMPLES_LOST,
                host,
                samples,
                "The agent of {name} has left out {lost} and does not say why: look at \
                 the log of that host{more}"
            );
        }
        News::WentBack(seq, received) => {
            warn!(
                message_id = message_id::COLLECTOR_LOG_WENT_BACK,
                host,
                "The agent of {name} numbers new samples from {seq} on, though those up to {received} have come: \
                 its state directory is an older copy; they are taken as those of a new log{more}"
            );
        }
        News::Shared(other) => {
            let other_name = text::quoted(other);
            warn!(
                message_id = message_id::COLLECTOR_LOG_SHARED,
                host,
                other_host = &**other,
                "The agents of {name} and {other_name} tell samples of one log: the state directory of one is \
                 a copy of the other's; all are taken; on the copy, stop metrics-agent, remove \
                 /var/lib/metrics-agent/history and start it{more}"
            );
        }
        News::Faults(fault, others) => {
            let others = match others {
                0 => String::new(),
                others => format!(", and {others} more in the same message"),
            };
            warn!(
                message_id = message_id::COLLECTOR_MESSAGE_REFUSED,
                host,
                error = %fault,
                "Left out of what {name} reports: {fault}{others}; all else is taken; update its agent{more}"
            );
        }
        News::Clock(ClockNews::Moved(micros)) => {
            let (off, way) = off(*micros);
            warn!(
                message_id = message_id::COLLECTOR_CLOCK_OFF,
                host,
                "The clock of {name} is {off} {way}; the times of its samples are moved by that{more}"
            );
        }
        News::Clock(ClockNews::Right) => {
            info!(
                message_id = message_id::COLLECTOR_CLOCK_OFF,
                host, "The clock of {name} is right again{more}"
            );
        }
    }
}

/// How far a clock is off, in words: the collector's minus the host's.
fn off(micros: i64) -> (String, &'static str) {
    // To the nearest second.
    let off = Duration::from_micros(micros.unsigned_abs().saturating_add(500_000));
    let off = crate::base::quantity::whole_seconds(off);
    let way = if micros > 0 { "behind" } else { "ahead" };
    (off.to_string(), way)
}

fn why(reason: Reason) -> &'static str {
    match reason {
        Reason::Unknown => "it does not say why",
        Reason::Full => "this collector was away for longer than the agent has room for",
        Reason::Damaged => "they were damaged on its disk",
        Reason::Unwritten => {
            "it was killed, the host lost power, or its disk could not be used, before they were sent or written; how many is not known"
        }
        Reason::TooLarge => "they were too large for a message",
    }
}
