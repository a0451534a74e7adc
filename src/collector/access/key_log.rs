//! Which keys have connected, from where, and under which names: an administrator makes an
//! allow list from it, and learns here which would be shut out. Pure.
//!
//! Bounded in the number of keys and in what is kept of each. If there is no room, keys that
//! never reported are dropped first, then those not seen for longest. Refused keys have a limit
//! of their own, so that strangers do not displace keys that are let in.

use std::{collections::HashMap, fmt};

use serde::{Deserialize, Serialize};

use super::Listener;
use crate::base::text;
use crate::curve::keys::PublicKey;

/// Maximum number of admitted keys that are remembered: the largest fleet that one collector is
/// designed for.
pub const MAX_ADMITTED: usize = 10_000;

/// Maximum number of refused keys that are remembered: enough to find the one that should have
/// been let in.
pub const MAX_REFUSED: usize = 1_000;

/// Maximum number of host names remembered of one key. A host has one, for a while two after it
/// is renamed; of a relay's many names a few are enough.
pub const MAX_HOSTS: usize = 8;

/// A host name is replaced by another of the same key only if it was silent for this long, in
/// seconds, so that a relay's many names do not replace each other all the time.
const HOST_FADES_S: u64 = 3600;

/// The longest address, in bytes: of IPv6, and more than that.
const MAX_ADDRESS_BYTES: usize = 64;

/// The decision on a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// It is listed, and let in.
    Allowed,
    /// It is let in because any key is.
    Any,
    /// It was refused.
    Refused,
}

impl Decision {
    /// The word for people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Any => "any",
            Self::Refused => "refused",
        }
    }
}

/// A host name that a key reported under.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostSeen {
    /// The name.
    pub name: Box<str>,
    /// When last, in seconds since 1970.
    pub last: u64,
}

/// What is known of a key. Times are seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// When it came first.
    pub first_seen: u64,
    /// When something was last heard of it.
    pub last_seen: u64,
    /// Where it came from last, without a port.
    pub address: Box<str>,
    /// The names it reported under, at most [`MAX_HOSTS`].
    pub hosts: Vec<HostSeen>,
    /// How it stands.
    pub standing: Decision,
    /// How often it was refused since it was last let in.
    pub refusals: u64,
}

/// The listener that a key connected to, and the key.
pub type Who = (Listener, PublicKey);

/// A key, the listener it connected to, and what is known of it: for lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedKey {
    /// Where it came to.
    pub listener: Listener,
    /// The key.
    pub key: PublicKey,
    /// What is known of it.
    pub record: Record,
}

/// The keys that have come.
#[derive(Debug, Default)]
pub struct KeyLog {
    admitted: HashMap<Who, Record>,
    refused: HashMap<Who, Record>,
}

impl KeyLog {
    /// Adds the keys that were saved before a restart.
    pub fn restore(&mut self, before: impl IntoIterator<Item = (Who, Record)>) {
        for (who, record) in before {
            let (table, most) = self.table(record.standing);
            if table.len() < most {
                table.insert(who, record);
            }
        }
    }

    /// Records a handshake and the decision on it.
    pub fn knocked(&mut self, who: Who, address: &str, standing: Decision, unix: u64) {
        // Its history is kept.
        let before = self.admitted.remove(&who);
        let before = before.or_else(|| self.refused.remove(&who));
        let bounded = address.get(..address.len().min(MAX_ADDRESS_BYTES));
        let address = bounded.unwrap_or_default();
        let mut record = before.unwrap_or_else(|| Record {
            first_seen: unix,
            last_seen: unix,
            address: address.into(),
            hosts: Vec::new(),
            standing,
            refusals: 0,
        });
        record.last_seen = unix;
        record.standing = standing;
        if *record.address != *address {
            record.address = address.into();
        }
        record.refusals = match standing {
            Decision::Refused => record.refusals + 1,
            Decision::Allowed | Decision::Any => 0,
        };
        let (table, most) = self.table(standing);
        if table.len() >= most {
            make_room(table);
        }
        table.insert(who, record);
    }

    /// Records a message of a key that was let in, and the host that it names, if any.
    pub fn note(&mut self, who: Who, host: Option<&str>, unix: u64) {
        let Some(record) = self.admitted.get_mut(&who) else {
            return;
        };
        record.last_seen = unix;
        let Some(host) = host else { return };
        if let Some(said) = record.hosts.iter_mut().find(|said| *said.name == *host) {
            said.last = unix;
            return;
        }
        let new = || HostSeen {
            name: host.into(),
            last: unix,
        };
        if record.hosts.len() < MAX_HOSTS {
            record.hosts.push(new());
        } else if let Some(oldest) = record.hosts.iter_mut().min_by_key(|said| said.last)
            && unix.saturating_sub(oldest.last) >= HOST_FADES_S
        {
            *oldest = new();
        }
    }

