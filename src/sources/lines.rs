//! The lines of a text of the kernel, counted.
//!
//! Owns the one check that comes before all others: a line may be cut off.

use super::{error::Malformed, text::next_line};

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
