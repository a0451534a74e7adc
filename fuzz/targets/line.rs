//! A message as `--print` writes it: a line that no host can break out of.
#![no_main]

use libfuzzer_sys::fuzz_target;
use metrics_agent::collector::line::Line;
use metrics_agent::curve::router::RoutingIdBytes;
use metrics_agent::protocol::grid::Grid;
use metrics_agent::protocol::message::{GridKind, Message, decode_from_agent};
use metrics_agent_fuzz::frames;

// The first frame is the routing id, as a ROUTER has it.
fuzz_target!(|input: &[u8]| {
    let frames = frames(input);
    let [routing_id, message @ ..] = &*frames else {
        return;
    };
    let Ok(Message::Grid { host, grid, kind }) = decode_from_agent(message) else {
        return;
    };
    let Ok(grid) = Grid::parse(grid, kind) else {
        return;
    };
    let mut out = Vec::new();
    let line = Line {
        time: "2025-11-22T17:14:03.123456Z",
        host,
        kind,
        routing_id: &RoutingIdBytes::from(*routing_id),
        grid: &grid,
    };
    line.write(&mut out);
    let text = str::from_utf8(&out).expect("a line is UTF-8");
    let text = text.strip_suffix('\n').expect("a line ends");
    assert!(!text.chars().any(char::is_control), "{text:?}");
    let object: serde_json::Value = serde_json::from_str(text).expect("a line is JSON");
    assert_eq!(object["host"], host);
    assert_eq!(object["kind"], kind.as_str());
    let metrics = serde_json::to_vec(&object["metrics"]).expect("JSON is written");
    if let Ok(metrics) = Grid::parse(&metrics, GridKind::Model) {
        assert_eq!(metrics, grid);
    } else {
        // Longer than it came, as floats can be.
        assert!(metrics.len() > input.len());
    }
});
