//! Limits the log lines about hosts that appear and go. Pure: time is an argument.
//!
//! A peer chooses its host names freely. So each key may write some lines at once and then one
//! a second: a peer that invents names cannot fill the log, or use up the lines of others. The
//! number of omitted lines is logged. All keys together may write as many lines as a whole
//! fleet needs when it starts, and those from one network half of that, because one machine can
//! make up many keys.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::base::network::Network;
use crate::curve::keys::PublicKey;

/// Burst of lines for one key: as many as one connection may have hosts.
const KEY_BURST: u32 = 100;

/// After the burst, one line for a key in this time.
const KEY_INTERVAL: Duration = Duration::from_secs(1);

/// Burst of lines for all keys: twice the largest fleet that one collector is designed for, all
/// of it returning.
const BURST: u32 = 20_000;

/// After the burst, one line for all keys in this time.
const INTERVAL: Duration = Duration::from_millis(20);

/// Burst of lines for hosts from one network: enough for a whole fleet behind one address, and
/// half of the burst for all.
const NETWORK_BURST: u32 = BURST / 2;

/// After the burst, one line for a network in this time.
const NETWORK_INTERVAL: Duration = Duration::from_millis(40);

/// Delay between the first omitted line and the line that gives their number.
const TELL_AFTER: Duration = Duration::from_secs(10);

/// Interval between two lines that give the number of omitted lines.
const TELL_INTERVAL: Duration = Duration::from_secs(60);

/// Beyond this number of keys or networks, those with a full bucket are dropped.
const CROWD: usize = 4096;

/// Decides which lines are written.
#[derive(Debug)]
pub struct HostLines {
    all: Bucket,
    keys: HashMap<PublicKey, Bucket>,
    networks: HashMap<Network, Bucket>,
    /// When the first count is due, where something was left out.
    next_due: Option<Instant>,
    /// When keys were last forgotten.
    pruned: Instant,
}

/// How many lines were left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// Which hosts the lines were about.
    pub of: Whose,
    /// How many.
    pub lines: u64,
}

/// Whose limit was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// The hosts of a key.
    Key(PublicKey),
    /// Those from a network.
    Network(Network),
    /// All.
    All,
}

/// A token bucket: lines that may be written, and the number of omitted ones.
#[derive(Debug)]
struct Bucket {
    left: u32,
    /// The time up to which `left` is counted.
    earned: Instant,
    left_out: u64,
    told: Option<Instant>,
    tell_at: Option<Instant>,
}

impl Bucket {
    const fn new(now: Instant, burst: u32) -> Self {
        Self {
            left: burst,
            earned: now,
            left_out: 0,
            told: None,
            tell_at: None,
        }
    }

    fn refill(&mut self, now: Instant, burst: u32, interval: Duration) {
        let passed = now.saturating_duration_since(self.earned).as_nanos();
        let earned = u32::try_from(passed / interval.as_nanos()).unwrap_or(u32::MAX);
        self.left = self.left.saturating_add(earned).min(burst);
        if self.left == burst {
            self.earned = now;
        } else {
            // The rest of the time counts for the next one.
            self.earned += earned * interval;
        }
    }

    /// Counts an omitted line. Returns when the number is due.
    fn leave_out(&mut self, now: Instant) -> Instant {
        self.left_out += 1;
        let again = self.told.map(|told| told + TELL_INTERVAL);
        *self.tell_at.get_or_insert_with(|| {
            let soon = now + TELL_AFTER;
            again.map_or(soon, |again| again.max(soon))
        })
    }

    /// The number of omitted lines, if it is due now.
    fn take_due(&mut self, now: Instant) -> Option<u64> {
        self.tell_at.take_if(|at| *at <= now)?;
        self.told = Some(now);
        Some(std::mem::take(&mut self.left_out))
    }

    /// Returns true if it equals a new bucket.
    fn is_as_new(&self, now: Instant, burst: u32) -> bool {
        let told = self.told.is_some_and(|told| now < told + TELL_INTERVAL);
        self.left == burst && self.left_out == 0 && !told
    }
}

