//! The service that the settings are for, as root has to know it to check them: a file that
//! root can read may be out of the service's reach.
//!
//! The service manager says which user the unit runs as and what its sandbox hides; where
//! there is none that answers, the unit file says it that this program is shipped with.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::base::durable::owner::Owner;
use crate::base::text;

mod credential;
mod obstacle;
mod policy;
mod sight;
mod state;
mod unit;
mod variables;

pub use credential::Credential;
use credential::Stores;
pub use obstacle::Obstacle;
pub use sight::{Note, ServiceView};
use state::Private;
pub use state::Seen;
use unit::Unit;

/// What is asked of the service manager.
const PROPERTIES: &str = "--property=LoadState,User,Group,SupplementaryGroups,ProtectHome,\
                          PrivateTmp,InaccessiblePaths,TemporaryFileSystem,BindPaths,\
                          BindReadOnlyPaths,DynamicUser,StateDirectory,Environment,\
                          EnvironmentFiles,PassEnvironment,UnsetEnvironment,FragmentPath,\
                          DropInPaths,NeedDaemonReload";

/// How many seconds the service manager and the system's lists of users may take.
const PATIENCE: &str = "5";

/// Where the service manager puts a unit's credentials while it runs.
const CREDENTIALS: &str = "/run/credentials";

/// Where units and their drop-ins are.
const UNITS: [&str; 4] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
];

/// The first of the users that systemd makes for units (systemd.exec(5), `DynamicUser`=).
const FIRST_DYNAMIC: u32 = 61184;

/// Where systemd keeps state directories, and those of users that are there only while the
/// unit runs.
const STATES: &str = "/var/lib";
const PRIVATE_STATES: &str = "/var/lib/private";

/// What the check cannot know of a unit's files.
fn unlike_shipped(unit: &str, found: &Unit) -> impl Iterator<Item = Note> {
    let unknown = |what, why| Note::Unknown {
        unit: unit.to_owned(),
        what,
        why,
    };
    let stale = found.is_stale.then(|| {
        let why = "systemd has not read them again (`systemctl daemon-reload` does)".to_owned();
        unknown("what changed in its files", why)
    });
    let command = found
        .place(&["ExecStart"], |value| !value.is_empty())
        .filter(|place| found.parts.first() != Some(&place.file))
        .map(|place| unknown("the options of its command", format!("{place} sets it")));
    stale.into_iter().chain(command)
}

/// A state directory that the service does not find as it is now: the service manager moves that of
/// a dynamic user, and hands that of another user over at the next start.
fn unlike_today(state: &Path, is_dynamic: bool, owner: Option<Owner>) -> Option<Private> {
    if is_dynamic {
        return Some(Private::of(state.to_owned()));
    }
    let about = fs::symlink_metadata(state).ok()?;
    let is_handed_over = owner.is_some_and(|owner| owner.uid() != about.uid());
    is_handed_over.then(|| Private::open(state.to_owned(), state))
}

/// A service, as root sees it.
#[derive(Debug)]
pub struct Service {
    unit: &'static str,
    environment: Vec<(OsString, OsString)>,
    user: String,
    /// None if the system knows no such user.
    owner: Option<Owner>,
    groups: Vec<u32>,
    sight: ServiceView,
    obstacles: Vec<Obstacle>,
    /// Where the bus does not let the user own the name.
    no_name: Option<Obstacle>,
}

