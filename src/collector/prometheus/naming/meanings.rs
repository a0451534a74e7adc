//! What names mean, found once for all grids that share them.
//!
//! 4 bytes a name: the series of its metric are then made without a look into any table of names.

use std::borrow::Cow;

use super::{Family, ROWS, Series, made_family, made_series, row, split};
use crate::protocol::grid::{Names, Value, ValueType};

/// The families and instances of these names.
#[derive(Debug)]
pub(crate) struct Meanings {
    /// At the place of each name.
    slots: Box<[Slot]>,
    /// The families that no row of the table describes.
    made: Box<[Family]>,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    /// The number of a row of the table; behind those, of a family that was made.
    family: u16,
    /// Where the instance begins, with its bracket; or the length of the name.
    instance: u16,
}

/// The number of no family. There are [`MAX_METRICS`](crate::protocol::grid::MAX_METRICS) at most
/// that are made.
const LEFT_OUT: u16 = u16::MAX;

impl Meanings {
    /// What these names mean.
    #[must_use]
    pub(crate) fn of(names: &Names) -> Self {
        let mut made: Vec<Family> = Vec::new();
        let mut last: Option<(&str, bool, u16)> = None;
        let slots = names.iter().map(|(name, value)| {
            let (plain, instance) = split(name);
            let is_text = matches!(value, ValueType::Text(_));
            let number = if let Some(row) = row(plain, instance, is_text) {
                let by_name = |other: &super::Row| other.family.name.cmp(&row.family.name);
                ROWS.binary_search_by(by_name).ok()
            } else if let Some((.., number)) =
                last.filter(|last| (last.0, last.1) == (plain, is_text))
            {
                // Another instance of the same.
                Some(number.into())
            } else {
                made_family(plain, is_text).map(|family| {
                    made.push(family);
                    ROWS.len() + made.len() - 1
                })
            };
            let family = number.and_then(|number| number.try_into().ok());
            let family = family.unwrap_or(LEFT_OUT);
            if usize::from(family) >= ROWS.len() {
                last = Some((plain, is_text, family));
            }
            let instance = instance.map_or(name.len(), |_| plain.len());
            Slot {
                family,
                instance: u16::try_from(instance).unwrap_or(u16::MAX),
            }
        });
        Self {
            slots: slots.collect(),
            made: made.into(),
        }
    }

    /// The [`series`](super::series) of the metric whose name is at this place.
    #[must_use]
    pub(crate) fn series<'a>(
        &'a self,
        place: usize,
        (name, value): (&'a str, Value<'a>),
    ) -> Option<Series<'a>> {
        let slot = self.slots.get(place)?;
        let number = usize::from(slot.family);
        // Without the brackets; nothing is there where the name ends.
        let instance = name.get(usize::from(slot.instance) + 1..name.len().saturating_sub(1));
        if let Some(row) = ROWS.get(number) {
            return row.series(instance, value);
        }
        let family = self.made.get(number.checked_sub(ROWS.len())?)?;
        made_series(Cow::Borrowed(family), instance, value)
    }

    /// What they take in memory, in bytes.
    #[must_use]
    pub(crate) fn bytes(&self) -> usize {
        let names: usize = self.made.iter().map(|family| family.name.capacity()).sum();
        size_of_val(&*self.slots) + size_of_val(&*self.made) + names
    }
}
