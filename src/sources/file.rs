//! Files of the kernel, kept open and read again.
//!
//! Owns the reading: a [`ProcFile`] is opened once, read from its beginning with pread(2)
//! at each sample into a buffer that the caller reuses, and opened again only where the
//! kernel says that what it was open on is gone. Refuses to read without a bound.
//!
//! A file of /proc is made while it is read (`seq_file` in the kernel's documentation): one
//! read with a large enough buffer sees one state, so the buffer grows and stays grown.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use rustix::io::Errno;

use super::error::FileError;

/// The directory that the kernel's files are found under: `/`, or that of captured files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root(pub PathBuf);

impl Default for Root {
    fn default() -> Self {
        Self(PathBuf::from("/"))
    }
}

impl Root {
    /// Where a file of the running system, given by its absolute path, is below this root.
    #[must_use]
    pub fn path(&self, absolute: &str) -> PathBuf {
        self.0.join(absolute.trim_start_matches('/'))
    }
}

/// Most that is read of a file: /proc/meminfo, the largest that is read whole, has 1.5 kB
/// and grows by a line a year; what exceeds this is not the kernel's file.
pub const WHOLE_LIMIT: usize = 64 * 1024;

/// The first size of the buffer: a page holds /proc/meminfo with room to spare.
const WHOLE_START: usize = 4096;

/// Most that is read to find the end of a first line: that of /proc/stat is at most 215
/// bytes with ten counters of 20 digits, so this leaves room for as many more.
pub const LINE_LIMIT: usize = 512;

/// A file that is read again and again.
#[derive(Debug)]
pub struct ProcFile {
    path: PathBuf,
    file: Option<File>,
}

impl ProcFile {
    /// Names the file; it is opened with the first reading.
    #[must_use]
    pub fn new(root: &Root, absolute: &str) -> Self {
        Self {
            path: root.path(absolute),
            file: None,
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The whole file, which has at most [`WHOLE_LIMIT`] bytes.
    pub fn read_whole<'b>(&mut self, buffer: &'b mut Vec<u8>) -> Result<&'b [u8], FileError> {
        self.read_up_to(WHOLE_LIMIT, buffer)
    }

    /// The whole file, which has at most `limit` bytes: for those that grow with the host.
    pub fn read_up_to<'b>(
        &mut self,
        limit: usize,
        buffer: &'b mut Vec<u8>,
    ) -> Result<&'b [u8], FileError> {
        self.read(buffer, |file, buffer| read_to_end(file, limit, buffer))
    }

    /// The first line with its newline, and whatever came along with it; without a newline
    /// where the file ends before one or has none in [`LINE_LIMIT`] bytes.
    ///
    /// The rest of the file is not copied: /proc/stat has a counter for every interrupt.
    pub fn read_first_line<'b>(&mut self, buffer: &'b mut Vec<u8>) -> Result<&'b [u8], FileError> {
        self.read(buffer, read_to_newline)
    }

    fn read<'b>(
        &mut self,
        buffer: &'b mut Vec<u8>,
        fill: impl Fn(&File, &mut Vec<u8>) -> io::Result<Filled>,
    ) -> Result<&'b [u8], FileError> {
        let kept = self.file.is_some();
        let mut result = self.opened().map(|file| fill(file, buffer))?;
        if kept && result.as_ref().is_err_and(is_gone) {
            self.file = None;
            result = self.opened().map(|file| fill(file, buffer))?;
        }
        match result {
            Ok(Filled::Bytes(length)) => Ok(buffer.get(..length).unwrap_or_default()),
            Ok(Filled::Exceeded { limit }) => Err(FileError::TooLarge {
                path: self.path.clone(),
                limit,
            }),
            Err(source) => {
                // Whatever is wrong with this handle: the next reading begins with a new one.
                self.file = None;
                Err(FileError::Read {
                    path: self.path.clone(),
                    source,
                })
            }
        }
    }

    fn opened(&mut self) -> Result<&File, FileError> {
        match &mut self.file {
            Some(file) => Ok(file),
            none => {
                let file = File::open(&self.path).map_err(|source| FileError::Open {
                    path: self.path.clone(),
                    source,
                })?;
                Ok(none.insert(file))
            }
        }
    }
}

enum Filled {
    /// So many bytes at the buffer's beginning are the answer.
    Bytes(usize),
    /// The file has more than so many bytes.
    Exceeded { limit: usize },
}

