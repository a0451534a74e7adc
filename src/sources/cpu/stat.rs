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
    odd::Odd,
    text::{
        EXPECTED_END, Line, MAX_EVENTS, MAX_TASKS, TICKS, count, decimal, fields, max_sum_of_times,
        max_time, next_line, split_once,
    },
};

/// The file's first line; kernels before 2.6.33 have fewer than ten numbers.
const EXPECTED_ALL: &str =
    "\"cpu\", four to ten numbers of ticks (each up to 548 years) and the end of the line";
const EXPECTED_CORE: &str = "\"cpu\" with a larger number than in the line before, then four to ten numbers of ticks (each up to 292 years)";
const EXPECTED_INTERRUPTS: &str = "\"intr\" and numbers up to 9223372036854775807";
const EXPECTED_COUNT: &str = "a name and a number up to 9223372036854775807";
const EXPECTED_TASKS: &str = "a name and a number of threads, up to 4194304";

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
    /// A bit for each mode whose time makes no sense.
    odd: u16,
}

impl Times {
    /// The time in each mode that this kernel has, in the order of [`MODES`]; None for one
    /// that makes no sense.
    pub fn known(&self) -> impl Iterator<Item = Option<u64>> {
        let times = self.ticks.iter().enumerate().take(self.known);
        times.map(|(mode, ticks)| (!self.is_odd(mode)).then_some(*ticks))
    }

    /// The time in each mode, 0 if this kernel does not count it separately: it is part of another
    /// one there. None if one of them makes no sense.
    #[must_use]
    pub fn ticks(&self) -> Option<&[u64; MODES]> {
        (self.known > 0 && self.odd == 0).then_some(&self.ticks)
    }

    fn is_odd(&self, mode: usize) -> bool {
        self.odd & (1 << mode) != 0
    }

    /// How many ticks the times have lost since they were `before`.
    #[must_use]
    pub fn below(&self, before: &Self) -> u64 {
        let modes = before.ticks.iter().zip(&self.ticks).enumerate();
        modes
            .filter(|(mode, _)| !self.is_odd(*mode))
            .map(|(_, (before, now))| before.saturating_sub(*now))
            .fold(0, u64::saturating_add)
    }

    /// Returns true if a time is less than before by more than the limit.
    fn fell_by(&self, before: &Self, limit: u64) -> bool {
        let modes = before.ticks.iter().zip(&self.ticks).enumerate();
        modes
            .filter(|(mode, _)| !self.is_odd(*mode))
            .any(|(_, (before, now))| before.saturating_sub(*now) >= limit)
    }
}

/// The time of one CPU, or of all together, as it is reported: counters do not make small steps
/// back.
///
/// The kernel takes back a tick or two of time that it had reported as idle or waiting
/// (`proc_stat(5)`): then the reported value stays until it is exceeded. If a CPU is taken out or
/// put in, it may take back hours: that is a new beginning, of all modes, as after a reset.
#[derive(Debug, Default)]
pub struct Steady {
    held: Times,
}

