//! From the inputs to the settings in force. Either everything fits, or
//! nothing is returned but what doesn't; nothing is written before all of the
//! rest is known to be right.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use figment::value::Value;

use super::Warning;
use crate::agent::settings::fragment::{AGENT, CollectorFragment, Fragment, InlineKey, KeyFile};
use crate::agent::settings::inputs::Inputs;
use crate::agent::settings::keys::{KeyPolicy, KeySearch};
use crate::agent::settings::persistent;
use crate::agent::settings::{CollectorAddress, CollectorSettings, Intervals, Settings};
use crate::config::ConnectionName;
use crate::config::layers::{Files, Layer, Layers};
use crate::config::service::{Note, Seen};
use crate::config::table::{key_text, similar};
use crate::config::{ConfigError, Place, Problem, Problems, Reason};
use crate::curve::endpoint::{Endpoint, Host};
use crate::protocol::LONGEST_PING_INTERVAL;

/// The most collectors. Each costs a socket, a handshake and another copy of every sample; real
/// hosts report to only a few.
pub const MAX_COLLECTORS: usize = 16;

/// The connection that COLLECTOR on the command line makes.
const MAIN: &str = "main";

/// What was loaded, and from where.
#[derive(Debug)]
pub struct Loaded {
    /// The settings in force.
    pub settings: Settings,
    /// The files they came from, in order: the first counts least.
    pub files: Vec<PathBuf>,
    /// Problems that do not keep the agent from running.
    pub warnings: Vec<Warning>,
    /// The agent's secret key file; with [`KeyPolicy::ReadOnly`] perhaps one
    /// that does not exist yet.
    pub key_file: PathBuf,
    /// The agent's secret key file, where this load made it.
    pub generated_key: Option<PathBuf>,
    /// The origin of every value.
    pub(super) layers: Layers,
    /// The files of the collectors' keys that are not in the settings.
    pub(super) collector_keys: BTreeMap<ConnectionName, Vec<PathBuf>>,
    /// The collectors whose keys only the service sees; their keys in the settings are
    /// placeholders.
    pub(super) unclear_keys: BTreeSet<ConnectionName>,
    /// True if the key file existed.
    pub(super) key_found: bool,
}

impl Loaded {
    /// Where the value in force of a setting was set: `["intervals", "metrics"]`.
    #[must_use]
    pub fn place(&self, path: &[&str]) -> Place {
        self.layers.place(path).unwrap_or(Place::Default)
    }

    /// Where an administrator adds a collector.
    #[must_use]
    pub fn collector_file(&self) -> PathBuf {
        self.layers.to_add_to("collector")
    }
}

/// Reads every layer and the key files, and checks all of it.
///
/// # Errors
///
/// [`ConfigError`] with every mistake in the layers; if there are none, with every mistake in how
/// they fit together and in the key files.
pub fn load(inputs: &Inputs, policy: KeyPolicy) -> Result<Loaded, ConfigError> {
    read(inputs)?.load(inputs, policy)
}

/// All layers, each of them right in itself; the key files are not looked at yet.
#[derive(Debug)]
pub struct Layered {
    layers: Layers,
    warnings: Vec<Warning>,
}

impl Layered {
    /// Puts the layers together, and reads the key files.
    ///
    /// # Errors
    ///
    /// As [`load`], where the layers are right.
    pub fn load(self, inputs: &Inputs, policy: KeyPolicy) -> Result<Loaded, ConfigError> {
        load_layers(self, inputs, policy)
    }
}

