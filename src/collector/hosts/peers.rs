//! The peers behind the hosts: connections and keys, and the limits of each in hosts and
//! weight.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

use super::types::{Full, MAX_HOSTS_PER_CONNECTION, MAX_HOSTS_PER_KEY, Peer};
use super::weight::{CONNECTION_SHARE, Holder, KEY_SHARE, OverShare, Weight, beyond};
use crate::base::network::Network;
use crate::curve::keys::PublicKey;
use crate::curve::router::RoutingIdBytes;

/// The connections that hosts report over, and the keys that they report with.
#[derive(Debug, Default)]
pub(super) struct Peers {
    connections: HashMap<RoutingIdBytes, Connection>,
    keys: HashMap<PublicKey, KeyHosts>,
    /// The networks of the hosts whose keys are new.
    networks: HashMap<Network, NewHosts>,
    /// The keys of hosts that are gone, by the number of hosts that each has.
    crowds: BTreeSet<(usize, PublicKey)>,
    /// How many keys are near a limit of theirs.
    near_bound: usize,
}

#[derive(Debug)]
struct Connection {
    hosts: usize,
    key: Option<PublicKey>,
    address: Option<Arc<str>>,
    weight: Weight,
}

/// Hosts of keys that are new, from one network.
#[derive(Debug, Default)]
struct NewHosts {
    /// How many there are, gone ones included.
    hosts: usize,
    weight: Weight,
}

/// The hosts of a key.
#[derive(Debug, Default)]
struct KeyHosts {
    /// How many there are, gone ones included.
    hosts: usize,
    /// Those that are gone, by the time when they went.
    gone: BTreeSet<(Instant, Arc<str>)>,
    weight: Weight,
}

impl KeyHosts {
    /// Returns true if three quarters of a limit are reached.
    fn is_near_bound(&self) -> bool {
        const SHARE: Weight = Weight {
            memory: KEY_SHARE.memory / 4 * 3,
            text: KEY_SHARE.text / 4 * 3,
        };
        self.hosts >= MAX_HOSTS_PER_KEY / 4 * 3 || beyond(self.weight, SHARE).is_some()
    }
}

impl Peers {
    /// Returns true if some key is near a limit of its own, so that its reports may be refused.
    pub(super) fn some_near_bound(&self) -> bool {
        self.near_bound > 0
    }

    /// Returns true if hosts report over this connection, with this key.
    pub(super) fn know(&self, routing_id: &RoutingIdBytes, key: Option<PublicKey>) -> bool {
        self.connections
            .get(routing_id)
            .is_some_and(|connection| connection.key == key)
    }

    /// How many hosts report over this connection.
    pub(super) fn hosts_on(&self, routing_id: &RoutingIdBytes) -> usize {
        let connection = self.connections.get(routing_id);
        connection.map_or(0, |connection| connection.hosts)
    }

    /// Checks that one more host may report over this connection, and with this key if the host
    /// is `new_to_key`.
    pub(super) fn room(&self, peer: Peer<'_>, new_to_key: bool) -> Result<(), Full> {
        let connection = self.connections.get(peer.routing_id);
        if connection.is_some_and(|connection| connection.hosts >= MAX_HOSTS_PER_CONNECTION) {
            return Err(Full::Connection);
        }
        match peer.key {
            Some(key) if new_to_key && self.hosts_of(key) >= MAX_HOSTS_PER_KEY => {
                Err(Full::Key(key))
            }
            _ => Ok(()),
        }
    }

