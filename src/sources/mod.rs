//! From the kernel's files to samples.
//!
//! Owns how things are measured: the registry of sources, which is this file ([`SOURCES`]), one
//! file or folder for each, and the [`set::SourceSet`] that runs them and counts how they fare.
//! Does not know where samples go, when they are due, or what an administrator is told of a
//! failure: it returns values, errors and [`set::Transition`]s.
//!
//! Each source is a pure parser from bytes to a raw sample and a thin reader around it. Files stay
//! open and are read again from their beginning; their root is an argument ([`file::Root`]), so
//! tests use captured files.

pub mod agent;
pub mod background;
pub mod bus;
pub mod conntrack;
pub mod cpu;
pub mod disk;
pub mod error;
pub mod file;
pub mod files;
pub mod filesystem;
pub mod instances;
pub mod inventory;
pub mod load;
pub mod logins;
pub mod meminfo;
pub mod network;
pub mod odd;
#[cfg(test)]
mod odd_tests;
pub mod options;
pub mod pressure;
pub mod processes;
pub mod sensors;
pub mod set;
pub mod sockets;
mod source;
pub mod survey;
pub mod systemd;
#[cfg(test)]
mod testing;
pub mod text;
pub mod time;
pub mod units;
pub mod uptime;
pub mod vmstat;

use crate::base::text::shown;
use crate::metrics::table::{
    AGENT, CONNTRACK, CPU, DISK, FILES, FILESYSTEM, INVENTORY, LOAD, LOGINS, MEMINFO, NETWORK,
    PRESSURE, PROCESSES, SENSORS, SOCKETS, SYSTEMD, TIME, UNITS, UPTIME, VMSTAT,
};

pub use error::{CollectError, FileError, Malformed};
pub use file::Root;
pub use odd::{LeftOut, Odd};
pub use options::Options;
pub use set::{SampleOneError, SourceSet, SourceStatus, Transition};
pub use source::{
    Context, Counts, CountsSource, Grid, Keeping, KeepingPlace, KeptFor, Purpose, Sink, Source,
};
pub use survey::News;

/// What a source is.
#[derive(Debug, Clone, Copy)]
pub struct SourceDefinition {
    /// Its name in settings and on the bus.
    pub name: &'static str,
    /// One phrase for a person.
    pub description: &'static str,
    /// True if it runs when the settings name no sources.
    pub default: bool,
    /// How often it is read where the settings do not say it.
    pub period: Period,
    /// The files that it reads, except those of devices, units and processes.
    pub files: &'static [&'static str],
    /// Makes one.
    open: fn(&Context) -> Box<dyn Source>,
}

/// How often a source is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Period {
    /// For every metrics message.
    EveryMessage,
    /// At most as often as this, written as in the settings.
    Every(&'static str),
    /// Only for the model; there is nothing to set.
    Model,
}

