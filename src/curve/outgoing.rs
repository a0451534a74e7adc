//! What waits to be sent over a connection.

use std::io::{self, ErrorKind};

/// Bytes in the order in which they are to leave. There may be thousands of queues, nearly all of them empty:
/// such a one keeps no memory.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    bytes: Vec<u8>,
    /// So many of them have left.
    sent: usize,
}

impl Outgoing {
    /// Where to add to it.
    pub(super) fn end(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// How much waits, in bytes.
    pub(super) fn pending(&self) -> usize {
        self.bytes.len() - self.sent
    }

    /// Lets go of all that waits.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Hands it to `write`, which takes the front of what it is given, until it would block.
    ///
    /// # Errors
    ///
    /// What `write` fails with, or that it takes nothing.
    pub(super) fn flush(
        &mut self,
        mut write: impl FnMut(&[u8]) -> io::Result<usize>,
    ) -> io::Result<()> {
        while let Some(rest) = self.bytes.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match write(rest) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        if self.pending() == 0 {
            self.clear();
        } else if self.sent >= self.bytes.len() / 2 {
            // What was sent is let go of before it is as much as what waits.
            self.bytes.drain(..self.sent);
            self.sent = 0;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_it_leaves_once_and_in_order() {
        let mut outgoing = Outgoing::default();
        let (mut given, mut taken) = (Vec::new(), Vec::new());
        for round in 0..200_u8 {
            let more = vec![round; usize::from(round)];
            given.extend_from_slice(&more);
            outgoing.end().extend_from_slice(&more);
            // The system takes a hundred bytes, seven at a time.
            let mut room = 100_usize;
            let write = |bytes: &[u8]| {
                let count = bytes.len().min(room).min(7);
                if count == 0 {
                    return Err(ErrorKind::WouldBlock.into());
                }
                room -= count;
                taken.extend_from_slice(bytes.get(..count).unwrap());
                Ok(count)
            };
            outgoing.flush(write).unwrap();
            assert_eq!(outgoing.pending(), given.len() - taken.len());
            assert!(outgoing.bytes.len() <= 2 * outgoing.pending() + 7);
        }
        let write = |bytes: &[u8]| {
            taken.extend_from_slice(bytes);
            Ok(bytes.len())
        };
        outgoing.flush(write).unwrap();
        assert_eq!(given, taken);
        assert_eq!(outgoing.bytes.capacity(), 0);
    }

    #[test]
    fn a_failure_is_told_and_a_full_system_is_none() {
        let mut outgoing = Outgoing::default();
        outgoing.end().extend_from_slice(b"waits");
        outgoing
            .flush(|_| Err(ErrorKind::WouldBlock.into()))
            .unwrap();
        assert_eq!(outgoing.pending(), 5);
        assert_eq!(
            outgoing.flush(|_| Ok(0)).unwrap_err().kind(),
            ErrorKind::WriteZero
        );
        let broken = outgoing.flush(|_| Err(ErrorKind::BrokenPipe.into()));
        assert_eq!(broken.unwrap_err().kind(), ErrorKind::BrokenPipe);
        outgoing.clear();
        assert_eq!(outgoing.pending(), 0);
    }
}
