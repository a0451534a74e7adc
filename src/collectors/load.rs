//! `load.*` and `proc.threads` from /proc/loadavg (`proc_loadavg(5)`).
//!
//! Not parsed by `procfs_core::LoadAverage`, which the tests compare with: it has averages as
//! 32-bit floats, 10.41 of which goes out as 10.40999984741211.

use super::{
    Collector, Grid, Purpose, Sink,
    error::{CollectError, Malformed},
    source::{ProcFile, Root},
    table::{LOAD_1, LOAD_5, LOAD_15, PROC_THREADS},
    text::{decimal, fields, fixed_point, split_once},
};

/// Where the kernel says it.
const FILE: &str = "/proc/loadavg";

/// The file's one line, as `proc_loadavg(5)` has it. The last number, the process begun
/// last, is nobody's business here.
const EXPECTED: &str = "three averages, RUNNING/EXISTING threads, a number and the end of the line";

/// What the file says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Load {
    /// The averages over 1, 5 and 15 min.
    pub averages: [f64; 3],
    /// Threads that exist.
    pub threads: u64,
}

/// The load out of the text of /proc/loadavg.
pub fn parse(text: &[u8]) -> Result<Load, Malformed> {
    let malformed = || Malformed::new(1, EXPECTED, text.trim_ascii_end());
    // Without its newline the line is cut off, perhaps in the middle of a number.
    let line = text.strip_suffix(b"\n").ok_or_else(malformed)?;
    parse_line(line).ok_or_else(malformed)
}

fn parse_line(line: &[u8]) -> Option<Load> {
    let mut fields = fields(line);
    let mut averages = [0.0; 3];
    for average in &mut averages {
        *average = fields.next().and_then(fixed_point)?;
    }
    let (running, threads) = split_once(fields.next()?, b'/')?;
    decimal(running)?;
    fields.next().and_then(decimal)?;
    Some(Load {
        averages,
        threads: decimal(threads)?,
    })
}

/// Reads /proc/loadavg.
#[derive(Debug)]
pub struct LoadCollector {
    file: ProcFile,
}

impl LoadCollector {
    /// One that reads below `root`.
    #[must_use]
    pub fn open(root: &Root) -> Self {
        Self {
            file: ProcFile::new(root, FILE),
        }
    }
}

impl Collector for LoadCollector {
    fn collect(
        &mut self,
        _purpose: Purpose,
        scratch: &mut Vec<u8>,
        sink: &mut Sink<'_>,
    ) -> Result<(), CollectError> {
        if sink.grid() == Grid::Model {
            return Ok(());
        }
        let load = parse(self.file.read_first_line(scratch)?)
            .map_err(|problem| CollectError::malformed(self.file.path(), problem))?;
        for (definition, average) in [&LOAD_1, &LOAD_5, &LOAD_15].into_iter().zip(load.averages) {
            sink.float(definition, average);
        }
        sink.unsigned(&PROC_THREADS, load.threads);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collectors::testing::captured;
    use crate::collectors::{Samples, Value};
    use procfs_core::{FromRead, LoadAverage};
    use proptest::prelude::*;

    fn collect(root: &Root, grid: Grid) -> Result<Samples, CollectError> {
        let mut samples = Samples::new();
        let mut sink = Sink::new(grid, &mut samples);
        LoadCollector::open(root).collect(Purpose::Query, &mut Vec::new(), &mut sink)?;
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
            let ours = parse(&text).unwrap();
            assert_eq!(ours.threads, u64::from(theirs.max));
            for (ours, theirs) in
                ours.averages
                    .into_iter()
                    .zip([theirs.one, theirs.five, theirs.fifteen])
            {
                assert!((ours - f64::from(theirs)).abs() < 0.001, "{ours} {theirs}");
            }
        }
    }

    #[test]
    fn another_line_is_malformed() {
        for text in [
            &b""[..],
            b"\n",
            b"0.00 0.01 0.05 1/80 71",
            b"0.00 0.01 0.05 1/80\n",
            b"0.00 0.01 1/80 71\n",
            b"0.00 0.01 0.05 1 71\n",
            b"0.00 0.01 0.05 1/x 71\n",
            b"0.00 0.01 0.05 /80 71\n",
            b"0.00 0.01 0.05 1/80 -1\n",
            b"0.00 -0.01 0.05 1/80 71\n",
            b"0.00 nan 0.05 1/80 71\n",
            b"0,00 0,01 0,05 1/80 71\n",
            b"\xff 0.01 0.05 1/80 71\n",
        ] {
            let error = parse(text).unwrap_err();
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
            let _ = (parse(&text), parse(likely.as_bytes()));
        }
    }
}
