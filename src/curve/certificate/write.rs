//! New key pairs, and the files that they are kept in.

use std::io::{self, Write};
use std::path::Path;
use std::time::SystemTime;

use super::{Certificate, CertificateError, scrub};
use crate::base::durable::{Directory, FileError, PRIVATE_DIRECTORY, PRIVATE_FILE, inside_made};
use crate::base::text::is_plain;
use crate::curve::keys::KeyPair;

/// The public key is for everybody who may enter the directory.
const PUBLIC_MODE: u32 = 0o644;

impl Certificate {
    /// Makes a key pair and keeps it in `DIR/NAME.key` and
    /// `DIR/NAME.key_secret`, of modes 0644 and 0600. The directory is made (0700)
    /// where it is missing; both files are its owner's. They are complete and on the
    /// disk when this returns; after a failure neither is there.
    ///
    /// # Errors
    ///
    /// [`CertificateError::Exists`] where either file is there already,
    /// [`CertificateError::Name`], [`CertificateError::Io`],
    /// [`CertificateError::Key`].
    pub fn write_pair(dir: &Path, name: &str) -> Result<KeyPair, CertificateError> {
        if name.is_empty() || name.starts_with('.') || name.contains('/') || !is_plain(name) {
            return Err(CertificateError::Name {
                name: name.to_owned(),
            });
        }
        let pair = KeyPair::generate()?;
        let now = humantime::format_rfc3339_seconds(SystemTime::now());
        let public = format!(
            "#   Made on {now}\n\
             #   ZeroMQ CURVE public certificate: give it to the peers that shall know\n\
             #   this end, over a way on which it cannot be replaced.\n\
             \n\
             metadata\n\
             curve\n    public-key = \"{}\"\n",
            pair.public
        );
        let mut secret = format!(
            "#   Made on {now}\n\
             #   ZeroMQ CURVE **secret** certificate: do not give it away, and keep its\n\
             #   mode at 0600.\n\
             \n\
             metadata\n\
             curve\n    public-key = \"{}\"\n    secret-key = \"",
            pair.public
        )
        .into_bytes();
        let mut key = pair.secret.to_z85();
        secret.reserve_exact(key.len() + 2);
        secret.extend_from_slice(&key);
        secret.extend_from_slice(b"\"\n");
        key.fill(0);

        let written = inside_made(dir, PRIVATE_DIRECTORY, |directory| {
            write(directory, name, public.as_bytes(), &secret)
        });
        scrub(secret);
        written?;
        Ok(pair)
    }
}

fn write(
    directory: &Directory,
    name: &str,
    public: &[u8],
    secret: &[u8],
) -> Result<(), CertificateError> {
    let secret_name = format!("{name}.key_secret");
    let public_name = format!("{name}.key");
    let secret = directory.draft(&secret_name, PRIVATE_FILE, |file| file.write_all(secret))?;
    let public = directory.draft(&public_name, PUBLIC_MODE, |file| file.write_all(public))?;
    // The secret file first: it alone is a whole certificate, should the power go in between.
    secret.publish(&secret_name)?;
    public.publish(&public_name).inspect_err(|_| {
        // Ours, made a moment ago; the first error is what counts.
        let _ = directory.remove(&secret_name);
    })?;
    directory.sync()?;
    Ok(())
}

impl From<FileError> for CertificateError {
    fn from(error: FileError) -> Self {
        let FileError {
            path,
            action,
            source,
        } = error;
        if source.kind() == io::ErrorKind::AlreadyExists {
            return Self::Exists { path };
        }
        Self::Io {
            path,
            action,
            source,
        }
    }
}
