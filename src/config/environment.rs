//! Settings in environment variables: from names and texts to keys and values.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

use figment::value::Value;

use super::document::{Document, KeyPath};
use super::error::{Suggestion, shortened};
use super::table::{Schema, Shape};
use crate::config::Reason;

/// The values of the variables that belong to a schema, and what is wrong with
/// the others that begin with its prefix.
pub(super) fn read(
    schema: &Schema,
    variables: &BTreeMap<OsString, OsString>,
) -> (Document, Vec<(String, Reason)>) {
    let mut document = Document::default();
    let mut unfit = Vec::new();
    for (name, text) in variables {
        let name = name.to_string_lossy();
        let Some(rest) = name.strip_prefix(schema.prefix) else {
            continue;
        };
        if schema
            .reserved
            .iter()
            .any(|&reserved| is_reserved(rest, reserved))
        {
            continue;
        }
        if let Err(reason) = variable_value(schema, &name, text, &mut document) {
            unfit.push((name.into_owned(), reason));
        }
    }
    (document, unfit)
}

/// Returns true if this is an array in TOML, and no text that begins with a bracket, as
/// `[::1]:5556` and many a key do: those have no quotes.
fn is_array_of_texts(text: &str) -> bool {
    let text = text.trim();
    text == "[]" || (text.starts_with('[') && text.contains(['"', '\'']))
}

/// A reserved name that ends in `_` reserves all names that begin with it.
fn is_reserved(name: &str, reserved: &str) -> bool {
    if reserved.ends_with('_') {
        name.starts_with(reserved)
    } else {
        name == reserved
    }
}

/// The name of a key's variable.
pub(super) fn name<S: AsRef<str>>(schema: &Schema, path: &[S]) -> String {
    let parts: Vec<_> = path
        .iter()
        .map(|part| part.as_ref().to_ascii_uppercase())
        .collect();
    format!("{}{}", schema.prefix, parts.join("__"))
}

/// Adds one variable's value to those of the environment.
fn variable_value(
    schema: &Schema,
    name: &str,
    text: &OsStr,
    document: &mut Document,
) -> Result<(), Reason> {
    let rest = name.strip_prefix(schema.prefix).unwrap_or_default();
    let unknown = || Reason::UnknownVariable(schema.similar_variable(rest));
    if rest.bytes().any(|b| b.is_ascii_lowercase()) {
        return Err(Reason::UnknownVariable(Suggestion::Nearest(
            name.to_ascii_uppercase(),
        )));
    }
    let path: KeyPath = rest.split("__").map(str::to_ascii_lowercase).collect();
    let setting = schema.setting(&path).ok_or_else(unknown)?;
    let text = text.to_str().ok_or(Reason::NotUtf8)?;
    let is_array = match setting.shape {
        Shape::Text => false,
        Shape::List => text.trim_start().starts_with('['),
        Shape::OneOrMore => is_array_of_texts(text),
    };
    let value = match setting.shape {
        _ if is_array => {
            let list = Document::parse(&format!("list = {text}"));
            // The parser's words are about a line that is not in the variable.
            let expected = || Reason::Syntax(format!("expected {}", setting.expected));
            let mut list = list.map_err(|_| expected())?;
            list.values.remove("list").ok_or_else(unknown)?
        }
        Shape::OneOrMore if !text.contains(',') => Value::from(text),
        Shape::Text => Value::from(text),
        Shape::List | Shape::OneOrMore => {
            let names = text.split(',').map(str::trim);
            Value::from(names.filter(|name| !name.is_empty()).collect::<Vec<_>>())
        }
    };
    document.insert(&path, value, shortened(&format!("{text:?}")));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::table::Setting;

    const SCHEMA: Schema = Schema {
        program: "program",
        prefix: "P_",
        reserved: &[],
        chosen: &[],
        settings: &[
            Setting {
                key: "list",
                shape: Shape::List,
                ..Setting::TEXT
            },
            Setting {
                key: "some",
                shape: Shape::OneOrMore,
                ..Setting::TEXT
            },
        ],
    };

    fn value(name: &str, text: &str) -> Option<Value> {
        let variables = BTreeMap::from([(name.into(), text.into())]);
        let (mut document, unfit) = read(&SCHEMA, &variables);
        assert_eq!(unfit.is_empty(), !document.values.is_empty(), "{unfit:?}");
        document.values.pop_first().map(|(_, value)| value)
    }

    #[test]
    fn a_text_or_a_list_of_them_is_told_apart() {
        let list = |texts: &[&str]| Some(Value::from(texts.to_vec()));
        let text = |text: &str| Some(Value::from(text));
        for (given, expected) in [
            ("a", text("a")),
            ("[::1]:5556", text("[::1]:5556")),
            // As many a key begins.
            ("[0>x)", text("[0>x)")),
            ("a, [::1]:1", list(&["a", "[::1]:1"])),
            ("a,", list(&["a"])),
            (" [\"a\", 'b']", list(&["a", "b"])),
            ("[]", list(&[])),
            ("['a',", None),
        ] {
            assert_eq!(value("P_SOME", given), expected, "{given}");
        }
        assert_eq!(value("P_LIST", "a"), list(&["a"]));
        assert_eq!(value("P_LIST", ""), list(&[]));
        assert_eq!(value("P_LIST", "[1"), None);
    }
}
