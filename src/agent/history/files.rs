//! The files of the history, in a directory of the agent's state: does what the log decides.
//!
//! Owns names and handles, and nothing of what is in the files. Blocks for as long as the disk takes:
//! it runs on a thread of its own. Directories are 0700, files 0600, and no link is followed
//! ([`durable`]).

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use super::reading::{Part, Read};
use super::restore::Found;
use super::scan::{End, Scan};
use super::segment::{HEADER_BYTES, Header};
use super::spill::{Job, MAX_SEGMENTS, READ_BYTES, Write};
use crate::base::durable::{self, Directory, FileError};

/// Below the state directory.
const DIRECTORY: &str = "history";

/// A file that is there while the agent runs, and after it was killed.
const RUNNING: &str = "running";

/// What segments are called, behind their number in 16 hexadecimal digits.
const EXTENSION: &str = ".segment";

/// How a job ended.
#[derive(Debug)]
pub(super) enum Done {
    Wrote(Result<(), String>),
    Removed,
    Read(Read, Result<Vec<Part>, String>),
}

/// The directory.
#[derive(Debug)]
pub(super) struct Files {
    path: PathBuf,
    /// How far segments have been read, for each cursor.
    scans: BTreeMap<u32, (u64, Scan<File>)>,
}

fn name_of(segment: u64) -> String {
    format!("{segment:016x}{EXTENSION}")
}

fn number_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(EXTENSION)?;
    let number = u64::from_str_radix(digits, 16).ok()?;
    (name_of(number) == name).then_some(number)
}

impl Files {
    /// Those below this state directory. Nothing is made yet.
    pub(super) fn new(state_directory: &Path) -> Self {
        Self {
            path: state_directory.join(DIRECTORY),
            scans: BTreeMap::new(),
        }
    }

    /// Reads what an earlier run has left. What is of no use is removed.
    fn find(&self) -> Result<Found, FileError> {
        let found = durable::inside(&self.path, |directory| {
            let mut found = Found::default();
            let mut useless = Vec::new();
            let mut numbers: Vec<u64> = Vec::new();
            for name in directory.names()? {
                numbers.extend(number_of(&name?));
            }
            numbers.sort_unstable();
            let spare = numbers.len().saturating_sub(MAX_SEGMENTS);
            useless.extend(numbers.drain(..spare));
            for number in numbers {
                match header(directory, number)? {
                    Some(segment) => found.segments.push(segment),
                    None => useless.push(number),
                }
            }
            found.unreadable = useless.len() as u64;
            let mut next = u64::MAX;
            for (header, _) in found.segments.iter().rev() {
                // What is again in a later one had failed here.
                if header.first < next {
                    next = header.first;
                } else {
                    useless.push(header.number);
                }
            }
            found
                .segments
                .retain(|(header, _)| !useless.contains(&header.number));
            for number in useless {
                directory.remove(&name_of(number))?;
            }
            found.end = end(directory, &found.segments)?;
            Ok(found)
        });
        found.map(Option::unwrap_or_default)
    }

    /// Reads what an earlier run has left, and begins a run.
    pub(super) fn take_over(&self) -> Result<Found, FileError> {
        let found = self.find()?;
        let killed = self.begin()?;
        Ok(Found { killed, ..found })
    }

    /// A run begins. Returns true if the one before has not [ended](Self::end).
    fn begin(&self) -> Result<bool, FileError> {
        durable::inside_made(
            &self.path,
            durable::PRIVATE_DIRECTORY,
            |directory| match directory.create(RUNNING) {
                Ok(_) => directory.sync().map(|()| false),
                Err(error) if error.source.kind() == io::ErrorKind::AlreadyExists => Ok(true),
                Err(error) => Err(error),
            },
        )
    }

    /// A run ends, and everything that somebody needs is kept.
    pub(super) fn end(&self) -> Result<(), FileError> {
        let removed = durable::inside(&self.path, |directory| directory.remove(RUNNING));
        removed.map(|_| ())
    }

    /// Does a job.
    pub(super) fn work(&mut self, job: Job) -> Done {
        match job {
            Job::Write(write) => Done::Wrote(self.write(&write).map_err(|error| error.to_string())),
            Job::Remove(numbers) => {
                self.remove(&numbers);
                Done::Removed
            }
            Job::End => {
                // The next start says then that samples may be lost.
                if let Err(error) = self.end() {
                    tracing::warn!("{error}");
                }
                Done::Removed
            }
            Job::Read(read) => {
                let parts = self.read(read);
                if parts.is_err() {
                    self.scans.remove(&read.token);
                }
                Done::Read(read, parts.map_err(|error| error.to_string()))
            }
        }
    }

