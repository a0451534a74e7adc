use procfs_core::{DiskStats, FromBufRead};
use proptest::prelude::*;

use super::*;
use crate::metrics::Samples;
use crate::metrics::table::METRICS;
use crate::sources::{
    Grid, Options, Purpose, Root,
    options::Filter,
    testing::{Host, KERNELS, captured, fixture, names, read, read_whole, unsigned},
};

/// The counts of a line, and how many things are wrong with it.
fn line(text: &str) -> (Vec<Option<u64>>, usize) {
    let mut odd = Odd::default();
    let line = Line {
        number: 3,
        text: text.as_bytes(),
    };
    let disk = parse(&line, &mut odd);
    let named = odd.named();
    assert!(
        named
            .iter()
            .all(|one| (one.line, one.expected) == (3, EXPECTED))
    );
    (disk.to_vec(), named.len())
}

/// Those that are there, of as many as there are.
fn counts(there: &[u64]) -> Vec<Option<u64>> {
    let missing = vec![None; COUNTS - there.len()];
    there.iter().copied().map(Some).chain(missing).collect()
}

fn source(root: Root, filter: Filter) -> DiskSource {
    let mut context = Context::new(root);
    context.options = Options {
        disk: filter,
        ..Options::default()
    }
    .into();
    DiskSource::open(&context)
}

fn of(root: Root) -> Samples {
    read(&mut DiskSource::open(&Context::new(root))).unwrap()
}

#[test]
fn a_line_of_every_age_is_understood() {
    let all: Vec<u64> = (1..=17).collect();
    for known in [11, 15, 17] {
        let printed: Vec<_> = all[..known].iter().map(u64::to_string).collect();
        let text = format!(" 8 0 sda {}", printed.join(" "));
        assert_eq!(line(&text), (counts(&all[..known]), 0), "{text}");
        if known == 17 {
            assert_eq!(
                line(&format!("{text} 18 x")),
                (counts(&all), 0),
                "one to come"
            );
        }
    }
}

#[test]
fn a_count_that_makes_no_sense_costs_itself_alone() {
    let whole = "8 0 sda 1 2 3 4 5 6 7 8 9 10 11";
    let good: Vec<u64> = (1..=11).collect();
    for (from, to, at) in [
        (" 10 ", " -10 ", 9),
        (" 1 ", " x ", 0),
        (" 9 ", " 4294967295 ", 8),
        (" 11", " 99999999999999999999", 10),
        // -1, -1 sector, -1 ns in ms.
        (" 1 ", " 18446744073709551615 ", 0),
        (" 3 ", " 36028797018963967 ", 2),
        (" 4 ", " 18446744073709 ", 3),
        (" 11", " 18446744073709", 10),
    ] {
        let mut left = counts(&good);
        left[at] = None;
        assert_eq!(line(&whole.replace(from, to)), (left, 1), "{to}");
    }
    assert_eq!(line(&whole.replace("8 0", "x y")), (counts(&good), 0));
    assert_eq!(line("8 0 sda"), (counts(&[]), 1));
    assert_eq!(line("8 0 sda 1 2 3"), (counts(&[1, 2, 3]), 1));
    assert_eq!(line(&format!("{whole} 12")).1, 1);
    assert_eq!(line(&format!("{whole} 12 13 14 15 16")).1, 1);
}

/// As read with a person's eyes.
#[test]
fn the_values_of_captured_machines() {
    let samples = of(captured("6.1-qemu"));
    let nvme: Vec<_> = samples
        .iter()
        .filter(|(name, _)| name.instance == Some("nvme0n1"))
        .map(|(name, _)| unsigned(&samples, &name.to_string()).unwrap())
        .collect();
    assert_eq!(
        nvme,
        [
            5420,
            0,
            330_529_792,
            5329,
            133,
            82,
            36_021_248,
            1794,
            0,
            6428,
            7488,
            2,
            98_567_168,
            6,
            16,
            359
        ]
    );
    let samples = of(captured("6.12-qemu"));
    assert_eq!(unsigned(&samples, "disk.reads.total[dm-0]"), Some(199));
    assert_eq!(unsigned(&samples, "disk.reads.merged.total[sda]"), Some(4));
    let samples = of(captured("6.18-firecracker"));
    for (name, value) in [
        ("disk.read.bytes.total[vda]", 302_015_618 * 512),
        ("disk.write.bytes.total[vda]", 282_765_736 * 512),
        ("disk.discard.bytes.total[vda]", 210_075_144 * 512),
        ("disk.busy.total[vda]", 696_588),
        ("disk.flush.time.total[vda]", 32_030),
    ] {
        assert_eq!(unsigned(&samples, name), Some(value), "{name}");
    }
}

