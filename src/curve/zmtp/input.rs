//! Bytes that were read and are not used up yet.

/// Bytes that are taken off at the front, and changed where they stand.
#[derive(Debug, Default)]
pub struct Input<'a>(&'a mut [u8]);

impl<'a> Input<'a> {
    /// All of `bytes`.
    #[must_use]
    pub fn new(bytes: &'a mut [u8]) -> Self {
        Self(bytes)
    }

    /// What is left.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        self.0
    }

    /// How much is left, in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns true if nothing is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next `count` bytes; None where there are fewer, and nothing is taken.
    pub(super) fn take(&mut self, count: usize) -> Option<&'a mut [u8]> {
        if count > self.0.len() {
            return None;
        }
        let (front, rest) = std::mem::take(&mut self.0).split_at_mut_checked(count)?;
        self.0 = rest;
        Some(front)
    }

    /// The next `N` bytes; None where there are fewer, and nothing is taken.
    pub(super) fn take_array<const N: usize>(&mut self) -> Option<&'a mut [u8; N]> {
        let (front, _) = self.take(N)?.split_first_chunk_mut()?;
        Some(front)
    }

    /// All that is left.
    pub(super) fn take_rest(&mut self) -> &'a mut [u8] {
        std::mem::take(&mut self.0)
    }
}
