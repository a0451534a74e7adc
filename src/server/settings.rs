//! What the collector runs with: command line over environment over defaults.
//!
//! Every option has a variable of the same name: `--ping-interval` is
//! `METRICS_COLLECTOR_PING_INTERVAL`. What leaves this module is valid; an error names
//! the option or variable, the value and what was expected.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;
use tracing_subscriber::filter::LevelFilter;

use super::access::{self, Authorized};
use super::hosts::Timing;
use crate::curve::router::Listen;
use crate::systemd::log::{LogError, parse_level};

/// What the collector's variables begin with.
pub const PREFIX: &str = "METRICS_COLLECTOR_";

/// Where agents expect a collector.
pub const DEFAULT_PORT: u16 = 5556;

/// The protocol's ping interval.
pub const DEFAULT_PING_INTERVAL: Duration = Duration::from_secs(5);

/// Faster is a load without a use; agents give a collector up after 30 s without a sign
/// of life, and a ping may get lost.
pub const PING_INTERVAL: RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(60);

/// The protocol's: a host silent for this long is gone.
pub const DEFAULT_HOST_TIMEOUT: Duration = Duration::from_secs(30);

/// Agents report at least once an hour, so that is no sign of anything before two.
pub const HOST_TIMEOUT: RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(7200);

const LISTEN: Name = Name("listen");
const KEY_FILE: Name = Name("key-file");
const PRINT: Name = Name("print");
const PING: Name = Name("ping-interval");
const TIMEOUT: Name = Name("host-timeout");
const AUTHORIZED: Name = Name("authorized");
const PIN_NAMES: Name = Name("pin-names");
const LOG_LEVEL: Name = Name("log-level");
const NAMES: [Name; 8] = [
    LISTEN, KEY_FILE, PRINT, PING, TIMEOUT, AUTHORIZED, PIN_NAMES, LOG_LEVEL,
];

/// What the command line says, not looked at yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Given {
    /// `--listen ADDRESS`.
    pub listen: Option<OsString>,
    /// `--key-file FILE`.
    pub key_file: Option<OsString>,
    /// `--print`.
    pub print: bool,
    /// `--ping-interval TIME`.
    pub ping_interval: Option<OsString>,
    /// `--host-timeout TIME`.
    pub host_timeout: Option<OsString>,
    /// `--authorized any|directory`.
    pub authorized: Option<OsString>,
    /// `--pin-names`.
    pub pin_names: bool,
    /// `--log-level LEVEL`.
    pub log_level: Option<OsString>,
}

/// What the collector runs with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where to listen for agents.
    pub listen: Listen,
    /// The secret key file to use instead of those looked for.
    pub key_file: Option<PathBuf>,
    /// Whether each message is written to standard output.
    pub print: bool,
    /// Pings and expiry.
    pub timing: Timing,
    /// Who may report, and who may watch.
    pub access: access::Settings,
    /// The least important messages that are logged.
    pub log_level: LevelFilter,
}