impl Steady {
    /// What is to be reported after a reading, where a step back by `limit` ticks is a new
    /// beginning; and whether this is one.
    pub fn advance(&mut self, now: &Times, limit: u64) -> (Times, bool) {
        if now.known == 0 {
            return (*now, false);
        }
        let begins = now.fell_by(&self.held, limit);
        if begins {
            self.held = Times::default();
        }
        let mut held = self.held;
        let modes = held.ticks.iter_mut().zip(&now.ticks).enumerate();
        for (mode, (held, now_ticks)) in modes {
            if !now.is_odd(mode) {
                *held = (*held).max(*now_ticks);
            }
        }
        self.held = Times {
            known: now.known,
            odd: 0,
            ..held
        };
        let reported = Times {
            odd: now.odd,
            ..self.held
        };
        (reported, begins)
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
    fn take(&mut self, line: &Line<'_>, odd: &mut Odd) {
        let mut fields = fields(line.text);
        let number = fields.next().and_then(|name| name.strip_prefix(b"cpu"));
        // Each comes once: two values of one name would spoil the whole message.
        let last = self.list.last().map(|last| last.number);
        let number = number
            .and_then(decimal)
            .filter(|number| last.is_none_or(|last| last < *number));
        let malformed = |word: Option<&[u8]>| line.malformed_word(EXPECTED_CORE, word);
        let Some(number) = odd.note(number, || malformed(None)) else {
            return;
        };
        let times = times(fields, max_time(TICKS), malformed, odd);
        if self.list.len() < MAX_CORES {
            self.list.push(Core { number, times });
        } else {
            self.cut += 1;
        }
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
pub fn parse_first_line(text: &[u8], odd: &mut Odd) -> Result<Times, Malformed> {
    first_line(&mut &*text, odd)
}

/// Everything out of the text of the file. CPUs one by one are looked into only where
/// there is a place for them, whose content is replaced. An error where nothing is known.
pub fn parse(text: &[u8], mut cores: Option<&mut Cores>, odd: &mut Odd) -> Result<Stat, Malformed> {
    let mut rest = text;
    let mut stat = Stat::default();
    let first = first_line(&mut rest, odd);
    if let Some(cores) = &mut cores {
        cores.list.clear();
        cores.cut = 0;
    }
    let mut number = 1;
    while let Some(line) = core_line(&mut rest) {
        number += 1;
        let line = Line { number, text: line };
        if let Some(cores) = &mut cores {
            cores.take(&line, odd);
        }
    }
    if let Some(numbers) = rest.strip_prefix(b"intr") {
        let first = numbers.strip_prefix(b" ").and_then(|numbers| {
            let ended = |byte: &u8| matches!(byte, b' ' | b'\n');
            let number = numbers.split(ended).next();
            number.and_then(|number| count(number, MAX_EVENTS))
        });
        let malformed = || Malformed::new(number + 1, EXPECTED_INTERRUPTS, rest);
        stat.interrupts = odd.note(first, malformed);
    }
    stat.take_last_lines(rest, number, odd);
    match first {
        Ok(all) => Ok(Stat { all, ..stat }),
        Err(problem) if stat == Stat::default() => Err(problem),
        Err(problem) => {
            odd.add(problem);
            Ok(stat)
        }
    }
}

/// The line of the CPU of this number and the line's own number, from 1; that of all CPUs where
/// there is none.
#[must_use]
pub fn line_of(cpu: u64, text: &[u8]) -> (usize, &[u8]) {
    let name = format!("cpu{cpu}");
    let mut lines = (1..).zip(text.split(|&byte| byte == b'\n'));
    let found = lines.find(|(_, line)| fields(line).next() == Some(name.as_bytes()));
    found.unwrap_or((1, text))
}

/// How many CPUs the text of the file has a line of.
#[must_use]
pub fn count_cpus(text: &[u8]) -> u64 {
    let mut rest = text;
    // That of all of them together.
    let _all = next_line(&mut rest);
    let mut cpus = 0;
    while rest.starts_with(b"cpu") && next_line(&mut rest).is_some() {
        cpus += 1;
    }
    cpus
}

/// The next line about a CPU. One that another such line or `intr` follows is meant to be one,
/// whatever is in it.
fn core_line<'t>(rest: &mut &'t [u8]) -> Option<&'t [u8]> {
    let known = |text: &[u8]| text.starts_with(b"cpu");
    if rest.starts_with(b"intr") || rest.starts_with(b"ctxt") {
        return None;
    }
    let mut after = *rest;
    let line = next_line(&mut after)?;
    let meant = known(rest) || known(after) || after.starts_with(b"intr");
    meant.then(|| {
        *rest = after;
        line
    })
}

/// Without its newline the line is cut off, perhaps in the middle of a number.
fn first_line(rest: &mut &[u8], odd: &mut Odd) -> Result<Times, Malformed> {
    let line = next_line(rest).ok_or_else(|| Malformed::new(1, EXPECTED_ALL, rest))?;
    let malformed = |word: Option<&[u8]>| Malformed::word(1, EXPECTED_ALL, line, word);
    let mut fields = fields(line).peekable();
    if fields.next() != Some(b"cpu") || fields.peek().is_none() {
        return Err(malformed(None));
    }
    let mut found = Odd::default();
    let times = times(fields, max_sum_of_times(TICKS), malformed, &mut found);
    if times.known().all(|time| time.is_none()) {
        return Err(malformed(None));
    }
    odd.append(found);
    Ok(times)
}

/// The times of a line, `most` ticks each at most. A value that is not a number costs only its own
/// mode; so does one of the first modes that is missing.
fn times<'l>(
    numbers: impl Iterator<Item = &'l [u8]>,
    most: u64,
    malformed: impl Fn(Option<&[u8]>) -> Malformed,
    odd: &mut Odd,
) -> Times {
    let mut times = Times::default();
    for (ticks, number) in times.ticks.iter_mut().zip(numbers) {
        match odd.note(count(number, most), || malformed(Some(number))) {
            Some(number) => *ticks = number,
            None => times.odd |= 1 << times.known,
        }
        times.known += 1;
    }
    while times.known < FEWEST_MODES {
        odd.add(malformed(None));
        times.odd |= 1 << times.known;
        times.known += 1;
    }
    times
}

