//! Resolves host names that an administrator types to keys. Pure.

use std::collections::BTreeSet;

use glob::Pattern;
use thiserror::Error;

use crate::base::shell;
use crate::collector::access::Listener;
use crate::collector::access::key_log::HostSeen;
use crate::collector::access::pins::Pins;
use crate::collector::access::state::KnownKeys;
use crate::curve::keys::PublicKey;

/// Why a text stands for no key.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum WhoError {
    /// No key, and no host that is known.
    #[error(
        "{who:?}: expected a public key of 40 characters, or the name of a host that has reported (or \
         a shell pattern for such names); `metrics-collector keys list` shows both{}",
        meant(.like)
    )]
    Unknown {
        /// The text.
        who: String,
        /// Hosts that may be meant.
        like: Vec<String>,
    },
    /// Several keys.
    #[error(
        "{host}: {} keys have reported under that name; find out which is the host's \
         (`metrics-agentctl public-key` there), and name that key: {}",
        .keys.len(), listed(.keys)
    )]
    Several {
        /// The name.
        host: String,
        /// The keys, in order.
        keys: Vec<PublicKey>,
    },
}

/// Names that may be meant; of more than a few none in particular is.
const MEANT: usize = 3;

/// The question whether one of these is meant, as an end of a sentence.
pub(super) fn meant(like: &[String]) -> String {
    if like.is_empty() || like.len() > MEANT {
        return String::new();
    }
    let like: Vec<_> = like.iter().map(|name| shell::word(name)).collect();
    format!("; did you mean {}?", like.join(" or "))
}

/// Returns true if two names most likely belong to one machine: one has a domain that the other
/// lacks, or they differ only in case.
fn alike(one: &str, two: &str) -> bool {
    let (one, two) = (one.to_lowercase(), two.to_lowercase());
    let within = |short: &str, long: &str| {
        let rest = long.strip_prefix(short);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    !one.is_empty() && !two.is_empty() && (within(&one, &two) || within(&two, &one))
}

fn listed(keys: &[PublicKey]) -> String {
    let keys: Vec<_> = keys
        .iter()
        .map(|key| shell::word(&key.to_string()))
        .collect();
    keys.join(", ")
}

/// A key, and the host that it is known by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Resolved {
    pub(super) key: PublicKey,
    pub(super) host: Option<String>,
}

/// What there is to resolve names with.
pub(super) struct Known<'a> {
    keys: Option<&'a KnownKeys>,
    pins: &'a Pins,
}

impl<'a> Known<'a> {
    pub(super) fn new(keys: Option<&'a KnownKeys>, pins: &'a Pins) -> Self {
        Self { keys, pins }
    }

    /// The key that is meant by a key or a host name.
    ///
    /// A pinned name stands for its key, even if others tried it since. Any other name stands
    /// for the key that reported under it, if there is only one: the last of several might be
    /// the one to keep out.
    pub(super) fn resolve(&self, listener: Listener, who: &str) -> Result<Resolved, WhoError> {
        let host = Some(who.to_owned());
        if let Some(pin) = self.pins.get(who).filter(|_| listener == Listener::Agents) {
            return Ok(Resolved { key: pin.key, host });
        }
        let reported: BTreeSet<PublicKey> = self
            .records(listener)
            .filter(|(_, hosts)| hosts.iter().any(|said| *said.name == *who))
            .map(|(key, _)| key)
            .collect();
        let keys: Vec<_> = reported.into_iter().collect();
        match keys[..] {
            [] => Err(WhoError::Unknown {
                who: who.to_owned(),
                like: self.like(listener, who),
            }),
            [key] => Ok(Resolved { key, host }),
            _ => Err(WhoError::Several {
                host: who.to_owned(),
                keys,
            }),
        }
    }

    /// Hosts that may be meant by a name that none has.
    fn like(&self, listener: Listener, who: &str) -> Vec<String> {
        let reported = self.records(listener).flat_map(|(_, hosts)| hosts);
        let names: BTreeSet<&str> = reported
            .map(|said| &*said.name)
            .filter(|name| alike(who, name))
            .collect();
        names.into_iter().map(str::to_owned).collect()
    }

    /// The keys of all hosts whose names fit a shell pattern; None where it is none, or fits none.
    ///
    /// # Errors
    ///
    /// A name that fits is of several keys.
    pub(super) fn all_like(
        &self,
        listener: Listener,
        pattern: &str,
    ) -> Result<Option<Vec<Resolved>>, WhoError> {
        let Ok(pattern) = Pattern::new(pattern) else {
            return Ok(None);
        };
        let reported = self.records(listener).flat_map(|(_, hosts)| hosts);
        let names: BTreeSet<&str> = reported
            .map(|said| &*said.name)
            .filter(|name| pattern.matches(name))
            .collect();
        let found: Vec<_> = names
            .into_iter()
            .map(|name| self.resolve(listener, name))
            .collect::<Result<_, _>>()?;
        Ok(Some(found).filter(|found| !found.is_empty()))
    }

    /// The host that a key reported as last.
    pub(super) fn host_of(&self, listener: Listener, key: &PublicKey) -> Option<String> {
        let (_, hosts) = self.records(listener).find(|(known, _)| known == key)?;
        let last = hosts.iter().max_by_key(|said| said.last)?;
        Some(last.name.to_string())
    }

