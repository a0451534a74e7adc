//! Whose a log is. Pure.
//!
//! The number of a log is random, so two hosts that tell samples of one log have one state directory: that of
//! one is a copy of the other's, as on a disk that was cloned. Owns which host holds which log, and
//! notices when another one tells of it. Refuses nothing: the samples of both are taken.
//!
//! A host that is renamed keeps its key and its log, so the log is handed on to the new name. That both are there
//! shows once the old name goes on.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::curve::keys::PublicKey;

/// So long after a log was handed on, what comes in the name before was not on its way any more: a clone goes on
/// for good, so there is time to be sure.
const ON_ITS_WAY: Duration = Duration::from_secs(10);

/// Who holds a log.
#[derive(Debug)]
struct Claim {
    host: Arc<str>,
    key: PublicKey,
    /// Two hosts with one key tell of it: it is not handed on any more.
    is_shared: bool,
}

/// The logs of all hosts: as many as are known of each.
#[derive(Debug, Default)]
pub(super) struct Claims(HashMap<u64, Claim>);

/// Whose a log was that a host tells of.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Claimed {
    /// Its own.
    Own,
    /// That of a host with the same key: it was renamed, or it is a clone.
    HandedOn(Arc<str>),
    /// Another host's.
    Of(Arc<str>),
}

impl Claims {
    /// A host with this key tells of a log that is new to it, or over another connection.
    pub(super) fn claim(&mut self, log: u64, host: &Arc<str>, key: PublicKey) -> Claimed {
        let claim = self.0.entry(log).or_insert_with(|| Claim {
            host: Arc::clone(host),
            key,
            is_shared: false,
        });
        if claim.host == *host {
            claim.key = key;
            return Claimed::Own;
        }
        if claim.key == key && !claim.is_shared {
            return Claimed::HandedOn(std::mem::replace(&mut claim.host, Arc::clone(host)));
        }
        Claimed::Of(Arc::clone(&claim.host))
    }

    /// The host that this log was handed on from goes on.
    pub(super) fn share(&mut self, log: u64) {
        if let Some(claim) = self.0.get_mut(&log) {
            claim.is_shared = true;
        }
    }

    /// This host does not tell of this log any more.
    pub(super) fn give_up(&mut self, log: u64, host: &str) {
        if self.0.get(&log).is_some_and(|claim| *claim.host == *host) {
            self.0.remove(&log);
        }
    }
}

/// A log of this host was handed on: which one, to whom and when.
#[derive(Debug)]
pub(super) struct HandedOn {
    pub(super) log: u64,
    pub(super) to: Arc<str>,
    at: Instant,
}

impl HandedOn {
    pub(super) fn new(log: u64, to: &Arc<str>, at: Instant) -> Self {
        let to = Arc::clone(to);
        Self { log, to, at }
    }

    /// This host goes on over the connection that it had, in a message that may have waited here: it was not
    /// renamed.
    pub(super) fn is_shared(&self, now: Instant, waited: Duration) -> bool {
        now.saturating_duration_since(self.at) >= ON_ITS_WAY + waited
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: [PublicKey; 2] = [
        PublicKey::from_bytes([1; 32]),
        PublicKey::from_bytes([2; 32]),
    ];

    fn name(name: &str) -> Arc<str> {
        name.into()
    }

    #[test]
    fn a_log_is_of_the_host_that_told_of_it_first() {
        let mut claims = Claims::default();
        let (web1, web2) = (name("web1"), name("web2"));
        assert_eq!(claims.claim(7, &web1, KEYS[0]), Claimed::Own);
        assert_eq!(claims.claim(8, &web2, KEYS[1]), Claimed::Own);
        for _ in 0..2 {
            let of = Claimed::Of(web1.clone());
            assert_eq!(claims.claim(7, &web2, KEYS[1]), of);
            assert_eq!(claims.claim(7, &web1, KEYS[0]), Claimed::Own);
        }
        // With another key it is the same host, and its next name has that one.
        assert_eq!(claims.claim(8, &web2, KEYS[0]), Claimed::Own);
        let handed_on = Claimed::HandedOn(web2);
        assert_eq!(claims.claim(8, &name("web3"), KEYS[0]), handed_on);
    }

    #[test]
    fn a_log_that_was_given_up_is_of_nobody() {
        let mut claims = Claims::default();
        let (web1, web2) = (name("web1"), name("web2"));
        claims.claim(7, &web1, KEYS[0]);
        claims.give_up(7, &web2);
        assert_eq!(
            claims.claim(7, &web2, KEYS[1]),
            Claimed::Of(Arc::clone(&web1))
        );
        claims.give_up(7, &web1);
        claims.give_up(9, &web1);
        assert_eq!(claims.claim(7, &web2, KEYS[1]), Claimed::Own);
        claims.give_up(7, &web2);
        assert!(claims.0.is_empty());
    }

    #[test]
    fn a_renamed_host_takes_its_log_with_it_and_back() {
        let mut claims = Claims::default();
        let (old, new) = (name("old"), name("new"));
        claims.claim(7, &old, KEYS[0]);
        for _ in 0..2 {
            let to_new = claims.claim(7, &new, KEYS[0]);
            assert_eq!(to_new, Claimed::HandedOn(old.clone()));
            assert_eq!(claims.claim(7, &new, KEYS[0]), Claimed::Own);
            let back = claims.claim(7, &old, KEYS[0]);
            assert_eq!(back, Claimed::HandedOn(new.clone()));
        }
        // The old name is forgotten: the log is not its own any more.
        claims.claim(7, &new, KEYS[0]);
        claims.give_up(7, &old);
        let other = claims.claim(7, &name("other"), KEYS[1]);
        assert_eq!(other, Claimed::Of(new));
    }

    #[test]
    fn a_log_that_two_hosts_with_one_key_tell_of_is_not_handed_on() {
        let mut claims = Claims::default();
        let (web1, web2) = (name("web1"), name("web2"));
        claims.claim(7, &web1, KEYS[0]);
        claims.claim(7, &web2, KEYS[0]);
        claims.share(7);
        claims.share(8);
        let of = Claimed::Of(web2.clone());
        assert_eq!(claims.claim(7, &web1, KEYS[0]), of);
        assert_eq!(claims.claim(7, &web2, KEYS[0]), Claimed::Own);
        assert_eq!(claims.claim(8, &web1, KEYS[0]), Claimed::Own);
    }
}
