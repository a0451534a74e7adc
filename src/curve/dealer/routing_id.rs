//! What a ROUTER knows a connection by.

use std::fmt;

/// What routing ids are made of: 36 to the power of 16 of them.
const CHARS: &[u8; 36] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

/// What a ROUTER knows a connection by: 16 characters out of `A-Z0-9`.
///
/// It tells connections apart and guards nothing (that is CURVE's task), so it
/// need not be hard to guess.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RoutingId([u8; 16]);

impl RoutingId {
    /// A new one for a new connection.
    #[must_use]
    pub fn random() -> Self {
        let random = |()| fastrand::choice(CHARS).copied().unwrap_or(b'A');
        Self([(); 16].map(random))
    }

    /// A new one that begins with these characters, by which a peer tells what it can; the
    /// other half is random. `prefix` is ASCII.
    #[must_use]
    pub fn random_after(prefix: &[u8; 8]) -> Self {
        let mut id = Self::random();
        for (byte, prefix) in id.0.iter_mut().zip(prefix) {
            *byte = *prefix;
        }
        id
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Made of ASCII alone.
        str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for RoutingId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for RoutingId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RoutingId({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_routing_id_is_what_the_protocol_says() {
        let ids: Vec<_> = (0..200).map(|_| RoutingId::random()).collect();
        let allowed = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit();
        for id in &ids {
            assert_eq!(id.as_str().len(), 16);
            assert!(id.as_str().chars().all(allowed), "{id}");
        }
        let distinct: std::collections::HashSet<_> = ids.iter().collect();
        assert_eq!(distinct.len(), ids.len());
        let marked: Vec<_> = (0..200)
            .map(|_| RoutingId::random_after(b"viewer2-"))
            .collect();
        for id in &marked {
            let rest = id.as_str().strip_prefix("viewer2-").unwrap();
            assert!(rest.len() == 8 && rest.chars().all(allowed), "{id}");
        }
        let distinct: std::collections::HashSet<_> = marked.iter().collect();
        assert_eq!(distinct.len(), marked.len());
    }
}
