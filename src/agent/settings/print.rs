//! `--print-config`: the settings in force with where each comes from, and what the running agent
//! has in force beyond the layers: what was set at run time, and what was not reloaded yet. Pure;
//! the agent's side of the bus asks.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
    time::Duration,
};

use super::address::CollectorAddress;
use super::fragment::AGENT;
use super::load::Loaded;
use super::spool::format_size;
use crate::base::text::{self, shown};
use crate::config::format_time;
use crate::config::print::{Shown, as_toml, document, origin, quoted};
use crate::config::table::Setting;

/// The agent's settings in force, as TOML; after each value, where it comes from.
#[must_use]
pub fn effective(loaded: &Loaded) -> String {
    document(&AGENT, &loaded.layers, |setting, path| match path {
        ["collector", name, field] => collector_value(loaded, name, field),
        path => value(loaded, setting, path),
    })
}

fn value(loaded: &Loaded, setting: &Setting, path: &[&str]) -> Shown {
    let settings = &loaded.settings;
    let value = match setting.key {
        "host.name" => settings.host_name.as_ref().map(quoted),
        "curve.secret_key_file" if loaded.key_found || loaded.generated_key.is_some() => {
            Some(quoted(loaded.key_file.display()))
        }
        "curve.secret_key_file" => {
            let file = text::path(&loaded.key_file);
            return Shown::Unset {
                why: format!("a key pair will be made and kept in {file}"),
            };
        }
        "intervals.metrics" => Some(quoted(format_time(settings.intervals.metrics))),
        "intervals.stale" => Some(quoted(format_time(settings.intervals.stale))),
        "spool.memory" => Some(quoted(format_size(settings.spool.memory))),
        "spool.disk" => Some(quoted(format_size(settings.spool.disk))),
        "spool.after" => Some(quoted(format_time(settings.spool.after))),
        "metrics.sources" => {
            let names: Vec<_> = settings.sources.iter().map(quoted).collect();
            Some(format!("[{}]", names.join(", ")))
        }
        "log.level" => Some(quoted(settings.log_level)),
        "dbus.bus" => Some(quoted(&settings.bus)),
        // Of each source: as it was written.
        _ => loaded.layers.value(path).and_then(as_toml),
    };
    match value {
        Some(value) => Shown::Value {
            value,
            from: origin(&loaded.layers, path),
        },
        None => Shown::Unset {
            why: setting.otherwise.to_owned(),
        },
    }
}

fn collector_value(loaded: &Loaded, name: &str, field: &str) -> Shown {
    let Some(collector) = loaded.settings.collectors.get(name) else {
        return Shown::Elsewhere;
    };
    let from = || origin(&loaded.layers, &["collector", name, field]);
    let files = loaded.collector_keys.get(name).map(|files| {
        let files: Vec<_> = files.iter().map(|file| text::path(file)).collect();
        files.join(", ")
    });
    match (field, files) {
        ("endpoint", _) => Shown::Value {
            value: one_or_list(collector.endpoints.iter().map(CollectorAddress::to_setting)),
            from: from(),
        },
        ("order", _) => Shown::Value {
            value: quoted(collector.order.as_str()),
            from: from(),
        },
        ("public_key", Some(files)) if loaded.unclear_keys.contains(name) => Shown::Unset {
            why: format!("that of {files}, which only the service sees"),
        },
        ("public_key", None) => Shown::Value {
            value: one_or_list(collector.public_keys.iter()),
            from: from(),
        },
        ("public_key", Some(files)) => Shown::Value {
            value: one_or_list(collector.public_keys.iter()),
            from: match loaded.layers.place(&["collector", name, "public_key_file"]) {
                Some(place) => format!("{files} (public_key_file: {place})"),
                None => files,
            },
        },
        _ => Shown::Elsewhere,
    }
}

/// A text, or a list of several, in TOML.
fn one_or_list(texts: impl Iterator<Item: Display>) -> String {
    let texts: Vec<_> = texts.map(quoted).collect();
    match texts.as_slice() {
        [one] => one.clone(),
        several => format!("[{}]", several.join(", ")),
    }
}

/// The settings that a running agent reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// The name that it reports under.
    pub host_name: String,
    /// The metrics interval.
    pub metrics: RunningInterval,
    /// The stale interval.
    pub stale: RunningInterval,
    /// The log level, as the settings spell it.
    pub log_level: String,
    /// The sources that are enabled.
    pub sources: BTreeSet<String>,
    /// The connections, by their names.
    pub connections: BTreeMap<String, RunningConnection>,
}

