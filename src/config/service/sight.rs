//! How the service's view of the file system differs from that of the process that checks for it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::credential::Credential;
#[cfg(test)]
use super::credential::{self, Stores, Wanted};
use super::obstacle::at;
use super::state::{Contents, Private, Seen};
use super::unit::Place;
use crate::base::text;
use crate::config::error::Hidden;

/// What a sandbox hides, and what it shows only to the unit.
#[derive(Clone, Debug, Default)]
pub struct ServiceView {
    pub(super) unit: String,
    pub(super) user: Option<String>,
    pub(super) hidden: Vec<(PathBuf, &'static str)>,
    /// What is in a hidden directory and seen all the same.
    pub(super) shown: Vec<PathBuf>,
    /// Where something else is bound to.
    pub(super) bound: Vec<(PathBuf, &'static str)>,
    /// State directories of a user that exists only while the unit runs: systemd keeps them where
    /// only root and the unit have access.
    pub(super) private: Vec<Private>,
    /// The credentials that the unit gets at its next start.
    pub(super) handed: Vec<Credential>,
    /// What is not known of the unit, whatever the settings are.
    pub(super) notes: Vec<Note>,
}

/// A note about a file that this process does not see as the service will.
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
    /// The unit's properties could not be found out.
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
    /// System calls that the unit as shipped allows, and a drop-in does not.
    #[error(
        "SystemCallFilter= of {unit}{} forbids {calls}, which the unit as shipped allows: systemd ends \
         the service when it makes such a call",
        at(.place.as_ref())
    )]
    Calls {
        /// The unit.
        unit: String,
        /// Where it says so.
        place: Option<Place>,
        /// What it forbids.
        calls: String,
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
    /// Returns true if a file is hidden; the targets of links count as well.
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

    /// The credential of this name that the unit gets at its next start.
    #[must_use]
    pub fn handed(&self, name: &Path) -> Option<&Credential> {
        let named = |one: &&Credential| Path::new(&one.name) == name;
        self.handed.iter().find(named)
    }

    /// Returns true if the next start passes this file to the unit.
    #[must_use]
    pub fn is_handed(&self, path: &Path) -> bool {
        self.handed.iter().any(|one| one.path == path)
    }

    /// A note about a credential.
    #[must_use]
    pub fn note(&self, credential: &Credential) -> Note {
        let (path, unit) = (credential.path.clone(), self.unit.clone());
        let name = credential.name.clone();
        if credential.certificate.is_some() {
            return Note::Handed { path, name, unit };
        }
        let why = format!(
            "{unit} takes it as the credential {name}, {}",
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
