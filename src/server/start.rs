//! The collector put together: keys, sockets, signals and the loop.
//!
//! The composition root of `metrics-collector`: it decides nothing but the order in which
//! things are opened, and the exit status when one can't be.

use std::fmt::Display;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::time::Instant;

use rustix::process::{Resource, getrlimit, setrlimit};

use super::access::door::{Access, AccessError};
use super::access::{self, Door};
use super::events;
use super::keys::{self, Keys, Places};
use super::printer::Printer;
use super::run::{Server, Start};
use super::settings::Settings;
use crate::curve::context::{Context, TransportError};
use crate::curve::keys::KeyPair;
use crate::curve::router::{Listen, Router, RouterOptions};
use crate::curve::zap::{Authenticator, Domain};
use crate::systemd::notify::Notifier;
use crate::systemd::pressure::PressureWatch;
use crate::systemd::signals::Signals;

/// Why the collector did not start or did not go on. Each has been logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Settings or keys that only an administrator can mend.
    Configuration,
    /// The address to listen on cannot be had now.
    Unavailable,
    /// What should never fail has failed.
    Bug,
}

/// Runs the collector until a signal ends it.
///
/// # Errors
///
/// [`Failure`], logged.
pub fn run(settings: &Settings) -> Result<(), Failure> {
    let keys = find_keys(settings).map_err(|error| {
        tracing::error!("{error}");
        Failure::Configuration
    })?;
    let public_key = keys.pair.public;
    if let Some(made) = &keys.made {
        events::key_generated(&keys.path, &public_key.to_string());
        events::keys_unseen(&made.unseen);
    }
    raise_descriptor_limit();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| bug("start the event loop", &error))?;
    runtime.block_on(async {
        let signals = Signals::catch().map_err(|error| bug("catch signals", &error))?;
        let context = Context::new().map_err(|error| bug("use libzmq", &error))?;
        let authenticator = Authenticator::bind(&context);
        let authenticator = authenticator.map_err(|error| bug("answer libzmq", &error))?;
        let domain = authenticator.domain(Door::Agents.domain());
        let router = listen(&context, settings.listen, &keys.pair, &domain)?;
        let access = start_access(authenticator, &settings.access).await?;
        let endpoint = match settings.listen {
            Listen::Address(_) => router.address().to_string(),
            Listen::Any { .. } => format!("*:{}", router.address().port()),
        };
        let printer = if settings.print {
            let printer = open_printer();
            Some(printer.map_err(|error| bug("print to standard output", &error))?)
        } else {
            None
        };
        let now = Instant::now();
        let start = Start {
            router,
            access,
            endpoint,
            public_key,
            timing: settings.timing,
            printer,
            notifier: Notifier::from_environment(now),
            signals,
            pressure: PressureWatch::from_environment().await,
        };
        let ended = Server::new(start, now).run().await;
        ended.map_err(|error| bug("go on", &error))
    })
}

/// The keys that these settings mean, made where there are none.
///
/// # Errors
///
/// [`keys::KeysError`].
pub fn find_keys(settings: &Settings) -> Result<Keys, keys::KeysError> {
    keys::find_or_make(settings.key_file.as_deref(), &Places::of_process())
}

fn listen(
    context: &Context,
    listen: Listen,
    keys: &KeyPair,
    domain: &Domain,
) -> Result<Router, Failure> {
    Router::bind(
        context,
        RouterOptions {
            listen,
            keys,
            domain: Some(domain),
        },
    )
    .map_err(|error| {
        let TransportError::Bind { source, .. } = &error else {
            return bug("listen", &error);
        };
        let way_out = match source.kind() {
            io::ErrorKind::AddrNotAvailable => "`ip address` shows the addresses of this host",
            io::ErrorKind::PermissionDenied => "choose a port above 1023",
            _ => "`ss -ltnp` shows who listens there",
        };
        tracing::error!("{error}; {way_out}, and --listen takes another address");
        Failure::Unavailable
    })
}

/// Whoever knocks meanwhile waits for the answer.
async fn start_access(
    authenticator: Authenticator,
    settings: &access::Settings,
) -> Result<Access, Failure> {
    let state = keys::Places::of_process().state;
    let access = Access::start(authenticator, settings, state).await;
    access.map_err(|error| {
        let failure = match error {
            AccessError::Thread(_) => return bug("decide who may report", &error),
            AccessError::State(_) | AccessError::NoPlace => Failure::Configuration,
            AccessError::Owned(_) => Failure::Unavailable,
        };
        tracing::error!("{error}");
        failure
    })
}

/// Standard output without the buffer of the standard library, which would hold lines back.
fn open_printer() -> io::Result<Printer> {
    let output = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    Printer::start(output)
}

/// Each agent takes a descriptor, and of the usual soft limit of 1,024 nothing here
/// depends (no select(2)).
fn raise_descriptor_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        limit.current = limit.maximum;
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            tracing::debug!("the limit of open files stays as it is: {error}");
        }
    }
}

fn bug(what: &str, error: &dyn Display) -> Failure {
    tracing::error!("cannot {what}: {error}");
    Failure::Bug
}
