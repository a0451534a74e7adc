//! What 300 services cost, and what each way of reading their files would.
//!
//! "plain files" is a tree of captured files: what the agent and the system calls take, with
//! all controllers. "cgroups" are real ones, with what this kernel makes for each reading;
//! they need root, and have the files of this host's controllers alone.

#![expect(
    clippy::panic,
    reason = "a benchmark without its input has nothing to go on with"
)]
#![expect(
    clippy::print_stdout,
    reason = "what is left out is said beside the figures"
)]

#[path = "../tests/fixtures/mod.rs"]
#[expect(dead_code, reason = "tests and the example use the rest")]
mod fixtures;

use std::{
    fs,
    hint::black_box,
    os::{fd::OwnedFd, unix::fs::FileExt},
    path::{Path, PathBuf},
};

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use metrics_agent::metrics::Samples;
use metrics_agent::sources::{
    Grid, Odd, Options, Purpose, Sink, Source,
    units::{UnitsSource, parse},
};
use rustix::fs::{Mode, OFlags, open, openat};

const UNITS: usize = 300;

/// The machine of a captured service, and where that is there.
const MACHINE: &str = "proc/6.12-qemu";
const SERVICE: &str = "sys/fs/cgroup/system.slice/survivor.service";

/// What is read of each unit, where it is there.
const FILES: [&str; 11] = [
    "cpu.stat",
    "memory.current",
    "io.stat",
    "memory.peak",
    "memory.swap.current",
    "memory.stat",
    "memory.events",
    "pids.current",
    "cpu.pressure",
    "memory.pressure",
    "io.pressure",
];

/// More than the longest of the files has.
const TEXT_BYTES: usize = 16 * 1024;

fn must<T, E: std::fmt::Display>(result: Result<T, E>, what: &Path) -> T {
    result.unwrap_or_else(|error| panic!("{}: {error}", what.display()))
}

fn captured() -> PathBuf {
    fixtures::trees::tree(MACHINE).join(SERVICE)
}

/// A tree of units; removed at the end.
struct Tree {
    base: PathBuf,
    kernels: bool,
}

impl Tree {
    fn of_files() -> Self {
        let base = std::env::temp_dir().join(format!("metrics-agent-bench-{}", std::process::id()));
        let tree = Self {
            base,
            kernels: false,
        };
        must(fs::create_dir(&tree.base), &tree.base);
        for unit in tree.units() {
            must(fs::create_dir(&unit), &unit);
            for file in FILES {
                must(fs::copy(captured().join(file), unit.join(file)), &unit);
            }
        }
        tree
    }

    /// None where there can be no cgroups.
    fn of_cgroups() -> Option<Self> {
        let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
        let mount = mounts.lines().find_map(|line| {
            let mut fields = line.split(' ').skip(1);
            let path = fields.next()?;
            (fields.next() == Some("cgroup2")).then_some(path)
        })?;
        let name = format!("metricsagentbench{}.slice", std::process::id());
        let base = Path::new(mount).join(name);
        fs::create_dir(&base).ok()?;
        let tree = Self {
            base,
            kernels: true,
        };
        for unit in tree.units() {
            must(fs::create_dir(&unit), &unit);
        }
        Some(tree)
    }

    fn units(&self) -> impl Iterator<Item = PathBuf> + use<'_> {
        (0..UNITS).map(|number| self.base.join(format!("unit{number:03}.service")))
    }

    /// Every unit has used some more CPU time. Written over the old text, which is as long:
    /// a file that is cut first and then written goes to the disk at once.
    fn run(&self, time: u64) {
        for unit in self.units() {
            let file = unit.join("cpu.stat");
            let text = format!("usage_usec {time:016}\nuser_usec 0\nsystem_usec 0\n");
            let written = fs::OpenOptions::new()
                .write(true)
                .open(&file)
                .and_then(|stat| stat.write_all_at(text.as_bytes(), 0));
            must(written, &file);
        }
    }

    /// The files that units have here.
    fn names(&self) -> Vec<&'static str> {
        let first = self.base.join("unit000.service");
        let there = |file: &&str| first.join(file).exists();
        FILES.into_iter().filter(there).collect()
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        for unit in self.units() {
            if self.kernels {
                must(fs::remove_dir(&unit), &unit);
            } else {
                must(fs::remove_dir_all(&unit), &unit);
            }
        }
        must(fs::remove_dir(&self.base), &self.base);
    }
}

