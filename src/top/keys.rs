//! The keys of metrics-top: its own pair, made at the first start, and the collector's
//! public key.
//!
//! The collector's is the one that is given; or the one that this host's collector has; or
//! that is remembered of the last time; or else that in `~/.curve`, where this viewer's own
//! pair is, too. A key file that is there and cannot be used is an error, never a reason to
//! make another: the collector knows this viewer by its key.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::known::{Known, KnownError, Remembered};
use super::local::Local;
use crate::base::shell;
use crate::base::text::is_plain;
use crate::curve::certificate::{Certificate, CertificateError, Trust};
use crate::curve::endpoint::DEFAULT_VIEWERS_PORT;
use crate::curve::endpoint::Endpoint;
use crate::curve::keys::{KeyError, KeyPair, PublicKey};
use crate::curve::own::OwnKeys;

/// The pair's files without their ending.
const PAIR: &str = "viewer";
const SECRET_FILE: &str = "viewer.key_secret";
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

impl Given {
    /// Returns true if it names the collector's key.
    #[must_use]
    pub fn names_collector(&self) -> bool {
        self.public_key.is_some() || self.public_key_file.is_some()
    }
}

/// Where this user's files are, as far as there is a home for them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// Key files.
    curve: Option<PathBuf>,
    /// The keys of collectors that were connected to.
    known: Option<Known>,
}

impl Places {
    /// By the environment.
    #[must_use]
    pub fn of(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let directory = |name| {
            let path = variable(name).map(PathBuf::from);
            path.filter(|path| !path.as_os_str().is_empty())
        };
        let home = directory("HOME");
        // A relative one is to be ignored (XDG Base Directory Specification).
        let state = directory("XDG_STATE_HOME").filter(|path| path.is_absolute());
        let state = state.or_else(|| Some(home.as_ref()?.join(".local/state")));
        Self {
            curve: home.map(|home| home.join(".curve")),
            known: state.map(|state| Known::in_state(&state)),
        }
    }
}

impl Places {
    /// The remembered collectors, as they are typed, for shell completion; none if they cannot
    /// be read, as an error message would disturb the shell.
    #[must_use]
    pub fn remembered(&self) -> BTreeSet<String> {
        let all = self.known.as_ref().map(Known::all);
        let all = all.unwrap_or_default().into_iter();
        let default = format!(":{DEFAULT_VIEWERS_PORT}");
        let typed = all.map(|collector| {
            let collector = collector.to_string();
            collector
                .strip_suffix(&default)
                .unwrap_or(&collector)
                .to_owned()
        });
        typed.filter(|name| is_plain(name)).collect()
    }
}

/// The origin of the collector's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The command line.
    Given,
    /// The collector of this host, found automatically.
    Local,
    /// The last time.
    Remembered(PathBuf, usize),
    /// The certificate that is used for every collector without a remembered key.
    Certificate(PathBuf),
}

/// The keys.
#[derive(Debug)]
pub struct Keys {
    /// This viewer's own.
    pub pair: KeyPair,
    /// The secret file, if it was made just now.
    pub made: Option<PathBuf>,
    /// The key that the collector must prove to have.
    pub collector: PublicKey,
    /// Where that is known from.
    pub origin: Origin,
    /// Where it is to be remembered once the collector has proved to have it.
    pub remember: Option<Known>,
}

