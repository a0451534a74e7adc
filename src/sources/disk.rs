//! `disk.*` from /proc/diskstats (Documentation/admin-guide/iostats.rst of the kernel) and
//! /sys/block.
//!
//! Counts go out as the kernel has them, and wrap as they do there: times are 32 bits of
//! milliseconds since Linux 4.19. A sector is 512 bytes whatever the device's own are. Discards
//! (Linux 4.18) and flushes (5.5) that a kernel does not count are left out.
//!
//! Only whole disks are reported, because the requests of a partition are its disk's. /sys/block
//! (Documentation/ABI/stable/sysfs-block of the kernel) has the whole disks and no partitions. Names
//! are no guide: Xen uses `xvda1` for a disk, and there are as many ways to name a partition as there
//! are drivers. A disk without a size, such as an nbd device that is not connected, has nothing to
//! report. Where /sys is hidden, as in some containers, a device whose name is another one's with a
//! number counts as its partition, and one that never did anything counts as empty.
//!
//! Not parsed by `procfs_core`, which the tests compare with: it allocates for each line, also for
//! the many loop devices and partitions that are not used here.

use std::{
    collections::BTreeSet,
    fs,
    time::{Duration, Instant},
};

use super::{
    Context, Sink, Source,
    error::{CollectError, Malformed},
    file::{ProcFile, Root},
    instances::{EXPECTED_NAME, Instances, is_name},
    odd::Odd,
    text::{
        Line, MAX_COUNT, MAX_EVENTS, MILLISECONDS, count, decimal, fields, lines, max_sum_of_times,
    },
};
use crate::metrics::Definition;
use crate::metrics::table::{
    DISK_BUSY, DISK_DISCARD_BYTES, DISK_DISCARD_TIME, DISK_DISCARDS, DISK_FLUSH_TIME, DISK_FLUSHES,
    DISK_INFLIGHT, DISK_QUEUE_TIME, DISK_READ_BYTES, DISK_READ_TIME, DISK_READS, DISK_READS_MERGED,
    DISK_WRITE_BYTES, DISK_WRITE_TIME, DISK_WRITES, DISK_WRITES_MERGED,
};

/// Where the kernel says it.
const FILE: &str = "/proc/diskstats";

/// Most that is read of it: room for 10,000 disks and their partitions of some 100 bytes
/// each, a hundred times what large hosts have.
const FILE_LIMIT: usize = 4 * 1024 * 1024;

/// Most devices of a sample. With sixteen values each they take 4,096 of the 10,000 that a
/// message may have.
pub const MAX_DEVICES: usize = 256;

/// "The sector size is 512 bytes" wherever the kernel counts sectors.
const SECTOR_BYTES: u64 = 512;

const EXPECTED: &str =
    "two device numbers, a name and eleven or more counts of what a disk can have done";

/// How many counts there are: eleven that every kernel has, four of discards since Linux
/// 4.18, two of flushes since 5.5. What is there of a group is there as a whole.
pub const COUNTS: usize = 17;
const GROUP_ENDS: [usize; 3] = [11, 15, COUNTS];

/// The one that goes up and down.
const INFLIGHT: usize = 8;

/// Those that are sizes, in sectors.
const SECTORS: [usize; 3] = [2, 6, 13];

/// Those that are times, in ms. Many requests wait at the same time.
const TIMES: [usize; 6] = [3, 7, 9, 10, 14, 16];

/// Most that a count can be.
fn most(at: usize) -> u64 {
    match at {
        INFLIGHT => MAX_COUNT,
        _ if TIMES.contains(&at) => max_sum_of_times(MILLISECONDS),
        _ if SECTORS.contains(&at) => MAX_EVENTS / SECTOR_BYTES,
        _ => MAX_EVENTS,
    }
}

/// What each count is reported as, and how many of the metric's units it has. The 13th, discards
/// that were merged into another, is not reported.
static REPORTED: [(usize, &Definition, u64); COUNTS - 1] = [
    (0, &DISK_READS, 1),
    (1, &DISK_READS_MERGED, 1),
    (2, &DISK_READ_BYTES, SECTOR_BYTES),
    (3, &DISK_READ_TIME, 1),
    (4, &DISK_WRITES, 1),
    (5, &DISK_WRITES_MERGED, 1),
    (6, &DISK_WRITE_BYTES, SECTOR_BYTES),
    (7, &DISK_WRITE_TIME, 1),
    (INFLIGHT, &DISK_INFLIGHT, 1),
    (9, &DISK_BUSY, 1),
    (10, &DISK_QUEUE_TIME, 1),
    (11, &DISK_DISCARDS, 1),
    (13, &DISK_DISCARD_BYTES, SECTOR_BYTES),
    (14, &DISK_DISCARD_TIME, 1),
    (15, &DISK_FLUSHES, 1),
    (16, &DISK_FLUSH_TIME, 1),
];

/// What the kernel counts for one device, in the order of the file; times in ms, sizes in
/// sectors. None for what it does not count, and for what makes no sense.
pub type Disk = [Option<u64>; COUNTS];

/// The name of the device that a line of /proc/diskstats is about, if it is printable.
pub fn name<'t>(line: &Line<'t>) -> Result<&'t [u8], Malformed> {
    let name = fields(line.text).nth(2);
    let name = name.ok_or_else(|| line.malformed(EXPECTED))?;
    let shown = is_name(name).then_some(name);
    shown.ok_or_else(|| line.malformed_word(EXPECTED_NAME, Some(name)))
}

