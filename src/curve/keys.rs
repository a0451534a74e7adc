//! CURVE keys: 32 bytes each, written as 40 Z85 characters.
//!
//! A key that exists here has the right form. Whether a public key belongs to a secret one is not
//! checked: a pair that does not match fails its handshakes.

use std::fmt;
use std::str::FromStr;

use curve25519_dalek::montgomery::MontgomeryPoint;
use rustix::io::Errno;
use thiserror::Error;
use zeroize::{Zeroize, Zeroizing};

use super::z85;
use crate::base::random::{Early, fill};

/// Length of a key, in bytes ([CurveZMQ](https://rfc.zeromq.org/spec/26/)).
pub const KEY_BYTES: usize = 32;
/// Length of a key in Z85, in characters.
pub const KEY_CHARS: usize = 40;

/// Why a text is not a key, or why no key could be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum KeyError {
    /// The text has another length.
    #[error("expected {KEY_CHARS} Z85 characters, found {found}")]
    Length {
        /// Characters found.
        found: usize,
    },
    /// A character is not of the Z85 alphabet.
    #[error("expected {KEY_CHARS} Z85 characters, found {found:?} at position {position}")]
    Character {
        /// The character.
        found: char,
        /// Its place in the text, from 1.
        position: usize,
    },
    /// A group of five characters stands for more than four bytes can hold.
    #[error("the five characters at position {position} are not valid Z85")]
    Overflow {
        /// Place of the group's first character in the text, from 1.
        position: usize,
    },
    /// The kernel gives no random numbers.
    #[error("cannot make a key pair: the kernel gives no random numbers ({0})")]
    Generate(Errno),
}

/// A public key: names a peer, and may be shown to anyone.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublicKey([u8; KEY_BYTES]);

impl PublicKey {
    /// The key of these bytes; any 32 bytes are one.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; KEY_BYTES]) -> Self {
        Self(bytes)
    }

    /// The key's bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    /// Eight digits that tell keys apart in the names of their files. They prove nothing: a key
    /// with the same digits can be made.
    #[must_use]
    pub fn digits(&self) -> String {
        let [one, two, three, four, ..] = self.0;
        format!("{one:02x}{two:02x}{three:02x}{four:02x}")
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Z85 is ASCII.
        f.pad(str::from_utf8(&z85::encode(&self.0)).unwrap_or_default())
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        z85::decode(text).map(Self)
    }
}

/// A secret key: never shown, and overwritten when dropped as far as safe
/// code can promise that (copies that a move made are not reached).
pub struct SecretKey(Box<[u8; KEY_BYTES]>);

impl SecretKey {
    /// The key of these bytes; any 32 bytes are one.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; KEY_BYTES]) -> Self {
        Self(Box::new(*bytes))
    }

    /// The key's bytes.
    pub(super) fn as_bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    /// The public key that belongs to it.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(MontgomeryPoint::mul_base_clamped(*self.as_bytes()).to_bytes())
    }

    /// The key in Z85, for its file.
    pub(super) fn to_z85(&self) -> [u8; KEY_CHARS] {
        z85::encode(self.as_bytes())
    }
}

impl Clone for SecretKey {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl Drop for SecretKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(..)")
    }
}

impl FromStr for SecretKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        z85::decode(text).map(|key| Self(Box::new(key)))
    }
}

/// A public key and the secret one that it belongs to.
#[derive(Clone, Debug)]
pub struct KeyPair {
    /// What peers know this end by.
    pub public: PublicKey,
    /// What this end proves itself with.
    pub secret: SecretKey,
}

impl KeyPair {
    /// A new pair, from the kernel's random numbers, getrandom(2). Early in the boot it waits for
    /// the first ones.
    ///
    /// # Errors
    ///
    /// [`KeyError::Generate`] where the kernel gives none.
    pub fn generate() -> Result<Self, KeyError> {
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        fill(&mut *bytes, Early::Wait).map_err(KeyError::Generate)?;
        let secret = SecretKey::from_bytes(&bytes);
        Ok(Self {
            public: secret.public(),
            secret,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_key_survives_its_text() {
        let text = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7";
        let key: PublicKey = text.parse().unwrap();
        assert_eq!(key.to_string(), text);
        assert_eq!(key.as_bytes()[..4], [0x54, 0xFC, 0xBA, 0x24]);
        assert_eq!(PublicKey::from_bytes(*key.as_bytes()), key);
    }

    #[test]
    fn a_secret_key_does_not_show() {
        let text = "JTKVSB%%)wK0E.X)V>+}o?pNmC{O&4W4b!Ni{Lh6";
        let key: SecretKey = text.parse().unwrap();
        assert_eq!(key.to_z85(), text.as_bytes());
        assert_eq!(format!("{key:?}"), "SecretKey(..)");
        let pair = KeyPair {
            public: PublicKey([0; 32]),
            secret: key,
        };
        assert!(!format!("{pair:?}").contains("JTKV"));
    }

    #[test]
    fn each_pair_is_new() {
        let (one, two) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        assert_ne!(one.public, two.public);
        assert_ne!(one.secret.as_bytes(), two.secret.as_bytes());
        assert_ne!(one.public.as_bytes(), one.secret.as_bytes());
    }
}
