//! How a daemon begins and ends, and the signals that it lives by (signal(7)): the same for both.

use std::path::PathBuf;
use std::process::ExitCode;
use std::{fmt::Display, io};

use tokio::{
    runtime::{Builder, Runtime},
    signal::unix::{Signal, SignalKind, signal},
};
use tracing_subscriber::filter::LevelFilter;

use super::log::{LogControl, Lost, Target};
use crate::base::durable::owner;
use crate::base::exit::{EXIT_SOFTWARE, EXIT_UNAVAILABLE, end_at_a_bug};
use crate::base::terminal::complain;

/// Why a daemon did not start or did not go on: the exit status. It has been logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure(pub u8);

impl Failure {
    /// What should always work did not. Logs it.
    pub fn bug(what: &str, error: &dyn Display) -> Self {
        tracing::error!("cannot {what}: {error}");
        Self(EXIT_SOFTWARE)
    }
}

/// A daemon that has not begun.
#[derive(Debug)]
pub struct Daemon {
    /// Its name, in the log and where it complains.
    pub program: &'static str,
    /// Makes its event loop.
    pub builder: Builder,
    /// Logs that lines of the log were lost.
    pub lines_lost: fn(Lost),
}

impl Daemon {
    /// Makes the event loop, switches from root to the owner of the state directory, opens the
    /// log, and runs the rest. `sources` says where the settings come from, and `state` which
    /// of that is the state directory.
    pub fn run<S>(
        mut self,
        sources: impl FnOnce() -> S,
        state: impl FnOnce(&S) -> Option<PathBuf>,
        rest: impl FnOnce(EarlySignals, S, LogControl) -> Result<(), Failure>,
    ) -> ExitCode {
        let program = self.program;
        // Before all that takes time: a SIGHUP must not end the process.
        let early_signals = match EarlySignals::begin(&mut self.builder) {
            Ok(early_signals) => early_signals,
            Err(error) => {
                complain(
                    program,
                    &format_args!("cannot start the event loop: {error}"),
                );
                return EXIT_SOFTWARE.into();
            }
        };
        let sources = sources();
        let state = state(&sources);
        // Before there is a second thread, and before anything is touched there.
        let settled = match state.as_deref().map(owner::settle).transpose() {
            Ok(settled) => settled.flatten(),
            Err(error) => {
                complain(
                    program,
                    &format_args!("cannot give up root's rights: {error}"),
                );
                return EXIT_UNAVAILABLE.into();
            }
        };
        let target = Target::detect();
        let log = match LogControl::install(program, LevelFilter::INFO, target, self.lines_lost) {
            Ok(log) => log,
            Err(error) => {
                complain(program, &error);
                return EXIT_SOFTWARE.into();
            }
        };
        let last_lines = log.clone();
        end_at_a_bug(move || last_lines.finish());
        if let (Some(owner), Some(directory)) = (settled, &state) {
            owner::say_settled(owner, directory);
        }
        let ended = rest(early_signals, sources, log.clone());
        log.finish();
        match ended {
            Ok(()) => ExitCode::SUCCESS,
            Err(Failure(status)) => status.into(),
        }
    }
}

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// SIGTERM or SIGINT, by name: end.
    Stop(&'static str),
    /// SIGHUP: read the configuration again.
    Reload,
}

/// An event loop that has not begun, and a process that SIGHUP does not end any more.
///
/// The first thing that a daemon makes: a reload may be asked for before it is ready, and
/// SIGHUP by itself ends a process. One that comes meanwhile is a reload once the loop runs.
/// SIGTERM and SIGINT end it as they always do until [`Signals::catch`].
#[derive(Debug)]
pub struct EarlySignals {
    /// To run the daemon on.
    pub runtime: Runtime,
    /// To be caught with the others.
    pub hang_up: HangUp,
}

/// SIGHUP, caught.
#[derive(Debug)]
pub struct HangUp(Signal);

impl EarlySignals {
    /// Builds the event loop, and catches SIGHUP. Fails only where the kernel is out of file
    /// descriptors.
    pub fn begin(builder: &mut Builder) -> io::Result<Self> {
        let runtime = builder.enable_all().build()?;
        let hang_up = {
            let _within = runtime.enter();
            HangUp(signal(SignalKind::hangup())?)
        };
        Ok(Self { runtime, hang_up })
    }
}

/// The signals caught from now on.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: HangUp,
}

impl Signals {
    /// Catches them. Fails only where the kernel is out of file descriptors.
    pub fn catch(hang_up: HangUp) -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up,
        })
    }

    /// The next one; without `reloads` only one that says stop. However many SIGHUPs come
    /// meanwhile, they are one reload afterwards. Cancel safe.
    pub async fn next(&mut self, reloads: bool) -> Request {
        tokio::select! {
            biased;
            _ = self.terminate.recv() => Request::Stop("SIGTERM"),
            _ = self.interrupt.recv() => Request::Stop("SIGINT"),
            _ = self.hang_up.0.recv(), if reloads => Request::Reload,
        }
    }
}
