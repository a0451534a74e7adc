//! `mem.*` from /proc/meminfo (`proc_meminfo(5)`).
//!
//! The values go out in kB as the file has them. A field that this kernel lacks is None
//! and is left out: kernels before 3.14 have no `MemAvailable`.
//!
//! Not parsed by `procfs_core::Meminfo`, which the tests compare with: it refuses files
//! that lack any of fifteen fields that nobody asked for, multiplies and slices without a
//! check (a hostile file, bind-mounted over /proc/meminfo, would be a panic or a wrong
//! number), and allocates for each of some 55 lines at every sample: eight times this
//! parser's time (`benches/pieces.rs`).

use super::{
    Collector, Purpose, Sink,
    error::{CollectError, Malformed},
    lines::lines,
    source::{ProcFile, Root},
    table::{
        MEM_AVAIL, MEM_BUFFERS, MEM_CACHED, MEM_DIRTY, MEM_FREE, MEM_SWAP_FREE, MEM_SWAP_TOTAL,
        MEM_TOTAL, MEM_WRITEBACK,
    },
    text::{decimal, split_once},
};

/// Where the kernel says it.
const FILE: &str = "/proc/meminfo";

const EXPECTED_LINE: &str = "NAME: NUMBER kB";
const EXPECTED_FIELD: &str = "a line MemTotal:";

/// The fields that are reported, in kB.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Meminfo {
    /// `MemTotal`; there is no machine without it.
    pub total: u64,
    /// `MemFree`
    pub free: Option<u64>,
    /// `MemAvailable`, since Linux 3.14
    pub available: Option<u64>,
    /// `Buffers`
    pub buffers: Option<u64>,
    /// `Cached`
    pub cached: Option<u64>,
    /// `SwapTotal`
    pub swap_total: Option<u64>,
    /// `SwapFree`
    pub swap_free: Option<u64>,
    /// `Dirty`
    pub dirty: Option<u64>,
    /// `Writeback`
    pub writeback: Option<u64>,
}

/// The fields that are reported out of the text of /proc/meminfo.
///
/// Lines of other fields are not looked into: what a future kernel writes there is its
/// own business.
pub fn parse(text: &[u8]) -> Result<Meminfo, Malformed> {
    let mut total = None;
    let mut fields = Meminfo::default();
    let mut seen = 0;
    for line in lines(text) {
        let line = line?;
        seen = line.number;
        let Some((name, value)) = split_once(line.text, b':') else {
            continue;
        };
        let field = match name {
            b"MemTotal" => &mut total,
            b"MemFree" => &mut fields.free,
            b"MemAvailable" => &mut fields.available,
            b"Buffers" => &mut fields.buffers,
            b"Cached" => &mut fields.cached,
            b"SwapTotal" => &mut fields.swap_total,
            b"SwapFree" => &mut fields.swap_free,
            b"Dirty" => &mut fields.dirty,
            b"Writeback" => &mut fields.writeback,
            _ => continue,
        };
        *field = Some(kilobytes(value).ok_or_else(|| line.malformed(EXPECTED_LINE))?);
    }
    fields.total = total.ok_or_else(|| Malformed::new(seen + 1, EXPECTED_FIELD, b""))?;
    Ok(fields)
}

/// `  24684084 kB`: the number; None for another form, sign or unit, and past 64 bits.
fn kilobytes(text: &[u8]) -> Option<u64> {
    let digits = text.trim_ascii_start().strip_suffix(b" kB")?;
    decimal(digits)
}

/// Reads /proc/meminfo.
#[derive(Debug)]
pub struct MeminfoCollector {
    file: ProcFile,
}

impl MeminfoCollector {
    /// One that reads below `root`.
    #[must_use]
    pub fn open(root: &Root) -> Self {
        Self {
            file: ProcFile::new(root, FILE),
        }
    }
}

