//! `sys.uptime` from /proc/uptime (`proc_uptime(5)`), and `sys.boot.id` from
//! `/proc/sys/kernel/random/boot_id` (`random(4)`).
//!
//! The id goes out as the journal has it in `_BOOT_ID=`: 32 hex digits. It is only read
//! where a model is wanted, so that what is wrong with it costs no metrics.

use super::{
    Grid, Sink, Source,
    error::{CollectError, Malformed},
    file::{ProcFile, Root},
    text::{MAX_SECONDS, fixed_point},
};
use crate::metrics::table::{SYS_BOOT_ID, SYS_UPTIME};

/// Where the kernel says it.
const FILE: &str = "/proc/uptime";
const BOOT_ID_FILE: &str = "/proc/sys/kernel/random/boot_id";

/// The file's one line, as `proc_uptime(5)` has it. The second number is not used here.
const EXPECTED: &str =
    "a number of seconds, up to 9223372036 (292 years), and a blank or the end of the line";

/// The seconds since boot out of the text of /proc/uptime.
pub fn parse(text: &[u8]) -> Result<f64, Malformed> {
    let malformed = || Malformed::new(1, EXPECTED, text.trim_ascii_end());
    // What nothing follows is cut off, perhaps in the middle of the number.
    let end = text.iter().position(|byte| matches!(byte, b' ' | b'\n'));
    let number = end.and_then(|end| text.get(..end));
    let seconds = number.and_then(fixed_point);
    let possible = |seconds: &f64| *seconds <= MAX_SECONDS;
    seconds.filter(possible).ok_or_else(malformed)
}

/// How many hex digits an id has.
const ID_DIGITS: usize = 32;

const EXPECTED_ID: &str = "32 lower-case hex digits with dashes among them, and a newline";

/// The id of this boot, without its dashes, out of the text of its file.
pub fn parse_boot_id(text: &[u8]) -> Result<[u8; ID_DIGITS], Malformed> {
    let malformed = || Malformed::new(1, EXPECTED_ID, text.trim_ascii_end());
    let line = text.strip_suffix(b"\n").ok_or_else(malformed)?;
    let mut id = [0; ID_DIGITS];
    let mut rest = id.iter_mut();
    for &byte in line.iter().filter(|&&byte| byte != b'-') {
        let digit = rest.next().ok_or_else(malformed)?;
        *digit = matches!(byte, b'0'..=b'9' | b'a'..=b'f')
            .then_some(byte)
            .ok_or_else(malformed)?;
    }
    if rest.next().is_none() {
        Ok(id)
    } else {
        Err(malformed())
    }
}

/// Reads /proc/uptime and the id of this boot.
#[derive(Debug)]
pub struct UptimeSource {
    file: ProcFile,
    boot_id: ProcFile,
}

impl UptimeSource {
    /// One that reads below `root`.
    #[must_use]
    pub fn open(root: &Root) -> Self {
        Self {
            file: ProcFile::new(root, FILE),
            boot_id: ProcFile::new(root, BOOT_ID_FILE),
        }
    }

    /// None if the kernel was built without sysctls.
    fn read_boot_id(
        &mut self,
        scratch: &mut Vec<u8>,
    ) -> Result<Option<[u8; ID_DIGITS]>, CollectError> {
        let text = match self.boot_id.read_first_line(scratch) {
            Err(error) if error.is_missing() => return Ok(None),
            result => result?,
        };
        parse_boot_id(text)
            .map(Some)
            .map_err(|problem| CollectError::malformed(self.boot_id.path(), problem))
    }
}

impl Source for UptimeSource {
    fn collect(&mut self, scratch: &mut Vec<u8>, sink: &mut Sink<'_>) -> Result<(), CollectError> {
        // The id has a file of its own: neither costs the other.
        let seconds = match self.file.read_first_line(scratch) {
            Ok(text) => {
                parse(text).map_err(|problem| CollectError::malformed(self.file.path(), problem))
            }
            Err(error) => Err(error.into()),
        };
        let boot_id = match sink.grid() {
            Grid::Metrics => Ok(None),
            Grid::Model | Grid::All => self.read_boot_id(scratch),
        };
        let seconds = seconds.map(|seconds| sink.float(&SYS_UPTIME, seconds));
        match boot_id {
            Ok(id) => {
                let id = id.as_ref().and_then(|id| std::str::from_utf8(id).ok());
                if let Some(id) = id {
                    sink.text(&SYS_BOOT_ID, id);
                }
            }
            Err(error) => sink.left_out(error),
        }
        seconds
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Samples, Value};
    use crate::sources::LeftOut;
    use crate::sources::Purpose;
    use proptest::prelude::*;

