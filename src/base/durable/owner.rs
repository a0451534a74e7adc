//! Finds the user that controls a directory, and works there with only that user's rights.
//!
//! Root must not work where another user can replace a file by a link between two of its calls: it
//! would read and write wherever that user likes. So a process that runs as root gives its rights
//! up first, and what the owner may not change stays unchanged.
//!
//! On Linux each thread has rights of its own (credentials(7)). What is given up here is given up
//! for good: for one piece of work in a thread that ends with it, for a daemon before it has a
//! second thread.

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};
use std::thread;

use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, openat};
use rustix::io::Errno;
use rustix::process::{Gid, Uid, geteuid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

/// As many links as the kernel follows on one way (`path_resolution(7)`).
const MAX_LINKS: usize = 40;

/// A user: other than root, but for the service that runs as root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    uid: Uid,
    gid: Gid,
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "user {}", self.uid.as_raw())
    }
}

impl Owner {
    /// The user other than root that controls what is at `path`: the first such owner on the way
    /// there, which may also be the owner of a directory above it, or of a link. None if root alone
    /// controls it, and if this process does not run as root.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn of(path: &Path) -> io::Result<Option<Self>> {
        Ok(Way::to(path)?.map(|way| way.owner))
    }

    /// This user, with this group and no other.
    #[must_use]
    pub fn new(uid: u32, gid: u32) -> Self {
        Self {
            uid: Uid::from_raw(uid),
            gid: Gid::from_raw(gid),
        }
    }

    /// The user's number.
    #[must_use]
    pub fn uid(self) -> u32 {
        self.uid.as_raw()
    }

    /// Replaces the rights of this thread by those of this user and of these groups beside the
    /// user's own, for good. Threads that it starts later have them, too.
    ///
    /// # Errors
    ///
    /// The system's. The thread must not go on then: it may have some of its rights still.
    pub fn take_over(self, groups: &[u32]) -> io::Result<()> {
        let groups: Vec<_> = groups.iter().map(|gid| Gid::from_raw(*gid)).collect();
        set_thread_groups(&groups)?;
        set_thread_res_gid(self.gid, self.gid, self.gid)?;
        set_thread_res_uid(self.uid, self.uid, self.uid)?;
        Ok(())
    }
}

/// How to get to what another user than root controls.
struct Way {
    owner: Owner,
    /// The first directory on the way that is the owner's, and the way on from there. It may be
    /// below one that only root may pass, as `/var/lib/private` is, so root opens it. None where
    /// the first thing of the owner's is no directory.
    on: Option<(OwnedFd, PathBuf)>,
}

impl Way {
    /// None if root alone controls it, and if this process does not run as root.
    fn to(path: &Path) -> io::Result<Option<Self>> {
        if !geteuid().is_root() {
            return Ok(None);
        }
        let mut at = PathBuf::from("/");
        let mut rest = parts(&std::path::absolute(path)?);
        let mut links = 0;
        while let Some(part) = rest.pop() {
            if part == ".." {
                at.pop();
                continue;
            }
            let next = at.join(part);
            // What is asked for its owner is what is worked in later.
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let handle = match openat(CWD, &next, flags, Mode::empty()) {
                // Nothing is there yet: the owner of the directories so far decides.
                Err(Errno::NOENT) => break,
                handle => handle?,
            };
            let about = fstat(&handle)?;
            let kind = FileType::from_raw_mode(about.st_mode);
            if about.st_uid != 0 {
                let rest = rest.into_iter().rev().collect::<PathBuf>();
                return Ok(Some(Self {
                    owner: Owner::new(about.st_uid, about.st_gid),
                    on: (kind == FileType::Directory).then(|| (handle, Path::new(".").join(rest))),
                }));
            }
            if kind != FileType::Symlink {
                at = next;
                continue;
            }
            links += 1;
            if links > MAX_LINKS {
                return Err(Errno::LOOP.into());
            }
            let target = fs::read_link(&next)?;
            if target.is_absolute() {
                at = PathBuf::from("/");
            }
            rest.append(&mut parts(&target));
        }
        Ok(None)
    }
}

/// A path as work with the rights of its owner can reach it: from a directory, where that is open.
#[derive(Clone, Copy, Debug)]
pub struct Reached<'a> {
    /// Where the way begins.
    pub from: BorrowedFd<'a>,
    /// The way from there.
    pub path: &'a Path,
}

/// Runs some work at `path` with the rights of the user that controls it: in a thread of its own,
/// if that is another user than this process's.
///
/// # Errors
///
/// The rights could not be given up: the work was not begun.
pub fn on_behalf<T: Send>(path: &Path, work: impl FnOnce() -> T + Send) -> io::Result<T> {
    on_behalf_at(path, |_| work())
}

