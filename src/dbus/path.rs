//! Object paths and interfaces: where which object is served, and as what.

use std::fmt::Write as _;

use zbus::{ObjectPath, OwnedObjectPath};

/// The agent itself; everything else is below it.
pub const AGENT: &str = "/org/metricsagent/Agent1";

/// The collector.
pub const COLLECTOR: &str = "/org/metricsagent/Collector1";

/// Where systemd looks for the log's controls (org.freedesktop.LogControl1(5)).
pub const LOG_CONTROL: &str = "/org/freedesktop/LogControl1";

/// The interface of the agent's own object.
pub(crate) const AGENT_INTERFACE: &str = "org.metricsagent.Agent1";

/// That of a connection.
pub(crate) const CONNECTION_INTERFACE: &str = "org.metricsagent.Connection1";

/// That of a source.
pub(crate) const SOURCE_INTERFACE: &str = "org.metricsagent.Source1";

/// That of the collector's own object.
pub(crate) const COLLECTOR_INTERFACE: &str = "org.metricsagent.Collector1";

/// That of the log's controls.
pub(crate) const LOG_CONTROL_INTERFACE: &str = "org.freedesktop.LogControl1";

/// The object of a connection, by its name in the settings.
#[must_use]
pub fn connection(name: &str) -> OwnedObjectPath {
    below("connection", name)
}

/// The object of a source, by its name.
#[must_use]
pub fn source(name: &str) -> OwnedObjectPath {
    below("source", name)
}

fn below(kind: &str, name: &str) -> OwnedObjectPath {
    let path = format!("{AGENT}/{kind}/{}", escape(name));
    // Made of letters, digits and underscores only, so it is an object path.
    ObjectPath::from_string_unchecked(path).into()
}

/// A name as one element of an object path, escaped as `sd_bus_path_encode(3)` does it:
/// what is neither a letter nor a digit becomes `_` and two hexadecimal digits, and so
/// does a digit in front; nothing at all becomes `_`.
#[must_use]
pub fn escape(name: &str) -> String {
    if name.is_empty() {
        return "_".to_owned();
    }
    let mut escaped = String::with_capacity(name.len());
    for (at, byte) in name.bytes().enumerate() {
        if byte.is_ascii_alphabetic() || (at > 0 && byte.is_ascii_digit()) {
            escaped.push(char::from(byte));
        } else {
            // Writing to a String can't fail.
            let _ = write!(escaped, "_{byte:02x}");
        }
    }
    escaped
}

/// The name that the object at a path stands for.
#[must_use]
pub fn name_of(path: &str) -> String {
    let element = path.rsplit('/').next().unwrap_or_default();
    unescape(element)
}

/// The reverse of [`escape`]; what is no escape stays as it is.
fn unescape(element: &str) -> String {
    if element == "_" {
        return String::new();
    }
    let mut name = Vec::with_capacity(element.len());
    let mut rest = element.as_bytes();
    while let Some((&first, others)) = rest.split_first() {
        let byte = match (first, others.split_at_checked(2)) {
            (b'_', Some((digits, after))) => std::str::from_utf8(digits)
                .ok()
                .and_then(|digits| u8::from_str_radix(digits, 16).ok())
                .map(|byte| (byte, after)),
            _ => None,
        };
        let (byte, after) = byte.unwrap_or((first, others));
        name.push(byte);
        rest = after;
    }
    String::from_utf8_lossy(&name).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_as_systemd_does() {
        for (name, escaped) in [
            ("", "_"),
            ("foo.bar", "foo_2ebar"),
            ("foo/bar-2", "foo_2fbar_2d2"),
            ("0foo", "_30foo"),
            ("web1", "web1"),
            ("a_b", "a_5fb"),
            ("ä", "_c3_a4"),
        ] {
            assert_eq!(escape(name), escaped, "{name:?}");
            assert_eq!(name_of(&format!("/a/{escaped}")), name, "{escaped:?}");
        }
    }

    #[test]
    fn what_is_no_escape_stays() {
        assert_eq!(name_of("/a/b_"), "b_");
        assert_eq!(name_of("/a/_zz_2"), "_zz_2");
        assert_eq!(name_of(""), "");
    }

    #[test]
    fn every_name_makes_a_valid_path() {
        for name in ["main", "", "a-b", "ünder", "../..", "1"] {
            let path = connection(name);
            assert!(ObjectPath::try_from(path.as_str()).is_ok(), "{path}");
        }
        assert_eq!(
            source("disk-io").as_str(),
            "/org/metricsagent/Agent1/source/disk_2dio"
        );
    }
}
