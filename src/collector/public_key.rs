//! `metrics-collector --public-key`: the key that agents need. Never makes one: a key that is
//! made by looking would be another than the service makes.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Access, access};
use rustix::io::Errno;
use thiserror::Error;
use tokio::time::timeout;

use super::keys::{Found, KeysError, SECRET_FILE, UNIT, service_state};
use super::settings::{Loaded, Mistake};
use crate::base::text;
use crate::collector::bus::proxy::RunningSource;
use crate::config::service::{Changed, changed_since_start, may_be_handed};
use crate::config::{ConfigError, Problem, Reason};
use crate::curve::keys::PublicKey;
use crate::dbus::Bus;
use crate::dbus::BusAddress;
use crate::dbus::find::{self, FindError};

/// How long the bus and the running collector may take for each answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// The key, or why there is none.
#[derive(Debug)]
pub enum Answer {
    /// That of the running collector, and what its next start will have.
    Running(PublicKey, Next),
    /// That of the file.
    Kept(PublicKey),
    /// There is none so far.
    NoneYet,
    /// What is in this file or directory matters, and this user may not look there.
    Unseen(PathBuf),
    /// Only the service can see this key file.
    OnlyTheServices(PathBuf),
    /// The settings or the key file are wrong.
    Unknown(ConfigError),
}

/// Why files have to tell the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Absence {
    /// No collector runs, or another than the service is meant.
    #[error("a collector that does not run")]
    NotRunning,
    /// One runs, and does not answer within [`PATIENCE`].
    #[error("the running collector, which does not answer on the bus")]
    Silent,
    /// There is no bus to ask on.
    #[error("a collector that cannot be asked, as the bus does not answer")]
    NoBus,
}

/// What the next start of a running collector will have.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// The key that it has now, as far as is known.
    Same,
    /// Another key, in this file.
    Other(PublicKey, PathBuf),
    /// A key that it makes then, in this file.
    Made(PathBuf),
    /// None: this is in the way, in the collector's words.
    Refused(String),
    /// Perhaps another key: something has changed since the start that this user, or the collector,
    /// cannot make out.
    Unsure(Changed),
}

impl Next {
    /// What there is to say of it beside the key that is in force, where these `obstacles` keep the
    /// unit from starting.
    #[must_use]
    pub fn words(&self, obstacles: &[String]) -> Vec<String> {
        let until = "this key is in force until the restart of the running collector";
        if !obstacles.is_empty() {
            let word = |obstacle| format!("{until}; the next start fails: {obstacle}");
            return obstacles.iter().map(word).collect();
        }
        let word = match self {
            Self::Same => return Vec::new(),
            Self::Other(next, path) => {
                format!("{until}; then it is {next}, of {}", text::path(path))
            }
            Self::Made(path) => format!("{until}; then a new one is made, in {}", text::path(path)),
            Self::Unsure(changed) if changed.is_stale => format!(
                "{until}; what {} changes is not known before `systemctl daemon-reload`",
                text::path(&changed.path)
            ),
            Self::Unsure(changed) => format!(
                "{until}; then it may be another, as {} has changed since the start: \
                 `sudo metrics-collector --public-key` says which",
                text::path(&changed.path)
            ),
            Self::Refused(why) => {
                format!("{until}; the next start is refused: {}", text::shown(why))
            }
        };
        vec![word]
    }
}

/// Asks the running collector, where the settings are `the_services`, and else reads what is
/// there, and says why. `is_root` if root asks, although root's rights were given up since; `sees_unit` if the
/// settings were then read as the unit's next start reads them.
#[must_use]
pub fn answer(
    loaded: Result<Loaded, ConfigError>,
    the_services: bool,
    is_root: bool,
    sees_unit: bool,
) -> (Answer, Option<Absence>) {
    let bus = match &loaded {
        Ok(loaded) => loaded.settings.bus.clone(),
        Err(_) => BusAddress::System,
    };
    let asked = match Bus::of(&bus).filter(|_| the_services) {
        Some(bus) => running(&bus),
        None => Err(Absence::NotRunning),
    };
    match asked {
        Ok((key, told)) => {
            let of_system = matches!(bus, BusAddress::System);
            let changed = of_system.then(|| changed_since_start(UNIT)).flatten();
            let seen = sees_unit.then(|| loaded.map(|loaded| loaded.keys));
            let next = next(key, told, seen, changed);
            (Answer::Running(key, next), None)
        }
        Err(absence) => {
            let root_sees_more = the_services && !is_root;
            (of_files(loaded, root_sees_more), Some(absence))
        }
    }
}