impl Settings {
    /// Reads the settings; of the variables, those that begin with [`PREFIX`].
    ///
    /// # Errors
    ///
    /// [`SettingsError`] for the first value that does not fit, also where a variable is
    /// unknown.
    pub fn read(
        given: &Given,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, SettingsError> {
        let variables = ours(variables)?;
        let value = |name: Name, option: &Option<OsString>| {
            let option = option
                .as_ref()
                .map(|text| (Place::Option(name), text.clone()));
            let variable = || {
                let text = variables.get(name.0)?;
                Some((Place::Variable(name), text.clone()))
            };
            option.or_else(variable)
        };
        let time = |name, option, range, default| match value(name, option) {
            Some(value) => parsed(value, |text| parse_time(text, &range)),
            None => Ok(default),
        };
        let print = match value(PRINT, &given.print.then(|| "yes".into())) {
            Some(value) => parsed(value, parse_switch)?,
            None => false,
        };
        let listen = match value(LISTEN, &given.listen) {
            Some(value) => parsed(value, parse_listen)?,
            None => Listen::Any { port: DEFAULT_PORT },
        };
        let authorized = match value(AUTHORIZED, &given.authorized) {
            Some(value) => parsed(value, parse_authorized)?,
            None => Authorized::default(),
        };
        let pin_names = match value(PIN_NAMES, &given.pin_names.then(|| "yes".into())) {
            Some(value) => parsed(value, parse_switch)?,
            None => false,
        };
        let log_level = match value(LOG_LEVEL, &given.log_level) {
            Some(value) => parsed(value, |text| parse_level(text).map_err(Problem::Level))?,
            None => LevelFilter::INFO,
        };
        Ok(Self {
            listen,
            key_file: value(KEY_FILE, &given.key_file).map(|(_, path)| path.into()),
            print,
            timing: Timing {
                ping_interval: time(
                    PING,
                    &given.ping_interval,
                    PING_INTERVAL,
                    DEFAULT_PING_INTERVAL,
                )?,
                host_timeout: time(
                    TIMEOUT,
                    &given.host_timeout,
                    HOST_TIMEOUT,
                    DEFAULT_HOST_TIMEOUT,
                )?,
            },
            access: access::Settings {
                authorized,
                pin_names,
                ..access::Settings::default()
            },
            log_level,
        })
    }
}

/// A setting, by the name of its option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name(&'static str);

impl Name {
    fn variable(self) -> String {
        format!("{PREFIX}{}", self.0.to_ascii_uppercase().replace('-', "_"))
    }
}

/// Where a value stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// On the command line.
    Option(Name),
    /// In the environment.
    Variable(Name),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Option(name) => write!(f, "--{}", name.0),
            Self::Variable(name) => f.write_str(&name.variable()),
        }
    }
}

/// Why there are no settings.
#[derive(Debug, Error)]
pub enum SettingsError {
    /// A value that does not fit.
    #[error("{place}: {problem}")]
    Value {
        /// Where it stands.
        place: Place,
        /// What is wrong with it.
        problem: Problem,
    },
    /// A variable that looks like one of ours.
    #[error("{name}: no such setting; did you mean {nearest}?")]
    UnknownVariable {
        /// Its name.
        name: String,
        /// The one most like it.
        nearest: String,
    },
}

/// What is wrong with a value.
#[derive(Debug, Error)]
pub enum Problem {
    /// No address to listen on.
    #[error(
        "{0:?} is no address to listen on; expected one like 127.0.0.1:5556, [::1]:5556, or \
         *:5556 for every address of this host"
    )]
    Listen(String),
    /// No time.
    #[error("{0:?} is no time; expected one like 5s, 500ms or 2min")]
    Time(String),
    /// A time that is too long or too short.
    #[error("{} is not from {} to {}", shown(*.0), shown(*.1.start()), shown(*.1.end()))]
    Range(Duration, RangeInclusive<Duration>),
    /// No switch.
    #[error("{0:?} is neither yes nor no")]
    Switch(String),
    /// Neither of the two.
    #[error("{0:?} is neither any nor directory")]
    Authorized(String),
    /// No log level.
    #[error(transparent)]
    Level(LogError),
    /// Text must be UTF-8.
    #[error("the value is not UTF-8")]
    NotUtf8,
}

fn shown(time: Duration) -> humantime::FormattedDuration {
    humantime::format_duration(time)
}

