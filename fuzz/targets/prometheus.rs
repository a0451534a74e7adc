//! What hosts report as Prometheus scrapes it: lines that no name can break out of, and no
//! series twice.
#![no_main]

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use libfuzzer_sys::fuzz_target;
use metrics_agent::collector::hosts::{Hosts, Peer, Report, Timing, Trust};
use metrics_agent::collector::prometheus::exposition::Exposition;
use metrics_agent::curve::router::RoutingIdBytes;
use metrics_agent::protocol::grid::Grid;
use metrics_agent::protocol::message::{Message, decode_from_agent};
use metrics_agent_fuzz::frames;

const TIMING: Timing = Timing {
    ping_interval: Duration::from_secs(5),
    host_timeout: Duration::from_secs(30),
    forget_after: Duration::from_secs(300),
};

// Messages of four frames, one behind the other.
fuzz_target!(|input: &[u8]| {
    let now = Instant::now();
    let mut hosts = Hosts::new(TIMING);
    for message in frames(input).chunks(4) {
        let Ok(Message::Grid { host, grid, kind }) = decode_from_agent(message) else {
            continue;
        };
        let Ok(parsed) = Grid::parse(grid, kind) else {
            continue;
        };
        let report = Report {
            host,
            kind,
            grids: vec![Arc::new(parsed.into())],
            wire_bytes: grid.len(),
        };
        let peer = Peer {
            routing_id: &RoutingIdBytes::from(&b"A"[..]),
            key: None,
            address: None,
            trust: Trust::New,
        };
        let _ = hosts.ingest(now, peer, report);
    }
    let snapshot = hosts.snapshot(now, SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000));
    let mut exposition = Exposition::begin(snapshot, Vec::new());
    let mut text = Vec::new();
    loop {
        // Whatever is there counts as a part of the piece.
        let mut piece = Vec::new();
        let last = exposition.fill(&mut piece);
        text.append(&mut piece);
        if last {
            break;
        }
    }
    let text = str::from_utf8(&text).expect("it is UTF-8");
    assert!(text.ends_with('\n'));
    let mut series = HashSet::new();
    let mut families = HashSet::new();
    let mut family = "";
    // Not `lines`, which takes a carriage return for a part of the end.
    for line in text.trim_end_matches('\n').split('\n') {
        if let Some(head) = line.strip_prefix("# TYPE ") {
            family = head.split(' ').next().unwrap_or_default();
            assert!(families.insert(family), "{family} comes twice");
        } else if !line.starts_with("# ") {
            let name = name_and_labels(line);
            assert!(series.insert(name), "{name} comes twice");
            assert!(name.starts_with(family), "{name} is none of {family}");
        }
    }
});

/// A series' name with its labels, which must be as the text format has them.
fn name_and_labels(line: &str) -> &str {
    let bad = || -> ! { panic!("no series: {line:?}") };
    let legal = |name: &str| {
        !name.is_empty()
            && !name.starts_with(|char: char| char.is_ascii_digit())
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    let (name, mut rest) = line.split_at(line.find(['{', ' ']).unwrap_or_else(|| bad()));
    if !legal(name) {
        bad();
    }
    if let Some(labels) = rest.strip_prefix('{') {
        rest = labels;
        loop {
            let (label, value) = rest.split_once("=\"").unwrap_or_else(|| bad());
            if !legal(label) {
                bad();
            }
            rest = after_quote(value).unwrap_or_else(|| bad());
            if let Some(more) = rest.strip_prefix(',') {
                rest = more;
            } else {
                rest = rest.strip_prefix('}').unwrap_or_else(|| bad());
                break;
            }
        }
    }
    let value = rest.strip_prefix(' ').unwrap_or_else(|| bad());
    if value.contains(' ') || value.parse::<f64>().is_err() {
        bad();
    }
    line.strip_suffix(value).unwrap_or_else(|| bad())
}

/// What stands behind the quote that ends a label's value.
fn after_quote(value: &str) -> Option<&str> {
    let mut escaped = false;
    for (at, char) in value.char_indices() {
        match char {
            'n' | '\\' | '"' if escaped => escaped = false,
            _ if escaped => return None,
            '\\' => escaped = true,
            '"' => return value.get(at + 1..),
            _ => {}
        }
    }
    None
}
