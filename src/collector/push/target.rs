//! The thread of one target: takes what waits, makes requests of it, and sends one after the
//! other.
//!
//! The same request is sent until it is accepted or refused, which keeps the order. The
//! decisions are made elsewhere: what an answer means, how long to wait, what to log.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::answer::Health;
use super::answer::{Answer, Verdict};
use super::batch::Batch;
use super::client::{Client, ClientError};
use super::queue::Item;
use super::shared::{Shared, Work};
use super::tracker::{Taken, Tracker};
use crate::base::throttle::Throttle;
use crate::collector::events::push as events;
use crate::collector::settings::RemoteWrite;
use crate::protocol::backoff::Backoff;

/// Room that is kept for requests: what is usual, not the largest there was.
const KEPT_BYTES: usize = 256 * 1024;

/// The shortest time that a last request is given.
const LAST_TIMEOUT: Duration = Duration::from_millis(100);

/// The target is to stop, and there is no time left.
#[derive(Debug)]
struct Stopped;

/// The thread's own.
#[derive(Debug)]
pub(super) struct Worker {
    shared: Arc<Shared>,
    name: String,
    settings: RemoteWrite,
    /// The thread that sent to the target of this name before, and by when it will have
    /// ended: its samples are the older ones.
    before: Option<(Arc<Shared>, Instant)>,
    tracker: Tracker,
    overtaken: Throttle,
    sender: Sender,
}

/// Sends requests.
#[derive(Debug)]
struct Sender {
    /// None until it is needed, and where files have to be read again.
    client: Option<Client>,
    batch: Batch,
    snappy: Vec<u8>,
    backoff: Backoff,
    health: Health,
    refused: Throttle,
}

impl Worker {
    pub(super) fn new(
        shared: Arc<Shared>,
        name: String,
        settings: RemoteWrite,
        before: Option<(Arc<Shared>, Instant)>,
    ) -> Self {
        let sender = Sender {
            client: None,
            batch: Batch::default(),
            snappy: Vec::new(),
            backoff: Backoff::new(),
            health: Health::default(),
            refused: Throttle::default(),
        };
        Self {
            shared,
            name,
            settings,
            before,
            tracker: Tracker::default(),
            overtaken: Throttle::default(),
            sender,
        }
    }

    /// Until it is told to stop.
    pub(super) fn run(mut self) {
        if let Some((before, deadline)) = self.before.take() {
            before.let_end(deadline);
        }
        let mut items = Vec::new();
        while self.shared.take(&mut items) == Work::Send {
            if self.send(&items).is_err() {
                break;
            }
            items.clear();
            if let Some(dropped) = self.shared.lock().settle_all() {
                events::keeps_up(&self.name, dropped);
            }
            self.sender.let_go();
        }
        if let Some(left) = self.shared.end() {
            events::left(&self.name, left);
        }
    }

    fn send(&mut self, items: &[Item]) -> Result<(), Stopped> {
        let Self {
            shared,
            name,
            settings,
            tracker,
            overtaken,
            sender,
            ..
        } = self;
        let mut via = Via {
            shared,
            name,
            settings,
        };
        for item in items {
            let taken = tracker.take(item, &mut |sample| {
                sender.batch.push(&via.settings.labels, sample);
                if sender.batch.is_full() {
                    sender.deliver(&mut via)?;
                }
                Ok(())
            })?;
            if taken == Taken::Overtaken {
                let mut state = via.shared.lock();
                state.counts.dropped += item.samples() as u64;
                state.settle(item.samples());
                drop(state);
                if let Some(untold) = overtaken.note(Instant::now()) {
                    events::overtaken(via.name, item.host(), untold);
                }
            }
        }
        if sender.batch.samples() > 0 {
            sender.deliver(&mut via)?;
        }
        Ok(())
    }
}

/// Where requests go.
struct Via<'a> {
    shared: &'a Shared,
    name: &'a str,
    settings: &'a RemoteWrite,
}