impl HostLines {
    /// Makes a limiter with full buckets.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self {
            all: Bucket::new(now, BURST),
            keys: HashMap::new(),
            networks: HashMap::new(),
            next_due: None,
            pruned: now,
        }
    }

    /// Returns true if a line may be written about a host of this key, from this address, that
    /// appeared or went.
    pub fn note(&mut self, now: Instant, key: Option<PublicKey>, address: Option<&str>) -> bool {
        self.all.refill(now, BURST, INTERVAL);
        self.prune(now);
        // If the limit for all is reached, no key is remembered. That bounds the keys to those
        // that had a line recently.
        let at = if self.all.left == 0 {
            let known = key.and_then(|key| self.keys.get_mut(&key));
            known.unwrap_or(&mut self.all).leave_out(now)
        } else {
            if let Some(key) = key {
                let new = || Bucket::new(now, KEY_BURST);
                let own = self.keys.entry(key).or_insert_with(new);
                own.refill(now, KEY_BURST, KEY_INTERVAL);
                if own.left == 0 {
                    let at = own.leave_out(now);
                    self.due_at(at);
                    return false;
                }
                own.left -= 1;
            }
            if let Some(network) = address.and_then(Network::parse) {
                let new = || Bucket::new(now, NETWORK_BURST);
                let own = self.networks.entry(network).or_insert_with(new);
                own.refill(now, NETWORK_BURST, NETWORK_INTERVAL);
                if own.left == 0 {
                    let at = own.leave_out(now);
                    self.due_at(at);
                    return false;
                }
                own.left -= 1;
            }
            self.all.left -= 1;
            return true;
        };
        self.due_at(at);
        false
    }

    /// When [`take_due`](Self::take_due) has something.
    #[must_use]
    pub fn next_due(&self) -> Option<Instant> {
        self.next_due
    }

    /// The numbers of omitted lines that are due now.
    pub fn take_due(&mut self, now: Instant) -> Vec<LeftOut> {
        if self.next_due.is_none_or(|due| now < due) {
            return Vec::new();
        }
        let all = (Whose::All, &mut self.all);
        let keys = self.keys.iter_mut();
        let keys = keys.map(|(key, own)| (Whose::Key(*key), own));
        let networks = self.networks.iter_mut();
        let networks = networks.map(|(network, own)| (Whose::Network(*network), own));
        let (mut due, mut next) = (Vec::new(), None::<Instant>);
        for (of, bucket) in std::iter::once(all).chain(keys).chain(networks) {
            due.extend(bucket.take_due(now).map(|lines| LeftOut { of, lines }));
            next = next.into_iter().chain(bucket.tell_at).min();
        }
        self.next_due = next;
        due
    }

    fn due_at(&mut self, at: Instant) {
        self.next_due = self.next_due.into_iter().chain([at]).min();
    }

    fn prune(&mut self, now: Instant) {
        let recent = now.saturating_duration_since(self.pruned) < KEY_INTERVAL;
        if self.keys.len().max(self.networks.len()) < CROWD || recent {
            return;
        }
        self.pruned = now;
        self.keys.retain(|_, own| {
            own.refill(now, KEY_BURST, KEY_INTERVAL);
            !own.is_as_new(now, KEY_BURST)
        });
        self.networks.retain(|_, own| {
            own.refill(now, NETWORK_BURST, NETWORK_INTERVAL);
            !own.is_as_new(now, NETWORK_BURST)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u32) -> PublicKey {
        let mut bytes = [7; 32];
        bytes[..4].copy_from_slice(&number.to_le_bytes());
        PublicKey::from_bytes(bytes)
    }

    fn written(lines: &mut HostLines, now: Instant, of: u32, count: u32) -> u32 {
        let wanted = (0..count).filter(|_| lines.note(now, Some(key(of)), None));
        u32::try_from(wanted.count()).unwrap()
    }

    #[test]
    fn a_key_that_makes_hosts_up_takes_no_line_of_others() {
        let start = Instant::now();
        let mut lines = HostLines::new(start);
        // 30 keys with 1,000 names each, as often as they like.
        for of in 0..30 {
            assert_eq!(written(&mut lines, start, of, 1000), KEY_BURST);
        }
        let later = start + 3 * KEY_INTERVAL + KEY_INTERVAL / 2;
        assert_eq!(written(&mut lines, later, 0, 1000), 3);
        assert_eq!(written(&mut lines, later + KEY_INTERVAL / 2, 0, 1000), 1);
        // A whole fleet has its lines all the same.
        for of in 100..10_100 {
            assert!(lines.note(later, Some(key(of)), None), "{of}");
        }
    }

    #[test]
    fn what_is_left_out_is_told_by_number() {
        let start = Instant::now();
        let mut lines = HostLines::new(start);
        assert_eq!(lines.next_due(), None);
        written(&mut lines, start, 1, 1000);
        written(&mut lines, start, 2, 100);
        let due = start + TELL_AFTER;
        assert_eq!(lines.next_due(), Some(due));
        assert_eq!(lines.take_due(start), []);
        let left_out = |lines| LeftOut {
            of: Whose::Key(key(1)),
            lines,
        };
        assert_eq!(lines.take_due(due), [left_out(900)]);
        assert_eq!(lines.next_due(), None);
        // The next count follows after a minute.
        assert_eq!(written(&mut lines, due, 1, 15), 10);
        let again = due + TELL_INTERVAL;
        assert_eq!(lines.next_due(), Some(again));
        assert_eq!(lines.take_due(again), [left_out(5)]);
    }

    #[test]
    fn all_together_are_bounded_in_lines_and_memory() {
        let start = Instant::now();
        let mut lines = HostLines::new(start);
        let told = (0..50_000).filter(|of| lines.note(start, Some(key(*of)), None));
        assert_eq!(u32::try_from(told.count()).unwrap(), BURST);
        assert!(lines.keys.len() <= BURST as usize);
        let due = lines.take_due(start + TELL_AFTER);
        let expected = LeftOut {
            of: Whose::All,
            lines: 30_000,
        };
        assert_eq!(due, [expected]);
        // Those of before are forgotten.
        assert!(lines.note(start + TELL_AFTER, Some(key(60_000)), None));
        assert_eq!(lines.keys.len(), 1);
    }

    #[test]
    fn a_machine_that_makes_up_keys_leaves_lines_for_others() {
        let start = Instant::now();
        let mut lines = HostLines::new(start);
        let mut told = |of: u32, address| lines.note(start, Some(key(of)), Some(address));
        let evil = (0..50_000).filter(|of| told(*of, "2001:db8::1")).count();
        assert_eq!(u32::try_from(evil).unwrap(), NETWORK_BURST);
        assert!(!told(50_000, "2001:db8::2"));
        // A fleet behind another address.
        for of in 60_000..60_000 + NETWORK_BURST {
            assert!(told(of, "192.0.2.1"), "{of}");
        }
        let expected = LeftOut {
            of: Whose::Network(Network::parse("2001:db8::").unwrap()),
            lines: 40_001,
        };
        assert_eq!(lines.take_due(start + TELL_AFTER), [expected]);
    }

    #[test]
    fn hosts_without_a_key_have_the_lines_of_all() {
        let start = Instant::now();
        let mut lines = HostLines::new(start);
        for _ in 0..BURST {
            assert!(lines.note(start, None, None));
        }
        assert!(!lines.note(start, None, None));
        assert!(lines.note(start + INTERVAL, None, None));
    }
}
