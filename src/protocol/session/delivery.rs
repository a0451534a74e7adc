//! Detects that what is sent does not arrive. Pure.
//!
//! A path may lose only large packets: a tunnel with a smaller MTU whose "too big" is filtered on
//! the way back. Then hello and pings pass, but metrics never do; TCP sends the same segment again
//! and again, and nothing fails for a quarter of an hour. The sign is that the kernel has sent data
//! of which nothing is acknowledged, while the collector is still heard.

use std::time::{Duration, Instant};

use super::later;
use crate::protocol::message::GridKind;

/// Data of which nothing is acknowledged for this long is taken as lost: TCP has sent it again six
/// times or so by then, and the heartbeat has not given up yet.
pub const UNACKNOWLEDGED_LIMIT: Duration = Duration::from_secs(20);

/// The same where the connection has ended: shorter than the kernel tries with a device of its own
/// that takes nothing (15 times, every half second).
const ENDED_LIMIT: Duration = Duration::from_secs(5);

/// What is given to the transport is on its way after this; what is not under way any more by then
/// has arrived.
const SETTLED: Duration = Duration::from_secs(2);

/// How soon to look after something was sent, unless another sample comes first; and again, as long
/// as nothing is acknowledged.
const FIRST_LOOK: Duration = Duration::from_secs(6);
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Anything that comes from the peer's host this long after something was sent is later than an
/// acknowledgement would have been.
const ROUND_TRIP: Duration = Duration::from_secs(1);

/// What the kernel knows of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Something is under way that the peer's host has not acknowledged.
    pub outstanding: bool,
    /// Nothing is under way, and what waits has room at the peer's host: this host's own network
    /// device does not take it.
    pub kept: bool,
    /// Bytes acknowledged since the connection began.
    pub acknowledged: u64,
    /// How long ago anything of the peer's host arrived.
    pub heard: Duration,
}

/// What a look at it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Metrics that were sent on this link have arrived.
    Delivered,
    /// Nothing to say yet.
    Open,
    /// Nothing has been acknowledged since then, and something should have been.
    Stuck { since: Instant },
}

/// What is known of the grids sent on a link.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Watch {
    /// When the first metrics were. A model proves nothing: it may be small enough for a path that
    /// metrics are too large for.
    first_metrics: Option<Instant>,
    /// Since when something is under way, as far as is known, without any progress.
    stuck_since: Option<Instant>,
    /// What was acknowledged at the last look, and whether metrics were under way by then.
    last: Option<(u64, bool)>,
    /// When the peer's host was heard last, if it should have acknowledged what was sent by then.
    host_heard: Option<Instant>,
    /// At the last look this host's own device did not take what waits.
    kept: bool,
    /// When to look at the latest.
    look_at: Option<Instant>,
}

impl Watch {
    /// A grid of this kind is sent.
    pub(super) fn sent(&mut self, now: Instant, kind: GridKind) {
        if kind == GridKind::Metrics {
            self.first_metrics.get_or_insert(now);
        }
        self.stuck_since.get_or_insert(now);
        self.look_at.get_or_insert(later(now, FIRST_LOOK));
    }

    /// When to look, whether another grid is sent before or not.
    pub(super) fn look_at(&self) -> Option<Instant> {
        self.look_at
    }

    /// It is being looked.
    pub(super) fn looking(&mut self, now: Instant) {
        self.look_at = Some(later(now, UNACKNOWLEDGED_LIMIT));
    }

    /// What was found.
    pub(super) fn look(&mut self, now: Instant, found: Delivery) -> Verdict {
        let settled = self
            .first_metrics
            .is_some_and(|first| now.saturating_duration_since(first) >= SETTLED);
        let more = |(before, _): (u64, bool)| found.acknowledged > before;
        let progress = self.last.is_some_and(more);
        // Beyond what is small enough for any path: hello, the first of a grid.
        let large = self.last.is_some_and(|last| last.1 && more(last));
        self.last = Some((found.acknowledged, settled));
        self.kept = found.kept;
        if !found.outstanding {
            self.stuck_since = None;
            self.look_at = None;
        } else if progress {
            self.stuck_since = Some(now);
        }
        let heard = now.checked_sub(found.heard);
        self.host_heard = heard.filter(|&heard| {
            self.stuck_since
                .is_some_and(|since| heard >= later(since, ROUND_TRIP))
        });
        let Some(since) = self.stuck_since else {
            return if settled {
                Verdict::Delivered
            } else {
                Verdict::Open
            };
        };
        let limit = later(since, UNACKNOWLEDGED_LIMIT);
        self.look_at = Some(later(since, FIRST_LOOK).max(later(now, LOOK_AGAIN)));
        if large {
            Verdict::Delivered
        } else if now >= limit {
            Verdict::Stuck { since }
        } else {
            Verdict::Open
        }
    }

    /// When the peer was heard last: the collector at `said`, or its host later than that.
    pub(super) fn heard(&self, said: Instant) -> Instant {
        self.host_heard.map_or(said, |heard| heard.max(said))
    }

