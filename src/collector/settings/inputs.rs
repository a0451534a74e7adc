//! What the collector's settings are loaded from. Captured once at the start, so that a
//! reload sees the same places, and tests their own.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use super::fragment::COLLECTOR;
use crate::collector::keys::Places;
use crate::config::Place;
use crate::config::service::{Service, ServiceView};

/// What the distribution ships.
pub const USR_DIR: &str = "/usr/lib/metrics-collector";
/// What the administrator writes.
pub const ETC_DIR: &str = "/etc/metrics-collector";

/// An option of the command line that sets a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// Its name, without dashes.
    pub option: &'static str,
    /// The key, its parts joined by dots.
    pub key: &'static str,
    /// The value.
    pub text: String,
    /// The unit that has the option in its command, if it is not this process's.
    pub unit: Option<&'static str>,
}

impl Given {
    pub(super) fn place(&self) -> Place {
        match self.unit {
            None => Place::Option(self.option),
            Some(unit) => Place::Unit {
                word: format!("--{}", self.option),
                unit,
            },
        }
    }
}

/// Places, variables and arguments that settings come from.
#[derive(Clone, Debug)]
pub struct Inputs {
    /// `--config FILE`: read instead of the files in `usr_dir` and `etc_dir`.
    pub config_file: Option<PathBuf>,
    /// Holds `metrics-collector.toml` and `metrics-collector.d` of the distribution.
    pub usr_dir: PathBuf,
    /// Holds those of the administrator, and files with secrets.
    pub etc_dir: PathBuf,
    /// The variables; those that don't begin with `METRICS_COLLECTOR_` are ignored.
    pub environment: BTreeMap<OsString, OsString>,
    /// What the command line sets.
    pub command_line: Vec<Given>,
    /// Where keys are.
    pub places: Places,
    /// What the sandbox of the service hides, where root asks for the service.
    pub sight: ServiceView,
    /// True if this is not a service: it was given no state directory.
    pub by_hand: bool,
}

impl Inputs {
    /// The system's places, as this process's environment and user have them.
    #[must_use]
    pub fn of_process() -> Self {
        let ours = |(name, _): &(OsString, OsString)| {
            let prefix = COLLECTOR.prefix.as_bytes();
            name.as_encoded_bytes().starts_with(prefix)
        };
        Self {
            config_file: None,
            usr_dir: USR_DIR.into(),
            etc_dir: ETC_DIR.into(),
            environment: std::env::vars_os().filter(ours).collect(),
            command_line: Vec::new(),
            places: Places::of_process(),
            sight: ServiceView::default(),
            by_hand: std::env::var_os("STATE_DIRECTORY").is_none(),
        }
    }

    /// As the service finds them, where root asks for it.
    #[must_use]
    pub fn seen_by(self, service: &Service) -> Self {
        Self {
            places: self.places.of_service(service),
            sight: service.sight(),
            environment: service.environment(COLLECTOR.prefix, self.environment),
            ..self
        }
    }
}
