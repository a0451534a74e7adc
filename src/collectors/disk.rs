//! `disk.*` from /proc/diskstats (Documentation/admin-guide/iostats.rst of the kernel).
//!
//! Counts go out as the kernel has them, and wrap as they do there: times are 32 bits of
//! milliseconds since Linux 4.19. A sector is 512 bytes whatever the device's own are.
//! Discards (Linux 4.18) and flushes (5.5) that a kernel does not count are left out.
//!
//! Not parsed by `procfs_core`, which the tests compare with: it allocates for each line,
//! those of the many loop devices and partitions too that nobody wants.

use super::{
    Collector, Purpose, Sink,
    context::Context,
    definition::Definition,
    error::{CollectError, Malformed},
    instances::Instances,
    lines::{Line, lines},
    source::ProcFile,
    table::{
        DISK_BUSY, DISK_DISCARD_BYTES, DISK_DISCARD_TIME, DISK_DISCARDS, DISK_FLUSH_TIME,
        DISK_FLUSHES, DISK_INFLIGHT, DISK_QUEUE_TIME, DISK_READ_BYTES, DISK_READ_TIME, DISK_READS,
        DISK_READS_MERGED, DISK_WRITE_BYTES, DISK_WRITE_TIME, DISK_WRITES, DISK_WRITES_MERGED,
    },
    text::{decimal, fields},
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

const EXPECTED: &str = "two device numbers, a name and eleven or more counts";

/// What the kernel counts for one device.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Disk {
    /// What every kernel has.
    pub requests: Requests,
    /// Since Linux 4.18.
    pub discards: Option<Discards>,
    /// Since Linux 5.5.
    pub flushes: Option<Flushes>,
}

/// Reads, writes and the queue; times in ms.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Requests {
    /// Reads completed.
    pub reads: u64,
    /// Reads that became part of another.
    pub reads_merged: u64,
    /// Sectors of 512 bytes.
    pub sectors_read: u64,
    /// Of all reads together.
    pub read_time: u64,
    /// Writes completed.
    pub writes: u64,
    /// Writes that became part of another.
    pub writes_merged: u64,
    /// Sectors of 512 bytes.
    pub sectors_written: u64,
    /// Of all writes together.
    pub write_time: u64,
    /// Requests under way.
    pub inflight: u64,
    /// With requests under way.
    pub busy_time: u64,
    /// Of all requests together, those under way included.
    pub queue_time: u64,
}

/// Discards; the time in ms.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Discards {
    /// Discards completed.
    pub discards: u64,
    /// Discards that became part of another.
    pub merged: u64,
    /// Sectors of 512 bytes.
    pub sectors: u64,
    /// Of all discards together.
    pub time: u64,
}

/// Flushes; the time in ms. Partitions have none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Flushes {
    /// Flushes completed.
    pub flushes: u64,
    /// Of all flushes together.
    pub time: u64,
}

/// The name of the device that a line of /proc/diskstats is about.
pub fn name<'t>(line: &Line<'t>) -> Result<&'t [u8], Malformed> {
    let name = fields(line.text).nth(2);
    name.ok_or_else(|| line.malformed(EXPECTED))
}

/// The counts of a line of /proc/diskstats.
///
/// What a future kernel has behind those known is not looked into.
pub fn parse(line: &Line<'_>) -> Result<Disk, Malformed> {
    counts(line.text).ok_or_else(|| line.malformed(EXPECTED))
}