#[test]
fn disks_in_the_kernels_order_with_metrics_in_the_tables() {
    for (kernel, disks) in [
        ("6.1-qemu", &["nvme0n1", "vda", "vdb", "sda", "dm-0"][..]),
        ("6.12-qemu", &["nvme0n1", "vda", "vdb", "sda", "dm-0"]),
        ("6.18-firecracker", &["vda"]),
    ] {
        let table = METRICS.iter().filter(|m| m.source == "disk");
        let table: Vec<_> = table.map(|m| m.name).collect();
        let expected: Vec<_> = disks
            .iter()
            .flat_map(|disk| table.iter().map(move |name| format!("{name}[{disk}]")))
            .collect();
        assert_eq!(names(&of(captured(kernel))), expected);
    }
}

/// Another reader of the same files finds the same.
#[test]
fn procfs_finds_the_same() {
    for kernel in KERNELS {
        let root = captured(kernel);
        let text = std::fs::read(root.path(FILE)).unwrap();
        let theirs = DiskStats::from_buf_read(&text[..]).unwrap().0;
        let ours: Vec<_> = lines(&text)
            .map(|line| {
                let line = line.unwrap();
                let name = std::str::from_utf8(name(&line).unwrap()).unwrap();
                (name.to_owned(), parse(&line, &mut Odd::default()))
            })
            .collect();
        assert!(ours.len() >= 10);
        assert_eq!(ours.len(), theirs.len());
        for ((name, ours), theirs) in ours.iter().zip(&theirs) {
            assert_eq!(*name, theirs.name);
            let requests = [
                theirs.reads,
                theirs.merged,
                theirs.sectors_read,
                theirs.time_reading,
                theirs.writes,
                theirs.writes_merged,
                theirs.sectors_written,
                theirs.time_writing,
                theirs.in_progress,
                theirs.time_in_progress,
                theirs.weighted_time_in_progress,
            ];
            let later = [
                theirs.discards,
                theirs.discards_merged,
                theirs.sectors_discarded,
                theirs.time_discarding,
                theirs.flushes,
                theirs.time_flushing,
            ];
            let expected: Vec<_> = requests.into_iter().map(Some).chain(later).collect();
            assert_eq!(ours.to_vec(), expected, "{kernel} {name}");
        }
    }
}

#[test]
fn what_the_filter_admits_is_reported_and_the_rest_not_looked_into() {
    let filter = Filter {
        include: Filter::without(&["sd*", "nvme0n1*"]).exclude,
        exclude: Filter::without(&["sda"]).exclude,
    };
    let samples = read(&mut source(captured("6.1-qemu"), filter.clone())).unwrap();
    assert_eq!(unsigned(&samples, "disk.reads.total[nvme0n1]"), Some(5420));
    let instances = samples.iter().map(|(name, _)| name.instance);
    assert!(
        instances.into_iter().all(|name| name == Some("nvme0n1")),
        "no partition"
    );

    let host = Host::new();
    host.write(FILE, "8 0 sda junk\n8 1 sdb 1 2 3 4 5 6 7 8 9 10 11\n");
    let samples = read(&mut source(host.root(), filter)).unwrap();
    assert_eq!(samples.len(), 11, "no discards, no flushes");
    assert_eq!(unsigned(&samples, "disk.read.bytes.total[sdb]"), Some(1536));
}

