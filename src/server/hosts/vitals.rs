//! What some viewing clients want in every model: deployed ones fail on a model without, and
//! then show nothing until their next hello. Models of our agent have it all; those of other
//! agents need not, and what their metrics said last is added. Pure.

use crate::protocol::grid::{Grid, Value};

/// The metrics that are wanted.
const NAMES: [&str; 5] = [
    "mem.avail",
    "mem.free",
    "mem.buffers",
    "mem.cached",
    "cpu.percent",
];

/// What a host's metrics last said of these, as numbers.
#[derive(Clone, Debug, Default)]
pub struct Vitals([Option<Value<'static>>; NAMES.len()]);

impl Vitals {
    /// Takes what a message says.
    pub(super) fn take(&mut self, metrics: &Grid) {
        for (kept, name) in self.0.iter_mut().zip(NAMES) {
            match metrics.get(name) {
                Some(Value::Unsigned(number)) => *kept = Some(Value::Unsigned(number)),
                Some(Value::Signed(number)) => *kept = Some(Value::Signed(number)),
                Some(Value::Float(number)) => *kept = Some(Value::Float(number)),
                Some(Value::Text(_)) | None => {}
            }
        }
    }

    /// What a model lacks of it.
    fn missing_in(&self, model: &Grid) -> impl Iterator<Item = (&'static str, Value<'static>)> {
        let known = NAMES.into_iter().zip(self.0);
        let known = known.filter_map(|(name, value)| Some((name, value?)));
        known.filter(|(name, _)| model.get(name).is_none())
    }

    /// Adds what a model lacks to its text, a JSON object; whether it lacks anything that is
    /// known. Where it does not, not a byte is changed.
    pub fn complete(&self, model: &Grid, json: &mut Vec<u8>) -> bool {
        let mut missing = self.missing_in(model).peekable();
        if missing.peek().is_none() {
            return false;
        }
        let Some(end) = json.iter().rposition(|byte| *byte == b'}') else {
            return false;
        };
        json.truncate(end);
        let mut first = model.is_empty();
        for (name, value) in missing {
            if !first {
                json.push(b',');
            }
            first = false;
            // A vector takes everything, and text and numbers can always be written.
            let _ = serde_json::to_writer(&mut *json, name);
            json.push(b':');
            let _ = match value {
                Value::Unsigned(number) => serde_json::to_writer(&mut *json, &number),
                Value::Signed(number) => serde_json::to_writer(&mut *json, &number),
                Value::Float(number) => serde_json::to_writer(&mut *json, &number),
                Value::Text(text) => serde_json::to_writer(&mut *json, text),
            };
        }
        json.push(b'}');
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::message::GridKind;

    fn completed(metrics: &[&str], model: &str) -> (bool, String) {
        let mut vitals = Vitals::default();
        for metrics in metrics {
            vitals.take(&Grid::parse(metrics.as_bytes(), GridKind::Metrics).unwrap());
        }
        let grid = Grid::parse(model.as_bytes(), GridKind::Model).unwrap();
        let mut json = model.as_bytes().to_vec();
        let changed = vitals.complete(&grid, &mut json);
        Grid::parse(&json, GridKind::Model).unwrap();
        (changed, String::from_utf8(json).unwrap())
    }

    #[test]
    fn what_a_model_lacks_is_added_behind_what_it_says() {
        let metrics = [
            r#"{"mem.avail": 1, "mem.free": 2, "cpu.percent": 1.5, "x": 9}"#,
            r#"{"mem.free": 18446744073709551615, "mem.cached": -3}"#,
        ];
        assert_eq!(
            completed(&metrics, "{ \"os\" :\"x\",  \"mem.avail\": 7 }\n"),
            (
                true,
                "{ \"os\" :\"x\",  \"mem.avail\": 7 ,\"mem.free\":18446744073709551615,\
                 \"mem.cached\":-3,\"cpu.percent\":1.5}"
                    .to_owned()
            )
        );
        let (_, text) = completed(&[r#"{"mem.free": 2}"#], "{ }");
        assert_eq!(text, r#"{ "mem.free":2}"#);
    }

    #[test]
    fn where_nothing_is_missing_or_known_not_a_byte_is_changed() {
        let whole = "{\"mem.avail\":1, \"mem.free\":2, \"mem.buffers\":3, \"mem.cached\":4,\
                     \n\"cpu.percent\" : 5e0 } ";
        let all = r#"{"mem.avail":9,"mem.free":9,"mem.buffers":9,"mem.cached":9,"cpu.percent":9}"#;
        assert_eq!(completed(&[all], whole), (false, whole.to_owned()));
        for metrics in [&[][..], &["{}"], &[r#"{"x": 1}"#]] {
            assert_eq!(completed(metrics, "{ } "), (false, "{ } ".to_owned()));
        }
    }
}