    fn write(&self, write: &Write) -> Result<(), FileError> {
        let name = name_of(write.segment);
        let path = self.path.join(&name);
        durable::inside_made(&self.path, durable::PRIVATE_DIRECTORY, |directory| {
            let mut file = if write.create {
                directory.create(&name)?
            } else {
                directory.append(&name)?
            };
            let before = file.metadata().map(|about| about.len());
            let written = before.and_then(|before| {
                let written = file.write_all(&write.bytes).and_then(|()| file.sync_data());
                if written.is_err() {
                    // A part of it is of no use, and takes room that the disk may not have.
                    let _ = file.set_len(before);
                }
                written
            });
            written.map_err(FileError::of(&path, "write it"))?;
            if write.create {
                directory.sync()?;
            }
            Ok(())
        })
    }

    /// What cannot be removed now is of no use at the next start either.
    fn remove(&mut self, numbers: &[u64]) {
        self.scans
            .retain(|_, (segment, _)| !numbers.contains(segment));
        let removed = durable::inside(&self.path, |directory| {
            for number in numbers {
                directory.remove(&name_of(*number))?;
            }
            Ok::<(), FileError>(())
        });
        if let Err(error) = removed {
            tracing::debug!("{error}");
        }
    }

    fn read(&mut self, read: Read) -> io::Result<Vec<Part>> {
        let at = self.scans.get(&read.token);
        let goes_on =
            at.is_some_and(|(segment, scan)| *segment == read.segment && scan.passed() < read.from);
        if !goes_on {
            let opened = durable::inside(&self.path, |directory| {
                directory.read(&name_of(read.segment))
            });
            let file = opened.map_err(io::Error::other)?.flatten();
            let mut file = file.ok_or(io::ErrorKind::NotFound)?;
            file.seek(SeekFrom::Start(HEADER_BYTES as u64))?;
            self.scans
                .insert(read.token, (read.segment, Scan::new(file)));
        }
        match self.scans.get_mut(&read.token) {
            Some((_, scan)) => scan.read(read.from, read.until, READ_BYTES),
            None => Ok(Vec::new()),
        }
    }
}

/// The header of a segment, and its bytes; None if it is of no use.
fn header(directory: &Directory, number: u64) -> Result<Option<(Header, u64)>, FileError> {
    let name = name_of(number);
    let mut file = match directory.read(&name) {
        Ok(Some(file)) => file,
        Ok(None) => return Ok(None),
        // A link or the like: nothing of ours.
        Err(error) if error.source.kind() == io::ErrorKind::InvalidInput => return Ok(None),
        Err(error) => return Err(error),
    };
    let path = directory.path_of(&name);
    let mut bytes = Vec::with_capacity(HEADER_BYTES);
    let length = (&mut file)
        .take(HEADER_BYTES as u64)
        .read_to_end(&mut bytes)
        .and_then(|_| file.metadata())
        .map_err(FileError::of(&path, "read it"))?
        .len();
    let header = Header::read(&bytes).filter(|header| header.number == number && header.first > 0);
    Ok(header.map(|header| (header, length)))
}

/// How the last of these ends, with the latest state that there is.
fn end(directory: &Directory, segments: &[(Header, u64)]) -> Result<End, FileError> {
    let mut end: Option<End> = None;
    for (header, _) in segments.iter().rev() {
        let name = name_of(header.number);
        let Some(mut file) = directory.read(&name)? else {
            continue;
        };
        let read = file
            .seek(SeekFrom::Start(HEADER_BYTES as u64))
            .and_then(|_| Scan::new(file).finish());
        let this = read.map_err(FileError::of(&directory.path_of(&name), "read it"))?;
        let end = end.get_or_insert_default();
        if end.last == 0 {
            (end.last, end.last_time) = (this.last, this.last_time);
            end.damaged = this.damaged;
        }
        end.ids = (end.ids.0.max(this.ids.0), end.ids.1.max(this.ids.1));
        if this.state.is_some() {
            end.state = this.state;
            break;
        }
    }
    Ok(end.unwrap_or_default())
}
