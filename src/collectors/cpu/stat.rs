//! The text of /proc/stat (`proc_stat(5)`) as a raw sample.
//!
//! Owns the form of the file, in the kernel's own ticks and counts; refuses to know what
//! they are reported as. What a kernel does not have is None or, of a CPU's modes, not among
//! the [`known`](Times::known) ones.
//!
//! The line `intr` has a number for each interrupt that the machine could have, hundreds of
//! kilobytes of them on a large one. Nothing of it is looked at but its first number: the
//! lines that follow it are found from the end of the file.
//!
//! Not parsed by `procfs_core::KernelStats`, which the tests compare with: it reads every
//! line as text and allocates for each CPU.

use super::super::{
    error::Malformed,
    lines::EXPECTED_END,
    text::{decimal, fields, next_line, split_once},
};

/// The file's first line; kernels before 2.6.33 have fewer than ten numbers.
const EXPECTED_ALL: &str = "\"cpu\", four to ten numbers and the end of the line";
const EXPECTED_CORE: &str =
    "\"cpu\" with a larger number than in the line before, then four to ten numbers";
const EXPECTED_INTERRUPTS: &str = "\"intr\" and numbers";
const EXPECTED_COUNT: &str = "a name and a number";

/// The modes that a CPU can be in: user, nice, system, idle, iowait, irq, softirq, steal,
/// guest and `guest_nice`. A kernel that lacks some lacks the last ones.
pub const MODES: usize = 10;

/// The modes of the first kernels, which every one has: up to idle.
const FEWEST_MODES: usize = 4;

/// Most CPUs that are reported one by one: more than the largest machines that are sold
/// have, and at eight values each less than half of what a message may have.
pub const MAX_CORES: usize = 512;

/// Cumulative time in each mode, in ticks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Times {
    /// 0 for a mode that is not known.
    ticks: [u64; MODES],
    known: usize,
}

impl Times {
    /// The time in each mode that this kernel has, in the order of [`MODES`].
    #[must_use]
    pub fn known(&self) -> &[u64] {
        self.ticks.get(..self.known).unwrap_or_default()
    }

    /// The time in each mode, 0 where this kernel does not tell it apart: it is part of
    /// another one there.
    #[must_use]
    pub fn ticks(&self) -> &[u64; MODES] {
        &self.ticks
    }
}

/// One CPU that is online.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Core {
    /// The kernel's number of it.
    pub number: u64,
    /// Its time.
    pub times: Times,
}

/// Where the CPUs one by one are put.
#[derive(Debug, Default)]
pub struct Cores {
    /// By rising number, at most [`MAX_CORES`] of them.
    pub list: Vec<Core>,
    /// How many more there are.
    pub cut: usize,
}

impl Cores {
    /// None where that is not the line of the next CPU.
    fn take(&mut self, line: &[u8]) -> Option<()> {
        let mut fields = fields(line);
        let number = fields.next()?.strip_prefix(b"cpu").and_then(decimal)?;
        let times = times(fields)?;
        // Each comes once: two values of one name would spoil the whole message.
        if self.list.last().is_some_and(|last| number <= last.number) {
            return None;
        }
        if self.list.len() < MAX_CORES {
            self.list.push(Core { number, times });
        } else {
            self.cut += 1;
        }
        Some(())
    }
}

/// What the file says of all CPUs together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stat {
    /// Their time.
    pub all: Times,
    /// `intr`: interrupts
    pub interrupts: Option<u64>,
    /// `ctxt`: context switches
    pub switches: Option<u64>,
    /// `processes`: processes and threads begun
    pub forks: Option<u64>,
    /// `procs_running`
    pub running: Option<u64>,
    /// `procs_blocked`
    pub blocked: Option<u64>,
}

/// The time of all CPUs together out of a text that begins as the file does.
pub fn parse_first_line(text: &[u8]) -> Result<Times, Malformed> {
    let mut rest = text;
    first_line(&mut rest)
}

/// Everything out of the text of the file. CPUs one by one are looked into only where
/// there is a place for them, whose content is replaced.
pub fn parse(text: &[u8], mut cores: Option<&mut Cores>) -> Result<Stat, Malformed> {
    let mut rest = text;
    let all = first_line(&mut rest)?;
    let mut line_number = 1;
    if let Some(cores) = &mut cores {
        cores.list.clear();
        cores.cut = 0;
    }
    while rest.starts_with(b"cpu") {
        line_number += 1;
        let Some(line) = next_line(&mut rest) else {
            return Err(Malformed::new(line_number, EXPECTED_END, rest));
        };
        if let Some(cores) = &mut cores {
            cores
                .take(line)
                .ok_or_else(|| Malformed::new(line_number, EXPECTED_CORE, line))?;
        }
    }
    let mut stat = Stat {
        all,
        ..Stat::default()
    };
    if let Some(numbers) = rest.strip_prefix(b"intr") {
        let first = numbers.strip_prefix(b" ").and_then(|numbers| {
            let ended = |byte: &u8| matches!(byte, b' ' | b'\n');
            numbers.split(ended).next().and_then(decimal)
        });
        let malformed = || Malformed::new(line_number + 1, EXPECTED_INTERRUPTS, rest);
        stat.interrupts = Some(first.ok_or_else(malformed)?);
    }
    stat.take_last_lines(rest, line_number)?;
    Ok(stat)
}

