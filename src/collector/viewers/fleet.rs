//! What viewers are told of the hosts at one moment.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use super::types::Models;
use crate::collector::hosts::snapshot::Presence;
use crate::collector::hosts::{Hosts, ViewerKind};
use crate::metrics::families::FamilySet;
use crate::protocol::state::HostState;

/// The hosts at one moment.
pub(super) struct Fleet<'a> {
    pub(super) hosts: &'a Hosts,
    pub(super) now: Instant,
    pub(super) wall: SystemTime,
}

/// The models of those who are there, or were before the collector's restart and may come
/// back; not of those who are gone.
impl Models for Fleet<'_> {
    fn names(&self, viewers: ViewerKind) -> Vec<Arc<str>> {
        let here = self.hosts.iter().filter(|(_, host)| {
            host.presence() != Presence::Gone
                && host.model().is_some()
                && (viewers == ViewerKind::Robust || !host.model_waits())
        });
        let mut names: Vec<Arc<str>> = here.map(|(name, _)| Arc::clone(name)).collect();
        names.sort_unstable();
        names
    }

    fn write(&self, host: &str, viewers: ViewerKind, out: &mut Vec<u8>) -> bool {
        let host = self.hosts.get(host);
        let host = host.filter(|host| host.presence() != Presence::Gone);
        host.is_some_and(|host| host.write_model(viewers, out))
    }

    fn heard(&self) -> Vec<Arc<str>> {
        let heard = self
            .hosts
            .iter()
            .filter(|(_, host)| host.metrics().is_some_and(|all| !all.parts().is_empty()));
        let mut names: Vec<Arc<str>> = heard.map(|(name, _)| Arc::clone(name)).collect();
        names.sort_unstable();
        names
    }

    fn write_metrics(
        &self,
        host: &str,
        before: Instant,
        told: FamilySet,
        out: &mut Vec<u8>,
    ) -> Option<FamilySet> {
        self.hosts.get(host)?.write_metrics(before, told, out)
    }

    fn absent(&self) -> Vec<Arc<str>> {
        let absent = self
            .hosts
            .iter()
            .filter(|(_, host)| host.presence() != Presence::Reporting);
        let mut names: Vec<Arc<str>> = absent.map(|(name, _)| Arc::clone(name)).collect();
        names.sort_unstable();
        names
    }

    fn write_state(&self, host: &str, out: &mut Vec<u8>) -> bool {
        self.hosts
            .state_of(self.now, self.wall, host)
            .filter(|state| state.state != HostState::Reporting)
            .is_some_and(|state| state.encode(out).is_ok())
    }
}
