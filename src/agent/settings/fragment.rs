//! The agent's settings: their table, and the type that all layers together fill before its parts
//! are checked against each other.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::LazyLock;

use serde::Deserialize;

use super::address::CollectorAddress;
use super::spool::{SPOOL_AFTER, SPOOL_DISK, SPOOL_MEMORY, SpoolFragment};
use super::values::{EndpointOrder, HostName};
use super::values::{MetricsInterval, StaleInterval};
use super::{MAX_ENDPOINTS, MAX_KEYS};
use crate::agent::settings::metrics::{
    EXCLUDE_TYPES, MetricsFragment, PER_CPU, PROCESSES_TOP, UNITS_MAX, exclude, include, interval,
};
use crate::config::one_or_more::OneOrMore;
use crate::config::table::{
    Chosen, RESERVED_VARIABLES, Schema, Setting, Shape, check, check_alone, check_name,
};
use crate::config::{ConnectionName, LogLevel};
use crate::curve::keys::{KeyError, PublicKey};
use crate::dbus::BusAddress;
use crate::metrics::table;
use crate::sources::SOURCES;

/// The agent's settings.
pub static AGENT: LazyLock<Schema> = LazyLock::new(|| Schema {
    program: "metrics-agent",
    prefix: "METRICS_AGENT_",
    reserved: RESERVED_VARIABLES,
    chosen: &[Chosen {
        part: "NAME",
        of: "a collector",
        check: check_name::<ConnectionName>,
    }],
    settings: {
        let all = GENERAL.iter().copied().chain(of_sources());
        let all = all.chain(LAST.iter().copied());
        // Once in a process.
        all.collect::<Vec<_>>().leak()
    },
});

/// Those of each source: its interval, and what it has besides.
fn of_sources() -> impl Iterator<Item = Setting> {
    SOURCES.iter().flat_map(|source| {
        let own = OF_SOURCES.iter().find(|(name, _)| *name == source.name);
        let own = own.map_or(&[][..], |(_, own)| own);
        interval(source).into_iter().chain(own.iter().copied())
    })
}

static GENERAL: &[Setting] = &[
    Setting {
        key: "host.name",
        expected: "a host name of 1 to 253 bytes without control characters",
        otherwise: "the fully qualified name, else the host name",
        description: "The name that this host reports under.",
        check: check::<HostName>,
        ..Setting::TEXT
    },
    Setting {
        key: "collector.NAME.endpoint",
        shape: Shape::OneOrMore,
        expected: "an address such as \"tcp://collector.example.org:5556\", \"host\", \"host:port\", \
                   \"[::1]:5556\" or \"srv:example.org\", or a list of up to 16",
        otherwise: "required",
        description: "Where the collector listens. The port is 5556 where none is given. Of \
                      several, the agent reports to the first that works.",
        check: check::<Endpoints>,
        ..Setting::TEXT
    },
    Setting {
        key: "collector.NAME.order",
        expected: "\"listed\" or \"random\"",
        otherwise: "\"listed\"",
        description: "The order in which several endpoints are tried: as listed, or in an order \
                      that each agent draws for itself when it starts.",
        check: check_alone::<EndpointOrder>,
        ..Setting::TEXT
    },
    Setting {
        key: "collector.NAME.public_key",
        shape: Shape::OneOrMore,
        expected: "a public key of 40 Z85 characters, or a list of up to 8",
        otherwise: "that of public_key_file",
        description: "The collector's public key: the agent reports to no other. Of several, the \
                      collector may have any.",
        check: check::<InlineKeys>,
        ..Setting::TEXT
    },
    Setting {
        key: "collector.NAME.public_key_file",
        shape: Shape::OneOrMore,
        expected: "the name of a certificate file, or a list of up to 8",
        otherwise: "collector.key",
        description: "The certificate with the collector's public key, instead of public_key. \
                          A relative name is looked for in the credentials directory, in \
                          /etc/metrics-agent/curve and, for a run by hand, in ~/.curve.",
        quotable: false,
        check: check::<KeyFiles>,
        ..Setting::TEXT
    },
    Setting {
        key: "curve.secret_key_file",
        expected: "the name of a certificate file",
        otherwise: "agent.key_secret; if there is none, a key pair is made in the state directory",
        description: "The certificate with the agent's own secret key. A relative name is \
                          looked for as that of public_key_file.",
        quotable: false,
        check: check::<KeyFile>,
        ..Setting::TEXT
    },
    METRICS,
    STALE,
    SPOOL_MEMORY,
    SPOOL_DISK,
    SPOOL_AFTER,
    Setting {
        key: "metrics.sources",
        shape: Shape::List,
        expected: "a list of sources, such as [\"uptime\", \"meminfo\", \"cpu\"]",
        otherwise: "those that are on by default",
        description: "The sources to run.",
        check: check::<Vec<String>>,
        ..Setting::TEXT
    },
];

