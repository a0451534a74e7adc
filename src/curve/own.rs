//! A program's own key pair with the file that keeps it: read, or made if there is none.
//!
//! Each program decides where it looks. A file that is there but cannot be used is an error and
//! never a reason to make another: peers know a program by its key.

use std::path::{Path, PathBuf};

use super::certificate::{Certificate, CertificateError, Trust};
use super::keys::KeyPair;

/// A key pair and its file.
#[derive(Debug)]
pub struct OwnKeys {
    /// The keys.
    pub pair: KeyPair,
    /// The secret file, or where it would be made.
    pub path: PathBuf,
    /// True if the file was there, false if the pair is new.
    pub found: bool,
}

impl OwnKeys {
    /// The pair of a certificate that was read already.
    ///
    /// # Errors
    ///
    /// [`CertificateError::NoSecretKey`].
    pub fn of(path: PathBuf, certificate: Certificate) -> Result<Self, CertificateError> {
        let Certificate { public, secret, .. } = certificate;
        let Some(secret) = secret else {
            return Err(CertificateError::NoSecretKey { path });
        };
        Ok(Self {
            pair: KeyPair { public, secret },
            path,
            found: true,
        })
    }

    /// Reads the pair of a secret file.
    ///
    /// # Errors
    ///
    /// As [`Certificate::read`], and [`CertificateError::NoSecretKey`].
    pub fn read(path: PathBuf, trust: Trust) -> Result<Self, CertificateError> {
        let certificate = Certificate::read(&path, trust)?;
        Self::of(path, certificate)
    }

    /// Makes a pair and keeps it as [`Certificate::write_pair`] does. If another process was
    /// faster, reads the one that it made.
    ///
    /// # Errors
    ///
    /// As [`Certificate::write_pair`] and [`OwnKeys::read`].
    pub fn make(directory: &Path, name: &str) -> Result<Self, CertificateError> {
        let path = directory.join(format!("{name}.key_secret"));
        match Certificate::write_pair(directory, name) {
            Ok(pair) => Ok(Self {
                pair,
                path,
                found: false,
            }),
            Err(CertificateError::Exists { path: taken }) if taken == path => {
                Self::read(path, Trust::OwnFile)
            }
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_that_another_process_made_meanwhile_is_read() {
        let root = tempfile::tempdir().unwrap();
        let made = OwnKeys::make(root.path(), "me").unwrap();
        let path = root.path().join("me.key_secret");
        assert_eq!((&made.path, made.found), (&path, false));
        let again = OwnKeys::make(root.path(), "me").unwrap();
        assert_eq!((&again.path, again.found), (&path, true));
        assert_eq!(again.pair.public, made.pair.public);

        // Without its secret file, the public one is in the way.
        std::fs::remove_file(&path).unwrap();
        let error = OwnKeys::make(root.path(), "me").unwrap_err();
        assert!(
            matches!(&error, CertificateError::Exists { path } if path.ends_with("me.key")),
            "{error}"
        );
        let public = root.path().join("me.key");
        let error = OwnKeys::read(public, Trust::OwnFile).unwrap_err();
        assert!(
            matches!(error, CertificateError::NoSecretKey { .. }),
            "{error}"
        );
    }
}
