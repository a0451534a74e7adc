//! What the collector says of itself: its families, and what they are filled with.
//!
//! A family is a row of [`OWN`]; the code that counts something makes a [`Figure`] of it for
//! each scrape. What the process costs has the names that every client library of Prometheus
//! gives it.

use std::time::SystemTime;

use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

use super::naming::Type;
use super::number::Number;
use crate::base::process::resident_pages;
use crate::collector::access::Listener;
use crate::collector::history::History;
use crate::collector::hosts::snapshot::{Presence, Snapshot};
use crate::collector::push::TargetStatus;
use crate::curve::router::Load;
use crate::protocol::data::wire::Reason;

/// A family of the collector's own.
#[derive(Debug, PartialEq, Eq)]
pub struct Own {
    /// The whole name.
    pub name: &'static str,
    /// How its values behave.
    pub kind: Type,
    /// The labels that tell its series apart, where there may be several.
    pub labels: &'static [&'static str],
    /// One phrase for a person, on one line and without a backslash.
    pub help: &'static str,
}

/// A row names its constant too, so that nothing is told that is not in the table.
macro_rules! own {
    ($($constant:ident = $name:literal $([$($label:literal),+])?, $kind:ident, $help:literal;)*) => {
        $(
            #[doc = $help]
            pub static $constant: Own = Own {
                name: $name,
                kind: Type::$kind,
                labels: &[$($($label),+)?],
                help: $help,
            };
        )*

        /// All of them.
        pub static OWN: &[&Own] = &[$(&$constant),*];
    };
}

