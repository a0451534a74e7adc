//! The collector put together: keys, sockets, signals and the loop.
//!
//! The composition root of `metrics-collector`: it decides only the order in which things are
//! opened, and the exit status if one can't be.

use std::fmt::Display;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::time::{Instant, SystemTime};

use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::runtime::Builder;

use super::access;
use super::access::control::{Access, AccessError};
use super::descriptors::Shares;
use super::events;
use super::handle::Handle;
use super::hosts::Restored;
use super::keys::{Found, Places};
use super::printer::Printer;
use super::publish::{self, Publisher};
use super::push::Pushes;
use super::run::{Collector, Endpoints, Process, Start};
use super::settings::{self, Inputs};
use super::store::{self, Writer};
use super::viewers::Viewers;
use super::web::{self, Web};
use crate::base::exit::{EXIT_CONFIG, EXIT_UNAVAILABLE};
use crate::collector::bus::service::CollectorService;
use crate::curve::TransportError;
use crate::curve::keys::KeyPair;
use crate::curve::router::{Listen, Router, RouterOptions};
use crate::dbus::name::{Ended, StartError};
use crate::dbus::presence::{Presence, enter};
use crate::dbus::{Bus, COLLECTOR_NAME};
use crate::systemd::daemon::{Daemon, Failure};
use crate::systemd::daemon::{EarlySignals, Signals};
use crate::systemd::log::LogControl;
use crate::systemd::notify::Notifier;
use crate::systemd::pressure::PressureWatch;

/// The daemon, before it begins.
#[must_use]
pub fn daemon() -> Daemon {
    Daemon {
        program: "metrics-collector",
        builder: Builder::new_current_thread(),
        lines_lost: events::log_lines_lost,
    }
}

/// Runs the collector until a signal ends it; with `print` it writes each message to
/// standard output.
///
/// # Errors
///
/// [`Failure`], logged.
pub fn run(
    early_signals: EarlySignals,
    inputs: Inputs,
    print: bool,
    log: &LogControl,
) -> Result<(), Failure> {
    let EarlySignals { runtime, hang_up } = early_signals;
    let refused = |error: &dyn Display| {
        events::start_refused(error);
        Failure(EXIT_CONFIG)
    };
    let mut loaded = settings::load(&inputs).map_err(|error| refused(&error))?;
    // The level is a valid one: it has been parsed.
    let _ = log.set_level(loaded.settings.log_level.as_str());
    events::loaded(&loaded);
    let (keys, unseen) = loaded.keys.or_make().map_err(|error| refused(&error))?;
    let (pair, public_key) = (keys.pair.clone(), keys.pair.public);
    if !keys.found {
        events::key_generated(&keys.path, &public_key.to_string());
        events::keys_unseen(&unseen);
    }
    loaded.keys = Found::Keys(keys);
    let settings = loaded.settings.clone();
    let by_hand = inputs.by_hand;
    raise_descriptor_limit();
    let shares = Shares::of(getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX));
    runtime.block_on(async {
        let signals =
            Signals::catch(hang_up).map_err(|error| Failure::bug("catch signals", &error))?;
        let router = listen(settings.listen.agents, &pair, shares.agents)?;
        let port = router.address().port();
        let endpoint = settings.listen.agents.at_port(port).to_string();
        let viewers = listen_for_viewers(settings.listen.viewers, &pair, shares.viewers)?;
        let viewers_endpoint = viewers.endpoint().unwrap_or_default().to_owned();
        let web = settings.listen.web.map(listen_web).transpose()?;
        let web_endpoint = web.as_ref().map(|web| web.listening().to_string());
        let endpoints = Endpoints {
            agents: endpoint,
            viewers: viewers_endpoint,
            web: web_endpoint.unwrap_or_default(),
        };
        let publisher = publish(settings.publish.as_ref()).await?;
        let printer = if print {
            let printer = open_printer();
            Some(printer.map_err(|error| Failure::bug("print to standard output", &error))?)
        } else {
            None
        };
        let access = start_access(settings.access, &inputs.places).await?;
        let now = Instant::now();
        let (writer, restored) = open_store(now);
        let start = Start {
            router,
            access,
            endpoints,
            public_key,
            viewers,
            shares,
            inputs,
            loaded,
            printer,
            pushes: Pushes::new(&settings.remote_write),
            publisher,
            restored,
            writer,
            process: Process {
                log: log.clone(),
                notifier: Notifier::from_environment(now),
                signals,
                pressure: PressureWatch::from_environment().await,
            },
        };
        let collector = Collector::new(start, now);
        if let Some(web) = web {
            tokio::spawn(web.serve(collector.handle(), shares.web));
        }
        let handle = collector.handle();
        let log = log.clone();
        let presence = Bus::of(&settings.bus).map(|bus| OnTheBus { bus, handle, log });
        let serving = enter(presence, by_hand).await?;
        let ended = collector.run().await;
        serving.end().await;
        ended.map_err(|error| Failure::bug("go on", &error))
    })
}

