//! A table whose entries are found by a number that is never used again. Pure.

/// Entries by their token: a place in the table, and how often that place was used before.
#[derive(Debug)]
pub(super) struct Slots<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Slot<T> {
    uses: u32,
    entry: Option<T>,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
        }
    }
}

impl<T> Slots<T> {
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(super) fn insert(&mut self, entry: T) -> u64 {
        let place = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot {
                uses: 0,
                entry: None,
            });
            // A descriptor each: there are never 2^32.
            u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
        });
        let mut token = u64::from(place);
        if let Some(slot) = self.slots.get_mut(place as usize) {
            slot.entry = Some(entry);
            token |= u64::from(slot.uses) << 32;
        }
        token
    }

    /// Returns true if something is there.
    pub(super) fn has(&self, token: u64) -> bool {
        let slot = self.slots.get(place(token) as usize);
        slot.is_some_and(|slot| slot.entry.is_some() && u64::from(slot.uses) == token >> 32)
    }

    pub(super) fn get_mut(&mut self, token: u64) -> Option<&mut T> {
        self.slot_mut(token)?.entry.as_mut()
    }

    pub(super) fn remove(&mut self, token: u64) -> Option<T> {
        let slot = self.slot_mut(token)?;
        let entry = slot.entry.take()?;
        slot.uses = slot.uses.wrapping_add(1);
        self.free.push(place(token));
        Some(entry)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &T)> {
        self.slots.iter().zip(0_u64..).filter_map(|(slot, place)| {
            let token = place | u64::from(slot.uses) << 32;
            slot.entry.as_ref().map(|entry| (token, entry))
        })
    }

    fn slot_mut(&mut self, token: u64) -> Option<&mut Slot<T>> {
        let slot = self.slots.get_mut(place(token) as usize)?;
        (u64::from(slot.uses) == token >> 32).then_some(slot)
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the lower half is meant")]
fn place(token: u64) -> u32 {
    token as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_of_one_entry_alone() {
        let mut slots = Slots::default();
        let (one, two) = (slots.insert('a'), slots.insert('b'));
        assert_eq!(slots.len(), 2);
        assert_eq!(slots.remove(one), Some('a'));
        assert_eq!((slots.remove(one), slots.get_mut(one)), (None, None));
        let three = slots.insert('c');
        assert_ne!(three, one);
        assert_eq!(slots.get_mut(one), None);
        assert_eq!(slots.get_mut(three), Some(&mut 'c'));
        let all: Vec<_> = slots.iter().collect();
        assert_eq!(all, [(three, &'c'), (two, &'b')]);
        assert_eq!(slots.len(), 2);
        assert_eq!(slots.get_mut(u64::MAX), None);
    }
}
