use std::{
    fs,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use super::*;
use crate::metrics::{Samples, Value};
use crate::sources::{
    Grid, Purpose, Root, Source, SourceSet, background::Wakeup, testing::fixture,
};

/// Far longer than anything takes here.
const LONG: Duration = Duration::from_secs(30);

/// A sample as the agent takes it.
fn sample(source: &mut FilesystemSource) -> Result<Samples, CollectError> {
    Ok(whole_sample(source)?.0)
}

fn whole_sample(source: &mut FilesystemSource) -> Result<(Samples, LeftOut), CollectError> {
    let now = Instant::now();
    source.prepare(Grid::Metrics, now);
    while !source.ready() {
        assert!(now.elapsed() < LONG);
        thread::sleep(Duration::from_millis(1));
    }
    let mut samples = Samples::new();
    let mut sink = Sink::new(Purpose::Metrics, Grid::Metrics, &mut samples);
    source.collect(&mut Vec::new(), &mut sink)?;
    let left_out = sink.into_left_out();
    Ok((samples, left_out))
}

fn number(samples: &Samples, name: &str) -> u64 {
    match samples.get(name) {
        Some(Value::Unsigned(number)) => number,
        other => panic!("{name}: {other:?}"),
    }
}

#[test]
fn the_file_systems_of_this_machine_are_what_df_says() {
    let mut source = FilesystemSource::open(&Context::new(Root::default()));
    let samples = sample(&mut source).unwrap();
    let columns = "--output=target,size,itotal";
    let df = Command::new("df")
        .args(["--block-size=1", columns, "/"])
        .output()
        .unwrap();
    let text = String::from_utf8(df.stdout).unwrap();
    let mut fields = text.lines().nth(1).unwrap().split_whitespace();
    let target = fields.next().unwrap();
    let size: u64 = fields.next().unwrap().parse().unwrap();
    let inodes = fields.next().unwrap();
    // In a container whose root is an overlay, there is nothing else to compare with.
    if samples.get(&format!("fs.size[{target}]")).is_none() {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        assert!(mounts.contains(" / overlay "), "{samples:?}");
        return;
    }
    assert_eq!(number(&samples, &format!("fs.size[{target}]")), size);
    if inodes != "-" && inodes != "0" {
        let ours = number(&samples, &format!("fs.inodes[{target}]"));
        assert_eq!(ours, inodes.parse::<u64>().unwrap());
    }
    let free = number(&samples, &format!("fs.free[{target}]"));
    let avail = number(&samples, &format!("fs.avail[{target}]"));
    assert!(avail <= free && free <= size);
    assert_eq!(number(&samples, &format!("fs.stuck[{target}]")), 0);
    assert!(source.news().is_empty());
}

#[test]
fn blocks_are_fragments_and_what_there_is_none_of_is_left_out() {
    let mut answer = rustix::fs::statvfs("/").unwrap();
    answer.f_bsize = 65536;
    answer.f_frsize = 4096;
    (answer.f_blocks, answer.f_bfree, answer.f_bavail) = (1000, 600, 500);
    (answer.f_files, answer.f_ffree) = (64, 40);
    assert_eq!(
        Room::from(&answer),
        Room {
            bytes: Some([4_096_000, 2_457_600, 2_048_000]),
            inodes: Some([64, 40]),
        }
    );
    answer.f_blocks = u64::MAX;
    answer.f_files = 0;
    assert_eq!(Room::from(&answer).bytes.unwrap()[0], u64::MAX);
    assert_eq!(Room::from(&answer).inodes, None);
    answer.f_blocks = 0;
    assert_eq!(Room::from(&answer), Room::default());
}

/// A root with one file system, whose path is a directory of it.
fn root(line: &str) -> (tempfile::TempDir, Root) {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir_all(directory.path().join("proc/self")).unwrap();
    fs::create_dir(directory.path().join("data")).unwrap();
    fs::write(directory.path().join("proc/self/mountinfo"), line).unwrap();
    let root = Root(directory.path().to_owned());
    (directory, root)
}

fn names(samples: &Samples) -> Vec<String> {
    samples.iter().map(|(name, _)| name.to_string()).collect()
}

#[test]
fn a_changed_text_is_seen_and_what_is_out_of_reach_left_out() {
    let (_directory, root) =
        root("1 0 8:1 / /data ro - ext4 x rw\n2 1 8:2 / /gone rw - ext4 y rw\n");
    let mut source = FilesystemSource::open(&Context::new(root.clone()));
    for _ in 0..2 {
        let samples = sample(&mut source).unwrap();
        assert_eq!(number(&samples, "fs.readonly[/data]"), 0);
        assert_eq!(number(&samples, "fs.stuck[/data]"), 0);
        assert!(samples.get("fs.readonly[/gone]").is_none());
        let order = names(&samples);
        assert_eq!(order.first().unwrap(), "fs.size[/data]");
        assert_eq!(order.last().unwrap(), "fs.stuck[/data]");
    }
    let file = root.path(FILE);
    fs::write(&file, "1 0 8:1 / /data ro - ext4 x ro\n").unwrap();
    let samples = sample(&mut source).unwrap();
    assert_eq!(number(&samples, "fs.readonly[/data]"), 1);
    // A part of it: that is named, and every time.
    fs::write(&file, "bananas\n1 0 8:1 / /data ro - ext4 x ro\n").unwrap();
    for _ in 0..2 {
        let (samples, left_out) = whole_sample(&mut source).unwrap();
        assert_eq!(number(&samples, "fs.readonly[/data]"), 1);
        let [error] = left_out.named() else {
            panic!("{left_out:?}");
        };
        assert!(error.to_string().contains("mountinfo, line 1: "), "{error}");
    }
    // All of it. The same text again: read as before it failed.
    fs::write(&file, "bananas\n").unwrap();
    let error = sample(&mut source).unwrap_err().to_string();
    assert!(error.ends_with(r#"found "bananas""#), "{error}");
    assert!(sample(&mut source).is_err(), "and every time");
    fs::write(&file, "1 0 8:1 / /data ro - ext4 x ro\n").unwrap();
    let samples = sample(&mut source).unwrap();
    assert_eq!(number(&samples, "fs.readonly[/data]"), 1);
}

/// The file systems that a root has by default.
fn mounts_of(root: Root) -> Vec<String> {
    let samples = sample(&mut FilesystemSource::open(&Context::new(root))).unwrap();
    let names = samples
        .iter()
        .filter(|(name, _)| name.definition.name == FS_STUCK.name);
    names
        .map(|(name, _)| name.instance.unwrap().to_owned())
        .collect()
}

/// A root as a fixture says, with a directory for each mount that is not there.
fn host_of(fixture: &Root) -> (tempfile::TempDir, Root) {
    let text = fs::read_to_string(fixture.path(FILE)).unwrap();
    let (directory, root) = root(&text);
    for line in text.lines() {
        let point = line.split(' ').nth(4).unwrap();
        if fixture.path(point).is_file() {
            fs::create_dir_all(root.path(point).parent().unwrap()).unwrap();
            fs::write(root.path(point), "").unwrap();
        } else {
            fs::create_dir_all(root.path(point)).unwrap();
        }
    }
    (directory, root)
}

#[test]
fn what_containers_and_their_managers_mount_is_no_file_system_by_default() {
    for (name, expected) in [
        ("mount-snapfuse", &["/"][..]),
        ("mount-kubelet", &["/"]),
        ("mount-container-binds", &[]),
    ] {
        let (_directory, root) = host_of(&fixture(&format!("odd/{name}")));
        assert_eq!(mounts_of(root), expected, "{name}");
    }
    // A volume of the same file system is there.
    let text = fs::read_to_string(fixture("odd/mount-container-binds").path(FILE)).unwrap();
    let (_directory, root) = host_of(&fixture("odd/mount-container-binds"));
    let volume =
        "605 600 253:0 /var/lib/docker/volumes/v/_data /var/lib/postgresql/data rw - xfs x rw\n";
    fs::write(root.path(FILE), text + volume).unwrap();
    fs::create_dir_all(root.path("/var/lib/postgresql/data")).unwrap();
    assert_eq!(mounts_of(root), ["/var/lib/postgresql/data"]);
}

#[test]
fn what_is_free_of_more_than_there_is_is_left_out_and_named() {
    let place = Place {
        path: "/data".into(),
        id: None,
        readonly: false,
    };
    let told = |room| {
        let mut samples = Samples::new();
        let mut sink = Sink::new(Purpose::Metrics, Grid::Metrics, &mut samples);
        Mounts::tell(
            &mut sink,
            "/data",
            &place,
            Found::Answer(Answer::Room(room)),
        );
        let left_out = sink.into_left_out();
        let named: Vec<_> = left_out.named().iter().map(ToString::to_string).collect();
        (names(&samples), named)
    };
    let room = Room {
        bytes: Some([100, 60, 200]),
        inodes: Some([10, 11]),
    };
    let (there, named) = told(room);
    let there: Vec<_> = there
        .iter()
        .map(|name| name.strip_suffix("[/data]").unwrap())
        .collect();
    assert_eq!(
        there,
        ["fs.size", "fs.free", "fs.inodes", "fs.readonly", "fs.stuck"]
    );
    assert_eq!(
        named,
        [
            "the file system on /data: expected no more free space than its size, found 200 of 100",
            "the file system on /data: expected no more free inodes than there are, found 11 of 10",
        ]
    );
    let mut samples = Samples::new();
    let mut sink = Sink::new(Purpose::Metrics, Grid::Metrics, &mut samples);
    Mounts::tell(
        &mut sink,
        "/data",
        &place,
        Found::Answer(Answer::Failed(Errno::IO)),
    );
    let left_out = sink.into_left_out();
    assert_eq!(names(&samples), ["fs.readonly[/data]", "fs.stuck[/data]"]);
    let error = left_out.named()[0].to_string();
    assert!(
        error.starts_with("cannot read /data: Input/output error"),
        "{error}"
    );
}

/// A service has mounts of its own that other processes do not see.
#[test]
fn what_a_sandbox_has_made_is_no_file_system_of_the_host() {
    let own = "1 0 8:1 / / ro - ext4 x rw\n2 1 8:2 /x /data rw - ext4 y rw\n\
               3 1 0:9 / /root ro - tmpfs tmpfs rw\n\
               4 1 0:10 / /tmp rw,nosuid - tmpfs tmpfs rw\n";
    let (_directory, root) = root(own);
    for point in ["/root", "/tmp"] {
        fs::create_dir(root.path(point)).unwrap();
    }
    let host = root.path(HOST_FILE);
    fs::create_dir_all(host.parent().unwrap()).unwrap();
    fs::write(
        &host,
        "7 0 8:1 / / rw - ext4 x rw\n8 7 8:2 / /data rw - ext4 y rw\n",
    )
    .unwrap();
    let mut source = FilesystemSource::open(&Context::new(root.clone()));
    let stuck = |samples: &Samples| -> Vec<String> {
        let names = names(samples).into_iter();
        names.filter(|name| name.starts_with("fs.stuck")).collect()
    };
    let samples = sample(&mut source).unwrap();
    assert_eq!(stuck(&samples), ["fs.stuck[/]", "fs.stuck[/data]"]);
    // The host has this one; and what is on a disk is a file system of the host's in any case.
    fs::write(&host, "9 7 0:9 / /root rw - tmpfs x rw\n").unwrap();
    let samples = sample(&mut source).unwrap();
    let with_root = ["fs.stuck[/]", "fs.stuck[/data]", "fs.stuck[/root]"];
    assert_eq!(stuck(&samples), with_root);
    fs::write(&host, "").unwrap();
    let samples = sample(&mut source).unwrap();
    assert_eq!(stuck(&samples).len(), 4, "nothing else is known");
}

#[test]
fn the_model_asks_no_file_system() {
    let (_directory, root) = root("bananas\n");
    let mut source = FilesystemSource::open(&Context::new(root));
    source.prepare(Grid::Model, Instant::now());
    assert!(source.ready());
    let mut samples = Samples::new();
    let mut sink = Sink::new(Purpose::Model, Grid::Model, &mut samples);
    source.collect(&mut Vec::new(), &mut sink).unwrap();
    assert!(samples.is_empty());
}

/// A mount that is gone by the time its path is opened is not mistaken for what is there.
#[test]
fn another_mount_at_the_same_path_is_not_measured() {
    let there = File::open("/proc").unwrap();
    let id = mount_id(&there).unwrap().expect("Linux 5.8 says so");
    let place = |id| Place {
        path: "/proc".into(),
        id: Some(id),
        readonly: false,
    };
    assert!(matches!(place(id).ask(), Answer::Room(_)));
    assert!(matches!(place(id + 1_000_000).ask(), Answer::OutOfReach));
}

#[test]
fn the_set_tells_what_the_source_has_to_say() {
    // A file system that hangs is in tests/integration/stuck_mount.rs.
    let (_directory, root) = root("1 0 8:1 / /data rw - ext4 x rw\n");
    let mut context = Context::new(root);
    context.wakeup = Wakeup::default();
    let mut set = SourceSet::open(context, Duration::from_secs(5), &["filesystem"]).unwrap();
    let begun = Instant::now();
    set.prepare(Purpose::Metrics, Grid::Metrics, begun);
    while !set.ready(Grid::All) {
        assert!(begun.elapsed() < LONG);
        thread::sleep(Duration::from_millis(1));
    }
    let mut samples = Samples::new();
    assert!(
        set.sample(Purpose::Metrics, Grid::Metrics, &mut samples)
            .is_empty()
    );
    assert_eq!(number(&samples, "fs.stuck[/data]"), 0);
}
