//! Guesses what a text that is not TOML was meant as: the three mistakes that people make,
//! recognised by the line at which reading failed. Never quotes a value, which may be a secret.

/// Quotes of word processors.
const TYPOGRAPHIC: [char; 7] = ['“', '”', '„', '‘', '’', '«', '»'];

/// A better explanation than the parser's, for the line where it gave up, if there is one.
pub(super) fn explanation(line: &str) -> Option<String> {
    const MEANT: &str = "settings are TOML: `name = \"value\"` below a line `[section]`";
    let line = line.trim();
    if line.starts_with('{') {
        return Some(format!("this is JSON; {MEANT}"));
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
