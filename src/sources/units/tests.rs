use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command},
    sync::atomic::{AtomicU32, Ordering as AtomicOrdering},
    thread,
    time::{Duration, Instant},
};

use glob::Pattern;

use rustix::fs::{Mode, OFlags};

use super::{
    super::{Odd, Purpose, options::Options, testing},
    *,
};
use crate::metrics::{Samples, Value};

/// Far longer than anything takes here.
const LONG: Duration = Duration::from_secs(60);

fn captured(kernel: &str) -> PathBuf {
    testing::captured(kernel).path("/sys/fs/cgroup")
}

fn all() -> UnitOptions {
    Options::default().units
}

fn sample(source: &mut UnitsSource) -> Samples {
    let mut samples = Samples::new();
    let mut sink = Sink::new(Purpose::Metrics, Grid::Metrics, &mut samples);
    source.collect(&mut Vec::new(), &mut sink).unwrap();
    samples
}

fn value(samples: &Samples, name: &str) -> Option<u64> {
    samples.get(name).map(|value| match value {
        Value::Unsigned(value) => value,
        other => panic!("{name} is {other:?}"),
    })
}

/// The units that a sample has CPU time of, in its order.
fn units(samples: &Samples) -> Vec<String> {
    samples
        .iter()
        .filter(|(name, _)| name.definition.name == UNIT_CPU.name)
        .filter_map(|(name, _)| name.instance.map(str::to_owned))
        .collect()
}

/// How many files are open: those that are read for every sample, and others.
fn kept(units: &[Unit]) -> (usize, usize) {
    let counts = units.iter().map(Unit::kept);
    counts.fold((0, 0), |sum, unit| (sum.0 + unit.0, sum.1 + unit.1))
}

/// A tree of plain files, with a unit's files as captured.
struct Tree {
    directory: tempfile::TempDir,
}

impl Tree {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self { directory }
    }

    fn source(&self, options: UnitOptions) -> UnitsSource {
        UnitsSource::of_tree(self.directory.path().to_owned(), options)
    }

    fn add(&self, path: &str) {
        let to = self.directory.path().join(path);
        fs::create_dir_all(&to).unwrap();
        let from = captured("6.12-qemu").join("system.slice/survivor.service");
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }

    fn write(&self, file: &str, text: &str) {
        fs::write(self.directory.path().join(file), text).unwrap();
    }

    fn remove(&self, path: &str) {
        fs::remove_dir_all(self.directory.path().join(path)).unwrap();
    }
}

#[test]
fn the_services_of_a_machine_with_all_controllers() {
    let mut source = UnitsSource::of_tree(captured("6.1-qemu"), all());
    let samples = sample(&mut source);
    assert_eq!(samples.cut(), 0);
    for (name, wanted) in [
        ("unit.cpu.total[burner.service]", 4_751_113),
        ("unit.cpu.user.total[burner.service]", 3_665_833),
        ("unit.cpu.system.total[burner.service]", 1_085_279),
        ("unit.cpu.throttled.total[burner.service]", 38_880_071),
        ("unit.memory[survivor.service]", 184_320),
        ("unit.memory.peak[survivor.service]", 16_777_216),
        ("unit.memory.swap[survivor.service]", 0),
        ("unit.memory.anon[survivor.service]", 102_400),
        ("unit.memory.file[survivor.service]", 8192),
        ("unit.oom.kills.total[survivor.service]", 1),
        ("unit.tasks[survivor.service]", 1),
        (r"unit.tasks[worker@a\x2db.service]", 2),
        ("unit.io.read.bytes.total[reader.service]", 369_098_752),
        ("unit.io.reads.total[reader.service]", 5632),
        ("unit.io.write.bytes.total[reader.service]", 0),
        ("unit.io.writes.total[reader.service]", 0),
        ("unit.pressure.cpu.some.total[survivor.service]", 238_477),
        ("unit.pressure.io.some.total[survivor.service]", 1053),
        ("unit.pressure.io.full.total[survivor.service]", 1053),
    ] {
        assert_eq!(value(&samples, name), Some(wanted), "{name}");
    }
    // In the table's order, unit after unit.
    let one: Vec<_> = samples
        .iter()
        .filter(|(name, _)| name.instance == Some("survivor.service"))
        .map(|(name, _)| name.definition.name)
        .collect();
    let table: Vec<_> = crate::metrics::table::METRICS
        .iter()
        .filter(|metric| metric.source == crate::metrics::table::UNITS)
        .map(|metric| metric.name)
        .collect();
    assert_eq!(one, table);
}