impl Service {
    /// The service of this name, if root asks for it by hand: None for other users, for the service
    /// itself, and if there is no such unit or no such user.
    #[must_use]
    pub fn for_root(unit: &'static str, shipped: &str) -> Option<Self> {
        let by_hand = std::env::var_os("STATE_DIRECTORY").is_none();
        if !rustix::process::geteuid().is_root() || !by_hand {
            return None;
        }
        let asked = ask("systemctl", &["show", unit, PROPERTIES]);
        let unit_of = |text: &str| Unit::parse(unit, text);
        let mut found = match asked.as_deref().map(unit_of) {
            Some(found) if found.is_loaded => found,
            // It is not installed.
            Some(found) if found.is_known => return None,
            _ => unit_of(shipped),
        };
        let mut notes = Vec::new();
        let unknown = |what, why| Note::Unknown {
            unit: unit.to_owned(),
            what,
            why,
        };
        if !found.is_loaded {
            // Without a drop-in, the unit is as shipped.
            if let Some(drop_in) = a_drop_in(unit) {
                let why = format!(
                    "the service manager does not answer and there is {}",
                    text::path(&drop_in)
                );
                notes.push(unknown("what its drop-ins set", why));
            }
        } else if let Some(credentials) = credential::of_manager(unit) {
            found.credentials = credentials;
        } else {
            let why = "the service manager does not answer on the bus".to_owned();
            notes.push(unknown("which credentials it has", why));
        }
        notes.extend(unlike_shipped(unit, &found));
        let user = found.user.take().filter(|user| user != "root");
        // A user that is there only while the unit runs is named as the unit is.
        let own_name = || {
            found
                .is_dynamic
                .then(|| unit.trim_end_matches(".service").to_owned())
        };
        let user = user.or_else(own_name)?;
        let number = |text: Option<String>| text?.trim().parse::<u32>().ok();
        let (owner, groups) = match number(ask("id", &["-u", "--", &user])) {
            Some(uid) => {
                let gid = match &found.group {
                    Some(group) => gid_of(group)?,
                    None => number(ask("id", &["-g", "--", &user]))?,
                };
                let groups = ask("id", &["-G", "--", &user])?;
                let groups = groups.split_whitespace().filter_map(|gid| gid.parse().ok());
                (Some(Owner::new(uid, gid)), groups.collect())
            }
            // A dynamic user shares its rights with no other, whichever number it gets.
            None if found.is_dynamic => {
                let owner = Owner::new(FIRST_DYNAMIC, FIRST_DYNAMIC);
                (Some(owner), Vec::new())
            }
            None if found.is_loaded => (None, Vec::new()),
            None => return None,
        };
        let groups: Vec<u32> = groups;
        let more = found.groups.iter().filter_map(|group| gid_of(group));
        let groups: Vec<u32> = groups.into_iter().chain(more).collect();
        let mut obstacles = Vec::new();
        let user_place = found.place(&["User"], |_| true);
        if owner.is_none() {
            obstacles.push(Obstacle::NoUser {
                unit: unit.to_owned(),
                user: user.clone(),
                place: user_place.clone(),
            });
        }
        let environment = variables::of_unit(&found, unit, &mut obstacles);
        obstacles.extend(credential::missing(&found, unit));
        let no_name = Unit::parse(unit, shipped)
            .bus_name
            .filter(|name| owner.is_some() && policy::refuses(name, &user, &groups))
            .map(|name| Obstacle::NoName {
                unit: unit.to_owned(),
                user: user.clone(),
                name,
                place: user_place,
            });
        let private = found.states.iter();
        let private = private.filter_map(|state| unlike_today(state, found.is_dynamic, owner));
        let private: Vec<_> = private.collect();
        let mut sight = found.sight;
        sight.handed = credential::resolve(unit, &found.credentials, &Stores::of_system());
        sight.private = private;
        sight.notes = notes;
        sight.user = Some(user.clone());
        Some(Self {
            unit,
            environment,
            user,
            owner,
            groups,
            sight,
            obstacles,
            no_name,
        })
    }

    /// What keeps the unit from starting, whatever the settings are. The name on the bus counts
    /// only if it is taken `on_system_bus`.
    pub fn obstacles(&self, on_system_bus: bool) -> impl Iterator<Item = &Obstacle> {
        let no_name = self.no_name.as_ref().filter(|_| on_system_bus);
        self.obstacles.iter().chain(no_name)
    }

    /// What its sandbox hides.
    #[must_use]
    pub fn sight(&self) -> ServiceView {
        self.sight.clone()
    }

    /// The variables of the unit that begin with `prefix`; those of this process override them,
    /// because they were set by hand for this run.
    #[must_use]
    pub fn environment(
        &self,
        prefix: &str,
        own: BTreeMap<OsString, OsString>,
    ) -> BTreeMap<OsString, OsString> {
        let ours = |(name, _): &&(OsString, OsString)| {
            let name = name.as_encoded_bytes();
            name.starts_with(prefix.as_bytes())
        };
        let units = self.environment.iter().filter(ours).cloned();
        units.chain(own).collect()
    }

