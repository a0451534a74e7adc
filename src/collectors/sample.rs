//! Values by name, in order, ready for the wire.
//!
//! [`Samples`] is filled, encoded, cleared and filled again for the life of the daemon:
//! its capacity stays, and names are static where no instance is part of them, so that
//! a steady state allocates nothing. It never holds a number that JSON has no form for.

use std::borrow::Cow;

use serde::ser::{Serialize, SerializeMap, Serializer};

/// A value of a metric.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A count or a size.
    Unsigned(u64),
    /// An integer that can be negative.
    Signed(i64),
    /// A finite number.
    Float(f64),
    /// A fact of the inventory; only in the model.
    Text(String),
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Unsigned(value) => serializer.serialize_u64(*value),
            Self::Signed(value) => serializer.serialize_i64(*value),
            Self::Float(value) => serializer.serialize_f64(*value),
            Self::Text(value) => serializer.serialize_str(value),
        }
    }
}

/// An ordered, reusable list of named values; serialises as a map.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Samples {
    entries: Vec<(Cow<'static, str>, Value)>,
}

impl Samples {
    /// An empty list.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets the values and keeps the room.
    pub fn clear(&mut self) {
        self.entries.clear();
    }

    /// Appends a count or a size.
    pub fn push_unsigned(&mut self, name: impl Into<Cow<'static, str>>, value: u64) {
        self.entries.push((name.into(), Value::Unsigned(value)));
    }

    /// Appends an integer that can be negative.
    pub fn push_signed(&mut self, name: impl Into<Cow<'static, str>>, value: i64) {
        self.entries.push((name.into(), Value::Signed(value)));
    }

    /// Appends a number, unless it is not finite: that is no value, and JSON has no form
    /// for it.
    pub fn push_float(&mut self, name: impl Into<Cow<'static, str>>, value: f64) {
        if value.is_finite() {
            self.entries.push((name.into(), Value::Float(value)));
        }
    }

    /// Appends a fact of the inventory.
    pub fn push_text(&mut self, name: impl Into<Cow<'static, str>>, value: impl Into<String>) {
        self.entries.push((name.into(), Value::Text(value.into())));
    }

    /// The values in the order in which they were appended.
    #[must_use]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Value)> {
        self.entries
            .iter()
            .map(|(name, value)| (name.as_ref(), value))
    }

    /// How many values there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no value.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The value under a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.iter()
            .find_map(|(candidate, value)| (candidate == name).then_some(value))
    }
}

impl Serialize for Samples {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.entries.len()))?;
        for (name, value) in &self.entries {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serialises_as_a_flat_map_in_order() {
        let mut samples = Samples::new();
        samples.push_float("sys.uptime", 12345.67);
        samples.push_unsigned("mem.free", u64::MAX);
        samples.push_signed("temperature", -4);
        samples.push_text(String::from("os.name"), "Debian \"12\"");
        samples.push_float("whole", 3.0);
        assert_eq!(
            serde_json::to_string(&samples).unwrap(),
            r#"{"sys.uptime":12345.67,"mem.free":18446744073709551615,"temperature":-4,"os.name":"Debian \"12\"","whole":3.0}"#
        );
    }

    #[test]
    fn what_is_not_finite_is_left_out() {
        let mut samples = Samples::new();
        samples.push_float("a", f64::NAN);
        samples.push_float("b", f64::INFINITY);
        samples.push_float("c", f64::NEG_INFINITY);
        assert!(samples.is_empty());
        assert_eq!(serde_json::to_string(&samples).unwrap(), "{}");
    }

    #[test]
    fn clearing_keeps_the_room() {
        let mut samples = Samples::new();
        for _ in 0..20 {
            samples.push_unsigned("x", 1);
        }
        let room = samples.entries.capacity();
        samples.clear();
        assert_eq!((samples.len(), samples.get("x")), (0, None));
        assert_eq!(samples.entries.capacity(), room);
        samples.push_unsigned("y", 2);
        assert_eq!(samples.get("y"), Some(&Value::Unsigned(2)));
        assert_eq!(samples.get("x"), None);
    }
}
