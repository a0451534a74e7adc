//! The one table of metrics, and the one of metric collectors.
//!
//! What `ListMetrics` answers, what the documentation lists and what the collectors may
//! emit all come from here. Deployed collectors and clients rely on the names, units and
//! kinds: rows are added, never changed.

use super::{Collector, cpu, meminfo, source::Root, uptime};

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
    /// The name on the wire.
    pub name: &'static str,
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

/// A row names its constant too, so that no metric can be emitted that is not in the table.
macro_rules! metrics {
    ($($constant:ident = $name:literal, $unit:literal, $kind:ident, [$($grid:ident)+], $collector:expr,
       $description:literal;)*) => {
        $(
            #[doc = $description]
            pub static $constant: Definition = Definition {
                name: $name,
                unit: $unit,
                kind: Kind::$kind,
                description: $description,
                in_metrics: metrics!(@has metrics $($grid)+),
                in_model: metrics!(@has model $($grid)+),
                collector: $collector,
            };
        )*

        /// Every metric known, in the order in which it is emitted.
        pub static METRICS: &[&Definition] = &[$(&$constant),*];
    };
    (@has metrics metrics $($rest:ident)*) => { true };
    (@has model model $($rest:ident)*) => { true };
    (@has $wanted:ident $other:ident $($rest:ident)*) => { metrics!(@has $wanted $($rest)*) };
    (@has $wanted:ident) => { false };
}

metrics! {
    SYS_UPTIME = "sys.uptime", "s", Gauge, [metrics model], UPTIME,
        "Time since boot, including time spent suspended";
    MEM_TOTAL = "mem.total", "kB", Gauge, [model], MEMINFO,
        "Usable memory";
    MEM_FREE = "mem.free", "kB", Gauge, [metrics], MEMINFO,
        "Memory that nothing uses";
    MEM_AVAIL = "mem.avail", "kB", Gauge, [metrics], MEMINFO,
        "Memory that could be had without swapping, as the kernel estimates it";
    MEM_BUFFERS = "mem.buffers", "kB", Gauge, [metrics], MEMINFO,
        "Memory in buffers of block devices";
    MEM_CACHED = "mem.cached", "kB", Gauge, [metrics], MEMINFO,
        "Memory in the page cache, tmpfs included";
    MEM_SWAP_TOTAL = "mem.swap.total", "kB", Gauge, [model], MEMINFO,
        "Swap space; 0 where there is none";
    MEM_SWAP_FREE = "mem.swap.free", "kB", Gauge, [metrics], MEMINFO,
        "Swap space that nothing uses";
    MEM_DIRTY = "mem.dirty", "kB", Gauge, [metrics], MEMINFO,
        "Memory that waits to be written to disk";
    MEM_WRITEBACK = "mem.writeback", "kB", Gauge, [metrics], MEMINFO,
        "Memory that is being written to disk";
    CPU_PERCENT = "cpu.percent", "%", Gauge, [metrics model], CPU,
        "Share of time that the CPUs were busy since the previous reading, over all of them";
}

/// The name of the collector that reads /proc/uptime.
pub const UPTIME: &str = "uptime";
/// The name of the collector that reads /proc/meminfo.
pub const MEMINFO: &str = "meminfo";
/// The name of the collector that reads /proc/stat.
pub const CPU: &str = "cpu";

/// What a metric collector is.
#[derive(Debug, Clone, Copy)]
pub struct CollectorDefinition {
    /// Its name in settings and on the bus.
    pub name: &'static str,
    /// One phrase for a person.
    pub description: &'static str,
    /// Whether it runs where the settings name no collectors.
    pub default: bool,
    /// Makes one that reads below a root.
    pub(super) open: fn(&Root) -> Box<dyn Collector>,
}

/// Every metric collector known, in the order in which they run.
pub static COLLECTORS: &[CollectorDefinition] = &[
    CollectorDefinition {
        name: UPTIME,
        description: "Time since boot, from /proc/uptime",
        default: true,
        open: |root| Box::new(uptime::UptimeCollector::open(root)),
    },
    CollectorDefinition {
        name: MEMINFO,
        description: "Memory and swap, from /proc/meminfo",
        default: true,
        open: |root| Box::new(meminfo::MeminfoCollector::open(root)),
    },
    CollectorDefinition {
        name: CPU,
        description: "Share of time that the CPUs are busy, from /proc/stat",
        default: true,
        open: |root| Box::new(cpu::CpuCollector::open(root)),
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
        let rows: Vec<_> = METRICS
            .iter()
            .map(|m| (m.name, m.unit, m.in_metrics, m.in_model))
            .collect();
        assert_eq!(
            rows,
            [
                ("sys.uptime", "s", true, true),
                ("mem.total", "kB", false, true),
                ("mem.free", "kB", true, false),
                ("mem.avail", "kB", true, false),
                ("mem.buffers", "kB", true, false),
                ("mem.cached", "kB", true, false),
                ("mem.swap.total", "kB", false, true),
                ("mem.swap.free", "kB", true, false),
                ("mem.dirty", "kB", true, false),
                ("mem.writeback", "kB", true, false),
                ("cpu.percent", "%", true, true),
            ]
        );
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
    fn the_default_collectors_are_the_three_of_the_original() {
        assert_eq!(default_names(), ["uptime", "meminfo", "cpu"]);
    }

    #[test]
    fn a_metric_is_found_with_and_without_an_instance() {
        assert_eq!(metric("mem.free").unwrap().unit, "kB");
        assert_eq!(metric("cpu.percent[0]").unwrap().name, "cpu.percent");
        assert_eq!(metric("mem"), None);
        assert_eq!(Kind::Gauge.as_str(), "gauge");
    }
}