own! {
    BUILD = "metrics_collector_build_info" ["version"], Info,
        "The version of the collector";
    HOSTS = "metrics_collector_hosts" ["presence"], Gauge,
        "Hosts that report, are expected to, or are gone";
    MESSAGES = "metrics_collector_messages_total", Counter,
        "Messages of agents that were understood";
    REFUSED = "metrics_collector_messages_refused_total", Counter,
        "Messages of agents that were refused";
    DROPPED = "metrics_collector_messages_dropped_total", Counter,
        "Metrics messages that later ones of the same host replaced before they were read";
    SHARED = "metrics_collector_shared_key_messages_total", Counter,
        "Messages of agents whose key reported from two machines at once";
    HANDSHAKES_REFUSED = "metrics_collector_handshakes_refused_total", Counter,
        "Handshakes refused because the key of the agent or viewer is not on the list";
    CONNECTIONS = "metrics_collector_connections" ["listener"], Gauge,
        "Connections of agents and viewers, those in their handshake included";
    CONNECTIONS_LIMIT = "metrics_collector_connections_limit" ["listener"], Gauge,
        "As many connections of agents and viewers may be";
    HANDSHAKES = "metrics_collector_handshakes_in_progress" ["listener"], Gauge,
        "Connections whose peer has not proved its key yet, or waits for the decision on it";
    ENDED = "metrics_collector_connections_ended_total" ["listener", "reason"], Counter,
        "Connections that ended or were refused, by reason";
    KEPT_BACK = "metrics_collector_descriptors_kept_back", Gauge,
        "File descriptors that no connection takes: they are for files, the bus and remote write";
    VIEWERS = "metrics_collector_viewers", Gauge,
        "Viewers that are connected";
    VIEWER_SENT = "metrics_collector_viewer_messages_sent_total", Counter,
        "Messages sent to viewers";
    VIEWER_LOST = "metrics_collector_viewer_messages_lost_total", Counter,
        "Messages dropped because a viewer did not keep up";
    VIEWER_REFUSED = "metrics_collector_viewer_messages_refused_total", Counter,
        "Messages of viewers that were refused";
    PUBLISH_READERS = "metrics_collector_publish_readers", Gauge,
        "Programs that are connected to publish.endpoint";
    PUBLISH_DROPPED = "metrics_collector_publish_messages_dropped_total", Counter,
        "Messages that readers of publish.endpoint missed because they did not keep up";
    TOLD = "metrics_collector_samples_total", Counter,
        "Samples that agents told to be kept, each with its own time";
    TOLD_LOST = "metrics_collector_samples_lost_total" ["reason"], Counter,
        "Samples that agents took and lost before they could tell them, or left out";
    TOLD_AGAIN = "metrics_collector_samples_again_total", Counter,
        "Samples that agents told again, as a receipt was lost; they are dropped";
    TOLD_BAD = "metrics_collector_samples_bad_total", Counter,
        "Samples that could not be understood";
    TOLD_FAULTS = "metrics_collector_samples_faults_total", Counter,
        "What was wrong in messages with samples: values, series, schemas";
    TOLD_SHARED = "metrics_collector_logs_shared_total", Counter,
        "How often a host told samples of a log that is another host's, as a clone does";
    TOLD_HELD = "metrics_collector_samples_held_total", Counter,
        "Samples that got a later time than their own by more than a second, so as not to go back";
    HOST_BEHIND = "metrics_collector_host_behind_samples" ["host"], Gauge,
        "Samples that wait at a host's agent, as it said last";
    HOST_CLOCK = "metrics_collector_host_clock_offset_seconds" ["host"], Gauge,
        "How far a host's clock is behind that of the collector, the way of its messages included";
    PUSH_SENT = "metrics_collector_remote_write_samples_sent_total" ["target"], Counter,
        "Samples accepted by a remote write target";
    PUSH_FAILED = "metrics_collector_remote_write_samples_failed_total" ["target"], Counter,
        "Samples refused by a remote write target";
    PUSH_DROPPED = "metrics_collector_remote_write_samples_dropped_total" ["target"], Counter,
        "Samples dropped because a remote write target did not keep up";
    PUSH_WAITING = "metrics_collector_remote_write_samples_waiting" ["target"], Gauge,
        "Samples waiting for a remote write target";
    PUSH_FAILING = "metrics_collector_remote_write_failing" ["target"], Gauge,
        "1 if the last request to a remote write target failed, else 0";
    PUSH_SUCCESS = "metrics_collector_remote_write_last_success_timestamp_seconds" ["target"], Gauge,
        "When a remote write target last accepted samples, in seconds since 1970; 0 if never";
    PUSH_ACKNOWLEDGE = "metrics_collector_remote_write_acknowledge" ["target"], Gauge,
        "1 if agents keep samples until a remote write target has them, else 0";
    PUSH_MOVED = "metrics_collector_remote_write_samples_moved_total" ["target"], Counter,
        "Samples sent with a later time: a host's clock was set back by more than its interval";
    HOST_COMEBACKS = "metrics_collector_host_comebacks_total" ["host"], Counter,
        "How often a known host came back after it was gone";
    HOST_LAST_METRICS = "metrics_collector_host_last_metrics_timestamp_seconds" ["host"], Gauge,
        "When a host last reported metrics, in seconds since 1970; 0 where it has not yet";
    HOST_SHARED = "metrics_collector_host_shared_key_messages_total" ["host"], Counter,
        "Messages of a host whose key reported from two machines at once";
    HOST_MESSAGES = "metrics_collector_host_messages_total" ["host"], Counter,
        "Messages of each host that reports";
    LEFT_OUT = "metrics_collector_metrics_left_out", Gauge,
        "Metrics left out of this scrape: another has the same name, or they are too large";
    LOG_LOST = "metrics_collector_log_lines_lost_total", Counter,
        "Lines that the collector could not log: their queue was full";
    CPU = "process_cpu_seconds_total", Counter,
        "CPU time of the collector";
    MEMORY = "process_resident_memory_bytes", Gauge,
        "Resident memory of the collector";
    OPEN_FILES = "process_open_fds", Gauge,
        "Open file descriptors of the collector";
    MAX_FILES = "process_max_fds", Gauge,
        "The limit of open file descriptors of the collector";
    STARTED = "process_start_time_seconds", Gauge,
        "When the collector began to serve this, in seconds since 1970";
}

/// A value of a family of the collector's own.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// The family.
    pub of: &'static Own,
    /// The values of its labels, where it has some.
    pub instances: Box<[Box<str>]>,
    /// The value.
    pub number: Number,
}

