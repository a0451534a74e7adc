//! What is shown of one host in the table of all. Pure.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::history::History;
use super::rates::Rates;
use crate::protocol::grid::{Grid, Value};
use crate::protocol::message::{GridKind, Malformed};
use crate::server::hosts::Merged;

/// A host that sent no metrics for this long is silent: as collectors have it.
pub const SILENT_AFTER: Duration = Duration::from_secs(30);

/// A resource, and the share of the last 10 s in which some task waited for it.
pub type Pressure = (&'static str, f64);

/// What is known of a host.
#[derive(Debug)]
pub struct Host {
    /// Its name.
    pub name: Arc<str>,
    /// When its metrics were last heard.
    pub heard: Option<Instant>,
    /// When its model or its metrics were last heard.
    pub(super) mentioned: Instant,
    /// Share of time that its CPUs were busy.
    pub cpu: Option<f64>,
    /// The last of them.
    pub history: History,
    /// How many CPUs.
    pub cpus: Option<f64>,
    /// kB.
    pub memory_total: Option<f64>,
    /// kB that could be had without swapping.
    pub memory_available: Option<f64>,
    /// Over the last minute.
    pub load: Option<f64>,
    /// What its tasks wait for most.
    pub pressure: Option<Pressure>,
    /// Bytes received and sent in a second, over all interfaces but the loopback.
    pub received: Option<f64>,
    /// The same, sent.
    pub sent: Option<f64>,
    /// Seconds since boot, when it was last heard.
    pub uptime: Option<f64>,
    /// Units that have failed.
    pub failed: Option<usize>,
    traffic: Rates,
    /// What its messages say together, where there is room for that.
    pub(super) metrics: Merged,
    pub(super) model: Option<Arc<Grid>>,
    model_hash: u64,
}

/// Whether a host is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Its metrics come.
    Reporting,
    /// Its model is known, and its metrics were not heard yet.
    Waiting,
    /// It was silent for [`SILENT_AFTER`].
    Silent,
}

impl State {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reporting => "reporting",
            Self::Waiting => "waiting",
            Self::Silent => "silent",
        }
    }
}

impl Host {
    pub(super) fn new(name: Arc<str>, now: Instant) -> Self {
        Self {
            name,
            heard: None,
            mentioned: now,
            cpu: None,
            history: History::default(),
            cpus: None,
            memory_total: None,
            memory_available: None,
            load: None,
            pressure: None,
            received: None,
            sent: None,
            uptime: None,
            failed: None,
            traffic: Rates::default(),
            metrics: Merged::default(),
            model: None,
            model_hash: 0,
        }
    }

    /// Whether it is there.
    #[must_use]
    pub fn state(&self, now: Instant) -> State {
        match self.age(now) {
            None => State::Waiting,
            Some(age) if age >= SILENT_AFTER => State::Silent,
            Some(_) => State::Reporting,
        }
    }

    /// Since its last metrics.
    #[must_use]
    pub fn age(&self, now: Instant) -> Option<Duration> {
        let heard = self.heard?;
        Some(now.saturating_duration_since(heard))
    }

    /// The share of its memory that is in use, in percent.
    #[must_use]
    pub fn memory_used(&self) -> Option<f64> {
        let total = self.memory_total.filter(|total| *total > 0.0)?;
        let available = self.memory_available?;
        Some((100.0 * (1.0 - available / total)).clamp(0.0, 100.0))
    }

    /// Takes a model; the same one again is not read again. Whether it is another.
    pub(super) fn take_model(&mut self, now: Instant, json: &[u8]) -> Result<bool, Malformed> {
        self.mentioned = now;
        let mut hasher = DefaultHasher::new();
        json.hash(&mut hasher);
        let hash = hasher.finish();
        if self.model.is_some() && hash == self.model_hash {
            return Ok(false);
        }
        let grid = Grid::parse(json, GridKind::Model)?;
        self.model_hash = hash;
        self.memory_total = number(&grid, "mem.total");
        self.cpus = number(&grid, "host.cpus");
        self.uptime = self.uptime.or_else(|| number(&grid, "sys.uptime"));
        self.model = Some(Arc::new(grid));
        Ok(true)
    }

    /// Takes metrics; what a message does not say stays as it was.
    pub(super) fn take_metrics(&mut self, now: Instant, grid: &Grid) {
        if self.age(now).is_some_and(|age| age >= SILENT_AFTER) {
            self.history.gap();
        }
        self.heard = Some(now);
        self.mentioned = now;
        if let Some(cpu) = number(grid, "cpu.percent") {
            self.cpu = Some(cpu);
            self.history.push(cpu);
        }
        self.memory_available = number(grid, "mem.avail").or(self.memory_available);
        self.load = number(grid, "load.1m").or(self.load);
        self.uptime = number(grid, "sys.uptime").or(self.uptime);
        self.pressure = pressure(grid).or(self.pressure);
        self.failed = failed(grid).or(self.failed);
        if grid.iter().any(|(name, _)| is_received(name)) {
            self.traffic.take(now, grid, |name| {
                (is_received(name) || is_sent(name)) && !name.ends_with("[lo]")
            });
            self.received = self.traffic.sum(is_received);
            self.sent = self.traffic.sum(is_sent);
        }
    }
}

fn is_received(name: &str) -> bool {
    name.starts_with("net.rx.bytes.total[")
}

fn is_sent(name: &str) -> bool {
    name.starts_with("net.tx.bytes.total[")
}

pub(super) fn number(grid: &Grid, name: &str) -> Option<f64> {
    grid.get(name).and_then(|value| value.as_f64())
}

fn pressure(grid: &Grid) -> Option<Pressure> {
    ["cpu", "memory", "io"]
        .into_iter()
        .filter_map(|resource| {
            let name = format!("pressure.some.avg10[{resource}]");
            Some((resource, number(grid, &name)?))
        })
        .max_by(|(_, one), (_, other)| one.total_cmp(other))
}

/// How many units have failed; None where the message does not tell of units.
fn failed(grid: &Grid) -> Option<usize> {
    let mut told = false;
    let mut failed = 0;
    for (name, value) in grid.iter() {
        if !name.starts_with("systemd.") {
            continue;
        }
        told = true;
        if name.starts_with("systemd.failed[") && value != Value::Unsigned(0) {
            failed += 1;
        }
    }
    told.then_some(failed)
}