#[test]
fn a_line_that_makes_no_sense_costs_itself_alone_and_is_named() {
    let host = Host::new();
    let good = "8 0 sda 1 2 3 4 5 6 7 8 9 10 11\n";
    for (second, expected, count) in [
        (
            "8 16 sdb 1 2 3\n",
            "/proc/diskstats, line 2: expected two device",
            3,
        ),
        (
            "8 16 sdb 1 2 3 4 5 6 7 8 -9 10 11\n",
            "line 2: expected two device numbers",
            10,
        ),
        (
            // Longer than what is shown of a line.
            "8 16 sdb 1000000000 1000000000 1000000000 1000000000 1000000000 1000000000 1000000000 \
             1000000000 0 10 -11923\n",
            "what a disk can have done, found \"-11923\" in \"8 16 sdb 1000000000 ",
            10,
        ),
        (
            "8 16 s\u{200b}db 1 2 3 4 5 6 7 8 9 10 11\n",
            "line 2: expected a name of characters that can be seen, found \"8 16 s\\xe2",
            0,
        ),
        ("8 16\n", "line 2: expected two device numbers", 0),
        (
            "8 16 sdb 1 2 3 4 5 6 7 8 9 10 11",
            "line 2: expected a newline",
            0,
        ),
    ] {
        host.write(FILE, format!("{good}{second}"));
        let mut source = DiskSource::open(&host.context());
        let (samples, left_out) = read_whole(&mut source).unwrap();
        let of = |disk| {
            samples
                .iter()
                .filter(|(name, _)| name.instance == Some(disk))
                .count()
        };
        assert_eq!((of("sda"), of("sdb")), (11, count), "{second}");
        assert_eq!(samples.cut(), 0, "{second}");
        let [error] = left_out.named() else {
            panic!("{left_out:?}");
        };
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn a_file_that_is_not_there_or_about_something_else_is_an_error() {
    let host = Host::new();
    let mut source = DiskSource::open(&host.context());
    let error = read(&mut source).unwrap_err().to_string();
    assert!(error.starts_with("cannot open "), "{error}");
    host.write(FILE, "not this\n8 0 sda");
    let error = read(&mut source).unwrap_err().to_string();
    assert!(
        error.contains("/proc/diskstats, line 1: expected two"),
        "{error}"
    );
    host.write(FILE, "");
    assert!(
        read(&mut source).unwrap().is_empty(),
        "a host without disks"
    );
}

/// The names of the disks that are reported.
fn disks(samples: &Samples) -> Vec<&str> {
    let mut disks: Vec<_> = samples
        .iter()
        .filter_map(|(name, _)| name.instance)
        .collect();
    disks.dedup();
    disks
}

#[test]
fn partitions_and_empty_disks_are_left_out_where_sys_tells_and_where_it_is_hidden() {
    let whole = [
        "dasda", "md127", "rbd0", "zd0", "mmcblk0", "pmem0", "bcache0",
    ];
    let text = std::fs::read(fixture("odd/disk-partitions").path(FILE)).unwrap();
    assert_eq!(disks(&of(fixture("odd/disk-partitions"))), whole);
    let host = Host::new();
    host.write(FILE, text);
    for disk in whole {
        host.write(&format!("/sys/block/{disk}/size"), "2048\n");
        host.write(&format!("/sys/block/{disk}/{disk}p1/partition"), "1\n");
    }
    host.write("/sys/block/mmcblk0boot0/size", "8192\n");
    for number in 0..3 {
        host.write(&format!("/sys/block/nbd{number}/size"), "0\n");
    }
    assert_eq!(disks(&of(host.root())), whole);
}

#[test]
fn what_xen_hands_out_as_a_disk_is_one() {
    let samples = of(fixture("odd/disk-xvda1"));
    assert_eq!(disks(&samples), ["xvda1", "xvda2"]);
    assert_eq!(unsigned(&samples, "disk.reads.total[xvda1]"), Some(26_268));
}

#[test]
fn devices_come_and_go_and_only_so_many_are_reported() {
    let host = Host::new();
    let mut source = DiskSource::open(&host.context());
    let device = |name: usize| format!("8 {name} dm-{name} 1 2 3 4 5 6 7 8 9 10 {name}\n");
    for first in (0..10_000).step_by(100) {
        let text: String = (first..first + 100).map(device).collect();
        host.write(FILE, text);
        let samples = read(&mut source).unwrap();
        assert_eq!((samples.len(), samples.cut()), (1100, 0));
        let name = format!("disk.queue.time.total[dm-{first}]");
        assert_eq!(unsigned(&samples, &name), Some(first as u64));
        assert_eq!(source.devices.iter_mut().count(), 100);
    }
    assert_eq!(host.handles(), 1);

    host.write(FILE, (0..10_000).map(device).collect::<String>());
    let samples = read(&mut source).unwrap();
    assert_eq!(samples.len(), MAX_DEVICES * 11);
    assert_eq!(samples.cut(), 10_000 - MAX_DEVICES as u64);
    assert_eq!(host.handles(), 1);
}

#[test]
fn the_running_machine_has_disks_that_only_count_up() {
    let filter = Filter::default();
    let mut source = source(Root::default(), filter);
    let first = read(&mut source).unwrap();
    let second = read(&mut source).unwrap();
    let text = std::fs::read_to_string(FILE).unwrap();
    assert_eq!(first.is_empty(), text.is_empty());
    for (name, _) in second.iter() {
        let name = name.to_string();
        // Of a device that came in between there is nothing to compare.
        let (Some(before), Some(now)) = (unsigned(&first, &name), unsigned(&second, &name)) else {
            continue;
        };
        assert!(now >= before || name.starts_with("disk.inflight"), "{name}");
    }
}

proptest! {
    #[test]
    fn random_bytes_never_panic(text in proptest::collection::vec(any::<u8>(), 0..256)) {
        let line = Line { number: 1, text: &text };
        let _ = (name(&line), parse(&line, &mut Odd::default()));
        let mut devices = Instances::new(Filter::default(), 2);
        let mut samples = Samples::new();
        let mut sink = Sink::new(Purpose::Metrics, Grid::All, &mut samples);
        let root = Root("/nowhere".into());
        let known = Known::new(&root, &text, Instant::now());
        report(&mut devices, &known, &text, &mut sink, &mut Odd::default());
    }

    #[test]
    fn random_counts_are_read_as_they_are(
        counts in proptest::array::uniform11(0_u64..1 << 55),
        name in "[a-z!/-]{1,40}") {
        let printed: Vec<_> = counts.iter().map(u64::to_string).collect();
        let (disk, _) = line(&format!(" 253 7 {name} {}", printed.join(" ")));
        for (at, count) in counts.into_iter().enumerate() {
            prop_assert_eq!(disk[at], Some(count).filter(|count| *count <= most(at)));
        }
    }
}

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
