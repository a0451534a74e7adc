//! The texts of a cgroup's files as numbers (cgroup-v2.rst in the kernel's documentation).
//!
//! Pure: bytes in, values out. Keys that a kernel or a cgroup lacks are None; lines of
//! other keys are not looked into.

use super::super::{
    error::Malformed,
    lines::EXPECTED_END,
    text::{decimal, fields, next_line, split_once},
};

const EXPECTED_NUMBER: &str = "one number and the end of the line";
const EXPECTED_PAIR: &str = "NAME NUMBER";
const EXPECTED_USAGE: &str = "a line usage_usec";
const EXPECTED_IO: &str = "MAJOR:MINOR NAME=NUMBER ...";
const EXPECTED_PRESSURE: &str = "some or full, averages, and total=NUMBER";

/// `cpu.stat`, in microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CpuStat {
    /// `usage_usec`; there is no cgroup without it.
    pub usage: u64,
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

/// `io.stat`, summed over the devices.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct IoStat {
    /// `rbytes`
    pub read_bytes: u64,
    /// `wbytes`
    pub write_bytes: u64,
    /// `rios`
    pub reads: u64,
    /// `wios`
    pub writes: u64,
}

/// The totals of a `.pressure` file, in microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pressure {
    /// Of the line `some`.
    pub some: Option<u64>,
    /// Of the line `full`.
    pub full: Option<u64>,
}

/// The number of a file that has but one, such as `memory.current`.
pub fn number(text: &[u8]) -> Result<u64, Malformed> {
    text.strip_suffix(b"\n")
        .and_then(decimal)
        .ok_or_else(|| Malformed::new(1, EXPECTED_NUMBER, text.trim_ascii_end()))
}

/// `cpu.stat`.
pub fn cpu_stat(text: &[u8]) -> Result<CpuStat, Malformed> {
    let names = [
        &b"usage_usec"[..],
        b"user_usec",
        b"system_usec",
        b"throttled_usec",
    ];
    let ([usage, user, system, throttled], rest) = flat_keyed(text, names)?;
    if !rest.is_empty() {
        return Err(Malformed::new(lines(text), EXPECTED_END, rest));
    }
    let usage = usage.ok_or_else(|| Malformed::new(lines(text), EXPECTED_USAGE, b""))?;
    Ok(CpuStat {
        usage,
        user,
        system,
        throttled,
    })
}

/// The beginning of `memory.stat`, where `anon` and `file` stand since there is cgroup v2:
/// it may be cut off anywhere.
pub fn memory_stat(head: &[u8]) -> Result<MemoryStat, Malformed> {
    let ([anon, file], _) = flat_keyed(head, [b"anon", b"file"])?;
    Ok(MemoryStat { anon, file })
}

/// `oom_kill` of `memory.events`; None for a kernel before 4.13.
pub fn oom_kills(text: &[u8]) -> Result<Option<u64>, Malformed> {
    let ([kills], rest) = flat_keyed(text, [b"oom_kill"])?;
    if rest.is_empty() {
        Ok(kills)
    } else {
        Err(Malformed::new(lines(text), EXPECTED_END, rest))
    }
}

/// `io.stat`; an empty one is that of a cgroup that has done nothing yet.
///
/// Devices without numbers are named too, each on a line (6.1 and 6.12) or, before that,
/// one after the other with no newline behind them.
pub fn io_stat(text: &[u8]) -> Result<IoStat, Malformed> {
    let mut sum = IoStat::default();
    let mut rest = text;
    let mut line_number = 0;
    while let Some(line) = next_line(&mut rest) {
        line_number += 1;
        add_devices(line, &mut sum)
            .ok_or_else(|| Malformed::new(line_number, EXPECTED_IO, line))?;
    }
    if rest.contains(&b'=') {
        return Err(Malformed::new(line_number + 1, EXPECTED_END, rest));
    }
    add_devices(rest, &mut sum)
        .ok_or_else(|| Malformed::new(line_number + 1, EXPECTED_IO, rest))?;
    Ok(sum)
}

fn add_devices(line: &[u8], sum: &mut IoStat) -> Option<()> {
    for field in fields(line) {
        let Some((name, value)) = split_once(field, b'=') else {
            let (major, minor) = split_once(field, b':')?;
            let _ = (decimal(major)?, decimal(minor)?);
            continue;
        };
        let total = match name {
            b"rbytes" => &mut sum.read_bytes,
            b"wbytes" => &mut sum.write_bytes,
            b"rios" => &mut sum.reads,
            b"wios" => &mut sum.writes,
            _ => continue,
        };
        *total = total.wrapping_add(decimal(value)?);
    }
    Some(())
}

