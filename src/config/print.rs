//! `--print-config`: every effective value with where it comes from, as TOML
//! that can be read again. Shows public keys, and of secret ones the file alone.

use std::fmt::Display;

use figment::value::Value;

use super::error::{Place, one_line, shown_path};
use super::fragment::AGENT;
use super::interval::format;
use super::load::{Loaded, key};
use super::table::{NAME, Setting};
use super::values::ConnectionName;

/// The settings in force, as TOML; behind each value, where it comes from.
#[must_use]
pub fn effective(loaded: &Loaded) -> String {
    let mut text = Vec::new();
    for file in &loaded.files {
        text.push(format!("# {}\n", shown_path(file)));
    }
    let section = |setting: &Setting| setting.key.rsplit_once('.').map(|(section, _)| section);
    for settings in AGENT.settings.chunk_by(|a, b| section(a) == section(b)) {
        let title = settings.first().and_then(section).unwrap_or_default();
        if let Some(title) = title.strip_suffix(NAME) {
            for name in loaded.settings.collectors.keys() {
                text.push(format!("\n[{title}{}]\n", quoted_name(name)));
                lines(&mut text, loaded, settings, Some(name));
            }
        } else {
            text.push(format!("\n[{title}]\n"));
            lines(&mut text, loaded, settings, None);
        }
    }
    text.concat()
}

fn lines(
    text: &mut Vec<String>,
    loaded: &Loaded,
    settings: &[Setting],
    name: Option<&ConnectionName>,
) {
    for setting in settings {
        let value = match name {
            Some(name) => collector_value(loaded, setting, name),
            None => value(loaded, setting),
        };
        let key = setting.parts().last().unwrap_or_default();
        let line = match value {
            Shown::Value { value, from } => format!("{key} = {value}  # {}\n", one_line(&from)),
            Shown::Unset { why } => format!("# {key} is not set: {}\n", one_line(&why)),
            Shown::Elsewhere => String::new(),
        };
        text.push(line);
    }
}

/// How a setting is shown.
enum Shown {
    Value {
        value: String,
        from: String,
    },
    Unset {
        why: String,
    },
    /// Another setting says it.
    Elsewhere,
}

fn value(loaded: &Loaded, setting: &Setting) -> Shown {
    let settings = &loaded.settings;
    let path: Vec<_> = setting.parts().collect();
    let value = match setting.key {
        "host.name" => settings.host_name.as_ref().map(quoted),
        "curve.secret_key_file" if loaded.key_found || loaded.generated_key.is_some() => {
            Some(quoted(loaded.key_file.display()))
        }
        "curve.secret_key_file" => {
            let file = shown_path(&loaded.key_file);
            return Shown::Unset {
                why: format!("a key pair will be made and kept in {file}"),
            };
        }
        "intervals.metrics" => Some(quoted(format(settings.intervals.metrics))),
        "intervals.stale" => Some(quoted(format(settings.intervals.stale))),
        "metrics.collect" => {
            let names: Vec<_> = settings.collect.iter().map(quoted).collect();
            Some(format!("[{}]", names.join(", ")))
        }
        "log.level" => Some(quoted(settings.log_level)),
        "dbus.bus" => Some(quoted(&settings.bus)),
        // Of each metric collector: as it was written.
        _ => loaded.layers.value(&path).and_then(as_toml),
    };
    match value {
        Some(value) => Shown::Value {
            value,
            from: origin(loaded, &path),
        },
        None => Shown::Unset {
            why: setting.otherwise.to_owned(),
        },
    }
}

fn collector_value(loaded: &Loaded, setting: &Setting, name: &ConnectionName) -> Shown {
    let field = setting.parts().last().unwrap_or_default();
    let Some(collector) = loaded.settings.collectors.get(name) else {
        return Shown::Elsewhere;
    };
    match (field, loaded.collector_keys.get(name)) {
        ("endpoint", _) => Shown::Value {
            value: quoted(format!("tcp://{}", collector.endpoint)),
            from: origin(loaded, &key(name, field)),
        },
        ("public_key", None) => Shown::Value {
            value: quoted(collector.public_key),
            from: origin(loaded, &key(name, field)),
        },
        ("public_key", Some(file)) => Shown::Value {
            value: quoted(collector.public_key),
            from: match loaded.layers.place(&key(name, "public_key_file")) {
                Some(place) => format!("{} (public_key_file: {place})", shown_path(file)),
                None => shown_path(file),
            },
        },
        _ => Shown::Elsewhere,
    }
}

fn origin(loaded: &Loaded, path: &[&str]) -> String {
    match loaded.layers.place(path).unwrap_or(Place::Default) {
        place @ Place::Persistent { .. } => format!("{place}, set over D-Bus"),
        place => place.to_string(),
    }
}

/// A value of a layer as TOML; None for a table.
fn as_toml(value: &Value) -> Option<String> {
    let list = |values: &Vec<Value>| {
        let texts: Option<Vec<_>> = values.iter().map(as_toml).collect();
        texts.map(|texts| format!("[{}]", texts.join(", ")))
    };
    match value {
        Value::String(_, text) => Some(quoted(text)),
        Value::Bool(_, truth) => Some(truth.to_string()),
        Value::Num(_, number) => number
            .to_i128()
            .map(|number| number.to_string())
            .or_else(|| number.to_f64().map(|number| number.to_string())),
        Value::Array(_, values) => list(values),
        _ => None,
    }
}

fn quoted(text: impl Display) -> String {
    toml_edit::Value::from(text.to_string()).to_string()
}

/// The name as part of a table's title: a dot in it would part the title.
fn quoted_name(name: &ConnectionName) -> String {
    toml_edit::Key::new(name.as_str()).to_string()
}

#[cfg(test)]
mod tests;
