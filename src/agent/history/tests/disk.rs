//! What goes to disk and when, and what the next start makes of it.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use super::rig::{INTERVAL, Peer, Rig, SECOND, directory};
use crate::agent::history::History;
use crate::agent::history::definition::FirstIds;
use crate::agent::history::files::Done;
use crate::agent::history::spill::Job;
use crate::agent::history::types::{HistoryEvent, Limits, Moment, Why};

const LIMITS: Limits = Limits {
    memory: 4 * 1024 * 1024,
    disk: 64 * 1024 * 1024,
    after: Duration::from_secs(30),
};

fn offer(rig: &mut Rig, name: &str) {
    let now = rig.now;
    rig.log().offered(name, 256 * 1024, now);
}

fn away(rig: &mut Rig, samples: u64) {
    for _ in 0..samples {
        rig.append(20);
        rig.pass(INTERVAL);
        rig.work_all();
    }
}

#[test]
fn a_collector_that_answers_costs_no_write() {
    let place = directory();
    let mut rig = Rig::new(place.path(), LIMITS, &["a"]);
    let mut peer = Peer::default();
    offer(&mut rig, "a");
    for _ in 0..100 {
        rig.append(20);
        rig.pass(INTERVAL);
        assert!(rig.jobs.is_empty());
        rig.catch_up("a", &mut peer);
    }
    assert_eq!(rig.log().deadline(), None);
    rig.stop();
    let files = std::fs::read_dir(place.path().join("history")).unwrap();
    assert_eq!(files.count(), 0);
    assert_eq!(peer.got.len(), 100);
}

#[test]
fn what_waits_goes_to_disk_after_a_while_and_leaves_it_again() {
    let place = directory();
    let mut rig = Rig::new(place.path(), LIMITS, &["a"]);
    let mut peer = Peer::default();
    offer(&mut rig, "a");
    away(&mut rig, 5);
    assert_eq!(rig.on_disk(), []);
    away(&mut rig, 2);
    let files = rig.on_disk();
    assert_eq!(files.len(), 1);
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&files[0].0), 0o600);
    assert_eq!(mode(files[0].0.parent().unwrap()), 0o700);
    // Two samples later is the next batch: no write in between.
    rig.append(20);
    rig.pass(SECOND);
    assert!(rig.jobs.is_empty());
    rig.catch_up("a", &mut peer);
    rig.work_all();
    assert_eq!(rig.on_disk(), []);
    assert_eq!((peer.last, peer.got.len()), (8, 8));
}

#[test]
fn a_stop_keeps_everything_and_the_next_start_tells_it() {
    let place = directory();
    let mut rig = Rig::new(place.path(), LIMITS, &["a"]);
    let mut peer = Peer::default();
    offer(&mut rig, "a");
    away(&mut rig, 3);
    rig.stop();
    let (stream, ids) = (rig.log().stream, rig.log().last_ids());
    rig.restart();
    // No run gives numbers of another one's stream.
    assert_ne!(rig.log().stream, stream);
    assert_eq!(rig.log().stream_of(3), (stream, 3));
    assert_eq!(rig.log().last_ids(), ids);
    assert!(matches!(
        rig.log().events[..],
        [HistoryEvent::Found { samples: 3, .. }]
    ));
    away(&mut rig, 2);
    offer(&mut rig, "a");
    rig.catch_up("a", &mut peer);
    assert_eq!((peer.last, peer.got.len(), &peer.lost), (5, 5, &vec![]));
}

#[test]
fn a_kill_costs_what_was_not_written_and_says_so() {
    let place = directory();
    let mut rig = Rig::new(place.path(), LIMITS, &["a"]);
    let mut peer = Peer::default();
    offer(&mut rig, "a");
    away(&mut rig, 20);
    let written = rig.log().next;
    // Not written yet.
    rig.append(20);
    rig.restart();
    // How many they were is not known: one number stands for them.
    assert_eq!(rig.log().next, written + 1);
    let lost = rig.log().status("a").unwrap().lost.of(Why::Unwritten);
    let until = rig.now.time;
    assert_eq!((lost.samples, lost.last), (1, until));
    assert_eq!(until - lost.first, i64::try_from(INTERVAL).unwrap());
    let told = rig.log().events.iter().any(|event| {
        matches!(event, HistoryEvent::Losing { why: Why::Unwritten, loss, begins: true, .. } if *loss == lost)
    });
    assert!(told);
    offer(&mut rig, "a");
    rig.append(20);
    rig.catch_up("a", &mut peer);
    assert_eq!((peer.lost_count(), peer.kills, peer.got.len()), (1, 1, 21));
    peer.check();
    // Killed before anything was written, which has no trace but that it ran.
    rig.restart();
    rig.append(20);
    offer(&mut rig, "a");
    peer.connect();
    rig.catch_up("a", &mut peer);
    assert_eq!((peer.kills, peer.got.len()), (2, 22));
    rig.stop();
    rig.restart();
    assert_eq!(rig.log().next, 1);
}

