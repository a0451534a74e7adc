//! Loads the settings in force from the inputs. Returns either valid settings or all mistakes.
//! Nothing is written: the key pair is made by the code that needs it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Access as Mode, access};
use rustix::io::Errno;

use super::Mistake;
use super::Warning;
use super::fragment::COLLECTOR;
use super::fragment::{Fragment, RemoteWriteFragment};
use super::inputs::Inputs;
use super::values::{FileName, PushTimeout};
use super::{Access, Credentials, Listening, Publish, RemoteWrite, Settings};
use crate::base::text;
use crate::collector::hosts::Timing;
use crate::collector::keys::{self, Found, KeysError};
use crate::collector::publish::endpoint::Endpoint;
use crate::config::layers::{Files, Layers};
use crate::config::table::key_text;
use crate::config::{ConfigError, ConnectionName, Flag, Place, Problem, Problems, Reason};
use crate::curve::certificate::concern;
use crate::curve::router::Listen;
use crate::protocol::{DEFAULT_METRICS_INTERVAL, LONGEST_PING_INTERVAL};

/// The most targets. Each costs a thread, a queue and every message once more, and a few are
/// enough.
pub(super) const MAX_REMOTE_WRITES: usize = 16;

/// The most headers of one target: receivers take about a hundred with all.
pub(super) const MAX_HEADERS: usize = 32;

/// The most labels of one target. Mimir takes 30 for a series with all.
pub(super) const MAX_LABELS: usize = 16;

/// How long a request may take where nothing else is set.
pub(super) const DEFAULT_PUSH_TIMEOUT: Duration = Duration::from_secs(30);

/// What was loaded, and from where.
#[derive(Debug)]
pub struct Loaded {
    /// The settings in force.
    pub settings: Settings,
    /// The key pair, or where it would be made.
    pub keys: Found,
    /// Problems that do not stop the collector.
    pub warnings: Vec<Warning>,
    /// Where every value stands.
    pub(super) layers: Layers,
}

impl Loaded {
    /// Where the value in force of a setting was set: `["listen", "web"]`.
    #[must_use]
    pub fn place(&self, path: &[&str]) -> Place {
        self.layers.place(path).unwrap_or(Place::Default)
    }

    /// Where an administrator adds settings of the web server.
    #[must_use]
    pub fn web_file(&self) -> PathBuf {
        self.layers.to_add_to("web")
    }

    /// The files that the settings came from, in order: the first counts least.
    #[must_use]
    pub fn files(&self) -> &[PathBuf] {
        self.layers.files()
    }
}

/// Reads every layer and looks at the files that are named, and checks all of it.
///
/// # Errors
///
/// [`ConfigError`] with every mistake in the layers; where there are none, with every
/// mistake in how they fit together.
pub fn load(inputs: &Inputs) -> Result<Loaded, ConfigError> {
    read(inputs)?.load(inputs)
}

/// All layers, each of them right in itself; the files that they name are not looked at yet.
#[derive(Debug)]
pub struct Layered(Layers);

impl Layered {
    /// Puts the layers together, and looks at the files that are named.
    ///
    /// # Errors
    ///
    /// As [`load`], where the layers are right.
    pub fn load(self, inputs: &Inputs) -> Result<Loaded, ConfigError> {
        load_layers(self.0, inputs)
    }
}

