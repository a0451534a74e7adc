//! What can be wrong with the settings. Each message says what is needed to fix it: the place, the
//! key, the value and what was expected. Each message is one line, whatever the file contains.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::files::MAX_FILE_BYTES;
use super::values::ConnectionName;
use crate::base::{shell, text};
use crate::curve::certificate::CertificateError;

/// How many problems are kept: more do not help a reader, and a file with nothing but mistakes must
/// not lead to a message of its own size.
const MAX_PROBLEMS: usize = 50;

/// How much of a value is shown, in characters.
const MAX_SHOWN: usize = 80;

/// The origin of a value, or of a mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Built in.
    Default,
    /// In a file of the administrator or the distribution.
    File {
        /// The file (or directory).
        path: PathBuf,
        /// The line, from 1, where it is one.
        line: Option<usize>,
    },
    /// In an environment variable of this name.
    Variable(String),
    /// On the command line.
    CommandLine,
    /// On the command line, as the value of this option.
    Option(&'static str),
    /// On the command line that a unit gives the service, where root asks for it.
    Unit {
        /// The option, or what stands for its argument.
        word: String,
        /// The unit.
        unit: &'static str,
    },
    /// Set over D-Bus and kept in this file.
    Persistent {
        /// `settings.toml` in the state directory.
        path: PathBuf,
        /// The line, from 1, where it is one.
        line: Option<usize>,
    },
}

impl Place {
    pub(in crate::config) fn file(path: &Path) -> Self {
        Self::File {
            path: path.to_owned(),
            line: None,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } | Self::Persistent { path, line } => {
                f.write_str(&text::path(path))?;
                line.map_or(Ok(()), |line| write!(f, ":{line}"))
            }
            Self::Variable(name) => write!(f, "variable {}", text::shown(name)),
            Self::CommandLine => f.write_str("command line"),
            Self::Option(name) => write!(f, "--{name}"),
            Self::Unit { word, unit } => write!(f, "{word} in ExecStart= of {unit}"),
        }
    }
}

/// Why settings were refused: one problem or more, in the order of the layers
/// and of the lines. Displays the first, in one line, and how many follow.
#[derive(Debug)]
pub struct ConfigError {
    first: Box<Problem>,
    rest: Vec<Problem>,
}

impl ConfigError {
    /// Every problem found (the first 50), in order; never empty.
    pub fn problems(&self) -> impl Iterator<Item = &Problem> {
        std::iter::once(&*self.first).chain(&self.rest)
    }
}

impl From<Problem> for ConfigError {
    fn from(problem: Problem) -> Self {
        Self {
            first: Box::new(problem),
            rest: Vec::new(),
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.rest.len() {
            0 => write!(f, "{}", self.first),
            1 => write!(f, "{} (and one more problem)", self.first),
            more => write!(f, "{} (and {more} more problems)", self.first),
        }
    }
}

impl std::error::Error for ConfigError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.first.source()
    }
}

/// Problems as they are found.
#[derive(Debug, Default)]
pub(crate) struct Problems(Vec<Problem>);

impl Problems {
    pub(crate) fn push(&mut self, problem: Problem) {
        if self.0.len() < MAX_PROBLEMS {
            self.0.push(problem);
        }
    }

    pub(crate) fn extend(&mut self, problems: impl IntoIterator<Item = Problem>) {
        problems.into_iter().for_each(|problem| self.push(problem));
    }

    /// The value, where there was no problem.
    pub(crate) fn none_or<T>(self, value: T) -> Result<T, ConfigError> {
        let mut problems = self.0.into_iter();
        match problems.next() {
            None => Ok(value),
            Some(first) => Err(ConfigError {
                first: Box::new(first),
                rest: problems.collect(),
            }),
        }
    }
}

/// One thing that is wrong. Displays as `PLACE: KEY: REASON`.
#[derive(Debug)]
pub struct Problem {
    /// The origin of the value.
    pub place: Place,
    /// The key, such as `intervals.metrics`, where it is about one.
    pub key: Option<String>,
    /// What is wrong with it.
    pub reason: Reason,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What is hidden begins with its path.
        let is_said = matches!(
            (&self.reason, &self.place),
            (Reason::Hidden { hidden, .. }, Place::File { path, line: None }) if *path == hidden.path
        );
        if !is_said {
            write!(f, "{}: ", self.place)?;
        }
        if let Some(key) = &self.key {
            write!(f, "{}: ", text::shown(key))?;
        }
        f.write_str(&text::of(&self.reason))
    }
}

impl std::error::Error for Problem {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.reason.source()
    }
}

