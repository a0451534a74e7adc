//! Lines of the text format 0.0.4.
//!
//! Whatever a peer put into a label comes out as one label of one line: `\`, `"` and line
//! feeds are escaped, and every other character may stand there as it is.

use std::io::Write as _;

use super::naming::{Family, HOST, Series, TEXT, Type};
use super::number::Number;

/// What `Content-Type` says of it.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What a family begins with.
pub(super) fn head(out: &mut Vec<u8>, name: &str, kind: Type, help: &str) {
    let kind = kind.as_str();
    // A vector takes everything, here and below.
    let _ = write!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
}

/// A series of a host. The host's name is escaped already.
pub(super) fn host_series(out: &mut Vec<u8>, host: &str, series: &Series<'_>) {
    begin(out, &series.family, host);
    let text = series.text.map(|text| (TEXT, text));
    for (name, value) in series.instance.into_iter().chain(text) {
        out.push(b',');
        label(out, name, value);
    }
    end(out, series.number);
}

/// A series of a host that has no other label.
pub(super) fn plain_host_series(out: &mut Vec<u8>, family: &Family, host: &str, number: Number) {
    begin(out, family, host);
    end(out, number);
}

/// A series of the collector's own.
pub(super) fn own_series(out: &mut Vec<u8>, name: &str, labels: &[(&str, &str)], number: Number) {
    out.extend_from_slice(name.as_bytes());
    if labels.is_empty() {
        return number_and_line_feed(out, number);
    }
    let mut before = b'{';
    for (name, value) in labels {
        out.push(before);
        label(out, name, value);
        before = b',';
    }
    end(out, number);
}

/// The text as it stands between quotes.
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for part in text.split_inclusive(['\\', '"', '\n']) {
        let (rest, escape) = match part.as_bytes().last() {
            Some(b'\\') => (part.len() - 1, "\\\\"),
            Some(b'"') => (part.len() - 1, "\\\""),
            Some(b'\n') => (part.len() - 1, "\\n"),
            _ => (part.len(), ""),
        };
        escaped.push_str(part.get(..rest).unwrap_or_default());
        escaped.push_str(escape);
    }
    escaped
}

fn begin(out: &mut Vec<u8>, family: &Family, host: &str) {
    for part in [&family.name, "{", HOST, "=\"", host, "\""] {
        out.extend_from_slice(part.as_bytes());
    }
}

fn label(out: &mut Vec<u8>, name: &str, value: &str) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"=\"");
    if value.contains(['\\', '"', '\n']) {
        out.extend_from_slice(escaped(value).as_bytes());
    } else {
        out.extend_from_slice(value.as_bytes());
    }
    out.push(b'"');
}

fn end(out: &mut Vec<u8>, number: Number) {
    out.push(b'}');
    number_and_line_feed(out, number);
}

fn number_and_line_feed(out: &mut Vec<u8>, number: Number) {
    let _ = writeln!(out, " {number}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collector::prometheus::naming::series;
    use crate::protocol::grid::Value;

    #[test]
    fn a_label_cannot_end_its_line() {
        let mut out = Vec::new();
        let name = "fs.readonly[a\"} 1\\]b{]";
        let found = series(name, Value::Unsigned(0)).unwrap();
        host_series(&mut out, &escaped("w\"e\\b\u{e9}"), &found);
        let found = series("host.os", Value::Text("a\n# b\\n\r\u{0}")).unwrap();
        host_series(&mut out, "h", &found);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "metrics_agent_fs_readonly{host=\"w\\\"e\\\\b\u{e9}\",mount=\"a\\\"} 1\\\\]b{\"} 0\n\
             metrics_agent_host_os_info{host=\"h\",value=\"a\\n# b\\\\n\r\u{0}\"} 1\n"
        );
        // Each alone is escaped, too.
        for (text, shown) in [("\n", "\\n"), ("\"", "\\\""), ("\\", "\\\\"), ("\r", "\r")] {
            let mut out = Vec::new();
            host_series(
                &mut out,
                "h",
                &series("host.os", Value::Text(text)).unwrap(),
            );
            let line = format!("metrics_agent_host_os_info{{host=\"h\",value=\"{shown}\"}} 1\n");
            assert_eq!(String::from_utf8(out).unwrap(), line);
        }
        assert_eq!(escaped(""), "");
        assert_eq!(escaped("\n\n"), "\\n\\n");
    }

    #[test]
    fn the_collectors_own_series_have_no_host() {
        let mut out = Vec::new();
        head(&mut out, "x_total", Type::Counter, "What it is");
        own_series(&mut out, "x_total", &[], Number::ONE);
        own_series(&mut out, "x", &[("a", "\"")], Number::ONE);
        own_series(&mut out, "x", &[("a", "1"), ("b", "2")], Number::ONE);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "# HELP x_total What it is\n# TYPE x_total counter\nx_total 1\nx{a=\"\\\"\"} 1\n\
             x{a=\"1\",b=\"2\"} 1\n"
        );
    }
}
