//! The few forms that the kernel's texts are made of.
//!
//! Owns lines, fields and numbers as bytes: nothing is copied, nothing panics, and what has
//! another form is None. Owns the one check that comes before all others, too: a line may be cut
//! off. Refuses to know any file.

use super::error::Malformed;

/// The next line without its newline; `rest` becomes what follows.
///
/// None at the end, and where no newline ends what is left: that line is cut off, perhaps
/// in the middle of a number, and stays in `rest`.
#[must_use]
pub fn next_line<'t>(rest: &mut &'t [u8]) -> Option<&'t [u8]> {
    let (line, after) = split_once(rest, b'\n')?;
    *rest = after;
    Some(line)
}

/// The text before the first `separator`, and the text after it.
#[must_use]
pub fn split_once(text: &[u8], separator: u8) -> Option<(&[u8], &[u8])> {
    let at = text.iter().position(|&byte| byte == separator)?;
    Some((text.get(..at)?, text.get(at + 1..)?))
}

/// The fields of a line: what is between blanks and tabs, never empty.
pub fn fields(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| matches!(byte, b' ' | b'\t'))
        .filter(|field| !field.is_empty())
}

/// A number of decimal digits and nothing else; None for another form, for a sign, and past
/// 64 bits.
#[must_use]
pub fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u64, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

/// Most of anything that a host has: sockets, requests under way, connections. The kernel
/// counts these in 31 bits; what exceeds it is a negative number, printed as if it had no
/// sign.
pub const MAX_COUNT: u64 = i32::MAX as u64;

/// Most threads and processes: `PID_MAX_LIMIT` of the kernel.
pub const MAX_TASKS: u64 = 4 * 1024 * 1024;

/// Most of anything that is counted as long as a host runs: a larger number is one below 0,
/// printed as if it had no sign.
pub const MAX_EVENTS: u64 = i64::MAX as u64;

/// Most of a time that passes once, as a wait or the time of one CPU, in ns: 292 years.
const MAX_TIME: u64 = i64::MAX as u64;

/// Most of a time that all CPUs have a part in, in ns: 548 years. Large hosts exceed
/// [`MAX_TIME`]: 256 CPUs do after 417 days.
const MAX_SUM_OF_TIMES: u64 = u64::MAX - (1 << 60);

const NANOSECONDS: u64 = 1_000_000_000;

/// The upper limit of a single time, not a sum of several, in parts of which a second has so many.
///
/// The kernel counts times in ns, and divides before it prints them: a negative one, divided as if
/// it had no sign, is far below 2^63. So the bound is that of the ns.
#[must_use]
pub const fn max_time(per_second: u64) -> u64 {
    MAX_TIME / (NANOSECONDS / per_second)
}

/// The same for a time that all CPUs have a part in.
#[must_use]
pub const fn max_sum_of_times(per_second: u64) -> u64 {
    MAX_SUM_OF_TIMES / (NANOSECONDS / per_second)
}

/// Parts of a second that the kernel prints the times of CPUs and processes in: `USER_HZ`, which
/// is 100 on all architectures that Rust knows.
pub const TICKS: u64 = 100;

/// Microseconds of a second.
pub const MICROSECONDS: u64 = 1_000_000;

/// Milliseconds of a second.
pub const MILLISECONDS: u64 = 1000;

/// A count of things, of which there are `most` at most.
#[must_use]
pub fn count(text: &[u8], most: u64) -> Option<u64> {
    decimal(text).filter(|count| *count <= most)
}

/// Most seconds that pass once: [`max_time`], as a float.
pub const MAX_SECONDS: f64 = 9_223_372_036.0;

/// A number of decimal digits, a point and more digits, as `0.04`: no sign, no exponent, and no
/// word for infinity or NaN.
#[must_use]
pub fn fixed_point(text: &[u8]) -> Option<f64> {
    let (whole, part) = split_once(text, b'.')?;
    let digits = |text: &[u8]| !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    if !digits(whole) || !digits(part) {
        return None;
    }
    let number: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    number.is_finite().then_some(number)
}

/// What belongs at the end of every text of the kernel.
pub const EXPECTED_END: &str = "a newline at the end of the file";

/// A line and its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line<'t> {
    /// Counted from 1.
    pub number: usize,
    /// Without its newline.
    pub text: &'t [u8],
}

impl Line<'_> {
    /// That this line is not what belongs there.
    #[must_use]
    pub fn malformed(&self, expected: &'static str) -> Malformed {
        Malformed::new(self.number, expected, self.text)
    }

    /// The same, where this word of the line is what is wrong.
    #[must_use]
    pub fn malformed_word(&self, expected: &'static str, word: Option<&[u8]>) -> Malformed {
        Malformed::word(self.number, expected, self.text, word)
    }
}

