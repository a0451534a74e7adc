//! What makes a key file less worthy of trust than it could be: nothing that is refused, as it
//! may be meant, but something that an administrator should hear of.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::process::{getegid, geteuid};
use thiserror::Error;

/// Which users besides root and this process' user control a key file, or can read a secret key
/// in a file that does not need one.
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
    /// Others may rename a directory above, and put another one in its place.
    #[error(
        "{}: mode {mode:04o} lets others replace {}; `chmod go-w` on {} ends that",
        above.display(), path.display(), above.display()
    )]
    AboveWritable {
        /// The directory of the key.
        path: PathBuf,
        /// The directory above.
        above: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A file or a directory of neither root's nor our own.
    #[error(
        "{}: belongs to user {uid}, who can change what is there; `chown root` prevents that",
        path.display()
    )]
    Owner {
        /// The file or the directory.
        path: PathBuf,
        /// The pin of that key.
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

/// The user that stands for those of another user namespace (`user_namespaces(7)`): whose a
/// directory is then, cannot be told.
const OVERFLOW_UID: u32 = 65534;

/// Concerns about a key file and its directories; for a symbolic link, also about the
/// directories that it leads to.
#[must_use]
pub fn of_file(path: &Path) -> Vec<Concern> {
    let is_link = fs::symlink_metadata(path).is_ok_and(|about| about.is_symlink());
    let target = is_link.then(|| fs::canonicalize(path).ok()).flatten();
    let holder = target.as_deref().unwrap_or(path);
    let file = fs::metadata(holder).ok();
    let mut concerns: Vec<_> = file
        .and_then(|about| of(holder, &about))
        .into_iter()
        .collect();
    for file in std::iter::once(path).chain(target.as_deref()) {
        let concern = file.parent().and_then(of_directory);
        concerns.extend(concern.filter(|concern| !concerns.contains(concern)));
    }
    concerns
}

/// Concerns about a directory of keys, or the nearest existing one above it.
#[must_use]
pub fn of_directory(path: &Path) -> Option<Concern> {
    let itself = of(path, &fs::metadata(path).ok()?);
    itself.or_else(|| {
        let path = fs::canonicalize(path).ok()?;
        path.ancestors().skip(1).find_map(|above| {
            let concern = of(above, &fs::metadata(above).ok()?)?;
            match concern {
                Concern::DirectoryWritable { path: above, mode } => Some(Concern::AboveWritable {
                    path: path.clone(),
                    above,
                    mode,
                }),
                // In such a directory users cannot rename or remove the files of others:
                // unlink(2), EPERM.
                Concern::DirectoryShared { .. } => None,
                Concern::Owner { uid, .. } if uid == OVERFLOW_UID => None,
                other => Some(other),
            }
        })
    })
}

/// What there is to say of a file or directory that is known.
#[must_use]
pub fn of(path: &Path, about: &Metadata) -> Option<Concern> {
    let (uid, mode) = (about.uid(), about.mode() & 0o7777);
    if uid != 0 && uid != geteuid().as_raw() {
        let path = path.to_owned();
        return Some(Concern::Owner { path, uid });
    }
    // Our own group and root's count as ourselves.
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

    #[test]
    fn who_may_replace_the_directory_or_what_a_link_leads_to_is_told() {
        let root = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(root.path()).unwrap();
        let (above, directory) = (root.join("srv"), root.join("srv/k"));
        fs::create_dir_all(&directory).unwrap();
        let set = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode));
        set(&directory, 0o755).unwrap();
        set(&above, 0o755).unwrap();
        let file = directory.join("a.key");
        fs::write(&file, "").unwrap();
        set(&file, 0o644).unwrap();
        assert_eq!(of_file(&file), []);
        set(&above, 0o777).unwrap();
        let replaced = Concern::AboveWritable {
            path: directory.clone(),
            above: above.clone(),
            mode: 0o777,
        };
        assert_eq!(of_file(&file), std::slice::from_ref(&replaced));
        let (srv, k) = (above.display(), directory.display());
        assert_eq!(
            replaced.to_string(),
            format!("{srv}: mode 0777 lets others replace {k}; `chmod go-w` on {srv} ends that")
        );

        let list = root.join("list");
        fs::create_dir(&list).unwrap();
        set(&list, 0o755).unwrap();
        let link = list.join("a.key");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert_eq!(of_file(&link), [replaced]);
        set(&above, 0o1777).unwrap();
        assert_eq!(
            of_file(&link),
            [],
            "what is another's cannot be renamed there"
        );
        set(&directory, 0o777).unwrap();
        assert_eq!(
            of_file(&link),
            [Concern::DirectoryWritable {
                path: directory,
                mode: 0o777
            }]
        );
    }
}
