//! What the service manager has made of a unit's files and drop-ins, and what of it is not known.

use std::fs;
use std::path::{Path, PathBuf};

use super::calls::Filter;
use super::command::{self, Options};
use super::credential;
use super::manager::Properties;
use super::needs::Needs;
use super::unit::{LoadState, Unit};
use super::{Note, UNITS, ask};
use crate::base::text;

/// What is asked of the service manager.
const PROPERTIES: &str = "--property=LoadState,User,Group,SupplementaryGroups,ProtectHome,\
                          PrivateTmp,InaccessiblePaths,TemporaryFileSystem,BindPaths,\
                          BindReadOnlyPaths,DynamicUser,StateDirectory,Environment,\
                          EnvironmentFiles,PassEnvironment,UnsetEnvironment,FragmentPath,\
                          DropInPaths,NeedDaemonReload,AmbientCapabilities,\
                          CapabilityBoundingSet,PrivateUsers,\
                          PrivateNetwork,NetworkNamespacePath,RestrictAddressFamilies,LimitNOFILE,\
                          Requires,Requisite,BindsTo";

/// The unit, as the service manager has it; as shipped, if there is none that knows more. None if it
/// is not installed.
pub(super) fn unit(unit: &str, shipped: &str) -> Option<Unit> {
    let asked = ask("systemctl", &["show", unit, PROPERTIES]);
    let unit_of = |text: &str| Unit::parse(unit, text);
    let Some(found) = asked.as_deref().map(unit_of) else {
        return Some(unit_of(shipped));
    };
    Some(match found.load {
        LoadState::Loaded => found,
        // Nothing else is known of it.
        load @ (LoadState::Broken | LoadState::Masked) => Unit {
            load,
            ..unit_of(shipped)
        },
        LoadState::Missing => return None,
        LoadState::Unknown => unit_of(shipped),
    })
}

/// A note about a unit that could not be loaded.
pub(super) fn note(unit: &str, found: &Unit) -> Option<Note> {
    match found.load {
        // Without a drop-in, the unit is as shipped.
        LoadState::Unknown => a_drop_in(unit).map(|drop_in| Note::Unknown {
            unit: unit.to_owned(),
            what: "what its drop-ins set",
            why: format!(
                "the service manager does not answer and there is {}",
                text::path(&drop_in)
            ),
        }),
        _ => None,
    }
}

/// What the service manager says on the bus: the credentials, and the options of the command. What
/// it does not say is noted.
pub(super) fn of_bus(unit: &str, found: &mut Unit, notes: &mut Vec<Note>) -> Option<Options> {
    let Some(properties) = Properties::of(unit) else {
        notes.push(Note::Unknown {
            unit: unit.to_owned(),
            what: "which credentials it has, and the options of its command",
            why: "the service manager does not answer on the bus".to_owned(),
        });
        notes.extend(unknown_of(unit, found, None));
        return None;
    };
    found.credentials = credential::of_properties(&properties);
    found.credentials_are_known = true;
    found.network.take_rules(&properties);
    found.needs = Needs::of(&properties);
    found.calls = Filter::of(&properties);
    let program = unit.trim_end_matches(".service");
    let options = Options::of(&properties, program);
    notes.extend(unknown_of(unit, found, options.as_ref().err()));
    options.ok()
}

/// What the check cannot know of a unit: its files have changed, or its command is another.
fn unknown_of(unit: &str, found: &Unit, options: Option<&command::Unknown>) -> Vec<Note> {
    let unknown = |what, why| Note::Unknown {
        unit: unit.to_owned(),
        what,
        why,
    };
    let stale = found.is_stale.then(|| {
        let why = "systemd has not read them again (`systemctl daemon-reload` does)".to_owned();
        unknown("what changed in its files", why)
    });
    let command = options.map(|why| {
        let place = found.place(&["ExecStart"], |value| !value.is_empty());
        let place = place.map_or_else(String::new, |place| format!(" ({place})"));
        let why = format!("ExecStart={place} {why}");
        unknown("the options of its command", why)
    });
    stale.into_iter().chain(command).collect()
}

/// A drop-in of the unit, or of all services.
fn a_drop_in(unit: &str) -> Option<PathBuf> {
    let directories = UNITS.iter().flat_map(|units| {
        let of = |name: &str| Path::new(units).join(format!("{name}.d"));
        [of(unit), of("service")]
    });
    let mut files = directories.flat_map(|directory| {
        let entries = fs::read_dir(directory).ok().into_iter().flatten();
        entries.filter_map(|entry| Some(entry.ok()?.path()))
    });
    files.find(|file| file.extension().is_some_and(|ending| ending == "conf"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_as_shipped_is_said() {
        let directory = tempfile::tempdir().unwrap();
        let drop_in = directory.path().join("x.conf");
        let said = |more: &str, options: Option<&command::Unknown>| {
            let shown = format!(
                "FragmentPath=/none/a.service\nDropInPaths={}\n{more}",
                drop_in.display()
            );
            let unit = Unit::parse("a.service", &shown);
            let notes = unknown_of("a.service", &unit, options);
            notes.iter().map(Note::to_string).collect::<Vec<_>>()
        };
        fs::write(&drop_in, "[Service]\nNice=1\n").unwrap();
        assert_eq!(said("NeedDaemonReload=no", None), [""; 0]);
        let stale = said("NeedDaemonReload=yes", None);
        assert!(stale[0].contains("`systemctl daemon-reload`"), "{stale:?}");
        fs::write(
            &drop_in,
            "[Service]\nExecStart=\nExecStart=/usr/bin/a $OPTIONS\n",
        )
        .unwrap();
        assert_eq!(said("", None), [""; 0]);
        let variable = command::Unknown::Variable("$OPTIONS".to_owned());
        let command = said("", Some(&variable));
        let place = format!(
            "the options of its command, as ExecStart= ({}:3) has the variable $OPTIONS;",
            drop_in.display()
        );
        assert!(command[0].contains(&place), "{command:?}");
    }
}
