//! `conntrack.*` from /proc/sys/net/netfilter (`Documentation/networking/nf_conntrack-sysctl.rst`
//! of the kernel).
//!
//! The files are there while the module is loaded, and are those of the agent's network
//! namespace. A host that follows no connections has no values.

use super::{
    Context, Sink, Source,
    error::{CollectError, Malformed},
    file::ProcFile,
    text::{MAX_COUNT, count},
};
use crate::metrics::table::{CONNTRACK_ENTRIES, CONNTRACK_LIMIT};

/// Where the kernel says how many connections it follows.
const COUNT: &str = "/proc/sys/net/netfilter/nf_conntrack_count";

/// Where it says how many it can follow.
const MAX: &str = "/proc/sys/net/netfilter/nf_conntrack_max";

const EXPECTED: &str = "a number up to 2147483647 and a newline";

/// The number out of the text of either file, `most` at most.
pub fn parse(text: &[u8], most: u64) -> Result<u64, Malformed> {
    let line = text.strip_suffix(b"\n");
    line.and_then(|line| count(line, most))
        .ok_or_else(|| Malformed::new(1, EXPECTED, text))
}

/// Reads both.
#[derive(Debug)]
pub struct ConntrackSource {
    count: ProcFile,
    max: ProcFile,
}

impl ConntrackSource {
    /// One that reads below the context's root.
    #[must_use]
    pub fn open(context: &Context) -> Self {
        Self {
            count: ProcFile::new(&context.root, COUNT),
            max: ProcFile::new(&context.root, MAX),
        }
    }
}

impl Source for ConntrackSource {
    fn collect(&mut self, scratch: &mut Vec<u8>, sink: &mut Sink<'_>) -> Result<(), CollectError> {
        let count = read(&mut self.count, MAX_COUNT, scratch);
        let max = read(&mut self.max, u64::MAX, scratch);
        match (count, max) {
            // The module may have come or gone between the two.
            (Ok(None), Ok(_)) | (Ok(_), Ok(None)) => {}
            (Err(error), Err(_)) => return Err(error),
            (count, max) => {
                for (definition, value) in [(&CONNTRACK_ENTRIES, count), (&CONNTRACK_LIMIT, max)] {
                    match value {
                        Ok(Some(value)) => sink.unsigned(definition, value),
                        Ok(None) => {}
                        Err(error) => sink.left_out(error),
                    }
                }
            }
        }
        Ok(())
    }
}

/// Returns None if there is no such file.
fn read(
    file: &mut ProcFile,
    most: u64,
    scratch: &mut Vec<u8>,
) -> Result<Option<u64>, CollectError> {
    let text = match file.read_first_line(scratch) {
        Ok(text) => text,
        Err(error) if error.is_missing() => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    parse(text, most)
        .map(Some)
        .map_err(|problem| CollectError::malformed(file.path(), problem))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::testing::{
        Host, captured, names, read as sample, read_whole as sample_whole, unsigned,
    };
    use proptest::prelude::*;

    #[test]
    fn the_values_of_captured_machines() {
        for (kernel, count, max) in [
            ("6.1-qemu", 18, 6144),
            ("6.12-qemu", 18, 6144),
            ("6.18-firecracker", 26, 262_144),
        ] {
            let context = Context::new(captured(kernel));
            let samples = sample(&mut ConntrackSource::open(&context)).unwrap();
            assert_eq!(names(&samples), ["conntrack.entries", "conntrack.limit"]);
            assert_eq!(unsigned(&samples, "conntrack.entries"), Some(count));
            assert_eq!(unsigned(&samples, "conntrack.limit"), Some(max));
        }
    }

    #[test]
    fn a_module_that_comes_and_goes_is_no_error() {
        let host = Host::new();
        let mut source = ConntrackSource::open(&host.context());
        for _ in 0..3 {
            assert!(sample(&mut source).unwrap().is_empty());
            host.write(COUNT, "7\n");
            assert!(sample(&mut source).unwrap().is_empty());
            host.write(MAX, "65536\n");
            let samples = sample(&mut source).unwrap();
            assert_eq!(unsigned(&samples, "conntrack.entries"), Some(7));
            std::fs::remove_dir_all(host.path("/proc")).unwrap();
            // What is deleted can still be read; a sysctl that is gone can not.
            source = ConntrackSource::open(&host.context());
        }
    }

    #[test]
    fn what_is_no_number_is_malformed_and_named() {
        let host = Host::new();
        host.write(COUNT, "7\n");
        for text in ["", "\n", "65536", "-1\n", "1 2\n", "99999999999999999999\n"] {
            host.write(MAX, text);
            let mut source = ConntrackSource::open(&host.context());
            let (samples, left_out) = sample_whole(&mut source).unwrap();
            assert_eq!(names(&samples), ["conntrack.entries"]);
            let error = left_out.named()[0].to_string();
            let expected = "nf_conntrack_max, line 1: expected a number up to 2147483647 and a newline, found ";
            assert!(error.contains(expected), "{error}");
        }
        host.write(MAX, "65536\n");
        host.write(COUNT, "4294967294\n");
        let mut source = ConntrackSource::open(&host.context());
        let (samples, left_out) = sample_whole(&mut source).unwrap();
        assert_eq!(
            (names(&samples), left_out.count()),
            (vec!["conntrack.limit".to_owned()], 1)
        );
        host.write(MAX, "x\n");
        let mut source = ConntrackSource::open(&host.context());
        let error = sample(&mut source).unwrap_err().to_string();
        assert!(error.contains("nf_conntrack_count, line 1: "), "{error}");
    }

    #[test]
    fn the_running_machine_has_both_or_neither() {
        let context = Context::new(crate::sources::Root::default());
        let samples = sample(&mut ConntrackSource::open(&context)).unwrap();
        let loaded = std::path::Path::new(COUNT).exists();
        assert_eq!(samples.len(), if loaded { 2 } else { 0 });
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(text in proptest::collection::vec(any::<u8>(), 0..32)) {
            let _ = parse(&text, MAX_COUNT);
        }
    }
}
