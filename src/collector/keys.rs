//! The collector's own key pair: found, or made and saved on the first start.
//!
//! Looked for as `collector.key_secret`, in this order: the unit's credentials,
//! `/etc/metrics-collector/curve`, and where the collector keeps its state: `$STATE_DIRECTORY`,
//! or by hand `~/.curve` (as root `/var/lib/metrics-collector`, where the service is installed,
//! also before its first start makes that directory). If there is none, it is made there. A key
//! file that is there but cannot be used is an error, never a reason to make another: agents
//! know the collector by its key.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::base::text;
use crate::config::service::{self, Note, Seen, Service, ServiceView};
use crate::curve::certificate::{Certificate, CertificateError, Trust};
use crate::curve::own::OwnKeys;

/// The collector's files without their ending.
const PAIR: &str = "collector";
pub(super) const SECRET_FILE: &str = "collector.key_secret";

/// Where an administrator puts keys.
const ETC_DIR: &str = "/etc/metrics-collector/curve";
/// The service's state directory.
const STATE_DIR: &str = "/var/lib/metrics-collector";
/// The service's unit.
pub(super) const UNIT: &str = "metrics-collector.service";

/// Returns true if there is a collector's service on this host, whether or not it has ever run.
#[must_use]
pub fn service_is_installed() -> bool {
    service_state().is_some() || service::is_installed(UNIT)
}

/// The service's state directory, if there is one. Any user can see its name, but not its
/// contents.
#[must_use]
pub fn service_state() -> Option<PathBuf> {
    let path = PathBuf::from(STATE_DIR);
    path.symlink_metadata().is_ok().then_some(path)
}

/// Where keys are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// The unit's credentials.
    pub credentials: Option<PathBuf>,
    /// The administrator's keys.
    pub etc: PathBuf,
    /// Where a key pair is made and kept.
    pub state: Option<PathBuf>,
}

impl Places {
    /// Those of this process, by its environment and user.
    #[must_use]
    pub fn of_process() -> Self {
        let root = rustix::process::geteuid().is_root();
        // Its directory appears at its first start, but keys can be allowed before.
        let service_state = Path::new(STATE_DIR);
        let service_state = service_is_installed().then_some(service_state);
        Self::of(|name| std::env::var_os(name), root, service_state)
    }

    /// Those of the service at its next start, with the credentials that it runs with.
    #[must_use]
    pub fn of_service(self, service: &Service) -> Self {
        let credentials = service.credentials();
        let state_dir = Path::new(STATE_DIR);
        let variable = |name: &str| service.variable(name);
        Self {
            credentials: self.credentials.or(credentials),
            state: Self::of(variable, service.is_root(), Some(state_dir)).state,
            ..self
        }
    }

    /// Returns true if a file is a credential from the service manager.
    #[must_use]
    pub fn is_credential(&self, path: &Path) -> bool {
        let directory = self.credentials.as_ref();
        directory.is_some_and(|directory| path.starts_with(directory))
    }

    /// `service_state` is that of the service, where it is installed.
    fn of(
        variable: impl Fn(&str) -> Option<OsString>,
        root: bool,
        service_state: Option<&Path>,
    ) -> Self {
        let directory =
            |text: OsString| Some(PathBuf::from(text)).filter(|path| path.is_absolute());
        // Several, joined by colons, where the unit names several (systemd.exec(5)).
        let service = variable("STATE_DIRECTORY")
            .and_then(|value| std::env::split_paths(&value).find(|path| path.is_absolute()));
        let by_hand = || {
            if let Some(state) = service_state.filter(|_| root) {
                return Some(state.to_owned());
            }
            let home = variable("HOME").and_then(directory)?;
            Some(home.join(".curve"))
        };
        Self {
            credentials: variable("CREDENTIALS_DIRECTORY").and_then(directory),
            etc: ETC_DIR.into(),
            state: service.or_else(by_hand),
        }
    }
}

/// Why there is no key pair.
#[derive(Debug, Error)]
pub enum KeysError {
    /// A key file is there, or was to be made, and something is wrong with it.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// A key file that is handed over to the service is no good. The text names it.
    #[error("{0}")]
    Handed(String),
    /// No key anywhere, and no place for one.
    #[error(
        "no {SECRET_FILE} in {ETC_DIR}, and one cannot be made: neither STATE_DIRECTORY (in a unit \
         StateDirectory=) nor HOME is set; set one of them, or name a key file with --key-file"
    )]
    NoPlace,
    /// No file of the name that is set.
    #[error("{name} not found: looked in {}; put the certificate there, or remove secret_key_file to have a key pair made", looked.join(", "))]
    NoFile {
        /// The name.
        name: String,
        /// Where it was looked for.
        looked: Vec<String>,
        /// A directory that this user may not look into.
        unseen: Option<PathBuf>,
    },
}