#[test]
fn what_a_tree_without_controllers_lacks_is_left_out() {
    let mut source = UnitsSource::of_tree(captured("6.18-firecracker"), all());
    let samples = sample(&mut source);
    for name in [
        "unit.memory[burner.service]",
        "unit.cpu.throttled.total[burner.service]",
        "unit.io.reads.total[burner.service]",
        "unit.tasks[burner.service]",
        "unit.oom.kills.total[burner.service]",
    ] {
        assert_eq!(value(&samples, name), None, "{name}");
    }
    for (name, wanted) in [
        ("unit.cpu.total[burner.service]", 4_480_746),
        ("unit.pressure.cpu.some.total[burner.service]", 11_346_787),
    ] {
        assert_eq!(value(&samples, name), Some(wanted), "{name}");
    }
}

#[test]
fn a_host_without_cgroup2_says_so() {
    let hybrid = tempfile::tempdir().unwrap();
    fs::create_dir_all(hybrid.path().join("unified/system.slice")).unwrap();
    let mut source = UnitsSource::of_tree(hybrid.path().to_owned(), all());
    assert_eq!(units(&sample(&mut source)), [""; 0]);
    assert!(source.lack().unwrap().starts_with("no cgroup v2 at "));
    let mut source = UnitsSource::of_tree(captured("6.12-qemu"), all());
    sample(&mut source);
    assert_eq!(source.lack(), None);
}

#[test]
fn a_tree_that_cannot_be_looked_at_is_no_lack() {
    let place = tempfile::tempdir().unwrap();
    // Not even root can look into this one.
    let tree = place.path().join("cgroup");
    fs::write(&tree, "").unwrap();
    let mut source = UnitsSource::of_tree(tree, all());
    let mut samples = Samples::new();
    let mut sink = Sink::new(Purpose::Metrics, Grid::Metrics, &mut samples);
    source.collect(&mut Vec::new(), &mut sink).unwrap_err();
    assert_eq!(source.lack(), None);
}

#[test]
fn the_model_has_nothing_of_it_and_nothing_is_read() {
    let mut samples = Samples::new();
    let mut sink = Sink::new(Purpose::Model, Grid::Model, &mut samples);
    let tree = Tree::new();
    tree.add("a.service");
    tree.write("a.service/cpu.stat", "broken");
    tree.source(all())
        .collect(&mut Vec::new(), &mut sink)
        .unwrap();
    assert!(samples.is_empty());
}

/// What a sample leaves out, as it is named.
fn left_out(source: &mut UnitsSource) -> (Samples, Vec<String>) {
    let mut samples = Samples::new();
    let mut sink = Sink::new(Purpose::Metrics, Grid::Metrics, &mut samples);
    source.collect(&mut Vec::new(), &mut sink).unwrap();
    let left_out = sink.into_left_out();
    let named = left_out.named().iter().map(ToString::to_string).collect();
    (samples, named)
}