/// Every source known, in the order in which they run.
pub static SOURCES: &[SourceDefinition] = &[
    SourceDefinition {
        name: UPTIME,
        description: "Time since boot, from /proc/uptime, and the id of this boot",
        default: true,
        period: Period::EveryMessage,
        files: &["/proc/uptime", "/proc/sys/kernel/random/boot_id"],
        open: |context| Box::new(uptime::UptimeSource::open(&context.root)),
    },
    SourceDefinition {
        name: MEMINFO,
        description: "Memory and swap, from /proc/meminfo",
        default: true,
        period: Period::EveryMessage,
        files: &["/proc/meminfo"],
        open: |context| Box::new(meminfo::MeminfoSource::open(&context.root)),
    },
    SourceDefinition {
        name: VMSTAT,
        description: "Page faults, swapping and the OOM killer, from /proc/vmstat",
        default: true,
        period: Period::EveryMessage,
        files: &["/proc/vmstat"],
        open: |context| Box::new(vmstat::VmstatSource::open(&context.root)),
    },
    SourceDefinition {
        name: CPU,
        description: "CPU time, context switches and interrupts, from /proc/stat",
        default: true,
        period: Period::EveryMessage,
        files: &["/proc/stat"],
        open: |context| Box::new(cpu::CpuSource::open(context)),
    },
    SourceDefinition {
        name: LOAD,
        description: "Load averages and threads, from /proc/loadavg",
        default: true,
        period: Period::EveryMessage,
        files: &["/proc/loadavg"],
        open: |context| Box::new(load::LoadSource::open(&context.root)),
    },
    SourceDefinition {
        name: PRESSURE,
        description: "How long tasks wait for CPU, memory and I/O, from /proc/pressure",
        default: true,
        period: Period::EveryMessage,
        files: &[
            "/proc/pressure/cpu",
            "/proc/pressure/memory",
            "/proc/pressure/io",
        ],
        open: |context| Box::new(pressure::PressureSource::open(&context.root)),
    },
    SourceDefinition {
        name: DISK,
        description: "Block devices: reads, writes, discards and flushes, from /proc/diskstats",
        default: true,
        period: Period::EveryMessage,
        files: &["/proc/diskstats"],
        open: |context| Box::new(disk::DiskSource::open(context)),
    },
    SourceDefinition {
        name: FILESYSTEM,
        description: "Room in file systems, from /proc/self/mountinfo and statvfs",
        default: true,
        period: Period::Every("15s"),
        files: &["/proc/self/mountinfo"],
        open: |context| Box::new(filesystem::FilesystemSource::open(context)),
    },
    SourceDefinition {
        name: NETWORK,
        description: "Network interfaces: traffic, from /proc/net/dev, state and speed",
        default: true,
        period: Period::EveryMessage,
        files: &["/proc/net/dev"],
        open: |context| Box::new(network::NetworkSource::open(context)),
    },
    SourceDefinition {
        name: SOCKETS,
        description: "Sockets, TCP and UDP, from /proc/net",
        default: true,
        period: Period::EveryMessage,
        files: &[
            "/proc/net/sockstat",
            "/proc/net/sockstat6",
            "/proc/net/snmp",
            "/proc/net/netstat",
        ],
        open: |context| Box::new(sockets::SocketsSource::open(context)),
    },
    SourceDefinition {
        name: CONNTRACK,
        description: "Connections that the firewall follows, from /proc/sys/net/netfilter",
        default: true,
        period: Period::EveryMessage,
        files: &[
            "/proc/sys/net/netfilter/nf_conntrack_count",
            "/proc/sys/net/netfilter/nf_conntrack_max",
        ],
        open: |context| Box::new(conntrack::ConntrackSource::open(context)),
    },
    SourceDefinition {
        name: FILES,
        description: "Open file handles and their limit, from /proc/sys/fs/file-nr",
        default: true,
        period: Period::EveryMessage,
        files: &["/proc/sys/fs/file-nr"],
        open: |context| Box::new(files::FilesSource::open(context)),
    },
    SourceDefinition {
        name: SYSTEMD,
        description: "The service manager: its state, units, failures and restarts, over D-Bus",
        default: true,
        period: Period::Every("15s"),
        files: &[],
        open: |context| Box::new(systemd::SystemdSource::open(context)),
    },
    SourceDefinition {
        name: UNITS,
        description: "Services, scopes and slices, from their cgroups",
        default: true,
        period: Period::Every("15s"),
        files: &[],
        open: |context| Box::new(units::UnitsSource::open(context)),
    },
    SourceDefinition {
        name: TIME,
        description: "Whether the clock is in step, from the kernel, timesyncd or timedated",
        default: true,
        period: Period::Every("15s"),
        files: &[],
        open: |context| Box::new(time::TimeSource::open(context)),
    },
    SourceDefinition {
        name: SENSORS,
        description: "Temperatures, fans, voltages, currents and powers, from hwmon and thermal zones",
        default: true,
        period: Period::Every("15s"),
        files: &[],
        open: |context| Box::new(sensors::SensorsSource::open(context)),
    },
    SourceDefinition {
        name: PROCESSES,
        description: "Processes by state, and those that use most, from /proc/PID/stat",
        default: true,
        period: Period::Every("30s"),
        files: &[],
        open: |context| Box::new(processes::ProcessesSource::open(context)),
    },
    SourceDefinition {
        name: LOGINS,
        description: "Sessions and users, from logind over D-Bus",
        default: true,
        period: Period::EveryMessage,
        files: &[],
        open: |context| Box::new(logins::LoginsSource::open(context)),
    },
    SourceDefinition {
        name: INVENTORY,
        description: "What the host is: system, hardware, interfaces and disks",
        default: true,
        period: Period::Model,
        files: &[
            "/etc/os-release",
            "/etc/machine-id",
            "/proc/sys/kernel/osrelease",
        ],
        open: |context| Box::new(inventory::InventorySource::open(context)),
    },
    SourceDefinition {
        name: AGENT,
        description: "The agent itself: what it costs, sends and loses",
        default: true,
        period: Period::Every("1min"),
        files: &[],
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
