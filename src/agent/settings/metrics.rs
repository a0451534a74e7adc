//! The settings of the metric tables, `[metrics.NAME]`: their part of the table, and
//! the way from there to [`Options`].

use std::collections::BTreeMap;

use glob::Pattern;
use serde::de::{Deserializer, Error as _, Unexpected, Visitor};
use serde::{Deserialize, de};

use super::values::SourceInterval;
use crate::config::Flag;
use crate::config::table::{Setting, Shape, check};
use crate::metrics::table::{CPU, DISK, FILESYSTEM, NETWORK, PROCESSES, SENSORS, UNITS};
use crate::sources::Options;
use crate::sources::options::{CpuOptions, FilesystemOptions, Filter, ProcessOptions, UnitOptions};
use crate::sources::{Period, SourceDefinition};

/// The most units that can be followed: what a message has room for, with few values each.
const UNITS_LIMIT: usize = 5000;

/// The most processes that can be reported one by one.
const TOP_LIMIT: usize = 100;

/// The time between two readings of one source, if it has one.
pub(super) fn interval(source: &SourceDefinition) -> Option<Setting> {
    let default = match source.period {
        Period::EveryMessage => None,
        Period::Every(time) => Some(&*format!("\"{time}\"").leak()),
        Period::Model => return None,
    };
    Some(Setting {
        key: format!("metrics.{}.interval", source.name).leak(),
        expected: "a time from 100ms to 1day, such as \"1min\"",
        default,
        otherwise: "every metrics message",
        description: "The time between two readings, rounded up to whole metrics intervals.",
        check: check::<SourceInterval>,
        ..Setting::TEXT
    })
}

/// Which devices, mounts, units a source reports.
pub(super) const fn include(key: &'static str) -> Setting {
    Setting {
        description: "Shell patterns; only what matches one of them is reported. Without patterns, everything is.",
        ..exclude(key, "[]")
    }
}

/// Which ones it leaves out.
pub(super) const fn exclude(key: &'static str, default: &'static str) -> Setting {
    Setting {
        key,
        shape: Shape::List,
        expected: "a list of shell patterns, such as [\"a*\", \"b[0-9]\"]",
        default: Some(default),
        description: "Shell patterns; what matches one of them is left out.",
        check: check::<Patterns>,
        ..Setting::TEXT
    }
}

pub(super) const EXCLUDE_TYPES: Setting = Setting {
    description: "Shell patterns; file systems whose type matches one of them are left out.",
    ..exclude(
        "metrics.filesystem.exclude_types",
        "[\"autofs\", \"binfmt_misc\", \"bpf\", \"cgroup\", \"cgroup2\", \"configfs\", \
         \"debugfs\", \"devpts\", \"devtmpfs\", \"efivarfs\", \"erofs\", \"fusectl\", \
         \"fuse.lxcfs\", \"fuse.portal\", \"fuse.snapfuse\", \"fuse.squashfuse\", \
         \"fuse.squashfuse_ll\", \"hugetlbfs\", \"iso9660\", \"mqueue\", \"nsfs\", \
         \"overlay\", \"proc\", \"pstore\", \"ramfs\", \"rpc_pipefs\", \"securityfs\", \
         \"selinuxfs\", \"squashfs\", \"sysfs\", \"tracefs\", \"udf\"]",
    )
};

pub(super) const PER_CPU: Setting = Setting {
    key: "metrics.cpu.per_cpu",
    expected: "true or false",
    default: Some("false"),
    description: "Whether each CPU is reported as well.",
    check: check::<Flag>,
    ..Setting::TEXT
};

pub(super) const UNITS_MAX: Setting = Setting {
    key: "metrics.units.max",
    expected: "a number from 0 to 5000",
    default: Some("400"),
    description: "The most units to report; if there are more, those that use the most memory.",
    check: check::<Count<UNITS_LIMIT>>,
    ..Setting::TEXT
};

