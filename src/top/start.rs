//! metrics-top put together: keys, the connection, and the screen or the table.

use std::fmt;
use std::io::{self, Write as _};
use std::time::Instant;

use thiserror::Error;

use super::app::App;
use super::arguments::Arguments;
use super::connection::Connection;
use super::keys::{self, AllowCommand, KeysError, Origin, Places, WrongKey};
use super::link::Trouble;
use super::local::{self, FromFiles, NoViewers};
use super::once;
use super::run;
use super::terminal;
use crate::base::{self, shell};
use crate::curve::endpoint::Endpoint;
use crate::curve::endpoint::{DEFAULT_PORT, DEFAULT_VIEWERS_PORT};
use crate::curve::keys::PublicKey;
use crate::dbus::Bus;

/// Why there is nothing to see.
#[derive(Debug, Error)]
pub enum Failure {
    /// Output or input goes elsewhere.
    #[error(
        "standard input and output are not a terminal; --once prints the table as plain text instead"
    )]
    NoTerminal,
    /// The terminal.
    #[error("the terminal: {0}")]
    Terminal(#[source] io::Error),
    /// Keys.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// This host's collector.
    #[error(transparent)]
    NoViewers(#[from] NoViewers),
    /// The collector did not answer in time.
    #[error("{0}")]
    Unavailable(Box<NoCollector>),
    /// The event loop.
    #[error("cannot start the event loop: {0}")]
    Runtime(#[source] io::Error),
}

/// No link came about.
#[derive(Debug)]
pub struct NoCollector {
    collector: String,
    collector_key: PublicKey,
    origin: Origin,
    own_key: PublicKey,
    own_name: String,
    trouble: Option<Trouble>,
}

impl fmt::Display for NoCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let collector = &self.collector;
        match &self.trouble {
            Some(Trouble::KeyRefused) => write!(
                f,
                "{collector} does not let this viewer in; the collector's administrator allows it there with: {}",
                AllowCommand {
                    key: self.own_key,
                    name: &self.own_name
                }
            ),
            Some(Trouble::WrongKey(why)) => {
                let wrong = WrongKey {
                    collector,
                    expected: self.collector_key,
                    origin: &self.origin,
                };
                let ways_out = wrong.ways_out_as_text();
                write!(f, "{} ({why}). {ways_out}", wrong.problem())
            }
            Some(Trouble::AgentsPort) => {
                write!(f, "{collector} is where agents report")
            }
            Some(
                Trouble::NoAddress(why)
                | Trouble::Unreachable(why)
                | Trouble::Lost(why)
                | Trouble::NotSecured(why),
            ) => write!(f, "no link to {collector}: {why}"),
            Some(Trouble::Silent) => write!(f, "{collector} is silent"),
            None => write!(f, "no link to {collector} in time"),
        }?;
        match port_hint(collector, self.trouble.as_ref()) {
            Some([hint, command]) => write!(f, ". {hint} {}", command.trim_start()),
            None => Ok(()),
        }
    }
}

/// Which port is meant, where the one that was given is that of agents: by what was heard
/// there, or by its number. A sentence and the command.
#[must_use]
pub(super) fn port_hint(collector: &str, trouble: Option<&Trouble>) -> Option<[String; 2]> {
    let (host, port) = collector.rsplit_once(':')?;
    let is_known = port.parse() == Ok(DEFAULT_PORT);
    let is_certain = trouble == Some(&Trouble::AgentsPort);
    (is_certain || is_known).then(|| {
        let what = if is_certain {
            "Viewers connect".to_owned()
        } else {
            format!("Port {DEFAULT_PORT} is where agents report; viewers connect")
        };
        [
            format!("{what} to another port, {DEFAULT_VIEWERS_PORT} where nothing else is set:"),
            format!("  {}", shell::command(&["metrics-top"], &[host])),
        ]
    })
}

/// Shows the fleet, or gathers it once; what is left to print.
///
/// # Errors
///
/// [`Failure`].
pub fn run(arguments: &Arguments, files: FromFiles) -> Result<String, Failure> {
    if !arguments.once && !terminal::is_there() {
        return Err(Failure::NoTerminal);
    }
    let own_name = viewer_name();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::Runtime)?;
    let ended = runtime.block_on(show(arguments, own_name, files));
    // A look-up that hangs must not keep the process.
    runtime.shutdown_background();
    ended
}

