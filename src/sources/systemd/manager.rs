//! What the service manager is known to have: units, jobs, its own state, how long the boot took
//! (as systemd-analyze(1) computes it). Pure: answers and
//! signals in, values out.

use std::collections::{BTreeMap, BTreeSet};

/// The states of a unit (`ActiveState` in org.freedesktop.systemd1(5)).
pub const UNIT_STATES: [&str; 8] = [
    "active",
    "reloading",
    "inactive",
    "failed",
    "activating",
    "deactivating",
    "maintenance",
    "refreshing",
];

/// The states of the manager (`SystemState` there).
pub const MANAGER_STATES: [&str; 6] = [
    "initializing",
    "starting",
    "running",
    "degraded",
    "maintenance",
    "stopping",
];

/// Most units that are followed. The largest hosts have a tenth of it; each takes some 200
/// bytes.
pub const MAX_UNITS: usize = 32_768;

/// Most jobs that are followed: one for each unit at most.
const MAX_JOBS: usize = MAX_UNITS;

/// The state of a unit: an index of [`UNIT_STATES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnitState(u8);

impl UnitState {
    /// None for a state that is not known here.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let at = UNIT_STATES.iter().position(|state| *state == text)?;
        u8::try_from(at).ok().map(Self)
    }

    fn index(self) -> usize {
        usize::from(self.0)
    }

    fn is(self, text: &str) -> bool {
        UNIT_STATES.get(self.index()) == Some(&text)
    }
}

/// A loaded unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// Its name, as `nginx.service`.
    pub name: Box<str>,
    /// True if it is a service, and not only the name of one.
    service: bool,
    /// None until it has been asked for, and where it is one that is not known here.
    pub state: Option<UnitState>,
    /// `NRestarts` of a service; None until it has been asked for.
    pub restarts: Option<u32>,
}

/// How many units are in each of [`UNIT_STATES`].
type Counts = [u64; UNIT_STATES.len()];

/// A unit in a list of the manager's.
#[derive(Debug, Clone, Copy)]
pub struct Listed<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its object.
    pub path: &'a str,
    /// True if there is such a unit: false for those that others only mention.
    pub loaded: bool,
    /// `ActiveState`
    pub state: &'a str,
}

impl Listed<'_> {
    fn is_service(&self) -> bool {
        self.loaded && self.name.ends_with(".service")
    }
}

/// Everything that is known of the manager.
#[derive(Debug, Clone, Default)]
pub struct Manager {
    /// By the paths of their objects.
    units: BTreeMap<Box<str>, Unit>,
    counts: Counts,
    jobs: BTreeSet<u32>,
    /// How many units there was no room for in the last list.
    cut: usize,
    /// `SystemState`; empty until it has been asked for.
    pub state: String,
    /// `Version`
    pub version: String,
    /// Of the boot.
    pub boot: BootTimes,
}

