//! All that is known of one host, sorted by topic. Pure.

use std::collections::BTreeMap;

use super::host::Host;
use super::rates::Rates;
use crate::base::quantity::long_span;
use crate::protocol::grid::{Grid, Value};

/// One host.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Detail {
    /// Names and values of the inventory, for people.
    pub facts: Vec<(&'static str, String)>,
    /// Shares of CPU time by mode, in percent, in the order of [`CPU_MODES`].
    pub cpu_modes: Vec<(&'static str, f64)>,
    /// Memory, where it is known.
    pub memory: Memory,
    /// What its tasks do.
    pub tasks: Tasks,
    /// By device.
    pub disks: BTreeMap<String, Disk>,
    /// By mount.
    pub filesystems: BTreeMap<String, Filesystem>,
    /// By interface.
    pub interfaces: BTreeMap<String, Interface>,
    /// By unit: services and scopes, no slices.
    pub units: BTreeMap<String, Unit>,
    /// Temperatures by sensor, in °C.
    pub temperatures: BTreeMap<String, f64>,
    /// Units that have failed.
    pub failed: Vec<String>,
    /// Whether there is anything but the inventory.
    pub known: bool,
}

/// Modes of CPU time, and the metrics that count them.
pub const CPU_MODES: [(&str, &str); 8] = [
    ("user", "cpu.user.total"),
    ("system", "cpu.system.total"),
    ("nice", "cpu.nice.total"),
    ("iowait", "cpu.iowait.total"),
    ("irq", "cpu.irq.total"),
    ("softirq", "cpu.softirq.total"),
    ("steal", "cpu.steal.total"),
    ("idle", "cpu.idle.total"),
];

/// How many tasks there are, and what they wait for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tasks {
    /// Averages of those that run or wait, over 1, 5 and 15 min.
    pub load: [Option<f64>; 3],
    /// Threads that run and that wait for a disk, and all.
    pub threads: [Option<f64>; 3],
    /// Shares of time in which they waited, by resource.
    pub pressure: BTreeMap<String, Pressure>,
}

/// Memory and swap, in kB.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Memory {
    /// All of it.
    pub total: Option<f64>,
    /// What could be had without swapping.
    pub available: Option<f64>,
    /// What nothing uses.
    pub free: Option<f64>,
    /// Buffers of block devices.
    pub buffers: Option<f64>,
    /// The page cache.
    pub cached: Option<f64>,
    /// What waits to be written.
    pub dirty: Option<f64>,
    /// Swap space.
    pub swap_total: Option<f64>,
    /// Swap space that nothing uses.
    pub swap_free: Option<f64>,
}

/// Shares of time in percent, over 10, 60 and 300 s.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pressure {
    /// Some task waited.
    pub some: [Option<f64>; 3],
    /// Every task waited.
    pub full: [Option<f64>; 3],
}

/// A disk; each per second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Disk {
    /// Bytes read.
    pub read: Option<f64>,
    /// Bytes written.
    pub written: Option<f64>,
    /// Reads.
    pub reads: Option<f64>,
    /// Writes.
    pub writes: Option<f64>,
    /// Share of time with requests under way, in percent.
    pub busy: Option<f64>,
}

/// A file system.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Filesystem {
    /// Bytes.
    pub size: Option<f64>,
    /// Bytes that are free.
    pub free: Option<f64>,
    /// Bytes that are free for all.
    pub available: Option<f64>,
    /// Inodes.
    pub inodes: Option<f64>,
    /// Inodes that are free.
    pub inodes_free: Option<f64>,
    /// Whether nothing can be written.
    pub readonly: bool,
    /// Whether it does not answer.
    pub stuck: bool,
}

impl Filesystem {
    /// The share that is in use, in percent, as df(1) has it.
    #[must_use]
    pub fn used(&self) -> Option<f64> {
        let used = self.size? - self.free?;
        let all = used + self.available.or(self.free)?;
        (all > 0.0).then(|| 100.0 * used / all)
    }

    /// The share of inodes that is in use, in percent.
    #[must_use]
    pub fn inodes_used(&self) -> Option<f64> {
        let all = self.inodes.filter(|all| *all > 0.0)?;
        Some(100.0 * (1.0 - self.inodes_free? / all))
    }
}

/// A network interface; each but the last two per second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Interface {
    /// Bytes received.
    pub received: Option<f64>,
    /// Bytes sent.
    pub sent: Option<f64>,
    /// Packets received.
    pub packets_received: Option<f64>,
    /// Packets sent.
    pub packets_sent: Option<f64>,
    /// Errors, both ways.
    pub errors: Option<f64>,
    /// Drops, both ways.
    pub drops: Option<f64>,
    /// Whether the link is up.
    pub up: Option<bool>,
    /// Mbit/s.
    pub speed: Option<f64>,
}

