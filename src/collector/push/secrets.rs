//! Files that an administrator hands out: passwords, tokens, certificates to trust.
//!
//! Where they are, the settings say. Reading is bounded. A secret is never shown, and one that
//! every user can read is refused.

use crate::base::shell;
use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Most bytes of a password or token: tokens of services have some kilobytes.
const MAX_SECRET_BYTES: u64 = 16 * 1024;

/// Most bytes of certificates: the system's own bundles have 250 KB.
const MAX_CERTIFICATES_BYTES: u64 = 1024 * 1024;

/// Why a file is of no use.
#[derive(Debug, Error)]
pub(super) enum FileError {
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{}: expected a regular file", .0.display())]
    NotAFile(PathBuf),
    #[error("{}: expected at most {limit} bytes", path.display())]
    TooLarge { path: PathBuf, limit: u64 },
    #[error(
        "{}: mode {mode:04o} lets everyone read the secret; `chmod o= {}` prevents that",
        path.display(), shell::path(path)
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
    pub(super) fn read(path: &Path) -> Result<Self, FileError> {
        let (bytes, mode) = read(path, MAX_SECRET_BYTES)?;
        let no_line = || FileError::NoLine(path.to_owned());
        if mode & 0o007 != 0 {
            let path = path.to_owned();
            return Err(FileError::Open { path, mode });
        }
        let text = String::from_utf8(bytes).map_err(|_| no_line())?;
        let line = text.strip_suffix('\n').unwrap_or(&text);
        let line = line.strip_suffix('\r').unwrap_or(line);
        if line.is_empty() || line.contains(|c: char| c.is_control()) {
            return Err(no_line());
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
pub(super) fn certificates(path: &Path) -> Result<Vec<u8>, FileError> {
    read(path, MAX_CERTIFICATES_BYTES).map(|(bytes, _)| bytes)
}

/// What is in a file, and its mode.
fn read(path: &Path, limit: u64) -> Result<(Vec<u8>, u32), FileError> {
    let failed = |source| FileError::Io {
        path: path.to_owned(),
        source,
    };
    // Opening a pipe would block until there is a writer.
    let file = File::options()
        .read(true)
        .custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed())
        .open(path)
        .map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(FileError::NotAFile(path.to_owned()));
    }
    let mut bytes = Vec::new();
    let read = file
        .take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if read as u64 > limit {
        let path = path.to_owned();
        return Err(FileError::TooLarge { path, limit });
    }
    Ok((bytes, metadata.mode() & 0o7777))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn write(path: &Path, text: &[u8], mode: u32) {
        fs::write(path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_secret_is_one_line_that_not_everybody_can_read() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("token");
        let read = || Secret::read(&path);
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
        assert!(error.contains("mode 0644 lets everyone"), "{error}");
        assert!(!error.contains("hidden"), "{error}");
        fs::remove_file(&path).unwrap();
        let error = read().unwrap_err().to_string();
        assert!(
            error.ends_with("/token: No such file or directory (os error 2)"),
            "{error}"
        );
        fs::create_dir(&path).unwrap();
        assert!(matches!(read(), Err(FileError::NotAFile(_))));
    }

    #[test]
    fn a_secret_is_not_shown() {
        assert_eq!(format!("{:?}", Secret("hidden".to_owned())), "Secret(…)");
    }
}
