//! NaCl's boxes, as CurveZMQ has them ([RFC 26](https://rfc.zeromq.org/spec/26/)): X25519 agrees
//! on a key, XSalsa20 encrypts, Poly1305 authenticates.
//!
//! It owns the cryptography and nothing of the protocol; primitives are RustCrypto's and dalek's.
//! A text is sealed and opened where it stands. Nothing is decrypted before it is known to be
//! authentic, and tags are compared in constant time. Keys and the states of ciphers are
//! overwritten when they are dropped, as far as safe code can promise that: a copy that a move has
//! left behind is not reached.

use curve25519_dalek::montgomery::MontgomeryPoint;
use poly1305::Poly1305;
use poly1305::universal_hash::KeyInit;
use salsa20::cipher::consts::U10;
use salsa20::cipher::{KeyIvInit, StreamCipher};
use salsa20::{Salsa20, hsalsa};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

use crate::curve::keys::{KEY_BYTES, PublicKey, SecretKey};

// poly1305's other backend takes 700 ns to set up for each message, on processors that have
// AVX2: more than all else that a small message costs.
#[cfg(all(
    any(target_arch = "x86", target_arch = "x86_64"),
    not(poly1305_backend = "soft"),
    not(doc)
))]
compile_error!(
    "build with --cfg poly1305_backend=\"soft\": .cargo/config.toml has it, and RUSTFLAGS in the \
     environment replace what is there; add it to them"
);

/// Length of what authenticates a box, in bytes.
pub const TAG_BYTES: usize = 16;
/// The part of a nonce that says what the box is for, in bytes.
pub const PREFIX_BYTES: usize = 16;
/// The part of a nonce that counts, in bytes.
pub const COUNTER_BYTES: usize = 8;

/// A box was not made with this key and nonce, or was changed on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forged;

/// What the holders of two key pairs can compute, and no third party.
pub struct SharedKey(Zeroizing<[u8; KEY_BYTES]>);

impl SharedKey {
    /// What our secret key and the peer's public one have in common; None where the peer's is one
    /// of the few with which everybody has the same in common
    /// ([RFC 7748](https://www.rfc-editor.org/rfc/rfc7748), section 6.1).
    #[must_use]
    pub fn agree(ours: &SecretKey, theirs: &PublicKey) -> Option<Self> {
        let point = in_common(ours, theirs)?;
        let mut derived = hsalsa::<U10>((&*point).into(), &[0; PREFIX_BYTES].into());
        let key = Self(Zeroizing::new(derived.into()));
        derived.as_mut_slice().zeroize();
        Some(key)
    }

    /// A key that one end alone has, for boxes to itself.
    #[must_use]
    pub fn of(secret: &[u8; KEY_BYTES]) -> Self {
        Self(Zeroizing::new(*secret))
    }

    /// The key of all boxes whose nonces begin with `prefix`.
    #[must_use]
    pub fn begin(&self, prefix: &[u8; PREFIX_BYTES]) -> BoxKey {
        let mut derived = hsalsa::<U10>((&*self.0).into(), prefix.into());
        let key = BoxKey(Zeroizing::new(derived.into()));
        derived.as_mut_slice().zeroize();
        key
    }
}

/// A key for boxes whose nonces begin alike: XSalsa20's first step, done once.
pub struct BoxKey(Zeroizing<[u8; KEY_BYTES]>);

impl BoxKey {
    /// Encrypts `text` in its place. Never to be called twice with one nonce.
    #[must_use]
    pub fn seal(&self, nonce: [u8; COUNTER_BYTES], text: &mut [u8]) -> [u8; TAG_BYTES] {
        let (mut cipher, authenticator) = self.start(nonce);
        cipher.apply_keystream(text);
        authenticator.compute_unpadded(text).into()
    }

    /// Decrypts `text` in its place; one that is not authentic stays as it is.
    ///
    /// # Errors
    ///
    /// [`Forged`].
    pub fn open(
        &self,
        nonce: [u8; COUNTER_BYTES],
        tag: &[u8; TAG_BYTES],
        text: &mut [u8],
    ) -> Result<(), Forged> {
        let (mut cipher, authenticator) = self.start(nonce);
        let expected: [u8; TAG_BYTES] = authenticator.compute_unpadded(text).into();
        if !bool::from(expected.ct_eq(tag)) {
            return Err(Forged);
        }
        cipher.apply_keystream(text);
        Ok(())
    }

    /// The key stream's first 32 bytes are the authenticator's key, and the text begins behind
    /// them.
    fn start(&self, nonce: [u8; COUNTER_BYTES]) -> (Salsa20, Poly1305) {
        let mut cipher = Salsa20::new((&*self.0).into(), &nonce.into());
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        cipher.apply_keystream(&mut *key);
        let authenticator = Poly1305::new((&*key).into());
        (cipher, authenticator)
    }
}

/// X25519 ([RFC 7748](https://www.rfc-editor.org/rfc/rfc7748), section 5); None for zero.
fn in_common(ours: &SecretKey, theirs: &PublicKey) -> Option<Zeroizing<[u8; KEY_BYTES]>> {
    let mut point = MontgomeryPoint(*theirs.as_bytes()).mul_clamped(*ours.as_bytes());
    let common = Zeroizing::new(point.to_bytes());
    point.zeroize();
    let is_zero = common.ct_eq(&[0; KEY_BYTES]);
    (!bool::from(is_zero)).then_some(common)
}

#[cfg(test)]
pub(super) mod tests;
