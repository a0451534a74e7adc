//! Files of settings: which there are, and their text. Reads regular files of
//! bounded size and nothing else, and never waits for a pipe's other end.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{OFlags, makedev};

use super::error::{Place, Problem};
use crate::config::Reason;

/// The most that is read of a file, in bytes. A file with every setting and
/// every collector has a few KiB; what is larger got there by mistake.
pub const MAX_FILE_BYTES: u64 = 256 * 1024;

/// The file in a state directory that keeps what was set over D-Bus.
pub(crate) const KEPT: &str = "settings.toml";

/// The most drop-ins that are read.
pub(crate) const MAX_DROP_INS: usize = 256;

/// The text of a file. A link to `/dev/null` is empty, as systemd masks files.
pub(crate) fn read(path: &Path) -> Result<String, Reason> {
    // Without O_NONBLOCK, opening a pipe waits for a writer.
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or(0);
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(path)
        .map_err(Reason::Unreadable)?;
    let about = file.metadata().map_err(Reason::Unreadable)?;
    if about.is_dir() {
        return Err(Reason::Directory);
    }
    if about.file_type().is_char_device() && about.rdev() == makedev(1, 3) {
        return Ok(String::new());
    }
    if !about.is_file() {
        return Err(Reason::NotRegular);
    }
    text(file)
}

/// The text of a regular file that is open.
pub(crate) fn text(file: File) -> Result<String, Reason> {
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(Reason::Unreadable)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(Reason::TooLarge);
    }
    String::from_utf8(bytes).map_err(|_| Reason::NotUtf8)
}

/// The drop-ins of several directories, in the order of their file names. Of
/// two with the same name the one in the later directory counts, so that
/// `/etc` masks what the distribution ships. What does not end in `.toml`, or
/// begins with a dot, is no drop-in. A directory that does not exist is empty.
pub(crate) fn drop_ins(directories: &[PathBuf]) -> Result<Vec<PathBuf>, Box<Problem>> {
    let mut found: BTreeMap<OsString, PathBuf> = BTreeMap::new();
    for directory in directories {
        let problem = |reason| {
            Box::new(Problem {
                place: Place::file(directory),
                key: None,
                reason,
            })
        };
        let entries = match fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(problem(Reason::Unreadable(error))),
        };
        for entry in entries {
            let name = entry
                .map_err(|error| problem(Reason::Unreadable(error)))?
                .file_name();
            let bytes = name.as_encoded_bytes();
            if bytes.ends_with(b".toml") && !bytes.starts_with(b".") {
                let path = directory.join(&name);
                found.insert(name, path);
            }
        }
        if found.len() > MAX_DROP_INS {
            return Err(problem(Reason::TooManyDropIns(found.len())));
        }
    }
    Ok(found.into_values().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{CWD, Mode, mkfifoat};

    #[test]
    fn reads_regular_files_alone_and_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("good"), "a = 1\n").unwrap();
        assert_eq!(read(&at("good")).unwrap(), "a = 1\n");
        assert!(matches!(read(dir.path()), Err(Reason::Directory)));
        assert!(matches!(read(&at("none")), Err(Reason::Unreadable(_))));
        mkfifoat(CWD, at("pipe"), Mode::RWXU).unwrap();
        assert!(matches!(read(&at("pipe")), Err(Reason::NotRegular)));
        assert!(matches!(
            read(Path::new("/dev/zero")),
            Err(Reason::NotRegular)
        ));
        std::os::unix::fs::symlink("/dev/null", at("masked")).unwrap();
        assert_eq!(read(&at("masked")).unwrap(), "");
        fs::write(at("latin1"), b"name = \"B\xfcro\"").unwrap();
        assert!(matches!(read(&at("latin1")), Err(Reason::NotUtf8)));
        let limit = usize::try_from(MAX_FILE_BYTES).unwrap();
        fs::write(at("full"), "#".repeat(limit)).unwrap();
        assert_eq!(read(&at("full")).unwrap().len(), limit);
        fs::write(at("huge"), "#".repeat(limit + 1)).unwrap();
        assert!(matches!(read(&at("huge")), Err(Reason::TooLarge)));
    }

    #[test]
    fn drop_ins_are_sorted_by_name_and_masked_by_the_later_directory() {
        let dir = tempfile::tempdir().unwrap();
        let (usr, etc) = (dir.path().join("usr"), dir.path().join("etc"));
        fs::create_dir(&usr).unwrap();
        fs::create_dir(&etc).unwrap();
        for file in [
            "usr/20-b.toml",
            "usr/30-c.toml",
            "etc/10-a.toml",
            "etc/30-c.toml",
        ] {
            fs::write(dir.path().join(file), "").unwrap();
        }
        for ignored in ["etc/.hidden.toml", "etc/old.toml~", "etc/README"] {
            fs::write(dir.path().join(ignored), "").unwrap();
        }
        let found = drop_ins(&[usr.clone(), etc.clone(), dir.path().join("none")]).unwrap();
        assert_eq!(
            found,
            [
                etc.join("10-a.toml"),
                usr.join("20-b.toml"),
                etc.join("30-c.toml")
            ]
        );

        for n in 0..=MAX_DROP_INS {
            fs::write(usr.join(format!("{n}.toml")), "").unwrap();
        }
        let problem = drop_ins(&[usr]).unwrap_err();
        assert!(
            matches!(problem.reason, Reason::TooManyDropIns(259)),
            "{problem}"
        );
        let problem = drop_ins(&[etc.join("README")]).unwrap_err();
        assert!(matches!(problem.reason, Reason::Unreadable(_)), "{problem}");
    }
}