/// As [`on_behalf`]; the work is told how to get there, also where only root may pass the
/// directories above.
///
/// # Errors
///
/// As [`on_behalf`].
pub fn on_behalf_at<T: Send>(
    path: &Path,
    work: impl FnOnce(Reached<'_>) -> T + Send,
) -> io::Result<T> {
    let from_here = Reached { from: CWD, path };
    let Some(Way { owner, on }) = Way::to(path)? else {
        return Ok(work(from_here));
    };
    let reached = on.as_ref().map_or(from_here, |(directory, rest)| Reached {
        from: directory.as_fd(),
        path: rest,
    });
    let as_owner = || owner.take_over(&[]).map(|()| work(reached));
    thread::scope(|scope| {
        let worker = thread::Builder::new().name("owner".to_owned());
        let worker = worker.spawn_scoped(scope, as_owner)?;
        worker
            .join()
            .unwrap_or_else(|bug| std::panic::resume_unwind(bug))
    })
}

/// Gives up root's rights in a daemon that was started as root, before it has a second thread. From
/// then on it has the rights of the user that controls its directory; returns that user.
///
/// # Errors
///
/// The system's. The daemon must not go on then.
pub fn settle(path: &Path) -> io::Result<Option<Owner>> {
    let owner = Owner::of(path)?;
    if let Some(owner) = owner {
        owner.take_over(&[])?;
    }
    Ok(owner)
}

/// Logs what [`settle`] did.
pub fn say_settled(owner: Owner, directory: &Path) {
    let directory = directory.display();
    tracing::warn!(
        "Started as root, and running as {owner}, who controls {directory}; `systemctl start` \
         starts the service"
    );
}

/// The parts of a path, the last one first.
fn parts(path: &Path) -> Vec<OsString> {
    let named = |part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    };
    let mut parts: Vec<_> = path.components().filter_map(named).collect();
    parts.reverse();
    parts
}

#[cfg(test)]
pub(crate) mod tests {
    use std::os::unix::fs::{chown, symlink};

    use super::*;

    /// The user `nobody`, who has nothing and may do nothing.
    pub(crate) const NOBODY: u32 = 65534;

    /// Returns true if this run can test what is about root; only root can.
    pub(crate) fn is_root() -> bool {
        geteuid().is_root()
    }

    fn owner(path: &Path) -> Option<u32> {
        let owner = Owner::of(path).unwrap()?;
        Some(owner.uid.as_raw())
    }

    #[test]
    fn the_first_owner_on_the_way_is_the_one_who_controls_it() {
        if !is_root() {
            return;
        }
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str| root.path().join(path);
        fs::create_dir_all(at("mine/deep")).unwrap();
        fs::create_dir_all(at("theirs/deep")).unwrap();
        chown(at("theirs"), Some(NOBODY), Some(NOBODY)).unwrap();
        assert_eq!(owner(&at("mine/deep")), None);
        assert_eq!(owner(&at("mine/none/at/all")), None);
        for theirs in ["theirs", "theirs/deep", "theirs/none/at/all"] {
            assert_eq!(owner(&at(theirs)), Some(NOBODY), "{theirs}");
        }
        // Links of root's are as good as what they lead to; another's lead anywhere later on.
        symlink(at("mine"), at("to-mine")).unwrap();
        symlink("mine/../theirs/deep", at("to-theirs")).unwrap();
        symlink("mine", at("link-of-theirs")).unwrap();
        std::os::unix::fs::lchown(at("link-of-theirs"), Some(NOBODY), None).unwrap();
        symlink("loop", at("loop")).unwrap();
        assert_eq!(owner(&at("to-mine/deep")), None);
        assert_eq!(owner(&at("to-theirs")), Some(NOBODY));
        assert_eq!(owner(&at("link-of-theirs/deep")), Some(NOBODY));
        assert!(Owner::of(&at("loop/x")).is_err());
    }

    #[test]
    fn work_is_done_with_the_owners_rights_and_this_thread_keeps_its_own() {
        if !is_root() {
            return;
        }
        let root = tempfile::tempdir().unwrap();
        let theirs = root.path().join("theirs");
        fs::create_dir(&theirs).unwrap();
        chown(&theirs, Some(NOBODY), Some(NOBODY)).unwrap();
        let who = || (geteuid().as_raw(), rustix::process::getegid().as_raw());
        assert_eq!(on_behalf(&theirs, who).unwrap(), (NOBODY, NOBODY));
        assert_eq!(on_behalf(root.path(), who).unwrap(), (0, 0));
        let refused = on_behalf(&theirs, || fs::read("/etc/shadow").unwrap_err().kind());
        assert_eq!(refused.unwrap(), io::ErrorKind::PermissionDenied);
        let back = on_behalf(&theirs, || Owner::new(0, 0).take_over(&[]).is_err());
        assert!(back.unwrap(), "there is no way back");
        assert_eq!(who(), (0, 0));
    }
}