#[test]
fn a_file_that_makes_no_sense_or_cannot_be_read_costs_its_own_values_alone() {
    let tree = Tree::new();
    tree.add("a.slice/x.service");
    tree.add("b.service");
    let row = "254:0 rbytes=10 wbytes=0 rios=1 wios=0 dbytes=0 dios=0\n";
    tree.write("a.slice/x.service/io.stat", row);
    let whole = sample(&mut tree.source(all()));
    for (file, metrics) in [
        ("cpu.stat", &["unit.cpu."][..]),
        ("memory.current", &["unit.memory["]),
        ("memory.peak", &["unit.memory.peak"]),
        ("memory.stat", &["unit.memory.anon", "unit.memory.file"]),
        ("memory.events", &["unit.oom"]),
        ("pids.current", &["unit.tasks"]),
        ("io.stat", &["unit.io."]),
        ("io.pressure", &["unit.pressure.io."]),
    ] {
        let path = format!("a.slice/x.service/{file}");
        let text = fs::read(tree.directory.path().join(&path)).unwrap();
        let expected: Vec<_> = whole
            .iter()
            .filter(|(name, _)| {
                let of = |metric: &&str| name.to_string().starts_with(*metric);
                name.instance != Some("x.service") || !metrics.iter().any(of)
            })
            .map(|(name, value)| (name.to_string(), value))
            .collect();
        let check = |said: &str| {
            let mut source = tree.source(all());
            for round in 0..3 {
                let (samples, named) = left_out(&mut source);
                let found = samples
                    .iter()
                    .map(|(name, value)| (name.to_string(), value));
                assert_eq!(found.collect::<Vec<_>>(), expected, "{file}");
                // At rest, most files are not read again.
                assert!(round > 0 || !named.is_empty(), "{file}");
                for error in named {
                    assert!(error.contains(&path) && error.contains(said), "{error}");
                }
            }
        };
        let odd = String::from_utf8(text.clone()).unwrap();
        let digits = |character: char| character.is_ascii_digit();
        // Not the device's numbers, which are not looked at.
        let odd = odd.replace("254:0", "device");
        tree.write(&path, &odd.replace(digits, "x"));
        check(", line ");
        fs::remove_file(tree.directory.path().join(&path)).unwrap();
        fs::create_dir(tree.directory.path().join(&path)).unwrap();
        check("Is a directory");
        fs::remove_dir(tree.directory.path().join(&path)).unwrap();
        fs::write(tree.directory.path().join(&path), text).unwrap();
    }
    let again = sample(&mut tree.source(all()));
    assert_eq!(again, whole);
}

#[test]
fn a_slice_that_cannot_be_listed_costs_the_units_in_it() {
    let tree = Tree::new();
    tree.add("b.service");
    // Deeper than any path: only the last of these slices is beyond.
    let name = format!("{}.slice", "a".repeat(240));
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut above = rustix::fs::open(tree.directory.path(), flags, Mode::empty()).unwrap();
    for _ in 0..17 {
        rustix::fs::mkdirat(&above, &*name, Mode::RWXU).unwrap();
        above = rustix::fs::openat(&above, &*name, flags, Mode::empty()).unwrap();
    }
    let (samples, named) = left_out(&mut tree.source(all()));
    assert_eq!(units(&samples), ["b.service"]);
    assert!(named[0].contains("File name too long"), "{named:?}");
}

#[test]
fn a_device_without_a_name_is_part_of_its_units_sums() {
    let context = Context::new(testing::fixture("odd/units-unknown-device"));
    let samples = sample(&mut UnitsSource::open(&context));
    for (name, expected) in [
        ("unit.io.read.bytes.total[a.service]", 1),
        ("unit.io.reads.total[a.service]", 7),
        ("unit.io.read.bytes.total[b.service]", 8192),
        ("unit.io.write.bytes.total[b.service]", 16_384),
        ("unit.io.reads.total[b.service]", 2),
        ("unit.io.writes.total[b.service]", 4),
        ("unit.cpu.total[b.service]", 5),
        ("unit.memory[b.service]", 4096),
    ] {
        assert_eq!(value(&samples, name), Some(expected), "{name}");
    }
}

#[test]
fn a_unit_at_rest_is_read_again_when_it_moves_and_now_and_then() {
    let tree = Tree::new();
    tree.add("a.service");
    let mut source = tree.source(all());
    for _ in 0..2 {
        sample(&mut source);
    }
    // A task was moved into it, which only a reading in full will show.
    tree.write("a.service/pids.current", "7\n");
    let mut waited = 0;
    while value(&sample(&mut source), "unit.tasks[a.service]") != Some(7) {
        waited += 1;
        assert!(waited <= REST);
    }
    // It ran: everything is read.
    tree.write("a.service/pids.current", "8\n");
    tree.write("a.service/cpu.stat", "usage_usec 1387784\n");
    let samples = sample(&mut source);
    assert_eq!(value(&samples, "unit.tasks[a.service]"), Some(8));
    assert_eq!(
        value(&samples, "unit.cpu.total[a.service]"),
        Some(1_387_784)
    );
    // Memory was taken from it while it slept.
    for _ in 0..2 {
        sample(&mut source);
    }
    tree.write("a.service/memory.current", "4096\n");
    tree.write("a.service/memory.stat", "anon 0\nfile 4096\nkernel 0\n");
    let samples = sample(&mut source);
    assert_eq!(value(&samples, "unit.memory.anon[a.service]"), Some(0));
    // What it wrote reached the disk while it slept.
    for _ in 0..2 {
        sample(&mut source);
    }
    tree.write(
        "a.service/io.stat",
        "254:0 rbytes=0 wbytes=4096 rios=0 wios=1\n",
    );
    let samples = sample(&mut source);
    assert_eq!(
        value(&samples, "unit.io.write.bytes.total[a.service]"),
        Some(4096)
    );
}

