//! `keys allow`: one key or many; all are resolved before the first is let in.

use std::collections::BTreeMap;

use clap::Args;

use super::enforcement::warn_where_lists_do_not_count;
use super::files::{self, is_name};
use super::reporting::reporting_now;
use super::who::{Known, Resolved};
use super::{Failure, Site, listener, print, refused_note, warn};
use crate::base::text;
use crate::collector::access::Listener;
use crate::collector::access::key_log::Decision;
use crate::collector::access::state::KnownKeys;
use crate::curve::keys::PublicKey;

/// Whom to let in.
#[derive(Debug, Args)]
pub(super) struct Wanted {
    /// A public key, a host name, or a shell pattern for the names of hosts that have reported.
    #[arg(value_name = "KEY|HOST|PATTERN", required_unless_present = "reporting")]
    who: Vec<String>,
    /// Every key that reports now.
    #[arg(long, conflicts_with_all = ["who", "viewer", "name"])]
    reporting: bool,
    /// The name of the key's file; by default that of the host.
    #[arg(long)]
    name: Option<String>,
    /// As the key of a viewer, not of an agent.
    #[arg(long)]
    viewer: bool,
}

/// Keys, with the host that each is known by, in the order of keys.
type Chosen = BTreeMap<PublicKey, Option<String>>;

impl Site {
    pub(super) fn allow(&self, wanted: &Wanted) -> Result<(), Failure> {
        let listener = listener(wanted.viewer);
        let enforcement = self.enforcement(listener);
        let chosen = if wanted.reporting {
            self.all_reporting()?
        } else {
            self.all_of(&wanted.who, listener)?
        };
        if let (Some(_), 2..) = (&wanted.name, chosen.len()) {
            return Err(Failure::OneName(chosen.len()));
        }
        let mut listed = self.directories(listener).files();
        let many = chosen.len() > 1;
        // As people look for them.
        let mut chosen: Vec<_> = chosen.into_iter().collect();
        chosen.sort_by(|(_, one), (_, other)| one.cmp(other));
        for (key, host) in chosen {
            if let Some((path, ..)) = listed.iter().find(|(.., listed)| *listed == key) {
                print(&format!("{} has the key {key} already\n", text::path(path)))?;
                continue;
            }
            let free = |host: &String| {
                !many || is_name(host) && listed.iter().all(|(_, name, _)| **name != **host)
            };
            let name = match (&wanted.name, host.filter(free)) {
                (Some(name), _) => name.clone(),
                (None, Some(host)) => host,
                // One host whose name is invalid or taken must not stop the others.
                (None, None) => files::name_of(&key),
            };
            let path = files::add(&self.places.write(listener), &name, &key)?;
            let role = listener.role();
            print(&format!(
                "Wrote {}: the key {key} is let in as {role}\n",
                text::path(&path)
            ))?;
            listed.push((path, name.into(), key));
        }
        warn_where_lists_do_not_count(&enforcement);
        self.warn_of_own_list(listener);
        Ok(())
    }

    fn all_of(&self, who: &[String], listener: Listener) -> Result<Chosen, Failure> {
        let mut chosen = Chosen::new();
        for one in who {
            let found = match self.resolve(one, listener) {
                Ok(found) => vec![found],
                Err(Failure::Who(error)) => {
                    self.all_like(one, listener)?.ok_or(Failure::Who(error))?
                }
                Err(failure) => return Err(failure),
            };
            chosen.extend(found.into_iter().map(|Resolved { key, host }| (key, host)));
        }
        Ok(chosen)
    }

    /// The keys of hosts whose names match a pattern; None if it is not a pattern.
    pub(super) fn all_like(
        &self,
        pattern: &str,
        listener: Listener,
    ) -> Result<Option<Vec<Resolved>>, Failure> {
        let (known, pins) = (self.keys()?, self.state.pins()?);
        Ok(Known::new(known.as_ref(), &pins).all_like(listener, pattern)?)
    }

    fn all_reporting(&self) -> Result<Chosen, Failure> {
        self.may_see()?;
        if !self.state.is_owned() {
            return Err(Failure::NotRunning);
        }
        self.refresh();
        let known = self.keys()?;
        let refused = self.refused(known.as_ref());
        let reporting = known.as_ref().map(reporting_now).transpose()?;
        let reporting = reporting.into_iter().flatten();
        let chosen: Chosen = reporting.map(|(key, host)| (key, Some(host))).collect();
        if chosen.is_empty() {
            return Err(Failure::NobodyReports { refused });
        }
        if refused > 0 {
            let note = refused_note(refused);
            warn(&format_args!("only keys that report are let in{note}"));
        }
        Ok(chosen)
    }

    /// The number of agents' keys that were refused and have not been listed since.
    fn refused(&self, known: Option<&KnownKeys>) -> usize {
        let listed = self.listed_quietly(Listener::Agents);
        let keys = known.iter().flat_map(|known| &known.keys);
        let refused = keys.filter(|((listener, key), record)| {
            *listener == Listener::Agents
                && record.standing == Decision::Refused
                && listed.iter().all(|(.., listed)| listed != key)
        });
        refused.count()
    }
}
