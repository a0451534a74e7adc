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
    /// Whether it reports.
    pub presence: Presence,
    /// Its CPUs.
    pub cpu: Cpu,
    /// Its memory.
    pub memory: Memory,
    /// Its file systems.
    pub disk: Disk,
    /// The hottest sensor, in °C.
    pub temperature: Option<f64>,
    /// Its tasks.
    pub tasks: Tasks,
    /// What its interfaces carry.
    pub network: Network,
    /// Seconds since boot, when it was last heard.
    pub uptime: Option<f64>,
    /// Units that have failed.
    pub failed: Option<usize>,
    /// What runs there.
    pub software: Software,
    /// What its messages say together, where there is room for that.
    pub(super) kept: Kept,
}

/// When a host was heard, and what the collector says of it.
#[derive(Debug)]
pub struct Presence {
    /// When its metrics were last heard.
    pub heard: Option<Instant>,
    /// When its silence began: its last metrics, or the time when the collector could be heard
    /// again.
    pub(super) quiet_since: Instant,
    /// When its model, its metrics or its state were last heard.
    pub(super) mentioned: Instant,
    /// What the collector says of it, where it does not report.
    pub told: Option<Told>,
}

/// The file systems of a host.
#[derive(Debug)]
pub struct Disk {
    /// The one that is worst off.
    pub fullest: Option<Fullest>,
    /// Whether its agent reads file systems and none was heard of yet, as far as is known.
    known: FileSystems,
}

/// What the tasks of a host do.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tasks {
    /// How many run or wait, over the last minute.
    pub load: Option<f64>,
    /// What they wait for most.
    pub pressure: Option<Pressure>,
}

/// The CPUs of a host.
#[derive(Debug, Default)]
pub struct Cpu {
    /// Share of time that they were busy, in percent.
    pub busy: Option<f64>,
    /// The last of them.
    pub history: History,
    /// How many there are.
    pub count: Option<f64>,
}

/// The memory of a host, in kB.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    /// All of it.
    pub total: Option<f64>,
    /// What could be had without swapping.
    pub available: Option<f64>,
    /// Swap space.
    pub swap_total: Option<f64>,
    /// Swap space that nothing uses.
    pub swap_free: Option<f64>,
}

impl Memory {
    /// The share of the memory that is in use, in percent.
    #[must_use]
    pub fn used(&self) -> Option<f64> {
        share_used(self.total, self.available)
    }

    /// The share of the swap space that is in use, in percent.
    #[must_use]
    pub fn swap_used(&self) -> Option<f64> {
        share_used(self.swap_total, self.swap_free)
    }
}

/// Bytes a second over all interfaces but the loopback.
#[derive(Debug, Default)]
pub struct Network {
    /// Received.
    pub received: Option<f64>,
    /// Sent.
    pub sent: Option<f64>,
    rates: Rates,
}

impl Network {
    fn take(&mut self, now: Instant, grid: &Grid) {
        if !grid.iter().any(|(name, _)| is_received(name)) {
            return;
        }
        self.rates.take(now, grid, |name| {
            (is_received(name) || is_sent(name)) && !name.ends_with("[lo]")
        });
        self.received = self.rates.sum(is_received);
        self.sent = self.rates.sum(is_sent);
    }
}

/// What runs on a host.
#[derive(Debug, Default)]
pub struct Software {
    /// The operating system.
    pub system: Option<Box<str>>,
    /// The agent's version.
    pub agent: Option<Box<str>>,
}

/// Messages of a host, as far as there is room for them.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// What they say together.
    pub(super) metrics: LatestMetrics,
    /// What they said of the same before, for rates.
    pub(super) before: LatestMetrics,
    pub(super) model: Option<Arc<Grid>>,
    model_hash: u64,
}

