//! Small files, read once and closed.
//!
//! Owns the bound and the form: a line of text without the blanks around it. What is not
//! there, is empty or can't be read is None: no fact of the inventory needs any other.

use std::{fs::File, io::Read};

use crate::collectors::source::Root;

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

/// The first line. Firmware ends its texts with NUL, disks pad theirs with blanks.
#[must_use]
pub fn first_line(root: &Root, absolute: &str) -> Option<String> {
    let text = beginning(root, absolute)?;
    let line = text.split(|byte| matches!(byte, b'\n' | b'\0')).next()?;
    let line = String::from_utf8_lossy(line).trim().to_owned();
    (!line.is_empty()).then_some(line)
}

/// The names in a directory in their order; none where there is no such directory.
#[must_use]
pub fn names(root: &Root, absolute: &str) -> Vec<String> {
    let entries = std::fs::read_dir(root.path(absolute)).into_iter().flatten();
    let mut names: Vec<_> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    names.sort_unstable();
    names
}
