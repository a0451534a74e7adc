//! The files of an allow list: added whole, and removed.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::Failure;
use crate::base::durable::{inside, inside_made};
use crate::base::text::is_plain;
use crate::collector::access::directory::ENDING;
use crate::curve::certificate::Certificate;
use crate::curve::keys::PublicKey;

/// The longest name, in bytes: a file's name has 255, of which a draft's needs some more.
pub(super) const MAX_NAME_BYTES: usize = 200;

/// Public keys must be readable for the collector's user, even if another user wrote them.
const DIRECTORY_MODE: u32 = 0o755;
const FILE_MODE: u32 = 0o644;

/// A name for a key of which nothing else is known.
pub(super) fn name_of(key: &PublicKey) -> String {
    let [one, two, three, four, ..] = key.as_bytes();
    format!("key-{one:02x}{two:02x}{three:02x}{four:02x}")
}

/// Returns true if this is a valid name of a file that is easy to read.
pub(super) fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= MAX_NAME_BYTES
        && !name.starts_with('.')
        && !name.contains('/')
        && is_plain(name)
}

/// Writes `NAME.key` with this key; where. When this returns it is on the disk.
pub(super) fn add(directory: &Path, name: &str, key: &PublicKey) -> Result<PathBuf, Failure> {
    if !is_name(name) {
        let name = name.to_owned();
        return Err(Failure::Name { name });
    }
    let file = format!("{name}{ENDING}");
    let path = directory.join(&file);
    let now = humantime::format_rfc3339_seconds(SystemTime::now());
    let text = format!(
        "#   Let in by `metrics-collector keys allow` on {now}\n\
         \n\
         metadata\n\
         curve\n    public-key = \"{key}\"\n"
    );
    let added = inside_made(directory, DIRECTORY_MODE, |directory| {
        let draft = directory.draft(&file, FILE_MODE, |draft| draft.write_all(text.as_bytes()))?;
        draft.publish(&file)?;
        directory.sync()
    });
    match added {
        Err(error) if error.source.kind() == io::ErrorKind::AlreadyExists => Err(taken(&path)),
        added => Ok(added.map(|()| path)?),
    }
}

/// Removes a file. When this returns it is gone from the disk.
pub(super) fn remove(path: &Path) -> Result<(), Failure> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    // Another process may have been faster.
    inside(directory, |directory| directory.remove(&name))?;
    Ok(())
}

fn taken(path: &Path) -> Failure {
    match Certificate::read_public(path) {
        Ok(key) => Failure::Exists {
            path: path.to_owned(),
            key,
        },
        Err(error) => Failure::InTheWay {
            problem: error.to_string(),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn key(number: u8) -> PublicKey {
        PublicKey::from_bytes([number; 32])
    }

    #[test]
    fn a_key_is_written_whole_for_all_to_read_and_never_over_another() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("etc/authorized_agents");
        let path = add(&directory, "web1", &key(1)).unwrap();
        assert_eq!(path, directory.join("web1.key"));
        assert_eq!(Certificate::read_public(&path).unwrap(), key(1));
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(&directory)), (0o644, 0o755));
        let error = add(&directory, "web1", &key(2)).unwrap_err();
        assert!(
            error
                .to_string()
                .contains(&format!("holds another key, {}", key(1)))
        );
        assert_eq!(Certificate::read_public(&path).unwrap(), key(1));
        assert_eq!(
            fs::read_dir(&directory).unwrap().count(),
            1,
            "no draft stays"
        );
        remove(&path).unwrap();
        remove(&path).unwrap();
        assert!(!path.exists());
        fs::write(&path, "junk").unwrap();
        let error = add(&directory, "web1", &key(2)).unwrap_err();
        assert!(matches!(error, Failure::InTheWay { .. }), "{error}");
    }

    #[test]
    fn names_are_files_names() {
        let root = tempfile::tempdir().unwrap();
        let long = "a".repeat(MAX_NAME_BYTES + 1);
        for name in [
            "",
            ".hidden",
            "a/b",
            "../x",
            "a\nb",
            "a\u{202e}b",
            "a\u{200b}",
            &long,
        ] {
            let error = add(root.path(), name, &key(1)).unwrap_err();
            assert!(matches!(error, Failure::Name { .. }), "{name}");
        }
        add(root.path(), &long[1..], &key(1)).unwrap();
        add(root.path(), &name_of(&key(0xAB)), &key(1)).unwrap();
        assert!(root.path().join("key-abababab.key").exists());
    }
}
