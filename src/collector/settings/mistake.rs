//! Mistakes between settings that are each valid.

use thiserror::Error;

use super::load::{MAX_HEADERS, MAX_LABELS, MAX_REMOTE_WRITES};
use crate::collector::keys::KeysError;
use crate::config::Reason;

/// A mistake between settings.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Mistake {
    /// Two would listen at one place.
    #[error("{0} has this port already; choose another one, or \"none\"")]
    SamePort(&'static str),
    /// More than [`MAX_REMOTE_WRITES`].
    #[error("too many remote write targets: {0} (limit {MAX_REMOTE_WRITES})")]
    TooManyTargets(usize),
    /// More than [`MAX_HEADERS`].
    #[error("too many headers: {0} (limit {MAX_HEADERS})")]
    TooManyHeaders(usize),
    /// More than [`MAX_LABELS`].
    #[error("too many labels: {0} (limit {MAX_LABELS})")]
    TooManyLabels(usize),
    /// A target without an address.
    #[error("missing: set where to write to, such as \"https://mimir.example.org/api/v1/push\"")]
    NoUrl,
    /// A user without a password.
    #[error("missing: required with username")]
    NoPassword,
    /// A password without a user.
    #[error("missing: required with password_file")]
    NoUser,
    /// Two ways to say who one is.
    #[error("set either a bearer token or a password, not both")]
    TwoCredentials,
    /// Two headers that differ in case alone.
    #[error("is the same header as {0}")]
    SameHeader(String),
    /// A file that is nowhere.
    #[error("{name} not found: looked in {}; put the file there", looked.join(", "))]
    NoFile {
        /// The file's name.
        name: String,
        /// Where it was looked for.
        looked: Vec<String>,
    },
    /// A file that this user must not read.
    #[error("{path}: cannot be read: {source}")]
    Unreadable {
        /// The file.
        path: String,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The key pair.
    #[error(transparent)]
    Keys(#[from] KeysError),
}

impl From<Mistake> for Reason {
    fn from(mistake: Mistake) -> Self {
        Self::Program(Box::new(mistake))
    }
}
