//! `metrics-collector hosts`: which hosts are known, and which are gone. Asks the running
//! collector on the bus, and starts none.

use std::collections::BTreeSet;
use std::io;
use std::time::Duration;

use clap::{Args, Subcommand};
use glob::Pattern;
use serde::Serialize;
use thiserror::Error;
use tokio::time::timeout;

use crate::base::pager::ListOptions;
use crate::base::{clock::Time, columns, exit::EXIT_UNAVAILABLE, json};
use crate::base::{terminal, text};
use crate::collector::bus::proxy::{HostRow, RunningSource};
use crate::dbus::find::{self, FindError};
use crate::dbus::{Bus, BusError};

/// Most hosts asked for at once: an answer of some hundred KiB.
const PAGE: u32 = 1000;

/// How long the collector may take for an answer; it takes some milliseconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a shell may wait for names to complete, and a command that has another source.
const SHELL_PATIENCE: Duration = Duration::from_secs(2);

/// Which hosts to show, and how.
#[derive(Debug, Args)]
#[command(
    disable_help_subcommand = true,
    override_usage = "metrics-collector hosts [OPTIONS] [PATTERN]...\n       \
                      metrics-collector hosts <COMMAND>"
)]
pub struct Arguments {
    /// Only hosts that do not report: gone, or expected since the collector was restarted.
    #[arg(long)]
    gone: bool,
    #[command(flatten)]
    list: ListOptions,
    /// The message bus that the collector is on: system, session or an address.
    #[arg(long, value_name = "BUS", default_value = "system", global = true)]
    bus: String,
    /// Names of hosts, or shell patterns for them.
    #[arg(value_name = "PATTERN")]
    patterns: Vec<String>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Forget hosts that do not report and are not to come back: they leave every list.
    Forget {
        /// Names of hosts, or shell patterns for those that do not report.
        #[arg(value_name = "NAME", required = true)]
        names: Vec<String>,
    },
}

impl Arguments {
    /// The hosts to forget; None where they are to be shown.
    fn to_forget(&self) -> Result<Option<&[String]>, Failure> {
        let Some(Command::Forget { names }) = &self.command else {
            return Ok(None);
        };
        let ListOptions {
            json,
            full,
            no_pager,
        } = self.list;
        if self.gone || json || full || no_pager {
            return Err(Failure::Mixed);
        }
        Ok(Some(names))
    }
}

/// Why nothing is shown or done.
#[derive(Debug, Error)]
pub enum Failure {
    /// The bus named is none.
    #[error("--bus: {0}")]
    Bus(#[source] BusError),
    /// No pattern.
    #[error("{pattern:?} is not a pattern: {source}")]
    Pattern {
        /// As it was typed.
        pattern: String,
        /// What is wrong with it.
        source: glob::PatternError,
    },
    /// No bus.
    #[error(
        "cannot reach {bus}: {source}; this command asks the running collector over the bus; where \
         there is none, metrics-top shows the hosts, and so do the web pages and /metrics where \
         listen.web is set"
    )]
    NoBus {
        /// Which one.
        bus: Bus,
        /// What was wrong.
        source: zbus::Error,
    },
    /// No process owns the name.
    #[error(
        "no metrics-collector is running on {0}; start it with: systemctl start metrics-collector"
    )]
    NotRunning(Bus),
    /// It does not answer.
    #[error("the collector has not answered within {} s", .0.as_secs())]
    Silent(Duration),
    /// Its own words.
    #[error("{0}")]
    Refused(String),
    /// polkit says no.
    #[error("access denied: {0}\nTry it with sudo, or allow the action in a polkit rule")]
    Denied(String),
    /// Nothing fits.
    #[error("no known host matches")]
    NoneFits,
    /// Nothing fits some of several.
    #[error("no known host matches {0}")]
    FitsNone(String),
    /// Of those that may be forgotten.
    #[error("no known host that matches can be forgotten: only those that do not report can")]
    NoneAbsent,
    /// Some of several.
    #[error("not all of them were forgotten")]
    Some,
    /// What belongs to the list is no part of an order to forget.
    #[error(
        "forget takes names and patterns, and of the options only --bus; what it forgets is not listed: \
         metrics-collector hosts forget NAME..."
    )]
    Mixed,
    /// Standard output is closed, or there is no runtime.
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl Failure {
    /// The exit status.
    #[must_use]
    pub fn status(&self) -> u8 {
        match self {
            Self::NoBus { .. } | Self::NotRunning(_) | Self::Silent(_) => EXIT_UNAVAILABLE,
            Self::Mixed => 2,
            _ => 1,
        }
    }
}

