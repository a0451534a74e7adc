//! What a unit says, as its file has it or `systemctl show`.

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use super::calls::Filter;
use super::capabilities::Capabilities;
use super::credential::Wanted;
use super::dependencies::Dependencies;
use super::needs::Needs;
use super::{STATES, ServiceView, UnitNetwork};
use crate::base::text;

/// A unit: its file, or what `systemctl show` says of it.
#[derive(Debug, Default)]
pub(super) struct Unit {
    pub(super) load: LoadState,
    /// Its files have changed since the service manager read them.
    pub(super) is_stale: bool,
    pub(super) runs_as: RunsAs,
    pub(super) sight: ServiceView,
    pub(super) network: UnitNetwork,
    pub(super) capabilities: Capabilities,
    pub(super) states: Vec<PathBuf>,
    pub(super) variables: Variables,
    /// Of its file: `systemctl show` cannot print them.
    pub(super) credentials: Vec<Wanted>,
    /// The service manager has said which credentials there will be.
    pub(super) credentials_are_known: bool,
    pub(super) bus_name: Option<String>,
    /// How many open files it may have; None for any number.
    pub(super) files: Option<u64>,
    pub(super) needs: Needs,
    pub(super) dependencies: Dependencies,
    /// As the bus says.
    pub(super) calls: Filter,
    /// Its file and its drop-ins, in the order in which they count.
    pub(super) parts: Vec<PathBuf>,
}

/// What the service manager made of a unit's files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum LoadState {
    /// It was not asked, or has not answered.
    #[default]
    Unknown,
    /// There is no such unit.
    Missing,
    Loaded,
    Masked,
    /// It refuses the files.
    Broken,
}

/// Whose rights a unit has.
#[derive(Debug, Default)]
pub(super) struct RunsAs {
    pub(super) user: Option<String>,
    pub(super) group: Option<String>,
    pub(super) groups: Vec<String>,
    /// The user is there only while the unit runs.
    pub(super) is_dynamic: bool,
}

/// Where the variables of a unit come from.
#[derive(Debug, Default)]
pub(super) struct Variables {
    pub(super) environment: Vec<(OsString, OsString)>,
    /// Files of variables, and whether the unit does without.
    pub(super) files: Vec<(String, bool)>,
    /// What comes from the service manager's own environment.
    pub(super) passed: Vec<String>,
    pub(super) unset: Vec<String>,
}

/// A line of a unit's file or of one of its drop-ins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub(super) file: PathBuf,
    pub(super) line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", text::path(&self.file), self.line)
    }
}

impl Unit {
    pub(super) fn parse(name: &str, shown: &str) -> Self {
        let mut unit = Self::default();
        name.clone_into(&mut unit.sight.unit);
        for (key, value) in shown.lines().filter_map(|line| line.split_once('=')) {
            let one = || Some(value.to_owned()).filter(|value| !value.is_empty());
            match key {
                "LoadState" => {
                    unit.load = match value {
                        "loaded" => LoadState::Loaded,
                        "masked" => LoadState::Masked,
                        "bad-setting" | "error" => LoadState::Broken,
                        _ => LoadState::Missing,
                    };
                }
                "NeedDaemonReload" => unit.is_stale = is_true(value),
                "User" => unit.runs_as.user = one(),
                "Group" => unit.runs_as.group = one(),
                "SupplementaryGroups" => {
                    unit.runs_as
                        .groups
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
                "BusName" => unit.bus_name = one(),
                "LimitNOFILE" => unit.files = value.parse().ok(),
                "FragmentPath" => unit
                    .parts
                    .splice(0..0, one().map(PathBuf::from))
                    .for_each(drop),
                "DropInPaths" => unit
                    .parts
                    .extend(words(value).into_iter().map(PathBuf::from)),
                "DynamicUser" => unit.runs_as.is_dynamic = is_true(value),
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
                    unit.variables.environment.extend(pairs);
                }
                "EnvironmentFiles" => unit.variables.files.extend(variables_file(value)),
                "PassEnvironment" => unit.variables.passed.extend(words(value)),
                "UnsetEnvironment" => unit.variables.unset.extend(words(value)),
                "LoadCredential" => {
                    let (name, path) = value.split_once(':').unwrap_or((value, value));
                    unit.credentials.push(Wanted::load(name, path, false));
                }
                _ => {
                    unit.dependencies.take(key, value);
                    unit.network.take(key, value, is_true(value));
                    unit.capabilities.take(key, value, is_true(value));
                }
            }
        }
        unit
    }

