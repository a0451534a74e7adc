//! Pushes samples to engines that store them, by Prometheus remote write 1.0.
//!
//! Owns the targets: each has a queue of its own that the collector's loop fills without ever
//! waiting, and a thread of its own that empties it. A target that is slow, away or refuses
//! samples does not affect the others.
//!
//! - `queue`: what waits for one of them, within bounds, pure;
//! - `tracker`: from messages to samples, and which series have ended, pure;
//! - [`batch`]: samples as a request;
//! - `split`: what to send again of a request that was refused, pure;
//! - `receipts`: what all of them have settled, so that agents may forget it, pure;
//! - `answer`: what an answer means, pure;
//! - `health`: what of that is worth a line, pure;
//! - `client`, `resolver`, `secrets`: the request itself, and what it takes;
//! - `shared` and `target`: the thread.
//!
//! Keeps nothing on disk. Of the first wire, what does not fit into memory while a target is away
//! is dropped, the oldest first, and counted. Samples of the second wire stay with the agents
//! until every target that holds receipts back has settled them; who passes them on asks first
//! whether there is room.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::Notify;

use self::queue::{Item, LIMITS, Limits};
use self::receipts::{Receipts, TargetId};
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
mod receipts;
mod resolver;
mod secrets;
mod shared;
mod split;
mod target;
mod telling;
mod tracker;

pub use self::receipts::{Settled, Ticket};

/// How long a removed target may take to send what waits for it.
pub const FAREWELL: Duration = Duration::from_secs(2);

/// All targets.
#[derive(Debug)]
pub struct Pushes {
    targets: BTreeMap<ConnectionName, Running>,
    /// Removed targets, which may still have samples to send.
    leaving: Vec<(ConnectionName, Arc<Shared>)>,
    limits: Limits,
    receipts: Receipts,
    /// Hosts whose samples come on the second wire.
    history: HashSet<Arc<str>>,
    progressed: Arc<Notify>,
}

