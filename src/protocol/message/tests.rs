use std::collections::BTreeMap;

use proptest::prelude::*;
use serde::Serialize;
use serde_json::json;

use super::*;

fn bytes(frames: &[&[u8]]) -> Vec<Vec<u8>> {
    frames.iter().map(|frame| frame.to_vec()).collect()
}

/// The examples of the protocol, byte for byte.
fn examples() -> Vec<(Message<'static>, Vec<&'static [u8]>)> {
    vec![
        (Message::Control(Control::Hello), vec![b"CTRL", b"hello"]),
        (Message::Control(Control::Model), vec![b"CTRL", b"model"]),
        (Message::Control(Control::Ping), vec![b"CTRL", b"ping"]),
        (
            Message::Grid {
                host: "web1.example.org",
                grid: br#"{"sys.uptime":5.5,"mem.total":1024}"#,
                kind: GridKind::Model,
            },
            vec![
                b"METR",
                b"web1.example.org",
                br#"{"sys.uptime":5.5,"mem.total":1024}"#,
                b"model",
            ],
        ),
        (
            Message::Grid {
                host: "höst",
                grid: b"{}",
                kind: GridKind::Metrics,
            },
            vec![b"METR", b"h\xc3\xb6st", b"{}", b"metrics"],
        ),
        (
            Message::Data {
                host: "web1",
                body: b"\x09",
            },
            vec![b"DATA", b"web1", b"\x09"],
        ),
        (
            Message::State {
                host: "web1",
                grid: b"{}",
            },
            vec![b"METR", b"web1", b"{}", b"state"],
        ),
    ]
}

#[test]
fn messages_become_exactly_these_frames_and_back() {
    for (message, frames) in examples() {
        assert_eq!(&*message.frames(), &frames[..]);
        assert_eq!(decode(&frames), Ok(message));
    }
}

#[test]
fn each_side_understands_only_what_the_other_sends() {
    use Control::{Hello, Model, Ping};
    let frames = |control| Message::Control(control).frames();
    assert_eq!(
        decode_from_collector(&frames(Model)),
        Ok(FromCollector::Control(Model))
    );
    assert_eq!(
        decode_from_collector(&frames(Ping)),
        Ok(FromCollector::Control(Ping))
    );
    assert_eq!(
        decode_from_collector(&frames(Hello)),
        Err(Malformed::Direction("hello"))
    );
    assert_eq!(
        decode_from_agent(&frames(Hello)),
        Ok(Message::Control(Hello))
    );
    assert_eq!(
        decode_from_agent(&frames(Model)),
        Err(Malformed::Direction("model"))
    );
    assert_eq!(
        decode_from_agent(&frames(Ping)),
        Err(Malformed::Direction("ping"))
    );

    let grid = Message::Grid {
        host: "a",
        grid: b"{}",
        kind: GridKind::Metrics,
    };
    assert_eq!(decode_from_agent(&grid.frames()), Ok(grid));
    assert_eq!(
        decode_from_collector(&grid.frames()),
        Err(Malformed::Direction("METR"))
    );

    let state = Message::State {
        host: "a",
        grid: b"{}",
    };
    assert_eq!(decode_for_viewer(&state.frames()), Ok(state));
    // An agent that sends it hears what it would of any kind that there is not.
    let refused = decode_from_agent(&state.frames()).unwrap_err();
    assert_eq!(refused.to_string(), "an unknown kind of grid \"state\"");
    let wrong = Malformed::Direction("METR");
    assert_eq!(decode_from_collector(&state.frames()), Err(wrong));
    assert_eq!(decode_from_viewer(&state.frames()), Err(wrong));
}

#[test]
fn what_is_not_exactly_a_message_is_refused_with_a_text_that_says_why() {
    let long = [b'h'; 256];
    let huge = vec![b' '; MAX_GRID_BYTES + 1];
    let cases: &[(&[&[u8]], &str)] = &[
        (&[], "a message without frames"),
        (&[b""], "an unknown tag \"\""),
        (&[b"ctrl", b"hello"], "an unknown tag \"ctrl\""),
        (&[b"CTRL"], "a CTRL message of 1 frames instead of 2"),
        (
            &[b"CTRL", b"ping", b""],
            "a CTRL message of 3 frames instead of 2",
        ),
        (&[b"CTRL", b"Ping"], "an unknown control word \"Ping\""),
        (&[b"CTRL", b""], "an unknown control word \"\""),
        (
            &[b"CTRL", b"ping\0"],
            "an unknown control word \"ping\\x00\"",
        ),
        (
            &[b"CTRL", b"\xff"],
            "a control word that is not UTF-8: \"\\xff\"",
        ),
        (
            &[b"METR", b"h", b"{}"],
            "a METR message of 3 frames instead of 4",
        ),
        (&[b"METR", b"", b"{}", b"model"], "an empty host name"),
        (
            &[b"METR", &long, b"{}", b"model"],
            "a host name of 256 bytes; at most 255 are allowed",
        ),
        (
            &[b"METR", b"a\x1b[2J", b"{}", b"model"],
            "a host name with control characters: \"a\\x1b[2J\"",
        ),
        (
            &[b"METR", b"\xc3", b"{}", b"model"],
            "a host name that is not UTF-8: \"\\xc3\"",
        ),
        (
            &[b"METR", b"h", b"{}", b"Model"],
            "an unknown kind of grid \"Model\"",
        ),
        (
            &[b"METR", b"h", b"{}", b"\x80"],
            "a kind of grid that is not UTF-8: \"\\x80\"",
        ),
        (
            &[b"METR", b"h", &huge, b"model"],
            "a grid of 1048577 bytes; at most 1048576 are allowed",
        ),
    ];
    for (frames, text) in cases {
        assert_eq!(decode(frames).unwrap_err().to_string(), *text);
    }
}

