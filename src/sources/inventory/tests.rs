use std::{fs, os::unix::fs::symlink, process::Command, thread, time::Duration};

use super::*;
use crate::metrics::{Samples, Value};
use crate::sources::{Purpose, SourceSet, Transition, options::Filter, testing::captured};

/// Far longer than anything takes here.
const LONG: Duration = Duration::from_secs(60);

fn root() -> (tempfile::TempDir, Root) {
    let directory = tempfile::tempdir().unwrap();
    let root = Root(directory.path().to_owned());
    (directory, root)
}

fn put(root: &Root, path: &str, text: &str) {
    let path = root.path(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// What is found, and what is said to be left out.
fn read_whole(root: &Root) -> (Host, Vec<String>) {
    let mut left_out = LeftOut::default();
    let host = Host::read(root, &Options::default(), &mut left_out);
    assert_eq!(left_out.count(), left_out.named().len() as u64);
    let said = left_out.named().iter().map(ToString::to_string);
    (host, said.collect())
}

fn read(root: &Root) -> Host {
    let (host, said) = read_whole(root);
    assert_eq!(said, Vec::<String>::new());
    host
}

fn wait(until: impl Fn() -> bool) {
    let deadline = Instant::now() + LONG;
    while !until() {
        assert!(Instant::now() < deadline);
        thread::sleep(Duration::from_millis(1));
    }
}

fn sample(context: &Context, grid: Grid) -> Samples {
    let mut source = InventorySource::open(context);
    source.prepare(grid, Instant::now());
    wait(|| source.ready());
    let mut samples = Samples::new();
    let mut sink = Sink::new(Purpose::Model, grid, &mut samples);
    source.collect(&mut Vec::new(), &mut sink).unwrap();
    samples
}

#[test]
fn a_captured_machine_is_told_in_the_order_of_the_table() {
    let context = Context::new(captured("6.12-qemu"));
    let samples = sample(&context, Grid::Model);
    let found: Vec<_> = samples
        .iter()
        .filter(|(name, _)| *name.definition != HOST_ARCHITECTURE)
        .map(|(name, value)| match value {
            Value::Text(text) => format!("{name} {text}"),
            Value::Unsigned(number) => format!("{name} {number}"),
            Value::Float(_) => panic!("{name}"),
        })
        .collect();
    assert_eq!(
        found,
        [
            "host.kernel 6.12.117+deb13-cloud-amd64",
            "host.os Debian GNU/Linux 13 (trixie)",
            "host.os.id debian",
            "host.os.version 13",
            "host.machine.id ef1c138f1c61492c847a9ae895b776e2",
            "host.cpu.model QEMU TCG CPU version 2.5+",
            "host.virtualization qemu",
            "host.vendor QEMU",
            "host.product Standard PC (i440FX + PIIX, 1996)",
            "host.timezone UTC",
            "host.interface[br0] ae:1b:2e:9d:72:05",
            "host.interface[down0] ae:41:be:12:08:6f",
            "host.interface[ens7] 52:54:00:12:34:56",
            "host.interface[ens8] 52:54:00:12:34:57",
            "host.interface[veth0] 5e:e7:ce:dc:7f:54",
            "host.interface[veth0.100] 5e:e7:ce:dc:7f:54",
            "host.disk.size[dm-0] 33554432",
            "host.disk[nvme0n1] QEMU NVMe Ctrl",
            "host.disk.size[nvme0n1] 134217728",
            "host.disk[sda] SPINNING DISK",
            "host.disk.size[sda] 67108864",
            "host.disk.size[vda] 2147483648",
            "host.disk.size[vdb] 67108864",
        ]
    );
}

#[test]
fn other_captured_machines_are_told_too() {
    let host = read(&captured("6.1-qemu"));
    assert_eq!(host.os.as_deref(), Some("Debian GNU/Linux 12 (bookworm)"));
    assert_eq!(host.virtualization, Some("qemu"));
    let host = read(&captured("6.18-firecracker"));
    assert_eq!(host.cpu_model.as_deref(), Some("AMD EPYC"));
    // Its clocks and its container's manager were not captured.
    assert_eq!(host.virtualization, Some("vm-other"));
    assert_eq!((host.vendor, host.product), (None, None));
    assert_eq!(
        host.disks,
        [host::Disk {
            name: "vda".to_owned(),
            model: None,
            bytes: Some(536_870_912 * 512)
        }]
    );
}

#[test]
fn metrics_messages_have_nothing_of_it_and_cost_nothing() {
    let context = Context::new(captured("6.12-qemu"));
    assert!(sample(&context, Grid::Metrics).is_empty());
    let mut source = InventorySource::open(&context);
    let ticket = |source: &InventorySource| source.job.ticket().unwrap().clone();
    let first = ticket(&source);
    let now = Instant::now();
    while !first.finished() {
        assert!(now.elapsed() < Duration::from_secs(30));
        std::thread::yield_now();
    }
    source.prepare(Grid::Metrics, Instant::now());
    assert!(ticket(&source).is(&first), "nothing is begun for metrics");
    source.prepare(Grid::Model, Instant::now());
    assert!(ticket(&source).is(&first), "the first model finds it done");
    source.prepare(Grid::Model, Instant::now());
    assert!(
        !ticket(&source).is(&first),
        "another model is another reading"
    );
}

#[test]
fn where_nothing_is_known_all_is_left_out() {
    let (_directory, root) = root();
    let host = read(&root);
    let architecture = host.architecture.clone();
    assert!(architecture.is_some());
    assert_eq!(
        host,
        Host {
            architecture,
            ..Host::default()
        }
    );
}

#[test]
fn interfaces_and_disks_are_those_that_are_measured() {
    let (_directory, root) = root();
    for (name, address) in [
        ("eth0", "52:54:00:12:34:56\n"),
        ("veth1", "52:54:00:12:34:57\n"),
        ("lo", "00:00:00:00:00:00\n"),
        ("tun0", "\n"),
    ] {
        put(&root, &format!("/sys/class/net/{name}/address"), address);
    }
    put(&root, "/sys/class/net/bonding_masters", "bond0\n");
    for (name, size) in [
        ("sda", "2048\n"),
        ("sdb", "0\n"),
        ("cciss!c0d0", "8\n"),
        ("loop0", "8\n"),
        ("sdc", "x\n"),
        ("sdd", "18446744073709551615\n"),
    ] {
        put(&root, &format!("/sys/block/{name}/size"), size);
    }
    put(&root, "/sys/block/sdb/device/model", "Card Reader     \n");
    let options = Options {
        network: Filter::without(&["veth*"]),
        ..Options::default()
    };
    let mut left_out = LeftOut::default();
    let host = Host::read(&root, &options, &mut left_out);
    let said: Vec<_> = left_out.named().iter().map(ToString::to_string).collect();
    let line = |disk: &str, found: &str| {
        let path = root.path(&format!("/sys/block/{disk}/size"));
        let path = path.display();
        format!(
            "{path}, line 1: expected a number of sectors of 512 bytes, up to 18014398509481983, found \"{found}\""
        )
    };
    assert_eq!(
        said,
        [line("sdc", "x"), line("sdd", "18446744073709551615")]
    );
    let address = "52:54:00:12:34:56".to_owned();
    assert_eq!(host.interfaces, [("eth0".to_owned(), address)]);
    let disks: Vec<_> = host
        .disks
        .iter()
        .map(|disk| (disk.name.as_str(), disk.model.as_deref(), disk.bytes))
        .collect();
    assert_eq!(
        disks,
        [
            ("cciss/c0d0", None, Some(4096)),
            ("sda", None, Some(1_048_576)),
            ("sdb", Some("Card Reader"), None),
            ("sdc", None, None),
            ("sdd", None, None),
        ]
    );
}

#[test]
fn too_many_are_cut_and_counted() {
    let (_directory, root) = root();
    for number in 0..host::MAX_DEVICES + 7 {
        let name = format!("/sys/class/net/veth{number}/address");
        put(&root, &name, "52:54:00:12:34:56\n");
    }
    let samples = sample(&Context::new(root), Grid::All);
    assert_eq!(samples.cut(), 7);
    let interfaces = samples
        .iter()
        .filter(|(name, _)| *name.definition == HOST_INTERFACE);
    assert_eq!(interfaces.count(), host::MAX_DEVICES);
}

/// The machine id is confidential, machine-id(5): what is reported is its hash.
#[test]
fn the_machine_id_is_hashed_as_systemd_does() {
    let application = host::APPLICATION_ID.lower_hex();
    let asked = Command::new("systemd-id128")
        .args(["machine-id", "--app-specific", &application])
        .output();
    let Some(asked) = asked.ok().filter(|output| output.status.success()) else {
        return; // no systemd here, or a machine without an id
    };
    let hashed = String::from_utf8(asked.stdout).unwrap();
    assert_eq!(
        read(&Root::default()).machine_id.as_deref(),
        Some(hashed.trim())
    );
}

#[test]
fn what_is_no_machine_id_is_none() {
    let (_directory, root) = root();
    for text in ["", "\n", "uninitialized\n"] {
        put(&root, "/etc/machine-id", text);
        assert_eq!(read(&root).machine_id, None, "{text}");
    }
    for text in [
        "00000000000000000000000000000000\n",
        "0f1e2d3c4b5a69788796a5b4c3d2e1f\n",
        "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0\n",
        "0f1e2d3c4b5a69788796a5b4c3d2e1fg\n",
    ] {
        put(&root, "/etc/machine-id", text);
        let (host, said) = read_whole(&root);
        assert_eq!(host.machine_id, None, "{text}");
        let found = text.trim_end();
        let expected = format!("line 1: expected 32 hexadecimal digits, found \"{found}\"");
        assert!(said[0].ends_with(&expected), "{said:?}");
    }
    put(
        &root,
        "/etc/machine-id",
        "0f1e2d3c4b5a69788796a5b4c3d2e1f0\n",
    );
    assert_eq!(
        read(&root).machine_id,
        read(&captured("6.12-qemu")).machine_id
    );
}

#[test]
fn the_time_zone_is_that_of_localtime() {
    let (_directory, root) = root();
    put(&root, "/etc/hostname", "web1\n");
    let localtime = root.path("/etc/localtime");
    let zone = || read(&root).timezone;
    assert_eq!(zone().as_deref(), Some("UTC"), "localtime(5)");
    for (target, name) in [
        ("/usr/share/zoneinfo/Europe/Berlin", Some("Europe/Berlin")),
        ("../usr/share/zoneinfo/Etc/GMT+3", Some("Etc/GMT+3")),
        ("/usr/share/zoneinfo/", None),
        ("/somewhere/else", None),
    ] {
        symlink(target, &localtime).unwrap();
        assert_eq!(zone().as_deref(), name, "{target}");
        fs::remove_file(&localtime).unwrap();
    }
    put(&root, "/etc/localtime", "TZif2");
    assert_eq!(zone(), None);
    put(&root, "/etc/timezone", "Asia/Tokyo\n");
    assert_eq!(zone().as_deref(), Some("Asia/Tokyo"));
}

#[test]
fn os_release_is_looked_for_in_both_places() {
    let (_directory, root) = root();
    put(&root, "/usr/lib/os-release", "ID=vendor\n");
    assert_eq!(read(&root).os_id.as_deref(), Some("vendor"));
    put(&root, "/etc/os-release", "ID=site\nPRETTY_NAME='A Site'\n");
    let host = read(&root);
    assert_eq!(host.os_id.as_deref(), Some("site"));
    assert_eq!(host.os.as_deref(), Some("A Site"));
    assert_eq!(host.os_version, None);
}

/// What is not there is nothing to speak of; what makes no sense or cannot be read is named, and
/// counted as that of every source.
#[test]
fn a_fact_that_makes_no_sense_is_counted_and_named_and_costs_no_other() {
    let (_directory, root) = root();
    put(&root, "/etc/os-release", "ID=site\nVERSION_ID='7\n");
    put(&root, "/sys/class/net/eth0/address", "52:54:00:12:34:5\n");
    put(&root, "/sys/class/net/eth1/address", "52:54:00:12:34:57\n");
    put(&root, "/sys/devices/system/cpu/online", "0-\n");
    put(
        &root,
        "/sys/class/net/e\u{202e}th/address",
        "52:54:00:12:34:58\n",
    );
    fs::create_dir_all(root.path("/sys/class/dmi/id/sys_vendor")).unwrap();
    put(&root, "/sys/class/dmi/id/product_name", "Box\n");
    fs::create_dir_all(root.path("/sys/block/sda/size")).unwrap();
    put(&root, "/sys/block/sda/device/model", "Disk\n");
    let mut set = SourceSet::open(
        Context::new(root.clone()),
        Duration::from_secs(1),
        &["inventory"],
    )
    .unwrap();
    let mut samples = Samples::new();
    let mut sample = |set: &mut SourceSet| {
        set.prepare(Purpose::Model, Grid::Model, Instant::now());
        wait(|| set.ready(Grid::Model));
        let news = set.sample(Purpose::Model, Grid::Model, &mut samples);
        let said = news.into_iter().map(|news| match news {
            Transition::LeftOut { error, .. } => error,
            other => panic!("{other:?}"),
        });
        said.collect::<Vec<_>>()
    };
    let said = sample(&mut set);
    for (file, what) in [
        (
            "/etc/os-release",
            ", line 2: expected NAME=value, quoted as in a shell, found \"VERSION_ID=\\'7\"",
        ),
        (
            "/sys/devices/system/cpu/online",
            ", line 1: expected a list of CPUs, as 0-3,8, found \"0-\"",
        ),
        ("/sys/class/dmi/id/sys_vendor", ": Is a directory"),
        (
            "/sys/class/net/eth0/address",
            ", line 1: expected pairs of hexadecimal digits with colons between them, found \"52:54:00:12:34:5\"",
        ),
        ("/sys/block/sda/size", ": Is a directory"),
        (
            "/sys/class/net",
            ": expected a name of characters that can be seen, found \"e\\xe2\\x80\\xaeth\"",
        ),
    ] {
        let place = root.path(file).display().to_string();
        let named = said
            .iter()
            .any(|one| one.contains(&format!("{place}{what}")));
        assert!(named, "{place}{what} is not in {said:?}");
    }
    assert_eq!(said.len(), 6, "{said:?}");
    assert_eq!(set.status("inventory").unwrap().errors, 6);
    // The first reading, which was made unasked, may serve two models.
    for _ in 0..2 {
        assert_eq!(sample(&mut set), Vec::<String>::new(), "once");
    }
    assert!([12, 18].contains(&set.status("inventory").unwrap().errors));
    assert_eq!(set.status("inventory").unwrap().fault, None);
    for (name, value) in [
        ("host.os.id", "site"),
        ("host.product", "Box"),
        ("host.interface[eth1]", "52:54:00:12:34:57"),
        ("host.disk[sda]", "Disk"),
    ] {
        assert_eq!(samples.get(name), Some(Value::Text(value)), "{name}");
    }
}

#[test]
fn firmware_without_dmi_has_the_product_in_the_device_tree() {
    let (_directory, root) = root();
    put(&root, "/proc/device-tree/model", "Raspberry Pi 4 Model B\0");
    assert_eq!(
        read(&root).product.as_deref(),
        Some("Raspberry Pi 4 Model B")
    );
}

/// A pipe in the place of a file: opening it waits for a writer.
#[test]
fn what_hangs_is_said_and_costs_one_thread() {
    let (_directory, root) = root();
    let pipe = root.path("/proc/cpuinfo");
    fs::create_dir_all(pipe.parent().unwrap()).unwrap();
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    let context = Context::new(root);
    let mut source = InventorySource::open(&context);
    let mut samples = Samples::new();
    for _ in 0..3 {
        source.prepare(Grid::Model, Instant::now());
        let mut sink = Sink::new(Purpose::Model, Grid::Model, &mut samples);
        let error = source.collect(&mut Vec::new(), &mut sink).unwrap_err();
        assert_eq!(error.to_string(), UNFINISHED);
    }
    fs::write(&pipe, "model name\t: slow\n").unwrap();
    wait(|| source.ready());
    let mut sink = Sink::new(Purpose::Model, Grid::Model, &mut samples);
    source.collect(&mut Vec::new(), &mut sink).unwrap();
    assert_eq!(samples.get("host.cpu.model"), Some(Value::Text("slow")));
}

#[test]
fn the_running_machine_is_told_as_others_tell_it() {
    let host = read(&Root::default());
    let uname = |option: &str| {
        let output = Command::new("uname").arg(option).output().unwrap();
        Some(String::from_utf8(output.stdout).unwrap().trim().to_owned())
    };
    assert_eq!(host.kernel, uname("-r"));
    assert_eq!(host.architecture, uname("-m"));
    let os = Command::new("sh")
        .args(["-c", ". /etc/os-release && echo \"$PRETTY_NAME\""])
        .output()
        .unwrap();
    if os.status.success() {
        let name = String::from_utf8(os.stdout).unwrap();
        assert_eq!(host.os.as_deref(), Some(name.trim()));
    }
}
