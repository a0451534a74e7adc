//! Values in base units: the kernel's counts are not rounded, and become floats only if
//! necessary.

use std::fmt;

use crate::protocol::grid::Value;

/// A value in its base unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// `digits` with the decimal point moved to the left by so many places.
    Decimal {
        /// All its digits.
        digits: i128,
        /// How many of them stand behind the point; at most [`MAX_PLACES`].
        places: u8,
    },
    /// Sent as a float, or too large for the above.
    Float(f64),
}

/// Most digits behind the point that a scale moves to: microseconds.
pub const MAX_PLACES: u8 = 6;

/// From the unit on the wire to the base unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// So many times as much.
    Times(u32),
    /// The decimal point moved to the left by so many places, at most [`MAX_PLACES`].
    Places(u8),
}

impl Number {
    /// 1, of which an info series consists.
    pub const ONE: Self = Self::Decimal {
        digits: 1,
        places: 0,
    };

    /// The number in a value, scaled; None for text, and for a float that is too large for
    /// that: infinity is not what was sent.
    #[must_use]
    pub fn scaled(value: Value<'_>, scale: Scale) -> Option<Self> {
        match value {
            Value::Unsigned(number) => Some(Self::integer(number.into(), scale)),
            Value::Signed(number) => Some(Self::integer(number.into(), scale)),
            Value::Float(number) => {
                let scaled = match scale {
                    Scale::Times(times) => number * f64::from(times),
                    Scale::Places(0) => number,
                    Scale::Places(places) => moved(number, places),
                };
                scaled.is_finite().then_some(Self::Float(scaled))
            }
            Value::Text(_) => None,
        }
    }

    fn integer(number: i128, scale: Scale) -> Self {
        // 64 bits times 32 fit.
        let (digits, places) = match scale {
            Scale::Times(times) => (number * i128::from(times), 0),
            Scale::Places(places) => (number, places),
        };
        Self::Decimal { digits, places }
    }

    /// The nearest float, or one of its neighbours where there are more than 53 bits of
    /// digits.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        reason = "the rounding is what the caller asks for"
    )]
    pub fn as_f64(self) -> f64 {
        match self {
            Self::Decimal { digits, places: 0 } => digits as f64,
            Self::Decimal { digits, places } => digits as f64 / f64::from(power(places)),
            Self::Float(number) => number,
        }
    }
}

impl From<u64> for Number {
    fn from(number: u64) -> Self {
        Self::Decimal {
            digits: number.into(),
            places: 0,
        }
    }
}

/// As the text formats have it: an exact decimal, or the shortest that gives the float again.
impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Decimal { digits, places } => {
                if digits < 0 {
                    f.write_str("-")?;
                }
                let size = digits.unsigned_abs();
                let unit = power(places);
                // Nearly all fit, and 64 bits are written several times as fast.
                match u64::try_from(size) {
                    Ok(size) => write!(f, "{}", size / u64::from(unit))?,
                    Err(_) => write!(f, "{}", size / u128::from(unit))?,
                }
                let mut rest = u32::try_from(size % u128::from(unit)).unwrap_or(0);
                if rest != 0 {
                    let mut width = usize::from(places);
                    while rest.is_multiple_of(10) {
                        rest /= 10;
                        width -= 1;
                    }
                    write!(f, ".{rest:0width$}")?;
                }
                Ok(())
            }
            Self::Float(number) => float(f, number),
        }
    }
}

/// Plain digits where they are few.
fn float(f: &mut fmt::Formatter<'_>, number: f64) -> fmt::Result {
    if number == 0.0 || (1e-5..1e17).contains(&number.abs()) {
        write!(f, "{number}")
    } else {
        write!(f, "{number:e}")
    }
}

fn power(places: u8) -> u32 {
    10_u32.pow(places.min(MAX_PLACES).into())
}

