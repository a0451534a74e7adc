//! Values that cannot be read or make no sense.
//!
//! Owns the rule for one text of the kernel: an odd value costs only itself. A parser puts what is
//! wrong with a value into [`Odd`] and goes on with the next; the reader of the file gives that to
//! the [`Sink`](super::Sink), which counts it. [`LeftOut`] is all that was left out of one reading.
//! Nothing is allocated while every value makes sense.

use std::path::Path;

use super::error::{CollectError, Malformed};

/// Most oddities of one reading that are kept to be named; the others are only counted. A
/// file that is wrong in every line is recognised by its first ones.
pub const MAX_NAMED: usize = 16;

/// What makes no sense in one text.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Odd {
    named: Vec<Malformed>,
    count: u64,
}

impl Odd {
    /// Takes what is wrong with a value that is left out.
    pub fn add(&mut self, problem: Malformed) {
        self.count += 1;
        if self.named.len() < MAX_NAMED {
            self.named.push(problem);
        }
    }

    /// The value, or None and a note of what is wrong with it.
    pub fn note<T>(&mut self, value: Option<T>, problem: impl FnOnce() -> Malformed) -> Option<T> {
        if value.is_none() {
            self.add(problem());
        }
        value
    }

    /// The value of a result, whose error is noted.
    pub fn keep<T>(&mut self, result: Result<T, Malformed>) -> Option<T> {
        result.map_err(|problem| self.add(problem)).ok()
    }

    /// Takes over what another has.
    pub fn append(&mut self, other: Self) {
        let unnamed = other.count - other.named.len() as u64;
        for problem in other.named {
            self.add(problem);
        }
        self.count += unnamed;
    }

    /// Returns true if every value made sense so far.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// What is wrong, as far as it is named.
    #[must_use]
    pub fn named(&self) -> &[Malformed] {
        &self.named
    }

    /// What is wrong first, where `nothing` else is known; else all is kept.
    pub fn take_first_if(&mut self, nothing: bool) -> Option<Malformed> {
        nothing.then(|| self.take_first()).flatten()
    }

    /// What is wrong first; nothing is kept.
    pub fn take_first(&mut self) -> Option<Malformed> {
        std::mem::take(self).named.into_iter().next()
    }
}

/// What was left out of one reading.
#[derive(Debug, Default)]
pub struct LeftOut {
    named: Vec<CollectError>,
    count: u64,
}

impl LeftOut {
    /// Takes why a value was left out.
    pub fn add(&mut self, error: CollectError) {
        self.count += 1;
        if self.named.len() < MAX_NAMED {
            self.named.push(error);
        }
    }

    /// Takes all that is odd in a file.
    pub fn add_all(&mut self, path: &Path, odd: Odd) {
        let unnamed = odd.count - odd.named.len() as u64;
        for problem in odd.named {
            self.add(CollectError::malformed(path, problem));
        }
        self.count += unnamed;
    }

    /// How many values were left out.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Why, as far as it is named.
    #[must_use]
    pub fn named(&self) -> &[CollectError] {
        &self.named
    }

    /// Why, as far as it is named; forgets it.
    pub fn take_named(&mut self) -> Vec<CollectError> {
        std::mem::take(&mut self.named)
    }

    /// Takes over what another has, which is empty then.
    pub fn append(&mut self, other: &mut Self) {
        let unnamed = other.count - other.named.len() as u64;
        for error in other.take_named() {
            self.add(error);
        }
        self.count += unnamed;
        other.count = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_counted_and_the_first_are_named() {
        let mut odd = Odd::default();
        assert!(odd.is_empty());
        assert_eq!(odd.note(Some(7), || unreachable!()), Some(7));
        for line in 1..=MAX_NAMED + 3 {
            let problem = || Malformed::new(line, "a number", b"x");
            assert_eq!(odd.note(None::<u64>, problem), None);
        }
        assert!(!odd.is_empty());
        let mut all = LeftOut::default();
        all.add_all(Path::new("/proc/x"), odd);
        assert_eq!(all.named().len(), MAX_NAMED);
        assert_eq!(all.count(), MAX_NAMED as u64 + 3);
        assert_eq!(
            all.named()[1].to_string(),
            "/proc/x, line 2: expected a number, found \"x\""
        );
        let mut more = LeftOut::default();
        more.add(CollectError::Refused("no".to_owned()));
        more.append(&mut all);
        assert_eq!((more.named().len(), more.count()), (MAX_NAMED, 20));
        assert_eq!((all.named().len(), all.count()), (0, 0));
    }
}
