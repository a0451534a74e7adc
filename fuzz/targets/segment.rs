//! A segment of the agent's history, whatever is in the file: as the bytes of one, and as the body of a
//! frame whose checksums are right, with something else behind it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use metrics_agent::agent::history::scan::Scan;
use metrics_agent::agent::history::segment::{Frame, Frames, Header};

fuzz_target!(|input: &[u8]| {
    if let Some(header) = Header::read(input) {
        let mut again = Vec::new();
        header.write(&mut again);
        assert!(input.starts_with(&again));
    }
    let end = Scan::new(input).finish().expect("memory can be read");
    assert!(end.damaged <= input.len() as u64);
    let Some(frame) = Frame::read(input) else {
        return;
    };
    let mut bytes = Vec::new();
    frame.write(&mut bytes);
    frame.write(&mut bytes);
    let whole = bytes.len();
    bytes.extend_from_slice(input);
    let mut frames = Frames::new(&*bytes);
    for _ in 0..if whole > 0 { 2 } else { 0 } {
        let read = frames.next_frame().expect("memory can be read");
        assert!(read.as_ref() == Some(&frame));
    }
    let alone = bytes.get(..whole).unwrap_or_default();
    let end = Scan::new(alone).finish().expect("memory can be read");
    assert_eq!(end.damaged, 0);
    // With more behind it, the rest counts as damaged or says something of its own.
    let _ = Scan::new(&*bytes).finish().expect("memory can be read");
});
