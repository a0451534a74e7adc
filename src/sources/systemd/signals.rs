//! The manager's signals and answers, from messages to plain values.

use std::collections::HashMap;

use zbus::{Message, ObjectPath, OwnedObjectPath, Variant};

use super::manager::{Listed, Stamps};
use crate::sources::bus::{Peer, is_signal};

pub(super) const NAME: &str = "org.freedesktop.systemd1";
pub(super) const MANAGER: &str = "org.freedesktop.systemd1.Manager";
pub(super) const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
pub(super) const SERVICE: &str = "org.freedesktop.systemd1.Service";
const UNIT: &str = "org.freedesktop.systemd1.Unit";
const PATH: &str = "/org/freedesktop/systemd1";
const UNITS_BELOW: &str = "/org/freedesktop/systemd1/unit";

/// A signal of the manager's that matters here.
#[derive(Debug, PartialEq)]
pub(super) enum Signal {
    UnitNew { name: String, path: String },
    UnitRemoved { path: String },
    JobNew { id: u32, unit: String },
    JobRemoved { id: u32, unit: String },
    StartupFinished,
    Reloading(bool),
    StateChanged { path: String, state: String },
    Restarts { path: String, restarts: u32 },
}

/// The manager's object, of the manager that has this unique name.
pub(super) fn manager(owner: &str) -> Peer<'_> {
    Peer {
        name: owner,
        path: PATH,
        interface: MANAGER,
    }
}

/// The properties of an object of this manager's.
pub(super) fn properties<'a>(owner: &'a str, path: Option<&'a str>) -> Peer<'a> {
    Peer {
        name: owner,
        path: path.unwrap_or(PATH),
        interface: PROPERTIES,
    }
}

/// What the bus is asked for: these signals and no others.
pub(super) fn rules() -> impl Iterator<Item = String> {
    let manager = [
        "UnitNew",
        "UnitRemoved",
        "JobNew",
        "JobRemoved",
        "StartupFinished",
        "Reloading",
    ]
    .map(|member| {
        format!(
            "type='signal',sender='{NAME}',path='{PATH}',interface='{MANAGER}',member='{member}'"
        )
    });
    let units = [UNIT, SERVICE].map(|interface| {
        format!(
            "type='signal',sender='{NAME}',path_namespace='{UNITS_BELOW}',\
             interface='{PROPERTIES}',member='PropertiesChanged',arg0='{interface}'"
        )
    });
    manager.into_iter().chain(units)
}

/// Returns true if a rule matches signals that come in large numbers while units flap.
pub(super) fn may_flood(rule: &str) -> bool {
    rule.contains(NAME) && !rule.contains("NameOwnerChanged") && !rule.contains("'Reloading'")
}

