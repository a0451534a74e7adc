//! What a metric and a metric collector are, and the one list of metric collectors. The
//! metrics themselves are in [`table`](super::table).

use super::{
    Collector, agent, conntrack,
    context::Context,
    cpu, disk, filesystem, inventory, load, logins, meminfo, network, pressure, processes, sensors,
    sockets, systemd,
    table::{
        AGENT, CONNTRACK, CPU, DISK, FILESYSTEM, INVENTORY, LOAD, LOGINS, MEMINFO, METRICS,
        NETWORK, PRESSURE, PROCESSES, SENSORS, SOCKETS, SYSTEMD, TIME, UNITS, UPTIME, VMSTAT,
    },
    time, units, uptime, vmstat,
};

/// How a metric's value behaves over time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A value that goes up and down.
    Gauge,
    /// A count since boot that only grows, but for a wrap or a reset; its name ends in
    /// `.total`.
    Counter,
    /// A fact of the inventory, as text.
    Info,
}

impl Kind {
    /// The word for it that documentation and `ListMetrics` use.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gauge => "gauge",
            Self::Counter => "counter",
            Self::Info => "info",
        }
    }
}

/// What a metric means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    /// The name on the wire, without an instance.
    pub name: &'static str,
    /// What an instance in brackets is, such as `device`; None where there is but one value.
    pub instance: Option<&'static str>,
    /// The unit; empty for a number without one and for text.
    pub unit: &'static str,
    /// How it behaves over time.
    pub kind: Kind,
    /// One phrase for a person.
    pub description: &'static str,
    /// Whether it is part of `metrics` messages.
    pub in_metrics: bool,
    /// Whether it is part of `model` messages.
    pub in_model: bool,
    /// The name of the collector that reads it.
    pub collector: &'static str,
}

/// What a metric collector is.
#[derive(Debug, Clone, Copy)]
pub struct CollectorDefinition {
    /// Its name in settings and on the bus.
    pub name: &'static str,
    /// One phrase for a person.
    pub description: &'static str,
    /// Whether it runs where the settings name no collectors.
    pub default: bool,
    /// Makes one.
    pub(super) open: fn(&Context) -> Box<dyn Collector>,
}

/// Every metric collector known, in the order in which they run.
pub static COLLECTORS: &[CollectorDefinition] = &[
    CollectorDefinition {
        name: UPTIME,
        description: "Time since boot, from /proc/uptime, and the id of this boot",
        default: true,
        open: |context| Box::new(uptime::UptimeCollector::open(&context.root)),
    },
    CollectorDefinition {
        name: MEMINFO,
        description: "Memory and swap, from /proc/meminfo",
        default: true,
        open: |context| Box::new(meminfo::MeminfoCollector::open(&context.root)),
    },
    CollectorDefinition {
        name: VMSTAT,
        description: "Page faults, swapping and the OOM killer, from /proc/vmstat",
        default: true,
        open: |context| Box::new(vmstat::VmstatCollector::open(&context.root)),
    },
    CollectorDefinition {
        name: CPU,
        description: "CPU time, context switches and interrupts, from /proc/stat",
        default: true,
        open: |context| Box::new(cpu::CpuCollector::open(context)),
    },
    CollectorDefinition {
        name: LOAD,
        description: "Load averages and threads, from /proc/loadavg",
        default: true,
        open: |context| Box::new(load::LoadCollector::open(&context.root)),
    },
    CollectorDefinition {
        name: PRESSURE,
        description: "How long tasks wait for CPU, memory and I/O, from /proc/pressure",
        default: true,
        open: |context| Box::new(pressure::PressureCollector::open(&context.root)),
    },
    CollectorDefinition {
        name: DISK,
        description: "Block devices: reads, writes, discards and flushes, from /proc/diskstats",
        default: true,
        open: |context| Box::new(disk::DiskCollector::open(context)),
    },
    CollectorDefinition {
        name: FILESYSTEM,
        description: "Room in file systems, from /proc/self/mountinfo and statvfs",
        default: true,
        open: |context| Box::new(filesystem::FilesystemCollector::open(context)),
    },
    CollectorDefinition {
        name: NETWORK,
        description: "Network interfaces: traffic, from /proc/net/dev, state and speed",
        default: true,
        open: |context| Box::new(network::NetworkCollector::open(context)),
    },
    CollectorDefinition {
        name: SOCKETS,
        description: "Sockets, TCP and UDP, from /proc/net",
        default: true,
        open: |context| Box::new(sockets::SocketsCollector::open(context)),
    },
    CollectorDefinition {
        name: CONNTRACK,
        description: "Connections that the firewall follows, from /proc/sys/net/netfilter",
        default: true,
        open: |context| Box::new(conntrack::ConntrackCollector::open(context)),
    },
    CollectorDefinition {
        name: SYSTEMD,
        description: "The service manager: its state, units, failures and restarts, over D-Bus",
        default: true,
        open: |context| Box::new(systemd::SystemdCollector::open(context)),
    },
    CollectorDefinition {
        name: UNITS,
        description: "Services, scopes and slices, from their cgroups",
        default: true,
        open: |context| Box::new(units::UnitsCollector::open(context)),
    },
    CollectorDefinition {
        name: TIME,
        description: "Whether the clock is in step, from the kernel, timesyncd or timedated",
        default: true,
        open: |context| Box::new(time::TimeCollector::open(context)),
    },
    CollectorDefinition {
        name: SENSORS,
        description: "Temperatures, fans, voltages, currents and powers, from hwmon and thermal zones",
        default: true,
        open: |context| Box::new(sensors::SensorsCollector::open(context)),
    },
    CollectorDefinition {
        name: PROCESSES,
        description: "Processes by state, and those that use most, from /proc/PID/stat",
        default: true,
        open: |context| Box::new(processes::ProcessesCollector::open(context)),
    },
    CollectorDefinition {
        name: LOGINS,
        description: "Sessions and users, from logind over D-Bus",
        default: true,
        open: |context| Box::new(logins::LoginsCollector::open(context)),
    },
    CollectorDefinition {
        name: INVENTORY,
        description: "What the host is: system, hardware, interfaces and disks",
        default: true,
        open: |context| Box::new(inventory::InventoryCollector::open(context)),
    },
    CollectorDefinition {
        name: AGENT,
        description: "The agent itself: what it costs, sends and loses",
        default: true,
        open: |context| Box::new(agent::AgentCollector::open(context)),
    },
];

