//! When samples are taken, and which of them wait for work beside the loop.
//!
//! Some of what is sampled may block and is read outside the loop: file systems, sensors. A sample
//! that needs it is taken once it is there, or after [`PATIENCE`] without what is missing.

use std::time::{Duration, Instant};

use super::connection::Serial;
use super::handle::{Answer, GridKind, ORDERS, OrderError};
use super::run::Agent;
use super::sampler::Sampler;
use super::ticker::Ticker;
use crate::metrics::Samples;
use crate::sources::background::PATIENCE;

/// Most that wait: the orders of the bus and a model for each connection, twice.
const MAX_WAITING: usize = 2 * ORDERS + 2 * crate::agent::settings::MAX_COLLECTORS;

/// Who wants a sample.
#[derive(Debug)]
pub(crate) enum SampleRequest {
    /// A tick of the metrics interval.
    Metrics,
    /// A connection whose collector asked for the model.
    Model { serial: Serial, link: u64 },
    /// The history, which has no facts yet.
    Facts,
    /// A caller on the bus.
    Query(GridKind, Answer<Samples>),
    /// A caller on the bus, for one source.
    QueryOne(String, Answer<Samples>),
}

/// What takes samples, and when.
pub(crate) struct Sampling {
    pub(crate) sampler: Sampler,
    pub(crate) pending: PendingSamples,
    pub(crate) ticker: Ticker,
}

impl Sampling {
    pub(crate) fn new(sampler: Sampler, metrics_interval: Duration) -> Self {
        Self {
            sampler,
            pending: PendingSamples::default(),
            ticker: Ticker::new(metrics_interval),
        }
    }
}

/// The requests that wait for a sample, each with the time when its wait ends.
#[derive(Debug, Default)]
pub(crate) struct PendingSamples(Vec<(SampleRequest, Instant)>);

impl PendingSamples {
    /// Adds a request; refuses it if too many wait already.
    pub(crate) fn join(&mut self, want: SampleRequest, metrics_interval: Duration, now: Instant) {
        let is_same = |(other, _): &(SampleRequest, _)| {
            matches!(
                (other, &want),
                (SampleRequest::Metrics, SampleRequest::Metrics)
                    | (SampleRequest::Facts, SampleRequest::Facts)
            )
        };
        if self.0.iter().any(is_same) {
            return;
        }
        if self.0.len() >= MAX_WAITING {
            want.refuse();
            return;
        }
        // A sample of one tick does not wait for long into the next.
        let patience = match want {
            SampleRequest::Metrics => PATIENCE.min(metrics_interval / 2),
            _ => PATIENCE,
        };
        self.0.push((want, now + patience));
    }

    /// When the first of these waits ends; None if there are none.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.0.iter().map(|(_, deadline)| *deadline).min()
    }

    /// Returns true if any request waits.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.0.is_empty()
    }

    /// Removes and returns the next request that is due: all it needs is there, or its wait is
    /// over.
    pub(crate) fn take(
        &mut self,
        ready: impl Fn(&SampleRequest) -> bool,
        now: Instant,
    ) -> Option<SampleRequest> {
        let due = |(want, deadline): &(SampleRequest, Instant)| now >= *deadline || ready(want);
        let at = self.0.iter().position(due)?;
        Some(self.0.remove(at).0)
    }
}

impl SampleRequest {
    fn refuse(self) {
        let busy = || {
            let text = "too many samples are pending already; try again";
            Err(OrderError::NotSampled(text.to_owned()))
        };
        match self {
            // The next tick, and the collector's next request, bring another.
            Self::Metrics | Self::Model { .. } | Self::Facts => {}
            Self::Query(_, answer) | Self::QueryOne(_, answer) => {
                let _ = answer.send(busy());
            }
        }
    }
}

