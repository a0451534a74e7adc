//! The command that a unit runs, and the options that it has there: they are settings of the
//! service, too.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use clap::Parser;
use clap::error::ErrorKind;
use thiserror::Error;

use super::manager::Properties;
use crate::base::text;

/// An entry of `ExecStartEx`: path, words, flags, and when it ran.
pub(super) type Entry = (
    String,
    Vec<String>,
    Vec<String>,
    u64,
    u64,
    u64,
    u64,
    u32,
    i32,
    i32,
);

/// The flag of a command with a colon in front of it.
const VERBATIM: &str = "no-env-expand";

/// The options of the unit's command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) words: Vec<String>,
    /// Where its relative paths begin.
    pub(super) directory: PathBuf,
}

/// Why the options are not known.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(super) enum Unknown {
    #[error("runs another program, {}", text::shown(.0))]
    Program(String),
    #[error("has the variable {}", text::shown(.0))]
    Variable(String),
    #[error("begins its relative paths at WorkingDirectory=~")]
    Home,
    #[error("is told in a form that is not known here")]
    Form,
}

impl Options {
    /// Those of the unit that runs this `program`.
    pub(super) fn of(properties: &Properties, program: &str) -> Result<Self, Unknown> {
        let entries: Vec<Entry> = properties.get("ExecStartEx").ok_or(Unknown::Form)?;
        // A notifying service has one.
        let entry = entries.into_iter().next().ok_or(Unknown::Form)?;
        let (path, words, flags, ..) = entry;
        if Path::new(&path).file_name() != Some(OsStr::new(program)) {
            return Err(Unknown::Program(path));
        }
        let is_verbatim = flags.iter().any(|flag| flag == VERBATIM);
        let expanded = |word: String| {
            if is_verbatim {
                return Ok(word);
            }
            without_variables(&word).ok_or(Unknown::Variable(word))
        };
        // The first word is the program's name.
        let words: Result<Vec<_>, _> = words.into_iter().skip(1).map(expanded).collect();
        let directory: String = properties.get("WorkingDirectory").unwrap_or_default();
        let directory = match directory.trim_start_matches('!') {
            "" => "/",
            "~" => return Err(Unknown::Home),
            directory => directory,
        };
        Ok(Self {
            words: words?,
            directory: directory.into(),
        })
    }
}

/// Parses the words of a unit's command after the program's name.
///
/// # Errors
///
/// The first line of what the program would say, and it would end.
pub fn words_of_unit<A: Parser>(program: &str, words: &[String]) -> Result<A, String> {
    let words = std::iter::once(program).chain(words.iter().map(String::as_str));
    A::try_parse_from(words).map_err(|error| match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            "with --help or --version it is no service".to_owned()
        }
        _ => {
            let text = error.to_string();
            let line = text.lines().next().unwrap_or_default();
            text::shown(line.strip_prefix("error: ").unwrap_or(line)).to_string()
        }
    })
}

/// The word as the service gets it; None if it has a variable (systemd.service(5), "Command
/// lines").
fn without_variables(word: &str) -> Option<String> {
    if word.starts_with('$') && !word.starts_with("$$") {
        return None;
    }
    let mut plain = String::new();
    let mut characters = word.chars().peekable();
    while let Some(character) = characters.next() {
        plain.push(character);
        if character == '$' {
            match characters.peek() {
                Some('{') => return None,
                Some('$') => {
                    characters.next();
                }
                _ => {}
            }
        }
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As busctl of systemd 257 prints it, without other properties.
    fn options(path: &str, words: &str, flags: &str, directory: &str) -> Result<Options, Unknown> {
        let json = format!(
            r#"{{"type":"a{{sv}}","data":[{{"ExecStartEx":{{"type":"a(sasasttttuii)","data":[["{path}",
            {words},{flags},1796028730517432,9120348,0,0,412,0,0]]}},
            "WorkingDirectory":{{"type":"s","data":"{directory}"}}}}]}}"#
        );
        Options::of(&Properties::parse(&json).unwrap(), "a")
    }

    #[test]
    fn the_options_are_those_of_the_program() {
        let found = options("/usr/bin/a", r#"["/usr/bin/a"]"#, "[]", "").unwrap();
        assert_eq!((found.words.len(), found.directory), (0, "/".into()));
        let words = r#"["@a","--config","x y.toml","b$c$$"]"#;
        let found = options("/opt/a", words, "[]", "!/srv").unwrap();
        assert_eq!(found.words, ["--config", "x y.toml", "b$c$"]);
        assert_eq!(found.directory, Path::new("/srv"));
        let variable = |word: &str| {
            let words = format!(r#"["a","{word}"]"#);
            let verbatim = options("/usr/bin/a", &words, r#"["no-env-expand"]"#, "").unwrap();
            assert_eq!(verbatim.words, [word]);
            options("/usr/bin/a", &words, "[]", "").unwrap_err()
        };
        for word in ["$OPTIONS", "--config=${FILE}", "$$${FILE}"] {
            assert_eq!(variable(word), Unknown::Variable(word.to_owned()));
        }
        let other = options("/bin/sh", r#"["/bin/sh","-c","a"]"#, "[]", "").unwrap_err();
        assert_eq!(other.to_string(), "runs another program, /bin/sh");
        let home = options("/usr/bin/a", r#"["a"]"#, "[]", "!~").unwrap_err();
        assert_eq!(home, Unknown::Home);
    }
}
