//! `pressure.*`: how long tasks wait for a resource, from /proc/pressure (the kernel's
//! Documentation/accounting/psi.rst, since Linux 4.20).
//!
//! Shares go out in % and totals in us, as the kernel has them. `full` is left out of cpu
//! before Linux 5.13, and is always 0 there since: for all of a machine it means nothing.
//! irq (since 6.1, where the kernel accounts for interrupts' time) has only `full`.
//!
//! A kernel that does not account for pressure has no such files, or refuses to read them
//! (`psi=0`, or built with `CONFIG_PSI_DEFAULT_DISABLED`). That is no failure, and holds for
//! as long as the kernel runs: they are not tried again.
//!
//! Not parsed by `procfs_core`, which the tests compare with: it wants both lines, slices
//! without a check (a short line would be a panic), and makes a map for each.

use rustix::io::Errno;

use super::{
    Grid, Sink, Source,
    error::{CollectError, FileError, Malformed},
    file::{ProcFile, Root},
    odd::Odd,
    text::{Line, MICROSECONDS, count, fields, fixed_point, lines, max_time},
};
use crate::metrics::Definition;
use crate::metrics::table::{
    PRESSURE_FULL, PRESSURE_FULL_AVG10, PRESSURE_FULL_AVG60, PRESSURE_FULL_AVG300, PRESSURE_SOME,
    PRESSURE_SOME_AVG10, PRESSURE_SOME_AVG60, PRESSURE_SOME_AVG300,
};

/// The resources, which are the instances too, and where the kernel says it.
const RESOURCES: [(&str, &str); 4] = [
    ("cpu", "/proc/pressure/cpu"),
    ("memory", "/proc/pressure/memory"),
    ("io", "/proc/pressure/io"),
    ("irq", "/proc/pressure/irq"),
];

const EXPECTED_LINE: &str = "\"some\" or \"full\", then avg10=, avg60= and avg300= with percentages, total= with a number \
     up to 9223372036854775 (292 years)";
const EXPECTED_ANY: &str = "a line \"some\" or \"full\"";

static AVERAGES_OF_SOME: [&Definition; 3] = [
    &PRESSURE_SOME_AVG10,
    &PRESSURE_SOME_AVG60,
    &PRESSURE_SOME_AVG300,
];
static AVERAGES_OF_FULL: [&Definition; 3] = [
    &PRESSURE_FULL_AVG10,
    &PRESSURE_FULL_AVG60,
    &PRESSURE_FULL_AVG300,
];

/// How long tasks waited; None of a number that makes no sense.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stall {
    /// Shares of the last 10, 60 and 300 s, in %.
    pub averages: [Option<f64>; 3],
    /// Since boot, in us.
    pub total: Option<u64>,
}

/// What the file of one resource says.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Pressure {
    /// Of at least one task.
    pub some: Option<Stall>,
    /// Of all that were not idle, at the same time.
    pub full: Option<Stall>,
}

/// The pressure out of the text of one resource's file, or of a cgroup's, which has the same
/// form. Lines of another beginning are not looked into.
pub fn parse(text: &[u8], odd: &mut Odd) -> Result<Pressure, Malformed> {
    let mut pressure = Pressure::default();
    let mut seen = 0;
    for line in lines(text) {
        seen += 1;
        let Some(line) = odd.keep(line) else {
            break;
        };
        let mut fields = fields(line.text);
        let stall = match fields.next() {
            Some(b"some") => &mut pressure.some,
            Some(b"full") => &mut pressure.full,
            _ => continue,
        };
        *stall = Some(parse_stall(&line, odd));
    }
    match pressure {
        Pressure {
            some: None,
            full: None,
        } => Err(Malformed::new(seen + 1, EXPECTED_ANY, b"")),
        pressure => Ok(pressure),
    }
}