impl Figure {
    /// The value of a family without a label.
    #[must_use]
    pub fn plain(of: &'static Own, number: u64) -> Self {
        Self {
            of,
            instances: Box::default(),
            number: Number::from(number),
        }
    }

    /// One of the values of a family with one label.
    #[must_use]
    pub fn labelled(of: &'static Own, instance: &str, number: u64) -> Self {
        Self {
            instances: [instance.into()].into(),
            ..Self::plain(of, number)
        }
    }
}

/// What there is to say of the hosts as a whole, and of the program.
pub(super) fn of_snapshot(snapshot: &Snapshot) -> Vec<Figure> {
    let mut figures = vec![Figure::labelled(&BUILD, env!("CARGO_PKG_VERSION"), 1)];
    for presence in [Presence::Reporting, Presence::Expected, Presence::Gone] {
        let hosts = snapshot.hosts.iter();
        let count = hosts.filter(|host| host.presence == presence).count();
        figures.push(Figure::labelled(&HOSTS, presence.as_str(), count as u64));
    }
    let reporting = snapshot.hosts.iter();
    let reporting = reporting.filter(|host| host.presence == Presence::Reporting);
    figures.extend(
        reporting.map(|host| Figure::labelled(&HOST_MESSAGES, &host.name, host.counts.messages)),
    );
    for host in &snapshot.hosts {
        // Also while it is gone: one that comes and goes is never there for long.
        figures.push(Figure::labelled(
            &HOST_COMEBACKS,
            &host.name,
            host.counts.comebacks,
        ));
        figures.push(Figure {
            number: last(host.last_metrics),
            ..Figure::labelled(&HOST_LAST_METRICS, &host.name, 0)
        });
        if host.counts.shared > 0 {
            figures.push(Figure::labelled(
                &HOST_SHARED,
                &host.name,
                host.counts.shared,
            ));
        }
    }
    figures
}

/// How a target of remote write fares.
pub(crate) fn of_target(target: &TargetStatus) -> [Figure; 8] {
    let name = target.name.as_str();
    [
        Figure::labelled(&PUSH_SENT, name, target.sent),
        Figure::labelled(&PUSH_FAILED, name, target.failed),
        Figure::labelled(&PUSH_DROPPED, name, target.dropped),
        Figure::labelled(&PUSH_WAITING, name, target.queued),
        Figure::labelled(&PUSH_FAILING, name, u64::from(target.failing)),
        Figure {
            number: last(target.last_success),
            ..Figure::labelled(&PUSH_SUCCESS, name, 0)
        },
        Figure::labelled(&PUSH_ACKNOWLEDGE, name, u64::from(target.acknowledge)),
        Figure::labelled(&PUSH_MOVED, name, target.moved),
    ]
}

/// What agents have told on the second wire.
pub(crate) fn of_history(history: &History) -> Vec<Figure> {
    let counts = history.counts;
    let mut figures = vec![
        Figure::plain(&TOLD, counts.samples),
        Figure::plain(&TOLD_AGAIN, counts.again),
        Figure::plain(&TOLD_BAD, counts.bad),
        Figure::plain(&TOLD_FAULTS, counts.faults),
        Figure::plain(&TOLD_HELD, counts.held),
        Figure::plain(&TOLD_SHARED, counts.shared),
        Figure::labelled(&TOLD_LOST, "left-out", counts.missing),
    ];
    let lost = Reason::ALL.into_iter().zip(counts.lost);
    figures.extend(lost.map(|(reason, lost)| Figure::labelled(&TOLD_LOST, reason.as_word(), lost)));
    for (host, known) in history.figures() {
        figures.push(Figure::labelled(&HOST_BEHIND, host, known.behind));
        figures.push(Figure {
            number: Number::Decimal {
                digits: known.clock_offset.into(),
                places: 6,
            },
            ..Figure::labelled(&HOST_CLOCK, host, 0)
        });
    }
    figures
}

