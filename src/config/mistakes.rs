//! What a text that is not TOML was meant as: the mistakes that people make, recognised by the
//! line at which reading failed, and by what the setting there takes. Never quotes a value, which
//! may be a secret.

use figment::value::Value;

use super::document::{KeyPath, SyntaxError};
use super::table::{Schema, Setting, Shape};

/// A mistake: the key where it is about one, and what is wrong.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mistake {
    pub(super) key: Option<KeyPath>,
    pub(super) message: String,
}

/// What the line of an error was meant as, where that is plain; else the parser's words. What is
/// there twice is right in itself.
pub(super) fn of(error: SyntaxError, text: &str, schema: &Schema) -> Mistake {
    let message = error.message;
    let plain = |message| Mistake { key: None, message };
    if message.contains("duplicate") {
        // The parser's words for where it was, and for the text as a whole, do not help.
        let message = message.rsplit(", ").next().unwrap_or(&message);
        return plain(message.replace(" in document root", ""));
    }
    let Some(number) = error.line else {
        return plain(message);
    };
    let line = text.lines().nth(number - 1).unwrap_or_default();
    let section = section(text, number);
    let setting = |name: &str| {
        let path: KeyPath = section
            .iter()
            .map(String::as_str)
            .chain(name.split('.'))
            .map(str::to_owned)
            .collect();
        let setting = schema.setting(&path);
        (path, setting)
    };
    explanation(line, setting).unwrap_or_else(|| plain(message))
}

/// The name of the table that a line, from 1, is in; none where it is at the top, or where
/// the header is no plain one.
fn section(text: &str, line: usize) -> KeyPath {
    let above: Vec<_> = text.lines().take(line - 1).collect();
    let header = above
        .into_iter()
        .rev()
        .map(str::trim)
        .find(|line| line.starts_with('['));
    let header = header.and_then(|header| header.strip_prefix('[')?.split_once(']'));
    match header {
        Some((name, _)) => toml_edit::Key::parse(name)
            .map(|keys| keys.iter().map(|key| key.get().to_owned()).collect())
            .unwrap_or_default(),
        None => KeyPath::new(),
    }
}

/// Quotes of word processors.
const TYPOGRAPHIC: [char; 7] = ['“', '”', '„', '‘', '’', '«', '»'];