/// What a running connection was made of, as the bus has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunningConnection {
    /// The addresses, in the order of the settings.
    pub endpoints: Vec<String>,
    /// The order in which they are tried.
    pub order: String,
    /// The keys of which the collector has one.
    pub keys: Vec<String>,
}

/// An interval in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunningInterval {
    /// How long it is.
    pub time: Duration,
    /// `settings`, `run-time` or `kept`, as on the bus.
    pub origin: String,
    /// The file and line, if there is one.
    pub place: String,
}

/// How the running agent differs from what was loaded, as comments of TOML. `as_it_starts` where
/// that was loaded as the running agent does, and not by another user.
#[must_use]
pub fn compared(loaded: &Loaded, running: &Running, as_it_starts: bool) -> String {
    let lines = differences(loaded, running);
    let files = if as_it_starts {
        ""
    } else {
        "# The files of keys below are those of a start by this user; the running agent may have \
         others.\n"
    };
    if lines.is_empty() {
        return format!("# The running agent has these settings in force.\n{files}\n");
    }
    let lines: Vec<_> = lines.iter().map(|line| shown(line)).collect();
    format!(
        "# In force in the running agent, other than below:\n#   {}\n{files}\n",
        lines.join("\n#   ")
    )
}

fn differences(loaded: &Loaded, running: &Running) -> Vec<String> {
    let settings = &loaded.settings;
    let mut lines = Vec::new();
    let host_name = settings.host_name.as_ref().map(ToString::to_string);
    if host_name.is_some_and(|name| name != running.host_name) {
        let name = quoted(&running.host_name);
        lines.push(format!("host.name = {name}, until a reload"));
    }
    let configured = settings.collectors.iter().map(|(name, collector)| {
        let connection = RunningConnection {
            endpoints: collector
                .endpoints
                .iter()
                .map(ToString::to_string)
                .collect(),
            order: collector.order.as_str().to_owned(),
            keys: collector
                .public_keys
                .iter()
                .map(ToString::to_string)
                .collect(),
        };
        (name.to_string(), connection)
    });
    let configured: BTreeMap<String, RunningConnection> = configured.collect();
    let names: BTreeSet<&String> = configured
        .keys()
        .chain(running.connections.keys())
        .collect();
    for name in names {
        let other = match (configured.get(name), running.connections.get(name)) {
            (Some(one), Some(other)) if one == other => continue,
            (Some(one), Some(other))
                if one.endpoints == other.endpoints
                    && one.order == other.order
                    && loaded.unclear_keys.contains(name.as_str()) =>
            {
                continue;
            }
            (one, Some(other)) => {
                let is_other = one.is_none_or(|one| one.order != other.order);
                let order = (other.endpoints.len() > 1 && is_other)
                    .then(|| format!(" in the order {}", quoted(&other.order)));
                format!(
                    "endpoint {}{}, key {}",
                    one_or_list(other.endpoints.iter()),
                    order.unwrap_or_default(),
                    one_or_list(other.keys.iter())
                )
            }
            (_, None) => "no such connection".to_owned(),
        };
        lines.push(format!("collector.{name}: {other}, until a reload"));
    }
    for (name, value, running) in [
        ("metrics", settings.intervals.metrics, &running.metrics),
        ("stale", settings.intervals.stale, &running.stale),
    ] {
        if value != running.time {
            let time = quoted(format_time(running.time));
            lines.push(format!("intervals.{name} = {time}, {}", running.why()));
        }
    }
    let sources: BTreeSet<String> = settings.sources.iter().cloned().collect();
    let listed = |names: Vec<&String>| {
        let names: Vec<String> = names.into_iter().map(quoted).collect();
        names.join(", ")
    };
    for (what, names) in [
        ("with", running.sources.difference(&sources)),
        ("without", sources.difference(&running.sources)),
    ] {
        let names: Vec<&String> = names.collect();
        if !names.is_empty() {
            let names = listed(names);
            lines.push(format!("metrics.sources {what} {names}, {UNTIL}"));
        }
    }
    if settings.log_level.as_str() != running.log_level {
        let level = quoted(&running.log_level);
        lines.push(format!("log.level = {level}, {UNTIL}"));
    }
    lines
}

/// For settings that can be set at run time without the agent reporting that.
const UNTIL: &str = "set at run time, or not reloaded since the files were changed";

impl RunningInterval {
    fn why(&self) -> String {
        match self.origin.as_str() {
            "run-time" => {
                r#"set at run time, until the agent ends or "metrics-agentctl revert""#.to_owned()
            }
            "kept" => format!(
                r#"set at run time and kept in {}, until "metrics-agentctl revert""#,
                self.place
            ),
            _ => "until a reload".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests;
