//! Who may report, and who may watch.
//!
//! It owns the decision on each key, the allow lists, the pins of host names, and the record of
//! keys that connected. Every handshake passes [`gate::Gate::knock`], every message
//! [`gate::Gate::admit`]. The connections of a key that is taken off its list are ended.
//!
//! - [`gate`]: the decisions, with [`pins`] and [`key_log`], all pure;
//! - [`directory`]: allow lists, read from directories of certificates;
//! - [`watch`]: notices from the kernel that such a directory has changed;
//! - [`state`]: the files that outlast a restart, and who may write them;
//! - [`control`]: all of it on the collector's loop. Files are touched on threads
//!   ([`Worker`](crate::base::worker::Worker)).
//!
//! It does not open up by accident: if a directory cannot be read, its list stays as it was; if
//! the file of pins cannot be read, the collector does not start; a message without a key is
//! refused.

pub mod control;
pub mod directory;
pub mod gate;
pub mod key_log;
pub mod pins;
pub mod state;
mod watch;
mod writer;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::collector::settings::ETC_DIR;

pub use control::check_pins;
pub use gate::AccessRefusal;
pub(crate) use gate::{allow, forget};
pub use key_log::ShutOut;

/// Whose keys are let in as agents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", rename_all = "lowercase")]
pub enum Authorized {
    /// Any key.
    #[default]
    Any,
    /// Those in the directories of authorized agents.
    Directory,
}

/// The listener that a key connects to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Listener {
    /// Agents report.
    #[serde(rename = "agent")]
    Agents,
    /// Viewers watch.
    #[serde(rename = "viewer")]
    Viewers,
}

impl Listener {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Agents, Self::Viewers];

    /// The one of the two that is meant, as settings and series have it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Agents => "agents",
            Self::Viewers => "viewers",
        }
    }

    /// What connects there.
    #[must_use]
    pub const fn role(self) -> &'static str {
        match self {
            Self::Agents => "agent",
            Self::Viewers => "viewer",
        }
    }

    /// The other of both.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Agents => Self::Viewers,
            Self::Viewers => Self::Agents,
        }
    }

    /// The directory of those who are let in.
    #[must_use]
    pub const fn directory(self) -> &'static str {
        match self {
            Self::Agents => "authorized_agents",
            Self::Viewers => "authorized_viewers",
        }
    }
}

/// Who is let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Whose keys may report.
    pub authorized: Authorized,
    /// True if a host name belongs to the key that first reported under it.
    pub pin_names: bool,
    /// Where the keys of agents are that may report.
    pub agents_directories: Vec<PathBuf>,
    /// Where the keys of viewers are that may watch.
    pub viewers_directories: Vec<PathBuf>,
}

impl Settings {
    /// The directories of one listener.
    #[must_use]
    pub fn directories(&self, listener: Listener) -> &[PathBuf] {
        match listener {
            Listener::Agents => &self.agents_directories,
            Listener::Viewers => &self.viewers_directories,
        }
    }
}

impl Default for Settings {
    /// Any key may report; the directories are those of this process.
    fn default() -> Self {
        let places = ListPlaces::of_process();
        Self {
            authorized: Authorized::default(),
            pin_names: false,
            agents_directories: places.read(Listener::Agents),
            viewers_directories: places.read(Listener::Viewers),
        }
    }
}

/// Where allow lists are, by the environment and the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListPlaces {
    /// The administrator's.
    etc: PathBuf,
    /// For runs by hand: where keys are then.
    by_hand: Option<PathBuf>,
}

impl ListPlaces {
    /// Those of this process.
    #[must_use]
    pub fn of_process() -> Self {
        let places = crate::collector::keys::Places::of_process();
        let variable = |name: &str| std::env::var_os(name);
        Self::of(variable, places.state.as_deref())
    }

    /// Those of a collector that keeps its state there.
    #[must_use]
    pub fn of_state(state: Option<&Path>) -> Self {
        Self::of(|name| std::env::var_os(name), state)
    }

