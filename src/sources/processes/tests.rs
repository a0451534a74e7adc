use std::{
    fs,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use super::*;
use crate::metrics::{Samples, Value};
use crate::sources::{
    Odd, Purpose, Root,
    options::{Options, ProcessOptions},
    testing::captured,
};

/// Far longer than anything takes here.
const LONG: Duration = Duration::from_secs(60);

fn context(root: Root, top: usize) -> Context {
    let mut context = Context::new(root);
    context.options = Arc::new(Options {
        processes: ProcessOptions { top },
        ..Options::default()
    });
    context
}

fn wait(until: impl Fn() -> bool) {
    let deadline = Instant::now() + LONG;
    while !until() {
        assert!(Instant::now() < deadline);
        thread::sleep(Duration::from_millis(1));
    }
}

/// What a round of the agent does.
fn sample(
    source: &mut ProcessesSource,
    purpose: Purpose,
    grid: Grid,
) -> Result<Samples, CollectError> {
    source.prepare(grid, Instant::now());
    wait(|| source.ready());
    let mut samples = Samples::new();
    source.collect(&mut Vec::new(), &mut Sink::new(purpose, grid, &mut samples))?;
    Ok(samples)
}

fn names(samples: &Samples) -> Vec<String> {
    samples.iter().map(|(name, _)| name.to_string()).collect()
}

fn instances(samples: &Samples, metric: &str) -> Vec<String> {
    let of_metric = samples
        .iter()
        .filter(|(name, _)| name.definition.name == metric);
    of_metric
        .map(|(name, _)| name.instance.unwrap().to_owned())
        .collect()
}

fn stat(pid: u32, start: u64, ticks: u64, pages: u64) -> String {
    format!("{pid} (p{pid}) S 1 7 7 0 -1 0 0 0 0 0 {ticks} 0 0 0 20 0 1 0 {start} 4096 {pages} 5\n")
}

fn put(root: &Root, pid: u32, text: &str) {
    let directory = root.path(&format!("/proc/{pid}"));
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("stat"), text).unwrap();
}

fn root() -> (tempfile::TempDir, Root) {
    let directory = tempfile::tempdir().unwrap();
    let root = Root(directory.path().to_owned());
    (directory, root)
}

#[test]
fn every_state_is_told_and_nothing_is_in_the_model() {
    let context = context(captured("6.12-qemu"), 0);
    let mut source = ProcessesSource::open(&context);
    let samples = sample(&mut source, Purpose::Metrics, Grid::Metrics).unwrap();
    let found: Vec<_> = samples
        .iter()
        .map(|(name, value)| (name.to_string(), value))
        .collect();
    let expected = [
        ("proc.count", 50),
        ("proc.state[running]", 4),
        ("proc.state[sleeping]", 39),
        ("proc.state[uninterruptible]", 1),
        ("proc.state[stopped]", 1),
        ("proc.state[traced]", 0),
        ("proc.state[zombie]", 1),
        ("proc.state[idle]", 4),
        ("proc.state[dead]", 0),
        ("proc.state[parked]", 0),
    ];
    let expected = expected.map(|(name, count)| (name.to_owned(), Value::Unsigned(count)));
    assert_eq!(found, expected);
    let mut unread = ProcessesSource::open(&Context::new(Root("/nowhere".into())));
    let model = sample(&mut unread, Purpose::Model, Grid::Model).unwrap();
    assert!(model.is_empty());
}

#[test]
fn those_with_most_memory_come_first() {
    let mut source = ProcessesSource::open(&context(captured("6.12-qemu"), 3));
    let samples = sample(&mut source, Purpose::Query, Grid::All).unwrap();
    let kilobytes = rustix::param::page_size() as u64 / 1024;
    let mut expected: Vec<(u64, String)> = fs::read_dir(captured("6.12-qemu").path("/proc"))
        .unwrap()
        .filter_map(|entry| {
            let text = fs::read(entry.unwrap().path().join("stat")).ok()?;
            let text = String::from_utf8_lossy(&text);
            let (head, tail) = text.rsplit_once(") ")?;
            let (pid, name) = head.split_once(" (")?;
            let pages: u64 = tail.split(' ').nth(21)?.parse().ok()?;
            Some((pages * kilobytes, format!("{pid}/{name}")))
        })
        .collect();
    expected.sort_by_key(|(kilobytes, _)| std::cmp::Reverse(*kilobytes));
    expected.truncate(3);
    assert_eq!(
        instances(&samples, "proc.top.memory"),
        expected
            .iter()
            .map(|(_, name)| name.clone())
            .collect::<Vec<_>>()
    );
    let (kilobytes, name) = expected.first().unwrap();
    assert_eq!(
        samples.get(&format!("proc.top.memory[{name}]")),
        Some(Value::Unsigned(*kilobytes))
    );
    assert!(
        instances(&samples, "proc.top.cpu").is_empty(),
        "no interval"
    );
}

