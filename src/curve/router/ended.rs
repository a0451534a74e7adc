//! Why connections of a ROUTER have ended, and how many for each reason. Pure.

use super::Failure;
use crate::curve::zmtp::Violation;

/// Why a connection has ended, or was not taken. A connection ends for one reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The peer or the network closed it.
    Closed,
    /// Its key was not let in.
    NotAuthorized,
    /// Its key was let in before, and is not any more.
    Revoked,
    /// It speaks something else than ZMTP 3 with CURVE, or for another kind of socket.
    OtherProtocol,
    /// What it sent does not have the form or the order that it must have.
    Malformed,
    /// It was sealed with another key, changed on its way, or sent before.
    Forged,
    /// A frame or a message exceeds its bound.
    TooLarge,
    /// All peers together held too much of messages that are not whole, and it most of that.
    Unfinished,
    /// Nothing was heard for longer than it had said.
    Silent,
    /// It did not finish its handshake.
    HandshakeTimeout,
    /// It was the oldest of too many in their handshake.
    Crowded,
    /// Its network began too many handshakes in a second.
    HandshakeRate,
    /// There are as many connections as there may be.
    Full,
    /// Its key has as many as it may have.
    KeyFull,
    /// The system would not go on with it.
    Internal,
}

impl Ending {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 15] = [
        Self::Closed,
        Self::NotAuthorized,
        Self::Revoked,
        Self::OtherProtocol,
        Self::Malformed,
        Self::Forged,
        Self::TooLarge,
        Self::Unfinished,
        Self::Silent,
        Self::HandshakeTimeout,
        Self::Crowded,
        Self::HandshakeRate,
        Self::Full,
        Self::KeyFull,
        Self::Internal,
    ];

    /// As it is told to those who watch.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::NotAuthorized => "not_authorized",
            Self::Revoked => "revoked",
            Self::OtherProtocol => "other_protocol",
            Self::Malformed => "malformed",
            Self::Forged => "forged",
            Self::TooLarge => "too_large",
            Self::Unfinished => "unfinished",
            Self::Silent => "silent",
            Self::HandshakeTimeout => "handshake_timeout",
            Self::Crowded => "crowded",
            Self::HandshakeRate => "handshake_rate",
            Self::Full => "full",
            Self::KeyFull => "key_full",
            Self::Internal => "internal",
        }
    }
}

impl From<&Failure> for Ending {
    fn from(failure: &Failure) -> Self {
        match failure {
            Failure::Violation(violation) => violation.into(),
            Failure::Slow => Self::HandshakeTimeout,
            Failure::Crowded => Self::Crowded,
            Failure::TooMany => Self::HandshakeRate,
            Failure::Unfinished => Self::Unfinished,
            Failure::Full { .. } => Self::Full,
            Failure::KeyFull => Self::KeyFull,
        }
    }
}

impl From<&Violation> for Ending {
    fn from(violation: &Violation) -> Self {
        match violation {
            Violation::NotZmtp(_)
            | Violation::OldZmtp(_)
            | Violation::Mechanism(_)
            | Violation::SocketType { .. } => Self::OtherProtocol,
            Violation::Malformed(_) | Violation::Unexpected { .. } | Violation::Refused(_) => {
                Self::Malformed
            }
            Violation::Forged(_) | Violation::Replayed(_) | Violation::WeakKey(_) => Self::Forged,
            Violation::FrameTooLarge { .. }
            | Violation::MessageTooLarge { .. }
            | Violation::MessageEndless { .. } => Self::TooLarge,
            Violation::Silent(_) => Self::Silent,
            Violation::Exhausted | Violation::NoRandom(_) => Self::Internal,
        }
    }
}

/// How many have ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Endings([u64; Ending::ALL.len()]);

impl Endings {
    pub(super) fn count(&mut self, ending: Ending) {
        if let Some(count) = self.0.get_mut(ending as usize) {
            *count += 1;
        }
    }

    /// How many for each reason.
    pub fn iter(&self) -> impl Iterator<Item = (Ending, u64)> {
        Ending::ALL.into_iter().zip(self.0)
    }

    /// How many for this reason.
    #[must_use]
    pub fn of(&self, ending: Ending) -> u64 {
        self.0.get(ending as usize).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_has_its_own_number_and_word() {
        let mut words = BTreeSet::new();
        let mut endings = Endings::default();
        for (number, ending) in Ending::ALL.into_iter().enumerate() {
            assert_eq!(ending as usize, number);
            assert!(words.insert(ending.as_str()), "{ending:?}");
            (0..=number).for_each(|_| endings.count(ending));
        }
        for (number, (ending, count)) in endings.iter().enumerate() {
            assert_eq!((count, endings.of(ending)), (number as u64 + 1, count));
        }
    }
}