/// `cpu.pressure`, `memory.pressure` or `io.pressure` (psi.rst in the kernel's
/// documentation).
pub fn pressure(text: &[u8]) -> Result<Pressure, Malformed> {
    let mut pressure = Pressure::default();
    let mut rest = text;
    let mut line_number = 0;
    while let Some(line) = next_line(&mut rest) {
        line_number += 1;
        let mut fields = fields(line);
        let total = match fields.next() {
            Some(b"some") => &mut pressure.some,
            Some(b"full") => &mut pressure.full,
            _ => return Err(Malformed::new(line_number, EXPECTED_PRESSURE, line)),
        };
        let value = fields.find_map(|field| field.strip_prefix(b"total="));
        *total = Some(
            value
                .and_then(decimal)
                .ok_or_else(|| Malformed::new(line_number, EXPECTED_PRESSURE, line))?,
        );
    }
    if rest.is_empty() {
        Ok(pressure)
    } else {
        Err(Malformed::new(line_number + 1, EXPECTED_END, rest))
    }
}

/// The values of the named lines, and what no newline ends. No line is looked at behind the
/// last that is wanted.
fn flat_keyed<'t, const N: usize>(
    text: &'t [u8],
    names: [&[u8]; N],
) -> Result<([Option<u64>; N], &'t [u8]), Malformed> {
    let mut values = [None; N];
    let mut rest = text;
    let mut line_number = 0;
    while let Some(line) = next_line(&mut rest) {
        line_number += 1;
        let malformed = || Malformed::new(line_number, EXPECTED_PAIR, line);
        let (name, value) = split_once(line, b' ').ok_or_else(malformed)?;
        let wanted = names.iter().position(|wanted| *wanted == name);
        if let Some(slot) = wanted.and_then(|index| values.get_mut(index)) {
            *slot = Some(decimal(value).ok_or_else(malformed)?);
            if values.iter().all(Option::is_some) {
                return Ok((values, b""));
            }
        }
    }
    Ok((values, rest))
}

