//! Tables of settings: their keys, their values, and their purpose. One table is the only source
//! for the check of every layer, for what a message suggests, and for what `--print-config` lists.

use std::collections::BTreeMap;

use figment::Error;
use figment::error::Kind;
use figment::value::{Dict, Value};
use serde::de::DeserializeOwned;

use super::document::{KeyPath, Mark};
use super::error::{Suggestion, shortened};
use crate::config::Reason;

/// In a key, the place of a name that the administrator chooses: a part in capitals.
#[must_use]
pub fn is_chosen(part: &str) -> bool {
    part.bytes().all(|byte| byte.is_ascii_uppercase())
}

/// Longer keys get no suggestion: nothing that long is a slip of the finger.
const MAX_SIMILAR: usize = 64;

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// The key, its parts joined by dots; a part in capitals is a placeholder for any name that its
    /// [`Chosen`] takes.
    pub key: &'static str,
    /// How a variable's text becomes its value.
    pub shape: Shape,
    /// What belongs there, as it ends the sentence "… is not …".
    pub expected: &'static str,
    /// The default, written in TOML.
    pub default: Option<&'static str>,
    /// The value if it is not set and has no default in TOML.
    pub otherwise: &'static str,
    /// What it is for: one sentence or two.
    pub description: &'static str,
    /// True if a message may quote the value.
    pub quotable: bool,
    /// Refuses a value that does not fit, with the reason where more is known
    /// than what was expected: [`check`] of the type.
    pub check: fn(&Value) -> Result<(), Option<String>>,
}

impl Setting {
    /// A text without a default: what the settings have in common.
    pub const TEXT: Self = Self {
        key: "",
        shape: Shape::Text,
        expected: "",
        default: None,
        otherwise: "",
        description: "",
        quotable: true,
        check: check::<String>,
    };

    /// The parts of the key.
    pub fn parts(&self) -> impl Iterator<Item = &'static str> {
        self.key.split('.')
    }

    fn part(&self, depth: usize) -> Option<&'static str> {
        self.parts().nth(depth)
    }
}

/// How a text of the environment becomes a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// As it is.
    Text,
    /// A list: parted by commas, or an array in TOML.
    List,
    /// A text as it is; with commas a list, as is an array in TOML.
    OneOrMore,
}

/// Beginnings, after a program's prefix, of variables that are none of ours:
/// Kubernetes sets `METRICS_AGENT_SERVICE_HOST`, `METRICS_AGENT_PORT_5556_TCP`
/// and their like in every pod beside a service called `metrics-agent`.
pub const RESERVED_VARIABLES: &[&str] = &["SERVICE_", "PORT", "PORT_"];

/// The settings of one program.
#[derive(Clone, Copy, Debug)]
pub struct Schema {
    /// The program's name: that of its files and directories.
    pub program: &'static str,
    /// What its variables begin with.
    pub prefix: &'static str,
    /// Beginnings, after the prefix, of variables that are none of ours.
    pub reserved: &'static [&'static str],
    /// What the parts in capitals take.
    pub chosen: &'static [Chosen],
    /// Every setting.
    pub settings: &'static [Setting],
}

/// A name in a key that the administrator chooses.
#[derive(Clone, Copy, Debug)]
pub struct Chosen {
    /// The part of the key that is its placeholder, in capitals.
    pub part: &'static str,
    /// What is called so, as it ends the sentence "not a name for …".
    pub of: &'static str,
    /// Refuses a name that does not fit, with the reason.
    pub check: fn(&str) -> Result<(), String>,
}

/// Refuses a name that is no `T`: a [`Chosen::check`].
pub fn check_name<T>(name: &str) -> Result<(), String>
where
    T: TryFrom<String, Error: std::fmt::Display>,
{
    T::try_from(name.to_owned())
        .map(drop)
        .map_err(|error| error.to_string())
}

/// Refuses what is no `T`: a [`Setting::check`].
pub fn check<T: DeserializeOwned>(value: &Value) -> Result<(), Option<String>> {
    value
        .deserialize::<T>()
        .map(drop)
        .map_err(|error: Error| match error.kind {
            Kind::Message(reason) => Some(reason),
            // Of the wrong type or out of range: the table says what was expected.
            _ => None,
        })
}

/// As [`check`], for a type whose error says no more than what was expected.
pub fn check_alone<T: DeserializeOwned>(value: &Value) -> Result<(), Option<String>> {
    check::<T>(value).map_err(|_| None)
}