#[test]
fn the_bounds_themselves_are_allowed() {
    let host = [b'h'; MAX_HOST_BYTES];
    let grid = vec![b' '; MAX_GRID_BYTES];
    assert!(decode(&[b"METR", &host[..], &grid, b"model"]).is_ok());
}

#[test]
fn an_excerpt_is_short_and_printable_whatever_the_peer_sends() {
    let text = |bytes: &[u8]| Excerpt::new(bytes).to_string();
    assert_eq!(text(b"a\"b\\c\n"), "a\\\"b\\\\c\\n");
    assert_eq!(text(&[b'x'; 32]), "x".repeat(32));
    assert_eq!(text(&[b'x'; 33]), format!("{}…", "x".repeat(32)));
}

#[test]
fn a_grid_is_written_as_compact_json_into_the_same_memory() {
    let mut out = Vec::with_capacity(64);
    let memory = out.as_ptr();
    let grid = BTreeMap::from([("mem.total", 1024.0), ("sys.uptime", 5.5)]);
    encode_grid(&grid, &mut out).unwrap();
    assert_eq!(out, br#"{"mem.total":1024.0,"sys.uptime":5.5}"#);

    encode_grid(&json!({"b": u64::MAX, "a": -1, "c": "é\n"}), &mut out).unwrap();
    assert_eq!(
        str::from_utf8(&out).unwrap(),
        r#"{"a":-1,"b":18446744073709551615,"c":"é\n"}"#
    );
    encode_grid(&json!({}), &mut out).unwrap();
    assert_eq!(out, b"{}");
    assert_eq!(out.as_ptr(), memory);
}

#[test]
fn what_no_grid_can_hold_is_an_error_and_leaves_nothing_behind() {
    fn refused(grid: &impl Serialize) -> EncodeError {
        let mut out = b"before".to_vec();
        let error = encode_grid(grid, &mut out).unwrap_err();
        assert!(out.is_empty());
        error
    }
    for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let grid = BTreeMap::from([("a", 1.0), ("b", number)]);
        assert!(matches!(refused(&grid), EncodeError::NotFinite));
    }
    for grid in [
        json!({"a": {"b": 1}}),
        json!({"a": [1]}),
        json!({"a": true}),
        json!([1]),
        json!("a"),
        json!(1),
    ] {
        assert!(matches!(refused(&grid), EncodeError::NotFlat), "{grid}");
    }
    let large = BTreeMap::from([("a", "x".repeat(MAX_GRID_BYTES))]);
    assert!(matches!(
        refused(&large),
        EncodeError::TooLarge { bytes: 1_048_584 }
    ));
}

/// Frames that are often nearly right.
fn frame() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::sample::select(vec![
            "CTRL", "METR", "hello", "model", "ping", "metrics", "{}", "host", ""
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
        prop::collection::vec(any::<u8>(), 0..300),
    ]
}

fn control() -> impl Strategy<Value = Control> {
    prop::sample::select(vec![Control::Hello, Control::Model, Control::Ping])
}

proptest! {
    #[test]
    fn any_frames_are_read_or_refused_in_a_short_printable_line(
        frames in prop::collection::vec(frame(), 0..6)
    ) {
        match decode(&frames) {
            Ok(message) => prop_assert_eq!(bytes(&message.frames()), frames),
            Err(error) => {
                let text = error.to_string();
                prop_assert!(text.len() < 250, "{}", text);
                prop_assert!(!text.chars().any(char::is_control), "{}", text);
            }
        }
    }

    #[test]
    fn every_grid_message_round_trips(
        host in "[^\\p{Cc}]{1,60}",
        grid in prop::collection::vec(any::<u8>(), 0..300),
        model in any::<bool>(),
    ) {
        let kind = if model { GridKind::Model } else { GridKind::Metrics };
        let message = Message::Grid { host: &host, grid: &grid, kind };
        let frames = bytes(&message.frames());
        prop_assert_eq!(decode(&frames), Ok(message));
        prop_assert_eq!(decode_from_agent(&frames), Ok(message));
    }

    #[test]
    fn every_control_message_round_trips(control in control()) {
        let message = Message::Control(control);
        let frames = bytes(&message.frames());
        prop_assert_eq!(decode(&frames), Ok(message));
    }
}
