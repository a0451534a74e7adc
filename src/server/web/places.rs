//! Who may have the metrics now and who has to come again, pure.

use std::net::IpAddr;

/// Answers of `/metrics` at a time, those that wait for their turn included. Each holds on
/// to the metrics as they were when it began, and has a thread.
pub(super) const MAX_ANSWERS: usize = 4;

/// How many of these one peer may have: one that does not read its answer must not keep
/// all others from theirs. A pair of Prometheus servers behind one proxy is one peer.
pub(super) const MAX_ANSWERS_OF_PEER: usize = 2;

/// The answers that are being made or sent.
#[derive(Debug, Default)]
pub(super) struct Places {
    peers: Vec<IpAddr>,
}

/// Too many are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Taken;

impl Places {
    /// Takes a place for this peer.
    pub(super) fn take(&mut self, peer: IpAddr) -> Result<(), Taken> {
        let peer = counted_as(peer);
        let own = self.peers.iter().filter(|other| **other == peer).count();
        if self.peers.len() >= MAX_ANSWERS || own >= MAX_ANSWERS_OF_PEER {
            return Err(Taken);
        }
        self.peers.push(peer);
        Ok(())
    }

    /// Gives it back.
    pub(super) fn give_back(&mut self, peer: IpAddr) {
        let peer = counted_as(peer);
        if let Some(place) = self.peers.iter().position(|other| *other == peer) {
            self.peers.swap_remove(place);
        }
    }
}

/// Of IPv6 the network: a peer has all the addresses in it.
fn counted_as(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => {
            let network = u128::from(address) >> 64 << 64;
            IpAddr::V6(network.into())
        }
        peer @ IpAddr::V4(_) => peer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_peer_has_all_places() {
        let peer = |text: &str| -> IpAddr { text.parse().unwrap() };
        let mut places = Places::default();
        for address in [
            "192.0.2.1",
            "::ffff:192.0.2.1",
            "2001:db8::1",
            "2001:db8::2",
        ] {
            assert_eq!(places.take(peer(address)), Ok(()), "{address}");
            if address.contains("ffff") {
                assert_eq!(places.take(peer("192.0.2.1")), Err(Taken));
            }
        }
        assert_eq!(places.take(peer("192.0.2.2")), Err(Taken));
        places.give_back(peer("2001:db8::3"));
        assert_eq!(places.take(peer("192.0.2.2")), Ok(()));
        places.give_back(peer("192.0.2.1"));
        assert_eq!(places.take(peer("2001:db8:0:1::")), Ok(()));
    }
}