/// What is there.
#[derive(Debug)]
pub enum Found {
    /// A key pair.
    Keys(OwnKeys),
    /// A key file that only the service can see.
    Unclear(PathBuf),
    /// None anywhere: one can be made.
    Nowhere {
        /// The directory that it would be in.
        directory: PathBuf,
        /// Directories that this user may not look into.
        unseen: Vec<PathBuf>,
    },
}

impl Found {
    /// The secret file: the one that is there, or would be made.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        match self {
            Self::Keys(keys) => keys.path.clone(),
            Self::Unclear(path) => path.clone(),
            Self::Nowhere { directory, .. } => directory.join(SECRET_FILE),
        }
    }

    /// The key pair; made, where there is none. Then also the directories that this user may not
    /// look into: a key there is not used.
    ///
    /// # Errors
    ///
    /// [`KeysError`]; nothing is made then.
    pub fn or_make(self) -> Result<(OwnKeys, Vec<PathBuf>), KeysError> {
        let (own, unseen) = match self {
            Self::Keys(own) => (own, Vec::new()),
            Self::Unclear(path) => (OwnKeys::read(path, Trust::OwnFile)?, Vec::new()),
            Self::Nowhere { directory, unseen } => (OwnKeys::make(&directory, PAIR)?, unseen),
        };
        let unseen = if own.found { Vec::new() } else { unseen };
        Ok((own, unseen))
    }
}

/// Finds the key pair. A `file` that is named has to be there; a relative one is looked for
/// where the collector's own is. `sight` and `notes` are for what the service sees otherwise than
/// this process.
///
/// # Errors
///
/// [`KeysError`].
pub fn find(
    file: Option<&Path>,
    places: &Places,
    sight: &ServiceView,
    notes: &mut Vec<Note>,
) -> Result<Found, KeysError> {
    let mut read = |path: PathBuf, credentials| match sight.seen(&path) {
        Some(Seen::Key(certificate)) => of_service(path, certificate.clone()),
        Some(Seen::Nothing | Seen::Text(_)) => Err(nothing(path)),
        None => match sight.unclear(&path) {
            Some(note) => {
                notes.push(note);
                Ok(Found::Unclear(path))
            }
            None => Ok(Found::Keys(OwnKeys::read(path, Trust::of(credentials))?)),
        },
    };
    if let Some(file) = file.filter(|file| file.is_absolute()) {
        return read(file.to_owned(), places.is_credential(file));
    }
    let name = file.unwrap_or(Path::new(SECRET_FILE));
    let (mut looked, mut unseen) = (Vec::new(), Vec::new());
    let directories = [
        (places.credentials.as_ref(), true),
        (None, true),
        (Some(&places.etc), false),
        (places.state.as_ref(), false),
    ];
    for (directory, credentials) in directories {
        let Some(directory) = directory else {
            // What the next start is handed over goes where the credentials are, too.
            if credentials && let Some(credential) = sight.handed(name) {
                let note = sight.note(credential);
                if !notes.contains(&note) {
                    notes.push(note);
                }
                let path = credential.path.clone();
                return match &credential.certificate {
                    Some(certificate) => of_service(path, certificate.clone()),
                    None => Ok(Found::Unclear(path)),
                };
            }
            continue;
        };
        match read(directory.join(name), credentials) {
            Err(KeysError::Certificate(CertificateError::Io { path, source, .. }))
                if absent(&path, &source) =>
            {
                let mut shown = text::path(directory);
                if source.kind() == io::ErrorKind::PermissionDenied {
                    unseen.push(directory.clone());
                    shown += " (permission denied)";
                }
                looked.push(shown);
            }
            found => return found,
        }
    }
    if file.is_some() {
        let name = text::path(name);
        // The last is this user's own, where there is no key of the service.
        let mut unseen = unseen.into_iter();
        let unseen = unseen.find(|one| Some(one) != places.state.as_ref());
        return Err(KeysError::NoFile {
            name,
            looked,
            unseen,
        });
    }
    let directory = places.state.clone().ok_or(KeysError::NoPlace)?;
    Ok(Found::Nowhere { directory, unseen })
}

/// What root has read for the service.
fn of_service(path: PathBuf, read: Result<Certificate, String>) -> Result<Found, KeysError> {
    let certificate = read.map_err(KeysError::Handed)?;
    Ok(Found::Keys(OwnKeys::of(path, certificate)?))
}

fn nothing(path: PathBuf) -> KeysError {
    let error = CertificateError::Io {
        path,
        action: "open it",
        source: io::ErrorKind::NotFound.into(),
    };
    error.into()
}

