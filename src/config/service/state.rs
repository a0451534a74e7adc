//! What is in a state directory that only root and the service may enter.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::thread;

use rustix::fs::OFlags;

use super::PRIVATE_STATES;
use crate::base::durable::owner::Owner;
use crate::config::files;
use crate::curve::certificate::{Certificate, Trust};

/// The most key files that are looked at; there are two.
const MOST: usize = 64;

/// Such a directory.
#[derive(Clone, Debug)]
pub(super) struct Private {
    /// Its path for the service.
    pub(super) path: PathBuf,
    /// The files that may matter; None if root cannot find out.
    pub(super) seen: Option<BTreeMap<OsString, Contents>>,
}

/// The content of a file.
#[derive(Clone, Debug)]
pub(super) enum Contents {
    Key(Result<Certificate, String>),
    Text(String),
}

/// What root has seen at a path.
#[derive(Debug)]
pub enum Seen<'a> {
    /// There is nothing.
    Nothing,
    /// A key file, or what is wrong with it.
    Key(&'a Result<Certificate, String>),
    /// A file of settings.
    Text(&'a str),
}

impl Private {
    /// The state directory with this path for the service.
    pub(super) fn of(path: PathBuf) -> Self {
        let name = path.file_name().unwrap_or_default();
        let real = Path::new(PRIVATE_STATES).join(name);
        Self::open(path, &real)
    }

    /// The same, where it is at `real`.
    pub(super) fn open(path: PathBuf, real: &Path) -> Self {
        let seen = look(&path, real);
        Self { path, seen }
    }
}

/// A state directory that the service does not find as it is now: the service manager moves that of
/// a dynamic user, and hands that of another user over at the next start.
pub(super) fn unlike_today(
    state: &Path,
    is_dynamic: bool,
    owner: Option<Owner>,
) -> Option<Private> {
    if is_dynamic {
        return Some(Private::of(state.to_owned()));
    }
    let about = fs::symlink_metadata(state).ok()?;
    let is_handed_over = owner.is_some_and(|owner| owner.uid() != about.uid());
    is_handed_over.then(|| Private::open(state.to_owned(), state))
}

/// Reads with the rights of the directory's owner, so that its links cannot misuse root's, but
/// through a handle that root opened.
fn look(path: &Path, real: &Path) -> Option<BTreeMap<OsString, Contents>> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW;
    let flags = i32::try_from(flags.bits()).ok()?;
    let directory = OpenOptions::new().read(true).custom_flags(flags).open(real);
    let Ok(directory) = directory else {
        // Before the first start there is nothing.
        return fs::symlink_metadata(path).is_err().then(BTreeMap::new);
    };
    let about = directory.metadata().ok()?;
    let owner = Owner::new(about.uid(), about.gid());
    thread::scope(|scope| {
        let worker = scope.spawn(|| {
            if about.uid() != 0 {
                owner.take_over(&[]).ok()?;
            }
            read(path, &directory)
        });
        worker.join().ok()?
    })
}

fn read(path: &Path, directory: &File) -> Option<BTreeMap<OsString, Contents>> {
    let held = format!("/proc/self/fd/{}", directory.as_raw_fd());
    let mut seen = BTreeMap::new();
    for entry in fs::read_dir(&held).ok()?.flatten() {
        let name = entry.file_name();
        let ending = Path::new(&name).extension().unwrap_or_default();
        if (ending == "key" || ending == "key_secret") && seen.len() < MOST {
            let read = Certificate::read(&entry.path(), Trust::OwnFile);
            let shown = path.display().to_string();
            let read = read.map_err(|error| error.to_string().replace(&held, &shown));
            seen.insert(name, Contents::Key(read));
        } else if name == files::KEPT {
            let file = OpenOptions::new()
                .read(true)
                .custom_flags(i32::try_from(OFlags::NONBLOCK.bits()).ok()?)
                .open(entry.path());
            if let Some(text) = file.ok().and_then(|file| files::text(file).ok()) {
                seen.insert(name, Contents::Text(text));
            }
        }
    }
    Some(seen)
}
