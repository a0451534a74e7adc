//! `files.*` from /proc/sys/fs/file-nr (`proc_sys_fs(5)`): open file handles of the whole host,
//! and how many there may be. At the limit every open(2) on the host fails with ENFILE.

use super::{
    Context, Sink, Source,
    error::{CollectError, Malformed},
    file::ProcFile,
    odd::Odd,
    text::{MAX_COUNT, count, fields},
};
use crate::metrics::table::{FILES_LIMIT, FILES_OPEN};

/// Where the kernel says it.
const FILE: &str = "/proc/sys/fs/file-nr";

/// The second number has been 0 since Linux 2.6: handles that are free are not kept.
const EXPECTED: &str =
    "the numbers of open handles (up to 2147483647), of free ones, and the limit";

/// What the file says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Files {
    /// Handles that are open.
    pub open: Option<u64>,
    /// Most that may be open.
    pub limit: Option<u64>,
}

/// The numbers out of the text of /proc/sys/fs/file-nr.
///
/// # Errors
///
/// Neither of the two is a number.
pub fn parse(text: &[u8], odd: &mut Odd) -> Result<Files, Malformed> {
    let malformed = || Malformed::new(1, EXPECTED, text.trim_ascii_end());
    // Without its newline the line is cut off, perhaps in the middle of a number.
    let line = text.strip_suffix(b"\n").ok_or_else(malformed)?;
    let mut fields = fields(line);
    let open = fields.next().and_then(|open| count(open, MAX_COUNT));
    // systemd raises the limit to the largest there is, 2^63 - 1.
    let limit = fields.nth(1).and_then(|limit| count(limit, u64::MAX));
    let files = Files {
        open: odd.note(open, malformed),
        limit: odd.note(limit, malformed),
    };
    if files == Files::default() {
        return Err(malformed());
    }
    Ok(files)
}

/// Reads /proc/sys/fs/file-nr.
#[derive(Debug)]
pub struct FilesSource {
    file: ProcFile,
}

impl FilesSource {
    /// One that reads below the context's root.
    #[must_use]
    pub fn open(context: &Context) -> Self {
        Self {
            file: ProcFile::new(&context.root, FILE),
        }
    }
}

impl Source for FilesSource {
    fn collect(&mut self, scratch: &mut Vec<u8>, sink: &mut Sink<'_>) -> Result<(), CollectError> {
        let text = self.file.read_first_line(scratch)?;
        let files = sink.parse(self.file.path(), text, parse)?;
        sink.unsigned_all([(&FILES_OPEN, files.open), (&FILES_LIMIT, files.limit)]);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::Root;
    use crate::sources::testing::{Host, names, read as sample, read_whole, unsigned};
    use proptest::prelude::*;

    fn of(text: &str) -> (Host, FilesSource) {
        let host = Host::new();
        host.write(FILE, text);
        let source = FilesSource::open(&host.context());
        (host, source)
    }

    #[test]
    fn open_handles_and_their_limit_are_read() {
        for (text, open, limit) in [
            ("1411\t0\t2466165\n", 1411, 2_466_165),
            // As systemd sets it.
            (
                "2976\t0\t9223372036854775807\n",
                2976,
                i64::MAX.cast_unsigned(),
            ),
            // A kernel before 2.6 keeps free ones.
            ("832 17 1024\n", 832, 1024),
        ] {
            let (_host, mut source) = of(text);
            let samples = sample(&mut source).unwrap();
            assert_eq!(names(&samples), ["files.open", "files.limit"]);
            assert_eq!(unsigned(&samples, "files.open"), Some(open), "{text}");
            assert_eq!(unsigned(&samples, "files.limit"), Some(limit), "{text}");
        }
    }

    #[test]
    fn an_odd_number_costs_itself_alone() {
        let (_host, mut source) = of("-1\t0\t1024\n");
        let (samples, left_out) = read_whole(&mut source).unwrap();
        assert_eq!(names(&samples), ["files.limit"]);
        let error = left_out.named()[0].to_string();
        assert!(
            error.contains("file-nr, line 1: expected the numbers of open"),
            "{error}"
        );
        for text in ["", "1411", "x 0 y\n", "4294967295\t0\n"] {
            let (_host, mut source) = of(text);
            let error = sample(&mut source).unwrap_err().to_string();
            assert!(error.contains("file-nr, line 1: "), "{text:?}: {error}");
        }
    }

    #[test]
    fn the_running_machine_has_more_handles_than_this_test() {
        let mut source = FilesSource::open(&Context::new(Root::default()));
        let before = sample(&mut source).unwrap();
        let limit = unsigned(&before, "files.limit").unwrap();
        let open = unsigned(&before, "files.open").unwrap();
        assert!(0 < open && open <= limit, "{open} of {limit}");
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(text in proptest::collection::vec(any::<u8>(), 0..48)) {
            let _ = parse(&text, &mut Odd::default());
        }
    }
}