fn parse_stall(line: &Line<'_>, odd: &mut Odd) -> Stall {
    let field = |name: &[u8]| fields(line.text).find_map(|field| field.strip_prefix(name));
    let averages = [&b"avg10="[..], b"avg60=", b"avg300="].map(|name| {
        let found = field(name);
        let share = found.and_then(fixed_point);
        odd.note(share.filter(|share| *share <= 100.0), || {
            line.malformed_word(EXPECTED_LINE, found)
        })
    });
    let found = field(b"total=");
    let total = found.and_then(|total| count(total, max_time(MICROSECONDS)));
    let total = odd.note(total, || line.malformed_word(EXPECTED_LINE, found));
    Stall { averages, total }
}

/// Returns true if this kernel does not account for the pressure.
fn is_unknown(error: &FileError) -> bool {
    let refused = match error {
        FileError::Open { source, .. } | FileError::Read { source, .. } => {
            source.raw_os_error() == Some(Errno::OPNOTSUPP.raw_os_error())
        }
        FileError::TooLarge { .. } => false,
    };
    refused || error.is_missing()
}

#[derive(Debug)]
struct Resource {
    name: &'static str,
    /// None once it is known that there is none.
    file: Option<ProcFile>,
    /// What the reading under way found.
    pressure: Pressure,
}

impl Resource {
    /// Returns true if there is something to report.
    fn read(&mut self, scratch: &mut Vec<u8>, sink: &mut Sink<'_>) -> Result<bool, CollectError> {
        self.pressure = Pressure::default();
        let Some(file) = &mut self.file else {
            return Ok(false);
        };
        let text = match file.read_whole(scratch) {
            Ok(text) => text,
            Err(error) if is_unknown(&error) => {
                self.file = None;
                return Ok(false);
            }
            Err(error) => return Err(error.into()),
        };
        self.pressure = sink.parse(file.path(), text, parse)?;
        Ok(true)
    }

