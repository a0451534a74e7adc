//! Gives old names of a host up that was renamed.

use std::sync::Arc;
use std::time::Instant;

use super::Hosts;
use super::host::State;
use super::types::{Due, Renamed};
use crate::collector::hosts::snapshot::Presence;

impl Hosts {
    /// The name that a silent host reports under now, if it was renamed and went on reporting
    /// after the old name had ended.
    pub(super) fn renamed_to(&self, old: &str) -> Option<Arc<str>> {
        let silent = self.table.get(old)?;
        let (link, _) = self.machines.machine(silent.key?)?;
        let name = link.host();
        let host = self.table.get(name)?;
        let silent_since = match silent.state {
            // No host was heard before the restart was over.
            State::Expected => silent.times.since,
            State::Reporting { .. } | State::Gone => silent.times.last_seen,
        };
        let went_on = host.times.last_seen >= silent_since + self.timing.host_timeout / 2;
        let reports = host.presence() == Presence::Reporting && host.key == silent.key;
        (went_on && reports && !silent.machine.beside && **name != *old).then(|| Arc::clone(name))
    }

    /// An old name of a machine that is gone, once the machine has reported under another name
    /// for long enough.
    pub(super) fn give_up_old_name(&mut self, now: Instant, new: &Arc<str>) -> Option<Due> {
        let host = self.table.get(new)?;
        let (link, names) = self.machines.machine(host.key?)?;
        let since = link.named.max(host.times.since);
        if link.host() != new
            || host.presence() != Presence::Reporting
            || now.saturating_duration_since(since) < self.timing.host_timeout
        {
            return None;
        }
        let is_gone = |name: &&Arc<str>| {
            let host = self.table.get(*name);
            host.is_some_and(|host| host.presence() == Presence::Gone && !host.machine.beside)
        };
        let old = names.iter().find(is_gone).cloned()?;
        let old = self.forget(&old).ok()?;
        Some(Due::Renamed(Renamed {
            old,
            new: Arc::clone(new),
            was_there: false,
        }))
    }
}
