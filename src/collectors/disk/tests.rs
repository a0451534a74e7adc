use procfs_core::{DiskStats, FromBufRead};
use proptest::prelude::*;

use super::*;
use crate::collectors::{
    Options, Root, Samples,
    options::Filter,
    table::METRICS,
    testing::{Host, KERNELS, captured, names, read, unsigned},
};

fn line(text: &str) -> Result<Disk, Malformed> {
    parse(&Line {
        number: 3,
        text: text.as_bytes(),
    })
}

fn collector(root: Root, filter: Filter) -> DiskCollector {
    let mut context = Context::new(root);
    context.options = Options {
        disk: filter,
        ..Options::default()
    }
    .into();
    DiskCollector::open(&context)
}

fn of(root: Root) -> Samples {
    read(&mut DiskCollector::open(&Context::new(root))).unwrap()
}

#[test]
fn a_line_of_every_age_is_understood() {
    let counts = " 8 0 sda 1 2 3 4 5 6 7 8 9 10 11";
    let requests = Requests {
        reads: 1,
        reads_merged: 2,
        sectors_read: 3,
        read_time: 4,
        writes: 5,
        writes_merged: 6,
        sectors_written: 7,
        write_time: 8,
        inflight: 9,
        busy_time: 10,
        queue_time: 11,
    };
    let old = Disk {
        requests,
        discards: None,
        flushes: None,
    };
    assert_eq!(line(counts), Ok(old), "before 4.18");
    let discards = Some(Discards {
        discards: 12,
        merged: 13,
        sectors: 14,
        time: 15,
    });
    let newer = Disk { discards, ..old };
    assert_eq!(line(&format!("{counts} 12 13 14 15")), Ok(newer), "4.18");
    let flushes = Some(Flushes {
        flushes: 16,
        time: 17,
    });
    let new = Disk { flushes, ..newer };
    assert_eq!(line(&format!("{counts} 12 13 14 15 16 17")), Ok(new));
    let future = format!("{counts} 12 13 14 15 16 17 18 x");
    assert_eq!(line(&future), Ok(new), "one to come");
}

#[test]
fn what_is_not_a_line_of_counts_is_malformed() {
    for text in [
        "",
        "8 0 sda",
        "8 0 sda 1 2 3 4 5 6 7 8 9 10",
        "8 x sda 1 2 3 4 5 6 7 8 9 10 11",
        "8 0 sda 1 2 3 4 5 6 7 8 -9 10 11",
        "8 0 sda 1 2 3 4 5 6 7 8 9 10 99999999999999999999",
        "8 0 sda 1 2 3 4 5 6 7 8 9 10 11 12",
        "8 0 sda 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16",
    ] {
        let error = line(text).unwrap_err();
        assert_eq!((error.line, error.expected), (3, EXPECTED), "{text}");
    }
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
        let table = METRICS.iter().filter(|m| m.collector == "disk");
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
                (name.to_owned(), parse(&line).unwrap())
            })
            .collect();
        assert!(ours.len() >= 10);
        assert_eq!(ours.len(), theirs.len());
        for ((name, ours), theirs) in ours.iter().zip(&theirs) {
            assert_eq!(*name, theirs.name);
            let requests = Requests {
                reads: theirs.reads,
                reads_merged: theirs.merged,
                sectors_read: theirs.sectors_read,
                read_time: theirs.time_reading,
                writes: theirs.writes,
                writes_merged: theirs.writes_merged,
                sectors_written: theirs.sectors_written,
                write_time: theirs.time_writing,
                inflight: theirs.in_progress,
                busy_time: theirs.time_in_progress,
                queue_time: theirs.weighted_time_in_progress,
            };
            assert_eq!(ours.requests, requests, "{kernel} {name}");
            let discards = ours.discards.unwrap();
            assert_eq!(
                [
                    discards.discards,
                    discards.merged,
                    discards.sectors,
                    discards.time
                ]
                .map(Some),
                [
                    theirs.discards,
                    theirs.discards_merged,
                    theirs.sectors_discarded,
                    theirs.time_discarding
                ]
            );
            let flushes = ours.flushes.unwrap();
            assert_eq!(
                [flushes.flushes, flushes.time].map(Some),
                [theirs.flushes, theirs.time_flushing]
            );
        }
    }
}

