//! From a certificate's bytes to its keys. Pure.
//!
//! Like pyzmq and czmq, this reads what it knows and steps over the rest: other
//! sections, other names, deeper levels. What it knows must be right.

use std::path::Path;
use std::str::FromStr;

use super::{Certificate, CertificateError, LineProblem};
use crate::curve::keys::{PublicKey, SecretKey};

const CURVE: &str = "curve";
const METADATA: &str = "metadata";
const PUBLIC_KEY: &str = "public-key";
const SECRET_KEY: &str = "secret-key";

/// One line of ZPL.
#[derive(Debug, PartialEq, Eq)]
enum Line<'a> {
    /// Nothing but white space or a comment.
    Empty,
    /// A name that stands alone.
    Section { nested: bool, name: &'a str },
    /// `name = value`.
    Value { name: &'a str, value: &'a str },
}

pub(super) fn certificate(path: &Path, bytes: &[u8]) -> Result<Certificate, CertificateError> {
    let mut section = "";
    let (mut public, mut secret, mut metadata) = (None, None, Vec::new());
    for (index, bytes) in bytes.split(|&byte| byte == b'\n').enumerate() {
        let at_line = |problem| CertificateError::Line {
            path: path.to_owned(),
            line: index + 1,
            problem,
        };
        match line(bytes).map_err(at_line)? {
            Line::Empty => {}
            Line::Section { nested: true, .. } if !section.is_empty() => {}
            Line::Section { name, .. } => section = name,
            Line::Value { name, value } => match (section, name) {
                (CURVE, PUBLIC_KEY) => {
                    set::<PublicKey>(&mut public, PUBLIC_KEY, value).map_err(at_line)?;
                }
                (CURVE, SECRET_KEY) => {
                    set::<SecretKey>(&mut secret, SECRET_KEY, value).map_err(at_line)?;
                }
                (METADATA, name) => metadata.push((name.to_owned(), value.to_owned())),
                _ => {}
            },
        }
    }
    Ok(Certificate {
        public: public.ok_or_else(|| CertificateError::NoPublicKey {
            path: path.to_owned(),
        })?,
        secret,
        metadata,
    })
}

fn set<K: FromStr<Err = crate::curve::keys::KeyError>>(
    place: &mut Option<K>,
    name: &'static str,
    text: &str,
) -> Result<(), LineProblem> {
    if place.is_some() {
        return Err(LineProblem::Twice(name));
    }
    let key = text
        .parse()
        .map_err(|source| LineProblem::Key { name, source })?;
    *place = Some(key);
    Ok(())
}

fn line(bytes: &[u8]) -> Result<Line<'_>, LineProblem> {
    let trimmed = bytes.trim_ascii();
    // Comments may be in any encoding.
    if trimmed.is_empty() || trimmed.starts_with(b"#") {
        return Ok(Line::Empty);
    }
    let text = str::from_utf8(trimmed).map_err(|_| LineProblem::NotText)?;
    let Some((name, rest)) = text.split_once('=') else {
        let nested = bytes.first().is_some_and(u8::is_ascii_whitespace);
        let mut words = text.split_whitespace();
        return match (words.next(), words.next()) {
            (Some(name), None) => Ok(Line::Section { nested, name }),
            (Some(name), Some(comment)) if comment.starts_with('#') => {
                Ok(Line::Section { nested, name })
            }
            _ => Err(LineProblem::NotZpl),
        };
    };
    let name = name.trim();
    if name.is_empty() || name.contains(char::is_whitespace) {
        return Err(LineProblem::NotZpl);
    }
    let value = value(rest.trim())?;
    Ok(Line::Value { name, value })
}

/// A value in either kind of quotes, or as it stands. Only behind a blank does
/// `#` begin a comment: it is a Z85 character as well.
fn value(text: &str) -> Result<&str, LineProblem> {
    let Some(quote @ ('"' | '\'')) = text.chars().next() else {
        return Ok(text.split(" #").next().unwrap_or(text).trim_end());
    };
    let (value, rest) = text
        .get(1..)
        .and_then(|text| text.split_once(quote))
        .ok_or(LineProblem::OpenQuote(quote))?;
    match rest.trim_start() {
        "" => Ok(value),
        comment if comment.starts_with('#') => Ok(value),
        _ => Err(LineProblem::Trailing),
    }
}
