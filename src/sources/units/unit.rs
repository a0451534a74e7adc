//! One unit: what its cgroup's files said, and which of them have to be read again.
//!
//! Most services of a host do nothing between two samples, and most of what their files say cannot
//! have changed then. [`Unit::read`] decides by `cpu.stat` and `memory.current`, which it always
//! reads first, together with `io.stat` (what a unit wrote reaches the disk when it sleeps again).
//! If neither the CPU time nor the memory has changed, no task of the unit ran, so that it
//!
//! - began or ended no task,
//! - neither allocated nor freed memory; reclaim by others reduces `memory.current`, and moves
//!   nothing between `anon`, `file` and swap that does not;
//! - began or ended no wait. It may still be in an earlier one, so its pressures are read until
//!   they do not change either: then all its tasks sleep, and none waits for anything.
//!
//! Such a unit is at rest. What remains is what others do to it: a task that is moved into or out
//! of its cgroup, or gets no CPU at all after it was woken, a process that was killed and has not
//! died yet, a controller that is enabled. So everything is still read in each [`REST`]th sample.

use super::{
    files::{Cgroup, File, Found, Reader, Room},
    parse::{self, CpuStat, IoStat, MemoryStat, Pressure},
    tree,
};

/// So many samples at most pass until a unit at rest is read in full. At the default
/// interval of 5 s this is two minutes; reading it in full costs about ten times as much.
pub(super) const REST: u64 = 24;

/// What a unit's cgroup says; None if it does not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Values {
    pub(super) cpu: CpuStat,
    pub(super) memory: Option<u64>,
    pub(super) memory_peak: Option<u64>,
    pub(super) memory_swap: Option<u64>,
    pub(super) memory_stat: MemoryStat,
    pub(super) oom_kills: Option<u64>,
    pub(super) io: Option<IoStat>,
    pub(super) tasks: Option<u64>,
    pub(super) pressures: Pressures,
}

/// What the tasks of a unit wait for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Pressures {
    pub(super) cpu: Pressure,
    pub(super) memory: Pressure,
    pub(super) io: Pressure,
}

/// How a unit is found at a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// It was not read in full since it was found or since a reading failed.
    New,
    /// Its values are those of the last sample.
    Busy,
    /// They are still true while CPU time and memory do not change.
    AtRest,
}

/// A unit that is reported.
#[derive(Debug)]
pub(super) struct Unit {
    name: String,
    inode: u64,
    cgroup: Cgroup,
    state: State,
    values: Values,
    /// What it is chosen by, where there are too many.
    weight: u64,
}

impl Unit {
    /// One that was found.
    pub(super) fn new(found: tree::Found) -> Self {
        Self {
            name: found.name,
            inode: found.inode,
            cgroup: Cgroup::new(found.path),
            state: State::New,
            values: Values::default(),
            weight: 0,
        }
    }

    /// Its name, as systemd has it.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Returns true if this is the cgroup that was found.
    pub(super) fn is(&self, found: &tree::Found) -> bool {
        self.inode == found.inode && self.cgroup.path() == found.path
    }

    /// How many of its files are open, as [`Cgroup::kept`] counts them.
    pub(super) fn kept(&self) -> (usize, usize) {
        self.cgroup.kept()
    }

    /// What the last [`read`](Self::read) has found.
    pub(super) fn values(&self) -> &Values {
        &self.values
    }

    /// Reads what may have changed, for the sample of this number; returns false if the unit is
    /// gone. A file that is odd costs only its own values.
    pub(super) fn read(&mut self, reader: &mut Reader, round: u64, room: &mut Room<'_>) -> bool {
        // Not all units in the same sample, so that none costs more than the others.
        let full = self.inode.wrapping_add(round).is_multiple_of(REST);
        let before = std::mem::replace(&mut self.state, State::New);
        if full {
            self.cgroup.look_again();
        }
        let cgroup = &mut self.cgroup;
        let cpu = reader.read(cgroup, File::CpuStat, true, room, parse::cpu_stat);
        if cpu == Found::Missing {
            return false;
        }
        let cpu = cpu.values().unwrap_or_default();
        let memory = reader.read(cgroup, File::MemoryCurrent, true, room, parse::bytes);
        let known = cpu.usage.is_some() && memory != Found::Odd;
        let memory = memory.values();
        let io = reader.read(cgroup, File::IoStat, true, room, parse::io_stat);
        self.values.io = io.values();
        // An unknown value cannot show that nothing moved.
        let still =
            known && before != State::New && (cpu, memory) == (self.values.cpu, self.values.memory);
        if still && before == State::AtRest && !full {
            self.state = State::AtRest;
            return true;
        }
        let pressures = self.values.pressures;
        self.values.cpu = cpu;
        self.values.memory = memory;
        self.read_others(reader, before != State::AtRest, room);
        self.state = if still && pressures == self.values.pressures {
            State::AtRest
        } else {
            State::Busy
        };
        if before == State::AtRest && self.state == State::AtRest {
            self.cgroup.close_seldom_read();
        }
        true
    }

    /// Everything that is not read for every sample.
    fn read_others(&mut self, reader: &mut Reader, stay: bool, room: &mut Room<'_>) {
        let cgroup = &mut self.cgroup;
        let values = &mut self.values;
        let mut bytes = |file| reader.read(cgroup, file, stay, room, parse::bytes).values();
        values.memory_peak = bytes(File::MemoryPeak);
        values.memory_swap = bytes(File::MemorySwapCurrent);
        let tasks = reader.read(cgroup, File::PidsCurrent, stay, room, parse::tasks);
        values.tasks = tasks.values();
        let memory = reader.read(cgroup, File::MemoryStat, stay, room, parse::memory_stat);
        values.memory_stat = memory.values().unwrap_or_default();
        let events = reader.read(cgroup, File::MemoryEvents, stay, room, parse::oom_kills);
        values.oom_kills = events.values().flatten();
        let mut pressure = |file| {
            let pressure = reader.read(cgroup, file, stay, room, parse::pressure);
            pressure.values().unwrap_or_default()
        };
        values.pressures = Pressures {
            cpu: pressure(File::CpuPressure),
            memory: pressure(File::MemoryPressure),
            io: pressure(File::IoPressure),
        };
    }

    /// Reads its memory, to be chosen by; 0 where that is not known.
    pub(super) fn weigh(&mut self, reader: &mut Reader, room: &mut Room<'_>) {
        let cgroup = &mut self.cgroup;
        let memory = reader.read(cgroup, File::MemoryCurrent, false, room, parse::bytes);
        self.weight = memory.values().unwrap_or(0);
    }

    /// What [`weigh`](Self::weigh) has read, in bytes.
    pub(super) fn weight(&self) -> u64 {
        self.weight
    }

    /// It is reported no longer, for now.
    pub(super) fn forget(&mut self) {
        self.cgroup.close();
        self.state = State::New;
    }
}
