//! The one list of sources.

use crate::base::text::shown;
use crate::metrics::table::{
    AGENT, CONNTRACK, CPU, DISK, FILESYSTEM, INVENTORY, LOAD, LOGINS, MEMINFO, NETWORK, PRESSURE,
    PROCESSES, SENSORS, SOCKETS, SYSTEMD, TIME, UNITS, UPTIME, VMSTAT,
};
use crate::sources::{
    Source, agent, conntrack, context::Context, cpu, disk, filesystem, inventory, load, logins,
    meminfo, network, pressure, processes, sensors, sockets, systemd, time, units, uptime, vmstat,
};

/// What a source is.
#[derive(Debug, Clone, Copy)]
pub struct SourceDefinition {
    /// Its name in settings and on the bus.
    pub name: &'static str,
    /// One phrase for a person.
    pub description: &'static str,
    /// Whether it runs where the settings name no sources.
    pub default: bool,
    /// Makes one.
    pub(super) open: fn(&Context) -> Box<dyn Source>,
}

/// Every source known, in the order in which they run.
pub static SOURCES: &[SourceDefinition] = &[
    SourceDefinition {
        name: UPTIME,
        description: "Time since boot, from /proc/uptime, and the id of this boot",
        default: true,
        open: |context| Box::new(uptime::UptimeSource::open(&context.root)),
    },
    SourceDefinition {
        name: MEMINFO,
        description: "Memory and swap, from /proc/meminfo",
        default: true,
        open: |context| Box::new(meminfo::MeminfoSource::open(&context.root)),
    },
    SourceDefinition {
        name: VMSTAT,
        description: "Page faults, swapping and the OOM killer, from /proc/vmstat",
        default: true,
        open: |context| Box::new(vmstat::VmstatSource::open(&context.root)),
    },
    SourceDefinition {
        name: CPU,
        description: "CPU time, context switches and interrupts, from /proc/stat",
        default: true,
        open: |context| Box::new(cpu::CpuSource::open(context)),
    },
    SourceDefinition {
        name: LOAD,
        description: "Load averages and threads, from /proc/loadavg",
        default: true,
        open: |context| Box::new(load::LoadSource::open(&context.root)),
    },
    SourceDefinition {
        name: PRESSURE,
        description: "How long tasks wait for CPU, memory and I/O, from /proc/pressure",
        default: true,
        open: |context| Box::new(pressure::PressureSource::open(&context.root)),
    },
    SourceDefinition {
        name: DISK,
        description: "Block devices: reads, writes, discards and flushes, from /proc/diskstats",
        default: true,
        open: |context| Box::new(disk::DiskSource::open(context)),
    },
    SourceDefinition {
        name: FILESYSTEM,
        description: "Room in file systems, from /proc/self/mountinfo and statvfs",
        default: true,
        open: |context| Box::new(filesystem::FilesystemSource::open(context)),
    },
    SourceDefinition {
        name: NETWORK,
        description: "Network interfaces: traffic, from /proc/net/dev, state and speed",
        default: true,
        open: |context| Box::new(network::NetworkSource::open(context)),
    },
    SourceDefinition {
        name: SOCKETS,
        description: "Sockets, TCP and UDP, from /proc/net",
        default: true,
        open: |context| Box::new(sockets::SocketsSource::open(context)),
    },
    SourceDefinition {
        name: CONNTRACK,
        description: "Connections that the firewall follows, from /proc/sys/net/netfilter",
        default: true,
        open: |context| Box::new(conntrack::ConntrackSource::open(context)),
    },
    SourceDefinition {
        name: SYSTEMD,
        description: "The service manager: its state, units, failures and restarts, over D-Bus",
        default: true,
        open: |context| Box::new(systemd::SystemdSource::open(context)),
    },
    SourceDefinition {
        name: UNITS,
        description: "Services, scopes and slices, from their cgroups",
        default: true,
        open: |context| Box::new(units::UnitsSource::open(context)),
    },
    SourceDefinition {
        name: TIME,
        description: "Whether the clock is in step, from the kernel, timesyncd or timedated",
        default: true,
        open: |context| Box::new(time::TimeSource::open(context)),
    },
    SourceDefinition {
        name: SENSORS,
        description: "Temperatures, fans, voltages, currents and powers, from hwmon and thermal zones",
        default: true,
        open: |context| Box::new(sensors::SensorsSource::open(context)),
    },
    SourceDefinition {
        name: PROCESSES,
        description: "Processes by state, and those that use most, from /proc/PID/stat",
        default: true,
        open: |context| Box::new(processes::ProcessesSource::open(context)),
    },
    SourceDefinition {
        name: LOGINS,
        description: "Sessions and users, from logind over D-Bus",
        default: true,
        open: |context| Box::new(logins::LoginsSource::open(context)),
    },
    SourceDefinition {
        name: INVENTORY,
        description: "What the host is: system, hardware, interfaces and disks",
        default: true,
        open: |context| Box::new(inventory::InventorySource::open(context)),
    },
    SourceDefinition {
        name: AGENT,
        description: "The agent itself: what it costs, sends and loses",
        default: true,
        open: |context| Box::new(agent::AgentSource::open(context)),
    },
];

/// The names of every source known.
#[must_use]
pub fn names() -> impl ExactSizeIterator<Item = &'static str> {
    SOURCES.iter().map(|source| source.name)
}

/// The sources that run where the settings name none.
#[must_use]
pub fn default_names() -> Vec<&'static str> {
    SOURCES
        .iter()
        .filter(|source| source.default)
        .map(|source| source.name)
        .collect()
}

/// There is no source of this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no source is named \"{}\"; there are {}", shown(name), known())]
pub struct UnknownSource {
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
    fn names_are_unique_and_every_row_belongs_to_a_source() {
        let unique: BTreeSet<_> = METRICS.iter().map(|m| m.name).collect();
        assert_eq!(unique.len(), METRICS.len());
        let sources: BTreeSet<_> = names().collect();
        assert_eq!(sources.len(), SOURCES.len());
        let used: BTreeSet<_> = METRICS.iter().map(|m| m.source).collect();
        assert_eq!(used, sources);
    }

    #[test]
    fn an_unknown_name_is_answered_with_those_that_are_known() {
        let unknown = UnknownSource {
            name: "cpus".into(),
        };
        assert!(
            unknown
                .to_string()
                .starts_with("no source is named \"cpus\"; there are uptime, meminfo, ")
        );
    }
}