#[test]
fn a_unit_that_waits_is_not_at_rest() {
    let tree = Tree::new();
    tree.add("a.service");
    let mut source = tree.source(all());
    for total in 1..2 * REST {
        let text = format!("some avg10=0.00 avg60=0.00 avg300=0.00 total={total}\n");
        tree.write("a.service/io.pressure", &text);
        let samples = sample(&mut source);
        assert_eq!(
            value(&samples, "unit.pressure.io.some.total[a.service]"),
            Some(total)
        );
    }
}

#[test]
fn files_of_a_unit_at_rest_are_closed() {
    let tree = Tree::new();
    tree.add("a.service");
    let mut source = tree.source(all());
    sample(&mut source);
    let kept = |source: &UnitsSource| kept(&source.units);
    assert_eq!(kept(&source), (3, 8));
    for _ in 0..2 * REST {
        sample(&mut source);
    }
    assert_eq!(kept(&source), (3, 0));
}

#[test]
fn what_can_not_stay_open_is_read_all_the_same() {
    let tree = captured("6.12-qemu");
    let mut source = UnitsSource::of_tree(tree.clone(), all());
    source.reader.most_kept = 7;
    let mut other = UnitsSource::of_tree(tree, all());
    for _ in 0..2 * REST {
        assert_eq!(sample(&mut source), sample(&mut other));
        assert_eq!(kept(&source.units), (7, 0));
    }
}

#[test]
fn what_is_read_for_every_sample_has_room_before_the_rest() {
    let tree = Tree::new();
    for unit in 0..10 {
        tree.add(&format!("u{unit}.service"));
    }
    let mut source = tree.source(all());
    source.reader.most_kept = 35;
    for _ in 0..2 {
        sample(&mut source);
        assert_eq!(kept(&source.units), (30, 5));
    }
}

#[test]
fn controllers_may_be_enabled_later() {
    let tree = Tree::new();
    fs::create_dir(tree.directory.path().join("a.service")).unwrap();
    tree.write("a.service/cpu.stat", "usage_usec 1\n");
    let mut source = tree.source(all());
    for _ in 0..3 {
        assert_eq!(sample(&mut source).len(), 1);
    }
    tree.write("a.service/memory.current", "4096\n");
    let mut waited = 0;
    while value(&sample(&mut source), "unit.memory[a.service]").is_none() {
        waited += 1;
        assert!(waited <= REST);
    }
}

#[test]
fn units_are_chosen_by_name() {
    let options = UnitOptions {
        names: super::super::options::Filter {
            include: vec![
                Pattern::new("worker@*").unwrap(),
                Pattern::new("b*.slice").unwrap(),
            ],
            exclude: vec![Pattern::new("batch-*").unwrap()],
        },
        max: 10,
    };
    let mut source = UnitsSource::of_tree(captured("6.1-qemu"), options);
    let samples = sample(&mut source);
    assert_eq!(units(&samples), ["batch.slice", r"worker@a\x2db.service"]);
    assert_eq!(samples.cut(), 0);
}

