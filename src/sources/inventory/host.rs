//! What one reading finds out about the host.
//!
//! Owns where each fact comes from. A fact that cannot be read, or whose file has another form than
//! its manual page promises, is None: it does not affect the others, and is recorded as left out.
//! What a host does not have is None, too, and is not recorded.

use std::{ffi::OsStr, fs, io, os::unix::ffi::OsStrExt, path::Path};

use libsystemd::id128::Id128;

use super::{
    cpus::{self, Counts},
    files::{fact, facts, names, sensible, variable, wrong_lines},
    virtualization,
};
use crate::sources::{
    error::{CollectError, FileError, Malformed},
    file::Root,
    instances::{EXPECTED_NAME, is_name},
    odd::LeftOut,
    options::{Filter, Options},
    text::{MAX_EVENTS, count},
};

/// Most network interfaces, and most disks: more than a machine has slots for, and a
/// message room. Those of containers are for filters to leave out.
pub const MAX_DEVICES: usize = 1000;

/// What the machine id is hashed with, `sd_id128_get_machine_app_specific(3)`: the result
/// distinguishes installations, does not reveal the secret id, and differs from other programs'.
pub const APPLICATION_ID: Id128 =
    Id128::from_bytes(0x3d97_7a41_4450_4ba8_86b5_a325_9bf8_950e_u128.to_be_bytes());

/// Sizes in /sys/block are in these, whatever the disk's own sectors are
/// (Documentation/ABI/stable/sysfs-block).
const SECTOR_BYTES: u64 = 512;