    /// Checks that a peer may add so much weight while its key and its connection free so much.
    pub(super) fn share(
        &self,
        peer: Peer<'_>,
        more: Weight,
        freed_of_key: Weight,
        freed_of_connection: Weight,
    ) -> Result<(), OverShare> {
        let over = |holder, resource| OverShare {
            holder,
            resource,
            key: peer.key,
        };
        let connection = self.connections.get(peer.routing_id);
        let connection = connection.map_or(Weight::NONE, |connection| connection.weight);
        let after = connection.minus(freed_of_connection).plus(more);
        if let Some(resource) = beyond(after, CONNECTION_SHARE) {
            return Err(over(Holder::Connection, resource));
        }
        let key = peer.key.and_then(|key| self.keys.get(&key));
        let key = key.map_or(Weight::NONE, |key| key.weight);
        match beyond(key.minus(freed_of_key).plus(more), KEY_SHARE) {
            Some(resource) => Err(over(Holder::Key, resource)),
            None => Ok(()),
        }
    }

    /// Returns true if the restored hosts of this key may have so much weight more.
    pub(super) fn key_has_room(&self, key: Option<PublicKey>, more: Weight) -> bool {
        let key = key.and_then(|key| self.keys.get(&key));
        let key = key.map_or(Weight::NONE, |key| key.weight);
        beyond(key.plus(more), KEY_SHARE).is_none()
    }

    /// Where a peer comes from.
    pub(super) fn network_of(&self, peer: Peer<'_>) -> Option<Network> {
        let connection = self.connections.get(peer.routing_id);
        let connection = connection.filter(|connection| connection.key == peer.key);
        let known = connection.and_then(|connection| connection.address.as_deref());
        Network::parse(known.or(peer.address)?)
    }

    /// How many hosts of new keys a network has, and what they take.
    pub(super) fn new_hosts_of(&self, network: Network) -> (usize, Weight) {
        let new = self.networks.get(&network);
        new.map_or((0, Weight::NONE), |new| (new.hosts, new.weight))
    }

    /// Adds a host of a new key, with this weight.
    pub(super) fn arrive(&mut self, network: Option<Network>, weight: Weight) {
        if let Some(network) = network {
            let new = self.networks.entry(network).or_default();
            new.hosts += 1;
            new.weight = new.weight.plus(weight);
        }
    }

    /// Removes a host of a new key.
    pub(super) fn depart(&mut self, network: Option<Network>, weight: Weight) {
        let Some(network) = network else { return };
        if let Some(new) = self.networks.get_mut(&network) {
            new.hosts = new.hosts.saturating_sub(1);
            new.weight = new.weight.minus(weight);
            if new.hosts == 0 {
                self.networks.remove(&network);
            }
        }
    }

    /// Changes the weight of a host.
    pub(super) fn weigh(
        &mut self,
        (key, network): (Option<PublicKey>, Option<Network>),
        routing_id: Option<&RoutingIdBytes>,
        before: Weight,
        after: Weight,
    ) {
        if let Some(new) = network.and_then(|network| self.networks.get_mut(&network)) {
            new.weight = new.weight.minus(before).plus(after);
        }
        if let Some(key) = key.and_then(|key| self.keys.get_mut(&key)) {
            let was_near = key.is_near_bound();
            key.weight = key.weight.minus(before).plus(after);
            self.near_bound -= usize::from(was_near);
            self.near_bound += usize::from(key.is_near_bound());
        }
        if let Some(connection) = routing_id.and_then(|id| self.connections.get_mut(id)) {
            connection.weight = connection.weight.minus(before).plus(after);
        }
    }

    /// Adds a host to a connection. Returns the address of the peer.
    pub(super) fn join(&mut self, peer: Peer<'_>) -> Option<Arc<str>> {
        if let Some(connection) = self.connections.get_mut(peer.routing_id) {
            connection.hosts += 1;
            if connection.key != peer.key {
                // Another peer has chosen the same routing id and has taken the connection
                // over.
                connection.key = peer.key;
                connection.address = peer.address.map(Into::into);
            }
            return connection.address.clone();
        }
        let address: Option<Arc<str>> = peer.address.map(Into::into);
        let connection = Connection {
            hosts: 1,
            key: peer.key,
            address: address.clone(),
            weight: Weight::NONE,
        };
        self.connections.insert(peer.routing_id.clone(), connection);
        address
    }