#[test]
fn of_too_many_those_with_the_most_memory_are_reported() {
    let tree = Tree::new();
    for (unit, memory) in [("a", "1"), ("b", "4"), ("c", "2"), ("d", "3")] {
        tree.add(&format!("{unit}.service"));
        tree.write(
            &format!("{unit}.service/memory.current"),
            &format!("{memory}\n"),
        );
    }
    let mut options = all();
    options.max = 2;
    let mut source = tree.source(options);
    let samples = sample(&mut source);
    assert_eq!(units(&samples), ["b.service", "d.service"]);
    assert_eq!(samples.cut(), 2);

    // The order changes: chosen again from time to time, not at each sample.
    tree.write("a.service/memory.current", "5\n");
    assert_eq!(units(&sample(&mut source)), ["b.service", "d.service"]);
    let mut waited = 0;
    while units(&sample(&mut source)) != ["a.service", "b.service"] {
        waited += 1;
        assert!(waited <= REST);
    }
    // Room is filled at once, and nothing is lost of what stays.
    tree.remove("b.service");
    assert_eq!(units(&sample(&mut source)), ["a.service", "c.service"]);
    tree.add("aa.service");
    let samples = sample(&mut source);
    assert_eq!(units(&samples), ["a.service", "c.service"]);
    assert_eq!(samples.cut(), 2);
    for unit in ["a", "c", "d"] {
        tree.remove(&format!("{unit}.service"));
    }
    let samples = sample(&mut source);
    assert_eq!(
        (units(&samples).as_slice(), samples.cut()),
        (&["aa.service".to_owned()][..], 0)
    );
}

#[test]
fn a_long_io_stat_is_read_whole_and_an_endless_one_left_out() {
    let tree = Tree::new();
    tree.add("a.service");
    let line = "254:0 rbytes=10 wbytes=0 rios=1 wios=0 dbytes=0 dios=0\n";
    tree.write("a.service/io.stat", &line.repeat(1000));
    let mut source = tree.source(all());
    let samples = sample(&mut source);
    assert_eq!(
        value(&samples, "unit.io.read.bytes.total[a.service]"),
        Some(10_000)
    );
    // 5,000 disks.
    tree.write("a.service/io.stat", &line.repeat(5000));
    assert_eq!(
        value(&sample(&mut source), "unit.io.read.bytes.total[a.service]"),
        Some(50_000)
    );
    tree.write("a.service/io.stat", &line.repeat(20_000));
    let (samples, named) = left_out(&mut source);
    assert_eq!(value(&samples, "unit.io.read.bytes.total[a.service]"), None);
    assert!(
        named[0].contains("a.service/io.stat is larger than 1048576 bytes"),
        "{named:?}"
    );
}

/// A slice of real cgroups of its own, where this kernel and this user have them.
struct Slice(PathBuf);

impl Slice {
    /// None, with a line that says so, where there can't be one.
    fn new() -> Option<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        let mount = mounts.lines().find_map(|line| {
            let mut fields = line.split(' ').skip(1);
            let path = fields.next()?;
            (fields.next() == Some("cgroup2")).then_some(path)
        });
        let number = NUMBER.fetch_add(1, AtomicOrdering::Relaxed);
        let name = format!("metricsagenttest{}x{number}.slice", std::process::id());
        let path = Path::new(mount.unwrap_or("/nonexistent")).join(name);
        if let Err(error) = fs::create_dir(&path) {
            eprintln!("skipped: no cgroups can be made here: {error}");
            return None;
        }
        Some(Self(path))
    }

    fn source(&self) -> UnitsSource {
        UnitsSource::of_tree(self.0.clone(), all())
    }

    fn add(&self, unit: &str) {
        fs::create_dir(self.0.join(unit)).unwrap();
    }

    fn remove(&self, unit: &str) {
        remove(&self.0.join(unit));
    }

    /// The files below it that this process has open.
    fn open_files(&self) -> Vec<PathBuf> {
        let below = format!("{}/", self.0.display());
        fs::read_dir("/proc/self/fd")
            .unwrap()
            .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
            .filter(|path| path.to_string_lossy().starts_with(&below))
            .collect()
    }
}

impl Drop for Slice {
    fn drop(&mut self) {
        for entry in fs::read_dir(&self.0).unwrap().flatten() {
            if entry.file_type().unwrap().is_dir() {
                remove(&entry.path());
            }
        }
        remove(&self.0);
    }
}

