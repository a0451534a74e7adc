//! A log with real files, whose jobs are done when a test says so, and collectors that check what
//! they are told.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};

use prost::Message as _;

use crate::agent::history::definition::FirstIds;
use crate::agent::history::files::{Done, Files};
use crate::agent::history::log::Log;
use crate::agent::history::recorder::Recorder;
use crate::agent::history::spill::Job;
use crate::agent::history::types::{Batch, Limits, Moment};
use crate::protocol::data::coding::{Layout, Run};
use crate::protocol::data::dictionary::{Dictionary, Point, Sampled, Value, layout_of};
use crate::protocol::data::wire::{Kind, Lost, Reason, Sample, Schema, Series, Type};

pub(super) const SECOND: u64 = 1_000_000;
pub(super) const INTERVAL: u64 = 5 * SECOND;
pub(super) const BOOT: [u8; 16] = [7; 16];

/// A directory in memory where there is one: a test makes many files.
pub(super) fn directory() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let made = tempfile::tempdir_in(memory);
    made.or_else(|_| tempfile::tempdir()).unwrap()
}

/// What a collector has been told, and how.
#[derive(Debug, Default)]
pub(super) struct Peer {
    /// The first and the last number that it was told of each log, as a sample or as lost.
    pub(super) told: BTreeMap<u64, (u64, u64)>,
    /// The last number of the log that it was told of last.
    pub(super) last: u64,
    /// What it got: the first value of each sample, which no two samples share, and the number.
    pub(super) got: BTreeMap<u64, u64>,
    /// What is lost: the log, and the numbers.
    pub(super) lost: Vec<(u64, u64, u64)>,
    /// How often it was told that an agent had been killed.
    pub(super) kills: u64,
    /// It began at the end of the log. Until that is on disk, a kill makes it begin before that again.
    pub(super) may_be_late: bool,
    series: BTreeMap<u32, Type>,
    schemas: BTreeMap<u32, Box<Layout>>,
}

impl Peer {
    /// A new link: definitions are told again.
    pub(super) fn connect(&mut self) {
        self.series.clear();
        self.schemas.clear();
    }

