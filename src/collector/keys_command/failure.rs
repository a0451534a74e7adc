//! Why a command about keys does nothing.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::who::{self, WhoError};
use super::{PATIENCE, allow};
use crate::base::durable::FileError;
use crate::base::exit::{EXIT_CONFIG, EXIT_UNAVAILABLE};
use crate::collector::access::state::StateError;
use crate::config::ConfigError;
use crate::curve::keys::PublicKey;

/// Why nothing was done.
#[derive(Debug, Error)]
pub enum Failure {
    /// The name stands for no key, or for several.
    #[error(transparent)]
    Who(#[from] WhoError),
    /// No file, no key, and no host that is known.
    #[error(
        "{who:?}: expected the name of a file in {directories} without its ending, a public key of 40 \
         characters, the name of a host that has reported, or a shell pattern for such names; \
         `metrics-collector keys list` shows them{}", who::meant(.like)
    )]
    NothingToRevoke {
        /// Who was meant.
        who: String,
        /// Where the files are.
        directories: String,
        /// Hosts that may be meant.
        like: Vec<String>,
    },
    /// No file holds the key.
    #[error("no key of {who} is in {directories}{hint}")]
    NotListed {
        /// Who was meant.
        who: String,
        /// Where it was looked for.
        directories: String,
        /// What may help.
        hint: &'static str,
    },
    /// The name is another key's.
    #[error("{}: holds another key, {key}; --name {free} keeps both, or revoke that key first", .path.display())]
    Exists {
        /// The file.
        path: PathBuf,
        /// What is in it.
        key: PublicKey,
        /// A name that is no other key's, as a word for a shell.
        free: String,
    },
    /// A file that is in the way.
    #[error("{problem}; move it away, or choose another name with --name")]
    InTheWay {
        /// What is wrong with it.
        problem: String,
    },
    /// The name cannot be a file's.
    #[error(
        "{name:?}: expected a name without `/` and characters that cannot be seen, that does not \
             begin with a dot, at most {} bytes long; choose one with --name",
        allow::MAX_NAME_BYTES
    )]
    Name {
        /// The name.
        name: String,
    },
    /// The name is not pinned.
    #[error("{0}: the host name is not pinned; `metrics-collector keys list` shows those that are")]
    NotPinned(String),
    /// The key has no names.
    #[error(
        "the key {0} has no pinned host name; `metrics-collector keys list` shows those that are \
         pinned"
    )]
    NonePinned(PublicKey),
    /// The files of the collector's state.
    #[error(transparent)]
    State(#[from] StateError),
    /// A system call failed.
    #[error(transparent)]
    File(#[from] FileError),
    /// No collector has kept a record, and no list has a key.
    #[error("{0}: no collector has kept a record of keys there yet, and no key is listed")]
    NoRecord(String),
    /// This user may not read the service's record.
    #[error(
        "{0}: only root and the service's own user may see which keys connected; run this as root"
    )]
    NotReadable(String),
    /// A name is one file's.
    #[error("--name works for one key only, and {0} were given")]
    OneName(usize),
    /// There is no collector to ask.
    #[error("no collector is running here, so no key reports now")]
    NotRunning,
    /// A collector runs, but no agent reports to it.
    #[error("no agent reports now, so there is no key to allow{}", refused_note(*.refused))]
    NoKeyReports {
        /// Keys that came and are refused.
        refused: usize,
    },
    /// The settings.
    #[error("cannot tell how long a host may be silent: {0}")]
    Settings(#[source] ConfigError),
    /// The collector does not do its part.
    #[error(
        "the running collector did not forget {what} within {} s; see its log, and try again",
        PATIENCE.as_secs()
    )]
    NoAnswer {
        /// What was to be forgotten.
        what: String,
    },
    /// No state directory.
    #[error("the collector's state has no directory: neither STATE_DIRECTORY nor HOME is set")]
    NoPlace,
    /// Standard output is closed.
    #[error("cannot print: {0}")]
    Print(#[source] io::Error),
}

/// What there is to know of keys that are refused, and thus do not report.
pub(super) fn refused_note(refused: usize) -> String {
    let keys = match refused {
        0 => return String::new(),
        1 => "1 key that came is refused".to_owned(),
        many => format!("{many} keys that came are refused"),
    };
    format!(
        "; {keys}: `metrics-collector keys list` shows which, and `metrics-collector keys allow KEY...` \
         lets them in by their keys, or by the hosts that it shows"
    )
}

impl Failure {
    /// The exit status.
    #[must_use]
    pub fn status(&self) -> u8 {
        match self {
            Self::State(StateError::Pins { .. } | StateError::Keys { .. })
            | Self::Settings(_)
            | Self::NoPlace => EXIT_CONFIG,
            Self::NoAnswer { .. } => EXIT_UNAVAILABLE,
            _ => 1,
        }
    }
}