/// The collector on the bus.
struct OnTheBus {
    bus: Bus,
    handle: Handle,
    log: LogControl,
}

impl Presence for OnTheBus {
    type Service = CollectorService;

    async fn start(&self) -> Result<CollectorService, StartError> {
        CollectorService::start(self.bus.clone(), self.handle.clone(), self.log.clone()).await
    }

    async fn run(service: CollectorService) -> Ended {
        service.run().await
    }

    fn is_gone(&self) -> bool {
        self.handle.is_gone()
    }

    fn lost(&self, why: &dyn Display) {
        events::bus_unavailable(why);
    }

    fn back(&self) {
        events::bus_available(COLLECTOR_NAME);
    }
}

/// Peers that connect meanwhile wait for the answer.
async fn start_access(settings: settings::Access, places: &Places) -> Result<Access, Failure> {
    let settings::Access {
        authorized,
        pin_names,
    } = settings;
    let settings = access::Settings {
        authorized,
        pin_names,
        ..access::Settings::default()
    };
    let access = Access::start(&settings, places.state.clone()).await;
    access.map_err(|error| {
        let failure = match error {
            AccessError::Thread(_) => return Failure::bug("decide who may report", &error),
            AccessError::State(_) | AccessError::NoPlace => Failure(EXIT_CONFIG),
            AccessError::Owned(_) => Failure(EXIT_UNAVAILABLE),
        };
        tracing::error!("{error}");
        failure
    })
}

fn listen(listen: Listen, keys: &KeyPair, connections: usize) -> Result<Router, Failure> {
    let options = RouterOptions {
        listen,
        keys,
        connections,
    };
    Router::bind(options).map_err(|error| not_listening(&error, "--listen takes another address"))
}

/// Says why there is no listening, and what may be done; `other` is what else may be said.
fn not_listening(error: &TransportError, other: &str) -> Failure {
    let TransportError::Bind { source, .. } = error else {
        return Failure::bug("listen", error);
    };
    let way_out = web::way_out(source);
    tracing::error!("{error}; {way_out}, and {other}");
    Failure(EXIT_UNAVAILABLE)
}

/// The writer of the directory that the service manager gives, and what it remembers.
/// Without one nothing is kept.
fn open_store(now: Instant) -> (Option<Writer>, Vec<Restored>) {
    let Some(directory) = store::directory(std::env::var_os("STATE_DIRECTORY")) else {
        return (None, Vec::new());
    };
    let restored = store::restore(&directory);
    if let Some(trouble) = &restored.trouble {
        events::state_damaged(trouble);
    }
    let wall = SystemTime::now();
    let hosts = restored.found.hosts.into_iter();
    let hosts: Vec<_> = hosts.map(|host| host.restored(wall)).collect();
    if !hosts.is_empty() {
        events::hosts_restored(hosts.len());
    }
    match Writer::start(directory, now) {
        Ok(writer) => (Some(writer), hosts),
        Err(error) => {
            events::state_not_kept(&error);
            (None, hosts)
        }
    }
}

/// Viewers come over another port, if at all.
fn listen_for_viewers(
    listen: Option<Listen>,
    keys: &KeyPair,
    connections: usize,
) -> Result<Viewers, Failure> {
    let Some(listen) = listen else {
        return Ok(Viewers::off());
    };
    Viewers::bind(listen, keys, connections).map_err(|error| {
        let other = "--viewers-listen (listen.viewers) takes another address, or none";
        not_listening(&error, other)
    })
}

fn listen_web(listen: Listen) -> Result<Web, Failure> {
    let web = Web::bind(listen).map_err(|error| {
        let way_out = error.way_out();
        tracing::error!(
            "{error}; {way_out}, and --web-listen (listen.web) takes another address, or none"
        );
        Failure(EXIT_UNAVAILABLE)
    })?;
    events::web_ready(web.listening());
    Ok(web)
}

async fn publish(settings: Option<&settings::Publish>) -> Result<Publisher, Failure> {
    let Some(settings::Publish { endpoint, mode }) = settings else {
        return Ok(Publisher::off());
    };
    match Publisher::start(endpoint, *mode).await {
        Ok((publisher, endpoint)) => {
            events::publish_ready(&endpoint);
            Ok(publisher)
        }
        Err(publish::StartError::Bind(error)) => {
            let way_out = error.way_out();
            tracing::error!(
                "{error}; {way_out}, and publish.endpoint takes another place, or \"none\""
            );
            Err(Failure(EXIT_UNAVAILABLE))
        }
        Err(error) => Err(Failure::bug("publish", &error)),
    }
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