/// A service or scope.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Unit {
    /// Share of one CPU, in percent.
    pub cpu: Option<f64>,
    /// Bytes.
    pub memory: Option<f64>,
    /// Threads.
    pub tasks: Option<f64>,
    /// How often the manager has restarted it by itself.
    pub restarts: Option<f64>,
    /// Bytes read from and written to disks, per second.
    pub io: Option<f64>,
}

impl Detail {
    /// Sorts what is known of a host.
    pub(super) fn of(host: &Host, rates: Option<&Rates>) -> Self {
        let mut detail = Self::default();
        if let Some(model) = &host.kept.model {
            detail.take_model(model);
        }
        detail
            .facts
            .extend(host.uptime.map(|uptime| ("Uptime", long_span(uptime))));
        detail.take_row(host);
        for (name, value) in host.kept.metrics.iter() {
            detail.known = true;
            if let Some(number) = value.as_f64() {
                let rate = || rates.and_then(|rates| rates.get(name));
                match name.strip_suffix(']').and_then(|rest| rest.split_once('[')) {
                    Some((plain, instance)) => {
                        detail.take_instance(plain, instance, number, rate);
                    }
                    None => detail.take_number(name, number),
                }
            }
        }
        detail.take_cpu_modes(rates);
        detail
    }

    /// What the table shows is shown here, too, whether or not there was room for the rest.
    fn take_row(&mut self, host: &Host) {
        self.known |= host.cpu.busy.is_some() || host.memory.available.is_some();
        self.memory.available = host.memory.available;
        self.memory.swap_free = host.memory.swap_free;
        self.tasks.load[0] = host.tasks.load;
    }

    fn take_model(&mut self, model: &Grid) {
        let text = |name: &str| match model.get(name)? {
            Value::Text(text) if !text.is_empty() => Some(text.to_owned()),
            _ => None,
        };
        let number = |name: &str| super::readings::number(model, name);
        let system = text("host.os");
        self.facts.extend(system.map(|system| ("System", system)));
        let kernel = [text("host.kernel"), text("host.architecture")];
        let kernel: Vec<_> = kernel.into_iter().flatten().collect();
        if !kernel.is_empty() {
            self.facts.push(("Kernel", kernel.join(" ")));
        }
        let cpus = number("host.cpus").map(|cpus| format!("{cpus:.0}"));
        let model_name = text("host.cpu.model");
        let cpu: Vec<_> = [cpus, model_name].into_iter().flatten().collect();
        if !cpu.is_empty() {
            self.facts.push(("CPUs", cpu.join(" × ")));
        }
        let hardware = [text("host.vendor"), text("host.product")];
        let hardware: Vec<_> = hardware.into_iter().flatten().collect();
        if !hardware.is_empty() {
            self.facts.push(("Hardware", hardware.join(" ")));
        }
        let virt = text("host.virtualization").filter(|kind| kind != "none");
        self.facts.extend(virt.map(|kind| ("Virtual", kind)));
        let agent = text("agent.version");
        self.facts.extend(agent.map(|version| ("Agent", version)));
        // Some models say what metrics say, too; those come later, and count more.
        for (name, value) in model.iter() {
            if let Some(number) = value.as_f64() {
                self.take_number(name, number);
            }
        }
        self.memory.total = number("mem.total");
        self.memory.swap_total = number("mem.swap.total");
    }

    fn take_number(&mut self, name: &str, number: f64) {
        let slot = match name {
            "mem.avail" => &mut self.memory.available,
            "mem.free" => &mut self.memory.free,
            "mem.buffers" => &mut self.memory.buffers,
            "mem.cached" => &mut self.memory.cached,
            "mem.dirty" => &mut self.memory.dirty,
            "mem.swap.free" => &mut self.memory.swap_free,
            "load.1m" => &mut self.tasks.load[0],
            "load.5m" => &mut self.tasks.load[1],
            "load.15m" => &mut self.tasks.load[2],
            "proc.running" => &mut self.tasks.threads[0],
            "proc.blocked" => &mut self.tasks.threads[1],
            "proc.threads" => &mut self.tasks.threads[2],
            _ => return,
        };
        *slot = Some(number);
    }

