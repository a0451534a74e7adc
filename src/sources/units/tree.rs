//! Which units there are: the slices' directories in the cgroup tree.
//!
//! Owns finding them, and detects if any came or went. systemd makes a cgroup for each unit below
//! that of its slice (systemd.slice(5)). What is below a service or a scope belongs to that unit: a
//! container or a user's manager may have units there with the same names as the system's. So only
//! slices are descended into.
//!
//! The kernel reports cgroups that come and go by inotify(7), so that the tree is walked only then;
//! if a directory cannot be watched, the tree is walked for every sample.

use std::{
    fs, io,
    os::{fd::OwnedFd, unix::fs::DirEntryExt},
    path::PathBuf,
};

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

use super::super::{error::FileError, odd::LeftOut};

/// Most units that are looked at. Hosts with thousands of containers have a scope for
/// each; this is beyond what one manager handles.
const MAX_UNITS: usize = 16_384;

/// Most slices. Each costs a watch, and a page of names to read in a walk; a host has about ten,
/// one for each user who is logged in, and one for each pod, if any.
const MAX_SLICES: usize = 4096;

/// Most readings of the queue in a row: each slice has two events at most, each reading
/// takes ten of the longest.
const MAX_READINGS: usize = 1024;

/// Room for some ten events with names of 255 bytes, and at least for one, as inotify(7)
/// asks.
const EVENT_BYTES: usize = 4096;

/// A unit that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// Its name, as systemd has it.
    pub(super) name: String,
    /// Its cgroup, below the root of the tree.
    pub(super) path: String,
    /// Tells this cgroup from a later one of the same path.
    pub(super) inode: u64,
}

/// The tree and what is known of it.
#[derive(Debug)]
pub(super) struct Tree {
    base: PathBuf,
    watch: Option<OwnedFd>,
    /// Every directory was watched before it was listed.
    watched: bool,
}

impl Tree {
    /// The tree that is mounted on `base`.
    pub(super) fn new(base: PathBuf) -> Self {
        Self {
            base,
            watch: None,
            watched: false,
        }
    }

    /// Returns true if units may have come or gone since the last walk.
    pub(super) fn changed(&mut self, scratch: &mut Vec<u8>) -> bool {
        let Some(watch) = self.watch.as_ref().filter(|_| self.watched) else {
            return true;
        };
        if scratch.len() < EVENT_BYTES {
            scratch.resize(EVENT_BYTES, 0);
        }
        // The events themselves do not matter, nor an overflow of the queue: the tree is walked.
        let read = |scratch: &mut Vec<u8>| rustix::io::read(watch, scratch.as_mut_slice());
        let mut readings = 0;
        while readings < MAX_READINGS && read(scratch).is_ok() {
            readings += 1;
        }
        readings > 0
    }

    /// Returns true if this is no tree of cgroup v2: only the root of one has this file. Where one
    /// may not look, that is not known.
    pub(super) fn is_foreign(&self) -> bool {
        matches!(self.base.join("cgroup.controllers").try_exists(), Ok(false))
    }

