//! The keys of metrics-top: its own pair, made at the first start, and the collector's
//! public key.
//!
//! Both are looked for where a person's keys of this project are, in `~/.curve`. A key file
//! that is there and cannot be used is an error, never a reason to make another: the
//! collector knows this client by its key.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::curve::certificate::{Certificate, CertificateError, Trust};
use crate::curve::keys::{KeyError, KeyPair, PublicKey};

/// The pair's files without their ending.
const PAIR: &str = "client";
const SECRET_FILE: &str = "client.key_secret";
const COLLECTOR_FILE: &str = "collector.key";

/// What the command line says about keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Given {
    /// `--key-file FILE`.
    pub key_file: Option<PathBuf>,
    /// `--public-key KEY`.
    pub public_key: Option<String>,
    /// `--public-key-file FILE`.
    pub public_key_file: Option<PathBuf>,
}

/// The keys.
#[derive(Debug)]
pub struct Keys {
    /// This client's own.
    pub pair: KeyPair,
    /// The secret file, where it was made just now.
    pub made: Option<PathBuf>,
    /// The key that the collector must prove to have.
    pub collector: PublicKey,
}

/// Why there are no keys.
#[derive(Debug, Error)]
pub enum KeysError {
    /// A file.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// A public certificate in the place of a secret one.
    #[error("{}: expected `secret-key = \"<40 Z85 characters>\"` in the section `curve`", .0.display())]
    NoSecretKey(PathBuf),
    /// What `--public-key` says.
    #[error("--public-key: {0}")]
    PublicKey(#[source] KeyError),
    /// No home.
    #[error("HOME is not set; name the key files with --key-file and --public-key-file")]
    NoHome,
    /// No public key of the collector.
    #[error(
        "the collector's public key is not known: `metrics-collector --public-key` prints it on \
         the collector's host; give it with --public-key, or copy its certificate to {}", .0.display()
    )]
    NoCollectorKey(PathBuf),
}

/// Finds the keys, and makes this client's own where it has none and none was named.
///
/// # Errors
///
/// [`KeysError`].
pub fn find_or_make(given: &Given, home: Option<OsString>) -> Result<Keys, KeysError> {
    let directory = home
        .filter(|home| !home.is_empty())
        .map(|home| Path::new(&home).join(".curve"));
    let (pair, made) = own(given, directory.as_deref())?;
    Ok(Keys {
        pair,
        made,
        collector: collector(given, directory.as_deref())?,
    })
}

fn own(given: &Given, directory: Option<&Path>) -> Result<(KeyPair, Option<PathBuf>), KeysError> {
    if let Some(file) = &given.key_file {
        return Ok((read(file)?, None));
    }
    let directory = directory.ok_or(KeysError::NoHome)?;
    let path = directory.join(SECRET_FILE);
    match read(&path) {
        Err(KeysError::Certificate(CertificateError::Io { source, .. }))
            if source.kind() == io::ErrorKind::NotFound => {}
        found => return Ok((found?, None)),
    }
    match Certificate::write_pair(directory, PAIR) {
        Ok(pair) => Ok((pair, Some(path))),
        // Another start was faster.
        Err(CertificateError::Exists { path: taken }) if taken == path => Ok((read(&path)?, None)),
        Err(error) => Err(error.into()),
    }
}

fn read(path: &Path) -> Result<KeyPair, KeysError> {
    let Certificate { public, secret, .. } = Certificate::read(path, Trust::OwnFile)?;
    let secret = secret.ok_or_else(|| KeysError::NoSecretKey(path.to_owned()))?;
    Ok(KeyPair { public, secret })
}

fn collector(given: &Given, directory: Option<&Path>) -> Result<PublicKey, KeysError> {
    if let Some(key) = &given.public_key {
        return key.parse().map_err(KeysError::PublicKey);
    }
    if let Some(file) = &given.public_key_file {
        return Ok(Certificate::read_public(file)?);
    }
    let path = directory.ok_or(KeysError::NoHome)?.join(COLLECTOR_FILE);
    match Certificate::read_public(&path) {
        Err(CertificateError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            Err(KeysError::NoCollectorKey(path))
        }
        found => Ok(found?),
    }
}

/// The command that lets a key in, for whoever runs the collector.
pub struct AllowCommand<'a> {
    /// This client's key.
    pub key: PublicKey,
    /// A name for it.
    pub name: &'a str,
}

impl fmt::Display for AllowCommand<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, name } = self;
        // Z85 has characters that mean something to a shell, and no single quote.
        write!(
            f,
            "metrics-collector keys allow '{key}' --client --name {name}"
        )
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const KEY: &str = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7";

    fn with_key() -> Given {
        Given {
            public_key: Some(KEY.to_owned()),
            ..Given::default()
        }
    }

    #[test]
    fn its_own_pair_is_made_once() {
        let home = tempfile::tempdir().unwrap();
        let find = || find_or_make(&with_key(), Some(home.path().into())).unwrap();
        let first = find();
        let path = home.path().join(".curve/client.key_secret");
        assert_eq!(first.made.as_ref(), Some(&path));
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
        let found = find();
        assert_eq!(found.made, None);
        assert_eq!(found.pair.public, first.pair.public);
        assert_eq!(found.collector.to_string(), KEY);
        // One that was named must be there.
        let given = Given {
            key_file: Some(home.path().join("other")),
            ..with_key()
        };
        let error = find_or_make(&given, None).unwrap_err().to_string();
        assert!(error.contains("other: cannot open it"), "{error}");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let error = find_or_make(&with_key(), Some(home.path().into())).unwrap_err();
        assert!(error.to_string().contains("chmod 600"), "{error}");
    }

    #[test]
    fn the_collectors_key_has_to_be_known() {
        let home = tempfile::tempdir().unwrap();
        let find = |given: &Given| find_or_make(given, Some(home.path().into()));
        let error = find(&Given::default()).unwrap_err().to_string();
        assert!(
            error.contains("`metrics-collector --public-key` prints it"),
            "{error}"
        );
        assert!(error.ends_with(".curve/collector.key"), "{error}");
        let given = Given {
            public_key: Some("short".to_owned()),
            ..Given::default()
        };
        let error = find(&given).unwrap_err().to_string();
        assert_eq!(error, "--public-key: expected 40 Z85 characters, found 5");
        let pair = Certificate::write_pair(&home.path().join(".curve"), "collector").unwrap();
        assert_eq!(find(&Given::default()).unwrap().collector, pair.public);
        let given = Given {
            public_key_file: Some(home.path().join(".curve/collector.key")),
            ..Given::default()
        };
        assert_eq!(find(&given).unwrap().collector, pair.public);
    }

    #[test]
    fn the_command_can_be_pasted() {
        let command = AllowCommand {
            key: KEY.parse().unwrap(),
            name: "laptop",
        };
        assert_eq!(
            command.to_string(),
            format!("metrics-collector keys allow '{KEY}' --client --name laptop")
        );
    }
}
