//! What outlasts a restart: the pins, the keys that connected, and requests of other processes.
//!
//! All of it is in the collector's state directory, and is used from a thread. One process owns
//! it, by a lock that ends with the process: a collector as long as it runs, else the command
//! that changes something. While a collector runs, others leave it requests, one file each, and
//! the collector removes a request only once what it asks for is on the disk.
//!
//! Files are replaced whole, never written in place. Root works there with the rights of the
//! directory's owner, see [`durable`](crate::base::durable).

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::key_log::{Decision, HostSeen, MAX_ADMITTED, MAX_HOSTS, MAX_REFUSED, Record, Who};
use super::pins::{self, Pins, PinsError};
use super::{Authorized, Listener};
use crate::base::durable::{Directory, FileError, PRIVATE_DIRECTORY, inside, inside_made};
use crate::curve::keys::PublicKey;
use crate::protocol::message::check_host;

const PINS: &str = "pins";
const KEYS: &str = "keys.json";
const LOCK: &str = "access.lock";
const REQUESTS: &str = "requests";

/// Maximum number of requests that are taken at once; the rest are taken later.
const MAX_REQUESTS: usize = 1000;

/// The largest request: a verb and a host name.
const MAX_REQUEST_BYTES: u64 = 1024;

/// The largest file of keys: the maximum number of keys with the longest names and addresses,
/// every byte of them escaped.
const MAX_KEYS_BYTES: u64 = ((MAX_ADMITTED + MAX_REFUSED) * (512 + MAX_HOSTS * 6 * 256)) as u64;

/// What is wrong with the state.
#[derive(Debug, Error)]
pub enum StateError {
    /// A system call failed.
    #[error(transparent)]
    Io(#[from] FileError),
    /// It is larger than this program can have written.
    #[error("{}: expected at most {most} bytes", .path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The maximum size in bytes.
        most: u64,
    },
    /// The file of pins is damaged.
    #[error(
        "{}:{problem}; bring the file back from a backup, or, if every host name may be pinned \
         again to the next key that reports under it, move it away", .path.display()
    )]
    Pins {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: PinsError,
    },
    /// The file of keys is damaged.
    #[error("{}: {problem}", .path.display())]
    Keys {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
}

/// The directory.
#[derive(Clone, Debug)]
pub struct State(PathBuf);

/// The lock on the state directory: the right to change what is in it, until dropped.
#[derive(Debug)]
pub struct Owned {
    state: State,
    _lock: File,
}

/// What another process asks the owner for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Remove the pin of a host name.
    Forget(String),
    /// Remove all pins of a key.
    ForgetKey(PublicKey),
    /// Write the current pins and record of keys.
    Record,
}

impl Action {
    fn to_text(&self) -> String {
        match self {
            Self::Forget(host) => format!("forget {host}"),
            Self::ForgetKey(key) => format!("forget-key {key}"),
            Self::Record => "record".to_owned(),
        }
    }

    fn from_text(text: &str) -> Option<Self> {
        if text == "record" {
            return Some(Self::Record);
        }
        if let Some(key) = text.strip_prefix("forget-key ") {
            return key.parse().ok().map(Self::ForgetKey);
        }
        let host = text.strip_prefix("forget ")?;
        check_host(host).ok()?;
        Some(Self::Forget(host.to_owned()))
    }
}

/// An action, and the name of the file that it is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What is asked for.
    pub action: Action,
    name: String,
}

/// What is known of the keys, as it is saved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownKeys {
    /// Whose keys the collector let in.
    pub authorized: Authorized,
    /// The keys.
    pub keys: Vec<(Who, Record)>,
}

impl State {
    /// What is kept in this directory.
    #[must_use]
    pub fn new(directory: PathBuf) -> Self {
        Self(directory)
    }

    /// Where requests are left.
    #[must_use]
    pub fn requests_directory(&self) -> PathBuf {
        self.0.join(REQUESTS)
    }

    /// Where the pins are.
    #[must_use]
    pub fn pins_file(&self) -> PathBuf {
        self.0.join(PINS)
    }

