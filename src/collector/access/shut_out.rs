//! Which keys report now and are not on the list: these lose access when only listed agents are
//! let in. Pure.

use std::fmt;

use super::Listener;
use crate::base::text;
use crate::curve::keys::PublicKey;

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
            Some(more) => write!(f, " and {more} more key(s)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            found.ends_with(": those of a, a, a, a, a and 3 more key(s)"),
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