pub(super) const PROCESSES_TOP: Setting = Setting {
    key: "metrics.processes.top",
    expected: "a number from 0 to 100",
    default: Some("0"),
    description: "How many of the processes with the most CPU time, and of those with the most \
                  memory, are reported one by one.",
    check: check::<Count<TOP_LIMIT>>,
    ..Setting::TEXT
};

/// `[metrics]`: which sources, and a table for each.
#[derive(Debug, Default, Deserialize)]
pub(super) struct MetricsFragment {
    pub(super) sources: Option<Vec<String>>,
    /// The table of settings has seen to it that there is nothing else.
    #[serde(flatten)]
    tables: BTreeMap<String, SourceOptions>,
}

/// Everything that is allowed in a `[metrics.NAME]`. A key is refused if the table of settings does
/// not have it.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct SourceOptions {
    interval: Option<SourceInterval>,
    per_cpu: Option<Flag>,
    include: Option<Patterns>,
    exclude: Option<Patterns>,
    exclude_types: Option<Patterns>,
    max: Option<Count<UNITS_LIMIT>>,
    top: Option<Count<TOP_LIMIT>>,
}

impl MetricsFragment {
    /// What was chosen. Whatever has a default in the table is there, so that no default
    /// is used here.
    pub(super) fn options(&self) -> Options {
        let of = |name: &str| self.tables.get(name).cloned().unwrap_or_default();
        let patterns = |list: Option<Patterns>| list.unwrap_or_default().0;
        let filter = |name: &str| Filter {
            include: patterns(of(name).include),
            exclude: patterns(of(name).exclude),
        };
        Options {
            intervals: self
                .tables
                .iter()
                .filter_map(|(name, options)| Some((name.clone(), options.interval?.0)))
                .collect(),
            cpu: CpuOptions {
                per_cpu: of(CPU).per_cpu.unwrap_or_default().0,
            },
            disk: filter(DISK),
            filesystem: FilesystemOptions {
                mounts: filter(FILESYSTEM),
                exclude_types: patterns(of(FILESYSTEM).exclude_types),
            },
            network: filter(NETWORK),
            sensors: filter(SENSORS),
            units: UnitOptions {
                names: filter(UNITS),
                max: of(UNITS).max.unwrap_or_default().0,
            },
            processes: ProcessOptions {
                top: of(PROCESSES).top.unwrap_or_default().0,
            },
        }
    }
}

/// A number from 0 to `MAX`; in a variable of the environment it is text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Count<const MAX: usize>(usize);

/// Shell patterns.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Patterns(Vec<Pattern>);

impl<'de, const MAX: usize> Deserialize<'de> for Count<MAX> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Either<const MAX: usize>;
        impl<const MAX: usize> Visitor<'_> for Either<MAX> {
            type Value = usize;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "a number from 0 to {MAX}")
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<usize, E> {
                usize::try_from(value)
                    .ok()
                    .filter(|value| *value <= MAX)
                    .ok_or_else(|| E::invalid_value(Unexpected::Unsigned(value), &self))
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<usize, E> {
                match u64::try_from(value) {
                    Ok(value) => self.visit_u64(value),
                    Err(_) => Err(E::invalid_value(Unexpected::Signed(value), &self)),
                }
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<usize, E> {
                match text.parse() {
                    Ok(value) => self.visit_u64(value),
                    Err(_) => Err(E::invalid_value(Unexpected::Str(text), &self)),
                }
            }
        }
        from.deserialize_any(Either::<MAX>).map(Self)
    }
}

impl<'de> Deserialize<'de> for Patterns {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let pattern = |text: String| {
            Pattern::new(&text)
                .map_err(|error| D::Error::custom(format_args!("\"{text}\": {}", error.msg)))
        };
        let texts = Vec::<String>::deserialize(from)?;
        texts
            .into_iter()
            .map(pattern)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}
