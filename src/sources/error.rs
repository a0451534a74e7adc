//! What can go wrong between a file of the kernel and a sample.
//!
//! Each error names the file; a malformed one also the line and what proc(5) promises
//! there. [`CollectError::same_cause`] decides whether a failure is news: what was found
//! may differ with every reading, the cause stays.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::background::ProbeError;

/// A file could not be read.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The file is not there or may not be opened.
    #[error("cannot open {}: {source}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// Reading failed, also after opening it again.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The file does not end where a file of this kind must have ended.
    #[error("{} is larger than {limit} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The bound, in bytes.
        limit: usize,
    },
}

impl FileError {
    fn path(&self) -> &Path {
        match self {
            Self::Open { path, .. } | Self::Read { path, .. } | Self::TooLarge { path, .. } => path,
        }
    }

    /// Returns true if the file does not exist: for files that a host may well lack.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        self.io_kind() == Some(io::ErrorKind::NotFound)
    }

    fn io_kind(&self) -> Option<io::ErrorKind> {
        match self {
            Self::Open { source, .. } | Self::Read { source, .. } => Some(source.kind()),
            Self::TooLarge { .. } => None,
        }
    }
}

/// A file's text is not what proc(5) promises.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: expected {expected}, found {found}")]
pub struct Malformed {
    /// Counted from 1.
    pub line: usize,
    /// What belongs there.
    pub expected: &'static str,
    /// The text that was found, quoted and escaped; of a long one the beginning, and then the word
    /// that is wrong.
    pub found: String,
    /// Counters are sent as they are now: they began again.
    pub began_again: bool,
}

/// Enough of a line to recognise it; longer text does not belong in a log message.
const EXCERPT_BYTES: usize = 80;

impl Malformed {
    /// At `line`, counted from 1, there is `found` instead of `expected`.
    #[must_use]
    pub fn new(line: usize, expected: &'static str, found: &[u8]) -> Self {
        Self {
            line,
            expected,
            found: excerpt(found),
            began_again: false,
        }
    }

    /// The counters of a line began again at lower values, and are sent so.
    #[must_use]
    pub fn began_again(line: usize, expected: &'static str, found: &[u8]) -> Self {
        Self {
            began_again: true,
            ..Self::new(line, expected, found)
        }
    }

    /// As [`new`](Self::new), if one word of `found` is wrong: it is also shown if it comes after
    /// the beginning.
    #[must_use]
    pub fn word(line: usize, expected: &'static str, found: &[u8], word: Option<&[u8]>) -> Self {
        let Some(word) = word.filter(|_| found.len() > EXCERPT_BYTES) else {
            return Self::new(line, expected, found);
        };
        Self {
            line,
            expected,
            found: format!("{} in {}", excerpt(word), excerpt(found)),
            began_again: false,
        }
    }
}

fn excerpt(text: &[u8]) -> String {
    match text.get(..EXCERPT_BYTES) {
        _ if text.is_empty() => "nothing".to_owned(),
        Some(beginning) if text.len() > EXCERPT_BYTES => {
            format!("\"{}\"...", beginning.escape_ascii())
        }
        _ => format!("\"{}\"", text.escape_ascii()),
    }
}

/// A source has no values this time.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// The file could not be read.
    #[error(transparent)]
    Source(#[from] FileError),
    /// The file could be read and not be understood.
    #[error("{}, {problem}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: Malformed,
    },
    /// What was answered makes no sense.
    #[error("{subject}: expected {expected}, found {found}")]
    Senseless {
        /// Who was asked.
        subject: String,
        /// What belongs there.
        expected: &'static str,
        /// What is there.
        found: String,
    },
    /// What may block could not be begun.
    #[error(transparent)]
    Probe(#[from] ProbeError),
    /// A peer did not answer, or refused.
    #[error("{0}")]
    Refused(String),
}

impl CollectError {
    /// A file whose text is not what the kernel promises.
    #[must_use]
    pub fn malformed(path: &Path, problem: Malformed) -> Self {
        Self::Malformed {
            path: path.to_owned(),
            problem,
        }
    }

    /// Returns true if it is about counters that are sent as they are now.
    #[must_use]
    pub fn began_again(&self) -> bool {
        matches!(self, Self::Malformed { problem, .. } if problem.began_again)
    }

