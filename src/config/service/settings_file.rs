//! The file of settings that the command line names: of this run, or of the unit.

use std::path::{Path, PathBuf};

use crate::config::error::Hidden;
use crate::config::{ConfigError, Place, Problem, Reason};

/// The file of settings that is read instead of the standard ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SettingsFile {
    /// None.
    Standard,
    /// The one of the unit's command.
    OfUnit(PathBuf),
    /// The one that was named for this run: an administrator may be trying it out.
    Draft(PathBuf),
}

impl SettingsFile {
    /// Of the command line of this run, and of the unit's.
    #[must_use]
    pub fn of(own: Option<PathBuf>, units: Option<PathBuf>) -> Self {
        match (own, units) {
            // A reload and readers of ConfigurationFiles must not depend on where we were started.
            (Some(own), _) => Self::Draft(std::path::absolute(&own).unwrap_or(own)),
            (None, Some(units)) => Self::OfUnit(units),
            (None, None) => Self::Standard,
        }
    }

    /// The file, if there is one.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Standard => None,
            Self::OfUnit(path) | Self::Draft(path) => Some(path),
        }
    }
}

/// The service does not see its own file of settings.
pub(super) fn hidden_settings(hidden: Hidden) -> ConfigError {
    let etc = format!("/etc/{}", hidden.unit.trim_end_matches(".service"));
    let place = Place::File {
        path: hidden.path.clone(),
        line: None,
    };
    ConfigError::from(Problem {
        place,
        key: None,
        reason: Reason::Hidden {
            hidden,
            directory: etc,
        },
    })
}