impl Manager {
    /// Takes a list of all loaded units. What is known of those that stay is kept.
    pub fn list<'a>(&mut self, listed: impl Iterator<Item = Listed<'a>>) {
        let mut before = std::mem::take(&mut self.units);
        self.counts = Counts::default();
        self.cut = 0;
        for unit in listed {
            if self.units.len() >= MAX_UNITS {
                self.cut += 1;
                continue;
            }
            let known = before.remove_entry(unit.path);
            let (path, mut known) = known.unwrap_or_else(|| (unit.path.into(), blank(unit.name)));
            known.state = None;
            known.service = unit.is_service();
            change(&mut self.counts, &mut known, UnitState::parse(unit.state));
            self.units.insert(path, known);
        }
    }

    /// Takes news of a few units that are loaded; returns the paths of the services whose
    /// restarts have to be asked for. A service that was just loaded has had none.
    pub fn refresh<'a>(&mut self, listed: impl Iterator<Item = Listed<'a>>) -> Vec<Box<str>> {
        let mut ask = Vec::new();
        for row in listed {
            let Some(unit) = self.units.get_mut(row.path) else {
                continue;
            };
            change(&mut self.counts, unit, UnitState::parse(row.state));
            unit.service = row.is_service();
            if !unit.service {
                continue;
            }
            if unit.state.is_some_and(|state| state.is("inactive")) {
                unit.restarts.get_or_insert(0);
            } else {
                ask.push(row.path.into());
            }
        }
        ask
    }

    /// Takes a unit that was just loaded, or whose state was not announced as it was. Its
    /// state has to be asked for.
    pub fn loaded(&mut self, name: &str, path: &str) {
        if self.units.len() < MAX_UNITS && !self.units.contains_key(path) {
            self.units.insert(path.into(), blank(name));
        }
    }

    /// Forgets a unit that is loaded no longer.
    pub fn unloaded(&mut self, path: &str) {
        if let Some(mut unit) = self.units.remove(path) {
            change(&mut self.counts, &mut unit, None);
        }
    }

    /// Takes a unit's state; whether the unit is known.
    pub fn set_state(&mut self, path: &str, state: &str) -> bool {
        match self.units.get_mut(path) {
            Some(unit) => {
                change(&mut self.counts, unit, UnitState::parse(state));
                true
            }
            None => false,
        }
    }

    /// Takes how often a service was restarted.
    pub fn set_restarts(&mut self, path: &str, restarts: u32) {
        if let Some(unit) = self.units.get_mut(path) {
            unit.restarts = Some(restarts);
        }
    }

    /// The paths of all services.
    #[must_use]
    pub fn services(&self) -> Vec<Box<str>> {
        let services = self.units.iter().filter(|(_, unit)| unit.service);
        services.map(|(path, _)| path.clone()).collect()
    }

    /// Takes a list of all jobs.
    pub fn list_jobs(&mut self, jobs: impl Iterator<Item = u32>) {
        self.jobs = jobs.take(MAX_JOBS).collect();
    }

    /// Takes a job that is new.
    pub fn job_begun(&mut self, id: u32) {
        if self.jobs.len() < MAX_JOBS {
            self.jobs.insert(id);
        }
    }

    /// Takes the end of a job.
    pub fn job_ended(&mut self, id: u32) {
        self.jobs.remove(&id);
    }

    /// How many jobs wait or run.
    #[must_use]
    pub fn jobs(&self) -> usize {
        self.jobs.len()
    }

    /// How many units there was no room for.
    #[must_use]
    pub fn cut(&self) -> usize {
        self.cut
    }

    /// How many units are in each of [`UNIT_STATES`].
    #[must_use]
    pub fn counts(&self) -> [u64; UNIT_STATES.len()] {
        self.counts
    }

    /// Returns true if some unit has failed: the manager's state depends on that.
    #[must_use]
    pub fn any_failed(&self) -> bool {
        UnitState::parse("failed").is_some_and(|failed| self.counts.get(failed.index()) > Some(&0))
    }

    /// The names of the units that have failed.
    pub fn failed(&self) -> impl Iterator<Item = &str> {
        self.units
            .values()
            .filter(|unit| unit.state.is_some_and(|state| state.is("failed")))
            .map(|unit| &*unit.name)
    }

    /// The services whose restarts are known, with those.
    pub fn restarts(&self) -> impl Iterator<Item = (&str, u32)> {
        self.units
            .values()
            .filter(|unit| unit.service)
            .filter_map(|unit| Some((&*unit.name, unit.restarts?)))
    }
}

/// Gives a unit another state, and counts it there.
fn change(counts: &mut Counts, unit: &mut Unit, state: Option<UnitState>) {
    if let Some(count) = unit.state.and_then(|old| counts.get_mut(old.index())) {
        *count = count.saturating_sub(1);
    }
    if let Some(count) = state.and_then(|new| counts.get_mut(new.index())) {
        *count += 1;
    }
    unit.state = state;
}

fn blank(name: &str) -> Unit {
    Unit {
        name: name.into(),
        service: false,
        state: None,
        restarts: None,
    }
}