    /// Where the keys are.
    #[must_use]
    pub fn keys_file(&self) -> PathBuf {
        self.0.join(KEYS)
    }

    /// Takes the lock; None if another process has it.
    ///
    /// # Errors
    ///
    /// [`StateError::Io`].
    pub fn own(&self) -> Result<Option<Owned>, StateError> {
        inside_made(&self.0, PRIVATE_DIRECTORY, |directory| {
            let lock = directory.lock(LOCK)?;
            Ok(lock.map(|lock| Owned {
                state: self.clone(),
                _lock: lock,
            }))
        })
    }

    /// Returns true if another process has the lock. Creates no file.
    #[must_use]
    pub fn is_owned(&self) -> bool {
        let owned = inside(&self.0, |directory| directory.is_locked(LOCK));
        matches!(owned, Ok(Some(true)))
    }

    /// The saved pins.
    ///
    /// # Errors
    ///
    /// [`StateError`]. A missing file is no error: there are no pins.
    pub fn pins(&self) -> Result<Pins, StateError> {
        let path = self.pins_file();
        let Some(text) = self.read(PINS, pins::MAX_TEXT_BYTES as u64)? else {
            return Ok(Pins::default());
        };
        Pins::from_text(&text).map_err(|problem| StateError::Pins { path, problem })
    }

    /// The saved keys; None if there is no file.
    ///
    /// # Errors
    ///
    /// [`StateError`].
    pub fn keys(&self) -> Result<Option<KnownKeys>, StateError> {
        let path = self.keys_file();
        let Some(text) = self.read(KEYS, MAX_KEYS_BYTES)? else {
            return Ok(None);
        };
        let read = KnownKeys::from_text(&text);
        read.map(Some)
            .map_err(|problem| StateError::Keys { path, problem })
    }

    /// Leaves the owner a request. Returns the name of its file, which the owner removes once
    /// the request is done.
    ///
    /// # Errors
    ///
    /// [`StateError::Io`].
    pub fn ask(&self, action: &Action) -> Result<String, StateError> {
        let name = format!("{:016x}", fastrand::u64(..));
        inside_made(&self.0, PRIVATE_DIRECTORY, |directory| {
            let requests = directory.make_directory(REQUESTS)?;
            requests.replace(&name, |file| file.write_all(action.to_text().as_bytes()))
        })
        .map_err(StateError::Io)?;
        Ok(name)
    }

    /// Returns true if a request is still waiting.
    ///
    /// # Errors
    ///
    /// [`StateError::Io`].
    pub fn is_waiting(&self, request: &str) -> Result<bool, StateError> {
        let waiting = |requests: &Directory| Ok(requests.read(request)?.is_some());
        Ok(self.in_requests(waiting)?.unwrap_or(false))
    }

    /// Takes a request back.
    ///
    /// # Errors
    ///
    /// [`StateError::Io`].
    pub fn withdraw(&self, request: &str) -> Result<(), StateError> {
        self.in_requests(|requests| Ok(requests.remove(request)?))?;
        Ok(())
    }

    /// The waiting requests, at most [`MAX_REQUESTS`]. A file that is not a request is removed
    /// and reported.
    ///
    /// # Errors
    ///
    /// [`StateError::Io`].
    pub fn requests(&self) -> Result<(Vec<Request>, Vec<String>), StateError> {
        let found = self.in_requests(|directory| {
            let (mut requests, mut problems) = (Vec::new(), Vec::new());
            for name in directory.names()?.take(MAX_REQUESTS) {
                let name = name?;
                // A request that is still being written.
                if name.starts_with('.') {
                    continue;
                }
                let problem = match read(directory, &name, MAX_REQUEST_BYTES) {
                    Ok(None) => continue,
                    Ok(Some(text)) => match Action::from_text(&text) {
                        Some(action) => {
                            requests.push(Request { action, name });
                            continue;
                        }
                        None => {
                            format!("{}: expected a request", directory.path_of(&name).display())
                        }
                    },
                    Err(error) => error.to_string(),
                };
                problems.push(problem);
                // Otherwise it would be reported again and again. A directory stays.
                let _ = directory.remove(&name);
            }
            Ok((requests, problems))
        });
        Ok(found?.unwrap_or_default())
    }

