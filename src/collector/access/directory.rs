//! Allow lists: keys that are let in, by the names of their files, and how they are read from
//! directories of public certificates, `NAME.key`.
//!
//! Reading runs on a thread, as files may be slow and many. An unchanged file is not read again. A file
//! that is not a certificate loses only its own key and is reported once. If a directory cannot
//! be read, what was known of it stays valid.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write as _,
};

use thiserror::Error;

use crate::base::durable::owner;
use crate::base::text;
use crate::curve::certificate::{
    Certificate, CertificateError, Concern, concern, concerns_of_public,
};
use crate::curve::keys::PublicKey;

/// Maximum number of files in one directory: ten fleets of the size that one collector is
/// designed for. The first reading takes some seconds.
pub const MAX_FILES: usize = 100_000;

/// Maximum number of problems that are logged one by one after a reading.
const MAX_TOLD: usize = 20;

/// What a certificate's name ends with.
pub const ENDING: &str = ".key";

/// A file that was changed this shortly before it was read may change again with the same time
/// stamp: file systems round it, the coarsest (FAT, HFS+) to two seconds.
const SETTLED_AFTER: Duration = Duration::from_secs(2);

/// The directories of one list, and what is known of them.
#[derive(Debug)]
pub struct Directories(Vec<Directory>);

#[derive(Debug)]
struct Directory {
    path: PathBuf,
    files: BTreeMap<Arc<str>, File>,
    /// What was wrong with the directory itself.
    trouble: Option<String>,
    /// Which other users may add keys.
    concern: Option<Concern>,
}

#[derive(Debug)]
struct File {
    stamp: Option<Stamp>,
    content: Result<PublicKey, String>,
    concerns: Vec<Concern>,
}

/// Identifies a version of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

/// The result of a reading.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// The keys that are let in from now on.
    pub list: AllowList,
    /// New problems, to be logged.
    pub problems: Vec<String>,
    /// True if a directory was not read: it may hold more keys.
    pub lacks_some: bool,
}

/// Says that these directories hold no key.
#[must_use]
pub fn no_key_in(directories: &[PathBuf]) -> String {
    let paths = directories.iter().map(|path| text::path(path));
    format!(
        "no key is in {}",
        paths.collect::<Vec<_>>().join(" nor in ")
    )
}

/// Why a directory was not read.
#[derive(Debug, Error)]
enum DirectoryError {
    #[error("{}: cannot read the directory: {source}; the keys known from it stay in force", .path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{}: expected at most {MAX_FILES} keys; the keys known from it stay in force", .path.display())]
    TooMany { path: PathBuf },
}

impl Directories {
    /// These directories, not read yet.
    #[must_use]
    pub fn new(paths: &[PathBuf]) -> Self {
        let directory = |path: &PathBuf| Directory {
            path: path.clone(),
            files: BTreeMap::new(),
            trouble: None,
            concern: None,
        };
        Self(paths.iter().map(directory).collect())
    }

    /// Reads the files that have changed.
    pub fn read(&mut self, now: SystemTime) -> Reading {
        let mut problems = Vec::new();
        for directory in &mut self.0 {
            let concern = concern::of_directory(&directory.path);
            if let Some(concern) = &concern
                && directory.concern.as_ref() != Some(concern)
            {
                problems.push(concern.to_string());
            }
            directory.concern = concern;
            let path = directory.path.clone();
            // A directory of another user is read with that user's rights.
            let read = owner::on_behalf(&path, || directory.read(now, &mut problems));
            let unreadable = |source| Err(DirectoryError::Unreadable { path, source });
            match read.unwrap_or_else(unreadable) {
                Ok(()) => directory.trouble = None,
                Err(error) => {
                    let trouble = Some(error.to_string());
                    if directory.trouble != trouble {
                        problems.extend(trouble.clone());
                    }
                    directory.trouble = trouble;
                }
            }
        }
        if let Some(more) = problems
            .len()
            .checked_sub(MAX_TOLD)
            .filter(|more| *more > 0)
        {
            problems.truncate(MAX_TOLD);
            let more = text::counted(more as u64, "more problem");
            problems.push(format!("{more} with key files"));
        }
        let entries = self.0.iter().flat_map(|directory| &directory.files);
        let entries = entries.filter_map(|(name, file)| {
            let key = file.content.as_ref().ok()?;
            Some((Arc::clone(name), *key))
        });
        Reading {
            list: AllowList::new(entries),
            problems,
            lacks_some: self.0.iter().any(|directory| directory.trouble.is_some()),
        }
    }

