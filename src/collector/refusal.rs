//! Why a message is refused, and for whom that is logged.

use super::access::AccessRefusal;
use super::history::NotTaken;
use super::hosts::{Full, Holder};
use crate::base::text;
use crate::curve::keys::PublicKey;
use crate::protocol::message::Malformed;

/// Why a message was refused.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("a message of {0} frames")]
    TooManyFrames(u32),
    #[error(transparent)]
    Full(#[from] Full),
    #[error(transparent)]
    Access(#[from] AccessRefusal),
    /// Samples of this host.
    #[error("what {} tells: {why}", text::quoted(host))]
    NotTaken { host: Box<str>, why: NotTaken },
}

impl Refusal {
    /// Its kind: the limit on log lines is separate for each kind.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Malformed(_) | Self::TooManyFrames(_) => "form",
            Self::NotTaken { why, .. } => match why {
                NotTaken::Fault(_) => "form of samples",
                NotTaken::NotOffered => "samples",
                NotTaken::BeyondWindow(_) => "window",
            },
            Self::Full(Full::Hosts) => "hosts",
            Self::Full(Full::Connection) => "hosts of a connection",
            Self::Full(Full::Key(_)) => "hosts of a key",
            Self::Full(Full::Memory) => "memory",
            Self::Full(Full::Text) => "text",
            Self::Full(Full::NetworkHosts(_)) => "hosts of a network",
            Self::Full(Full::NetworkMemory(_)) => "memory of a network",
            Self::Full(Full::NetworkText(_)) => "text of a network",
            Self::Full(Full::Share(over)) => match over.holder {
                Holder::Key => "share of a key",
                Holder::Connection => "share of a connection",
            },
            Self::Access(_) => "access",
        }
    }

    /// The sender that it is logged for, once a minute.
    pub(super) fn sender(&self, key: Option<PublicKey>, address: Option<&str>) -> Sender {
        match self {
            // One entry for all the keys that were made up there.
            Self::Full(
                Full::NetworkHosts(network)
                | Full::NetworkMemory(network)
                | Full::NetworkText(network),
            ) => Sender::of(None, Some(&network.to_string())),
            _ => Sender::of(key, address),
        }
    }
}

/// Who sent what was refused. A routing id is whatever a peer says, and new with each of its
/// connections: a flood is known by the key, or else by where it comes from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Sender {
    /// It has proved to hold this key.
    Key(PublicKey),
    /// It has no key that is known, and this network address.
    Address(Box<str>),
    /// Nothing is known of it.
    Unknown,
}

impl Sender {
    /// By the best that is known.
    pub(super) fn of(key: Option<PublicKey>, address: Option<&str>) -> Self {
        match (key, address) {
            (Some(key), _) => Self::Key(key),
            (None, Some(address)) => Self::Address(address.into()),
            (None, None) => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::base::network::Network;
    use crate::base::throttle::{PeerThrottle, Tell};

    #[test]
    fn keys_that_were_made_up_at_one_address_are_one_sender() {
        let key = |number| Some(PublicKey::from_bytes([number; 32]));
        let network = Network::parse("2001:db8::1").unwrap();
        let (hosts, memory) = (Full::NetworkHosts(network), Full::NetworkMemory(network));
        for full in [hosts, memory, Full::NetworkText(network)].map(Refusal::Full) {
            let senders = [(1, "2001:db8::1"), (2, "2001:db8::2")]
                .map(|(number, address)| full.sender(key(number), Some(address)));
            assert_eq!(senders[0], senders[1]);
            assert_eq!(senders[0], Sender::Address("2001:db8::/64".into()));
        }
        assert_ne!(Refusal::Full(hosts).kind(), Refusal::Full(memory).kind());
        // What is a key's own stays so.
        let full = Refusal::Full(Full::Memory);
        let address = Some("192.0.2.1");
        assert_ne!(full.sender(key(1), address), full.sender(key(2), address));
    }

    #[test]
    fn connections_of_one_key_are_one_sender() {
        let start = Instant::now();
        let mut throttle = PeerThrottle::default();
        let key = |number| PublicKey::from_bytes([number; 32]);
        let told = |throttle: &mut PeerThrottle<Sender>, key, address: &str| {
            throttle.note(start, &Sender::of(key, Some(address))) != Tell::Nothing
        };
        // Wherever it comes from, and however often.
        assert!(told(&mut throttle, Some(key(1)), "10.0.0.1"));
        for number in 0..200 {
            let address = format!("10.0.0.{number}");
            assert!(!told(&mut throttle, Some(key(1)), &address));
        }
        assert!(told(&mut throttle, Some(key(2)), "10.0.0.1"));
        assert!(told(&mut throttle, None, "10.0.0.1"));
        assert!(!told(&mut throttle, None, "10.0.0.1"));
        let unknown = Sender::of(None, None);
        assert_eq!(throttle.note(start, &unknown), Tell::Peer { untold: 0 });
        assert_eq!(throttle.note(start, &unknown), Tell::Nothing);
    }
}