/// Returns true if the open file is no longer what the path names: a stale network file, a device
/// or a process that is gone, a sysctl whose module was unloaded (ENOENT). Opening the path again
/// may find its successor.
fn is_gone(error: &io::Error) -> bool {
    [
        Errno::STALE,
        Errno::NODEV,
        Errno::SRCH,
        Errno::NXIO,
        Errno::NOENT,
    ]
    .iter()
    .any(|gone| error.raw_os_error() == Some(gone.raw_os_error()))
}

/// pread(2) that a signal does not end.
fn read_at(file: &File, buffer: &mut [u8], offset: usize) -> io::Result<usize> {
    loop {
        match file.read_at(buffer, offset as u64) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

fn read_to_end(file: &File, limit: usize, buffer: &mut Vec<u8>) -> io::Result<Filled> {
    if buffer.len() < WHOLE_START {
        buffer.resize(WHOLE_START, 0);
    }
    let mut length = 0;
    loop {
        // A short read says nothing: seq_file returns what its own buffer held.
        // Others that use the buffer may have larger files.
        let end = buffer.len().min(limit + 1);
        let room = buffer.get_mut(length..end).unwrap_or_default();
        match read_at(file, room, length)? {
            0 if room.is_empty() && length > limit => return Ok(Filled::Exceeded { limit }),
            0 if room.is_empty() => {
                // One byte more than the limit distinguishes a file of exactly that size from a
                // larger one.
                let size = (buffer.len() * 2).min(limit + 1);
                buffer.resize(size, 0);
            }
            0 => return Ok(Filled::Bytes(length)),
            count => length += count,
        }
    }
}

fn read_to_newline(file: &File, buffer: &mut Vec<u8>) -> io::Result<Filled> {
    if buffer.len() < LINE_LIMIT {
        buffer.resize(LINE_LIMIT, 0);
    }
    let window = buffer.get_mut(..LINE_LIMIT).unwrap_or_default();
    let mut length = 0;
    loop {
        let room = window.get_mut(length..).unwrap_or_default();
        let count = read_at(file, room, length)?;
        let ended = count == 0 || room.get(..count).is_some_and(|new| new.contains(&b'\n'));
        length += count;
        if ended {
            return Ok(Filled::Bytes(length));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, os::unix::fs::symlink, process::Command};

    fn root() -> (tempfile::TempDir, Root) {
        let directory = tempfile::tempdir().unwrap();
        let root = Root(directory.path().to_owned());
        (directory, root)
    }

    #[test]
    fn the_root_stands_before_the_absolute_path() {
        assert_eq!(Root::default().path("/proc/stat"), Path::new("/proc/stat"));
        assert_eq!(
            Root("/captured".into()).path("/proc/stat"),
            Path::new("/captured/proc/stat")
        );
    }

    #[test]
    fn a_missing_file_is_named_and_found_once_it_is_there() {
        let (_directory, root) = root();
        let mut file = ProcFile::new(&root, "/meminfo");
        let mut buffer = Vec::new();
        let error = file.read_whole(&mut buffer).unwrap_err();
        assert!(matches!(&error, FileError::Open { path, .. } if path == &root.path("/meminfo")));
        assert!(error.to_string().starts_with("cannot open "), "{error}");
        fs::write(root.path("/meminfo"), "here\n").unwrap();
        assert_eq!(file.read_whole(&mut buffer).unwrap(), b"here\n");
    }

    #[test]
    fn each_reading_begins_at_the_beginning() {
        let (_directory, root) = root();
        let mut file = ProcFile::new(&root, "/x");
        let mut buffer = Vec::new();
        for text in ["a long first text\n", "short\n", ""] {
            fs::write(root.path("/x"), text).unwrap();
            assert_eq!(file.read_whole(&mut buffer).unwrap(), text.as_bytes());
            assert_eq!(file.read_first_line(&mut buffer).unwrap(), text.as_bytes());
        }
    }

    #[test]
    fn a_file_of_exactly_the_limit_is_read_and_a_larger_one_refused() {
        let (_directory, root) = root();
        let mut file = ProcFile::new(&root, "/x");
        let mut buffer = Vec::new();
        for size in [
            WHOLE_START - 1,
            WHOLE_START,
            WHOLE_START + 1,
            WHOLE_LIMIT - 1,
            WHOLE_LIMIT,
        ] {
            fs::write(root.path("/x"), vec![b'x'; size]).unwrap();
            assert_eq!(file.read_whole(&mut buffer).unwrap().len(), size);
        }
        fs::write(root.path("/x"), vec![b'x'; WHOLE_LIMIT + 1]).unwrap();
        assert!(matches!(
            file.read_whole(&mut buffer),
            Err(FileError::TooLarge {
                limit: WHOLE_LIMIT,
                ..
            })
        ));
        assert!(buffer.len() <= WHOLE_LIMIT + 1);
    }

    #[test]
    fn the_limit_is_the_files_own_whatever_the_buffer_holds() {
        let (_directory, root) = root();
        let mut file = ProcFile::new(&root, "/x");
        let mut buffer = vec![b'y'; 100];
        fs::write(root.path("/x"), vec![b'x'; 3 * WHOLE_LIMIT]).unwrap();
        assert!(file.read_whole(&mut buffer).is_err());
        let text = file.read_up_to(3 * WHOLE_LIMIT, &mut buffer).unwrap();
        assert_eq!(text, vec![b'x'; 3 * WHOLE_LIMIT]);
        let error = file.read_whole(&mut buffer).unwrap_err();
        assert!(error.to_string().ends_with("is larger than 65536 bytes"));
        let error = file.read_up_to(10, &mut buffer).unwrap_err();
        assert!(error.to_string().ends_with("is larger than 10 bytes"));
    }

    #[test]
    fn an_endless_file_is_refused() {
        let mut file = ProcFile::new(&Root::default(), "/dev/zero");
        assert!(matches!(
            file.read_whole(&mut Vec::new()),
            Err(FileError::TooLarge { .. })
        ));
        assert_eq!(
            file.read_first_line(&mut Vec::new()).unwrap().len(),
            LINE_LIMIT
        );
    }

    #[test]
    fn a_directory_in_its_place_is_an_error_of_reading() {
        let (_directory, root) = root();
        fs::create_dir(root.path("/stat")).unwrap();
        let mut file = ProcFile::new(&root, "/stat");
        let error = file.read_first_line(&mut Vec::new()).unwrap_err();
        assert!(matches!(&error, FileError::Read { .. }), "{error}");
        assert!(error.to_string().contains("Is a directory"), "{error}");
    }

    #[test]
    fn no_more_than_the_first_lines_are_read_of_a_long_file() {
        let (_directory, root) = root();
        fs::write(
            root.path("/stat"),
            format!("cpu 1\n{}", "intr 0 ".repeat(1000)),
        )
        .unwrap();
        let mut file = ProcFile::new(&root, "/stat");
        let mut buffer = Vec::new();
        let text = file.read_first_line(&mut buffer).unwrap();
        assert!(text.starts_with(b"cpu 1\n"));
        assert_eq!(text.len(), LINE_LIMIT);
    }

    /// The file of a process that has ended answers ESRCH to a handle that was opened
    /// before; its path may name another one by then.
    #[test]
    fn a_file_that_is_gone_is_opened_again_once() {
        let (_directory, root) = root();
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        symlink(format!("/proc/{}/stat", child.id()), root.path("/stat")).unwrap();
        let mut file = ProcFile::new(&root, "/stat");
        let mut buffer = Vec::new();
        let first = file.read_whole(&mut buffer).unwrap();
        assert!(first.starts_with(child.id().to_string().as_bytes()));

        child.kill().unwrap();
        child.wait().unwrap();
        fs::remove_file(root.path("/stat")).unwrap();
        symlink("/proc/self/stat", root.path("/stat")).unwrap();
        let second = file.read_whole(&mut buffer).unwrap();
        assert!(second.starts_with(std::process::id().to_string().as_bytes()));
    }

    #[test]
    fn a_file_that_is_gone_for_good_is_an_error_and_not_a_loop() {
        let (_directory, root) = root();
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        symlink(format!("/proc/{}/stat", child.id()), root.path("/stat")).unwrap();
        let mut file = ProcFile::new(&root, "/stat");
        let mut buffer = Vec::new();
        file.read_whole(&mut buffer).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(matches!(
            file.read_whole(&mut buffer),
            Err(FileError::Open { .. })
        ));
    }
}
