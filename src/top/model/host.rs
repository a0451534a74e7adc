//! What is shown of one host in the table of all. Pure.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::history::History;
use super::rates::Rates;
use super::readings::{
    Fullest, failed, fullest, is_received, is_sent, number, pressure, reads_file_systems,
    temperature, text,
};
use crate::metrics::LatestMetrics;
use crate::metrics::families::FamilySet;
use crate::protocol::grid::Grid;
use crate::protocol::message::{GridKind, Malformed};
use crate::protocol::state::{HostState, StateGrid};

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
    /// When its silence began: its last metrics, or the time when the collector could be heard
    /// again.
    pub(super) quiet_since: Instant,
    /// When its model, its metrics or its state were last heard.
    pub(super) mentioned: Instant,
    /// What the collector says of it, where it does not report.
    pub told: Option<Told>,
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
    /// kB of swap space.
    pub swap_total: Option<f64>,
    /// kB of swap space that nothing uses.
    pub swap_free: Option<f64>,
    /// The file system that is worst off.
    pub disk: Option<Fullest>,
    /// Whether its agent reads file systems and none was heard of yet, as far as is known.
    file_systems: FileSystems,
    /// The hottest sensor, in °C.
    pub temperature: Option<f64>,
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
    /// Its operating system.
    pub system: Option<Box<str>>,
    /// Its agent's version.
    pub agent: Option<Box<str>>,
    traffic: Rates,
    /// What its messages say together, where there is room for that.
    pub(super) metrics: LatestMetrics,
    /// What they said of the same before, for rates; where there is room for that, too.
    pub(super) before: LatestMetrics,
    pub(super) model: Option<Arc<Grid>>,
    model_hash: u64,
}

/// What the collector says of a host that does not report.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// Whether it is gone for good, and not only expected.
    pub gone: bool,
    /// When it was last seen by the collector, in seconds since 1970.
    pub last_seen: f64,
    /// Since when it has been so, in seconds since 1970.
    pub since: f64,
    /// Where the collector last heard it from.
    pub address: Option<Box<str>>,
    /// The operating system that it last reported.
    pub os: Option<Box<str>>,
    /// How long ago that was when it was told, and when that was.
    ago: Duration,
    at: Instant,
}

/// Whether a host reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Its metrics come.
    Reporting,
    /// Its model is known, and its metrics were not heard yet.
    Waiting,
    /// The collector says that it reported before the collector was restarted.
    Expected,
    /// It was silent for [`SILENT_AFTER`].
    Silent,
    /// The collector says that it is gone.
    Gone,
}

impl State {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reporting => "reporting",
            Self::Waiting => "waiting",
            Self::Expected => "expected",
            Self::Silent => "silent",
            Self::Gone => "gone",
        }
    }
}

impl Host {
    pub(super) fn new(name: Arc<str>, now: Instant) -> Self {
        Self {
            name,
            heard: None,
            quiet_since: now,
            mentioned: now,
            told: None,
            cpu: None,
            history: History::default(),
            cpus: None,
            memory_total: None,
            memory_available: None,
            swap_total: None,
            swap_free: None,
            disk: None,
            file_systems: FileSystems::Unknown,
            temperature: None,
            load: None,
            pressure: None,
            received: None,
            sent: None,
            uptime: None,
            failed: None,
            system: None,
            agent: None,
            traffic: Rates::default(),
            metrics: LatestMetrics::default(),
            before: LatestMetrics::default(),
            model: None,
            model_hash: 0,
        }
    }

    /// Returns true if it is present, by what was known at that time.
    #[must_use]
    pub fn state(&self, as_of: Instant) -> State {
        match (&self.told, self.heard) {
            (Some(told), _) if told.gone => State::Gone,
            (Some(_), _) => State::Expected,
            (None, None) => State::Waiting,
            (None, Some(_)) if self.is_quiet(as_of) => State::Silent,
            (None, Some(_)) => State::Reporting,
        }
    }

    fn is_quiet(&self, as_of: Instant) -> bool {
        as_of.saturating_duration_since(self.quiet_since) >= SILENT_AFTER
    }

    /// Since its last metrics, or since the collector saw it last.
    #[must_use]
    pub fn age(&self, now: Instant) -> Option<Duration> {
        match &self.told {
            Some(told) => Some(told.ago + now.saturating_duration_since(told.at)),
            None => Some(now.saturating_duration_since(self.heard?)),
        }
    }

    /// The share of its swap space that is in use, in percent.
    #[must_use]
    pub fn swap_used(&self) -> Option<f64> {
        share_used(self.swap_total, self.swap_free)
    }