/// What sources have besides their interval.
static OF_SOURCES: &[(&str, &[Setting])] = &[
    (table::CPU, &[PER_CPU]),
    (
        table::DISK,
        &[
            include("metrics.disk.include"),
            exclude(
                "metrics.disk.exclude",
                "[\"loop*\", \"ram*\", \"zram*\", \"fd[0-9]*\", \"sr[0-9]*\", \"mmcblk*boot[0-9]*\"]",
            ),
        ],
    ),
    (
        table::FILESYSTEM,
        &[
            include("metrics.filesystem.include"),
            exclude(
                "metrics.filesystem.exclude",
                "[\"/dev\", \"/dev/*\", \"/proc\", \"/proc/*\", \"/sys\", \"/sys/*\", \
             \"/run/credentials/*\", \"/var/lib/docker/*\", \
             \"/var/lib/containers/storage/*\", \"/var/lib/containerd/*\", \
             \"/run/containerd/*\", \"/run/k3s/containerd/*\", \
             \"/run/containers/storage/*\", \"*/overlay-containers/*/userdata/shm\", \
             \"*/pods/*/volumes/kubernetes.io~projected/*\", \
             \"*/pods/*/volumes/kubernetes.io~secret/*\", \
             \"*/pods/*/volumes/kubernetes.io~configmap/*\", \
             \"*/pods/*/volumes/kubernetes.io~downward-api/*\", \
             \"*/pods/*/volumes/kubernetes.io~empty-dir/*\", \
             \"*/pods/*/volume-subpaths/*\"]",
            ),
            EXCLUDE_TYPES,
        ],
    ),
    (
        table::NETWORK,
        &[
            include("metrics.network.include"),
            exclude("metrics.network.exclude", "[]"),
        ],
    ),
    (
        table::UNITS,
        &[
            include("metrics.units.include"),
            exclude("metrics.units.exclude", "[]"),
            UNITS_MAX,
        ],
    ),
    (
        table::SENSORS,
        &[
            include("metrics.sensors.include"),
            exclude("metrics.sensors.exclude", "[]"),
        ],
    ),
    (table::PROCESSES, &[PROCESSES_TOP]),
];

static LAST: &[Setting] = &[
    Setting {
        key: "log.level",
        expected: LogLevel::EXPECTED,
        default: Some("\"info\""),
        description: "How much is logged.",
        check: check_alone::<LogLevel>,
        ..Setting::TEXT
    },
    Setting {
        key: "dbus.bus",
        expected: "\"system\", \"session\", \"none\" or an address such as \"unix:path=/run/bus\"",
        default: Some("\"system\""),
        description: "The message bus that the agent is observed and adjusted on.",
        check: check::<BusAddress>,
        ..Setting::TEXT
    },
];

/// What may be set over D-Bus persistently.
pub(super) static PERSISTENT: Schema = Schema {
    program: "metrics-agent",
    prefix: "",
    reserved: &[],
    chosen: &[],
    settings: &[METRICS, STALE],
};

const METRICS: Setting = Setting {
    key: "intervals.metrics",
    expected: "a time from 100ms to 1h, such as \"5s\"",
    default: Some("\"5s\""),
    description: "The time between two metrics messages; a bare number is seconds.",
    check: check::<MetricsInterval>,
    ..Setting::TEXT
};

const STALE: Setting = Setting {
    key: "intervals.stale",
    expected: "a time from 1s to 1h, such as \"30s\"",
    default: Some("\"30s\""),
    description: "Reconnect to a collector that has been silent for this time; a bare number \
                  is seconds.",
    check: check::<StaleInterval>,
    ..Setting::TEXT
};