    /// Every file that holds a key, for the commands that change them: its path, name and key.
    #[must_use]
    pub fn files(&self) -> Vec<(PathBuf, Arc<str>, PublicKey)> {
        let mut found = Vec::new();
        for directory in &self.0 {
            for (name, file) in &directory.files {
                if let Ok(key) = &file.content {
                    let path = directory.path.join(format!("{name}{ENDING}"));
                    found.push((path, Arc::clone(name), *key));
                }
            }
        }
        found
    }
}

impl Directory {
    fn read(&mut self, now: SystemTime, problems: &mut Vec<String>) -> Result<(), DirectoryError> {
        let names = names(&self.path)?;
        let mut before = std::mem::take(&mut self.files);
        for name in names {
            let path = self.path.join(format!("{name}{ENDING}"));
            let known = before.remove(&name);
            let stamp = match fs::metadata(&path) {
                Ok(metadata) => Stamp::of(&metadata, now),
                // The file is gone; any other error shows when it is read.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(_) => None,
            };
            let file = match known {
                Some(known) if stamp.is_some() && known.stamp == stamp => known,
                known => {
                    let content = match Certificate::read_public(&path) {
                        Err(CertificateError::Io { source, .. })
                            if source.kind() == io::ErrorKind::NotFound =>
                        {
                            continue;
                        }
                        read => read.map_err(|error| error.to_string()),
                    };
                    let concerns = concerns(&path, content.is_ok());
                    let told = known.as_ref().map_or(&[][..], |known| &known.concerns);
                    let new = concerns.iter().filter(|concern| !told.contains(concern));
                    problems.extend(new.map(ToString::to_string));
                    if let Err(problem) = &content
                        && known.is_none_or(|known| known.content.as_ref() != Err(problem))
                    {
                        problems.push(format!("{problem}; no key of that file is let in"));
                    }
                    File {
                        stamp,
                        content,
                        concerns,
                    }
                }
            };
            self.files.insert(name, file);
        }
        Ok(())
    }
}

impl Stamp {
    /// The stamp of a file, if it can be relied on.
    fn of(metadata: &fs::Metadata, now: SystemTime) -> Option<Self> {
        let changed = u64::try_from(metadata.ctime()).unwrap_or(0);
        let changed_at = SystemTime::UNIX_EPOCH + Duration::from_secs(changed);
        let settled = now.duration_since(changed_at).ok()? > SETTLED_AFTER;
        settled.then(|| Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}

/// Problems with a file that holds a key; those of its directory are reported once, elsewhere.
fn concerns(path: &Path, holds_a_key: bool) -> Vec<Concern> {
    let mut concerns = if holds_a_key {
        concerns_of_public(path)
    } else {
        Vec::new()
    };
    let directory = path.parent().and_then(concern::of_directory);
    concerns.retain(|concern| Some(concern) != directory.as_ref());
    concerns
}

/// The names of the certificates in a directory; none if the directory does not exist.
fn names(path: &Path) -> Result<Vec<Arc<str>>, DirectoryError> {
    let unreadable = |source| DirectoryError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let entries = match fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(unreadable)?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.map_err(unreadable)?.file_name();
        // Files of other programs, and our temporary files.
        let Some(name) = name.to_str().and_then(|name| name.strip_suffix(ENDING)) else {
            continue;
        };
        if name.is_empty() || name.starts_with('.') {
            continue;
        }
        if names.len() >= MAX_FILES {
            return Err(DirectoryError::TooMany {
                path: path.to_owned(),
            });
        }
        names.push(name.into());
    }
    names.sort_unstable();
    Ok(names)
}

/// Maximum number of names in the text of a change; of the rest only the number is given.
const NAMES_TOLD: usize = 5;

/// An allow list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowList(HashMap<PublicKey, Arc<str>>);

impl AllowList {
    /// Makes a list of these names and keys. If a key has two names, the first counts.
    pub fn new(entries: impl IntoIterator<Item = (Arc<str>, PublicKey)>) -> Self {
        let mut list = HashMap::new();
        for (name, key) in entries {
            list.entry(key).or_insert(name);
        }
        Self(list)
    }

