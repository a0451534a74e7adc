//! Memory pressure, as the service manager tells of it, and giving memory back.
//!
//! The service's side of the [memory pressure protocol](https://systemd.io/MEMORY_PRESSURE/)
//! (`MemoryPressureWatch=`, systemd.resource-control(5)): the manager names a file and what
//! to write to it, and the file becomes ready while memory is short. Without a manager that
//! does (before systemd 254 there is none) nothing ever happens here. What a program can
//! spare is its own affair; [`give_back`] is for what it has let go of.

use crate::base::waiting::register;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::UnixStream;

/// Where to watch, as the manager names it.
const WATCH: &str = "MEMORY_PRESSURE_WATCH";
/// What to write there first, base64.
const WRITE: &str = "MEMORY_PRESSURE_WRITE";

/// A service that is to watch nothing is told of this device.
const NOTHING: &str = "/dev/null";

/// Between two times that memory is given back. The kernel tells once a window (2 s by
/// default) for as long as the pressure lasts; what was let go a moment ago can't be again.
pub const REST: Duration = Duration::from_secs(10);

/// Most bytes that are taken from a FIFO or a socket at once. They mean nothing; one is usual.
const DISCARDED: usize = 512;

/// Why memory pressure is not watched.
#[derive(Debug, thiserror::Error)]
pub enum PressureError {
    /// Not base64.
    #[error("{WRITE}: expected base64: {0}")]
    Write(#[source] base64::DecodeError),
    /// A directory, a device, or a relative path.
    #[error("{WATCH}={}: expected the absolute path of a file, a FIFO or a socket", .0.display())]
    Kind(PathBuf),
    /// A system call failed.
    #[error("{WATCH}={}: cannot {action}: {source}", path.display())]
    Io {
        /// What is to be watched.
        path: PathBuf,
        /// What was tried, as in "cannot open it".
        action: &'static str,
        /// The system's answer.
        source: io::Error,
    },
}

/// Wakes while memory is short.
#[derive(Debug, Default)]
pub struct PressureWatch {
    source: Option<Source>,
    /// When memory was given back last.
    given: Option<Instant>,
}

#[derive(Debug)]
enum Source {
    /// A control group's `memory.pressure`: an exceptional condition at each event.
    Kernel(AsyncFd<File>),
    /// Bytes at each event.
    Fifo(AsyncFd<File>),
    /// Likewise.
    Socket(UnixStream),
}

impl PressureWatch {
    /// Watches what the service manager names, if anything. Must be called within the runtime
    /// that will wait for it.
    ///
    /// A service does without where this fails: it is logged, and nothing else is lost.
    pub async fn from_environment() -> Self {
        let watch = std::env::var_os(WATCH);
        let write = std::env::var_os(WRITE);
        Self::open(watch.as_deref(), write.as_deref())
            .await
            .unwrap_or_else(|error| {
                tracing::warn!("memory pressure is not watched: {error}");
                Self::default()
            })
    }

    async fn open(watch: Option<&OsStr>, write: Option<&OsStr>) -> Result<Self, PressureError> {
        let path = match watch.map(Path::new) {
            None => return Ok(Self::default()),
            Some(path) if path == Path::new(NOTHING) => return Ok(Self::default()),
            Some(path) => path,
        };
        let first = match write {
            None => Vec::new(),
            Some(text) => BASE64_STANDARD
                .decode(text.as_encoded_bytes())
                .map_err(PressureError::Write)?,
        };
        Ok(Self {
            source: Some(Source::open(path, &first).await?),
            given: None,
        })
    }

    /// Returns when memory is short; never if there is no source of notifications. Cancel safe.
    pub async fn felt(&mut self) {
        let Some(source) = &mut self.source else {
            return std::future::pending().await;
        };
        if let Err(error) = source.event().await {
            tracing::warn!("memory pressure is not watched any more: {error}");
            self.source = None;
            std::future::pending::<()>().await;
        }
    }

