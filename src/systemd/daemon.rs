//! How a daemon begins and ends, the same for both of them.

use std::fmt::Display;
use std::path::PathBuf;
use std::process::ExitCode;

use tokio::runtime::Builder;
use tracing_subscriber::filter::LevelFilter;

use super::log::{LogControl, Lost, Target};
use super::signals::EarlySignals;
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
