//! Carries out the orders of other tasks, and publishes what they may read by themselves.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use super::access::key_log::{ListedKey, Record, Who};
use super::handle::Order;
use super::prometheus::own::{self, Figure};
use super::run::Collector;
use super::state::{CountersSnapshot, Phase};

impl Collector {
    pub(super) fn handle_order(&mut self, order: Order) {
        let (now, wall) = (Instant::now(), SystemTime::now());
        // The caller may have gone before its answer; that does not matter.
        match order {
            Order::Snapshot(answer) => {
                let _ = answer.send(self.fleet.hosts.snapshot(now, wall));
            }
            Order::Figures(answer) => {
                let _ = answer.send(self.figures());
            }
            Order::List(selection, answer) => {
                let _ = answer.send(self.fleet.hosts.list(now, wall, &selection));
            }
            Order::Host(name, answer) => {
                let found = self.fleet.hosts.snapshot_of(now, wall, &name);
                let _ = answer.send(found.map(Box::new));
            }
            Order::Keys(answer) => {
                let _ = answer.send(self.fleet.access.seen().iter().map(listed_key).collect());
            }
            Order::Forget(name, answer) => {
                let result = self.fleet.forget(now, &name);
                if result.is_ok() {
                    self.publish_counters();
                }
                let _ = answer.send(result);
            }
            Order::Targets(answer) => {
                let _ = answer.send(self.fleet.sinks.targets());
            }
            Order::NextKey(permit, answer) => self.reloads.read_key(permit, answer, self.key()),
            Order::Reload(answer) => self.reload(Some(answer)),
        }
    }

    /// The collector's own figures.
    fn figures(&self) -> Vec<Figure> {
        let mut figures = self.ingest.counts.figures();
        figures.push(self.in_force.log_figure());
        let sent = self.fleet.viewers.counts();
        figures.extend([
            Figure::plain(&own::HANDSHAKES_REFUSED, self.fleet.access.totals().refused),
            Figure::plain(&own::VIEWERS, self.fleet.viewers.len() as u64),
            Figure::plain(&own::VIEWER_SENT, sent.sent),
            Figure::plain(&own::VIEWER_LOST, sent.lost),
            Figure::plain(&own::VIEWER_REFUSED, self.fleet.viewers.refused()),
        ]);
        figures.extend(self.fleet.sinks.targets().iter().flat_map(own::of_target));
        figures
    }

    /// Shows the numbers as they are now.
    pub(super) fn publish_counters(&self) {
        let counters = CountersSnapshot {
            reporting: self.fleet.hosts.reporting() as u64,
            expected: self.fleet.hosts.expected() as u64,
            gone: self.fleet.hosts.gone() as u64,
            keys: self.fleet.access.seen().len() as u64,
            shut_out: self.fleet.access.totals().refused,
            viewers: self.fleet.viewers.len() as u64,
            viewer_messages: self.fleet.viewers.counts().sent,
            viewer_lost: self.fleet.viewers.counts().lost,
            viewer_refused: self.fleet.viewers.refused(),
            shared: self.ingest.counts.shared,
            received: self.ingest.counts.messages,
            refused: self.ingest.counts.refused,
            bytes: self.ingest.counts.bytes,
            dropped: self.fleet.sinks.lost() + self.ingest.counts.dropped,
        };
        self.inbox.gauges.set(counters);
    }

    /// Who listens on the bus hears of the end.
    pub(super) fn publish_end(&self) {
        self.publish_counters();
        self.inbox.state.send_modify(|state| {
            Arc::make_mut(state).phase = Phase::Stopping;
        });
    }
}

fn listed_key(((listener, key), record): (&Who, &Record)) -> ListedKey {
    ListedKey {
        listener: *listener,
        key: *key,
        record: record.clone(),
    }
}
