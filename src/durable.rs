//! Files that outlast a crash and a power cut: replaced whole, and on the disk when that is
//! done. Until then, and where it fails, there is what was there before.
//!
//! Blocks for as long as the disk takes: nothing for an event loop.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, lchown};
use std::path::{Path, PathBuf};

use thiserror::Error;

/// What was tried with a file or directory, and the system's answer.
#[derive(Debug, Error)]
#[error("{}: cannot {action}: {source}", .path.display())]
pub struct FileError {
    /// The file or directory.
    pub path: PathBuf,
    /// What was tried, as in "cannot write it".
    pub action: &'static str,
    /// The system's answer.
    pub source: io::Error,
}

impl FileError {
    /// For `map_err`.
    pub fn of(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self {
            path,
            action,
            source,
        }
    }
}

/// Replaces a file with what `write` puts into the file `draft` beside it. Both are for this
/// user alone, or for the directory's owner; a directory that is not there is made.
///
/// # Errors
///
/// [`FileError`]; the draft is gone then, as it takes room that the disk may not have.
pub fn replace(
    target: &Path,
    draft: &str,
    write: impl FnOnce(&mut File) -> io::Result<()>,
) -> Result<(), FileError> {
    let directory = target.parent().unwrap_or(Path::new("/"));
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(FileError::of(directory, "create the directory"))?;
    let draft = directory.join(draft);
    let write_draft = || {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&draft)?;
        write(&mut file)?;
        hand_over(directory, &draft)?;
        file.sync_all()
    };
    let written = write_draft()
        .map_err(FileError::of(&draft, "write it"))
        .and_then(|()| fs::rename(&draft, target).map_err(FileError::of(target, "replace it")));
    if written.is_err() {
        // The first error counts; a draft that stays is overwritten next time.
        let _ = fs::remove_file(&draft);
    }
    written?;
    sync(directory)
}

/// Puts a directory's entries on the disk: a rename alone is only in memory.
///
/// # Errors
///
/// [`FileError`].
pub fn sync(directory: &Path) -> Result<(), FileError> {
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(FileError::of(directory, "write it to the disk"))
}

/// Gives a file that root made in another user's directory to that user: the service must be
/// able to read what a run by hand left behind.
///
/// # Errors
///
/// The system's.
pub fn hand_over(directory: &Path, file: &Path) -> io::Result<()> {
    let owner = fs::metadata(directory)?;
    if rustix::process::geteuid().is_root() && owner.uid() != 0 {
        lchown(file, Some(owner.uid()), Some(owner.gid()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn what_is_there_is_the_old_content_or_the_new() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("state");
        let set = |text: &'static [u8]| {
            replace(&directory.join("file"), ".draft", |file| {
                file.write_all(text)
            })
        };
        set(b"one").unwrap();
        set(b"2").unwrap();
        let path = directory.join("file");
        assert_eq!(fs::read(&path).unwrap(), b"2");
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(
            fs::metadata(&directory).unwrap().permissions().mode() & 0o777,
            0o700
        );

        // A device that is always full.
        symlink("/dev/full", directory.join(".draft")).unwrap();
        let error = set(b"3").unwrap_err().to_string();
        assert!(
            error.contains(".draft: cannot write it: No space left"),
            "{error}"
        );
        assert_eq!(fs::read(&path).unwrap(), b"2");
        assert!(!directory.join(".draft").exists());
        set(b"4").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"4");
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 1);
    }
}
