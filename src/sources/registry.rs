//! The one list of metric collectors.

use crate::base::text::shown;
use crate::metrics::table::{
    AGENT, CONNTRACK, CPU, DISK, FILESYSTEM, INVENTORY, LOAD, LOGINS, MEMINFO, NETWORK, PRESSURE,
    PROCESSES, SENSORS, SOCKETS, SYSTEMD, TIME, UNITS, UPTIME, VMSTAT,
};
use crate::sources::{
    Collector, agent, conntrack, context::Context, cpu, disk, filesystem, inventory, load, logins,
    meminfo, network, pressure, processes, sensors, sockets, systemd, time, units, uptime, vmstat,
};

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

/// There is no metric collector of this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "no metric collector is named \"{}\"; there are {}",
    shown(name),
    known()
)]
pub struct UnknownCollector {
    /// The name asked for.
    pub name: String,
}

fn known() -> String {
    names().collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::metrics::table::METRICS;

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
    fn an_unknown_name_is_answered_with_those_that_are_known() {
        let unknown = UnknownCollector {
            name: "cpus".into(),
        };
        assert!(
            unknown
                .to_string()
                .starts_with("no metric collector is named \"cpus\"; there are uptime, meminfo, ")
        );
    }
}
