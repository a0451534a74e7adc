//! `fs.*` from /proc/self/mountinfo and fstatvfs(3).
//!
//! Owns which file systems are measured, and how one is asked without mounting it, and without
//! mistaking what is below a mount that has just gone for it. A file system that does not answer
//! costs only its own values ([`survey`](super::survey)).
//!
//! The text is read for every sample, and only compared with the last one. The events of poll(2)
//! are not enough: they report changes within our own mount namespace, but a file system that turns
//! read-only, by a remount outside of it or as ext4 does after an error, changes its line without
//! an event.

mod mountinfo;

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs::File,
    os::{fd::AsFd, unix::ffi::OsStrExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::{
    fs::{AtFlags, CWD, FileType, Mode, OFlags, StatVfs, StatxFlags, fstat, fstatvfs, open, statx},
    io::Errno,
};

use super::{
    Context, Sink,
    error::{CollectError, FileError},
    file::ProcFile,
    odd::{LeftOut, Odd},
    options::Options,
    survey::{Found, Listing, Reported, Subject, Survey, Target, Targets},
};
use crate::metrics::Definition;
use crate::metrics::table::{
    FS_AVAIL, FS_FREE, FS_INODES, FS_INODES_FREE, FS_READONLY, FS_SIZE, FS_STUCK,
};

pub use mountinfo::{Chosen, MAX_MOUNTS, Mount, choose, mark_files, parse};

/// Where the kernel says what is mounted, as this process sees it.
const FILE: &str = "/proc/self/mountinfo";

/// The same as the service manager sees it. A sandbox has mounts of its own, such as an empty tmpfs
/// over /root, which are not file systems of the host.
const HOST_FILE: &str = "/proc/1/mountinfo";

/// Most that is read of it: tens of thousands of mounts.
const LIMIT: usize = 4 * 1024 * 1024;

/// Reads which file systems there are.
pub(super) struct Mounts {
    file: ProcFile,
    host_file: ProcFile,
    root: PathBuf,
    options: Arc<Options>,
    buffer: Vec<u8>,
    host_buffer: Vec<u8>,
    /// The texts that the last list was made from.
    known: Vec<u8>,
    host_known: Vec<u8>,
    /// True if some of them made no sense, which is reported for every sample.
    odd: bool,
}

impl Targets for Mounts {
    type Target = Place;

    fn list(&mut self) -> Result<Option<Listing<Place>>, CollectError> {
        let text = self.file.read_up_to(LIMIT, &mut self.buffer)?;
        // Where that process is hidden from us, what we see has to do.
        let host_text = self.host_file.read_up_to(LIMIT, &mut self.host_buffer);
        let host_text = host_text.unwrap_or_default();
        if text == self.known && host_text == self.host_known && !self.odd {
            return Ok(None);
        }
        let mut odd = Odd::default();
        let mut left_out = LeftOut::default();
        let malformed = |file: &ProcFile, problem| CollectError::malformed(file.path(), problem);
        let mut mounts = parse(text, &mut odd).map_err(|problem| malformed(&self.file, problem))?;
        left_out.add_all(self.file.path(), std::mem::take(&mut odd));
        if !host_text.is_empty() {
            // What the service manager sees only says what we are not to report.
            let host = parse(host_text, &mut odd).unwrap_or_else(|problem| {
                odd.add(problem);
                Vec::new()
            });
            left_out.add_all(self.host_file.path(), odd);
            let devices: BTreeSet<_> = host.iter().map(|mount| mount.device).collect();
            for mount in &mut mounts {
                mount.of_host = !mount.is_in_memory() || devices.contains(&mount.device);
            }
        }
        mark_files(&mut mounts, |point| is_file(&below(&self.root, point)));
        let mut twins = Vec::new();
        let (chosen, cut) = choose(&mounts, &self.options.filesystem, &mut twins);
        for twin in twins {
            left_out.add(CollectError::Senseless {
                subject: self.file.path().display().to_string(),
                expected: EXPECTED_PATH,
                found: format!("\"{}\"", twin.point.escape_ascii()),
            });
        }
        let subjects = chosen.into_iter().map(|chosen| subject(&self.root, chosen));
        let subjects = subjects.collect();
        self.known.clear();
        self.known.extend_from_slice(text);
        self.host_known.clear();
        self.host_known.extend_from_slice(host_text);
        self.odd = left_out.count() > 0;
        Ok(Some(Listing {
            subjects,
            cut,
            left_out,
        }))
    }
}

fn below(root: &Path, point: &[u8]) -> PathBuf {
    root.join(OsStr::from_bytes(point.strip_prefix(b"/").unwrap_or(point)))
}

/// Returns true if this is a single file. A missing one is not.
fn is_file(path: &Path) -> bool {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT | AtFlags::STATX_DONT_SYNC;
    statx(CWD, path, flags, StatxFlags::TYPE).is_ok_and(|found| {
        let kind = FileType::from_raw_mode(found.stx_mode.into());
        kind != FileType::Directory
    })
}

fn subject(root: &Path, chosen: Chosen<'_>) -> Subject<Place> {
    let mount = chosen.mount;
    Subject {
        key: Arc::from(format!("mount {} {}", mount.id, chosen.name)),
        name: chosen.name,
        way: Some(mount.id),
        ways: chosen.through,
        target: Arc::new(Place {
            path: below(root, &mount.point),
            // Captured files are of mounts that are not here.
            id: (root == Path::new("/")).then_some(mount.id),
            readonly: mount.readonly,
        }),
    }
}

/// Where a file system is asked.
pub(super) struct Place {
    path: PathBuf,
    /// The mount that belongs there.
    id: Option<u64>,
    readonly: bool,
}

/// What a file system answered.
#[derive(Debug, Clone, Copy)]
pub(super) enum Answer {
    /// It has this room.
    Room(Room),
    /// It failed; it is there and does answer.
    Failed(Errno),
    /// One cannot get to it, it has just gone, or it is a single file.
    OutOfReach,
}

impl Target for Place {
    type Answer = Answer;

    fn ask(&self) -> Answer {
        match self.room() {
            Ok(Some(room)) => Answer::Room(room),
            Ok(None) | Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS | Errno::LOOP) => {
                Answer::OutOfReach
            }
            Err(error) => Answer::Failed(error),
        }
    }
}

