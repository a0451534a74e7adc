//! What to send again of a request that was refused, so that a refusal costs only what it is
//! about. Pure.
//!
//! Prometheus answers 400 to a request with one sample that is out of order, a duplicate or out of
//! bounds, and takes nothing of the request; others, such as Mimir, answer the same and keep the
//! rest. The answer does not say which sample it was. So the request is sent again in parts, until what is
//! refused stands alone. A *row* is the samples of one host at one time; the rows of a host stand
//! in the order of time.
//!
//! - Rows are tried from the first to the last, so that each series goes on in order whatever is
//!   taken. A part that is refused is halved; after one that is taken, twice as many rows are
//!   tried together.
//! - A row that is refused alone is cut into [`PIECES`] pieces. If every one of them is refused,
//!   it is the row that is refused, for its time: so it is with what the receiver has already,
//!   from a collector that was killed before it sent its receipts. Otherwise each refused piece is
//!   halved until the series that are refused stand alone. One row has one time, so the order of
//!   its pieces means nothing. After [`MAX_ROW_REQUESTS`], what is not found out is given up.
//! - A part that is too large (413) is halved without being a refusal; a single sample that is too
//!   large is refused.
//!
//! There is no search by halves for the first row of a host that the receiver does not have: a
//! later row that is taken shuts out those before it for good, and only then would one know that
//! it was too late. An agent sends again at most what was taken and not receipted yet, about a
//! second's worth of the whole fleet. That the very last row is sent twice is no refusal:
//! receivers take a sample that is the same as the series' last one.
//!
//! A receiver that keeps parts of what it refuses has those parts when they come again, and may
//! refuse them: then more is counted as refused than was lost.

use std::collections::VecDeque;
use std::ops::Range;

/// A row of which each of so many pieces is refused is refused as a whole. Each such row takes
/// so many requests; and fewer refused series than these in a row cost only themselves.
pub(super) const PIECES: usize = 8;

/// Most requests for one row. Halving to one series of 400 takes some 20 after the first pieces.
pub(super) const MAX_ROW_REQUESTS: usize = 256;

/// What became of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Taken,
    Refused,
    TooLarge,
}

/// What was settled by an outcome, in samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) taken: usize,
    pub(super) refused: usize,
}

/// A refused request on its way.
#[derive(Debug)]
pub(super) struct Split {
    /// Of each row, which samples it is; those of a host in the order of time.
    rows: Vec<Range<usize>>,
    /// The first row that is not settled.
    next: usize,
    /// How many rows are tried together.
    together: usize,
    /// The row `next`, in pieces.
    pieces: Option<Pieces>,
}

/// A row that was refused alone.
#[derive(Debug)]
struct Pieces {
    waiting: VecDeque<Range<usize>>,
    /// Those that were refused and may have to be halved.
    refused: Vec<Range<usize>>,
    /// How many pieces were refused that are not parts of one another.
    alone: usize,
    /// Whether some piece was taken.
    taken: bool,
    requests: usize,
}

impl Split {
    /// A request of these rows has had this outcome, which is not [`Outcome::Taken`]; what that
    /// settles already.
    pub(super) fn new(rows: Vec<Range<usize>>, outcome: Outcome) -> (Self, Tally) {
        let mut split = Self {
            together: rows.len(),
            rows,
            next: 0,
            pieces: None,
        };
        let tally = split.outcome(outcome);
        (split, tally)
    }

    /// What is to be sent next, in this order, as one request. None where all is settled.
    pub(super) fn next(&self) -> Option<&[Range<usize>]> {
        match &self.pieces {
            Some(pieces) => pieces.waiting.front().map(std::slice::from_ref),
            None => self.part(),
        }
    }

    fn part(&self) -> Option<&[Range<usize>]> {
        let rest = self.rows.get(self.next..)?;
        let part = rest.get(..self.together).unwrap_or(rest);
        (!part.is_empty()).then_some(part)
    }

