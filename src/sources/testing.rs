//! What tests of sources have in common: roots of captured files and of files that a test
//! writes, and readings of a single source.

use std::{fs, path::PathBuf};

use super::{CollectError, Context, Grid, LeftOut, Purpose, Root, Sink, Source};
use crate::metrics::{Samples, Value};

#[path = "../../tests/fixtures/mod.rs"]
mod fixtures;
#[path = "../../tests/fixtures/tests.rs"]
mod fixtures_tests;

/// The kernels whose files were captured whole.
pub(super) const KERNELS: [&str; 3] = ["6.1-qemu", "6.12-qemu", "6.18-firecracker"];

/// The root of captured files: an archive in tests/fixtures/proc.
pub(super) fn captured(kernel: &str) -> Root {
    fixture(&format!("proc/{kernel}"))
}

/// The names of the archives in tests/fixtures/proc, sorted.
pub(super) fn machines() -> Vec<String> {
    fixtures::trees::names("proc").unwrap()
}

/// The root of an archive in tests/fixtures. Tests share it, so that none may write to it.
pub(super) fn fixture(name: &str) -> Root {
    Root(fixtures::trees::tree(name))
}

/// A root with the files that a test writes.
pub(super) struct Host(tempfile::TempDir);

impl Host {
    pub(super) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(super) fn root(&self) -> Root {
        Root(self.0.path().to_owned())
    }

    pub(super) fn context(&self) -> Context {
        Context::new(self.root())
    }

    pub(super) fn path(&self, absolute: &str) -> PathBuf {
        self.root().path(absolute)
    }

    /// Writes a file, and makes the directories above it.
    pub(super) fn write(&self, absolute: &str, text: impl AsRef<[u8]>) {
        let path = self.path(absolute);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// How many of this process's handles are open on what is, or was, below this root.
    pub(super) fn handles(&self) -> usize {
        let open = fs::read_dir("/proc/self/fd").unwrap();
        // The handle of another test may be gone by now.
        let targets = open.filter_map(|entry| fs::read_link(entry.unwrap().path()).ok());
        targets
            .filter(|target| target.starts_with(self.0.path()))
            .count()
    }
}

/// One reading of everything, in which every value makes sense.
pub(super) fn read(source: &mut dyn Source) -> Result<Samples, CollectError> {
    let (samples, left_out) = read_whole(source)?;
    assert_eq!(left_out.count(), 0, "{left_out:?}");
    Ok(samples)
}

/// One reading of everything, and what is left out of it.
pub(super) fn read_whole(source: &mut dyn Source) -> Result<(Samples, LeftOut), CollectError> {
    let mut samples = Samples::new();
    let mut sink = Sink::new(Purpose::Metrics, Grid::All, &mut samples);
    source.collect(&mut Vec::new(), &mut sink)?;
    let left_out = sink.into_left_out();
    Ok((samples, left_out))
}

/// The count or size under a name.
pub(super) fn unsigned(samples: &Samples, name: &str) -> Option<u64> {
    match samples.get(name)? {
        Value::Unsigned(value) => Some(value),
        other => panic!("{name}: {other:?}"),
    }
}

/// The names of all values, in their order.
pub(super) fn names(samples: &Samples) -> Vec<String> {
    samples.iter().map(|(name, _)| name.to_string()).collect()
}
