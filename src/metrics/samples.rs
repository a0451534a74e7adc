//! Values by name, in order, ready for the wire.
//!
//! [`Samples`] is filled, encoded, cleared and filled again for the life of the daemon: names come
//! from the table, instances and texts are stored one after the other in one buffer that keeps its
//! capacity, so that a steady state allocates nothing. It never holds a number that JSON has no
//! form for, a name that a collector of the protocol would refuse, or more than a message may have;
//! what does not fit is counted.

use std::fmt;

use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::base::text::push_shown;
use crate::metrics::Definition;

/// Most bytes of a name with its instance: what collectors take. Units have the longest
/// instances, of at most 255 bytes (systemd.unit(5)), so this cuts next to none.
pub const MAX_NAME_BYTES: usize = 256;

/// Most bytes of a text: a path (`PATH_MAX`) fits; collectors take no more.
pub const MAX_TEXT_BYTES: usize = 4096;

/// Most values of one grid: collectors take no more.
pub const MAX_VALUES: usize = 10_000;

/// Most bytes of one grid: collectors take 1 MiB of a message, and the estimate of a
/// value's size is a rough one.
pub const MAX_BYTES: usize = 768 * 1024;

/// What a value costs on the wire besides its name and text: quotes, colon, comma and up
/// to 20 digits.
const VALUE_BYTES: usize = 24;

/// A value of a metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// A count or a size.
    Unsigned(u64),
    /// A finite number.
    Float(f64),
    /// A fact of the inventory; only in the model.
    Text(&'a str),
}

impl Serialize for Value<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Unsigned(value) => serializer.serialize_u64(*value),
            Self::Float(value) => serializer.serialize_f64(*value),
            Self::Text(value) => serializer.serialize_str(value),
        }
    }
}

/// The name of a value: that of its metric, and the instance in brackets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Name<'a> {
    /// What the metric means.
    pub definition: &'static Definition,
    /// Of which device, mount, unit, ...
    pub instance: Option<&'a str>,
}

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.definition.name)?;
        match self.instance {
            Some(instance) => write!(f, "[{instance}]"),
            None => Ok(()),
        }
    }
}

impl PartialEq<str> for Name<'_> {
    fn eq(&self, text: &str) -> bool {
        let rest = text.strip_prefix(self.definition.name);
        match self.instance {
            Some(instance) => {
                rest.and_then(|rest| rest.strip_prefix('[')?.strip_suffix(']')) == Some(instance)
            }
            None => rest == Some(""),
        }
    }
}

impl Serialize for Name<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.instance {
            Some(_) => serializer.collect_str(self),
            None => serializer.serialize_str(self.definition.name),
        }
    }
}

/// A part of [`Samples::text`], in bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Span {
    start: usize,
    end: usize,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Stored {
    Unsigned(u64),
    Float(f64),
    Text(Span),
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Entry {
    definition: &'static Definition,
    instance: Option<Span>,
    value: Stored,
}

/// An ordered, reusable list of named values; serialises as a map.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Samples {
    /// Instances and texts.
    text: String,
    entries: Vec<Entry>,
    /// About what the values take on the wire.
    bytes: usize,
    /// How many values there was no room for.
    cut: u64,
}

impl Samples {
    /// An empty list.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets the values and keeps the room.
    pub fn clear(&mut self) {
        self.text.clear();
        self.entries.clear();
        self.bytes = 0;
        self.cut = 0;
    }

    /// Appends a count or a size.
    pub fn push_unsigned(
        &mut self,
        definition: &'static Definition,
        instance: Option<&str>,
        value: u64,
    ) {
        self.push(definition, instance, Stored::Unsigned(value));
    }

    /// Appends a number, unless it is not finite: that is no value, and JSON has no form
    /// for it.
    pub fn push_float(
        &mut self,
        definition: &'static Definition,
        instance: Option<&str>,
        value: f64,
    ) {
        if value.is_finite() {
            self.push(definition, instance, Stored::Float(value));
        }
    }

    /// Appends a fact of the inventory.
    pub fn push_text(
        &mut self,
        definition: &'static Definition,
        instance: Option<&str>,
        value: &str,
    ) {
        if value.len() > MAX_TEXT_BYTES || self.bytes + value.len() > MAX_BYTES {
            self.cut += 1;
            return;
        }
        let start = self.text.len();
        self.text.push_str(value);
        let span = Span {
            start,
            end: self.text.len(),
        };
        self.push(definition, instance, Stored::Text(span));
        self.bytes += value.len();
    }

    fn push(&mut self, definition: &'static Definition, instance: Option<&str>, value: Stored) {
        let start = self.text.len();
        if let Some(instance) = instance {
            // That of a hostile device or mount may have anything in it.
            push_shown(&mut self.text, instance);
        }
        let end = self.text.len();
        // The brackets count only where there is an instance.
        let name = definition.name.len() + instance.map_or(0, |_| end - start + 2);
        let bytes = self.bytes + name + VALUE_BYTES;
        if name > MAX_NAME_BYTES || self.entries.len() >= MAX_VALUES || bytes > MAX_BYTES {
            self.text.truncate(start);
            self.cut += 1;
            return;
        }
        self.bytes = bytes;
        self.entries.push(Entry {
            definition,
            instance: instance.map(|_| Span { start, end }),
            value,
        });
    }

