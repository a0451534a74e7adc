//! Files that survive a crash and a power cut: replaced whole, and on the disk when the call
//! returns. Until then, and if it fails, the previous content stays.
//!
//! Other users who can write in the directory cannot redirect us: everything is reached by the
//! directory's descriptor, no link is followed, and root works with only the rights of the
//! directory's [`owner`].
//!
//! Blocks for as long as the disk takes: do not use it in an event loop.

use std::fs::{File, Permissions};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{
    AtFlags, Dir, FlockOperation, Mode, OFlags, chmodat, flock, linkat, mkdirat, openat, renameat,
    statat, unlinkat,
};
use rustix::io::Errno;
use thiserror::Error;

pub mod owner;

use owner::Reached;

/// The mode of a file to which only its owner has access.
pub const PRIVATE_FILE: u32 = 0o600;
/// As [`PRIVATE_FILE`].
pub const PRIVATE_DIRECTORY: u32 = 0o700;

/// A draft older than this was left behind by a crash: writing one never takes that long.
const ABANDONED: Duration = Duration::from_secs(600);

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
    pub fn of<E: Into<io::Error>>(path: &Path, action: &'static str) -> impl FnOnce(E) -> Self {
        let path = path.to_owned();
        move |source| Self {
            path,
            action,
            source: source.into(),
        }
    }
}

/// An open directory, for the time that [`inside`] gives to work in it. What a method makes
/// or changes is on the disk when it returns.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    handle: OwnedFd,
}

/// Works in a directory, with the rights of its owner; None if there is no directory.
///
/// # Errors
///
/// [`FileError`], and those of the work.
pub fn inside<T, E>(
    path: &Path,
    work: impl FnOnce(&Directory) -> Result<T, E> + Send,
) -> Result<Option<T>, E>
where
    T: Send,
    E: From<FileError> + Send,
{
    let work = |at: Reached<'_>| match Directory::open(path, at)? {
        Some(directory) => work(&directory).map(Some),
        None => Ok(None),
    };
    on_behalf(path, work)
}

/// As [`inside`]; a directory that is not there is made, and those above it, with this mode.
///
/// # Errors
///
/// As [`inside`].
pub fn inside_made<T, E>(
    path: &Path,
    mode: u32,
    work: impl FnOnce(&Directory) -> Result<T, E> + Send,
) -> Result<T, E>
where
    T: Send,
    E: From<FileError> + Send,
{
    let work = |at: Reached<'_>| {
        let directory = match Directory::open(path, at)? {
            Some(directory) => directory,
            None => Directory::make(path, at, mode)?,
        };
        work(&directory)
    };
    on_behalf(path, work)
}

