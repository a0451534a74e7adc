//! Carrying out what others order: settings, reloads, reconnects, samples.

use std::time::SystemTime;

use super::events;
use super::handle::{Answer, IntervalChange, Order, OrderError};
use super::pending::SampleRequest;
use super::run::{Agent, limits, session_settings};
use super::slow::{Job, Outcome};
use crate::agent::settings;
use crate::agent::settings::Loaded;
use crate::agent::settings::persistent::Persistent;
use crate::config;
use crate::config::ConnectionName;

impl Agent {
    pub(super) fn handle_order(&mut self, order: Order) {
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
                let result = self.sampling.sampler.set_enabled(&source, enabled);
                if result.is_ok() {
                    self.in_force.sources_touched = true;
                    events::source_enabled(&source, enabled);
                    self.publish();
                }
                let _ = answer.send(result);
            }
            Order::HistoryStatus(name, answer) => {
                let _ = answer.send(self.history_status(&name));
            }
            Order::SourceStatus(name, answer) => {
                let _ = answer.send(self.sampling.sampler.status(&name));
            }
        }
    }

    fn set_intervals(&mut self, change: IntervalChange, persistent: bool, answer: Answer<()>) {
        if let Err(error) = check(change) {
            let _ = answer.send(Err(error));
            return;
        }
        self.in_force.set_intervals(change);
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
        let intervals = self.in_force.intervals();
        self.sampling.ticker.set_interval(intervals.metrics);
        self.sampling.sampler.set_interval(intervals.metrics);
        self.connections.configure(session_settings(intervals));
    }

    pub(super) fn slow_reload(&mut self, answer: Option<Answer<()>>) {
        self.notifier.reloading();
        self.slow.submit(Job::Reload(answer));
    }

    pub(super) fn job_ended(&mut self, job: Job, outcome: Outcome) {
        if let (Job::Keep(order, _), Outcome::Kept(Ok(()))) = (&job, &outcome) {
            self.in_force.kept(*order, &self.slow.kept_in());
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
                        self.in_force.revert();
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
            let line = self.status_line(&self.state.borrow());
            self.notifier.ready(&line);
        }
        job.answer(result);
    }

    /// Swaps the settings, whole. What was set at run time stays on top of them.
    fn adopt(&mut self, loaded: Loaded) -> Result<(), OrderError> {
        events::loaded(&loaded);
        let old = self.in_force.replace(loaded);
        let settings = &self.in_force.settings;
        if settings.bus != old.bus {
            events::next_start_only("dbus.bus");
        }
        if settings.host_name != old.host_name {
            let configured = settings.host_name.as_ref().map(ToString::to_string);
            self.name.configure(configured);
        }
        if settings.options != old.options {
            self.sampling.sampler.set_options(&settings.options);
        }
        if !self.in_force.sources_touched || settings.sources != old.sources {
            self.in_force.sources_touched = false;
            // The names were checked when the settings were read.
            self.sampling
                .sampler
                .enable_only(&settings.sources)
                .map_err(|error| OrderError::InvalidConfiguration(error.to_string()))?;
        }
        self.connections.apply(settings, SystemTime::now());
        self.recording.configure(
            limits(settings),
            settings.collectors.keys().map(ConnectionName::as_str),
            |name| self.connections.serial_of(name),
        );
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
