//! The rule of `docs/architecture.md` for odd values, held for all sources at once:
//! every number and word of every file that they read is made odd, one at a time, and so is
//! every line and every file.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use super::{
    Context, Grid, Options, Purpose, Root, SourceSet, Transition,
    options::ProcessOptions,
    testing::{Host, captured},
};
use crate::metrics::Samples;
use crate::sources::{SOURCES, names};

const KERNEL: &str = "6.12-qemu";

/// Those that read no files below the root: they ask the bus, the kernel by a system call, or
/// about this very process.
const WITHOUT_FILES: [&str; 4] = ["systemd", "time", "logins", "agent"];

const UNIT: &str = "/sys/fs/cgroup/system.slice/survivor.service";
const OTHER_UNIT: &str = "/sys/fs/cgroup/system.slice/reader.service";

const UNIT_FILES: [&str; 11] = [
    "cpu.stat",
    "memory.current",
    "memory.peak",
    "memory.swap.current",
    "memory.stat",
    "memory.events",
    "pids.current",
    "io.stat",
    "cpu.pressure",
    "memory.pressure",
    "io.pressure",
];

/// The files of each source: those that it always reads, and some of its devices, units and
/// processes.
fn files() -> Vec<(&'static str, Vec<String>)> {
    SOURCES
        .iter()
        .map(|source| {
            let always = source.files.iter().map(|file| (*file).to_owned());
            (source.name, always.chain(instances(source.name)).collect())
        })
        .filter(|(_, files): &(_, Vec<_>)| !files.is_empty())
        .collect()
}

fn instances(source: &str) -> Vec<String> {
    let files: &[&str] = match source {
        "network" => &[
            "/sys/class/net/ens7/operstate",
            "/sys/class/net/ens7/speed",
            "/sys/class/net/lo/operstate",
        ],
        "sensors" => &[
            "/sys/class/hwmon/hwmon0/temp1_input",
            "/sys/class/hwmon/hwmon0/fan1_input",
            "/sys/class/hwmon/hwmon1/in0_input",
        ],
        "processes" => &["/proc/1/stat", "/proc/2/stat"],
        "inventory" => &["/sys/class/net/ens7/address", "/sys/block/sda/size"],
        "units" => {
            let files =
                UNIT_FILES.map(|file| [format!("{UNIT}/{file}"), format!("{OTHER_UNIT}/{file}")]);
            return files.into_iter().flatten().collect();
        }
        _ => &[],
    };
    files.iter().map(|file| (*file).to_owned()).collect()
}

/// A machine with all of these files, small enough to try everything.
fn machine() -> Host {
    let host = Host::new();
    let from = captured(KERNEL);
    for (_, files) in files() {
        for file in files {
            // What was not captured is taken from the running machine.
            let text = fs::read(from.path(&file)).or_else(|_| fs::read(&file));
            if let Ok(text) = text {
                host.write(&file, small(&file, text));
            }
        }
    }
    for disk in ["sda", "vda"] {
        host.write(&format!("/sys/block/{disk}/size"), "2048\n");
    }
    host.write("/sys/class/net/ens7/speed", "10000\n");
    host.write("/sys/class/net/ens7/operstate", "up\n");
    host.write("/sys/class/net/ens7/address", "52:54:00:12:34:56\n");
    host.write(
        "/proc/self/mountinfo",
        "1 0 8:1 / / rw - ext4 a rw\n2 1 8:2 / /srv ro - ext4 b ro\n\
        3 2 8:3 / /srv/data rw - ext4 c rw\n",
    );
    fs::create_dir_all(host.path("/srv/data")).unwrap();
    for (file, text) in [
        ("hwmon0/name", "chip\n"),
        ("hwmon0/temp1_input", "36000\n"),
        ("hwmon0/fan1_input", "1201\n"),
        ("hwmon1/name", "other\n"),
        ("hwmon1/in0_input", "12000\n"),
    ] {
        host.write(&format!("/sys/class/hwmon/{file}"), text);
    }
    host.write(
        "/proc/2/stat",
        "2 (b) R 1 7 7 0 -1 0 0 0 0 0 11 22 0 0 20 0 1 0 333 4096 44 5\n",
    );
    host
}

