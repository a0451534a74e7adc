//! `--print-config`: the settings in force with where each comes from.

use super::fragment::AGENT;
use super::load::Loaded;
use crate::base::text;
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
    match (field, loaded.collector_keys.get(name)) {
        ("endpoint", _) => Shown::Value {
            value: quoted(format!("tcp://{}", collector.endpoint)),
            from: from(),
        },
        ("public_key", Some(file)) if loaded.unclear_keys.contains(name) => Shown::Unset {
            why: format!("that of {}, which only the service sees", text::path(file)),
        },
        ("public_key", None) => Shown::Value {
            value: quoted(collector.public_key),
            from: from(),
        },
        ("public_key", Some(file)) => Shown::Value {
            value: quoted(collector.public_key),
            from: match loaded.layers.place(&["collector", name, "public_key_file"]) {
                Some(place) => format!("{} (public_key_file: {place})", text::path(file)),
                None => text::path(file),
            },
        },
        _ => Shown::Elsewhere,
    }
}

#[cfg(test)]
mod tests;