    /// What is known of a key.
    #[must_use]
    pub fn get(&self, who: &Who) -> Option<&Record> {
        self.admitted.get(who).or_else(|| self.refused.get(who))
    }

    /// Every key, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&Who, &Record)> {
        self.admitted.iter().chain(&self.refused)
    }

    /// How many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.admitted.len() + self.refused.len()
    }

    /// Returns true if there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn table(&mut self, standing: Decision) -> (&mut HashMap<Who, Record>, usize) {
        match standing {
            Decision::Refused => (&mut self.refused, MAX_REFUSED),
            Decision::Allowed | Decision::Any => (&mut self.admitted, MAX_ADMITTED),
        }
    }
}

/// Drops an eighth of them, so that a flood of new keys does not cost a search for each.
fn make_room(table: &mut HashMap<Who, Record>) {
    let worth = |record: &Record| {
        let listed = record.standing == Decision::Allowed;
        (listed, !record.hosts.is_empty(), record.last_seen)
    };
    let mut all: Vec<_> = table
        .iter()
        .map(|(who, record)| (worth(record), *who))
        .collect();
    all.sort_unstable();
    for (_, who) in all.iter().take(all.len().div_ceil(8)) {
        table.remove(who);
    }
}

/// Maximum number of keys that are named, by one of their hosts; of the rest only the number is
/// given.
const NAMED: usize = 5;

/// The keys that report now, and those of them that are not on the list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShutOut {
    /// How many keys report.
    pub reporting: usize,
    /// How many of them are not on the list.
    pub keys: usize,
    /// For each of those, a host that reports with it.
    hosts: Vec<String>,
}

impl ShutOut {
    /// Takes the keys that report, each with a host name, and finds those that are not
    /// `listed`.
    pub fn of<'a>(
        reporting: impl IntoIterator<Item = (PublicKey, &'a str)>,
        listed: impl Fn(&PublicKey) -> bool,
    ) -> Self {
        let mut hosts: Vec<_> = reporting.into_iter().collect();
        hosts.sort_unstable();
        let mut keys: Vec<_> = hosts.iter().map(|(key, _)| *key).collect();
        keys.dedup();
        let reporting = keys.len();
        keys.retain(|key| !listed(key));
        hosts.retain(|(key, _)| keys.binary_search(key).is_ok());
        // A relay has many.
        hosts.dedup_by_key(|(key, _)| *key);
        let mut hosts: Vec<_> = hosts.iter().map(|(_, host)| (*host).to_owned()).collect();
        hosts.sort_unstable();
        Self {
            reporting,
            keys: keys.len(),
            hosts,
        }
    }
}

