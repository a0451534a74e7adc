//! Logging: where it goes and how much of it, changeable at run time.
//!
//! To journald's native protocol when systemd connected standard error to the
//! journal (`JOURNAL_STREAM`, systemd.exec(5)), else to standard error. The level
//! and the target are in systemd's own terms, as org.freedesktop.LogControl1(5) has
//! them. Anything but these two places (syslog, kmsg, files) is refused: the journal
//! forwards.
//!
//! Logging never blocks, even if the journal or the reader of standard error hangs: see
//! [`queue`]. Lines without room are counted, and their number is logged once there is room
//! again.

use std::io::{self, IsTerminal as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format;
use tracing_subscriber::layer::{Layered, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer, Registry, fmt, reload};

mod places;
mod queue;

use places::Records;
use queue::LineQueue;
pub use queue::Lost;

use crate::base::monitor::Lock;
use crate::base::text;

/// How long the last lines may take at the end. journald takes them in microseconds; one that is
/// stuck does not keep the process.
const FAREWELL: Duration = Duration::from_secs(1);

// The level is a layer of its own below: a layer that carries its own filter cannot be
// exchanged at run time (tracing-subscriber registers filters once).
type Leveled = Layered<reload::Layer<LevelFilter, Registry>, Registry>;
type Output = Box<dyn Layer<Leveled> + Send + Sync>;

/// Where the log goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// journald's native protocol, with structured fields.
    Journal,
    /// Standard error, for a terminal or a supervisor's pipe.
    Console,
}

impl Target {
    /// systemd's name for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Journal => "journal",
            Self::Console => "console",
        }
    }

    /// Where a program that was started like this one should log.
    #[must_use]
    pub fn detect() -> Self {
        if libsystemd::logging::connected_to_journal() {
            Self::Journal
        } else {
            Self::Console
        }
    }
}

/// Why the log stays as it is.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Not a level of the settings, nor of syslog(3).
    #[error(
        "{0:?} is not a log level; expected error, warning, info, debug or trace, \
         or emerg, alert, crit, err, warn or notice"
    )]
    UnknownLevel(String),
    /// Not a target that this program has.
    #[error("{0:?} is not a log target; expected journal, console or auto")]
    UnknownTarget(String),
    /// The journal's socket is not there.
    #[error("cannot log to the journal: {0}; is systemd-journald running?")]
    Journal(#[source] io::Error),
    /// No descriptor for it.
    #[error("cannot log to standard error: {0}")]
    Console(#[source] io::Error),
    /// A logger is there already.
    #[error("logging was set up twice")]
    SetUpTwice,
}

/// The level of syslog(3) that `name` stands for, as the filter that serves it.
///
/// tracing knows five levels and syslog eight: those above `err` are all errors,
/// `notice` and `info` are one.
pub fn parse_level(name: &str) -> Result<LevelFilter, LogError> {
    match name {
        "emerg" | "alert" | "crit" | "err" | "error" => Ok(LevelFilter::ERROR),
        "warning" | "warn" => Ok(LevelFilter::WARN),
        "notice" | "info" => Ok(LevelFilter::INFO),
        "debug" => Ok(LevelFilter::DEBUG),
        "trace" => Ok(LevelFilter::TRACE),
        _ => Err(LogError::UnknownLevel(name.to_owned())),
    }
}

/// systemd's name of a level, as `LogControl1` shows it.
#[must_use]
pub fn level_name(level: LevelFilter) -> &'static str {
    match level {
        LevelFilter::OFF => "emerg",
        LevelFilter::ERROR => "err",
        LevelFilter::WARN => "warning",
        LevelFilter::INFO => "info",
        // syslog ends at debug; trace is ours.
        _ => "debug",
    }
}

/// The settings' name of a level, which has trace, too.
fn setting_name(level: LevelFilter) -> &'static str {
    match level {
        LevelFilter::OFF | LevelFilter::ERROR => "error",
        LevelFilter::WARN => "warning",
        LevelFilter::INFO => "info",
        LevelFilter::DEBUG => "debug",
        _ => "trace",
    }
}

/// The switches of the running program's log.
#[derive(Clone)]
pub struct LogControl {
    level: reload::Handle<LevelFilter, Registry>,
    output: reload::Handle<Output, Leveled>,
    now: Arc<Lock<Now>>,
    /// Lines that found no room.
    lost: Arc<AtomicU64>,
    tell_lost: fn(Lost),
    identifier: &'static str,
}

/// What is in force, and the places that were logged to so far.
struct Now {
    level: LevelFilter,
    target: Target,
    journal: Option<LineQueue>,
    console: Option<LineQueue>,
}

impl std::fmt::Debug for LogControl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogControl")
            .field("identifier", &self.identifier)
            .finish_non_exhaustive()
    }
}