impl Signal {
    /// None for what is not from this manager, not one of these, or not as documented.
    pub(super) fn parse(message: &Message, owner: &str) -> Option<Self> {
        let header = message.header();
        let body = message.body();
        if is_signal(&header, owner, PROPERTIES, "PropertiesChanged") {
            return properties_changed(message, header.path()?);
        }
        let member = header.member()?;
        if !is_signal(&header, owner, MANAGER, member) || *header.path()? != PATH {
            return None;
        }
        match member.as_str() {
            "UnitNew" => {
                let (name, path): (&str, ObjectPath<'_>) = body.deserialize().ok()?;
                Some(Self::UnitNew {
                    name: name.to_owned(),
                    path: path.to_string(),
                })
            }
            "UnitRemoved" => {
                let (_, path): (&str, ObjectPath<'_>) = body.deserialize().ok()?;
                Some(Self::UnitRemoved {
                    path: path.to_string(),
                })
            }
            "JobNew" => {
                let (id, _, unit): (u32, ObjectPath<'_>, &str) = body.deserialize().ok()?;
                Some(Self::JobNew {
                    id,
                    unit: unit.to_owned(),
                })
            }
            "JobRemoved" => {
                let (id, _, unit, _): (u32, ObjectPath<'_>, &str, &str) =
                    body.deserialize().ok()?;
                Some(Self::JobRemoved {
                    id,
                    unit: unit.to_owned(),
                })
            }
            "StartupFinished" => Some(Self::StartupFinished),
            "Reloading" => body.deserialize().ok().map(Self::Reloading),
            _ => None,
        }
    }
}

fn properties_changed(message: &Message, path: &ObjectPath<'_>) -> Option<Signal> {
    let body = message.body();
    let (interface, mut changed, _): (&str, HashMap<&str, Variant<'_>>, Vec<&str>) =
        body.deserialize().ok()?;
    let path = path.to_string();
    if interface == UNIT {
        let state = String::try_from(changed.remove("ActiveState")?).ok()?;
        Some(Signal::StateChanged { path, state })
    } else if interface == SERVICE {
        let restarts = u32::try_from(changed.remove("NRestarts")?).ok()?;
        Some(Signal::Restarts { path, restarts })
    } else {
        None
    }
}

/// A unit as `ListUnits` has it: name, description, load state, active state, sub state,
/// followed unit, object, job, job's type, job's object.
type UnitRow<'a> = (
    &'a str,
    &'a str,
    &'a str,
    &'a str,
    &'a str,
    &'a str,
    ObjectPath<'a>,
    u32,
    &'a str,
    ObjectPath<'a>,
);

/// The answer to `ListUnits` and `ListUnitsByPatterns`.
pub(super) fn with_units<R>(
    answer: &Message,
    take: impl FnOnce(&mut dyn Iterator<Item = Listed<'_>>) -> R,
) -> Option<R> {
    let body = answer.body();
    let rows: Vec<UnitRow<'_>> = body.deserialize().ok()?;
    Some(take(&mut rows.iter().map(|row| Listed {
        name: row.0,
        path: row.6.as_str(),
        loaded: row.2 == "loaded",
        state: row.3,
    })))
}

/// A job as `ListJobs` has it: number, unit, type, state, object, unit's object.
type JobRow = (
    u32,
    String,
    String,
    String,
    OwnedObjectPath,
    OwnedObjectPath,
);

/// The answer to `ListJobs`.
pub(super) fn jobs(answer: &Message) -> Option<Vec<u32>> {
    let rows: Vec<JobRow> = answer.body().deserialize().ok()?;
    Some(rows.into_iter().map(|row| row.0).collect())
}

/// The answer to `Get`.
pub(super) fn value<T: TryFrom<Variant<'static>>>(answer: &Message) -> Option<T> {
    let body = answer.body();
    let value: Variant<'_> = body.deserialize().ok()?;
    T::try_from(value.try_to_owned().ok()?.into()).ok()
}

/// The manager's own properties, as `GetAll` answers: state, version and the boot's stamps.
pub(super) fn all(answer: &Message) -> Option<(String, String, Stamps)> {
    let body = answer.body();
    let all: HashMap<&str, Variant<'_>> = body.deserialize().ok()?;
    let text = |name: &str| match all.get(name) {
        Some(Variant::Str(text)) => text.to_string(),
        _ => String::new(),
    };
    let number = |name: &str| match all.get(name) {
        Some(Variant::U64(number)) => *number,
        Some(Variant::U32(number)) => u64::from(*number),
        _ => 0,
    };
    let stamps = Stamps {
        firmware: number("FirmwareTimestampMonotonic"),
        loader: number("LoaderTimestampMonotonic"),
        kernel_realtime: number("KernelTimestamp"),
        initrd: number("InitRDTimestampMonotonic"),
        userspace: number("UserspaceTimestampMonotonic"),
        finish: number("FinishTimestampMonotonic"),
        soft_reboots: number("SoftRebootsCount"),
    };
    Some((text("SystemState"), text("Version"), stamps))
}
