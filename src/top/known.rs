//! The keys of collectors that were connected to before, each remembered by its address: a file
//! of lines `HOST:PORT KEY`, as ssh(1) has its `known_hosts`. Blocks until the disk is done.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::curve::endpoint::Endpoint;
use crate::curve::keys::PublicKey;

/// The file, in `$XDG_STATE_HOME` (XDG Base Directory Specification).
const FILE: &str = "metrics-top/known_collectors";

/// Most bytes of it: some 3,000 collectors.
const MAX_BYTES: u64 = 256 * 1024;

/// Why the file is of no use.
#[derive(Debug, Error)]
pub enum KnownError {
    /// A system call failed.
    #[error("{}: cannot {action}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// The system's answer.
        source: io::Error,
    },
    /// A line that says something else.
    #[error("{}:{line}: expected `HOST:PORT KEY`; correct the line, or remove it", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// The file is too large.
    #[error("{}: expected at most {MAX_BYTES} bytes; remove lines that are not needed", .0.display())]
    TooLarge(PathBuf),
}

/// The file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    path: PathBuf,
}

/// What is remembered of one collector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remembered {
    /// Its key.
    pub key: PublicKey,
    /// The file.
    pub path: PathBuf,
    /// The line, from 1.
    pub line: usize,
}

impl Known {
    /// The file in this directory of a user's state.
    #[must_use]
    pub fn in_state(directory: &Path) -> Self {
        Self {
            path: directory.join(FILE),
        }
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is remembered of the collector at this address.
    ///
    /// # Errors
    ///
    /// [`KnownError`], also for a line that is about another.
    pub fn find(&self, collector: &Endpoint) -> Result<Option<Remembered>, KnownError> {
        let text = self.read()?;
        let mut found = None;
        for (at, line) in text.lines().enumerate() {
            let line_number = at + 1;
            let wrong = || KnownError::Line {
                path: self.path.clone(),
                line: line_number,
            };
            if let Some((endpoint, key)) = parsed(line).map_err(|()| wrong())?
                && endpoint == *collector
            {
                found = Some(Remembered {
                    key,
                    path: self.path.clone(),
                    line: line_number,
                });
            }
        }
        Ok(found)
    }

    /// All of them; those of the lines that can be read.
    #[must_use]
    pub fn all(&self) -> Vec<Endpoint> {
        let text = self.read().unwrap_or_default();
        let known = text.lines().filter_map(|line| parsed(line).ok()?);
        known.map(|(endpoint, _)| endpoint).collect()
    }

    /// Remembers a collector's key, in the place of the one that it had before.
    ///
    /// # Errors
    ///
    /// [`KnownError`]; then the file is as it was.
    pub fn remember(&self, collector: &Endpoint, key: PublicKey) -> Result<(), KnownError> {
        let directory = self.path.parent().unwrap_or(Path::new("/"));
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(failed(directory, "create the directory"))?;
        // Two processes at a time must not overwrite each other's lines. The lock ends with the
        // file.
        let lock = File::open(directory).map_err(failed(directory, "open it"))?;
        lock.lock().map_err(failed(directory, "lock it"))?;
        let mut text = String::new();
        for line in self.read()?.lines() {
            let is_it = matches!(parsed(line), Ok(Some((endpoint, _))) if endpoint == *collector);
            if !is_it {
                text.push_str(line);
                text.push('\n');
            }
        }
        text.push_str(&format_line(collector, key));
        self.replace(&text)
    }

    fn read(&self) -> Result<String, KnownError> {
        let open = File::options()
            .read(true)
            // A pipe in its place would block the open.
            .custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed())
            .open(&self.path);
        let file = match open {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(String::new()),
            Err(error) => return Err(failed(&self.path, "open it")(error)),
        };
        let mut text = String::new();
        file.take(MAX_BYTES + 1)
            .read_to_string(&mut text)
            .map_err(failed(&self.path, "read it"))?;
        if text.len() as u64 > MAX_BYTES {
            return Err(KnownError::TooLarge(self.path.clone()));
        }
        Ok(text)
    }

