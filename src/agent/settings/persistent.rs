//! What was set over D-Bus to outlast a restart: `settings.toml` in the state
//! directory, the last layer. Written whole or not at all: a crash or a power
//! cut leaves the old file or the new one.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use thiserror::Error;

use crate::agent::settings::fragment::PERSISTENT;
use crate::agent::settings::{
    metrics_interval, stale_interval,
    values::{MetricsInterval, StaleInterval},
};
use crate::base::durable::{self, FileError};
use crate::config::files;
use crate::config::layers::Layer;
use crate::config::{OutOfRange, format_time};
use crate::config::{
    Reason,
    error::{ConfigError, Place, Problem, Problems},
};

/// The persistent settings; what is `None` is left to the other layers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Persistent {
    /// The metrics interval, in [`METRICS_INTERVAL`](super::METRICS_INTERVAL).
    pub metrics: Option<Duration>,
    /// The stale interval, in [`STALE_INTERVAL`](super::STALE_INTERVAL).
    pub stale: Option<Duration>,
}

/// Why persistent settings were not read or kept.
#[derive(Debug, Error)]
pub enum PersistentError {
    /// The file cannot be read, or holds what it must not.
    #[error(transparent)]
    Invalid(#[from] ConfigError),
    /// An interval to be kept is out of range.
    #[error("{key}: {source}")]
    OutOfRange {
        /// Which one.
        key: &'static str,
        /// The time and the range.
        source: OutOfRange,
    },
    /// The file cannot be written or removed.
    #[error(transparent)]
    Io(#[from] FileError),
}

/// The file of a state directory.
#[must_use]
pub fn path(state_directory: &Path) -> PathBuf {
    state_directory.join(files::KEPT)
}

/// The stored settings; empty if there is no file.
pub fn read(state_directory: &Path) -> Result<Persistent, PersistentError> {
    let Some(layer) = layer(state_directory)? else {
        return Ok(Persistent::default());
    };
    let FileFragment {
        intervals: Fragment { metrics, stale },
    } = layer.extract()?;
    Ok(Persistent {
        metrics: metrics.map(|MetricsInterval(time)| time),
        stale: stale.map(|StaleInterval(time)| time),
    })
}

/// Replaces the stored settings by these; if none is set, the same as [`clear`]. When this returns
/// they are on the disk.
pub fn write(state_directory: &Path, settings: &Persistent) -> Result<(), PersistentError> {
    let line = |name: &str, time: Option<Duration>| match time {
        Some(time) => format!("{name} = \"{}\"\n", format_time(time)),
        None => String::new(),
    };
    if *settings == Persistent::default() {
        return clear(state_directory);
    }
    let (metrics, stale) = (settings.metrics, settings.stale);
    metrics
        .map_or(Ok(Duration::ZERO), metrics_interval)
        .map_err(out_of_range(METRICS))?;
    stale
        .map_or(Ok(Duration::ZERO), stale_interval)
        .map_err(out_of_range(STALE))?;
    let text = format!(
        "# Set over D-Bus and kept over restarts; `metrics-agentctl revert` removes it.\n\
         [intervals]\n{}{}",
        line("metrics", metrics),
        line("stale", stale),
    );
    durable::replace(&path(state_directory), |file| {
        file.write_all(text.as_bytes())
    })?;
    Ok(())
}

/// Changes what is kept and returns it. A file that is no good counts as
/// empty: it is overwritten.
pub fn update(
    state_directory: &Path,
    change: impl FnOnce(&mut Persistent),
) -> Result<Persistent, PersistentError> {
    let mut settings = match read(state_directory) {
        Err(PersistentError::Invalid(_)) => Persistent::default(),
        settings => settings?,
    };
    change(&mut settings);
    write(state_directory, &settings)?;
    Ok(settings)
}

/// Drops everything that is kept.
pub fn clear(state_directory: &Path) -> Result<(), PersistentError> {
    durable::inside(state_directory, |directory| directory.remove(files::KEPT))?;
    Ok(())
}

/// The last layer, if there is one.
pub(super) fn layer(state_directory: &Path) -> Result<Option<Layer>, ConfigError> {
    let unusable = |reason| Problem {
        place: place(state_directory),
        key: None,
        reason,
    };
    // Runs with the rights of the directory's owner, so that its links and pipes cannot misuse
    // root's.
    let read = durable::inside(state_directory, |directory| {
        let file = directory.read(files::KEPT)?;
        Ok::<_, FileError>(file.map(files::text))
    });
    match read {
        Ok(None | Some(None)) => Ok(None),
        // As before a start that makes it.
        Err(error) if error.source.kind() == io::ErrorKind::NotADirectory => Ok(None),
        Err(error) => Err(unusable(Reason::Unreadable(error.source)).into()),
        Ok(Some(Some(text))) => {
            let text = text.map_err(unusable)?;
            layer_of(state_directory, &text).map(Some)
        }
    }
}

/// The layer with this text.
pub(super) fn layer_of(state_directory: &Path, text: &str) -> Result<Layer, ConfigError> {
    let mut problems = Problems::default();
    let (layer, found) = Layer::parse(&PERSISTENT, place(state_directory), text);
    problems.extend(found);
    problems.none_or(layer)
}

fn place(state_directory: &Path) -> Place {
    Place::Persistent {
        path: path(state_directory),
        line: None,
    }
}

const METRICS: &str = "intervals.metrics";
const STALE: &str = "intervals.stale";

#[derive(Debug, Deserialize)]
struct FileFragment {
    #[serde(default)]
    intervals: Fragment,
}

#[derive(Debug, Default, Deserialize)]
struct Fragment {
    metrics: Option<MetricsInterval>,
    stale: Option<StaleInterval>,
}

fn out_of_range(key: &'static str) -> impl FnOnce(OutOfRange) -> PersistentError {
    move |source| PersistentError::OutOfRange { key, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    const fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn what_is_written_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        assert_eq!(read(&state).unwrap(), Persistent::default());
        let settings = Persistent {
            metrics: Some(Duration::from_millis(1500)),
            stale: None,
        };
        write(&state, &settings).unwrap();
        assert_eq!(read(&state).unwrap(), settings);
        let names: Vec<_> = fs::read_dir(&state)
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        assert_eq!(names, [files::KEPT], "no draft stays");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&state), mode(&path(&state))), (0o700, 0o600));

