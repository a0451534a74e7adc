//! Values in as few bytes as they need.
//!
//! Collectors keep the latest values of each host, and most values are short: counts are far below 2^64, many
//! stay 0, and a float that is a whole number has zeros at its end. Knows no names and no types.

/// A value that is not there.
const ABSENT: u8 = 15;

/// A value that needs all of its bytes.
const WHOLE: u8 = 8;

/// So many values, or none in their place.
///
/// For each there are four bits: 0 for a value of 0; 1 to 8, so many bytes from its low end; 9 to 14, one to six
/// bytes from its high end; or [`ABSENT`]. Behind these are the bytes.
#[derive(Clone, Default)]
pub(super) struct Packed(Box<[u8]>);

/// How a value is told.
fn code_of(value: Option<u64>) -> u8 {
    let Some(value) = value else { return ABSENT };
    // At most 8.
    let low = u8::try_from(u64::BITS - value.leading_zeros())
        .unwrap_or(0)
        .div_ceil(8);
    let zeros = u8::try_from(value.trailing_zeros()).unwrap_or(0) / 8;
    let high = WHOLE.saturating_sub(zeros);
    if high < low && high <= 6 {
        WHOLE + high
    } else {
        low
    }
}

/// How many bytes a value has that is told so.
fn length_of(code: u8) -> usize {
    match code {
        ABSENT => 0,
        ..=WHOLE => code.into(),
        _ => (code - WHOLE).into(),
    }
}

/// The four bits at this place.
fn code_at(codes: &[u8], place: usize) -> Option<u8> {
    let pair = codes.get(place / 2)?;
    Some(if place.is_multiple_of(2) {
        pair & 15
    } else {
        pair >> 4
    })
}

/// The value of these bytes.
fn value_of(code: u8, bytes: &[u8]) -> u64 {
    let mut all = [0; 8];
    let at = if code > WHOLE { 8 - bytes.len() } else { 0 };
    if let Some(place) = all.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
    u64::from_le_bytes(all)
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
            let bytes = if code > WHOLE {
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

    /// Each of so many values, from the first.
    pub(super) fn iter(&self, count: usize) -> Values<'_> {
        let (codes, bytes) = self
            .0
            .split_at_checked(count.div_ceil(2))
            .unwrap_or_default();
        Values {
            codes,
            bytes,
            place: 0,
            count,
        }
    }

    /// The value at this place of so many.
    pub(super) fn get(&self, count: usize, place: usize) -> Option<u64> {
        self.iter(count).nth(place).flatten()
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

impl Values<'_> {
    fn next_code(&mut self) -> Option<u8> {
        if self.place >= self.count {
            return None;
        }
        let code = code_at(self.codes, self.place)?;
        self.place += 1;
        Some(code)
    }
}

impl Iterator for Values<'_> {
    type Item = Option<u64>;

    fn next(&mut self) -> Option<Option<u64>> {
        let code = self.next_code()?;
        let (bytes, rest) = self.bytes.split_at_checked(length_of(code))?;
        self.bytes = rest;
        Some((code != ABSENT).then(|| value_of(code, bytes)))
    }

    /// Those before it are not put together.
    fn nth(&mut self, place: usize) -> Option<Option<u64>> {
        let mut skipped = 0;
        for _ in 0..place {
            skipped += length_of(self.next_code()?);
        }
        self.bytes = self.bytes.get(skipped..)?;
        self.next()
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
        fn what_was_packed_comes_back(values in prop::collection::vec(value(), 0..40)) {
            let packed = Packed::of(&values);
            let count = values.len();
            prop_assert!(packed.iter(count).eq(values.iter().copied()));
            for place in 0..count + 2 {
                let expected = values.get(place).copied().flatten();
                prop_assert_eq!(packed.get(count, place), expected);
                let mut rest = packed.iter(count);
                prop_assert_eq!(rest.nth(place), values.get(place).copied());
                prop_assert!(rest.eq(values.iter().copied().skip(place + 1)));
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