/// A better explanation than the parser's, for the line where it gave up, if there is one.
/// `setting` finds the whole key and the setting of a name there.
fn explanation(
    line: &str,
    setting: impl Fn(&str) -> (KeyPath, Option<&'static Setting>),
) -> Option<Mistake> {
    const MEANT: &str = "settings are TOML: `name = \"value\"` below a line `[section]`";
    let plain = |message| Some(Mistake { key: None, message });
    let line = line.trim();
    if line.starts_with('{') {
        return plain(format!("this is JSON; {MEANT}"));
    }
    if line.starts_with(';') || line.starts_with("//") {
        return plain("a comment begins with #".to_owned());
    }
    let yaml = line.split_once(':').is_some_and(|(name, _)| is_name(name));
    if yaml || line.starts_with("- ") || line == "---" {
        return plain(format!("this is YAML; {MEANT}"));
    }
    if let Some((name, value)) = line.split_once('=') {
        let name = name.trim();
        if !is_name(name) {
            return None;
        }
        let (path, setting) = setting(name);
        return mistaken_value(value.trim(), setting).map(|what| Mistake {
            key: Some(path),
            message: what.replace("NAME", name),
        });
    }
    let name = line.split_whitespace().next()?;
    if !is_name(name) {
        return None;
    }
    plain(format!("expected `=` and a value after {name}"))
}

fn mistaken_value(value: &str, setting: Option<&Setting>) -> Option<String> {
    if value.parse::<toml_edit::Value>().is_ok() {
        return None;
    }
    if value.contains(TYPOGRAPHIC) {
        let what = match setting {
            Some(setting) if setting.shape == Shape::List => {
                format!("expected {}", setting.expected)
            }
            _ => "NAME = \"value\"".to_owned(),
        };
        return Some(format!(
            "these quotes are typographic; write plain ones: {what}"
        ));
    }
    let what = match value.chars().next() {
        None | Some('#') => "expected a value after the `=`",
        Some('"') => {
            return (!value.get(1..)?.contains('"')).then(|| "expected a closing \"".into());
        }
        Some('\'') => {
            return (!value.get(1..)?.contains('\'')).then(|| "expected a closing '".into());
        }
        Some('[') => {
            let inner = value.get(1..)?.trim_start();
            let what = "expected quotes around each text of a list: NAME = [\"one\", \"two\"]";
            return inner
                .starts_with(|c: char| c.is_ascii_alphabetic())
                .then(|| what.into());
        }
        Some('{') => return None,
        Some(_) => return Some(without_quotes(value, setting)),
    };
    Some(what.into())
}

/// What is wrong with a word that stands there as it is, by what the setting takes.
fn without_quotes(value: &str, setting: Option<&Setting>) -> String {
    const QUOTES: &str = "expected quotes around a text: NAME = \"value\"";
    const TRUTH: &str = "expected true or false, in lower case";
    let word = value.split('#').next().unwrap_or(value).trim();
    let takes = |value: Value| setting.is_some_and(|setting| (setting.check)(&value).is_ok());
    match setting {
        Some(setting) if setting.shape == Shape::List => format!("expected {}", setting.expected),
        Some(_) if takes(Value::from(true)) => TRUTH.into(),
        Some(_) if takes(Value::from(word)) => QUOTES.into(),
        Some(setting) => format!("expected {}; a text needs quotes", setting.expected),
        None if ["true", "false", "yes", "no", "on", "off"]
            .contains(&&*word.to_ascii_lowercase()) =>
        {
            format!("{TRUTH}, or quotes around a text")
        }
        None => QUOTES.into(),
    }
}

/// Returns true if this can be the name of a setting.
fn is_name(text: &str) -> bool {
    let of_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    !text.is_empty() && text.chars().all(of_name)
}

#[cfg(test)]
mod tests {
    use super::super::document::Document;
    use super::*;
    use proptest::prelude::*;

    const SCHEMA: Schema = Schema {
        program: "program",
        prefix: "PROGRAM_",
        reserved: &[],
        chosen: &[],
        settings: &[
            Setting {
                key: "a.list",
                shape: Shape::List,
                expected: "a list of texts, such as [\"x\"]",
                ..Setting::TEXT
            },
            Setting {
                key: "a.text",
                ..Setting::TEXT
            },
        ],
    };

    fn mistake(text: &str) -> Option<Mistake> {
        let error = Document::parse(text).err()?;
        Some(of(error, text, &SCHEMA))
    }

    #[test]
    fn the_setting_is_that_of_the_table_above() {
        for (text, key) in [
            ("[b]\nx = 1\n[ a ] # ours\nlist = x\n", "a.list"),
            ("a.list = x\n", "a.list"),
            ("[a]\ntext = x\n", "a.text"),
            ("[b.\"c d\"]\ntext = x\n", "b.c d.text"),
        ] {
            let mistake = mistake(text).unwrap();
            assert_eq!(mistake.key.unwrap().join("."), key, "{text}");
            let expected = match key {
                "a.list" => "expected a list of texts, such as [\"x\"]",
                _ => "expected quotes around a text: text = \"value\"",
            };
            assert_eq!(mistake.message, expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in ".*") {
            mistake(&text);
        }

        #[test]
        fn never_panics_on_what_looks_like_settings(text in "(\\[|\\]|a|[.\"'=:{},\n# ä“-]|true|list|text|\\[a\\]\n|= ){0,40}") {
            mistake(&text);
        }
    }

    /// Without a table of settings, as a person reads it.
    fn explanation(line: &str) -> Option<String> {
        let unknown = |name: &str| (vec![name.to_owned()], None);
        let Mistake { key, message } = super::explanation(line, unknown)?;
        let key = key.map(|key| format!("{}: ", key.join(".")));
        Some(key.unwrap_or_default() + &message)
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
            "pin_names: expected true or false, in lower case, or quotes around a text"
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