/// Something wrong in a layer, and the key that it is about.
pub(crate) type Finding = (KeyPath, Reason);

impl Schema {
    /// Everything that is wrong with a layer's values, in the order of keys.
    pub(super) fn findings(&self, values: &Dict, marks: &BTreeMap<KeyPath, Mark>) -> Vec<Finding> {
        let mut walk = Walk {
            schema: self,
            marks,
            path: Vec::new(),
            findings: Vec::new(),
        };
        walk.table(values, &self.settings.iter().collect::<Vec<_>>());
        walk.findings
    }

    /// The setting of these key parts.
    pub(crate) fn setting<S: AsRef<str>>(&self, path: &[S]) -> Option<&'static Setting> {
        self.settings.iter().find(|setting| {
            setting.parts().count() == path.len()
                && setting
                    .parts()
                    .zip(path)
                    .all(|(part, name)| matches(part, name.as_ref()))
        })
    }

    /// What an unknown variable, here without its prefix, may have meant.
    pub(crate) fn similar_variable(&self, variable: &str) -> Suggestion {
        let variable = variable.to_ascii_uppercase();
        let given: Vec<_> = variable.split("__").collect();
        let known = |setting: &Setting| {
            let part = |(index, part): (usize, &str)| match given.get(index) {
                // A name that the administrator chose is no mistake.
                Some(name) if is_chosen(part) && !name.is_empty() => (*name).to_owned(),
                _ => part.to_ascii_uppercase(),
            };
            setting
                .parts()
                .enumerate()
                .map(part)
                .collect::<Vec<_>>()
                .join("__")
        };
        let full = |name: String| format!("{}{name}", self.prefix);
        match similar(&variable, self.settings.iter().map(known).collect()) {
            Suggestion::Nearest(name) => Suggestion::Nearest(full(name)),
            Suggestion::Known(names) => Suggestion::Known(names.into_iter().map(full).collect()),
        }
    }
}

struct Walk<'a> {
    schema: &'a Schema,
    marks: &'a BTreeMap<KeyPath, Mark>,
    path: KeyPath,
    findings: Vec<Finding>,
}