fn on_behalf<T, E>(
    path: &Path,
    work: impl FnOnce(Reached<'_>) -> Result<T, E> + Send,
) -> Result<T, E>
where
    T: Send,
    E: From<FileError> + Send,
{
    let done = owner::on_behalf_at(path, work);
    done.map_err(FileError::of(path, "work there as its owner"))?
}

/// Replaces a file, to which only its owner has access, with what `write` writes. A missing
/// directory is created.
///
/// # Errors
///
/// [`FileError`]; the draft is gone then, because it takes room that the disk may not have.
pub fn replace(
    target: &Path,
    write: impl FnOnce(&mut File) -> io::Result<()> + Send,
) -> Result<(), FileError> {
    let directory = target.parent().unwrap_or(Path::new("/"));
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    inside_made(directory, PRIVATE_DIRECTORY, |directory| {
        directory.replace(&name, write)
    })
}

impl Directory {
    fn open(path: &Path, at: Reached<'_>) -> Result<Option<Self>, FileError> {
        match openat(at.from, at.path, DIRECTORY, Mode::empty()) {
            Ok(handle) => Ok(Some(Self::new(path.to_owned(), handle))),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(FileError::of(path, "open the directory")(error)),
        }
    }

    /// Makes it, and those above it that are missing.
    fn make(path: &Path, at: Reached<'_>, mode: u32) -> Result<Self, FileError> {
        // A relative path begins where the process is, which is there.
        let here = |part: &Path| part.as_os_str().is_empty();
        let gone =
            |part: &Path| statat(at.from, part, AtFlags::empty()).err() == Some(Errno::NOENT);
        let ancestors = at.path.ancestors().zip(path.ancestors());
        let missing: Vec<_> = ancestors
            .take_while(|(part, _)| !here(part) && gone(part))
            .collect();
        let mode = Mode::from_raw_mode(mode);
        for (part, path) in missing.into_iter().rev() {
            match mkdirat(at.from, part, mode) {
                // Another was faster.
                Err(Errno::EXIST) => continue,
                created => created.map_err(FileError::of(path, "create the directory"))?,
            }
            // Whatever the umask of an administrator's shell.
            chmodat(at.from, part, mode, AtFlags::empty())
                .map_err(FileError::of(path, "set the mode of the directory"))?;
        }
        let opened = openat(at.from, at.path, DIRECTORY, Mode::empty());
        let handle = opened.map_err(FileError::of(path, "create the directory"))?;
        Ok(Self::new(path.to_owned(), handle))
    }

    fn new(path: PathBuf, handle: OwnedFd) -> Self {
        Self { path, handle }
    }

    /// Where a file of this name is, for messages.
    #[must_use]
    pub fn path_of(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The directory of this name in it, if there is one.
    ///
    /// # Errors
    ///
    /// [`FileError`], also if it is a link.
    pub fn directory(&self, name: &str) -> Result<Option<Self>, FileError> {
        let path = self.path_of(name);
        match openat(
            &self.handle,
            name,
            DIRECTORY | OFlags::NOFOLLOW,
            Mode::empty(),
        ) {
            Ok(handle) => Ok(Some(Self::new(path, handle))),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(FileError::of(&path, "open the directory")(error)),
        }
    }

    /// The directory of this name in it; created if there is none.
    ///
    /// # Errors
    ///
    /// As [`directory`](Self::directory).
    pub fn make_directory(&self, name: &str) -> Result<Self, FileError> {
        let path = self.path_of(name);
        let mode = Mode::from_raw_mode(PRIVATE_DIRECTORY);
        match mkdirat(&self.handle, name, mode) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(FileError::of(&path, "create the directory")(error)),
        }
        let gone = || FileError::of(&path, "open the directory")(Errno::NOENT);
        self.directory(name)?.ok_or_else(gone)
    }

    /// Opens a file to read it; None if there is none.
    ///
    /// # Errors
    ///
    /// [`FileError`], also if it is a link, a pipe or anything else that is not a file.
    pub fn read(&self, name: &str) -> Result<Option<File>, FileError> {
        match self.file(name, OFlags::RDONLY, 0) {
            Err(error) if error.source.kind() == io::ErrorKind::NotFound => Ok(None),
            file => file.map(Some),
        }
    }

    /// The names of what is there.
    ///
    /// # Errors
    ///
    /// [`FileError`].
    pub fn names(&self) -> Result<impl Iterator<Item = Result<String, FileError>>, FileError> {
        let failed = |error| FileError::of(&self.path, "read the directory")(error);
        let entries = Dir::read_from(&self.handle).map_err(failed)?;
        let names = entries.filter_map(move |entry| match entry {
            // Ours are all UTF-8.
            Ok(entry) => match entry.file_name().to_str() {
                Ok("." | "..") | Err(_) => None,
                Ok(name) => Some(Ok(name.to_owned())),
            },
            Err(error) => Some(Err(failed(error))),
        });
        Ok(names)
    }

    /// Replaces a file with what `write` writes; only its owner has access.
    ///
    /// # Errors
    ///
    /// [`FileError`]; the previous content stays.
    pub fn replace(
        &self,
        name: &str,
        write: impl FnOnce(&mut File) -> io::Result<()>,
    ) -> Result<(), FileError> {
        self.remove_abandoned(name)?;
        let draft = self.draft(name, PRIVATE_FILE, write)?;
        renameat(&self.handle, &*draft.name, &self.handle, name)
            .map_err(FileError::of(&self.path_of(name), "replace it"))?;
        self.sync()
    }

    /// Opens a file to write behind its end. What is written is on the disk after
    /// [`File::sync_data`].
    ///
    /// # Errors
    ///
    /// [`FileError`], also if there is none, and as for [`read`](Self::read).
    pub fn append(&self, name: &str) -> Result<File, FileError> {
        self.file(name, OFlags::WRONLY | OFlags::APPEND, 0)
    }

    /// Creates a file to which only its owner has access. The directory is to be
    /// [synced](Self::sync) then.
    ///
    /// # Errors
    ///
    /// [`FileError`], also if there is one of this name.
    pub fn create(&self, name: &str) -> Result<File, FileError> {
        let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::EXCL;
        let file = self.file(name, flags, PRIVATE_FILE)?;
        // Whatever the umask of an administrator's shell.
        file.set_permissions(Permissions::from_mode(PRIVATE_FILE))
            .map_err(FileError::of(&self.path_of(name), "create it"))?;
        Ok(file)
    }

    /// Writes a whole file under a temporary name that is not searched for.
    ///
    /// # Errors
    ///
    /// [`FileError`].
    pub fn draft(
        &self,
        name: &str,
        mode: u32,
        write: impl FnOnce(&mut File) -> io::Result<()>,
    ) -> Result<Draft<'_>, FileError> {
        let draft = Draft {
            directory: self,
            name: format!(".{name}.{:016x}", fastrand::u64(..)),
        };
        let path = self.path_of(&draft.name);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        let mut file = self.file(&draft.name, flags, mode)?;
        let written = file
            // Whatever the umask of an administrator's shell.
            .set_permissions(Permissions::from_mode(mode))
            .and_then(|()| write(&mut file))
            .and_then(|()| file.sync_all());
        written.map_err(FileError::of(&path, "write it"))?;
        Ok(draft)
    }

    /// Removes a file; whether there was one.
    ///
    /// # Errors
    ///
    /// [`FileError`].
    pub fn remove(&self, name: &str) -> Result<bool, FileError> {
        match unlinkat(&self.handle, name, AtFlags::empty()) {
            Ok(()) => self.sync().map(|()| true),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(FileError::of(&self.path_of(name), "remove it")(error)),
        }
    }

    /// Gives a file a second name.
    ///
    /// # Errors
    ///
    /// [`FileError`]; one that has this name already is not replaced.
    pub fn link(&self, name: &str, second: &str) -> Result<(), FileError> {
        // Without AT_SYMLINK_FOLLOW a link itself would get the name.
        linkat(&self.handle, name, &self.handle, second, AtFlags::empty())
            .map_err(FileError::of(&self.path_of(second), "create it"))?;
        self.sync()
    }

    /// Takes a lock that ends with the file; None if another process has it.
    ///
    /// # Errors
    ///
    /// [`FileError`].
    pub fn lock(&self, name: &str) -> Result<Option<File>, FileError> {
        let file = self.file(name, OFlags::RDWR | OFlags::CREATE, PRIVATE_FILE)?;
        match flock(file.as_fd(), FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(file)),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(FileError::of(&self.path_of(name), "lock it")(error)),
        }
    }

    /// Returns true if another process has that lock. Creates nothing.
    ///
    /// # Errors
    ///
    /// [`FileError`].
    pub fn is_locked(&self, name: &str) -> Result<bool, FileError> {
        let Some(file) = self.read(name)? else {
            return Ok(false);
        };
        let locked = flock(file.as_fd(), FlockOperation::NonBlockingLockShared);
        Ok(locked == Err(Errno::WOULDBLOCK))
    }

    /// Puts the directory's entries on the disk: until then a rename is only in memory.
    ///
    /// # Errors
    ///
    /// [`FileError`].
    pub fn sync(&self) -> Result<(), FileError> {
        rustix::fs::fsync(&self.handle).map_err(FileError::of(&self.path, "write it to the disk"))
    }

    /// Opens a regular file. Does not follow links and does not wait for a pipe's other end.
    fn file(&self, name: &str, flags: OFlags, mode: u32) -> Result<File, FileError> {
        let path = self.path_of(name);
        let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened = openat(&self.handle, name, flags, Mode::from_raw_mode(mode));
        let file = match opened {
            Ok(file) => File::from(file),
            Err(Errno::LOOP) => return Err(no_file(&path, "it is a symbolic link")),
            // A pipe or a socket that is opened for writing, and a directory.
            Err(Errno::NXIO | Errno::ISDIR) => {
                return Err(no_file(&path, "it is not a regular file"));
            }
            Err(error) => return Err(FileError::of(&path, "open it")(error)),
        };
        let about = file.metadata().map_err(FileError::of(&path, "open it"))?;
        if !about.is_file() {
            return Err(no_file(&path, "it is not a regular file"));
        }
        Ok(file)
    }

    /// Removes drafts of a file that a crash has left behind.
    fn remove_abandoned(&self, name: &str) -> Result<(), FileError> {
        for entry in self.names()? {
            let entry = entry?;
            let draft = entry
                .strip_prefix('.')
                .and_then(|rest| rest.strip_prefix(name))
                .and_then(|rest| rest.strip_prefix('.'));
            let hex = |end: &str| end.len() == 16 && end.bytes().all(|b| b.is_ascii_hexdigit());
            if draft.is_some_and(hex) && self.is_abandoned(&entry) {
                // One that stays does no harm.
                let _ = unlinkat(&self.handle, entry, AtFlags::empty());
            }
        }
        Ok(())
    }

    fn is_abandoned(&self, name: &str) -> bool {
        let Ok(about) = statat(&self.handle, name, AtFlags::SYMLINK_NOFOLLOW) else {
            return false;
        };
        let written = Duration::from_secs(u64::try_from(about.st_mtime).unwrap_or(0));
        let age = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH + written);
        age.is_ok_and(|age| age > ABANDONED)
    }
}

/// A directory, whether or not its files can be read.
const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC);

fn no_file(path: &Path, what: &'static str) -> FileError {
    let source = io::Error::new(io::ErrorKind::InvalidInput, what);
    FileError::of(path, "use it")(source)
}

/// A whole file under a temporary name that is not searched for; deleted when dropped.
#[derive(Debug)]
pub struct Draft<'a> {
    directory: &'a Directory,
    name: String,
}

impl Draft<'_> {
    /// Gives the file its name, unless another has it: unlike a rename, a link never replaces
    /// one. The directory is to be [synced](Directory::sync) then.
    ///
    /// # Errors
    ///
    /// [`FileError`], with [`io::ErrorKind::AlreadyExists`] where another has it.
    pub fn publish(self, name: &str) -> Result<(), FileError> {
        let handle = &self.directory.handle;
        linkat(handle, &*self.name, handle, name, AtFlags::empty())
            .map_err(FileError::of(&self.directory.path_of(name), "create it"))
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        // After a rename there is nothing to delete, and a file that stays is never read.
        let _ = unlinkat(&self.directory.handle, &*self.name, AtFlags::empty());
    }
}

#[cfg(test)]
mod tests;
