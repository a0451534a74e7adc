//! Small files, read once and closed.
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
