//! What connections have defined, each once, however many have the same. Pure.
//!
//! Keeps nothing that no connection holds.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::sync::{Arc, Weak};

use crate::protocol::data::reader::Defined;

/// How many may come, at least, before it is looked which are still held by somebody.
const MIN_NEWS: usize = 64;

/// The definitions that connections hold.
#[derive(Debug)]
pub(super) struct Shared<S, T> {
    /// By the hash of what they are.
    known: HashMap<u64, Weak<Defined<S, T>>>,
    hasher: RandomState,
    /// How many came since it was looked.
    news: usize,
}

impl<S, T> Default for Shared<S, T> {
    fn default() -> Self {
        Self {
            known: HashMap::new(),
            hasher: RandomState::new(),
            news: 0,
        }
    }
}

impl<S: Clone + Eq + Hash, T: Eq + Hash> Shared<S, T> {
    /// Puts in their place those of another connection, if they are the same.
    pub(super) fn share(&mut self, defined: &mut Arc<Defined<S, T>>) {
        let hash = self.hasher.hash_one(&**defined);
        let known = self.known.get(&hash).and_then(Weak::upgrade);
        if let Some(known) = known.filter(|known| known == defined) {
            *defined = known;
            return;
        }
        // Who defines more has a copy of its own.
        Arc::make_mut(defined).shrink();
        self.news += 1;
        if self.news >= MIN_NEWS.max(self.known.len() / 4) {
            self.news = 0;
            self.known.retain(|_, known| known.strong_count() > 0);
            self.known.shrink_to(2 * self.known.len());
        }
        self.known.insert(hash, Arc::downgrade(defined));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collector::history::keep::Keeper;
    use crate::protocol::data::dictionary::{Dictionary, Point, Value};
    use crate::protocol::data::wire::{Data, Kind};
    use crate::protocol::data::{Reader, Scratch};
    use prost::Message as _;

    /// What an agent defines that has so many disks.
    fn definitions(disks: usize) -> Vec<u8> {
        let names: Vec<_> = (0..disks).map(|number| format!("sd{number}")).collect();
        let points = names.iter().map(|name| Point {
            name: "disk.reads.total",
            instance: Some(("device", name)),
            kind: Kind::Counter,
            unit: "",
            value: Value::Unsigned(1),
        });
        let mut dictionary = Dictionary::default();
        let sampled = dictionary.sample(points.map(|point| ("disk", point)));
        let data = Data {
            stream: 1,
            series: sampled.series,
            schemas: sampled.schemas,
            ..Data::default()
        };
        data.encode_to_vec()
    }

    #[test]
    fn hosts_of_one_kind_share_what_they_define_while_one_is_there() {
        let mut keeper = Keeper::default();
        let mut scratch = Scratch::default();
        let mut readers: Vec<Reader<Keeper>> = Vec::new();
        for host in 0..1000 {
            let mut reader = Reader::default();
            let body = definitions(1 + host % 10);
            let body = reader.read(&body, &mut keeper, &mut scratch).unwrap();
            assert_eq!(body.fault_count, 0);
            readers.push(reader);
        }
        let held = |keeper: &Keeper| {
            let known = keeper.shared.known.values();
            known.map(Weak::strong_count).collect::<Vec<_>>()
        };
        assert_eq!(held(&keeper), [100; 10]);
        readers.truncate(1);
        let mut left = held(&keeper);
        left.sort_unstable();
        assert_eq!(left, [0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        // Those that come and go leave nothing behind.
        for host in 0..1000 {
            let body = definitions(20 + host);
            let mut reader = Reader::default();
            reader.read(&body, &mut keeper, &mut scratch).unwrap();
            assert!(keeper.shared.known.len() <= MIN_NEWS + 1);
        }
    }
}