/// A cgroup whose last process was just waited for may be busy for a moment.
fn remove(cgroup: &Path) {
    let deadline = Instant::now() + LONG;
    while let Err(error) = fs::remove_dir(cgroup) {
        assert!(Instant::now() < deadline, "{}: {error}", cgroup.display());
        thread::sleep(Duration::from_millis(10));
    }
}

/// A process, ended with the test.
struct Process(Child);

impl Process {
    fn in_cgroup(cgroup: &Path, script: &str) -> Self {
        let child = Command::new("sh")
            .args(["-c", &format!("read _; {script}")])
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut process = Self(child);
        fs::write(cgroup.join("cgroup.procs"), process.0.id().to_string()).unwrap();
        drop(process.0.stdin.take());
        process
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn cpu_time_of_a_real_cgroup_is_the_kernels() {
    let Some(slice) = Slice::new() else { return };
    slice.add("busy.service");
    slice.add("idle.service");
    let file = slice.0.join("busy.service/cpu.stat");
    let kernels = || {
        let text = fs::read(&file).unwrap();
        let stat = parse::cpu_stat(&text, &mut Odd::default());
        stat.unwrap().usage.unwrap()
    };
    let mut source = slice.source();
    sample(&mut source);
    let _process = Process::in_cgroup(&slice.0.join("busy.service"), "while :; do :; done");
    let deadline = Instant::now() + LONG;
    loop {
        let before = kernels();
        let samples = sample(&mut source);
        let usage = value(&samples, "unit.cpu.total[busy.service]").unwrap();
        let after = kernels();
        assert!(
            (before..=after).contains(&usage),
            "{before} {usage} {after}"
        );
        assert_eq!(value(&samples, "unit.cpu.total[idle.service]"), Some(0));
        if usage > 200_000 {
            break;
        }
        assert!(Instant::now() < deadline);
    }
}

/// Between finding and reading a unit may vanish, and even be there again.
#[test]
fn a_cgroup_that_vanishes_is_gone_and_its_successor_is_read() {
    let Some(slice) = Slice::new() else { return };
    slice.add("a.service");
    let mut others = LeftOut::default();
    let (found, _) = tree::Tree::new(slice.0.clone())
        .walk(|_| true, &mut others)
        .unwrap();
    let mut unit = Unit::new(found.into_iter().next().unwrap());
    let mut reader = Reader::new(slice.0.clone());
    reader.begin(std::iter::empty());
    let mut buffer = Vec::new();
    let mut read = |unit: &mut Unit| {
        let mut room = Room {
            buffer: &mut buffer,
            left_out: &mut others,
        };
        unit.read(&mut reader, 0, &mut room)
    };
    assert!(read(&mut unit));
    assert_ne!(unit.kept(), (0, 0));
    slice.remove("a.service");
    slice.add("a.service");
    assert!(read(&mut unit));
    slice.remove("a.service");
    assert!(!read(&mut unit));
    assert_eq!(unit.kept(), (0, 0));
}

/// Ten thousand of them, with samples in between.
#[test]
fn cgroups_that_come_and_go_leave_no_files_open() {
    const BATCH: usize = 100;
    let Some(slice) = Slice::new() else { return };
    let mut source = slice.source();
    sample(&mut source);
    for batch in 0..100 {
        let names: Vec<_> = (0..BATCH)
            .map(|unit| format!("u{batch}x{unit:03}.service"))
            .collect();
        for name in &names {
            slice.add(name);
        }
        assert_eq!(units(&sample(&mut source)), names);
        let (gone, left) = names.split_at(BATCH / 2);
        for name in gone {
            slice.remove(name);
        }
        assert_eq!(units(&sample(&mut source)), left);
        assert!(!slice.open_files().is_empty());
        for name in left {
            slice.remove(name);
        }
        assert!(sample(&mut source).is_empty());
        assert_eq!(slice.open_files(), Vec::<PathBuf>::new());
    }
}

#[test]
fn the_running_machine_is_read_without_an_error() {
    let mut source = UnitsSource::open(&Context::new(super::super::Root::default()));
    for _ in 0..3 {
        let samples = sample(&mut source);
        assert!(units(&samples).is_sorted());
    }
}
