//! Carrying out what others order: settings, reloads, reconnects, samples.

use std::time::SystemTime;

use super::events;
use super::handle::{Answer, IntervalChange, Order, OrderError};
use super::pending::SampleRequest;
use super::run::{Agent, session_settings};
use super::slow::{Job, Outcome};
use super::state::Intervals;
use super::written::WrittenIntervals;
use crate::agent::settings;
use crate::agent::settings::Loaded;
use crate::agent::settings::persistent::Persistent;
use crate::config;

impl Agent {
    pub(super) fn obey(&mut self, order: Order) {
        // A caller that has gone before its answer is no concern of ours.
        match order {
            Order::SetIntervals {
                change,
                persistent,
                answer,
            } => self.set_intervals(change, persistent, answer),
            Order::Revert(answer) => self.slow.submit(Job::Forget(answer)),
            Order::Reload(answer) => self.slow_reload(Some(answer)),
            Order::Reconnect(name, answer) => {
                let found = self.connections.reconnect(name.as_deref());
                let _ = answer.send(match (found, name) {
                    (false, Some(name)) => Err(OrderError::NoSuchConnection(name)),
                    _ => Ok(()),
                });
            }
            Order::Sample(kind, answer) => self.sample(SampleRequest::Query(kind, answer)),
            Order::SampleSource(name, answer) => self.sample(SampleRequest::QueryOne(name, answer)),
            Order::SetEnabled {
                source,
                enabled,
                answer,
            } => {
                let result = self.sampler.set_enabled(&source, enabled);
                if result.is_ok() {
                    self.sources_touched = true;
                    events::source_enabled(&source, enabled);
                    self.publish();
                }
                let _ = answer.send(result);
            }
            Order::SourceStatus(name, answer) => {
                let _ = answer.send(self.sampler.status(&name));
            }
        }
    }

    fn set_intervals(&mut self, change: IntervalChange, persistent: bool, answer: Answer<()>) {
        if let Err(error) = check(change) {
            let _ = answer.send(Err(error));
            return;
        }
        self.at_run_time.metrics = change.metrics.or(self.at_run_time.metrics);
        self.at_run_time.stale = change.stale.or(self.at_run_time.stale);
        self.apply_intervals();
        self.publish();
        for (setting, value) in [
            ("intervals.metrics", change.metrics),
            ("intervals.stale", change.stale),
        ] {
            if let Some(value) = value {
                let value = humantime::format_duration(value).to_string();
                events::setting_changed(setting, &value, persistent);
            }
        }
        if persistent {
            let keep = Persistent {
                metrics: change.metrics,
                stale: change.stale,
            };
            self.slow.submit(Job::Keep(keep, answer));
        } else {
            let _ = answer.send(Ok(()));
        }
    }

    /// Puts the intervals of the settings, or those set since, in force.
    fn apply_intervals(&mut self) {
        self.intervals = Intervals {
            metrics: self
                .at_run_time
                .metrics
                .unwrap_or(self.settings.intervals.metrics),
            stale: self
                .at_run_time
                .stale
                .unwrap_or(self.settings.intervals.stale),
        };
        self.ticker.set_interval(self.intervals.metrics);
        self.sampler.set_interval(self.intervals.metrics);
        self.connections.configure(session_settings(self.intervals));
    }

    pub(super) fn slow_reload(&mut self, answer: Option<Answer<()>>) {
        self.notifier.reloading();
        self.slow.submit(Job::Reload(answer));
    }

    pub(super) fn job_ended(&mut self, job: Job, outcome: Outcome) {
        if let (Job::Keep(order, _), Outcome::Kept(Ok(()))) = (&job, &outcome) {
            self.written.keep(*order, &self.slow.kept_in());
            self.publish();
        }
        let result = match outcome {
            Outcome::Kept(result) => result.map_err(|error| {
                events::setting_not_kept(job.setting(), &self.slow.kept_in(), &error);
                OrderError::NotKept(error)
            }),
            Outcome::Loaded(loaded) => match *loaded {
                Ok(loaded) => {
                    if matches!(job, Job::Forget(_)) {
                        self.at_run_time = IntervalChange::default();
                        self.sources_touched = false;
                        events::settings_reverted();
                    }
                    self.adopt(loaded)
                }
                Err(error) => {
                    events::reload_refused(&error);
                    Err(OrderError::InvalidConfiguration(error))
                }
            },
        };
        if matches!(job, Job::Reload(_)) && !self.slow.reloads() {
            // The settings in force are valid, be they new or old.
            let line = super::status_line::line_now(&self.state.borrow());
            self.notifier.ready(&line);
        }
        job.answer(result);
    }

    /// Swaps the settings, whole. What was set at run time stays on top of them.
    fn adopt(&mut self, loaded: Loaded) -> Result<(), OrderError> {
        events::loaded(&loaded);
        self.written = WrittenIntervals::of(&loaded);
        let old = std::mem::replace(&mut self.settings, loaded.settings);
        self.files = loaded.files;
        if self.settings.log_level != old.log_level {
            let level = self.settings.log_level.as_str();
            if let Err(error) = self.log.set_level(level) {
                events::configuration_ignored(&error);
            }
        }
        if self.settings.bus != old.bus {
            events::next_start_only("dbus.bus");
        }
        if self.settings.host_name != old.host_name {
            let configured = self.settings.host_name.as_ref().map(ToString::to_string);
            self.name.configure(configured);
        }
        if self.settings.options != old.options {
            self.sampler.set_options(&self.settings.options);
        }
        if !self.sources_touched || self.settings.sources != old.sources {
            self.sources_touched = false;
            // The names were checked when the settings were read.
            self.sampler
                .enable_only(&self.settings.sources)
                .map_err(|error| OrderError::InvalidConfiguration(error.to_string()))?;
        }
        self.connections.apply(&self.settings, SystemTime::now());
        self.apply_intervals();
        self.rest_or_tick();
        self.name_changed();
        self.publish();
        events::reloaded(self.connections.len());
        if self.connections.len() == 0 {
            events::unconfigured(&self.state.borrow().reason);
        }
        Ok(())
    }
}

/// The ranges are those of the settings: one home for both.
fn check(change: IntervalChange) -> Result<(), OrderError> {
    let out_of_range = |name: &str, error: config::OutOfRange| {
        OrderError::OutOfRange(format!("{name} interval: {error}"))
    };
    if let Some(metrics) = change.metrics {
        settings::metrics_interval(metrics).map_err(|error| out_of_range("metrics", error))?;
    }
    if let Some(stale) = change.stale {
        settings::stale_interval(stale).map_err(|error| out_of_range("stale", error))?;
    }
    Ok(())
}
