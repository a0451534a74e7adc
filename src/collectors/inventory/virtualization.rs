//! Which virtual machine or container this is, under systemd-detect-virt(1)'s names.
//!
//! systemd's order, by files that anybody may read. In two places it looks at more: at the
//! environment of process 1, and at the CPUID leaf of the hypervisor; for the latter stand
//! the clocks that the kernel offers with KVM, Hyper-V and Xen. Where it would say no more
//! than that there is something, so does this; where there is nothing to tell bare metal
//! by, it is None.

use super::{
    cpus::field,
    files::{beginning, first_line},
};
use crate::collectors::source::Root;

/// The containers that have a name.
const CONTAINERS: [&str; 11] = [
    "systemd-nspawn",
    "lxc-libvirt",
    "lxc",
    "openvz",
    "docker",
    "podman",
    "rkt",
    "wsl",
    "proot",
    "pouch",
    "container-other",
];

/// Files that a manager of containers leaves in them.
const CONTAINER_FILES: [(&str, &str); 2] =
    [("/run/.containerenv", "podman"), ("/.dockerenv", "docker")];

/// How the texts of the firmware begin.
const FIRMWARE: [(&str, &str); 18] = [
    ("KVM", "kvm"),
    ("OpenStack", "kvm"),
    ("KubeVirt", "kvm"),
    ("Amazon EC2", "amazon"),
    ("QEMU", "qemu"),
    ("VMware", "vmware"),
    ("VMW", "vmware"),
    ("innotek GmbH", "oracle"),
    ("VirtualBox", "oracle"),
    ("Oracle Corporation", "oracle"),
    ("Xen", "xen"),
    ("Bochs", "bochs"),
    ("Parallels", "parallels"),
    ("BHYVE", "bhyve"),
    ("Hyper-V", "microsoft"),
    ("Apple Virtualization", "apple"),
    ("Google Compute Engine", "google"),
    ("Virtual Machine", "microsoft"),
];

/// Of these the firmware counts more than what the CPU says, which may be KVM's or, with
/// Xen, Hyper-V's.
const FIRMWARE_FIRST: [&str; 5] = ["oracle", "xen", "amazon", "parallels", "google"];

/// The texts of the firmware that are looked at.
const FIRMWARE_FILES: [&str; 5] = [
    "product_name",
    "sys_vendor",
    "board_vendor",
    "bios_vendor",
    "product_version",
];

/// Clocks that only a hypervisor has.
const CLOCKS: [(&str, &str); 3] = [
    ("kvm-clock", "kvm"),
    ("hyperv_clocksource", "microsoft"),
    ("xen", "xen"),
];

/// Its name, or `none`; None where it can't be told.
#[must_use]
pub fn detect(root: &Root, cpuinfo: &str) -> Option<&'static str> {
    container(root).or_else(|| machine(root, cpuinfo))
}

fn container(root: &Root) -> Option<&'static str> {
    let exists = |path: &str| root.path(path).exists();
    if exists("/proc/vz") && !exists("/proc/bc") {
        return Some("openvz");
    }
    let release = first_line(root, "/proc/sys/kernel/osrelease").unwrap_or_default();
    if release.contains("Microsoft") || release.contains("WSL") {
        return Some("wsl");
    }
    let told = ["/run/host/container-manager", "/run/systemd/container"]
        .iter()
        .find_map(|path| first_line(root, path));
    match told.as_deref() {
        // No manager's name, but that of the format of its images.
        None | Some("oci") => CONTAINER_FILES
            .iter()
            .find_map(|(path, name)| exists(path).then_some(*name))
            .or_else(|| told.map(|_| "container-other")),
        Some(name) => CONTAINERS
            .into_iter()
            .find(|known| *known == name)
            .or(Some("container-other")),
    }
}

fn machine(root: &Root, cpuinfo: &str) -> Option<&'static str> {
    let texts: Vec<_> = FIRMWARE_FILES
        .iter()
        .filter_map(|file| first_line(root, &format!("/sys/class/dmi/id/{file}")))
        .collect();
    let firmware = texts.iter().find_map(|text| beginning_of(text, &FIRMWARE));
    if firmware.is_some_and(|name| FIRMWARE_FIRST.contains(&name)) {
        return firmware;
    }
    if field(cpuinfo, "vendor_id") == Some("User Mode Linux") {
        return Some("uml");
    }
    if root.path("/proc/xen").exists() {
        // The first domain has the hardware.
        let capabilities = first_line(root, "/proc/xen/capabilities").unwrap_or_default();
        let first = capabilities.contains("control_d");
        return Some(if first { "none" } else { "xen" });
    }
    let flags = field(cpuinfo, "flags");
    let flagged = flags.map(|flags| flags.split(' ').any(|flag| flag == "hypervisor"));
    if flagged == Some(true)
        && let Some(name) = clock(root)
    {
        return Some(name);
    }
    if let Some(name) = firmware
        .or_else(|| hypervisor(root))
        .or_else(|| device_tree(root))
    {
        return Some(name);
    }
    match flagged {
        Some(true) => Some("vm-other"),
        Some(false) => Some("none"),
        // No flag that would be missed, but a machine that describes itself.
        None if !texts.is_empty() => Some("none"),
        None => first_line(root, "/proc/device-tree/model").map(|_| "none"),
    }
}

fn clock(root: &Root) -> Option<&'static str> {
    let clocks = first_line(
        root,
        "/sys/devices/system/clocksource/clocksource0/available_clocksource",
    )?;
    clocks
        .split(' ')
        .find_map(|clock| beginning_of(clock, &CLOCKS))
}

fn hypervisor(root: &Root) -> Option<&'static str> {
    let kind = first_line(root, "/sys/hypervisor/type")?;
    Some(if kind == "xen" { "xen" } else { "vm-other" })
}