    /// Lists every unit that `admits`, ordered by name, and how many there was no room for.
    ///
    /// A slice that cannot be listed costs the units in it, and is noted.
    ///
    /// A name is listed once: if two cgroups have it, for example after a service was started again
    /// in another slice with a process left behind, the first path counts.
    pub(super) fn walk(
        &mut self,
        admits: impl Fn(&str) -> bool,
        left_out: &mut LeftOut,
    ) -> Result<(Vec<Found>, usize), FileError> {
        if self.watch.is_none() {
            self.watch = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).ok();
        }
        self.watched = false;
        let mut watched = true;
        let mut found = Vec::new();
        let mut cut = 0;
        let mut slices = vec![String::new()];
        let mut next = 0;
        while let Some(slice) = slices.get(next).cloned() {
            next += 1;
            let entries = match self.list(&slice, &mut watched) {
                Ok(entries) => entries,
                Err(error) if slice.is_empty() => return Err(error),
                Err(error) => {
                    left_out.add(error.into());
                    // It may be listed the next time.
                    watched = false;
                    continue;
                }
            };
            for (component, inode) in entries {
                let Some((name, kind)) = unit_name(&component) else {
                    continue;
                };
                let path = if slice.is_empty() {
                    component.clone()
                } else {
                    format!("{slice}/{component}")
                };
                if kind == "slice" {
                    if slices.len() < MAX_SLICES {
                        slices.push(path.clone());
                    } else {
                        cut += 1;
                    }
                }
                if !admits(name) {
                    continue;
                }
                if found.len() < MAX_UNITS {
                    let name = name.to_owned();
                    found.push(Found { name, path, inode });
                } else {
                    cut += 1;
                }
            }
        }
        found.sort_by(|one, two| (&one.name, &one.path).cmp(&(&two.name, &two.path)));
        let all = found.len();
        found.dedup_by(|later, earlier| later.name == earlier.name);
        cut += all - found.len();
        self.watched = watched;
        Ok((found, cut))
    }

    /// The directories in one, each with its inode. One that is gone has none, and its
    /// going is an event of its parent's.
    fn list(&self, slice: &str, all_watched: &mut bool) -> Result<Vec<(String, u64)>, FileError> {
        let path = self.base.join(slice);
        // Once: one event is enough to walk the tree and to watch again, and the queue is no longer
        // than there are slices, however long there is no sample.
        let events = WatchFlags::CREATE | WatchFlags::DELETE | WatchFlags::MOVE;
        let events = events | WatchFlags::ONESHOT | WatchFlags::ONLYDIR;
        let watched = self
            .watch
            .as_ref()
            .is_some_and(|watch| inotify::add_watch(watch, &path, events).is_ok());
        let entries = || -> io::Result<Vec<(String, u64)>> {
            let mut directories = Vec::new();
            for entry in fs::read_dir(&path)? {
                let entry = entry?;
                if entry.file_type()?.is_dir()
                    && let Ok(name) = entry.file_name().into_string()
                {
                    directories.push((name, entry.ino()));
                }
            }
            Ok(directories)
        };
        match entries() {
            Ok(entries) => {
                *all_watched &= watched;
                Ok(entries)
            }
            Err(error) if is_gone(&error) => {
                // The root itself may be mounted later on.
                *all_watched &= !slice.is_empty();
                Ok(Vec::new())
            }
            Err(source) => Err(FileError::Read { path, source }),
        }
    }
}

/// Returns true if there is no such cgroup, or no longer.
pub(super) fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
        || error.raw_os_error() == Some(rustix::io::Errno::NODEV.raw_os_error())
}

