//! `mem.faults.*`, `mem.swap.in`, `mem.swap.out` and `mem.oom.kills` from /proc/vmstat
//! (`proc_vmstat(5)`).
//!
//! Counts go out as the kernel has them, except swapped pages, which go out in kB. A counter that
//! this kernel lacks is None and is left out: `oom_kill` is there since Linux 4.13, and none of
//! them if it was built without `CONFIG_VM_EVENT_COUNTERS`.
//!
//! Not parsed by `procfs_core::VmStat`, which the tests compare with: it makes a map of some 190
//! texts at every sample.

use super::{
    Grid, Sink, Source,
    error::{CollectError, Malformed},
    file::{ProcFile, Root},
    odd::Odd,
    text::{MAX_EVENTS, count, lines, split_once},
};
use crate::metrics::table::{
    MEM_FAULTS, MEM_FAULTS_MAJOR, MEM_OOM_KILLS, MEM_SWAP_IN, MEM_SWAP_OUT,
};

/// Where the kernel says it.
const FILE: &str = "/proc/vmstat";

const EXPECTED_LINE: &str =
    "NAME NUMBER, up to 9223372036854775807, of pages up to 36028797018963967";
const EXPECTED_ANY: &str = "lines of names and numbers";

/// The counters that are reported.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Vmstat {
    /// `pgfault`: page faults, major ones included
    pub faults: Option<u64>,
    /// `pgmajfault`
    pub major_faults: Option<u64>,
    /// `pswpin`, in pages
    pub swapped_in: Option<u64>,
    /// `pswpout`, in pages
    pub swapped_out: Option<u64>,
    /// `oom_kill`
    pub oom_kills: Option<u64>,
}

impl Vmstat {
    fn counter(&mut self, name: &[u8]) -> Option<&mut Option<u64>> {
        Some(match name {
            b"pgfault" => &mut self.faults,
            b"pgmajfault" => &mut self.major_faults,
            b"pswpin" => &mut self.swapped_in,
            b"pswpout" => &mut self.swapped_out,
            b"oom_kill" => &mut self.oom_kills,
            _ => return None,
        })
    }

    fn is_complete(&self) -> bool {
        let Self {
            faults,
            major_faults,
            swapped_in,
            swapped_out,
            oom_kills,
        } = self;
        [faults, major_faults, swapped_in, swapped_out, oom_kills]
            .into_iter()
            .all(Option::is_some)
    }
}

/// Most kB of a page of any architecture.
const MAX_PAGE: u64 = 256;

/// Most that the counter of this name can be.
fn most(name: &[u8]) -> u64 {
    match name {
        b"pswpin" | b"pswpout" => MAX_EVENTS / MAX_PAGE,
        _ => MAX_EVENTS,
    }
}

/// The counters that are reported out of the text of /proc/vmstat.
///
/// Lines of other counters are not looked into, and none once all are found.
pub fn parse(text: &[u8], odd: &mut Odd) -> Result<Vmstat, Malformed> {
    let mut vmstat = Vmstat::default();
    if !text.contains(&b'\n') {
        return Err(Malformed::new(1, EXPECTED_ANY, text));
    }
    for line in lines(text) {
        let Some(line) = odd.keep(line) else {
            break;
        };
        // Of the names with other first letters none is used.
        if !matches!(line.text.first(), Some(b'p' | b'o')) {
            continue;
        }
        let (name, value) = split_once(line.text, b' ').unwrap_or((line.text, b""));
        if let Some(counter) = vmstat.counter(name) {
            *counter = odd.note(count(value, most(name)), || line.malformed(EXPECTED_LINE));
            if vmstat.is_complete() {
                break;
            }
        }
    }
    match odd.take_first_if(vmstat == Vmstat::default()) {
        Some(problem) => Err(problem),
        None => Ok(vmstat),
    }
}

/// Reads /proc/vmstat.
#[derive(Debug)]
pub struct VmstatSource {
    file: ProcFile,
    page_kilobytes: u64,
}

impl VmstatSource {
    /// One that reads below `root`.
    #[must_use]
    pub fn open(root: &Root) -> Self {
        Self {
            file: ProcFile::new(root, FILE),
            // Pages have 4 KiB at least.
            page_kilobytes: rustix::param::page_size() as u64 / 1024,
        }
    }
}

impl Source for VmstatSource {
    fn collect(&mut self, scratch: &mut Vec<u8>, sink: &mut Sink<'_>) -> Result<(), CollectError> {
        if sink.grid() == Grid::Model {
            return Ok(());
        }
        let text = self.file.read_whole(scratch)?;
        let counters = sink.parse(self.file.path(), text, parse)?;
        let kilobytes = |pages: u64| pages.saturating_mul(self.page_kilobytes);
        sink.unsigned_all([
            (&MEM_FAULTS, counters.faults),
            (&MEM_FAULTS_MAJOR, counters.major_faults),
            (&MEM_SWAP_IN, counters.swapped_in.map(kilobytes)),
            (&MEM_SWAP_OUT, counters.swapped_out.map(kilobytes)),
            (&MEM_OOM_KILLS, counters.oom_kills),
        ]);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Samples, Value};
    use crate::sources::Purpose;
    use crate::sources::testing::captured;
    use crate::sources::text::EXPECTED_END;
    use procfs_core::{FromBufRead, VmStat};
    use proptest::prelude::*;

    const KERNELS: [&str; 3] = ["6.1-qemu", "6.12-qemu", "6.18-firecracker"];