fn device_tree(root: &Root) -> Option<&'static str> {
    let compatible = beginning(root, "/proc/device-tree/hypervisor/compatible")?;
    let first = compatible.split(|&byte| byte == 0).next()?;
    Some(match first {
        b"linux,kvm" => "kvm",
        b"vmware" => "vmware",
        xen if xen.starts_with(b"xen") => "xen",
        _ => "vm-other",
    })
}

fn beginning_of(text: &str, names: &[(&str, &'static str)]) -> Option<&'static str> {
    names
        .iter()
        .find_map(|(beginning, name)| text.starts_with(beginning).then_some(*name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const VIRTUAL: &str = "flags\t\t: fpu hypervisor lahf_lm\n";
    const BARE: &str = "flags\t\t: fpu lahf_lm\n";
    const ARM: &str = "processor\t: 0\nCPU implementer\t: 0x41\n";
    const CLOCK: &str = "/sys/devices/system/clocksource/clocksource0/available_clocksource";
    const VENDOR: &str = "/sys/class/dmi/id/sys_vendor";
    const PRODUCT: &str = "/sys/class/dmi/id/product_name";

    fn detected(files: &[(&str, &str)], cpuinfo: &str) -> Option<&'static str> {
        let directory = tempfile::tempdir().unwrap();
        let root = Root(directory.path().to_owned());
        for (path, text) in files {
            let path = root.path(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        detect(&root, cpuinfo)
    }

    #[test]
    fn containers_are_named_before_the_machine_below() {
        let manager = "/run/systemd/container";
        for (files, name) in [
            (&[(manager, "systemd-nspawn\n")][..], "systemd-nspawn"),
            (&[(manager, "lxc\n")], "lxc"),
            (&[(manager, "something-new\n")], "container-other"),
            (&[(manager, "kvm\n")], "container-other"),
            (&[(manager, "oci\n")], "container-other"),
            (&[(manager, "oci\n"), ("/run/.containerenv", "")], "podman"),
            (&[("/.dockerenv", "")], "docker"),
            (
                &[
                    (manager, "lxc\n"),
                    ("/run/host/container-manager", "podman\n"),
                ],
                "podman",
            ),
            (&[("/proc/vz/veinfo", "")], "openvz"),
            (
                &[(
                    "/proc/sys/kernel/osrelease",
                    "5.15.90.1-microsoft-standard-WSL2\n",
                )],
                "wsl",
            ),
        ] {
            let below = [(PRODUCT, "KVM\n"), (CLOCK, "kvm-clock tsc\n")];
            let files = [files, &below].concat();
            assert_eq!(detected(&files, VIRTUAL), Some(name), "{files:?}");
        }
    }

    #[test]
    fn machines_are_named_in_the_order_of_systemd() {
        for (files, name) in [
            (&[][..], "vm-other"),
            (&[(CLOCK, "tsc acpi_pm \n")], "vm-other"),
            (&[(CLOCK, "kvm-clock tsc acpi_pm \n")], "kvm"),
            (&[(CLOCK, "kvm-clock tsc\n"), (VENDOR, "QEMU\n")], "kvm"),
            (&[(CLOCK, "tsc hpet\n"), (VENDOR, "QEMU\n")], "qemu"),
            (
                &[(CLOCK, "kvm-clock tsc\n"), (VENDOR, "Amazon EC2\n")],
                "amazon",
            ),
            (
                &[(CLOCK, "kvm-clock\n"), (PRODUCT, "Google Compute Engine\n")],
                "google",
            ),
            (&[(VENDOR, "VMware, Inc.\n")], "vmware"),
            (
                &[(VENDOR, "innotek GmbH\n"), (PRODUCT, "VirtualBox\n")],
                "oracle",
            ),
            (
                &[
                    (CLOCK, "hyperv_clocksource_tsc_page acpi_pm\n"),
                    (PRODUCT, "Virtual Machine\n"),
                ],
                "microsoft",
            ),
            (&[("/proc/xen/capabilities", "\n")], "xen"),
            (&[("/proc/xen/capabilities", "control_d\n")], "none"),
            (&[("/sys/hypervisor/type", "xen\n")], "xen"),
        ] {
            assert_eq!(detected(files, VIRTUAL), Some(name), "{files:?}");
        }
        assert_eq!(detected(&[], "vendor_id\t: User Mode Linux\n"), Some("uml"));
    }

    #[test]
    fn bare_metal_is_told_where_it_can_be() {
        let dell = [(VENDOR, "Dell Inc.\n"), (PRODUCT, "PowerEdge R650\n")];
        let pi = [(
            "/proc/device-tree/model",
            "Raspberry Pi 4 Model B Rev 1.4\0",
        )];
        let guest = [("/proc/device-tree/hypervisor/compatible", "linux,kvm\0")];
        for (files, cpuinfo, name) in [
            (&dell[..], BARE, Some("none")),
            (&[], BARE, Some("none")),
            (&[(CLOCK, "tsc hpet acpi_pm \n")], BARE, Some("none")),
            (&dell, ARM, Some("none")),
            (&pi, ARM, Some("none")),
            (&guest, ARM, Some("kvm")),
            (&[(VENDOR, "QEMU\n")], ARM, Some("qemu")),
            (&[], ARM, None),
        ] {
            assert_eq!(detected(files, cpuinfo), name, "{files:?}");
        }
    }

    #[test]
    fn the_running_machine_is_what_systemd_says() {
        let Ok(output) = std::process::Command::new("systemd-detect-virt").output() else {
            return; // without systemd there is nobody to compare with
        };
        let said = String::from_utf8(output.stdout).unwrap();
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap();
        assert_eq!(detect(&Root::default(), &cpuinfo), Some(said.trim()));
    }
}