fn collect(source: &mut UnitsSource, scratch: &mut Vec<u8>, samples: &mut Samples) {
    samples.clear();
    let mut sink = Sink::new(Purpose::Metrics, Grid::Metrics, samples);
    must(source.collect(scratch, &mut sink), Path::new("units"));
}

/// The agent's own way: units at rest, and units that all ran since the last sample.
fn sample(criterion: &mut Criterion, tree: &Tree, name: &str) {
    let mut group = criterion.benchmark_group(name);
    let (mut scratch, mut samples) = (Vec::new(), Samples::new());
    let open = || UnitsSource::of_tree(tree.base.clone(), Options::default().units);
    let mut source = open();
    group.bench_function("at rest", |b| {
        b.iter(|| collect(&mut source, &mut scratch, &mut samples));
    });
    if !tree.kernels {
        for unit in tree.units() {
            must(fs::write(unit.join("cpu.stat"), ""), &unit);
        }
        let mut time = 0;
        let mut run = || {
            time += 1000;
            tree.run(time);
        };
        group.bench_function("all busy", |b| {
            b.iter_batched(
                &mut run,
                |()| collect(&mut source, &mut scratch, &mut samples),
                BatchSize::PerIteration,
            );
        });
    }
    group.bench_function("at rest, one came and one went", |b| {
        let passing = tree.base.join("passing.service");
        b.iter_batched(
            || {
                must(fs::create_dir(&passing), &passing);
                must(fs::remove_dir(&passing), &passing);
            },
            |()| collect(&mut source, &mut scratch, &mut samples),
            BatchSize::PerIteration,
        );
    });
    group.bench_function("found for the first time", |b| {
        b.iter_batched_ref(
            open,
            |source| collect(source, &mut scratch, &mut samples),
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

/// Reading every file of every unit, and nothing else.
fn ways(criterion: &mut Criterion, tree: &Tree, name: &str) {
    let mut group = criterion.benchmark_group(name);
    let mut text = vec![0; TEXT_BYTES];
    let names = tree.names();
    let files: Vec<PathBuf> = tree
        .units()
        .flat_map(|unit| names.iter().map(move |file| unit.join(file)))
        .collect();
    let read_only = OFlags::RDONLY | OFlags::CLOEXEC;
    let kept: Vec<OwnedFd> = files
        .iter()
        .map(|file| must(open(file, read_only, Mode::empty()), file))
        .collect();
    group.bench_function("kept open", |b| {
        b.iter(|| {
            for (file, path) in kept.iter().zip(&files) {
                black_box(must(rustix::io::pread(file, &mut text, 0), path));
            }
        });
    });
    drop(kept);
    let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let units: Vec<OwnedFd> = tree
        .units()
        .map(|unit| must(open(&unit, directory, Mode::empty()), &unit))
        .collect();
    group.bench_function("opened below a kept directory", |b| {
        b.iter(|| {
            for unit in &units {
                for name in &names {
                    let file = must(
                        openat(unit, *name, read_only, Mode::empty()),
                        Path::new(name),
                    );
                    black_box(must(rustix::io::read(file, &mut text), Path::new(name)));
                }
            }
        });
    });
    group.bench_function("opened by path", |b| {
        b.iter(|| {
            for path in &files {
                let file = must(open(path, read_only, Mode::empty()), path);
                black_box(must(rustix::io::read(file, &mut text), path));
            }
        });
    });
    group.finish();
}

fn plain_files(criterion: &mut Criterion) {
    let tree = Tree::of_files();
    sample(criterion, &tree, "300 units, plain files");
    ways(
        criterion,
        &tree,
        "300 units, plain files, system calls alone",
    );
}

fn cgroups(criterion: &mut Criterion) {
    let Some(tree) = Tree::of_cgroups() else {
        println!("no cgroups can be made here: left out");
        return;
    };
    sample(criterion, &tree, "300 units, cgroups");
    ways(criterion, &tree, "300 units, cgroups, system calls alone");
}

fn parsers(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("parse a unit's");
    let text = |file: &str| must(fs::read(captured().join(file)), Path::new(file));
    let cpu = text("cpu.stat");
    group.bench_function("cpu.stat", |b| {
        b.iter(|| parse::cpu_stat(black_box(&cpu), &mut Odd::default()));
    });
    let pressure = text("io.pressure");
    group.bench_function("io.pressure", |b| {
        b.iter(|| parse::pressure(black_box(&pressure), &mut Odd::default()));
    });
    group.finish();
}

criterion_group!(units, parsers, plain_files, cgroups);
criterion_main!(units);
