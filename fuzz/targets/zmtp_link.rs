//! What a client whose key is known sends in its boxes: flags, commands, messages of any frames.
//!
//! An input is a list of frames, each of them a byte for the outer flags and one for the time that
//! passes and how it is cut, two for the length, and what is sealed.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use metrics_agent::curve::zmtp::message::{MAX_FRAMES, Received};
use metrics_agent_fuzz::zmtp::{BEATS, BOUNDS, carry, client_key, ends};

fuzz_target!(|input: &[u8]| {
    let (mut client, mut server) = ends();
    while !(client.out.is_empty() && server.out.is_empty()) {
        carry(&mut client, &mut server);
        carry(&mut server, &mut client);
    }
    assert!(client.connection.is_up() && server.connection.is_up());
    let key = client_key();

    let (mut rest, mut counter) = (input, 2_u64);
    // What the flags say: frames of the message that has not ended.
    let mut expected: Vec<&[u8]> = Vec::new();
    while let [outer, time, high, low, after @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*high, *low])) % 2048;
        let (text, after) = after.split_at(length.min(after.len()));
        rest = after;

        server.now += Duration::from_millis(u64::from(*time) * 50);
        let mut beats = Vec::new();
        let beat = server.connection.beat(server.now, &BEATS, &mut beats);
        // A PING, at most.
        assert!(beats.len() <= 64);
        if beat.is_err() {
            assert!(!server.connection.is_up());
            return;
        }
        let deadline = server.connection.deadline(&BEATS);
        assert!(deadline.is_some_and(|deadline| deadline > server.now));

        counter += 1 + u64::from(outer >> 4);
        let mut sealed = text.to_vec();
        let tag = key.seal(counter.to_be_bytes(), &mut sealed);
        let body = [b"\x07MESSAGE", &counter.to_be_bytes()[..], &tag, &sealed].concat();
        let mut frame = match u8::try_from(body.len()) {
            // The outer flags say nothing, but for the one of long frames.
            Ok(length) if outer & 2 == 0 => vec![outer & 5, length],
            _ => {
                let mut header = vec![outer & 7 | 2];
                header.extend((body.len() as u64).to_be_bytes());
                header
            }
        };
        frame.extend(body);
        let cut = if outer & 8 == 0 { 0 } else { *time };
        let received = server.take_in_pieces(&frame, cut);

        let Some((flags, payload)) = text.split_first() else {
            assert!(server.over);
            return;
        };
        if payload.len() > BOUNDS.frame_bytes {
            assert!(server.over);
            return;
        }
        if server.over {
            let ping = payload.strip_prefix(b"\x04PING");
            let is_short_ping = flags & 2 != 0 && ping.is_some_and(|ping| ping.len() < 2);
            let bytes = expected.iter().map(|frame| frame.len()).sum::<usize>() + payload.len();
            assert!(is_short_ping || bytes > BOUNDS.message_bytes || expected.len() > 10_000);
            return;
        }
        if flags & 2 != 0 {
            assert!(received.is_empty());
            if let Some(ping) = payload.strip_prefix(b"\x04PING") {
                // Its answer is as long as its context.
                assert_eq!(server.out.len(), 2 + 33 + 5 + (ping.len() - 2).min(16));
            }
            server.out.clear();
            continue;
        }
        expected.push(payload);
        if flags & 1 != 0 {
            assert!(received.is_empty());
            continue;
        }
        match &received[..] {
            [Received::Message(message)] => assert_eq!(message.as_slices(), expected),
            [Received::TooManyFrames { found }] => {
                assert_eq!(*found as usize, expected.len());
                assert!(expected.len() > MAX_FRAMES);
            }
            other => panic!("{other:?}"),
        }
        expected.clear();
    }
});
