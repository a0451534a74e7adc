//! What settings are loaded from. Captured once at the start, so that a reload uses the same
//! places, and tests can use their own.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

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
        let own = Own::of(|name| service.variable(name), service.is_root());
        Self {
            state_directory: own.state,
            home: own.home,
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
        let variable = |name: &str| variables.get(&OsString::from(name)).cloned();
        let Own { state, home } = Own::of(variable, root);
        let credentials_directory = variable("CREDENTIALS_DIRECTORY").and_then(absolute);
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
            state_directory: state,
            credentials_directory,
            home,
            sight: ServiceView::default(),
            known_sources: known.to_vec(),
            default_sources: default.to_vec(),
        }
    }
}

/// Where an agent with these variables keeps its files, and its home, if it has one.
struct Own {
    state: Option<PathBuf>,
    home: Option<PathBuf>,
}

impl Own {
    fn of(variable: impl Fn(&str) -> Option<OsString>, root: bool) -> Self {
        // Several, joined by colons, where the unit names several (systemd.exec(5)).
        let service = variable("STATE_DIRECTORY")
            .and_then(|value| std::env::split_paths(&value).find(|path| path.is_absolute()));
        if service.is_some() || root {
            let state = service.or_else(|| Some(STATE_DIR.into()));
            return Self { state, home: None };
        }
        let home = variable("HOME").and_then(absolute);
        let states = variable("XDG_STATE_HOME").and_then(absolute);
        let states = states.or_else(|| Some(home.as_ref()?.join(".local/state")));
        let state = states.map(|states| states.join(AGENT.program));
        Self { state, home }
    }
}

/// systemd sets absolute paths, and the XDG specification ignores others.
fn absolute(path: OsString) -> Option<PathBuf> {
    Some(PathBuf::from(path)).filter(|path| path.is_absolute())
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
