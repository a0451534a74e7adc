//! What settings are loaded from. Captured once at the start, so that a reload uses the same
//! places, and tests can use their own.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::agent::settings::fragment::AGENT;
use crate::config::service::{Service, ServiceView};

/// What the distribution ships.
pub const USR_DIR: &str = "/usr/lib/metrics-agent";
/// What the administrator writes.
pub const ETC_DIR: &str = "/etc/metrics-agent";
/// The state directory that systemd gives the service. A run by hand as root
/// shares it: where root makes it first, systemd hands it over to the service's
/// user at its start (systemd.exec(5), `StateDirectory`=).
pub const STATE_DIR: &str = "/var/lib/metrics-agent";

/// Places, variables and arguments that settings come from.
#[derive(Clone, Debug)]
pub struct Inputs {
    /// `--config FILE`: read instead of the files in `usr_dir` and `etc_dir`.
    pub config_file: Option<PathBuf>,
    /// Holds `metrics-agent.toml` and `metrics-agent.d` of the distribution.
    pub usr_dir: PathBuf,
    /// Holds those of the administrator, and the key directory `curve`.
    pub etc_dir: PathBuf,
    /// The variables; those that don't begin with `METRICS_AGENT_` are ignored.
    pub environment: BTreeMap<OsString, OsString>,
    /// What the command line sets.
    pub command_line: Overrides,
    /// Where the agent keeps its own files.
    pub state_directory: Option<PathBuf>,
    /// The unit's credentials.
    pub credentials_directory: Option<PathBuf>,
    /// Only for an unprivileged run by hand: the home directory, whose `.curve` directory is
    /// searched for keys.
    pub home: Option<PathBuf>,
    /// What the sandbox of the service hides, where root asks for the service.
    pub sight: ServiceView,
    /// Every source that can be run.
    pub known_sources: Vec<&'static str>,
    /// The sources that run where `metrics.sources` is not set.
    pub default_sources: Vec<&'static str>,
}

/// What the command line sets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// COLLECTOR: the one to report to, as `main`, instead of all configured.
    pub collector: Option<String>,
    /// The unit that has it in its command, if it is not this process's.
    pub unit: Option<&'static str>,
}

impl Inputs {
    /// The system's places, as this process's environment and user have them:
    ///
    /// - `STATE_DIRECTORY` and `CREDENTIALS_DIRECTORY` are systemd's;
    /// - a run without `STATE_DIRECTORY` is one by hand. It keeps its state in
    ///   `$XDG_STATE_HOME/metrics-agent`, by default
    ///   `~/.local/state/metrics-agent`, and looks for keys in `~/.curve`, too;
    /// - by hand as root, it uses the service's state directory, and no home.
    #[must_use]
    pub fn from_environment(known: &[&'static str], default: &[&'static str]) -> Self {
        let root = rustix::process::geteuid().is_root();
        Self::of(std::env::vars_os(), root, known, default)
    }

    /// As the service finds them, where root asks for it.
    #[must_use]
    pub fn seen_by(self, service: &Service) -> Self {
        Self {
            sight: service.sight(),
            credentials_directory: self.credentials_directory.or_else(|| service.credentials()),
            environment: service.environment(AGENT.prefix, self.environment),
            ..self
        }
    }

    fn of(
        variables: impl Iterator<Item = (OsString, OsString)>,
        root: bool,
        known: &[&'static str],
        default: &[&'static str],
    ) -> Self {
        let variables: BTreeMap<_, _> = variables.collect();
        // systemd sets absolute paths, and the XDG specification ignores others.
        let directory = |name: &str| {
            let path = Path::new(variables.get(&OsString::from(name))?);
            path.is_absolute().then(|| path.to_owned())
        };
        let service = first_directory(&variables);
        let home = if root || service.is_some() {
            None
        } else {
            directory("HOME")
        };
        let state_directory = service.or_else(|| {
            if root {
                return Some(PathBuf::from(STATE_DIR));
            }
            let home = || home.as_ref().map(|home| home.join(".local/state"));
            Some(
                directory("XDG_STATE_HOME")
                    .or_else(home)?
                    .join(AGENT.program),
            )
        });
        let credentials_directory = directory("CREDENTIALS_DIRECTORY");
        let ours = |name: &OsString| name.as_encoded_bytes().starts_with(AGENT.prefix.as_bytes());
        Self {
            config_file: None,
            usr_dir: USR_DIR.into(),
            etc_dir: ETC_DIR.into(),
            environment: variables
                .into_iter()
                .filter(|(name, _)| ours(name))
                .collect(),
            command_line: Overrides::default(),
            state_directory,
            credentials_directory,
            home,
            sight: ServiceView::default(),
            known_sources: known.to_vec(),
            default_sources: default.to_vec(),
        }
    }
}

/// The first of `STATE_DIRECTORY`, which has several, joined by colons, where
/// the unit names several (systemd.exec(5)).
fn first_directory(variables: &BTreeMap<OsString, OsString>) -> Option<PathBuf> {
    let value = variables.get(&OsString::from("STATE_DIRECTORY"))?;
    std::env::split_paths(value).find(|path| path.is_absolute())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs(root: bool, variables: &[(&str, &str)]) -> Inputs {
        let variables = variables
            .iter()
            .map(|&(name, value)| (name.into(), value.into()));
        Inputs::of(variables, root, &["cpu", "disk"], &["cpu"])
    }

    #[test]
    fn a_service_uses_what_systemd_gives_it_and_no_home() {
        let found = inputs(
            false,
            &[
                ("STATE_DIRECTORY", "/var/lib/a:/var/lib/b"),
                (
                    "CREDENTIALS_DIRECTORY",
                    "/run/credentials/metrics-agent.service",
                ),
                ("HOME", "/"),
                ("METRICS_AGENT_LOG__LEVEL", "debug"),
                ("PATH", "/bin"),
            ],
        );
        assert_eq!(found.state_directory, Some("/var/lib/a".into()));
        assert_eq!(
            found.credentials_directory,
            Some("/run/credentials/metrics-agent.service".into())
        );
        assert_eq!(found.home, None);
        let names: Vec<_> = found.environment.keys().collect();
        assert_eq!(names, ["METRICS_AGENT_LOG__LEVEL"]);
        assert_eq!(found.default_sources, ["cpu"]);
    }

    #[test]
    fn a_run_by_hand_lives_in_the_home_directory() {
        let found = inputs(false, &[("HOME", "/home/ada")]);
        assert_eq!(found.home, Some("/home/ada".into()));
        assert_eq!(
            found.state_directory,
            Some("/home/ada/.local/state/metrics-agent".into())
        );
        let found = inputs(
            false,
            &[("HOME", "/home/ada"), ("XDG_STATE_HOME", "/srv/state")],
        );
        assert_eq!(
            found.state_directory,
            Some("/srv/state/metrics-agent".into())
        );
        let found = inputs(
            false,
            &[("HOME", "relative"), ("XDG_STATE_HOME", "relative")],
        );
        assert_eq!((found.home, found.state_directory), (None, None));
    }

    #[test]
    fn root_by_hand_has_no_home() {
        let found = inputs(
            true,
            &[("HOME", "/root"), ("XDG_STATE_HOME", "/root/state")],
        );
        assert_eq!(found.home, None);
        assert_eq!(found.state_directory, Some(STATE_DIR.into()));
    }
}
