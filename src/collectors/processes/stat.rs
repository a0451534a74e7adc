//! One process, out of the text of /proc/PID/stat (`proc_pid_stat(5)`).
//!
//! The name of a process is whatever it likes: blanks, newlines, parentheses, any bytes. It
//! ends at the last parenthesis, behind which the kernel prints only a letter and numbers.

use crate::collectors::{
    error::Malformed,
    lines::EXPECTED_END,
    text::{decimal, fields},
};

const EXPECTED_NAME: &str = "PID (NAME) of a process";
const EXPECTED_STATE: &str = "the letter of a state behind the name";
const EXPECTED_TIMES: &str = "the CPU times as fields 14 and 15";
const EXPECTED_START: &str = "the time of its start as field 22";
const EXPECTED_RESIDENT: &str = "the resident pages as field 24";

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
#[must_use]
pub fn state(letter: u8) -> Option<usize> {
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

/// What is reported of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process<'t> {
    /// Its name, as it likes.
    pub name: &'t [u8],
    /// The letter of its state.
    pub state: u8,
    /// The CPU time of its threads in user and kernel mode, in clock ticks.
    pub cpu_ticks: u64,
    /// When it began, in clock ticks after boot: another process of the same PID began at
    /// another time.
    pub start_ticks: u64,
    /// Resident memory, in pages.
    pub resident_pages: u64,
}

/// A process out of the text of /proc/PID/stat.
pub fn parse(text: &[u8]) -> Result<Process<'_>, Malformed> {
    let malformed = |expected| Malformed::new(1, expected, text);
    let line = text
        .strip_suffix(b"\n")
        .ok_or_else(|| malformed(EXPECTED_END))?;
    let (name, rest) = name(line).ok_or_else(|| malformed(EXPECTED_NAME))?;
    let mut fields = fields(rest);
    let &[state] = fields.next().unwrap_or_default() else {
        return Err(malformed(EXPECTED_STATE));
    };
    // The state is field 3, and `nth` counts what it skips.
    let user = fields.nth(14 - 4).and_then(decimal);
    let system = fields.next().and_then(decimal);
    let (Some(user), Some(system)) = (user, system) else {
        return Err(malformed(EXPECTED_TIMES));
    };
    let start = fields.nth(22 - 16).and_then(decimal);
    let resident = fields.nth(1).and_then(decimal);
    Ok(Process {
        name,
        state,
        cpu_ticks: user.saturating_add(system),
        start_ticks: start.ok_or_else(|| malformed(EXPECTED_START))?,
        resident_pages: resident.ok_or_else(|| malformed(EXPECTED_RESIDENT))?,
    })
}

/// The name, and what is behind it.
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
    use proptest::prelude::*;

    const KERNELS: [&str; 3] = ["6.1-qemu", "6.12-qemu", "6.18-firecracker"];

    fn directory(kernel: &str) -> std::path::PathBuf {
        let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/proc");
        std::path::Path::new(fixtures).join(kernel).join("proc")
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

    #[test]
    fn a_process_of_each_kernel() {
        for (kernel, cpu_ticks, start_ticks, resident_pages) in [
            ("6.1-qemu", 2518, 43, 3089),
            ("6.12-qemu", 1407 + 2538, 41, 3577),
            ("6.18-firecracker", 37, 1_295_192, 3454),
        ] {
            let text = std::fs::read(directory(kernel).join("1/stat")).unwrap();
            let process = parse(&text).unwrap();
            assert_eq!((process.name, process.state), (&b"systemd"[..], b'S'));
            let found = (
                process.cpu_ticks,
                process.start_ticks,
                process.resident_pages,
            );
            assert_eq!(found, (cpu_ticks, start_ticks, resident_pages), "{kernel}");
        }
    }

    #[test]
    fn captured_processes_are_as_procfs_reads_them() {
        let mut seen = 0;
        for (pid, text) in captured() {
            let process = parse(&text).unwrap();
            let other: procfs_core::process::Stat =
                procfs_core::FromRead::from_read(&text[..]).unwrap();
            // Of names that are not UTF-8 it keeps what is.
            let name = String::from_utf8_lossy(process.name);
            assert_eq!(name, other.comm, "{pid}");
            assert_eq!(char::from(process.state), other.state);
            assert_eq!(process.cpu_ticks, other.utime + other.stime);
            assert_eq!(process.start_ticks, other.starttime);
            assert_eq!(process.resident_pages, other.rss);
            seen += 1;
        }
        assert_eq!(seen, 50 + 50 + 44);
    }

    #[test]
    fn names_may_be_anything() {
        let names: Vec<_> = captured()
            .map(|(_, text)| parse(&text).unwrap().name.to_vec())
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
            parse(WHOLE.as_bytes()),
            Ok(Process {
                name: b"a",
                state: b'S',
                cpu_ticks: 33,
                start_ticks: 333,
                resident_pages: 44
            })
        );
    }

    #[test]
    fn what_is_malformed_is_named() {
        for (text, expected) in [
            (String::new(), EXPECTED_END),
            (WHOLE.trim_end().to_owned(), EXPECTED_END),
            ("\n".to_owned(), EXPECTED_NAME),
            (WHOLE.replace("7 (a)", "7 a"), EXPECTED_NAME),
            (WHOLE.replace("7 (a)", "x (a)"), EXPECTED_NAME),
            (WHOLE.replace("7 (a)", "7 )a("), EXPECTED_NAME),
            (WHOLE.replace(" S ", " SS "), EXPECTED_STATE),
            ("7 (a)\n".to_owned(), EXPECTED_STATE),
            (WHOLE.replace(" 11 ", " -11 "), EXPECTED_TIMES),
            ("7 (a) S 1 7\n".to_owned(), EXPECTED_TIMES),
            (WHOLE.replace(" 333 ", " x "), EXPECTED_START),
            (WHOLE.replace(" 44 5", " 4\u{664} 5"), EXPECTED_RESIDENT),
            (WHOLE.replace(" 4096 44 5", ""), EXPECTED_RESIDENT),
        ] {
            assert_eq!(parse(text.as_bytes()).unwrap_err().expected, expected);
        }
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(text in proptest::collection::vec(any::<u8>(), 0..128)) {
            let _ = parse(&text);
        }

        #[test]
        fn random_bytes_as_a_name_change_nothing_else(
            name in proptest::collection::vec(any::<u8>(), 0..64)
        ) {
            let text = [b"7 (", &name[..], &WHOLE.as_bytes()[4..]].concat();
            let process = parse(&text).unwrap();
            prop_assert_eq!(process.name, &name[..]);
            prop_assert_eq!((process.cpu_ticks, process.resident_pages), (33, 44));
        }
    }
}
