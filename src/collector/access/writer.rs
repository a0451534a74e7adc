//! Saves what outlasts a restart, and does what other processes request: the loop's side of
//! [`state`](super::state).
//!
//! One job runs at a time, on a thread. Pins are saved soon after they change, the record of
//! keys at most every minute. A request to remove a pin is deleted only when the pins without
//! it are on the disk.

use std::future::pending;
use std::io;
use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::gate::Gate;
use super::pins::Pins;
use super::state::{Action, KnownKeys, Owned, Request, StateError};
use super::watch::{Armed, Watch, arm};
use crate::base::throttle::Throttle;
use crate::base::waiting::until;
use crate::base::worker::Worker;
use crate::collector::events;
use crate::curve::keys::PublicKey;

/// Interval between two writings of the record of keys, which is only for people to read.
const KEYS_INTERVAL: Duration = Duration::from_secs(60);

/// Interval between two writings of the pins: a fleet that connects for the first time causes a
/// few writings, and a power cut loses at most the pins of the last second. Also the delay from
/// the start to the first writing of the record.
const PINS_INTERVAL: Duration = Duration::from_secs(1);

/// Delay before another attempt after a failure; also how often requests are looked for if the
/// kernel cannot report them.
const RETRY: Duration = Duration::from_secs(10);

/// Delay between a batch of requests and the next look, so that a request that cannot be done
/// does not cause a busy loop.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// How long the last writing may take at the end of the process: a stop has five seconds for
/// this and for everything else that is written last.
const FAREWELL: Duration = Duration::from_secs(1);

#[derive(Debug)]
enum Job {
    /// Look for requests, and watch for more.
    Look,
    Keep(Keep),
}

/// What is to be saved.
#[derive(Debug, Default)]
struct Keep {
    pins: Option<Pins>,
    /// If no pins are in use: those to remove from the file.
    forget: Vec<Pinned>,
    keys: Option<KnownKeys>,
    /// The requests that are done then.
    done: Vec<Request>,
}

/// Pins.
#[derive(Debug)]
pub(super) enum Pinned {
    /// The pin of a host name.
    Name(String),
    /// The pins of a key and, once they are removed, how many there were.
    Key(PublicKey, usize),
}

/// The result of a job.
#[derive(Debug)]
pub(super) enum Outcome {
    Looked {
        watch: io::Result<Armed>,
        requests: Result<(Vec<Request>, Vec<String>), StateError>,
    },
    Kept {
        pins: Result<(), StateError>,
        /// Of the pins to remove, those that existed.
        forgotten: Vec<Pinned>,
        keys: Result<(), StateError>,
    },
}

/// An event for the writer.
#[derive(Debug)]
pub(super) enum Event {
    Done(Outcome),
    Requested,
    Due,
}

#[derive(Debug)]
pub(super) struct Writer {
    worker: Worker<Job, Outcome>,
    watch: Option<Watch>,
    /// When to look for requests.
    look_at: Option<Instant>,
    pins_at: Instant,
    keys_at: Instant,
    failures: Throttle,
}

impl Writer {
    /// Starts to save things, as their owner.
    pub(super) fn start(owned: Owned, now: Instant) -> io::Result<Self> {
        Ok(Self {
            worker: Worker::start("access state", 1, move |job| work(&owned, job))?,
            watch: None,
            look_at: Some(now),
            pins_at: now,
            keys_at: now + PINS_INTERVAL,
            failures: Throttle::default(),
        })
    }

    /// Waits for the next event. Cancel safe.
    pub(super) async fn next(&mut self, gate: &Gate) -> Event {
        let due = if self.worker.is_busy() {
            None
        } else {
            let pins = gate.pins_changed().then_some(self.pins_at);
            let keys = gate.seen_changed().then_some(self.keys_at);
            [self.look_at, pins, keys].into_iter().flatten().min()
        };
        tokio::select! {
            outcome = self.worker.done() => Event::Done(outcome),
            () = changed(self.watch.as_mut()) => Event::Requested,
            () = until(due) => Event::Due,
        }
    }

    pub(super) fn handle(&mut self, event: Event, gate: &mut Gate, now: Instant) {
        match event {
            // The running job may have looked before this change.
            Event::Requested => self.look_at = Some(now),
            Event::Due => {}
            Event::Done(Outcome::Looked { watch, requests }) => {
                self.watch = watch.and_then(Watch::new).ok();
                self.look_at = self.watch.is_none().then_some(now + RETRY);
                match requests {
                    Ok((requests, problems)) => {
                        events::bad_requests(&problems);
                        if !requests.is_empty() {
                            self.handle_requests(requests, gate, now);
                            return;
                        }
                    }
                    Err(error) => self.failed(&error, now),
                }
            }
            Event::Done(Outcome::Kept {
                pins,
                forgotten,
                keys,
            }) => {
                for pinned in &forgotten {
                    match pinned {
                        Pinned::Name(host) => events::pin_forgotten(host),
                        Pinned::Key(key, names) => events::pins_of_key_forgotten(key, *names),
                    }
                }
                self.pins_at = now + PINS_INTERVAL;
                if let Err(error) = pins {
                    gate.pins_not_kept();
                    self.pins_at = now + RETRY;
                    self.failed(&error, now);
                }
                if let Err(error) = keys {
                    self.failed(&error, now);
                }
            }
        }
        self.work_on(gate, now);
    }

