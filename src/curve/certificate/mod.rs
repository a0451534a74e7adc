//! Key files: ZPL certificates as pyzmq's `zmq.auth` and czmq's `zcert` write
//! them, with a `metadata` section and a `curve` section.
//!
//! Reading is bounded, names file and line of what is wrong, and refuses a
//! secret key that others can read. Writing creates a new pair of files, both
//! or none, and never overwrites one.
//! The form is [RFC 4/ZPL](https://rfc.zeromq.org/spec/4/).

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::keys::{KeyError, PublicKey, SecretKey};
use crate::base::shell;

pub mod concern;
mod parse;
mod write;

pub use concern::Concern;

/// The most that a certificate may hold, in bytes. The ones that tools write
/// have some 300; metadata may add to that.
pub const MAX_CERTIFICATE_BYTES: u64 = 16 * 1024;

/// Who keeps a key file from the eyes of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Its own mode does: no access for group and others.
    OwnFile,
    /// systemd does: the file is in `$CREDENTIALS_DIRECTORY`, which only the
    /// unit can enter. There the mode may be 0440, where group access stands
    /// for an access control list's mask (systemd 257); others may still have
    /// none, nor the group write access.
    Credential,
}

impl Trust {
    /// Whom to trust with a file, by whether the service manager handed it over.
    #[must_use]
    pub const fn of(is_credential: bool) -> Self {
        if is_credential {
            Self::Credential
        } else {
            Self::OwnFile
        }
    }

    /// The mode bits of other users that are refused.
    const fn refused_bits(self) -> u32 {
        match self {
            Self::OwnFile => 0o077,
            Self::Credential => 0o027,
        }
    }
}

/// What a certificate file holds.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The public key.
    pub public: PublicKey,
    /// The secret key, in a secret file (`NAME.key_secret`).
    pub secret: Option<SecretKey>,
    /// The `metadata` section: names and values in the order of the file.
    pub metadata: Vec<(String, String)>,
}

/// Why a certificate was not read or written.
#[derive(Debug, Error)]
pub enum CertificateError {
    /// A system call failed.
    #[error("{}: cannot {action}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What was tried, as in "cannot open".
        action: &'static str,
        /// The system's answer.
        source: io::Error,
    },
    /// A directory, a device or a pipe.
    #[error("{}: expected a regular file", path.display())]
    NotAFile {
        /// What is no file.
        path: PathBuf,
    },
    /// No certificate is that large.
    #[error("{}: expected a certificate of at most {MAX_CERTIFICATE_BYTES} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// Others than the owner can read the secret key, or change it.
    #[error(
        "{path}: mode {mode:04o} lets others at the secret key; run `chmod 600 {word}`, \
         and make a new key if it may have been read",
        path = path.display(), word = shell::path(path)
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A line that cannot be understood.
    #[error("{}:{line}: {problem}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        problem: LineProblem,
    },
    /// No public key at all.
    #[error(
        "{}: expected `public-key = \"<40 Z85 characters>\"` in a section `curve`",
        path.display()
    )]
    NoPublicKey {
        /// The file.
        path: PathBuf,
    },
    /// A public certificate in the place of a secret one.
    #[error(
        "{}: expected `secret-key = \"<40 Z85 characters>\"` in the section `curve`",
        path.display()
    )]
    NoSecretKey {
        /// The file.
        path: PathBuf,
    },
    /// A file of that name is there already; it is not overwritten.
    #[error("{}: exists already; choose another name, or move it away", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The name cannot be a file's.
    #[error(
        "{name:?}: expected a name without `/` and characters that cannot be seen, that does not \
         begin with a dot"
    )]
    Name {
        /// The name.
        name: String,
    },
    /// No key pair could be made.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// What is wrong with a line of a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LineProblem {
    /// Certificates are text.
    #[error("expected UTF-8 text")]
    NotText,
    /// A quote that does not end.
    #[error("expected a closing {0}")]
    OpenQuote(char),
    /// Something stands behind a value.
    #[error("expected nothing after the value but a comment")]
    Trailing,
    /// A line that is neither a section nor `name = value`.
    #[error("expected `name = value`, a section's name or a comment")]
    NotZpl,
    /// The same key twice.
    #[error("{0} is given twice")]
    Twice(&'static str),
    /// The key itself is wrong.
    #[error("{name}: {source}")]
    Key {
        /// Which key.
        name: &'static str,
        /// What is wrong with it.
        source: KeyError,
    },
}

