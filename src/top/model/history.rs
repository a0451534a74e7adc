//! The last values of something between 0 and 100, in a ring. Pure.

/// How many are kept: five minutes at one message in 5 s.
pub const SAMPLES: usize = 60;

/// Nothing was heard here.
const GAP: u8 = u8::MAX;

/// A ring of percentages.
#[derive(Clone, Debug)]
pub struct History {
    samples: [u8; SAMPLES],
    /// Where the next one goes, which is where the oldest is.
    next: u8,
}

impl Default for History {
    fn default() -> Self {
        Self {
            samples: [GAP; SAMPLES],
            next: 0,
        }
    }
}

impl History {
    /// One more percentage.
    pub fn push(&mut self, percent: f64) {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 0 and 100; NaN becomes 0"
        )]
        let sample = percent.clamp(0.0, 100.0).round() as u8;
        self.put(sample);
    }

    /// Nothing was heard for a while.
    pub fn gap(&mut self) {
        if self.newest(1).next() != Some(None) {
            self.put(GAP);
        }
    }

    fn put(&mut self, sample: u8) {
        if let Some(slot) = self.samples.get_mut(usize::from(self.next)) {
            *slot = sample;
        }
        self.next = if usize::from(self.next) + 1 == SAMPLES {
            0
        } else {
            self.next + 1
        };
    }

    /// The newest `count`, the oldest of them first; None for a gap.
    pub fn newest(&self, count: usize) -> impl Iterator<Item = Option<u8>> {
        let count = count.min(SAMPLES);
        let start = usize::from(self.next) + SAMPLES - count;
        let at = move |offset| self.samples.get((start + offset) % SAMPLES).copied();
        (0..count).map(move |offset| at(offset).filter(|sample| *sample != GAP))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_last_and_the_oldest_go() {
        let mut history = History::default();
        assert!(history.newest(3).all(|sample| sample.is_none()));
        for number in 0..SAMPLES + 2 {
            #[expect(clippy::cast_precision_loss, reason = "a small number")]
            history.push(number as f64);
        }
        let newest: Vec<_> = history.newest(2).collect();
        assert_eq!(newest, [Some(60), Some(61)]);
        let all: Vec<_> = history.newest(1000).collect();
        assert_eq!((all.len(), all[0]), (SAMPLES, Some(2)));
    }

    #[test]
    fn a_gap_is_one_gap() {
        let mut history = History::default();
        history.push(250.0);
        history.gap();
        history.gap();
        history.push(f64::NAN);
        let newest: Vec<_> = history.newest(4).collect();
        assert_eq!(newest, [None, Some(100), None, Some(0)]);
    }
}