    /// What is read and what is wrong, by line.
    fn parsed(text: &[u8]) -> (Result<Vmstat, Malformed>, Vec<(usize, &'static str)>) {
        let mut odd = Odd::default();
        let counters = parse(text, &mut odd);
        let named = odd.named().iter();
        (
            counters,
            named.map(|one| (one.line, one.expected)).collect(),
        )
    }

    fn collect(root: &Root, grid: Grid) -> Result<Samples, CollectError> {
        let mut samples = Samples::new();
        let mut sink = Sink::new(Purpose::Query, grid, &mut samples);
        VmstatSource::open(root).collect(&mut Vec::new(), &mut sink)?;
        Ok(samples)
    }

    #[test]
    fn the_counters_of_captured_machines() {
        let page = rustix::param::page_size() as u64 / 1024;
        for (kernel, faults, major, pages_in, pages_out, kills) in [
            ("6.1-qemu", 219_466, 49_531, 49_140, 58_543, 2),
            ("6.12-qemu", 246_092, 70_425, 69_390, 78_900, 2),
            ("6.18-firecracker", 434_975_880, 186_452, 0, 0, 0),
        ] {
            let samples = collect(&captured(kernel), Grid::Metrics).unwrap();
            let expected = [
                ("mem.faults.total", faults),
                ("mem.faults.major.total", major),
                ("mem.swap.in.total", pages_in * page),
                ("mem.swap.out.total", pages_out * page),
                ("mem.oom.kills.total", kills),
            ]
            .map(|(name, value)| (name, Value::Unsigned(value)));
            let found = samples
                .iter()
                .map(|(name, value)| (name.definition.name, value));
            assert_eq!(found.collect::<Vec<_>>(), expected, "{kernel}");
        }
    }

    #[test]
    fn the_parser_agrees_with_procfs() {
        for kernel in KERNELS {
            let text = std::fs::read(captured(kernel).path(FILE)).unwrap();
            let VmStat(theirs) = VmStat::from_buf_read(&text[..]).unwrap();
            let their = |name: &str| u64::try_from(theirs[name]).ok();
            assert_eq!(
                parsed(&text).0,
                Ok(Vmstat {
                    faults: their("pgfault"),
                    major_faults: their("pgmajfault"),
                    swapped_in: their("pswpin"),
                    swapped_out: their("pswpout"),
                    oom_kills: their("oom_kill"),
                })
            );
        }
    }

    #[test]
    fn what_a_kernel_lacks_is_left_out_and_not_zero() {
        let none = (Ok(Vmstat::default()), vec![]);
        assert_eq!(parsed(b"nr_free_pages 5\n"), none);
        let counters = Vmstat {
            faults: Some(7),
            major_faults: Some(0),
            ..Vmstat::default()
        };
        assert_eq!(
            parsed(b"nr_free_pages 5\npgfault_x 1\npgfault 7\n\npgmajfault 0\np\n"),
            (Ok(counters), vec![])
        );
    }

    #[test]
    fn a_counter_that_makes_no_sense_costs_itself_alone_and_is_named() {
        for (text, line, expected) in [
            ("nr_x -1\npgfault x\n", 2, EXPECTED_LINE),
            ("pgfault\n", 1, EXPECTED_LINE),
            ("pswpin \n", 1, EXPECTED_LINE),
            ("pswpout -1\n", 1, EXPECTED_LINE),
            ("oom_kill 1 2\n", 1, EXPECTED_LINE),
            ("oom_kill 18446744073709551616\n", 1, EXPECTED_LINE),
            ("oom_kill 18446744073709551615\n", 1, EXPECTED_LINE),
            ("pswpin 4611686018427387903\n", 1, EXPECTED_LINE),
        ] {
            let counters = Vmstat {
                major_faults: Some(5),
                ..Vmstat::default()
            };
            let expected = (Ok(counters), vec![(line, expected)]);
            let text = format!("{text}pgmajfault 5\n");
            assert_eq!(parsed(text.as_bytes()), expected, "{text}");
        }
        let counters = Vmstat {
            faults: Some(1),
            ..Vmstat::default()
        };
        let cut = vec![(2, EXPECTED_END)];
        assert_eq!(parsed(b"pgfault 1\npgmajfault 2"), (Ok(counters), cut));
        for text in [&b""[..], b"nr_x"] {
            assert_eq!(parsed(text).0.unwrap_err().expected, EXPECTED_ANY);
        }
    }

    #[test]
    fn a_model_needs_no_file_and_metrics_do() {
        let nowhere = Root("/nonexistent".into());
        assert!(collect(&nowhere, Grid::Model).unwrap().is_empty());
        let error = collect(&nowhere, Grid::Metrics).unwrap_err();
        assert!(error.to_string().starts_with("cannot open /nonexistent/"));
    }

    /// Memory that is touched for the first time is a fault for each page of it.
    #[test]
    fn the_machine_that_this_runs_on_counts_our_faults() {
        const PAGES: u64 = 64;
        let faults = |samples: &Samples| match samples.get("mem.faults.total") {
            Some(Value::Unsigned(faults)) => faults,
            other => panic!("{other:?}"),
        };
        let before = faults(&collect(&Root::default(), Grid::All).unwrap());
        let mapped = (0..PAGES)
            // So large that each comes as a mapping of its own from the kernel.
            .map(|_| vec![1_u8; 4 * 1024 * 1024])
            .collect::<Vec<_>>();
        let after = faults(&collect(&Root::default(), Grid::All).unwrap());
        drop(mapped);
        assert!(after >= before + PAGES, "{before} {after}");
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(
            text in proptest::collection::vec(any::<u8>(), 0..64),
            likely in "((pgfault|pswpin|oom_kill|p)? ?[0-9]{0,21}\n?){0,8}"
        ) {
            let _ = (parsed(&text), parsed(likely.as_bytes()));
        }
    }
}
