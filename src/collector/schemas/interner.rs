//! Which schemas are known, so that hosts with the same metrics share one.
//!
//! What is shared is charged to no host, so it has limits of its own, in all and for each key that
//! brings it. Beyond them a schema is used all the same, but not shared: each host is charged for
//! its own, as for the names in a message. So an agent that makes up schemas cannot take more than
//! its share of memory, and all that others lose is the saving.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Weak};

use super::described::Described;
use crate::curve::keys::PublicKey;
use crate::protocol::grid::Schema;

/// Most bytes of all shared schemas: of 1,000 hosts that have nothing in common, with three times
/// the usual 20 KiB each. An eighth of what hosts may have besides.
pub const MAX_SHARED_BYTES: usize = 64 * 1024 * 1024;

/// Most bytes of those that one key brought first: a relay's 200 hosts that have nothing in common,
/// and a sixteenth of all.
pub const MAX_SHARED_BYTES_OF_KEY: usize = MAX_SHARED_BYTES / 16;

/// What an entry takes here besides its schema, about.
const ENTRY_BYTES: usize = 128;

/// How many schemas may come, at least, before it is looked which are still held by somebody.
const MIN_NEWS: usize = 64;

/// The schemas that hosts share.
#[derive(Debug, Default)]
pub struct Schemas {
    /// By the hash of the schema. Of two with the same hash, which cannot be brought about, the
    /// first is kept.
    known: HashMap<u64, Known>,
    hasher: RandomState,
    /// What those take that were held when it was last looked, and those that came since.
    bytes: usize,
    bytes_of_key: HashMap<Option<PublicKey>, usize>,
    /// How many came since then that were not known.
    news: usize,
}

#[derive(Debug)]
struct Known {
    described: Weak<Described>,
    bytes: usize,
    /// Who brought it.
    key: Option<PublicKey>,
}

impl Schemas {
    /// Describes a schema that the peer with this key uses, or finds the same one of others.
    #[must_use]
    pub fn describe(&mut self, key: Option<PublicKey>, schema: Schema) -> Arc<Described> {
        let hash = self.hasher.hash_one(&schema);
        let known = self.known.get(&hash);
        let known = known.and_then(|known| known.described.upgrade());
        if let Some(known) = known.filter(|known| *known.schema() == schema) {
            return known;
        }
        self.news += 1;
        let described = Described::new(schema);
        let bytes = described.bytes() + ENTRY_BYTES;
        // Looking at all costs no more than what has come since the last time.
        if self.news >= MIN_NEWS.max(self.known.len() / 4) {
            self.let_go();
        }
        if self.known.get(&hash).is_some_and(Known::is_held) || !self.has_room(key, bytes) {
            return Arc::new(described);
        }
        let described = Arc::new(described.shared());
        self.enter(
            hash,
            Known {
                described: Arc::downgrade(&described),
                bytes,
                key,
            },
        );
        described
    }

    /// What is shared takes so many bytes, at most.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    fn has_room(&self, key: Option<PublicKey>, bytes: usize) -> bool {
        let of_key = self.bytes_of_key.get(&key).copied().unwrap_or(0);
        self.bytes + bytes <= MAX_SHARED_BYTES && of_key + bytes <= MAX_SHARED_BYTES_OF_KEY
    }

    fn enter(&mut self, hash: u64, known: Known) {
        self.bytes += known.bytes;
        *self.bytes_of_key.entry(known.key).or_default() += known.bytes;
        if let Some(before) = self.known.insert(hash, known) {
            self.leave(&before);
        }
    }

    fn leave(&mut self, known: &Known) {
        self.bytes = self.bytes.saturating_sub(known.bytes);
        if let Some(bytes) = self.bytes_of_key.get_mut(&known.key) {
            *bytes = bytes.saturating_sub(known.bytes);
            if *bytes == 0 {
                self.bytes_of_key.remove(&known.key);
            }
        }
    }

    /// Lets go of all that no host holds.
    fn let_go(&mut self) {
        self.news = 0;
        let gone: Vec<_> = self.known.extract_if(|_, known| !known.is_held()).collect();
        for (_, known) in &gone {
            self.leave(known);
        }
        // A fleet that left takes its room along.
        self.known.shrink_to(2 * self.known.len());
    }
}

impl Known {
    fn is_held(&self) -> bool {
        self.described.strong_count() > 0
    }
}