    /// Returns true if memory should be given back now. A notification that is skipped is
    /// repeated while the pressure lasts.
    pub fn due(&mut self, now: Instant) -> bool {
        let resting = self
            .given
            .is_some_and(|given| now.saturating_duration_since(given) < REST);
        if !resting {
            self.given = Some(now);
        }
        !resting
    }
}

impl Source {
    async fn open(path: &Path, first: &[u8]) -> Result<Self, PressureError> {
        let failed = |action| {
            move |source| PressureError::Io {
                path: path.to_owned(),
                action,
                source,
            }
        };
        if !path.is_absolute() {
            return Err(PressureError::Kind(path.to_owned()));
        }
        let kind = fs::metadata(path)
            .map_err(failed("look at it"))?
            .file_type();
        if kind.is_socket() {
            let socket = UnixStream::connect(path)
                .await
                .map_err(failed("connect to it"))?;
            // What the manager wants written has some 20 bytes: a new socket has room.
            if !first.is_empty() {
                socket.try_write(first).map_err(failed("write to it"))?;
            }
            return Ok(Self::Socket(socket));
        }
        if !kind.is_file() && !kind.is_fifo() {
            return Err(PressureError::Kind(path.to_owned()));
        }
        let mut file = File::options()
            .read(true)
            // A FIFO that has a writer, if only ourselves, never ends.
            .write(true)
            .custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed())
            .open(path)
            .map_err(failed("open it"))?;
        // In one write: that is how the kernel takes a trigger (Documentation/accounting/psi.rst).
        if !first.is_empty() {
            let written = file.write(first).map_err(failed("write to it"))?;
            if written < first.len() {
                return Err(failed("write all of it")(io::ErrorKind::WriteZero.into()));
            }
        }
        if kind.is_fifo() {
            let file = register(file, Interest::READABLE).map_err(failed("watch it"))?;
            Ok(Self::Fifo(file))
        } else {
            let file = register(file, Interest::PRIORITY).map_err(failed("watch it"))?;
            Ok(Self::Kernel(file))
        }
    }

    /// The next event. Cancel safe.
    async fn event(&mut self) -> io::Result<()> {
        let mut discarded = [0; DISCARDED];
        match self {
            Self::Kernel(file) => {
                file.ready(Interest::PRIORITY).await?.clear_ready();
                Ok(())
            }
            Self::Fifo(file) => loop {
                let mut ready = file.readable().await?;
                // Err: it was not ready after all.
                if let Ok(result) = ready.try_io(|file| file.get_ref().read(&mut discarded)) {
                    return ended(result?);
                }
            },
            Self::Socket(socket) => loop {
                socket.readable().await?;
                match socket.try_read(&mut discarded) {
                    Ok(read) => return ended(read),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error),
                }
            },
        }
    }
}

/// Reading nothing means that the source of notifications has ended.
fn ended(read: usize) -> io::Result<()> {
    if read == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(())
}

/// Returns to the system what the program has freed and the allocator has kept for later,
/// `malloc_trim(3)`. Whether there was anything. Takes milliseconds for a large heap.
#[cfg(target_env = "gnu")]
#[must_use]
pub fn give_back() -> bool {
    #[expect(
        unsafe_code,
        reason = "the C library has it as its own function alone, and no crate wraps it; it takes \
                  any number, and its own locks"
    )]
    // SAFETY: no requirement on the caller: it is thread safe (malloc_trim(3), ATTRIBUTES),
    // and touches only what is free.
    let released = unsafe { libc::malloc_trim(0) };
    released != 0
}

