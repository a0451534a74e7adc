//! Carries out the orders of other tasks, and publishes what they may read by themselves. A list of
//! hosts is made page by page, each as large as an answer may be.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use super::handle::Order;
use super::prometheus::own::{self, Figure};
use super::run::Collector;
use super::state::{CountersSnapshot, HostCounts, Phase, ViewerCounts};
use super::{
    access::Listener,
    access::key_log::{ListedKey, Record, Who},
    hosts::Hosts,
};
use crate::collector::hosts::snapshot::Presence;
use crate::curve::keys::PublicKey;

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
        figures.extend(own::of_listener(Listener::Agents, &self.agents.load()));
        let viewers = self.fleet.viewers.load();
        figures.extend(
            viewers
                .iter()
                .flat_map(|load| own::of_listener(Listener::Viewers, load)),
        );
        figures.push(Figure::plain(&own::KEPT_BACK, self.shares.kept_back));
        figures.extend(own::of_history(&self.agents.history));
        figures.extend(self.fleet.sinks.publish_figures());
        figures.extend(self.fleet.sinks.targets().iter().flat_map(own::of_target));
        figures
    }

    /// Shows the numbers as they are now.
    pub(super) fn publish_counters(&self) {
        let counters = CountersSnapshot {
            hosts: HostCounts {
                reporting: self.fleet.hosts.reporting() as u64,
                expected: self.fleet.hosts.expected() as u64,
                gone: self.fleet.hosts.gone() as u64,
            },
            keys: self.fleet.access.seen().len() as u64,
            shut_out: self.fleet.access.totals().refused,
            viewers: ViewerCounts {
                connected: self.fleet.viewers.len() as u64,
                messages: self.fleet.viewers.counts().sent,
                lost: self.fleet.viewers.counts().lost,
                refused: self.fleet.viewers.refused(),
            },
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

/// Most hosts in one answer: some 3 MB of it, at most 6, in a few milliseconds. More are
/// asked for page by page.
pub(crate) const MAX_LISTED: usize = 10_000;

/// Which hosts to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Only names that begin so.
    pub prefix: String,
    /// Only names behind this one.
    pub after: String,
    /// So many at most, and never more than [`MAX_LISTED`].
    pub limit: usize,
}

/// A page of hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// The hosts, sorted by name.
    pub hosts: Vec<Listed>,
    /// Whether others follow.
    pub more: bool,
}

/// A host in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub name: Arc<str>,
    /// Whether the host reports.
    pub presence: Presence,
    /// When it was last heard from.
    pub last_seen: SystemTime,
    /// Since when it is in that state.
    pub since: SystemTime,
    /// How many messages it has sent.
    pub messages: u64,
    /// The public key that it reports with.
    pub key: Option<PublicKey>,
    /// Where it reports from.
    pub address: Option<Arc<str>>,
}

impl Hosts {
    /// The first hosts, by name, of those that are selected. Looks at every name once.
    #[must_use]
    pub fn list(&self, now: Instant, wall: SystemTime, selection: &Selection) -> Listing {
        let limit = selection.limit.min(MAX_LISTED);
        let selected =
            |name: &str| name.starts_with(&selection.prefix) && name > selection.after.as_str();
        let mut found: Vec<_> = self.iter().filter(|(name, _)| selected(name)).collect();
        let more = found.len() > limit;
        if more {
            // Those that belong in front, in no order: cheaper than sorting all.
            found.select_nth_unstable_by(limit, |(a, _), (b, _)| a.cmp(b));
            found.truncate(limit);
        }
        found.sort_unstable_by_key(|(name, _)| *name);
        let at = |instant| {
            let ago = now.saturating_duration_since(instant);
            wall.checked_sub(ago).unwrap_or(SystemTime::UNIX_EPOCH)
        };
        let listed = |(name, host): (&Arc<str>, &super::hosts::Host)| Listed {
            name: Arc::clone(name),
            presence: host.presence(),
            last_seen: at(host.last_seen()),
            since: at(host.since()),
            messages: host.messages(),
            key: host.key(),
            address: host.address().cloned(),
        };
        Listing {
            hosts: found.into_iter().map(listed).collect(),
            more,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collector::hosts::{Peer, Report, Timing, Trust};
    use crate::curve::router::RoutingIdBytes;
    use crate::protocol::{grid::Grid, message::GridKind};
    use std::time::Duration;

    fn table(now: Instant, names: &[&str]) -> Hosts {
        let mut hosts = Hosts::new(Timing {
            ping_interval: Duration::from_secs(5),
            host_timeout: Duration::from_secs(30),
            forget_after: Duration::from_secs(3600),
        });
        let id = RoutingIdBytes::from(&b"A"[..]);
        for name in names {
            let report = Report {
                host: name,
                kind: GridKind::Metrics,
                grids: vec![Arc::new(
                    Grid::parse(b"{}", GridKind::Metrics).unwrap().into(),
                )],
                wire_bytes: 2,
            };
            let peer = Peer {
                routing_id: &id,
                key: None,
                address: Some("127.0.0.1"),
                trust: Trust::New,
            };
            hosts.ingest(now, peer, report).unwrap();
        }
        hosts
    }

    fn page(hosts: &Hosts, prefix: &str, after: &str, limit: usize) -> (Vec<String>, bool) {
        let selection = Selection {
            prefix: prefix.to_owned(),
            after: after.to_owned(),
            limit,
        };
        let listing = hosts.list(Instant::now(), SystemTime::now(), &selection);
        let names = listing.hosts.iter().map(|host| host.name.to_string());
        (names.collect(), listing.more)
    }

    #[test]
    fn pages_follow_each_other_and_leave_nothing_out() {
        let names = ["web3", "db1", "web1", "web2", "a", "web10"];
        let hosts = table(Instant::now(), &names);
        let all = ["a", "db1", "web1", "web10", "web2", "web3"].map(str::to_owned);
        assert_eq!(page(&hosts, "", "", 6), (all.to_vec(), false));
        for size in 1..=7 {
            let (mut seen, mut after) = (Vec::new(), String::new());
            loop {
                let (names, more) = page(&hosts, "", &after, size);
                assert!(names.len() <= size);
                seen.extend(names);
                after = seen.last().cloned().unwrap();
                if !more {
                    break;
                }
            }
            assert_eq!(seen, all, "{size}");
        }
        let web = ["web1", "web10", "web2"].map(str::to_owned);
        assert_eq!(page(&hosts, "web", "", 3), (web.to_vec(), true));
        assert_eq!(
            page(&hosts, "web", "web2", 9),
            (vec!["web3".to_owned()], false)
        );
        assert_eq!(page(&hosts, "x", "", 9), (vec![], false));
        assert_eq!(page(&hosts, "", "", 0), (vec![], true));
    }

    #[test]
    fn times_are_those_of_the_clock_on_the_wall() {
        let (now, wall) = (Instant::now(), SystemTime::now());
        let hosts = table(now, &["web1"]);
        let selection = Selection {
            limit: 1,
            ..Selection::default()
        };
        let later = Duration::from_secs(7);
        let listing = hosts.list(now + later, wall, &selection);
        let [host] = &listing.hosts[..] else {
            panic!("{listing:?}");
        };
        assert_eq!(host.last_seen, wall - later);
        assert_eq!(host.since, wall - later);
        assert_eq!((host.messages, host.presence), (1, Presence::Reporting));
        assert_eq!(host.address.as_deref(), Some("127.0.0.1"));
    }
}
