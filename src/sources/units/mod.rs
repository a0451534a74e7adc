//! `unit.*` of every service, scope and slice, by unit name, from cgroup v2 (cgroup-v2.rst in the
//! kernel's documentation).
//!
//! Owns which units are reported: those of the system's manager that the settings admit; if there
//! are too many, those with the most memory. Does not report what is below a service (a user's
//! manager, a container), nor the root, whose values are the host's.
//!
//! What a cgroup lacks, because its controllers are not enabled for it, is left out. The counts are
//! the cgroup's: they start over when a unit is restarted. The sums over devices count a request
//! once for each layer that it passes, as `systemctl show` does. A file of a unit that cannot be
//! read or makes no sense costs only its own values. A unit that vanishes while it is read is no
//! error; a host on which cgroup v2 is not the only hierarchy has no units and no error either.

mod files;
pub mod parse;
#[cfg(test)]
mod tests;
mod tree;
mod unit;

use std::{
    cmp::{Ordering, Reverse},
    path::PathBuf,
};

use self::{
    files::{Reader, Room},
    tree::Tree,
    unit::{REST, Unit},
};
use super::{Context, Grid, Sink, Source, error::CollectError, odd::LeftOut, options::UnitOptions};
use crate::metrics::table::{
    UNIT_CPU, UNIT_CPU_SYSTEM, UNIT_CPU_THROTTLED, UNIT_CPU_USER, UNIT_IO_READ_BYTES,
    UNIT_IO_READS, UNIT_IO_WRITE_BYTES, UNIT_IO_WRITES, UNIT_MEMORY, UNIT_MEMORY_ANON,
    UNIT_MEMORY_FILE, UNIT_MEMORY_PEAK, UNIT_MEMORY_SWAP, UNIT_OOM_KILLS, UNIT_PRESSURE_CPU_SOME,
    UNIT_PRESSURE_IO_FULL, UNIT_PRESSURE_IO_SOME, UNIT_PRESSURE_MEMORY_FULL,
    UNIT_PRESSURE_MEMORY_SOME, UNIT_TASKS,
};

/// Where systemd mounts the tree.
const TREE: &str = "/sys/fs/cgroup";

/// Why a host has no units at all. Every host with cgroup v2 and systemd has some.
const NO_CGROUP2: &str = "no cgroup v2 at /sys/fs/cgroup, or not alone (hybrid hierarchy): \
    services have no values; boot with systemd.unified_cgroup_hierarchy=1";

/// Reads the units' cgroups.
#[derive(Debug)]
pub struct UnitsSource {
    options: UnitOptions,
    tree: Tree,
    reader: Reader,
    /// Those that are reported, ordered by name.
    units: Vec<Unit>,
    /// Those that there is no room for, ordered by name.
    others: Vec<Unit>,
    /// How many were not even looked at.
    unseen: usize,
    /// How many samples there were.
    round: u64,
    /// The root is not that of a cgroup v2 tree.
    foreign: bool,
}

impl UnitsSource {
    /// One for the units below the root of `context`.
    #[must_use]
    pub fn open(context: &Context) -> Self {
        Self::of_tree(context.root.path(TREE), context.options.units.clone())
    }

    /// One for the cgroup tree that is mounted on `base`.
    #[must_use]
    pub fn of_tree(base: PathBuf, options: UnitOptions) -> Self {
        Self {
            options,
            tree: Tree::new(base.clone()),
            reader: Reader::new(base),
            units: Vec::new(),
            others: Vec::new(),
            unseen: 0,
            round: 0,
            foreign: false,
        }
    }

    /// Finds the units again. What is known of those that are still there is kept.
    fn find(&mut self, left_out: &mut LeftOut) -> Result<(), CollectError> {
        let names = &self.options.names;
        let (found, unseen) = self.tree.walk(|name| names.admits(name), left_out)?;
        self.unseen = unseen;
        let mut reported = std::mem::take(&mut self.units).into_iter().peekable();
        let mut others = std::mem::take(&mut self.others).into_iter().peekable();
        for found in found {
            let mut old = None;
            for (list, was_reported) in [(&mut reported, true), (&mut others, false)] {
                while let Some(unit) = list.next_if(|unit| *unit.name() <= *found.name) {
                    if unit.is(&found) {
                        old = Some((unit, was_reported));
                    }
                }
            }
            match old {
                Some((unit, true)) => self.units.push(unit),
                Some((unit, false)) => self.others.push(unit),
                None => self.others.push(Unit::new(found)),
            }
        }
        Ok(())
    }