fn counts(line: &[u8]) -> Option<Disk> {
    let mut fields = fields(line);
    decimal(fields.next()?)?;
    decimal(fields.next()?)?;
    fields.next()?;
    let mut count = || decimal(fields.next()?);
    let requests = Requests {
        reads: count()?,
        reads_merged: count()?,
        sectors_read: count()?,
        read_time: count()?,
        writes: count()?,
        writes_merged: count()?,
        sectors_written: count()?,
        write_time: count()?,
        inflight: count()?,
        busy_time: count()?,
        queue_time: count()?,
    };
    let mut disk = Disk {
        requests,
        ..Disk::default()
    };
    // What there is of a group is there as a whole.
    let Some(discards) = fields.next() else {
        return Some(disk);
    };
    let mut count = || decimal(fields.next()?);
    disk.discards = Some(Discards {
        discards: decimal(discards)?,
        merged: count()?,
        sectors: count()?,
        time: count()?,
    });
    let Some(flushes) = fields.next() else {
        return Some(disk);
    };
    disk.flushes = Some(Flushes {
        flushes: decimal(flushes)?,
        time: decimal(fields.next()?)?,
    });
    Some(disk)
}

/// Reads /proc/diskstats.
#[derive(Debug)]
pub struct DiskCollector {
    file: ProcFile,
    devices: Instances<()>,
}

impl DiskCollector {
    /// One for the devices that [`Options::disk`](super::Options) admits.
    #[must_use]
    pub fn open(context: &Context) -> Self {
        Self {
            file: ProcFile::new(&context.root, FILE),
            devices: Instances::new(context.options.disk.clone(), MAX_DEVICES),
        }
    }
}

impl Collector for DiskCollector {
    fn collect(
        &mut self,
        _purpose: Purpose,
        scratch: &mut Vec<u8>,
        sink: &mut Sink<'_>,
    ) -> Result<(), CollectError> {
        let text = self.file.read_up_to(FILE_LIMIT, scratch)?;
        choose(&mut self.devices, text)
            .and_then(|()| report(&mut self.devices, text, sink))
            .map_err(|problem| CollectError::malformed(self.file.path(), problem))
    }
}

/// Looks at all that there is, before any of it goes out.
fn choose(devices: &mut Instances<()>, text: &[u8]) -> Result<(), Malformed> {
    devices.begin();
    for line in lines(text) {
        let line = line?;
        if devices.meet(name(&line)?, |_| ()).is_some() {
            parse(&line)?;
        }
    }
    devices.forget_others();
    Ok(())
}

/// Nothing fails here: the same lines have been parsed before.
fn report(devices: &mut Instances<()>, text: &[u8], sink: &mut Sink<'_>) -> Result<(), Malformed> {
    for line in lines(text) {
        let line = line?;
        if let Some((name, ())) = devices.take(name(&line)?) {
            emit(name, &parse(&line)?, sink);
        }
    }
    sink.cut(devices.cut());
    Ok(())
}

fn emit(name: &str, disk: &Disk, sink: &mut Sink<'_>) {
    let mut put = |definition: &'static Definition, value: u64| {
        sink.unsigned_of(definition, name, value);
    };
    // Differences stay right where a product of a wrong count wraps.
    let bytes = |sectors: u64| sectors.wrapping_mul(SECTOR_BYTES);
    let requests = &disk.requests;
    put(&DISK_READS, requests.reads);
    put(&DISK_READS_MERGED, requests.reads_merged);
    put(&DISK_READ_BYTES, bytes(requests.sectors_read));
    put(&DISK_READ_TIME, requests.read_time);
    put(&DISK_WRITES, requests.writes);
    put(&DISK_WRITES_MERGED, requests.writes_merged);
    put(&DISK_WRITE_BYTES, bytes(requests.sectors_written));
    put(&DISK_WRITE_TIME, requests.write_time);
    put(&DISK_INFLIGHT, requests.inflight);
    put(&DISK_BUSY, requests.busy_time);
    put(&DISK_QUEUE_TIME, requests.queue_time);
    if let Some(discards) = &disk.discards {
        put(&DISK_DISCARDS, discards.discards);
        put(&DISK_DISCARD_BYTES, bytes(discards.sectors));
        put(&DISK_DISCARD_TIME, discards.time);
    }
    if let Some(flushes) = &disk.flushes {
        put(&DISK_FLUSHES, flushes.flushes);
        put(&DISK_FLUSH_TIME, flushes.time);
    }
}

#[cfg(test)]
mod tests;