    /// What became of that.
    pub(super) fn outcome(&mut self, outcome: Outcome) -> Tally {
        if let Some(pieces) = &mut self.pieces {
            let tally = pieces.outcome(outcome);
            if pieces.waiting.is_empty() {
                self.pieces = None;
                self.go_on(1, 1);
            }
            return tally;
        }
        let Some(part) = self.part() else {
            return Tally::default();
        };
        let rows = part.len();
        let samples = part.iter().map(Range::len).sum();
        match (outcome, part) {
            (Outcome::Taken, _) => {
                self.go_on(rows, rows * 2);
                Tally {
                    taken: samples,
                    refused: 0,
                }
            }
            (_, [row]) => {
                if row.len() <= 1 {
                    self.go_on(1, 1);
                    return Tally {
                        taken: 0,
                        refused: samples,
                    };
                }
                self.pieces = Some(Pieces::new(row, outcome));
                Tally::default()
            }
            _ => {
                self.together = rows / 2;
                Tally::default()
            }
        }
    }

    fn go_on(&mut self, settled: usize, together: usize) {
        self.next += settled;
        self.together = together;
    }
}

impl Pieces {
    fn new(row: &Range<usize>, outcome: Outcome) -> Self {
        let count = match outcome {
            Outcome::TooLarge => 2,
            _ => PIECES,
        };
        Self {
            waiting: cut(row, count).collect(),
            refused: Vec::new(),
            alone: 0,
            taken: false,
            requests: 0,
        }
    }

    fn outcome(&mut self, outcome: Outcome) -> Tally {
        let mut tally = Tally::default();
        let Some(piece) = self.waiting.pop_front() else {
            return tally;
        };
        self.requests += 1;
        match outcome {
            Outcome::Taken => {
                self.taken = true;
                tally.taken += piece.len();
            }
            _ if piece.len() <= 1 => {
                self.alone += 1;
                tally.refused += piece.len();
            }
            Outcome::Refused => self.refused.push(piece),
            Outcome::TooLarge => self.waiting.extend(cut(&piece, 2)),
        }
        if self.waiting.is_empty() && (self.taken || self.alone + self.refused.len() < PIECES) {
            let refused = self.refused.drain(..);
            self.waiting
                .extend(refused.flat_map(|piece| cut(&piece, 2)));
        }
        // What is left is refused as a whole, or cannot be found out.
        if self.waiting.is_empty() || self.requests >= MAX_ROW_REQUESTS {
            let left = self.waiting.drain(..).chain(self.refused.drain(..));
            tally.refused += left.map(|piece| piece.len()).sum::<usize>();
        }
        tally
    }
}

