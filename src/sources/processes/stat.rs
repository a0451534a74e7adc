//! One process, from the text of /proc/PID/stat (`proc_pid_stat(5)`).
//!
//! The name of a process may be anything: blanks, newlines, parentheses, any bytes. It ends at the
//! last parenthesis, after which the kernel prints only a letter and numbers.

use crate::sources::{
    error::Malformed,
    odd::Odd,
    text::{EXPECTED_END, TICKS, count, decimal, fields, max_sum_of_times, max_time},
};

const EXPECTED_NAME: &str = "PID (NAME) of a process";
const EXPECTED_STATE: &str = "the letter of a state behind the name";
const EXPECTED_TIMES: &str = "the CPU times, up to 548 years in ticks, as fields 14 and 15";
const EXPECTED_START: &str = "the time of its start, up to 292 years in ticks, as field 22";
const EXPECTED_RESIDENT: &str = "the resident pages, up to 17592186044416, as field 24";

/// The states of a process, as they are reported.
pub const STATES: [&str; 9] = [
    "running",
    "sleeping",
    "uninterruptible",
    "stopped",
    "traced",
    "zombie",
    "idle",
    "dead",
    "parked",
];

/// Which of [`STATES`] a letter of the kernel's means; None for those that only kernels
/// before 3.14 had (K, W), and for what a future one may add.
fn state(letter: u8) -> Option<usize> {
    Some(match letter {
        b'R' => 0,
        b'S' => 1,
        b'D' => 2,
        b'T' => 3,
        b't' => 4,
        b'Z' => 5,
        b'I' => 6,
        b'X' | b'x' => 7,
        b'P' => 8,
        _ => return None,
    })
}

/// Most resident pages of a process: 2^56 bytes, as much as any CPU can address. What
/// exceeds it is a negative number.
const MAX_PAGES: u64 = 1 << 44;

/// What is reported of a process; None for what makes no sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process<'t> {
    /// Its name, as it likes.
    pub name: &'t [u8],
    /// Which of [`STATES`] it is in.
    pub state: Option<usize>,
    /// The CPU time of its threads in user and kernel mode, in clock ticks.
    pub cpu_ticks: Option<u64>,
    /// When it began, in clock ticks after boot: another process of the same PID began at
    /// another time.
    pub start_ticks: Option<u64>,
    /// Resident memory, in pages.
    pub resident_pages: Option<u64>,
}

/// Only the state of a process, from the text of /proc/PID/stat.
pub fn parse_state(text: &[u8], odd: &mut Odd) -> Result<Option<usize>, Malformed> {
    let (_, rest) = name(text).ok_or_else(|| Malformed::new(1, EXPECTED_NAME, text))?;
    let word = fields(rest).next();
    let malformed = || Malformed::word(1, EXPECTED_STATE, text, word);
    Ok(odd.note(word.and_then(state_in), malformed))
}

/// A process out of the text of /proc/PID/stat.
pub fn parse<'t>(text: &'t [u8], odd: &mut Odd) -> Result<Process<'t>, Malformed> {
    let malformed = |expected, word| Malformed::word(1, expected, text, word);
    let (name, rest) = name(text).ok_or_else(|| malformed(EXPECTED_NAME, None))?;
    let whole = rest.strip_suffix(b"\n").unwrap_or_else(|| {
        // Without its newline the line is cut off, perhaps in the middle of a number.
        odd.add(malformed(
            EXPECTED_END,
            rest.rsplit(|byte| *byte == b' ').next(),
        ));
        let end = rest.iter().rposition(|byte| *byte == b' ').unwrap_or(0);
        rest.get(..end).unwrap_or_default()
    });
    let mut fields = fields(whole);
    let word = fields.next();
    let state = word.and_then(state_in);
    let state = odd.note(state, || malformed(EXPECTED_STATE, word));
    // The state is field 3, and `nth` counts what it skips.
    let time = |field| count(field, max_sum_of_times(TICKS));
    let times = [fields.nth(14 - 4), fields.next()];
    let [user, system] = times.map(|field| field.and_then(time));
    let cpu_ticks = user
        .zip(system)
        .map(|(user, system)| user.saturating_add(system));
    let odd_time = if user.is_none() { times[0] } else { times[1] };
    let start_word = fields.nth(22 - 16);
    let start = start_word.and_then(|start| count(start, max_time(TICKS)));
    let resident_word = fields.nth(1);
    let resident = resident_word.and_then(|pages| count(pages, MAX_PAGES));
    Ok(Process {
        name,
        state,
        cpu_ticks: odd.note(cpu_ticks, || malformed(EXPECTED_TIMES, odd_time)),
        start_ticks: odd.note(start, || malformed(EXPECTED_START, start_word)),
        resident_pages: odd.note(resident, || malformed(EXPECTED_RESIDENT, resident_word)),
    })
}