/// The unit whose cgroup has this name, and its kind; None for what is none, or one of another kind.
///
/// systemd puts an underscore before a name that would clash with the kernel's files, and
/// before one that begins with an underscore.
fn unit_name(component: &str) -> Option<(&str, &str)> {
    let name = component.strip_prefix('_').unwrap_or(component);
    let (prefix, kind) = name.rsplit_once('.')?;
    // systemd.unit(5).
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b":-_.\\@".contains(&byte);
    let valid = !prefix.is_empty() && prefix.bytes().all(allowed);
    (valid && ["service", "scope", "slice"].contains(&kind)).then_some((name, kind))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::testing;

    fn names(found: &[Found]) -> Vec<&str> {
        found.iter().map(|unit| unit.name.as_str()).collect()
    }

    fn captured(kernel: &str) -> Tree {
        Tree::new(testing::captured(kernel).path("/sys/fs/cgroup"))
    }

    #[test]
    fn names_are_systemds_own() {
        for (component, name) in [
            ("nginx.service", Some("nginx.service")),
            (r"worker@a\x2db.service", Some(r"worker@a\x2db.service")),
            ("user-1000.slice", Some("user-1000.slice")),
            ("init.scope", Some("init.scope")),
            ("_cpu.service", Some("cpu.service")),
            ("__odd.service", Some("_odd.service")),
            ("dev-mqueue.mount", None),
            ("dbus.socket", None),
            ("payload", None),
            (".service", None),
            ("_.slice", None),
            ("a b.service", None),
            ("ümlaut.service", None),
        ] {
            let found = unit_name(component).map(|(name, _)| name);
            assert_eq!(found, name, "{component}");
        }
    }

    #[test]
    fn slices_are_descended_into_and_nothing_else() {
        let (found, cut) = captured("6.12-qemu")
            .walk(|_| true, &mut LeftOut::default())
            .unwrap();
        assert_eq!(cut, 0);
        let names = names(&found);
        for name in [
            "system.slice",
            r"worker@a\x2db.service",
            "batch-night.slice",
            "job.service",
            "run-import.scope",
            "session-1.scope",
            "user@1000.service",
            "init.scope",
            "delegated.service",
        ] {
            assert!(names.contains(&name), "{name}: {names:?}");
        }
        // Those of a user's manager.
        for other in ["editor.service", "app.slice", "app-tools.slice"] {
            assert!(!names.contains(&other), "{other}");
        }
        assert!(names.is_sorted());
        let job = found
            .iter()
            .find(|unit| unit.name == "job.service")
            .unwrap();
        assert_eq!(job.path, "batch.slice/batch-night.slice/job.service");
    }

    #[test]
    fn what_is_not_admitted_is_descended_into_all_the_same() {
        let admits = |name: &str| name == "job.service";
        let (found, _) = captured("6.1-qemu")
            .walk(admits, &mut LeftOut::default())
            .unwrap();
        assert_eq!(names(&found), ["job.service"]);
    }

    #[test]
    fn a_name_is_there_once() {
        let directory = tempfile::tempdir().unwrap();
        for path in ["b.slice/x.service", "a.slice/x.service"] {
            fs::create_dir_all(directory.path().join(path)).unwrap();
        }
        let (found, cut) = Tree::new(directory.path().to_owned())
            .walk(|_| true, &mut LeftOut::default())
            .unwrap();
        assert_eq!(names(&found), ["a.slice", "b.slice", "x.service"]);
        assert_eq!(cut, 1);
        assert_eq!(found.last().unwrap().path, "a.slice/x.service");
    }

    #[test]
    fn a_tree_is_walked_again_only_after_a_change() {
        let directory = tempfile::tempdir().unwrap();
        let base = directory.path();
        fs::create_dir(base.join("a.slice")).unwrap();
        let mut tree = Tree::new(base.to_owned());
        let mut scratch = Vec::new();
        assert!(tree.changed(&mut scratch));
        tree.walk(|_| true, &mut LeftOut::default()).unwrap();
        assert!(!tree.changed(&mut scratch));

        fs::create_dir_all(base.join("a.slice/a-b.slice")).unwrap();
        assert!(tree.changed(&mut scratch) && !tree.changed(&mut scratch));
        let (found, _) = tree.walk(|_| true, &mut LeftOut::default()).unwrap();
        assert_eq!(names(&found), ["a-b.slice", "a.slice"]);

        fs::create_dir(base.join("a.slice/a-b.slice/x.service")).unwrap();
        assert!(tree.changed(&mut scratch));
        tree.walk(|_| true, &mut LeftOut::default()).unwrap();
        fs::remove_dir_all(base.join("a.slice")).unwrap();
        assert!(tree.changed(&mut scratch));
        assert_eq!(
            tree.walk(|_| true, &mut LeftOut::default()).unwrap(),
            (Vec::new(), 0)
        );
    }

    #[test]
    fn no_tree_is_no_unit_and_no_error() {
        let directory = tempfile::tempdir().unwrap();
        let mut tree = Tree::new(directory.path().join("cgroup"));
        assert_eq!(
            tree.walk(|_| true, &mut LeftOut::default()).unwrap(),
            (Vec::new(), 0)
        );
        assert!(tree.changed(&mut Vec::new()), "it may come");
    }
}