    /// The name of a key that is on the list.
    #[must_use]
    pub fn name(&self, key: &PublicKey) -> Option<&str> {
        self.0.get(key).map(|name| &**name)
    }

    /// Returns true if a key is on it.
    #[must_use]
    pub fn contains(&self, key: &PublicKey) -> bool {
        self.0.contains_key(key)
    }

    /// How many keys are on it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns true if no key is on it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What changes if this list replaces `before`.
    #[must_use]
    pub fn change_since(&self, before: &Self) -> Change {
        let missing_in = |list: &Self, other: &Self| -> BTreeMap<Arc<str>, PublicKey> {
            let missing = list.0.iter().filter(|(key, _)| !other.contains(key));
            missing
                .map(|(key, name)| (Arc::clone(name), *key))
                .collect()
        };
        Change {
            added: missing_in(self, before).into_keys().collect(),
            removed: missing_in(before, self).into_keys().collect(),
        }
    }
}

/// What has changed on a list, by names in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Let in from now on.
    pub added: Vec<Arc<str>>,
    /// Refused from now on.
    pub removed: Vec<Arc<str>>,
}

impl Change {
    /// Returns true if nothing has changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty()
    }
}

/// Names as people read them: `a, b and 3 more`.
#[must_use]
pub fn told(names: &[Arc<str>]) -> String {
    let mut text = names
        .iter()
        .take(NAMES_TOLD)
        .map(|name| &**name)
        .collect::<Vec<_>>()
        .join(", ");
    if let Some(more) = names.len().checked_sub(NAMES_TOLD).filter(|more| *more > 0) {
        // Writing to a string does not fail.
        let _ = write!(text, " and {more} more");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u8) -> PublicKey {
        PublicKey::from_bytes([number; 32])
    }

    fn certificate(number: u8) -> String {
        format!("metadata\ncurve\n    public-key = \"{}\"\n", key(number))
    }

    fn list(entries: &[(&str, u8)]) -> AllowList {
        AllowList::new(
            entries
                .iter()
                .map(|&(name, number)| (name.into(), key(number))),
        )
    }

    /// Long after whatever the test writes.
    fn later() -> SystemTime {
        SystemTime::now() + Duration::from_secs(60)
    }

    #[test]
    fn a_list_is_the_certificates_of_all_directories() {
        let root = tempfile::tempdir().unwrap();
        let (one, two) = (root.path().join("one"), root.path().join("two"));
        let mut directories = Directories::new(&[one.clone(), two.clone()]);
        assert_eq!(directories.read(later()), Reading::default());
        fs::create_dir(&one).unwrap();
        fs::create_dir(&two).unwrap();
        fs::write(one.join("web1.key"), certificate(1)).unwrap();
        fs::write(two.join("web2.key"), certificate(2)).unwrap();
        fs::write(two.join(".draft.key"), certificate(3)).unwrap();
        fs::write(two.join("web4.key_secret"), certificate(4)).unwrap();
        fs::write(two.join("web5.key~"), certificate(5)).unwrap();
        fs::write(two.join(".key"), certificate(6)).unwrap();
        let reading = directories.read(later());
        assert_eq!(reading.list, list(&[("web1", 1), ("web2", 2)]));
        assert_eq!(reading.problems, [""; 0]);
        fs::remove_file(one.join("web1.key")).unwrap();
        fs::remove_dir_all(&two).unwrap();
        assert_eq!(directories.read(later()), Reading::default());
    }

    #[test]
    fn a_bad_file_costs_itself_and_is_told_once() {
        let root = tempfile::tempdir().unwrap();
        let mut directories = Directories::new(&[root.path().to_owned()]);
        let bad = root.path().join("bad.key");
        fs::write(root.path().join("good.key"), certificate(1)).unwrap();
        fs::write(&bad, "curve\n    public-key = \"short\"\n").unwrap();
        fs::create_dir(root.path().join("directory.key")).unwrap();
        let reading = directories.read(later());
        assert_eq!(reading.list, list(&[("good", 1)]));
        let told = format!(
            "{}:2: public-key: expected 40 Z85 characters, found 5; no key of that file is let in",
            bad.display()
        );
        assert_eq!(reading.problems[0], told);
        assert!(reading.problems[1].contains("directory.key: expected a regular file"));
        assert_eq!(reading.problems.len(), 2);
        for now in [later(), SystemTime::now()] {
            let reading = directories.read(now);
            assert_eq!(reading.problems, [""; 0]);
            assert_eq!(reading.list.len(), 1);
        }
        fs::write(&bad, "other\n").unwrap();
        assert_eq!(directories.read(later()).problems.len(), 1);
        fs::write(&bad, certificate(2)).unwrap();
        assert_eq!(
            directories.read(later()).list,
            list(&[("bad", 2), ("good", 1)])
        );
        // A good file that turns bad admits no key.
        fs::write(&bad, "").unwrap();
        assert_eq!(directories.read(later()).list, list(&[("good", 1)]));
    }

    #[test]
    fn whom_else_a_list_may_be_changed_by_is_told_once() {
        use std::os::unix::fs::PermissionsExt as _;

        let root = tempfile::tempdir().unwrap();
        let (list, file) = (root.path().join("list"), root.path().join("list/web1.key"));
        let mode = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        fs::create_dir(&list).unwrap();
        fs::write(&file, certificate(1)).unwrap();
        let mut directories = Directories::new(std::slice::from_ref(&list));
        assert_eq!(directories.read(later()).problems, [""; 0]);
        mode(&list, 0o757);
        mode(&file, 0o646);
        let told = [
            format!(
                "{}: mode 0757 lets others put keys there; `chmod go-w` on the directory ends that",
                list.display()
            ),
            format!(
                "{}: mode 0646 lets others change the key; `chmod go-w` on the file ends that",
                file.display()
            ),
        ];
        assert_eq!(directories.read(later()).problems, told);
        for now in [later(), SystemTime::now()] {
            assert_eq!(directories.read(now).problems, [""; 0]);
        }
        mode(&list, 0o755);
        mode(&file, 0o600);
        Certificate::write_pair(&list, "pair").unwrap();
        fs::rename(list.join("pair.key_secret"), &file).unwrap();
        let problems = directories.read(later()).problems;
        let expected = format!("{}: holds a secret key", file.display());
        assert!(problems[0].starts_with(&expected), "{problems:?}");
        assert_eq!(problems.len(), 1);
    }

    /// A list in another user's directory, read by root.
    #[test]
    fn a_link_of_anothers_leads_nowhere_where_that_user_may_not_go() {
        use std::os::unix::fs::{PermissionsExt as _, chown, symlink};

        use crate::base::durable::owner::tests::{NOBODY, is_root};

        if !is_root() {
            return;
        }
        let root = tempfile::tempdir().unwrap();
        let (list, secret) = (root.path().join("list"), root.path().join("secret"));
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(&list).unwrap();
        fs::write(&secret, certificate(1)).unwrap();
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
        symlink(&secret, list.join("web1.key")).unwrap();
        fs::write(list.join("web2.key"), certificate(2)).unwrap();
        chown(&list, Some(NOBODY), Some(NOBODY)).unwrap();
        let reading = Directories::new(std::slice::from_ref(&list)).read(later());
        assert_eq!(reading.list, self::list(&[("web2", 2)]));
        let told = format!("{}: belongs to user {NOBODY}", list.display());
        assert!(
            reading.problems[0].starts_with(&told),
            "{:?}",
            reading.problems
        );
        assert!(
            reading.problems[1].contains("web1.key: cannot open it: Permission denied"),
            "{:?}",
            reading.problems
        );
    }

    #[test]
    fn many_bad_files_are_a_number() {
        let root = tempfile::tempdir().unwrap();
        for number in 0..MAX_TOLD + 5 {
            fs::write(root.path().join(format!("{number}.key")), "").unwrap();
        }
        let mut directories = Directories::new(&[root.path().to_owned()]);
        let problems = directories.read(later()).problems;
        assert_eq!(problems.len(), MAX_TOLD + 1);
        assert_eq!(problems[MAX_TOLD], "5 more problems with key files");
    }

    #[test]
    fn a_directory_that_cannot_be_read_leaves_what_was_known() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("list");
        fs::create_dir(&path).unwrap();
        fs::write(path.join("web1.key"), certificate(1)).unwrap();
        let mut directories = Directories::new(std::slice::from_ref(&path));
        assert_eq!(directories.read(later()).list.len(), 1);
        // What root cannot read either.
        fs::rename(&path, root.path().join("away")).unwrap();
        fs::write(&path, "no directory").unwrap();
        let reading = directories.read(later());
        assert_eq!(reading.list, list(&[("web1", 1)]));
        let told = format!("{}: cannot read the directory: ", path.display());
        assert!(
            reading.problems[0].starts_with(&told),
            "{:?}",
            reading.problems
        );
        assert_eq!(directories.read(later()).problems, [""; 0]);
        fs::remove_file(&path).unwrap();
        assert_eq!(directories.read(later()), Reading::default());
    }

    #[test]
    fn only_what_has_changed_is_read_again() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("web1.key");
        fs::write(&path, certificate(1)).unwrap();
        let mut directories = Directories::new(&[root.path().to_owned()]);
        directories.read(later());
        let known = &directories.0[0].files["web1"];
        assert!(known.stamp.is_some());
        // Marked, so that a reading would show.
        directories.0[0].files.get_mut("web1").unwrap().content = Ok(key(9));
        assert_eq!(directories.read(later()).list, list(&[("web1", 9)]));
        // A time stamp that may hide a later change is not relied on.
        assert_eq!(
            directories.read(SystemTime::now()).list,
            list(&[("web1", 1)])
        );
    }

    #[test]
    fn a_key_is_known_by_its_first_name() {
        let list = list(&[("a", 1), ("b", 1), ("c", 2)]);
        assert_eq!(list.len(), 2);
        assert_eq!(list.name(&PublicKey::from_bytes([1; 32])), Some("a"));
        assert!(!list.contains(&PublicKey::from_bytes([3; 32])));
    }

    #[test]
    fn a_change_is_of_keys_and_told_by_names() {
        let before = list(&[("a", 1), ("b", 2), ("c", 3)]);
        let after = list(&[("a", 1), ("b", 9), ("renamed", 3), ("d", 4)]);
        let change = after.change_since(&before);
        assert_eq!(change.added, ["b".into(), "d".into()]);
        assert_eq!(change.removed, ["b".into()]);
        assert!(after.change_since(&after).is_empty());
    }

    #[test]
    fn many_names_are_a_number() {
        let names: Vec<Arc<str>> = (0..8).map(|number: u8| number.to_string().into()).collect();
        assert_eq!(told(&names[..2]), "0, 1");
        assert_eq!(told(&names), "0, 1, 2, 3, 4 and 3 more");
    }
}