fn load_layers(
    layered: Layered,
    inputs: &Inputs,
    policy: KeyPolicy,
) -> Result<Loaded, ConfigError> {
    let Layered {
        layers,
        mut warnings,
    } = layered;
    let Fragment {
        host,
        collector,
        curve,
        intervals,
        spool,
        metrics,
        log,
        dbus,
    } = layers.merged()?;

    let search = KeySearch::new(inputs);
    let mut problems = Problems::default();
    let mut collectors = BTreeMap::new();
    let mut collector_keys = BTreeMap::new();
    if collector.len() > MAX_COLLECTORS {
        problems.push(layers.problem(
            &["collector"],
            Reason::TooMany {
                count: collector.len(),
                of: "collectors",
                max: MAX_COLLECTORS,
            },
        ));
    }
    for (name, fragment) in collector.into_iter().take(MAX_COLLECTORS) {
        match resolve(&layers, &search, &name, fragment) {
            Ok((settings, files)) => {
                if !files.is_empty() {
                    collector_keys.insert(name.clone(), files);
                }
                let same = |(_, other): &(_, &CollectorSettings)| {
                    let mut others = other.endpoints.iter();
                    others.any(|address| settings.endpoints.contains(address))
                };
                if let Some((other, _)) = collectors.iter().find(same) {
                    let reason = Reason::SameEndpoint(ConnectionName::clone(other));
                    problems.push(layers.problem(&key(&name, "endpoint"), reason));
                }
                collectors.insert(name, settings);
            }
            Err(problem) => problems.push(*problem),
        }
    }
    problems.none_or(())?;

    let explicit = curve.secret_key_file.map(|KeyFile(path)| path);
    let own = search
        .agent(explicit.as_deref(), policy)
        .map_err(|reason| layers.problem(&["curve", "secret_key_file"], reason))?;
    let found = own.found.then_some(own.path.as_path());
    let concerns = search.concerns(found, collector_keys.values().flatten());
    warnings.extend(concerns.into_iter().map(Warning::Key));
    let notes = search.notes();
    let unclear = |path: &PathBuf| {
        notes
            .iter()
            .any(|note| matches!(note, Note::Unclear { path: unclear, .. } if unclear == path))
    };
    let of_unclear = collector_keys
        .iter()
        .filter(|(_, paths)| paths.iter().any(unclear));
    let unclear_keys = of_unclear.map(|(name, _)| name.clone()).collect();
    let is_new = |note: &Note| !inputs.sight.notes().contains(note);
    let notes = notes.into_iter().filter(is_new);
    warnings.extend(notes.map(Warning::Note));
    warnings.extend(doubts(&layers, &collectors, intervals.stale.0));
    let defaults = || {
        inputs
            .default_sources
            .iter()
            .map(|&name| name.to_owned())
            .collect()
    };
    Ok(Loaded {
        settings: Settings {
            host_name: host.name,
            collectors,
            key_pair: own.pair,
            intervals: Intervals {
                metrics: intervals.metrics.0,
                stale: intervals.stale.0,
            },
            spool: spool.values(),
            options: metrics.options(),
            sources: metrics.sources.unwrap_or_else(defaults),
            log_level: log.level,
            bus: dbus.bus,
        },
        files: layers.files().to_vec(),
        warnings,
        generated_key: (!own.found && policy == KeyPolicy::Create).then(|| own.path.clone()),
        key_file: own.path,
        layers,
        collector_keys,
        unclear_keys,
        key_found: own.found,
    })
}

/// Where the files of settings are.
#[must_use]
pub fn files(inputs: &Inputs) -> Files {
    match &inputs.config_file {
        Some(file) => Files::only(file),
        None => Files::standard(AGENT.program, &[&inputs.usr_dir, &inputs.etc_dir]),
    }
}

/// Reads all layers and checks each of them.
///
/// # Errors
///
/// [`ConfigError`] with every mistake in them.
pub fn read(inputs: &Inputs) -> Result<Layered, ConfigError> {
    let mut layers = Layers::of_defaults(&AGENT);
    layers.read_files(&files(inputs));
    layers.read_environment(&inputs.environment);
    layers.examine(|layer| relations(layer, &inputs.known_sources));
    if let Some(collector) = &inputs.command_line.collector {
        layers.hide("collector");
        let place = match inputs.command_line.unit {
            None => Place::CommandLine,
            Some(unit) => Place::Unit {
                word: "COLLECTOR".to_owned(),
                unit,
            },
        };
        layers.set(place, &["collector", MAIN, "endpoint"], collector);
    }
    let notes = inputs.sight.notes().iter().cloned();
    let mut warnings: Vec<_> = notes.map(Warning::Note).collect();
    if let Some(directory) = &inputs.state_directory {
        let path = persistent::path(directory);
        let kept = match inputs.sight.seen(&path) {
            Some(Seen::Text(text)) => persistent::layer_of(directory, text).map(Some),
            Some(_) => Ok(None),
            None => persistent::layer(directory),
        };
        match (kept, inputs.sight.unclear(&path)) {
            (Err(_), Some(note)) => warnings.push(Warning::Note(note)),
            (Ok(None), _) => {}
            (Ok(Some(layer)), _) => layers.push_persistent(layer, path),
            (Err(error), None) => warnings.push(Warning::PersistentIgnored(error.into())),
        }
    }
    layers.checked()?;
    Ok(Layered { layers, warnings })
}

