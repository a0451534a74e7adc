//! JSON that can be shown on a terminal: what it holds is what it was, and hidden characters in
//! it are escaped as JSON escapes them.

use std::io;

use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter, PrettyFormatter};

use super::text::is_hidden;

/// On one line, without a line end. Empty where the value has no form in JSON.
#[must_use]
pub fn compact(value: &impl Serialize) -> String {
    text(value, CompactFormatter)
}

/// On many lines, for people, without a line end. Empty where the value has no form in JSON.
#[must_use]
pub fn pretty(value: &impl Serialize) -> String {
    text(value, PrettyFormatter::new())
}

fn text(value: &impl Serialize, formatter: impl Formatter) -> String {
    let mut out = Vec::new();
    let mut json = serde_json::Serializer::with_formatter(&mut out, Harmless(formatter));
    if value.serialize(&mut json).is_err() {
        return String::new();
    }
    String::from_utf8(out).unwrap_or_default()
}

/// A form of JSON in which whatever [`is_hidden`] is escaped, also where JSON does not ask for
/// it.
#[derive(Clone, Debug)]
pub struct Harmless<F>(pub F);

impl<F: Formatter> Formatter for Harmless<F> {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut rest = fragment;
        while let Some((at, hidden)) = rest.char_indices().find(|(_, found)| is_hidden(*found)) {
            let (plain, from_hidden) = rest.split_at(at);
            self.0.write_string_fragment(writer, plain)?;
            // RFC 8259, section 7: two of them beyond the basic plane.
            for unit in hidden.encode_utf16(&mut [0; 2]) {
                write!(writer, "\\u{unit:04x}")?;
            }
            rest = from_hidden.get(hidden.len_utf8()..).unwrap_or_default();
        }
        self.0.write_string_fragment(writer, rest)
    }

    fn begin_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_array(writer)
    }

    fn end_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_array(writer)
    }

    fn begin_array_value<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        self.0.begin_array_value(writer, first)
    }

    fn end_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_array_value(writer)
    }

    fn begin_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object(writer)
    }

    fn end_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object(writer)
    }

    fn begin_object_key<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        self.0.begin_object_key(writer, first)
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object_value(writer)
    }

    fn end_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object_value(writer)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::base::text::hostile;

    #[test]
    fn both_forms_are_serde_jsons_own() {
        let value = json!({"a": [1, 2.5, {"b": null}], "c": "ü\"\\\n", "d": {}, "e": []});
        assert_eq!(compact(&value), value.to_string());
        assert_eq!(pretty(&value), format!("{value:#}"));
        assert_eq!(
            compact(&"a\u{7f}\u{202e}\u{e0041}\u{1b}"),
            r#""a\u007f\u202e\udb40\udc41\u001b""#
        );
    }

    proptest! {
        #[test]
        fn it_says_the_same_and_hides_nothing(text in hostile::texts()) {
            let value = json!({ &text: [&text] });
            for json in [compact(&value), pretty(&value)] {
                hostile::assert_harmless(&json);
                prop_assert_eq!(&serde_json::from_str::<Value>(&json).unwrap(), &value);
            }
            prop_assert!(!compact(&value).contains('\n'));
        }
    }
}