/// The variables that are ours, by the names of their options. One that is empty is not set.
fn ours(
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<BTreeMap<&'static str, OsString>, SettingsError> {
    let mut ours = BTreeMap::new();
    for (variable, value) in variables {
        if !variable.as_encoded_bytes().starts_with(PREFIX.as_bytes()) || value.is_empty() {
            continue;
        }
        let known = NAMES
            .into_iter()
            .find(|name| *variable == *OsStr::new(&name.variable()));
        let Some(name) = known else {
            let name = variable.to_string_lossy().into_owned();
            let likeness = |known: &String| strsim::damerau_levenshtein(known, &name);
            let nearest = NAMES.map(Name::variable).into_iter().min_by_key(likeness);
            return Err(SettingsError::UnknownVariable {
                nearest: nearest.unwrap_or_default(),
                name,
            });
        };
        ours.insert(name.0, value);
    }
    Ok(ours)
}

fn parsed<T>(
    (place, text): (Place, OsString),
    parse: impl FnOnce(&str) -> Result<T, Problem>,
) -> Result<T, SettingsError> {
    let text = text.to_str().ok_or(Problem::NotUtf8);
    text.and_then(parse)
        .map_err(|problem| SettingsError::Value { place, problem })
}

/// `ADDRESS`, `ADDRESS:PORT`, with `*` for every address; `tcp://` in front as ZeroMQ
/// writes it.
fn parse_listen(text: &str) -> Result<Listen, Problem> {
    let address = text.strip_prefix("tcp://").unwrap_or(text);
    if let Some(port) = address.strip_prefix('*') {
        let port = match port.strip_prefix(':') {
            Some(port) => port.parse().ok(),
            None => port.is_empty().then_some(DEFAULT_PORT),
        };
        return port
            .map(|port| Listen::Any { port })
            .ok_or_else(|| Problem::Listen(text.to_owned()));
    }
    let bare = || {
        let inner = address
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        let address: IpAddr = inner.unwrap_or(address).parse().ok()?;
        Some(SocketAddr::new(address, DEFAULT_PORT))
    };
    let with_port = address.parse().ok();
    with_port
        .or_else(bare)
        .map(Listen::Address)
        .ok_or_else(|| Problem::Listen(text.to_owned()))
}

/// A time as systemd.time(7) has it: a bare number is seconds.
fn parse_time(text: &str, range: &RangeInclusive<Duration>) -> Result<Duration, Problem> {
    let time = match text.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => humantime::parse_duration(text).ok(),
    };
    let time = time.ok_or_else(|| Problem::Time(text.to_owned()))?;
    if range.contains(&time) {
        Ok(time)
    } else {
        Err(Problem::Range(time, range.clone()))
    }
}

fn parse_authorized(text: &str) -> Result<Authorized, Problem> {
    match text {
        "any" => Ok(Authorized::Any),
        "directory" => Ok(Authorized::Directory),
        _ => Err(Problem::Authorized(text.to_owned())),
    }
}