    fn records(&self, listener: Listener) -> impl Iterator<Item = (PublicKey, &'a [HostSeen])> {
        let keys = self.keys.map_or(&[][..], |known| &known.keys);
        keys.iter()
            .filter(move |((role, _), _)| *role == listener)
            .map(|((_, key), record)| (*key, &record.hosts[..]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collector::access::Authorized;
    use crate::collector::access::key_log::{Decision, Record};

    fn key(number: u8) -> PublicKey {
        PublicKey::from_bytes([number; 32])
    }

    /// Where a key came, its number, and its hosts with the time of each.
    type Entry<'a> = (Listener, u8, &'a [(&'a str, u64)]);

    fn known(entries: &[Entry<'_>]) -> KnownKeys {
        let entry = |(listener, number, hosts): &Entry<'_>| {
            let said = |&(name, last): &(&str, u64)| HostSeen {
                name: name.into(),
                last,
            };
            let record = Record {
                first_seen: 0,
                last_seen: 0,
                address: "".into(),
                hosts: hosts.iter().map(said).collect(),
                standing: Decision::Any,
                refusals: 0,
            };
            ((*listener, key(*number)), record)
        };
        KnownKeys {
            authorized: Authorized::Any,
            keys: entries.iter().map(entry).collect(),
        }
    }

    #[test]
    fn a_host_is_the_one_key_that_reported_under_it() {
        let known = known(&[
            (Listener::Agents, 1, &[("web1", 5), ("web1.old", 3)]),
            (Listener::Agents, 2, &[("web2", 5)]),
            (Listener::Viewers, 3, &[("web2", 5)]),
        ]);
        let pins = Pins::default();
        let known = Known::new(Some(&known), &pins);
        let resolved = known.resolve(Listener::Agents, "web1.old").unwrap();
        assert_eq!(
            (resolved.key, resolved.host.as_deref()),
            (key(1), Some("web1.old"))
        );
        assert_eq!(known.resolve(Listener::Agents, "web2").unwrap().key, key(2));
        let error = known.resolve(Listener::Viewers, "web1").unwrap_err();
        let (who, like) = ("web1".to_owned(), Vec::new());
        assert_eq!(error, WhoError::Unknown { who, like });
        // A name that lacks its domain, or has one too many.
        for (who, like) in [
            ("WEB1", "; did you mean web1 or web1.old?"),
            ("web2.example.org", "; did you mean web2?"),
            ("we", "shows both"),
            ("web", "shows both"),
            ("", "shows both"),
        ] {
            let error = known
                .resolve(Listener::Agents, who)
                .unwrap_err()
                .to_string();
            assert!(error.ends_with(like), "{error}");
        }
        assert_eq!(
            known.host_of(Listener::Agents, &key(1)).as_deref(),
            Some("web1")
        );
        assert_eq!(known.host_of(Listener::Agents, &key(9)), None);
    }

    #[test]
    fn a_pattern_is_for_all_hosts_that_it_fits() {
        let record = known(&[
            (Listener::Agents, 1, &[("web1", 5), ("web1.old", 3)]),
            (Listener::Agents, 2, &[("web2", 5)]),
            (Listener::Agents, 3, &[("db1", 5)]),
            (Listener::Agents, 4, &[("db2", 5)]),
            (Listener::Agents, 5, &[("db2", 6)]),
            (Listener::Viewers, 6, &[("web3", 5)]),
        ]);
        let pins = Pins::default();
        let known = Known::new(Some(&record), &pins);
        let keys = |pattern| {
            let found = known.all_like(Listener::Agents, pattern).unwrap();
            found.map(|found| found.iter().map(|one| one.key).collect::<Vec<_>>())
        };
        assert_eq!(keys("web?"), Some(vec![key(1), key(2)]));
        assert_eq!(keys("*1"), Some(vec![key(3), key(1)]));
        assert_eq!(keys("mail*"), None);
        assert_eq!(keys("a[b"), None);
        // The last of several might be the one to keep out.
        let error = known.all_like(Listener::Agents, "db*").unwrap_err();
        assert!(matches!(error, WhoError::Several { host, .. } if host == "db2"));
    }

    #[test]
    fn a_name_of_several_keys_is_nobodys_unless_it_is_pinned() {
        let known = known(&[
            (Listener::Agents, 2, &[("web1", 9)]),
            (Listener::Agents, 1, &[("web1", 5)]),
        ]);
        let mut pins = Pins::default();
        let error = Known::new(Some(&known), &pins).resolve(Listener::Agents, "web1");
        let keys = vec![key(1), key(2)];
        let host = "web1".to_owned();
        assert_eq!(error, Err(WhoError::Several { host, keys }));
        pins.claim("web1", key(1), 0).unwrap();
        let resolved = Known::new(Some(&known), &pins).resolve(Listener::Agents, "web1");
        assert_eq!(resolved.unwrap().key, key(1));
        assert!(
            Known::new(None, &pins)
                .resolve(Listener::Viewers, "web1")
                .is_err()
        );
    }
}