impl LogControl {
    /// Sets up logging for the whole process, once, under this syslog identifier. `tell_lost`
    /// logs that lines were lost.
    ///
    /// A journal that cannot be reached is no reason not to start: the log then goes to
    /// standard error and says so.
    pub fn install(
        identifier: &'static str,
        level: LevelFilter,
        target: Target,
        tell_lost: fn(Lost),
    ) -> Result<Self, LogError> {
        let lost = Arc::default();
        let mut now = Now {
            level,
            target,
            journal: None,
            console: None,
        };
        let (first, unreachable) = match now.open(identifier, target, &lost, tell_lost) {
            Ok(output) => (output, None),
            Err(error) => {
                now.target = Target::Console;
                let console = now.open(identifier, Target::Console, &lost, tell_lost)?;
                (console, Some(error))
            }
        };
        let (level_layer, level_handle) = reload::Layer::new(level);
        let (output_layer, output_handle) = reload::Layer::new(first);
        tracing_subscriber::registry()
            .with(level_layer)
            .with(output_layer)
            .try_init()
            .map_err(|_| LogError::SetUpTwice)?;
        if let Some(error) = unreachable {
            tracing::warn!("logging to standard error instead: {error}");
        }
        Ok(Self {
            level: level_handle,
            output: output_handle,
            now: Arc::new(Lock::new(now)),
            lost,
            tell_lost,
            identifier,
        })
    }

    /// The level in force, in systemd's terms.
    #[must_use]
    pub fn level(&self) -> &'static str {
        level_name(self.now.lock().level)
    }

    /// The level in force, in the settings' terms.
    #[must_use]
    pub fn setting(&self) -> &'static str {
        setting_name(self.now.lock().level)
    }

    /// Sets the level at once, by its name in the settings or in syslog(3).
    pub fn set_level(&self, name: &str) -> Result<(), LogError> {
        let level = parse_level(name)?;
        let mut now = self.now.lock();
        // The subscriber lives as long as the process, so the handle can't be orphaned.
        if self.level.reload(level).is_ok() {
            now.level = level;
        }
        Ok(())
    }

    /// Where the log goes, in systemd's terms.
    #[must_use]
    pub fn target(&self) -> &'static str {
        self.now.lock().target.as_str()
    }

    /// Sends the log elsewhere at once: `journal`, `console`, or `auto`. Lines that wait for
    /// the place before go there still.
    pub fn set_target(&self, name: &str) -> Result<(), LogError> {
        let target = match name {
            "journal" => Target::Journal,
            "console" => Target::Console,
            "auto" => Target::detect(),
            _ => return Err(LogError::UnknownTarget(name.to_owned())),
        };
        let mut now = self.now.lock();
        let output = now.open(self.identifier, target, &self.lost, self.tell_lost)?;
        if self.output.reload(output).is_ok() {
            now.target = target;
        }
        Ok(())
    }

    /// The name under which the journal files our lines.
    #[must_use]
    pub fn identifier(&self) -> &'static str {
        self.identifier
    }

    /// How many lines found no room since the start.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.load(Relaxed)
    }

    /// Waits for the last lines to be written: a second at most, where the place takes none.
    pub fn finish(&self) {
        let outlets = {
            let now = self.now.lock();
            [now.journal.clone(), now.console.clone()]
        };
        for queue in outlets.iter().flatten() {
            queue.flush(FAREWELL);
        }
    }
}

impl Now {
    /// What logs to the target. A place that was logged to before is the same one again, so that
    /// its lines stay in order.
    fn open(
        &mut self,
        identifier: &'static str,
        target: Target,
        lost: &Arc<AtomicU64>,
        tell_lost: fn(Lost),
    ) -> Result<Output, LogError> {
        let new = |sink| LineQueue::new(sink, Arc::clone(lost), tell_lost);
        match target {
            Target::Journal => {
                places::find_journal().map_err(LogError::Journal)?;
                let queue = self
                    .journal
                    .get_or_insert_with(|| new(places::journal(identifier)));
                Ok(Records(queue.clone()).boxed())
            }
            Target::Console => {
                let queue = match &self.console {
                    Some(queue) => queue.clone(),
                    None => new(places::console().map_err(LogError::Console)?),
                };
                self.console = Some(queue.clone());
                Ok(lines(queue))
            }
        }
    }
}

/// Lines of text.
fn lines(queue: LineQueue) -> Output {
    let terminal = io::stderr().is_terminal();
    let layer = fmt::layer()
        .with_writer(queue)
        .with_ansi(terminal)
        .with_target(false)
        // The text says it all; the fields are for the journal.
        .fmt_fields(format::debug_fn(|writer, field, value| {
            if field.name() == "message" {
                write!(writer, "{}", text::of(&format_args!("{value:?}")))
            } else {
                Ok(())
            }
        }));
    // A supervisor that reads our pipe stamps the lines itself.
    if terminal {
        layer.boxed()
    } else {
        layer.without_time().boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_those_of_syslog() {
        for (name, shown) in [
            ("emerg", "err"),
            ("err", "err"),
            ("warning", "warning"),
            ("notice", "info"),
            ("info", "info"),
            ("debug", "debug"),
        ] {
            assert_eq!(
                parse_level(name).map(level_name).ok(),
                Some(shown),
                "{name}"
            );
        }
        // What the settings call it is what they take.
        for name in ["error", "warning", "info", "debug", "trace"] {
            assert_eq!(parse_level(name).map(setting_name).ok(), Some(name));
        }
        assert!(parse_level("loud").is_err());
        assert!(parse_level("").is_err());
    }
}
