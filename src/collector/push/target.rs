//! The thread of one target: takes what waits, makes requests of it, and sends one after the
//! other.
//!
//! The same request is sent until it is accepted or refused, which keeps the order. One that is
//! refused is sent again in parts, before anything else. The decisions are made elsewhere: what an
//! answer means, which parts, how long to wait, what to log.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::answer::Health;
use super::answer::{Answer, Verdict};
use super::batch::Batch;
use super::client::{Client, ClientError};
use super::queue::Item;
use super::shared::{Shared, Work};
use super::split::{Outcome, Split, Tally};
use super::tracker::{Taken, Tracker};
use crate::base::throttle::Throttle;
use crate::collector::events::push as events;
use crate::collector::settings::RemoteWrite;
use crate::protocol::backoff::Backoff;

/// Room that is kept for requests: what is usual, not the largest there was.
const KEPT_BYTES: usize = 256 * 1024;

/// The shortest time that a last request is given.
const LAST_TIMEOUT: Duration = Duration::from_millis(100);

/// A secret that was refused is not tried again before this: wrong passwords lock accounts.
const SAME_SECRET_AGAIN: Duration = Duration::from_secs(60);

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

/// What became of a request.
#[derive(Debug)]
enum Sent {
    Taken,
    Not { outcome: Outcome, reason: String },
}

/// Sends requests.
#[derive(Debug)]
struct Sender {
    /// None until it is needed, and where files have to be read again.
    client: Option<Client>,
    batch: Batch,
    /// A part of it that is sent again.
    part: Vec<u8>,
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
            part: Vec::new(),
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
        let mut items = Vec::new();
        if let Some((before, deadline)) = self.before.take() {
            before.let_end(deadline);
            items = self.shared.take_over(&before);
        }
        while !items.is_empty() || self.shared.take(&mut items) == Work::Send {
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
            sender.batch.begin(item.host());
            let taken = tracker.take(item, &mut |sample| {
                if sender.batch.is_overfull() {
                    sender.deliver(&mut via)?;
                }
                sender.batch.push(&via.settings.labels, sample);
                Ok(())
            })?;
            sender.batch.end(item.ticket());
            match taken {
                Taken::Sampled => {}
                Taken::Moved => via.shared.lock().counts.moved += item.samples() as u64,
                Taken::Overtaken => {
                    let mut state = via.shared.lock();
                    state.counts.dropped += item.samples() as u64;
                    state.settle(item.samples());
                    drop(state);
                    if let Some(untold) = overtaken.note(Instant::now()) {
                        events::overtaken(via.name, item.host(), untold);
                    }
                }
            }
            if sender.batch.is_full() {
                sender.deliver(&mut via)?;
            }
        }
        sender.deliver(&mut via)
    }
}

/// Where requests go.
struct Via<'a> {
    shared: &'a Shared,
    name: &'a str,
    settings: &'a RemoteWrite,
}

impl Sender {
    /// Sends the batch until each of its samples is taken or refused for good.
    fn deliver(&mut self, via: &mut Via<'_>) -> Result<(), Stopped> {
        if self.batch.samples() > 0 {
            compress(self.batch.body(), &mut self.snappy);
            let refused = match self.send(via)? {
                Sent::Taken => {
                    let all = Tally {
                        taken: self.batch.samples(),
                        refused: 0,
                    };
                    via.count(all);
                    self.batch.note_taken();
                    None
                }
                Sent::Not { outcome, reason } => self.take_apart(via, outcome, reason)?,
            };
            self.backoff.reset();
            self.report(via, refused);
        }
        via.shared.settled(self.batch.take_tickets());
        self.batch.clear();
        Ok(())
    }