    /// Gives the worker what is due, if it is idle.
    fn work_on(&mut self, gate: &mut Gate, now: Instant) {
        if self.worker.is_busy() {
            return;
        }
        if self.look_at.is_some_and(|at| at <= now) {
            self.look_at = None;
            self.worker.submit(Job::Look);
            return;
        }
        let pins = gate.pins_changed() && self.pins_at <= now;
        let keys = gate.seen_changed() && self.keys_at <= now;
        if pins || keys {
            let keep = self.keep(pins, keys, gate, now);
            self.worker.submit(Job::Keep(keep));
        }
    }

    fn handle_requests(&mut self, requests: Vec<Request>, gate: &mut Gate, now: Instant) {
        // There may be more than were taken, and those that failed are still there.
        self.look_at = Some(now + LOOK_AGAIN);
        let mut forget = Vec::new();
        for request in &requests {
            let in_use = gate.pins().is_some();
            match &request.action {
                Action::Record => {}
                Action::Forget(host) if !in_use => forget.push(Pinned::Name(host.clone())),
                Action::Forget(host) => {
                    if gate.forget(host) {
                        events::pin_forgotten(host);
                    }
                }
                Action::ForgetKey(key) if !in_use => forget.push(Pinned::Key(*key, 0)),
                Action::ForgetKey(key) => {
                    let names = gate.forget_key(*key);
                    if names > 0 {
                        events::pins_of_key_forgotten(key, names);
                    }
                }
            }
        }
        let record = requests
            .iter()
            .any(|request| request.action == Action::Record);
        let keep = Keep {
            forget,
            done: requests,
            ..self.keep(true, record, gate, now)
        };
        self.worker.submit(Job::Keep(keep));
    }

    /// What must be saved; it is marked as saved.
    fn keep(&mut self, pins: bool, keys: bool, gate: &mut Gate, now: Instant) -> Keep {
        let pins = pins && gate.take_pins_changed();
        if keys {
            gate.take_seen_changed();
            self.keys_at = now + KEYS_INTERVAL;
        }
        let known = || KnownKeys {
            authorized: gate.authorized(),
            keys: gate
                .seen()
                .iter()
                .map(|(who, record)| (*who, record.clone()))
                .collect(),
        };
        Keep {
            pins: gate.pins().filter(|_| pins).cloned(),
            keys: keys.then(known),
            ..Keep::default()
        }
    }

    /// Saves what has changed, within a bounded time, because the process ends.
    pub(super) async fn finish(mut self, gate: &mut Gate, now: Instant) {
        let last = async {
            if self.worker.is_busy()
                && let Outcome::Kept { pins: Err(_), .. } = self.worker.done().await
            {
                gate.pins_not_kept();
            }
            let (pins, keys) = (gate.pins_changed(), gate.seen_changed());
            if !pins && !keys {
                return;
            }
            let keep = self.keep(pins, keys, gate, now);
            self.worker.submit(Job::Keep(keep));
            if let Outcome::Kept { pins, keys, .. } = self.worker.done().await {
                for error in [pins.err(), keys.err()].into_iter().flatten() {
                    events::access_not_kept(&error, 0);
                }
            }
        };
        if timeout(FAREWELL, last).await.is_err() {
            events::access_not_kept(&"the disk does not answer", 0);
        }
    }

    fn failed(&mut self, error: &StateError, now: Instant) {
        if let Some(untold) = self.failures.note(now) {
            events::access_not_kept(error, untold);
        }
    }
}

/// The thread's part.
fn work(owned: &Owned, job: Job) -> Outcome {
    let state = owned.state();
    match job {
        Job::Look => {
            let prepared = owned.prepare();
            // Armed before it is read, so that no request in between is missed.
            let watch = arm(&[state.requests_directory()]);
            let requests = prepared.and_then(|()| state.requests());
            Outcome::Looked { watch, requests }
        }
        Job::Keep(keep) => {
            let mut forgotten = Vec::new();
            let mut pins = keep.pins.map_or(Ok(()), |pins| owned.keep_pins(&pins));
            for pinned in keep.forget {
                let was_pinned = match &pinned {
                    Pinned::Name(host) => owned.forget(host).map(|was| was.then_some(pinned)),
                    Pinned::Key(key, _) => owned
                        .forget_key(*key)
                        .map(|names| (names > 0).then_some(Pinned::Key(*key, names))),
                };
                match was_pinned {
                    Ok(was_pinned) => forgotten.extend(was_pinned),
                    Err(error) => pins = Err(error),
                }
            }
            let keys = keep.keys.map_or(Ok(()), |keys| owned.keep_keys(&keys));
            if pins.is_ok() && keys.is_ok() {
                owned.done(&keep.done);
            }
            Outcome::Kept {
                pins,
                forgotten,
                keys,
            }
        }
    }
}

async fn changed(watch: Option<&mut Watch>) {
    match watch {
        Some(watch) => watch.changed().await,
        None => pending().await,
    }
}
