//! Keys that are let in, by the names of their files. Pure.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::sync::Arc;

use crate::curve::keys::PublicKey;

/// Maximum number of names in the text of a change; of the rest only the number is given.
const NAMES_TOLD: usize = 5;

/// An allow list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowList(HashMap<PublicKey, Arc<str>>);

impl AllowList {
    /// Makes a list of these names and keys. If a key has two names, the first counts.
    pub fn new(entries: impl IntoIterator<Item = (Arc<str>, PublicKey)>) -> Self {
        let mut list = HashMap::new();
        for (name, key) in entries {
            list.entry(key).or_insert(name);
        }
        Self(list)
    }

    /// The name of a key that is on the list.
    #[must_use]
    pub fn name(&self, key: &PublicKey) -> Option<&str> {
        self.0.get(key).map(|name| &**name)
    }

    /// Returns true if a key is on it.
    #[must_use]
    pub fn contains(&self, key: &PublicKey) -> bool {
        self.0.contains_key(key)
    }

    /// How many keys are on it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns true if no key is on it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What changes if this list replaces `before`.
    #[must_use]
    pub fn change_since(&self, before: &Self) -> Change {
        let missing_in = |list: &Self, other: &Self| -> BTreeMap<Arc<str>, PublicKey> {
            let missing = list.0.iter().filter(|(key, _)| !other.contains(key));
            missing
                .map(|(key, name)| (Arc::clone(name), *key))
                .collect()
        };
        Change {
            added: missing_in(self, before).into_keys().collect(),
            removed: missing_in(before, self).into_keys().collect(),
        }
    }
}

/// What has changed on a list, by names in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Let in from now on.
    pub added: Vec<Arc<str>>,
    /// Refused from now on.
    pub removed: Vec<Arc<str>>,
}

impl Change {
    /// Returns true if nothing has changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty()
    }
}

/// Names as people read them: `a, b and 3 more`.
#[must_use]
pub fn told(names: &[Arc<str>]) -> String {
    let mut text = names
        .iter()
        .take(NAMES_TOLD)
        .map(|name| &**name)
        .collect::<Vec<_>>()
        .join(", ");
    if let Some(more) = names.len().checked_sub(NAMES_TOLD).filter(|more| *more > 0) {
        // Writing to a string does not fail.
        let _ = write!(text, " and {more} more");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(entries: &[(&str, u8)]) -> AllowList {
        let entries = entries.iter();
        AllowList::new(entries.map(|&(name, key)| (name.into(), PublicKey::from_bytes([key; 32]))))
    }

    #[test]
    fn a_key_is_known_by_its_first_name() {
        let list = list(&[("a", 1), ("b", 1), ("c", 2)]);
        assert_eq!(list.len(), 2);
        assert_eq!(list.name(&PublicKey::from_bytes([1; 32])), Some("a"));
        assert!(!list.contains(&PublicKey::from_bytes([3; 32])));
    }

    #[test]
    fn a_change_is_of_keys_and_told_by_names() {
        let before = list(&[("a", 1), ("b", 2), ("c", 3)]);
        let after = list(&[("a", 1), ("b", 9), ("renamed", 3), ("d", 4)]);
        let change = after.change_since(&before);
        assert_eq!(change.added, ["b".into(), "d".into()]);
        assert_eq!(change.removed, ["b".into()]);
        assert!(after.change_since(&after).is_empty());
    }

    #[test]
    fn many_names_are_a_number() {
        let names: Vec<Arc<str>> = (0..8).map(|number: u8| number.to_string().into()).collect();
        assert_eq!(told(&names[..2]), "0, 1");
        assert_eq!(told(&names), "0, 1, 2, 3, 4 and 3 more");
    }
}