fn of_files(loaded: Result<Loaded, ConfigError>, root_sees_more: bool) -> Answer {
    let handed = |name: &str| may_be_handed(UNIT, name);
    let state = service_state().filter(|_| root_sees_more);
    match loaded.map(|loaded| loaded.keys) {
        Err(error) if root_sees_more => unknown(error, state.as_ref(), &handed),
        Err(error) => Answer::Unknown(error),
        Ok(Found::Keys(keys)) => Answer::Kept(keys.pair.public),
        Ok(Found::Unclear(path)) => Answer::OnlyTheServices(path),
        Ok(Found::Nowhere {
            directory,
            mut unseen,
        }) => {
            // One of this user's own, where there is no key of the service.
            unseen.retain(|one| *one != directory);
            unseen.extend(root_sees_more.then(|| handed(SECRET_FILE)).flatten());
            nowhere(unseen, state)
        }
    }
}

/// What the next start will have. What root has `seen` of it counts, a credential say: the collector
/// has `told` what it knows, and that is not the unit.
fn next(
    key: PublicKey,
    told: Next,
    seen: Option<Result<Found, ConfigError>>,
    changed: Option<Changed>,
) -> Next {
    if let Some(stale) = changed.clone().filter(|changed| changed.is_stale) {
        return Next::Unsure(stale);
    }
    match seen {
        Some(Ok(Found::Keys(keys))) if keys.pair.public == key => Next::Same,
        Some(Ok(Found::Keys(keys))) => Next::Other(keys.pair.public, keys.path),
        Some(Ok(found @ Found::Nowhere { .. })) => Next::Made(found.path()),
        Some(Err(error)) => Next::Refused(error.to_string()),
        Some(Ok(Found::Unclear(_))) | None => changed.map_or(told, Next::Unsure),
    }
}

/// The settings or files that they name are wrong, unless all of it is about files that are closed to
/// this user, and may well be right for the service: in its `state`, or a credential that it is
/// `handed`.
fn unknown(
    error: ConfigError,
    state: Option<&PathBuf>,
    handed: &impl Fn(&str) -> Option<PathBuf>,
) -> Answer {
    let closed: Option<Vec<_>> = error
        .problems()
        .map(|problem| closed(problem, state, handed))
        .collect();
    match closed.into_iter().flatten().next() {
        Some(path) => Answer::Unseen(path),
        None => Answer::Unknown(error),
    }
}

/// What is closed to this user, of a problem that root may not have.
fn closed(
    problem: &Problem,
    state: Option<&PathBuf>,
    handed: &impl Fn(&str) -> Option<PathBuf>,
) -> Option<PathBuf> {
    let mistake = match &problem.reason {
        Reason::Program(mistake) => mistake.downcast_ref::<Mistake>()?,
        _ => return problem.closed_file().map(Path::to_owned),
    };
    match mistake {
        Mistake::Unreadable { path, source } => {
            let denied = source.kind() == io::ErrorKind::PermissionDenied;
            denied.then(|| path.clone())
        }
        Mistake::NoFile { name, .. } => handed(name),
        Mistake::Keys(KeysError::NoFile { name, unseen, .. }) => {
            let state = || state.filter(|state| is_shut(state)).cloned();
            unseen.clone().or_else(|| handed(name)).or_else(state)
        }
        _ => None,
    }
}

/// No key was found: tells a missing key from one that this user cannot see.
fn nowhere(unseen: Vec<PathBuf>, state: Option<PathBuf>) -> Answer {
    let state = state.filter(|state| is_shut(state));
    match unseen.into_iter().chain(state).next() {
        Some(directory) => Answer::Unseen(directory),
        None => Answer::NoneYet,
    }
}