fn load_layers(layers: Layers, inputs: &Inputs) -> Result<Loaded, ConfigError> {
    let Fragment {
        listen,
        web,
        publish,
        curve,
        agents,
        hosts,
        remote_write: targets,
        log,
        dbus,
    } = layers.merged()?;
    let mut problems = Problems::default();
    let listen = Listening {
        agents: listen.agents.0,
        viewers: listen.viewers.0,
        web: listen.web.0,
    };
    let mode = publish.mode.0;
    let publish = publish
        .endpoint
        .0
        .map(|endpoint| Publish { endpoint, mode });
    problems.extend(same_ports(&layers, listen, publish.as_ref()));
    if targets.len() > MAX_REMOTE_WRITES {
        let mistake = Mistake::TooManyTargets(targets.len());
        problems.push(layers.problem(&["remote_write"], mistake.into()));
    }
    let mut remote_write = BTreeMap::new();
    for (name, fragment) in targets.into_iter().take(MAX_REMOTE_WRITES) {
        let mut target = Target {
            layers: &layers,
            inputs,
            name: &name,
            problems: &mut problems,
        };
        if let Some(settings) = target.resolve(fragment) {
            remote_write.insert(name, settings);
        }
    }
    let file = curve.secret_key_file.map(|FileName(path)| path);
    let mut notes = inputs.sight.notes().to_vec();
    let found = keys::find(file.as_deref(), &inputs.places, &inputs.sight, &mut notes);
    let found = found.map_err(|error| match error {
        KeysError::Certificate(error) => {
            let user = inputs.sight.user().unwrap_or(COLLECTOR.program);
            Reason::of_key_file(error, user, &inputs.places.etc)
        }
        error => Mistake::Keys(error).into(),
    });
    let found = found.and_then(|found| match hidden_key(&found, inputs) {
        None => Ok(found),
        Some(reason) => Err(reason),
    });
    let found = found.map_err(|reason| {
        problems.push(layers.problem(&["curve", "secret_key_file"], reason));
    });
    let settings = Settings {
        listen,
        web_hosts: web.hosts.0,
        publish,
        access: Access {
            authorized: agents.authorized,
            pin_names: agents.pin_names.0,
        },
        timing: Timing {
            ping_interval: hosts.ping_interval.0,
            host_timeout: hosts.timeout.0,
            forget_after: hosts.forget_after.0,
        },
        remote_write,
        log_level: log.level,
        bus: dbus.bus,
    };
    problems.none_or(())?;
    let Ok(keys) = found else {
        unreachable!("a key that is not found is a problem");
    };
    let mut warnings: Vec<_> = match &keys {
        Found::Keys(keys)
            // A state directory that root has looked into is handed over at the next start.
            if !inputs.places.is_credential(&keys.path)
                && !inputs.sight.is_handed(&keys.path)
                && inputs.sight.seen(&keys.path).is_none() =>
        {
            let concerns = concern::of_file(&keys.path).into_iter();
            concerns.map(Warning::Key).collect()
        }
        Found::Keys(_) | Found::Unclear(_) | Found::Nowhere { .. } => Vec::new(),
    };
    warnings.extend(notes.into_iter().map(Warning::Note));
    warnings.extend(doubts(&layers, &settings));
    Ok(Loaded {
        settings,
        keys,
        warnings,
        layers,
    })
}

/// Settings that are valid, and will not do what was meant.
fn doubts(layers: &Layers, settings: &Settings) -> Vec<Warning> {
    let place = |path: &[&str]| layers.place(path).unwrap_or(Place::Default);
    let unreachable = settings.remote_write.iter();
    let unreachable = unreachable.filter(|(_, target)| target.url.lacks_interface());
    let unreachable = unreachable.map(|(name, target)| Warning::NoInterface {
        place: place(&["remote_write", name.as_str(), "url"]),
        url: target.url.clone(),
    });
    let interval = settings.timing.ping_interval;
    let rare = (interval > LONGEST_PING_INTERVAL).then(|| Warning::RarePings {
        place: place(&["hosts", "ping_interval"]),
        interval,
    });
    let timeout = settings.timing.host_timeout;
    let short = (timeout <= DEFAULT_METRICS_INTERVAL).then(|| Warning::ShortTimeout {
        place: place(&["hosts", "timeout"]),
        timeout,
    });
    unreachable.chain(rare).chain(short).collect()
}

/// Why the service does not see its key file, if it does not.
fn hidden_key(found: &Found, inputs: &Inputs) -> Option<Reason> {
    let Found::Keys(keys) = found else {
        return None;
    };
    if inputs.sight.is_handed(&keys.path) {
        return None;
    }
    let hidden = inputs.sight.hides(&keys.path)?;
    Some(Reason::Hidden {
        hidden,
        directory: text::path(&inputs.places.etc),
    })
}