/// Shares are of what each used since the previous reading for the same purpose.
#[test]
fn cpu_time_is_compared_by_process_and_purpose() {
    let (_directory, root) = root();
    put(&root, 1, &stat(1, 10, 1000, 0));
    put(&root, 20, &stat(20, 10, 1000, 7));
    put(&root, 30, &stat(30, 10, 1000, 7));
    let mut source = ProcessesSource::open(&context(root.clone(), 3));
    for purpose in [Purpose::Metrics, Purpose::Query] {
        sample(&mut source, purpose, Grid::All).unwrap();
    }
    // 20 works, 30 is another one with the same PID, 40 is new, and 1 does nothing.
    put(&root, 20, &stat(20, 10, 1400, 7));
    put(&root, 30, &stat(30, 99, 100, 7));
    put(&root, 40, &stat(40, 99, 200, 7));
    let samples = sample(&mut source, Purpose::Metrics, Grid::All).unwrap();
    assert_eq!(
        instances(&samples, "proc.top.cpu"),
        ["20/p20", "40/p40", "30/p30"]
    );
    let share = |name: &str| match samples.get(&format!("proc.top.cpu[{name}]")) {
        Some(Value::Float(share)) => share,
        other => panic!("{other:?}"),
    };
    assert!((share("20/p20") / share("40/p40") - 2.0).abs() < 1e-9);
    assert!((share("20/p20") / share("30/p30") - 4.0).abs() < 1e-9);
    assert_eq!(
        instances(&samples, "proc.top.memory"),
        ["20/p20", "30/p30", "40/p40"],
        "1 has no memory, and of equals the first comes first"
    );
    let samples = sample(&mut source, Purpose::Metrics, Grid::All).unwrap();
    assert!(instances(&samples, "proc.top.cpu").is_empty(), "all idle");
    let samples = sample(&mut source, Purpose::Query, Grid::All).unwrap();
    assert_eq!(instances(&samples, "proc.top.cpu").len(), 3, "since before");
}

#[test]
fn the_share_is_of_one_cpu_and_of_the_time_between() {
    let (_directory, root) = root();
    put(&root, 1, &stat(1, 10, 1000, 0));
    let mut scanner = Scanner::new(&root, true);
    scanner.walk().unwrap();
    let mut top = Top::new(5, 100, 4);
    let mut samples = Samples::new();
    let mut sink = Sink::new(Purpose::Metrics, Grid::All, &mut samples);
    let first = scanner.scan().at;
    top.report(scanner.scan(), &mut sink);
    put(&root, 1, &stat(1, 10, 1150, 0));
    scanner.walk().unwrap();
    scanner.scan_mut().at = first + Duration::from_secs(3);
    top.report(scanner.scan(), &mut sink);
    // 150 ticks of 10 ms in 3 s.
    assert_eq!(
        samples.get("proc.top.cpu[1/p1]"),
        Some(Value::Float(50.0)),
        "{:?}",
        names(&samples)
    );
}

/// Every instance is another, whatever the names are.
#[test]
fn names_of_any_bytes_make_instances() {
    for kernel in ["6.1-qemu", "6.12-qemu", "6.18-firecracker"] {
        let mut source = ProcessesSource::open(&context(captured(kernel), 100));
        let samples = sample(&mut source, Purpose::Query, Grid::All).unwrap();
        let found = instances(&samples, "proc.top.memory");
        let unique: std::collections::BTreeSet<_> = found.iter().collect();
        assert_eq!(unique.len(), found.len());
        assert!(
            found.iter().any(|name| name.ends_with("/) S 1 (a b")),
            "{found:?}"
        );
        let odd = found.iter().find(|name| name.contains("UTF-8")).unwrap();
        assert!(odd.ends_with("/not \u{fffd} UTF-8"), "{odd}");
    }
}

#[test]
fn a_failure_is_told_and_then_it_works_again() {
    let (_directory, root) = root();
    put(&root, 2, &stat(2, 1, 1, 1));
    let mut source = ProcessesSource::open(&context(root.clone(), 0));
    let error = sample(&mut source, Purpose::Metrics, Grid::Metrics).unwrap_err();
    assert!(matches!(error, CollectError::Refused(_)), "{error}");
    fs::remove_dir_all(root.path("/proc/2")).unwrap();
    put(&root, 1, &stat(1, 1, 1, 1));
    let samples = sample(&mut source, Purpose::Metrics, Grid::Metrics).unwrap();
    assert_eq!(samples.get("proc.count"), Some(Value::Unsigned(1)));
}

