//! Two ends over a pipe that cuts, holds back, changes, drops and repeats, on simulated time.

use std::time::Duration;

use proptest::prelude::*;

use super::connection::{Event, MAX_HELD_BESIDE};
use super::message::{MAX_FRAMES, Received};
use super::test_ends::{BEATS, BOUNDS, End, Ends};

/// What is done to the bytes on their way.
#[derive(Clone, Debug)]
enum Fault {
    Flip { at: usize, bit: u8 },
    Drop { at: usize, count: usize },
    Repeat { at: usize, count: usize },
    Swap { at: usize, count: usize },
    Insert { at: usize, bytes: Vec<u8> },
}

impl Fault {
    fn befall(&self, stream: &mut Vec<u8>) {
        let within = |at: usize, length: usize| at % length.max(1);
        let length = stream.len();
        match self {
            Self::Flip { at, bit } => {
                if let Some(byte) = stream.get_mut(within(*at, length)) {
                    *byte ^= 1 << bit;
                }
            }
            Self::Drop { at, count } => {
                let at = within(*at, length);
                stream.drain(at..(at + count).min(length));
            }
            Self::Repeat { at, count } => {
                let at = within(*at, length);
                let again = stream[at..(at + count).min(length)].to_vec();
                stream.splice(at..at, again);
            }
            Self::Swap { at, count } => {
                let at = within(*at, length);
                let end = (at + count).min(length);
                stream[at..end].rotate_left((end - at) / 2);
            }
            Self::Insert { at, bytes } => {
                let at = within(*at, length);
                stream.splice(at..at, bytes.iter().copied());
            }
        }
    }
}

fn fault() -> impl Strategy<Value = Fault> {
    let at = 0_usize..4000;
    prop_oneof![
        (at.clone(), 0_u8..8).prop_map(|(at, bit)| Fault::Flip { at, bit }),
        (at.clone(), 1_usize..300).prop_map(|(at, count)| Fault::Drop { at, count }),
        (at.clone(), 1_usize..300).prop_map(|(at, count)| Fault::Repeat { at, count }),
        (at.clone(), 2_usize..300).prop_map(|(at, count)| Fault::Swap { at, count }),
        (at, prop::collection::vec(any::<u8>(), 1..300))
            .prop_map(|(at, bytes)| Fault::Insert { at, bytes }),
    ]
}

fn message() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let frame = prop::collection::vec(any::<u8>(), 0..400);
    prop::collection::vec(frame, 1..=MAX_FRAMES)
}

fn messages() -> impl Strategy<Value = Vec<Vec<Vec<u8>>>> {
    prop::collection::vec(message(), 0..6)
}

/// Gives an end its bytes in pieces of these sizes.
fn deliver(end: &mut End, mut bytes: &[u8], pieces: &[usize], ends_now: std::time::Instant) {
    for size in pieces.iter().cycle() {
        if bytes.is_empty() {
            return;
        }
        let (piece, rest) = bytes.split_at((*size).clamp(1, bytes.len()));
        end.take(piece, ends_now);
        bytes = rest;
    }
}