    /// Does some work in the directory of requests, if there is one.
    fn in_requests<T: Send>(
        &self,
        work: impl FnOnce(&Directory) -> Result<T, StateError> + Send,
    ) -> Result<Option<T>, StateError> {
        let done = inside(&self.0, |directory| {
            let requests = directory.directory(REQUESTS)?;
            requests.map(|requests| work(&requests)).transpose()
        });
        Ok(done?.flatten())
    }

    fn read(&self, name: &str, most: u64) -> Result<Option<String>, StateError> {
        let text = inside(&self.0, |directory| read(directory, name, most));
        Ok(text?.flatten())
    }

    fn replace(&self, name: &str, content: &str) -> Result<(), StateError> {
        let replaced = inside_made(&self.0, PRIVATE_DIRECTORY, |directory| {
            directory.replace(name, |file| file.write_all(content.as_bytes()))
        });
        replaced.map_err(StateError::Io)
    }
}

impl Owned {
    /// The state that it owns.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Creates the directory for requests, so that it can be watched.
    ///
    /// # Errors
    ///
    /// [`StateError::Io`].
    pub fn prepare(&self) -> Result<(), StateError> {
        let made = inside_made(&self.state.0, PRIVATE_DIRECTORY, |directory| {
            directory.make_directory(REQUESTS).map(drop)
        });
        made.map_err(StateError::Io)
    }

    /// Saves these pins.
    ///
    /// # Errors
    ///
    /// [`StateError::Io`]; the file is unchanged then.
    pub fn keep_pins(&self, pins: &Pins) -> Result<(), StateError> {
        self.state.replace(PINS, &pins.to_text())
    }

    /// Saves these keys.
    ///
    /// # Errors
    ///
    /// As [`Owned::keep_pins`].
    pub fn keep_keys(&self, known: &KnownKeys) -> Result<(), StateError> {
        self.state.replace(KEYS, &known.to_text())
    }

    /// Removes the pin of a host name from the file. Returns true if there was one.
    ///
    /// # Errors
    ///
    /// [`StateError`].
    pub fn forget(&self, host: &str) -> Result<bool, StateError> {
        let mut pins = self.state.pins()?;
        let forgotten = pins.forget(host).is_some();
        if forgotten {
            self.keep_pins(&pins)?;
        }
        Ok(forgotten)
    }

    /// Removes all pins of a key from the file. Returns how many there were.
    ///
    /// # Errors
    ///
    /// [`StateError`].
    pub fn forget_key(&self, key: PublicKey) -> Result<usize, StateError> {
        let mut pins = self.state.pins()?;
        let forgotten = pins.forget_key(key);
        if forgotten > 0 {
            self.keep_pins(&pins)?;
        }
        Ok(forgotten)
    }

    /// Removes requests that are done.
    pub fn done(&self, requests: &[Request]) {
        for request in requests {
            // One that cannot be removed is done again, which does no harm.
            let _ = self.state.withdraw(&request.name);
        }
    }
}

/// A file's text, if the file exists.
fn read(directory: &Directory, name: &str, most: u64) -> Result<Option<String>, StateError> {
    let Some(file) = directory.read(name)? else {
        return Ok(None);
    };
    let path = directory.path_of(name);
    let mut text = String::new();
    let read = file.take(most + 1).read_to_string(&mut text);
    if read.map_err(FileError::of::<io::Error>(&path, "read it"))? as u64 > most {
        return Err(StateError::TooLarge { path, most });
    }
    Ok(Some(text))
}

/// The format of the file of keys. Unknown fields were written by a later version.
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct KeysFile {
    version: u32,
    authorized: Authorized,
    keys: Vec<KeyEntry>,
}