/// The manager's monotonic time stamps in µs (org.freedesktop.systemd1(5)); 0: there was no
/// such moment. Those of firmware and loader count backwards, from the kernel's start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stamps {
    /// `FirmwareTimestampMonotonic`
    pub firmware: u64,
    /// `LoaderTimestampMonotonic`
    pub loader: u64,
    /// `KernelTimestamp`, on the wall clock: that of the monotonic clock is 0 by definition.
    pub kernel_realtime: u64,
    /// `InitRDTimestampMonotonic`
    pub initrd: u64,
    /// `UserspaceTimestampMonotonic`
    pub userspace: u64,
    /// `FinishTimestampMonotonic`; 0 until the boot is over.
    pub finish: u64,
    /// `SoftRebootsCount`, since systemd 255.
    pub soft_reboots: u64,
}

/// How long each part took, in µs; None if there was none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BootTimes {
    /// Until the boot loader's start.
    pub firmware: Option<u64>,
    /// From there to the kernel's start.
    pub loader: Option<u64>,
    /// From there to the initrd's start, or else the manager's.
    pub kernel: Option<u64>,
    /// From there to the manager's start.
    pub initrd: Option<u64>,
    /// From there to the end of the boot.
    pub userspace: Option<u64>,
}

impl BootTimes {
    /// The parts between the stamps. Nothing is known of a boot that is still under way.
    #[must_use]
    pub fn new(stamps: &Stamps) -> Self {
        if stamps.finish == 0 {
            return Self::default();
        }
        let userspace = stamps.finish.checked_sub(stamps.userspace);
        // A container's manager has not seen a kernel start, and after a soft reboot what
        // came before it is another boot's.
        if stamps.kernel_realtime == 0 || stamps.soft_reboots > 0 {
            return Self {
                userspace,
                ..Self::default()
            };
        }
        let there = |stamp: u64| (stamp > 0).then_some(stamp);
        Self {
            firmware: there(stamps.firmware).and_then(|time| time.checked_sub(stamps.loader)),
            loader: there(stamps.loader),
            kernel: there(stamps.initrd).or(there(stamps.userspace)),
            initrd: there(stamps.initrd).and_then(|time| stamps.userspace.checked_sub(time)),
            userspace,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row<'a>(name: &'a str, path: &'a str, state: &'a str) -> Listed<'a> {
        Listed {
            name,
            path,
            loaded: true,
            state,
        }
    }

    fn three() -> Manager {
        let mut manager = Manager::default();
        manager.list(
            [
                row("a.service", "/a", "active"),
                row("b.service", "/b", "failed"),
                row("c.mount", "/c", "active"),
            ]
            .into_iter(),
        );
        manager
    }

    fn count(manager: &Manager, state: &str) -> u64 {
        let at = UNIT_STATES.iter().position(|s| *s == state).unwrap();
        manager.counts()[at]
    }

    #[test]
    fn units_are_counted_by_state_and_failed_ones_named() {
        let mut manager = three();
        assert_eq!(count(&manager, "active"), 2);
        assert_eq!(manager.failed().collect::<Vec<_>>(), ["b.service"]);
        assert!(manager.set_state("/b", "inactive"));
        assert!(!manager.any_failed());
        assert_eq!(count(&manager, "inactive"), 1);
        assert!(!manager.set_state("/z", "active"), "it is not known");
        assert!(manager.set_state("/a", "of a later systemd"));
        assert_eq!(manager.counts().iter().sum::<u64>(), 2);
        manager.unloaded("/c");
        assert_eq!(count(&manager, "active"), 0);
    }

    #[test]
    fn a_list_keeps_what_is_known_of_those_that_stay() {
        let mut manager = three();
        manager.set_restarts("/a", 4);
        manager.set_restarts("/b", 5);
        manager.list([row("a.service", "/a", "inactive")].into_iter());
        assert_eq!(manager.restarts().collect::<Vec<_>>(), [("a.service", 4)]);
        assert_eq!(manager.counts().iter().sum::<u64>(), 1);
    }