impl From<zbus::Error> for Failure {
    fn from(error: zbus::Error) -> Self {
        match find::told(error) {
            Ok((name, text)) if name.ends_with(".AccessDenied") => Self::Denied(text),
            Ok((name, text)) if name.ends_with(".InteractiveAuthorizationRequired") => {
                Self::Denied(text)
            }
            Ok((_, text)) => Self::Refused(text),
            Err(error) => Self::Refused(format!("cannot talk to metrics-collector: {error}")),
        }
    }
}

/// Does it.
///
/// # Errors
///
/// [`Failure`].
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let to_forget = arguments.to_forget()?;
    let bus: Bus = arguments.bus.parse().map_err(Failure::Bus)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    if let Some(names) = to_forget {
        return runtime.block_on(forget(bus, names));
    }
    let patterns = patterns(&arguments.patterns)?;
    let hosts = runtime.block_on(hosts(bus))?;
    show(arguments, &patterns, hosts)
}

/// The names of hosts, or only of those that do not report, for a shell to complete; none where
/// they are not to be had at once.
#[must_use]
pub fn host_names(bus: &str, only_absent: bool) -> BTreeSet<String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let (Ok(runtime), Ok(bus)) = (runtime, bus.parse::<Bus>()) else {
        return BTreeSet::new();
    };
    let asked = runtime.block_on(async { timeout(SHELL_PATIENCE, hosts(bus)).await });
    let hosts = asked.ok().and_then(Result::ok).unwrap_or_default();
    let wanted = |host: &Host| !only_absent || host.state != "reporting";
    let hosts = hosts.into_iter().filter(wanted);
    hosts.map(|host| host.name).collect()
}

/// The hosts that report now, each with its key, as the running collector says at once.
///
/// # Errors
///
/// [`Failure`]: it does not say.
pub fn reporting(bus: Bus) -> Result<Vec<(String, String)>, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let asked = runtime.block_on(async { timeout(SHELL_PATIENCE, hosts(bus)).await });
    let hosts = asked.map_err(|_| Failure::Silent(SHELL_PATIENCE))??;
    let reporting = hosts.into_iter().filter(|host| host.state == "reporting");
    let with_key = reporting.filter_map(|host| Some((host.key?, host.name)));
    Ok(with_key.collect())
}

fn patterns(words: &[String]) -> Result<Vec<Pattern>, Failure> {
    let pattern = |word: &String| {
        Pattern::new(word).map_err(|source| Failure::Pattern {
            pattern: word.clone(),
            source,
        })
    };
    words.iter().map(pattern).collect()
}

async fn find(bus: Bus) -> Result<RunningSource, Failure> {
    match within(RunningSource::find(&bus)).await? {
        Ok(collector) => Ok(collector),
        Err(FindError::NoBus { bus, source }) => Err(Failure::NoBus { bus, source }),
        Err(FindError::NotRunning { bus, .. }) => Err(Failure::NotRunning(bus)),
    }
}

async fn within<T>(asked: impl Future<Output = T>) -> Result<T, Failure> {
    timeout(PATIENCE, asked)
        .await
        .map_err(|_| Failure::Silent(PATIENCE))
}

/// Every host, sorted by name.
async fn hosts(bus: Bus) -> Result<Vec<Host>, Failure> {
    all_of(&find(bus).await?).await
}

async fn all_of(collector: &RunningSource) -> Result<Vec<Host>, Failure> {
    let mut hosts: Vec<Host> = Vec::new();
    loop {
        let after = hosts.last().map(|host| host.name.clone());
        let after = after.unwrap_or_default();
        let (page, more) = within(collector.list_hosts(&after, PAGE)).await??;
        // One that tells of more and sends none would be asked for ever.
        let more = more && !page.is_empty();
        hosts.extend(page.into_iter().map(Host::from));
        if !more {
            return Ok(hosts);
        }
    }
}

fn show(arguments: &Arguments, patterns: &[Pattern], hosts: Vec<Host>) -> Result<(), Failure> {
    let all = hosts.len();
    let fits = |host: &Host| {
        patterns.is_empty() || patterns.iter().any(|pattern| pattern.matches(&host.name))
    };
    let hosts: Vec<_> = hosts.into_iter().filter(fits).collect();
    if hosts.is_empty() && all > 0 {
        return Err(Failure::NoneFits);
    }
    let in_vain = in_vain(patterns, &hosts);
    let shown = |host: &Host| !arguments.gone || host.state != "reporting";
    let table = Table(hosts.into_iter().filter(shown).collect());
    if arguments.list.json {
        terminal::emit(&table.json())?;
    } else if table.0.is_empty() {
        terminal::emit(if all == 0 {
            "No host is known yet.\n"
        } else {
            "No host is gone.\n"
        })?;
    } else {
        arguments.list.show_table(|columns| table.text(columns))?;
    }
    in_vain
        .filter(|_| all > 0)
        .map_or(Ok(()), |words| Err(Failure::FitsNone(words)))
}

