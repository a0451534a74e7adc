//! The texts of a cgroup's files as numbers (cgroup-v2.rst in the kernel's documentation).
//!
//! Pure: bytes in, values out. Keys that a kernel or a cgroup lacks are None; lines of
//! other keys are not looked into.

use super::super::{
    error::Malformed,
    odd::Odd,
    text::{
        EXPECTED_END, MAX_EVENTS, MAX_TASKS, MICROSECONDS, count, fields, lines, max_sum_of_times,
        max_time, split_once,
    },
};

const EXPECTED_BYTES: &str = "one number up to 9223372036854775807 and the end of the line";
const EXPECTED_TASKS: &str = "one number up to 4194304 and the end of the line";
const EXPECTED_PAIR: &str =
    "NAME NUMBER, of bytes or events up to 9223372036854775807, of time up to 548 years";
const EXPECTED_USAGE: &str = "a line usage_usec";
const EXPECTED_IO: &str = "a device, then NAME=NUMBER ..., numbers up to 9223372036854775807";
const EXPECTED_PRESSURE: &str =
    "some or full, averages, and total=NUMBER up to 9223372036854775 (292 years)";

/// Most bytes of anything: a larger number is one below 0, as the kernel's counts of memory
/// may be for a while.
const MAX_BYTES: u64 = i64::MAX as u64;

/// `cpu.stat`, in microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CpuStat {
    /// `usage_usec`; every cgroup has it.
    pub usage: Option<u64>,
    /// `user_usec`
    pub user: Option<u64>,
    /// `system_usec`
    pub system: Option<u64>,
    /// `throttled_usec`, where the cgroup has the cpu controller.
    pub throttled: Option<u64>,
}

/// `memory.stat`, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MemoryStat {
    /// `anon`
    pub anon: Option<u64>,
    /// `file`
    pub file: Option<u64>,
}

/// `io.stat`, summed over the devices; None for a sum of which a part makes no sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IoStat {
    /// `rbytes`
    pub read_bytes: Option<u64>,
    /// `wbytes`
    pub write_bytes: Option<u64>,
    /// `rios`
    pub reads: Option<u64>,
    /// `wios`
    pub writes: Option<u64>,
}

/// The totals of a `.pressure` file, in microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pressure {
    /// Of the line `some`.
    pub some: Option<u64>,
    /// Of the line `full`.
    pub full: Option<u64>,
}

/// The number of a file that has but one, and is about memory, such as `memory.current`.
pub fn bytes(text: &[u8], _odd: &mut Odd) -> Result<u64, Malformed> {
    number(text, MAX_BYTES, EXPECTED_BYTES)
}

/// `pids.current`.
pub fn tasks(text: &[u8], _odd: &mut Odd) -> Result<u64, Malformed> {
    number(text, MAX_TASKS, EXPECTED_TASKS)
}

fn number(text: &[u8], most: u64, expected: &'static str) -> Result<u64, Malformed> {
    text.strip_suffix(b"\n")
        .and_then(|line| count(line, most))
        .ok_or_else(|| Malformed::new(1, expected, text.trim_ascii_end()))
}

/// `cpu.stat`.
pub fn cpu_stat(text: &[u8], odd: &mut Odd) -> Result<CpuStat, Malformed> {
    let names = [
        &b"usage_usec"[..],
        b"user_usec",
        b"system_usec",
        b"throttled_usec",
    ];
    let ([usage, user, system, throttled], last) =
        flat_keyed(text, names, max_sum_of_times(MICROSECONDS), true, odd);
    let found = CpuStat {
        usage,
        user,
        system,
        throttled,
    };
    if found == CpuStat::default() {
        let first = odd.take_first();
        return Err(first.unwrap_or_else(|| Malformed::new(last + 1, EXPECTED_USAGE, b"")));
    }
    Ok(found)
}

/// The beginning of `memory.stat`, which has `anon` and `file` first in every kernel with cgroup
/// v2: it may be cut off anywhere.
pub fn memory_stat(head: &[u8], odd: &mut Odd) -> Result<MemoryStat, Malformed> {
    let ([anon, file], _) = flat_keyed(head, [b"anon", b"file"], MAX_BYTES, false, odd);
    Ok(MemoryStat { anon, file })
}

