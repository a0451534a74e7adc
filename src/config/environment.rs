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
    let value = match setting.shape {
        Shape::Text => Value::from(text),
        Shape::List if text.trim_start().starts_with('[') => {
            let list = Document::parse(&format!("list = {text}"));
            // The parser's words are about a line that is not in the variable.
            let expected = || Reason::Syntax(format!("expected {}", setting.expected));
            let mut list = list.map_err(|_| expected())?;
            list.values.remove("list").ok_or_else(unknown)?
        }
        Shape::List => {
            let names = text.split(',').map(str::trim);
            Value::from(names.filter(|name| !name.is_empty()).collect::<Vec<_>>())
        }
    };
    document.insert(&path, value, shortened(&format!("{text:?}")));
    Ok(())
}
