//! Metrics that deployed viewers require in every model: they fail on a model that lacks one,
//! and then show nothing until their next hello. Models of our agent have them all. To models
//! of other agents, the latest values from their metrics are added. For deployed viewers, an
//! incomplete model waits for the host's first metrics; what these lack, too, is set to 0.
//! Pure.

use serde::Serializer as _;

use crate::protocol::grid::{Grid, Value};

/// The required metrics.
const NAMES: [&str; 5] = [
    "mem.avail",
    "mem.free",
    "mem.buffers",
    "mem.cached",
    "cpu.percent",
];

/// The kind of viewers that a model is completed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ViewerKind {
    /// Viewers that fail on a model that lacks one of the names: they get each, at least as 0.
    Deployed,
    /// Viewers that accept any model.
    Robust,
}

/// The latest values of these metrics, as numbers.
#[derive(Clone, Debug, Default)]
pub struct Vitals {
    known: [Option<Value<'static>>; NAMES.len()],
    /// True after the first metrics message, whatever it held.
    heard: bool,
}

impl Vitals {
    /// Takes what a message says.
    pub(super) fn take(&mut self, metrics: &Grid) {
        self.heard = true;
        for (kept, name) in self.known.iter_mut().zip(NAMES) {
            *kept = number(metrics, name).or(*kept);
        }
    }

    /// Returns true if a model cannot be sent to deployed viewers yet: it lacks something, and
    /// no metrics that might add it have arrived.
    #[must_use]
    pub fn are_awaited(&self, model: &Grid) -> bool {
        !self.heard && NAMES.into_iter().any(|name| number(model, name).is_none())
    }

    /// The required metrics that a model lacks.
    fn missing_in(
        &self,
        model: &Grid,
        viewers: ViewerKind,
    ) -> impl Iterator<Item = (&'static str, Value<'static>)> {
        let known = NAMES.into_iter().zip(self.known);
        let known = known.filter_map(move |(name, value)| match viewers {
            ViewerKind::Deployed => Some((name, value.unwrap_or(Value::Unsigned(0)))),
            ViewerKind::Robust => Some((name, value?)),
        });
        known.filter(|(name, _)| number(model, name).is_none())
    }

    /// Adds the missing metrics to a model's text, a JSON object. Returns true if anything was
    /// added; otherwise not a byte is changed. A required metric that is not a number is
    /// replaced.
    pub fn complete(&self, model: &Grid, viewers: ViewerKind, json: &mut Vec<u8>) -> bool {
        let missing: Vec<_> = self.missing_in(model, viewers).collect();
        if missing.is_empty() {
            return false;
        }
        let replaced = |name: &str| missing.iter().any(|(missing, _)| *missing == name);
        let mut first = model.is_empty();
        if model.iter().any(|(name, _)| replaced(name)) {
            json.clear();
            let kept: Vec<_> = model.iter().filter(|(name, _)| !replaced(name)).collect();
            first = kept.is_empty();
            // Writing to a vector does not fail, and a grid can always be serialized.
            let _ = serde_json::Serializer::new(&mut *json).collect_map(kept);
        }
        let Some(end) = json.iter().rposition(|byte| *byte == b'}') else {
            return false;
        };
        json.truncate(end);
        for (name, value) in missing {
            if !first {
                json.push(b',');
            }
            first = false;
            let _ = serde_json::to_writer(&mut *json, name);
            json.push(b':');
            let _ = serde_json::to_writer(&mut *json, &value);
        }
        json.push(b'}');
        true
    }
}

/// A metric, if it is a number: deployed viewers compute with it.
fn number(grid: &Grid, name: &str) -> Option<Value<'static>> {
    match grid.get(name)? {
        Value::Unsigned(number) => Some(Value::Unsigned(number)),
        Value::Signed(number) => Some(Value::Signed(number)),
        Value::Float(number) => Some(Value::Float(number)),
        Value::Text(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::message::GridKind;

    fn completed(metrics: &[&str], model: &str) -> (bool, String) {
        completed_for(ViewerKind::Robust, metrics, model)
    }

    fn completed_for(viewers: ViewerKind, metrics: &[&str], model: &str) -> (bool, String) {
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
    fn for_deployed_viewers_a_model_waits_for_metrics_and_then_has_all() {
        let grid = |text: &str, kind| Grid::parse(text.as_bytes(), kind).unwrap();
        let mut vitals = Vitals::default();
        let bare = grid(r#"{"mem.total": 7}"#, GridKind::Model);
        assert!(vitals.are_awaited(&bare));
        // Text is not what they look for.
        let text =
            r#"{"mem.avail":1,"mem.free":2,"mem.buffers":3,"mem.cached":4,"cpu.percent":"n/a"}"#;
        assert!(vitals.are_awaited(&grid(text, GridKind::Model)));
        let whole =
            r#"{"mem.avail":1,"mem.free":2,"mem.buffers":3,"mem.cached":4,"cpu.percent":0}"#;
        assert!(!vitals.are_awaited(&grid(whole, GridKind::Model)));
        vitals.take(&grid("{}", GridKind::Metrics));
        assert!(!vitals.are_awaited(&bare));
        let metrics = [r#"{"mem.free": 2}"#];
        assert_eq!(
            completed_for(ViewerKind::Deployed, &metrics, r#"{"mem.avail":1}"#),
            (
                true,
                r#"{"mem.avail":1,"mem.free":2,"mem.buffers":0,"mem.cached":0,"cpu.percent":0}"#
                    .to_owned()
            )
        );
        let (changed, _) = completed_for(ViewerKind::Deployed, &metrics, whole);
        assert!(!changed);
        let odd = r#"{"mem.free":"lots", "os":"x", "cpu.percent":"n/a"}"#;
        let (changed, text) = completed_for(ViewerKind::Deployed, &metrics, odd);
        assert!(changed);
        assert_eq!(
            text,
            r#"{"os":"x","mem.avail":0,"mem.free":2,"mem.buffers":0,"mem.cached":0,"cpu.percent":0}"#
        );
        // The others can do with text, where there is nothing better.
        assert_eq!(
            completed_for(ViewerKind::Robust, &metrics, odd).1,
            r#"{"cpu.percent":"n/a","os":"x","mem.free":2}"#
        );
        let (_, text) = completed_for(ViewerKind::Robust, &metrics, r#"{"mem.free":""}"#);
        assert_eq!(text, r#"{"mem.free":2}"#);
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