/// The lines of `text`; what no newline ends is malformed, and the last.
pub fn lines(text: &[u8]) -> impl Iterator<Item = Result<Line<'_>, Malformed>> {
    let mut rest = text;
    let mut number = 0;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        number += 1;
        Some(match next_line(&mut rest) {
            Some(text) => Ok(Line { number, text }),
            None => Err(Malformed::new(
                number,
                EXPECTED_END,
                std::mem::take(&mut rest),
            )),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_end_with_a_newline_or_are_left() {
        let mut rest = &b"one\n\ntwo 2\nthr"[..];
        for line in [&b"one"[..], b"", b"two 2"] {
            assert_eq!(next_line(&mut rest), Some(line));
        }
        assert_eq!((next_line(&mut rest), rest), (None, &b"thr"[..]));
        assert_eq!(next_line(&mut &b""[..]), None);
    }

    #[test]
    fn fields_are_what_blanks_leave() {
        let found: Vec<_> = fields(b"  a\t bc  \xff ").collect();
        assert_eq!(found, [&b"a"[..], b"bc", b"\xff"]);
        assert_eq!(fields(b" \t").count(), 0);
        assert_eq!(split_once(b"a:b:c", b':'), Some((&b"a"[..], &b"b:c"[..])));
        assert_eq!(split_once(b"a", b':'), None);
    }

    #[test]
    fn numbers_are_digits() {
        for (text, number) in [
            ("0", Some(0)),
            ("007", Some(7)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("", None),
            ("-1", None),
            ("+1", None),
            (" 1", None),
            ("1.0", None),
            ("0x1", None),
            ("\u{661}", None),
        ] {
            assert_eq!(decimal(text.as_bytes()), number, "{text}");
        }
    }

    #[test]
    fn counts_are_bounded() {
        assert_eq!(count(b"2147483647", MAX_COUNT), Some(MAX_COUNT));
        // -1 and -5 in 32 and in 64 bits.
        for text in ["4294967295", "4294967291", "18446744073709551615", "-1", ""] {
            assert_eq!(count(text.as_bytes(), MAX_COUNT), None, "{text}");
        }
        assert_eq!(count(b"4194304", MAX_TASKS), Some(MAX_TASKS));
        assert_eq!(count(b"4194305", MAX_TASKS), None);
    }

    /// What the kernel prints for -1 ns, -1 s and -1 year, divided as if these had no sign.
    #[test]
    fn times_are_bounded_before_they_are_divided() {
        for below in [1, 1_000_000_000, 31_557_600_000_000_000_u64] {
            let printed = below.wrapping_neg();
            for per_second in [TICKS, MILLISECONDS, MICROSECONDS, NANOSECONDS] {
                let printed = (printed / (NANOSECONDS / per_second)).to_string();
                for most in [max_time(per_second), max_sum_of_times(per_second)] {
                    assert_eq!(count(printed.as_bytes(), most), None, "{printed}");
                }
            }
        }
        // All that 1024 CPUs have in 100 days, and one in 100 years.
        assert_eq!(
            count(b"884736000000", max_sum_of_times(TICKS)),
            Some(884_736_000_000)
        );
        assert_eq!(
            count(b"315576000000", max_time(TICKS)),
            Some(315_576_000_000)
        );
    }

    #[test]
    fn fixed_points_are_digits_with_a_point_among_them() {
        for (text, number) in [
            ("0.00", Some(0.0)),
            ("97.87", Some(97.87)),
            ("2578790.61", Some(2_578_790.61)),
            ("7", None),
            (".5", None),
            ("5.", None),
            ("-1.0", None),
            ("1.0e3", None),
            ("1.2.3", None),
            ("inf", None),
            ("", None),
        ] {
            assert_eq!(fixed_point(text.as_bytes()), number, "{text}");
        }
        let endless = format!("{}.0", "9".repeat(400));
        assert_eq!(fixed_point(endless.as_bytes()), None);
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(text in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = (next_line(&mut &text[..]), decimal(&text), fixed_point(&text));
            prop_assert!(fields(&text).all(|field| !field.is_empty()));
        }

        #[test]
        fn what_is_printed_is_read_back(number in any::<u64>(), part in 0_u64..100) {
            prop_assert_eq!(decimal(number.to_string().as_bytes()), Some(number));
            let text = format!("{number}.{part:02}");
            prop_assert_eq!(fixed_point(text.as_bytes()), text.parse().ok());
        }
    }

    #[test]
    fn lines_are_counted_and_the_last_ends_too() {
        let line = |number, text| Ok(Line { number, text });
        let found: Vec<_> = lines(b"a b\n\nc").collect();
        let cut = Malformed::new(3, EXPECTED_END, b"c");
        assert_eq!(found, [line(1, b"a b"), line(2, b""), Err(cut)]);
        assert_eq!(lines(b"").next(), None);
        let error = Line {
            number: 7,
            text: b"x",
        }
        .malformed("a number");
        assert_eq!(error.to_string(), "line 7: expected a number, found \"x\"");
    }
}
