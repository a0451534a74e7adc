//! What keeps a unit from starting, whatever the settings of its program are.

use std::fmt;
use std::path::PathBuf;

use thiserror::Error;

use super::unit::Place;
use crate::base::text;

/// The fewest open files that the programs are well with right after a start: standard streams,
/// event loops, listeners, buses, watches and files that are written. Some twenty is the least that
/// either has started with.
pub(super) const FEWEST_FILES: u64 = 32;

/// Such a thing, and where the unit asks for it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Obstacle {
    /// A file of variables that cannot be read.
    #[error(
        "{}: EnvironmentFile= of {unit}{} cannot be read, so the service does not start: {why}; \
         mend the file, or write a - in front of it in the unit",
        text::path(.path), at(.place.as_ref())
    )]
    Variables {
        /// The file.
        path: PathBuf,
        /// The unit.
        unit: String,
        /// Where it says so.
        place: Option<Place>,
        /// Why not.
        why: String,
    },
    /// The file of a credential that is not there.
    #[error(
        "{}: there is no such file, and {property}={name} of {unit}{} takes it from there, so the \
         service does not start; put the file there, or correct that line",
        text::path(.path), at(.place.as_ref())
    )]
    Credential {
        /// The file.
        path: PathBuf,
        /// The unit.
        unit: String,
        /// The setting of the unit.
        property: &'static str,
        /// The credential.
        name: String,
        /// Where the unit says so.
        place: Option<Place>,
    },
    /// A user that does not exist.
    #[error(
        "User={user} of {unit}{}: the system knows no such user, so the service does not start; \
         make the user, or correct that line",
        at(.place.as_ref())
    )]
    NoUser {
        /// The unit.
        unit: String,
        /// The user.
        user: String,
        /// Where the unit says so.
        place: Option<Place>,
    },
    /// A group that does not exist.
    #[error(
        "{property}={group} of {unit}{}: the system knows no such group, so the service does not \
         start; create the group, or correct that line",
        at(.place.as_ref())
    )]
    NoGroup {
        /// The unit.
        unit: String,
        /// The setting of the unit.
        property: &'static str,
        /// The group.
        group: String,
        /// Where the unit says so.
        place: Option<Place>,
    },
    /// Files of the unit that systemd refuses.
    #[error(
        "{unit}: systemd refuses the files of this unit, so the service does not start; \
         `systemctl status {unit}` and `systemd-analyze verify {unit}` say what is wrong with them"
    )]
    Broken {
        /// The unit.
        unit: String,
    },
    /// A unit that must not be started.
    #[error(
        "{unit}: the unit is masked, so the service does not start; `systemctl unmask {unit}` lets \
         it start"
    )]
    Masked {
        /// The unit.
        unit: String,
    },
    /// Sockets of this host that it may not have.
    #[error(
        "RestrictAddressFamilies= of {unit}{} forbids AF_UNIX, by which the service says that it has \
         started, so systemd ends it; add AF_UNIX to it",
        at(.place.as_ref())
    )]
    NoUnixSockets {
        /// The unit.
        unit: String,
        /// Where it says so.
        place: Option<Place>,
    },
    /// Fewer open files than a start needs.
    #[error(
        "LimitNOFILE={limit} of {unit}{} is too low, so the service does not start: it needs \
         {FEWEST_FILES} to start with all that it has; set a higher one",
        at(.place.as_ref())
    )]
    FewFiles {
        /// The unit.
        unit: String,
        /// How many it gets.
        limit: u64,
        /// Where it says so.
        place: Option<Place>,
    },
    /// A unit that it needs, and that systemd cannot start.
    #[error(
        "{property}={name} of {unit}{}: {why}, so the service does not start; {way_out}",
        at(.place.as_ref())
    )]
    Dependency {
        /// The unit.
        unit: String,
        /// The setting of the unit.
        property: &'static str,
        /// The other unit.
        name: String,
        /// Where the unit says so.
        place: Option<Place>,
        /// What is wrong with the other unit.
        why: &'static str,
        /// The way out.
        way_out: &'static str,
    },
    /// System calls that it may not make.
    #[error(
        "SystemCallFilter= of {unit}{} forbids {calls}, which every start needs, so the service does \
         not start; allow what the unit as shipped allows",
        at(.place.as_ref())
    )]
    Calls {
        /// The unit.
        unit: String,
        /// Where it says so.
        place: Option<Place>,
        /// What it forbids.
        calls: String,
    },
    /// Options that its program does not take.
    #[error(
        "ExecStart= of {unit}{}: {why}; so the service does not start; correct that line",
        at(.place.as_ref())
    )]
    Options {
        /// The unit.
        unit: String,
        /// Where it has the command.
        place: Option<Place>,
        /// What is wrong with them.
        why: String,
    },
    /// A path or a program that its start needs.
    #[error(
        "{}: {why}, but {property}= of {unit}{} needs it, so the service does not start; {way_out}",
        text::path(.path), at(.place.as_ref())
    )]
    Needed {
        /// The path.
        path: PathBuf,
        /// The unit.
        unit: String,
        /// The setting of the unit.
        property: &'static str,
        /// Where the unit says so.
        place: Option<Place>,
        /// What is wrong with it.
        why: String,
        /// The way out.
        way_out: &'static str,
    },
    /// The bus does not let the user own the service's name.
    #[error(
        "User={user} of {unit}{}: the policy of the system bus does not let this user own the name \
         {name}, so the service does not start; allow it in a file below /etc/dbus-1/system.d, \
         <busconfig><policy user=\"{user}\"><allow own=\"{name}\"/></policy></busconfig>, and run \
         `systemctl reload dbus`, or set dbus.bus = \"none\"",
        at(.place.as_ref())
    )]
    NoName {
        /// The unit.
        unit: String,
        /// The user.
        user: String,
        /// The name.
        name: String,
        /// Where the unit names the user.
        place: Option<Place>,
    },
}

pub(super) fn at(place: Option<&Place>) -> impl fmt::Display {
    place.map_or_else(String::new, |place| format!(" ({place})"))
}