impl Agent {
    /// Takes a sample, at once if nothing of it has to be waited for.
    pub(super) fn sample(&mut self, want: SampleRequest) {
        let now = Instant::now();
        if self.sampling.sampler.prepare(&want, now) {
            self.serve(want);
        } else {
            let interval = self.in_force.intervals().metrics;
            self.sampling.pending.join(want, interval, now);
        }
    }

    pub(super) fn serve(&mut self, want: SampleRequest) {
        // A caller that has gone before its answer is no concern of ours.
        match want {
            SampleRequest::Metrics => self.take_metrics(),
            SampleRequest::Model { serial, link } => {
                let sampler = &mut self.sampling.sampler;
                self.recording.learn(sampler.take(GridKind::Model));
                let grid = sampler.encode(&self.name.current());
                self.connections.send_model(serial, grid, link);
                self.hand_out_to_all();
            }
            SampleRequest::Facts => {
                // Where no source gives any, the next model may.
                let model = self.sampling.sampler.query(GridKind::Model);
                self.recording.learn(&model.unwrap_or_default());
            }
            SampleRequest::Query(kind, answer) => {
                let _ = answer.send(self.sampling.sampler.query(kind));
            }
            SampleRequest::QueryOne(name, answer) => {
                let _ = answer.send(self.sampling.sampler.query_one(&name));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot;

    const INTERVAL: Duration = Duration::from_secs(5);

    fn query() -> (
        SampleRequest,
        oneshot::Receiver<Result<Samples, OrderError>>,
    ) {
        let (answer, answered) = oneshot::channel();
        (SampleRequest::Query(GridKind::Model, answer), answered)
    }

    #[test]
    fn a_wait_ends_when_all_is_there_or_patience_is_over() {
        let now = Instant::now();
        let mut round = PendingSamples::default();
        assert!(!round.is_waiting());
        assert!(round.take(|_| true, now).is_none());
        round.join(SampleRequest::Metrics, INTERVAL, now);
        round.join(SampleRequest::Metrics, INTERVAL, now);
        assert_eq!(round.deadline(), Some(now + PATIENCE));
        assert!(round.take(|_| false, now).is_none());
        assert!(round.take(|_| true, now).is_some());
        assert!(!round.is_waiting(), "a tick waits once");
        round.join(SampleRequest::Metrics, INTERVAL, now);
        assert!(round.take(|_| false, now + PATIENCE).is_some());
        assert!(!round.is_waiting());
    }

    #[test]
    fn no_caller_waits_for_what_another_needs() {
        let now = Instant::now();
        let mut round = PendingSamples::default();
        let (want, _answered) = query();
        round.join(SampleRequest::Metrics, INTERVAL, now);
        round.join(want, INTERVAL, now);
        let ready = |want: &SampleRequest| matches!(want, SampleRequest::Query(..));
        assert!(matches!(
            round.take(ready, now),
            Some(SampleRequest::Query(..))
        ));
        assert!(round.take(ready, now).is_none());
        assert!(round.is_waiting());
    }

    #[test]
    fn a_fast_beat_waits_less() {
        let now = Instant::now();
        let mut round = PendingSamples::default();
        let interval = Duration::from_millis(100);
        let (want, _answered) = query();
        round.join(want, interval, now);
        round.join(SampleRequest::Metrics, interval, now);
        assert_eq!(round.deadline(), Some(now + interval / 2));
    }

    #[test]
    fn those_who_wait_are_bounded_and_told() {
        let now = Instant::now();
        let mut round = PendingSamples::default();
        let mut answers = Vec::new();
        for _ in 0..=MAX_WAITING {
            let (want, answered) = query();
            round.join(want, INTERVAL, now);
            answers.push(answered);
        }
        let refused = answers.pop().unwrap().try_recv().unwrap();
        assert!(matches!(refused, Err(OrderError::NotSampled(_))));
        assert!(answers.pop().unwrap().try_recv().is_err(), "still waits");
        let served = std::iter::from_fn(|| round.take(|_| true, now)).count();
        assert_eq!(served, MAX_WAITING);
    }
}