impl Place {
    /// None if another mount is there by now, and if it is on a single file, which does not count
    /// as a file system's place.
    ///
    /// With `O_PATH`, looking does not trigger an automount (open(2)).
    fn room(&self) -> Result<Option<Room>, Errno> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let place = File::from(open(&self.path, flags, Mode::empty())?);
        if let (Some(id), Some(there)) = (self.id, mount_id(place.as_fd())?)
            && id != there
        {
            return Ok(None);
        }
        let kind = FileType::from_raw_mode(fstat(&place)?.st_mode);
        if kind != FileType::Directory {
            return Ok(None);
        }
        fstatvfs(&place).map(|answer| Some(Room::from(&answer)))
    }
}

/// The mount that an open file is on; None before Linux 5.8, which does not say.
fn mount_id(file: impl AsFd) -> Result<Option<u64>, Errno> {
    let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    match statx(file, c"", flags, StatxFlags::MNT_ID) {
        Ok(said) => {
            let mask = StatxFlags::from_bits_retain(said.stx_mask);
            Ok(mask.contains(StatxFlags::MNT_ID).then_some(said.stx_mnt_id))
        }
        Err(Errno::NOSYS | Errno::INVAL) => Ok(None),
        Err(error) => Err(error),
    }
}

/// How much room a file system has, as statvfs(3) puts it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Room {
    /// Size, free and available to everybody, in bytes; None for a file system that has no blocks,
    /// or does not report them.
    pub bytes: Option<[u64; 3]>,
    /// Inodes, and how many are free; None if they are made as they are needed.
    pub inodes: Option<[u64; 2]>,
}

impl From<&StatVfs> for Room {
    fn from(answer: &StatVfs) -> Self {
        let bytes = |blocks: u64| blocks.saturating_mul(answer.f_frsize);
        let blocks = [answer.f_blocks, answer.f_bfree, answer.f_bavail];
        Self {
            bytes: (answer.f_blocks > 0).then(|| blocks.map(bytes)),
            inodes: (answer.f_files > 0).then_some([answer.f_files, answer.f_ffree]),
        }
    }
}

/// Asks the file systems for their room.
pub(super) type FilesystemSource = Survey<Mounts>;

impl FilesystemSource {
    /// One for the mounts that the context's options admit.
    #[must_use]
    pub(super) fn open(context: &Context) -> Self {
        let mounts = Mounts {
            file: ProcFile::new(&context.root, FILE),
            host_file: ProcFile::new(&context.root, HOST_FILE),
            root: context.root.0.clone(),
            options: Arc::clone(&context.options),
            buffer: Vec::new(),
            host_buffer: Vec::new(),
            known: Vec::new(),
            host_known: Vec::new(),
            odd: false,
        };
        Self::new(context.prober.clone(), mounts)
    }
}

const EXPECTED_PATH: &str = "a path that is not shown as another file system's is";
const EXPECTED_SPACE: &str = "no more free space than its size";
const EXPECTED_INODES: &str = "no more free inodes than there are";

impl Reported for Mounts {
    const METRIC: &'static Definition = &FS_SIZE;

    fn tell(sink: &mut Sink<'_>, name: &str, place: &Place, found: Found<Answer>) {
        let room = match found {
            Found::Answer(Answer::Room(room)) => room,
            Found::Answer(Answer::Failed(error)) => {
                sink.left_out(FileError::Read {
                    path: place.path.clone(),
                    source: error.into(),
                });
                Room::default()
            }
            Found::Stuck => Room::default(),
            Found::Answer(Answer::OutOfReach) => return,
        };
        let mut part = |definition, value: u64, all: u64, expected| {
            if value <= all {
                sink.unsigned_of(definition, name, value);
            } else {
                sink.left_out(CollectError::Senseless {
                    subject: format!("the file system on {}", place.path.display()),
                    expected,
                    found: format!("{value} of {all}"),
                });
            }
        };
        if let Some([size, free, avail]) = room.bytes {
            part(&FS_SIZE, size, size, EXPECTED_SPACE);
            part(&FS_FREE, free, size, EXPECTED_SPACE);
            part(&FS_AVAIL, avail, size, EXPECTED_SPACE);
        }
        if let Some([all, free]) = room.inodes {
            part(&FS_INODES, all, all, EXPECTED_INODES);
            part(&FS_INODES_FREE, free, all, EXPECTED_INODES);
        }
        sink.unsigned_of(&FS_READONLY, name, place.readonly.into());
        sink.unsigned_of(&FS_STUCK, name, matches!(found, Found::Stuck).into());
    }
}

#[cfg(test)]
mod tests;
