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
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use thiserror::Error;

use super::error::Hidden;
use crate::base::durable::owner::Owner;
use crate::base::text;

mod credential;
mod state;
mod unit;
mod variables;

pub use credential::Credential;
use credential::Stores;
#[cfg(test)]
use credential::Wanted;
pub use state::Seen;
use state::{Contents, Private};
use unit::Unit;

/// What is asked of the service manager.
const PROPERTIES: &str = "--property=LoadState,User,Group,SupplementaryGroups,ProtectHome,\
                          PrivateTmp,InaccessiblePaths,TemporaryFileSystem,BindPaths,\
                          BindReadOnlyPaths,DynamicUser,StateDirectory,Environment,\
                          EnvironmentFiles,PassEnvironment,UnsetEnvironment";

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

/// What a sandbox hides, and what it shows that nobody else sees.
#[derive(Clone, Debug, Default)]
pub struct ServiceView {
    unit: String,
    user: Option<String>,
    hidden: Vec<(PathBuf, &'static str)>,
    /// What is in a hidden directory and seen all the same.
    shown: Vec<PathBuf>,
    /// Where something else is bound to.
    bound: Vec<(PathBuf, &'static str)>,
    /// State directories of a user that is there only while the unit runs: systemd keeps them
    /// where nobody but root and the unit may go.
    private: Vec<Private>,
    /// The credentials that the next start hands over.
    handed: Vec<Credential>,
    /// What is not known of the unit, whatever the settings are.
    notes: Vec<Note>,
}

/// What there is to say of a file that this process does not see as the service will.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Note {
    /// It cannot be checked.
    #[error("{}: not checked: {why}", text::path(.path))]
    Unclear {
        /// The file.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// A file of variables that keeps the unit from starting.
    #[error(
        "{}: EnvironmentFile= of {unit} cannot be read, so the service does not start: {why}; \
         mend the file, or write a - in front of it in the unit",
        text::path(.path)
    )]
    Variables {
        /// The file.
        path: PathBuf,
        /// The unit.
        unit: String,
        /// Why not.
        why: String,
    },
    /// Nobody tells what the unit is like.
    #[error(
        "{unit}: not checked: {what}, as {why}; `systemctl cat {unit}` shows what the service will \
         have"
    )]
    Unknown {
        /// The unit.
        unit: String,
        /// What of it.
        what: &'static str,
        /// Why not.
        why: String,
    },
    /// It was checked where it is now.
    #[error(
        "{}: taken as the credential {name}, which systemd hands over at the start of {unit}",
        text::path(.path)
    )]
    Handed {
        /// Where it is now.
        path: PathBuf,
        /// Its name there.
        name: String,
        /// The unit.
        unit: String,
    },
}

impl ServiceView {
    /// Whether a file is hidden; where links lead counts as well.
    #[must_use]
    pub fn hides(&self, path: &Path) -> Option<Hidden> {
        if self.hidden.is_empty() || self.unclear(path).is_some() {
            return None;
        }
        let canonical = fs::canonicalize(path).ok();
        [Some(path), canonical.as_deref()]
            .into_iter()
            .flatten()
            .find_map(|path| self.hides_itself(path))
    }

    /// The user that the service runs as, where root asks for it.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// Why nothing can be said of a file from outside of the unit.
    #[must_use]
    pub fn unclear(&self, path: &Path) -> Option<Note> {
        let unit = &self.unit;
        let bound = |(target, _): &&(PathBuf, _)| path.starts_with(target);
        let why = if let Some((target, property)) = self.bound.iter().find(bound) {
            let target = text::path(target);
            format!("{property}= of {unit} puts something else at {target} for the service")
        } else {
            let shut = |error: &io::Error| error.kind() == io::ErrorKind::PermissionDenied;
            let private = self.private.iter();
            let private = private.filter(|state| state.seen.is_none());
            let mut private = private.map(|state| &state.path);
            let private = private.find(|state| path.starts_with(state))?;
            fs::symlink_metadata(path).err().filter(shut)?;
            let private = text::path(private);
            format!("DynamicUser= of {unit} shuts {private} for all but root and the service")
        };
        let path = path.to_owned();
        Some(Note::Unclear { path, why })
    }

    /// The credential of this name that the next start hands over.
    #[must_use]
    pub fn handed(&self, name: &Path) -> Option<&Credential> {
        let named = |one: &&Credential| Path::new(&one.name) == name;
        self.handed.iter().find(named)
    }

    /// Whether the next start hands this file over.
    #[must_use]
    pub fn is_handed(&self, path: &Path) -> bool {
        self.handed.iter().any(|one| one.path == path)
    }

    /// What there is to say of a credential.
    #[must_use]
    pub fn note(&self, credential: &Credential) -> Note {
        let (path, unit) = (credential.path.clone(), self.unit.clone());
        let name = credential.name.clone();
        if credential.certificate.is_some() {
            return Note::Handed { path, name, unit };
        }
        let why = format!(
            "{unit} takes it as the credential {name}, {}; whether it can is seen by starting it",
            credential.obstacle
        );
        Note::Unclear { path, why }
    }

