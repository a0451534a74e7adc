//! The service that the settings are for, as root has to know it to check them: a file that
//! root can read may be out of the service's reach.
//!
//! The service manager says which user the unit runs as and what its sandbox hides; where
//! there is none that answers, the unit file says it that this program is shipped with.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use thiserror::Error;

use crate::base::text;
use crate::curve::certificate::{Certificate, Trust};
use crate::durable::owner::Owner;

/// What is asked of the service manager.
const PROPERTIES: &str = "--property=LoadState,User,Group,SupplementaryGroups,ProtectHome,\
                          PrivateTmp,InaccessiblePaths,TemporaryFileSystem,BindPaths,\
                          BindReadOnlyPaths,DynamicUser,StateDirectory,Environment,\
                          LoadCredential,LoadCredentialEncrypted";

/// How many seconds the service manager and the system's lists of users may take.
const PATIENCE: &str = "5";

/// Where the service manager puts a unit's credentials while it runs.
const CREDENTIALS: &str = "/run/credentials";

/// Where systemd looks for credentials that have no absolute path.
const STORES: [&str; 3] = ["/etc/credstore", "/run/credstore", "/usr/lib/credstore"];
const ENCRYPTED: [&str; 3] = [
    "/etc/credstore.encrypted",
    "/run/credstore.encrypted",
    "/usr/lib/credstore.encrypted",
];

/// Where systemd keeps state directories.
const STATES: &str = "/var/lib";

/// What a sandbox hides, and what it shows that nobody else sees.
#[derive(Clone, Debug, Default)]
pub struct Sight {
    unit: String,
    user: Option<String>,
    hidden: Vec<(PathBuf, &'static str)>,
    /// What is in a hidden directory and seen all the same.
    shown: Vec<PathBuf>,
    /// Where something else is bound to.
    bound: Vec<(PathBuf, &'static str)>,
    /// State directories of a user that is there only while the unit runs: systemd keeps them
    /// where nobody but root and the unit may go.
    private: Vec<PathBuf>,
    /// The credentials that the next start hands over.
    handed: Vec<Credential>,
}

/// A credential of the unit.
#[derive(Clone, Debug)]
pub struct Credential {
    /// The name that the service finds it by.
    pub name: String,
    /// Where it is now.
    pub path: PathBuf,
    /// What root has read there; None where that is encrypted or no file.
    pub certificate: Option<Result<Certificate, String>>,
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

/// A file that is hidden.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hidden {
    /// The file.
    pub path: PathBuf,
    /// The directory that is hidden.
    pub directory: PathBuf,
    /// The setting of the unit that hides it.
    pub property: &'static str,
    /// The unit.
    pub unit: String,
}

impl fmt::Display for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {}= of {} hides {} from the service",
            crate::base::text::path(&self.path),
            self.property,
            self.unit,
            self.directory.display()
        )
    }
}