    /// The share of its memory that is in use, in percent.
    #[must_use]
    pub fn memory_used(&self) -> Option<f64> {
        share_used(self.memory_total, self.memory_available)
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
        self.swap_total = number(&grid, "mem.swap.total");
        self.cpus = number(&grid, "host.cpus");
        self.uptime = self.uptime.or_else(|| number(&grid, "sys.uptime"));
        self.system = text(&grid, "host.os");
        self.agent = text(&grid, "agent.version");
        if self.heard.is_none() {
            // Some say here what metrics say, too.
            self.take_row(&grid);
        }
        self.model = Some(Arc::new(grid));
        Ok(true)
    }

    /// Takes metrics; what a message does not say stays as it was.
    pub(super) fn take_metrics(&mut self, now: Instant, grid: &Grid) {
        if self.heard.is_some() && self.is_quiet(now) {
            self.history.gap();
        }
        self.heard = Some(now);
        self.quiet_since = now;
        self.mentioned = now;
        self.told = None;
        self.take_row(grid);
        if let Some(cpu) = number(grid, "cpu.percent") {
            self.history.push(cpu);
        }
        if grid.iter().any(|(name, _)| is_received(name)) {
            self.traffic.take(now, grid, |name| {
                (is_received(name) || is_sent(name)) && !name.ends_with("[lo]")
            });
            self.received = self.traffic.sum(is_received);
            self.sent = self.traffic.sum(is_sent);
        }
    }

    fn take_row(&mut self, grid: &Grid) {
        let is = |slot: &mut Option<f64>, name: &str| *slot = number(grid, name).or(*slot);
        is(&mut self.cpu, "cpu.percent");
        is(&mut self.memory_available, "mem.avail");
        is(&mut self.swap_free, "mem.swap.free");
        is(&mut self.load, "load.1m");
        is(&mut self.uptime, "sys.uptime");
        self.pressure = pressure(grid).or(self.pressure);
        self.failed = failed(grid).or(self.failed);
        self.temperature = temperature(grid).or(self.temperature);
        if grid.iter().any(|(name, _)| name.starts_with("fs.")) {
            self.disk = fullest(grid);
            self.file_systems = FileSystems::Heard;
        } else if self.file_systems == FileSystems::Unknown
            && let Some(false) = reads_file_systems(grid)
        {
            self.file_systems = FileSystems::NotRead;
        }
    }

    /// Whether file systems are still to come: they are read less often than what else it says.
    #[must_use]
    pub fn owes_file_systems(&self) -> bool {
        self.told.is_none() && self.agent.is_some() && self.file_systems == FileSystems::Unknown
    }

    /// Keeps a message whole, with what it replaces where there is room for that, too, or
    /// nothing at all.
    pub(super) fn keep(&mut self, now: Instant, grid: Grid, bytes: usize, room: Room) {
        if room == Room::None {
            self.metrics = LatestMetrics::default();
            self.before = LatestMetrics::default();
            return;
        }
        let families = FamilySet::of(&grid);
        if room == Room::Both {
            for (part, replaced) in self.metrics.replaced_by(families) {
                self.before.take_part(part, replaced);
            }
            self.before.expire(now);
        } else {
            self.before = LatestMetrics::default();
        }
        self.metrics.take(now, Arc::new(grid), families, bytes);
        self.metrics.expire(now);
    }

    /// What is kept of its messages takes so many bytes.
    pub(super) fn kept_bytes(&self) -> usize {
        self.metrics.bytes() + self.before.bytes()
    }

    /// Takes what the collector says of it. `wall` is now, in seconds since 1970.
    pub(super) fn take_state(&mut self, now: Instant, wall: f64, said: &StateGrid) {
        self.mentioned = now;
        let gone = match said.state {
            HostState::Gone => true,
            HostState::Expected => false,
            HostState::Reporting | HostState::Forgotten => {
                self.told = None;
                return;
            }
        };
        if self.system.is_none() {
            self.system.clone_from(&said.os);
        }
        // The clocks of two hosts may differ, and a peer may say anything.
        let ago = Duration::try_from_secs_f64((wall - said.last_seen).max(0.0));
        self.told = Some(Told {
            gone,
            last_seen: said.last_seen,
            since: said.since,
            address: said.address.clone(),
            os: said.os.clone(),
            ago: ago.unwrap_or_default(),
            at: now,
        });
    }
}

/// What is known of a host's file systems.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FileSystems {
    /// None was heard of.
    Unknown,
    /// They were.
    Heard,
    /// Its agent does not read them.
    NotRead,
}

/// Of how much of what a host says there is room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// Of what it said last and of what it said before.
    Both,
    /// Of what it said last.
    Last,
    /// Of its row alone.
    None,
}

fn share_used(total: Option<f64>, free: Option<f64>) -> Option<f64> {
    let total = total.filter(|total| *total > 0.0)?;
    Some((100.0 * (1.0 - free? / total)).clamp(0.0, 100.0))
}