/// Where the files of settings are.
#[must_use]
pub fn files(inputs: &Inputs) -> Files {
    match &inputs.config_file {
        Some(file) => Files::only(file),
        None => Files::standard(COLLECTOR.program, &[&inputs.usr_dir, &inputs.etc_dir]),
    }
}

/// Reads all layers and checks each of them.
///
/// # Errors
///
/// [`ConfigError`] with every mistake in them.
pub fn read(inputs: &Inputs) -> Result<Layered, ConfigError> {
    let mut layers = Layers::of_defaults(&COLLECTOR);
    layers.read_files(&files(inputs));
    layers.read_environment(&inputs.environment);
    for given in &inputs.command_line {
        let path: Vec<&str> = given.key.split('.').collect();
        layers.set(given.place(), &path, &given.text);
    }
    layers.checked()?;
    Ok(Layered(layers))
}

/// Two that listen at one place: the problem is where the later layer is.
fn same_ports(layers: &Layers, listen: Listening, publish: Option<&Publish>) -> Vec<Problem> {
    const KEYS: [[&str; 2]; 4] = [
        ["listen", "agents"],
        ["listen", "viewers"],
        ["listen", "web"],
        ["publish", "endpoint"],
    ];
    const NAMES: [&str; 4] = [
        "listen.agents",
        "listen.viewers",
        "listen.web",
        "publish.endpoint",
    ];
    let publish = publish.and_then(|publish| match publish.endpoint {
        Endpoint::Tcp(address) => Some(Listen::Address(address)),
        Endpoint::Ipc(_) => None,
    });
    let places = [Some(listen.agents), listen.viewers, listen.web, publish];
    let all: Vec<_> = KEYS.iter().zip(NAMES).zip(places).collect();
    let mut problems = Vec::new();
    for (index, ((key, name), place)) in all.iter().enumerate() {
        for ((other_key, other_name), other) in all.iter().skip(index + 1) {
            if let (Some(place), Some(other)) = (place, other)
                && overlap(*place, *other)
            {
                let (key, name) = if layers.rank(*key) > layers.rank(*other_key) {
                    (key, other_name)
                } else {
                    (other_key, name)
                };
                problems.push(layers.problem(*key, Mistake::SamePort(name).into()));
            }
        }
    }
    problems
}

/// Whether two can't listen at the same time. Port 0 is another one for each.
fn overlap(one: Listen, other: Listen) -> bool {
    let (port, other_port) = (one.port(), other.port());
    // A link-local address is another one on each interface.
    let own = |listen: Listen| {
        listen
            .address()
            .filter(|address| !address.ip().is_unspecified())
    };
    let (one, other) = (own(one), own(other));
    port == other_port && port != 0 && (one.is_none() || other.is_none() || one == other)
}

/// One `[remote_write.NAME]` on its way to be settings.
struct Target<'a> {
    layers: &'a Layers,
    inputs: &'a Inputs,
    name: &'a ConnectionName,
    problems: &'a mut Problems,
}

