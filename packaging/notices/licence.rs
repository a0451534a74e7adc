//! SPDX expressions as far as crates have them: licences or alternatives, joined by `AND`. Whatever is
//! deeper is refused rather than misread.

use std::collections::BTreeSet;

/// An expression that is none of these, to be read by a human.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no licence or alternatives joined by AND: teach packaging/notices/licence.rs")]
pub(crate) struct Unread(String);

/// What has to be fulfilled all together: each a licence, or its alternatives.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Licence(BTreeSet<BTreeSet<String>>);

impl Licence {
    /// Reads an expression; a slash is the `OR` that manifests had before SPDX.
    pub(crate) fn parse(expression: &str) -> Result<Self, Unread> {
        let unread = || Unread(expression.to_owned());
        let mut parts = BTreeSet::new();
        for part in expression.replace('/', " OR ").split(" AND ") {
            let part = part.trim();
            let inner = part
                .strip_prefix('(')
                .and_then(|inner| inner.strip_suffix(')'))
                .unwrap_or(part);
            let alternatives = inner
                .split(" OR ")
                .map(|one| one.trim().to_owned())
                .collect::<BTreeSet<_>>();
            if !alternatives.iter().all(|one| is_licence(one)) {
                return Err(unread());
            }
            parts.insert(alternatives);
        }
        Ok(Self(parts))
    }

    /// This and the other.
    pub(crate) fn add(&mut self, other: &Self) {
        self.0.extend(other.0.iter().cloned());
    }

    /// Whether Apache-2.0 is enough for all of it.
    pub(crate) fn allows_apache(&self) -> bool {
        self.0.iter().all(|part| part.contains("Apache-2.0"))
    }
}

/// Whether it is a licence by name, maybe with an exception.
fn is_licence(one: &str) -> bool {
    let name = |word: &str| !word.is_empty() && !word.contains([' ', '(', ')']);
    one.split_once(" WITH ")
        .map_or(name(one), |(licence, exception)| {
            name(licence) && name(exception)
        })
}

impl std::fmt::Display for Licence {
    /// The same for all that say the same: in order, each once.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (at, part) in self.0.iter().enumerate() {
            let alternatives = part.iter().map(String::as_str).collect::<Vec<_>>();
            let joined = alternatives.join(" OR ");
            let and = if at == 0 { "" } else { " AND " };
            // Only among others does it need them.
            if part.len() > 1 && self.0.len() > 1 {
                write!(f, "{and}({joined})")?;
            } else {
                write!(f, "{and}{joined}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spelled(expression: &str) -> String {
        Licence::parse(expression).unwrap().to_string()
    }

    #[test]
    fn what_says_the_same_is_spelled_the_same() {
        assert_eq!(spelled("MIT/Apache-2.0"), "Apache-2.0 OR MIT");
        assert_eq!(spelled("Apache-2.0 OR MIT"), "Apache-2.0 OR MIT");
        assert_eq!(
            spelled("Unicode-3.0 AND (MIT OR Apache-2.0) AND Unicode-3.0"),
            "(Apache-2.0 OR MIT) AND Unicode-3.0"
        );
        assert_eq!(
            spelled("Apache-2.0 WITH LLVM-exception OR MIT"),
            "Apache-2.0 WITH LLVM-exception OR MIT"
        );
    }

    #[test]
    fn the_whole_has_every_part_once() {
        let mut whole = Licence::parse("MIT").unwrap();
        for expression in ["Apache-2.0/MIT", "MIT", "MIT OR Apache-2.0", "Zlib"] {
            whole.add(&Licence::parse(expression).unwrap());
        }
        assert_eq!(whole.to_string(), "(Apache-2.0 OR MIT) AND MIT AND Zlib");
    }

    #[test]
    fn what_is_nested_deeper_is_refused() {
        for expression in [
            "(MIT AND Zlib) OR ISC",
            "MIT AND (A OR (B AND C))",
            "",
            "MIT OR ",
        ] {
            assert!(Licence::parse(expression).is_err(), "{expression}");
        }
    }

    #[test]
    fn apache_is_enough_only_where_each_part_allows_it() {
        assert!(Licence::parse("MIT OR Apache-2.0").unwrap().allows_apache());
        for expression in [
            "MIT",
            "(MIT OR Apache-2.0) AND Zlib",
            "Apache-2.0 WITH LLVM-exception",
        ] {
            assert!(!Licence::parse(expression).unwrap().allows_apache());
        }
    }
}