    fn take_instance(
        &mut self,
        plain: &str,
        instance: &str,
        number: f64,
        rate: impl Fn() -> Option<f64>,
    ) {
        let (family, _) = plain.split_once('.').unwrap_or((plain, ""));
        match family {
            "pressure" => self.take_pressure(plain, instance, number),
            "disk" => self.take_disk(plain, instance, rate),
            "fs" => self.take_filesystem(plain, instance, number),
            "net" => self.take_interface(plain, instance, number, rate),
            "unit" => self.take_unit(plain, instance, number, rate),
            "sensor" if plain == "sensor.temperature" => {
                self.temperatures.insert(instance.to_owned(), number);
            }
            "systemd" if plain == "systemd.failed" && number != 0.0 => {
                self.failed.push(instance.to_owned());
            }
            _ => {}
        }
    }

    fn take_pressure(&mut self, plain: &str, resource: &str, number: f64) {
        let Some((which, window)) = plain
            .strip_prefix("pressure.")
            .and_then(|rest| rest.split_once('.'))
        else {
            return;
        };
        let window = match window {
            "avg10" => 0,
            "avg60" => 1,
            "avg300" => 2,
            _ => return,
        };
        let pressure = self.tasks.pressure.entry(resource.to_owned()).or_default();
        let shares = match which {
            "some" => &mut pressure.some,
            _ => &mut pressure.full,
        };
        if let Some(share) = shares.get_mut(window) {
            *share = Some(number);
        }
    }

    fn take_disk(&mut self, plain: &str, device: &str, rate: impl Fn() -> Option<f64>) {
        let disk = self.disks.entry(device.to_owned()).or_default();
        match plain {
            "disk.read.bytes.total" => disk.read = rate(),
            "disk.write.bytes.total" => disk.written = rate(),
            "disk.reads.total" => disk.reads = rate(),
            "disk.writes.total" => disk.writes = rate(),
            // ms in a second, of 1000.
            "disk.busy.total" => disk.busy = rate().map(|ms| (ms / 10.0).min(100.0)),
            _ => {}
        }
    }

    fn take_filesystem(&mut self, plain: &str, mount: &str, number: f64) {
        let filesystem = self.filesystems.entry(mount.to_owned()).or_default();
        match plain {
            "fs.size" => filesystem.size = Some(number),
            "fs.free" => filesystem.free = Some(number),
            "fs.avail" => filesystem.available = Some(number),
            "fs.inodes" => filesystem.inodes = Some(number),
            "fs.inodes.free" => filesystem.inodes_free = Some(number),
            "fs.readonly" => filesystem.readonly = number != 0.0,
            "fs.stuck" => filesystem.stuck = number != 0.0,
            _ => {}
        }
    }

    fn take_interface(
        &mut self,
        plain: &str,
        name: &str,
        number: f64,
        rate: impl Fn() -> Option<f64>,
    ) {
        let interface = self.interfaces.entry(name.to_owned()).or_default();
        let add = |slot: &mut Option<f64>| {
            if let Some(rate) = rate() {
                *slot.get_or_insert(0.0) += rate;
            }
        };
        match plain {
            "net.rx.bytes.total" => interface.received = rate(),
            "net.tx.bytes.total" => interface.sent = rate(),
            "net.rx.packets.total" => interface.packets_received = rate(),
            "net.tx.packets.total" => interface.packets_sent = rate(),
            "net.rx.errors.total" | "net.tx.errors.total" => add(&mut interface.errors),
            "net.rx.drops.total" | "net.tx.drops.total" => add(&mut interface.drops),
            "net.up" => interface.up = Some(number != 0.0),
            "net.speed" => interface.speed = Some(number),
            _ => {}
        }
    }

    fn take_unit(&mut self, plain: &str, name: &str, number: f64, rate: impl Fn() -> Option<f64>) {
        // A slice is what is in it once more.
        if name.strip_suffix(".slice").is_some() {
            return;
        }
        let unit = self.units.entry(name.to_owned()).or_default();
        match plain {
            // us in a second, of a million.
            "unit.cpu.total" => unit.cpu = rate().map(|us| us / 10_000.0),
            "unit.memory" => unit.memory = Some(number),
            "unit.tasks" => unit.tasks = Some(number),
            "unit.restarts.total" => unit.restarts = Some(number),
            "unit.io.read.bytes.total" | "unit.io.write.bytes.total" => {
                if let Some(rate) = rate() {
                    *unit.io.get_or_insert(0.0) += rate;
                }
            }
            _ => {}
        }
    }

    fn take_cpu_modes(&mut self, rates: Option<&Rates>) {
        let Some(rates) = rates else {
            return;
        };
        let modes: Vec<_> = CPU_MODES
            .into_iter()
            .filter_map(|(mode, metric)| Some((mode, rates.get(metric)?)))
            .collect();
        let all: f64 = modes.iter().map(|(_, rate)| rate).sum();
        if all > 0.0 {
            let share = |(mode, rate)| (mode, 100.0 * rate / all);
            self.cpu_modes = modes.into_iter().map(share).collect();
        }
    }
}
