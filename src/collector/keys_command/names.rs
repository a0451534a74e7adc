//! Names for a shell to complete. Cheap: it reads what is there, and asks the running collector
//! only for hosts.

use std::collections::{BTreeSet, HashSet};

use clap::{Args, ValueEnum};

use super::{Failure, Site, listener, print};
use crate::base::text::is_plain;
use crate::collector::access::Listener;
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

impl Site {
    fn names(&self, kind: Kind, listener: Listener) -> Result<BTreeSet<String>, Failure> {
        Ok(match kind {
            Kind::Allow => {
                let listed = self.listed_quietly(listener);
                let listed: HashSet<PublicKey> = listed.iter().map(|(.., key)| *key).collect();
                let known = self.keys()?;
                let unlisted = known
                    .iter()
                    .flat_map(|known| &known.keys)
                    .filter(|((to, key), _)| *to == listener && !listed.contains(key));
                let names = unlisted.flat_map(|((_, key), record)| {
                    let hosts = record.hosts.iter().map(|said| said.name.to_string());
                    let key = record.hosts.is_empty().then(|| key.to_string());
                    hosts.chain(key)
                });
                names.collect()
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