    /// Counts values that their collector left out, as there were too many.
    pub fn add_cut(&mut self, values: u64) {
        self.cut += values;
    }

    /// How many values were left out since the list was last cleared, as there were too
    /// many or their names were too long.
    #[must_use]
    pub fn cut(&self) -> u64 {
        self.cut
    }

    /// The values in the order in which they were appended.
    #[must_use]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (Name<'_>, Value<'_>)> {
        self.entries.iter().map(|entry| {
            let name = Name {
                definition: entry.definition,
                instance: entry.instance.map(|span| self.slice(span)),
            };
            let value = match entry.value {
                Stored::Unsigned(value) => Value::Unsigned(value),
                Stored::Float(value) => Value::Float(value),
                Stored::Text(span) => Value::Text(self.slice(span)),
            };
            (name, value)
        })
    }

    fn slice(&self, span: Span) -> &str {
        self.text.get(span.start..span.end).unwrap_or_default()
    }

    /// How many values there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns true if there is no value.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The value under a name, the instance in brackets.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Value<'_>> {
        self.iter()
            .find_map(|(candidate, value)| (candidate == *name).then_some(value))
    }
}

impl Serialize for Samples {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.entries.len()))?;
        for (name, value) in self.iter() {
            map.serialize_entry(&name, &value)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::table::{DISK_READS, FS_AVAIL, HOST_OS, MEM_FREE, SYS_UPTIME};
    use crate::protocol::grid;

    #[test]
    fn serialises_as_a_flat_map_in_order() {
        let mut samples = Samples::new();
        samples.push_float(&SYS_UPTIME, None, 12345.67);
        samples.push_unsigned(&MEM_FREE, None, u64::MAX);
        samples.push_text(&HOST_OS, None, "Debian \"12\"");
        samples.push_unsigned(&DISK_READS, Some("nvme0n1"), 3);
        samples.push_float(&FS_AVAIL, Some("/a \"b\""), 3.0);
        assert_eq!(
            serde_json::to_string(&samples).unwrap(),
            r#"{"sys.uptime":12345.67,"mem.free":18446744073709551615,"host.os":"Debian \"12\"","disk.reads.total[nvme0n1]":3,"fs.avail[/a \"b\"]":3.0}"#
        );
        assert_eq!(
            samples.get("disk.reads.total[nvme0n1]"),
            Some(Value::Unsigned(3))
        );
        assert_eq!(samples.get("disk.reads.total"), None);
        assert_eq!(samples.get("mem.free[x]"), None);
    }

    #[test]
    fn what_is_not_finite_is_left_out() {
        let mut samples = Samples::new();
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            samples.push_float(&SYS_UPTIME, None, value);
        }
        assert!(samples.is_empty());
        assert_eq!(serde_json::to_string(&samples).unwrap(), "{}");
    }

    #[test]
    fn clearing_keeps_the_room() {
        let mut samples = Samples::new();
        for _ in 0..20 {
            samples.push_unsigned(&DISK_READS, Some("sda"), 1);
        }
        let room = (samples.entries.capacity(), samples.text.capacity());
        samples.clear();
        assert_eq!((samples.len(), samples.bytes, samples.cut()), (0, 0, 0));
        samples.push_unsigned(&MEM_FREE, None, 2);
        assert_eq!((samples.entries.capacity(), samples.text.capacity()), room);
        assert_eq!(samples.get("mem.free"), Some(Value::Unsigned(2)));
    }

    #[test]
    fn names_that_would_be_refused_never_leave() {
        let mut samples = Samples::new();
        samples.push_unsigned(&FS_AVAIL, Some("/a\nb\u{9b}"), 1);
        assert_eq!(
            samples.iter().next().unwrap().0.to_string(),
            "fs.avail[/a\\nb\\u{9b}]"
        );
        let longest = "x".repeat(MAX_NAME_BYTES - "fs.avail[]".len());
        samples.push_unsigned(&FS_AVAIL, Some(&longest), 1);
        assert_eq!((samples.len(), samples.cut()), (2, 0));
        samples.push_unsigned(&FS_AVAIL, Some(&format!("{longest}x")), 1);
        assert_eq!((samples.len(), samples.cut()), (2, 1));
    }

    /// However much there is, what leaves is what a collector takes.
    #[test]
    fn a_grid_is_bounded() {
        let mut samples = Samples::new();
        for number in 0..MAX_VALUES + 5 {
            samples.push_unsigned(&DISK_READS, Some(&number.to_string()), u64::MAX);
        }
        assert_eq!((samples.len(), samples.cut()), (MAX_VALUES, 5));
        samples.clear();
        let text = "\u{7f}x".repeat(MAX_TEXT_BYTES / 2);
        for number in 0..1000 {
            samples.push_text(&HOST_OS, Some(&number.to_string()), &text);
        }
        assert!(samples.cut() > 0);
        samples.push_text(&HOST_OS, None, &"x".repeat(MAX_TEXT_BYTES + 1));
        assert_eq!(samples.get("host.os"), None);
        let json = serde_json::to_vec(&samples).unwrap();
        assert!(grid::Grid::parse(&json, crate::protocol::message::GridKind::Model).is_ok());
        assert_eq!(
            (MAX_NAME_BYTES, MAX_TEXT_BYTES, MAX_VALUES),
            (
                grid::MAX_NAME_BYTES,
                grid::MAX_TEXT_BYTES,
                grid::MAX_METRICS
            )
        );
    }
}
