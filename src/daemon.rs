//! The daemon put together: settings, log, sockets, bus and the agent's task.
//!
//! The composition root of `metrics-agent`: it knows every room and decides nothing but
//! the order in which they are opened, and the exit status when one can't be.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::timeout;

use crate::agent::events;
use crate::agent::handle::Handle;
use crate::agent::run::{Agent, Start};
use crate::collectors::Root;
use crate::config::{self, BusAddress, KeyPolicy, Sources};
use crate::curve::context::Context;
use crate::dbus::service::{Ended, Service, StartError};
use crate::dbus::{Bus, NAME};
use crate::exit::{EXIT_CONFIG, EXIT_SOFTWARE, EXIT_UNAVAILABLE};
use crate::systemd::log::LogControl;
use crate::systemd::notify::Notifier;
use crate::systemd::pressure::PressureWatch;
use crate::systemd::signals::Signals;

/// tokio's own blocking threads. What blocks has threads elsewhere; whatever a crate may
/// want them for is bounded, and leaves the agent at rest with one thread of its own.
const BLOCKING_THREADS: usize = 2;

/// An idle one ends after this.
const BLOCKING_KEEP_ALIVE: Duration = Duration::from_secs(1);

/// How long to wait before the bus is tried again; doubled up to [`BUS_RETRY_MAX`].
const BUS_RETRY_MIN: Duration = Duration::from_millis(250);
const BUS_RETRY_MAX: Duration = Duration::from_secs(30);

/// How long telling the bus of the end may take.
const LAST_WORDS: Duration = Duration::from_millis(300);

/// Why the daemon did not start or did not go on. Each has been logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure(pub u8);

impl From<Failure> for ExitCode {
    fn from(failure: Failure) -> Self {
        Self::from(failure.0)
    }
}

/// Runs the daemon until a signal ends it.
pub fn run(sources: Sources, log: LogControl) -> Result<(), Failure> {
    let by_hand = sources.command_line.collector.is_some();
    let sources = Arc::new(sources);
    let loaded = config::load(&sources, KeyPolicy::Create).map_err(|error| {
        events::start_refused(&error);
        Failure(EXIT_CONFIG)
    })?;
    // The level is a valid one: it has been parsed.
    let _ = log.set_level(loaded.settings.log_level.as_str());
    events::loaded(&loaded);
    let bug = |what: &'static str| {
        move |error: &dyn std::fmt::Display| {
            tracing::error!("cannot {what}: {error}");
            Failure(EXIT_SOFTWARE)
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .thread_keep_alive(BLOCKING_KEEP_ALIVE)
        .build()
        .map_err(|error| bug("start the event loop")(&error))?;
    let result = runtime.block_on(async {
        let bus = loaded.settings.bus.clone();
        let signals = Signals::catch().map_err(|error| bug("catch signals")(&error))?;
        let context = Context::new().map_err(|error| bug("use libzmq")(&error))?;
        let start = Start {
            sources,
            loaded,
            root: Root::default(),
            context,
            notifier: Notifier::from_environment(Instant::now()),
            log: log.clone(),
            signals,
            pressure: PressureWatch::from_environment().await,
        };
        let (agent, handle) = Agent::new(start).map_err(|error| bug("start the agent")(&error))?;
        if let Some(bus) = serve_on(&bus) {
            let first = Service::start(bus.clone(), handle.clone(), log.clone()).await;
            let service = match first {
                Ok(service) => Some(service),
                // Whoever names the collector on the command line runs us by hand, and need not
                // be a user who may own the name.
                Err(error @ StartError::NotAllowed { .. }) if by_hand => {
                    events::off_the_bus(&error);
                    agent.run().await;
                    return Ok(());
                }
                Err(error @ (StartError::NameTaken | StartError::NotAllowed { .. })) => {
                    tracing::error!("{error}");
                    return Err(Failure(EXIT_UNAVAILABLE));
                }
                Err(error) => {
                    events::bus_unavailable(&error);
                    None
                }
            };
            let serving = tokio::spawn(stay_on(bus, service, handle, log));
            agent.run().await;
            // The bus hears of the end, if it listens.
            let _ = timeout(LAST_WORDS, serving).await;
        } else {
            agent.run().await;
        }
        Ok(())
    });
    // A look-up that hangs must not keep the process.
    runtime.shutdown_background();
    result
}

fn serve_on(address: &BusAddress) -> Option<Bus> {
    match address {
        BusAddress::None => None,
        BusAddress::System => Some(Bus::System),
        BusAddress::Session => Some(Bus::Session),
        BusAddress::Address(address) => Some(Bus::Address(address.clone())),
    }
}

/// Serves for as long as the process lives, on one bus connection after the other.
async fn stay_on(bus: Bus, mut service: Option<Service>, handle: Handle, log: LogControl) {
    let mut wait = BUS_RETRY_MIN;
    loop {
        if let Some(service) = service.take() {
            match service.run().await {
                Ended::BusGone => events::bus_unavailable(&"the bus closed the connection"),
                Ended::NameLost => events::bus_unavailable(&"somebody else took the name"),
                Ended::AgentGone => return,
            }
            wait = BUS_RETRY_MIN;
        }
        tokio::time::sleep(wait).await;
        if handle.is_gone() {
            return;
        }
        match Service::start(bus.clone(), handle.clone(), log.clone()).await {
            Ok(back) => {
                events::bus_available(NAME);
                service = Some(back);
            }
            Err(error) => {
                tracing::debug!("still not on the bus: {error}");
                wait = (wait * 2).min(BUS_RETRY_MAX);
            }
        }
    }
}