impl Stat {
    /// Takes the lines from the end of `rest` back to `ctxt`, which follows `intr`. There are
    /// `lines_before` lines before `rest`.
    fn take_last_lines(&mut self, rest: &[u8], lines_before: usize, odd: &mut Odd) {
        let line_of = |at: usize| {
            let before = rest.get(..at).unwrap_or_default();
            lines_before + before.split(|&byte| byte == b'\n').count()
        };
        let last = rest.rsplit(|&byte| byte == b'\n').next().unwrap_or(rest);
        if !last.is_empty() {
            odd.add(Malformed::new(line_of(rest.len()), EXPECTED_END, last));
        }
        // Up to the last newline.
        let Some(end) = (rest.len() - last.len()).checked_sub(1) else {
            return;
        };
        let lines = rest.get(..end).unwrap_or_default();
        let mut end = lines.len();
        for line in lines.rsplit(|&byte| byte == b'\n') {
            let start = end.saturating_sub(line.len());
            end = start.saturating_sub(1);
            let Some((name, value)) = split_once(line, b' ') else {
                continue;
            };
            let (field, most) = match name {
                b"ctxt" => (&mut self.switches, MAX_EVENTS),
                b"processes" => (&mut self.forks, MAX_EVENTS),
                b"procs_running" => (&mut self.running, MAX_TASKS),
                b"procs_blocked" => (&mut self.blocked, MAX_TASKS),
                _ => continue,
            };
            *field = odd.note(count(value, most), || {
                let expected = if most == MAX_TASKS {
                    EXPECTED_TASKS
                } else {
                    EXPECTED_COUNT
                };
                Malformed::new(line_of(start), expected, line)
            });
            if name == b"ctxt" {
                break;
            }
        }
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

    type Wrong = Vec<(usize, &'static str)>;

    fn wrong(odd: &Odd) -> Wrong {
        let named = odd.named().iter();
        named.map(|one| (one.line, one.expected)).collect()
    }

    /// What is read, with each CPU, and what is wrong, by line.
    fn parsed(text: &[u8]) -> (Result<Stat, Malformed>, Vec<Core>, Wrong) {
        let mut odd = Odd::default();
        let mut cores = Cores::default();
        let stat = parse(text, Some(&mut cores), &mut odd);
        (stat, cores.list, wrong(&odd))
    }

    fn first(text: &[u8]) -> (Result<Times, Malformed>, Wrong) {
        let mut odd = Odd::default();
        let times = parse_first_line(text, &mut odd);
        (times, wrong(&odd))
    }

    #[test]
    fn each_line_is_taken_for_what_it_is() {
        let mut cores = Cores::default();
        for _ in 0..2 {
            assert_eq!(
                parse(WHOLE, Some(&mut cores), &mut Odd::default()),
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
        let all = modes(&[9, 0, 348, 672, 0, 0, 9, 0, 0, 0]);
        assert_eq!(first(WHOLE), (Ok(all), vec![]));
        assert_eq!(parsed(WHOLE).2, vec![]);
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
            assert_eq!(first(text), (Ok(modes(known)), vec![]));
        }
    }

    #[test]
    fn what_is_not_there_is_none() {
        let only = |all: &[u64]| Stat {
            all: modes(all),
            ..Stat::default()
        };
        let stat = |text: &[u8]| {
            let (stat, _, wrong) = parsed(text);
            assert_eq!(wrong, []);
            stat.unwrap()
        };
        assert_eq!(stat(b"cpu 1 2 3 4\n"), only(&[1, 2, 3, 4]));
        assert_eq!(
            stat(b"cpu 1 2 3 4\nprocesses 0\nnews of another kernel\n"),
            Stat {
                forks: Some(0),
                ..only(&[1, 2, 3, 4])
            }
        );
        assert_eq!(stat(b"cpu 1 2 3 4\nintr 0\n").interrupts, Some(0));
    }

    #[test]
    fn a_text_of_which_nothing_is_known_is_malformed() {
        for text in [
            &b""[..],
            b"\n",
            b"cpu\n",
            b"cpu x\n",
            b"cpu  1 2 3 4",
            b"cpu0 1 2 3 4\n",
            b"junk\n",
            b"junk 1 2 3 4\nmore 1\n",
        ] {
            for error in [first(text).0.err(), parsed(text).0.err()] {
                let error = error.unwrap();
                assert_eq!((error.line, error.expected), (1, EXPECTED_ALL));
            }
        }
    }

    #[test]
    fn a_time_that_makes_no_sense_costs_itself_alone() {
        for (text, known, count) in [
            (
                &b"cpu  1 2 3 -4\n"[..],
                [Some(1), Some(2), Some(3), None],
                1,
            ),
            (b"cpu  x 2 3 4\n", [None, Some(2), Some(3), Some(4)], 1),
            (
                b"cpu  1 \xff 3 99999999999999999999\n",
                [Some(1), None, Some(3), None],
                2,
            ),
            (b"cpu  1 2 3\n", [Some(1), Some(2), Some(3), None], 1),
        ] {
            let (times, wrong) = first(text);
            let times = times.unwrap();
            assert_eq!(times.known().collect::<Vec<_>>(), known);
            assert_eq!(times.ticks(), None);
            assert_eq!(wrong, vec![(1, EXPECTED_ALL); count]);
        }
    }

    #[test]
    fn a_time_below_0_costs_its_mode_alone() {
        // -1 tick, -6 ticks, -1 ns and -1 s of ns.
        for below in [
            "18446744073709551615",
            "18446744073709551610",
            "1844674407370",
            "1844674407270",
        ] {
            let text = format!("cpu  9 0 348 672 0 0 {below} 0 0 0\n");
            let mut odd = Odd::default();
            let times = parse_first_line(text.as_bytes(), &mut odd).unwrap();
            assert_eq!(odd.named().len(), 1);
            let known: Vec<_> = times.known().collect();
            assert_eq!((known[5], known[6], known[7]), (Some(0), None, Some(0)));
            assert_eq!(times.ticks(), None);
        }
    }

    #[test]
    fn a_line_that_makes_no_sense_costs_itself_alone_and_is_named_by_its_number() {
        let whole = parsed(WHOLE).0.unwrap();
        for (from, to, line, expected) in [
            ("cpu0 4 ", "cpux 4 ", 2, EXPECTED_CORE),
            ("cpu0 4 ", "xpu0 4 ", 2, EXPECTED_CORE),
            ("cpu0 4 ", "cpu0 -4 ", 2, EXPECTED_CORE),
            ("cpu0 4 ", "cpu0 1844674407370 ", 2, EXPECTED_CORE),
            (
                "cpu3 5 0 134 370 1 0 3 0 0 0",
                "cpu3 5 0 134",
                3,
                EXPECTED_CORE,
            ),
            ("cpu3 ", "cpu0 ", 3, EXPECTED_CORE),
            ("intr 2414 ", "intr x ", 4, EXPECTED_INTERRUPTS),
            ("intr 2414 ", "intr -2414 ", 4, EXPECTED_INTERRUPTS),
            ("intr 2414 ", "intr  ", 4, EXPECTED_INTERRUPTS),
            ("ctxt 1847", "ctxt 1847 8", 5, EXPECTED_COUNT),
            ("ctxt 1847", "ctxt 18446744073709551615", 5, EXPECTED_COUNT),
            ("processes 130", "processes -2049562273", 7, EXPECTED_COUNT),
            ("procs_running 2", "procs_running x", 8, EXPECTED_TASKS),
            (
                "procs_blocked 1",
                "procs_blocked 18446744073709551615",
                9,
                EXPECTED_TASKS,
            ),
            (
                "procs_blocked 1",
                "procs_blocked 4294967295",
                9,
                EXPECTED_TASKS,
            ),
            ("softirq 1663 0 271 0\n", "softirq 16", 10, EXPECTED_END),
        ] {
            let text = std::str::from_utf8(WHOLE).unwrap().replace(from, to);
            let (stat, cores, wrong) = parsed(text.as_bytes());
            assert_eq!(wrong, [(line, expected)], "{to}");
            let stat = stat.unwrap();
            let mut left = whole;
            match line {
                4 => left.interrupts = None,
                5 => left.switches = None,
                7 => left.forks = None,
                8 => left.running = None,
                9 => left.blocked = None,
                _ => {}
            }
            assert_eq!(stat, left, "{to}");
            let times = cores.iter().flat_map(|core| core.times.known()).flatten();
            let expected = match to {
                "cpu0 -4 " | "cpu0 1844674407370 " => 19,
                "cpu3 5 0 134" => 13,
                _ if line < 4 => 10,
                _ => 20,
            };
            assert_eq!(times.count(), expected, "{to}");
        }
        let text = std::str::from_utf8(WHOLE).unwrap().replace("cpu  9", "x 9");
        let (stat, cores, wrong) = parsed(text.as_bytes());
        let left = Stat {
            all: Times::default(),
            ..whole
        };
        assert_eq!(
            (stat, cores.len(), wrong),
            (Ok(left), 2, vec![(1, EXPECTED_ALL)])
        );
    }

    #[test]
    fn a_small_step_back_holds_and_a_large_one_starts_over() {
        let mut steady = Steady::default();
        for (now, reported, begins) in [
            ([5, 0, 3, 700, 90], [5, 0, 3, 700, 90], false),
            ([6, 0, 3, 710, 89], [6, 0, 3, 710, 90], false),
            ([7, 0, 3, 411, 90], [7, 0, 3, 710, 90], false),
            ([8, 0, 3, 711, 91], [8, 0, 3, 711, 91], false),
            ([7, 0, 3, 411, 90], [7, 0, 3, 411, 90], true),
            ([7, 0, 2, 412, 90], [7, 0, 3, 412, 90], false),
        ] {
            let found = steady.advance(&modes(&now), 300);
            assert_eq!(found, (modes(&reported), begins), "{now:?}");
        }
        // What makes no sense neither holds nor is a step.
        let odd = Times {
            odd: 1 << 3,
            ..modes(&[8, 0, 3, 0, 91])
        };
        let (times, begins) = steady.advance(&odd, 300);
        let known: Vec<_> = times.known().collect();
        assert_eq!(known, [Some(8), Some(0), Some(3), None, Some(91)]);
        assert!(!begins);
        let (times, _) = steady.advance(&modes(&[8, 0, 3, 411, 91]), 300);
        assert_eq!(times, modes(&[8, 0, 3, 412, 91]));
        let nothing = Times::default();
        assert_eq!(steady.advance(&nothing, 300), (nothing, false));
    }

    #[test]
    fn cpus_are_counted_by_their_lines() {
        assert_eq!(count_cpus(WHOLE), 2);
        for text in [&b""[..], b"cpu 1 2 3 4\n", b"cpu 1 2 3 4\nintr 7\ncpu0 1\n"] {
            assert_eq!(count_cpus(text), 0);
        }
        assert_eq!(count_cpus(b"cpu 1\ncpu0 1\ncpu1"), 1);
    }

    #[test]
    fn cpus_one_by_one_are_bounded_and_the_rest_counted() {
        let mut text = b"cpu 1 2 3 4\n".to_vec();
        for number in 0..MAX_CORES + 3 {
            text.extend_from_slice(format!("cpu{number} 1 2 3 4\n").as_bytes());
        }
        let mut cores = Cores::default();
        parse(&text, Some(&mut cores), &mut Odd::default()).unwrap();
        assert_eq!((cores.list.len(), cores.cut), (MAX_CORES, 3));
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(
            text in proptest::collection::vec(any::<u8>(), 0..128),
            lines in "(cpu[0-9]? |intr |ctxt |processes |softirq |[0-9]{1,3} |\n| |x){0,40}"
        ) {
            let _ = (first(&text), parsed(&text));
            for start in ["", "cpu 1 2 3 4\n"] {
                let _ = parsed(format!("{start}{lines}").as_bytes());
            }
        }

        /// Each cut but one at the end of a line is found out, and what was before it is there.
        #[test]
        fn a_text_that_was_cut_off_has_what_is_whole(length in 1..WHOLE.len()) {
            let text = &WHOLE[..length];
            let (stat, _, wrong) = parsed(text);
            prop_assert_eq!(stat.is_ok() && wrong.is_empty(), text.ends_with(b"\n"));
            if let Ok(stat) = stat {
                let whole = parsed(WHOLE).0.unwrap();
                prop_assert_eq!(stat.all, whole.all);
                prop_assert!(stat.forks.is_none() || stat.forks == whole.forks);
                prop_assert!(stat.switches.is_none() || stat.switches == whole.switches);
            }
        }
    }
}
