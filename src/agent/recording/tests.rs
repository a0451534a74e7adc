use prost::Message as _;

use super::*;
use crate::metrics::table::{DISK_READS, HOST_OS, MEM_FREE};
use crate::protocol::data::wire::Data;

const BOOT: [u8; 16] = [7; 16];

fn recording() -> Recording {
    Recording::open(None, Limits::default(), ["main"].into_iter(), BOOT)
}

fn sample(free: u64) -> Samples {
    let mut samples = Samples::new();
    samples.push_unsigned(&MEM_FREE, None, free);
    samples.push_unsigned(&DISK_READS, Some("sda"), 2 * free);
    samples
}

fn at(second: u64) -> Moment {
    Moment {
        time: 1_700_000_000_000_000 + i64::try_from(second).unwrap() * 1_000_000,
        boottime: second * 1_000_000,
    }
}

fn bodies(next: Option<Outgoing>) -> Vec<Data> {
    let bodies = next.map(|next| next.bodies).unwrap_or_default();
    let read = |body: &Vec<u8>| Data::decode(&body[..]).unwrap();
    bodies.iter().map(read).collect()
}

fn seqs(data: &Data) -> Vec<u64> {
    data.samples.iter().map(|sample| sample.seq).collect()
}

#[test]
fn a_link_is_told_what_values_mean_once_and_the_next_link_again() {
    let mut recording = recording();
    recording.offered("main", 1, 1, Offer::default());
    assert_eq!(recording.record(&sample(5), at(1)), Some(1));
    let first = bodies(recording.next("main", Some(1)));
    let [first] = &first[..] else {
        panic!("{first:?}")
    };
    let names: Vec<_> = first.series.iter().map(|series| &*series.name).collect();
    assert_eq!(names, ["mem.free", "disk.reads.total"]);
    assert_eq!(first.series[1].labels[0].value, "sda");
    let sources: Vec<_> = first.schemas.iter().map(|schema| &*schema.source).collect();
    assert_eq!(sources, ["meminfo", "disk"]);
    assert_eq!((first.now_from, first.behind), (1, 0));
    assert_eq!((&first.sent_boot[..], seqs(first)), (&BOOT[..], vec![1]));
    assert_eq!(first.samples[0].time, at(1).time);
    recording.record(&sample(6), at(2));
    let second = bodies(recording.next("main", Some(2)));
    assert!(second[0].series.is_empty() && second[0].schemas.is_empty());
    assert_eq!(seqs(&second[0]), [2]);
    assert!(recording.next("main", None).is_none());
    // Late news of an earlier link change nothing.
    recording.link_lost("main", 1, 0);
    assert!(recording.next("main", None).is_none());
    recording.link_lost("main", 1, 1);
    assert!(recording.next("main", None).is_none(), "no link");
    recording.offered("main", 1, 2, Offer::default());
    let again = bodies(recording.next("main", None));
    assert_eq!((seqs(&again[0]), again[0].now_from), (vec![1, 2], 0));
    assert_eq!(again[0].series.len(), 2);
}

#[test]
fn what_is_acknowledged_does_not_come_again() {
    let mut recording = recording();
    recording.offered("main", 1, 1, Offer::default());
    for second in 1..4 {
        recording.record(&sample(second), at(second));
    }
    let next = bodies(recording.next("main", None));
    assert_eq!(seqs(&next[0]), [1, 2, 3]);
    let stream = next[0].stream;
    let receipt = |stream, seq| Receipt { stream, seq };
    assert!(!recording.acknowledged("main", 1, 1, receipt(stream ^ 1, 2)));
    assert!(recording.acknowledged("main", 1, 1, receipt(stream, 2)));
    assert_eq!(recording.status("main").unwrap().behind, 1);
    recording.offered("main", 1, 2, Offer::default());
    // That of the link before.
    assert!(recording.acknowledged("main", 1, 1, receipt(stream, 3)));
    let next = bodies(recording.next("main", None));
    assert_eq!(seqs(&next[0]), [3]);
}

