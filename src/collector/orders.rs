//! Carrying out what others order, and telling them what they may read by themselves.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use super::access::key_log::{ListedKey, Record, Who};
use super::events;
use super::handle::Order;
use super::hosts::Forgotten;
use super::prometheus::own::{self, Figure};
use super::run::Collector;
use super::state::{CountersSnapshot, HostChange, Phase};

impl Collector {
    pub(super) fn obey(&mut self, order: Order) {
        let (now, wall) = (Instant::now(), SystemTime::now());
        // A caller that has gone before its answer is no concern of ours.
        match order {
            Order::Snapshot(answer) => {
                let _ = answer.send(self.hosts.snapshot(now, wall));
            }
            Order::Figures(answer) => {
                let _ = answer.send(self.figures());
            }
            Order::List(selection, answer) => {
                let _ = answer.send(self.hosts.list(now, wall, &selection));
            }
            Order::Host(name, answer) => {
                let found = self.hosts.snapshot_of(now, wall, &name);
                let _ = answer.send(found.map(Box::new));
            }
            Order::Keys(answer) => {
                let _ = answer.send(self.access.seen().iter().map(listed_key).collect());
            }
            Order::Forget(name, answer) => {
                let result = self.hosts.forget(&name);
                if let Ok(forgotten) = &result {
                    events::host_forgotten_as_asked(&name);
                    self.tell_forgotten(now, forgotten);
                    self.hosts_changed();
                    self.publish_counters();
                }
                let _ = answer.send(result.map(drop));
            }
            Order::Targets(answer) => {
                let _ = answer.send(self.sinks.targets());
            }
            Order::NextKey(permit, answer) => self.reloads.read_key(permit, answer, self.key()),
            Order::Reload(answer) => self.reload(Some(answer)),
        }
    }

    /// What the collector's task counts of itself.
    fn figures(&self) -> Vec<Figure> {
        let mut figures = self.counts.figures();
        figures.push(self.in_force.log_figure());
        let sent = self.viewers.counts();
        figures.extend([
            Figure::plain(&own::HANDSHAKES_REFUSED, self.access.totals().refused),
            Figure::plain(&own::VIEWERS, self.viewers.len() as u64),
            Figure::plain(&own::VIEWER_SENT, sent.sent),
            Figure::plain(&own::VIEWER_LOST, sent.lost),
            Figure::plain(&own::VIEWER_REFUSED, self.viewers.refused()),
        ]);
        figures.extend(self.sinks.targets().iter().flat_map(own::of_target));
        figures
    }

    /// Tells those who listen of a host that came or went.
    pub(super) fn tell(&self, change: HostChange) {
        // Nobody listening is the usual case.
        let _ = self.inbox.changes.send(change);
    }

    /// Tells the viewers of a host that came or went.
    pub(super) fn tell_state(&mut self, now: Instant, name: &Arc<str>) {
        let hosts = &self.hosts;
        let state = || hosts.state_of(now, SystemTime::now(), name);
        self.viewers.forward_state(now, name, state);
    }

    /// Tells the viewers of a host that is not known any more.
    pub(super) fn tell_forgotten(&mut self, now: Instant, forgotten: &Forgotten) {
        let state = || Some(forgotten.state(now, SystemTime::now()));
        self.viewers.forward_state(now, &forgotten.name, state);
    }

    /// Shows the numbers as they are now.
    pub(super) fn publish_counters(&self) {
        let counters = CountersSnapshot {
            reporting: self.hosts.reporting() as u64,
            expected: self.hosts.expected() as u64,
            gone: self.hosts.gone() as u64,
            keys: self.access.seen().len() as u64,
            shut_out: self.access.totals().refused,
            viewers: self.viewers.len() as u64,
            viewer_messages: self.viewers.counts().sent,
            viewer_lost: self.viewers.counts().lost,
            viewer_refused: self.viewers.refused(),
            shared: self.counts.shared,
            received: self.counts.messages,
            refused: self.counts.refused,
            bytes: self.counts.bytes,
            dropped: self.sinks.lost() + self.counts.dropped,
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