/// The counts of a line of /proc/diskstats.
///
/// Further numbers of a future kernel are ignored.
pub fn parse(line: &Line<'_>, odd: &mut Odd) -> Disk {
    let mut disk = [None; COUNTS];
    let mut there = 0;
    for (at, (value, field)) in disk.iter_mut().zip(fields(line.text).skip(3)).enumerate() {
        *value = odd.note(count(field, most(at)), || {
            line.malformed_word(EXPECTED, Some(field))
        });
        there += 1;
    }
    if !GROUP_ENDS.contains(&there) {
        odd.add(line.malformed(EXPECTED));
    }
    disk
}

/// Reads /proc/diskstats.
#[derive(Debug)]
pub struct DiskSource {
    root: Root,
    file: ProcFile,
    devices: Instances<Device>,
}

impl DiskSource {
    /// One for the devices that [`Options::disk`](super::Options) admits.
    #[must_use]
    pub fn open(context: &Context) -> Self {
        Self {
            root: context.root.clone(),
            file: ProcFile::new(&context.root, FILE),
            devices: Instances::new(context.options.disk.clone(), MAX_DEVICES),
        }
    }
}

impl Source for DiskSource {
    fn collect(&mut self, scratch: &mut Vec<u8>, sink: &mut Sink<'_>) -> Result<(), CollectError> {
        let text = self.file.read_up_to(FILE_LIMIT, scratch)?;
        let mut odd = Odd::default();
        let known = Known::new(&self.root, text, Instant::now());
        if !report(&mut self.devices, &known, text, sink, &mut odd)
            && let Some(problem) = odd.take_first()
        {
            return Err(CollectError::malformed(self.file.path(), problem));
        }
        sink.odd(self.file.path(), odd);
        Ok(())
    }
}

/// Returns true if the text is about devices at all.
fn report(
    devices: &mut Instances<Device>,
    known: &Known<'_>,
    text: &[u8],
    sink: &mut Sink<'_>,
    odd: &mut Odd,
) -> bool {
    let mut any = false;
    devices.begin();
    for line in lines(text) {
        let Some(line) = odd.keep(line) else {
            break;
        };
        let Some(name) = odd.keep(name(&line)) else {
            continue;
        };
        any = true;
        let new = |name: &str| known.device(name, &line);
        let wanted = |name: &str, device: &mut Device| known.is_disk(name, device, &line);
        if let Some((name, _)) = devices.meet_where(name, new, wanted) {
            emit(name, &parse(&line, odd), sink);
        }
    }
    devices.forget_others();
    sink.cut(devices.cut());
    any
}

fn emit(name: &str, disk: &Disk, sink: &mut Sink<'_>) {
    for (at, definition, unit) in &REPORTED {
        if let Some(Some(value)) = disk.get(*at) {
            sink.unsigned_of(definition, name, value.saturating_mul(*unit));
        }
    }
}

const DIRECTORY: &str = "/sys/block";

/// How long it takes at most until a disk that was empty is seen to have something in it.
pub const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// What is known of a device.
#[derive(Debug, Clone, Copy)]
pub struct Device {
    is_disk: bool,
    looked: Instant,
}

/// Where to look.
#[derive(Debug)]
pub struct Known<'t> {
    root: &'t Root,
    now: Instant,
    /// The names of all devices, if /sys does not say.
    names: Option<BTreeSet<&'t [u8]>>,
}

impl<'t> Known<'t> {
    /// What there is at this time, with the text of /proc/diskstats.
    #[must_use]
    pub fn new(root: &'t Root, text: &'t [u8], now: Instant) -> Self {
        let names = (!root.path(DIRECTORY).exists()).then(|| {
            let lines = lines(text).flatten();
            lines.filter_map(|line| fields(line.text).nth(2)).collect()
        });
        Self { root, now, names }
    }

    /// Looks at a device for the first time.
    #[must_use]
    pub fn device(&self, name: &str, line: &Line<'_>) -> Device {
        Device {
            is_disk: self.look(name, line),
            looked: self.now,
        }
    }

    /// Returns true if it is a disk, as far as that is known; checks again after a while.
    #[must_use]
    pub fn is_disk(&self, name: &str, device: &mut Device, line: &Line<'_>) -> bool {
        if self.names.is_some() || self.now.saturating_duration_since(device.looked) >= LOOK_AGAIN {
            *device = self.device(name, line);
        }
        device.is_disk
    }

    fn look(&self, name: &str, line: &Line<'_>) -> bool {
        if let Some(names) = &self.names {
            return !is_part(name.as_bytes(), names) && has_done_something(line);
        }
        // The kernel's own names may have a slash.
        let directory = self.root.path(DIRECTORY).join(name.replace('/', "!"));
        match fs::read(directory.join("size")) {
            Ok(size) => decimal(size.trim_ascii_end()) != Some(0),
            Err(_) => directory.exists(),
        }
    }
}

/// Returns true if another device has this name without its end: digits, after a `p` if the other's
/// name ends in a digit itself.
fn is_part(name: &[u8], names: &BTreeSet<&[u8]>) -> bool {
    let digits = name.iter().rev().take_while(|byte| byte.is_ascii_digit());
    let (base, number) = name.split_at(name.len() - digits.count());
    if number.is_empty() {
        return false;
    }
    let ends_in_digit = |base: &[u8]| base.last().is_some_and(u8::is_ascii_digit);
    match base.strip_suffix(b"p") {
        Some(other) if ends_in_digit(other) => names.contains(other),
        _ => !ends_in_digit(base) && names.contains(base),
    }
}

fn has_done_something(line: &Line<'_>) -> bool {
    fields(line.text).skip(3).any(|count| count != b"0")
}

#[cfg(test)]
mod tests;