    /// The connection has ended. For how long nothing had been acknowledged, where that is what it
    /// ended of: a peer that was not heard either went away, unless this host's own device took
    /// nothing that the peer could have answered.
    pub(super) fn ended(&self, now: Instant) -> Option<Duration> {
        let lasting = now.saturating_duration_since(self.stuck_since?);
        let of_that = self.host_heard.is_some() || self.kept;
        (of_that && lasting >= ENDED_LIMIT).then_some(lasting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks at these seconds, each with what is under way and what is acknowledged; a grid is
    /// sent at second 0 and after each look.
    fn verdicts(looks: &[(u64, bool, u64)]) -> Vec<Verdict> {
        let zero = Instant::now();
        let mut watch = Watch::default();
        watch.sent(zero, GridKind::Metrics);
        let look = |&(second, outstanding, acknowledged): &(u64, bool, u64)| {
            let now = zero + Duration::from_secs(second);
            let found = Delivery {
                outstanding,
                kept: false,
                acknowledged,
                heard: Duration::ZERO,
            };
            let verdict = watch.look(now, found);
            watch.sent(now, GridKind::Metrics);
            verdict
        };
        looks.iter().map(look).collect()
    }

    use Verdict::{Delivered, Open};

    #[test]
    fn what_arrives_is_delivered() {
        let looks = [(5, false, 900), (10, false, 1800), (3600, false, 2700)];
        assert_eq!(verdicts(&looks), [Delivered; 3]);
    }

    #[test]
    fn nothing_is_known_before_it_is_on_its_way() {
        assert_eq!(
            verdicts(&[(0, false, 300), (1, false, 300), (2, false, 300)]),
            [Open, Open, Delivered]
        );
    }

    #[test]
    fn what_is_never_acknowledged_is_stuck_after_the_limit() {
        let found = verdicts(&[
            // Hello arrives after the first grid was given to the transport.
            (0, true, 300),
            (1, true, 700),
            (5, true, 700),
            (10, true, 700),
            (20, true, 700),
            (21, true, 700),
        ]);
        assert_eq!(found[..5], [Open; 5]);
        assert!(matches!(found[5], Verdict::Stuck { .. }));
    }

    #[test]
    fn a_model_that_arrives_does_not_vouch_for_metrics() {
        let zero = Instant::now();
        let at = |second| zero + Duration::from_secs(second);
        let mut watch = Watch::default();
        let mut look = |second, outstanding, kind| {
            let found = Delivery {
                outstanding,
                kept: false,
                acknowledged: 1300,
                heard: Duration::ZERO,
            };
            let verdict = watch.look(at(second), found);
            watch.sent(at(second), kind);
            verdict
        };
        assert_eq!(look(0, false, GridKind::Model), Open);
        assert_eq!(look(5, false, GridKind::Metrics), Open);
        for second in [10, 15, 20] {
            assert_eq!(look(second, true, GridKind::Metrics), Open);
        }
        let Verdict::Stuck { since } = look(25, true, GridKind::Metrics) else {
            panic!("not stuck");
        };
        assert_eq!(since, at(5));
    }

    #[test]
    fn a_slow_path_that_goes_on_is_not_stuck() {
        let looks: Vec<_> = (0..100).map(|at| (at * 15, true, at * 100)).collect();
        let found = verdicts(&looks);
        assert_eq!(found[..2], [Open; 2]);
        assert_eq!(found[2..], [Delivered; 98]);
    }

    #[test]
    fn it_is_looked_where_no_sample_comes_and_never_where_all_has_arrived() {
        let zero = Instant::now();
        let at = |second| zero + Duration::from_secs(second);
        let mut watch = Watch::default();
        assert_eq!(watch.look_at(), None);
        watch.sent(at(0), GridKind::Model);
        watch.sent(at(5), GridKind::Metrics);
        assert_eq!(watch.look_at(), Some(at(6)));
        let mut found = Delivery {
            outstanding: true,
            kept: false,
            acknowledged: 1,
            heard: Duration::ZERO,
        };
        watch.look(at(1), found);
        assert_eq!(watch.look_at(), Some(at(6)));
        watch.look(at(6), found);
        assert_eq!(watch.look_at(), Some(at(7)));
        found.outstanding = false;
        watch.look(at(7), found);
        assert_eq!(watch.look_at(), None);
    }

    #[test]
    fn a_connection_that_ends_with_nothing_acknowledged_ended_of_that() {
        let zero = Instant::now();
        let at = |second| zero + Duration::from_secs(second);
        // When it was looked, what was under way, how long ago the peer's host was heard then, and
        // when the connection ended.
        let ended_of = |looked, outstanding, kept, ago, end| {
            let mut watch = Watch::default();
            watch.sent(zero, GridKind::Metrics);
            let found = Delivery {
                outstanding,
                kept,
                acknowledged: 700,
                heard: Duration::from_secs(ago),
            };
            watch.look(at(looked), found);
            watch.ended(at(end))
        };
        let ended = |looked, outstanding, ago, end| ended_of(looked, outstanding, false, ago, end);
        assert_eq!(ended(6, true, 2, 8), Some(Duration::from_secs(8)));
        assert_eq!(ended(6, false, 2, 8), None);
        assert_eq!(ended(2, true, 1, 3), None, "too soon to tell");
        assert_eq!(ended(6, true, 6, 8), None, "gone when it was sent");
        // This host's own device kept it, so the peer had nothing to acknowledge.
        let kept = ended_of(6, true, true, 6, 8);
        assert_eq!(kept, Some(Duration::from_secs(8)));
        assert_eq!(Watch::default().ended(at(8)), None);
        // Not looked at yet.
        let mut watch = Watch::default();
        watch.sent(zero, GridKind::Metrics);
        assert_eq!(watch.ended(at(8)), None);
    }
}
