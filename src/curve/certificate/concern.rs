//! What makes a key file less worthy of trust than it could be: nothing that is refused, as it
//! may be meant, but something that an administrator should hear of.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::process::{getegid, geteuid};
use thiserror::Error;

/// Who else than root and this process' user decides what is in a key file, or who reads a
/// secret key that nobody needs there.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Concern {
    /// Others may write the file.
    #[error(
        "{}: mode {mode:04o} lets others change the key; `chmod go-w` on the file ends that",
        path.display()
    )]
    FileWritable {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Others may put files into the directory.
    #[error(
        "{}: mode {mode:04o} lets others put keys there; `chmod go-w` on the directory ends that",
        path.display()
    )]
    DirectoryWritable {
        /// The directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A directory that is meant for the files of everybody, such as `/tmp`.
    #[error(
        "{}: mode {mode:04o} lets others put keys there, as it is meant for everybody; move the \
         key into a directory of its own",
        path.display()
    )]
    DirectoryShared {
        /// The directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A file or a directory of neither root's nor our own.
    #[error(
        "{}: belongs to user {uid}, who decides what is there; `chown root` ends that",
        path.display()
    )]
    Owner {
        /// The file or the directory.
        path: PathBuf,
        /// Whose it is.
        uid: u32,
    },
    /// A secret key where the public one is enough.
    #[error(
        "{}: holds a secret key, where only a public one is needed; put the file NAME.key there \
         instead, and make a new pair if this one is another host's",
        path.display()
    )]
    Secret {
        /// The file.
        path: PathBuf,
    },
}

/// What there is to say of a key file, and of the directory that it is in.
#[must_use]
pub fn of_file(path: &Path) -> Vec<Concern> {
    let file = fs::metadata(path).ok();
    let file = file.and_then(|about| of(path, &about));
    let directory = path.parent().and_then(of_directory);
    file.into_iter().chain(directory).collect()
}

/// What there is to say of a directory of keys.
#[must_use]
pub fn of_directory(path: &Path) -> Option<Concern> {
    of(path, &fs::metadata(path).ok()?)
}

/// What there is to say of a file or directory that is known.
#[must_use]
pub fn of(path: &Path, about: &Metadata) -> Option<Concern> {
    let (uid, mode) = (about.uid(), about.mode() & 0o7777);
    if uid != 0 && uid != geteuid().as_raw() {
        let path = path.to_owned();
        return Some(Concern::Owner { path, uid });
    }
    // A group of our own, or root's, is nobody else.
    let own_group = about.gid() == 0 || about.gid() == getegid().as_raw();
    let others = if own_group { 0o002 } else { 0o022 };
    if mode & others == 0 {
        return None;
    }
    let path = path.to_owned();
    Some(if about.is_dir() && mode & 0o1000 != 0 {
        Concern::DirectoryShared { path, mode }
    } else if about.is_dir() {
        Concern::DirectoryWritable { path, mode }
    } else {
        Concern::FileWritable { path, mode }
    })
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt as _, chown};

    use super::*;

    #[test]
    fn who_else_may_write_is_told() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("curve");
        let file = directory.join("a.key");
        fs::create_dir(&directory).unwrap();
        fs::write(&file, "").unwrap();
        let set = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode));
        set(&directory, 0o755).unwrap();
        set(&file, 0o664).unwrap();
        assert_eq!(of_file(&file), [], "the group is our own");
        set(&file, 0o646).unwrap();
        set(&directory, 0o777).unwrap();
        assert_eq!(
            of_file(&file),
            [
                Concern::FileWritable {
                    path: file.clone(),
                    mode: 0o646
                },
                Concern::DirectoryWritable {
                    path: directory.clone(),
                    mode: 0o777
                },
            ]
        );
        set(&directory, 0o1777).unwrap();
        let shared = of_directory(&directory).unwrap().to_string();
        assert!(
            shared.ends_with("; move the key into a directory of its own"),
            "{shared}"
        );
        if !geteuid().is_root() {
            return;
        }
        set(&directory, 0o755).unwrap();
        set(&file, 0o664).unwrap();
        chown(&file, None, Some(65534)).unwrap();
        assert_eq!(
            of_file(&file),
            [Concern::FileWritable {
                path: file.clone(),
                mode: 0o664
            }]
        );
        set(&file, 0o644).unwrap();
        chown(&file, Some(65534), None).unwrap();
        chown(&directory, Some(65534), None).unwrap();
        assert_eq!(
            of_file(&file),
            [
                Concern::Owner {
                    path: file.clone(),
                    uid: 65534
                },
                Concern::Owner {
                    path: directory,
                    uid: 65534
                },
            ]
        );
    }
}
