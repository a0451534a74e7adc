//! Files that an administrator hands out: passwords, tokens, certificates to trust.
//!
//! A relative name is looked for in the unit's credentials, then in
//! /etc/metrics-collector. Reading is bounded. A secret is never shown, and one that
//! everybody can read is refused.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Where relative names are looked for last.
const ETC: &str = "/etc/metrics-collector";

/// Most bytes of a password or token: tokens of services have some kilobytes.
pub const MAX_SECRET_BYTES: u64 = 16 * 1024;

/// Most bytes of certificates: the system's own bundles have 250 KB.
pub const MAX_CERTIFICATES_BYTES: u64 = 1024 * 1024;

/// The directories that relative names are looked for in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// The unit's credentials.
    pub credentials: Option<PathBuf>,
    /// The administrator's directory.
    pub etc: PathBuf,
}

impl Places {
    /// Those of this process.
    #[must_use]
    pub fn of_process() -> Self {
        Self {
            credentials: std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from),
            etc: ETC.into(),
        }
    }
}

/// Why a file is of no use.
#[derive(Debug, Error)]
pub(super) enum FileError {
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{name} is not in {looked}")]
    Missing { name: String, looked: String },
    #[error("{}: expected a regular file", .0.display())]
    NotAFile(PathBuf),
    #[error("{}: expected at most {limit} bytes", path.display())]
    TooLarge { path: PathBuf, limit: u64 },
    #[error(
        "{}: mode {mode:04o} lets everybody at the secret; `chmod o= {}` mends that",
        path.display(), path.display()
    )]
    Open { path: PathBuf, mode: u32 },
    #[error("{}: expected one line of text that is not empty", .0.display())]
    NoLine(PathBuf),
}

/// A password or a token.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Secret(String);

impl Secret {
    /// Reads the first line of a file, which has no other.
    pub(super) fn read(name: &Path, places: &Places) -> Result<Self, FileError> {
        let (path, bytes, mode) = read(name, places, MAX_SECRET_BYTES)?;
        if mode & 0o007 != 0 {
            return Err(FileError::Open { path, mode });
        }
        let text = String::from_utf8(bytes).map_err(|_| FileError::NoLine(path.clone()))?;
        let line = text.strip_suffix('\n').unwrap_or(&text);
        let line = line.strip_suffix('\r').unwrap_or(line);
        if line.is_empty() || line.contains(|c: char| c.is_control()) {
            return Err(FileError::NoLine(path));
        }
        Ok(Self(line.to_owned()))
    }

    /// The secret itself.
    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Reads the file with certificates to trust.
pub(super) fn certificates(name: &Path, places: &Places) -> Result<Vec<u8>, FileError> {
    read(name, places, MAX_CERTIFICATES_BYTES).map(|(_, bytes, _)| bytes)
}

fn read(name: &Path, places: &Places, limit: u64) -> Result<(PathBuf, Vec<u8>, u32), FileError> {
    let path = find(name, places)?;
    let failed = |source| FileError::Io {
        path: path.clone(),
        source,
    };
    // A pipe would block the open for as long as nobody writes to it.
    let file = File::options()
        .read(true)
        .custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed())
        .open(&path)
        .map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(FileError::NotAFile(path));
    }
    let mut bytes = Vec::new();
    let read = file
        .take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if read as u64 > limit {
        return Err(FileError::TooLarge { path, limit });
    }
    Ok((path, bytes, metadata.mode() & 0o7777))
}

fn find(name: &Path, places: &Places) -> Result<PathBuf, FileError> {
    if name.is_absolute() {
        return Ok(name.to_owned());
    }
    let directories = || places.credentials.iter().chain([&places.etc]);
    for directory in directories() {
        let path = directory.join(name);
        match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            // What else is wrong with it shows when it is opened.
            _ => return Ok(path),
        }
    }
    let looked: Vec<_> = directories()
        .map(|directory| directory.display().to_string())
        .collect();
    Err(FileError::Missing {
        name: name.display().to_string(),
        looked: looked.join(" or "),
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn places(root: &Path) -> Places {
        for name in ["credentials", "etc"] {
            fs::create_dir(root.join(name)).unwrap();
        }
        Places {
            credentials: Some(root.join("credentials")),
            etc: root.join("etc"),
        }
    }

    fn write(path: &Path, text: &[u8], mode: u32) {
        fs::write(path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn credentials_come_before_files_of_etc() {
        let root = tempfile::tempdir().unwrap();
        let places = places(root.path());
        let read = |name: &str| Secret::read(Path::new(name), &places);
        let error = read("token").unwrap_err().to_string();
        let looked = format!("{0}/credentials or {0}/etc", root.path().display());
        assert_eq!(error, format!("token is not in {looked}"));
        write(&places.etc.join("token"), b"of etc\n", 0o640);
        assert_eq!(read("token").unwrap().expose(), "of etc");
        let credential = root.path().join("credentials/token");
        write(&credential, b"of the unit", 0o400);
        assert_eq!(read("token").unwrap().expose(), "of the unit");
        let absolute = places.etc.join("token");
        assert_eq!(read(absolute.to_str().unwrap()).unwrap().expose(), "of etc");
    }

    #[test]
    fn a_secret_is_one_line_that_not_everybody_can_read() {
        let root = tempfile::tempdir().unwrap();
        let places = places(root.path());
        let path = places.etc.join("token");
        let read = || Secret::read(Path::new("token"), &places);
        for (bytes, secret) in [(&b" a b \r\n"[..], " a b "), ("ä".as_bytes(), "ä")] {
            write(&path, bytes, 0o600);
            assert_eq!(read().unwrap().expose(), secret);
        }
        for bytes in [&b""[..], b"\n", b"a\nb\n", b"a\0", b"\xff"] {
            write(&path, bytes, 0o600);
            assert!(matches!(read(), Err(FileError::NoLine(_))), "{bytes:?}");
        }
        write(&path, &vec![b'a'; 16 * 1024 + 1], 0o600);
        assert!(matches!(read(), Err(FileError::TooLarge { .. })));
        write(&path, b"hidden", 0o644);
        let error = read().unwrap_err().to_string();
        assert!(error.contains("mode 0644 lets everybody"), "{error}");
        assert!(!error.contains("hidden"), "{error}");
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(matches!(read(), Err(FileError::NotAFile(_))));
    }

    #[test]
    fn a_secret_is_not_shown() {
        assert_eq!(format!("{:?}", Secret("hidden".to_owned())), "Secret(…)");
    }
}
