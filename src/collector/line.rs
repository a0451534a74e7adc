//! One message as one line of JSON: what `--print` writes. Pure.
//!
//! ```json
//! {"time":"2025-11-22T17:14:03.123456Z","host":"web1.example.org","kind":"metrics","routing_id":"7Q2M…","metrics":{"cpu.percent":1.5,"mem.free":1000}}
//! ```
//!
//! `time` is when the message was read, in UTC with microseconds; `kind` is `metrics` or
//! `model`; `metrics` is the grid, sorted by name, numbers as the host wrote them, in a
//! model also text. Bytes of a routing id that are not printable ASCII are written `\xNN`.
//! A line holds no hidden characters, whatever a host sent: it can be shown on a terminal.

use serde::{Serialize, Serializer};
use serde_json::ser::CompactFormatter;

use crate::base::json::Harmless;
use crate::curve::router::RoutingIdBytes;
use crate::protocol::grid::Grid;
use crate::protocol::message::GridKind;

/// What a line says.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    /// When the message was read, RFC 3339.
    pub time: &'a str,
    /// Who sent it.
    pub host: &'a str,
    /// What it holds.
    pub kind: GridKind,
    /// The connection.
    pub routing_id: &'a RoutingIdBytes,
    /// The grid.
    pub grid: &'a Grid,
}

impl Line<'_> {
    /// Appends the line, with its end.
    pub fn write(&self, out: &mut Vec<u8>) {
        let object = Object {
            time: self.time,
            host: self.host,
            kind: self.kind.as_str(),
            routing_id: self.routing_id,
            metrics: self.grid,
        };
        let start = out.len();
        let mut json =
            serde_json::Serializer::with_formatter(&mut *out, Harmless(CompactFormatter));
        // A vector takes every write, and an object of strings and numbers has no other
        // way to fail.
        if object.serialize(&mut json).is_ok() {
            out.push(b'\n');
        } else {
            out.truncate(start);
        }
    }
}

#[derive(Serialize)]
struct Object<'a> {
    time: &'a str,
    host: &'a str,
    kind: &'static str,
    #[serde(serialize_with = "shown")]
    routing_id: &'a RoutingIdBytes,
    metrics: &'a Grid,
}

fn shown<S: Serializer>(id: &RoutingIdBytes, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::text::hostile;

    fn line(host: &str, id: &[u8], kind: GridKind, grid: &str) -> String {
        let mut out = b"before\n".to_vec();
        let line = Line {
            time: "2025-11-22T17:14:03.123456Z",
            host,
            kind,
            routing_id: &RoutingIdBytes::from(id),
            grid: &Grid::parse(grid.as_bytes(), kind).unwrap(),
        };
        line.write(&mut out);
        let text = String::from_utf8(out).unwrap();
        text.strip_prefix("before\n").unwrap().to_owned()
    }

    #[test]
    fn a_message_is_a_line() {
        let text = line(
            "web1.example.org",
            b"7Q2M",
            GridKind::Metrics,
            "{\"mem.free\" : 18446744073709551615,\n \"cpu.percent\": 1.5, \"a\": -3}",
        );
        assert_eq!(
            text,
            "{\"time\":\"2025-11-22T17:14:03.123456Z\",\"host\":\"web1.example.org\",\
             \"kind\":\"metrics\",\"routing_id\":\"7Q2M\",\"metrics\":{\"a\":-3,\
             \"cpu.percent\":1.5,\"mem.free\":18446744073709551615}}\n"
        );
    }

    #[test]
    fn nothing_in_it_moves_a_terminal() {
        let grid = r#"{"os": "a\nb\u001b[2Jc\u007f\u0080\u009b2J\"é\u2028", "π": 3}"#;
        let text = line("hôst \"1\"", b"\x00\x1b\"\\", GridKind::Model, grid);
        let (body, end) = text.split_at(text.len() - 1);
        assert_eq!(end, "\n");
        hostile::assert_harmless(body);
        let json: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(json["host"], "hôst \"1\"");
        assert_eq!(json["routing_id"], "\\x00\\x1b\\\"\\\\");
        assert_eq!(json["kind"], "model");
        assert_eq!(
            json["metrics"]["os"],
            "a\nb\u{1b}[2Jc\u{7f}\u{80}\u{9b}2J\"é\u{2028}"
        );
        assert_eq!(json["metrics"]["π"], 3);
    }
}
