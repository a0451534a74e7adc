//! How healthy a host is, and its worst problem. Pure.
//!
//! The limits of all values are only here: a cell's colour and the position of its host in the
//! table follow from the same number.

use std::time::Instant;

use super::model::{Host, State};

/// How well something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// As it should be.
    Good,
    /// Worth a look.
    Busy,
    /// Not as it should be.
    Bad,
}

impl Severity {
    /// From `busy` on worth a look, from `bad` on bad.
    #[must_use]
    pub fn between(value: f64, busy: f64, bad: f64) -> Self {
        if value >= bad {
            Self::Bad
        } else if value >= busy {
            Self::Busy
        } else {
            Self::Good
        }
    }

    /// A share of something that runs out: CPU time, memory, a file system; in percent.
    #[must_use]
    pub fn of_share(percent: f64) -> Self {
        Self::between(percent, 80.0, 90.0)
    }

    /// Swap space in use, in percent. Unused pages may stay there for good.
    #[must_use]
    pub fn of_swap(percent: f64) -> Self {
        Self::between(percent, 60.0, 95.0)
    }

    /// A load average; good where the number of CPUs is not known.
    #[must_use]
    pub fn of_load(load: f64, cpus: Option<f64>) -> Self {
        cpus.map_or(Self::Good, |cpus| Self::between(load, cpus, 2.0 * cpus))
    }

    /// The share of time in which tasks waited, in percent.
    #[must_use]
    pub fn of_pressure(percent: f64) -> Self {
        Self::between(percent, 10.0, 40.0)
    }

    /// A temperature in °C. Agents do not say what a sensor's limits are.
    #[must_use]
    pub fn of_temperature(celsius: f64) -> Self {
        Self::between(celsius, 80.0, 95.0)
    }

    /// A number of failed units.
    #[must_use]
    pub fn of_failed(units: usize) -> Self {
        if units > 0 { Self::Bad } else { Self::Good }
    }
}

/// What is worst about a host.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Problem<'a> {
    /// The collector says that it is gone.
    Gone,
    /// It has been silent for too long.
    Silent,
    /// A file system does not answer.
    Stuck(&'a str),
    /// Units have failed.
    Failed(usize),
    /// The fullest file system, in percent.
    Disk(f64),
    /// Memory in use, in percent.
    Memory(f64),
    /// Swap space in use, in percent.
    Swap(f64),
    /// The load average.
    Load(f64),
    /// What tasks wait for, and for what share of time in percent.
    Pressure(&'static str, f64),
    /// The hottest sensor, in °C.
    Heat(f64),
    /// CPU time in use, in percent.
    Cpu(f64),
    /// It reported before the collector was restarted.
    Expected,
    /// Its metrics were not heard yet.
    Waiting,
    /// Nothing.
    None,
}

impl Problem<'_> {
    /// What comes first, where all else is equal: the largest.
    fn weight(self) -> u8 {
        match self {
            Self::Gone => 13,
            Self::Silent => 12,
            Self::Stuck(_) => 11,
            Self::Failed(_) => 10,
            Self::Disk(_) => 9,
            Self::Memory(_) => 8,
            Self::Swap(_) => 7,
            Self::Load(_) => 6,
            Self::Pressure(..) => 5,
            Self::Heat(_) => 4,
            Self::Cpu(_) => 3,
            Self::Expected => 2,
            Self::Waiting => 1,
            Self::None => 0,
        }
    }
}

/// What is worst about a host, and how bad that is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Worst<'a> {
    /// How bad.
    pub severity: Severity,
    /// What.
    pub problem: Problem<'a>,
}

impl Worst<'_> {
    /// For an order: the larger, the worse.
    #[must_use]
    pub fn rank(self) -> u8 {
        let severity = match self.severity {
            Severity::Good => 0,
            Severity::Busy => 20,
            Severity::Bad => 40,
        };
        severity + self.problem.weight()
    }
}

/// What is worst about a host, by what was known at that time.
#[must_use]
pub fn worst(host: &Host, as_of: Instant) -> Worst<'_> {
    let is = |severity, problem| Worst { severity, problem };
    match host.state(as_of) {
        State::Gone => is(Severity::Bad, Problem::Gone),
        State::Silent => is(Severity::Bad, Problem::Silent),
        State::Expected => is(Severity::Busy, Problem::Expected),
        State::Waiting => is(Severity::Busy, Problem::Waiting),
        State::Reporting => {
            let all = problems(host).into_iter().flatten();
            all.map(|(severity, problem)| is(severity, problem))
                .filter(|worst| worst.severity > Severity::Good)
                .max_by_key(|worst| worst.rank())
                .unwrap_or(is(Severity::Good, Problem::None))
        }
    }
}