/// What is wrong.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Reason {
    /// The file or directory cannot be read.
    #[error("cannot be read: {0}")]
    Unreadable(#[source] io::Error),
    /// There is a directory where a file was expected.
    #[error("is a directory, not a file")]
    Directory,
    /// A socket, a pipe or a device.
    #[error("is not a regular file")]
    NotRegular,
    /// More than [`MAX_FILE_BYTES`].
    #[error("is too large for a settings file (limit {} KiB)", MAX_FILE_BYTES / 1024)]
    TooLarge,
    /// Not text in UTF-8.
    #[error("is not UTF-8 text")]
    NotUtf8,
    /// Not TOML.
    #[error("{0}")]
    Syntax(String),
    /// More drop-ins than anyone keeps by intent.
    #[error("has too many drop-ins: {0} (limit {max})", max = super::files::MAX_DROP_INS)]
    TooManyDropIns(usize),
    /// No setting has this name.
    #[error("unknown key{0}")]
    UnknownKey(Suggestion),
    /// No setting belongs to this variable.
    #[error("unknown variable{0}")]
    UnknownVariable(Suggestion),
    /// A value of the wrong type, out of range or malformed.
    #[error("{found} is not {expected}{}", detail.as_ref().map(|d| format!(": {d}")).unwrap_or_default())]
    Value {
        /// The value, as written there.
        found: String,
        /// What belongs there.
        expected: String,
        /// Why it doesn't fit, where more is known.
        detail: Option<String>,
    },
    /// A name that the administrator chose, as in `[collector.NAME]`, does not fit.
    #[error("not a name for {of}: {detail}")]
    Name {
        /// What is called so.
        of: &'static str,
        /// Why it doesn't fit.
        detail: String,
    },
    /// A section that needs a name, as in `[collector.NAME]`, and has none.
    #[error("{of} needs a name: write [{section}.NAME], for example [{section}.main]")]
    NoName {
        /// What has a name.
        of: &'static str,
        /// The section.
        section: String,
    },
    /// `public_key` and `public_key_file` in one place.
    #[error("set either public_key or public_key_file, not both")]
    BothKeys,
    /// No source has this name.
    #[error("unknown source {name:?}{suggestion}")]
    UnknownSource {
        /// The name.
        name: String,
        /// What it may have meant.
        suggestion: Suggestion,
    },
    /// A source is listed twice.
    #[error("{0:?} is listed twice")]
    Repeated(String),
    /// More of something than there may be.
    #[error("too many {of}: {count} (limit {max})")]
    TooMany {
        /// How many.
        count: usize,
        /// Of what.
        of: &'static str,
        /// The most.
        max: usize,
    },
    /// A collector without an address.
    #[error(
        "missing: set where the collector listens, such as \"tcp://collector.example.org:5556\""
    )]
    NoEndpoint,
    /// Two collectors at one address: each would replace the other there.
    #[error("collector {0} has the same endpoint: a collector keeps one connection for each host")]
    SameEndpoint(ConnectionName),
    /// A key file that is nowhere.
    #[error("{name} not found: looked in {}; {advice}", list(looked))]
    NoKeyFile {
        /// The file's name.
        name: String,
        /// Where it was looked for, with what kept it from being read.
        looked: Vec<String>,
        /// The way out.
        advice: &'static str,
    },
    /// A key file that is no good, or the agent's own that cannot be kept. The
    /// text of the source names the file.
    #[error(transparent)]
    KeyFile(#[from] CertificateError),
    /// A key file that the service's user may not read.
    #[error("{source}; {advice}")]
    NotForUser {
        /// What was tried.
        source: CertificateError,
        /// The way out.
        advice: String,
    },
    /// A credential that is no good, as it would be handed over. The text names the file.
    #[error("{0}")]
    Credential(String),
    /// A file that the service cannot see, although it is there.
    #[error("{hidden}; {}", way_out(.hidden, .directory))]
    Hidden {
        /// The file, and what hides it.
        hidden: Hidden,
        /// Where it would be seen.
        directory: String,
    },
    /// A file for a secret key contains a public one.
    #[error("{}: holds no secret key", text::path(.0))]
    NoSecretKey(PathBuf),
    /// What the program itself finds wrong between its settings.
    #[error(transparent)]
    Program(Box<dyn std::error::Error + Send + Sync>),
    /// The table of settings and the types disagree: our own mistake.
    #[error("the settings do not fit their types, which is a bug: {0}")]
    Types(#[source] Box<figment::Error>),
}

/// A file that the service cannot see.
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
            text::path(&self.path),
            self.property,
            self.unit,
            self.directory.display()
        )
    }
}

fn way_out(hidden: &Hidden, directory: &str) -> String {
    if Path::new(directory).starts_with(&hidden.directory) {
        let (property, unit) = (hidden.property, &hidden.unit);
        return format!("`systemctl edit {unit}` changes {property}=");
    }
    format!("put it into {directory}")
}

impl Problem {
    /// The file that this user may not read: of settings, or one that they name.
    #[must_use]
    pub fn closed_file(&self) -> Option<&Path> {
        let denied = |source: &io::Error| source.kind() == io::ErrorKind::PermissionDenied;
        match (&self.reason, &self.place) {
            (Reason::Unreadable(source), Place::File { path, .. }) if denied(source) => Some(path),
            (
                Reason::NotForUser {
                    source: CertificateError::Io { path, .. },
                    ..
                },
                _,
            ) => Some(path),
            _ => None,
        }
    }
}