    /// Which services are asked for their restarts: those that may have had some.
    #[test]
    fn a_service_that_was_just_loaded_has_had_no_restart() {
        let mut manager = three();
        manager.loaded("new.service", "/new");
        manager.loaded("up.service", "/up");
        assert_eq!(manager.counts().iter().sum::<u64>(), 3, "not asked for yet");
        let ask = manager.refresh(
            [
                row("new.service", "/new", "inactive"),
                row("up.service", "/up", "activating"),
                row("c.mount", "/c", "inactive"),
                row("gone.service", "/gone", "active"),
            ]
            .into_iter(),
        );
        assert_eq!(ask, ["/up".into()]);
        assert_eq!(manager.restarts().collect::<Vec<_>>(), [("new.service", 0)]);
        manager.set_restarts("/new", 7);
        manager.refresh([row("new.service", "/new", "inactive")].into_iter());
        assert_eq!(manager.restarts().collect::<Vec<_>>(), [("new.service", 7)]);
    }

    #[test]
    fn a_job_counts_once_however_often_it_is_told_of() {
        let mut manager = Manager::default();
        manager.list_jobs([1, 2].into_iter());
        manager.job_begun(2);
        manager.job_begun(3);
        assert_eq!(manager.jobs(), 3);
        manager.job_ended(2);
        manager.job_ended(99);
        assert_eq!(manager.jobs(), 2);
    }

    #[test]
    fn units_are_bounded() {
        let names: Vec<_> = (0..MAX_UNITS + 3).map(|n| format!("/{n}")).collect();
        let mut manager = Manager::default();
        manager.list(names.iter().map(|name| row("x.mount", name, "active")));
        assert_eq!(manager.cut(), 3);
        manager.loaded("y.mount", "/y");
        assert_eq!(count(&manager, "active"), MAX_UNITS as u64);
        assert!(!manager.set_state("/y", "active"));
    }

    /// The stamps of a laptop, and what `systemd-analyze time` said of them.
    #[test]
    fn every_part_is_between_its_stamps() {
        let stamps = Stamps {
            firmware: 9_000_000,
            loader: 2_500_000,
            kernel_realtime: 1_700_000_000_000_000,
            initrd: 1_200_000,
            userspace: 4_000_000,
            finish: 14_000_001,
            soft_reboots: 0,
        };
        assert_eq!(
            BootTimes::new(&stamps),
            BootTimes {
                firmware: Some(6_500_000),
                loader: Some(2_500_000),
                kernel: Some(1_200_000),
                initrd: Some(2_800_000),
                userspace: Some(10_000_001),
            }
        );
        let without_initrd = Stamps {
            firmware: 0,
            loader: 0,
            initrd: 0,
            ..stamps
        };
        assert_eq!(
            BootTimes::new(&without_initrd),
            BootTimes {
                kernel: Some(4_000_000),
                userspace: Some(10_000_001),
                ..BootTimes::default()
            }
        );
    }

    #[test]
    fn what_there_was_not_is_left_out() {
        let stamps = Stamps {
            kernel_realtime: 1,
            userspace: 500,
            finish: 0,
            ..Stamps::default()
        };
        assert_eq!(BootTimes::new(&stamps), BootTimes::default());
        let container = Stamps {
            kernel_realtime: 0,
            userspace: 77_000,
            finish: 99_000,
            ..Stamps::default()
        };
        let only_userspace = BootTimes {
            userspace: Some(22_000),
            ..BootTimes::default()
        };
        assert_eq!(BootTimes::new(&container), only_userspace);
        let again = Stamps {
            kernel_realtime: 1,
            soft_reboots: 1,
            ..container
        };
        assert_eq!(BootTimes::new(&again), only_userspace);
        let odd = Stamps {
            kernel_realtime: 1,
            firmware: 1,
            loader: 2,
            initrd: 100,
            userspace: 50,
            finish: 40,
            soft_reboots: 0,
        };
        assert_eq!(
            BootTimes::new(&odd),
            BootTimes {
                loader: Some(2),
                kernel: Some(100),
                ..BootTimes::default()
            }
        );
    }
}