/// The names of every metric collector known.
#[must_use]
pub fn names() -> impl ExactSizeIterator<Item = &'static str> {
    COLLECTORS.iter().map(|collector| collector.name)
}

/// The collectors that run where the settings name none.
#[must_use]
pub fn default_names() -> Vec<&'static str> {
    COLLECTORS
        .iter()
        .filter(|collector| collector.default)
        .map(|collector| collector.name)
        .collect()
}

/// The definition of a metric; an instance in brackets is not part of its name here.
#[must_use]
pub fn metric(name: &str) -> Option<&'static Definition> {
    let plain = name.split_once('[').map_or(name, |(plain, _)| plain);
    METRICS
        .iter()
        .copied()
        .find(|definition| definition.name == plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// The contract with deployed collectors and clients: name, unit, grids.
    #[test]
    fn the_table_holds_the_names_that_deployed_clients_rely_on() {
        for row in [
            ("sys.uptime", "s", true, true),
            ("mem.total", "kB", false, true),
            ("mem.free", "kB", true, true),
            ("mem.avail", "kB", true, true),
            ("mem.buffers", "kB", true, true),
            ("mem.cached", "kB", true, true),
            ("mem.swap.total", "kB", false, true),
            ("mem.swap.free", "kB", true, false),
            ("mem.dirty", "kB", true, false),
            ("mem.writeback", "kB", true, false),
            ("cpu.percent", "%", true, true),
        ] {
            let m = metric(row.0).unwrap();
            assert_eq!(row, (m.name, m.unit, m.in_metrics, m.in_model));
            assert_eq!((m.instance, m.kind), (None, Kind::Gauge), "{}", m.name);
        }
    }

    #[test]
    fn text_is_only_in_the_model() {
        for metric in METRICS.iter().filter(|m| m.kind == Kind::Info) {
            assert!(metric.in_model && !metric.in_metrics, "{}", metric.name);
        }
    }

    #[test]
    fn names_are_unique_and_every_row_belongs_to_a_collector() {
        let unique: BTreeSet<_> = METRICS.iter().map(|m| m.name).collect();
        assert_eq!(unique.len(), METRICS.len());
        let collectors: BTreeSet<_> = names().collect();
        assert_eq!(collectors.len(), COLLECTORS.len());
        let used: BTreeSet<_> = METRICS.iter().map(|m| m.collector).collect();
        assert_eq!(used, collectors);
    }

    #[test]
    fn counters_and_only_they_end_in_total() {
        for metric in METRICS {
            // The two sizes were named before the rule and keep their names.
            let old = ["mem.total", "mem.swap.total"].contains(&metric.name);
            assert_eq!(
                metric.name.strip_suffix(".total").is_some() && !old,
                metric.kind == Kind::Counter,
                "{}",
                metric.name
            );
        }
    }

    #[test]
    fn a_metric_is_found_with_and_without_an_instance() {
        assert_eq!(metric("mem.free").unwrap().unit, "kB");
        assert_eq!(metric("cpu.percent[0]").unwrap().name, "cpu.percent");
        assert_eq!(metric("mem"), None);
        assert_eq!(Kind::Gauge.as_str(), "gauge");
    }
}