/// The patterns that fit none of these hosts, for a person.
fn in_vain(patterns: &[Pattern], hosts: &[Host]) -> Option<String> {
    let fits_none = |pattern: &&Pattern| !hosts.iter().any(|host| pattern.matches(&host.name));
    let words = patterns.iter().filter(fits_none);
    let words: Vec<_> = words
        .map(|pattern| text::quoted(pattern.as_str()))
        .collect();
    (!words.is_empty()).then(|| words.join(", "))
}

/// Whether a word stands for several names.
fn is_pattern(word: &str) -> bool {
    word.contains(['*', '?', '['])
}

/// The names that a word stands for: a pattern for all hosts that it fits and that do not report,
/// unless it is itself a host's name.
fn meant(word: &str, hosts: &[Host]) -> Result<Vec<String>, Failure> {
    if !is_pattern(word) || hosts.iter().any(|host| host.name == word) {
        return Ok(vec![word.to_owned()]);
    }
    let pattern = Pattern::new(word).map_err(|source| Failure::Pattern {
        pattern: word.to_owned(),
        source,
    })?;
    let fits = |host: &&Host| pattern.matches(&host.name);
    if !hosts.iter().any(|host| fits(&host)) {
        return Err(Failure::FitsNone(text::quoted(word).into()));
    }
    let absent = hosts
        .iter()
        .filter(fits)
        .filter(|host| host.state != "reporting");
    let names: Vec<_> = absent.map(|host| host.name.clone()).collect();
    if names.is_empty() {
        return Err(Failure::NoneAbsent);
    }
    Ok(names)
}

/// Each of them, also where one before it cannot be.
async fn forget(bus: Bus, words: &[String]) -> Result<(), Failure> {
    let collector = find(bus).await?;
    let hosts = if words.iter().any(|word| is_pattern(word)) {
        all_of(&collector).await?
    } else {
        Vec::new()
    };
    let mut failed = None;
    let mut names = Vec::new();
    for word in words {
        names.extend(meant(word, &hosts)?);
    }
    names.sort_unstable();
    names.dedup();
    for name in &names {
        match collector.forget_host(name).await {
            Ok(()) => {
                terminal::emit(&format!("{} is forgotten\n", text::name(name)))?;
            }
            Err(error) => {
                let failure = Failure::from(error);
                if names.len() == 1 {
                    return Err(match failure {
                        Failure::Refused(why) => Failure::Refused(format!("{name}: {why}")),
                        other => other,
                    });
                }
                terminal::complain("metrics-collector", &format!("{name}: {failure}"));
                failed = Some(Failure::Some);
            }
        }
    }
    failed.map_or(Ok(()), Err)
}

/// The columns, what matters most first.
const HEAD: [&str; 6] = ["HOST", "STATE", "SINCE", "LAST SEEN", "ADDRESS", "KEY"];

/// What is left out first where there is no room for all.
const SPARED: [&str; 3] = ["KEY", "ADDRESS", "SINCE"];

/// A host.
#[derive(Clone, Debug, Serialize)]
struct Host {
    name: String,
    state: String,
    since: Time,
    last_seen: Time,
    address: Option<String>,
    key: Option<String>,
    messages: u64,
}

impl From<HostRow> for Host {
    fn from((name, state, last_seen, since, messages, key, address): HostRow) -> Self {
        let known = |text: String| Some(text).filter(|text| !text.is_empty());
        Self {
            name,
            state,
            since: Time::of_usec(since),
            last_seen: Time::of_usec(last_seen),
            address: known(address),
            key: known(key),
            messages,
        }
    }
}

/// Hosts in the order in which they are shown.
#[derive(Debug)]
struct Table(Vec<Host>);

impl Table {
    fn json(&self) -> String {
        json::pretty(&self.0) + "\n"
    }

    /// For a terminal of so many columns without what does not fit there.
    fn text(&self, room: Option<usize>) -> String {
        let mut lines = vec![HEAD.map(str::to_owned).to_vec()];
        lines.extend(self.0.iter().map(Host::cells));
        let (mut text, left_out) = columns::fitted(lines, room, 1, (&SPARED, &["HOST"]));
        text.push_str(&columns::left_out(&left_out, room));
        columns::fit_lines(&text, room)
    }
}

