//! The variables that a unit's next start has (systemd.exec(5), "Environment"), as root finds them
//! before.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::unit::{LoadState, Unit};
use super::{Obstacle, ask};

/// The most that is read of a file.
const MAX_BYTES: u64 = 1024 * 1024;

/// Of the service manager, of the unit, and of its files, of which the later one counts.
pub(super) fn of_unit(
    unit: &Unit,
    name: &str,
    obstacles: &mut Vec<Obstacle>,
) -> Vec<(OsString, OsString)> {
    let mut all = BTreeMap::new();
    if unit.load == LoadState::Loaded {
        all.extend(of_manager());
        all.extend(passed(&unit.variables.passed));
    }
    all.extend(unit.variables.environment.iter().cloned());
    for (pattern, optional) in &unit.variables.files {
        match of_files(pattern) {
            Ok(variables) => all.extend(variables),
            Err(_) if *optional => {}
            Err(error) => obstacles.push(Obstacle::Variables {
                path: PathBuf::from(pattern),
                unit: name.to_owned(),
                place: unit.place(&["EnvironmentFile"], |value| value == pattern),
                why: error.to_string(),
            }),
        }
    }
    for unset in &unit.variables.unset {
        match unset.split_once('=') {
            None => {
                all.remove(&OsString::from(unset));
            }
            Some((name, value)) => all.retain(|known, has| known != name || has != value),
        }
    }
    all.into_iter().collect()
}

/// What `systemctl set-environment` has set.
fn of_manager() -> Vec<(OsString, OsString)> {
    let answer = ask(
        "busctl",
        &[
            "--json=short",
            "get-property",
            "org.freedesktop.systemd1",
            "/org/freedesktop/systemd1",
            "org.freedesktop.systemd1.Manager",
            "Environment",
        ],
    );
    let answer: Option<Value> = answer.and_then(|text| serde_json::from_str(&text).ok());
    let all = answer
        .as_ref()
        .and_then(|answer| answer.get("data")?.as_array());
    let all = all.into_iter().flatten().filter_map(Value::as_str);
    let pairs = all.filter_map(|pair| pair.split_once('='));
    pairs
        .map(|(name, value)| (name.into(), value.into()))
        .collect()
}

/// What the service manager was started with, of these names.
fn passed(names: &[String]) -> Vec<(OsString, OsString)> {
    if names.is_empty() {
        return Vec::new();
    }
    let all = bytes_of(Path::new("/proc/1/environ")).unwrap_or_default();
    let pairs = all.split(|byte| *byte == 0).filter_map(|pair| {
        let at = pair.iter().position(|byte| *byte == b'=')?;
        let (name, value) = (pair.get(..at)?, pair.get(at + 1..)?);
        names
            .iter()
            .any(|wanted| wanted.as_bytes() == name)
            .then(|| {
                let own = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
                (own(name), own(value))
            })
    });
    pairs.collect()
}

/// Of each file that fits.
fn of_files(pattern: &str) -> io::Result<Vec<(OsString, OsString)>> {
    let mut paths: Vec<_> = glob::glob(pattern)
        .map(|paths| paths.flatten().collect())
        .unwrap_or_default();
    if paths.is_empty() {
        paths.push(PathBuf::from(pattern));
    }
    let mut all = Vec::new();
    for path in paths {
        let text = String::from_utf8(bytes_of(&path)?);
        let text = text.map_err(|error| io::Error::other(error.utf8_error()))?;
        all.extend(of_text(&text));
    }
    Ok(all)
}

