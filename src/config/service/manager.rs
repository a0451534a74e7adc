//! What the service manager says of a unit on the bus, where `systemctl show` cannot print it.

use std::fmt::Write as _;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::ask;

/// The interface that has the settings of services.
const SERVICE: &str = "org.freedesktop.systemd1.Service";

/// The properties of a service, each with its signature.
pub(super) struct Properties(Map<String, Value>);

impl Properties {
    /// None if the service manager does not answer.
    pub(super) fn of(unit: &str) -> Option<Self> {
        let path = object_path(unit);
        let answer = ask(
            "busctl",
            &[
                "--json=short",
                "call",
                "org.freedesktop.systemd1",
                &path,
                "org.freedesktop.DBus.Properties",
                "GetAll",
                "s",
                SERVICE,
            ],
        )?;
        Self::parse(&answer)
    }

    /// From busctl's JSON for the answer of `GetAll`.
    pub(super) fn parse(json: &str) -> Option<Self> {
        let answer: Value = serde_json::from_str(json).ok()?;
        Some(Self(answer.get("data")?.get(0)?.as_object()?.clone()))
    }

    /// None if there is no such property, or it is none of this type.
    pub(super) fn get<T: for<'de> Deserialize<'de>>(&self, name: &str) -> Option<T> {
        T::deserialize(self.0.get(name)?.get("data")?).ok()
    }
}

/// The object of a unit: what is no letter and no digit is escaped.
fn object_path(unit: &str) -> String {
    let mut path = String::from("/org/freedesktop/systemd1/unit/");
    for byte in unit.bytes() {
        if byte.is_ascii_alphanumeric() {
            path.push(byte.into());
        } else {
            // Writing to a String can't fail.
            let _ = write!(path, "_{byte:02x}");
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_has_its_object() {
        assert_eq!(
            object_path("metrics-agent.service"),
            "/org/freedesktop/systemd1/unit/metrics_2dagent_2eservice"
        );
        assert!(Properties::parse("no answer").is_none());
    }
}