    /// Takes a batch as a collector does: what it was told before it drops, by its number. Every
    /// number is told once on a link, in order.
    pub(super) fn take(&mut self, batch: &Batch) {
        assert!(batch.first <= batch.last);
        for schema in &batch.schemas {
            for series in &schema.series {
                let series = Series::decode(&*series.encoded).unwrap();
                self.series.insert(series.id, series.r#type());
            }
            let schema = Schema::decode(&*schema.encoded).unwrap();
            let layout = layout_of(&schema, |id| self.series.get(&id).copied()).unwrap();
            self.schemas.insert(schema.id, layout);
        }
        self.series = self.series.split_off(&batch.first_ids.series);
        self.schemas = self.schemas.split_off(&batch.first_ids.schema);
        let begins = (batch.first, batch.first - 1);
        self.last = self.told.entry(batch.stream).or_insert(begins).1;
        assert!(batch.first <= self.last + 1, "numbers are left out");
        let mut run = Run::default();
        let mut at = batch.first;
        let mut lost = batch.lost.iter().peekable();
        for (index, bytes) in batch.samples().enumerate() {
            let mut sample = Sample::decode(bytes).unwrap();
            while let Some(lost) = lost.next_if(|lost| lost.from < sample.seq) {
                self.take_lost(batch.stream, &mut at, lost);
            }
            assert_eq!(sample.seq, at);
            assert!(index > 0 || sample.whole);
            run.decode(&mut sample, |id| self.schemas.get(&id).map(|it| &**it))
                .unwrap();
            assert_eq!(sample.boot, BOOT);
            if at > self.last {
                let value = sample.values[0];
                let before = self.got.last_key_value();
                let is_late = before.is_some_and(|(before, _)| *before > value);
                assert!(!is_late || self.may_be_late, "a sample comes late");
                let before = self.got.insert(value, at);
                assert_eq!(before, None, "a sample comes twice");
            }
            at += 1;
        }
        for lost in lost {
            self.take_lost(batch.stream, &mut at, lost);
        }
        assert_eq!(at, batch.last + 1);
        self.last = self.last.max(batch.last);
        if let Some((_, last)) = self.told.get_mut(&batch.stream) {
            *last = self.last;
        }
    }

    fn take_lost(&mut self, stream: u64, at: &mut u64, lost: &Lost) {
        assert_eq!(lost.from, *at);
        assert!(lost.from <= lost.to);
        // What it has it does not lose.
        if lost.to > self.last {
            let from = lost.from.max(self.last + 1);
            self.lost.push((stream, from, lost.to));
            self.kills += u64::from(lost.reason() == Reason::Unwritten);
        }
        *at = lost.to + 1;
    }

    /// How many numbers are lost.
    pub(super) fn lost_count(&self) -> u64 {
        self.lost.iter().map(|(_, from, to)| to - from + 1).sum()
    }

    /// Each number was told once.
    pub(super) fn check(&self) {
        let told: u64 = self
            .told
            .values()
            .map(|(first, last)| last - first + 1)
            .sum();
        assert_eq!(self.got.len() as u64 + self.lost_count(), told);
    }
}

/// A log with its files.
pub(super) struct Rig {
    pub(super) recorder: Recorder,
    pub(super) files: Files,
    pub(super) path: PathBuf,
    pub(super) jobs: VecDeque<Job>,
    pub(super) now: Moment,
    pub(super) dictionary: Dictionary,
    /// The log and the number of each sample that was taken, by its first value.
    pub(super) taken: BTreeMap<u64, (u64, u64)>,
    limits: Limits,
    collectors: Vec<String>,
}

impl Rig {
    pub(super) fn new(path: &Path, limits: Limits, collectors: &[&str]) -> Self {
        let now = Moment {
            time: 1_700_000_000_000_000,
            boottime: 1000 * SECOND,
        };
        Self::start(
            path,
            limits,
            collectors.iter().map(|name| (*name).to_owned()).collect(),
            now,
        )
    }

    fn start(path: &Path, limits: Limits, collectors: Vec<String>, now: Moment) -> Self {
        let files = Files::new(path);
        let found = files.take_over().unwrap();
        let names = collectors.iter().map(String::as_str);
        let log = Log::restore(&found, fastrand::u64(1..), limits, names, now);
        let (series, schema) = log.last_ids();
        let mut rig = Self {
            recorder: Recorder::new(log),
            files,
            path: path.to_owned(),
            jobs: VecDeque::new(),
            now,
            dictionary: Dictionary::after(series, schema),
            taken: BTreeMap::new(),
            limits,
            collectors,
        };
        rig.tick();
        rig
    }

    /// As after a kill: what was queued and not done is gone.
    pub(super) fn restart(&mut self) {
        let collectors = std::mem::take(&mut self.collectors);
        let taken = std::mem::take(&mut self.taken);
        *self = Self::start(&self.path, self.limits, collectors, self.now);
        self.taken = taken;
    }

    pub(super) fn log(&mut self) -> &mut Log {
        &mut self.recorder.log
    }

    pub(super) fn pass(&mut self, micros: u64) {
        self.now.time += i64::try_from(micros).unwrap();
        self.now.boottime += micros;
        self.tick();
    }

    pub(super) fn tick(&mut self) {
        self.jobs.extend(self.recorder.log.jobs(self.now));
    }

    /// Takes a sample; its first value says how many were taken, also by runs before.
    pub(super) fn append(&mut self, instances: usize) -> u64 {
        let (stream, seq) = (self.recorder.log.stream, self.recorder.log.next);
        let value = self.taken.len() as u64 + 1;
        self.taken.insert(value, (stream, seq));
        let names: Vec<_> = (0..instances)
            .map(|unit| format!("unit{unit}.service"))
            .collect();
        let fixed = ("a", point("first", None, value));
        let units = names
            .iter()
            .map(|name| ("b", point("unit", Some(name), value / 3)));
        let sampled = self.dictionary.sample(std::iter::once(fixed).chain(units));
        let first = FirstIds::default();
        let given = self.recorder.append(sampled, BOOT, first, self.now);
        assert_eq!(given, Some(seq));
        self.tick();
        seq
    }