    /// Fills the room that there is; from time to time, where there is too little, with those
    /// that have the most memory.
    fn choose(&mut self, room: &mut Room<'_>) {
        if self.others.is_empty() {
            return;
        }
        let space = self.options.max.saturating_sub(self.units.len());
        if self.others.len() > space && self.round.is_multiple_of(REST) {
            for unit in self.units.iter_mut().chain(&mut self.others) {
                unit.weigh(&mut self.reader, room);
            }
            self.units.append(&mut self.others);
            self.units.sort_by_key(|unit| Reverse(unit.weight()));
            let rest = self.options.max.min(self.units.len());
            self.others.extend(self.units.drain(rest..));
            self.others.sort_by(by_name);
            self.others.iter_mut().for_each(Unit::forget);
        } else if space > 0 {
            let moved = space.min(self.others.len());
            self.units.extend(self.others.drain(..moved));
        }
        self.units.sort_by(by_name);
    }

    /// Reads every unit that is reported; those that are gone are reported no longer.
    fn read(&mut self, room: &mut Room<'_>) {
        let (round, reader) = (self.round, &mut self.reader);
        self.units.retain_mut(|unit| unit.read(reader, round, room));
    }
}

impl Source for UnitsSource {
    fn collect(&mut self, scratch: &mut Vec<u8>, sink: &mut Sink<'_>) -> Result<(), CollectError> {
        if sink.grid() == Grid::Model {
            return Ok(());
        }
        let mut left_out = LeftOut::default();
        if self.tree.changed(scratch) {
            self.foreign = self.tree.is_foreign();
            self.find(&mut left_out)?;
        }
        let mut room = Room {
            buffer: scratch,
            left_out: &mut left_out,
        };
        self.choose(&mut room);
        self.reader.begin(self.units.iter().map(Unit::kept));
        self.read(&mut room);
        self.round = self.round.wrapping_add(1);
        for unit in &self.units {
            report(unit, sink);
        }
        sink.left_out_all(&mut left_out);
        sink.cut(self.others.len() + self.unseen);
        Ok(())
    }

    fn lack(&self) -> Option<&'static str> {
        self.foreign.then_some(NO_CGROUP2)
    }
}

fn by_name(one: &Unit, two: &Unit) -> Ordering {
    one.name().cmp(two.name())
}

fn report(unit: &Unit, sink: &mut Sink<'_>) {
    let values = unit.values();
    let pressures = &values.pressures;
    let io = values.io.as_ref();
    let all = [
        (&UNIT_CPU, values.cpu.usage),
        (&UNIT_CPU_USER, values.cpu.user),
        (&UNIT_CPU_SYSTEM, values.cpu.system),
        (&UNIT_CPU_THROTTLED, values.cpu.throttled),
        (&UNIT_MEMORY, values.memory),
        (&UNIT_MEMORY_PEAK, values.memory_peak),
        (&UNIT_MEMORY_SWAP, values.memory_swap),
        (&UNIT_MEMORY_ANON, values.memory_stat.anon),
        (&UNIT_MEMORY_FILE, values.memory_stat.file),
        (&UNIT_IO_READ_BYTES, io.and_then(|io| io.read_bytes)),
        (&UNIT_IO_WRITE_BYTES, io.and_then(|io| io.write_bytes)),
        (&UNIT_IO_READS, io.and_then(|io| io.reads)),
        (&UNIT_IO_WRITES, io.and_then(|io| io.writes)),
        (&UNIT_TASKS, values.tasks),
        (&UNIT_PRESSURE_CPU_SOME, pressures.cpu.some),
        (&UNIT_PRESSURE_MEMORY_SOME, pressures.memory.some),
        (&UNIT_PRESSURE_MEMORY_FULL, pressures.memory.full),
        (&UNIT_PRESSURE_IO_SOME, pressures.io.some),
        (&UNIT_PRESSURE_IO_FULL, pressures.io.full),
        (&UNIT_OOM_KILLS, values.oom_kills),
    ];
    sink.unsigned_all_of(unit.name(), all);
}
