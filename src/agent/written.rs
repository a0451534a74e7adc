//! Where the intervals in force come from: the settings, or an order that was kept or not.

use std::time::Duration;

use super::handle::IntervalChange;
use super::state::{Origin, Origins};
use crate::agent::settings::Loaded;
use crate::agent::settings::persistent::Persistent;
use crate::config::Place;

/// What is written down about each interval, in the settings and by orders that were kept.
#[derive(Debug, Clone)]
pub(super) struct WrittenIntervals {
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
    pub(super) fn of(loaded: &Loaded) -> Self {
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
    pub(super) fn keep(&mut self, order: Persistent, file: &std::path::Path) {
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
    pub(super) fn origins(&self, at_run_time: IntervalChange) -> Origins {
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