#[derive(Serialize, Deserialize)]
struct KeyEntry {
    role: Listener,
    key: String,
    first_seen: u64,
    last_seen: u64,
    address: Box<str>,
    hosts: Vec<HostSeen>,
    state: Decision,
    refusals: u64,
}

impl KnownKeys {
    fn to_text(&self) -> String {
        let entry = |((role, key), record): &(Who, Record)| KeyEntry {
            role: *role,
            key: key.to_string(),
            first_seen: record.first_seen,
            last_seen: record.last_seen,
            address: record.address.clone(),
            hosts: record.hosts.clone(),
            state: record.standing,
            refusals: record.refusals,
        };
        let file = KeysFile {
            version: VERSION,
            authorized: self.authorized,
            keys: self.keys.iter().map(entry).collect(),
        };
        // Strings and numbers can always be serialized.
        serde_json::to_string(&file).unwrap_or_default()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        let file: KeysFile = serde_json::from_str(text).map_err(|error| error.to_string())?;
        if file.version != VERSION {
            return Err(format!(
                "expected version {VERSION}, found {}",
                file.version
            ));
        }
        if file.keys.len() > MAX_ADMITTED + MAX_REFUSED {
            return Err(format!(
                "expected at most {} keys",
                MAX_ADMITTED + MAX_REFUSED
            ));
        }
        let record = |entry: KeyEntry| {
            let key: PublicKey = entry.key.parse().map_err(|error| format!("{error}"))?;
            let mut hosts = entry.hosts;
            hosts.retain(|said| check_host(&said.name).is_ok());
            hosts.truncate(MAX_HOSTS);
            let record = Record {
                first_seen: entry.first_seen,
                last_seen: entry.last_seen,
                address: entry.address,
                hosts,
                standing: entry.state,
                refusals: entry.refusals,
            };
            Ok(((entry.role, key), record))
        };
        Ok(Self {
            authorized: file.authorized,
            keys: file
                .keys
                .into_iter()
                .map(record)
                .collect::<Result<_, String>>()?,
        })
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

    fn known() -> KnownKeys {
        let record = Record {
            first_seen: 1,
            last_seen: 2,
            address: "10.0.0.1".into(),
            hosts: vec![HostSeen {
                name: "wéb \"1\"".into(),
                last: 2,
            }],
            standing: Decision::Any,
            refusals: 0,
        };
        let refused = Record {
            standing: Decision::Refused,
            refusals: 7,
            hosts: Vec::new(),
            ..record.clone()
        };
        KnownKeys {
            authorized: Authorized::Directory,
            keys: vec![
                ((Listener::Agents, key(1)), record),
                ((Listener::Viewers, key(2)), refused),
            ],
        }
    }

    #[test]
    fn one_process_owns_it_at_a_time() {
        let root = tempfile::tempdir().unwrap();
        let state = State::new(root.path().join("state"));
        assert!(!state.is_owned());
        assert!(!root.path().join("state").exists());
        let owned = state.own().unwrap().unwrap();
        assert!(state.own().unwrap().is_none());
        assert!(state.is_owned());
        drop(owned);
        assert!(!state.is_owned());
        assert!(state.own().unwrap().is_some());
        let mode = fs::metadata(root.path().join("state"))
            .unwrap()
            .permissions();
        assert_eq!(mode.mode() & 0o777, 0o700);
    }

    #[test]
    fn what_is_kept_is_read_again() {
        let root = tempfile::tempdir().unwrap();
        let state = State::new(root.path().to_owned());
        let owned = state.own().unwrap().unwrap();
        assert_eq!(state.pins().unwrap(), Pins::default());
        assert_eq!(state.keys().unwrap(), None);
        let mut pins = Pins::default();
        pins.claim("web1", key(1), 5).unwrap();
        owned.keep_pins(&pins).unwrap();
        owned.keep_keys(&known()).unwrap();
        assert_eq!(state.pins().unwrap(), pins);
        assert_eq!(state.keys().unwrap(), Some(known()));
        assert!(owned.forget("web1").unwrap());
        assert!(!owned.forget("web1").unwrap());
        assert!(state.pins().unwrap().is_empty());
        for entry in fs::read_dir(root.path()).unwrap() {
            let entry = entry.unwrap();
            let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
            assert_eq!(mode, 0o600, "{:?}", entry.path());
            assert!(!entry.file_name().to_str().unwrap().starts_with('.'));
        }
    }

    #[test]
    fn what_is_not_as_it_was_written_is_an_error_that_names_it() {
        let root = tempfile::tempdir().unwrap();
        let state = State::new(root.path().to_owned());
        let owned = state.own().unwrap().unwrap();
        fs::write(state.pins_file(), "metrics-collector pins 1\nx\nend 1\n").unwrap();
        let path = state.pins_file();
        let error = state.pins().unwrap_err().to_string();
        let expected = format!(
            "{}:2: expected a key, a time and a host name; bring the file back from a backup",
            path.display()
        );
        assert!(error.starts_with(&expected), "{error}");
        assert!(owned.forget("web1").is_err());
        for text in ["", "{}", "[1]", "{\"version\":1}", "\u{0}"] {
            fs::write(state.keys_file(), text).unwrap();
            let error = state.keys().unwrap_err().to_string();
            let path = state.keys_file().display().to_string();
            assert!(error.starts_with(&path), "{error}");
        }
        let other = known().to_text().replace("\"version\":1", "\"version\":2");
        fs::write(state.keys_file(), other).unwrap();
        let error = state.keys().unwrap_err().to_string();
        assert!(error.ends_with("expected version 1, found 2"), "{error}");
        fs::write(state.keys_file(), [0xFF; 8]).unwrap();
        assert!(state.keys().is_err());
        fs::remove_file(state.keys_file()).unwrap();
        fs::create_dir(state.keys_file()).unwrap();
        assert!(state.keys().is_err());
    }

    #[test]
    fn the_most_that_can_be_is_read_again() {
        let root = tempfile::tempdir().unwrap();
        let state = State::new(root.path().to_owned());
        let owned = state.own().unwrap().unwrap();
        let (who, mut record) = known().keys.remove(0);
        record.address = "\"".repeat(64).into();
        // Each byte of the name takes two bytes in JSON.
        let said = HostSeen {
            name: "\\".repeat(255).into(),
            last: u64::MAX,
        };
        record.hosts = vec![said; MAX_HOSTS];
        let most = KnownKeys {
            authorized: Authorized::Any,
            keys: vec![(who, record); MAX_ADMITTED + MAX_REFUSED],
        };
        owned.keep_keys(&most).unwrap();
        assert_eq!(state.keys().unwrap(), Some(most));
    }

    #[test]
    fn requests_stay_until_they_are_done() {
        let root = tempfile::tempdir().unwrap();
        let state = State::new(root.path().to_owned());
        assert_eq!(state.requests().unwrap(), (vec![], vec![]));
        let owned = state.own().unwrap().unwrap();
        owned.prepare().unwrap();
        let actions = [Action::Forget("web1".to_owned()), Action::Record];
        let names = actions.each_ref().map(|action| state.ask(action).unwrap());
        for _ in 0..2 {
            let (mut requests, problems) = state.requests().unwrap();
            requests.sort_by_key(|request| request.action == Action::Record);
            let asked = actions.iter().cloned().zip(names.iter().cloned());
            let expected: Vec<_> = asked
                .map(|(action, name)| Request { action, name })
                .collect();
            assert_eq!((requests, problems.len()), (expected, 0));
        }
        fs::write(state.requests_directory().join("bad"), "forget a\nb").unwrap();
        fs::write(state.requests_directory().join("long"), [b'a'; 2000]).unwrap();
        let (requests, problems) = state.requests().unwrap();
        assert_eq!((requests.len(), problems.len()), (2, 2));
        assert!(names.iter().all(|name| state.is_waiting(name).unwrap()));
        owned.done(&requests);
        assert!(names.iter().all(|name| !state.is_waiting(name).unwrap()));
        assert_eq!(state.requests().unwrap(), (vec![], vec![]));
    }
}