#[test]
fn what_the_filter_admits_is_reported_and_the_rest_not_looked_into() {
    let filter = Filter {
        include: Filter::without(&["sd*", "nvme0n1p1"]).exclude,
        exclude: Filter::without(&["sda"]).exclude,
    };
    let samples = read(&mut collector(captured("6.1-qemu"), filter.clone())).unwrap();
    assert_eq!(unsigned(&samples, "disk.reads.total[nvme0n1p1]"), Some(94));
    assert!(
        samples
            .iter()
            .all(|(name, _)| name.instance == Some("nvme0n1p1"))
    );

    let host = Host::new();
    host.write(FILE, "8 0 sda junk\n8 1 sdb 1 2 3 4 5 6 7 8 9 10 11\n");
    let samples = read(&mut collector(host.root(), filter)).unwrap();
    assert_eq!(samples.len(), 11, "no discards, no flushes");
    assert_eq!(unsigned(&samples, "disk.read.bytes.total[sdb]"), Some(1536));
}

#[test]
fn a_broken_file_gives_an_error_and_no_value() {
    let host = Host::new();
    let good = "8 0 sda 1 2 3 4 5 6 7 8 9 10 11\n";
    for (second, expected) in [
        (
            "8 16 sdb 1 2 3\n",
            "/proc/diskstats, line 2: expected two device",
        ),
        ("8 16\n", "line 2: expected two device numbers"),
        (
            "8 16 sdb 1 2 3 4 5 6 7 8 9 10 11",
            "line 2: expected a newline",
        ),
    ] {
        host.write(FILE, format!("{good}{second}"));
        let mut collector = DiskCollector::open(&host.context());
        let mut samples = Samples::new();
        let mut sink = Sink::new(crate::collectors::Grid::All, &mut samples);
        let error = collector
            .collect(Purpose::Metrics, &mut Vec::new(), &mut sink)
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{error}");
        assert!(samples.is_empty());
    }
    let mut collector = DiskCollector::open(&Host::new().context());
    let error = read(&mut collector).unwrap_err().to_string();
    assert!(error.starts_with("cannot open "), "{error}");
}

#[test]
fn devices_come_and_go_and_only_so_many_are_reported() {
    let host = Host::new();
    let mut collector = DiskCollector::open(&host.context());
    let device = |name: usize| format!("8 {name} dm-{name} 1 2 3 4 5 6 7 8 9 10 {name}\n");
    for first in (0..10_000).step_by(100) {
        let text: String = (first..first + 100).map(device).collect();
        host.write(FILE, text);
        let samples = read(&mut collector).unwrap();
        assert_eq!((samples.len(), samples.cut()), (1100, 0));
        let name = format!("disk.queue.time.total[dm-{first}]");
        assert_eq!(unsigned(&samples, &name), Some(first as u64));
        assert_eq!(collector.devices.iter_mut().count(), 100);
    }
    assert_eq!(host.handles(), 1);

    host.write(FILE, (0..10_000).map(device).collect::<String>());
    let samples = read(&mut collector).unwrap();
    assert_eq!(samples.len(), MAX_DEVICES * 11);
    assert_eq!(samples.cut(), 10_000 - MAX_DEVICES as u64);
    assert_eq!(host.handles(), 1);
}

#[test]
fn the_running_machine_has_disks_that_only_count_up() {
    let filter = Filter::default();
    let mut collector = collector(Root::default(), filter);
    let first = read(&mut collector).unwrap();
    let second = read(&mut collector).unwrap();
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
        let _ = (name(&line), parse(&line));
        let mut devices = Instances::new(Filter::default(), 2);
        let mut samples = Samples::new();
        let mut sink = Sink::new(crate::collectors::Grid::All, &mut samples);
        let chosen = choose(&mut devices, &text);
        prop_assert!(chosen.is_err() || report(&mut devices, &text, &mut sink).is_ok());
    }

    #[test]
    fn random_counts_are_read_as_they_are(counts in any::<[u64; 11]>(), name in "[a-z!/-]{1,40}") {
        let printed: Vec<_> = counts.iter().map(u64::to_string).collect();
        let disk = line(&format!(" 253 7 {name} {}", printed.join(" "))).unwrap();
        prop_assert_eq!(disk.requests.reads, counts[0]);
        prop_assert_eq!(disk.requests.queue_time, counts[10]);
    }
}