#[derive(Debug)]
struct Running {
    settings: RemoteWrite,
    shared: Arc<Shared>,
    /// Of one that holds receipts back.
    id: Option<TargetId>,
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
    /// Samples of the second wire whose time was before that of the sample before them by more
    /// than an interval: they are sent 1 ms after it.
    pub moved: u64,
    /// Samples that wait.
    pub queued: u64,
    /// Whether the last request failed.
    pub failing: bool,
    /// What went wrong last.
    pub last_error: Option<String>,
    /// When it last took something.
    pub last_success: Option<SystemTime>,
    /// Whether receipts wait for it.
    pub acknowledge: bool,
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
            receipts: Receipts::default(),
            history: HashSet::new(),
            progressed: Arc::new(Notify::new()),
        }
    }

    /// Goes on with other settings. A target whose settings are the same keeps its queue, and
    /// reads its files again; of another, what waits is sent within [`FAREWELL`]. Where one of the
    /// same name holds receipts back still, it goes on with samples of the second wire that were
    /// not sent by then: mending an address loses nothing. One that is new, or other than
    /// before, begins with the models that hosts have said: each says its
    /// own once.
    pub fn reconfigure<'a, M: Iterator<Item = (&'a Arc<str>, &'a Arc<HostGrid>)>>(
        &mut self,
        settings: &BTreeMap<ConnectionName, RemoteWrite>,
        time: SystemTime,
        models: impl Fn() -> M,
    ) {
        let deadline = Instant::now() + FAREWELL;
        self.leaving.retain(|(_, shared)| !shared.has_ended());
        let (leaving, receipts) = (&mut self.leaving, &mut self.receipts);
        let mut inherited = BTreeMap::new();
        let mut settled = false;
        self.targets.retain(|name, running| {
            let same = settings.get(name) == Some(&running.settings);
            if same {
                running.shared.reload();
            } else {
                let goes_on = settings.get(name).is_some_and(|new| new.acknowledge);
                match running.id {
                    Some(id) if goes_on => {
                        running.shared.hand_over();
                        inherited.insert(name.clone(), id);
                    }
                    Some(id) => settled |= receipts.remove(id),
                    None => {}
                }
                running.shared.stop(deadline);
                leaving.push((name.clone(), Arc::clone(&running.shared)));
            }
            same
        });
        for (name, settings) in settings {
            if self.targets.contains_key(name) {
                continue;
            }
            let id = match inherited.remove(name) {
                Some(id) => Some(id),
                None => settings.acknowledge.then(|| self.receipts.add()),
            };
            match self.start(name, settings, deadline, id) {
                Ok(running) => {
                    for (host, grid) in models() {
                        let model = Item::Message {
                            host: Arc::clone(host),
                            kind: GridKind::Model,
                            grid: Arc::clone(grid),
                            time: millis(time),
                        };
                        if running.shared.push(model, false).began {
                            events::dropping(name.as_str(), &settings.url);
                        }
                    }
                    self.targets.insert(name.clone(), running);
                }
                Err(error) => {
                    settled |= id.is_some_and(|id| self.receipts.remove(id));
                    events::not_started(name.as_str(), &settings.url, &error);
                }
            }
        }
        if settled {
            self.progressed.notify_one();
        }
    }

    fn start(
        &self,
        name: &ConnectionName,
        settings: &RemoteWrite,
        deadline: Instant,
        id: Option<TargetId>,
    ) -> io::Result<Running> {
        let shared = Arc::new(Shared::new(
            self.limits,
            settings.acknowledge,
            Arc::clone(&self.progressed),
        ));
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
            id,
        })
    }

    /// Returns true if there is no target: messages need not be passed then.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }

    /// Takes a message of a host on the first wire. Never waits.
    ///
    /// A model of a host on the second wire goes with its next sample.
    pub fn take(
        &mut self,
        host: &Arc<str>,
        kind: GridKind,
        grid: &Arc<HostGrid>,
        time: SystemTime,
    ) {
        if kind == GridKind::Metrics {
            self.history.remove(host);
        }
        let time = millis(time);
        self.push(false, || Item::Message {
            host: Arc::clone(host),
            kind,
            grid: Arc::clone(grid),
            time,
        });
    }

    /// Takes a sample of a host on the second wire: what each source said, one grid for each. Never
    /// waits, and drops nothing: what agents may send is bounded by their windows.
    ///
    /// The time is in milliseconds since 1970, by the host's clock, corrected; samples of a host
    /// come in the order of their numbers. A sample without grids is settled in its turn: it
    /// stands for a range that the agent has lost.
    pub fn history(
        &mut self,
        host: &Arc<str>,
        grids: Vec<Arc<HostGrid>>,
        time: i64,
        ticket: Option<Ticket>,
    ) {
        if !self.history.contains(host) {
            self.history.insert(Arc::clone(host));
        }
        if let Some(ticket) = ticket {
            self.receipts.given(host, ticket);
            if !self.receipts.hold_back() {
                self.progressed.notify_one();
            }
        }
        let grids: Arc<[_]> = grids.into();
        self.push(true, || Item::History {
            host: Arc::clone(host),
            grids: Arc::clone(&grids),
            time,
            ticket,
        });
    }

    /// A host on the second wire was heard: it is up. To be said once an interval; never waits.
    pub fn up(&mut self, host: &Arc<str>, time: SystemTime) {
        let time = millis(time);
        self.push(false, || Item::Up {
            host: Arc::clone(host),
            time,
        });
    }

    /// A host is gone: all of its series end. Never waits.
    pub fn host_gone(&mut self, host: &Arc<str>, time: SystemTime) {
        let keep = self.history.remove(host);
        self.receipts.gone(host);
        let time = millis(time);
        self.push(keep, || Item::Gone {
            host: Arc::clone(host),
            time,
        });
    }

    fn push(&self, keep: bool, item: impl Fn() -> Item) {
        for (name, running) in &self.targets {
            if running.shared.push(item(), keep).began {
                events::dropping(name.as_str(), &running.settings.url);
            }
        }
    }

    /// Returns true if there is room for many more samples of the second wire. Where there is not, agents that
    /// connect should be told to send little: what is passed on is kept in any case.
    #[must_use]
    pub fn has_room(&self) -> bool {
        let mut targets = self.targets.values();
        targets.all(|running| running.shared.has_room())
    }

    /// Returns true if some target holds receipts back: they mean then that engines have the
    /// samples.
    #[must_use]
    pub fn acknowledge(&self) -> bool {
        self.receipts.hold_back()
    }

    /// What all targets that hold receipts back have settled since the last time: the last sample
    /// of each host of which there is news.
    pub fn settled(&mut self) -> Vec<Settled> {
        for running in self.targets.values() {
            if let Some(id) = running.id {
                self.receipts.progress(id, running.shared.take_progress());
            }
        }
        self.receipts.drain()
    }

    /// Wakes the loop after each request that settled samples of the second wire: there may be
    /// receipts to send ([`Pushes::settled`]), and room again ([`Pushes::has_room`]).
    #[must_use]
    pub fn progressed(&self) -> Arc<Notify> {
        Arc::clone(&self.progressed)
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
                moved: state.counts.moved,
                queued: state.waiting() as u64,
                failing: state.failing,
                last_error: state.last_error.clone(),
                last_success: state.last_success,
                acknowledge: running.settings.acknowledge,
            }
        };
        self.targets.iter().map(status).collect()
    }

    /// Sends what waits, and ends by then. What was settled meanwhile is there to be asked for.
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
