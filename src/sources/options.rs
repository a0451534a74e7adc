//! What an administrator may choose about the sources: plain values, checked by
//! their types.

use std::{collections::BTreeMap, time::Duration};

use glob::Pattern;

use super::{Period, SOURCES, SourceDefinition};
use crate::metrics::table::{
    CPU, DISK, FILESYSTEM, INVENTORY, NETWORK, PROCESSES, SENSORS, SYSTEMD, UNITS,
};

/// Block devices that are left out by default: what is in memory or only looks like a
/// disk, and the boot areas of memory cards. Partitions are never reported, whatever their
/// names.
pub const DISK_EXCLUDE: &[&str] = &[
    "loop*",
    "ram*",
    "zram*",
    "fd[0-9]*",
    "sr[0-9]*",
    "mmcblk*boot[0-9]*",
];

/// Mounts that are left out by default: the kernel's pseudo file systems; the layers of containers,
/// which are on a file system that is reported in any case; and what Kubernetes, containerd, CRI-O
/// and podman mount for each pod or container: in memory for its secrets, tokens and /dev/shm, or
/// as the root of a container. The directory of the kubelet may have any name. Persistent volumes
/// are included.
pub const FILESYSTEM_EXCLUDE: &[&str] = &[
    "/dev",
    "/dev/*",
    "/proc",
    "/proc/*",
    "/sys",
    "/sys/*",
    "/run/credentials/*",
    "/var/lib/docker/*",
    "/var/lib/containers/storage/*",
    "/var/lib/containerd/*",
    "/run/containerd/*",
    "/run/k3s/containerd/*",
    "/run/containers/storage/*",
    "*/overlay-containers/*/userdata/shm",
    "*/pods/*/volumes/kubernetes.io~projected/*",
    "*/pods/*/volumes/kubernetes.io~secret/*",
    "*/pods/*/volumes/kubernetes.io~configmap/*",
    "*/pods/*/volumes/kubernetes.io~downward-api/*",
    "*/pods/*/volumes/kubernetes.io~empty-dir/*",
    "*/pods/*/volume-subpaths/*",
];

/// Types of file systems that are left out by default: what holds no data of its own, or
/// is always full, or is mounted by being looked at; and what shows the same by FUSE.
pub const FILESYSTEM_EXCLUDE_TYPES: &[&str] = &[
    "autofs",
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "debugfs",
    "devpts",
    "devtmpfs",
    "efivarfs",
    "erofs",
    "fusectl",
    "fuse.lxcfs",
    "fuse.portal",
    "fuse.snapfuse",
    "fuse.squashfuse",
    "fuse.squashfuse_ll",
    "hugetlbfs",
    "iso9660",
    "mqueue",
    "nsfs",
    "overlay",
    "proc",
    "pstore",
    "ramfs",
    "rpc_pipefs",
    "securityfs",
    "selinuxfs",
    "squashfs",
    "sysfs",
    "tracefs",
    "udf",
];

/// The most units that are followed by default. With some twenty values each this fills a
/// good part of what a message may have.
pub const UNITS_MAX: usize = 400;

/// The options of all sources.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// The time between two readings of a source that is not read for every message,
    /// by its name. It is rounded up to whole metrics intervals.
    pub intervals: BTreeMap<String, Duration>,
    /// Of CPU time.
    pub cpu: CpuOptions,
    /// Which block devices.
    pub disk: Filter,
    /// Which file systems.
    pub filesystem: FilesystemOptions,
    /// Which network interfaces.
    pub network: Filter,
    /// Which sensors.
    pub sensors: Filter,
    /// Which services, scopes and slices.
    pub units: UnitOptions,
    /// Of processes.
    pub processes: ProcessOptions,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            intervals: SOURCES.iter().filter_map(own_interval).collect(),
            cpu: CpuOptions::default(),
            disk: Filter::without(DISK_EXCLUDE),
            filesystem: FilesystemOptions {
                mounts: Filter::without(FILESYSTEM_EXCLUDE),
                exclude_types: patterns(FILESYSTEM_EXCLUDE_TYPES),
            },
            network: Filter::default(),
            sensors: Filter::default(),
            units: UnitOptions {
                names: Filter::default(),
                max: UNITS_MAX,
            },
            processes: ProcessOptions::default(),
        }
    }
}

impl Options {
    /// Returns true if the source of this name has the same options in both. Intervals are not the
    /// source's own.
    #[must_use]
    pub fn same_for(&self, other: &Self, source: &str) -> bool {
        match source {
            CPU => self.cpu == other.cpu,
            DISK => self.disk == other.disk,
            FILESYSTEM => self.filesystem == other.filesystem,
            NETWORK => self.network == other.network,
            SENSORS => self.sensors == other.sensors,
            SYSTEMD | UNITS => self.units == other.units,
            PROCESSES => self.processes == other.processes,
            // The interfaces and disks of the inventory are those that are measured.
            INVENTORY => self.disk == other.disk && self.network == other.network,
            _ => true,
        }
    }
}

/// Of CPU time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CpuOptions {
    /// True if each CPU is reported, too.
    pub per_cpu: bool,
}

/// Of file systems.
#[derive(Debug, Clone, PartialEq)]
pub struct FilesystemOptions {
    /// By the path that it is mounted on.
    pub mounts: Filter,
    /// By its type; a type is admitted unless a pattern here fits.
    pub exclude_types: Vec<Pattern>,
}

/// Of services, scopes and slices.
#[derive(Debug, Clone, PartialEq)]
pub struct UnitOptions {
    /// By its name.
    pub names: Filter,
    /// The most of them to follow.
    pub max: usize,
}

/// Of processes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ProcessOptions {
    /// How many of those that use most CPU, and most memory, are reported; 0: none.
    pub top: usize,
}