/// Pieces of about the same length, none of them empty.
fn cut(range: &Range<usize>, count: usize) -> impl Iterator<Item = Range<usize>> + use<> {
    let (start, length) = (range.start, range.len());
    let count = count.clamp(1, length.max(1));
    let at = move |piece: usize| start + piece * length / count;
    (0..count).map(move |piece| at(piece)..at(piece + 1))
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    /// One sample: its series, its time, its value.
    type Sample = (usize, i64, i64);

    /// A receiver: what it has, and what it dislikes.
    #[derive(Clone, Debug, Default)]
    struct Receiver {
        /// Of each series, its samples.
        has: BTreeMap<usize, Vec<(i64, i64)>>,
        /// Series that it never takes.
        odd: BTreeSet<usize>,
        /// Single samples that it never takes.
        wrong: BTreeSet<(usize, i64)>,
        /// Whether it keeps what it can of a request that it refuses.
        keeps: bool,
        /// Most samples of a request.
        largest: usize,
    }

    impl Receiver {
        fn takes(&self, (series, time, value): Sample) -> bool {
            let last = self.has.get(&series).and_then(|all| all.last());
            let in_order = last.is_none_or(|last| time > last.0 || (time, value) == *last);
            in_order && !self.odd.contains(&series) && !self.wrong.contains(&(series, time))
        }

        fn keep(&mut self, (series, time, value): Sample) {
            let all = self.has.entry(series).or_default();
            if all.last() != Some(&(time, value)) {
                all.push((time, value));
            }
        }

        fn ask(&mut self, request: &[Sample]) -> Outcome {
            if request.len() > self.largest {
                return Outcome::TooLarge;
            }
            let mut next = self.clone();
            let mut refused = false;
            for sample in request {
                if next.takes(*sample) {
                    next.keep(*sample);
                } else {
                    refused = true;
                }
            }
            if !refused || self.keeps {
                *self = next;
            }
            if refused {
                Outcome::Refused
            } else {
                Outcome::Taken
            }
        }
    }

    struct Run {
        tally: Tally,
        requests: usize,
    }

    fn run(receiver: &mut Receiver, samples: &[Sample], rows: Vec<Range<usize>>) -> Run {
        let mut run = Run {
            tally: Tally::default(),
            requests: 1,
        };
        let first = receiver.ask(samples);
        if first == Outcome::Taken {
            run.tally.taken = samples.len();
            return run;
        }
        let (mut split, mut tally) = Split::new(rows, first);
        loop {
            run.tally.taken += tally.taken;
            run.tally.refused += tally.refused;
            let Some(part) = split.next() else {
                return run;
            };
            let request: Vec<Sample> = part
                .iter()
                .flat_map(|range| samples[range.clone()].iter().copied())
                .collect();
            assert!(!request.is_empty());
            run.requests += 1;
            assert!(run.requests < 100_000, "it ends");
            tally = split.outcome(receiver.ask(&request));
        }
    }

    /// What a receiver has in the end if it is given one sample after the other.
    fn ideal(mut receiver: Receiver, samples: &[Sample]) -> (Receiver, usize) {
        receiver.largest = usize::MAX;
        let mut refused = 0;
        for sample in samples {
            if receiver.takes(*sample) {
                receiver.keep(*sample);
            } else {
                refused += 1;
            }
        }
        (receiver, refused)
    }

    /// Rows of so many series each: a host's times.
    fn rows(hosts: &[&[i64]], series: usize) -> (Vec<Sample>, Vec<Range<usize>>) {
        let (mut samples, mut rows) = (Vec::new(), Vec::new());
        for (host, times) in hosts.iter().enumerate() {
            for time in *times {
                let start = samples.len();
                samples.extend((0..series).map(|number| (host * series + number, *time, *time)));
                rows.push(start..samples.len());
            }
        }
        (samples, rows)
    }

    fn receiver() -> Receiver {
        Receiver {
            largest: usize::MAX,
            ..Receiver::default()
        }
    }

    #[test]
    fn one_odd_series_of_many_costs_itself() {
        let (samples, rows) = rows(&[&[1, 2, 3, 4], &[1, 2, 3, 4]], 400);
        let mut receiver = receiver();
        receiver.odd.insert(123);
        let run = run(&mut receiver, &samples, rows);
        let all = samples.len();
        assert_eq!((run.tally.taken, run.tally.refused), (all - 4, 4));
        assert!(run.requests <= 120, "{} requests", run.requests);
    }

    #[test]
    fn what_a_receiver_has_is_sent_again_at_a_bounded_price() {
        let times: Vec<i64> = (1..=10).collect();
        let (samples, rows) = rows(&[&times, &times], 400);
        let mut receiver = receiver();
        // Of the one host it has six rows, of the other one.
        for sample in samples
            .iter()
            .filter(|(series, time, _)| *time <= if *series < 400 { 6 } else { 1 })
        {
            receiver.keep(*sample);
        }
        let (expected, _) = ideal(receiver.clone(), &samples);
        let run = run(&mut receiver, &samples, rows);
        assert_eq!(receiver.has, expected.has);
        // The last one that it has is no refusal.
        assert_eq!(run.tally.refused, 5 * 400);
        let each = 1 + PIECES;
        assert!(run.requests <= 5 * each + 20, "{} requests", run.requests);
    }

    #[test]
    fn a_host_at_a_thousand_others_is_found_in_few_requests() {
        let times: Vec<Vec<i64>> = (0..1000).map(|_| vec![1]).collect();
        let hosts: Vec<&[i64]> = times.iter().map(Vec::as_slice).collect();
        let (samples, rows) = rows(&hosts, 8);
        let mut receiver = receiver();
        for series in 8 * 500..8 * 501 {
            receiver.keep((series, 2, 2));
        }
        let run = run(&mut receiver, &samples, rows);
        assert_eq!(run.tally.refused, 8);
        assert!(run.requests <= 40, "{} requests", run.requests);
    }

    #[test]
    fn a_receiver_that_takes_nothing_ends_it() {
        let (samples, rows) = rows(&[&[1, 2, 3]], 1000);
        let mut receiver = receiver();
        receiver.odd.extend(0..1000);
        let run = run(&mut receiver, &samples, rows);
        assert_eq!(run.tally.refused, 3000);
        assert!(run.requests <= 3 * (1 + PIECES) + 2, "{}", run.requests);
        // Every other one: the bound.
        let (samples, rows) = super::tests::rows(&[&[1]], 1000);
        let mut receiver = super::tests::receiver();
        receiver
            .odd
            .extend((0..1000).filter(|number| number % 2 == 0));
        let run = super::tests::run(&mut receiver, &samples, rows);
        assert_eq!(run.tally.taken + run.tally.refused, 1000);
        assert!(run.requests <= MAX_ROW_REQUESTS + 2);
    }

    #[test]
    fn pieces_are_whole() {
        for length in 1..50 {
            for count in 1..20 {
                let pieces: Vec<_> = cut(&(7..7 + length), count).collect();
                assert_eq!(pieces.len(), count.min(length));
                let mut next = 7;
                for piece in pieces {
                    assert_eq!(piece.start, next);
                    assert!(!piece.is_empty());
                    next = piece.end;
                }
                assert_eq!(next, 7 + length);
            }
        }
    }

    fn receivers() -> impl Strategy<Value = Receiver> {
        let series = 0..12_usize;
        (
            prop::collection::btree_map(series.clone(), 0..6_i64, 0..12),
            prop::collection::btree_set(series.clone(), 0..4),
            prop::collection::btree_set((series, 0..6_i64), 0..4),
            any::<bool>(),
            prop_oneof![Just(usize::MAX), 1..10_usize],
        )
            .prop_map(|(last, odd, wrong, keeps, largest)| Receiver {
                has: last
                    .into_iter()
                    .map(|(series, time)| (series, vec![(time, time)]))
                    .collect(),
                odd,
                wrong,
                keeps,
                largest,
            })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2048))]

        /// Whatever a receiver takes and refuses: everything that it would take one by one
        /// arrives, in order and once, and all is counted.
        #[test]
        fn all_that_is_acceptable_arrives(
            receiver in receivers(),
            // Two hosts of six series each; which of them a row has.
            told in prop::collection::vec((0..2_usize, prop::collection::btree_set(0..6_usize, 1..6)), 1..10),
        ) {
            let (mut samples, mut rows, mut times) = (Vec::new(), Vec::new(), [0_i64; 2]);
            for (host, series) in told {
                let start = samples.len();
                times[host] += 1;
                let time = times[host];
                samples.extend(series.into_iter().map(|number| (host * 6 + number, time, time)));
                rows.push(start..samples.len());
            }
            let mut receiver = receiver;
            let before = receiver.clone();
            let (expected, refused) = ideal(receiver.clone(), &samples);
            let run = run(&mut receiver, &samples, rows);
            prop_assert_eq!(&receiver.has, &expected.has);
            prop_assert_eq!(run.tally.taken + run.tally.refused, samples.len());
            if before.keeps {
                prop_assert!(run.tally.refused >= refused);
            } else {
                prop_assert_eq!(run.tally.refused, refused);
            }
        }
    }
}