impl Collector for MeminfoCollector {
    fn collect(
        &mut self,
        _purpose: Purpose,
        scratch: &mut Vec<u8>,
        sink: &mut Sink<'_>,
    ) -> Result<(), CollectError> {
        let fields = parse(self.file.read_whole(scratch)?)
            .map_err(|problem| CollectError::malformed(self.file.path(), problem))?;
        for (definition, value) in [
            (&MEM_TOTAL, Some(fields.total)),
            (&MEM_FREE, fields.free),
            (&MEM_AVAIL, fields.available),
            (&MEM_BUFFERS, fields.buffers),
            (&MEM_CACHED, fields.cached),
            (&MEM_SWAP_TOTAL, fields.swap_total),
            (&MEM_SWAP_FREE, fields.swap_free),
            (&MEM_DIRTY, fields.dirty),
            (&MEM_WRITEBACK, fields.writeback),
        ] {
            if let Some(value) = value {
                sink.unsigned(definition, value);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collectors::lines::EXPECTED_END;
    use proptest::prelude::*;

    #[test]
    fn fields_are_taken_in_kb_and_the_others_left_alone() {
        let text = b"MemTotal:       24684084 kB\nMemFree:        24393956 kB\nSwapCached: junk\n\
                     HugePages_Total:       0\nno colon here\nSwapTotal:             0 kB\n\
                     \xff\xfe: 5\nWriteback: 7 kB\nWritebackTmp: 8 kB\n";
        assert_eq!(
            parse(text),
            Ok(Meminfo {
                total: 24_684_084,
                free: Some(24_393_956),
                swap_total: Some(0),
                writeback: Some(7),
                ..Meminfo::default()
            })
        );
    }

    #[test]
    fn the_largest_number_is_read_and_a_larger_one_refused() {
        let text = |number: &str| format!("MemTotal: {number} kB\n").into_bytes();
        assert_eq!(
            parse(&text("18446744073709551615")).map(|m| m.total),
            Ok(u64::MAX)
        );
        for number in ["18446744073709551616", "99999999999999999999999"] {
            assert_eq!(parse(&text(number)).unwrap_err().expected, EXPECTED_LINE);
        }
    }

    #[test]
    fn a_malformed_line_of_a_reported_field_is_named() {
        for line in [
            "MemFree:",
            "MemFree: kB",
            "MemFree: -1 kB",
            "MemFree: +1 kB",
            "MemFree: 1.5 kB",
            "MemFree: 0x10 kB",
            "MemFree: 12 34 kB",
            "MemFree: 12",
            "MemFree: 12 MB",
            "MemFree: 12 bananas",
            "MemFree: \u{0661} kB",
        ] {
            let error = parse(format!("MemTotal: 9 kB\n{line}\n").as_bytes()).unwrap_err();
            assert_eq!((error.line, error.expected), (2, EXPECTED_LINE), "{line}");
        }
    }

    #[test]
    fn a_file_that_ends_within_a_line_or_before_memtotal_is_refused() {
        let cut = parse(b"MemTotal: 9 kB\nMemFree: 12").unwrap_err();
        assert_eq!((cut.line, cut.expected), (2, EXPECTED_END));
        let empty = parse(b"").unwrap_err();
        assert_eq!((empty.line, empty.expected), (1, EXPECTED_FIELD));
        let without = parse(b"MemFree: 12 kB\n").unwrap_err();
        assert_eq!((without.line, without.expected), (2, EXPECTED_FIELD));
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(text in proptest::collection::vec(any::<u8>(), 0..256)) {
            let _ = parse(&text);
        }

        #[test]
        fn random_values_of_reported_fields_never_panic_and_are_exact(
            number in any::<u64>(), junk in "\\PC{0,12}"
        ) {
            let _ = parse(format!("MemTotal:{junk}\n").as_bytes());
            prop_assert_eq!(
                parse(format!("MemTotal: {number:>14} kB\n").as_bytes()).map(|m| m.total),
                Ok(number)
            );
        }
    }
}