const EXPECTED_SIZE: &str = "a number of sectors of 512 bytes, up to 18014398509481983";
const EXPECTED_ADDRESS: &str = "pairs of hexadecimal digits with colons between them";
const EXPECTED_ID: &str = "32 hexadecimal digits";
const EXPECTED_VARIABLE: &str = "NAME=value, quoted as in a shell";

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
    pub fn read(root: &Root, options: &Options, left_out: &mut LeftOut) -> Self {
        let [os, os_id, os_version] = os_release(root, left_out);
        let cpuinfo = text(facts(root, "/proc/cpuinfo", left_out));
        let mut host = Self {
            kernel: fact(root, "/proc/sys/kernel/osrelease", left_out),
            os,
            os_id,
            os_version,
            machine_id: machine_id(root, left_out),
            architecture: rustix::system::uname()
                .machine()
                .to_str()
                .ok()
                .map(str::to_owned),
            cpu_model: cpus::model(&cpuinfo),
            counts: cpus::count(root, left_out),
            virtualization: virtualization::detect(root, &cpuinfo),
            vendor: fact(root, "/sys/class/dmi/id/sys_vendor", left_out),
            product: fact(root, "/sys/class/dmi/id/product_name", left_out)
                .or_else(|| fact(root, "/proc/device-tree/model", left_out)),
            timezone: timezone(root, left_out),
            ..Self::default()
        };
        host.read_interfaces(root, &options.network, left_out);
        host.read_disks(root, &options.disk, left_out);
        host
    }

    fn read_interfaces(&mut self, root: &Root, filter: &Filter, left_out: &mut LeftOut) {
        for name in devices(root, "/sys/class/net", left_out) {
            if !filter.admits(&name) {
                continue;
            }
            let file = format!("/sys/class/net/{name}/address");
            let address = sensible(root, &file, EXPECTED_ADDRESS, left_out, |line| {
                is_address(line).then(|| line.to_owned())
            });
            let Some(address) = address else {
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

    fn read_disks(&mut self, root: &Root, filter: &Filter, left_out: &mut LeftOut) {
        for file_name in devices(root, "/sys/block", left_out) {
            // The kernel's own names may have a slash.
            let name = file_name.replace('!', "/");
            if !filter.admits(&name) {
                continue;
            }
            if self.disks.len() >= MAX_DEVICES {
                self.cut += 1;
                continue;
            }
            let path = |file: &str| format!("/sys/block/{file_name}/{file}");
            let bytes = sensible(root, &path("size"), EXPECTED_SIZE, left_out, |size| {
                Some(count(size.as_bytes(), MAX_EVENTS / SECTOR_BYTES)? * SECTOR_BYTES)
            });
            self.disks.push(Disk {
                name,
                // Memory cards call it their name.
                model: fact(root, &path("device/model"), left_out)
                    .or_else(|| fact(root, &path("device/name"), left_out)),
                bytes: bytes.filter(|bytes| *bytes > 0),
            });
        }
    }
}

/// The names of devices in a directory; one that is not printable is recorded as left out.
fn devices(root: &Root, directory: &str, left_out: &mut LeftOut) -> Vec<String> {
    let mut found = names(root, directory);
    found.retain(|name| {
        let told = name.to_str().is_some_and(|name| is_name(name.as_bytes()));
        if !told {
            left_out.add(CollectError::Senseless {
                subject: root.path(directory).display().to_string(),
                expected: EXPECTED_NAME,
                found: format!("\"{}\"", name.as_bytes().escape_ascii()),
            });
        }
        told
    });
    let names = found.into_iter().filter_map(|name| name.into_string().ok());
    names.collect()
}

fn text(bytes: Option<Vec<u8>>) -> String {
    String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned()
}

/// From os-release(5): the system, its id and its version.
fn os_release(root: &Root, left_out: &mut LeftOut) -> [Option<String>; 3] {
    let files = ["/etc/os-release", "/usr/lib/os-release"];
    let found = files
        .iter()
        .find_map(|file| Some((*file, facts(root, file, left_out)?)));
    let Some((file, text)) = found else {
        return [None, None, None];
    };
    let text = String::from_utf8_lossy(&text);
    ["PRETTY_NAME", "ID", "VERSION_ID"].map(|name| {
        for (line, found) in wrong_lines(&text, name) {
            let problem = Malformed::new(line, EXPECTED_VARIABLE, found.as_bytes());
            left_out.add(CollectError::malformed(&root.path(file), problem));
        }
        variable(&text, name)
    })
}

/// As the kernel prints one: of 6 bytes with Ethernet, of others more or fewer.
fn is_address(text: &str) -> bool {
    text.split(':')
        .all(|pair| pair.len() == 2 && pair.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// machine-id(5): 32 hexadecimal digits and a newline, or, before the first boot has ended,
/// `uninitialized`.
fn machine_id(root: &Root, left_out: &mut LeftOut) -> Option<String> {
    let parse = |id: &str| {
        let is_id = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        let is_null = id.bytes().all(|byte| byte == b'0');
        match id {
            "uninitialized" => Some(None),
            _ if !is_id || is_null => None,
            id => Some(Some(Id128::parse_str(id).ok()?)),
        }
    };
    let id = sensible(root, "/etc/machine-id", EXPECTED_ID, left_out, parse)??;
    Some(id.app_specific(&APPLICATION_ID).ok()?.lower_hex())
}

/// localtime(5): the name is that of the file which /etc/localtime links to, and UTC where
/// there is none. Where it is a copy, /etc/timezone may have the name.
fn timezone(root: &Root, left_out: &mut LeftOut) -> Option<String> {
    let path = root.path("/etc/localtime");
    match fs::read_link(&path) {
        Ok(target) => zone_of(&target),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            root.path("/etc").exists().then(|| "UTC".to_owned())
        }
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
            fact(root, "/etc/timezone", left_out)
        }
        Err(source) => {
            left_out.add(FileError::Open { path, source }.into());
            None
        }
    }
}

fn zone_of(target: &Path) -> Option<String> {
    let mut parts = target.iter();
    parts.find(|part| *part == OsStr::new("zoneinfo"))?;
    let zone = parts.as_path().to_str()?;
    (!zone.is_empty()).then(|| zone.to_owned())
}
