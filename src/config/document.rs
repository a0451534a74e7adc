//! A TOML text as values, and the position of each of its keys. The values go to figment, which
//! loses line numbers; the marks keep them for the messages.

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

impl Document {
    pub(super) fn parse(text: &str) -> Result<Self, SyntaxError> {
        let starts = line_starts(text);
        let failed = |message: &str, at: Option<usize>| SyntaxError {
            line: at.map(|at| line_of(&starts, at)),
            message: message.trim_end().replace('\n', ", "),
        };
        let document = ImDocument::parse(text)
            .map_err(|error| failed(error.message(), error.span().map(|span| span.start)))?;
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
}