impl Kept {
    /// Keeps a message whole, with what it replaces where there is room for that, too, or
    /// nothing at all.
    pub(super) fn take(&mut self, now: Instant, grid: Grid, bytes: usize, room: Room) {
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

    /// How many bytes the metrics take.
    pub(super) fn bytes(&self) -> usize {
        self.metrics.bytes() + self.before.bytes()
    }
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
            presence: Presence {
                heard: None,
                quiet_since: now,
                mentioned: now,
                told: None,
            },
            cpu: Cpu::default(),
            memory: Memory::default(),
            disk: Disk {
                fullest: None,
                known: FileSystems::Unknown,
            },
            temperature: None,
            tasks: Tasks::default(),
            network: Network::default(),
            uptime: None,
            failed: None,
            software: Software::default(),
            kept: Kept::default(),
        }
    }

    /// Returns true if it is present, by what was known at that time.
    #[must_use]
    pub fn state(&self, as_of: Instant) -> State {
        match (&self.presence.told, self.presence.heard) {
            (Some(told), _) if told.gone => State::Gone,
            (Some(_), _) => State::Expected,
            (None, None) => State::Waiting,
            (None, Some(_)) if self.is_quiet(as_of) => State::Silent,
            (None, Some(_)) => State::Reporting,
        }
    }

    fn is_quiet(&self, as_of: Instant) -> bool {
        as_of.saturating_duration_since(self.presence.quiet_since) >= SILENT_AFTER
    }

    /// Since its last metrics, or since the collector saw it last.
    #[must_use]
    pub fn age(&self, now: Instant) -> Option<Duration> {
        match &self.presence.told {
            Some(told) => Some(told.ago + now.saturating_duration_since(told.at)),
            None => Some(now.saturating_duration_since(self.presence.heard?)),
        }
    }

    /// Takes a model; the same one again is not read again. Whether it is another.
    pub(super) fn take_model(&mut self, now: Instant, json: &[u8]) -> Result<bool, Malformed> {
        self.presence.mentioned = now;
        let mut hasher = DefaultHasher::new();
        json.hash(&mut hasher);
        let hash = hasher.finish();
        if self.kept.model.is_some() && hash == self.kept.model_hash {
            return Ok(false);
        }
        let grid = Grid::parse(json, GridKind::Model)?;
        self.kept.model_hash = hash;
        self.memory.total = number(&grid, "mem.total");
        self.memory.swap_total = number(&grid, "mem.swap.total");
        self.cpu.count = number(&grid, "host.cpus");
        self.uptime = self.uptime.or_else(|| number(&grid, "sys.uptime"));
        self.software.system = text(&grid, "host.os");
        self.software.agent = text(&grid, "agent.version");
        if self.presence.heard.is_none() {
            // Some say here what metrics say, too.
            self.take_row(&grid);
        }
        self.kept.model = Some(Arc::new(grid));
        Ok(true)
    }

    /// Takes metrics; what a message does not say stays as it was.
    pub(super) fn take_metrics(&mut self, now: Instant, grid: &Grid) {
        if self.presence.heard.is_some() && self.is_quiet(now) {
            self.cpu.history.gap();
        }
        self.presence.heard = Some(now);
        self.presence.quiet_since = now;
        self.presence.mentioned = now;
        self.presence.told = None;
        self.take_row(grid);
        if let Some(cpu) = number(grid, "cpu.percent") {
            self.cpu.history.push(cpu);
        }
        self.network.take(now, grid);
    }

    fn take_row(&mut self, grid: &Grid) {
        let is = |slot: &mut Option<f64>, name: &str| *slot = number(grid, name).or(*slot);
        is(&mut self.cpu.busy, "cpu.percent");
        is(&mut self.memory.available, "mem.avail");
        is(&mut self.memory.swap_free, "mem.swap.free");
        is(&mut self.tasks.load, "load.1m");
        is(&mut self.uptime, "sys.uptime");
        self.tasks.pressure = pressure(grid).or(self.tasks.pressure);
        self.failed = failed(grid).or(self.failed);
        self.temperature = temperature(grid).or(self.temperature);
        if grid.iter().any(|(name, _)| name.starts_with("fs.")) {
            self.disk.fullest = fullest(grid);
            self.disk.known = FileSystems::Heard;
        } else if self.disk.known == FileSystems::Unknown
            && let Some(false) = reads_file_systems(grid)
        {
            self.disk.known = FileSystems::NotRead;
        }
    }

    /// Whether file systems are still to come: they are read less often than what else it says.
    #[must_use]
    pub fn owes_file_systems(&self) -> bool {
        self.presence.told.is_none()
            && self.software.agent.is_some()
            && self.disk.known == FileSystems::Unknown
    }

    /// Takes what the collector says of it. `wall` is now, in seconds since 1970.
    pub(super) fn take_state(&mut self, now: Instant, wall: f64, said: &StateGrid) {
        self.presence.mentioned = now;
        let gone = match said.state {
            HostState::Gone => true,
            HostState::Expected => false,
            HostState::Reporting | HostState::Forgotten => {
                self.presence.told = None;
                return;
            }
        };
        if self.software.system.is_none() {
            self.software.system.clone_from(&said.os);
        }
        // The clocks of two hosts may differ, and a peer may say anything.
        let ago = Duration::try_from_secs_f64((wall - said.last_seen).max(0.0));
        self.presence.told = Some(Told {
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
