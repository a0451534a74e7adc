//! Limits hosts of untrusted keys. Any peer can make up keys, so once the table is three
//! quarters full these hosts are limited by the network that they come from. Pure.

use super::Hosts;
use super::types::{
    Full, MAX_HOSTS, MAX_KEPT, MAX_NEW_HOSTS_OF_NETWORK, MAX_NEW_OF_NETWORK, Peer, Trust,
};
use super::weight::{Resource, Weight, beyond};
use crate::base::network::Network;

impl Hosts {
    /// The network that a report counts for, if its key is not trusted. A host keeps its first
    /// network, so that one that moves does not use a second share.
    pub(super) fn newcomer(&self, peer: Peer<'_>, name: &str) -> Option<Network> {
        let known = self.table.get(name).filter(|host| host.key == peer.key);
        match (peer.trust, known) {
            (Trust::Listed, _) | (Trust::Pinned, None) => None,
            // Its name was pinned since it appeared.
            (Trust::Pinned | Trust::New, Some(host)) => host.newcomer,
            (Trust::New, None) => self.peers.network_of(peer),
        }
    }

    /// A host counts for this network from now on.
    pub(super) fn count_for(&mut self, network: Option<Network>, name: &str) {
        if let Some(host) = self.table.get_mut(name)
            && host.newcomer != network
        {
            let weight = host.weight();
            self.peers.depart(host.newcomer, weight);
            self.peers.arrive(network, weight);
            host.newcomer = network;
        }
    }

    /// Checks that a report that counts for this network may add so much weight while its host
    /// frees so much.
    pub(super) fn network_has_room(
        &self,
        network: Option<Network>,
        name: &str,
        freed: Weight,
        more: Weight,
    ) -> Result<(), Full> {
        let Some(network) = network else {
            return Ok(());
        };
        let all = self.kept.minus(freed).plus(more);
        let host = self.table.get(name);
        let counted = host.is_some_and(|host| host.newcomer == Some(network));
        let freed = if counted { freed } else { Weight::NONE };
        let (_, own) = self.peers.new_hosts_of(network);
        let own = own.minus(freed).plus(more);
        // A known host goes on reporting, within the share that any network may take without
        // being checked; that leaves the others their shares.
        let open = MAX_KEPT.minus(MAX_NEW_OF_NETWORK);
        let most = if counted { open } else { MAX_NEW_OF_NETWORK };
        let taken = |all, open, own| if all > open { own } else { 0 };
        let taken = Weight {
            memory: taken(all.memory, open.memory, own.memory),
            text: taken(all.text, open.text, own.text),
        };
        match beyond(taken, most) {
            Some(Resource::Memory) => Err(Full::NetworkMemory(network)),
            Some(Resource::Text) => Err(Full::NetworkText(network)),
            None => Ok(()),
        }
    }

    /// Checks that one more host may count for this network.
    pub(super) fn network_has_place(&self, network: Option<Network>) -> Result<(), Full> {
        match network {
            Some(network)
                if self.table.len() >= MAX_HOSTS - MAX_NEW_HOSTS_OF_NETWORK
                    && self.peers.new_hosts_of(network).0 >= MAX_NEW_HOSTS_OF_NETWORK =>
            {
                Err(Full::NetworkHosts(network))
            }
            _ => Ok(()),
        }
    }
}