#[test]
fn a_full_disk_costs_the_oldest() {
    let place = directory();
    let limits = Limits {
        memory: 200_000,
        disk: 1024 * 1024,
        ..LIMITS
    };
    let mut rig = Rig::new(place.path(), limits, &["a"]);
    let mut peer = Peer::default();
    offer(&mut rig, "a");
    while rig
        .log()
        .status("a")
        .unwrap()
        .lost
        .of(Why::DiskFull)
        .samples
        == 0
    {
        away(&mut rig, 64);
        assert!(rig.log().usage().disk <= limits.disk);
    }
    let status = rig.log().status("a").unwrap();
    assert_eq!(status.lost.total(), status.lost.of(Why::DiskFull).samples);
    rig.catch_up("a", &mut peer);
    let stream = rig.log().stream;
    assert_eq!(peer.lost, [(stream, 1, status.lost.total())]);
    assert_eq!(peer.got.len() as u64, status.behind);
}

#[test]
fn a_link_in_place_of_a_file_is_not_followed() {
    let place = directory();
    let history = place.path().join("history");
    std::fs::create_dir(&history).unwrap();
    let other = place.path().join("other");
    std::fs::write(&other, "precious").unwrap();
    std::os::unix::fs::symlink(&other, history.join("0000000000000001.segment")).unwrap();
    let mut rig = Rig::new(place.path(), LIMITS, &["a"]);
    offer(&mut rig, "a");
    away(&mut rig, 10);
    assert_eq!(rig.on_disk().len(), 1);
    assert_eq!(std::fs::read(&other).unwrap(), b"precious");
}

/// At 64 MiB there is room for three days of a host with 400 values at an interval of 5 s.
#[test]
fn three_days_of_a_host_fit() {
    use super::rig::{BOOT, sampled_like_a_host};
    let place = directory();
    let mut rig = Rig::new(place.path(), LIMITS, &["a"]);
    offer(&mut rig, "a");
    let ticks = 640;
    for tick in 0..ticks {
        let sampled = sampled_like_a_host(&mut rig.dictionary, tick);
        assert_eq!(sampled.sample.values.len(), 400);
        rig.recorder
            .append(sampled, BOOT, FirstIds::default(), rig.now)
            .unwrap();
        rig.pass(INTERVAL);
        rig.work_all();
    }
    let usage = rig.log().usage();
    let each = usage.disk / ticks;
    let days = 64 * 1024 * 1024 / each * 5 / 86400;
    println!("{each} bytes a sample on disk, {days} days in 64 MiB");
    assert!(days >= 3, "{each} bytes a sample");
    assert!(usage.room.unwrap() > Duration::from_secs(3 * 86400));
}

/// The facade, with its thread.
#[tokio::test]
async fn the_facade_writes_and_reads_on_its_thread() {
    let place = directory();
    let mut now = Moment {
        time: 1_700_000_000_000_000,
        boottime: 1000 * SECOND,
    };
    let mut pass = |micros: u64| {
        now.boottime += micros;
        now.time += i64::try_from(micros).unwrap();
        now
    };
    let names = || std::iter::once("a");
    let at = pass(0);
    let mut history = History::open(Some(place.path()), LIMITS, names(), at);
    history.offered("a", 256 * 1024, at);
    let mut rig = Rig::new(&place.path().join("unused"), LIMITS, &[]);
    for tick in 0..10 {
        let sampled = super::rig::sampled_like_a_host(&mut rig.dictionary, tick);
        let seq = history.append(
            sampled,
            super::rig::BOOT,
            FirstIds::default(),
            pass(INTERVAL),
        );
        assert_eq!(seq, Some(tick + 1));
    }
    let at = pass(0);
    history.stopped(|| at).await;
    drop(history);
    let mut history = History::open(Some(place.path()), LIMITS, names(), at);
    assert!(matches!(
        history.take_events()[..],
        [HistoryEvent::Found { samples: 10, .. }]
    ));
    history.offered("a", 256 * 1024, at);
    let mut peer = Peer::default();
    while peer.last < 10 {
        if let Some(batch) = history.next_batch("a", 64 * 1024, at) {
            peer.take(&batch);
            assert!(history.acked("a", batch.stream, batch.last, at));
        } else {
            let job = history.finished_job().await;
            history.finished(job, at);
        }
    }
    history.stopped(|| at).await;
    assert_eq!(peer.got.len(), 10);
    let left = std::fs::read_dir(place.path().join("history"))
        .unwrap()
        .count();
    assert_eq!(left, 0);
}

/// While the disk fails, samples are sent that it knows nothing of. The next run must not tell
/// others under their numbers: a collector drops what it has.
#[test]
fn a_kill_while_the_disk_fails_costs_no_sample_of_the_next_run() {
    let place = directory();
    let mut rig = Rig::new(place.path(), LIMITS, &["a"]);
    let mut peer = Peer::default();
    offer(&mut rig, "a");
    away(&mut rig, 10);
    assert_eq!(rig.on_disk().len(), 1);
    for _ in 0..100 {
        rig.append(20);
        rig.pass(INTERVAL);
        while let Some(job) = rig.jobs.pop_front() {
            let done = match job {
                Job::Write(_) => Done::Wrote(Err("it is broken".to_owned())),
                // What cannot be removed is there again at the next start.
                Job::Remove(_) | Job::End => Done::Removed,
                Job::Read(_) => rig.files.work(job),
            };
            rig.finish(done);
        }
        if let Some(batch) = rig.next_batch("a", 64 * 1024) {
            peer.take(&batch);
            assert!(rig.log().acked("a", batch.stream, batch.last));
        }
    }
    assert_eq!(peer.got.len(), 110);
    rig.restart();
    offer(&mut rig, "a");
    peer.connect();
    rig.append(20);
    rig.catch_up("a", &mut peer);
    assert_eq!((peer.got.len(), peer.kills), (111, 1));
    peer.check();
}
