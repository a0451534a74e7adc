//! D-Bus values as JSON, and JSON as text.

use std::borrow::Borrow;

use serde_json::Value;
use zbus::Variant;

use super::arguments::Json;
use crate::base::{json, locale};
use crate::ctl::proxy::Values;

/// Prints JSON in a form.
pub(super) struct Printer(pub(super) Json);

impl Printer {
    /// The value and a line end.
    pub(super) fn line(&self, value: &Value) -> String {
        let text = match self.0 {
            // Off is not asked for here: see Arguments::json.
            Json::Short | Json::Off => json::compact(value) + "\n",
            Json::Pretty => json::pretty(value) + "\n",
        };
        locale::shown_json(&text).into_owned()
    }
}

/// Named values as an object, names in order.
pub(super) fn object(values: &Values) -> Value {
    let members = values
        .iter()
        .map(|(name, value)| (name.clone(), of((**value).borrow())));
    Value::Object(members.collect())
}

/// One value. What JSON has no form for is null: a number that is not finite, a file
/// descriptor.
fn of(value: &Variant<'_>) -> Value {
    match value {
        Variant::Bool(value) => (*value).into(),
        Variant::U8(value) => (*value).into(),
        Variant::I16(value) => (*value).into(),
        Variant::U16(value) => (*value).into(),
        Variant::I32(value) => (*value).into(),
        Variant::U32(value) => (*value).into(),
        Variant::I64(value) => (*value).into(),
        Variant::U64(value) => (*value).into(),
        Variant::F64(value) => (*value).into(),
        Variant::Str(value) => value.as_str().into(),
        Variant::ObjectPath(value) => value.as_str().into(),
        Variant::Signature(value) => value.to_string().into(),
        Variant::Variant(value) => of(value),
        Variant::Array(values) => values.iter().map(of).collect(),
        Variant::Structure(values) => values.fields().iter().map(of).collect(),
        Variant::Dict(entries) => {
            let name = |key: &Variant<'_>| match of(key) {
                Value::String(name) => name,
                other => other.to_string(),
            };
            let members = entries.iter().map(|(key, value)| (name(key), of(value)));
            Value::Object(members.collect())
        }
        Variant::Fd(_) => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zbus::OwnedVariant;

    #[test]
    fn every_type_of_the_interface_has_its_form() {
        let mut values = Values::new();
        let mut put = |name: &str, value: Variant<'static>| {
            let value = OwnedVariant::try_from(value).unwrap();
            values.insert(name.to_owned(), value);
        };
        put("t", Variant::U64(u64::MAX));
        put("x", Variant::I64(-1));
        put("d", Variant::F64(1.5));
        put("nan", Variant::F64(f64::NAN));
        put("s", Variant::from("\"text\""));
        put("b", Variant::Bool(true));
        put("as", Variant::from(vec!["a", "b"]));
        assert_eq!(
            Printer(Json::Short).line(&object(&values)),
            concat!(
                r#"{"as":["a","b"],"b":true,"d":1.5,"nan":null,"s":"\"text\"","#,
                r#""t":18446744073709551615,"x":-1}"#,
                "\n"
            )
        );
    }
}
