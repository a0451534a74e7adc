//! `--print-config`: every effective value with where it comes from, as TOML that can be read
//! again. Shows public keys; of secret keys, only the file.

use std::fmt::{Display, Write as _};

use figment::value::Value;

use super::error::Place;
use super::layers::Layers;
use super::table::{Schema, Setting, is_chosen};
use crate::base::text;

/// The settings of a program as TOML; `show` says what is in force, by the key.
pub(crate) fn document(
    schema: &Schema,
    layers: &Layers,
    show: impl Fn(&Setting, &[&str]) -> Shown,
) -> String {
    let mut text = Vec::new();
    for file in layers.files() {
        text.push(format!("# {}\n", text::path(file)));
    }
    let table = |setting: &Setting| setting.parts().next();
    for settings in schema.settings.chunk_by(|a, b| table(a) == table(b)) {
        let mut parts = settings.iter().flat_map(|first| first.parts().take(2));
        let (table, second) = (parts.next(), parts.next());
        if second.is_some_and(is_chosen) {
            for name in layers.names(table.as_slice()) {
                sections(&mut text, layers, settings, Some(name), &show);
            }
        } else {
            sections(&mut text, layers, settings, None, &show);
        }
    }
    text.concat()
}

/// The sections of one table, or of what `name` names in it.
fn sections(
    text: &mut Vec<String>,
    layers: &Layers,
    settings: &[Setting],
    name: Option<&str>,
    show: &impl Fn(&Setting, &[&str]) -> Shown,
) {
    let section = |setting: &Setting| setting.key.rsplit_once('.').map(|(section, _)| section);
    for settings in settings.chunk_by(|a, b| section(a) == section(b)) {
        let title: Vec<&str> = settings
            .iter()
            .filter_map(section)
            .take(1)
            .flat_map(|section| section.split('.'))
            .map(|part| name.filter(|_| is_chosen(part)).unwrap_or(part))
            .collect();
        let mut lines = Vec::new();
        for setting in settings {
            let keys = match setting.parts().last() {
                Some(part) if is_chosen(part) => layers.names(&title).into_iter().collect(),
                part => Vec::from_iter(part),
            };
            for key in keys {
                let path: Vec<&str> = title.iter().copied().chain([key]).collect();
                lines.extend(line(key, show(setting, &path)));
            }
        }
        if !lines.is_empty() {
            let title: Vec<_> = title.into_iter().map(quoted_name).collect();
            text.push(format!("\n[{}]\n", title.join(".")));
            text.append(&mut lines);
        }
    }
}

fn line(key: &str, shown: Shown) -> Option<String> {
    let key = quoted_name(key);
    match shown {
        Shown::Value { value, from } => {
            Some(format!("{key} = {value}  # {}\n", text::shown(&from)))
        }
        Shown::Unset { why } => Some(format!("# {key} is not set: {}\n", text::shown(&why))),
        Shown::Hidden { from } => Some(format!(
            "# {key} is set, and may be a secret  # {}\n",
            text::shown(&from)
        )),
        Shown::Elsewhere => None,
    }
}

/// How a setting is shown.
pub(crate) enum Shown {
    /// With its value, in TOML.
    Value { value: String, from: String },
    /// As not set.
    Unset { why: String },
    /// Without its value.
    Hidden { from: String },
    /// Another setting says it.
    Elsewhere,
}

/// Where the value in force of a key comes from.
pub(crate) fn origin(layers: &Layers, path: &[&str]) -> String {
    match layers.place(path).unwrap_or(Place::Default) {
        place @ Place::Persistent { .. } => format!("{place}, set over D-Bus"),
        place => place.to_string(),
    }
}

/// A value of a layer as TOML; None for a table.
pub(crate) fn as_toml(value: &Value) -> Option<String> {
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

/// As TOML has it, and harmless on a terminal.
pub(crate) fn quoted(text: impl Display) -> String {
    let text = text.to_string();
    if text::is_plain(&text) {
        return toml_edit::Value::from(text).to_string();
    }
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            hidden if text::is_hidden(hidden) => {
                // Writing to a String does not fail.
                let _ = write!(quoted, "\\U{:08X}", u32::from(hidden));
            }
            plain => quoted.push(plain),
        }
    }
    quoted.push('"');
    quoted
}

/// The name as a key, or as part of a table's title, which a dot in it would part.
fn quoted_name(name: &str) -> String {
    toml_edit::Key::new(name).to_string()
}