    /// The last line with one of these settings whose value fits.
    pub(super) fn place(&self, settings: &[&str], fits: impl Fn(&str) -> bool) -> Option<Place> {
        let mut place = None;
        for file in &self.parts {
            let text = fs::read_to_string(file).unwrap_or_default();
            for (at, line) in text.lines().enumerate() {
                let Some((key, value)) = line.split_once('=') else {
                    continue;
                };
                if settings.contains(&key.trim()) && fits(value.trim()) {
                    let (file, line) = (file.clone(), at + 1);
                    place = Some(Place { file, line });
                }
            }
        }
        place
    }

    fn hide<'a>(&mut self, property: &'static str, paths: impl IntoIterator<Item = &'a str>) {
        let paths = paths.into_iter().map(|path| (path.into(), property));
        self.sight.hidden.extend(paths);
    }
}

/// `/etc/x.env (ignore_errors=no)`.
fn variables_file(value: &str) -> Option<(String, bool)> {
    let (file, rest) = value.rsplit_once(" (ignore_errors=")?;
    Some((file.to_owned(), rest.starts_with("yes")))
}

/// systemd's words for it (systemd.syntax(7)).
fn is_true(value: &str) -> bool {
    matches!(value, "yes" | "true" | "on" | "1")
}

/// The words of a list as systemd writes them: quoted where they have to be.
pub(super) fn words(text: &str) -> Vec<String> {
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

    const AGENT: &str = include_str!("../../../systemd/metrics-agent.service");
    const COLLECTOR: &str = include_str!("../../../systemd/metrics-collector.service");

    fn hidden(unit: &Unit, path: &str) -> Option<String> {
        let hidden = unit.sight.hides(Path::new(path))?;
        Some(hidden.to_string())
    }

    #[test]
    fn the_shipped_units_hide_what_they_say() {
        let agent = Unit::parse("a.service", AGENT);
        assert_eq!(agent.runs_as.user.as_deref(), Some("metrics-agent"));
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
        assert_eq!(collector.runs_as.user.as_deref(), Some("metrics-collector"));
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
             BindReadOnlyPaths=/var/log:/var/log:rbind\nLimitNOFILE=10\n",
        );
        assert_eq!(unit.files, Some(10));
        let any = Unit::parse("a.service", "LimitNOFILE=infinity\n");
        assert_eq!(any.files, None);
        assert_eq!(unit.load, LoadState::Loaded);
        assert_eq!(
            (unit.runs_as.user.as_deref(), unit.runs_as.group.as_deref()),
            (Some("ada"), None)
        );
        assert_eq!(unit.runs_as.groups, ["keys", "12"]);
        for path in ["/tmp/x", "/srv/secret", "/mnt/x", "/var/x", "/var/lib/a/x"] {
            assert!(hidden(&unit, path).is_some(), "{path}");
        }
        for path in ["/root/x", "/home/x", "/srv/x", "/var/lib/b/x", "/var/log/x"] {
            assert_eq!(hidden(&unit, path), None, "{path}");
        }
        let missing = Unit::parse("a.service", "LoadState=not-found\nUser=\n");
        assert_eq!(missing.load, LoadState::Missing);
    }

    #[test]
    fn what_only_the_service_sees_is_not_refused() {
        let unit = Unit::parse(
            "a.service",
            "ProtectHome=yes\nBindReadOnlyPaths=/root/keys:/srv/bound:rbind /run:/run:rbind\n\
             DynamicUser=yes\nStateDirectory=a b:c\n\
             Environment=A=b \"METRICS_AGENT_HOST__NAME=a \\\"b\" C=\n\
             EnvironmentFiles=/etc/a b.env (ignore_errors=no)\n\
             EnvironmentFiles=/etc/c.env (ignore_errors=yes)\n\
             PassEnvironment=D E\nUnsetEnvironment=F G=1\n",
        );
        let note = |path: &str| Some(unit.sight.unclear(Path::new(path))?.to_string());
        assert_eq!(
            note("/srv/bound/x.key").unwrap(),
            "/srv/bound/x.key: not checked: BindReadOnlyPaths= of a.service puts something else at \
             /srv/bound for the service"
        );
        assert_eq!((note("/run/x"), note("/srv/x")), (None, None));
        assert!(hidden(&unit, "/root/keys/x.key").is_some());
        assert!(unit.runs_as.is_dynamic);
        assert_eq!(
            unit.states,
            [Path::new("/var/lib/a"), Path::new("/var/lib/b")]
        );
        let environment = [("A", "b"), ("METRICS_AGENT_HOST__NAME", "a \"b"), ("C", "")];
        assert_eq!(
            unit.variables.environment,
            environment.map(|(name, value)| (name.into(), value.into()))
        );
        assert_eq!(
            unit.variables.files,
            [
                ("/etc/a b.env".to_owned(), false),
                ("/etc/c.env".to_owned(), true)
            ]
        );
        assert_eq!(
            (unit.variables.passed.len(), unit.variables.unset.len()),
            (2, 2)
        );
    }
}