impl Reason {
    /// Of a key file: with the way out where the service's user may not read it. `keys` is the
    /// directory of its keys.
    pub(crate) fn of_key_file(error: CertificateError, user: &str, keys: &Path) -> Self {
        let path = match &error {
            CertificateError::Io { path, source, .. }
                if source.kind() == io::ErrorKind::PermissionDenied =>
            {
                path
            }
            _ => return Self::KeyFile(error),
        };
        let owner = format!("{user}:");
        // As this user, who can look at a file where only its own mode shuts it.
        let advice = if path.symlink_metadata().is_ok() && !path.starts_with(keys) {
            let command = shell::command(&["chown"], &[&owner]);
            let path = shell::path(path);
            format!("`{command} {path}` gives it to the service")
        } else if path.starts_with(keys) {
            let keys = shell::path(keys);
            let command = shell::command(&["chown", "-R"], &[&owner]);
            format!("`{command} {keys}` gives the keys there to the service")
        } else {
            let user = text::shown(user);
            format!("{user} must be able to read it, and to enter the directories that it is in")
        };
        let source = error;
        Self::NotForUser { source, advice }
    }
}

/// What an unknown name may have meant; displays as the rest of the sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Suggestion {
    /// One that is spelt much like it, or the same elsewhere.
    Nearest(String),
    /// All values that are allowed here.
    Known(Vec<String>),
}

impl fmt::Display for Suggestion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nearest(name) => write!(f, "; did you mean {name:?}?"),
            Self::Known(names) => write!(f, "; known here: {}", names.join(", ")),
        }
    }
}

/// A value for a message, no longer than a person reads.
pub(super) fn shortened(text: &str) -> String {
    text::shortened(text, MAX_SHOWN).into_owned()
}

fn list(items: &[String]) -> String {
    if items.is_empty() {
        "no place at all".to_owned()
    } else {
        items.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::text::hostile;
    use proptest::prelude::*;

    #[test]
    fn a_key_file_that_its_user_may_not_read_comes_with_the_command() {
        let root = tempfile::tempdir().unwrap();
        let key = root.path().join("agent.key_secret");
        std::fs::write(&key, "").unwrap();
        let said = |path: &Path, keys: &Path| {
            let error = CertificateError::Io {
                path: path.to_owned(),
                action: "open it",
                source: io::ErrorKind::PermissionDenied.into(),
            };
            Reason::of_key_file(error, "ada", keys).to_string()
        };
        let (key_text, root_text) = (key.display(), root.path().display());
        let text = said(&key, Path::new("/nonexistent"));
        let chown = format!("`chown ada: {key_text}` gives it to the service");
        assert!(text.ends_with(&chown), "{text}");
        let text = said(&key, root.path());
        let chown = format!("`chown -R ada: {root_text}` gives the keys there to the service");
        assert!(text.ends_with(&chown), "{text}");
        let text = said(&root.path().join("unseen"), Path::new("/nonexistent"));
        let told = "ada must be able to read it, and to enter the directories that it is in";
        assert!(text.ends_with(told), "{text}");
    }

    #[test]
    fn a_message_is_one_line_whatever_it_quotes() {
        let problem = Problem {
            place: Place::File {
                path: "/a\nb".into(),
                line: Some(3),
            },
            key: Some("host.name".to_owned()),
            reason: Reason::Value {
                found: "\"x\ny\"".to_owned(),
                expected: "a name".to_owned(),
                detail: None,
            },
        };
        assert_eq!(
            problem.to_string(),
            "/a\\nb:3: host.name: \"x\\ny\" is not a name"
        );
        assert_eq!(shortened(&"ä".repeat(100)), format!("{}…", "ä".repeat(80)));
    }

    #[test]
    fn all_problems_are_counted_and_bounded() {
        let problem = || Problem {
            place: Place::Default,
            key: None,
            reason: Reason::NotUtf8,
        };
        let mut problems = Problems::default();
        problems.extend((0..1000).map(|_| problem()));
        let error = problems.none_or(()).unwrap_err();
        assert_eq!(error.problems().count(), MAX_PROBLEMS);
        assert_eq!(
            error.to_string(),
            "default: is not UTF-8 text (and 49 more problems)"
        );
        assert!(Problems::default().none_or(7).is_ok_and(|value| value == 7));
    }

    proptest! {
        #[test]
        fn no_message_does_anything_to_a_terminal(text in hostile::texts()) {
            let problem = Problem {
                place: Place::File { path: text.clone().into(), line: None },
                key: Some(text.clone()),
                reason: Reason::Value {
                    found: shortened(&text),
                    expected: text.clone(),
                    detail: Some(text.clone()),
                },
            };
            let line = problem.to_string();
            hostile::assert_harmless(&line);
            prop_assert!(!line.contains('\n'), "{line:?}");
            let variable = Place::Variable(text).to_string();
            hostile::assert_harmless(&variable);
        }
    }
}