impl Sight {
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
            let private = self.private.iter().find(|state| path.starts_with(state))?;
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
        let why = format!("{unit} takes it as the credential {name}, encrypted or from a socket");
        Note::Unclear { path, why }
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
            private: vec![state.to_owned()],
            ..Self::default()
        }
    }

    /// One with a credential of the next start.
    #[cfg(test)]
    pub(crate) fn handing(unit: &str, name: &str, path: &Path) -> Self {
        Self {
            unit: unit.to_owned(),
            handed: Credential::find(name, &path.display().to_string(), &[], false)
                .into_iter()
                .collect(),
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

impl Credential {
    /// As `LoadCredential=` names it: an absolute path, or a name that is looked for in `stores`.
    /// None where there is nothing, which is no error of the unit's for a relative one.
    fn find(name: &str, path: &str, stores: &[PathBuf], encrypted: bool) -> Option<Self> {
        let path = Path::new(path);
        let path = if path.is_absolute() {
            path.to_owned()
        } else {
            let mut paths = stores.iter().map(|store| store.join(path));
            paths.find(|path| path.exists())?
        };
        let is_file = fs::metadata(&path).ok()?.is_file();
        let read = || Certificate::read(&path, Trust::OwnFile).map_err(|error| error.to_string());
        let certificate = (is_file && !encrypted).then(read);
        Some(Self {
            name: name.to_owned(),
            path,
            certificate,
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
    sight: Sight,
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
        let found = match asked.as_deref().map(unit_of) {
            Some(found) if found.is_loaded => found,
            // It is not installed.
            Some(found) if found.is_known => return None,
            _ => unit_of(shipped),
        };
        let user = found.user.filter(|user| user != "root")?;
        let number = |text: Option<String>| text?.trim().parse::<u32>().ok();
        let uid = number(ask("id", &["-u", "--", &user]))?;
        let gid = match &found.group {
            Some(group) => gid_of(group)?,
            None => number(ask("id", &["-g", "--", &user]))?,
        };
        let groups = ask("id", &["-G", "--", &user])?;
        let groups = groups.split_whitespace().filter_map(|gid| gid.parse().ok());
        let more = found.groups.iter().filter_map(|group| gid_of(group));
        let mut sight = found.sight;
        let loaded = found.credentials.iter();
        let loaded = loaded.filter_map(|one| {
            let stores = if one.encrypted { ENCRYPTED } else { STORES };
            let stores = stores.map(PathBuf::from);
            Credential::find(&one.name, &one.path, &stores, one.encrypted)
        });
        sight.handed = loaded.collect();
        sight.user = Some(user.clone());
        Some(Self {
            unit,
            environment: found.environment,
            owner: Owner::new(uid, gid),
            groups: groups.chain(more).collect(),
            user,
            sight,
        })
    }

    /// What its sandbox hides.
    #[must_use]
    pub fn sight(&self) -> Sight {
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

    /// Goes on with the rights of the service's user, for good. To be called before there is
    /// a second thread.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn take_over(&self) -> io::Result<()> {
        self.owner.take_over(&self.groups)
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
    let mut command = Command::new("timeout");
    command.args([PATIENCE, program]).args(arguments);
    command.stdin(Stdio::null()).stderr(Stdio::null());
    let output = command.output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then_some(text)
}

/// A unit: its file, or what `systemctl show` says of it.
#[derive(Debug, Default)]
struct Unit {
    /// The service manager knows such a unit, or that there is none.
    is_known: bool,
    is_loaded: bool,
    user: Option<String>,
    group: Option<String>,
    groups: Vec<String>,
    sight: Sight,
    is_dynamic: bool,
    states: Vec<PathBuf>,
    environment: Vec<(OsString, OsString)>,
    credentials: Vec<Load>,
}

/// A `LoadCredential=`.
#[derive(Debug, PartialEq, Eq)]
struct Load {
    name: String,
    path: String,
    encrypted: bool,
}

impl Unit {
    fn parse(name: &str, text: &str) -> Self {
        let mut unit = Self::default();
        name.clone_into(&mut unit.sight.unit);
        for (key, value) in text.lines().filter_map(|line| line.split_once('=')) {
            let one = || Some(value.to_owned()).filter(|value| !value.is_empty());
            match key {
                "LoadState" => {
                    unit.is_known = true;
                    unit.is_loaded = value == "loaded";
                }
                "User" => unit.user = one(),
                "Group" => unit.group = one(),
                "SupplementaryGroups" => {
                    unit.groups
                        .extend(value.split_whitespace().map(str::to_owned));
                }
                "ProtectHome" if is_true(value) || value == "tmpfs" => {
                    unit.hide("ProtectHome", ["/home", "/root", "/run/user"]);
                }
                "PrivateTmp" if is_true(value) || value == "disconnected" => {
                    unit.hide("PrivateTmp", ["/tmp", "/var/tmp"]);
                }
                "InaccessiblePaths" => unit.hide("InaccessiblePaths", paths(value, 0)),
                "TemporaryFileSystem" => unit.hide("TemporaryFileSystem", paths(value, 0)),
                "BindPaths" | "BindReadOnlyPaths" => {
                    let shown = paths(value, 1).map(PathBuf::from);
                    unit.sight.shown.extend(shown);
                    let property = if key == "BindPaths" {
                        "BindPaths"
                    } else {
                        "BindReadOnlyPaths"
                    };
                    let pairs = paths(value, 0).zip(paths(value, 1));
                    let moved = pairs.filter(|(from, to)| from != to);
                    let bound = moved.map(|(_, to)| (PathBuf::from(to), property));
                    unit.sight.bound.extend(bound);
                }
                "DynamicUser" => unit.is_dynamic = is_true(value),
                "StateDirectory" => {
                    let names = value.split_whitespace();
                    let names = names.filter_map(|name| name.split(':').next());
                    let states = names.map(|name| Path::new(STATES).join(name));
                    unit.states.extend(states);
                }
                "Environment" => {
                    let words = words(value);
                    let pairs = words.iter().filter_map(|word| word.split_once('='));
                    let pairs = pairs.map(|(name, value)| (name.into(), value.into()));
                    unit.environment.extend(pairs);
                }
                "LoadCredential" | "LoadCredentialEncrypted" => {
                    // One that is named twice, as by the unit and a drop-in: the first counts.
                    let (name, path) = value.split_once(':').unwrap_or((value, value));
                    if !name.is_empty() && unit.credentials.iter().all(|one| one.name != name) {
                        unit.credentials.push(Load {
                            name: name.to_owned(),
                            path: path.to_owned(),
                            encrypted: key == "LoadCredentialEncrypted",
                        });
                    }
                }
                _ => {}
            }
        }
        if unit.is_dynamic {
            unit.sight.private.clone_from(&unit.states);
        }
        unit
    }

    fn hide<'a>(&mut self, property: &'static str, paths: impl IntoIterator<Item = &'a str>) {
        let paths = paths.into_iter().map(|path| (path.into(), property));
        self.sight.hidden.extend(paths);
    }
}

/// systemd's words for it (systemd.syntax(7)).
fn is_true(value: &str) -> bool {
    matches!(value, "yes" | "true" | "on" | "1")
}

/// The words of a list as systemd writes them: quoted where they have to be.
fn words(text: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            ' ' | '\t' if quote.is_none() => words.extend(word.take()),
            '"' | '\'' if quote.is_none() => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            _ if quote == Some(character) => quote = None,
            '\\' if quote != Some('\'') => word.get_or_insert_default().extend(characters.next()),
            _ => word.get_or_insert_default().push(character),
        }
    }
    words.extend(word);
    words
}

/// The paths of a list: of each entry, which has parts after colons, this part, or the first.
fn paths(value: &str, part: usize) -> impl Iterator<Item = &str> {
    value.split_whitespace().filter_map(move |entry| {
        let entry = entry.trim_start_matches(['-', '+']);
        let mut parts = entry.split(':');
        let first = parts.next();
        let path = if part == 0 {
            first
        } else {
            parts.next().or(first)
        };
        path.filter(|path| path.starts_with('/'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGENT: &str = include_str!("../../systemd/metrics-agent.service");
    const COLLECTOR: &str = include_str!("../../systemd/metrics-collector.service");

    fn hidden(unit: &Unit, path: &str) -> Option<String> {
        let hidden = unit.sight.hides(Path::new(path))?;
        Some(hidden.to_string())
    }

    #[test]
    fn the_shipped_units_hide_what_they_say() {
        let agent = Unit::parse("a.service", AGENT);
        assert_eq!(agent.user.as_deref(), Some("metrics-agent"));
        assert_eq!(
            hidden(&agent, "/root/x.key").unwrap(),
            "/root/x.key: ProtectHome= of a.service hides /root from the service"
        );
        assert_eq!(
            hidden(&agent, "/var/tmp/x.key").unwrap(),
            "/var/tmp/x.key: PrivateTmp= of a.service hides /var/tmp from the service"
        );
        for seen in [
            "/home/ada/x.key",
            "/run/user/1000/x",
            "/etc/x",
            "/rooted",
            "/srv/tmp/x",
        ] {
            assert_eq!(hidden(&agent, seen), None, "{seen}");
        }
        let collector = Unit::parse("c.service", COLLECTOR);
        assert_eq!(collector.user.as_deref(), Some("metrics-collector"));
        for path in ["/home/ada/x.key", "/root/x", "/tmp/x", "/run/user/0/x"] {
            assert!(hidden(&collector, path).is_some(), "{path}");
        }
    }

    #[test]
    fn what_the_service_manager_says_is_read() {
        let unit = Unit::parse(
            "a.service",
            "LoadState=loaded\nUser=ada\nGroup=\nSupplementaryGroups=keys 12\nProtectHome=no\n\
             PrivateTmp=disconnected\nInaccessiblePaths=-/srv/secret +/mnt\n\
             TemporaryFileSystem=/var:ro,nodev\n\
             BindPaths=/var/lib/a:/var/lib/b:rbind\n\
             BindReadOnlyPaths=/var/log:/var/log:rbind\n",
        );
        assert!(unit.is_loaded && unit.is_known);
        assert_eq!(
            (unit.user.as_deref(), unit.group.as_deref()),
            (Some("ada"), None)
        );
        assert_eq!(unit.groups, ["keys", "12"]);
        for path in ["/tmp/x", "/srv/secret", "/mnt/x", "/var/x", "/var/lib/a/x"] {
            assert!(hidden(&unit, path).is_some(), "{path}");
        }
        for path in ["/root/x", "/home/x", "/srv/x", "/var/lib/b/x", "/var/log/x"] {
            assert_eq!(hidden(&unit, path), None, "{path}");
        }
        let missing = Unit::parse("a.service", "LoadState=not-found\nUser=\n");
        assert!(missing.is_known && !missing.is_loaded);
    }

    #[test]
    fn what_only_the_service_sees_is_not_refused() {
        let unit = Unit::parse(
            "a.service",
            "ProtectHome=yes\nBindReadOnlyPaths=/root/keys:/srv/bound:rbind /run:/run:rbind\n\
             DynamicUser=yes\nStateDirectory=a b:c\n\
             Environment=A=b \"METRICS_AGENT_HOST__NAME=a \\\"b\" C=\n\
             LoadCredential=collector.key:a.collector.key\n\
             LoadCredentialEncrypted=agent.key_secret:/etc/a.cred\n\
             LoadCredential=collector.key:/etc/other\n",
        );
        let note = |path: &str| Some(unit.sight.unclear(Path::new(path))?.to_string());
        assert_eq!(
            note("/srv/bound/x.key").unwrap(),
            "/srv/bound/x.key: not checked: BindReadOnlyPaths= of a.service puts something else at \
             /srv/bound for the service"
        );
        assert_eq!((note("/run/x"), note("/srv/x")), (None, None));
        assert!(hidden(&unit, "/root/keys/x.key").is_some());
        assert_eq!(
            unit.sight.private,
            [Path::new("/var/lib/a"), Path::new("/var/lib/b")]
        );
        let environment = [("A", "b"), ("METRICS_AGENT_HOST__NAME", "a \"b"), ("C", "")];
        assert_eq!(
            unit.environment,
            environment.map(|(name, value)| (name.into(), value.into()))
        );
        let credentials = unit.credentials.iter();
        let credentials = credentials.map(|one| (&*one.name, &*one.path, one.encrypted));
        assert_eq!(
            credentials.collect::<Vec<_>>(),
            [
                ("collector.key", "a.collector.key", false),
                ("agent.key_secret", "/etc/a.cred", true),
            ]
        );
    }

    #[test]
    fn a_credential_is_looked_for_in_the_stores() {
        let root = tempfile::tempdir().unwrap();
        let stores = ["one", "two"].map(|name| root.path().join(name));
        let find = |path: &str| Credential::find("c.key", path, &stores, false);
        assert!(find("a.c.key").is_none() && find("/nonexistent/c.key").is_none());
        let pair = Certificate::write_pair(&stores[1], "c").unwrap();
        let found = find("c.key_secret").unwrap();
        assert_eq!(found.path, stores[1].join("c.key_secret"));
        assert_eq!(found.certificate.unwrap().unwrap().public, pair.public);
        fs::write(stores[1].join("c.key"), "x").unwrap();
        let problem = find("c.key").unwrap().certificate.unwrap().unwrap_err();
        assert!(problem.contains("two/c.key"), "{problem}");
        let absolute = stores[1].join("c.key");
        let absolute = Credential::find("c", absolute.to_str().unwrap(), &[], true).unwrap();
        assert!(absolute.certificate.is_none());
    }

    #[test]
    fn where_a_link_leads_counts() {
        let unit = Unit::parse("a.service", "InaccessiblePaths=/proc/self/fd\n");
        let sight = Sight {
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