impl Certificate {
    /// Reads a certificate, public or secret.
    ///
    /// # Errors
    ///
    /// Every [`CertificateError`] that is about reading. A file without a
    /// secret key may have any mode.
    pub fn read(path: &Path, trust: Trust) -> Result<Self, CertificateError> {
        let (bytes, mode) = contents(path)?;
        let certificate = parse::certificate(path, &bytes);
        scrub(bytes);
        let certificate = certificate?;
        if certificate.secret.is_some() && mode & trust.refused_bits() != 0 {
            return Err(CertificateError::Exposed {
                path: path.to_owned(),
                mode,
            });
        }
        Ok(certificate)
    }

    /// Reads a certificate that is in memory already; errors name it by `path`.
    ///
    /// # Errors
    ///
    /// Every [`CertificateError`] that is about what a certificate says.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self, CertificateError> {
        parse::certificate(path, bytes)
    }

    /// Reads the public key alone, of a public or a secret file, whatever the
    /// file's mode.
    ///
    /// # Errors
    ///
    /// As [`Certificate::read`], without [`CertificateError::Exposed`].
    pub fn read_public(path: &Path) -> Result<PublicKey, CertificateError> {
        let (bytes, _) = contents(path)?;
        let certificate = parse::certificate(path, &bytes);
        scrub(bytes);
        Ok(certificate?.public)
    }
}

/// Concerns about a file from which only a public key is needed: as [`concern::of_file`], and
/// that it holds a secret key.
#[must_use]
pub fn concerns_of_public(path: &Path) -> Vec<Concern> {
    let mut concerns = concern::of_file(path);
    let secret = contents(path).is_ok_and(|(bytes, _)| {
        let certificate = parse::certificate(path, &bytes);
        scrub(bytes);
        certificate.is_ok_and(|certificate| certificate.secret.is_some())
    });
    if secret {
        let path = path.to_owned();
        concerns.push(Concern::Secret { path });
    }
    concerns
}

/// The file's bytes and its permission bits, both of the same open file.
fn contents(path: &Path) -> Result<(Vec<u8>, u32), CertificateError> {
    let failed = |action| {
        move |source| CertificateError::Io {
            path: path.to_owned(),
            action,
            source,
        }
    };
    // Opening a pipe would block until there is a writer.
    let file = File::options()
        .read(true)
        .custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed())
        .open(path)
        .map_err(failed("open it"))?;
    let metadata = file.metadata().map_err(failed("read its mode"))?;
    if !metadata.is_file() {
        return Err(CertificateError::NotAFile {
            path: path.to_owned(),
        });
    }
    // The capacity is that of the whole file, so that no copy of the key is
    // left behind by a buffer that grew.
    let mut bytes = Vec::with_capacity(usize::try_from(MAX_CERTIFICATE_BYTES + 1).unwrap_or(0));
    let read = file
        .take(MAX_CERTIFICATE_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(failed("read it"))?;
    if read as u64 > MAX_CERTIFICATE_BYTES {
        return Err(CertificateError::TooLarge {
            path: path.to_owned(),
        });
    }
    Ok((bytes, metadata.mode() & 0o7777))
}

/// Overwrites bytes that may hold a secret key.
pub(crate) fn scrub(mut bytes: Vec<u8>) {
    bytes.fill(0);
    std::hint::black_box(&bytes);
}

#[cfg(test)]
mod tests;
