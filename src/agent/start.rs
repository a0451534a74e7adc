//! The daemon put together: settings, log, sockets, bus and the agent's task.
//!
//! The composition root of `metrics-agent`: it knows every room and decides nothing but
//! the order in which they are opened, and the exit status when one can't be.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Builder;

use crate::agent::bus::service::{Ended, Service, StartError};
use crate::agent::events;
use crate::agent::handle::Handle;
use crate::agent::run::{Agent, Start};
use crate::agent::settings;
use crate::agent::settings::{Inputs, KeyPolicy};
use crate::base::exit::EXIT_CONFIG;
use crate::dbus::presence::{Presence, enter};
use crate::dbus::{Bus, NAME};
use crate::sources::Root;
use crate::systemd::daemon::{Daemon, Failure};
use crate::systemd::daemon::{EarlySignals, Signals};
use crate::systemd::log::LogControl;
use crate::systemd::notify::Notifier;
use crate::systemd::pressure::PressureWatch;

/// tokio's own blocking threads. Our blocking work has threads elsewhere; this bounds what crates
/// use, and an idle agent keeps only its own thread.
const BLOCKING_THREADS: usize = 2;

/// An idle one ends after this.
const BLOCKING_KEEP_ALIVE: Duration = Duration::from_secs(1);

/// The daemon, before it begins.
#[must_use]
pub fn daemon() -> Daemon {
    let mut builder = Builder::new_current_thread();
    builder
        .max_blocking_threads(BLOCKING_THREADS)
        .thread_keep_alive(BLOCKING_KEEP_ALIVE);
    Daemon {
        program: "metrics-agent",
        builder,
        lines_lost: events::log_lines_lost,
    }
}

/// Runs the daemon until a signal ends it.
pub fn run(early_signals: EarlySignals, inputs: Inputs, log: LogControl) -> Result<(), Failure> {
    let EarlySignals { runtime, hang_up } = early_signals;
    let by_hand = inputs.command_line.collector.is_some();
    let inputs = Arc::new(inputs);
    let loaded = settings::load(&inputs, KeyPolicy::Create).map_err(|error| {
        events::start_refused(&error);
        Failure(EXIT_CONFIG)
    })?;
    // The level is a valid one: it has been parsed.
    let _ = log.set_level(loaded.settings.log_level.as_str());
    events::loaded(&loaded);
    let result = runtime.block_on(async {
        let bus = loaded.settings.bus.clone();
        let signals =
            Signals::catch(hang_up).map_err(|error| Failure::bug("catch signals", &error))?;
        let start = Start {
            inputs,
            loaded,
            root: Root::default(),
            notifier: Notifier::from_environment(Instant::now()),
            log: log.clone(),
            signals,
            pressure: PressureWatch::from_environment().await,
        };
        let (agent, handle) =
            Agent::new(start).map_err(|error| Failure::bug("start the agent", &error))?;
        let presence = Bus::of(&bus).map(|bus| OnTheBus { bus, handle, log });
        // A collector on the command line means a run by hand, by a user who possibly may not
        // own the name.
        let serving = enter(presence, by_hand).await?;
        agent.run().await;
        serving.end().await;
        Ok(())
    });
    // A look-up that hangs must not keep the process.
    runtime.shutdown_background();
    result
}

/// The agent on the bus.
struct OnTheBus {
    bus: Bus,
    handle: Handle,
    log: LogControl,
}

impl Presence for OnTheBus {
    type Service = Service;

    async fn start(&self) -> Result<Service, StartError> {
        Service::start(self.bus.clone(), self.handle.clone(), self.log.clone()).await
    }

    async fn run(service: Service) -> Ended {
        service.run().await
    }

    fn is_gone(&self) -> bool {
        self.handle.is_gone()
    }

    fn lost(&self, why: &dyn std::fmt::Display) {
        events::bus_unavailable(why);
    }

    fn back(&self) {
        events::bus_available(NAME);
    }
}