/// Of long files the lines that matter, and some others.
fn small(file: &str, text: Vec<u8>) -> Vec<u8> {
    let keep = |line: &str| match file {
        "/proc/vmstat" => line.starts_with('p') || line.starts_with("oom"),
        "/proc/diskstats" => ["sda", "vda"]
            .iter()
            .any(|disk| line.contains(&format!(" {disk} "))),
        "/proc/net/netstat" => line.starts_with("TcpExt"),
        "/proc/net/snmp" => line.starts_with("Tcp") || line.starts_with("Udp:"),
        "/proc/stat" => !line.starts_with("softirq"),
        _ => true,
    };
    let Ok(text) = String::from_utf8(text) else {
        panic!("{file} is text");
    };
    let lines = text.lines().filter(|line| keep(line));
    // Some hundred numbers of interrupts and of others that are not reported are enough.
    let lines = lines.map(|line| {
        let most = if file == "/proc/stat" { 12 } else { usize::MAX };
        line.split(' ').take(most).collect::<Vec<_>>().join(" ") + "\n"
    });
    lines.collect::<String>().into_bytes()
}

/// What a sample has, by name; what is said; and how many errors are counted.
struct Taken {
    values: BTreeMap<String, String>,
    said: Vec<String>,
    said_again: usize,
    errors: u64,
}

fn take(root: &Root, source: &str) -> Taken {
    let mut options = Options {
        processes: ProcessOptions { top: 9 },
        ..Options::default()
    };
    options.cpu.per_cpu = true;
    let mut context = Context::new(root.clone());
    context.options = options.into();
    let mut set = SourceSet::open(context, Duration::from_secs(5), &[source]).unwrap();
    let mut samples = Samples::new();
    let mut sample = |set: &mut SourceSet| {
        let start = Instant::now();
        set.prepare(Purpose::Metrics, Grid::All, start);
        while !set.ready(Grid::All) {
            assert!(start.elapsed() < Duration::from_secs(60));
            thread::yield_now();
        }
        let news = set.sample(Purpose::Metrics, Grid::All, &mut samples);
        let said = news.into_iter().map(|transition| match transition {
            Transition::LeftOut { error, .. }
            | Transition::BeganAgain { error, .. }
            | Transition::Failed { error, .. } => error,
            Transition::LeftOutMore { .. } => "more".to_owned(),
            other => panic!("{other:?}"),
        });
        said.collect::<Vec<_>>()
    };
    let said = sample(&mut set);
    let errors = set.status(source).unwrap().errors;
    set.set_interval(Duration::from_secs(5));
    set.start_over();
    let said_again = sample(&mut set).len();
    // Those of the second sample are the same, except for shares of time.
    let values = samples.iter().map(|(name, value)| {
        // The room in a file system is another's business.
        let free = ["fs.free", "fs.avail", "fs.inodes.free", "proc.top.cpu"];
        let varies = free.contains(&name.definition.name);
        let value = if varies {
            String::new()
        } else {
            format!("{value:?}")
        };
        (name.to_string(), value)
    });
    Taken {
        values: values
            .filter(|(name, _)| !name.starts_with("proc.top.cpu"))
            .collect(),
        said,
        said_again,
        errors,
    }
}

type Values = BTreeMap<String, String>;

/// The names of those that are lost or others.
fn changed(whole: &Values, now: &Values) -> BTreeSet<String> {
    let other = whole
        .iter()
        .filter(|(name, value)| now.get(*name) != Some(value));
    other.map(|(name, _)| name.clone()).collect()
}

fn instance(name: &str) -> Option<&str> {
    name.split_once('[').map(|(_, instance)| instance)
}

/// `unit.cpu[x]` of `unit.cpu.user.total[x]`.
fn family(name: &str) -> String {
    let metric = name.split('[').next().unwrap();
    metric.split('.').take(2).collect::<Vec<_>>().join(".")
}

