//! Whatever happens in whatever order: each collector is told every number once on a link, in order,
//! as a sample or as lost, and memory stays within its limit.

use std::collections::VecDeque;
use std::time::Duration;

use proptest::prelude::*;

use super::rig::{INTERVAL, Peer, Rig, SECOND, directory};
use crate::agent::history::types::{Batch, Limits};

const NAMES: [&str; 2] = ["a", "b"];

#[derive(Clone, Debug)]
enum Step {
    /// Some samples, with so many instances.
    Append(u8, usize),
    Offer(usize, usize),
    Decline(usize),
    /// A batch of at most so many bytes.
    Next(usize, usize),
    /// A receipt for the first, or for all of what is under way.
    Ack(usize, bool),
    OddAck(usize, u64, u64),
    LinkLost(usize),
    Work(u8),
    FailWrite,
    Pass(u64),
    SpareMemory,
    Remove(usize),
    Stop,
    Kill,
}

fn step() -> impl Strategy<Value = Step> {
    let who = 0..2_usize;
    prop_oneof![
        6 => (1..40_u8, prop_oneof![0..6_usize, Just(150)]).prop_map(|(n, m)| Step::Append(n, m)),
        3 => (who.clone(), prop_oneof![Just(4096_usize), Just(65536), Just(1 << 20)]).prop_map(|(who, window)| Step::Offer(who, window)),
        1 => who.clone().prop_map(Step::Decline),
        6 => (who.clone(), prop_oneof![Just(100_usize), Just(2000), Just(65536)]).prop_map(|(who, most)| Step::Next(who, most)),
        6 => (who.clone(), any::<bool>()).prop_map(|(who, all)| Step::Ack(who, all)),
        1 => (who.clone(), 0..3_u64, any::<u64>()).prop_map(|(who, stream, seq)| Step::OddAck(who, stream, seq)),
        2 => who.clone().prop_map(Step::LinkLost),
        6 => (1..6_u8).prop_map(Step::Work),
        1 => Just(Step::FailWrite),
        3 => prop_oneof![Just(SECOND), Just(40 * SECOND), Just(100 * SECOND)].prop_map(Step::Pass),
        1 => Just(Step::SpareMemory),
        1 => who.prop_map(Step::Remove),
        1 => Just(Step::Stop),
        1 => Just(Step::Kill),
    ]
}

/// A collector as the play knows it.
#[derive(Default)]
struct Side {
    peer: Peer,
    linked: bool,
    under_way: VecDeque<Batch>,
    /// It takes history: from now on it must be told everything.
    takes: bool,
    /// Samples up to this one were taken while that was not so.
    excused: u64,
    /// The last sample before a kill, and how often it had been told of kills.
    kills: Vec<(u64, u64)>,
}

#[expect(clippy::too_many_lines, reason = "one arm for each kind of step")]
fn play(limits: Limits, steps: Vec<Step>) {
    let place = directory();
    let mut rig = Rig::new(place.path(), limits, &NAMES);
    let mut sides = [Side::default(), Side::default()];
    for step in steps {
        match step {
            Step::Append(samples, instances) => {
                for _ in 0..samples {
                    rig.append(instances);
                    rig.pass(INTERVAL);
                    check(&mut rig, &limits);
                }
            }
            Step::Offer(who, window) => {
                let now = rig.now;
                rig.log().offered(NAMES[who], window, now);
                if !std::mem::replace(&mut sides[who].linked, true) {
                    sides[who].peer.connect();
                }
                if !std::mem::replace(&mut sides[who].takes, true) {
                    sides[who].excused = rig.taken.len() as u64;
                }
            }
            Step::Decline(who) => {
                rig.log().declined(NAMES[who]);
                sides[who].linked = false;
                sides[who].takes = false;
                sides[who].peer.may_be_late = true;
                sides[who].under_way.clear();
            }
            Step::Next(who, most) => {
                if let Some(batch) = rig.next_batch(NAMES[who], most) {
                    assert!(sides[who].linked);
                    sides[who].peer.take(&batch);
                    sides[who].under_way.push_back(batch);
                }
            }
            Step::Ack(who, all) => {
                let most = if all { usize::MAX } else { 1 };
                let side = &mut sides[who];
                for _ in 0..most.min(side.under_way.len()) {
                    let batch = side.under_way.pop_front().unwrap();
                    // Receipts may come out of order and twice.
                    assert!(rig.log().acked(NAMES[who], batch.stream, batch.last));
                    assert!(rig.log().acked(NAMES[who], batch.stream, batch.first));
                }
            }
            Step::OddAck(who, stream, seq) => {
                let stream = rig.log().stream.wrapping_add(stream);
                let next = rig.log().next;
                if seq >= next || stream != rig.log().stream {
                    assert!(!rig.log().acked(NAMES[who], stream, seq));
                }
            }
            Step::LinkLost(who) => {
                rig.log().link_lost(NAMES[who]);
                sides[who].linked = false;
                sides[who].under_way.clear();
            }
            Step::Work(jobs) => {
                for _ in 0..jobs {
                    rig.work();
                }
            }
            Step::FailWrite => {
                use crate::agent::history::{files::Done, spill::Job};
                if let Some(Job::Write(_)) = rig.jobs.front() {
                    rig.jobs.pop_front();
                    rig.finish(Done::Wrote(Err("no room".to_owned())));
                }
            }
            Step::Pass(micros) => rig.pass(micros),
            Step::SpareMemory => rig.log().spare_memory(),
            Step::Remove(who) => {
                rig.log().set_collectors(std::iter::once(NAMES[1 - who]));
                rig.log().set_collectors(NAMES.into_iter());
                sides[who] = Side::default();
                sides[who].peer.may_be_late = true;
            }
            Step::Stop => {
                rig.stop();
                if !rig.log().is_all_kept() {
                    // There is no disk, or it failed.
                    note_kill(&rig, &mut sides);
                }
                rig.restart();
                disconnect(&mut sides);
            }
            Step::Kill => {
                note_kill(&rig, &mut sides);
                rig.restart();
                disconnect(&mut sides);
            }
        }
        check(&mut rig, &limits);
    }
    // In the end everybody who takes history is told everything.
    rig.append(3);
    for (who, side) in sides.iter_mut().enumerate().filter(|(_, side)| side.takes) {
        let now = rig.now;
        rig.log().link_lost(NAMES[who]);
        rig.log().offered(NAMES[who], 1 << 20, now);
        side.peer.connect();
        rig.pass(100 * SECOND);
        rig.catch_up(NAMES[who], &mut side.peer);
        let peer = &side.peer;
        assert_eq!(peer.last, rig.log().next - 1);
        peer.check();
        for (value, (stream, seq)) in rig.taken.range(side.excused + 1..) {
            let has = peer.got.contains_key(value);
            let mut lost = peer.lost.iter();
            let is_lost = lost.any(|(of, from, to)| of == stream && (from..=to).contains(&seq));
            let mut kills = side.kills.iter();
            let killed = kills.find(|(last, _)| value <= last);
            let is_killed = killed.is_some_and(|(_, told)| peer.kills > *told);
            assert!(
                has || is_lost || is_killed,
                "sample {value} is lost in silence"
            );
        }
        let status = rig.log().status(NAMES[who]).unwrap();
        assert_eq!((status.behind, status.since), (0, None));
    }
    let both = sides.iter().all(|side| side.takes);
    if both {
        rig.work_all();
        assert_eq!(rig.log().memory(), 0);
        assert_eq!(rig.on_disk(), []);
    }
}

