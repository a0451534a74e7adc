//! Which virtual machine or container this is, under systemd-detect-virt(1)'s names.
//!
//! systemd's order (src/basic/virt.c), by files that any user may read. Xen's first domain, which
//! has the hardware, is recognised by its features also without /proc/xen. systemd looks at two
//! more places: the environment of process 1, and the CPUID leaf of the hypervisor, which exists
//! only on x86. The latter is replaced here by the CPU's flag and the clocks that the kernel offers
//! with KVM, Hyper-V and Xen. Where systemd would only say that there is something, so does this;
//! if bare metal cannot be recognised, the result is None.
//!
//! Amazon and Google rent out bare metal under the same DMI texts as their virtual machines.
//! Amazon's firmware has a bit for that, which only root may read; for other users the name of the
//! product shows it. Google's is the same for both: there the CPU shows it, where it can.

use super::{
    cpus::field,
    files::{beginning, first_line, names},
};
use crate::sources::file::Root;

/// The containers whose managers set their name.
const CONTAINERS: [&str; 9] = [
    "systemd-nspawn",
    "lxc-libvirt",
    "lxc",
    "docker",
    "podman",
    "rkt",
    "wsl",
    "proot",
    "pouch",
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
const FIRMWARE_FIRST: [&str; 4] = ["oracle", "xen", "amazon", "parallels"];

/// The firmware's first table (SMBIOS 3.4.0, section 7.1), in which a bit says that this is a
/// virtual machine. That it is not set means something only of Amazon's.
const FIRMWARE_TABLE: &str = "/sys/firmware/dmi/entries/0-0/raw";

/// Where the table's second extension byte is, and the bit in it.
const FIRMWARE_BYTE: usize = 0x13;
const FIRMWARE_VM_BIT: u8 = 1 << 4;

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

/// Its name, or `none`; None if it is unknown.
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
    let by_files = || {
        let found = CONTAINER_FILES.iter().find(|(path, _)| exists(path));
        found.map(|(_, name)| *name)
    };
    match told.as_deref() {
        None => by_files().or_else(|| in_cgroup_namespace(root).then_some("container-other")),
        // No manager's name, but that of the format of its images.
        Some("oci") => by_files().or(Some("container-other")),
        Some(name) => CONTAINERS
            .into_iter()
            .find(|known| *known == name)
            .or(Some("container-other")),
    }
}

/// Returns true if the mounted root of the cgroups is not the true one: that has neither
/// `cgroup.events` nor `cgroup.type`. For cgroup v2 only.
fn in_cgroup_namespace(root: &Root) -> bool {
    let has = |file: &str| root.path("/sys/fs/cgroup").join(file).exists();
    has("cgroup.events") && has("cgroup.type")
}

fn machine(root: &Root, cpuinfo: &str) -> Option<&'static str> {
    let texts: Vec<_> = FIRMWARE_FILES
        .iter()
        .filter_map(|file| first_line(root, &format!("/sys/class/dmi/id/{file}")))
        .collect();
    let firmware = firmware(root, &texts);
    if let Some(name) = firmware.filter(|name| FIRMWARE_FIRST.contains(name)) {
        return Some(name);
    }
    if field(cpuinfo, "vendor_id").is_some_and(|vendor| vendor.starts_with("User Mode Linux")) {
        return Some("uml");
    }
    // Xen's first domain has the hardware, or what another hypervisor shows as that. Whatever
    // names Xen there names what it runs, and not what it runs on; /proc/xen need not be there.
    let first = is_first_domain(root);
    if !first && root.path("/proc/xen").exists() {
        return Some("xen");
    }
    let flags = field(cpuinfo, "flags");
    let flagged = flags.map(|flags| flags.split(' ').any(|flag| flag == "hypervisor"));
    let clock = (flagged == Some(true)).then(|| clock(root)).flatten();
    let clock = clock.filter(|name| !first || *name != "xen");
    match clock {
        // Google's is KVM, and QEMU presents itself as Hyper-V if configured to.
        Some("kvm") if firmware == Some("google") => return firmware,
        Some("microsoft") | None => {}
        Some(name) => return Some(name),
    }
    if !first {
        // On x86, Google's bare metal has the same texts and no flag.
        let told = firmware.filter(|name| *name != "google" || flagged != Some(false));
        let all = [told, hypervisor(root), device_tree(root)];
        let named = all.into_iter().flatten().find(|name| *name != "vm-other");
        let found = named.or(clock).or(all.into_iter().flatten().next());
        if found.is_some() {
            return found;
        }
    }
    match flagged {
        _ if clock.is_some() => clock,
        _ if first => Some("none"),
        Some(true) => Some("vm-other"),
        Some(false) => Some("none"),
        // No flag that would be missed, but a machine that describes itself.
        None if !texts.is_empty() => Some("none"),
        None => first_line(root, "/proc/device-tree/model").map(|_| "none"),
    }
}