/// Other C libraries keep little, and have no word for this.
#[cfg(not(target_env = "gnu"))]
#[must_use]
pub fn give_back() -> bool {
    false
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;
    use std::time::Duration;

    use rustix::fs::{CWD, FileType, Mode, mknodat};
    use tokio::time::timeout;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    /// "some 200000 2000000", with the zero byte that systemd appends.
    const TRIGGER: &str = "c29tZSAyMDAwMDAgMjAwMDAwMAA=";

    async fn open(path: &Path, write: Option<&str>) -> Result<PressureWatch, PressureError> {
        PressureWatch::open(Some(path.as_os_str()), write.map(OsStr::new)).await
    }

    fn fifo(dir: &Path) -> PathBuf {
        let path = dir.join("pressure");
        mknodat(CWD, &path, FileType::Fifo, Mode::from(0o600), 0).unwrap();
        path
    }

    /// True where it is told of no pressure now.
    async fn calm(watch: &mut PressureWatch) -> bool {
        tokio::select! {
            biased;
            () = watch.felt() => false,
            () = tokio::time::sleep(Duration::from_millis(50)) => true,
        }
    }

    #[tokio::test]
    async fn each_byte_in_a_fifo_is_an_event() {
        let dir = tempfile::tempdir().unwrap();
        let path = fifo(dir.path());
        let mut watch = open(&path, None).await.unwrap();
        assert!(calm(&mut watch).await);
        for _ in 0..2 {
            // The writer goes again: that is no end.
            fs::write(&path, "x").unwrap();
            timeout(PATIENCE, watch.felt()).await.unwrap();
            assert!(calm(&mut watch).await);
        }
    }

    #[tokio::test]
    async fn what_the_manager_wants_is_written_first() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let mut watch = open(&path, Some(TRIGGER)).await.unwrap();
        let (mut manager, _) = listener.accept().unwrap();
        let mut trigger = [0; 20];
        manager.read_exact(&mut trigger).unwrap();
        assert_eq!(&trigger, b"some 200000 2000000\0");
        assert!(calm(&mut watch).await);
        manager.write_all(b"x").unwrap();
        timeout(PATIENCE, watch.felt()).await.unwrap();
        assert!(calm(&mut watch).await);
        // An end is no event, and is not told again and again.
        drop(manager);
        assert!(calm(&mut watch).await);
        assert!(watch.source.is_none());
    }

    #[tokio::test]
    async fn a_file_gets_the_trigger_in_one_piece() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("memory.pressure");
        fs::write(&path, "").unwrap();
        // A disk's file can't be watched; the kernel's can, see the whole machine's test.
        let error = open(&path, Some(TRIGGER)).await.unwrap_err().to_string();
        assert!(error.contains("cannot watch it"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"some 200000 2000000\0");
    }

    #[tokio::test]
    async fn without_a_manager_or_with_nothing_to_watch_nothing_happens() {
        for watch in [None, Some(OsStr::new("/dev/null"))] {
            let mut watch = PressureWatch::open(watch, None).await.unwrap();
            assert!(watch.source.is_none());
            assert!(calm(&mut watch).await);
        }
    }

    #[tokio::test]
    async fn what_cannot_be_watched_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("missing");
        for (path, write, expected) in [
            (missing.as_path(), TRIGGER, "missing: cannot look at it: "),
            (dir.path(), TRIGGER, "expected the absolute path of a file"),
            (Path::new("/dev/zero"), TRIGGER, "/dev/zero: expected"),
            (Path::new("pressure"), TRIGGER, "=pressure: expected"),
            (missing.as_path(), "s@me", "_WRITE: expected base64"),
        ] {
            let error = open(path, Some(write)).await.unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn memory_is_given_back_once_in_a_while() {
        let start = Instant::now();
        let mut watch = PressureWatch::default();
        assert!(watch.due(start));
        assert!(!watch.due(start + Duration::from_secs(2)));
        assert!(!watch.due(start + REST.checked_sub(Duration::from_millis(1)).unwrap()));
        assert!(watch.due(start + REST));
        assert!(!watch.due(start + REST + Duration::from_secs(2)));
    }

    #[cfg(target_env = "gnu")]
    #[test]
    fn what_was_freed_goes_back_to_the_system() {
        let resident = || {
            let status = fs::read_to_string("/proc/self/status").unwrap();
            let line = status.lines().find(|line| line.starts_with("VmRSS:"));
            let kib = line.unwrap().split_whitespace().nth(1).unwrap();
            kib.parse::<usize>().unwrap()
        };
        // Many small pieces, each below what the allocator maps by itself.
        let pieces: Vec<_> = (0..50_000_u32).map(|_| vec![1_u8; 1024]).collect();
        let full = resident();
        // The last one keeps the heap's end where it is.
        let last = pieces.into_iter().next_back();
        assert!(give_back());
        let after = resident();
        assert!(
            after + 30 * 1024 < full,
            "{full} KiB before, {after} KiB after"
        );
        drop(last);
    }
}
