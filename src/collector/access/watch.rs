//! Notices from the kernel that a directory has changed, by inotify(7).
//!
//! A watch is armed on a thread, as that touches files, and awaited on the loop. A watch that
//! is armed before a directory is read reports every change after that reading. For a missing
//! directory, the nearest existing parent is watched.

use crate::base::waiting::register;
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;
use tokio::io::Interest as Readiness;
use tokio::io::unix::AsyncFd;

/// Room for some ten events with names of 255 bytes, and at least for one, as inotify(7)
/// asks.
const EVENT_BYTES: usize = 4096;

/// Maximum number of events handled in one turn. Most are about other programs' files in a
/// shared directory.
const BATCH_EVENTS: usize = 256;

/// The names that matter in one watched directory.
#[derive(Debug, Default)]
struct Interest {
    /// Everything in it.
    all: bool,
    /// Only these names.
    names: Vec<OsString>,
}

/// A watch that is not on the loop yet.
#[derive(Debug)]
pub(super) struct Armed {
    inotify: OwnedFd,
    interests: HashMap<i32, Interest>,
}

/// Watches these directories and what is in them. May block.
///
/// # Errors
///
/// A limit of the kernel is reached (`fs.inotify` in sysctl), or neither a directory nor its
/// parent may be read.
pub(super) fn arm(directories: &[PathBuf]) -> io::Result<Armed> {
    let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
    let mut armed = Armed {
        inotify,
        interests: HashMap::new(),
    };
    for directory in directories {
        armed.watch(directory)?;
    }
    Ok(armed)
}

impl Armed {
    fn watch(&mut self, directory: &Path) -> io::Result<()> {
        // Its parent first, so that its creation or removal is not missed.
        let mut child = directory;
        while let Some((parent, name)) = child.parent().zip(child.file_name()) {
            // A change of its permissions matters, too.
            let events =
                WatchFlags::CREATE | WatchFlags::DELETE | WatchFlags::MOVE | WatchFlags::ATTRIB;
            match self.add(parent, events) {
                Ok(interest) => {
                    interest.names.push(name.to_owned());
                    break;
                }
                Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS) => child = parent,
                Err(error) => return Err(error.into()),
            }
        }
        let events = WatchFlags::CLOSE_WRITE
            | WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::MOVE
            | WatchFlags::ATTRIB;
        match self.add(directory, events) {
            Ok(interest) => {
                interest.all = true;
                Ok(())
            }
            // A watch on its parent reports it; that it may not be read is reported by its
            // reader.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn add(&mut self, directory: &Path, events: WatchFlags) -> Result<&mut Interest, Errno> {
        let itself = WatchFlags::DELETE_SELF | WatchFlags::MOVE_SELF | WatchFlags::ONLYDIR;
        // One directory may be watched both as a parent and for itself.
        let events = events | itself | WatchFlags::MASK_ADD;
        let watch = inotify::add_watch(&self.inotify, directory, events)?;
        Ok(self.interests.entry(watch).or_default())
    }
}

/// A watch on the loop.
#[derive(Debug)]
pub(super) struct Watch {
    inotify: AsyncFd<OwnedFd>,
    interests: HashMap<i32, Interest>,
}

impl Watch {
    /// Puts the watch on the loop. Must be called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// The runtime cannot watch the file descriptor.
    pub(super) fn new(armed: Armed) -> io::Result<Self> {
        Ok(Self {
            inotify: register(armed.inotify, Readiness::READABLE)?,
            interests: armed.interests,
        })
    }

    /// Waits until something has changed. Cancel safe.
    pub(super) async fn changed(&mut self) {
        loop {
            // The runtime ends.
            let Ok(mut ready) = self.inotify.readable().await else {
                return std::future::pending().await;
            };
            let read = ready.try_io(|inotify| read(inotify.get_ref(), &self.interests));
            if let Ok(Ok(true)) = read {
                return;
            }
            tokio::task::consume_budget().await;
        }
    }
}

/// Reads events. Returns true if one of them matters; `WouldBlock` if there are none.
fn read(inotify: &OwnedFd, interests: &HashMap<i32, Interest>) -> io::Result<bool> {
    let mut buffer = [MaybeUninit::uninit(); EVENT_BYTES];
    let mut reader = Reader::new(inotify, &mut buffer);
    let mut changed = false;
    for _ in 0..BATCH_EVENTS {
        let event = match reader.next() {
            Ok(event) => event,
            Err(Errno::WOULDBLOCK) if changed => break,
            Err(error) => return Err(error.into()),
        };
        let name = event.file_name();
        let name = name.map(|name| OsStr::from_bytes(name.to_bytes()));
        // The event queue overflowed, or the directory itself changed: read all of it.
        let itself = ReadFlags::QUEUE_OVERFLOW
            | ReadFlags::DELETE_SELF
            | ReadFlags::MOVE_SELF
            | ReadFlags::UNMOUNT;
        changed |= event.events().intersects(itself)
            || interests.get(&event.wd()).is_some_and(|interest| {
                interest.all || name.is_some_and(|name| interest.names.iter().any(|n| n == name))
            });
    }
    Ok(changed)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    fn watch(directories: &[&Path]) -> Watch {
        let directories: Vec<_> = directories.iter().map(|path| path.to_path_buf()).collect();
        Watch::new(arm(&directories).unwrap()).unwrap()
    }

    /// inotify's events are there when the call that caused them returns.
    async fn has_changed(watch: &mut Watch) -> bool {
        timeout(Duration::from_millis(50), watch.changed())
            .await
            .is_ok()
    }

    #[tokio::test]
    async fn what_changes_in_a_directory_is_told() {
        let root = tempfile::tempdir().unwrap();
        let list = root.path().join("list");
        fs::create_dir(&list).unwrap();
        let mut watch = watch(&[&list]);
        assert!(!has_changed(&mut watch).await);
        let (one, two) = (list.join("one"), list.join("two"));
        fs::write(&one, "x").unwrap();
        assert!(has_changed(&mut watch).await);
        fs::hard_link(&one, &two).unwrap();
        assert!(has_changed(&mut watch).await);
        fs::rename(&two, list.join("three")).unwrap();
        assert!(has_changed(&mut watch).await);
        fs::remove_file(&one).unwrap();
        assert!(has_changed(&mut watch).await);
        assert!(!has_changed(&mut watch).await);
        // Changes of other files beside it do not matter.
        fs::write(root.path().join("other"), "x").unwrap();
        assert!(!has_changed(&mut watch).await);
        fs::rename(&list, root.path().join("old")).unwrap();
        assert!(has_changed(&mut watch).await);
    }

    #[tokio::test]
    async fn a_directory_that_comes_later_is_told() {
        let root = tempfile::tempdir().unwrap();
        let list = root.path().join("etc/collector/list");
        let mut first = watch(&[&list]);
        fs::create_dir(root.path().join("other")).unwrap();
        assert!(!has_changed(&mut first).await);
        fs::create_dir(root.path().join("etc")).unwrap();
        assert!(has_changed(&mut first).await);
        let mut second = watch(&[&list, &list.with_file_name("another")]);
        fs::create_dir_all(list.parent().unwrap()).unwrap();
        assert!(has_changed(&mut second).await);
        let mut third = watch(&[&list, &list.with_file_name("another")]);
        fs::create_dir(&list).unwrap();
        assert!(has_changed(&mut third).await);
        fs::create_dir(list.with_file_name("another")).unwrap();
        assert!(has_changed(&mut third).await);
        let mut there = watch(&[&list]);
        fs::write(list.join("key"), "x").unwrap();
        assert!(has_changed(&mut there).await);
    }
}