    fn report(
        &self,
        stall: Option<Stall>,
        averages: [&'static Definition; 3],
        total: &'static Definition,
        sink: &mut Sink<'_>,
    ) {
        let Some(stall) = stall else {
            return;
        };
        for (definition, share) in averages.into_iter().zip(stall.averages) {
            if let Some(share) = share {
                sink.float_of(definition, self.name, share);
            }
        }
        if let Some(time) = stall.total {
            sink.unsigned_of(total, self.name, time);
        }
    }
}

/// Reads the files below /proc/pressure.
#[derive(Debug)]
pub struct PressureSource {
    resources: [Resource; RESOURCES.len()],
}

impl PressureSource {
    /// One that reads below `root`.
    #[must_use]
    pub fn open(root: &Root) -> Self {
        Self {
            resources: RESOURCES.map(|(name, file)| Resource {
                name,
                file: Some(ProcFile::new(root, file)),
                pressure: Pressure::default(),
            }),
        }
    }
}

impl Source for PressureSource {
    fn collect(&mut self, scratch: &mut Vec<u8>, sink: &mut Sink<'_>) -> Result<(), CollectError> {
        if sink.grid() == Grid::Model {
            return Ok(());
        }
        let mut found = false;
        let mut failed = Vec::new();
        for resource in &mut self.resources {
            match resource.read(scratch, sink) {
                Ok(there) => found |= there,
                Err(error) => failed.push(error),
            }
        }
        // Each resource has a file of its own, and costs none of the others.
        let mut failed = failed.into_iter();
        if !found && let Some(error) = failed.next() {
            return Err(error);
        }
        failed.for_each(|error| sink.left_out(error));
        for resource in &self.resources {
            let Pressure { some, full } = resource.pressure;
            resource.report(some, AVERAGES_OF_SOME, &PRESSURE_SOME, sink);
            resource.report(full, AVERAGES_OF_FULL, &PRESSURE_FULL, sink);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Samples, Value};
    use crate::sources::Purpose;
    use crate::sources::testing::{captured, read_whole};
    use crate::sources::text::EXPECTED_END;
    use procfs_core::{
        CpuPressure, FromBufRead, IoPressure, MemoryPressure, PressureRecord, ProcResult,
    };
    use proptest::prelude::*;
    use std::{fs, io};

    fn sample(source: &mut PressureSource, grid: Grid) -> Result<Samples, CollectError> {
        let mut samples = Samples::new();
        let mut sink = Sink::new(Purpose::Query, grid, &mut samples);
        source.collect(&mut Vec::new(), &mut sink)?;
        Ok(samples)
    }

    /// A root with the files of resources that a test writes.
    fn host(files: &[(&str, &str)]) -> (tempfile::TempDir, Root) {
        let directory = tempfile::tempdir().unwrap();
        let root = Root(directory.path().to_owned());
        fs::create_dir_all(root.path("/proc/pressure")).unwrap();
        for (resource, text) in files {
            fs::write(root.path("/proc/pressure").join(resource), text).unwrap();
        }
        (directory, root)
    }

    fn names(samples: &Samples) -> Vec<String> {
        samples.iter().map(|(name, _)| name.to_string()).collect()
    }

    #[test]
    fn everything_in_its_order() {
        let mut source = PressureSource::open(&captured("6.12-qemu"));
        let samples = sample(&mut source, Grid::Metrics).unwrap();
        let mut expected = Vec::new();
        for resource in ["cpu", "memory", "io"] {
            for metric in [
                "some.avg10",
                "some.avg60",
                "some.avg300",
                "some.total",
                "full.avg10",
                "full.avg60",
                "full.avg300",
                "full.total",
            ] {
                expected.push(format!("pressure.{metric}[{resource}]"));
            }
        }
        assert_eq!(names(&samples), expected);
    }

    #[test]
    fn the_pressure_of_captured_machines() {
        for (kernel, name, value) in [
            ("6.1-qemu", "some.avg10[cpu]", Value::Float(95.41)),
            ("6.1-qemu", "some.total[cpu]", Value::Unsigned(98_746_021)),
            ("6.1-qemu", "full.total[cpu]", Value::Unsigned(0)),
            ("6.1-qemu", "full.avg10[memory]", Value::Float(13.46)),
            ("6.1-qemu", "some.avg60[memory]", Value::Float(11.03)),
            ("6.12-qemu", "full.avg300[memory]", Value::Float(1.23)),
            (
                "6.12-qemu",
                "full.total[memory]",
                Value::Unsigned(4_148_939),
            ),
            ("6.12-qemu", "some.avg60[io]", Value::Float(2.83)),
            (
                "6.18-firecracker",
                "some.total[cpu]",
                Value::Unsigned(4_757_835_727),
            ),
            ("6.18-firecracker", "some.avg300[io]", Value::Float(5.12)),
            (
                "6.18-firecracker",
                "full.total[io]",
                Value::Unsigned(179_370_126),
            ),
        ] {
            let mut source = PressureSource::open(&captured(kernel));
            let samples = sample(&mut source, Grid::All).unwrap();
            let name = format!("pressure.{name}");
            assert_eq!(samples.get(&name), Some(value), "{kernel} {name}");
        }
    }

    /// To a thousandth: the crate has 32-bit floats.
    #[test]
    fn the_parser_agrees_with_procfs() {
        type Theirs = ProcResult<(PressureRecord, PressureRecord)>;
        type Parser = fn(&[u8]) -> Theirs;
        let parsers: [(&str, Parser); 3] = [
            ("cpu", |text| {
                CpuPressure::from_buf_read(text).map(|p| (p.some, p.full))
            }),
            ("memory", |text| {
                MemoryPressure::from_buf_read(text).map(|p| (p.some, p.full))
            }),
            ("io", |text| {
                IoPressure::from_buf_read(text).map(|p| (p.some, p.full))
            }),
        ];
        for kernel in ["6.1-qemu", "6.12-qemu", "6.18-firecracker"] {
            for (resource, theirs) in parsers {
                let path = captured(kernel).path("/proc/pressure").join(resource);
                let text = fs::read(path).unwrap();
                let (some, full) = theirs(&text).unwrap();
                let ours = parse(&text, &mut Odd::default()).unwrap();
                for (ours, theirs) in [(ours.some, some), (ours.full, full)] {
                    let ours = ours.unwrap();
                    assert_eq!(ours.total, Some(theirs.total));
                    let their = [theirs.avg10, theirs.avg60, theirs.avg300];
                    for (our, their) in ours.averages.into_iter().zip(their) {
                        let our = our.unwrap();
                        assert!((our - f64::from(their)).abs() < 0.001, "{our} {their}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_line_that_is_not_there_is_left_out_and_not_zero() {
        let (_directory, root) = host(&[
            ("cpu", "some avg10=1.50 avg60=0.25 avg300=0.00 total=7\n"),
            ("irq", "full avg10=0.10 avg60=0.20 avg300=0.30 total=9\n"),
        ]);
        let samples = sample(&mut PressureSource::open(&root), Grid::All).unwrap();
        assert_eq!(
            names(&samples),
            [
                "pressure.some.avg10[cpu]",
                "pressure.some.avg60[cpu]",
                "pressure.some.avg300[cpu]",
                "pressure.some.total[cpu]",
                "pressure.full.avg10[irq]",
                "pressure.full.avg60[irq]",
                "pressure.full.avg300[irq]",
                "pressure.full.total[irq]",
            ]
        );
        assert_eq!(
            samples.get("pressure.full.avg300[irq]"),
            Some(Value::Float(0.3))
        );
    }

    #[test]
    fn a_kernel_without_it_has_no_values_and_no_error_and_is_not_asked_again() {
        let (_directory, root) = host(&[]);
        let mut source = PressureSource::open(&root);
        assert!(sample(&mut source, Grid::All).unwrap().is_empty());
        fs::write(root.path("/proc/pressure/cpu"), "junk\n").unwrap();
        assert!(sample(&mut source, Grid::All).unwrap().is_empty());
        assert!(sample(&mut PressureSource::open(&root), Grid::All).is_err());

        let error = |errno: Errno| io::Error::from_raw_os_error(errno.raw_os_error());
        let read = |errno| FileError::Read {
            path: root.path("/proc/pressure/cpu"),
            source: error(errno),
        };
        let open = |errno| FileError::Open {
            path: root.path("/proc/pressure/cpu"),
            source: error(errno),
        };
        assert!(is_unknown(&read(Errno::OPNOTSUPP)), "psi=0");
        assert!(is_unknown(&open(Errno::OPNOTSUPP)));
        assert!(is_unknown(&open(Errno::NOENT)));
        for errno in [Errno::ACCESS, Errno::PERM, Errno::IO] {
            assert!(!is_unknown(&open(errno)) && !is_unknown(&read(errno)));
        }
    }

    #[test]
    fn a_resource_that_fails_costs_itself_alone_and_is_tried_again() {
        let good = "some avg10=1.50 avg60=0.25 avg300=0.00 total=7\n";
        let (_directory, root) = host(&[("cpu", good), ("io", "junk\n")]);
        fs::create_dir(root.path("/proc/pressure/memory")).unwrap();
        let mut source = PressureSource::open(&root);
        let (samples, left_out) = read_whole(&mut source).unwrap();
        assert_eq!(samples.len(), 4);
        let [memory, io] = left_out.named() else {
            panic!("{left_out:?}");
        };
        let (memory, io) = (memory.to_string(), io.to_string());
        assert!(
            memory.contains("pressure/memory: Is a directory"),
            "{memory}"
        );
        assert!(io.contains("/proc/pressure/io, line 2: "), "{io}");
        fs::write(root.path("/proc/pressure/io"), good).unwrap();
        assert_eq!(sample(&mut source, Grid::All).unwrap().len(), 8);

        fs::write(root.path("/proc/pressure/cpu"), "").unwrap();
        fs::write(root.path("/proc/pressure/io"), "").unwrap();
        let error = sample(&mut source, Grid::All).unwrap_err().to_string();
        assert!(error.contains("/proc/pressure/cpu, line 1: "), "{error}");
    }

    #[test]
    fn a_number_that_makes_no_sense_costs_itself_alone() {
        const GOOD: &str = "some avg10=0.01 avg60=0.02 avg300=0.03 total=4";
        let whole = Stall {
            averages: [Some(0.01), Some(0.02), Some(0.03)],
            total: Some(4),
        };
        let without = |average: usize| {
            let mut stall = whole;
            stall.averages[average] = None;
            stall
        };
        let total = Stall {
            total: None,
            ..whole
        };
        for (text, expected) in [
            (GOOD.to_owned(), whole),
            (GOOD.replace("total=4", "total=4x"), total),
            (GOOD.replace("total=4", "total=-4"), total),
            (GOOD.replace("total=4", "total=18446744073709551"), total),
            (GOOD.replace(" total=4", ""), total),
            (GOOD.replace("avg10=0.01", "avg10=nan"), without(0)),
            (GOOD.replace("avg10=0.01", "avg10=100.01"), without(0)),
            (GOOD.replace("avg60", "avg61"), without(1)),
            (GOOD.replace("avg300=0.03 ", ""), without(2)),
            (GOOD.replace("0.03", "0,03"), without(2)),
        ] {
            let mut odd = Odd::default();
            let pressure = parse(format!("\n{text}\n").as_bytes(), &mut odd).unwrap();
            assert_eq!(pressure.some, Some(expected), "{text}");
            let named = odd.named().iter();
            let named: Vec<_> = named.map(|one| (one.line, one.expected)).collect();
            let wrong = usize::from(expected != whole);
            assert_eq!(named, vec![(2, EXPECTED_LINE); wrong], "{text}");
        }
        let mut odd = Odd::default();
        let text = format!("{GOOD}\nfull avg10=0.0");
        let cut = parse(text.as_bytes(), &mut odd).unwrap();
        assert_eq!((cut.some, cut.full), (Some(whole), None));
        assert_eq!(odd.named()[0].expected, EXPECTED_END);
        for (text, line) in [("", 1), ("\n", 2), ("none avg10=0.00\n", 2), (GOOD, 2)] {
            let error = parse(text.as_bytes(), &mut Odd::default()).unwrap_err();
            assert_eq!((error.line, error.expected), (line, EXPECTED_ANY), "{text}");
        }
    }

    #[test]
    fn a_model_needs_no_file() {
        let (_directory, root) = host(&[("cpu", "junk\n")]);
        let mut source = PressureSource::open(&root);
        assert!(sample(&mut source, Grid::Model).unwrap().is_empty());
    }

    /// What the kernel has a file for, and no more.
    #[test]
    fn the_machine_that_this_runs_on() {
        let mut source = PressureSource::open(&Root::default());
        let samples = sample(&mut source, Grid::All).unwrap();
        for (resource, path) in RESOURCES {
            let readable = fs::read(path).is_ok();
            let suffix = format!("[{resource}]");
            let found = names(&samples).iter().any(|name| name.ends_with(&suffix));
            assert_eq!(found, readable, "{resource}");
        }
        for (name, value) in samples.iter() {
            if let Value::Float(share) = value {
                assert!((0.0..=100.0).contains(&share), "{name}: {share}");
            }
        }
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(
            text in proptest::collection::vec(any::<u8>(), 0..64),
            likely in "((some|full| |avg10=|avg60=|avg300=|total=|[0-9.]{1,4}|\n)){0,20}"
        ) {
            let _ = parse(&text, &mut Odd::default());
            let _ = parse(likely.as_bytes(), &mut Odd::default());
        }
    }
}