/// What is wrong between the values of one layer.
fn relations(layer: &Layer, known: &[&'static str]) -> Vec<Problem> {
    let mut problems = Vec::new();
    let sources = ["metrics", "sources"];
    let names = layer
        .value(&sources)
        .and_then(Value::as_array)
        .unwrap_or_default();
    let mut seen = Vec::new();
    // Of more names than there are collectors, one is unknown or repeated: no need to see more.
    for name in names.iter().take(known.len() + 1).filter_map(Value::as_str) {
        if !known.contains(&name) {
            let all = known.iter().map(|&known| known.to_owned()).collect();
            let reason = Reason::UnknownSource {
                name: name.to_owned(),
                suggestion: similar(name, all),
            };
            problems.push(layer.problem(&sources, reason));
        } else if seen.contains(&name) {
            problems.push(layer.problem(&sources, Reason::Repeated(name.to_owned())));
        }
        seen.push(name);
    }
    let collectors = layer.value(&["collector"]).and_then(Value::as_dict);
    for (name, fields) in collectors.into_iter().flatten() {
        let has = |field: &str| {
            fields
                .as_dict()
                .is_some_and(|fields| fields.contains_key(field))
        };
        if has("public_key") && has("public_key_file") {
            problems.push(layer.problem(&["collector", name, "public_key_file"], Reason::BothKeys));
        }
    }
    problems
}

/// Settings that are valid, and will not do what was meant.
fn doubts(
    layers: &Layers,
    collectors: &BTreeMap<ConnectionName, CollectorSettings>,
    stale: Duration,
) -> Vec<Warning> {
    let place = |path: &[&str]| layers.place(path).unwrap_or(Place::Default);
    let is_missing = |endpoint: &Endpoint| match endpoint.host() {
        Host::LinkLocal(_, zone) => zone.index().is_err(),
        _ => false,
    };
    let addresses = collectors.iter().flat_map(|(name, settings)| {
        let addresses = settings.endpoints.iter();
        addresses.map(move |address| (name, address))
    });
    let missing = addresses.filter_map(|(name, address)| match address {
        CollectorAddress::At(endpoint) if is_missing(endpoint) => Some(Warning::NoInterface {
            place: place(&["collector", name.as_str(), "endpoint"]),
            endpoint: endpoint.clone(),
        }),
        _ => None,
    });
    let is_short = stale <= LONGEST_PING_INTERVAL && !collectors.is_empty();
    let short = is_short.then(|| Warning::ShortStale {
        place: place(&["intervals", "stale"]),
        stale,
    });
    missing.chain(short).collect()
}

/// A collector's settings, and the files of its keys where these are not in the settings.
fn resolve(
    layers: &Layers,
    search: &KeySearch<'_>,
    name: &ConnectionName,
    fragment: CollectorFragment,
) -> Result<(CollectorSettings, Vec<PathBuf>), Box<Problem>> {
    let Some(endpoints) = fragment.endpoint else {
        let place = layers
            .place(&["collector", name.as_str()])
            .unwrap_or(Place::Default);
        let key = Some(key_text(&key(name, "endpoint")));
        let reason = Reason::NoEndpoint;
        return Err(Box::new(Problem { place, key, reason }));
    };
    let with = |public_keys| CollectorSettings {
        endpoints: endpoints.into_vec(),
        order: fragment.order,
        public_keys,
    };
    // No layer has both: of two layers the later one counts.
    let inline = layers.rank(&key(name, "public_key"));
    let file = layers.rank(&key(name, "public_key_file"));
    if let Some(keys) = fragment.public_key
        && inline > file
    {
        let keys = keys.iter().map(|InlineKey(key)| *key);
        return Ok((with(keys.collect()), Vec::new()));
    }
    let given = fragment.public_key_file.as_deref().unwrap_or_default();
    let names = given.iter().map(|KeyFile(path)| Some(path.as_path()));
    let names = names.chain(given.is_empty().then_some(None));
    let (mut keys, mut files) = (Vec::new(), Vec::new());
    for file in names {
        match search.collector(file) {
            Ok((public_key, path)) => {
                // Two files may have the same one, as after a renewal that is done.
                if !keys.contains(&public_key) {
                    keys.push(public_key);
                }
                files.push(path);
            }
            Err(reason) if file.is_some() => {
                let key = key(name, "public_key_file");
                return Err(Box::new(layers.problem(&key, reason)));
            }
            Err(reason) => {
                // Nothing is set: what is missing belongs beside the endpoint.
                let problem = layers.problem(&key(name, "endpoint"), reason);
                let key = Some(key_text(&key(name, "public_key")));
                return Err(Box::new(Problem { key, ..problem }));
            }
        }
    }
    Ok((with(keys), files))
}

pub(super) fn key<'a>(name: &'a ConnectionName, field: &'a str) -> [&'a str; 3] {
    ["collector", name.as_str(), field]
}

#[cfg(test)]
mod tests;