impl Host {
    fn cells(&self) -> Vec<String> {
        let safe = |text: &str| text::name(text).into_owned();
        let or_none = |text: Option<&str>| text.map_or_else(|| "-".to_owned(), safe);
        vec![
            safe(&self.name),
            safe(&self.state),
            self.since.shown(),
            self.last_seen.shown(),
            or_none(self.address.as_deref().map(text::address)),
            or_none(self.key.as_deref()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::text::hostile;
    use clap::Parser;
    use proptest::prelude::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        hosts: Arguments,
    }

    fn to_forget(line: &str) -> Result<Option<Vec<String>>, u8> {
        let line = Line::try_parse_from(line.split_whitespace()).unwrap();
        let found = line.hosts.to_forget();
        found
            .map(|names| names.map(<[String]>::to_vec))
            .map_err(|failure| failure.status())
    }

    #[test]
    fn an_option_in_front_of_forget_does_not_make_it_a_pattern() {
        let web1 = || Ok(Some(vec!["web1".to_owned()]));
        assert_eq!(to_forget("hosts forget web1"), web1());
        assert_eq!(to_forget("hosts --bus session forget web1"), web1());
        assert_eq!(to_forget("hosts forget --bus session web1"), web1());
        assert_eq!(to_forget("hosts --gone web1"), Ok(None));
        // What would show a list forgets nothing.
        for mixed in ["--gone", "--json", "--full", "--no-pager"] {
            let line = format!("hosts {mixed} forget web1");
            assert_eq!(to_forget(&line), Err(2), "{line}");
        }
    }

    fn host(name: &str, state: &str) -> Host {
        let key = "-:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7-".to_owned();
        let (last_seen, since) = (1_795_976_300_000_000, 1_795_976_330_000_000);
        let address = "::ffff:192.0.2.1".to_owned();
        Host::from((
            name.to_owned(),
            state.to_owned(),
            last_seen,
            since,
            7,
            key,
            address,
        ))
    }

    #[test]
    fn a_host_is_a_line() {
        let table = Table(vec![host("web1", "gone"), host("web2", "reporting")]);
        let text = table.text(None);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        assert!(lines[0].starts_with("HOST  STATE      SINCE "), "{text}");
        assert!(lines[1].starts_with("web1  gone       20"), "{text}");
        assert!(lines[1].contains("  192.0.2.1  -:rM>"), "{text}");
        let json: serde_json::Value = serde_json::from_str(&table.json()).unwrap();
        assert_eq!(json[0]["state"], "gone");
        assert_eq!(json[0]["messages"], 7);
        let seen: jiff::Timestamp = json[0]["last_seen"].as_str().unwrap().parse().unwrap();
        assert_eq!(seen.as_second(), 1_795_976_300);
        assert_eq!(Table(Vec::new()).json(), "[]\n");
    }

    #[test]
    fn a_word_that_fits_nothing_is_named() {
        let hosts = [
            host("old1", "gone"),
            host("old2", "reporting"),
            host("a*", "gone"),
        ];
        let in_vain = |words: &[&str]| {
            let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
            in_vain(&patterns(&words).unwrap(), &hosts)
        };
        assert_eq!(in_vain(&["old*"]), None);
        assert_eq!(
            in_vain(&["old*", "nope", "x*"]),
            Some("nope, \"x*\"".to_owned())
        );
        assert_eq!(in_vain(&[]), None);

        let meant = |word| meant(word, &hosts).map_err(|failure| failure.to_string());
        assert_eq!(meant("old*"), Ok(vec!["old1".to_owned()]));
        assert_eq!(meant("a*"), Ok(vec!["a*".to_owned()]));
        // The collector itself says what is wrong with a name.
        assert_eq!(meant("old2"), Ok(vec!["old2".to_owned()]));
        assert!(
            meant("old2*")
                .unwrap_err()
                .contains("only those that do not report")
        );
        assert!(meant("x*").unwrap_err().contains("no known host matches"));
        assert!(meant("[").unwrap_err().contains("is not a pattern"));
    }

    /// A name is whole, also where there is no room for it beside the state.
    #[test]
    fn names_stay_whole_on_a_narrow_terminal() {
        let long = "a-host-with-a-long-name.example.org";
        let text = Table(vec![host(long, "gone"), host("web2", "reporting")]).text(Some(40));
        assert!(
            text.starts_with(&format!("{long}\n  state: gone\n  since: 20")),
            "{text}"
        );
        let key = "\n  key:\n-:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7-\n";
        assert!(text.contains(key), "{text}");
        assert!(text.contains("\nweb2\n  state: reporting\n"), "{text}");
        assert!(!text.contains('…'), "{text}");
        let text = Table(vec![host("web1", "gone")]).text(Some(40));
        assert!(text.starts_with("HOST  STATE"), "{text}");
    }

    proptest! {
        #[test]
        fn it_fits_the_terminal_and_does_nothing_to_it(name in hostile::texts(), room in 20_usize..200) {
            let table = Table(vec![host(&name, "gone"), host("web1.example.org", "reporting")]);
            let text = table.text(Some(room));
            hostile::assert_harmless(&text);
            let wide = text.lines().find(|line| columns::width(line) > room);
            prop_assert_eq!(wide, None);
            hostile::assert_harmless(&table.json());
        }
    }
}
