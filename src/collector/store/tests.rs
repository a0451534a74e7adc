use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use proptest::prelude::*;

use super::file::{Damage, replace};
use super::format::{Found, Remembered, Unusable, read, write};
use super::*;
use crate::collector::hosts::snapshot::{HostSnapshot, MessageCounts, Presence, Snapshot};
use crate::collector::hosts::{Hosts, MAX_HOSTS, Timing};
use crate::metrics::LatestMetrics;
use crate::protocol::grid::{Grid, Value};
use crate::protocol::message::GridKind;

const KEY: &str = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7";
const HEADER: &str = "{\"format\":\"metrics-collector hosts\",\"version\":1}\n";

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn grid(json: &str) -> Grid {
    Grid::parse(json.as_bytes(), GridKind::Model).unwrap()
}

fn host(name: &str, presence: Presence, model: Option<&str>) -> HostSnapshot {
    HostSnapshot {
        name: name.into(),
        presence,
        silence: Duration::from_secs(5),
        since: at(900),
        counts: MessageCounts {
            messages: 3,
            comebacks: 2,
            shared: 0,
        },
        last_metrics: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(999_990)),
        key: None,
        several_hosts: None,
        address: None,
        os: None,
        model: model.map(|json| Arc::new(grid(json).into())),
        metrics: LatestMetrics::default(),
    }
}

fn snapshot(hosts: Vec<HostSnapshot>) -> Snapshot {
    Snapshot {
        hosts,
        taken: at(1000),
    }
}