    /// What is not known of the unit, whatever the settings are.
    #[must_use]
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// What root has seen at this path, in a state directory that only root and the service may
    /// enter.
    #[must_use]
    pub fn seen(&self, path: &Path) -> Option<Seen<'_>> {
        let in_it = |state: &&Private| path.parent() == Some(&state.path);
        let files = self.private.iter().find(in_it)?.seen.as_ref()?;
        Some(match files.get(path.file_name()?) {
            None => Seen::Nothing,
            Some(Contents::Key(read)) => Seen::Key(read),
            Some(Contents::Text(text)) => Seen::Text(text),
        })
    }

    /// One with something else bound to a directory.
    #[cfg(test)]
    pub(crate) fn binding(unit: &str, target: &Path) -> Self {
        Self {
            unit: unit.to_owned(),
            bound: vec![(target.to_owned(), "BindReadOnlyPaths")],
            ..Self::default()
        }
    }

    /// One with a state directory of a dynamic user.
    #[cfg(test)]
    pub(crate) fn dynamic(unit: &str, state: &Path) -> Self {
        Self {
            unit: unit.to_owned(),
            private: vec![Private {
                path: state.to_owned(),
                seen: None,
            }],
            ..Self::default()
        }
    }

    /// The same, where root has seen what is in it: it is at `real`.
    #[cfg(test)]
    pub(crate) fn dynamic_seen(unit: &str, state: &Path, real: &Path) -> Self {
        Self {
            unit: unit.to_owned(),
            private: vec![Private::open(state.to_owned(), real)],
            ..Self::default()
        }
    }

    /// One with a credential of the next start.
    #[cfg(test)]
    pub(crate) fn handing(unit: &str, name: &str, path: &Path) -> Self {
        Self {
            unit: unit.to_owned(),
            handed: credential::resolve(
                unit,
                &[Wanted::load(name, &path.display().to_string(), false)],
                &Stores::default(),
            ),
            ..Self::default()
        }
    }

    /// One that hides a directory.
    #[cfg(test)]
    pub(crate) fn hiding(unit: &str, directory: &Path, property: &'static str) -> Self {
        Self {
            unit: unit.to_owned(),
            hidden: vec![(directory.to_owned(), property)],
            ..Self::default()
        }
    }

    fn hides_itself(&self, path: &Path) -> Option<Hidden> {
        let in_hidden = |(directory, _): &&(PathBuf, _)| {
            let shown = |shown: &PathBuf| shown.starts_with(directory) && path.starts_with(shown);
            path.starts_with(directory) && !self.shown.iter().any(shown)
        };
        let (directory, property) = self.hidden.iter().find(in_hidden)?;
        Some(Hidden {
            path: path.to_owned(),
            directory: directory.clone(),
            property,
            unit: self.unit.clone(),
        })
    }
}

/// A service, as root sees it.
#[derive(Debug)]
pub struct Service {
    unit: &'static str,
    environment: Vec<(OsString, OsString)>,
    user: String,
    owner: Owner,
    groups: Vec<u32>,
    sight: ServiceView,
}

impl Service {
    /// The service of this name, where root asks for it by hand: None for anybody else, for
    /// the service itself, and where there is no such unit or no such user.
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
            // Where there is no drop-in, the unit is as it is shipped.
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
        let user = found.user.take().filter(|user| user != "root");
        // A user that is there only while the unit runs is named as the unit is.
        let own_name = || {
            found
                .is_dynamic
                .then(|| unit.trim_end_matches(".service").to_owned())
        };
        let user = user.or_else(own_name)?;
        let states = found.states.iter().filter(|_| found.is_dynamic);
        let private: Vec<_> = states.map(|state| Private::of(state.clone())).collect();
        let number = |text: Option<String>| text?.trim().parse::<u32>().ok();
        let (owner, groups) = match number(ask("id", &["-u", "--", &user])) {
            Some(uid) => {
                let gid = match &found.group {
                    Some(group) => gid_of(group)?,
                    None => number(ask("id", &["-g", "--", &user]))?,
                };
                let groups = ask("id", &["-G", "--", &user])?;
                let groups = groups.split_whitespace().filter_map(|gid| gid.parse().ok());
                (Owner::new(uid, gid), groups.collect())
            }
            // Its rights are nobody else's, whichever number it has.
            None if found.is_dynamic => (Owner::new(FIRST_DYNAMIC, FIRST_DYNAMIC), Vec::new()),
            None => return None,
        };
        let groups: Vec<u32> = groups;
        let more = found.groups.iter().filter_map(|group| gid_of(group));
        let environment = variables::of_unit(&found, unit, &mut notes);
        let mut sight = found.sight;
        sight.handed = credential::resolve(unit, &found.credentials, &Stores::of_system());
        sight.private = private;
        sight.notes = notes;
        sight.user = Some(user.clone());
        Some(Self {
            unit,
            environment,
            owner,
            groups: groups.into_iter().chain(more).collect(),
            user,
            sight,
        })
    }

    /// What its sandbox hides.
    #[must_use]
    pub fn sight(&self) -> ServiceView {
        self.sight.clone()
    }

    /// The variables of the unit that begin with `prefix`, below those of this process: whoever
    /// sets one by hand asks about that.
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

    /// The credentials that it runs with, if it runs.
    #[must_use]
    pub fn credentials(&self) -> Option<PathBuf> {
        let directory = Path::new(CREDENTIALS).join(self.unit);
        directory.is_dir().then_some(directory)
    }

    /// Reads the settings, and goes on with the rights of the service's user, for good, where root
    /// asks for a service: before, but for a `draft`, which that user may not be able to read. To
    /// be called before there is a second thread.
    ///
    /// # Errors
    ///
    /// The system's, where the rights could not be given up.
    pub fn reading<T>(
        service: Option<&Self>,
        draft: bool,
        read: impl FnOnce() -> T,
    ) -> io::Result<T> {
        let take_over = |now: bool| match service.filter(|_| now) {
            Some(service) => service.owner.take_over(&service.groups),
            None => Ok(()),
        };
        take_over(!draft)?;
        let read = read();
        take_over(draft)?;
        Ok(read)
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, the user of {}", self.user, self.unit)
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