/// Without its newline the line is cut off, perhaps in the middle of a number.
fn first_line(rest: &mut &[u8]) -> Result<Times, Malformed> {
    let line = next_line(rest).ok_or_else(|| Malformed::new(1, EXPECTED_ALL, rest))?;
    let mut fields = fields(line);
    (fields.next() == Some(b"cpu"))
        .then(|| times(fields))
        .flatten()
        .ok_or_else(|| Malformed::new(1, EXPECTED_ALL, line))
}

fn times<'l>(numbers: impl Iterator<Item = &'l [u8]>) -> Option<Times> {
    let mut times = Times::default();
    for (ticks, number) in times.ticks.iter_mut().zip(numbers) {
        *ticks = decimal(number)?;
        times.known += 1;
    }
    (times.known >= FEWEST_MODES).then_some(times)
}

impl Stat {
    /// Takes the lines from the end of `rest` back to `ctxt`, which follows `intr`. Before
    /// `rest` come so many lines.
    fn take_last_lines(&mut self, rest: &[u8], lines_before: usize) -> Result<(), Malformed> {
        let line_of = |at: usize| {
            let before = rest.get(..at).unwrap_or_default();
            lines_before + before.split(|&byte| byte == b'\n').count()
        };
        let Some(lines) = rest.strip_suffix(b"\n") else {
            if rest.is_empty() {
                return Ok(());
            }
            let last = rest.rsplit(|&byte| byte == b'\n').next().unwrap_or(rest);
            return Err(Malformed::new(line_of(rest.len()), EXPECTED_END, last));
        };
        let mut end = lines.len();
        for line in lines.rsplit(|&byte| byte == b'\n') {
            let start = end.saturating_sub(line.len());
            end = start.saturating_sub(1);
            let Some((name, value)) = split_once(line, b' ') else {
                continue;
            };
            let field = match name {
                b"ctxt" => &mut self.switches,
                b"processes" => &mut self.forks,
                b"procs_running" => &mut self.running,
                b"procs_blocked" => &mut self.blocked,
                _ => continue,
            };
            let malformed = || Malformed::new(line_of(start), EXPECTED_COUNT, line);
            *field = Some(decimal(value).ok_or_else(malformed)?);
            if name == b"ctxt" {
                break;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WHOLE: &[u8] = b"cpu  9 0 348 672 0 0 9 0 0 0\n\
        cpu0 4 0 214 302 0 0 6 0 0 0\ncpu3 5 0 134 370 1 0 3 0 0 0\n\
        intr 2414 97 9 0 0 2 0 0 0 1\nctxt 1847\nbtime 1795367101\nprocesses 130\n\
        procs_running 2\nprocs_blocked 1\nsoftirq 1663 0 271 0\n";

    fn modes(ticks: &[u64]) -> Times {
        let mut times = Times {
            known: ticks.len(),
            ..Times::default()
        };
        for (to, from) in times.ticks.iter_mut().zip(ticks) {
            *to = *from;
        }
        times
    }

    #[test]
    fn each_line_is_taken_for_what_it_is() {
        let mut cores = Cores::default();
        for _ in 0..2 {
            assert_eq!(
                parse(WHOLE, Some(&mut cores)),
                Ok(Stat {
                    all: modes(&[9, 0, 348, 672, 0, 0, 9, 0, 0, 0]),
                    interrupts: Some(2414),
                    switches: Some(1847),
                    forks: Some(130),
                    running: Some(2),
                    blocked: Some(1),
                })
            );
            let core = |number, ticks| Core {
                number,
                times: modes(ticks),
            };
            assert_eq!(
                cores.list,
                [
                    core(0, &[4, 0, 214, 302, 0, 0, 6, 0, 0, 0]),
                    core(3, &[5, 0, 134, 370, 1, 0, 3, 0, 0, 0]),
                ],
                "of the last text alone"
            );
        }
        assert_eq!(parse_first_line(WHOLE), parse(WHOLE, None).map(|s| s.all));
    }

    #[test]
    fn kernels_with_fewer_modes_are_understood_and_those_with_more() {
        for (text, known) in [
            (&b"cpu  1 20 300 4000\n"[..], &[1, 20, 300, 4000][..]),
            (b"cpu  1 20 300 4000 50000\n", &[1, 20, 300, 4000, 50_000]),
            (
                b"cpu  1 2 3 4 5 6 7 8 9 10 11 12\n",
                &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10],
            ),
        ] {
            assert_eq!(parse_first_line(text).unwrap().known(), known);
        }
    }

    #[test]
    fn what_is_not_there_is_none() {
        let only = |all: &[u64]| Stat {
            all: modes(all),
            ..Stat::default()
        };
        assert_eq!(parse(b"cpu 1 2 3 4\n", None), Ok(only(&[1, 2, 3, 4])));
        assert_eq!(
            parse(b"cpu 1 2 3 4\nprocesses 0\nnews of another kernel\n", None),
            Ok(Stat {
                forks: Some(0),
                ..only(&[1, 2, 3, 4])
            })
        );
        assert_eq!(
            parse(b"cpu 1 2 3 4\nintr 0\n", None).unwrap().interrupts,
            Some(0)
        );
    }

    #[test]
    fn what_is_not_the_first_line_of_the_file_is_malformed() {
        for text in [
            &b""[..],
            b"\n",
            b"cpu\n",
            b"cpu  1 2 3\n",
            b"cpu  1 2 3 4",
            b"cpu  1 2 3 -4\n",
            b"cpu  1 2 3 x\n",
            b"cpu  1 2 3 99999999999999999999\n",
            b"cpu  1 2 3 4 \xff\n",
            b"cpu0 1 2 3 4\n",
            b"intr 1 2 3 4\n",
        ] {
            for error in [parse_first_line(text).err(), parse(text, None).err()] {
                let error = error.unwrap();
                assert_eq!((error.line, error.expected), (1, EXPECTED_ALL));
            }
        }
    }

    #[test]
    fn a_malformed_line_is_named_by_its_number() {
        for (lines, line, expected) in [
            ("cpu0 1 2 3\nctxt 1\n", 2, EXPECTED_CORE),
            ("cpu0 1 2 3 4\ncpux 1 2 3 4\n", 3, EXPECTED_CORE),
            ("cpu1 1 2 3 4\ncpu1 1 2 3 4\n", 3, EXPECTED_CORE),
            ("cpu0 1 2 3 4", 2, EXPECTED_END),
            ("intr\n", 2, EXPECTED_INTERRUPTS),
            ("intr \n", 2, EXPECTED_INTERRUPTS),
            ("intr x 1 2\n", 2, EXPECTED_INTERRUPTS),
            ("cpu0 1 2 3 4\nintr -1\n", 3, EXPECTED_INTERRUPTS),
            ("intr 5 1 2\nctxt 7", 3, EXPECTED_END),
            ("intr 5 1 2", 2, EXPECTED_END),
            ("intr 5 1 2\nctxt 7 8\n", 3, EXPECTED_COUNT),
            ("intr 5\nctxt 7\nprocesses -1\nbtime 1\n", 4, EXPECTED_COUNT),
            ("procs_running x\n", 2, EXPECTED_COUNT),
            (
                "ctxt 1\nprocs_blocked 99999999999999999999\n",
                3,
                EXPECTED_COUNT,
            ),
        ] {
            let text = format!("cpu 1 2 3 4\n{lines}");
            let error = parse(text.as_bytes(), Some(&mut Cores::default())).unwrap_err();
            assert_eq!((error.line, error.expected), (line, expected), "{lines}");
        }
    }

    #[test]
    fn cpus_one_by_one_are_bounded_and_the_rest_counted() {
        let mut text = b"cpu 1 2 3 4\n".to_vec();
        for number in 0..MAX_CORES + 3 {
            text.extend_from_slice(format!("cpu{number} 1 2 3 4\n").as_bytes());
        }
        let mut cores = Cores::default();
        parse(&text, Some(&mut cores)).unwrap();
        assert_eq!((cores.list.len(), cores.cut), (MAX_CORES, 3));
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(
            text in proptest::collection::vec(any::<u8>(), 0..128),
            lines in "(cpu[0-9]? |intr |ctxt |processes |softirq |[0-9]{1,3} |\n| |x){0,40}"
        ) {
            let _ = (parse_first_line(&text), parse(&text, Some(&mut Cores::default())));
            for start in ["", "cpu 1 2 3 4\n"] {
                let text = format!("{start}{lines}");
                let _ = parse(text.as_bytes(), Some(&mut Cores::default()));
            }
        }

        /// Each cut but one at the end of a line is found out.
        #[test]
        fn a_text_that_was_cut_off_is_refused(length in 0..WHOLE.len()) {
            let text = &WHOLE[..length];
            prop_assert_eq!(parse(text, None).is_ok(), text.ends_with(b"\n"));
        }
    }
}