/// Why there are no keys.
#[derive(Debug, Error)]
pub enum KeysError {
    /// A file.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// What `--public-key` says.
    #[error("--public-key: {0}")]
    PublicKey(#[source] KeyError),
    /// No home.
    #[error("HOME is not set; name the key files with --key-file and --public-key-file")]
    NoHome,
    /// The file of remembered keys.
    #[error(transparent)]
    Known(#[from] KnownError),
    /// No public key of the collector.
    #[error(
        "the public key of {collector} is not known: `metrics-collector --public-key` prints it on \
         its host; give it once with --public-key, and it is remembered"
    )]
    NoCollectorKey {
        /// Whose.
        collector: Endpoint,
    },
    /// The port is the agents' port, and no collector is known that uses it otherwise.
    #[error(
        "{collector} is where agents report; viewers connect to another port, \
         {DEFAULT_VIEWERS_PORT} where nothing else is set: {way_out}"
    )]
    AgentsPort {
        /// What was named.
        collector: Endpoint,
        /// The command that is meant.
        way_out: String,
    },
    /// The port is not the one where the collector of this host serves viewers, and no collector is
    /// known that uses it.
    #[error(
        "the collector of this host serves viewers at {viewers}, not at {collector}: `metrics-top` \
         without an address shows it; for another collector at {collector}, give once the key that \
         `metrics-collector --public-key` prints for it, with --public-key"
    )]
    OtherPort {
        /// What was named.
        collector: Endpoint,
        /// Where it is.
        viewers: Endpoint,
    },
    /// No collector was named, and none is here.
    #[error(
        "no metrics-collector was found on this host; name the one to look at: metrics-top \
         --public-key KEY HOST, with the key that `metrics-collector --public-key` prints there \
         (the key is remembered)"
    )]
    NoCollector,
}

/// Returns true if the key of the collector at this address is remembered.
///
/// # Errors
///
/// [`KeysError::Known`].
pub fn remembers(places: &Places, collector: &Endpoint) -> Result<bool, KeysError> {
    let known = places.known.as_ref();
    let found = known.map(|known| known.find(collector)).transpose()?;
    Ok(found.flatten().is_some())
}

/// Finds the keys for the collector at this address, or for the one of this host, and makes
/// this viewer's own where it has none and none was named.
///
/// # Errors
///
/// [`KeysError`].
pub fn find_or_make(
    given: &Given,
    places: &Places,
    collector: &Endpoint,
    local: Option<&Local>,
) -> Result<Keys, KeysError> {
    // First: a pair is no use without it.
    let (key, origin, remembered) = of_collector(given, places, collector, local)?;
    let (pair, made) = own(given, places.curve.as_deref())?;
    let is_new = remembered.is_none_or(|remembered| remembered.key != key);
    let remember = places
        .known
        .clone()
        .filter(|_| is_new && origin != Origin::Local);
    Ok(Keys {
        pair,
        made,
        collector: key,
        origin,
        remember,
    })
}

fn own(given: &Given, directory: Option<&Path>) -> Result<(KeyPair, Option<PathBuf>), KeysError> {
    if let Some(file) = &given.key_file {
        return Ok((OwnKeys::read(file.clone(), Trust::OwnFile)?.pair, None));
    }
    let directory = directory.ok_or(KeysError::NoHome)?;
    let own = match OwnKeys::read(directory.join(SECRET_FILE), Trust::OwnFile) {
        Err(CertificateError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            OwnKeys::make(directory, PAIR)
        }
        found => found,
    }?;
    Ok((own.pair, (!own.found).then_some(own.path)))
}

type OfSource = (PublicKey, Origin, Option<Remembered>);

fn of_collector(
    given: &Given,
    places: &Places,
    collector: &Endpoint,
    local: Option<&Local>,
) -> Result<OfSource, KeysError> {
    if let Some(local) = local {
        return Ok((local.key, Origin::Local, None));
    }
    let known = places.known.as_ref();
    let remembered = known.map(|known| known.find(collector)).transpose()?;
    let remembered = remembered.flatten();
    if let Some(key) = &given.public_key {
        let key = key.parse().map_err(KeysError::PublicKey)?;
        return Ok((key, Origin::Given, remembered));
    }
    if let Some(file) = &given.public_key_file {
        let key = Certificate::read_public(file)?;
        return Ok((key, Origin::Given, remembered));
    }
    if let Some(Remembered { key, path, line }) = remembered.clone() {
        return Ok((key, Origin::Remembered(path, line), remembered));
    }
    let path = places.curve.as_ref().ok_or(KeysError::NoHome)?;
    let path = path.join(COLLECTOR_FILE);
    match Certificate::read_public(&path) {
        Err(CertificateError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            Err(KeysError::NoCollectorKey {
                collector: collector.clone(),
            })
        }
        found => Ok((found?, Origin::Certificate(path), None)),
    }
}