/// How a socket that peers connect to fares.
pub(crate) fn of_listener(listener: Listener, load: &Load) -> Vec<Figure> {
    let name = listener.as_str();
    let mut figures = vec![
        Figure::labelled(&CONNECTIONS, name, load.connections as u64),
        Figure::labelled(&CONNECTIONS_LIMIT, name, load.limit as u64),
        Figure::labelled(&HANDSHAKES, name, load.handshakes as u64),
    ];
    // All reasons from the start: a rate needs the 0 before the first one.
    figures.extend(load.endings.iter().map(|(ending, count)| Figure {
        instances: [name.into(), ending.as_str().into()].into(),
        ..Figure::plain(&ENDED, count)
    }));
    figures
}

/// When something last was; 0 where it never was.
fn last(time: Option<SystemTime>) -> Number {
    time.map_or_else(|| Number::from(0_u64), since_1970)
}

/// What this process costs. Reads a few files of /proc; what cannot be read is left out.
#[must_use]
pub fn of_process(started: SystemTime) -> Vec<Figure> {
    let cpu = clock_gettime(ClockId::ProcessCPUTime);
    // Neither part of a CPU time is negative.
    let micros = i128::from(cpu.tv_sec) * 1_000_000 + i128::from(cpu.tv_nsec) / 1000;
    let mut figures = vec![
        Figure {
            of: &CPU,
            instances: Box::default(),
            number: Number::Decimal {
                digits: micros,
                places: 6,
            },
        },
        Figure {
            of: &STARTED,
            instances: Box::default(),
            number: since_1970(started),
        },
    ];
    let pages = std::fs::read("/proc/self/statm").ok();
    if let Some(pages) = pages.and_then(|text| resident_pages(&text)) {
        let page = rustix::param::page_size() as u64;
        figures.push(Figure::plain(&MEMORY, pages.saturating_mul(page)));
    }
    if let Ok(files) = std::fs::read_dir("/proc/self/fd") {
        // Without the one that lists them.
        let open = files.count().saturating_sub(1);
        figures.push(Figure::plain(&OPEN_FILES, open as u64));
    }
    if let Some(limit) = getrlimit(Resource::Nofile).current {
        figures.push(Figure::plain(&MAX_FILES, limit));
    }
    figures
}

/// A time in seconds, to the millisecond: what is known to be the same time reads the same.
pub(super) fn since_1970(time: SystemTime) -> Number {
    let passed = time.duration_since(SystemTime::UNIX_EPOCH);
    // A clock that is before 1970 has no better time to offer.
    let millis = passed.map_or(0, |passed| passed.as_millis());
    Number::Decimal {
        digits: i128::try_from(millis).unwrap_or(i128::MAX),
        places: 3,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use super::*;

    #[test]
    fn names_are_unique_valid_and_say_their_kind() {
        let names: BTreeSet<_> = OWN.iter().map(|own| own.name).collect();
        assert_eq!(names.len(), OWN.len());
        for own in OWN {
            let (namespace, _) = own.name.split_once('_').unwrap();
            assert!(["metrics", "process"].contains(&namespace), "{}", own.name);
            assert!(
                !own.name.starts_with(super::super::naming::NAMESPACE),
                "{}",
                own.name
            );
            assert_eq!(
                own.name.ends_with("_total"),
                own.kind == Type::Counter,
                "{}",
                own.name
            );
            assert_eq!(
                own.name.ends_with("_info"),
                own.kind == Type::Info,
                "{}",
                own.name
            );
            assert!(!own.help.contains(['\n', '\\']), "{}", own.name);
        }
    }

    #[test]
    fn this_process_costs_something() {
        let started = SystemTime::UNIX_EPOCH + Duration::from_millis(12_500);
        let figures = of_process(started);
        let value = |of: &Own| {
            let figure = figures.iter().find(|figure| figure.of == of).unwrap();
            figure.number.as_f64()
        };
        assert!(value(&CPU) > 0.0);
        assert!(value(&MEMORY) > 500_000.0);
        assert!(value(&OPEN_FILES) >= 3.0);
        assert!(value(&MAX_FILES) >= value(&OPEN_FILES));
        assert_eq!(value(&STARTED).to_string(), "12.5");
        assert_eq!(figures.len(), 5);
    }
}
