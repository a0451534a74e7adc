//! Who is behind the hosts: connections and keys, and how many hosts each may report.

use std::collections::HashMap;
use std::sync::Arc;

use super::vocabulary::{Full, MAX_HOSTS_PER_CONNECTION, MAX_HOSTS_PER_KEY, Peer};
use crate::curve::keys::PublicKey;
use crate::curve::router::RoutingIdBytes;

/// The connections that hosts report over, and the keys that they report with.
#[derive(Debug, Default)]
pub(super) struct Peers {
    connections: HashMap<RoutingIdBytes, Connection>,
    /// How many hosts each key has, gone ones included.
    keys: HashMap<PublicKey, usize>,
}

#[derive(Debug)]
struct Connection {
    hosts: usize,
    key: Option<PublicKey>,
    address: Option<Arc<str>>,
}

impl Peers {
    /// Whether hosts report over this connection, with this key.
    pub(super) fn know(&self, routing_id: &[u8], key: Option<PublicKey>) -> bool {
        self.connections
            .get(routing_id)
            .is_some_and(|connection| connection.key == key)
    }

    /// Whether one more host may report over this connection, and with this key where the
    /// host is `new_to_key`.
    pub(super) fn room(&self, peer: Peer<'_>, new_to_key: bool) -> Result<(), Full> {
        let connection = self.connections.get(&**peer.routing_id);
        if connection.is_some_and(|connection| connection.hosts >= MAX_HOSTS_PER_CONNECTION) {
            return Err(Full::Connection);
        }
        let hosts = peer.key.and_then(|key| self.keys.get(&key));
        if new_to_key && hosts.is_some_and(|hosts| *hosts >= MAX_HOSTS_PER_KEY) {
            return Err(Full::Key);
        }
        Ok(())
    }

    /// One more host on a connection; the address that it comes from.
    pub(super) fn join(&mut self, peer: Peer<'_>) -> Option<Arc<str>> {
        if let Some(connection) = self.connections.get_mut(&**peer.routing_id) {
            connection.hosts += 1;
            if connection.key != peer.key {
                // Another peer has chosen the same id, and has taken the connection over.
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
        };
        self.connections.insert(peer.routing_id.clone(), connection);
        address
    }

    /// One host less on a connection.
    pub(super) fn leave(&mut self, routing_id: &[u8]) {
        if let Some(connection) = self.connections.get_mut(routing_id) {
            connection.hosts -= 1;
            if connection.hosts == 0 {
                self.connections.remove(routing_id);
            }
        }
    }

    /// One more host of a key.
    pub(super) fn own(&mut self, key: Option<PublicKey>) {
        if let Some(key) = key {
            *self.keys.entry(key).or_default() += 1;
        }
    }

    /// One host less of a key.
    pub(super) fn disown(&mut self, key: Option<PublicKey>) {
        let Some(key) = key else { return };
        if let Some(hosts) = self.keys.get_mut(&key) {
            *hosts -= 1;
            if *hosts == 0 {
                self.keys.remove(&key);
            }
        }
    }

    /// How many hosts report over all connections, and how many all keys have.
    #[cfg(test)]
    pub(super) fn hosts(&self) -> (usize, usize) {
        let connections = self.connections.values();
        let connected = connections.map(|connection| connection.hosts).sum();
        (connected, self.keys.values().sum())
    }
}
