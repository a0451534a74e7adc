//! `mem.*` from /proc/meminfo (`proc_meminfo(5)`).
//!
//! The values go out in kB as the file has them. A field that this kernel lacks is None and is left
//! out: kernels before 3.14 have no `MemAvailable`.
//!
//! Not parsed by `procfs_core::Meminfo`, which the tests compare with: it refuses files that lack
//! any of fifteen fields that are not used here, multiplies and slices without a check (a hostile
//! file, bind-mounted over /proc/meminfo, would be a panic or a wrong number), and allocates for
//! each of some 55 lines at every sample: eight times this parser's time (`benches/pieces.rs`).

use super::{
    Sink, Source,
    error::{CollectError, Malformed},
    file::{ProcFile, Root},
    odd::Odd,
    text::{Line, decimal, lines, split_once},
};
use crate::metrics::table::{
    MEM_AVAIL, MEM_BUFFERS, MEM_CACHED, MEM_DIRTY, MEM_FREE, MEM_SWAP_FREE, MEM_SWAP_TOTAL,
    MEM_TOTAL, MEM_WRITEBACK,
};

/// Where the kernel says it.
const FILE: &str = "/proc/meminfo";

const EXPECTED_LINE: &str = "NAME: NUMBER kB, a number up to 18014398509481983";
const EXPECTED_TOTAL: &str = "more than 0 kB of memory";
const EXPECTED_FIELD: &str = "a line MemTotal:";
const EXPECTED_PART: &str = "no more than the total that it is a part of";

/// The fields that are reported, in kB.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Meminfo {
    /// `MemTotal`; every machine has it.
    pub total: Option<u64>,
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

/// A field as it was read, and where.
type Field<'t> = Option<(u64, Line<'t>)>;