fn text(snapshot: &Snapshot) -> String {
    let mut out = Vec::new();
    write(snapshot, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn found(text: &str) -> Found {
    read(text.as_bytes()).unwrap()
}

fn names(found: &Found) -> Vec<&str> {
    found.hosts.iter().map(|host| &*host.name).collect()
}

#[test]
fn what_is_written_is_read_again() {
    let mut known = host(
        "web \"1\" é",
        Presence::Reporting,
        Some(r#"{"a":1,"os":"D\n"}"#),
    );
    known.key = Some(KEY.parse().unwrap());
    known.several_hosts = Some(false);
    known.address = Some("2001:db8::1".into());
    let mut gone = host("web2", Presence::Gone, None);
    gone.os = Some("Debian \"13\"".into());
    let all = snapshot(vec![known, gone, host("web3", Presence::Expected, None)]);
    let text = text(&all);
    assert_eq!(
        text,
        format!(
            "{HEADER}{{\"name\":\"web \\\"1\\\" é\",\"key\":\"{KEY}\",\
             \"several_hosts\":false,\"address\":\"2001:db8::1\",\"seen\":995,\"model\":{{\"a\":1,\"os\":\"D\\n\"}}}}\n\
             {{\"name\":\"web2\",\"seen\":995,\"gone\":900,\"os\":\"Debian \\\"13\\\"\"}}\n{{\"name\":\"web3\",\"seen\":995}}\n"
        )
    );
    let found = found(&text);
    assert_eq!(found.damaged, 0);
    let expected = |name: &str, gone, model| Remembered {
        name: name.into(),
        key: None,
        several_hosts: None,
        address: None,
        os: None,
        seen: at(995),
        gone,
        model,
    };
    let model = grid(r#"{"a":1,"os":"D\n"}"#);
    assert_eq!(
        found.hosts,
        [
            Remembered {
                key: Some(KEY.parse().unwrap()),
                several_hosts: Some(false),
                address: Some("2001:db8::1".into()),
                ..expected("web \"1\" é", None, Some((model, 18)))
            },
            Remembered {
                os: Some("Debian \"13\"".into()),
                ..expected("web2", Some(at(900)), None)
            },
            expected("web3", None, None),
        ]
    );
}

#[test]
fn times_are_told_from_the_clock_on_the_wall() {
    let restored = |wall| {
        let gone = HEADER.to_owned() + "{\"name\":\"a\",\"seen\":995,\"gone\":1020}\n";
        let host = found(&gone).hosts.pop().unwrap().restored(at(wall));
        (host.silence.as_secs(), host.gone.map(|gone| gone.as_secs()))
    };
    assert_eq!(restored(2000), (1005, Some(980)));
    // A clock that was ahead when the file was written.
    assert_eq!(restored(900), (0, Some(0)));
}

#[test]
fn a_damaged_line_costs_that_host_alone() {
    let good = "{\"name\":\"web1\",\"seen\":1,\"model\":{\"a\":1},\"later\":[{}]}\n";
    let last = "{\"name\":\"web2\",\"seen\":2}";
    let long = format!("{{\"name\":\"{}\",\"seen\":1}}\n", "x".repeat(256));
    let endless = format!("{}\n", " ".repeat(3 * 1024 * 1024));
    for bad in [
        "\n",
        "{}\n",
        "[]\n",
        "\u{0}\u{0}\n",
        "{\"name\":\"web1\",\"seen\":1,\"model\":{\"a\"\n",
        "{\"name\":\"\",\"seen\":1}\n",
        "{\"name\":\"a\\u001b[2J\",\"seen\":1}\n",
        "{\"name\":\"a\",\"seen\":-1}\n",
        "{\"name\":\"a\",\"seen\":18446744073709551615}\n",
        "{\"name\":\"a\",\"seen\":1,\"gone\":18446744073709551615}\n",
        "{\"name\":\"a\",\"seen\":1,\"key\":\"short\"}\n",
        "{\"name\":\"a\",\"seen\":1,\"model\":{\"a\":[]}}\n",
        "{\"name\":\"a\",\"seen\":1,\"model\":3}\n",
        &long,
        &endless,
    ] {
        let found = found(&format!("{HEADER}{good}{bad}{last}"));
        assert_eq!(names(&found), ["web1", "web2"], "{bad:.80}");
        assert_eq!(found.damaged, 1, "{bad:.80}");
    }
    // Cut off, as by a disk that lost its end.
    let cut = format!("{HEADER}{good}{}", &last[..last.len() - 1]);
    assert_eq!(
        (names(&found(&cut)), found(&cut).damaged),
        (vec!["web1"], 1)
    );
    let bytes = [HEADER.as_bytes(), b"\xff\xfe\n", good.as_bytes()].concat();
    assert_eq!(names(&read(&*bytes).unwrap()), ["web1"]);
}

#[test]
fn what_is_no_such_file_is_refused() {
    let refused = |text: &str| read(text.as_bytes()).unwrap_err().to_string();
    for text in [
        "",
        "\n",
        "name = 1\n",
        "{\"format\":\"metrics-collector pins\",\"version\":1}\n",
        "{\"format\":\"metrics-collector hosts\",\"version\":0}\n",
        "{\"format\":\"metrics-collector hosts\"}\n",
        &" ".repeat(3 * 1024 * 1024),
    ] {
        assert_eq!(
            refused(text),
            "it is not a file of this program",
            "{text:.80}"
        );
    }
    assert_eq!(
        refused("{\"format\":\"metrics-collector hosts\",\"version\":2,\"more\":1}\n{}\n"),
        "its version is 2, and this program reads version 1"
    );
}

#[test]
fn there_are_no_more_hosts_than_the_table_takes() {
    use std::fmt::Write as _;
    let mut text = HEADER.to_owned();
    for number in 0..MAX_HOSTS + 7 {
        writeln!(text, "{{\"name\":\"host-{number}\",\"seen\":1}}").unwrap();
    }
    let found = found(&text);
    assert_eq!((found.hosts.len(), found.damaged), (MAX_HOSTS, 7));
}

/// A float may be longer as it is written here than as it came.
#[test]
fn a_model_that_has_become_too_long_is_left_out() {
    let metrics: Vec<_> = (0..9_999).map(|n| format!("\"{n:090}\":1e15")).collect();
    let model = format!("{{{}}}", metrics.join(","));
    assert!(model.len() < 1024 * 1024);
    let host = host("web1", Presence::Reporting, Some(&model));
    let found = found(&text(&snapshot(vec![host])));
    assert_eq!((names(&found), found.damaged), (vec!["web1"], 0));
    assert_eq!(found.hosts[0].model, None);
}

#[test]
fn the_table_has_them_again() {
    let timing = Timing {
        ping_interval: Duration::from_secs(5),
        host_timeout: Duration::from_secs(30),
        forget_after: Duration::from_secs(3600),
    };
    let now = Instant::now();
    let mut hosts = Hosts::new(timing);
    let before = snapshot(vec![
        host("web1", Presence::Reporting, Some(r#"{"a":1}"#)),
        host("web2", Presence::Gone, None),
    ]);
    let restored = found(&text(&before)).hosts;
    hosts.restore(
        now,
        restored.into_iter().map(|host| host.restored(at(1000))),
    );
    assert_eq!((hosts.expected(), hosts.gone()), (1, 1));
    let model = hosts.get("web1").unwrap().model().unwrap();
    assert_eq!(model.get("a"), Some(Value::Unsigned(1)));
    // And again, as if nothing had happened in between.
    let after = hosts.snapshot(now, at(1000));
    let mut expected = found(&text(&before)).hosts;
    assert_eq!(found(&text(&after)).hosts, expected);
    expected.clear();
}

#[test]
fn the_file_is_replaced_whole_and_is_private() {
    let dir = tempfile::tempdir().unwrap();
    let directory = dir.path().join("state");
    assert!(restore(&directory).trouble.is_none());
    for name in ["web1", "web2"] {
        let all = snapshot(vec![host(name, Presence::Reporting, None)]);
        replace(&directory, &all).unwrap();
        assert_eq!(names(&restore(&directory).found), [name]);
    }
    let files: Vec<_> = fs::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(files, [FILE_NAME], "no draft stays");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&directory), 0o700);
    assert_eq!(mode(&directory.join(FILE_NAME)), 0o600);
}

#[test]
fn a_file_that_is_no_good_is_left_for_people_to_look_at() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join(FILE_NAME);
    for (text, kept, what) in [
        ("nonsense", 0, "it is not a file of this program"),
        (
            &*(HEADER.to_owned() + "{\"name\":\"web1\",\"seen\":1}\nnonsense\n"),
            1,
            "it has 1 damaged line, one for each host that is lost",
        ),
    ] {
        fs::write(&file, text).unwrap();
        let restored = restore(dir.path());
        assert_eq!(restored.found.hosts.len(), kept);
        let trouble = restored.trouble.unwrap();
        assert_eq!(
            (trouble.path, trouble.what.to_string()),
            (file.clone(), what.to_owned())
        );
        // Until it is replaced it stays where it is, too.
        replace(dir.path(), &snapshot(Vec::new())).unwrap();
        assert_eq!(fs::read_to_string(trouble.aside.unwrap()).unwrap(), text);
    }
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    let trouble = restore(dir.path()).trouble.unwrap();
    assert!(matches!(trouble.what, Damage::Unusable(Unusable::NotOurs)));
    assert!(trouble.aside.is_err());
}

/// What there is to tell, once the thread has done.
fn outcome(writer: &mut Writer) -> Option<Outcome> {
    let start = Instant::now();
    loop {
        let outcome = writer.outcome();
        // As long as it writes, nothing is due.
        if outcome.is_some() || writer.next_due().is_some() {
            return outcome;
        }
        assert!(start.elapsed() < Duration::from_secs(30), "it does not end");
        thread::yield_now();
    }
}

#[test]
fn a_disk_that_takes_nothing_is_told_once_and_costs_nothing_that_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let now = Instant::now();
    let all = |name| snapshot(vec![host(name, Presence::Reporting, None)]);
    let mut writer = Writer::start(dir.path().to_owned(), now).unwrap();
    writer.keep(now, all("web1"));
    writer.changed();
    assert!(outcome(&mut writer).is_none());
    // What root cannot do either: there is no directory any more.
    let away = dir.path().with_extension("away");
    fs::rename(dir.path(), &away).unwrap();
    fs::write(dir.path(), "no directory").unwrap();
    writer.keep(now, all("web2"));
    let Some(Outcome::Failed(error)) = outcome(&mut writer) else {
        panic!("it is told");
    };
    let expected = format!("{}: cannot open the directory: Not a", dir.path().display());
    assert!(error.to_string().starts_with(&expected), "{error}");
    assert_eq!(names(&restore(&away).found), ["web1"]);
    writer.keep(now, all("web3"));
    assert!(outcome(&mut writer).is_none(), "it was told");
    fs::remove_file(dir.path()).unwrap();
    fs::rename(&away, dir.path()).unwrap();
    assert_eq!(names(&restore(dir.path()).found), ["web1"]);
    writer.keep(now, all("web4"));
    writer.changed();
    assert!(matches!(outcome(&mut writer), Some(Outcome::KeptAgain)));
    assert_eq!(names(&restore(dir.path()).found), ["web4"]);
}

#[tokio::test]
async fn the_last_words_are_written_in_bounded_time() {
    let dir = tempfile::tempdir().unwrap();
    let now = Instant::now();
    let all = |name| snapshot(vec![host(name, Presence::Reporting, None)]);
    let mut writer = Writer::start(dir.path().to_owned(), now).unwrap();
    writer.keep(now, all("web1"));
    assert!(
        writer
            .finish(Some(all("web2")), Duration::from_secs(30))
            .await
            .is_none()
    );
    assert_eq!(names(&restore(dir.path()).found), ["web2"]);

    // Without any time hardly a disk is fast enough; it is where this thread has to wait for a
    // processor before it looks.
    let mut told = None;
    for _ in 0..100 {
        let writer = Writer::start(dir.path().to_owned(), now).unwrap();
        if let Some(Outcome::Failed(error)) =
            writer.finish(Some(generation(0)), Duration::ZERO).await
        {
            told = Some(error);
            break;
        }
    }
    let error = told.expect("it is told");
    assert!(
        error
            .to_string()
            .ends_with("hosts: cannot write it in time: it takes too long")
    );
}

/// So many hosts that the file takes several writes.
const CRASHING: usize = 300;

/// Where the process below writes.
const CRASH_DIRECTORY: &str = "METRICS_COLLECTOR_CRASH_TEST";

fn generation(number: usize) -> Snapshot {
    let model = format!(
        "{{\"generation\":{number},\"padding\":\"{}\"}}",
        "x".repeat(1000)
    );
    let one = |at| host(&format!("host-{at}"), Presence::Reporting, Some(&model));
    snapshot((0..CRASHING).map(one).collect())
}

/// Not a test: the process that the next one kills.
#[test]
#[ignore = "writes for ever, for another test to kill it"]
fn writes_for_ever() {
    let Some(directory) = std::env::var_os(CRASH_DIRECTORY) else {
        return;
    };
    for number in 0.. {
        replace(Path::new(&directory), &generation(number)).unwrap();
    }
}

#[test]
fn killed_at_any_moment_it_leaves_the_old_hosts_or_the_new_ones() {
    let mut random = fastrand::Rng::new();
    let dir = tempfile::tempdir().unwrap();
    replace(dir.path(), &generation(0)).unwrap();
    for _ in 0..30 {
        let drafts = || {
            let entries = fs::read_dir(dir.path()).unwrap();
            let names = entries.map(|entry| entry.unwrap().file_name());
            names
                .filter(|name| name.as_encoded_bytes().starts_with(b".hosts."))
                .collect::<Vec<_>>()
        };
        for draft in drafts() {
            fs::remove_file(dir.path().join(draft)).unwrap();
        }
        let mut writer = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "collector::store::tests::writes_for_ever",
                "--ignored",
            ])
            .env(CRASH_DIRECTORY, dir.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let start = Instant::now();
        while drafts().is_empty() {
            assert!(
                start.elapsed() < Duration::from_secs(30),
                "it does not write"
            );
            thread::yield_now();
        }
        thread::sleep(Duration::from_micros(random.u64(..20_000)));
        writer.kill().unwrap();
        writer.wait().unwrap();
        let restored = restore(dir.path());
        assert!(restored.trouble.is_none(), "{:?}", restored.trouble);
        let hosts = restored.found.hosts;
        assert_eq!(hosts.len(), CRASHING);
        let generation = |host: &Remembered| {
            let (model, _) = host.model.as_ref().unwrap();
            model.get("generation").and_then(|value| value.as_f64())
        };
        assert!(
            hosts
                .iter()
                .all(|host| generation(host) == generation(&hosts[0]))
        );
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = read(&*bytes);
        let bytes = [HEADER.as_bytes(), &bytes].concat();
        prop_assert!(read(&*bytes).is_ok());
    }

    #[test]
    fn any_hosts_are_read_as_they_were_written(
        hosts in prop::collection::vec(
            ("[^\\p{Cc}]{1,60}", any::<bool>(), 0_u64..900_000_000_000, prop::option::of("[^\\p{Cc}]{0,40}")),
            0..10,
        )
    ) {
        let hosts: Vec<_> = hosts
            .into_iter()
            .map(|(name, gone, silence, text)| {
                let presence = if gone { Presence::Gone } else { Presence::Reporting };
                let text = text.filter(|_| !gone);
                let model = text.map(|text| serde_json::json!({"text": text}).to_string());
                HostSnapshot {
                    silence: Duration::from_nanos(silence),
                    since: at(900) + Duration::from_nanos(silence / 9),
                    ..host(&name, presence, model.as_deref())
                }
            })
            .collect();
        let all = snapshot(hosts);
        let found = found(&text(&all));
        prop_assert_eq!(found.damaged, 0);
        prop_assert_eq!(found.hosts.len(), all.hosts.len());
        for (read, written) in found.hosts.iter().zip(&all.hosts) {
            prop_assert_eq!(&read.name, &written.name);
            prop_assert_eq!(read.seen, all.taken - written.silence);
            let gone = (written.presence == Presence::Gone).then_some(written.since);
            prop_assert_eq!(read.gone, gone);
            let model = read.model.as_ref().map(|(grid, _)| grid);
            prop_assert_eq!(model, written.model.as_deref().map(AsRef::as_ref));
        }
    }
}

#[test]
fn changes_are_written_a_minute_after_the_last_time() {
    let start = Instant::now();
    let mut pace = Pace::new(start);
    assert_eq!(pace.next_due(), None);
    assert!(!pace.anything_new());
    pace.seen();
    assert_eq!(pace.next_due(), Some(start + SEEN_INTERVAL));
    pace.changed();
    let due = start + CHANGED_INTERVAL;
    assert_eq!(pace.next_due(), Some(due));
    pace.begun(due);
    assert_eq!(pace.next_due(), None);
    assert!(!pace.anything_new());
    // One at a time, however long it takes.
    pace.changed();
    assert_eq!(pace.next_due(), None);
    pace.ended(true);
    assert_eq!(pace.next_due(), Some(due + CHANGED_INTERVAL));
}

#[test]
fn what_could_not_be_written_is_tried_again() {
    let start = Instant::now();
    let mut pace = Pace::new(start);
    pace.begun(start);
    pace.ended(false);
    assert_eq!(pace.next_due(), Some(start + CHANGED_INTERVAL));
    pace.begun(start);
    pace.ended(true);
    assert_eq!(pace.next_due(), None);
}
