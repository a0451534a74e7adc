//! How long the parts of the boot took, from the manager's time stamps, as systemd-analyze(1)
//! computes them.

/// The manager's monotonic time stamps in µs (org.freedesktop.systemd1(5)); 0: there was no
/// such moment. Those of firmware and loader count backwards, from the kernel's start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stamps {
    /// `FirmwareTimestampMonotonic`
    pub firmware: u64,
    /// `LoaderTimestampMonotonic`
    pub loader: u64,
    /// `KernelTimestamp`, on the wall clock: that of the monotonic clock is 0 by definition.
    pub kernel_realtime: u64,
    /// `InitRDTimestampMonotonic`
    pub initrd: u64,
    /// `UserspaceTimestampMonotonic`
    pub userspace: u64,
    /// `FinishTimestampMonotonic`; 0 until the boot is over.
    pub finish: u64,
    /// `SoftRebootsCount`, since systemd 255.
    pub soft_reboots: u64,
}

/// How long each part took, in µs; None if there was none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BootTimes {
    /// Until the boot loader's start.
    pub firmware: Option<u64>,
    /// From there to the kernel's start.
    pub loader: Option<u64>,
    /// From there to the initrd's start, or else the manager's.
    pub kernel: Option<u64>,
    /// From there to the manager's start.
    pub initrd: Option<u64>,
    /// From there to the end of the boot.
    pub userspace: Option<u64>,
}

impl BootTimes {
    /// The parts between the stamps. Nothing is known of a boot that is still under way.
    #[must_use]
    pub fn new(stamps: &Stamps) -> Self {
        if stamps.finish == 0 {
            return Self::default();
        }
        let userspace = stamps.finish.checked_sub(stamps.userspace);
        // A container's manager has not seen a kernel start, and after a soft reboot what
        // came before it is another boot's.
        if stamps.kernel_realtime == 0 || stamps.soft_reboots > 0 {
            return Self {
                userspace,
                ..Self::default()
            };
        }
        let there = |stamp: u64| (stamp > 0).then_some(stamp);
        Self {
            firmware: there(stamps.firmware).and_then(|time| time.checked_sub(stamps.loader)),
            loader: there(stamps.loader),
            kernel: there(stamps.initrd).or(there(stamps.userspace)),
            initrd: there(stamps.initrd).and_then(|time| stamps.userspace.checked_sub(time)),
            userspace,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The stamps of a laptop, and what `systemd-analyze time` said of them.
    #[test]
    fn every_part_is_between_its_stamps() {
        let stamps = Stamps {
            firmware: 9_000_000,
            loader: 2_500_000,
            kernel_realtime: 1_700_000_000_000_000,
            initrd: 1_200_000,
            userspace: 4_000_000,
            finish: 14_000_001,
            soft_reboots: 0,
        };
        assert_eq!(
            BootTimes::new(&stamps),
            BootTimes {
                firmware: Some(6_500_000),
                loader: Some(2_500_000),
                kernel: Some(1_200_000),
                initrd: Some(2_800_000),
                userspace: Some(10_000_001),
            }
        );
        let without_initrd = Stamps {
            firmware: 0,
            loader: 0,
            initrd: 0,
            ..stamps
        };
        assert_eq!(
            BootTimes::new(&without_initrd),
            BootTimes {
                kernel: Some(4_000_000),
                userspace: Some(10_000_001),
                ..BootTimes::default()
            }
        );
    }

    #[test]
    fn what_there_was_not_is_left_out() {
        let stamps = Stamps {
            kernel_realtime: 1,
            userspace: 500,
            finish: 0,
            ..Stamps::default()
        };
        assert_eq!(BootTimes::new(&stamps), BootTimes::default());
        let container = Stamps {
            kernel_realtime: 0,
            userspace: 77_000,
            finish: 99_000,
            ..Stamps::default()
        };
        let only_userspace = BootTimes {
            userspace: Some(22_000),
            ..BootTimes::default()
        };
        assert_eq!(BootTimes::new(&container), only_userspace);
        let again = Stamps {
            kernel_realtime: 1,
            soft_reboots: 1,
            ..container
        };
        assert_eq!(BootTimes::new(&again), only_userspace);
        let odd = Stamps {
            kernel_realtime: 1,
            firmware: 1,
            loader: 2,
            initrd: 100,
            userspace: 50,
            finish: 40,
            soft_reboots: 0,
        };
        assert_eq!(
            BootTimes::new(&odd),
            BootTimes {
                loader: Some(2),
                kernel: Some(100),
                ..BootTimes::default()
            }
        );
    }
}
