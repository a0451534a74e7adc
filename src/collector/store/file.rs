//! The file: read at the start, replaced whole later on.

use std::io::{self, BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::FILE_NAME;
use super::format::{self, Found, Unusable};
use crate::base::durable::{self, FileError};
use crate::base::text;
use crate::collector::hosts::snapshot::Snapshot;

/// Where a file that is no good is left for people to look at.
const DAMAGED_NAME: &str = "hosts.damaged";

/// Bytes that are written at once.
const WRITE_BYTES: usize = 64 * 1024;

/// What was read at the start.
#[derive(Debug, Default)]
pub struct Restored {
    /// What the file holds.
    pub found: Found,
    /// What there is to say of it, if not all is well.
    pub trouble: Option<Trouble>,
}

/// A file that is not as it should be.
#[derive(Debug)]
pub struct Trouble {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub what: Damage,
    /// Where it was left, if that could be.
    pub aside: Result<PathBuf, io::Error>,
}

/// What is wrong with a file.
#[derive(Debug, Error)]
pub enum Damage {
    /// Nothing in it can be used.
    #[error(transparent)]
    Unusable(Unusable),
    /// Some of its lines can't be used.
    #[error("it has {}, one for each host that is lost", text::counted(*_0 as u64, "damaged line"))]
    Lines(usize),
}

/// Reads what was kept in a state directory; nothing, where nothing was. A file that is no
/// good is left beside, under another name, as the next that is written takes its place.
#[must_use]
pub fn restore(directory: &Path) -> Restored {
    let path = directory.join(FILE_NAME);
    let (found, what) = match read(directory) {
        Ok(None) => return Restored::default(),
        Ok(Some(found)) if found.damaged == 0 => {
            return Restored {
                found,
                trouble: None,
            };
        }
        Ok(Some(found)) => {
            let damaged = found.damaged;
            (found, Damage::Lines(damaged))
        }
        Err(unusable) => (Found::default(), Damage::Unusable(unusable)),
    };
    let trouble = Trouble {
        aside: leave_aside(directory).map_err(|error| error.source),
        path,
        what,
    };
    Restored {
        found,
        trouble: Some(trouble),
    }
}

fn read(directory: &Path) -> Result<Option<Found>, Unusable> {
    let file = durable::inside(directory, |directory| directory.read(FILE_NAME));
    let file = file.map_err(|error| match error.source.kind() {
        io::ErrorKind::InvalidInput => Unusable::NotOurs,
        _ => Unusable::Io(error.source),
    });
    let file = file?.flatten();
    file.map(|file| format::read(BufReader::new(file)))
        .transpose()
}

/// Gives the file a second name, so that what is in it stays there until it is replaced,
/// whatever happens before.
fn leave_aside(directory: &Path) -> Result<PathBuf, FileError> {
    durable::inside(directory, |directory| {
        directory.remove(DAMAGED_NAME)?;
        directory.link(FILE_NAME, DAMAGED_NAME)
    })?;
    Ok(directory.join(DAMAGED_NAME))
}

/// Keeps these hosts instead of those that are kept so far. When this returns they are on
/// the disk; until then, and where it fails, those before are.
///
/// # Errors
///
/// [`FileError`].
pub fn replace(directory: &Path, snapshot: &Snapshot) -> Result<(), FileError> {
    durable::replace(&directory.join(FILE_NAME), |file| {
        let mut out = BufWriter::with_capacity(WRITE_BYTES, file);
        format::write(snapshot, &mut out)?;
        out.flush()
    })
}