/// What was taken so far may be lost, if that is told.
fn note_kill(rig: &Rig, sides: &mut [Side; 2]) {
    let last = rig.taken.len() as u64;
    for side in sides {
        side.kills.push((last, side.peer.kills));
    }
}

/// After a restart there are no links.
fn disconnect(sides: &mut [Side; 2]) {
    for side in sides {
        side.linked = false;
        side.under_way.clear();
    }
}

fn check(rig: &mut Rig, limits: &Limits) {
    let log = rig.log();
    assert!(log.memory() <= limits.memory, "{} bytes", log.memory());
    let mut next = log.next;
    for piece in log.pieces.iter().rev() {
        assert_eq!(piece.last, next - 1);
        assert!(piece.first <= piece.last);
        next = piece.first;
    }
    assert!(log.pieces.len() < 600, "{} pieces", log.pieces.len());
    assert!(log.usage().disk <= limits.disk);
}

proptest! {
    #![proptest_config(ProptestConfig { ..ProptestConfig::default() })]

    #[test]
    fn each_number_is_told_once_in_order_or_as_lost(
        memory in prop_oneof![Just(40_000_usize), Just(100_000), Just(1_000_000)],
        disk in prop_oneof![Just(0_u64), Just(400_000), Just(10_000_000)],
        steps in prop::collection::vec(step(), 1..80),
    ) {
        play(Limits { memory, disk, after: Duration::from_secs(30) }, steps);
    }
}

/// Each of these steps with each collector, with and without a disk.
fn play_for_all(steps: impl Fn(usize) -> Vec<Step>) {
    for memory in [40_000, 1_000_000] {
        for disk in [0, 10_000_000] {
            for who in 0..2 {
                let after = Duration::from_secs(30);
                play(
                    Limits {
                        memory,
                        disk,
                        after,
                    },
                    steps(who),
                );
            }
        }
    }
}

/// One that was removed and is there again begins at the end of the log; a kill before that is on disk makes
/// it begin earlier, and then it declines.
#[test]
fn a_collector_that_was_removed_and_is_back_outlives_a_kill() {
    for next in [100, 65536] {
        play_for_all(|who| {
            vec![
                Step::Append(1, 0),
                Step::Remove(0),
                Step::Stop,
                Step::Append(1, 0),
                Step::Work(1),
                Step::Offer(who, 65536),
                Step::Next(who, next),
                Step::Kill,
                Step::Decline(who),
                // And it takes history again.
                Step::Append(1, 0),
                Step::Offer(who, 65536),
                Step::Append(1, 0),
                Step::Next(who, next),
            ]
        });
    }
}

/// What was to be written when the disk failed is lost with the kill, also for one that was removed meanwhile.
#[test]
fn a_write_that_failed_before_a_collector_was_removed_outlives_a_kill() {
    // All of it is told before the kill, or a part.
    for most in [100, 65536] {
        for until in [Step::Work(1), Step::Work(5), Step::Pass(40 * SECOND)] {
            play_for_all(|who| {
                vec![
                    Step::Append(2, 0),
                    Step::Offer(who, 65536),
                    Step::Next(who, 65536),
                    Step::Ack(who, true),
                    Step::LinkLost(who),
                    Step::Append(8, 0),
                    Step::FailWrite,
                    Step::Remove(0),
                    Step::Append(1, 0),
                    until.clone(),
                    Step::Offer(who, 65536),
                    Step::Next(who, most),
                    Step::Kill,
                    Step::Append(1, 0),
                    Step::Offer(who, 65536),
                    Step::Next(who, 65536),
                ]
            });
        }
    }
}
