//! `load.*` and `proc.threads` from /proc/loadavg (`proc_loadavg(5)`).
//!
//! Not parsed by `procfs_core::LoadAverage`, which the tests compare with: it has averages as
//! 32-bit floats, 10.41 of which goes out as 10.40999984741211.

use super::{
    Grid, Sink, Source,
    error::{CollectError, Malformed},
    file::{ProcFile, Root},
    odd::Odd,
    text::{MAX_TASKS, count, fields, fixed_point, split_once},
};
use crate::metrics::table::{LOAD_1, LOAD_5, LOAD_15, PROC_THREADS};

/// Where the kernel says it.
const FILE: &str = "/proc/loadavg";

/// The file's one line, as `proc_loadavg(5)` has it. Not used here: the last number, the process
/// begun last, and the threads that run, which are in /proc/stat.
const EXPECTED: &str = "three averages, RUNNING/EXISTING threads (each up to 4194304), a number and the end of the line";

/// Most threads that can run or wait, as a float: [`MAX_TASKS`].
const MAX_LOAD: f64 = 4_194_304.0;

/// What the file says.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Load {
    /// The averages over 1, 5 and 15 min.
    pub averages: [Option<f64>; 3],
    /// Threads that exist.
    pub threads: Option<u64>,
}

/// The load out of the text of /proc/loadavg.
pub fn parse(text: &[u8], odd: &mut Odd) -> Result<Load, Malformed> {
    let malformed = || Malformed::new(1, EXPECTED, text.trim_ascii_end());
    let mut load = Load::default();
    // Without its newline the line is cut off, perhaps in the middle of a number.
    let line = text.strip_suffix(b"\n").unwrap_or_else(|| {
        let end = text.iter().rposition(|byte| *byte == b' ');
        text.get(..end.unwrap_or(0)).unwrap_or_default()
    });
    let mut fields = fields(line);
    for average in &mut load.averages {
        let found = fields.next().and_then(fixed_point);
        *average = odd.note(found.filter(|load| *load <= MAX_LOAD), malformed);
    }
    let threads = fields.next().and_then(|field| split_once(field, b'/'));
    let threads = threads.and_then(|(_, threads)| count(threads, MAX_TASKS));
    load.threads = odd.note(threads, malformed);
    if load == Load::default() {
        return Err(malformed());
    }
    Ok(load)
}

/// Reads /proc/loadavg.
#[derive(Debug)]
pub struct LoadSource {
    file: ProcFile,
}

impl LoadSource {
    /// One that reads below `root`.
    #[must_use]
    pub fn open(root: &Root) -> Self {
        Self {
            file: ProcFile::new(root, FILE),
        }
    }
}

