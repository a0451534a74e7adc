//! Which block devices are whole disks with something in them.
//!
//! /sys/block (Documentation/ABI/stable/sysfs-block of the kernel) has the whole disks and no
//! partitions. Names are no guide: Xen uses `xvda1` for a disk, and there are as many ways to name
//! a partition as there are drivers. A disk without a size, such as an nbd device that is not
//! connected, has nothing to report.
//!
//! Where /sys is hidden, as in some containers, a device whose name is another one's with a number
//! counts as its partition, and one that never did anything counts as empty.

use std::{
    collections::BTreeSet,
    fs,
    time::{Duration, Instant},
};

use crate::sources::{
    file::Root,
    text::{Line, decimal, fields, lines},
};

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
mod tests {
    use super::*;
    use crate::sources::testing::Host;

    #[test]
    fn parts_are_told_by_the_names_of_others() {
        let names: BTreeSet<&[u8]> = [
            &b"sda"[..],
            b"sda1",
            b"dm-1",
            b"md127",
            b"nvme0n1",
            b"nvme0n1p1",
            b"mmcblk0",
        ]
        .into();
        for (name, part) in [
            ("sda", false),
            ("sda1", true),
            ("sda12", true),
            ("sdab1", false),
            ("xvda1", false),
            ("dm-12", false),
            ("nvme0n12", false),
            ("nvme0n1p2", true),
            ("nvme0n1p12", true),
            ("md127p1", true),
            ("md12", false),
            ("pmem0p1", false),
            ("7", false),
        ] {
            assert_eq!(is_part(name.as_bytes(), &names), part, "{name}");
        }
    }

    #[test]
    fn sys_says_what_a_disk_is_and_is_asked_again() {
        let host = Host::new();
        host.write("/sys/block/xvda1/size", "100\n");
        host.write("/sys/block/cciss!c0d0/size", "100\n");
        host.write("/sys/block/nbd0/size", "0\n");
        host.write("/sys/block/odd/size", "many\n");
        host.write("/sys/block/bare/removable", "0\n");
        let (root, start) = (host.root(), Instant::now());
        let line = Line {
            number: 1,
            text: b"8 0 x 0 0",
        };
        let known = Known::new(&root, b"", start);
        for (name, disk) in [
            ("xvda1", true),
            ("cciss/c0d0", true),
            ("odd", true),
            ("bare", true),
            ("nbd0", false),
            ("sda1", false),
        ] {
            let mut device = known.device(name, &line);
            assert_eq!(known.is_disk(name, &mut device, &line), disk, "{name}");
        }
        let mut device = known.device("nbd0", &line);
        host.write("/sys/block/nbd0/size", "2048\n");
        let almost = LOOK_AGAIN.checked_sub(Duration::from_millis(1)).unwrap();
        for (later, disk) in [(almost, false), (LOOK_AGAIN, true)] {
            let known = Known::new(&root, b"", start + later);
            assert_eq!(known.is_disk("nbd0", &mut device, &line), disk);
        }
    }
}
