//! Which key files the settings mean. Finds them, and creates the agent's own pair if there is
//! none; `curve` checks the content of a file.

use std::cell::RefCell;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};
use rustix::io::Errno;

use crate::agent::settings::fragment::AGENT;
use crate::agent::settings::inputs::Inputs;
use crate::base::text;
use crate::config::Reason;
use crate::config::service::{Note, Seen, ServiceView};
use crate::curve::certificate::{
    Certificate, CertificateError, Concern, Trust, concern, concerns_of_public,
};
use crate::curve::keys::{KeyPair, PublicKey};
use crate::curve::own::OwnKeys;

/// The agent's own certificate, if no other name is set.
const AGENT_FILE: &str = "agent.key_secret";
/// The same without its ending, as the pair is made.
const AGENT_PAIR: &str = "agent";
/// A collector's certificate, if no other name is set.
const COLLECTOR_FILE: &str = "collector.key";

/// Controls if loading may create the agent's key pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyPolicy {
    /// Where the agent has no key pair anywhere, one is made and kept.
    Create,
    /// Nothing is written: for `--check-config` and `--print-config`. Where
    /// the agent has no key pair, the settings hold one that is kept nowhere.
    ReadOnly,
}

/// The directories that relative names are looked for in.
#[derive(Debug)]
pub(super) struct KeySearch<'a> {
    credentials: Option<&'a Path>,
    directories: Vec<PathBuf>,
    /// True in a run by hand, which does not use the service's keys if this user must not read
    /// them.
    by_hand: bool,
    state_directory: Option<&'a Path>,
    sight: &'a ServiceView,
    etc_dir: &'a Path,
    /// Notes about files that the service sees differently.
    notes: RefCell<Vec<Note>>,
}

impl<'a> KeySearch<'a> {
    pub(super) fn new(inputs: &'a Inputs) -> Self {
        let credentials = inputs.credentials_directory.as_deref();
        let mut directories: Vec<_> = credentials.map(Path::to_owned).into_iter().collect();
        directories.push(inputs.etc_dir.join("curve"));
        directories.extend(inputs.home.as_ref().map(|home| home.join(".curve")));
        Self {
            credentials,
            directories,
            by_hand: inputs.home.is_some(),
            state_directory: inputs.state_directory.as_deref(),
            sight: &inputs.sight,
            etc_dir: &inputs.etc_dir,
            notes: RefCell::default(),
        }
    }

    /// A collector's public key and the file that holds it.
    pub(super) fn collector(&self, name: Option<&Path>) -> Result<(PublicKey, PathBuf), Reason> {
        const ADVICE: &str = "put the collector's public key there, or set public_key";
        let name = name.unwrap_or(Path::new(COLLECTOR_FILE));
        let path = self
            .find(name)
            .map_err(|looked| no_file(name, looked, ADVICE))?;
        if let Some(certificate) = self.elsewhere(name, &path)? {
            return Ok((certificate.public, path));
        }
        self.see(&path)?;
        let read = Certificate::read_public(&path);
        Ok((read.map_err(|error| self.unreadable(error))?, path))
    }

    /// Notes about files that the service sees differently.
    pub(super) fn notes(&self) -> Vec<Note> {
        self.notes.take()
    }

    /// Reads a file that the service may see differently from this process. If that cannot be found
    /// out, returns a placeholder key and a note.
    fn elsewhere(&self, name: &Path, path: &Path) -> Result<Option<Certificate>, Reason> {
        if let Some(Seen::Key(read)) = self.sight.seen(path) {
            return read.clone().map(Some).map_err(Reason::Credential);
        }
        let handed = self.sight.handed(name).filter(|one| one.path == path);
        let note = match handed {
            Some(credential) => self.sight.note(credential),
            None => match self.sight.unclear(path) {
                Some(note) => note,
                None => return Ok(None),
            },
        };
        let mut notes = self.notes.borrow_mut();
        if !notes.contains(&note) {
            notes.push(note);
        }
        if let Some(read) = handed.and_then(|credential| credential.certificate.clone()) {
            return read.map(Some).map_err(Reason::Credential);
        }
        let KeyPair { public, secret } = KeyPair::generate().map_err(CertificateError::from)?;
        Ok(Some(Certificate {
            public,
            secret: Some(secret),
            metadata: Vec::new(),
        }))
    }

    /// With the way out, where the file's owner is what is wrong.
    fn unreadable(&self, error: CertificateError) -> Reason {
        if let CertificateError::NoSecretKey { path } = error {
            return Reason::NoSecretKey(path);
        }
        let user = self.sight.user().unwrap_or(AGENT.program);
        Reason::of_key_file(error, user, &self.etc_dir.join("curve"))
    }

