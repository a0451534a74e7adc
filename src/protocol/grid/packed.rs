//! Values in as few bytes as they need.
//!
//! Collectors keep the latest values of each host, and most values are short: counts are far below 2^64, many
//! stay 0, and a float that is a whole number has zeros at its end. Knows no names and no types.

/// A value that is not there.
const ABSENT: u8 = 8;

/// A value that needs all of its bytes.
const WHOLE: u8 = 15;

/// Codes of one word.
const OF_WORD: usize = 16;

/// So many values, or none in their place.
///
/// For each there is a code of four bits, the first in the lower half of a byte: 0 for a value of 0; 1 to 7, so
/// many bytes from its low end; 9 to 14, one to six bytes from its high end; [`WHOLE`] or [`ABSENT`]. The three
/// lower bits are how many bytes it has, but for one that is whole. The bytes are behind the codes.
#[derive(Clone, Default)]
pub(super) struct Packed(Box<[u8]>);

/// How a value is told.
fn code_of(value: Option<u64>) -> u8 {
    let Some(value) = value else { return ABSENT };
    let bytes = |zeros: u32| u8::try_from((u64::BITS - zeros).div_ceil(8)).unwrap_or(8);
    let (low, high) = (bytes(value.leading_zeros()), bytes(value.trailing_zeros()));
    match low.min(high) {
        0 => 0,
        7.. if low > 7 => WHOLE,
        _ if high < low => ABSENT + high,
        _ => low,
    }
}

/// How many bytes a value has that is told so.
fn length_of(code: u8) -> usize {
    usize::from(code & 7) + usize::from(code == WHOLE)
}

/// How many bytes the values have that are told so, in all.
fn length_of_word(codes: u64) -> usize {
    const ONES: u64 = u64::MAX / 15;
    let three = codes & (7 * ONES);
    let pairs = (three & (u64::MAX / 17)) + (three >> 4 & (u64::MAX / 17));
    let whole = codes & codes >> 1 & codes >> 2 & codes >> 3 & ONES;
    // At most 16 times 7, which the highest byte holds.
    let sum = pairs.wrapping_mul(u64::MAX / 255) >> 56;
    usize::try_from(sum).unwrap_or(0) + whole.count_ones() as usize
}

/// The code at this place.
fn code_at(codes: &[u8], place: usize) -> Option<u8> {
    let pair = codes.get(place / 2)?;
    Some(if place.is_multiple_of(2) {
        pair & 15
    } else {
        pair >> 4
    })
}

/// The value that is told so, at the front of these bytes. None where they are too few.
fn value_of(code: u8, bytes: &[u8]) -> Option<u64> {
    let length = length_of(code);
    let front = if let Some(front) = bytes.first_chunk() {
        *front
    } else {
        let mut front = [0; 8];
        front
            .get_mut(..length)?
            .copy_from_slice(bytes.get(..length)?);
        front
    };
    let unused = u64::BITS - 8 * u32::try_from(length).unwrap_or(0);
    // Of no byte at all there is nothing to shift.
    let high = u64::from_le_bytes(front).checked_shl(unused).unwrap_or(0);
    Some(if code > ABSENT {
        high
    } else {
        high.checked_shr(unused).unwrap_or(0)
    })
}

impl Packed {
    /// These values.
    pub(super) fn of(values: &[Option<u64>]) -> Self {
        let codes = values.len().div_ceil(2);
        let lengths = values.iter().map(|value| length_of(code_of(*value)));
        // Exactly so many: it is kept until the next value comes, by the thousand.
        let mut packed = Vec::with_capacity(codes + lengths.sum::<usize>());
        let pairs = values.chunks(2).map(|pair| {
            let mut codes = pair.iter().map(|value| code_of(*value));
            codes.next().unwrap_or(0) | codes.next().unwrap_or(0) << 4
        });
        packed.extend(pairs);
        for value in values {
            let code = code_of(*value);
            let bytes = value.unwrap_or(0).to_le_bytes();
            let length = length_of(code);
            let bytes = if code > ABSENT {
                bytes.get(8 - length..)
            } else {
                bytes.get(..length)
            };
            packed.extend_from_slice(bytes.unwrap_or_default());
        }
        Self(packed.into())
    }

    /// What so many values take at most, in bytes.
    pub(super) fn most_bytes(count: usize) -> usize {
        count.div_ceil(2) + count * size_of::<u64>()
    }