/// Returns true if a value may be lost with others: it is one of them, or of the same instance. Of
/// a unit, the values of a family do not affect others.
fn may_go(name: &str, with: &BTreeSet<String>) -> bool {
    with.contains(name)
        || with.iter().any(|other| {
            let same = instance(other).is_some() && instance(other) == instance(name);
            same && (!name.starts_with("unit.") || family(other) == family(name))
        })
}

/// Where the words and numbers of a text are, with the numbers of their lines.
fn tokens(text: &str) -> Vec<(usize, std::ops::Range<usize>)> {
    let mut tokens = Vec::new();
    let mut start = None;
    let mut line = 1;
    for (at, character) in text.char_indices().chain([(text.len(), '\n')]) {
        if character.is_ascii_alphanumeric() || character == '.' || character == '_' {
            start.get_or_insert(at);
        } else if let Some(start) = start.take() {
            tokens.push((line, start..at));
        }
        line += usize::from(character == '\n');
    }
    tokens
}

/// Another that makes as much sense.
fn another(token: &str) -> String {
    match (token.parse::<u64>(), token.parse::<f64>()) {
        (Ok(number), _) if number > 1 => (number - 1).to_string(),
        (Ok(number), _) => (number + 1).to_string(),
        (_, Ok(number)) => format!("{:.2}", number + 0.01),
        _ => format!("{token}x"),
    }
}

/// What replaces it.
const ODD: [&str; 4] = ["-2049562273", "junk", "99999999999999999999999", "\u{fffd}"];

struct Case<'c> {
    host: &'c Host,
    source: &'static str,
    file: &'c str,
    whole: &'c Values,
}

impl Case<'_> {
    fn with(&self, text: &str) -> Taken {
        self.host.write(self.file, text);
        take(&self.host.root(), self.source)
    }

    /// Checks that what is lost is reported, once, and counted.
    fn check_said(&self, taken: &Taken, line: Option<usize>, what: &str) {
        let path = self.host.path(self.file).display().to_string();
        let place = line.map_or(path.clone(), |line| {
            format!("{path}, line {line}: expected ")
        });
        let said = taken.said.iter().any(|error| error.contains(&place));
        assert!(said, "{what}: {place} is not in {:?}", taken.said);
        assert!(taken.errors > 0, "{what}");
        assert_eq!(taken.said_again, 0, "{what}: {:?}", taken.said);
    }
}

