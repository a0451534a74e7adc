//! `sys.uptime` from /proc/uptime (`proc_uptime(5)`).

use procfs_core::{FromRead, Uptime};

use super::{
    Collector, Purpose, Sink,
    error::{CollectError, Malformed},
    source::{ProcFile, Root},
    table::SYS_UPTIME,
};

/// Where the kernel says it.
const FILE: &str = "/proc/uptime";

/// The file's one line, as `proc_uptime(5)` has it.
const EXPECTED: &str = "two numbers of seconds and the end of the line";

/// The seconds since boot out of the text of /proc/uptime.
pub fn parse(text: &[u8]) -> Result<f64, Malformed> {
    let malformed = || Malformed::new(1, EXPECTED, text);
    // Without its newline the line is cut off, perhaps in the middle of a number.
    let line = text.strip_suffix(b"\n").ok_or_else(malformed)?;
    // The crate's own error says no more, and asks to be reported as a bug.
    let uptime = Uptime::from_read(line).map_err(|_| malformed())?.uptime;
    if uptime.is_finite() && uptime >= 0.0 {
        Ok(uptime)
    } else {
        Err(malformed())
    }
}

/// Reads /proc/uptime.
#[derive(Debug)]
pub struct UptimeCollector {
    file: ProcFile,
}

impl UptimeCollector {
    /// One that reads below `root`.
    #[must_use]
    pub fn open(root: &Root) -> Self {
        Self {
            file: ProcFile::new(root, FILE),
        }
    }
}

impl Collector for UptimeCollector {
    fn collect(
        &mut self,
        _purpose: Purpose,
        scratch: &mut Vec<u8>,
        sink: &mut Sink<'_>,
    ) -> Result<(), CollectError> {
        let seconds = parse(self.file.read_first_line(scratch)?)
            .map_err(|problem| CollectError::malformed(self.file.path(), problem))?;
        sink.float(&SYS_UPTIME, seconds);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_first_field_is_the_uptime() {
        assert_eq!(parse(b"2578790.61 1999230.98\n"), Ok(2_578_790.61));
        assert_eq!(parse(b"0.00 0.00\n"), Ok(0.0));
    }

    #[test]
    fn what_is_not_two_numbers_and_a_newline_is_malformed() {
        for text in [
            &b""[..],
            b"\n",
            b"683.66\n",
            b"683.66 1138.95",
            b"683.66 11",
            b"-1 5\n",
            b"inf 5\n",
            b"NaN 5\n",
            b"1e999 5\n",
            b"12,5 7\n",
            b"\xff\xfe 5\n",
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!((error.line, error.expected), (1, EXPECTED));
        }
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic_and_never_give_an_impossible_uptime(
            text in proptest::collection::vec(any::<u8>(), 0..64)
        ) {
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
