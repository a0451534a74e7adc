//! Names for a shell to complete. Cheap: it reads what is there, and asks the running collector
//! only for hosts.

use std::collections::{BTreeSet, HashMap, HashSet};

use clap::{Args, ValueEnum};

use super::{Failure, Site, listener, print};
use crate::base::text::is_plain;
use crate::collector::access::Listener;
use crate::collector::access::key_log::{Record, Who};
use crate::collector::hosts_command::host_names;
use crate::curve::keys::PublicKey;

/// Which names.
#[derive(Debug, Args)]
pub struct NamesWanted {
    /// Of viewers
    #[arg(long)]
    viewer: bool,
    /// Only of hosts that are gone
    #[arg(long)]
    gone: bool,
    /// The bus that the collector is on
    #[arg(long, default_value = "system")]
    bus: String,
    /// Of what
    kind: Kind,
    /// What is typed already; the shell leaves out what does not fit
    #[arg(allow_hyphen_values = true)]
    _typed: Option<String>,
}

/// What takes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// What `keys allow` takes: hosts whose key is not listed, and keys without a host
    Allow,
    /// What `keys revoke` takes: names of listed keys
    Revoke,
    /// What `keys forget` takes: pinned host names
    Pins,
    /// What `keys forget --key` takes: keys of pinned host names
    PinnedKeys,
    /// What `hosts` takes: hosts
    Hosts,
    /// What `hosts forget` takes: hosts that do not report
    Gone,
}

/// Prints them, one a line; none where they cannot be read: an error would be in the way.
///
/// # Errors
///
/// They cannot be printed.
pub fn complete(wanted: &NamesWanted) -> Result<(), Failure> {
    let names = match wanted.kind {
        Kind::Hosts => host_names(&wanted.bus, wanted.gone),
        Kind::Gone => host_names(&wanted.bus, true),
        kind => {
            let names =
                Site::of_process().and_then(|site| site.names(kind, listener(wanted.viewer)));
            names.unwrap_or_default()
        }
    };
    let lines = names.iter().filter(|name| is_plain(name));
    print(&lines.flat_map(|name| [name, "\n"]).collect::<String>())
}

/// Hosts, and keys without one, that this list may get. `listed` has the keys of this list and of the
/// other.
fn to_allow(
    listener: Listener,
    known: &[(Who, Record)],
    [listed, listed_there]: [HashSet<PublicKey>; 2],
) -> BTreeSet<String> {
    let of = |wanted: Listener| {
        let of_it = known.iter().filter(move |((to, _), _)| *to == wanted);
        of_it.map(|((_, key), record)| (*key, record))
    };
    let elsewhere: HashMap<PublicKey, &Record> = of(listener.other()).collect();
    // A viewer that tries the port of agents is no agent, and the other way round. It is what it is
    // listed or reports as; otherwise it found its port at last.
    let is_of_the_other = |key: &PublicKey, record: &Record| {
        let other = elsewhere.get(key);
        listed_there.contains(key)
            || other
                .is_some_and(|other| !other.hosts.is_empty() || other.last_seen > record.last_seen)
    };
    let unlisted = of(listener).filter(|(key, record)| {
        !listed.contains(key) && (!record.hosts.is_empty() || !is_of_the_other(key, record))
    });
    let names = unlisted.flat_map(|(key, record)| {
        let hosts = record.hosts.iter().map(|said| said.name.to_string());
        let key = record.hosts.is_empty().then(|| key.to_string());
        hosts.chain(key)
    });
    names.collect()
}

impl Site {
    fn names(&self, kind: Kind, listener: Listener) -> Result<BTreeSet<String>, Failure> {
        Ok(match kind {
            Kind::Allow => {
                let keys = |listener| -> HashSet<PublicKey> {
                    let listed = self.listed_quietly(listener);
                    listed.iter().map(|(.., key)| *key).collect()
                };
                let listed = [keys(listener), keys(listener.other())];
                let known = self.keys()?;
                let known = known.map(|known| known.keys).unwrap_or_default();
                to_allow(listener, &known, listed)
            }
            Kind::Revoke => {
                let listed = self.listed_quietly(listener);
                listed.iter().map(|(_, name, _)| name.to_string()).collect()
            }
            Kind::Pins => {
                let pins = self.state.pins()?;
                let pins = pins.sorted().into_iter();
                pins.map(|(host, _)| host.to_owned()).collect()
            }
            Kind::PinnedKeys => {
                let pins = self.state.pins()?;
                let pins = pins.sorted().into_iter();
                pins.map(|(_, pin)| pin.key.to_string()).collect()
            }
            // They are the running collector's to say.
            Kind::Hosts | Kind::Gone => BTreeSet::new(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collector::access::key_log::{Decision, HostSeen};

    fn key(number: u8) -> PublicKey {
        PublicKey::from_bytes([number; 32])
    }

    fn came(listener: Listener, number: u8, host: Option<&str>, last: u64) -> (Who, Record) {
        let seen = |name: &str| HostSeen {
            name: name.into(),
            last,
        };
        let record = Record {
            first_seen: 1,
            last_seen: last,
            address: "127.0.0.1".into(),
            hosts: host.map(seen).into_iter().collect(),
            standing: Decision::Refused,
            refusals: 1,
        };
        ((listener, key(number)), record)
    }

    #[test]
    fn a_key_is_offered_where_it_belongs() {
        use Listener::{Agents, Viewers};
        let known = [
            came(Agents, 1, None, 5),
            came(Viewers, 2, None, 5),
            // A viewer that tried the port of agents first.
            came(Agents, 3, None, 5),
            came(Viewers, 3, None, 6),
            // An agent that tried the port of viewers last.
            came(Agents, 4, Some("web4"), 5),
            came(Viewers, 4, None, 6),
            // One that is a viewer by its list, and tries the port of agents.
            came(Agents, 5, None, 5),
            // One that is an agent by its list.
            came(Viewers, 6, None, 5),
        ];
        let listed = |numbers: &[u8]| -> HashSet<_> { numbers.iter().copied().map(key).collect() };
        let (agents, viewers) = (listed(&[6]), listed(&[5]));
        let offered = to_allow(Agents, &known, [agents.clone(), viewers.clone()]);
        let expected = [key(1).to_string(), "web4".to_owned()];
        assert_eq!(offered, BTreeSet::from(expected));
        let offered = to_allow(Viewers, &known, [viewers, agents]);
        assert_eq!(
            offered,
            BTreeSet::from([2, 3].map(|number| key(number).to_string()))
        );
    }
}
