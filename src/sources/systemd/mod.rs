//! `systemd.*` and `unit.restarts.total`: the service manager, over D-Bus
//! (org.freedesktop.systemd1(5)).
//!
//! Everything is listed once and kept current by signals ([`listen`]): a sample reads what is known
//! and makes no calls. None of this ever makes the manager load a unit.
//!
//! The manager's state is not announced, so it is asked for when something changed that it depends
//! on. A host without systemd, or without a bus, has no values, and an error that says so.

mod due;
mod listen;
pub mod manager;
mod signals;
#[cfg(test)]
mod tests;

use super::{
    Context, Grid, Sink, Source, bus::Followed, error::CollectError, options::UnitOptions,
};
use crate::metrics::table::{
    SYSTEMD_BOOT_FIRMWARE, SYSTEMD_BOOT_INITRD, SYSTEMD_BOOT_KERNEL, SYSTEMD_BOOT_LOADER,
    SYSTEMD_BOOT_USERSPACE, SYSTEMD_FAILED, SYSTEMD_JOBS, SYSTEMD_STATE, SYSTEMD_UNITS,
    SYSTEMD_VERSION, UNIT_RESTARTS,
};
use listen::Listener;
use manager::{MANAGER_STATES, Manager, UNIT_STATES};

/// Most failed units that are named. Where more have failed, something else is wrong; how
/// many there are is in `systemd.units[failed]`.
const MAX_FAILED: usize = 100;

/// Reports what is known of the manager.
pub struct SystemdSource {
    manager: Followed<Manager>,
    units: UnitOptions,
}

impl SystemdSource {
    /// One that listens from now on, where there is a runtime.
    #[must_use]
    pub fn open(context: &Context) -> Self {
        Self {
            manager: Followed::new(context, Listener::new),
            units: context.options.units.clone(),
        }
    }
}

impl Source for SystemdSource {
    fn ready(&self) -> bool {
        self.manager.is_settled()
    }

    fn collect(&mut self, _scratch: &mut Vec<u8>, sink: &mut Sink<'_>) -> Result<(), CollectError> {
        let units = &self.units;
        self.manager.read(|manager| report(manager, units, sink))?;
        Ok(())
    }
}

fn report(manager: &Manager, options: &UnitOptions, sink: &mut Sink<'_>) {
    if sink.grid() != Grid::Model {
        report_state(manager, options, sink);
    }
    let boot = manager.boot;
    sink.unsigned_all([
        (&SYSTEMD_BOOT_FIRMWARE, boot.firmware),
        (&SYSTEMD_BOOT_LOADER, boot.loader),
        (&SYSTEMD_BOOT_KERNEL, boot.kernel),
        (&SYSTEMD_BOOT_INITRD, boot.initrd),
        (&SYSTEMD_BOOT_USERSPACE, boot.userspace),
    ]);
    if !manager.version.is_empty() {
        sink.text(&SYSTEMD_VERSION, &manager.version);
    }
}

fn report_state(manager: &Manager, options: &UnitOptions, sink: &mut Sink<'_>) {
    let state = manager.state.as_str();
    for name in MANAGER_STATES {
        sink.unsigned_of(&SYSTEMD_STATE, name, u64::from(name == state));
    }
    if !state.is_empty() && !MANAGER_STATES.contains(&state) {
        sink.unsigned_of(&SYSTEMD_STATE, state, 1);
    }
    for (name, count) in UNIT_STATES.into_iter().zip(manager.counts()) {
        sink.unsigned_of(&SYSTEMD_UNITS, name, count);
    }
    let mut failed = manager.failed();
    for unit in failed.by_ref().take(MAX_FAILED) {
        sink.unsigned_of(&SYSTEMD_FAILED, unit, 1);
    }
    let mut cut = failed.count() + manager.cut();
    sink.unsigned(&SYSTEMD_JOBS, manager.jobs() as u64);
    let mut room = options.max;
    for (unit, restarts) in manager.restarts() {
        if !options.names.admits(unit) {
            continue;
        }
        match room.checked_sub(1) {
            Some(left) => {
                room = left;
                sink.unsigned_of(&UNIT_RESTARTS, unit, u64::from(restarts));
            }
            None => cut += 1,
        }
    }
    if cut > 0 {
        sink.cut(cut);
    }
}