        let both = update(&state, |settings| settings.stale = Some(secs(60))).unwrap();
        assert_eq!(
            both,
            Persistent {
                metrics: settings.metrics,
                stale: Some(secs(60))
            }
        );
        assert_eq!(read(&state).unwrap(), both);
        clear(&state).unwrap();
        assert_eq!(read(&state).unwrap(), Persistent::default());
        clear(&state).unwrap();
        assert!(!path(&state).exists());
        write(&state, &both).unwrap();
        write(&state, &Persistent::default()).unwrap();
        assert!(!path(&state).exists());
    }

    #[test]
    fn what_is_out_of_range_is_not_written() {
        let dir = tempfile::tempdir().unwrap();
        let error = write(
            dir.path(),
            &Persistent {
                metrics: Some(secs(3601)),
                stale: None,
            },
        )
        .unwrap_err();
        assert_eq!(
            error.to_string(),
            "intervals.metrics: 1h 1s is not between 100ms and 1h"
        );
        let error = write(
            dir.path(),
            &Persistent {
                metrics: Some(secs(1)),
                stale: Some(secs(0)),
            },
        )
        .unwrap_err();
        assert_eq!(
            error.to_string(),
            "intervals.stale: 0s is not between 1s and 1h"
        );
        assert!(!path(dir.path()).exists());
    }

    #[test]
    fn a_file_that_is_no_good_is_an_error_and_is_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let file = path(dir.path());
        let cases = [
            (
                "intervals.metrics = '1d'",
                ":1: intervals.metrics: '1d' is not a time from 100ms to 1h, such as \"5s\"",
            ),
            (
                "\nlog.level = 'debug'",
                ":2: log: unknown key; known here: intervals",
            ),
            (
                "intervals = 3",
                ":1: intervals: 3 is not a table [intervals]",
            ),
            ("\0", ":1: "),
        ];
        for (text, message) in cases {
            fs::write(&file, text).unwrap();
            let error = read(dir.path()).unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("{}{message}", file.display())),
                "{error}"
            );
        }
        let kept = update(dir.path(), |settings| settings.stale = Some(secs(9))).unwrap();
        assert_eq!(
            kept,
            Persistent {
                metrics: None,
                stale: Some(secs(9))
            }
        );
        assert_eq!(read(dir.path()).unwrap(), kept);
    }

    #[test]
    fn a_place_that_cannot_be_written_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        let settings = Persistent {
            metrics: Some(secs(1)),
            stale: None,
        };
        let error = write(&file, &settings).unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("{}: cannot open the directory: ", file.display())),
            "{error}"
        );

        fs::create_dir(path(dir.path())).unwrap();
        let error = write(dir.path(), &settings).unwrap_err().to_string();
        assert!(
            error.contains("settings.toml: cannot replace it"),
            "{error}"
        );
        assert_eq!(
            fs::read_dir(dir.path()).unwrap().count(),
            2,
            "no draft stays"
        );
        assert!(clear(dir.path()).is_err());
    }
}