impl Walk<'_> {
    /// `settings` are those whose keys begin with the path so far.
    fn table(&mut self, table: &Dict, settings: &[&'static Setting]) {
        let depth = self.path.len();
        let nameless = self.nameless(table, settings);
        for (name, value) in table {
            if nameless.contains(&name) {
                continue;
            }
            let inner: Vec<_> = settings
                .iter()
                .copied()
                .filter(|setting| setting.part(depth).is_some_and(|part| matches(part, name)))
                .collect();
            self.path.push(name.clone());
            self.value(value, &inner, settings);
            self.path.pop();
        }
    }

    /// The settings without the name that they belong under, such as an `endpoint` in
    /// `[collector]`: reported once.
    fn nameless<'a>(&mut self, table: &'a Dict, settings: &[&'static Setting]) -> Vec<&'a String> {
        let depth = self.path.len();
        let below = |name: &str| {
            let mut parts = settings
                .iter()
                .map(|setting| (setting.part(depth), setting.part(depth + 1)));
            parts.any(|(part, next)| part.is_some_and(is_chosen) && next == Some(name))
        };
        let found: Vec<_> = table
            .iter()
            .filter(|(name, value)| !matches!(value, Value::Dict(..)) && below(name))
            .map(|(name, _)| name)
            .collect();
        let line = |name: &&&String| {
            let path = [self.path.as_slice(), std::slice::from_ref(**name)].concat();
            self.marks.get(&path).map(|mark| mark.line)
        };
        if let Some(first) = found.iter().min_by_key(line) {
            let part = settings.first().and_then(|setting| setting.part(depth));
            let chosen = self.schema.chosen.iter();
            let of = chosen.copied().find(|chosen| part == Some(chosen.part));
            let reason = Reason::NoName {
                of: of.map_or("it", |chosen| chosen.of),
                section: key_text(&self.path),
            };
            self.path.push((*first).clone());
            self.report(reason);
            self.path.pop();
        }
        found
    }

    fn value(&mut self, value: &Value, inner: &[&'static Setting], around: &[&'static Setting]) {
        let depth = self.path.len();
        let Some(first) = inner.first() else {
            let reason = Reason::UnknownKey(self.similar_key(around));
            return self.report(reason);
        };
        let part = first.part(depth - 1);
        let chosen = self.schema.chosen.iter();
        if let Some(chosen) = chosen.copied().find(|chosen| part == Some(chosen.part))
            && let Some(name) = self.path.last()
            && let Err(detail) = (chosen.check)(name)
        {
            let of = chosen.of;
            return self.report(Reason::Name { of, detail });
        }
        if first.part(depth).is_some() {
            if let Value::Dict(_, table) = value {
                self.table(table, inner);
            } else {
                let found = self.shown(value);
                let section = key_text(&self.path);
                let named = first.part(depth).is_some_and(is_chosen);
                let expected = if named && first.part(depth + 1).is_some() {
                    format!("a table [{section}.NAME], for example [{section}.main]")
                } else {
                    format!("a table [{section}]")
                };
                self.report(Reason::Value {
                    found,
                    expected,
                    detail: None,
                });
            }
        } else if let Err(detail) = (first.check)(value) {
            let found = if first.quotable {
                self.shown(value)
            } else {
                "the value".to_owned()
            };
            self.report(Reason::Value {
                found,
                expected: first.expected.to_owned(),
                detail,
            });
        }
    }

    fn report(&mut self, reason: Reason) {
        self.findings.push((self.path.clone(), reason));
    }

    /// The value as it was written.
    fn shown(&self, value: &Value) -> String {
        let written = self.marks.get(&self.path).map(|mark| mark.text.as_str());
        match (value, written) {
            (_, Some(text)) if !text.is_empty() => shortened(text),
            (Value::Dict(..), _) => "a table".to_owned(),
            _ => "an array of tables".to_owned(),
        }
    }

    fn similar_key(&self, around: &[&'static Setting]) -> Suggestion {
        let depth = self.path.len() - 1;
        let name = self.path.last().map(String::as_str).unwrap_or_default();
        let siblings: Vec<String> = around
            .iter()
            .filter_map(|setting| setting.part(depth))
            .filter(|&part| !is_chosen(part))
            .map(str::to_owned)
            .collect();
        let suggestion = similar(name, siblings);
        let elsewhere = |setting: &&Setting| setting.parts().last() == Some(name);
        match self.schema.settings.iter().find(elsewhere) {
            // The right name in the wrong table.
            Some(setting) if matches!(suggestion, Suggestion::Known(_)) => {
                Suggestion::Nearest(setting.key.to_owned())
            }
            _ => suggestion,
        }
    }
}

/// The key as it is written in TOML, for messages.
pub(crate) fn key_text<S: AsRef<str>>(path: &[S]) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    let part = |name: &str| {
        if !name.is_empty() && name.chars().all(bare) {
            name.to_owned()
        } else {
            format!("{name:?}")
        }
    };
    shortened(
        &path
            .iter()
            .map(|name| part(name.as_ref()))
            .collect::<Vec<_>>()
            .join("."),
    )
}

fn matches(part: &str, name: &str) -> bool {
    is_chosen(part) || part == name
}

/// The nearest of `known`, where one is near; else all of them.
pub(crate) fn similar(name: &str, mut known: Vec<String>) -> Suggestion {
    known.sort_unstable();
    known.dedup();
    let name: String = name.chars().take(MAX_SIMILAR).collect();
    let distance =
        |other: &str| strsim::damerau_levenshtein(&name.to_lowercase(), &other.to_lowercase());
    let nearest = known.iter().map(|other| (distance(other), other)).min();
    match nearest {
        // With a third of the letters wrong it still counts as the same word.
        Some((wrong, other)) if wrong * 3 <= other.chars().count().max(3) => {
            Suggestion::Nearest(other.clone())
        }
        _ => Suggestion::Known(known),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_what_is_near_or_all_there_is() {
        let known = || vec!["stale".to_owned(), "metrics".to_owned()];
        for near in ["metric", "Metrics", "metrcis", "mertics", "metricss"] {
            assert_eq!(
                similar(near, known()),
                Suggestion::Nearest("metrics".to_owned()),
                "{near}"
            );
        }
        let all = Suggestion::Known(vec!["metrics".to_owned(), "stale".to_owned()]);
        for far in ["", "period", &"metrics".repeat(100_000)] {
            assert_eq!(similar(far, known()), all);
        }
        assert_eq!(similar("x", Vec::new()), Suggestion::Known(Vec::new()));
    }

    #[test]
    fn keys_are_quoted_where_toml_asks_for_it() {
        assert_eq!(
            key_text(&["collector", "eu-1", "endpoint"]),
            "collector.eu-1.endpoint"
        );
        assert_eq!(key_text(&["a.b", "", "x\ny"]), "\"a.b\".\"\".\"x\\ny\"");
    }
}