/// `oom_kill` of `memory.events`; None for a kernel before 4.13.
pub fn oom_kills(text: &[u8], odd: &mut Odd) -> Result<Option<u64>, Malformed> {
    let ([kills], _) = flat_keyed(text, [b"oom_kill"], MAX_EVENTS, true, odd);
    Ok(kills)
}

/// `io.stat`; an empty one is that of a cgroup that has done nothing yet.
///
/// Devices without numbers are listed too, each on a line (6.1 and 6.12) or, before that, one after
/// the other without a newline. A device that no longer has a name is called `(unknown)`: one of
/// ZFS, a path of a multipath device. A sum is left out if a part of it makes no sense or is
/// missing: without that part, the sum would go back.
pub fn io_stat(text: &[u8], odd: &mut Odd) -> Result<IoStat, Malformed> {
    let end = text.iter().rposition(|&byte| byte == b'\n');
    let (whole, rest) = text.split_at(end.map_or(0, |end| end + 1));
    let mut sums = [Some(0_u64); IO_KEYS.len()];
    let mut number = 0;
    for line in lines(whole).flatten() {
        number = line.number;
        let malformed = || line.malformed(EXPECTED_IO);
        match row(line.text) {
            Row::Values(found) => {
                for ((sum, value), key) in sums.iter_mut().zip(found).zip(IO_KEYS) {
                    let is_its = |field: &&[u8]| field.starts_with(key);
                    let value = odd.note(value, || {
                        let word = fields(line.text).find(is_its);
                        line.malformed_word(EXPECTED_IO, word)
                    });
                    *sum = sum.zip(value).map(|(sum, value)| sum.wrapping_add(value));
                }
            }
            // Nothing that would be missing in a sum.
            Row::Words => odd.add(malformed()),
            // It is unknown whose values these are.
            Row::Mixed => {
                odd.add(malformed());
                sums = [None; IO_KEYS.len()];
            }
        }
    }
    if rest.contains(&b'=') {
        odd.add(Malformed::new(number + 1, EXPECTED_END, rest));
        sums = [None; IO_KEYS.len()];
    }
    let [read_bytes, write_bytes, reads, writes] = sums;
    Ok(IoStat {
        read_bytes,
        write_bytes,
        reads,
        writes,
    })
}

/// What is reported of `io.stat`, in the order of [`IoStat`].
const IO_KEYS: [&[u8]; 4] = [b"rbytes", b"wbytes", b"rios", b"wios"];

/// What a line of `io.stat` says.
enum Row {
    /// The values of one device: 0 where it has none of them. None within for one that makes no
    /// sense, or is not there while others are.
    Values([Option<u64>; IO_KEYS.len()]),
    /// No value, and something that is not a device either.
    Words,
    /// Values, and among them something that is neither a device nor a value.
    Mixed,
}

/// MAJOR:MINOR, or (unknown).
fn is_device(field: &[u8]) -> bool {
    field.contains(&b':') || field.starts_with(b"(")
}

fn row(line: &[u8]) -> Row {
    let mut values = [None; IO_KEYS.len()];
    let (mut any, mut named, mut other) = (false, false, false);
    for (at, field) in fields(line).enumerate() {
        let Some((name, value)) = split_once(field, b'=') else {
            // In front of values it is a device, whatever it is called.
            other |= at > 0 && !is_device(field);
            named |= !is_device(field);
            continue;
        };
        let place = IO_KEYS.iter().position(|key| *key == name);
        if let Some(place) = place.and_then(|at| values.get_mut(at)) {
            *place = count(value, MAX_EVENTS);
            any = true;
        }
    }
    match any {
        _ if other && any => Row::Mixed,
        true => Row::Values(values),
        false if named => Row::Words,
        false => Row::Values(values.map(|_| Some(0))),
    }
}

/// `cpu.pressure`, `memory.pressure` or `io.pressure` (psi.rst in the kernel's
/// documentation).
pub fn pressure(text: &[u8], odd: &mut Odd) -> Result<Pressure, Malformed> {
    let mut pressure = Pressure::default();
    for line in lines(text) {
        let Some(line) = odd.keep(line) else {
            break;
        };
        let malformed = || line.malformed(EXPECTED_PRESSURE);
        let mut fields = fields(line.text);
        let total = match fields.next() {
            Some(b"some") => &mut pressure.some,
            Some(b"full") => &mut pressure.full,
            _ => {
                odd.add(malformed());
                continue;
            }
        };
        let value = fields.find_map(|field| field.strip_prefix(b"total="));
        let most = max_time(MICROSECONDS);
        *total = odd.note(value.and_then(|value| count(value, most)), || {
            line.malformed_word(EXPECTED_PRESSURE, value)
        });
    }
    Ok(pressure)
}