impl Sender {
    /// Sends the batch until it is taken or refused.
    fn deliver(&mut self, via: &mut Via<'_>) -> Result<(), Stopped> {
        self.compress();
        loop {
            if !via.time_left() {
                return Err(Stopped);
            }
            let reload = via.shared.lock().take_reload();
            if reload {
                self.client = None;
            }
            let verdict = match self.attempt(via) {
                Ok(verdict) => verdict,
                Err(error) => Verdict::Again {
                    reason: error.to_string(),
                    not_before: Duration::ZERO,
                },
            };
            match verdict {
                Verdict::Delivered => {
                    self.settle(via, None);
                    return Ok(());
                }
                Verdict::Refused { reason } | Verdict::Unauthorised { reason } => {
                    self.settle(via, Some(reason));
                    return Ok(());
                }
                Verdict::Again { reason, not_before } => self.wait(via, &reason, not_before)?,
            }
        }
    }

    /// One request. Where the receiver does not know us, and the secret is another one by
    /// now, one more.
    fn attempt(&mut self, via: &Via<'_>) -> Result<Verdict, ClientError> {
        let client = match &mut self.client {
            Some(client) => client,
            none => none.insert(Client::open(via.settings)?),
        };
        let verdict = |answer: &Answer| answer.verdict(SystemTime::now());
        let first = verdict(&client.post(&self.snappy, via.timeout())?);
        if !matches!(first, Verdict::Unauthorised { .. }) {
            return Ok(first);
        }
        if !client.read_secret_again()? {
            return Ok(first);
        }
        Ok(verdict(&client.post(&self.snappy, via.timeout())?))
    }

    /// The batch is taken, or refused for this reason.
    fn settle(&mut self, via: &Via<'_>, refused: Option<String>) {
        let now = Instant::now();
        let samples = self.batch.samples();
        self.batch.clear();
        self.backoff.reset();
        let mut state = via.shared.lock();
        state.settle(samples);
        state.failing = refused.is_some();
        if let Some(reason) = &refused {
            state.counts.failed += samples as u64;
            state.last_error = Some(reason.clone());
        } else {
            state.counts.sent += samples as u64;
            state.last_success = Some(SystemTime::now());
        }
        let dropped = state.counts.dropped;
        drop(state);
        if let Some(recovered) = self.health.works(now, dropped) {
            events::recovered(via.name, recovered.lasted, recovered.dropped);
        }
        if let Some(reason) = refused
            && let Some(untold) = self.refused.note(now)
        {
            events::refused(via.name, &via.settings.url, &reason, samples, untold);
        }
    }

    /// Waits until the batch may be sent again.
    fn wait(&mut self, via: &Via<'_>, reason: &str, not_before: Duration) -> Result<(), Stopped> {
        let mut state = via.shared.lock();
        let dropped = state.counts.dropped;
        let stopping = state.stopping().is_some();
        state.failing = true;
        state.last_error = Some(reason.to_owned());
        drop(state);
        if self.health.failed(Instant::now(), dropped) {
            events::failing(via.name, &via.settings.url, &reason);
        }
        // A farewell is one try.
        if stopping {
            return Err(Stopped);
        }
        let delay = self.backoff.delay(&mut fastrand::f64).max(not_before);
        via.shared.pause(delay);
        Ok(())
    }

    fn compress(&mut self) {
        let body = self.batch.body();
        self.snappy
            .resize(snap::raw::max_compress_len(body.len()), 0);
        let written = snap::raw::Encoder::new().compress(body, &mut self.snappy);
        // There is room for it, and a batch has less than the 4 GB that are the limit.
        self.snappy.truncate(written.unwrap_or(0));
    }

    /// Gives back what only a large message needed.
    fn let_go(&mut self) {
        self.snappy.clear();
        self.snappy.shrink_to(KEPT_BYTES);
        self.batch.shrink();
    }
}

impl Via<'_> {
    /// How long a request may take: that of the settings, or what is left for the farewell.
    fn timeout(&self) -> Duration {
        let usual = self.settings.timeout;
        match self.shared.lock().stopping() {
            None => usual,
            Some(deadline) => {
                let left = deadline.saturating_duration_since(Instant::now());
                left.clamp(LAST_TIMEOUT, usual.max(LAST_TIMEOUT))
            }
        }
    }

    fn time_left(&self) -> bool {
        let deadline = self.shared.lock().stopping();
        deadline.is_none_or(|deadline| Instant::now() < deadline)
    }
}
