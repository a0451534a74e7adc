//! The service that the settings are for, as root has to know it to check them: a file that
//! root can read may be out of the service's reach.
//!
//! The service manager says which user the unit runs as and what its sandbox hides; where
//! there is none that answers, the unit file says it that this program is shipped with.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::durable::owner::Owner;

/// What is asked of the service manager.
const PROPERTIES: &str = "--property=LoadState,User,Group,SupplementaryGroups,ProtectHome,\
                          PrivateTmp,InaccessiblePaths,TemporaryFileSystem,BindPaths,\
                          BindReadOnlyPaths";

/// How many seconds the service manager and the system's lists of users may take.
const PATIENCE: &str = "5";

/// Where the service manager puts a unit's credentials while it runs.
const CREDENTIALS: &str = "/run/credentials";

/// What a sandbox hides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sight {
    unit: String,
    hidden: Vec<(PathBuf, &'static str)>,
    /// What is in a hidden directory and seen all the same.
    shown: Vec<PathBuf>,
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
        if self.hidden.is_empty() {
            return None;
        }
        let canonical = fs::canonicalize(path).ok();
        [Some(path), canonical.as_deref()]
            .into_iter()
            .flatten()
            .find_map(|path| self.hides_itself(path))
    }

    /// One that hides a directory.
    #[cfg(test)]
    pub(crate) fn hiding(unit: &str, directory: &Path, property: &'static str) -> Self {
        Self {
            unit: unit.to_owned(),
            hidden: vec![(directory.to_owned(), property)],
            shown: Vec::new(),
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
        Some(Self {
            unit,
            owner: Owner::new(uid, gid),
            groups: groups.chain(more).collect(),
            user,
            sight: found.sight,
        })
    }

    /// What its sandbox hides.
    #[must_use]
    pub fn sight(&self) -> Sight {
        self.sight.clone()
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
                }
                _ => {}
            }
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
