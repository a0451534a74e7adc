//! A TOML text as values, and the position of each of its keys. The values go to figment, which
//! loses line numbers; the marks keep them for the messages.
//!
//! Guesses what a text that is not TOML was meant as, too: the three mistakes that people make,
//! recognised by the line at which reading failed. Never quotes a value, which may be a secret.

use std::collections::BTreeMap;

use figment::providers::{Format, Toml};
use figment::value::{Dict, Value};
use toml_edit::{ImDocument, TableLike};

/// The path of a key: `["intervals", "metrics"]`.
pub(super) type KeyPath = Vec<String>;

/// The position of a key and what was written there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// The line, from 1.
    pub(super) line: usize,
    /// The value as written; empty for a table.
    pub(super) text: String,
}

/// A text that was read.
#[derive(Debug, Default)]
pub(super) struct Document {
    pub(super) values: Dict,
    pub(super) marks: BTreeMap<KeyPath, Mark>,
}

/// A text that is not TOML.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SyntaxError {
    /// The line, from 1, where it is known.
    pub(super) line: Option<usize>,
    pub(super) message: String,
}

impl SyntaxError {
    /// With what the line was meant as, where that is plain. What is there twice is right in
    /// itself.
    fn explained(self, text: &str) -> Self {
        let line = self.line.and_then(|line| text.lines().nth(line - 1));
        match line.and_then(explanation) {
            Some(message) if !self.message.contains("duplicate") => Self { message, ..self },
            _ => self,
        }
    }
}

impl Document {
    pub(super) fn parse(text: &str) -> Result<Self, SyntaxError> {
        let starts = line_starts(text);
        let failed = |message: &str, at: Option<usize>| SyntaxError {
            line: at.map(|at| line_of(&starts, at)),
            message: message.trim_end().replace('\n', ", "),
        };
        let document = ImDocument::parse(text).map_err(|error| {
            let failed = failed(error.message(), error.span().map(|span| span.start));
            failed.explained(text)
        })?;
        let values = Toml::from_str(text)
            .map_err(|error| failed(error.message(), error.span().map(|span| span.start)))?;
        let mut marks = BTreeMap::new();
        mark(
            document.as_table(),
            text,
            &starts,
            &mut Vec::new(),
            &mut marks,
        );
        Ok(Self { values, marks })
    }

    /// Adds a value that does not come from a text with lines.
    pub(super) fn insert<S: AsRef<str>>(&mut self, path: &[S], value: Value, text: String) {
        let path: KeyPath = path.iter().map(|part| part.as_ref().to_owned()).collect();
        if let Some((last, tables)) = path.split_last() {
            let mut table = &mut self.values;
            for name in tables {
                let inner = table
                    .entry(name.clone())
                    .or_insert_with(|| Value::from(Dict::new()));
                // Keys of one table never have different lengths, so this is a table.
                let Value::Dict(_, inner) = inner else { return };
                table = inner;
            }
            table.insert(last.clone(), value);
        }
        self.marks.insert(path, Mark { line: 0, text });
    }
}

fn mark(
    table: &dyn TableLike,
    text: &str,
    starts: &[usize],
    path: &mut KeyPath,
    marks: &mut BTreeMap<KeyPath, Mark>,
) {
    for (name, item) in table.iter() {
        path.push(name.to_owned());
        let inner = item.as_table_like();
        let key = table.key(name).and_then(toml_edit::Key::span);
        if let Some(at) = key.or_else(|| item.span()).map(|span| span.start) {
            let span = item
                .as_value()
                .filter(|_| inner.is_none())
                .and_then(toml_edit::Value::span);
            let value = span.and_then(|span| text.get(span)).unwrap_or_default();
            let mark = Mark {
                line: line_of(starts, at),
                text: value.to_owned(),
            };
            marks.insert(path.clone(), mark);
        }
        if let Some(inner) = inner {
            self::mark(inner, text, starts, path, marks);
        }
        path.pop();
    }
}

fn line_starts(text: &str) -> Vec<usize> {
    std::iter::once(0)
        .chain(text.match_indices('\n').map(|(at, _)| at + 1))
        .collect()
}

fn line_of(starts: &[usize], at: usize) -> usize {
    starts.partition_point(|&start| start <= at)
}

/// Quotes of word processors.
const TYPOGRAPHIC: [char; 7] = ['“', '”', '„', '‘', '’', '«', '»'];

/// A better explanation than the parser's, for the line where it gave up, if there is one.
pub(super) fn explanation(line: &str) -> Option<String> {
    const MEANT: &str = "settings are TOML: `name = \"value\"` below a line `[section]`";
    let line = line.trim();
    if line.starts_with('{') {
        return Some(format!("this is JSON; {MEANT}"));
    }
    if line.starts_with(';') || line.starts_with("//") {
        return Some("a comment begins with #".to_owned());
    }
    let yaml = line.split_once(':').is_some_and(|(name, _)| is_name(name));
    if yaml || line.starts_with("- ") || line == "---" {
        return Some(format!("this is YAML; {MEANT}"));
    }
    if let Some((name, value)) = line.split_once('=') {
        let name = name.trim();
        return mistaken_value(value.trim())
            .filter(|_| is_name(name))
            .map(|what| format!("{name}: {}", what.replace("NAME", name)));
    }
    let name = line.split_whitespace().next()?;
    is_name(name).then(|| format!("expected `=` and a value after {name}"))
}