    /// The credentials that it runs with, if it runs and has some. Those of a run as another user
    /// end with it.
    #[must_use]
    pub fn credentials(&self) -> Option<PathBuf> {
        let directory = Path::new(CREDENTIALS).join(self.unit);
        let about = fs::symlink_metadata(&directory).ok()?;
        fs::read_dir(&directory).ok()?.next()?.ok()?;
        let is_own = self.owner.is_none_or(|owner| about.uid() == owner.uid());
        (about.is_dir() && (is_own || about.uid() == 0)).then_some(directory)
    }

    /// Reads the settings, and gives up root's rights for those of the service's user, for good, if
    /// root asks about a service. The rights are given up before reading, except for a `draft`,
    /// which that user may not be able to read. Must be called before there is a second thread.
    ///
    /// # Errors
    ///
    /// The system's, if the rights could not be given up.
    pub fn reading<T>(
        service: Option<&Self>,
        draft: bool,
        read: impl FnOnce() -> T,
    ) -> io::Result<T> {
        let take_over = |now: bool| match service.filter(|_| now) {
            Some(Self {
                owner: Some(owner),
                groups,
                ..
            }) => owner.take_over(groups),
            _ => Ok(()),
        };
        take_over(!draft)?;
        let read = read();
        take_over(draft)?;
        Ok(read)
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.owner {
            Some(_) => write!(f, "{}, the user of {}", self.user, self.unit),
            None => write!(f, "root, as {} has no user that is known", self.unit),
        }
    }
}

fn gid_of(group: &str) -> Option<u32> {
    if let Ok(number) = group.parse() {
        return Some(number);
    }
    let entry = ask("getent", &["group", "--", group])?;
    entry.split(':').nth(2)?.trim().parse().ok()
}

/// What a program says, if it succeeds in time.
fn ask(program: &str, arguments: &[&str]) -> Option<String> {
    String::from_utf8(ask_with(program, arguments, &[])?).ok()
}

/// The same, with this as its input.
fn ask_with(program: &str, arguments: &[&str], input: &[u8]) -> Option<Vec<u8>> {
    let mut command = Command::new("timeout");
    command.args([PATIENCE, program]).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.stderr(Stdio::null()).spawn().ok()?;
    // One that does not read it says so by its status.
    let _ = child.stdin.take()?.write_all(input);
    let output = child.wait_with_output().ok()?;
    output.status.success().then_some(output.stdout)
}

/// Returns true if the unit's file is installed, whether or not a service manager runs.
#[must_use]
pub fn is_installed(unit: &str) -> bool {
    UNITS
        .iter()
        .any(|units| Path::new(units).join(unit).exists())
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
        let said = |more: &str| {
            let shown = format!(
                "FragmentPath=/none/a.service\nDropInPaths={}\n{more}",
                drop_in.display()
            );
            let unit = Unit::parse("a.service", &shown);
            let notes = unlike_shipped("a.service", &unit);
            notes.map(|note| note.to_string()).collect::<Vec<_>>()
        };
        fs::write(&drop_in, "[Service]\nNice=1\n").unwrap();
        assert_eq!(said("NeedDaemonReload=no"), [""; 0]);
        let stale = said("NeedDaemonReload=yes");
        assert!(stale[0].contains("`systemctl daemon-reload`"), "{stale:?}");
        fs::write(
            &drop_in,
            "[Service]\nExecStart=\nExecStart=/usr/bin/a --config x\n",
        )
        .unwrap();
        let command = said("");
        let place = format!(
            "the options of its command, as {}:3 sets it",
            drop_in.display()
        );
        assert!(command[0].contains(&place), "{command:?}");
    }

    #[test]
    fn where_a_link_leads_counts() {
        let unit = Unit::parse("a.service", "InaccessiblePaths=/proc/self/fd\n");
        let sight = ServiceView {
            hidden: vec![(std::env::temp_dir().canonicalize().unwrap(), "PrivateTmp")],
            ..unit.sight
        };
        let root = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let elsewhere = tempfile::NamedTempFile::new().unwrap();
        let link = root.path().join("link");
        std::os::unix::fs::symlink(elsewhere.path(), &link).unwrap();
        let hidden = sight.hides(&link).unwrap();
        assert_eq!(hidden.path, elsewhere.path().canonicalize().unwrap());
    }
}