/// Chooses by name: a name that matches one of `include` and none of `exclude`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Shell patterns, of which one has to fit; where there is none, everything does.
    pub include: Vec<Pattern>,
    /// Shell patterns, of which none may fit.
    pub exclude: Vec<Pattern>,
}

impl Filter {
    /// Everything but what one of the patterns fits.
    #[must_use]
    pub fn without(exclude: &[&str]) -> Self {
        Self {
            include: Vec::new(),
            exclude: patterns(exclude),
        }
    }

    /// Returns true if a device, mount, unit, ... of this name is wanted.
    #[must_use]
    pub fn admits(&self, name: &str) -> bool {
        let fits = |pattern: &Pattern| pattern.matches(name);
        (self.include.is_empty() || self.include.iter().any(fits)) && !self.exclude.iter().any(fits)
    }
}

/// The interval of a source that is not read for every message. Ours are valid, which a test
/// checks.
fn own_interval(source: &SourceDefinition) -> Option<(String, Duration)> {
    let Period::Every(time) = source.period else {
        return None;
    };
    Some((
        source.name.to_owned(),
        humantime::parse_duration(time).ok()?,
    ))
}

/// Ours are valid, which a test holds.
fn patterns(texts: &[&str]) -> Vec<Pattern> {
    texts
        .iter()
        .filter_map(|text| Pattern::new(text).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_pattern_is_one() {
        for texts in [DISK_EXCLUDE, FILESYSTEM_EXCLUDE, FILESYSTEM_EXCLUDE_TYPES] {
            assert_eq!(patterns(texts).len(), texts.len());
        }
    }

    #[test]
    fn every_default_interval_is_one() {
        let periodic = |source: &&SourceDefinition| matches!(source.period, Period::Every(_));
        let count = SOURCES.iter().filter(periodic).count();
        assert_eq!(Options::default().intervals.len(), count);
    }

    #[test]
    fn disks_are_in_and_what_is_in_memory_is_out() {
        let filter = Options::default().disk;
        for disk in [
            "sda", "sdab", "vda", "xvda", "xvda1", "nvme0n1", "nvme10n2", "mmcblk0", "md0", "dm-3",
        ] {
            assert!(filter.admits(disk), "{disk}");
        }
        for other in [
            "loop0",
            "ram15",
            "zram0",
            "sr0",
            "fd0",
            "mmcblk0boot0",
            "mmcblk1boot1",
        ] {
            assert!(!filter.admits(other), "{other}");
        }
    }

    #[test]
    fn what_is_mounted_for_each_pod_is_out_and_its_volumes_are_in() {
        let mounts = Options::default().filesystem.mounts;
        let pod = "/var/lib/kubelet/pods/00000001-aaaa-bbbb-cccc-000000000001";
        let sandboxes = "/run/containerd/io.containerd.grpc.v1.cri/sandboxes";
        for other in [
            format!("{pod}/volumes/kubernetes.io~projected/kube-api-access-x1"),
            format!("{pod}/volumes/kubernetes.io~secret/certificates"),
            format!("{pod}/volumes/kubernetes.io~empty-dir/cache"),
            format!("{pod}/volume-subpaths/config/web/0"),
            format!("/var/snap/microk8s/common{pod}/volumes/kubernetes.io~configmap/x"),
            format!("{sandboxes}/ab/shm"),
            // Of CRI-O and podman, and of podman without root.
            "/run/containers/storage/overlay-containers/ab/userdata/shm".to_owned(),
            "/var/lib/containers/storage/overlay-containers/ab/userdata/shm".to_owned(),
            "/home/eva/.local/share/containers/storage/overlay-containers/ab/userdata/shm"
                .to_owned(),
            "/run/user/1000/containers/overlay-containers/ab/userdata/shm".to_owned(),
            // The kubelet's root may be elsewhere (--root-dir).
            "/data/k8s/pods/0001-aaaa/volumes/kubernetes.io~projected/kube-api-access-x1"
                .to_owned(),
            "/data/k8s/pods/0001-aaaa/volumes/kubernetes.io~secret/certificates".to_owned(),
            "/data/k8s/pods/0001-aaaa/volumes/kubernetes.io~empty-dir/cache".to_owned(),
            "/data/k8s/pods/0001-aaaa/volume-subpaths/config/web/0".to_owned(),
        ] {
            assert!(!mounts.admits(&other), "{other}");
        }
        for volume in [
            "/var/lib/kubelet".to_owned(),
            format!("{pod}/volumes/kubernetes.io~csi/pvc-1/mount"),
            format!("{pod}/volumes/kubernetes.io~nfs/share"),
            "/data/k8s/pods/0001-aaaa/volumes/kubernetes.io~csi/pvc-1/mount".to_owned(),
            "/data/k8s/pods/0001-aaaa/volumes/kubernetes.io~local-volume/pv-1".to_owned(),
            "/srv/containers/userdata/shm".to_owned(),
        ] {
            assert!(mounts.admits(&volume), "{volume}");
        }
    }

    #[test]
    fn what_is_included_can_still_be_excluded() {
        let pattern = |text: &str| vec![Pattern::new(text).unwrap()];
        let filter = Filter {
            include: pattern("nginx*"),
            exclude: pattern("*.slice"),
        };
        assert!(filter.admits("nginx.service"));
        assert!(!filter.admits("nginx.slice"));
        assert!(!filter.admits("sshd.service"));
        assert!(Filter::default().admits("anything"));
        let mounts = Options::default().filesystem.mounts;
        assert!(mounts.admits("/") && mounts.admits("/var/lib") && mounts.admits("/devices"));
        assert!(!mounts.admits("/dev/shm") && !mounts.admits("/proc/sys/fs/binfmt_misc"));
    }
}
