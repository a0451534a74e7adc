//! A page of the hosts, by name, as large as an answer may be.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use super::hosts::Hosts;
use crate::collector::hosts::snapshot::Presence;
use crate::curve::keys::PublicKey;

/// Most hosts in one answer: some 3 MB of it, at most 6, in a few milliseconds. More are
/// asked for page by page.
pub const MAX_LISTED: usize = 10_000;

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
    use std::time::Duration;

    use super::*;
    use crate::collector::hosts::{Peer, Report, Timing, Trust};
    use crate::curve::router::RoutingIdBytes;
    use crate::protocol::grid::Grid;
    use crate::protocol::message::GridKind;

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
                grid: Grid::parse(b"{}", GridKind::Metrics).unwrap(),
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