/// Returns true if there is no file, as far as this user can see. A directory that it may not
/// enter, as that of the agent's keys, counts as empty.
fn absent(path: &Path, error: &io::Error) -> bool {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => true,
        io::ErrorKind::PermissionDenied => fs::symlink_metadata(path).is_err(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn find_or_make(file: Option<&Path>, places: &Places) -> Result<OwnKeys, KeysError> {
        let found = find(file, places, &ServiceView::default(), &mut Vec::new())?;
        Ok(found.or_make()?.0)
    }

    fn places(root: &Path) -> Places {
        Places {
            credentials: Some(root.join("credentials")),
            etc: root.join("etc"),
            state: Some(root.join("state")),
        }
    }

    #[test]
    fn a_pair_is_made_once_and_found_again() {
        let root = tempfile::tempdir().unwrap();
        let places = places(root.path());
        let made = find_or_make(None, &places).unwrap();
        assert!(!made.found);
        assert_eq!(made.path, root.path().join("state/collector.key_secret"));
        let permissions = fs::metadata(&made.path).unwrap().permissions();
        assert_eq!(permissions.mode() & 0o7777, 0o600);
        let found = find_or_make(None, &places).unwrap();
        assert!(found.found);
        assert_eq!(found.path, made.path);
        assert_eq!(found.pair.public, made.pair.public);
        let public = root.path().join("state/collector.key");
        assert_eq!(Certificate::read_public(&public).unwrap(), made.pair.public);
    }

    #[test]
    fn what_the_administrator_hands_out_comes_first() {
        let root = tempfile::tempdir().unwrap();
        let places = places(root.path());
        let state = find_or_make(None, &places).unwrap();
        let etc = Certificate::write_pair(&places.etc, PAIR).unwrap();
        let found = find_or_make(None, &places).unwrap();
        assert_eq!(found.pair.public, etc.public);
        let credentials = places.credentials.clone().unwrap();
        let credential = Certificate::write_pair(&credentials, PAIR).unwrap();
        // As systemd 257 hands it to the service's user.
        let path = credentials.join(SECRET_FILE);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o440)).unwrap();
        let found = find_or_make(None, &places).unwrap();
        assert_eq!(found.pair.public, credential.public);
        let named = find_or_make(Some(&state.path), &places).unwrap();
        assert_eq!(named.pair.public, state.pair.public);
        let other = Certificate::write_pair(&places.etc, "other").unwrap();
        let named = find_or_make(Some(Path::new("other.key_secret")), &places).unwrap();
        assert_eq!(named.pair.public, other.public);
        let error = find_or_make(Some(Path::new("none")), &places).unwrap_err();
        let expected = format!(
            "none not found: looked in {root}/credentials, {root}/etc, {root}/state; put the certificate there, or remove secret_key_file to have a key pair made",
            root = root.path().display()
        );
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn a_key_that_cannot_be_used_is_not_replaced() {
        let root = tempfile::tempdir().unwrap();
        let places = places(root.path());
        let state = find_or_make(None, &places).unwrap();
        let error = |places| find_or_make(None, places).unwrap_err().to_string();

        fs::set_permissions(&state.path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(error(&places).contains("mode 0644 lets others at the secret key"));
        fs::set_permissions(&state.path, fs::Permissions::from_mode(0o600)).unwrap();

        fs::create_dir(&places.etc).unwrap();
        let path = places.etc.join(SECRET_FILE);
        fs::write(&path, "").unwrap();
        assert!(error(&places).starts_with(&format!("{}: ", path.display())));
        fs::copy(root.path().join("state/collector.key"), &path).unwrap();
        assert_eq!(
            error(&places),
            format!(
                "{}: expected `secret-key = \"<40 Z85 characters>\"` in the section `curve`",
                path.display()
            )
        );
        fs::remove_file(&path).unwrap();
        assert_eq!(
            find_or_make(None, &places).unwrap().pair.public,
            state.pair.public
        );
        let missing = root.path().join("missing");
        let error = find_or_make(Some(&missing), &places).unwrap_err();
        assert!(error.to_string().contains("missing: cannot open it"));
    }

    #[test]
    fn state_is_where_systemd_or_the_user_has_it() {
        let service = tempfile::tempdir().unwrap();
        let of = |variables: &[(&str, &str)], root, service: Option<&Path>| {
            let variable = |name: &str| {
                let found = variables.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| OsString::from(value))
            };
            Places::of(variable, root, service)
        };
        let home = ("HOME", "/home/ada");
        let unit = ("STATE_DIRECTORY", "/var/lib/a:/var/lib/b");
        let none = None;
        // Before its first start it has no state directory.
        let installed = Some(Path::new("/nonexistent"));
        assert_eq!(
            of(&[home, unit], false, none).state,
            Some("/var/lib/a".into())
        );
        assert_eq!(
            of(&[home], false, installed).state,
            Some("/home/ada/.curve".into())
        );
        assert_eq!(
            of(&[home], true, installed).state,
            Some("/nonexistent".into())
        );
        assert_eq!(
            of(&[home], true, none).state,
            Some("/home/ada/.curve".into())
        );
        assert_eq!(of(&[], false, none).state, None);
        let places = Places {
            etc: service.path().into(),
            ..of(&[], false, none)
        };
        let error = find_or_make(None, &places).unwrap_err();
        assert!(matches!(error, KeysError::NoPlace));
    }
}