async fn show(
    arguments: &Arguments,
    own_name: String,
    files: FromFiles,
) -> Result<String, Failure> {
    let given = arguments.keys();
    let places = Places::of(|name| std::env::var_os(name));
    let named = arguments.collector();
    let mut local = if given.names_collector() {
        None
    } else if let Some(named) = named {
        if keys::remembers(&places, named)? {
            None
        } else {
            // What else is known of the one that is named may do.
            local::find(&Bus::System, files).await.ok().flatten()
        }
    } else {
        local::find(&Bus::System, files).await?
    };
    let mut elsewhere = None;
    if let (Some(named), Some(found)) = (named, &local) {
        let is_here = local::is_here(named.host()).await;
        if !is_here || found.endpoint.port() != named.port() {
            elsewhere = local.take().filter(|_| is_here);
        }
    }
    let endpoint = match (&local, named) {
        (Some(local), _) => local.endpoint.clone(),
        (None, Some(endpoint)) => endpoint.clone(),
        (None, None) => Arguments::localhost(),
    };
    let keys = keys::find_or_make(&given, &places, &endpoint, local.as_ref());
    let keys = keys.map_err(|error| match error {
        KeysError::NoCollectorKey { .. } if arguments.collector().is_none() => {
            KeysError::NoCollector
        }
        KeysError::NoCollectorKey { collector } if collector.port() == DEFAULT_PORT => {
            KeysError::AgentsPort {
                way_out: match elsewhere {
                    // The one of this host needs no name.
                    Some(_) => "metrics-top".to_owned(),
                    None => format!("metrics-top {}", host_of(&collector)),
                },
                collector,
            }
        }
        KeysError::NoCollectorKey { collector } => match elsewhere {
            Some(found) => KeysError::OtherPort {
                collector,
                viewers: found.endpoint,
            },
            None => KeysError::NoCollectorKey { collector },
        },
        error => error,
    })?;
    if let Some(path) = keys.made.as_ref().filter(|_| arguments.once) {
        complain(&format!(
            "made this viewer's key pair in {}",
            path.display()
        ));
    }
    let own_key = keys.pair.public;
    let collector = endpoint.to_string();
    let now = Instant::now();
    let mut connection = Connection::open(endpoint, keys.pair, keys.collector, keys.remember, now);
    if arguments.once {
        let gathered = once::gather(&mut connection, arguments.wait).await;
        if let Some(failed) = connection.end().await {
            complain(&failed);
        }
        let fleet = gathered.map_err(|once::Unavailable(trouble)| {
            Failure::Unavailable(Box::new(NoCollector {
                collector,
                collector_key: keys.collector,
                origin: keys.origin,
                own_key,
                own_name,
                trouble,
            }))
        })?;
        let (filter, sort) = (&arguments.filter, arguments.sort);
        let columns = base::terminal::columns();
        return Ok(once::table(&fleet, filter, sort, Instant::now(), columns));
    }
    let start = run::Start {
        connection,
        collector,
        own_key,
        collector_key: keys.collector,
        origin: keys.origin,
        own_name,
        app: App::new(arguments.sort, &arguments.filter),
        theme: terminal::theme(|name| std::env::var(name).ok()),
    };
    let words = run::run(start).await.map_err(Failure::Terminal)?;
    Ok(words.map(|words| words + "\n").unwrap_or_default())
}

/// The host as it is written in front of a port.
fn host_of(endpoint: &Endpoint) -> String {
    let text = endpoint.to_string();
    let host = text.rsplit_once(':').map(|(host, _)| host.to_owned());
    host.unwrap_or(text)
}

fn complain(what: &str) {
    let _ = writeln!(io::stderr(), "metrics-top: {what}");
}

/// A name for this viewer in a file's name: those of its user and of its host, as each user of a
/// host has a key.
fn viewer_name() -> String {
    let user = ["USER", "LOGNAME"].into_iter().find_map(std::env::var_os);
    let user = user.unwrap_or_default();
    let host = rustix::system::uname();
    name_of(&user.to_string_lossy(), &host.nodename().to_string_lossy())
}

/// Without what no file's name may have.
fn name_of(user: &str, host: &str) -> String {
    let host = host.split('.').next().unwrap_or_default();
    let safe = |text: &str, most| -> String {
        let letters = text.chars();
        let letters = letters.filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
        // A dash in front would be an option's.
        letters.skip_while(|c| *c == '-').take(most).collect()
    };
    let parts = [safe(user, 32), safe(host, 63)];
    let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    if parts.is_empty() {
        "viewer".to_owned()
    } else {
        parts.join("-")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_user_of_a_host_has_a_name() {
        assert_eq!(name_of("ada", "source1.example.org"), "ada-source1");
        assert_eq!(name_of("-a/d.a", "c 1"), "ada-c1");
        assert_eq!(name_of("", "c1"), "c1");
        assert_eq!(name_of("", "..."), "viewer");
    }

    #[test]
    fn the_agents_port_is_known_by_its_number_and_by_what_it_says() {
        let hint = |collector, trouble| {
            let hint = port_hint(collector, Some(&trouble));
            hint.map(|lines| lines.join("\n")).unwrap_or_default()
        };
        assert_eq!(
            hint("c1:5556", Trouble::KeyRefused),
            "Port 5556 is where agents report; viewers connect to another port, 5557 where \
             nothing else is set:\n  metrics-top c1"
        );
        assert_eq!(
            hint("[::1]:6000", Trouble::AgentsPort),
            "Viewers connect to another port, 5557 where nothing else is set:\n  \
             metrics-top '[::1]'"
        );
        // What was heard there is said already.
        assert_eq!(
            hint("c1:5556", Trouble::AgentsPort),
            "Viewers connect to another port, 5557 where nothing else is set:\n  metrics-top c1"
        );
        assert_eq!(hint("c1:5557", Trouble::KeyRefused), "");
        assert_eq!(hint("c1:6000", Trouble::Silent), "");
    }
}