/// The values of the named lines, `most` at most, and the number of the last line. Lines after the
/// last wanted one are ignored. A line without a newline is odd if the text is `whole`.
fn flat_keyed<const N: usize>(
    text: &[u8],
    names: [&[u8]; N],
    most: u64,
    whole: bool,
    odd: &mut Odd,
) -> ([Option<u64>; N], usize) {
    let mut values = [None; N];
    let mut met = 0;
    let mut last = 0;
    for line in lines(text) {
        let line = match line {
            Ok(line) => line,
            Err(cut) => {
                if whole {
                    odd.add(cut);
                }
                break;
            }
        };
        last = line.number;
        let (name, value) = split_once(line.text, b' ').unwrap_or((line.text, b""));
        let wanted = names.iter().position(|wanted| *wanted == name);
        if let Some(slot) = wanted.and_then(|index| values.get_mut(index)) {
            *slot = odd.note(count(value, most), || line.malformed(EXPECTED_PAIR));
            met += 1;
            if met == N {
                break;
            }
        }
    }
    (values, last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::testing;
    use proptest::prelude::*;
    use std::fs;

    fn captured(kernel: &str, file: &str) -> Vec<u8> {
        let path = testing::captured(kernel).path("/sys/fs/cgroup").join(file);
        fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    type Parser<T> = fn(&[u8], &mut Odd) -> Result<T, Malformed>;

    /// What is read, and what is wrong, by line.
    fn parsed<T>(
        parse: Parser<T>,
        text: &[u8],
    ) -> (Result<T, Malformed>, Vec<(usize, &'static str)>) {
        let mut odd = Odd::default();
        let found = parse(text, &mut odd);
        let named = odd.named().iter();
        (found, named.map(|one| (one.line, one.expected)).collect())
    }

    /// What is read where all makes sense.
    fn whole<T>(parse: Parser<T>, text: &[u8]) -> T {
        let (found, wrong) = parsed(parse, text);
        assert_eq!(wrong, [], "{}", text.escape_ascii());
        found.unwrap()
    }

    #[test]
    fn cpu_stat_of_three_kernels() {
        let stat = |kernel| {
            let text = captured(kernel, "system.slice/burner.service/cpu.stat");
            whole(cpu_stat, &text)
        };
        assert_eq!(
            stat("6.1-qemu"),
            CpuStat {
                usage: Some(4_751_113),
                user: Some(3_665_833),
                system: Some(1_085_279),
                throttled: Some(38_880_071),
            }
        );
        assert!(stat("6.12-qemu").throttled.unwrap() > 1_000_000);
        // Without the cpu controller.
        assert_eq!(
            stat("6.18-firecracker"),
            CpuStat {
                usage: Some(4_480_746),
                user: Some(4_430_158),
                system: Some(50_588),
                throttled: None,
            }
        );
    }

    #[test]
    fn the_memory_of_a_service_that_was_out_of_it() {
        let file =
            |name: &str| captured("6.1-qemu", &format!("system.slice/survivor.service/{name}"));
        assert_eq!(whole(bytes, &file("memory.current")), 184_320);
        assert_eq!(whole(bytes, &file("memory.peak")), 16_777_216);
        assert_eq!(whole(bytes, &file("memory.swap.current")), 0);
        assert_eq!(whole(tasks, &file("pids.current")), 1);
        assert_eq!(whole(oom_kills, &file("memory.events")), Some(1));
        let stat = MemoryStat {
            anon: Some(102_400),
            file: Some(8192),
        };
        assert_eq!(whole(memory_stat, &file("memory.stat")), stat);
    }

    #[test]
    fn the_beginning_of_memory_stat_is_enough() {
        let text = b"anon 4096\nfile 8192\nkern";
        for length in 0..text.len() {
            let stat = whole(memory_stat, text.get(..length).unwrap());
            assert_eq!(stat.anon, (length >= 10).then_some(4096));
            assert_eq!(stat.file, (length >= 20).then_some(8192));
        }
    }

    #[test]
    fn io_stat_is_summed_over_devices() {
        assert_eq!(
            whole(io_stat, &captured("6.1-qemu", "system.slice/io.stat")),
            IoStat {
                read_bytes: Some(7_782_400 + 352_321_536),
                write_bytes: Some(2 * 16_384 + 1_298_432 + 44_040_192),
                reads: Some(135 + 5376),
                writes: Some(13 + 13 + 141 + 21),
            }
        );
        let text = captured("6.12-qemu", "system.slice/reader.service/io.stat");
        assert_eq!(
            whole(io_stat, &text),
            IoStat {
                read_bytes: Some(419_430_400),
                reads: Some(6400),
                write_bytes: Some(0),
                writes: Some(0),
            }
        );
        let nothing = IoStat {
            read_bytes: Some(0),
            write_bytes: Some(0),
            reads: Some(0),
            writes: Some(0),
        };
        assert_eq!(whole(io_stat, b""), nothing);
    }

    #[test]
    fn devices_without_values_add_nothing() {
        for kernel in ["6.1-qemu", "6.12-qemu"] {
            let text = captured(kernel, "io.stat");
            assert!(text.windows(5).any(|bare| bare == b"\n7:1 "));
            assert!(whole(io_stat, &text).reads > Some(0));
        }
        let values = "259:0 rbytes=1 wbytes=2 rios=3 wios=4 cost.usage=x";
        for text in [
            format!("7:1 7:0 {values}\n"),
            format!("{values}\n7:1 "),
            format!("7:1 \n7:0 \n{values}\n"),
            format!("(unknown) \n(unknown) {}\n", &values[6..]),
            format!("8:0 cost.usage=x\n{values}\n"),
        ] {
            let sum = IoStat {
                read_bytes: Some(1),
                write_bytes: Some(2),
                reads: Some(3),
                writes: Some(4),
            };
            assert_eq!(whole(io_stat, text.as_bytes()), sum, "{text:?}");
        }
    }

    #[test]
    fn a_device_without_a_name_is_part_of_the_sums() {
        let row = "rbytes=4096 wbytes=8192 rios=1 wios=2 dbytes=0 dios=0";
        let text = format!("259:1 {row}\n(unknown) {row}\n");
        let sum = IoStat {
            read_bytes: Some(8192),
            write_bytes: Some(16_384),
            reads: Some(2),
            writes: Some(4),
        };
        assert_eq!(whole(io_stat, text.as_bytes()), sum);
    }

    #[test]
    fn pressure_is_that_of_both_lines() {
        let text = captured("6.1-qemu", "system.slice/survivor.service/io.pressure");
        let expected = Pressure {
            some: Some(1053),
            full: Some(1053),
        };
        assert_eq!(whole(pressure, &text), expected);
        let text = captured(
            "6.18-firecracker",
            "system.slice/burner.service/cpu.pressure",
        );
        let expected = Pressure {
            some: Some(11_346_787),
            full: Some(11_346_787),
        };
        assert_eq!(whole(pressure, &text), expected);
        // cpu.pressure before 5.13.
        let some = whole(
            pressure,
            b"some avg10=0.00 avg60=0.00 avg300=0.00 total=7\n",
        );
        assert_eq!((some.some, some.full), (Some(7), None));
    }

    #[test]
    fn a_file_that_makes_no_sense_is_named() {
        for text in [
            &b""[..],
            b"1",
            b"max\n",
            b"-1\n",
            b"1\n2\n",
            b"\n",
            b"9223372036854775808\n",
        ] {
            let fault = parsed(bytes, text).0.unwrap_err();
            assert_eq!((fault.line, fault.expected), (1, EXPECTED_BYTES));
        }
        assert!(parsed(tasks, b"4194305\n").0.is_err());
        for (text, line, expected) in [
            (&b""[..], 1, EXPECTED_USAGE),
            (b"nr_periods 1\n", 2, EXPECTED_USAGE),
            (b"usage_usec\n", 1, EXPECTED_PAIR),
            (b"usage_u", 1, EXPECTED_END),
        ] {
            let fault = parsed(cpu_stat, text).0.unwrap_err();
            assert_eq!((fault.line, fault.expected), (line, expected));
        }
    }

    #[test]
    fn a_value_that_makes_no_sense_costs_itself_alone_and_is_named() {
        let stat = |usage, user| CpuStat {
            usage,
            user,
            ..CpuStat::default()
        };
        for (text, left, line, expected) in [
            (
                &b"usage_usec 1\nuser_usec x\n"[..],
                stat(Some(1), None),
                2,
                EXPECTED_PAIR,
            ),
            (
                b"usage_usec -1\nuser_usec 2\n",
                stat(None, Some(2)),
                1,
                EXPECTED_PAIR,
            ),
            (
                b"usage_usec 1\nuser_u",
                stat(Some(1), None),
                2,
                EXPECTED_END,
            ),
        ] {
            assert_eq!(parsed(cpu_stat, text), (Ok(left), vec![(line, expected)]));
        }
        // -1 us, and -1 ns in us.
        for below in ["18446744073709551615", "18446744073709551"] {
            let text = format!("usage_usec {below}\nuser_usec 7\n");
            let left = CpuStat {
                user: Some(7),
                ..CpuStat::default()
            };
            let found = parsed(cpu_stat, text.as_bytes());
            assert_eq!(found, (Ok(left), vec![(1, EXPECTED_PAIR)]));
            let text = format!("some avg10=0.00 total={below}\nfull avg10=0.00 total=7\n");
            let left = Pressure {
                some: None,
                full: Some(7),
            };
            let found = parsed(pressure, text.as_bytes());
            assert_eq!(found, (Ok(left), vec![(1, EXPECTED_PRESSURE)]));
        }

        let stat = MemoryStat {
            anon: None,
            file: Some(2),
        };
        let found = parsed(memory_stat, b"anon 18446744073709551615\nfile 2\n");
        assert_eq!(found, (Ok(stat), vec![(1, EXPECTED_PAIR)]));

        for (text, line, expected) in [
            (
                &b"some avg10=0.00\nfull total=1\n"[..],
                1,
                EXPECTED_PRESSURE,
            ),
            (b"some total=1.5\nfull total=1\n", 1, EXPECTED_PRESSURE),
            (b"all total=1\nfull total=1\n", 1, EXPECTED_PRESSURE),
            (b"full total=1\nsome total=1", 2, EXPECTED_END),
        ] {
            let left = Pressure {
                some: None,
                full: Some(1),
            };
            assert_eq!(parsed(pressure, text), (Ok(left), vec![(line, expected)]));
        }
        let found = parsed(oom_kills, b"oom_kill 1 2\n");
        assert_eq!(found, (Ok(None), vec![(1, EXPECTED_PAIR)]));
        assert_eq!(whole(oom_kills, b"low 0\n"), None);
    }

    #[test]
    fn what_makes_no_sense_in_io_stat_costs_its_sum_alone_and_is_named() {
        let row = "8:0 rbytes=1 wbytes=2 rios=3 wios=4\n";
        let all = IoStat {
            read_bytes: Some(2),
            write_bytes: Some(4),
            reads: Some(6),
            writes: Some(8),
        };
        let without_reads = IoStat { reads: None, ..all };
        let none = IoStat {
            read_bytes: None,
            write_bytes: None,
            reads: None,
            writes: None,
        };
        for (from, to, left, expected) in [
            ("rios=3", "rios=-3", without_reads, EXPECTED_IO),
            (
                "rios=3",
                "rios=18446744073709551615",
                without_reads,
                EXPECTED_IO,
            ),
            ("rios=3", "rios=", without_reads, EXPECTED_IO),
            ("rios=3 ", "", without_reads, EXPECTED_IO),
            ("rios=3", "xios=3", without_reads, EXPECTED_IO),
            ("rios=3", "junk", none, EXPECTED_IO),
            (" wios=4\n", "", none, EXPECTED_END),
        ] {
            let text = format!("{row}{}", row.replace(from, to));
            let found = parsed(io_stat, text.as_bytes());
            assert_eq!(found, (Ok(left), vec![(2, expected)]), "{to}");
        }
        for words in ["junk", "junk 8:16", "8:16 junk"] {
            let text = format!("{row}{words}\n{row}");
            let found = parsed(io_stat, text.as_bytes());
            assert_eq!(found, (Ok(all), vec![(2, EXPECTED_IO)]), "{words}");
        }
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(text in "[a-z0-9_=: \n]{0,64}|.{0,64}") {
            let text = text.as_bytes();
            let _ = (parsed(bytes, text), parsed(tasks, text), parsed(cpu_stat, text));
            let _ = (parsed(memory_stat, text), parsed(oom_kills, text));
            let _ = (parsed(io_stat, text), parsed(pressure, text));
        }
    }
}