/// The decimal point moved in the decimal that was sent: 12.3 % is 0.123, which a division
/// of floats may miss by a hair.
fn moved(number: f64, places: u8) -> f64 {
    let text = format!("{number:e}");
    let divided = || number / f64::from(power(places));
    let Some((digits, exponent)) = text.split_once('e') else {
        return divided();
    };
    let Ok(exponent) = exponent.parse::<i32>() else {
        return divided();
    };
    let exponent = exponent - i32::from(places);
    format!("{digits}e{exponent}")
        .parse()
        .unwrap_or_else(|_| divided())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(value: Value<'_>, scale: Scale) -> String {
        Number::scaled(value, scale).unwrap().to_string()
    }

    #[test]
    fn integers_stay_exact() {
        let plain = Scale::Times(1);
        assert_eq!(
            shown(Value::Unsigned(u64::MAX), plain),
            "18446744073709551615"
        );
        assert_eq!(
            shown(Value::Signed(i64::MIN), plain),
            "-9223372036854775808"
        );
        assert_eq!(
            shown(Value::Unsigned(u64::MAX), Scale::Times(1024)),
            "18889465931478580853760"
        );
        assert_eq!(
            shown(Value::Unsigned(u64::MAX), Scale::Places(6)),
            "18446744073709.551615"
        );
        assert_eq!(shown(Value::Unsigned(0), Scale::Places(3)), "0");
        assert_eq!(shown(Value::Unsigned(1), Scale::Places(6)), "0.000001");
        assert_eq!(shown(Value::Unsigned(1_250), Scale::Places(3)), "1.25");
        assert_eq!(shown(Value::Unsigned(3_000), Scale::Places(3)), "3");
        assert_eq!(shown(Value::Signed(-5), Scale::Places(2)), "-0.05");
        assert_eq!(
            shown(Value::Unsigned(1_000), Scale::Times(125_000)),
            "125000000"
        );
    }

    #[test]
    fn floats_are_the_shortest_that_mean_the_same() {
        let plain = Scale::Times(1);
        for (number, text) in [
            (0.25, "0.25"),
            (3.0, "3"),
            (-0.0, "-0"),
            (1e300, "1e300"),
            (5e-324, "5e-324"),
            (-1.5e-7, "-1.5e-7"),
            (0.00001, "0.00001"),
        ] {
            assert_eq!(shown(Value::Float(number), plain), text);
        }
    }

    #[test]
    fn what_no_conversion_survives_is_no_number() {
        for number in [f64::MAX, f64::MIN, 1e308] {
            for times in [1024, 125_000] {
                let scaled = Number::scaled(Value::Float(number), Scale::Times(times));
                assert_eq!(scaled, None, "{number} times {times}");
            }
            for scale in [Scale::Times(1), Scale::Places(6)] {
                let scaled = Number::scaled(Value::Float(number), scale).unwrap();
                assert!(scaled.as_f64().is_finite(), "{number}: {scale:?}");
            }
        }
    }

    #[test]
    fn a_percentage_with_a_fraction_gains_no_digits() {
        assert_eq!(shown(Value::Float(12.3), Scale::Places(2)), "0.123");
        assert_eq!(shown(Value::Float(0.07), Scale::Places(2)), "0.0007");
        assert_eq!(shown(Value::Float(-99.9), Scale::Places(2)), "-0.999");
        assert_eq!(shown(Value::Float(0.0), Scale::Places(2)), "0");
        assert_eq!(shown(Value::Float(5e-324), Scale::Places(2)), "0");
    }

    #[test]
    fn as_floats_they_are_the_nearest() {
        for (value, scale, float) in [
            (Value::Unsigned(1), Scale::Places(6), 1e-6_f64),
            (Value::Unsigned(123_456_789), Scale::Places(3), 123_456.789),
            (Value::Signed(-3), Scale::Times(1024), -3072.0),
            (Value::Float(12.3), Scale::Places(2), 0.123),
        ] {
            let number = Number::scaled(value, scale).unwrap();
            assert_eq!(number.as_f64().to_bits(), float.to_bits(), "{value:?}");
            let read: f64 = number.to_string().parse().unwrap();
            assert_eq!(read.to_bits(), float.to_bits(), "{value:?}");
        }
        assert_eq!(Number::ONE.to_string(), "1");
        assert_eq!(Number::scaled(Value::Text("1"), Scale::Times(1)), None);
    }
}