#[test]
fn who_declines_is_not_waited_for() {
    let mut recording = recording();
    assert!(recording.wanted(), "it is not known yet");
    recording.declined("main");
    assert!(!recording.wanted());
    recording.offered("main", 1, 1, Offer::default());
    assert!(recording.wanted());
    assert_eq!(recording.acknowledges("main"), Some(Acknowledged::Table));
}

#[test]
fn the_agents_own_metrics_tell_what_is_kept() {
    let mut recording = recording();
    recording.offered("main", 1, 1, Offer::default());
    for second in 1..=3 {
        recording.record(&sample(second), at(second));
    }
    let stream = bodies(recording.next("main", None))[0].stream;
    assert!(recording.acknowledged("main", 1, 1, Receipt { stream, seq: 1 }));
    let mut keeping = Keeping::default();
    recording.say_keeping(&mut keeping, at(10));
    let [main] = &keeping.collectors[..] else {
        panic!("{keeping:?}")
    };
    assert_eq!((main.collector.as_str(), main.behind), ("main", 2));
    assert_eq!((main.behind_usec, main.lost), (8_000_000, 0));
    assert!(keeping.memory > 0 && keeping.disk == 0);
    // Nothing is kept for one that takes none.
    recording.declined("main");
    recording.say_keeping(&mut keeping, at(10));
    assert_eq!(keeping.collectors, []);
}

#[test]
fn what_a_collector_moves_times_by_is_repeated_to_the_next_one() {
    let mut recording = recording();
    let offer = Offer {
        clock: Some(-600_000_003),
        ..Offer::default()
    };
    recording.offered("main", 1, 1, offer);
    recording.link_lost("main", 1, 1);
    recording.offered("main", 1, 2, Offer::default());
    recording.record(&sample(1), at(1));
    let told = recording.next("main", Some(1)).unwrap();
    let body = told.bodies.last().unwrap();
    assert_eq!(Data::decode(&body[..]).unwrap().moved, -600_000_003);
}

#[test]
fn a_window_that_is_full_makes_a_collector_behind() {
    let mut recording = recording();
    let offer = Offer {
        window: 1,
        ..Offer::default()
    };
    recording.offered("main", 1, 1, offer);
    recording.record(&sample(1), at(1));
    assert!(recording.next("main", Some(1)).unwrap().fresh);
    recording.record(&sample(2), at(2));
    assert!(recording.next("main", Some(2)).is_none());
}

#[test]
fn another_connection_of_the_same_name_begins_anew() {
    let mut recording = recording();
    recording.offered("main", 1, 1, Offer::default());
    recording.record(&sample(1), at(1));
    assert!(recording.next("main", None).is_some());
    let names = || ["main"].into_iter();
    recording.configure(Limits::default(), names(), |_| Some(1));
    assert_eq!(recording.linked(), ["main"]);
    recording.configure(Limits::default(), names(), |_| Some(2));
    assert!(recording.linked().is_empty());
    recording.offered("main", 2, 1, Offer::default());
    let next = bodies(recording.next("main", None));
    assert_eq!((seqs(&next[0]), next[0].series.len()), (vec![1], 2));
}

#[test]
fn definitions_that_fill_messages_go_before_their_sample() {
    let mut recording = recording();
    let mut samples = Samples::new();
    let name = "d".repeat(230);
    for number in 0..2500 {
        samples.push_unsigned(&DISK_READS, Some(&format!("{name}{number}")), number);
    }
    assert_eq!(samples.cut(), 0);
    let mut model = Samples::new();
    for number in 0..400 {
        let text = format!("{}{number}", "t".repeat(1000));
        model.push_text(&HOST_OS, Some(&number.to_string()), &text);
    }
    recording.learn(&model);
    recording.offered("main", 1, 1, Offer::default());
    recording.record(&samples, at(1));
    let next = bodies(recording.next("main", Some(1)));
    assert_eq!(next.len(), 2);
    assert_eq!((seqs(&next[0]), seqs(&next[1])), (vec![], vec![1]));
    let told: usize = next.iter().map(|data| data.series.len()).sum();
    assert_eq!(told, 2900);
    assert_eq!((next[0].now_from, next[0].behind), (0, 1));
    assert_eq!((next[1].now_from, next[1].behind), (1, 0));
}
