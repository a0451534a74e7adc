//! Power cuts and damage: a thousand times the files are not as they were written.

use std::fs;
use std::time::Duration;

use super::rig::{INTERVAL, Peer, Rig, directory};
use crate::agent::history::types::Limits;

const LIMITS: Limits = Limits {
    memory: 100_000,
    disk: 2 * 1024 * 1024,
    after: Duration::from_secs(30),
};

/// Ways in which files are found after a cut.
#[derive(Clone, Copy, Debug)]
enum Damage {
    /// The end of the last file never reached the disk.
    Truncated,
    /// Instead of the end there is something else.
    Garbage,
    /// The end is zeros, as some file systems leave it.
    Zeros,
    /// The last file has no name yet.
    Unnamed,
    /// A byte somewhere has flipped.
    Flipped,
}

const DAMAGES: [Damage; 5] = [
    Damage::Truncated,
    Damage::Garbage,
    Damage::Zeros,
    Damage::Unnamed,
    Damage::Flipped,
];

fn damage(rig: &Rig, damage: Damage, random: &mut fastrand::Rng) {
    let files = rig.on_disk();
    let Some((last, bytes)) = files.last() else {
        return;
    };
    let mut content = fs::read(last).unwrap();
    let at = usize::try_from(random.u64(..=*bytes)).unwrap();
    match damage {
        Damage::Truncated => content.truncate(at),
        Damage::Garbage => content[at..].fill_with(|| random.u8(..)),
        Damage::Zeros => content[at..].fill(0),
        Damage::Unnamed => return fs::remove_file(last).unwrap(),
        Damage::Flipped => {
            let (path, bytes) = random.choice(&files).unwrap();
            if *bytes > 0 {
                let mut content = fs::read(path).unwrap();
                let at = random.usize(..content.len());
                content[at] ^= 1 << random.u8(..8);
                fs::write(path, content).unwrap();
            }
            return;
        }
    }
    fs::write(last, content).unwrap();
}

/// After each cut the log goes on, and what it tells is a sample as it was, or lost.
#[test]
fn a_thousand_power_cuts_cost_what_they_hit_alone() {
    let mut random = fastrand::Rng::with_seed(5);
    let (mut cuts, mut got, mut lost) = (0, 0, 0);
    while cuts < 1000 {
        let place = directory();
        let mut rig = Rig::new(place.path(), LIMITS, &["a"]);
        let mut peer = Peer::default();
        for _ in 0..10 {
            let now = rig.now;
            rig.log().offered("a", 64 * 1024, now);
            peer.connect();
            for _ in 0..random.u64(7..60) {
                rig.append(random.usize(..12));
                rig.pass(INTERVAL);
                rig.work_all();
            }
            // Some of it is told in between.
            for _ in 0..random.u64(..3) {
                if let Some(batch) = rig.next_batch("a", 2000) {
                    peer.take(&batch);
                    rig.log().acked("a", batch.stream, batch.last);
                }
                rig.work();
            }
            let how = DAMAGES[random.usize(..DAMAGES.len())];
            damage(&rig, how, &mut random);
            rig.restart();
            cuts += 1;
        }
        let now = rig.now;
        rig.log().offered("a", 64 * 1024, now);
        peer.connect();
        rig.append(1);
        rig.catch_up("a", &mut peer);
        assert_eq!(peer.last, rig.log().next - 1);
        peer.check();
        got += peer.got.len() as u64;
        lost += peer.lost_count();
    }
    println!("{cuts} cuts: {got} samples told, {lost} told as lost");
    assert!(got > 10 * cuts);
}

/// What is damaged in the middle costs the samples of one chunk, and the others are told as they were.
#[test]
fn a_flipped_byte_costs_one_chunk_at_most() {
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..40 {
        let place = directory();
        let limits = Limits {
            memory: 4 * 1024 * 1024,
            ..LIMITS
        };
        let mut rig = Rig::new(place.path(), limits, &["a"]);
        let mut peer = Peer::default();
        let now = rig.now;
        rig.log().offered("a", 1 << 20, now);
        for _ in 0..300 {
            rig.append(10);
            rig.pass(INTERVAL);
            rig.work_all();
        }
        rig.stop();
        let (path, _) = rig.on_disk().remove(0);
        let mut content = fs::read(&path).unwrap();
        // The header and the first definitions stand for the whole file.
        let at = random.usize(content.len() / 8..content.len() - 500);
        content[at] ^= 1 << random.u8(..8);
        fs::write(&path, content).unwrap();
        rig.restart();
        rig.log().offered("a", 1 << 20, now);
        rig.catch_up("a", &mut peer);
        let lost = peer.lost_count();
        assert!((1..=64).contains(&lost), "{lost} lost by byte {at}");
        assert_eq!(peer.got.len() as u64, 300 - lost);
        assert!(peer.got.iter().all(|(seq, value)| seq == value));
    }
}