    /// Problems of the lists, including which other users may change them.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let read =
            |listener| directory::Directories::new(&self.read(listener)).read(SystemTime::now());
        let readings = Listener::ALL.into_iter().map(read);
        readings.flat_map(|reading| reading.problems).collect()
    }

    /// The directories of a listener, if none holds a key; None, too, where that is not known.
    #[must_use]
    pub fn without_keys(&self, listener: Listener) -> Option<Vec<PathBuf>> {
        let paths = self.read(listener);
        let reading = directory::Directories::new(&paths).read(SystemTime::now());
        (reading.list.is_empty() && !reading.lacks_some).then_some(paths)
    }

    fn of(variable: impl Fn(&str) -> Option<OsString>, state: Option<&Path>) -> Self {
        let home = variable("HOME").map(|home| PathBuf::from(home).join(".curve"));
        let by_hand = state.filter(|state| Some(*state) == home.as_deref());
        Self {
            etc: ETC_DIR.into(),
            by_hand: by_hand.map(Path::to_owned),
        }
    }

    /// All directories that are read.
    #[must_use]
    pub fn read(&self, listener: Listener) -> Vec<PathBuf> {
        let bases = std::iter::once(&self.etc).chain(&self.by_hand);
        bases.map(|base| base.join(listener.directory())).collect()
    }

    /// The directory that keys are added to.
    #[must_use]
    pub fn write(&self, listener: Listener) -> PathBuf {
        let base = self.by_hand.as_ref().unwrap_or(&self.etc);
        base.join(listener.directory())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_by_hand_has_lists_of_its_own_besides() {
        let home = |name: &str| (name == "HOME").then(|| OsString::from("/home/me"));
        let places = ListPlaces::of(home, Some(Path::new("/home/me/.curve")));
        assert_eq!(
            places.read(Listener::Agents),
            [
                Path::new("/etc/metrics-collector/authorized_agents"),
                Path::new("/home/me/.curve/authorized_agents"),
            ]
        );
        let write = places.write(Listener::Viewers);
        assert_eq!(write, Path::new("/home/me/.curve/authorized_viewers"));
        for state in [Some(Path::new("/var/lib/metrics-collector")), None] {
            let places = ListPlaces::of(home, state);
            let etc = Path::new("/etc/metrics-collector/authorized_agents");
            assert_eq!(places.read(Listener::Agents), [etc]);
            assert_eq!(places.write(Listener::Agents), etc);
        }
    }

    #[test]
    fn both_lists_are_looked_at() {
        use std::os::unix::fs::PermissionsExt as _;

        let root = tempfile::tempdir().unwrap();
        let places = ListPlaces {
            etc: root.path().to_owned(),
            by_hand: None,
        };
        assert_eq!(places.problems(), [""; 0]);
        for listener in Listener::ALL {
            let list = root.path().join(listener.directory());
            std::fs::create_dir(&list).unwrap();
            let mode = std::fs::Permissions::from_mode(0o777);
            std::fs::set_permissions(&list, mode).unwrap();
            let problems = places.problems();
            let expected = format!("{}: mode 0777 lets others put keys there", list.display());
            assert!(
                problems.iter().any(|one| one.starts_with(&expected)),
                "{problems:?}"
            );
        }
    }

    #[test]
    fn a_list_without_keys_is_told_from_one_that_is_not_known() {
        let root = tempfile::tempdir().unwrap();
        let places = ListPlaces {
            etc: root.path().to_owned(),
            by_hand: None,
        };
        let list = root.path().join("authorized_agents");
        let empty = || places.without_keys(Listener::Agents);
        assert_eq!(empty(), Some(vec![list.clone()]));
        // No directory, so it cannot be read.
        std::fs::write(&list, "").unwrap();
        assert_eq!(empty(), None);
        std::fs::remove_file(&list).unwrap();
        std::fs::create_dir(&list).unwrap();
        assert_eq!(empty(), Some(vec![list.clone()]));
        crate::curve::certificate::Certificate::write_pair(&list, "web1").unwrap();
        assert_eq!(empty(), None);
    }
}