    /// Codes of so many values, and the bytes behind them.
    fn parts(&self, count: usize) -> (&[u8], &[u8]) {
        self.0
            .split_at_checked(count.div_ceil(2))
            .unwrap_or_default()
    }

    /// Each of so many values, from the first.
    pub(super) fn iter(&self, count: usize) -> Values<'_> {
        let (codes, bytes) = self.parts(count);
        Values {
            codes,
            bytes,
            place: 0,
            count,
        }
    }

    /// The value at this place of so many.
    pub(super) fn get(&self, count: usize, place: usize) -> Option<u64> {
        let (codes, bytes) = self.parts(count);
        let code = code_at(codes, place).filter(|code| place < count && *code != ABSENT)?;
        // Many are asked for one by one, so those before are counted by the word.
        let (words, rest) = codes.as_chunks();
        let before = words.get(..place / OF_WORD);
        let before = before.map_or(0, |words| {
            let lengths = words
                .iter()
                .map(|word| length_of_word(u64::from_le_bytes(*word)));
            lengths.sum()
        });
        let mut last = [0; 8];
        let word = words.get(place / OF_WORD).map_or(rest, |word| word);
        last.get_mut(..word.len())?.copy_from_slice(word);
        let mask = (1 << (place % OF_WORD * 4)) - 1;
        let before = before + length_of_word(u64::from_le_bytes(last) & mask);
        value_of(code, bytes.get(before..)?)
    }

    /// Returns true if the same of so many are absent.
    pub(super) fn lacks_same(&self, other: &Self, count: usize) -> bool {
        let absent = |packed: &Self, place| code_at(&packed.0, place) == Some(ABSENT);
        (0..count).all(|place| absent(self, place) == absent(other, place))
    }
}

/// Values one after the other.
#[derive(Clone, Debug)]
pub(super) struct Values<'a> {
    codes: &'a [u8],
    bytes: &'a [u8],
    place: usize,
    count: usize,
}

impl Iterator for Values<'_> {
    type Item = Option<u64>;

    fn next(&mut self) -> Option<Option<u64>> {
        if self.place >= self.count {
            return None;
        }
        let code = code_at(self.codes, self.place)?;
        self.place += 1;
        let value = value_of(code, self.bytes)?;
        self.bytes = self.bytes.get(length_of(code)..)?;
        Some((code != ABSENT).then_some(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Values of every length, from either end.
    fn value() -> impl Strategy<Value = Option<u64>> {
        let shifted = |(bits, by): (u64, u32)| bits >> by;
        let value = prop_oneof![
            Just(0),
            any::<u64>(),
            (any::<u64>(), 0..64_u32).prop_map(shifted),
            (any::<u64>(), 0..64_u32).prop_map(|(bits, by)| bits << by),
            any::<f64>().prop_map(f64::to_bits),
            any::<i16>().prop_map(|whole| f64::from(whole).to_bits()),
        ];
        prop::option::weighted(0.8, value)
    }

    proptest! {
        #[test]
        fn what_was_packed_comes_back(values in prop::collection::vec(value(), 0..80)) {
            let packed = Packed::of(&values);
            let count = values.len();
            prop_assert!(packed.iter(count).eq(values.iter().copied()));
            for place in 0..count + 2 {
                let expected = values.get(place).copied().flatten();
                prop_assert_eq!(packed.get(count, place), expected);
            }
            prop_assert!(packed.0.len() <= Packed::most_bytes(count));
        }

        #[test]
        fn what_is_absent_is_compared(
            values in prop::collection::vec((value(), value()), 0..10),
        ) {
            let (a, b): (Vec<_>, Vec<_>) = values.into_iter().unzip();
            let same = a.iter().map(Option::is_some).eq(b.iter().map(Option::is_some));
            let (count, a, b) = (a.len(), Packed::of(&a), Packed::of(&b));
            prop_assert_eq!(a.lacks_same(&b, count), same);
        }
    }

    #[test]
    fn what_hosts_say_takes_few_bytes() {
        let bytes = |value| Packed::of(&[Some(value), None]).0.len() - 1;
        let counts = [0, 1, 255, 256, 0xff_ffff, 1 << 32, u64::MAX];
        assert_eq!(counts.map(bytes), [0, 1, 1, 2, 3, 4, 8]);
        let floats = [0.0, 1.0, 100.0, 12.5, 0.25, 98.6];
        let floats = floats.map(|float: f64| bytes(float.to_bits()));
        assert_eq!(floats, [0, 2, 2, 2, 2, 8]);
    }
}