    /// The batch was refused: sends it in parts; how much was refused, and why, if anything.
    fn take_apart(
        &mut self,
        via: &mut Via<'_>,
        mut outcome: Outcome,
        mut reason: String,
    ) -> Result<Option<(usize, String)>, Stopped> {
        if outcome == Outcome::TooLarge {
            self.batch.take_less(self.batch.body().len());
        }
        let (mut split, mut tally) = Split::new(self.batch.rows(), outcome);
        let mut refused: Option<(usize, String)> = None;
        loop {
            via.count(tally);
            if tally.refused > 0 {
                let (samples, _) = refused.get_or_insert_with(|| (0, reason.clone()));
                *samples += tally.refused;
            }
            let Some(part) = split.next() else {
                return Ok(refused);
            };
            self.batch.write_part(part, &mut self.part);
            compress(&self.part, &mut self.snappy);
            outcome = match self.send(via)? {
                Sent::Taken => Outcome::Taken,
                Sent::Not {
                    outcome,
                    reason: last,
                } => {
                    reason = last;
                    outcome
                }
            };
            if outcome == Outcome::TooLarge {
                self.batch.take_less(self.part.len());
            }
            tally = split.outcome(outcome);
        }
    }

    /// Sends what was compressed until it is taken or refused.
    fn send(&mut self, via: &mut Via<'_>) -> Result<Sent, Stopped> {
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
                Verdict::Delivered => return Ok(Sent::Taken),
                Verdict::Refused { reason } => {
                    return Ok(Sent::Not {
                        outcome: Outcome::Refused,
                        reason,
                    });
                }
                Verdict::TooLarge { reason } => {
                    return Ok(Sent::Not {
                        outcome: Outcome::TooLarge,
                        reason,
                    });
                }
                Verdict::Unauthorised { reason } => self.wait_for_secret(via, reason)?,
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

    /// The batch is settled: says what is new about the target.
    fn report(&mut self, via: &Via<'_>, refused: Option<(usize, String)>) {
        let now = Instant::now();
        let mut state = via.shared.lock();
        state.failing = refused.is_some();
        if let Some((_, reason)) = &refused {
            state.last_error = Some(reason.clone());
        }
        let dropped = state.counts.dropped;
        drop(state);
        if let Some(recovered) = self.health.works(now, dropped) {
            events::recovered(via.name, recovered.lasted, recovered.dropped);
        }
        if let Some((samples, reason)) = refused
            && let Some(untold) = self.refused.note(now)
        {
            events::refused(via.name, &via.settings.url, &reason, samples, untold);
        }
    }

    /// Waits until there is another secret, or the same one may be tried again: nothing is lost
    /// until somebody has mended it.
    fn wait_for_secret(&mut self, via: &Via<'_>, mut reason: String) -> Result<(), Stopped> {
        let since = Instant::now();
        loop {
            self.wait(via, &reason, Duration::ZERO)?;
            if via.shared.lock().has_reload() || since.elapsed() >= SAME_SECRET_AGAIN {
                return Ok(());
            }
            match self.client.as_mut().map(Client::read_secret_again) {
                None | Some(Ok(true)) => return Ok(()),
                Some(Ok(false)) => {}
                Some(Err(error)) => reason = error.to_string(),
            }
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

    /// Gives back what only a large message needed.
    fn let_go(&mut self) {
        self.snappy.clear();
        self.snappy.shrink_to(KEPT_BYTES);
        self.part = Vec::new();
        self.batch.shrink();
    }
}

/// Compresses a request.
fn compress(body: &[u8], snappy: &mut Vec<u8>) {
    snappy.resize(snap::raw::max_compress_len(body.len()), 0);
    let written = snap::raw::Encoder::new().compress(body, snappy);
    // There is room for it, and a batch has less than the 4 GB that are the limit.
    snappy.truncate(written.unwrap_or(0));
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

    /// So much of the batch is taken, so much refused.
    fn count(&self, tally: Tally) {
        let mut state = self.shared.lock();
        state.settle(tally.taken + tally.refused);
        state.counts.failed += tally.refused as u64;
        if tally.taken > 0 {
            state.counts.sent += tally.taken as u64;
            state.last_success = Some(SystemTime::now());
        }
    }

    fn time_left(&self) -> bool {
        let deadline = self.shared.lock().stopping();
        deadline.is_none_or(|deadline| Instant::now() < deadline)
    }
}
