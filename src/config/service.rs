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
use crate::config::ConfigError;
use crate::config::layers::Files;

mod calls;
mod capabilities;
mod changed;
mod check;
mod command;
mod credential;
mod dependencies;
mod load;
mod manager;
mod needs;
mod network;
mod obstacle;
mod policy;
mod settings_file;
mod sight;
mod state;
mod unit;
mod user;
mod variables;

use capabilities::Capabilities;
pub use changed::{Changed, changed_since_start};
pub use check::Check;
use command::Options;
pub use command::words_of_unit;
use credential::Stores;
pub use credential::{Credential, may_be_handed};
pub use network::{FIRST_FREE_PORT, UnitNetwork};
use obstacle::FEWEST_FILES;
pub use obstacle::Obstacle;
pub use settings_file::SettingsFile;
use settings_file::all_seen;
pub use sight::{Note, ServiceView};
pub use state::Seen;
use state::unlike_today;
use unit::{LoadState, Place, Unit};
pub use user::user_of_running;
use user::{UnitUser, user_of};

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

/// Where systemd keeps state directories, and those of users that are there only while the
/// unit runs.
const STATES: &str = "/var/lib";
const PRIVATE_STATES: &str = "/var/lib/private";

/// What groups of the unit that the system does not know are in the way.
fn no_groups(
    unit: &str,
    found: &Unit,
    unknown: Vec<(&'static str, String)>,
) -> impl Iterator<Item = Obstacle> {
    unknown.into_iter().map(move |(property, group)| {
        let names = |value: &str| value.split_whitespace().any(|name| name == group);
        let place = found.place(&[property], names);
        Obstacle::NoGroup {
            unit: unit.to_owned(),
            property,
            group,
            place,
        }
    })
}

/// A service, as root sees it.
#[derive(Debug)]
pub struct Service {
    unit: &'static str,
    environment: Vec<(OsString, OsString)>,
    /// Its state directories, and its user's home.
    states: Vec<PathBuf>,
    home: Option<OsString>,
    user: String,
    /// None if the system knows no such user.
    owner: Option<Owner>,
    groups: Vec<u32>,
    sight: ServiceView,
    network: UnitNetwork,
    capabilities: Capabilities,
    obstacles: Vec<Obstacle>,
    /// Where the bus does not let the user own the name.
    no_name: Option<Obstacle>,
    /// None if they are not known.
    options: Option<Options>,
    credentials_are_known: bool,
    command_place: Option<Place>,
}

impl Service {
    /// The service of this name, if root asks for it by hand: None for other users, for the service
    /// itself, if there is no such unit, and for one as shipped whose user is not there.
    #[must_use]
    pub fn for_root(unit: &'static str, shipped: &str) -> Option<Self> {
        let by_hand = std::env::var_os("STATE_DIRECTORY").is_none();
        if !rustix::process::geteuid().is_root() || !by_hand {
            return None;
        }
        let mut found = load::unit(unit, shipped)?;
        let mut notes: Vec<_> = load::note(unit, &found).into_iter().collect();
        let is_loaded = found.load == LoadState::Loaded;
        let options = is_loaded.then(|| load::of_bus(unit, &mut found, &mut notes));
        let options = options.flatten();
        let UnitUser {
            name: user,
            owner,
            groups,
            unknown,
            home,
        } = user_of(unit, &mut found)?;
        let mut obstacles = Vec::new();
        let unit_name = || unit.to_owned();
        match found.load {
            LoadState::Broken => obstacles.push(Obstacle::Broken { unit: unit_name() }),
            LoadState::Masked => obstacles.push(Obstacle::Masked { unit: unit_name() }),
            _ => {}
        }
        if found.network.lacks("AF_UNIX") {
            obstacles.push(Obstacle::NoUnixSockets {
                unit: unit_name(),
                place: found.place(&["RestrictAddressFamilies"], |_| true),
            });
        }
        if let Some(limit) = found.files.filter(|files| *files < FEWEST_FILES) {
            obstacles.push(Obstacle::FewFiles {
                unit: unit_name(),
                limit,
                place: found.place(&["LimitNOFILE"], |_| true),
            });
        }
        let user_place = found.place(&["User"], |_| true);
        if owner.is_none() {
            obstacles.push(Obstacle::NoUser {
                unit: unit.to_owned(),
                user: user.clone(),
                place: user_place.clone(),
            });
        }
        obstacles.extend(no_groups(unit, &found, unknown));
        obstacles.extend(found.dependencies.missing(unit, &found));
        let (forbidden, note) = calls::forbidden(unit, &found, shipped);
        obstacles.extend(forbidden);
        notes.extend(note);
        let as_user = needs::User {
            name: &user,
            owner,
            groups: &groups,
        };
        let (missing, note) = found.needs.missing(unit, &found, &as_user);
        obstacles.extend(missing);
        notes.extend(note);
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
        let command_place = found.place(&["ExecStart"], |value| !value.is_empty());
        let private = found.states.iter();
        let private =
            private.filter_map(|state| unlike_today(state, found.runs_as.is_dynamic, owner));
        let private: Vec<_> = private.collect();
        let is_root = owner.is_some_and(|owner| owner.uid() == 0);
        let mut network = found.network;
        network.low_ports = found.capabilities.may_use_low_ports(is_root);
        let mut sight = found.sight;
        sight.handed = credential::resolve(unit, &found.credentials, &Stores::of_system());
        sight.private = private;
        // One that is named in the settings or in no way: a start needs all of them.
        let sealed = sight.handed.iter().filter(|one| one.is_sealed);
        notes.extend(sealed.map(|one| sight.note(one)));
        sight.notes = notes;
        sight.user = Some(user.clone());
        Some(Self {
            unit,
            environment,
            states: found.states,
            home,
            user,
            owner,
            groups,
            sight,
            network,
            capabilities: found.capabilities,
            obstacles,
            no_name,
            options,
            credentials_are_known: found.credentials_are_known,
            command_place,
        })
    }

    /// The command line that the unit gives its program, with relative paths as they begin there:
    /// `parse` reads its words and takes that directory. One that is wrong is an obstacle.
    pub fn command_line<A>(
        &mut self,
        parse: impl FnOnce(&[String], &Path) -> Result<A, String>,
    ) -> Option<A> {
        let Options { words, directory } = self.options.as_ref()?;
        match parse(words, directory) {
            Ok(parsed) => Some(parsed),
            Err(why) => {
                self.obstacles.push(Obstacle::Options {
                    unit: self.unit.to_owned(),
                    place: self.command_place.clone(),
                    why,
                });
                None
            }
        }
    }

    /// What keeps the unit from starting, whatever the settings are. The name on the bus counts
    /// only if it is taken `on_system_bus`.
    pub fn obstacles(&self, on_system_bus: bool) -> impl Iterator<Item = &Obstacle> {
        let no_name = self.no_name.as_ref().filter(|_| on_system_bus);
        self.obstacles.iter().chain(no_name)
    }

    /// What it may have of the network.
    #[must_use]
    pub fn network(&self) -> &UnitNetwork {
        &self.network
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

    /// A variable of its next start. Those that the unit names override what systemd sets by itself
    /// (systemd.exec(5)).
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<OsString> {
        let mut named = self.environment.iter();
        if let Some((_, value)) = named.find(|(known, _)| known == name) {
            return Some(value.clone());
        }
        match name {
            "STATE_DIRECTORY" if !self.states.is_empty() => std::env::join_paths(&self.states).ok(),
            "HOME" => self.home.clone(),
            _ => None,
        }
    }

    /// Returns true if it runs as root.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.owner.is_some_and(|owner| owner.uid() == 0)
    }

    /// The credentials that it runs with, if it runs and has some. Those of a run as another user
    /// end with it. None, too, if those of the next start are known and can be read: they count.
    #[must_use]
    pub fn credentials(&self) -> Option<PathBuf> {
        let mut handed = self.sight.handed.iter();
        if self.credentials_are_known && handed.all(|one| one.certificate.is_some()) {
            return None;
        }
        let directory = Path::new(CREDENTIALS).join(self.unit);
        let about = fs::symlink_metadata(&directory).ok()?;
        fs::read_dir(&directory).ok()?.next()?.ok()?;
        let is_own = self.owner.is_none_or(|owner| about.uid() == owner.uid());
        (about.is_dir() && (is_own || about.uid() == 0)).then_some(directory)
    }

    /// Reads the settings, and gives up root's rights for those of the service's user, for good, if
    /// root asks about a service. The rights are given up before reading, except for a draft, which
    /// that user may not be able to read, and which its sandbox may hide. All else that is read,
    /// `files`, the service has to see. Must be called before there is a second thread.
    ///
    /// # Errors
    ///
    /// The system's, if the rights could not be given up.
    pub fn reading<T>(
        service: Option<&Self>,
        file: &SettingsFile,
        files: &Files,
        read: impl FnOnce() -> Result<T, ConfigError>,
    ) -> io::Result<Result<T, ConfigError>> {
        let draft = matches!(file, SettingsFile::Draft(_));
        let take_over = |now: bool| service.filter(|_| now).map_or(Ok(()), Self::take_over);
        take_over(!draft)?;
        let seen = match service.filter(|_| !draft) {
            Some(service) => all_seen(files, &service.sight),
            None => Ok(()),
        };
        let read = seen.and_then(|()| read());
        take_over(draft)?;
        Ok(read)
    }

    /// Replaces root's rights by those of the service, for good.
    fn take_over(&self) -> io::Result<()> {
        let Some(owner) = self.owner else {
            return Ok(());
        };
        owner.take_over(&self.groups)?;
        if owner.uid() == 0 {
            self.capabilities.limit_root()?;
        }
        Ok(())
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