fn send_all(end: &mut End, messages: &[Vec<Vec<u8>>]) {
    for message in messages {
        let frames: Vec<&[u8]> = message.iter().map(Vec::as_slice).collect();
        end.send(&frames);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_sent_arrives_whole_however_it_is_cut(
        there in messages(),
        back in messages(),
        pieces in prop::collection::vec(1_usize..900, 1..12),
    ) {
        let mut ends = Ends::new();
        // The handshake in pieces, too.
        while !ends.client.out.is_empty() || !ends.server.out.is_empty() {
            let bytes = std::mem::take(&mut ends.client.out);
            deliver(&mut ends.server, &bytes, &pieces, ends.now);
            let bytes = std::mem::take(&mut ends.server.out);
            deliver(&mut ends.client, &bytes, &pieces, ends.now);
        }
        send_all(&mut ends.client, &there);
        send_all(&mut ends.server, &back);
        let bytes = std::mem::take(&mut ends.client.out);
        deliver(&mut ends.server, &bytes, &pieces, ends.now);
        let bytes = std::mem::take(&mut ends.server.out);
        deliver(&mut ends.client, &bytes, &pieces, ends.now);
        prop_assert_eq!(ends.server.messages(), there);
        prop_assert_eq!(ends.client.messages(), back);
        prop_assert_eq!(ends.server.knocked.as_deref(), Some(&b"ROUTING-ID"[..]));
        prop_assert_eq!((ends.client.violation, ends.server.violation), (None, None));
    }

    #[test]
    fn what_is_received_was_sent_whatever_befalls_the_bytes(
        there in messages(),
        faults in prop::collection::vec(fault(), 1..4),
        pieces in prop::collection::vec(1_usize..900, 1..12),
    ) {
        let mut ends = Ends::up();
        send_all(&mut ends.client, &there);
        let mut bytes = std::mem::take(&mut ends.client.out);
        for fault in &faults {
            fault.befall(&mut bytes);
        }
        deliver(&mut ends.server, &bytes, &pieces, ends.now);
        // Nothing is changed, left out in between, repeated or invented: the connection ends.
        let received = ends.server.messages();
        prop_assert_eq!(&received[..], &there[..received.len()]);
    }

    #[test]
    fn a_handshake_with_faults_lets_nobody_in_as_another(
        of_client in any::<bool>(),
        command in 0_usize..3,
        faults in prop::collection::vec(fault(), 1..3),
    ) {
        let mut ends = Ends::new();
        let mut bytes = ends.stop_before(of_client, command);
        for fault in &faults {
            fault.befall(&mut bytes);
        }
        let now = ends.now;
        let to = if of_client { &mut ends.server } else { &mut ends.client };
        to.take(&bytes, now);
        ends.settle();
        if ends.client.connection.is_up() && ends.server.connection.is_up() {
            ends.client.send(&[b"proof"]);
            ends.settle();
            // What was put behind the handshake may hide it, and never becomes a message itself.
            let received = ends.server.messages();
            prop_assert!(received.is_empty() || received == [[b"proof"]], "{received:?}");
        }
    }
}

#[test]
fn a_wrong_server_key_is_a_forged_hello() {
    let mut ends = Ends::with_wrong_key();
    ends.settle();
    let text = "the peer's HELLO was made with another key or changed on its way";
    assert_eq!(ends.server.violation.as_deref(), Some(text));
    assert!(!ends.client.connection.is_up());
}

#[test]
fn a_refused_key_is_told_so() {
    let mut ends = Ends::new();
    ends.server.refuses = true;
    ends.settle();
    let text = "the peer refused the connection: 400";
    assert_eq!(ends.client.violation.as_deref(), Some(text));
    assert_eq!(ends.server.violation, None);
    assert!(!ends.server.connection.is_up());
}

#[test]
fn silence_ends_a_connection_and_pings_keep_it() {
    let mut ends = Ends::up();
    let start = ends.now;
    for second in (0..300).step_by(5) {
        ends.now = start + Duration::from_secs(second);
        for end in [&mut ends.client, &mut ends.server] {
            end.connection.beat(ends.now, &BEATS, &mut end.out).unwrap();
        }
        ends.settle();
    }
    assert_eq!(ends.client.messages(), ends.server.messages());
    let due = ends.client.connection.deadline(&BEATS).unwrap();
    assert!(due <= ends.now + BEATS.interval.unwrap());
    let mut beat = |second| {
        let now = start + Duration::from_secs(second);
        let end = &mut ends.client;
        end.connection.beat(now, &BEATS, &mut end.out)
    };
    beat(300).unwrap();
    let violation = beat(310).unwrap_err().to_string();
    assert_eq!(violation, "the peer was silent for 20 s");
    assert!(!ends.client.connection.is_up());
}

#[test]
fn a_ping_between_two_frames_is_answered_and_disturbs_nothing() {
    let mut ends = Ends::up();
    ends.client.send(&[b"one", b"two"]);
    let whole = std::mem::take(&mut ends.client.out);
    // A frame of 3 bytes has 2 of a header and 33 of CURVE.
    let (first, _) = whole.split_at(2 + 33 + 3);
    ends.server.take(first, ends.now);
    // Only libzmq puts a PING there; ours has the next nonce either way.
    let later = ends.now + Duration::from_secs(10);
    let client = &mut ends.client;
    client
        .connection
        .beat(later, &BEATS, &mut client.out)
        .unwrap();
    let ping = std::mem::take(&mut client.out);
    ends.server.take(&ping, later);
    assert!(!ends.server.out.is_empty());
    assert_eq!(ends.server.violation, None);
}

#[test]
fn nonces_rise_and_may_jump() {
    let ends = || {
        let mut ends = Ends::up();
        let mut sealed = Vec::new();
        for text in [&b"1"[..], b"2", b"3"] {
            ends.client.send(&[text]);
            sealed.push(std::mem::take(&mut ends.client.out));
        }
        (ends, sealed)
    };
    let replayed = "the peer's MESSAGE has a nonce that is not higher than the last one";
    for (order, received, violation) in [
        (&[0, 1, 2][..], &["1", "2", "3"][..], None),
        (&[0, 2], &["1", "3"], None),
        (&[0, 0], &["1"], Some(replayed)),
        (&[0, 2, 1], &["1", "3"], Some(replayed)),
    ] {
        let (mut ends, sealed) = ends();
        for index in order {
            ends.server.take(&sealed[*index], ends.now);
        }
        let expected: Vec<_> = received
            .iter()
            .map(|text| vec![text.as_bytes().to_vec()])
            .collect();
        assert_eq!(ends.server.messages(), expected);
        assert_eq!(ends.server.violation.as_deref(), violation);
    }
}

#[test]
fn an_initiate_is_of_no_use_on_another_connection() {
    let mut ends = Ends::new();
    let initiate = ends.stop_before(true, 2);
    // Another connection to the same server, with the same HELLO: its cookie has another key.
    let mut other = Ends::new();
    other.server.reseed(77);
    let hello = other.stop_before(true, 1);
    other.server.take(&hello, other.now);
    other.server.take(&initiate, other.now);
    let text = "the peer's INITIATE was made with another key or changed on its way";
    assert_eq!(other.server.violation.as_deref(), Some(text));
    // Nor is it taken twice on its own.
    ends.server.take(&initiate, ends.now);
    assert!(ends.server.connection.is_up());
    ends.server.take(&initiate, ends.now);
    let text = "the peer sent an unknown command where MESSAGE was due";
    assert_eq!(ends.server.violation.as_deref(), Some(text));
}

#[test]
fn every_command_has_its_time() {
    // What each end says, in its order: greeting, then two commands.
    let said = |of_client| -> Vec<Vec<u8>> {
        (0..3)
            .map(|number| Ends::new().stop_before(of_client, number))
            .collect()
    };
    let (client, server) = (said(true), said(false));
    let commands = [&client[1..], &server[1..]].concat();
    for of_client in [true, false] {
        for number in 1..3 {
            let right = if of_client { &client } else { &server }[number].clone();
            for wrong in commands.iter().filter(|command| **command != right) {
                let mut ends = Ends::new();
                let _ = ends.stop_before(of_client, number);
                let to = if of_client {
                    &mut ends.server
                } else {
                    &mut ends.client
                };
                to.take(wrong, ends.now);
                let violation = to.violation.clone().unwrap_or_default();
                assert!(violation.contains("was due"), "{number}: {violation:?}");
                // After that nothing is taken.
                to.take(&right, ends.now);
                assert!(!to.connection.is_up());
            }
        }
    }
    // In a link that is up, and one frame that is no command in a handshake.
    for command in &commands {
        let mut ends = Ends::up();
        ends.server.take(command, ends.now);
        assert!(ends.server.violation.is_some());
    }
    let mut ends = Ends::new();
    let mut hello = ends.stop_before(true, 1);
    hello[0] &= !4;
    ends.server.take(&hello, ends.now);
    let text = "the peer sent MESSAGE where HELLO was due";
    assert_eq!(ends.server.violation.as_deref(), Some(text));
}

#[test]
fn a_frame_or_message_that_is_too_large_ends_the_connection() {
    let mut ends = Ends::up();
    ends.client.send(&[&vec![0; BOUNDS.frame_bytes]]);
    ends.settle();
    assert!(matches!(ends.server.received[..], [Received::Message(_)]));
    ends.client.send(&[&vec![0; BOUNDS.frame_bytes + 1]]);
    ends.settle();
    let text = "the peer announces a frame of 65570 bytes; at most 65569 are accepted here";
    assert_eq!(ends.server.violation.as_deref(), Some(text));

    let mut ends = Ends::up();
    let part = vec![0; BOUNDS.frame_bytes];
    ends.client.send(&[&part, &part]);
    ends.settle();
    let text = "the peer's message has more than 98304 bytes";
    assert_eq!(ends.server.violation.as_deref(), Some(text));

    // Before the handshake there are 2 KiB.
    let mut ends = Ends::new();
    let _ = ends.stop_before(true, 1);
    ends.server.take(&[6, 0, 0, 0, 0, 0, 0, 8, 1], ends.now);
    let text = "the peer announces a frame of 2049 bytes; at most 2048 are accepted here";
    assert_eq!(ends.server.violation.as_deref(), Some(text));
}

#[test]
fn a_knock_waits_for_its_verdict() {
    let mut ends = Ends::new();
    let mut initiate = ends.stop_before(true, 2);
    initiate.extend(b"more");
    let keys = ends.server.keys.clone();
    let mut surroundings = super::connection::Surroundings {
        role: super::connection::Role::Server(&keys),
        bounds: &BOUNDS,
        heartbeat: &BEATS,
        random: &mut super::random::KernelRandom,
        now: ends.now,
    };
    let mut input = super::input::Input::new(&mut initiate);
    let mut out = Vec::new();
    let connection = &mut ends.server.connection;
    let event = connection
        .next(&mut input, &mut surroundings, &mut out)
        .unwrap();
    let key = ends.client.keys.public;
    let routing_id = b"ROUTING-ID".as_slice().into();
    assert_eq!(event, Some(Event::Knock { key, routing_id }));
    assert_eq!(
        connection
            .next(&mut input, &mut surroundings, &mut out)
            .unwrap(),
        None
    );
    assert_eq!(input.as_slice(), b"more");
    assert!(out.is_empty() && !connection.is_up());
}

#[test]
fn what_a_connection_holds_is_bounded_at_each_byte() {
    let limit = BOUNDS.frame_bytes + BOUNDS.message_bytes + MAX_HELD_BESIDE;
    let mut ends = Ends::new();
    let mut most = 0;
    let mut step = |end: &mut End, bytes: &[u8], piece: usize, now| {
        for piece in bytes.chunks(piece) {
            end.take(piece, now);
            most = most.max(end.connection.held());
            assert!(end.connection.held() <= limit);
        }
    };
    while !ends.client.out.is_empty() || !ends.server.out.is_empty() {
        let bytes = std::mem::take(&mut ends.client.out);
        step(&mut ends.server, &bytes, 1, ends.now);
        let bytes = std::mem::take(&mut ends.server.out);
        step(&mut ends.client, &bytes, 1, ends.now);
    }
    let idle = ends.server.connection.held();
    assert!(idle < 512, "{idle}");
    // All that it may hold: nearly a whole message, and nearly a whole frame.
    let part = vec![0; BOUNDS.message_bytes / 4];
    ends.client.send(&[&part, &part, &part, b"", &part]);
    let bytes = std::mem::take(&mut ends.client.out);
    step(&mut ends.server, &bytes, 999, ends.now);
    assert_eq!(ends.server.connection.held(), idle);
    assert!(most > BOUNDS.message_bytes, "{most}");
}
