//! New key pairs, and the files that they are kept in.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::{Certificate, CertificateError, scrub};
use crate::curve::keys::KeyPair;

/// Only the owner may enter a directory of keys, or read one.
const DIRECTORY_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

impl Certificate {
    /// Makes a key pair and keeps it in `DIR/NAME.key` and
    /// `DIR/NAME.key_secret`, both of mode 0600. The directory is made (0700)
    /// where it is missing. Both files are complete and on the disk when this
    /// returns; after a failure neither is there.
    ///
    /// # Errors
    ///
    /// [`CertificateError::Exists`] where either file is there already,
    /// [`CertificateError::Name`], [`CertificateError::Io`],
    /// [`CertificateError::Key`].
    pub fn write_pair(dir: &Path, name: &str) -> Result<KeyPair, CertificateError> {
        if name.is_empty() || name.starts_with('.') || name.contains(['/', '\0']) {
            return Err(CertificateError::Name {
                name: name.to_owned(),
            });
        }
        let pair = KeyPair::generate()?;
        DirBuilder::new()
            .recursive(true)
            .mode(DIRECTORY_MODE)
            .create(dir)
            .map_err(failed(dir, "create the directory"))?;

        let now = humantime::format_rfc3339_seconds(SystemTime::now());
        let public = format!(
            "#   Made by metrics-agent on {now}\n\
             #   ZeroMQ CURVE public certificate: give it to the peers that shall know\n\
             #   this end, over a way on which nobody can replace it.\n\
             \n\
             metadata\n\
             curve\n    public-key = \"{}\"\n",
            pair.public
        );
        let mut secret = format!(
            "#   Made by metrics-agent on {now}\n\
             #   ZeroMQ CURVE **secret** certificate: give it to nobody, and keep its\n\
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

        let secret_path = dir.join(format!("{name}.key_secret"));
        let public_path = dir.join(format!("{name}.key"));
        let written = Draft::write(&secret_path, &secret).and_then(|draft| {
            let public = Draft::write(&public_path, public.as_bytes())?;
            // The secret file first: it alone is a whole certificate, should
            // the power go in between.
            draft.publish(&secret_path)?;
            public.publish(&public_path).inspect_err(|_| {
                // Ours, made a moment ago; the first error is what counts.
                let _ = fs::remove_file(&secret_path);
            })
        });
        scrub(secret);
        written?;
        File::open(dir)
            .and_then(|dir| dir.sync_all())
            .map_err(failed(dir, "write it to the disk"))?;
        Ok(pair)
    }
}

/// A complete file under a name that nobody looks for; gone when dropped.
struct Draft(PathBuf);

impl Draft {
    fn write(target: &Path, content: &[u8]) -> Result<Self, CertificateError> {
        let mut name = std::ffi::OsString::from(".");
        name.push(target.file_name().unwrap_or_default());
        name.push(format!(".{:016x}", fastrand::u64(..)));
        let path = target.with_file_name(name);
        let mut file = File::options()
            .write(true)
            .create_new(true)
            .mode(FILE_MODE)
            .open(&path)
            .map_err(failed(&path, "create it"))?;
        let draft = Self(path);
        file.write_all(content)
            .and_then(|()| file.sync_all())
            .map_err(failed(&draft.0, "write it"))?;
        Ok(draft)
    }

    /// Gives the file its name, unless another has it: unlike a rename, a link
    /// never replaces one.
    fn publish(self, target: &Path) -> Result<(), CertificateError> {
        fs::hard_link(&self.0, target).map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => CertificateError::Exists {
                path: target.to_owned(),
            },
            _ => failed(target, "create it")(source),
        })
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // Nothing to be done about a failure, and nobody reads the name.
        let _ = fs::remove_file(&self.0);
    }
}

fn failed(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> CertificateError {
    let path = path.to_owned();
    move |source| CertificateError::Io {
        path,
        action,
        source,
    }
}
