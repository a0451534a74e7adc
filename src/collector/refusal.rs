//! Why a message is refused, and for whom that is logged.

use super::access::AccessRefusal;
use super::hosts::{Full, Holder};
use super::throttle::Sender;
use crate::curve::keys::PublicKey;
use crate::protocol::message::Malformed;

/// Why a message was refused.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("a message of {0} frames")]
    TooManyFrames(usize),
    #[error(transparent)]
    Full(#[from] Full),
    #[error(transparent)]
    Access(#[from] AccessRefusal),
}

impl Refusal {
    /// Its kind: the limit on log lines is separate for each kind.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Malformed(_) | Self::TooManyFrames(_) => "form",
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collector::network::Network;

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
}