    /// Removes a host from a connection.
    pub(super) fn leave(&mut self, routing_id: &RoutingIdBytes) {
        if let Some(connection) = self.connections.get_mut(routing_id) {
            connection.hosts -= 1;
            if connection.hosts == 0 {
                self.connections.remove(routing_id);
            }
        }
    }

    /// Adds a host of a key.
    pub(super) fn own(&mut self, key: Option<PublicKey>) {
        self.change(key, |hosts| hosts.hosts += 1);
    }

    /// Removes a host of a key.
    pub(super) fn disown(&mut self, key: Option<PublicKey>) {
        self.change(key, |hosts| hosts.hosts -= 1);
        if let Some(key) = key
            && self.hosts_of(key) == 0
        {
            self.keys.remove(&key);
        }
    }

    /// Marks a host of a key as gone, since then.
    pub(super) fn went(&mut self, key: Option<PublicKey>, entry: (Instant, Arc<str>)) {
        self.change(key, |hosts| {
            hosts.gone.insert(entry);
        });
    }

    /// A host of a key that was gone since then is back, or forgotten.
    pub(super) fn not_gone(&mut self, key: Option<PublicKey>, entry: &(Instant, Arc<str>)) {
        self.change(key, |hosts| {
            hosts.gone.remove(entry);
        });
    }

    /// How many hosts a key has.
    pub(super) fn hosts_of(&self, key: PublicKey) -> usize {
        self.keys.get(&key).map_or(0, |key| key.hosts)
    }

    /// Of the hosts that are gone, the oldest of the key that has the most hosts; and how
    /// many it has.
    pub(super) fn oldest_of_crowd(&self) -> Option<(usize, Arc<str>)> {
        let (hosts, key) = self.crowds.last()?;
        let (_, name) = self.keys.get(key)?.gone.first()?;
        Some((*hosts, Arc::clone(name)))
    }

    fn change(&mut self, key: Option<PublicKey>, change: impl FnOnce(&mut KeyHosts)) {
        let Some(key) = key else { return };
        let hosts = self.keys.entry(key).or_default();
        self.crowds.remove(&(hosts.hosts, key));
        let was_near = hosts.is_near_bound();
        change(hosts);
        self.near_bound -= usize::from(was_near);
        self.near_bound += usize::from(hosts.is_near_bound());
        if !hosts.gone.is_empty() {
            self.crowds.insert((hosts.hosts, key));
        }
    }

    /// How many hosts report over all connections, and how many all keys have.
    #[cfg(test)]
    pub(super) fn hosts(&self) -> (usize, usize) {
        let near_bound = self.keys.values().filter(|key| key.is_near_bound());
        assert_eq!(self.near_bound, near_bound.count());
        let connections = self.connections.values();
        let connected = connections.map(|connection| connection.hosts).sum();
        (connected, self.keys.values().map(|key| key.hosts).sum())
    }

    /// What the hosts of all connections cost, and those of all keys.
    #[cfg(test)]
    pub(super) fn weights(&self) -> (Weight, Weight) {
        let sum = |sum: Weight, weight| sum.plus(weight);
        let connections = self.connections.values().map(|of| of.weight);
        let keys = self.keys.values().map(|of| of.weight);
        (
            connections.fold(Weight::NONE, sum),
            keys.fold(Weight::NONE, sum),
        )
    }

    /// How many hosts of keys are gone, by keys and by crowds.
    #[cfg(test)]
    pub(super) fn gone(&self) -> (usize, usize) {
        let crowds = self.crowds.iter().map(|(hosts, key)| {
            let of = &self.keys[key];
            assert_eq!(of.hosts, *hosts, "a crowd has its key's hosts");
            of.gone.len()
        });
        let all = self.keys.values().map(|key| key.gone.len());
        (all.sum(), crowds.sum())
    }
}