impl Source for LoadSource {
    fn collect(&mut self, scratch: &mut Vec<u8>, sink: &mut Sink<'_>) -> Result<(), CollectError> {
        if sink.grid() == Grid::Model {
            return Ok(());
        }
        let text = self.file.read_first_line(scratch)?;
        let load = sink.parse(self.file.path(), text, parse)?;
        for (definition, average) in [&LOAD_1, &LOAD_5, &LOAD_15].into_iter().zip(load.averages) {
            if let Some(average) = average {
                sink.float(definition, average);
            }
        }
        if let Some(threads) = load.threads {
            sink.unsigned(&PROC_THREADS, threads);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Samples, Value};
    use crate::sources::Purpose;
    use crate::sources::testing::captured;
    use procfs_core::{FromRead, LoadAverage};
    use proptest::prelude::*;

    fn collect(root: &Root, grid: Grid) -> Result<Samples, CollectError> {
        let mut samples = Samples::new();
        let mut sink = Sink::new(Purpose::Query, grid, &mut samples);
        LoadSource::open(root).collect(&mut Vec::new(), &mut sink)?;
        Ok(samples)
    }

    #[test]
    fn the_load_of_captured_machines() {
        for (kernel, averages, threads) in [
            ("6.1-qemu", [3.84, 1.67, 0.64], 120),
            ("6.12-qemu", [5.21, 2.71, 1.08], 138),
            ("6.18-firecracker", [11.14, 10.41, 6.85], 253),
        ] {
            let samples = collect(&captured(kernel), Grid::Metrics).unwrap();
            let [one, five, fifteen] = averages;
            let expected = [
                ("load.1m", Value::Float(one)),
                ("load.5m", Value::Float(five)),
                ("load.15m", Value::Float(fifteen)),
                ("proc.threads", Value::Unsigned(threads)),
            ];
            let found = samples
                .iter()
                .map(|(name, value)| (name.definition.name, value));
            assert_eq!(found.collect::<Vec<_>>(), expected, "{kernel}");
        }
    }

    /// To a hundredth: the crate has 32-bit floats.
    #[test]
    fn the_parser_agrees_with_procfs() {
        for kernel in ["6.1-qemu", "6.12-qemu", "6.18-firecracker"] {
            let text = std::fs::read(captured(kernel).path(FILE)).unwrap();
            let theirs = LoadAverage::from_read(&text[..]).unwrap();
            let ours = parse(&text, &mut Odd::default()).unwrap();
            assert_eq!(ours.threads, Some(u64::from(theirs.max)));
            for (ours, theirs) in
                ours.averages
                    .into_iter()
                    .zip([theirs.one, theirs.five, theirs.fifteen])
            {
                let ours = ours.unwrap();
                assert!((ours - f64::from(theirs)).abs() < 0.001, "{ours} {theirs}");
            }
        }
    }

    #[test]
    fn a_number_that_makes_no_sense_costs_itself_alone_and_is_named() {
        let whole = ([Some(0.0), Some(0.01), Some(0.05)], Some(80));
        let without = |average: usize| {
            let (mut averages, threads) = whole;
            averages[average] = None;
            (averages, threads)
        };
        for (text, expected, wrong) in [
            ("0.00 0.01 0.05 1/80 71\n", whole, 0),
            ("0.00 0.01 0.05 1/80 -1\n", whole, 0),
            ("0.00 0.01 0.05 -1/80\n", whole, 0),
            ("0.00 0.01 0.05 1/80 7", whole, 0),
            ("0.00 0.01 0.05 1/8", (whole.0, None), 1),
            ("0.00 0.01 0.05 1/x 71\n", (whole.0, None), 1),
            ("0.00 0.01 0.05 1/4294967295 71\n", (whole.0, None), 1),
            ("0.00 0.01 0.05 1 71\n", (whole.0, None), 1),
            ("0.00 -0.01 0.05 1/80 71\n", without(1), 1),
            ("nan 0.01 0.05 1/80 71\n", without(0), 1),
            // What no host can have: one below 0, printed as if it had no sign.
            ("184467440737095516.15 0.01 0.05 1/80 71\n", without(0), 1),
            ("0.00 4194304.01 0.05 1/80 71\n", without(1), 1),
            ("0.00 0.01 \u{664} 1/80 71\n", without(2), 1),
            ("0.00 0.01", ([Some(0.0), None, None], None), 3),
        ] {
            let mut odd = Odd::default();
            let load = parse(text.as_bytes(), &mut odd).unwrap();
            assert_eq!((load.averages, load.threads), expected, "{text}");
            assert_eq!(odd.named().len(), wrong, "{text}");
            let named = odd.named().iter();
            assert!(
                named
                    .into_iter()
                    .all(|one| (one.line, one.expected) == (1, EXPECTED))
            );
        }
        for text in ["", "\n", "0.0", "a b c d\n"] {
            let error = parse(text.as_bytes(), &mut Odd::default()).unwrap_err();
            assert_eq!((error.line, error.expected), (1, EXPECTED));
        }
    }

    #[test]
    fn a_model_needs_no_file_and_metrics_do() {
        let nowhere = Root("/nonexistent".into());
        assert!(collect(&nowhere, Grid::Model).unwrap().is_empty());
        let error = collect(&nowhere, Grid::Metrics).unwrap_err();
        assert!(error.to_string().starts_with("cannot open /nonexistent/"));
    }

    #[test]
    fn the_machine_that_this_runs_on() {
        let samples = collect(&Root::default(), Grid::All).unwrap();
        assert!(
            matches!(samples.get("proc.threads"), Some(Value::Unsigned(2..))),
            "{samples:?}: tests have threads of their own"
        );
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(
            text in proptest::collection::vec(any::<u8>(), 0..64), likely in "[0-9./ ]{0,40}\n"
        ) {
            let _ = parse(&text, &mut Odd::default());
            let _ = parse(likely.as_bytes(), &mut Odd::default());
        }
    }
}