fn try_everything(case: &Case<'_>) -> usize {
    let text = fs::read_to_string(case.host.path(case.file)).unwrap();
    let tokens = tokens(&text);
    // What depends on each word and number, and on each line.
    let replaced = |range: &std::ops::Range<usize>, by: &str| {
        format!("{}{by}{}", &text[..range.start], &text[range.end..])
    };
    let mut of_line: BTreeMap<usize, BTreeSet<String>> = BTreeMap::new();
    let mut of_token = Vec::new();
    for (line, range) in &tokens {
        let other = replaced(range, &another(&text[range.clone()]));
        let depends = changed(case.whole, &case.with(&other).values);
        of_line.entry(*line).or_default().extend(depends.clone());
        of_token.push(depends);
    }
    for line in 1..=text.lines().count() {
        let others = text.lines().enumerate().filter(|(at, _)| at + 1 != line);
        let others: String = others.flat_map(|(_, line)| [line, "\n"]).collect();
        let depends = changed(case.whole, &case.with(&others).values);
        of_line.entry(line).or_default().extend(depends);
    }
    let mut tried = 0;
    for ((line, range), depends) in tokens.iter().zip(&of_token) {
        let word = &text[range.clone()];
        for odd in ODD {
            let what = format!("{}, line {line}: {odd:?} for {word:?}", case.file);
            let taken = case.with(&replaced(range, odd));
            let lost = changed(case.whole, &taken.values);
            for name in &lost {
                // The record of an instance may be one line.
                let of_record = of_line[line]
                    .iter()
                    .any(|other| instance(other).is_some() && instance(other) == instance(name));
                let record = of_record && !name.starts_with("unit.");
                // The share is made of all times.
                let share = name == "cpu.percent" && *line == 1;
                assert!(
                    may_go(name, depends) || record || share || is_title(case.file, *line),
                    "{what} costs {name}: {:?}",
                    taken.said
                );
            }
            // By a negative speed a driver says that it knows none.
            if case.file.ends_with("/speed") && odd.starts_with('-') {
                continue;
            }
            // Many facts are texts, of which one is as good as another.
            let gone = lost.iter().any(|name| !taken.values.contains_key(name));
            if case.source == "inventory" && !gone {
                continue;
            }
            // A word may be the name of what another kernel has not.
            if !lost.is_empty() && word.parse::<f64>().is_ok() {
                let own_line = !is_title(case.file, *line);
                case.check_said(&taken, own_line.then_some(*line), &what);
                let shown = taken.said.iter().any(|error| error.contains(odd));
                assert!(
                    shown || !own_line || !odd.is_ascii(),
                    "{what} is not shown in {:?}",
                    taken.said
                );
            }
            tried += 1;
        }
    }
    // A line that is cut off costs no other line.
    let mut end = 0;
    for (at, line) in text.split_inclusive('\n').enumerate() {
        let middle = end + line.len() / 2;
        end += line.len();
        let below = of_line.iter().filter(|(line, _)| **line > at);
        let below: BTreeSet<String> = below.flat_map(|(_, names)| names.clone()).collect();
        let what = format!("{}, cut off in line {}", case.file, at + 1);
        let taken = case.with(&text[..middle]);
        for name in changed(case.whole, &taken.values) {
            let share = name == "cpu.percent" && at == 0;
            assert!(
                may_go(&name, &below) || share,
                "{what} costs {name}: {:?}",
                taken.said
            );
        }
        tried += 1;
    }
    // A file that cannot be read costs only what is in it.
    let all: BTreeSet<String> = of_line.values().flatten().cloned().collect();
    fs::remove_file(case.host.path(case.file)).unwrap();
    fs::create_dir(case.host.path(case.file)).unwrap();
    let taken = take(&case.host.root(), case.source);
    let lost = changed(case.whole, &taken.values);
    let what = format!("{}, unreadable", case.file);
    for name in &lost {
        // A file without words has no words that show what depends on it.
        let share = name == "cpu.percent" || text.is_empty();
        assert!(
            may_go(name, &all) || share,
            "{what} costs {name}: {:?}",
            taken.said
        );
    }
    if !lost.is_empty() {
        case.check_said(&taken, None, &what);
    }
    fs::remove_dir(case.host.path(case.file)).unwrap();
    case.host.write(case.file, &text);
    tried
}

/// Titles say what all the numbers below are: without them the numbers mean nothing.
fn is_title(file: &str, line: usize) -> bool {
    match file {
        "/proc/net/dev" => line <= 2,
        "/proc/net/snmp" | "/proc/net/netstat" => line % 2 == 1,
        _ => false,
    }
}

/// All files of some sources.
fn hold(sources: &[&str]) {
    let host = machine();
    let root: PathBuf = host.root().0;
    for (source, files) in files() {
        if !sources.contains(&source) {
            continue;
        }
        let whole = take(&host.root(), source);
        assert_eq!(
            whole.said,
            Vec::<String>::new(),
            "{source} in {}",
            root.display()
        );
        assert!(!whole.values.is_empty(), "{source}");
        let mut tried = 0;
        for file in &files {
            if !host.path(file).exists() {
                continue;
            }
            let case = Case {
                host: &host,
                source,
                file,
                whole: &whole.values,
            };
            tried += try_everything(&case);
        }
        assert!(tried > 4, "{source}");
        let again = take(&host.root(), source);
        assert_eq!(again.values, whole.values, "all is as it was");
    }
}

#[test]
fn the_rule_is_held_for_every_source() {
    let covered: BTreeSet<&str> = files().iter().map(|(source, _)| *source).collect();
    let all: BTreeSet<&str> = names().collect();
    let rest: BTreeSet<&str> = all.difference(&covered).copied().collect();
    assert_eq!(rest, BTreeSet::from(WITHOUT_FILES));
    let covered: Vec<&str> = covered.into_iter().collect();
    // Side by side, as there are thousands of cases.
    thread::scope(|scope| {
        for part in covered.chunks(4) {
            scope.spawn(move || hold(part));
        }
    });
}