/// What all layers say together. What has a default in the table is there.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Fragment {
    #[serde(default)]
    pub(super) host: HostFragment,
    #[serde(default)]
    pub(super) collector: BTreeMap<ConnectionName, CollectorFragment>,
    #[serde(default)]
    pub(super) curve: CurveFragment,
    pub(super) intervals: IntervalsFragment,
    pub(super) spool: SpoolFragment,
    #[serde(default)]
    pub(super) metrics: MetricsFragment,
    pub(super) log: LogFragment,
    pub(super) dbus: DbusFragment,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HostFragment {
    pub(super) name: Option<HostName>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CollectorFragment {
    pub(super) endpoint: Option<Endpoints>,
    #[serde(default)]
    pub(super) order: EndpointOrder,
    pub(super) public_key: Option<InlineKeys>,
    pub(super) public_key_file: Option<KeyFiles>,
}

/// Where a collector is, in the order of the settings.
pub(super) type Endpoints = OneOrMore<CollectorAddress, MAX_ENDPOINTS>;
/// The keys of which a collector has one.
pub(super) type InlineKeys = OneOrMore<InlineKey, MAX_KEYS>;
/// The files with these.
pub(super) type KeyFiles = OneOrMore<KeyFile, MAX_KEYS>;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CurveFragment {
    pub(super) secret_key_file: Option<KeyFile>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct IntervalsFragment {
    pub(super) metrics: MetricsInterval,
    pub(super) stale: StaleInterval,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LogFragment {
    pub(super) level: LogLevel,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DbusFragment {
    pub(super) bus: BusAddress,
}

/// A public key in the settings themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct InlineKey(pub(super) PublicKey);

impl TryFrom<String> for InlineKey {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        // How many characters are expected the table says.
        let reason = |error| match error {
            KeyError::Length { found } => format!("it has {found}"),
            KeyError::Character { found, position } => {
                format!("{found:?} at position {position} is not a Z85 character")
            }
            other => other.to_string(),
        };
        text.parse().map(Self).map_err(reason)
    }
}

/// The name of a key file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct KeyFile(pub(super) PathBuf);

impl TryFrom<String> for KeyFile {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        if text.is_empty() || text.ends_with('/') || text.contains('\0') {
            return Err("it is not the name of a file");
        }
        // It may be the secret one, which then must not be quoted either.
        if !text.starts_with('/') && text.parse::<PublicKey>().is_ok() {
            return Err("it is a key, not a file; put the key into a file and name that file here");
        }
        Ok(Self(text.into()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use super::*;

    /// The settings of the shipped file: key to the value after the `=`, commented out.
    fn shipped() -> BTreeMap<String, String> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/metrics-agent.toml");
        let text = std::fs::read_to_string(path).unwrap();
        let mut section = String::new();
        let mut found = BTreeMap::new();
        for line in text.lines().map(|line| line.trim_start_matches('#')) {
            if let Some(name) = line
                .strip_prefix('[')
                .and_then(|rest| rest.strip_suffix(']'))
            {
                section = name.replace("collector.main", "collector.NAME");
            } else if let Some((key, value)) = line.split_once(" = ")
                && !key.contains(' ')
            {
                found.insert(format!("{section}.{key}"), value.to_owned());
            }
        }
        found
    }

    #[test]
    fn the_shipped_file_shows_every_setting_with_its_default_and_no_other() {
        let shipped = shipped();
        let keys: Vec<&str> = shipped.keys().map(String::as_str).collect();
        // A source that every message has, and that has no other setting, is as the first one.
        let of_others = |setting: &&Setting| {
            let is_interval = setting.key.ends_with(".interval");
            !is_interval || setting.default.is_some() || shipped.contains_key(setting.key)
        };
        let settings = AGENT.settings.iter().filter(of_others);
        let mut known: Vec<&str> = settings.map(|setting| setting.key).collect();
        known.sort_unstable();
        assert_eq!(keys, known);
        for setting in AGENT.settings {
            if let (Some(default), Some(shown)) = (setting.default, shipped.get(setting.key)) {
                assert_eq!(shown, default, "{}", setting.key);
            }
        }
    }

    /// The defaults are written here for people, and there as values.
    #[test]
    fn the_defaults_are_those_of_the_sources() {
        let layers = crate::config::layers::Layers::of_defaults(&AGENT);
        let fragment: Fragment = layers.merged().unwrap();
        assert_eq!(
            fragment.metrics.options(),
            crate::sources::Options::default()
        );
    }

    #[test]
    fn every_source_that_has_settings_is_one() {
        for (name, _) in OF_SOURCES {
            assert!(SOURCES.iter().any(|source| source.name == *name), "{name}");
        }
    }

    #[test]
    fn the_shipped_file_sets_nothing() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/metrics-agent.toml");
        let text = std::fs::read_to_string(path).unwrap();
        for line in text.lines() {
            let blank = line.is_empty() || line.starts_with('#') || line.starts_with('[');
            assert!(blank, "{line}");
        }
    }
}