fn is_shut(directory: &Path) -> bool {
    let may = Access::READ_OK | Access::EXEC_OK;
    access(directory, may) == Err(Errno::ACCESS)
}

/// The running collector's key, and that of its next start.
fn running(bus: &Bus) -> Result<(PublicKey, Next), Absence> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|_| Absence::NoBus)?;
    let asked = async {
        let collector = match timeout(PATIENCE, RunningSource::find(bus)).await {
            Ok(Ok(collector)) => collector,
            Ok(Err(FindError::NotRunning { .. })) => return Err(Absence::NotRunning),
            Ok(Err(FindError::NoBus { .. })) | Err(_) => return Err(Absence::NoBus),
        };
        let key = timeout(PATIENCE, collector.public_key()).await;
        let key = key.ok().and_then(Result::ok);
        let key = key.and_then(|key| key.parse().ok());
        let key = key.ok_or(Absence::Silent)?;
        // It reads files for that: the key in force is known without.
        let next = match timeout(PATIENCE, collector.next_key()).await {
            Ok(next) => next_of(next),
            Err(_) => Next::Same,
        };
        Ok((key, next))
    };
    runtime.block_on(asked)
}

fn next_of(told: zbus::Result<(String, String)>) -> Next {
    match told.map_err(find::told) {
        Ok((key, file)) => match key.parse() {
            Ok(key) => Next::Other(key, file.into()),
            Err(_) if file.is_empty() => Next::Same,
            Err(_) => Next::Made(file.into()),
        },
        Err(Ok((name, text))) if name.ends_with(".InvalidConfiguration") => Next::Refused(text),
        Err(_) => Next::Same,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::error::{Place, Problem, Reason};
    use crate::curve::certificate::{CertificateError, Trust};
    use crate::curve::own::OwnKeys;

    #[test]
    fn what_this_user_does_not_see_is_not_said_to_be_missing() {
        let root = tempfile::tempdir().unwrap();
        let state = root.path().to_owned();
        assert!(matches!(nowhere(Vec::new(), None), Answer::NoneYet));
        assert!(matches!(
            nowhere(Vec::new(), Some(state.clone())),
            Answer::NoneYet
        ));
        let answer = nowhere(vec![state.clone()], None);
        assert!(matches!(answer, Answer::Unseen(unseen) if unseen == state));
    }

    #[test]
    fn a_key_file_that_only_root_reads_is_not_to_be_handed_over() {
        let path = Path::new("/etc/metrics-collector/curve/own.key_secret");
        let closed = || {
            let denied = CertificateError::Io {
                path: path.to_owned(),
                action: "open",
                source: std::io::ErrorKind::PermissionDenied.into(),
            };
            ConfigError::from(Problem {
                place: Place::Default,
                key: Some("curve.secret_key_file".to_owned()),
                reason: Reason::of_key_file(denied, "metrics-collector", path),
            })
        };
        let answer = of_files(Err(closed()), true);
        assert!(matches!(answer, Answer::Unseen(unseen) if unseen == path));
        // Root has seen what there is.
        assert!(matches!(of_files(Err(closed()), false), Answer::Unknown(_)));
    }

    /// Each is no mistake of the settings before root has looked.
    #[test]
    fn what_only_root_sees_is_not_said_to_be_missing() {
        let denied = || io::Error::from(io::ErrorKind::PermissionDenied);
        let absent = |unseen: Option<&str>| {
            Reason::from(Mistake::Keys(KeysError::NoFile {
                name: "own.key_secret".to_owned(),
                looked: vec!["/etc/keys".to_owned()],
                unseen: unseen.map(PathBuf::from),
            }))
        };
        let password = || {
            Reason::from(Mistake::NoFile {
                name: "mimir.password".to_owned(),
                looked: Vec::new(),
            })
        };
        let settings = Path::new("/etc/a.toml");
        let told = |place: Place, reason: Reason, handed: Option<&str>| {
            let error = ConfigError::from(Problem {
                place,
                key: None,
                reason,
            });
            match unknown(error, None, &|_| handed.map(PathBuf::from)) {
                Answer::Unseen(path) => Some(path),
                Answer::Unknown(_) => None,
                other => panic!("{other:?}"),
            }
        };
        let unreadable = Mistake::Unreadable {
            path: "/etc/p".into(),
            source: denied(),
        };
        let file = Place::File {
            path: settings.to_owned(),
            line: None,
        };
        let closed = Some("/etc/credstore/k");
        for (place, reason, handed, expected) in [
            (Place::Default, absent(None), None, None),
            (Place::Default, absent(Some("/etc/k")), None, Some("/etc/k")),
            (Place::Default, absent(None), closed, closed),
            (Place::Default, password(), None, None),
            (Place::Default, password(), closed, closed),
            (Place::Default, unreadable.into(), None, Some("/etc/p")),
            (
                file.clone(),
                Reason::Unreadable(denied()),
                None,
                Some("/etc/a.toml"),
            ),
            (file, Reason::NotUtf8, closed, None),
        ] {
            let said = reason.to_string();
            let expected = expected.map(PathBuf::from);
            assert_eq!(told(place, reason, handed), expected, "{said}");
        }
    }

    #[test]
    fn what_the_collector_cannot_know_is_not_taken_from_it() {
        let root = tempfile::tempdir().unwrap();
        let made = |name: &str| OwnKeys::make(&root.path().join(name), "collector").unwrap();
        let (one, other) = (made("one"), made("other"));
        let key = one.pair.public;
        let refused = || Next::Refused("secret_key_file: not found".to_owned());
        let changed = |is_stale| {
            let path = PathBuf::from("/d/x.conf");
            Some(Changed { path, is_stale })
        };
        let unsure = |is_stale| Next::Unsure(changed(is_stale).unwrap());
        // Others than root see that the unit has changed, and not what that means.
        assert_eq!(next(key, Next::Same, None, None), Next::Same);
        assert_eq!(next(key, Next::Same, None, changed(false)), unsure(false));
        assert_eq!(next(key, refused(), None, changed(false)), unsure(false));
        assert_eq!(next(key, refused(), None, None), refused());
        // Root sees the next start itself, once systemd has read the unit.
        let seen = |keys: &OwnKeys| {
            let keys = OwnKeys::read(keys.path.clone(), Trust::OwnFile).unwrap();
            Some(Ok(Found::Keys(keys)))
        };
        let next_of_other = Next::Other(other.pair.public, other.path.clone());
        assert_eq!(next(key, refused(), seen(&one), changed(false)), Next::Same);
        assert_eq!(next(key, Next::Same, seen(&other), None), next_of_other);
        assert_eq!(
            next(key, refused(), seen(&one), changed(true)),
            unsure(true)
        );
        let nowhere = Found::Nowhere {
            directory: "/state".into(),
            unseen: Vec::new(),
        };
        let will_make = Next::Made("/state/collector.key_secret".into());
        assert_eq!(next(key, Next::Same, Some(Ok(nowhere)), None), will_make);
    }

    #[test]
    fn a_unit_that_cannot_start_is_not_passed_over() {
        assert_eq!(Next::Same.words(&[]), [""; 0]);
        let made = Next::Made("/k".into());
        assert!(made.words(&[])[0].ends_with("; then a new one is made, in /k"));
        let obstacles = [
            "no such user".to_owned(),
            "/etc/nope: no such file".to_owned(),
        ];
        for next in [Next::Same, made] {
            let words = next.words(&obstacles);
            assert_eq!(words.len(), 2);
            for (word, obstacle) in words.iter().zip(&obstacles) {
                let end = format!("; the next start fails: {obstacle}");
                assert!(word.ends_with(&end), "{word}");
            }
        }
    }

    #[test]
    fn the_next_key_is_as_the_collector_says() {
        let told = |key: &str, file: &str| next_of(Ok((key.to_owned(), file.to_owned())));
        let key = "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID";
        let other = Next::Other(key.parse().unwrap(), "/k".into());
        assert_eq!(told(key, "/k"), other);
        assert_eq!(told("", ""), Next::Same);
        assert_eq!(told("", "/k"), Next::Made("/k".into()));
        // An older one does not know the question.
        assert_eq!(next_of(Err(zbus::Error::InvalidReply)), Next::Same);
    }
}