    /// Does the next job; false if there is none.
    pub(super) fn work(&mut self) -> bool {
        let Some(job) = self.jobs.pop_front() else {
            return false;
        };
        let done = self.files.work(job);
        self.finish(done);
        true
    }

    pub(super) fn finish(&mut self, done: Done) {
        match done {
            Done::Wrote(result) => self.recorder.log.wrote(result, self.now),
            Done::Removed => self.recorder.log.removed(),
            Done::Read(read, result) => self.recorder.log.have_read(read, result),
        }
        self.tick();
    }

    pub(super) fn work_all(&mut self) {
        while self.work() {}
    }

    pub(super) fn next_batch(&mut self, name: &str, most: usize) -> Option<Batch> {
        let batch = self.recorder.log.next_batch(name, most);
        self.tick();
        batch
    }

    /// Tells a collector everything that there is, and acknowledges it.
    pub(super) fn catch_up(&mut self, name: &str, peer: &mut Peer) {
        loop {
            while let Some(batch) = self.next_batch(name, 64 * 1024) {
                peer.take(&batch);
                assert!(self.log().acked(name, batch.stream, batch.last));
                self.tick();
            }
            if !self.work() {
                return;
            }
        }
    }

    pub(super) fn stop(&mut self) {
        self.recorder.log.stop();
        self.tick();
        self.work_all();
        assert!(self.recorder.log.is_stopped());
        if self.recorder.log.is_all_kept() {
            self.files.end().unwrap();
        }
    }

    /// Bytes of each file.
    pub(super) fn on_disk(&self) -> Vec<(PathBuf, u64)> {
        let Ok(entries) = std::fs::read_dir(self.path.join("history")) else {
            return Vec::new();
        };
        let segments = entries.map(Result::unwrap);
        let segments = segments.filter(|entry| entry.file_name() != "running");
        let sizes = segments.map(|entry| (entry.path(), entry.metadata().unwrap().len()));
        let mut sizes: Vec<_> = sizes.collect();
        sizes.sort();
        sizes
    }
}

fn point<'a>(name: &'a str, instance: Option<&'a str>, value: u64) -> Point<'a> {
    Point {
        name,
        instance: instance.map(|instance| ("unit", instance)),
        kind: Kind::Counter,
        unit: "",
        value: Value::Unsigned(value),
    }
}

/// 400 values as a host has them: of ten values four never change, three are counts that grow, one is
/// a size that moves, one a count that rarely changes, and one is a float.
pub(super) fn sampled_like_a_host(dictionary: &mut Dictionary, tick: u64) -> Sampled {
    let names: Vec<_> = (0..40).map(|place| format!("instance{place}")).collect();
    let mut random = fastrand::Rng::with_seed(tick);
    let mut points = Vec::new();
    for (place, name) in (0_u64..).zip(&names) {
        let source = ["disk", "network", "units", "cpu"][usize::try_from(place).unwrap() / 10];
        let of = |metric, value| {
            (
                source,
                Point {
                    value,
                    ..point(metric, Some(name), 0)
                },
            )
        };
        let mut grown = |most: u64| Value::Unsigned(1_000_000 + tick * most + random.u64(..most));
        for (metric, most) in [("bytes", 500_000), ("calls", 3000), ("time", 400)] {
            points.push(of(metric, grown(most)));
        }
        points.push(of(
            "size",
            Value::Unsigned((8_000_000 + random.u64(..20_000)) * 1024),
        ));
        points.push(of("errors", Value::Unsigned(tick / 50)));
        let percent = (random.f64() * 1000.0).round() / 10.0;
        points.push(of("percent", Value::Float(percent)));
        for metric in ["limit", "mtu", "state", "total"] {
            points.push(of(metric, Value::Unsigned(place * 1000)));
        }
    }
    dictionary.sample(points)
}