/// The texts for a collector that does not prove to have the expected key: what is wrong, and
/// what can be done about it.
#[derive(Clone, Copy, Debug)]
pub struct WrongKey<'a> {
    /// The collector, for people.
    pub collector: &'a str,
    /// The key that was expected.
    pub expected: PublicKey,
    /// Where it is known from.
    pub origin: &'a Origin,
}

impl WrongKey<'_> {
    /// What is wrong.
    #[must_use]
    pub fn problem(&self) -> String {
        let collector = self.collector;
        match self.origin {
            Origin::Remembered(..) => format!(
                "the key of {collector} is not the one that it had: it was changed there, or \
                 something else answers in its place"
            ),
            Origin::Given => format!("{collector} does not have the key that was given"),
            Origin::Local | Origin::Certificate(_) => {
                format!("{collector} does not have the key that was expected")
            }
        }
    }

    /// The same as one text.
    #[must_use]
    pub fn ways_out_as_text(&self) -> String {
        let key = self.expected.to_string();
        let ways = self.ways_out().into_iter().map(|way| {
            if way == key {
                format!("'{way}'.")
            } else {
                way.trim_start().to_owned()
            }
        });
        ways.collect::<Vec<_>>().join(" ")
    }

    /// What may be done about it: sentences, commands, which are indented, and a key, which stands
    /// alone.
    #[must_use]
    pub fn ways_out(&self) -> Vec<String> {
        let Self {
            collector,
            expected,
            origin,
        } = self;
        let ask = "`metrics-collector --public-key` prints the right one, there";
        // Z85 has no single quote.
        let collector = shell::word(collector);
        let give = format!("  metrics-top --public-key 'KEY' {collector}");
        match origin {
            Origin::Remembered(path, line) => vec![
                format!("Remembered is, in {}, line {line}:", path.display()),
                expected.to_string(),
                format!(
                    "{ask}. If that is another, and was changed on purpose, give it once; it \
                     then replaces the one that is remembered:"
                ),
                give,
            ],
            Origin::Given => vec![
                "Given was:".to_owned(),
                expected.to_string(),
                format!("{ask}."),
            ],
            Origin::Local => vec![
                "Expected, as its own host says:".to_owned(),
                expected.to_string(),
                "Something else may listen at that port; `ss -ltnp` tells what.".to_owned(),
            ],
            Origin::Certificate(path) => vec![
                format!("Expected, from {}:", path.display()),
                expected.to_string(),
                format!("{ask}; give it once, and it is remembered:"),
                give,
            ],
        }
    }
}

/// The command that lets a key in, for the collector's administrator.
pub struct AllowCommand<'a> {
    /// This viewer's key.
    pub key: PublicKey,
    /// A name for its user; several keys may have it.
    pub name: &'a str,
}

