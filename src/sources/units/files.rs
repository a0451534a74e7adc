//! A cgroup's files: opened, read, kept open or not.
//!
//! Owns the open files of all units, which are bounded in their number. A file that is
//! kept costs the kernel about 5 kB (the page that its text is made in, and what describes
//! it), one that is not kept costs several times the time of each reading: so those that
//! are read for every sample are kept, and of a unit that does something all of them.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::PathBuf,
};

use rustix::{
    fs::{CWD, Mode, OFlags},
    io::Errno,
    process::{Resource, getrlimit},
};

use super::super::{
    error::{FileError, Malformed},
    file::WHOLE_LIMIT,
    odd::{LeftOut, Odd},
};

/// Most files that are kept open: all of 300 units that are busy. This is some 16 MB of
/// the kernel's memory, of which each file is charged to the agent.
const MAX_KEPT: usize = 3300;

/// The part of the process's files that units may take; the rest is for connections, the
/// bus and the other sources.
const KEPT_SHARE: usize = 2;

/// Room for the text of any file but the longest `io.stat`.
const READ_START: usize = 4096;

/// Most that is read of `io.stat`, which has a line of some 90 bytes for each disk that the unit
/// has used: 10,000 of them.
pub(super) const IO_STAT_LIMIT: usize = 1024 * 1024;

/// `anon` and `file` are in the first 60 bytes of `memory.stat`. The kernel makes the whole
/// text, but no more is copied.
const MEMORY_STAT_HEAD: usize = 128;

/// A file of a cgroup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum File {
    CpuStat,
    MemoryCurrent,
    IoStat,
    MemoryPeak,
    MemorySwapCurrent,
    MemoryStat,
    MemoryEvents,
    PidsCurrent,
    CpuPressure,
    MemoryPressure,
    IoPressure,
}

/// How many are read for every sample: the first.
const ALWAYS_READ: usize = File::IoStat as usize + 1;

/// How many there are.
const FILES: usize = File::IoPressure as usize + 1;

impl File {
    fn name(self) -> &'static str {
        match self {
            Self::CpuStat => "cpu.stat",
            Self::MemoryCurrent => "memory.current",
            Self::IoStat => "io.stat",
            Self::MemoryPeak => "memory.peak",
            Self::MemorySwapCurrent => "memory.swap.current",
            Self::MemoryStat => "memory.stat",
            Self::MemoryEvents => "memory.events",
            Self::PidsCurrent => "pids.current",
            Self::CpuPressure => "cpu.pressure",
            Self::MemoryPressure => "memory.pressure",
            Self::IoPressure => "io.pressure",
        }
    }

    /// Returns true if it is read for every sample, also of an idle unit.
    fn is_always_read(self) -> bool {
        (self as usize) < ALWAYS_READ
    }

    /// Most that is read of it.
    fn limit(self) -> usize {
        match self {
            Self::IoStat => IO_STAT_LIMIT,
            _ => WHOLE_LIMIT,
        }
    }

    fn bit(self) -> u16 {
        1 << self as u16
    }
}

/// The files of one unit's cgroup.
#[derive(Debug)]
pub(super) struct Cgroup {
    /// Below the root of the tree.
    path: String,
    handles: [Option<OwnedFd>; FILES],
    /// A bit for each file that the cgroup has not.
    missing: u16,
}

impl Cgroup {
    /// That of the path below the root of the tree.
    pub(super) fn new(path: String) -> Self {
        Self {
            path,
            handles: [const { None }; FILES],
            missing: 0,
        }
    }

    /// Where it is below the root of the tree.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// How many of its files are open: of those that are read for every sample, and of the
    /// others.
    pub(super) fn kept(&self) -> (usize, usize) {
        let (always, seldom) = self.handles.split_at(ALWAYS_READ);
        let count = |handles: &[Option<OwnedFd>]| handles.iter().flatten().count();
        (count(always), count(seldom))
    }

    /// Looks again for files that were missing: a controller may have been enabled.
    pub(super) fn look_again(&mut self) {
        self.missing = 0;
    }

    /// Closes what need not be read for every sample.
    pub(super) fn close_seldom_read(&mut self) {
        for handle in self.handles.iter_mut().skip(ALWAYS_READ) {
            *handle = None;
        }
    }

    /// Closes everything.
    pub(super) fn close(&mut self) {
        self.handles = [const { None }; FILES];
    }
}

/// What a file said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found<T> {
    /// These values.
    Values(T),
    /// The cgroup has no such file, or is gone.
    Missing,
    /// It cannot be read, or makes no sense.
    Odd,
}

impl<T> Found<T> {
    /// The values, if there are any.
    pub(super) fn values(self) -> Option<T> {
        match self {
            Self::Values(values) => Some(values),
            Self::Missing | Self::Odd => None,
        }
    }
}

/// Where readings are made, and what is left out of them.
pub(super) struct Room<'r> {
    pub(super) buffer: &'r mut Vec<u8>,
    pub(super) left_out: &'r mut LeftOut,
}

/// Reads files of cgroups.
#[derive(Debug)]
pub(super) struct Reader {
    base: PathBuf,
    root: Option<OwnedFd>,
    /// How many files may be kept open.
    pub(super) most_kept: usize,
    /// How many more may be, in this sample.
    room: usize,
    /// How many more of those that are not read for every sample.
    seldom_room: usize,
    /// The path of the file that is opened.
    path: String,
}

