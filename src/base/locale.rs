//! What the locale can show: everything, or only ASCII.
//!
//! Owns the last step of all that is printed. No other code knows the locale: it writes dots and
//! ellipses, and names as they are.

use std::borrow::Cow;
use std::ffi::OsString;
use std::sync::OnceLock;

/// Returns true if the process's own locale has more than ASCII.
#[must_use]
pub fn has_unicode() -> bool {
    static UNICODE: OnceLock<bool> = OnceLock::new();
    *UNICODE.get_or_init(|| unicode(|variable| std::env::var_os(variable)))
}

/// Returns true if a locale has more than ASCII (locale(7)). As in systemd (`is_locale_utf8()`), an
/// unset locale has: ASCII was not asked for.
fn unicode(environment: impl Fn(&str) -> Option<OsString>) -> bool {
    let mut set = ["LC_ALL", "LC_CTYPE", "LANG"]
        .into_iter()
        .filter_map(environment)
        .filter(|value| !value.is_empty());
    set.next().is_none_or(|locale| {
        let locale = locale.to_string_lossy().to_ascii_lowercase();
        locale.contains("utf-8") || locale.contains("utf8")
    })
}

/// Text as the locale can show it. Each character stays one column wide.
#[must_use]
pub fn shown(text: &str) -> Cow<'_, str> {
    if has_unicode() {
        return text.into();
    }
    ascii(text)
}

/// JSON as the locale can show it, with the same meaning.
#[must_use]
pub fn shown_json(text: &str) -> Cow<'_, str> {
    if has_unicode() {
        return text.into();
    }
    escaped(text)
}

/// systemctl's dots in ASCII, and less's mark for a line that goes on.
#[must_use]
pub fn ascii(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return text.into();
    }
    let plain = |next: char| match next {
        '●' | '○' => '*',
        '×' => 'x',
        '…' => '>',
        'µ' => 'u',
        next if next.is_ascii() => next,
        _ => '?',
    };
    text.chars().map(plain).collect::<String>().into()
}

/// Only strings in JSON have more than ASCII, so each such character is escaped (RFC 8259, 7).
fn escaped(json: &str) -> Cow<'_, str> {
    use std::fmt::Write as _;

    if json.is_ascii() {
        return json.into();
    }
    let mut text = String::with_capacity(json.len());
    for next in json.chars() {
        if next.is_ascii() {
            text.push(next);
            continue;
        }
        for unit in next.encode_utf16(&mut [0; 2]) {
            // Writing to a String can't fail.
            let _ = write!(text, "\\u{unit:04x}");
        }
    }
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::terminal::Environment;

    #[test]
    fn the_locale_is_as_the_environment_says() {
        assert!(unicode(|_| None));
        assert!(unicode(|name| (name == "LANG").then(|| "".into())));
        assert!(unicode(|name| (name == "LANG").then(|| "de_DE.utf8".into())));
        assert!(!unicode(|name| (name == "LANG").then(|| "C".into())));
        let over: Environment = |name| match name {
            "LC_ALL" => Some("POSIX".into()),
            "LANG" => Some("C.UTF-8".into()),
            _ => None,
        };
        assert!(!unicode(over));
        let ctype: Environment = |name| match name {
            "LC_CTYPE" => Some("C.UTF-8".into()),
            "LANG" => Some("C".into()),
            _ => None,
        };
        assert!(unicode(ctype));
    }

    #[test]
    fn what_the_locale_lacks_is_shown_in_ascii() {
        assert_eq!(
            ascii("● web1 - ×, abc…, Zürich"),
            "* web1 - x, abc>, Z?rich"
        );
        assert_eq!(escaped(r#"{"a":"ü😀"}"#), r#"{"a":"\u00fc\ud83d\ude00"}"#);
    }
}