    /// The agent's own keys: those of the file that is set, else those that
    /// are found, else new ones, kept in the state directory.
    pub(super) fn agent(&self, name: Option<&Path>, policy: KeyPolicy) -> Result<OwnKeys, Reason> {
        const MISSING: &str =
            "put the certificate there, or remove secret_key_file to have a key pair made";
        const HOMELESS: &str = "set secret_key_file, or STATE_DIRECTORY (in a unit StateDirectory=) to where a key pair can be kept";
        if let Some(name) = name {
            let path = self
                .find(name)
                .map_err(|looked| no_file(name, looked, MISSING))?;
            return self.read(name, path);
        }
        let name = Path::new(AGENT_FILE);
        let looked = match self.find(name) {
            Ok(path) => return self.read(name, path),
            Err(looked) => looked,
        };
        let Some(directory) = self.state_directory else {
            return Err(no_file(name, looked, HOMELESS));
        };
        let path = directory.join(AGENT_FILE);
        // Anything but its absence is an error: the agent must not change its
        // identity because its key can't be read for a while.
        match (self.sight.seen(&path), fs::symlink_metadata(&path)) {
            (Some(Seen::Nothing), _) => {}
            (None, Err(error)) if error.kind() == io::ErrorKind::NotFound => {}
            _ => return self.read(name, path),
        }
        Ok(match policy {
            KeyPolicy::ReadOnly => OwnKeys {
                pair: KeyPair::generate().map_err(CertificateError::from)?,
                path,
                found: false,
            },
            KeyPolicy::Create => OwnKeys::make(directory, AGENT_PAIR)?,
        })
    }

    /// The concerns about the key files that were found: the agent's own, and those with
    /// collectors' keys. Files that the service manager passes to the unit are in order.
    pub(super) fn concerns<'f>(
        &self,
        own: Option<&Path>,
        public: impl Iterator<Item = &'f PathBuf>,
    ) -> Vec<Concern> {
        // A state directory that root has looked into is handed over at the next start.
        let is_handed = |path: &Path| self.is_credential(path) || self.sight.seen(path).is_some();
        let of_own = own.filter(|path| !is_handed(path));
        let mut all = of_own.map(concern::of_file).unwrap_or_default();
        for path in public.filter(|path| !self.is_credential(path)) {
            for concern in concerns_of_public(path) {
                if !all.contains(&concern) {
                    all.push(concern);
                }
            }
        }
        all
    }

    fn is_credential(&self, path: &Path) -> bool {
        let directory = self.credentials;
        directory.is_some_and(|directory| path.starts_with(directory)) || self.sight.is_handed(path)
    }

    /// Refuses a file that the service does not see.
    fn see(&self, path: &Path) -> Result<(), Reason> {
        match self.sight.hides(path) {
            None => Ok(()),
            Some(hidden) => Err(Reason::Hidden {
                hidden,
                directory: text::path(&self.etc_dir.join("curve")),
            }),
        }
    }

    fn read(&self, name: &Path, path: PathBuf) -> Result<OwnKeys, Reason> {
        let trust = Trust::of(self.is_credential(&path));
        let own = if let Some(certificate) = self.elsewhere(name, &path)? {
            OwnKeys::of(path, certificate)
        } else {
            self.see(&path)?;
            OwnKeys::read(path, trust)
        };
        own.map_err(|error| self.unreadable(error))
    }

    /// The first file of this name, or every place that was searched without finding it.
    fn find(&self, name: &Path) -> Result<PathBuf, Vec<String>> {
        let mut looked = Vec::new();
        if name.is_absolute() {
            let is_there = match self.sight.seen(name) {
                Some(Seen::Nothing) => false,
                Some(_) => true,
                None => self.sight.unclear(name).is_some() || is_there(name, false, &mut looked),
            };
            return if is_there {
                Ok(name.to_owned())
            } else {
                Err(vec![text::path(name.parent().unwrap_or(name))])
            };
        }
        if let Some(credentials) = self.credentials
            && is_there(&credentials.join(name), self.by_hand, &mut Vec::new())
        {
            return Ok(credentials.join(name));
        }
        if let Some(credential) = self.sight.handed(name) {
            return Ok(credential.path.clone());
        }
        let mut paths = self
            .directories
            .iter()
            .map(|directory| directory.join(name));
        paths
            .find(|path| is_there(path, self.by_hand, &mut looked))
            .ok_or(looked)
    }
}

/// Returns true if there is such a file. In a run by hand, an unreadable file counts as absent; for
/// the service it is a mistake, and reading it will report that.
fn is_there(path: &Path, by_hand: bool, looked: &mut Vec<String>) -> bool {
    let directory = text::path(path.parent().unwrap_or(path));
    match access(path, Access::READ_OK) {
        Err(Errno::NOENT | Errno::NOTDIR) => looked.push(directory),
        Err(Errno::ACCESS) if by_hand => looked.push(format!("{directory} (permission denied)")),
        _ => return true,
    }
    false
}

fn no_file(name: &Path, looked: Vec<String>, advice: &'static str) -> Reason {
    let name = name.file_name().map_or(name, Path::new);
    Reason::NoKeyFile {
        name: text::path(name),
        looked,
        advice,
    }
}
