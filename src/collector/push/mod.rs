//! Pushes samples to engines that store them, by Prometheus remote write 1.0.
//!
//! Owns the targets: each has a queue of its own that the collector's loop fills without ever
//! waiting, and a thread of its own that empties it. A target that is slow, away or refuses
//! samples does not affect the others.
//!
//! - `queue`: what waits for one of them, within bounds, pure;
//! - `tracker`: from messages to samples, and which series have ended, pure;
//! - [`batch`]: samples as a request;
//! - `answer`: what an answer means, pure;
//! - `health`: what of that is worth a line, pure;
//! - `client`, `resolver`, `secrets`: the request itself, and what it takes;
//! - `shared` and `target`: the thread.
//!
//! Keeps nothing on disk: what does not fit into memory while a target is away is dropped,
//! the oldest first, and counted.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use self::queue::{Item, LIMITS, Limits};
use self::shared::Shared;
use self::target::Worker;
use super::events::push as events;
use super::settings::RemoteWrite;
use crate::base::offload::on_a_thread;
use crate::collector::schemas::HostGrid;
use crate::config::ConnectionName;
use crate::protocol::message::GridKind;

mod answer;
pub mod batch;
mod client;
mod queue;
mod resolver;
mod secrets;
mod shared;
mod target;
mod tracker;

/// How long a removed target may take to send what waits for it.
pub const FAREWELL: Duration = Duration::from_secs(2);

/// All targets.
#[derive(Debug)]
pub struct Pushes {
    targets: BTreeMap<ConnectionName, Running>,
    /// Removed targets, which may still have samples to send.
    leaving: Vec<(ConnectionName, Arc<Shared>)>,
    limits: Limits,
}

#[derive(Debug)]
struct Running {
    settings: RemoteWrite,
    shared: Arc<Shared>,
}

/// How one target fares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetStatus {
    /// Its name in the settings.
    pub name: ConnectionName,
    /// Its address, without its query.
    pub url: String,
    /// Samples that it has taken.
    pub sent: u64,
    /// Samples that it has refused.
    pub failed: u64,
    /// Samples that there was no room for, or no time left.
    pub dropped: u64,
    /// Samples that wait.
    pub queued: u64,
    /// Whether the last request failed.
    pub failing: bool,
    /// What went wrong last.
    pub last_error: Option<String>,
    /// When it last took something.
    pub last_success: Option<SystemTime>,
}

impl Pushes {
    /// Begins to send to these targets.
    #[must_use]
    pub fn new(settings: &BTreeMap<ConnectionName, RemoteWrite>) -> Self {
        let mut pushes = Self::within(LIMITS);
        pushes.reconfigure(settings, SystemTime::now(), std::iter::empty);
        pushes
    }

    /// None yet, each with these limits.
    fn within(limits: Limits) -> Self {
        Self {
            targets: BTreeMap::new(),
            leaving: Vec::new(),
            limits,
        }
    }

    /// Goes on with other settings. A target whose settings are the same keeps its queue, and
    /// reads its files again; of another, what waits is sent within [`FAREWELL`]. One that is
    /// new, or other than before, begins with the models that hosts have said: each says its
    /// own once.
    pub fn reconfigure<'a, M: Iterator<Item = (&'a Arc<str>, &'a Arc<HostGrid>)>>(
        &mut self,
        settings: &BTreeMap<ConnectionName, RemoteWrite>,
        time: SystemTime,
        models: impl Fn() -> M,
    ) {
        let deadline = Instant::now() + FAREWELL;
        self.leaving.retain(|(_, shared)| !shared.has_ended());
        let leaving = &mut self.leaving;
        self.targets.retain(|name, running| {
            let same = settings.get(name) == Some(&running.settings);
            if same {
                running.shared.reload();
            } else {
                running.shared.stop(deadline);
                leaving.push((name.clone(), Arc::clone(&running.shared)));
            }
            same
        });
        for (name, settings) in settings {
            if self.targets.contains_key(name) {
                continue;
            }
            match self.start(name, settings, deadline) {
                Ok(running) => {
                    for (host, grid) in models() {
                        let model = Item::Message {
                            host: Arc::clone(host),
                            kind: GridKind::Model,
                            grid: Arc::clone(grid),
                            time: millis(time),
                        };
                        if running.shared.push(model).began {
                            events::dropping(name.as_str(), &settings.url);
                        }
                    }
                    self.targets.insert(name.clone(), running);
                }
                Err(error) => events::not_started(name.as_str(), &settings.url, &error),
            }
        }
    }

    fn start(
        &self,
        name: &ConnectionName,
        settings: &RemoteWrite,
        deadline: Instant,
    ) -> io::Result<Running> {
        let shared = Arc::new(Shared::new(self.limits));
        let before = self.leaving.iter().rev().find(|(known, _)| known == name);
        let worker = Worker::new(
            Arc::clone(&shared),
            name.to_string(),
            settings.clone(),
            before.map(|(_, shared)| (Arc::clone(shared), deadline)),
        );
        on_a_thread("push", move || worker.run())?;
        Ok(Running {
            settings: settings.clone(),
            shared,
        })
    }

    /// Returns true if there is no target: messages need not be passed then.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }

    /// Takes a message of a host. Never waits.
    pub fn take(
        &mut self,
        host: &Arc<str>,
        kind: GridKind,
        grid: &Arc<HostGrid>,
        time: SystemTime,
    ) {
        let time = millis(time);
        self.push(|| Item::Message {
            host: Arc::clone(host),
            kind,
            grid: Arc::clone(grid),
            time,
        });
    }

    /// A host is gone: all of its series end. Never waits.
    pub fn host_gone(&mut self, host: &Arc<str>, time: SystemTime) {
        let time = millis(time);
        self.push(|| Item::Gone {
            host: Arc::clone(host),
            time,
        });
    }

    fn push(&self, item: impl Fn() -> Item) {
        for (name, running) in &self.targets {
            if running.shared.push(item()).began {
                events::dropping(name.as_str(), &running.settings.url);
            }
        }
    }

    /// How the targets fare.
    #[must_use]
    pub fn status(&self) -> Vec<TargetStatus> {
        let status = |(name, running): (&ConnectionName, &Running)| {
            let state = running.shared.lock();
            TargetStatus {
                name: name.clone(),
                url: running.settings.url.to_string(),
                sent: state.counts.sent,
                failed: state.counts.failed,
                dropped: state.counts.dropped,
                queued: state.waiting() as u64,
                failing: state.failing,
                last_error: state.last_error.clone(),
                last_success: state.last_success,
            }
        };
        self.targets.iter().map(status).collect()
    }

    /// Sends what waits, and ends by then.
    pub fn finish(&mut self, deadline: Instant) {
        for running in self.targets.values() {
            running.shared.stop(deadline);
        }
        let leaving = std::mem::take(&mut self.leaving);
        let running = self.targets.iter();
        let running = running.map(|(name, running)| (name, &running.shared));
        let all = leaving.iter().map(|(name, shared)| (name, shared));
        for (name, shared) in all.chain(running) {
            if let Some(left) = shared.wait_for_end(deadline)
                && left > 0
            {
                events::left(name.as_str(), left);
            }
        }
        self.targets.clear();
    }
}

impl Drop for Pushes {
    /// Threads do not outlive what they belong to.
    fn drop(&mut self) {
        for running in self.targets.values() {
            running.shared.stop(Instant::now());
        }
    }
}

/// In milliseconds since 1970, as samples have it.
fn millis(time: SystemTime) -> i64 {
    let since = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => since(after),
        Err(before) => -since(before.duration()),
    }
}

#[cfg(test)]
mod tests;