impl fmt::Display for AllowCommand<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, name } = self;
        // Of two keys of one user each gets a file.
        let name = format!("{name}-{}", key.digits());
        let words = [
            "metrics-collector",
            "keys",
            "allow",
            "--viewer",
            "--name",
            &name,
        ];
        f.write_str(&shell::command(&words, &[&key.to_string()]))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const KEY: &str = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7";

    fn c1() -> Endpoint {
        "c1:5557".parse().unwrap()
    }

    fn places(home: &Path) -> Places {
        let home = OsString::from(home);
        Places::of(|name| (name == "HOME").then(|| home.clone()))
    }

    fn with_key() -> Given {
        Given {
            public_key: Some(KEY.to_owned()),
            ..Given::default()
        }
    }

    #[test]
    fn its_own_pair_is_made_once() {
        let home = tempfile::tempdir().unwrap();
        let find = || find_or_make(&with_key(), &places(home.path()), &c1(), None).unwrap();
        let first = find();
        let path = home.path().join(".curve/viewer.key_secret");
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
        let error = find_or_make(&given, &Places::default(), &c1(), None);
        let error = error.unwrap_err().to_string();
        assert!(error.contains("other: cannot open it"), "{error}");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let error = find_or_make(&with_key(), &places(home.path()), &c1(), None).unwrap_err();
        assert!(error.to_string().contains("chmod 600"), "{error}");
    }

    #[test]
    fn the_collectors_key_has_to_be_known() {
        let home = tempfile::tempdir().unwrap();
        let find = |given: &Given| find_or_make(given, &places(home.path()), &c1(), None);
        let error = find(&Given::default()).unwrap_err().to_string();
        assert!(
            error.contains("`metrics-collector --public-key` prints it"),
            "{error}"
        );
        assert!(
            error.contains("the public key of c1:5557 is not known"),
            "{error}"
        );
        // Nothing is made in vain.
        assert!(!home.path().join(".curve").exists());
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
    fn a_key_is_remembered_for_one_collector_and_given_ones_count_more() {
        let home = tempfile::tempdir().unwrap();
        let places = places(home.path());
        let find = |given: &Given, name: &str| {
            let collector = name.parse().unwrap();
            find_or_make(given, &places, &collector, None).unwrap()
        };
        let curve = home.path().join(".curve");
        let default = Certificate::write_pair(&curve, "collector").unwrap().public;

        let keys = find(&with_key(), "c1:5557");
        assert_eq!(
            (keys.collector.to_string().as_str(), keys.origin),
            (KEY, Origin::Given)
        );
        let known = keys.remember.unwrap();
        known.remember(&c1(), keys.collector).unwrap();
        // Where the specification has it.
        let path = home
            .path()
            .join(".local/state/metrics-top/known_collectors");
        assert_eq!(known.path(), path);

        let keys = find(&Given::default(), "c1:5557");
        assert_eq!(keys.collector.to_string(), KEY);
        assert_eq!(
            (keys.origin, keys.remember),
            (Origin::Remembered(path, 1), None)
        );
        // Nothing to be remembered again.
        assert_eq!(find(&with_key(), "c1:5557").remember, None);
        let keys = find(&Given::default(), "c2:5557");
        assert_eq!(
            (keys.collector, keys.remember),
            (default, Some(known.clone()))
        );

        // One that was given takes the place of the other.
        let given = Given {
            public_key: Some(default.to_string()),
            ..Given::default()
        };
        let keys = find(&given, "c1:5557");
        assert_eq!((keys.collector, keys.remember), (default, Some(known)));

        // This host's own is asked each time.
        let local = Local {
            endpoint: c1(),
            key: default,
        };
        let keys = find_or_make(&Given::default(), &places, &c1(), Some(&local)).unwrap();
        assert_eq!(
            (keys.collector, keys.origin, keys.remember),
            (default, Origin::Local, None)
        );
    }

    #[test]
    fn a_changed_key_is_called_that_with_the_way_out() {
        let origin = Origin::Remembered("/home/a/known_collectors".into(), 3);
        let wrong = WrongKey {
            collector: "c1:5557",
            expected: KEY.parse().unwrap(),
            origin: &origin,
        };
        assert!(
            wrong
                .problem()
                .contains("is not the one that it had: it was changed there, or")
        );
        let text = wrong.ways_out_as_text();
        for part in [
            &format!("Remembered is, in /home/a/known_collectors, line 3: '{KEY}'. "),
            "metrics-top --public-key 'KEY' c1:5557",
            "replaces the one",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn state_is_where_the_environment_says() {
        let known = |state: &'static str| {
            let places = Places::of(|name| match name {
                "HOME" => Some("/home/a".into()),
                _ => Some(state.into()),
            });
            places.known.unwrap().path().to_owned()
        };
        let file = "metrics-top/known_collectors";
        assert_eq!(known("/var/a"), Path::new("/var/a").join(file));
        let by_default = Path::new("/home/a/.local/state").join(file);
        assert_eq!(known("relative"), by_default);
        assert_eq!(known(""), by_default);
    }

    #[test]
    fn the_command_can_be_pasted() {
        let command = AllowCommand {
            key: KEY.parse().unwrap(),
            name: "laptop",
        };
        let allow = "metrics-collector keys allow --viewer --name";
        assert_eq!(
            command.to_string(),
            format!("{allow} laptop-54fcba24 '{KEY}'")
        );
        // One after the other, for two keys of one user.
        let other = AllowCommand {
            key: PublicKey::from_bytes([7; 32]),
            ..command
        };
        let other = other.to_string();
        assert!(
            other.starts_with(&format!("{allow} laptop-07070707 ")),
            "{other}"
        );
    }
}