    #[test]
    fn the_first_field_is_the_uptime() {
        assert_eq!(parse(b"2578790.61 1999230.98\n"), Ok(2_578_790.61));
        assert_eq!(parse(b"0.00 0.00\n"), Ok(0.0));
        assert_eq!(parse(b"9223372036.00 0.00\n"), Ok(MAX_SECONDS));
    }

    #[test]
    fn the_second_number_is_not_looked_into() {
        for text in [
            &b"683.66\n"[..],
            b"683.66 1138.95",
            b"683.66 -11\n",
            b"683.66 junk\n",
        ] {
            assert_eq!(parse(text), Ok(683.66));
        }
    }

    #[test]
    fn what_is_no_number_of_seconds_is_malformed() {
        for text in [
            &b""[..],
            b"\n",
            b"683.66",
            b"-1.00 5\n",
            b"inf 5\n",
            b"NaN 5\n",
            b"1e999 5\n",
            b"99999999999999999999.00 5\n",
            b"9223372036.01 5\n",
            b"12,5 7\n",
            b"\xff\xfe 5\n",
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!((error.line, error.expected), (1, EXPECTED));
        }
    }

    #[test]
    fn the_id_of_a_boot_is_told_as_the_journal_has_it() {
        assert_eq!(
            parse_boot_id(b"d342c6ec-3b06-4c04-b774-e4d344e9c211\n").as_ref(),
            Ok(b"d342c6ec3b064c04b774e4d344e9c211")
        );
        for text in [
            &b""[..],
            b"\n",
            b"d342c6ec-3b06-4c04-b774-e4d344e9c211",
            b"d342c6ec-3b06-4c04-b774-e4d344e9c21\n",
            b"d342c6ec-3b06-4c04-b774-e4d344e9c2111\n",
            b"d342c6ec-3b06-4c04-b774-e4d344e9c21g\n",
            b"D342C6EC-3b06-4c04-b774-e4d344e9c211\n",
            b"d342c6ec 3b06 4c04 b774 e4d344e9c211\n",
            b"d342c6ec-3b06-4c04-b774-e4d344e9c211\n\n",
        ] {
            assert_eq!(parse_boot_id(text).unwrap_err().expected, EXPECTED_ID);
        }
    }

    /// What one reading has of a captured machine whose boot id is another one.
    fn collect(boot_id: &[u8], grid: Grid) -> (Samples, Result<LeftOut, CollectError>) {
        let directory = tempfile::tempdir().unwrap();
        let root = Root(directory.path().to_owned());
        let random = root.path("/proc/sys/kernel/random");
        std::fs::create_dir_all(&random).unwrap();
        std::fs::write(root.path(FILE), "5.00 6.00\n").unwrap();
        std::fs::write(root.path(BOOT_ID_FILE), boot_id).unwrap();
        let mut samples = Samples::new();
        let mut sink = Sink::new(Purpose::Query, grid, &mut samples);
        let result = UptimeSource::open(&root).collect(&mut Vec::new(), &mut sink);
        let left_out = sink.into_left_out();
        (samples, result.map(|()| left_out))
    }

    #[test]
    fn what_is_wrong_with_the_id_costs_no_metrics() {
        let (samples, result) = collect(b"junk\n", Grid::Metrics);
        result.unwrap();
        assert_eq!(samples.get("sys.uptime"), Some(Value::Float(5.0)));
        for grid in [Grid::Model, Grid::All] {
            let (samples, result) = collect(b"junk\n", grid);
            let left_out = result.unwrap();
            let error = left_out.named()[0].to_string();
            assert!(
                error.contains("boot_id, line 1: expected 32 lower-case hex"),
                "{error}"
            );
            assert_eq!(samples.get("sys.uptime"), Some(Value::Float(5.0)));
            assert_eq!(samples.len(), 1);
        }
    }

    #[test]
    fn a_kernel_without_the_id_has_none() {
        let root = crate::sources::testing::captured("synthetic-few-fields");
        let mut samples = Samples::new();
        let mut sink = Sink::new(Purpose::Model, Grid::Model, &mut samples);
        UptimeSource::open(&root)
            .collect(&mut Vec::new(), &mut sink)
            .unwrap();
        assert!(samples.get("sys.uptime").is_some());
        assert_eq!(samples.get("sys.boot.id"), None);
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic_and_never_give_an_impossible_uptime(
            text in proptest::collection::vec(any::<u8>(), 0..64)
        ) {
            let _ = parse_boot_id(&text);
            if let Ok(seconds) = parse(&text) {
                prop_assert!(seconds.is_finite() && seconds >= 0.0);
            }
        }

        #[test]
        fn what_the_kernel_prints_is_read_back(centiseconds in 0_u32..) {
            let (s, c) = (centiseconds / 100, centiseconds % 100);
            let text = format!("{s}.{c:02} {s}.{c:02}\n");
            prop_assert_eq!(parse(text.as_bytes()), Ok(f64::from(centiseconds) / 100.0));
        }
    }
}
