//! Where secrets and nonces come from.

use zeroize::Zeroizing;

use super::violation::Violation;
use crate::base::random::{Early, fill};
use crate::curve::keys::{KEY_BYTES, KeyPair, SecretKey};

/// Gives unpredictable bytes.
pub trait Random {
    /// Fills all of `bytes`.
    ///
    /// # Errors
    ///
    /// [`Violation::NoRandom`] where there are none (yet).
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), Violation>;
}

/// The kernel's random numbers, getrandom(2). Early in the boot there may be none yet; it does not
/// wait for them.
#[derive(Clone, Copy, Debug, Default)]
pub struct KernelRandom;

impl Random for KernelRandom {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), Violation> {
        fill(bytes, Early::Fail).map_err(|error| Violation::NoRandom(error.into()))
    }
}

/// `N` new bytes that are no secret.
pub(super) fn nonce<const N: usize>(random: &mut dyn Random) -> Result<[u8; N], Violation> {
    let mut bytes = [0; N];
    random.fill(&mut bytes)?;
    Ok(bytes)
}

/// 32 new secret bytes.
pub(super) fn secret(random: &mut dyn Random) -> Result<Zeroizing<[u8; KEY_BYTES]>, Violation> {
    let mut bytes = Zeroizing::new([0; KEY_BYTES]);
    random.fill(&mut *bytes)?;
    Ok(bytes)
}

/// A new pair of keys for one connection.
pub(super) fn transient_pair(random: &mut dyn Random) -> Result<KeyPair, Violation> {
    let secret = SecretKey::from_bytes(&*secret(random)?);
    Ok(KeyPair {
        public: secret.public(),
        secret,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_fills_all_bytes_with_new_ones() {
        let mut bytes = [0; 4096];
        KernelRandom.fill(&mut bytes).unwrap();
        // 256 zero bytes in a row come by chance once in 2^2048 times.
        assert!(bytes.chunks(256).all(|part| part.iter().any(|&b| b != 0)));
        let one: [u8; 32] = nonce(&mut KernelRandom).unwrap();
        assert_ne!(one, nonce(&mut KernelRandom).unwrap());
        KernelRandom.fill(&mut []).unwrap();
    }
}