/// What the firmware says; None if it says nothing of a virtual machine.
fn firmware(root: &Root, texts: &[String]) -> Option<&'static str> {
    let named = texts.iter().find_map(|text| beginning_of(text, &FIRMWARE));
    let bit = firmware_bit(root);
    match named {
        Some("amazon") => {
            let virtual_machine = bit.unwrap_or_else(|| {
                let product = first_line(root, "/sys/class/dmi/id/product_name");
                !product.is_some_and(|product| is_metal(&product))
            });
            virtual_machine.then_some("amazon")
        }
        Some(name) => Some(name),
        None => (bit == Some(true)).then_some("vm-other"),
    }
}

/// Returns true if the firmware's table has the bit; None if it cannot be read or is shorter.
fn firmware_bit(root: &Root) -> Option<bool> {
    let table = beginning(root, FIRMWARE_TABLE)?;
    let length = usize::from(*table.get(1)?);
    let byte = table
        .get(FIRMWARE_BYTE)
        .filter(|_| length > FIRMWARE_BYTE)?;
    Some(byte & FIRMWARE_VM_BIT != 0)
}

/// `m5.metal`, `m7i.metal-24xl`.
fn is_metal(product: &str) -> bool {
    let rest = product.split_once(".metal").map(|(_, rest)| rest);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

/// Returns true if this is Xen's first domain: by a bit of its features (`XENFEAT_dom0` in Xen's
/// public/features.h), and else by its capabilities.
fn is_first_domain(root: &Root) -> bool {
    const FIRST_DOMAIN: u64 = 1 << 11;
    let features = first_line(root, "/sys/hypervisor/properties/features");
    let features = features.and_then(|text| {
        let digits = text.trim_start_matches("0x");
        let end = digits.find(|character: char| !character.is_ascii_hexdigit());
        u64::from_str_radix(digits.get(..end.unwrap_or(digits.len()))?, 16).ok()
    });
    if let Some(features) = features {
        return features & FIRST_DOMAIN != 0;
    }
    let capabilities = first_line(root, "/proc/xen/capabilities").unwrap_or_default();
    capabilities.split(',').any(|one| one == "control_d")
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
    const TREE: &str = "/proc/device-tree";
    let first = |file: &str| {
        let text = beginning(root, &format!("{TREE}/{file}"))?;
        let end = text.iter().position(|byte| matches!(byte, b'\0' | b'\n'));
        Some(String::from_utf8_lossy(text.get(..end.unwrap_or(text.len()))?).into_owned())
    };
    if let Some(kind) = first("hypervisor/compatible") {
        return Some(match &*kind {
            "linux,kvm" => "kvm",
            xen if xen.contains("xen") => "xen",
            vmware if vmware.contains("vmware") => "vmware",
            _ => "vm-other",
        });
    }
    let exists = |file: &str| root.path(TREE).join(file).exists();
    if exists("ibm,partition-name")
        && exists("hmc-managed?")
        && !exists("chosen/qemu,graphic-width")
    {
        return Some("powervm");
    }
    let of_qemu = names(root, TREE)
        .iter()
        .any(|name| name.to_string_lossy().contains("fw-cfg"))
        || first("compatible").is_some_and(|kind| kind == "qemu,pseries");
    of_qemu.then_some("qemu")
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
    fn a_cgroup_tree_without_its_root_is_a_containers() {
        let events = "/sys/fs/cgroup/cgroup.events";
        let kind = ("/sys/fs/cgroup/cgroup.type", "domain\n");
        let nested = detected(&[(events, ""), kind], BARE);
        assert_eq!(nested, Some("container-other"));
        assert_eq!(detected(&[(events, "")], BARE), Some("none"));
    }

    #[test]
    fn machines_are_named_in_the_order_of_systemd() {
        let features = "/sys/hypervisor/properties/features";
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
            (
                &[(CLOCK, "tsc\n"), (PRODUCT, "Google Compute Engine\n")],
                "google",
            ),
            (&[(VENDOR, "VMware, Inc.\n")], "vmware"),
            (
                &[(VENDOR, "innotek GmbH\n"), (PRODUCT, "VirtualBox\n")],
                "oracle",
            ),
            (
                &[(CLOCK, "hyperv_clocksource_tsc_page acpi_pm\n")],
                "microsoft",
            ),
            (
                &[
                    (CLOCK, "hyperv_clocksource_tsc_page acpi_pm\n"),
                    (PRODUCT, "Virtual Machine\n"),
                ],
                "microsoft",
            ),
            // KVM that shows itself as Hyper-V.
            (
                &[(CLOCK, "hyperv_clocksource_tsc_page\n"), (PRODUCT, "KVM\n")],
                "kvm",
            ),
            (&[("/proc/xen/capabilities", "\n")], "xen"),
            (
                &[
                    ("/proc/xen/capabilities", "control_d\n"),
                    (CLOCK, "kvm-clock\n"),
                ],
                "kvm",
            ),
            (
                &[("/proc/xen/capabilities", "\n"), (features, "00000705\n")],
                "xen",
            ),
            (&[("/sys/hypervisor/type", "xen\n")], "xen"),
        ] {
            assert_eq!(detected(files, VIRTUAL), Some(name), "{files:?}");
        }
        for (files, name) in [
            (&[("/proc/xen/capabilities", "control_d\n")][..], "none"),
            (
                &[("/proc/xen/capabilities", "\n"), (features, "00000f05\n")],
                "none",
            ),
        ] {
            assert_eq!(
                detected(files, BARE),
                Some(name),
                "the first domain: {files:?}"
            );
        }
        assert_eq!(detected(&[], "vendor_id\t: User Mode Linux\n"), Some("uml"));
    }

    /// What Xen's first domain sees where /proc/xen is not mounted, or where the kernel has no such
    /// directory.
    #[test]
    fn xens_first_domain_is_the_machine() {
        let features = "/sys/hypervisor/properties/features";
        let kind = ("/sys/hypervisor/type", "xen\n");
        let dell = (VENDOR, "Dell Inc.\n");
        let clock = (CLOCK, "xen tsc hpet\n");
        let first = (features, "00000f05\n");
        let other = (features, "00000705\n");
        // Only XENFEAT_dom0.
        let bit = (features, "00000800\n");
        let capabilities = |text: &'static str| ("/proc/xen/capabilities", text);
        let odd = (features, "junk\n");
        for (files, name) in [
            (&[kind, first][..], "none"),
            (&[kind, bit], "none"),
            (&[kind, dell, first], "none"),
            (&[kind, dell, clock, first], "none"),
            (&[kind, first, ("/proc/xen/privcmd", "")], "none"),
            (&[kind, clock, first, capabilities("control_d\n")], "none"),
            (&[kind, clock, odd, capabilities("control_d\n")], "none"),
            (&[kind, clock, capabilities("control_d\n")], "none"),
            (&[kind, (CLOCK, "kvm-clock xen\n"), first], "kvm"),
            // Others are virtual machines.
            (&[kind, dell, clock, other], "xen"),
            (&[kind, other], "xen"),
            (&[kind], "xen"),
            (&[kind, odd], "xen"),
            (&[kind, other, ("/proc/xen/privcmd", "")], "xen"),
            (&[kind, capabilities("\n")], "xen"),
            (&[kind, capabilities("control_dd\n")], "xen"),
            // What the features say counts more.
            (&[kind, other, capabilities("control_d\n")], "xen"),
        ] {
            for cpuinfo in [BARE, VIRTUAL] {
                // Without the flag clocks are not looked at, except the first domain's.
                if name == "kvm" && cpuinfo == BARE {
                    continue;
                }
                assert_eq!(detected(files, cpuinfo), Some(name), "{files:?} {cpuinfo}");
            }
        }
        // 64-bit ARM has the device tree of Xen in every domain.
        let tree = (
            "/proc/device-tree/hypervisor/compatible",
            "xen,xen-4.17\0xen,xen\0",
        );
        let model = ("/proc/device-tree/model", "Ampere Altra\0");
        assert_eq!(detected(&[kind, tree, model, first], ARM), Some("none"));
        assert_eq!(detected(&[kind, tree, model, other], ARM), Some("xen"));
    }

    /// The firmware's first table, of this length, with this second extension byte.
    fn table(length: u8, byte: u8) -> String {
        let mut table = [0; 24];
        table[1] = length;
        table[FIRMWARE_BYTE] = byte;
        String::from_utf8(table.to_vec()).unwrap()
    }

    #[test]
    fn bare_metal_is_told_where_it_can_be() {
        let dell = [(VENDOR, "Dell Inc.\n"), (PRODUCT, "PowerEdge R650\n")];
        let pi = [(
            "/proc/device-tree/model",
            "Raspberry Pi 4 Model B Rev 1.4\0",
        )];
        for (files, cpuinfo, name) in [
            (&dell[..], BARE, Some("none")),
            (&[], BARE, Some("none")),
            (&[(CLOCK, "tsc hpet acpi_pm \n")], BARE, Some("none")),
            (&dell, ARM, Some("none")),
            (&pi, ARM, Some("none")),
            (&[], ARM, None),
        ] {
            assert_eq!(detected(files, cpuinfo), name, "{files:?}");
        }
    }

    #[test]
    fn what_clouds_rent_out_is_told_apart() {
        let (set, unset, short) = (table(0x18, 0x1c), table(0x18, 0x0c), table(0x13, 0x1c));
        let amazon = |product: &'static str| [(VENDOR, "Amazon EC2\n"), (PRODUCT, product)];
        for (table, product, cpuinfo, name) in [
            (None, "m5.metal\n", BARE, "none"),
            (None, "m7i.metal-24xl\n", BARE, "none"),
            (None, "m6g.metal\n", ARM, "none"),
            (None, "m6g.large\n", ARM, "amazon"),
            (None, "x1.metallic\n", ARM, "amazon"),
            (None, "m5.large\n", VIRTUAL, "amazon"),
            (Some(&set), "m5.metal\n", VIRTUAL, "amazon"),
            (Some(&set), "m6g.large\n", ARM, "amazon"),
            (Some(&unset), "m6g.large\n", ARM, "none"),
            (Some(&short), "m6g.large\n", ARM, "amazon"),
            (Some(&short), "m6g.metal\n", ARM, "none"),
        ] {
            let mut files = amazon(product).to_vec();
            files.extend(table.map(|table| (FIRMWARE_TABLE, &**table)));
            assert_eq!(detected(&files, cpuinfo), Some(name), "{product} {table:?}");
        }
        let google = [(PRODUCT, "Google Compute Engine\n"), (VENDOR, "Google\n")];
        assert_eq!(
            detected(&google, BARE),
            Some("none"),
            "c3-highcpu-192-metal"
        );
        assert_eq!(detected(&google, ARM), Some("google"), "it cannot be told");
        // Of others the bit says only that there is something.
        let acme = [(VENDOR, "Acme\n"), (FIRMWARE_TABLE, &*set)];
        assert_eq!(detected(&acme, ARM), Some("vm-other"));
        assert_eq!(
            detected(&[(VENDOR, "Acme\n"), (FIRMWARE_TABLE, &*unset)], ARM),
            Some("none")
        );
        let bits = [(VENDOR, "QEMU\n"), (FIRMWARE_TABLE, &*unset)];
        assert_eq!(detected(&bits, ARM), Some("qemu"));
    }

    #[test]
    fn a_device_tree_tells_of_its_hypervisor() {
        let tree = |file: &'static str| -> &'static str {
            Box::leak(format!("/proc/device-tree/{file}").into_boxed_str())
        };
        let kind = tree("hypervisor/compatible");
        let model = (tree("model"), "linux,dummy-virt\0");
        let power = (tree("ibm,partition-name"), "lpar\0");
        let managed = (tree("hmc-managed?"), "");
        let graphic = (tree("chosen/qemu,graphic-width"), "");
        for (files, name) in [
            (&[(kind, "linux,kvm\0")][..], "kvm"),
            (&[(kind, "xen,xen-4.17\0xen,xen\0")], "xen"),
            (&[(kind, "vmware\0")], "vmware"),
            (&[(kind, "acme,visor\0")], "vm-other"),
            (&[(kind, "acme,visor\0"), (VENDOR, "QEMU\n")], "qemu"),
            (&[model, (tree("fw-cfg@9020000/compatible"), "x\0")], "qemu"),
            (&[model, (tree("compatible"), "qemu,pseries\0")], "qemu"),
            (&[model, (tree("compatible"), "ibm,pseries\0")], "none"),
            (&[power, managed], "powervm"),
            (&[power, managed, graphic, model], "none"),
        ] {
            assert_eq!(detected(files, ARM), Some(name), "{files:?}");
        }
    }

    #[test]
    fn a_bare_instance_of_amazons_is_one() {
        let root = crate::sources::testing::fixture("odd/virt-metal-ec2");
        let cpuinfo = fs::read_to_string(root.path("/proc/cpuinfo")).unwrap();
        assert_eq!(detect(&root, &cpuinfo), Some("none"));
    }

    #[test]
    fn the_running_machine_is_what_systemd_says() {
        let Ok(output) = std::process::Command::new("systemd-detect-virt").output() else {
            return; // without systemd there is nothing to compare with
        };
        let said = String::from_utf8(output.stdout).unwrap();
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap();
        assert_eq!(detect(&Root::default(), &cpuinfo), Some(said.trim()));
    }
}