    fn replace(&self, text: &str) -> Result<(), KnownError> {
        let draft = self
            .path
            .with_file_name(format!(".known.{:016x}", fastrand::u64(..)));
        let write = || {
            let mut file = File::options()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&draft)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&draft, &self.path)
        };
        write().map_err(|error| {
            // The first error counts.
            let _ = fs::remove_file(&draft);
            failed(&self.path, "write it")(error)
        })
    }
}

fn format_line(collector: &Endpoint, key: PublicKey) -> String {
    format!("{collector} {key}\n")
}

/// What a line says; None for an empty one and a comment. A key may have a `#` in it.
fn parsed(line: &str) -> Result<Option<(Endpoint, PublicKey)>, ()> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let (endpoint, key) = line.split_once([' ', '\t']).ok_or(())?;
    let endpoint = endpoint.parse().map_err(|_| ())?;
    let key = key.trim_start().parse().map_err(|_| ())?;
    Ok(Some((endpoint, key)))
}

fn failed(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> KnownError {
    let path = path.to_owned();
    move |source| KnownError::Io {
        path,
        action,
        source,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const ONE: &str = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7";
    const OTHER: &str = "rq:r#>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7";

    fn endpoint(text: &str) -> Endpoint {
        text.parse().unwrap()
    }

    #[test]
    fn each_collector_has_a_key_of_its_own() {
        let state = tempfile::tempdir().unwrap();
        let known = Known::in_state(state.path());
        let find = |name: &str| {
            let found = known.find(&endpoint(name)).unwrap();
            found.map(|found| (found.key.to_string(), found.line))
        };
        assert_eq!(find("c1:5557"), None);
        let remember = |name: &str, key: &str| {
            known
                .remember(&endpoint(name), key.parse().unwrap())
                .unwrap();
        };
        remember("c1:5557", ONE);
        remember("[::1]:5557", OTHER);
        assert_eq!(find("C1:5557"), Some((ONE.to_owned(), 1)));
        assert_eq!(find("[::1]:5557"), Some((OTHER.to_owned(), 2)));
        assert_eq!(find("c1:5558"), None);
        remember("c1:5557", OTHER);
        let text = fs::read_to_string(known.path()).unwrap();
        assert_eq!(text, format!("[::1]:5557 {OTHER}\nc1:5557 {OTHER}\n"));
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(known.path()), 0o600);
        let directory = known.path().parent().unwrap();
        assert_eq!(mode(directory), 0o700);
        assert_eq!(fs::read_dir(directory).unwrap().count(), 1);
    }

    #[test]
    fn comments_stay_and_a_broken_line_is_named() {
        let state = tempfile::tempdir().unwrap();
        let known = Known::in_state(state.path());
        fs::create_dir_all(known.path().parent().unwrap()).unwrap();
        fs::write(known.path(), "# the one in the cellar\n\nc1:5557 ?\n").unwrap();
        let error = known.find(&endpoint("c2:5557")).unwrap_err().to_string();
        assert!(
            error.ends_with(
                "known_collectors:3: expected `HOST:PORT KEY`; correct the line, or remove it"
            ),
            "{error}"
        );
        fs::write(known.path(), format!("# the cellar\nc1:5557 {ONE}")).unwrap();
        known
            .remember(&endpoint("c2:5557"), ONE.parse().unwrap())
            .unwrap();
        let text = fs::read_to_string(known.path()).unwrap();
        assert_eq!(
            text,
            format!("# the cellar\nc1:5557 {ONE}\nc2:5557 {ONE}\n")
        );
        let big = "#".repeat(usize::try_from(MAX_BYTES).unwrap() + 1);
        fs::write(known.path(), big).unwrap();
        let error = known.find(&endpoint("c2:5557")).unwrap_err().to_string();
        assert!(error.contains("at most"), "{error}");
    }
}