fn problems(host: &Host) -> [Option<(Severity, Problem<'_>)>; 9] {
    let share = |value: Option<f64>, problem: fn(f64) -> Problem<'static>| {
        value.map(|value| (Severity::of_share(value), problem(value)))
    };
    let disk = host.disk.fullest.as_ref();
    [
        disk.filter(|disk| disk.stuck)
            .map(|disk| (Severity::Bad, Problem::Stuck(&disk.mount))),
        host.failed
            .map(|failed| (Severity::of_failed(failed), Problem::Failed(failed))),
        share(disk.and_then(|disk| disk.used), Problem::Disk),
        share(host.memory.used(), Problem::Memory),
        host.memory
            .swap_used()
            .map(|swap| (Severity::of_swap(swap), Problem::Swap(swap))),
        host.tasks
            .load
            .map(|load| (Severity::of_load(load, host.cpu.count), Problem::Load(load))),
        host.tasks.pressure.map(|(resource, share)| {
            let severity = Severity::of_pressure(share);
            (severity, Problem::Pressure(resource, share))
        }),
        host.temperature
            .map(|celsius| (Severity::of_temperature(celsius), Problem::Heat(celsius))),
        share(host.cpu.busy, Problem::Cpu),
    ]
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::protocol::message::GridKind;
    use crate::top::model::Fleet;

    fn of(model: &str, metrics: &str) -> (Severity, String) {
        let now = Instant::now();
        let mut fleet = Fleet::default();
        for (kind, json) in [(GridKind::Model, model), (GridKind::Metrics, metrics)] {
            fleet.take(now, "a", kind, json.as_bytes()).unwrap();
        }
        let Worst { severity, problem } = worst(fleet.get("a").unwrap(), now);
        (severity, format!("{problem:?}"))
    }

    #[test]
    fn the_worst_is_what_is_worst_and_not_what_is_first() {
        let told = |severity, text: &str| (severity, text.to_owned());
        assert_eq!(of("{}", "{}"), told(Severity::Good, "None"));
        assert_eq!(
            of("{}", r#"{"cpu.percent":79.9}"#),
            told(Severity::Good, "None")
        );
        assert_eq!(
            of("{}", r#"{"cpu.percent":80}"#),
            told(Severity::Busy, "Cpu(80.0)")
        );
        // Bad before busy, whatever it is.
        let model = r#"{"mem.total":100,"host.cpus":2,"mem.swap.total":100}"#;
        assert_eq!(
            of(model, r#"{"mem.avail":15,"cpu.percent":95}"#),
            told(Severity::Bad, "Cpu(95.0)")
        );
        assert_eq!(
            of(model, r#"{"mem.avail":5,"cpu.percent":99,"load.1m":9}"#),
            told(Severity::Bad, "Memory(95.0)")
        );
        assert_eq!(
            of(model, r#"{"load.1m":2}"#),
            told(Severity::Busy, "Load(2.0)")
        );
        assert_eq!(
            of(model, r#"{"mem.swap.free":5}"#),
            told(Severity::Bad, "Swap(95.0)")
        );
        assert_eq!(
            of(
                model,
                r#"{"sensor.temperature[a/b]":96,"sensor.temperature[a/c]":20}"#
            ),
            told(Severity::Bad, "Heat(96.0)")
        );
        assert_eq!(
            of(
                model,
                r#"{"systemd.failed[a.service]":1,"fs.size[/]":100,"fs.free[/]":1,"fs.avail[/]":1}"#
            ),
            told(Severity::Bad, "Failed(1)")
        );
        assert_eq!(
            of(
                model,
                r#"{"fs.stuck[/mnt]":1,"systemd.failed[a.service]":1}"#
            ),
            told(Severity::Bad, "Stuck(\"/mnt\")")
        );
        assert_eq!(
            of(model, r#"{"pressure.some.avg10[io]":12}"#),
            told(Severity::Busy, "Pressure(\"io\", 12.0)")
        );
    }

    #[test]
    fn a_file_system_that_cannot_be_written_to_may_be_full() {
        let full = r#"{"fs.size[/cd]":100,"fs.free[/cd]":0,"fs.avail[/cd]":0,"fs.readonly[/cd]":1,
            "fs.size[/]":100,"fs.free[/]":15,"fs.avail[/]":15,"fs.readonly[/]":0}"#;
        assert_eq!(of("{}", full), (Severity::Busy, "Disk(85.0)".to_owned()));
    }

    #[test]
    fn who_is_not_there_is_worse_than_any_who_is() {
        let now = Instant::now();
        let mut fleet = Fleet::default();
        let metrics = br#"{"cpu.percent":1}"#;
        fleet.take(now, "a", GridKind::Metrics, metrics).unwrap();
        let later = now + Duration::from_secs(30);
        let host = fleet.get("a").unwrap();
        let silent = worst(host, later);
        assert_eq!(
            (silent.severity, silent.problem),
            (Severity::Bad, Problem::Silent)
        );
        let bad = Worst {
            severity: Severity::Bad,
            problem: Problem::Stuck("/"),
        };
        assert!(silent.rank() > bad.rank());
        let waiting = Worst {
            severity: Severity::Busy,
            problem: Problem::Waiting,
        };
        assert!(bad.rank() > waiting.rank());
    }
}