fn mistaken_value(value: &str) -> Option<&'static str> {
    if value.parse::<toml_edit::Value>().is_ok() {
        return None;
    }
    if value.contains(TYPOGRAPHIC) {
        return Some("these quotes are typographic; write plain ones: NAME = \"value\"");
    }
    let plain = value.split('#').next().unwrap_or(value).trim();
    if ["true", "false", "yes", "no", "on", "off"].contains(&&*plain.to_ascii_lowercase()) {
        return Some("expected true or false, or quotes around a text");
    }
    match value.chars().next() {
        None | Some('#') => Some("expected a value after the `=`"),
        Some('"') => (!value.get(1..)?.contains('"')).then_some("expected a closing \""),
        Some('\'') => (!value.get(1..)?.contains('\'')).then_some("expected a closing '"),
        Some('[') => value
            .get(1..)?
            .trim_start()
            .starts_with(|c: char| c.is_ascii_alphabetic())
            .then_some("expected quotes around each text of a list: NAME = [\"one\", \"two\"]"),
        Some('{') => None,
        Some(_) => Some("expected quotes around a text: NAME = \"value\""),
    }
}

/// Returns true if this can be the name of a setting.
fn is_name(text: &str) -> bool {
    let of_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    !text.is_empty() && text.chars().all(of_name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_key_has_its_line() {
        let text = "host.name = 'a'\n\n[collector.\"x y\"]\nendpoint = \"h\" # there\n\
                    [intervals]\nmetrics = 5\n[metrics]\nsources = [\n 'cpu' ]\nt = 1979-05-27\n";
        let document = Document::parse(text).unwrap();
        let at = |path: &[&str]| {
            let path: KeyPath = path.iter().map(|&p| p.to_owned()).collect();
            document
                .marks
                .get(&path)
                .map(|mark| (mark.line, mark.text.as_str()))
        };
        assert_eq!(at(&["host", "name"]), Some((1, "'a'")));
        assert_eq!(at(&["collector", "x y"]), Some((3, "")));
        assert_eq!(at(&["collector", "x y", "endpoint"]), Some((4, "\"h\"")));
        assert_eq!(at(&["intervals"]), Some((5, "")));
        assert_eq!(at(&["intervals", "metrics"]), Some((6, "5")));
        assert_eq!(at(&["metrics", "sources"]), Some((8, "[\n 'cpu' ]")));
        assert_eq!(at(&["metrics", "t"]), Some((10, "1979-05-27")));
        assert_eq!(
            document.values.keys().collect::<Vec<_>>(),
            ["collector", "host", "intervals", "metrics"]
        );
    }

    #[test]
    fn what_is_not_toml_names_its_line() {
        for (text, line) in [
            ("a = 1\nb\n", 2),
            ("a = \n", 1),
            ("a = 1\n\na = 2", 3),
            ("[a]\n[a]", 2),
        ] {
            let error = Document::parse(text).unwrap_err();
            assert_eq!(error.line, Some(line), "{text:?}: {error:?}");
            assert!(
                !error.message.is_empty() && !error.message.contains('\n'),
                "{error:?}"
            );
        }
    }

    #[test]
    fn depth_is_bounded() {
        assert!(Document::parse(&format!("{}a = 1", "a.".repeat(100_000))).is_err());
        assert!(Document::parse(&format!("a = {}", "[".repeat(100_000))).is_err());
    }

    proptest! {
        #[test]
        fn never_panics(text in ".*") {
            let _ = Document::parse(&text);
        }

        #[test]
        fn never_panics_on_what_looks_like_toml(text in "([\\[\\]a.b\"'={},\n#0-9 \\\\-]|true|\\[\\[a\\]\\]\n|a = 1\n){0,40}") {
            let _ = Document::parse(&text);
        }
    }

    #[test]
    fn a_line_is_told_for_what_it_was_meant_as() {
        let quotes = |name: &str| {
            Some(format!(
                "{name}: expected quotes around a text: {name} = \"value\""
            ))
        };
        assert_eq!(
            explanation("endpoint = collector.example.org"),
            quotes("endpoint")
        );
        assert_eq!(
            explanation("public_key = rq:rM>}U?@Lns47E1%kR.o@n%Fcmms"),
            quotes("public_key")
        );
        assert_eq!(explanation("  metrics=5s # often"), quotes("metrics"));
        assert_eq!(
            explanation("metrics = “5s”").unwrap(),
            "metrics: these quotes are typographic; write plain ones: metrics = \"value\""
        );
        assert_eq!(
            explanation("metrics = \"5s").unwrap(),
            "metrics: expected a closing \""
        );
        assert_eq!(
            explanation("metrics = # often").unwrap(),
            "metrics: expected a value after the `=`"
        );
        assert_eq!(
            explanation("sources = [cpu, load]").unwrap(),
            "sources: expected quotes around each text of a list: sources = [\"one\", \"two\"]"
        );
        assert_eq!(
            explanation("pin_names = Yes # all").unwrap(),
            "pin_names: expected true or false, or quotes around a text"
        );
        for line in ["metrics \"5s\"", "metrics"] {
            let expected = "expected `=` and a value after metrics";
            assert_eq!(explanation(line).unwrap(), expected);
        }
        for yaml in [
            "---",
            "a: b=c",
            "collector:",
            "  endpoint: h",
            "- cpu",
            "endpoint: \"a b\"",
        ] {
            assert!(
                explanation(yaml).unwrap().starts_with("this is YAML; "),
                "{yaml}"
            );
        }
        for comment in ["; metrics = \"5s\"", "// a: b"] {
            let expected = Some("a comment begins with #".to_owned());
            assert_eq!(explanation(comment), expected);
        }
        assert!(
            explanation("{\"a\": 1}")
                .unwrap()
                .starts_with("this is JSON; ")
        );
        for other in [
            "[a",
            "a b = 1",
            "",
            "a = \"x\" y",
            "a = [1,",
            "\u{0}",
            "a = 5",
            "a = {",
        ] {
            assert_eq!(explanation(other), None, "{other}");
        }
    }
}
