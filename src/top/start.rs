//! metrics-top put together: keys, the connection, and the screen or the table.

use std::fmt;
use std::io::{self, Write as _};
use std::time::Instant;

use thiserror::Error;

use super::app::App;
use super::arguments::Arguments;
use super::connection::Connection;
use super::keys::{self, AllowCommand, KeysError};
use super::link::Trouble;
use super::once;
use super::run;
use super::terminal;
use crate::curve::context::{Context, TransportError};
use crate::curve::keys::PublicKey;

/// Why there is nothing to see.
#[derive(Debug, Error)]
pub enum Failure {
    /// Output or input goes elsewhere.
    #[error(
        "standard input and output are no terminal; --once prints the table as plain text instead"
    )]
    NoTerminal,
    /// The terminal.
    #[error("the terminal: {0}")]
    Terminal(#[source] io::Error),
    /// Keys.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The collector did not answer in time.
    #[error("{0}")]
    Unavailable(NoCollector),
    /// libzmq.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The event loop.
    #[error("cannot start the event loop: {0}")]
    Runtime(#[source] io::Error),
}

/// No link came about.
#[derive(Debug)]
pub struct NoCollector {
    collector: String,
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
                "{collector} does not let this client in; whoever runs it does that there with: {}",
                AllowCommand {
                    key: self.own_key,
                    name: &self.own_name
                }
            ),
            Some(Trouble::WrongKey(why)) => write!(
                f,
                "{collector} does not have the key that was expected ({why}); \
                 `metrics-collector --public-key` prints it there"
            ),
            Some(
                Trouble::NoAddress(why)
                | Trouble::Unreachable(why)
                | Trouble::Lost(why)
                | Trouble::NotSecured(why),
            ) => write!(f, "no link to {collector}: {why}"),
            Some(Trouble::Silent) => write!(f, "{collector} is silent"),
            None => write!(f, "no link to {collector} in time"),
        }
    }
}

/// Shows the fleet, or gathers it once; what is left to print.
///
/// # Errors
///
/// [`Failure`].
pub fn run(arguments: &Arguments) -> Result<String, Failure> {
    if !arguments.once && !terminal::is_there() {
        return Err(Failure::NoTerminal);
    }
    let keys = keys::find_or_make(&arguments.keys(), std::env::var_os("HOME"))?;
    if let Some(path) = keys.made.as_ref().filter(|_| arguments.once) {
        let _ = writeln!(
            io::stderr(),
            "metrics-top: made this client's key pair in {}",
            path.display()
        );
    }
    let own_name = client_name();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::Runtime)?;
    let ended = runtime.block_on(async {
        let own_key = keys.pair.public;
        let context = Context::new()?;
        let collector = arguments.collector.to_string();
        let now = Instant::now();
        let endpoint = arguments.collector.clone();
        let mut connection = Connection::open(context, endpoint, keys.pair, keys.collector, now);
        if arguments.once {
            let gathered = once::gather(&mut connection, arguments.wait).await;
            let fleet = gathered.map_err(|once::Unavailable(trouble)| {
                Failure::Unavailable(NoCollector {
                    collector,
                    own_key,
                    own_name,
                    trouble,
                })
            })?;
            let (filter, sort) = (&arguments.filter, arguments.sort);
            return Ok(once::table(&fleet, filter, sort, Instant::now()));
        }
        let start = run::Start {
            connection,
            collector,
            own_key,
            collector_key: keys.collector,
            own_name,
            app: App::new(arguments.sort, &arguments.filter),
            theme: terminal::theme(|name| std::env::var(name).ok()),
        };
        let words = run::run(start).await.map_err(Failure::Terminal)?;
        Ok(words.map(|words| words + "\n").unwrap_or_default())
    });
    // A look-up that hangs must not keep the process.
    runtime.shutdown_background();
    ended
}

/// A name for this client in a file's name: that of its host, without what no file's name may
/// have.
fn client_name() -> String {
    let name = rustix::system::uname();
    let name = name.nodename().to_string_lossy();
    let name: String = name
        .split('.')
        .next()
        .unwrap_or_default()
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
        .collect();
    if name.is_empty() {
        "client".to_owned()
    } else {
        name
    }
}