/// The number of the last line.
fn lines(text: &[u8]) -> usize {
    text.split_inclusive(|&byte| byte == b'\n').count().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::{fs, path::Path};

    fn captured(kernel: &str, file: &str) -> Vec<u8> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/fixtures/proc")
            .join(kernel)
            .join("sys/fs/cgroup")
            .join(file);
        fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    #[test]
    fn cpu_stat_of_three_kernels() {
        let stat = |kernel| cpu_stat(&captured(kernel, "system.slice/burner.service/cpu.stat"));
        assert_eq!(
            stat("6.1-qemu"),
            Ok(CpuStat {
                usage: 4_751_113,
                user: Some(3_665_833),
                system: Some(1_085_279),
                throttled: Some(38_880_071),
            })
        );
        assert!(stat("6.12-qemu").unwrap().throttled.unwrap() > 1_000_000);
        // Without the cpu controller.
        assert_eq!(
            stat("6.18-firecracker"),
            Ok(CpuStat {
                usage: 4_480_746,
                user: Some(4_430_158),
                system: Some(50_588),
                throttled: None,
            })
        );
    }

    #[test]
    fn the_memory_of_a_service_that_was_out_of_it() {
        let file =
            |name: &str| captured("6.1-qemu", &format!("system.slice/survivor.service/{name}"));
        assert_eq!(number(&file("memory.current")), Ok(184_320));
        assert_eq!(number(&file("memory.peak")), Ok(16_777_216));
        assert_eq!(number(&file("memory.swap.current")), Ok(0));
        assert_eq!(number(&file("pids.current")), Ok(1));
        assert_eq!(oom_kills(&file("memory.events")), Ok(Some(1)));
        let stat = MemoryStat {
            anon: Some(102_400),
            file: Some(8192),
        };
        assert_eq!(memory_stat(&file("memory.stat")), Ok(stat));
    }

    #[test]
    fn the_beginning_of_memory_stat_is_enough() {
        let text = b"anon 4096\nfile 8192\nkern";
        for length in 0..text.len() {
            let stat = memory_stat(text.get(..length).unwrap()).unwrap();
            assert_eq!(stat.anon, (length >= 10).then_some(4096));
            assert_eq!(stat.file, (length >= 20).then_some(8192));
        }
    }

    #[test]
    fn io_stat_is_summed_over_devices() {
        assert_eq!(
            io_stat(&captured("6.1-qemu", "system.slice/io.stat")),
            Ok(IoStat {
                read_bytes: 7_782_400 + 352_321_536,
                write_bytes: 2 * 16_384 + 1_298_432 + 44_040_192,
                reads: 135 + 5376,
                writes: 13 + 13 + 141 + 21,
            })
        );
        let reader = io_stat(&captured(
            "6.12-qemu",
            "system.slice/reader.service/io.stat",
        ));
        assert_eq!(
            reader,
            Ok(IoStat {
                read_bytes: 419_430_400,
                reads: 6400,
                ..IoStat::default()
            })
        );
        assert_eq!(io_stat(b""), Ok(IoStat::default()));
    }

    #[test]
    fn devices_without_values_add_nothing() {
        for kernel in ["6.1-qemu", "6.12-qemu"] {
            let text = captured(kernel, "io.stat");
            assert!(
                text.windows(5).any(|bare| bare == b"\n7:1 ") && io_stat(&text).unwrap().reads > 0
            );
        }
        let values = "259:0 rbytes=1 wbytes=2 rios=3 wios=4 cost.usage=x";
        for text in [
            format!("7:1 7:0 {values}\n"),
            format!("{values}\n7:1 "),
            format!("7:1 \n7:0 \n{values}\n"),
        ] {
            let sum = IoStat {
                read_bytes: 1,
                write_bytes: 2,
                reads: 3,
                writes: 4,
            };
            assert_eq!(io_stat(text.as_bytes()), Ok(sum), "{text:?}");
        }
    }

    #[test]
    fn pressure_is_that_of_both_lines() {
        assert_eq!(
            pressure(&captured(
                "6.1-qemu",
                "system.slice/survivor.service/io.pressure"
            )),
            Ok(Pressure {
                some: Some(1053),
                full: Some(1053),
            })
        );
        assert_eq!(
            pressure(&captured(
                "6.18-firecracker",
                "system.slice/burner.service/cpu.pressure"
            )),
            Ok(Pressure {
                some: Some(11_346_787),
                full: Some(11_346_787),
            })
        );
        // cpu.pressure before 5.13.
        let some = pressure(b"some avg10=0.00 avg60=0.00 avg300=0.00 total=7\n").unwrap();
        assert_eq!((some.some, some.full), (Some(7), None));
    }

    #[test]
    fn what_is_malformed_is_named() {
        let fault = |result: Result<(), Malformed>| {
            let fault = result.unwrap_err();
            (fault.line, fault.expected)
        };
        for text in [&b""[..], b"1", b"max\n", b"-1\n", b"1\n2\n", b"\n"] {
            assert_eq!(fault(number(text).map(drop)), (1, EXPECTED_NUMBER));
        }
        for (text, line, expected) in [
            (&b""[..], 1, EXPECTED_USAGE),
            (b"user_usec 1\n", 1, EXPECTED_USAGE),
            (b"usage_usec 1\nuser_usec x\n", 2, EXPECTED_PAIR),
            (b"usage_usec\n", 1, EXPECTED_PAIR),
            (b"usage_usec 1\nuser_u", 2, EXPECTED_END),
        ] {
            assert_eq!(fault(cpu_stat(text).map(drop)), (line, expected));
        }
        for text in [
            &b"259:0 rbytes=x\n"[..],
            b"259:0 rbytes=\n",
            b"sda rbytes=1\n",
            b"259: rbytes=1\n",
        ] {
            assert_eq!(fault(io_stat(text).map(drop)), (1, EXPECTED_IO));
        }
        assert_eq!(
            fault(io_stat(b"8:0 rios=1\n259:0 rbytes=1").map(drop)),
            (2, EXPECTED_END)
        );
        for text in [
            &b"some avg10=0.00\n"[..],
            b"some total=1.5\n",
            b"all total=1\n",
            b"\n",
        ] {
            assert_eq!(fault(pressure(text).map(drop)), (1, EXPECTED_PRESSURE));
        }
        assert_eq!(
            fault(pressure(b"some total=1\nfull total=1").map(drop)),
            (2, EXPECTED_END)
        );
        assert_eq!(
            fault(oom_kills(b"oom_kill 1 2\n").map(drop)),
            (1, EXPECTED_PAIR)
        );
        assert_eq!(oom_kills(b"low 0\n"), Ok(None));
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(text in "[a-z0-9_=: \n]{0,64}|.{0,64}") {
            let text = text.as_bytes();
            let _ = (number(text), cpu_stat(text), memory_stat(text), oom_kills(text));
            let _ = (io_stat(text), pressure(text));
        }
    }
}
