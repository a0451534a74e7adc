//! The settings in force, with what was set over D-Bus since the start on top of them, and where
//! the intervals come from: the settings, or an order that was kept or not.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::events;
use super::handle::IntervalChange;
use super::state::{Intervals, Origin, Origins};
use crate::agent::settings::persistent::Persistent;
use crate::agent::settings::{Loaded, Settings};
use crate::config::Place;
use crate::systemd::log::LogControl;

/// The settings in force.
pub(super) struct InForce {
    pub(super) settings: Settings,
    pub(super) files: Vec<PathBuf>,
    /// Where an administrator adds a collector.
    pub(super) collector_file: PathBuf,
    /// A source was enabled or disabled over D-Bus since the start.
    pub(super) sources_touched: bool,
    /// Set over D-Bus since the start; overrides the settings.
    at_run_time: IntervalChange,
    written: WrittenIntervals,
    log: LogControl,
}

impl InForce {
    pub(super) fn new(loaded: Loaded, log: LogControl) -> Self {
        Self {
            written: WrittenIntervals::of(&loaded),
            collector_file: loaded.collector_file(),
            settings: loaded.settings,
            files: loaded.files,
            sources_touched: false,
            at_run_time: IntervalChange::default(),
            log,
        }
    }

    /// The intervals in force.
    pub(super) fn intervals(&self) -> Intervals {
        let (set, settings) = (self.at_run_time, &self.settings.intervals);
        Intervals {
            metrics: set.metrics.unwrap_or(settings.metrics),
            stale: set.stale.unwrap_or(settings.stale),
        }
    }

    /// Where they come from.
    pub(super) fn origins(&self) -> Origins {
        self.written.origins(self.at_run_time)
    }

    /// Sets intervals at run time.
    pub(super) fn set_intervals(&mut self, change: IntervalChange) {
        self.at_run_time.metrics = change.metrics.or(self.at_run_time.metrics);
        self.at_run_time.stale = change.stale.or(self.at_run_time.stale);
    }

    /// Intervals that were set were kept in this file.
    pub(super) fn kept(&mut self, order: Persistent, file: &Path) {
        self.written.keep(order, file);
    }

    /// Drops what was set at run time.
    pub(super) fn revert(&mut self) {
        self.at_run_time = IntervalChange::default();
        self.sources_touched = false;
    }

    /// Takes other settings, whole. What was set at run time stays on top of them. Returns the
    /// settings before.
    pub(super) fn replace(&mut self, loaded: Loaded) -> Settings {
        self.written = WrittenIntervals::of(&loaded);
        let old = std::mem::replace(&mut self.settings, loaded.settings);
        self.files = loaded.files;
        if self.settings.log_level != old.log_level {
            let level = self.settings.log_level.as_str();
            if let Err(error) = self.log.set_level(level) {
                events::configuration_ignored(&error);
            }
        }
        old
    }
}

/// What is written down about each interval, in the settings and by orders that were kept.
#[derive(Debug, Clone)]
struct WrittenIntervals {
    metrics: Written,
    stale: Written,
}

#[derive(Debug, Clone)]
struct Written {
    /// Where the settings have it.
    place: Place,
    /// What is kept for the next start.
    kept: Option<Duration>,
}

impl WrittenIntervals {
    /// As the settings were read.
    fn of(loaded: &Loaded) -> Self {
        let written = |name: &str, value: Duration| {
            let place = loaded.place(&["intervals", name]);
            let kept = matches!(place, Place::Persistent { .. }).then_some(value);
            Written { place, kept }
        };
        let intervals = &loaded.settings.intervals;
        Self {
            metrics: written("metrics", intervals.metrics),
            stale: written("stale", intervals.stale),
        }
    }

    /// An order was kept in this file.
    fn keep(&mut self, order: Persistent, file: &Path) {
        for (written, kept) in [
            (&mut self.metrics, order.metrics),
            (&mut self.stale, order.stale),
        ] {
            if kept.is_some() {
                written.kept = kept;
                written.place = Place::Persistent {
                    path: file.to_owned(),
                    line: None,
                };
            }
        }
    }

    /// Where the intervals come from, with these orders on top of what is written.
    fn origins(&self, at_run_time: IntervalChange) -> Origins {
        Origins {
            metrics: self.metrics.origin(at_run_time.metrics),
            stale: self.stale.origin(at_run_time.stale),
        }
    }
}

impl Written {
    fn origin(&self, order: Option<Duration>) -> Origin {
        match &self.place {
            Place::Persistent { path, .. } if order.is_none() || order == self.kept => {
                Origin::Kept(path.clone())
            }
            _ if order.is_some() => Origin::RunTime,
            place => Origin::Settings(place.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_kept_only_where_the_file_has_it() {
        let secs = Duration::from_secs;
        let default = || Written {
            place: Place::Default,
            kept: None,
        };
        let mut written = WrittenIntervals {
            metrics: default(),
            stale: default(),
        };
        let order = |metrics| IntervalChange {
            metrics: Some(metrics),
            stale: None,
        };
        let settings = Origin::Settings("default".to_owned());
        let kept = Origin::Kept("/var/lib/x/settings.toml".into());
        let nothing = IntervalChange::default();
        assert_eq!(written.origins(nothing).metrics, settings);
        assert_eq!(written.origins(order(secs(2))).metrics, Origin::RunTime);
        let order_kept = Persistent {
            metrics: Some(secs(2)),
            stale: None,
        };
        written.keep(order_kept, "/var/lib/x/settings.toml".as_ref());
        assert_eq!(written.origins(order(secs(2))).metrics, kept);
        assert_eq!(written.origins(order(secs(2))).stale, settings);
        // Another one on top of what is kept, and none, as after a restart.
        assert_eq!(written.origins(order(secs(3))).metrics, Origin::RunTime);
        assert_eq!(written.origins(nothing).metrics, kept);
    }
}