    /// Returns true if both are about the same value: in a text, about the same line.
    #[must_use]
    pub fn same_value(&self, other: &Self) -> bool {
        let line = |error: &Self| match error {
            Self::Malformed { problem, .. } => Some(problem.line),
            _ => None,
        };
        self.same_cause(other) && line(self) == line(other)
    }

    /// Returns true if both failures call for the same reaction by an administrator, whatever line
    /// or bytes each was about.
    #[must_use]
    pub fn same_cause(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Source(one), Self::Source(two)) => {
                std::mem::discriminant(one) == std::mem::discriminant(two)
                    && one.path() == two.path()
                    && one.io_kind() == two.io_kind()
            }
            (
                Self::Malformed {
                    path: one_path,
                    problem: one,
                },
                Self::Malformed {
                    path: two_path,
                    problem: two,
                },
            ) => one_path == two_path && one.expected == two.expected,
            (Self::Probe(one), Self::Probe(two)) => {
                std::mem::discriminant(one) == std::mem::discriminant(two)
            }
            (
                Self::Senseless {
                    subject: one_subject,
                    expected: one,
                    ..
                },
                Self::Senseless {
                    subject: two_subject,
                    expected: two,
                    ..
                },
            ) => one_subject == two_subject && one == two,
            (Self::Refused(one), Self::Refused(two)) => one == two,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open_error(path: &str, kind: io::ErrorKind) -> CollectError {
        CollectError::Source(FileError::Open {
            path: path.into(),
            source: kind.into(),
        })
    }

    fn malformed(expected: &'static str, line: usize, found: &[u8]) -> CollectError {
        CollectError::Malformed {
            path: "/proc/meminfo".into(),
            problem: Malformed::new(line, expected, found),
        }
    }

    #[test]
    fn the_cause_stays_the_same_whatever_was_found() {
        assert!(malformed("a number", 1, b"x").same_cause(&malformed("a number", 7, b"y")));
        assert!(!malformed("a number", 1, b"x").same_cause(&malformed("a unit", 1, b"x")));
        assert!(malformed("a number", 1, b"x").same_value(&malformed("a number", 1, b"y")));
        assert!(!malformed("a number", 1, b"x").same_value(&malformed("a number", 7, b"x")));
        let missing = || open_error("/proc/stat", io::ErrorKind::NotFound);
        assert!(missing().same_cause(&missing()));
        assert!(!missing().same_cause(&open_error("/proc/stat", io::ErrorKind::PermissionDenied)));
        assert!(!missing().same_cause(&open_error("/proc/uptime", io::ErrorKind::NotFound)));
        assert!(!missing().same_cause(&malformed("a number", 1, b"x")));
    }

    #[test]
    fn messages_name_the_file_the_line_and_what_belongs_there() {
        assert_eq!(
            malformed("a number", 3, b"MemFree: \xff").to_string(),
            r#"/proc/meminfo, line 3: expected a number, found "MemFree: \xff""#
        );
        assert_eq!(
            malformed("a number", 1, b"").to_string(),
            "/proc/meminfo, line 1: expected a number, found nothing"
        );
        let long = Malformed::new(1, "a number", &[b'7'; 5000]);
        assert_eq!(long.found, format!("\"{}\"...", "7".repeat(80)));
        let whole = Malformed::new(1, "a number", &[b'7'; 80]);
        assert_eq!(whole.found, format!("\"{}\"", "7".repeat(80)));
    }

    #[test]
    fn the_word_that_is_wrong_is_shown_wherever_it_stands() {
        let row = format!("8 0 sda {}-11923", "1 ".repeat(40));
        let found = |row: &str, word| {
            let word = Some(row.as_bytes()).filter(|_| word);
            Malformed::word(
                1,
                "a number",
                row.as_bytes(),
                word.map(|row| &row[row.len() - 6..]),
            )
            .found
        };
        let shown = format!("\"-11923\" in \"8 0 sda {}\"...", "1 ".repeat(36));
        assert_eq!(found(&row, true), shown);
        assert_eq!(found("sda -11923", true), "\"sda -11923\"");
        assert_eq!(found(&row, false), shown.replace("\"-11923\" in ", ""));
    }
}