/// The fields that are reported out of the text of /proc/meminfo.
///
/// Lines of other fields are not looked into: what a future kernel writes there is its
/// own business. A field that makes no sense is left out: lxcfs has shown more free swap
/// space than there is swap.
pub fn parse(text: &[u8], odd: &mut Odd) -> Result<Meminfo, Malformed> {
    let mut fields: [Field<'_>; 9] = [None; 9];
    let [
        total,
        free,
        available,
        buffers,
        cached,
        swap_total,
        swap_free,
        dirty,
        writeback,
    ] = &mut fields;
    let mut seen = 0;
    let mut has_total = false;
    for line in lines(text) {
        seen += 1;
        let Some(line) = odd.keep(line) else {
            break;
        };
        let Some((name, value)) = split_once(line.text, b':') else {
            continue;
        };
        let field = match name {
            b"MemTotal" => &mut *total,
            b"MemFree" => &mut *free,
            b"MemAvailable" => &mut *available,
            b"Buffers" => &mut *buffers,
            b"Cached" => &mut *cached,
            b"SwapTotal" => &mut *swap_total,
            b"SwapFree" => &mut *swap_free,
            b"Dirty" => &mut *dirty,
            b"Writeback" => &mut *writeback,
            _ => continue,
        };
        has_total |= name == b"MemTotal";
        let value = odd.note(kilobytes(value), || line.malformed(EXPECTED_LINE));
        *field = value.map(|value| (value, line));
    }
    // No host has none: then the total is what is wrong, and not its parts.
    if let Some((_, line)) = total.take_if(|(value, _)| *value == 0) {
        odd.add(line.malformed(EXPECTED_TOTAL));
    }
    for part in [free, available, buffers, cached, dirty, writeback] {
        check_part(part, *total, odd);
    }
    check_part(swap_free, *swap_total, odd);
    let [
        total,
        free,
        available,
        buffers,
        cached,
        swap_total,
        swap_free,
        dirty,
        writeback,
    ] = fields.map(|field| field.map(|(value, _)| value));
    let found = Meminfo {
        total,
        free,
        available,
        buffers,
        cached,
        swap_total,
        swap_free,
        dirty,
        writeback,
    };
    if found == Meminfo::default() {
        let first = odd.take_first();
        return Err(first.unwrap_or_else(|| Malformed::new(seen + 1, EXPECTED_FIELD, b"")));
    }
    if !has_total {
        odd.add(Malformed::new(seen + 1, EXPECTED_FIELD, b""));
    }
    Ok(found)
}

/// `  24684084 kB`: the number; None for another form, sign or unit, and for more than 64
/// bits of bytes.
fn kilobytes(text: &[u8]) -> Option<u64> {
    let digits = text.trim_ascii_start().strip_suffix(b" kB")?;
    decimal(digits).filter(|kilobytes| *kilobytes <= u64::MAX / 1024)
}

fn check_part(part: &mut Field<'_>, total: Field<'_>, odd: &mut Odd) {
    if let (Some((value, line)), Some((total, _))) = (*part, total)
        && value > total
    {
        odd.add(line.malformed(EXPECTED_PART));
        *part = None;
    }
}

/// Reads /proc/meminfo.
#[derive(Debug)]
pub struct MeminfoSource {
    file: ProcFile,
}

impl MeminfoSource {
    /// One that reads below `root`.
    #[must_use]
    pub fn open(root: &Root) -> Self {
        Self {
            file: ProcFile::new(root, FILE),
        }
    }
}

impl Source for MeminfoSource {
    fn collect(&mut self, scratch: &mut Vec<u8>, sink: &mut Sink<'_>) -> Result<(), CollectError> {
        let text = self.file.read_whole(scratch)?;
        let fields = sink.parse(self.file.path(), text, parse)?;
        sink.unsigned_all([
            (&MEM_TOTAL, fields.total),
            (&MEM_FREE, fields.free),
            (&MEM_AVAIL, fields.available),
            (&MEM_BUFFERS, fields.buffers),
            (&MEM_CACHED, fields.cached),
            (&MEM_SWAP_TOTAL, fields.swap_total),
            (&MEM_SWAP_FREE, fields.swap_free),
            (&MEM_DIRTY, fields.dirty),
            (&MEM_WRITEBACK, fields.writeback),
        ]);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::text::EXPECTED_END;
    use proptest::prelude::*;

    /// What is read and what is wrong, by line.
    fn parsed(text: &[u8]) -> (Result<Meminfo, Malformed>, Vec<(usize, &'static str)>) {
        let mut odd = Odd::default();
        let fields = parse(text, &mut odd);
        let named = odd.named().iter();
        (fields, named.map(|one| (one.line, one.expected)).collect())
    }

    #[test]
    fn fields_are_taken_in_kb_and_the_others_left_alone() {
        let text = b"MemTotal:       24684084 kB\nMemFree:        24393956 kB\nSwapCached: junk\n\
                     HugePages_Total:       0\nno colon here\nSwapTotal:             0 kB\n\
                     \xff\xfe: 5\nWriteback: 7 kB\nWritebackTmp: 8 kB\n";
        let fields = Meminfo {
            total: Some(24_684_084),
            free: Some(24_393_956),
            swap_total: Some(0),
            writeback: Some(7),
            ..Meminfo::default()
        };
        assert_eq!(parsed(text), (Ok(fields), vec![]));
    }

    #[test]
    fn the_largest_memory_is_read_and_a_larger_one_left_out() {
        let total = |number: &str| {
            let text = format!("MemTotal: {number} kB\nDirty: 0 kB\n");
            let (fields, odd) = parsed(text.as_bytes());
            (fields.unwrap().total, odd)
        };
        let most = u64::MAX / 1024;
        assert_eq!(total(&most.to_string()), (Some(most), vec![]));
        for number in ["18014398509481984", "18446744073709551616"] {
            assert_eq!(total(number), (None, vec![(1, EXPECTED_LINE)]));
        }
    }

    #[test]
    fn a_field_that_makes_no_sense_costs_itself_alone_and_is_named() {
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
            let text = format!("MemTotal: 9 kB\n{line}\nDirty: 3 kB\n");
            let fields = Meminfo {
                total: Some(9),
                dirty: Some(3),
                ..Meminfo::default()
            };
            let expected = (Ok(fields), vec![(2, EXPECTED_LINE)]);
            assert_eq!(parsed(text.as_bytes()), expected, "{line}");
        }
    }

    #[test]
    fn no_part_exceeds_its_total() {
        let text = b"MemTotal: 9 kB\nMemFree: 9 kB\nMemAvailable: 10 kB\nCached: 11 kB\n\
                     SwapTotal: 0 kB\nSwapFree: 1 kB\n";
        let fields = Meminfo {
            total: Some(9),
            free: Some(9),
            swap_total: Some(0),
            ..Meminfo::default()
        };
        let odd = vec![(3, EXPECTED_PART), (4, EXPECTED_PART), (6, EXPECTED_PART)];
        assert_eq!(parsed(text), (Ok(fields), odd));
        let (fields, odd) = parsed(b"MemTotal: 9 kB\nSwapFree: 1 kB\n");
        assert_eq!(
            (fields.unwrap().swap_free, odd),
            (Some(1), vec![]),
            "of what?"
        );
    }

    #[test]
    fn a_total_of_nothing_is_what_is_wrong_and_not_its_parts() {
        let fields = Meminfo {
            free: Some(9),
            cached: Some(3),
            swap_total: Some(0),
            ..Meminfo::default()
        };
        let text = b"MemTotal: 0 kB\nMemFree: 9 kB\nCached: 3 kB\nSwapTotal: 0 kB\n";
        assert_eq!(parsed(text), (Ok(fields), vec![(1, EXPECTED_TOTAL)]));
    }

    #[test]
    fn what_is_expected_says_how_much_may_be_there() {
        let mut odd = Odd::default();
        let text = b"MemTotal: 9 kB\nSwapFree: 18446744073709346016 kB\n";
        parse(text, &mut odd).unwrap();
        let most = u64::MAX / 1024;
        assert_eq!(
            odd.named()[0].to_string(),
            format!(
                "line 2: expected NAME: NUMBER kB, a number up to {most}, \
                 found \"SwapFree: 18446744073709346016 kB\""
            )
        );
    }

    #[test]
    fn a_file_that_ends_within_a_line_has_those_before() {
        let fields = Meminfo {
            total: Some(9),
            ..Meminfo::default()
        };
        let expected = (Ok(fields), vec![(2, EXPECTED_END)]);
        assert_eq!(parsed(b"MemTotal: 9 kB\nMemFree: 12"), expected);
        let (fields, odd) = parsed(b"Dirty: 1 kB\n");
        assert_eq!(
            (fields.unwrap().dirty, odd),
            (Some(1), vec![(2, EXPECTED_FIELD)])
        );
        for (text, line, expected) in [
            (&b""[..], 1, EXPECTED_FIELD),
            (b"Active: 1 kB\n", 2, EXPECTED_FIELD),
            (b"MemTotal: 9", 1, EXPECTED_END),
            (b"MemTotal: x kB\n", 1, EXPECTED_LINE),
        ] {
            let error = parsed(text).0.unwrap_err();
            assert_eq!((error.line, error.expected), (line, expected));
        }
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(text in proptest::collection::vec(any::<u8>(), 0..256)) {
            let _ = parsed(&text);
        }

        #[test]
        fn random_values_of_reported_fields_never_panic_and_are_exact(
            number in 0..u64::MAX / 1024, junk in "\\PC{0,12}"
        ) {
            let _ = parsed(format!("MemTotal:{junk}\n").as_bytes());
            let (fields, odd) = parsed(format!("MemTotal: {number:>14} kB\n").as_bytes());
            prop_assert_eq!((fields.unwrap().total, odd), (Some(number), vec![]));
        }
    }
}
