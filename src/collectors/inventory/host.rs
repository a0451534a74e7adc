//! What one reading finds out about the host.
//!
//! Owns where each fact is from. A fact that can't be read, or whose file has another form
//! than its manual page promises, is None: it costs none of the others.

use std::{ffi::OsStr, fs, io, path::Path};

use libsystemd::id128::Id128;

use super::{
    cpus::{self, Counts},
    files::{beginning, first_line, names},
    os_release::variable,
    virtualization,
};
use crate::collectors::{
    options::{Filter, Options},
    source::Root,
};

/// Most network interfaces, and most disks: more than a machine has slots for, and a
/// message room. Those of containers are for filters to leave out.
pub const MAX_DEVICES: usize = 1000;

/// What the machine id is hashed with, `sd_id128_get_machine_app_specific(3)`: the result
/// tells installations apart, and neither tells the secret id nor equals another program's.
pub const APPLICATION_ID: Id128 =
    Id128::from_bytes(0x3d97_7a41_4450_4ba8_86b5_a325_9bf8_950e_u128.to_be_bytes());

/// Sizes in /sys/block are in these, whatever the disk's own sectors are
/// (Documentation/ABI/stable/sysfs-block).
const SECTOR_BYTES: u64 = 512;

/// A disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// Its name.
    pub name: String,
    /// Its model, where it has one.
    pub model: Option<String>,
    /// Its size in bytes; None without a medium.
    pub bytes: Option<u64>,
}

/// What was found out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Host {
    /// The kernel's release.
    pub kernel: Option<String>,
    /// `PRETTY_NAME` of os-release(5).
    pub os: Option<String>,
    /// `ID` of os-release(5).
    pub os_id: Option<String>,
    /// `VERSION_ID` of os-release(5).
    pub os_version: Option<String>,
    /// The machine id, hashed with [`APPLICATION_ID`].
    pub machine_id: Option<String>,
    /// As uname(2) has it.
    pub architecture: Option<String>,
    /// The model of the first CPU.
    pub cpu_model: Option<String>,
    /// How many CPUs, cores and sockets.
    pub counts: Counts,
    /// As systemd-detect-virt(1) names it.
    pub virtualization: Option<&'static str>,
    /// Vendor of the hardware.
    pub vendor: Option<String>,
    /// Product name of the hardware.
    pub product: Option<String>,
    /// The time zone's name.
    pub timezone: Option<String>,
    /// Network interfaces by name, with their hardware addresses.
    pub interfaces: Vec<(String, String)>,
    /// Disks by name.
    pub disks: Vec<Disk>,
    /// Interfaces and disks that were left out, as there were too many.
    pub cut: usize,
}

impl Host {
    /// Finds out below `root`, of interfaces and disks those that the options admit.
    #[must_use]
    pub fn read(root: &Root, options: &Options) -> Self {
        let os_release = ["/etc/os-release", "/usr/lib/os-release"]
            .iter()
            .find_map(|path| beginning(root, path));
        let os_release = text(os_release);
        let cpuinfo = text(beginning(root, "/proc/cpuinfo"));
        let mut host = Self {
            kernel: first_line(root, "/proc/sys/kernel/osrelease"),
            os: variable(&os_release, "PRETTY_NAME"),
            os_id: variable(&os_release, "ID"),
            os_version: variable(&os_release, "VERSION_ID"),
            machine_id: machine_id(root),
            architecture: rustix::system::uname()
                .machine()
                .to_str()
                .ok()
                .map(str::to_owned),
            cpu_model: cpus::model(&cpuinfo),
            counts: cpus::count(root),
            virtualization: virtualization::detect(root, &cpuinfo),
            vendor: first_line(root, "/sys/class/dmi/id/sys_vendor"),
            product: first_line(root, "/sys/class/dmi/id/product_name")
                .or_else(|| first_line(root, "/proc/device-tree/model")),
            timezone: timezone(root),
            ..Self::default()
        };
        host.read_interfaces(root, &options.network);
        host.read_disks(root, &options.disk);
        host
    }

    fn read_interfaces(&mut self, root: &Root, filter: &Filter) {
        for name in names(root, "/sys/class/net") {
            if !filter.admits(&name) {
                continue;
            }
            let Some(address) = first_line(root, &format!("/sys/class/net/{name}/address")) else {
                continue; // no interface, or none with an address
            };
            if address.bytes().all(|byte| matches!(byte, b'0' | b':')) {
                continue; // the loopback, which has none either
            }
            if self.interfaces.len() < MAX_DEVICES {
                self.interfaces.push((name, address));
            } else {
                self.cut += 1;
            }
        }
    }

    fn read_disks(&mut self, root: &Root, filter: &Filter) {
        for file_name in names(root, "/sys/block") {
            // The kernel's own names may have a slash.
            let name = file_name.replace('!', "/");
            if !filter.admits(&name) {
                continue;
            }
            if self.disks.len() >= MAX_DEVICES {
                self.cut += 1;
                continue;
            }
            let read = |file: &str| first_line(root, &format!("/sys/block/{file_name}/{file}"));
            let sectors: Option<u64> = read("size").and_then(|size| size.parse().ok());
            self.disks.push(Disk {
                name,
                // Memory cards call it their name.
                model: read("device/model").or_else(|| read("device/name")),
                bytes: sectors
                    .filter(|sectors| *sectors > 0)
                    .and_then(|sectors| sectors.checked_mul(SECTOR_BYTES)),
            });
        }
    }
}

fn text(bytes: Option<Vec<u8>>) -> String {
    String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned()
}

/// machine-id(5): 32 hexadecimal digits and a newline, or, before the first boot has ended,
/// something else.
fn machine_id(root: &Root) -> Option<String> {
    let id = first_line(root, "/etc/machine-id")?;
    let is_id = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_null = id.bytes().all(|byte| byte == b'0');
    if !is_id || is_null {
        return None;
    }
    let id = Id128::parse_str(id).ok()?;
    Some(id.app_specific(&APPLICATION_ID).ok()?.lower_hex())
}

/// localtime(5): the name is that of the file which /etc/localtime links to, and UTC where
/// there is none. Where it is a copy, /etc/timezone may have the name.
fn timezone(root: &Root) -> Option<String> {
    match fs::read_link(root.path("/etc/localtime")) {
        Ok(target) => zone_of(&target),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            root.path("/etc").exists().then(|| "UTC".to_owned())
        }
        Err(_) => first_line(root, "/etc/timezone"),
    }
}

fn zone_of(target: &Path) -> Option<String> {
    let mut parts = target.iter();
    parts.find(|part| *part == OsStr::new("zoneinfo"))?;
    let zone = parts.as_path().to_str()?;
    (!zone.is_empty()).then(|| zone.to_owned())
}