impl Reader {
    /// Reads below the tree that is mounted on `base`.
    pub(super) fn new(base: PathBuf) -> Self {
        let limit = getrlimit(Resource::Nofile).current;
        let limit = limit.map_or(usize::MAX, |limit| {
            usize::try_from(limit).unwrap_or(usize::MAX)
        });
        Self {
            base,
            root: None,
            most_kept: MAX_KEPT.min(limit / KEPT_SHARE),
            room: 0,
            seldom_room: 0,
            path: String::new(),
        }
    }

    /// Begins another sample, of units whose files are open as these counts say
    /// ([`Cgroup::kept`]). What is read for every sample comes first where there is little
    /// room.
    pub(super) fn begin(&mut self, units: impl Iterator<Item = (usize, usize)>) {
        self.room = self.most_kept;
        self.seldom_room = self.most_kept;
        for (always, seldom) in units {
            self.room = self.room.saturating_sub(always + seldom);
            self.seldom_room = self.seldom_room.saturating_sub(ALWAYS_READ + seldom);
        }
    }

    /// The values of a file. What is odd about it is noted, and costs nothing else.
    ///
    /// It stays open where it is read for every sample, or where all of the unit's files
    /// `stay`, and there is room for it.
    pub(super) fn read<T>(
        &mut self,
        cgroup: &mut Cgroup,
        file: File,
        stay: bool,
        room: &mut Room<'_>,
        parse: impl FnOnce(&[u8], &mut Odd) -> Result<T, Malformed>,
    ) -> Found<T> {
        if cgroup.missing & file.bit() != 0 {
            return Found::Missing;
        }
        let length = match self.fill(cgroup, file, stay, room.buffer) {
            Ok(Some(length)) => length,
            Ok(None) => {
                let error = FileError::TooLarge {
                    path: self.full_path(cgroup, file),
                    limit: file.limit(),
                };
                room.left_out.add(error.into());
                return Found::Odd;
            }
            Err(error) if is_missing(error) => {
                cgroup.missing |= file.bit();
                return Found::Missing;
            }
            Err(error) => {
                let error = FileError::Read {
                    path: self.full_path(cgroup, file),
                    source: io::Error::from(error),
                };
                room.left_out.add(error.into());
                return Found::Odd;
            }
        };
        let mut odd = Odd::default();
        let found = match parse(room.buffer.get(..length).unwrap_or_default(), &mut odd) {
            Ok(values) => Found::Values(values),
            Err(problem) => {
                odd.add(problem);
                Found::Odd
            }
        };
        if !odd.is_empty() {
            let path = self.full_path(cgroup, file);
            room.left_out.add_all(&path, odd);
        }
        found
    }

    /// How many bytes were read into the buffer; None if the file is too large.
    fn fill(
        &mut self,
        cgroup: &mut Cgroup,
        file: File,
        stay: bool,
        buffer: &mut Vec<u8>,
    ) -> Result<Option<usize>, Errno> {
        let Some(slot) = cgroup.handles.get_mut(file as usize) else {
            return Err(Errno::NOENT);
        };
        if let Some(handle) = slot {
            match read_whole(handle, file, buffer) {
                // The cgroup or its controller is gone; the path may have a successor.
                Err(Errno::NODEV) => {
                    *slot = None;
                    if file == File::CpuStat {
                        cgroup.close();
                        cgroup.look_again();
                    }
                }
                result => return result,
            }
        }
        let handle = self.open(cgroup, file)?;
        let result = read_whole(&handle, file, buffer);
        let always = file.is_always_read();
        let room = if always {
            self.room
        } else {
            self.room.min(self.seldom_room)
        };
        if (stay || always)
            && room > 0
            && result.is_ok()
            && let Some(slot) = cgroup.handles.get_mut(file as usize)
        {
            *slot = Some(handle);
            self.room -= 1;
            self.seldom_room = self.seldom_room.saturating_sub(usize::from(!always));
        }
        result
    }

    fn open(&mut self, cgroup: &Cgroup, file: File) -> Result<OwnedFd, Errno> {
        self.path.clear();
        for part in [&cgroup.path, "/", file.name()] {
            self.path.push_str(part);
        }
        let root = if let Some(root) = &self.root {
            root
        } else {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let root = rustix::fs::openat(CWD, &self.base, flags, Mode::empty())?;
            self.root.insert(root)
        };
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        rustix::fs::openat(root, self.path.as_str(), flags, Mode::empty())
    }

    fn full_path(&self, cgroup: &Cgroup, file: File) -> PathBuf {
        self.base.join(&cgroup.path).join(file.name())
    }
}

/// Returns true if this says that there is no such file: none of this name, none any more, or none
/// that the kernel would make a text for (pressure that is not accounted for).
fn is_missing(error: Errno) -> bool {
    [Errno::NOENT, Errno::NODEV, Errno::OPNOTSUPP].contains(&error)
}

/// A cgroup's file is made in one piece: what is shorter than the buffer is whole.
fn read_whole(file: &OwnedFd, which: File, buffer: &mut Vec<u8>) -> Result<Option<usize>, Errno> {
    if buffer.len() < READ_START {
        buffer.resize(READ_START, 0);
    }
    if which == File::MemoryStat {
        let head = buffer.get_mut(..MEMORY_STAT_HEAD).unwrap_or_default();
        return read_at(file.as_fd(), head).map(Some);
    }
    loop {
        let length = read_at(file.as_fd(), buffer)?;
        if length < buffer.len() {
            return Ok(Some(length));
        }
        let limit = which.limit();
        if buffer.len() > limit {
            return Ok(None);
        }
        let size = (buffer.len() * 2).min(limit + 1);
        buffer.resize(size, 0);
    }
}

fn read_at(file: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<usize, Errno> {
    rustix::io::retry_on_intr(|| rustix::io::pread(file, &mut *buffer, 0))
}
