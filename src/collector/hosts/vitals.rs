//! What deployed viewing clients want in every model: they fail on a model without, and then show
//! nothing until their next hello. Models of our agent have it all; those of other agents need
//! not, and what their metrics said last is added. For deployed clients a model that lacks
//! something waits for the host's first metrics, and what these do not say either is 0. Pure.

use crate::protocol::grid::{Grid, Value};

/// The metrics that are wanted.
const NAMES: [&str; 5] = [
    "mem.avail",
    "mem.free",
    "mem.buffers",
    "mem.cached",
    "cpu.percent",
];

/// Who a model is completed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Viewers {
    /// Those that fail on a model that lacks one of the names: it has each, if only as 0.
    Deployed,
    /// Those that take a model as it is.
    Robust,
}

/// What a host's metrics last said of these, as numbers.
#[derive(Clone, Debug, Default)]
pub struct Vitals {
    known: [Option<Value<'static>>; NAMES.len()],
    /// There were metrics, whatever they said.
    heard: bool,
}

impl Vitals {
    /// Takes what a message says.
    pub(super) fn take(&mut self, metrics: &Grid) {
        self.heard = true;
        for (kept, name) in self.known.iter_mut().zip(NAMES) {
            match metrics.get(name) {
                Some(Value::Unsigned(number)) => *kept = Some(Value::Unsigned(number)),
                Some(Value::Signed(number)) => *kept = Some(Value::Signed(number)),
                Some(Value::Float(number)) => *kept = Some(Value::Float(number)),
                Some(Value::Text(_)) | None => {}
            }
        }
    }

    /// Whether a model is nothing for deployed clients yet: it lacks something, and there were
    /// no metrics that could say it.
    #[must_use]
    pub fn are_awaited(&self, model: &Grid) -> bool {
        !self.heard && NAMES.into_iter().any(|name| model.get(name).is_none())
    }

    /// What a model lacks of it.
    fn missing_in(
        &self,
        model: &Grid,
        viewers: Viewers,
    ) -> impl Iterator<Item = (&'static str, Value<'static>)> {
        let known = NAMES.into_iter().zip(self.known);
        let known = known.filter_map(move |(name, value)| match viewers {
            Viewers::Deployed => Some((name, value.unwrap_or(Value::Unsigned(0)))),
            Viewers::Robust => Some((name, value?)),
        });
        known.filter(|(name, _)| model.get(name).is_none())
    }

    /// Adds what a model lacks to its text, a JSON object; whether there was anything to add.
    /// Where there was not, not a byte is changed.
    pub fn complete(&self, model: &Grid, viewers: Viewers, json: &mut Vec<u8>) -> bool {
        let mut missing = self.missing_in(model, viewers).peekable();
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
        completed_for(Viewers::Robust, metrics, model)
    }

    fn completed_for(viewers: Viewers, metrics: &[&str], model: &str) -> (bool, String) {
        let mut vitals = Vitals::default();
        for metrics in metrics {
            vitals.take(&Grid::parse(metrics.as_bytes(), GridKind::Metrics).unwrap());
        }
        let grid = Grid::parse(model.as_bytes(), GridKind::Model).unwrap();
        let mut json = model.as_bytes().to_vec();
        let changed = vitals.complete(&grid, viewers, &mut json);
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
    fn for_deployed_clients_a_model_waits_for_metrics_and_then_has_all() {
        let grid = |text: &str, kind| Grid::parse(text.as_bytes(), kind).unwrap();
        let mut vitals = Vitals::default();
        let bare = grid(r#"{"mem.total": 7}"#, GridKind::Model);
        assert!(vitals.are_awaited(&bare));
        // A name in a model counts, whatever its value.
        let whole =
            r#"{"mem.avail":1,"mem.free":2,"mem.buffers":3,"mem.cached":4,"cpu.percent":0}"#;
        assert!(!vitals.are_awaited(&grid(whole, GridKind::Model)));
        vitals.take(&grid("{}", GridKind::Metrics));
        assert!(!vitals.are_awaited(&bare));
        let metrics = [r#"{"mem.free": 2}"#];
        assert_eq!(
            completed_for(Viewers::Deployed, &metrics, r#"{"mem.avail":1}"#),
            (
                true,
                r#"{"mem.avail":1,"mem.free":2,"mem.buffers":0,"mem.cached":0,"cpu.percent":0}"#
                    .to_owned()
            )
        );
        let (changed, _) = completed_for(Viewers::Deployed, &metrics, whole);
        assert!(!changed);
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
