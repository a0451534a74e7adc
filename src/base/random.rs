//! The kernel's random numbers, getrandom(2).

use rustix::io::Errno;
use rustix::rand::{GetRandomFlags, getrandom};

/// What to do early in the boot, when there are none yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Early {
    /// Wait for them.
    Wait,
    /// Fail, with EAGAIN.
    Fail,
}

/// Fills all of `bytes`.
///
/// # Errors
///
/// The kernel's.
pub(crate) fn fill(bytes: &mut [u8], early: Early) -> Result<(), Errno> {
    let flags = match early {
        Early::Wait => GetRandomFlags::empty(),
        Early::Fail => GetRandomFlags::NONBLOCK,
    };
    let mut rest = bytes;
    while !rest.is_empty() {
        match getrandom(&mut *rest, flags) {
            Ok(filled) => rest = rest.get_mut(filled..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