fn state_in(field: &[u8]) -> Option<usize> {
    match field {
        &[letter] => state(letter),
        _ => None,
    }
}

/// The name, and what comes after it.
fn name(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let open = line.iter().position(|&byte| byte == b'(')?;
    let close = line.iter().rposition(|&byte| byte == b')')?;
    let pid = line.get(..open)?.strip_suffix(b" ")?;
    decimal(pid)?;
    Some((line.get(open + 1..close)?, line.get(close + 1..)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::testing;
    use proptest::prelude::*;

    const KERNELS: [&str; 3] = ["6.1-qemu", "6.12-qemu", "6.18-firecracker"];

    fn directory(kernel: &str) -> std::path::PathBuf {
        testing::captured(kernel).path("/proc")
    }

    fn captured() -> impl Iterator<Item = (u32, Vec<u8>)> {
        let entries = KERNELS
            .into_iter()
            .flat_map(|kernel| std::fs::read_dir(directory(kernel)).unwrap());
        entries.filter_map(|entry| {
            let entry = entry.unwrap();
            let pid = entry.file_name().to_str()?.parse().ok()?;
            Some((pid, std::fs::read(entry.path().join("stat")).unwrap()))
        })
    }

    fn whole(text: &[u8]) -> Process<'_> {
        let mut odd = Odd::default();
        let process = parse(text, &mut odd).unwrap();
        assert_eq!(odd, Odd::default());
        process
    }

    #[test]
    fn a_process_of_each_kernel() {
        for (kernel, cpu_ticks, start_ticks, resident_pages) in [
            ("6.1-qemu", 2518, 43, 3089),
            ("6.12-qemu", 1407 + 2538, 41, 3577),
            ("6.18-firecracker", 37, 1_295_192, 3454),
        ] {
            let text = std::fs::read(directory(kernel).join("1/stat")).unwrap();
            let process = whole(&text);
            assert_eq!(
                (process.name, process.state),
                (&b"systemd"[..], state(b'S'))
            );
            let found = (
                process.cpu_ticks,
                process.start_ticks,
                process.resident_pages,
            );
            let expected = (Some(cpu_ticks), Some(start_ticks), Some(resident_pages));
            assert_eq!(found, expected, "{kernel}");
        }
    }

    #[test]
    fn captured_processes_are_as_procfs_reads_them() {
        let mut seen = 0;
        for (pid, text) in captured() {
            let process = whole(&text);
            let other: procfs_core::process::Stat =
                procfs_core::FromRead::from_read(&text[..]).unwrap();
            // Of names that are not UTF-8 it keeps what is.
            let name = String::from_utf8_lossy(process.name);
            assert_eq!(name, other.comm, "{pid}");
            assert_eq!(process.state, state(u8::try_from(other.state).unwrap()));
            assert_eq!(parse_state(&text, &mut Odd::default()), Ok(process.state));
            assert_eq!(process.cpu_ticks, Some(other.utime + other.stime));
            assert_eq!(process.start_ticks, Some(other.starttime));
            assert_eq!(process.resident_pages, Some(other.rss));
            seen += 1;
        }
        assert_eq!(seen, 50 + 50 + 44);
    }

    #[test]
    fn names_may_be_anything() {
        let names: Vec<_> = captured()
            .map(|(_, text)| whole(&text).name.to_vec())
            .collect();
        for name in [
            &b") S 1 (a b"[..],
            b"new\nline",
            b"not \xff UTF-8",
            b"back\\slash",
            b"(((",
        ] {
            let count = names.iter().filter(|other| *other == name).count();
            assert_eq!(count, KERNELS.len(), "{}", name.escape_ascii());
        }
    }

    #[test]
    fn every_letter_has_one_state() {
        let named = |letter| state(letter).map(|index| STATES[index]);
        for (letter, name) in [
            (b'R', "running"),
            (b'S', "sleeping"),
            (b'D', "uninterruptible"),
            (b'T', "stopped"),
            (b't', "traced"),
            (b'Z', "zombie"),
            (b'I', "idle"),
            (b'X', "dead"),
            (b'x', "dead"),
            (b'P', "parked"),
        ] {
            assert_eq!(named(letter), Some(name));
        }
        assert_eq!(named(b'W'), None);
    }

    const WHOLE: &str = "7 (a) S 1 7 7 0 -1 0 0 0 0 0 11 22 0 0 20 0 1 0 333 4096 44 5\n";

    #[test]
    fn fields_are_counted_right() {
        assert_eq!(
            whole(WHOLE.as_bytes()),
            Process {
                name: b"a",
                state: state(b'S'),
                cpu_ticks: Some(33),
                start_ticks: Some(333),
                resident_pages: Some(44)
            }
        );
    }

    #[test]
    fn what_makes_no_sense_costs_itself_alone_and_is_named() {
        let good = whole(WHOLE.as_bytes());
        for (text, expected) in [
            (WHOLE.replace(" S ", " SS "), EXPECTED_STATE),
            (WHOLE.replace(" S ", " ? "), EXPECTED_STATE),
            (WHOLE.replace(" 11 ", " -11 "), EXPECTED_TIMES),
            (WHOLE.replace(" 11 ", " 1844674407370 "), EXPECTED_TIMES),
            (WHOLE.replace(" 22 ", " 1844674407370 "), EXPECTED_TIMES),
            (WHOLE.replace(" 333 ", " x "), EXPECTED_START),
            (WHOLE.replace(" 333 ", " 1844674407370 "), EXPECTED_START),
            (WHOLE.replace(" 44 5", " -44 5"), EXPECTED_RESIDENT),
            (
                WHOLE.replace(" 44 5", " 18446744073709551572 5"),
                EXPECTED_RESIDENT,
            ),
            (WHOLE.replace(" 44 5", " 4\u{664} 5"), EXPECTED_RESIDENT),
            (WHOLE.replace(" 4096 44 5", ""), EXPECTED_RESIDENT),
            (WHOLE.trim_end().to_owned(), EXPECTED_END),
        ] {
            let mut odd = Odd::default();
            let process = parse(text.as_bytes(), &mut odd).unwrap();
            let keep = |value: Option<u64>, of| value.filter(|_| expected != of);
            let left = Process {
                state: good.state.filter(|_| expected != EXPECTED_STATE),
                cpu_ticks: keep(good.cpu_ticks, EXPECTED_TIMES),
                start_ticks: keep(good.start_ticks, EXPECTED_START),
                resident_pages: keep(good.resident_pages, EXPECTED_RESIDENT),
                ..good
            };
            assert_eq!(process, left, "{text}");
            let named: Vec<_> = odd.named().iter().map(|one| one.expected).collect();
            assert_eq!(named, [expected], "{text}");
        }
        let mut odd = Odd::default();
        let cut = parse(b"7 (a) S 1 7", &mut odd).unwrap();
        assert_eq!(
            (cut.state, cut.cpu_ticks, cut.resident_pages),
            (good.state, None, None)
        );
    }

    #[test]
    fn a_text_without_a_name_is_malformed() {
        for text in [
            String::new(),
            "\n".to_owned(),
            WHOLE.replace("7 (a)", "7 a"),
            WHOLE.replace("7 (a)", "x (a)"),
            WHOLE.replace("7 (a)", "7 )a("),
        ] {
            for error in [
                parse(text.as_bytes(), &mut Odd::default()).err(),
                parse_state(text.as_bytes(), &mut Odd::default()).err(),
            ] {
                assert_eq!(error.unwrap().expected, EXPECTED_NAME);
            }
        }
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(text in proptest::collection::vec(any::<u8>(), 0..128)) {
            let _ = (parse(&text, &mut Odd::default()), parse_state(&text, &mut Odd::default()));
        }

        #[test]
        fn random_bytes_as_a_name_change_nothing_else(
            name in proptest::collection::vec(any::<u8>(), 0..64)
        ) {
            let text = [b"7 (", &name[..], &WHOLE.as_bytes()[4..]].concat();
            let process = whole(&text);
            prop_assert_eq!(process.name, &name[..]);
            prop_assert_eq!((process.cpu_ticks, process.resident_pages), (Some(33), Some(44)));
        }
    }
}