/// `2 of the 12 keys that report now are not in authorized_agents: those of db1, web2`.
impl fmt::Display for ShutOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            reporting, keys, ..
        } = self;
        let (list, of) = (Listener::Agents.directory(), &self.hosts);
        match (keys, reporting) {
            (0, _) => write!(f, "all keys that report now are in {list}")?,
            (1, 1) => write!(f, "the one key that reports now is not in {list}")?,
            (1, _) => write!(
                f,
                "1 of the {reporting} keys that report now is not in {list}"
            )?,
            _ => write!(
                f,
                "{keys} of the {reporting} keys that report now are not in {list}"
            )?,
        }
        for (at, host) in of.iter().take(NAMED).enumerate() {
            let before = match (at, keys) {
                (0, 1) => ": that of ",
                (0, _) => ": those of ",
                _ => ", ",
            };
            write!(f, "{before}{}", text::quoted(host))?;
        }
        match of.len().checked_sub(NAMED) {
            None | Some(0) => Ok(()),
            Some(more) => write!(f, " and {}", text::counted(more as u64, "more key")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who(number: usize) -> Who {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&number.to_le_bytes());
        (Listener::Agents, PublicKey::from_bytes(bytes))
    }

    #[test]
    fn what_a_key_did_is_known() {
        let mut seen = KeyLog::default();
        seen.knocked(who(1), "10.0.0.1", Decision::Any, 100);
        seen.note(who(1), None, 110);
        seen.note(who(1), Some("web1"), 120);
        seen.note(who(1), Some("web1"), 130);
        // A message of a key that was not let in is not recorded.
        seen.note(who(2), Some("web2"), 130);
        assert_eq!(seen.len(), 1);
        let expected = Record {
            first_seen: 100,
            last_seen: 130,
            address: "10.0.0.1".into(),
            hosts: vec![HostSeen {
                name: "web1".into(),
                last: 130,
            }],
            standing: Decision::Any,
            refusals: 0,
        };
        assert_eq!(seen.get(&who(1)), Some(&expected));
        // The same key as a viewer is a separate entry.
        assert_eq!(seen.get(&(Listener::Viewers, who(1).1)), None);

        seen.knocked(who(1), "10.0.0.2", Decision::Refused, 200);
        seen.knocked(who(1), "10.0.0.2", Decision::Refused, 210);
        let record = seen.get(&who(1)).unwrap();
        assert_eq!((record.first_seen, record.last_seen), (100, 210));
        assert_eq!((&*record.address, record.refusals), ("10.0.0.2", 2));
        assert_eq!(record.hosts, expected.hosts);
        seen.knocked(who(1), "10.0.0.2", Decision::Allowed, 220);
        let record = seen.get(&who(1)).unwrap();
        assert_eq!((record.standing, record.refusals), (Decision::Allowed, 0));
        assert_eq!(seen.len(), 1);
    }

    #[test]
    fn strangers_push_out_no_key_that_is_let_in() {
        let mut seen = KeyLog::default();
        for number in 0..MAX_ADMITTED {
            seen.knocked(who(number), "", Decision::Any, number as u64);
        }
        for number in 0..50_000 {
            seen.knocked(who(MAX_ADMITTED + number), "", Decision::Refused, 0);
            assert!(seen.len() <= MAX_ADMITTED + MAX_REFUSED);
        }
        for number in 0..MAX_ADMITTED {
            assert!(seen.get(&who(number)).is_some());
        }
        // The newest of them is known.
        assert!(seen.get(&who(MAX_ADMITTED + 49_999)).is_some());
    }

    #[test]
    fn those_that_never_reported_go_first_and_then_the_oldest() {
        let mut seen = KeyLog::default();
        // The first came long ago, and report.
        for number in 0..MAX_ADMITTED {
            seen.knocked(who(number), "", Decision::Any, number as u64);
            if number < 100 || number % 2 == 0 {
                seen.note(who(number), Some("host"), number as u64);
            }
        }
        seen.knocked(who(MAX_ADMITTED), "", Decision::Any, 0);
        let gone = MAX_ADMITTED.div_ceil(8);
        assert_eq!(seen.len(), MAX_ADMITTED - gone + 1);
        assert!(seen.get(&who(0)).is_some());
        assert!(seen.get(&who(101)).is_none());
        assert!(seen.get(&who(102)).is_some());
        assert!(seen.get(&who(MAX_ADMITTED - 1)).is_some());
        assert!(seen.get(&who(MAX_ADMITTED)).is_some());
    }

    #[test]
    fn a_relay_is_known_by_a_few_names() {
        let mut seen = KeyLog::default();
        seen.knocked(who(1), "", Decision::Any, 0);
        for round in 0..10 {
            for number in 0..100 {
                seen.note(who(1), Some(&number.to_string()), round);
            }
        }
        let names = |seen: &KeyLog| {
            let record = seen.get(&who(1)).unwrap();
            record
                .hosts
                .iter()
                .map(|said| said.name.to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(names(&seen), ["0", "1", "2", "3", "4", "5", "6", "7"]);
        seen.note(who(1), Some("new"), HOST_FADES_S + 9);
        assert_eq!(names(&seen), ["new", "1", "2", "3", "4", "5", "6", "7"]);
    }

    #[test]
    fn what_was_known_before_is_bounded_too() {
        let mut seen = KeyLog::default();
        let record = Record {
            first_seen: 1,
            last_seen: 2,
            address: "".into(),
            hosts: Vec::new(),
            standing: Decision::Refused,
            refusals: 3,
        };
        seen.restore((0..MAX_REFUSED + 5).map(|number| (who(number), record.clone())));
        assert_eq!(seen.len(), MAX_REFUSED);
        assert_eq!(seen.get(&who(0)), Some(&record));
    }

    fn key(number: u8) -> PublicKey {
        PublicKey::from_bytes([number; 32])
    }

    #[test]
    fn keys_are_counted_and_hosts_named() {
        // One key reports as two hosts, as a relay does.
        let reporting = [
            (key(2), "web2"),
            (key(1), "web1"),
            (key(2), "db\u{202e}"),
            (key(3), "x"),
        ];
        let found = ShutOut::of(reporting, |listed| *listed == key(1));
        assert_eq!((found.reporting, found.keys), (3, 2));
        assert_eq!(
            found.to_string(),
            "2 of the 3 keys that report now are not in authorized_agents: those of \"db\\u{202e}\", x"
        );
        let many: Vec<_> = (0..8).map(|number| (key(number), "a")).collect();
        let found = ShutOut::of(many, |_| false).to_string();
        assert!(
            found.ends_with(": those of a, a, a, a, a and 3 more keys"),
            "{found}"
        );
        assert_eq!(ShutOut::of(reporting, |_| true).keys, 0);
        let only = ShutOut::of([(key(1), "web1")], |_| false).to_string();
        assert_eq!(
            only,
            "the one key that reports now is not in authorized_agents: that of web1"
        );
        let one = ShutOut::of(reporting, |listed| *listed != key(1)).to_string();
        assert_eq!(
            one,
            "1 of the 3 keys that report now is not in authorized_agents: that of web1"
        );
    }
}
