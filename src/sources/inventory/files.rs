//! Small files, read once and closed, and the `NAME=value` lines of os-release(5).
//!
//! Owns the bound and the form: a line of text without the blanks around it. A file that is
//! missing, empty or unreadable is None. The caller decides if an unreadable file is reported: a
//! file with a fact is, one with a mere hint is not.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, Read},
};

use rustix::io::Errno;

use crate::sources::{
    error::{CollectError, FileError, Malformed},
    file::Root,
    odd::LeftOut,
};

/// Most that is read of a file. os-release, the largest that is read whole, has some 500
/// bytes; of /proc/cpuinfo this holds the first CPU, with its flags.
pub const LIMIT: u64 = 8192;

/// The beginning of a file: at most [`LIMIT`] bytes.
#[must_use]
pub fn beginning(root: &Root, absolute: &str) -> Option<Vec<u8>> {
    let file = File::open(root.path(absolute)).ok()?;
    let mut text = Vec::new();
    file.take(LIMIT).read_to_end(&mut text).ok()?;
    Some(text)
}

/// The beginning of a file with facts. The reason why one cannot be read is recorded, unless it
/// does not exist or its device has gone.
pub fn facts(root: &Root, absolute: &str, left_out: &mut LeftOut) -> Option<Vec<u8>> {
    let path = root.path(absolute);
    let mut text = Vec::new();
    let error = match File::open(&path) {
        Ok(file) => match file.take(LIMIT).read_to_end(&mut text) {
            Ok(_) => return Some(text),
            Err(source) if is_gone(&source) => return None,
            Err(source) => FileError::Read { path, source },
        },
        Err(source) if is_gone(&source) => return None,
        Err(source) => FileError::Open { path, source },
    };
    left_out.add(error.into());
    None
}

/// By EINVAL the attributes of a network interface say that it is being removed.
fn is_gone(error: &io::Error) -> bool {
    let gone = [
        Errno::NOENT,
        Errno::NOTDIR,
        Errno::NODEV,
        Errno::NXIO,
        Errno::INVAL,
    ];
    Errno::from_io_error(error).is_some_and(|error| gone.contains(&error))
}

/// The first line of a file with a fact, as [`facts`].
pub fn fact(root: &Root, absolute: &str, left_out: &mut LeftOut) -> Option<String> {
    line_of(&facts(root, absolute, left_out)?)
}

/// What the first line of a file says, where that makes sense; else it is taken what it has to be.
pub fn sensible<T>(
    root: &Root,
    absolute: &str,
    expected: &'static str,
    left_out: &mut LeftOut,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Option<T> {
    let line = fact(root, absolute, left_out)?;
    let value = parse(&line);
    if value.is_none() {
        let problem = Malformed::new(1, expected, line.as_bytes());
        left_out.add(CollectError::malformed(&root.path(absolute), problem));
    }
    value
}

/// The first line. Firmware ends its texts with NUL, disks pad theirs with blanks.
#[must_use]
pub fn first_line(root: &Root, absolute: &str) -> Option<String> {
    line_of(&beginning(root, absolute)?)
}

fn line_of(text: &[u8]) -> Option<String> {
    let line = text.split(|byte| matches!(byte, b'\n' | b'\0')).next()?;
    let line = String::from_utf8_lossy(line).trim().to_owned();
    (!line.is_empty()).then_some(line)
}

/// The names in a directory in their order; empty if there is no such directory.
#[must_use]
pub fn names(root: &Root, absolute: &str) -> Vec<OsString> {
    let entries = std::fs::read_dir(root.path(absolute)).into_iter().flatten();
    let mut names: Vec<_> = entries
        .filter_map(|entry| Some(entry.ok()?.file_name()))
        .collect();
    names.sort_unstable();
    names
}

/// The value of a variable out of the text of os-release; of several the last one counts,
/// as a shell takes it. None if it is not there, empty, or quoted wrongly.
#[must_use]
pub fn variable(text: &str, name: &str) -> Option<String> {
    let lines = text.lines().map(str::trim);
    let mut values =
        lines.filter_map(|line| unquoted(line.strip_prefix(name)?.strip_prefix('=')?.trim_end()));
    values.next_back().filter(|value| !value.is_empty())
}

/// The lines, counted from 1, that are to set a variable and are quoted wrongly.
pub fn wrong_lines<'t>(text: &'t str, name: &str) -> impl Iterator<Item = (usize, &'t str)> {
    text.lines().enumerate().filter_map(move |(at, line)| {
        let value = line.trim().strip_prefix(name)?.strip_prefix('=')?;
        unquoted(value.trim_end())
            .is_none()
            .then_some((at + 1, line))
    })
}

fn unquoted(value: &str) -> Option<String> {
    if let Some(rest) = value.strip_prefix('\'') {
        let value = rest.strip_suffix('\'')?;
        return (!value.contains('\'')).then(|| value.to_owned());
    }
    let Some(rest) = value.strip_prefix('"') else {
        let plain = !value.contains([' ', '\t', '"', '\'', '$', '`', '\\']);
        return plain.then(|| value.to_owned());
    };
    let mut plain = String::with_capacity(rest.len());
    let mut rest = rest.chars();
    loop {
        match rest.next()? {
            '"' => return rest.next().is_none().then_some(plain),
            '\\' => match rest.next()? {
                special @ ('"' | '\\' | '$' | '`') => plain.push(special),
                other => plain.extend(['\\', other]),
            },
            other => plain.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn values_are_unquoted_as_in_a_shell() {
        for (line, value) in [
            ("X=plain", Some("plain")),
            ("X=", None),
            ("X=\"\"", None),
            (
                "  X=\"Debian GNU/Linux 12 (bookworm)\"  ",
                Some("Debian GNU/Linux 12 (bookworm)"),
            ),
            ("X='single $x \\n'", Some("single $x \\n")),
            (
                r#"X="a \"b\" \\ \$c \`d\` \e""#,
                Some(r#"a "b" \ $c `d` \e"#),
            ),
            ("X=\"no end", None),
            ("X=\"ends\" here", None),
            ("X='", None),
            ("X='a'b'", None),
            ("X=two words", None),
            ("X=$HOME", None),
            ("#X=comment", None),
            ("XX=other", None),
            ("X", None),
        ] {
            assert_eq!(variable(line, "X").as_deref(), value, "{line}");
            let wrong =
                value.is_none() && line.starts_with("X=") && !["X=", "X=\"\""].contains(&line);
            let lines: Vec<_> = wrong_lines(line, "X").collect();
            assert_eq!(lines, vec![(1, line); usize::from(wrong)]);
        }
        assert_eq!(variable("X=1\nX=2\nY=3\n", "X").as_deref(), Some("2"));
    }

    proptest! {
        #[test]
        fn random_text_never_panics(text in "[X=\"'\\\\$ a\n]{0,40}") {
            let _ = variable(&text, "X");
        }
    }
}