fn bytes_of(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Lines of NAME=VALUE. A quoted value may go on in the next line; a backslash escapes the next
/// character.
fn of_text(text: &str) -> Vec<(OsString, OsString)> {
    let mut all = Vec::new();
    let mut rest = text.chars().peekable();
    while rest.peek().is_some() {
        while rest.next_if(char::is_ascii_whitespace).is_some() {}
        let is_comment = rest.peek().is_some_and(|next| matches!(next, '#' | ';'));
        let mut name = String::new();
        let mut has_value = false;
        while let Some(next) = rest.next_if(|next| *next != '\n') {
            if is_comment {
                if next == '\\' {
                    rest.next();
                }
            } else if next == '=' {
                has_value = true;
                break;
            } else {
                name.push(next);
            }
        }
        if has_value {
            let value = value(&mut rest);
            all.push((name.trim_end().into(), value.into()));
        }
    }
    all
}

fn value(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> String {
    let mut value = String::new();
    // Blanks at the end are dropped, unless quoted.
    let mut kept = 0;
    while rest.next_if(|next| matches!(next, ' ' | '\t')).is_some() {}
    while let Some(next) = rest.next() {
        match next {
            '\n' => break,
            '\\' => {
                value.extend(rest.next().filter(|next| *next != '\n'));
                kept = value.len();
            }
            '"' | '\'' if kept == value.len() => {
                while let Some(inner) = rest.next().filter(|inner| *inner != next) {
                    if inner == '\\' && next == '"' {
                        match rest.next() {
                            Some('\n') | None => {}
                            Some(one @ ('"' | '\\' | '`' | '$')) => value.push(one),
                            Some(other) => value.extend(['\\', other]),
                        }
                    } else {
                        value.push(inner);
                    }
                }
                kept = value.len();
            }
            blank if blank.is_ascii_whitespace() => value.push(blank),
            other => {
                value.push(other);
                kept = value.len();
            }
        }
    }
    value.truncate(kept);
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_as_systemd_reads_it() {
        let text = "# A=comment \\\nB=comment, too\n; C=comment\n\n D=one two  \nE = \"a \\\"b\\\" \\x\" \n\
                    F='it \\n'\nG=a\\\nb\\ \nno value\nH=\nI=\"over\nlines\"\r\nJ=x\"y\"";
        let found: Vec<_> = of_text(text)
            .into_iter()
            .map(|(name, value)| (name.into_string().unwrap(), value.into_string().unwrap()))
            .collect();
        let expected = [
            ("D", "one two"),
            ("E", "a \"b\" \\x"),
            ("F", "it \\n"),
            ("G", "ab "),
            ("H", ""),
            ("I", "over\nlines"),
            ("J", "xy"),
        ];
        assert_eq!(
            found,
            expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
        );
    }

    #[test]
    fn the_later_one_counts_and_what_is_missing_is_said() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("1.env"), "A=1\nB=1\n").unwrap();
        std::fs::write(root.path().join("2.env"), "B=2\nC=2\nD=2\n").unwrap();
        std::fs::write(
            root.path().join("x.conf"),
            format!(
                "[Service]\nEnvironmentFile={0}/*.env\nEnvironmentFile={0}/none\n",
                root.path().display()
            ),
        )
        .unwrap();
        let root = root.path().display();
        let unit = Unit::parse(
            "a.service",
            &format!(
                "DropInPaths={root}/x.conf\nEnvironment=A=0 Z=0\nEnvironmentFiles={root}/*.env (ignore_errors=no)\n\
                 EnvironmentFiles={root}/none (ignore_errors=no)\n\
                 EnvironmentFiles={root}/no (ignore_errors=yes)\nUnsetEnvironment=C D=3\n"
            ),
        );
        let mut obstacles = Vec::new();
        let found = of_unit(&unit, "a.service", &mut obstacles);
        let expected = [("A", "1"), ("B", "2"), ("D", "2"), ("Z", "0")];
        let expected = expected.map(|(name, value)| (name.into(), value.into()));
        assert_eq!(found, expected);
        let obstacles: Vec<_> = obstacles.iter().map(ToString::to_string).collect();
        assert_eq!(
            obstacles,
            [format!(
                "{root}/none: EnvironmentFile= of a.service ({root}/x.conf:3) cannot be read, so the service does \
                 not start: No such file or directory (os error 2); mend the file, or write a - in \
                 front of it in the unit"
            )]
        );
    }
}