/// A boolean as systemd.syntax(7) has it.
fn parse_switch(text: &str) -> Result<bool, Problem> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "yes" | "y" | "true" | "t" | "on" => Ok(true),
        "0" | "no" | "n" | "false" | "f" | "off" => Ok(false),
        _ => Err(Problem::Switch(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(given: &Given, variables: &[(&str, &str)]) -> Result<Settings, String> {
        let variables = variables
            .iter()
            .map(|&(name, value)| (name.into(), value.into()));
        Settings::read(given, variables).map_err(|error| error.to_string())
    }

    fn listen(text: &str) -> Result<String, String> {
        let given = Given {
            listen: Some(text.into()),
            ..Given::default()
        };
        read(&given, &[]).map(|settings| settings.listen.to_string())
    }

    #[test]
    fn nothing_has_to_be_set() {
        let settings = read(&Given::default(), &[("PATH", "/bin")]).unwrap();
        assert_eq!(
            settings,
            Settings {
                listen: Listen::Any { port: 5556 },
                key_file: None,
                print: false,
                timing: Timing {
                    ping_interval: Duration::from_secs(5),
                    host_timeout: Duration::from_secs(30),
                },
                access: access::Settings::default(),
                log_level: LevelFilter::INFO,
            }
        );
    }

    #[test]
    fn the_command_line_goes_over_the_environment() {
        let variables = [
            ("METRICS_COLLECTOR_LISTEN", "[::1]:1"),
            ("METRICS_COLLECTOR_PING_INTERVAL", "2"),
            ("METRICS_COLLECTOR_HOST_TIMEOUT", ""),
            ("METRICS_COLLECTOR_PRINT", "yes"),
            ("METRICS_COLLECTOR_KEY_FILE", "/a b"),
            ("METRICS_COLLECTOR_LOG_LEVEL", "warning"),
            ("METRICS_COLLECTOR_AUTHORIZED", "directory"),
            ("METRICS_COLLECTOR_PIN_NAMES", "yes"),
        ];
        let given = Given {
            ping_interval: Some("1500ms".into()),
            ..Given::default()
        };
        let settings = read(&given, &variables).unwrap();
        assert_eq!(settings.listen.to_string(), "[::1]:1");
        assert_eq!(settings.timing.ping_interval, Duration::from_millis(1500));
        assert_eq!(settings.timing.host_timeout, DEFAULT_HOST_TIMEOUT);
        assert_eq!(settings.key_file, Some("/a b".into()));
        assert_eq!(settings.log_level, LevelFilter::WARN);
        assert!(settings.print);
        assert_eq!(settings.access.authorized, Authorized::Directory);
        assert!(settings.access.pin_names);
        let off = read(&Given::default(), &[("METRICS_COLLECTOR_PRINT", "off")]);
        assert!(!off.unwrap().print);
    }

    #[test]
    fn addresses_are_of_either_family() {
        for (text, shown) in [
            ("127.0.0.1:0", "127.0.0.1:0"),
            ("127.0.0.1", "127.0.0.1:5556"),
            ("[::1]:7", "[::1]:7"),
            ("[::1]", "[::1]:5556"),
            ("::", "[::]:5556"),
            ("*:7", "*:7"),
            ("*", "*:5556"),
            ("tcp://*:5556", "*:5556"),
        ] {
            assert_eq!(listen(text).as_deref(), Ok(shown), "{text}");
        }
        for text in [
            "",
            "*:",
            "*5",
            "5556",
            "localhost:5556",
            "127.0.0.1:",
            "1.2.3.4:70000",
        ] {
            let error = listen(text).unwrap_err();
            assert_eq!(
                error,
                format!(
                    "--listen: {text:?} is no address to listen on; expected one like \
                     127.0.0.1:5556, [::1]:5556, or *:5556 for every address of this host"
                )
            );
        }
    }

    #[test]
    fn errors_name_the_place_and_the_way_out() {
        for (name, value, message) in [
            (
                "METRICS_COLLECTOR_PING_INTERVAL",
                "99ms",
                "METRICS_COLLECTOR_PING_INTERVAL: 99ms is not from 100ms to 1m",
            ),
            (
                "METRICS_COLLECTOR_HOST_TIMEOUT",
                "soon",
                "METRICS_COLLECTOR_HOST_TIMEOUT: \"soon\" is no time; expected one like 5s, \
                 500ms or 2min",
            ),
            (
                "METRICS_COLLECTOR_PRINT",
                "perhaps",
                "METRICS_COLLECTOR_PRINT: \"perhaps\" is neither yes nor no",
            ),
            (
                "METRICS_COLLECTOR_AUTHORIZED",
                "all",
                "METRICS_COLLECTOR_AUTHORIZED: \"all\" is neither any nor directory",
            ),
            (
                "METRICS_COLLECTOR_PINGINTERVAL",
                "1s",
                "METRICS_COLLECTOR_PINGINTERVAL: no such setting; did you mean \
                 METRICS_COLLECTOR_PING_INTERVAL?",
            ),
        ] {
            let error = read(&Given::default(), &[(name, value)]).unwrap_err();
            assert_eq!(error, message);
        }
    }
}