impl Target<'_> {
    /// The settings, where nothing is missing; what is wrong goes to the problems.
    fn resolve(&mut self, fragment: RemoteWriteFragment) -> Option<RemoteWrite> {
        let password = self.file("password_file", fragment.password_file);
        let token = self.file("bearer_token_file", fragment.bearer_token_file);
        let ca_file = self.file("ca_file", fragment.ca_file);
        let credentials = match (fragment.username, password, token) {
            (None, None, None) => None,
            (Some(username), Some(password_file), None) => Some(Credentials::Basic {
                username,
                password_file,
            }),
            (None, None, Some(token_file)) => Some(Credentials::Bearer { token_file }),
            (Some(_), None, None) => {
                self.missing("password_file", "username", Mistake::NoPassword);
                None
            }
            (None, Some(_), None) => {
                self.missing("username", "password_file", Mistake::NoUser);
                None
            }
            (_, _, Some(_)) => {
                self.wrong(&["bearer_token_file"], Mistake::TwoCredentials);
                None
            }
        };
        if fragment.headers.len() > MAX_HEADERS {
            let mistake = Mistake::TooManyHeaders(fragment.headers.len());
            self.wrong(&["headers"], mistake);
        }
        let mut lower = BTreeMap::new();
        for header in fragment.headers.keys() {
            let known = lower.insert(header.as_str().to_ascii_lowercase(), header.as_str());
            if let Some(known) = known {
                let mistake = Mistake::SameHeader(known.to_owned());
                self.wrong(&["headers", header.as_str()], mistake);
            }
        }
        if fragment.labels.len() > MAX_LABELS {
            let mistake = Mistake::TooManyLabels(fragment.labels.len());
            self.wrong(&["labels"], mistake);
        }
        let Some(url) = fragment.url else {
            self.missing("url", "", Mistake::NoUrl);
            return None;
        };
        Some(RemoteWrite {
            url,
            credentials,
            ca_file,
            timeout: fragment
                .timeout
                .map_or(DEFAULT_PUSH_TIMEOUT, |PushTimeout(time)| time),
            acknowledge: fragment.acknowledge.is_none_or(|Flag(flag)| flag),
            headers: fragment.headers,
            labels: fragment.labels,
        })
    }

    /// Where a file is that is named. One that is missing stands for itself, so that no
    /// other mistake is made of it.
    fn file(&mut self, field: &'static str, file: Option<FileName>) -> Option<PathBuf> {
        let FileName(name) = file?;
        match find(&name, self.inputs) {
            Ok(path) => Some(path),
            Err(reason) => {
                let path = self.path(&[field]);
                self.problems.push(self.layers.problem(&path, reason));
                Some(name)
            }
        }
    }

    fn path<'a>(&'a self, rest: &[&'a str]) -> Vec<&'a str> {
        let start = ["remote_write", self.name.as_str()];
        start.into_iter().chain(rest.iter().copied()).collect()
    }

    fn wrong(&mut self, rest: &[&str], mistake: Mistake) {
        let problem = self.layers.problem(&self.path(rest), mistake.into());
        self.problems.push(problem);
    }

    /// A key is missing beside another, or in the section.
    fn missing(&mut self, field: &str, beside: &str, mistake: Mistake) {
        let section = self.path(&[]);
        let at = self.path(&[beside]);
        let place = self
            .layers
            .place(&at)
            .or_else(|| self.layers.place(&section));
        let problem = Problem {
            place: place.unwrap_or(Place::Default),
            key: Some(key_text(&self.path(&[field]))),
            reason: mistake.into(),
        };
        self.problems.push(problem);
    }
}

/// The file of this name: a relative one is looked for among the credentials and where the
/// administrator's settings are.
fn find(name: &Path, inputs: &Inputs) -> Result<PathBuf, Reason> {
    let directories = inputs.places.credentials.iter().chain([&inputs.etc_dir]);
    let paths: Vec<_> = if name.is_absolute() {
        vec![name.to_owned()]
    } else {
        directories.map(|directory| directory.join(name)).collect()
    };
    // What root has seen for the service.
    if let Some(credential) = inputs.sight.handed(name) {
        return Ok(credential.path.clone());
    }
    if inputs.sight.unclear(name).is_some() {
        return Ok(name.to_owned());
    }
    let mut looked = Vec::new();
    for path in paths {
        match access(&path, Mode::READ_OK) {
            Ok(()) => {
                return match inputs.sight.hides(&path) {
                    None => Ok(path),
                    Some(hidden) => Err(Reason::Hidden {
                        hidden,
                        directory: text::path(&inputs.etc_dir),
                    }),
                };
            }
            Err(Errno::NOENT | Errno::NOTDIR) => {
                looked.push(text::path(path.parent().unwrap_or(&path)));
            }
            Err(error) => {
                let mistake = Mistake::Unreadable {
                    path,
                    source: error.into(),
                };
                return Err(mistake.into());
            }
        }
    }
    let name = name.file_name().map_or(name, Path::new);
    let name = text::path(name);
    Err(Mistake::NoFile { name, looked }.into())
}
