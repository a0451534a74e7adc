//! What is kept by id, and the values of one message by series.

use std::collections::VecDeque;

/// What is kept under ids that grow.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Table<T> {
    pub(super) first: u32,
    pub(super) entries: VecDeque<Option<T>>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self {
            first: 1,
            entries: VecDeque::new(),
        }
    }
}

impl<T> Table<T> {
    pub(super) fn get(&self, id: u32) -> Option<&T> {
        let place = id.checked_sub(self.first)?;
        self.entries.get(place as usize)?.as_ref()
    }

    /// Where this id's entry is, made if need be; None if the id is out of bounds.
    pub(super) fn slot(&mut self, id: u32, most: u32) -> Option<&mut Option<T>> {
        if self.entries.is_empty() && id > 0 {
            self.first = id;
        }
        while id < self.first && id > 0 && self.first - id <= most.saturating_sub(self.len()) {
            self.entries.push_front(None);
            self.first -= 1;
        }
        let place = id.checked_sub(self.first).filter(|place| *place < most)? as usize;
        while self.entries.len() <= place {
            self.entries.push_back(None);
        }
        self.entries.get_mut(place)
    }

    fn len(&self) -> u32 {
        u32::try_from(self.entries.len()).unwrap_or(u32::MAX)
    }

    /// Returns true if there is something below this id.
    pub(super) fn has_below(&self, id: u32) -> bool {
        self.first < id && !self.entries.is_empty()
    }

    /// Forgets those below this id, each told to `gone`.
    pub(super) fn forget_below(&mut self, id: u32, mut gone: impl FnMut(T)) {
        while self.has_below(id) {
            self.first += 1;
            if let Some(entry) = self.entries.pop_front().flatten() {
                gone(entry);
            }
        }
    }
}

/// The latest values of the series of one message. One is enough for all connections.
#[derive(Debug, Default)]
pub struct Scratch {
    /// By id, from the first one in use; with the number of the run that it is of.
    before: Vec<(u64, u64)>,
    run: u64,
}

impl Scratch {
    pub(super) fn begin(&mut self) {
        self.run += 1;
    }

    pub(super) fn at(&mut self, place: usize) -> &mut u64 {
        if self.before.len() <= place {
            self.before.resize(place + 1, (0, 0));
        }
        // It was made just now if it was not there.
        let Some((run, value)) = self.before.get_mut(place) else {
            unreachable!("there is room for it");
        };
        if *run != self.run {
            (*run, *value) = (self.run, 0);
        }
        value
    }
}