#[test]
fn what_makes_no_sense_about_one_process_costs_that_alone() {
    let (_directory, root) = root();
    put(&root, 1, &stat(1, 1, 100, 10));
    put(
        &root,
        2,
        &stat(2, 1, 100, 20).replace(" 20 5\n", " -20 5\n"),
    );
    put(&root, 3, &stat(3, 1, 100, 30).replace(" 100 ", " -100 "));
    let mut source = ProcessesSource::open(&context(root.clone(), 9));
    sample(&mut source, Purpose::Metrics, Grid::Metrics).unwrap();
    put(&root, 1, &stat(1, 1, 101, 10));
    put(
        &root,
        2,
        &stat(2, 1, 103, 20).replace(" 20 5\n", " -20 5\n"),
    );
    put(&root, 3, &stat(3, 1, 999, 30));
    source.prepare(Grid::Metrics, Instant::now());
    wait(|| source.ready());
    let mut samples = Samples::new();
    let mut sink = Sink::new(Purpose::Metrics, Grid::Metrics, &mut samples);
    source.collect(&mut Vec::new(), &mut sink).unwrap();
    let left_out = sink.into_left_out();
    assert_eq!(instances(&samples, "proc.top.memory"), ["3/p3", "1/p1"]);
    // The start of process 3's time is unknown.
    assert_eq!(instances(&samples, "proc.top.cpu"), ["2/p2", "1/p1"]);
    let of = |name| samples.get(name);
    assert_eq!(of("proc.state[sleeping]"), Some(Value::Unsigned(3)));
    let [error] = left_out.named() else {
        panic!("{left_out:?}");
    };
    let error = error.to_string();
    assert!(
        error.contains("/proc/2/stat, line 1: expected the resident pages"),
        "{error}"
    );
}

/// A pipe in the place of a file: opening it waits for a writer.
#[test]
fn one_that_does_not_answer_costs_no_values_of_others_and_one_thread() {
    let (_directory, root) = root();
    put(&root, 1, &stat(1, 1, 1, 1));
    let pipe = root.path("/proc/2/stat");
    fs::create_dir_all(pipe.parent().unwrap()).unwrap();
    let made = Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    let context = context(root, 0);
    let mut source = ProcessesSource::open(&context);
    let mut samples = Samples::new();
    for _ in 0..3 {
        source.prepare(Grid::Metrics, Instant::now());
        let mut sink = Sink::new(Purpose::Metrics, Grid::Metrics, &mut samples);
        let error = source.collect(&mut Vec::new(), &mut sink).unwrap_err();
        assert_eq!(error.to_string(), UNFINISHED);
    }
    wait(|| {
        let later = Instant::now() + crate::sources::background::PATIENCE;
        context.prober.pass_by(later);
        source.ready()
    });
    assert!(source.job.is_underway(), "left alone, and not begun again");
    // Opening it for reading and writing ends the wait at the other end.
    let release = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(&pipe)
        .unwrap();
    std::io::Write::write_all(&mut &release, stat(2, 1, 1, 1).as_bytes()).unwrap();
    wait(|| !source.job.is_underway());
    source
        .collect(
            &mut Vec::new(),
            &mut Sink::new(Purpose::Metrics, Grid::Metrics, &mut samples),
        )
        .unwrap();
    assert_eq!(samples.get("proc.count"), Some(Value::Unsigned(2)));
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A stopped process and a busy one of the running machine are found.
#[test]
fn the_running_machine_has_one_that_is_stopped_and_one_that_is_busy() {
    let shell = |script: &str| {
        let child = Command::new("sh")
            .args(["-c", script])
            .stdin(Stdio::null())
            .spawn();
        Killed(child.unwrap())
    };
    let mut source = ProcessesSource::open(&context(Root::default(), 100));
    let count = |samples: &Samples, name: &str| match samples.get(name) {
        Some(Value::Unsigned(count)) => count,
        other => panic!("{name}: {other:?}"),
    };
    let busy = shell("while :; do :; done");
    let stopped = shell("kill -s STOP $$; exit");
    let letter = || {
        let text = fs::read(format!("/proc/{}/stat", stopped.0.id())).unwrap();
        stat::parse(&text, &mut Odd::default()).unwrap().state
    };
    wait(|| letter() == Some(3));
    let samples = sample(&mut source, Purpose::Metrics, Grid::Metrics).unwrap();
    assert!(count(&samples, "proc.state[stopped]") >= 1);
    assert!(count(&samples, "proc.count") >= 3);
    let name = format!("{}/sh", busy.0.id());
    let deadline = Instant::now() + LONG;
    loop {
        let samples = sample(&mut source, Purpose::Metrics, Grid::Metrics).unwrap();
        if let Some(Value::Float(share)) = samples.get(&format!("proc.top.cpu[{name}]")) {
            assert!(share > 0.0);
            break;
        }
        assert!(Instant::now() < deadline, "{:?}", names(&samples));
        thread::sleep(Duration::from_millis(20));
    }
}
