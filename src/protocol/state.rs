//! The grid of a `state` message: whether a host reports, and when it was last seen.
//!
//! A collector sends it to viewers that ask for it by their routing id
//! ([`VIEWER_ID_PREFIX`](super::message::VIEWER_ID_PREFIX)); agents never do.

use serde::Serialize;

use super::grid::{Grid, Value};
use super::message::{EncodeError, GridKind, Malformed, encode_grid};

/// The metric with the [`HostState`].
const STATE: &str = "state";

/// The metric with the time when the host was last heard from.
const LAST_SEEN: &str = "last_seen";

/// The metric with the time since when the host is in this state.
const SINCE: &str = "since";

/// The metric with the address that a host last reported from.
const ADDRESS: &str = "address";

/// The metric with the operating system of a host that is gone.
const OS: &str = "os";

/// The state of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HostState {
    /// It reports.
    Reporting,
    /// It reported before the collector was restarted, and may yet again.
    Expected,
    /// It was silent for too long.
    Gone,
    /// The collector does not know it any more: it leaves the list.
    Forgotten,
}

impl HostState {
    /// The word on the wire, and in all that a person sees.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reporting => "reporting",
            Self::Expected => "expected",
            Self::Gone => "gone",
            Self::Forgotten => "forgotten",
        }
    }

    fn of(word: &str) -> Option<Self> {
        [Self::Reporting, Self::Expected, Self::Gone, Self::Forgotten]
            .into_iter()
            .find(|state| state.as_str() == word)
    }
}

/// What a `state` message says of a host. Times are seconds since 1970.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StateGrid {
    /// The state.
    #[serde(serialize_with = "as_word")]
    pub state: HostState,
    /// When it was last heard from.
    pub last_seen: f64,
    /// Since when it is in this state.
    pub since: f64,
    /// Where it last reported from, of a host that does not report.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<Box<str>>,
    /// The operating system that it last reported, of a host that is gone: there is no model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub os: Option<Box<str>>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn as_word<S: serde::Serializer>(state: &HostState, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(state.as_str())
}

impl StateGrid {
    /// Writes it as JSON into `out`, which is cleared first.
    ///
    /// # Errors
    ///
    /// [`EncodeError`], where a time is not finite.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        encode_grid(self, out)
    }

    /// Reads the grid of a `state` message. Metrics that it does not know are ignored, so
    /// that later collectors may add some; so is a message with a state that it does not
    /// know or without a time: None.
    ///
    /// # Errors
    ///
    /// [`Malformed`], as for every grid.
    pub fn parse(bytes: &[u8]) -> Result<Option<Self>, Malformed> {
        // Text is allowed in it as in a model.
        let grid = Grid::parse(bytes, GridKind::Model)?;
        let state = match grid.get(STATE) {
            Some(Value::Text(word)) => HostState::of(word),
            _ => None,
        };
        let time = |name| grid.get(name).as_ref().and_then(Value::as_f64);
        let text = |name| match grid.get(name) {
            Some(Value::Text(text)) => Some(text.into()),
            _ => None,
        };
        let parts = (state, time(LAST_SEEN), time(SINCE));
        let (Some(state), Some(last_seen), Some(since)) = parts else {
            return Ok(None);
        };
        Ok(Some(Self {
            state,
            last_seen,
            since,
            address: text(ADDRESS),
            os: text(OS),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut out = Vec::new();
        let last = [r#","address":"192.0.2.7""#, r#","os":"Debian""#];
        for (state, word, more) in [
            (HostState::Reporting, "reporting", String::new()),
            (HostState::Expected, "expected", last[0].to_owned()),
            (HostState::Gone, "gone", last.concat()),
            (HostState::Forgotten, "forgotten", String::new()),
        ] {
            let grid = StateGrid {
                state,
                last_seen: 1_795_976_300.25,
                since: 1_795_976_330.5,
                address: more.contains("address").then(|| "192.0.2.7".into()),
                os: more.contains("os").then(|| "Debian".into()),
            };
            grid.encode(&mut out).unwrap();
            assert_eq!(
                str::from_utf8(&out).unwrap(),
                format!(
                    r#"{{"state":"{word}","last_seen":1795976300.25,"since":1795976330.5{more}}}"#
                )
            );
            assert_eq!(StateGrid::parse(&out), Ok(Some(grid)));
        }
    }

    #[test]
    fn what_is_new_to_it_is_passed_over() {
        let read = |text: &str| StateGrid::parse(text.as_bytes()).unwrap();
        let more = r#"{"state": "gone", "why": "x", "last_seen": 1, "since": 2.5, "n": 0}"#;
        assert_eq!(read(more).map(|grid| grid.last_seen), Some(1.0));
        for text in [
            "{}",
            r#"{"state": "asleep", "last_seen": 1, "since": 2}"#,
            r#"{"state": 1, "last_seen": 1, "since": 2}"#,
            r#"{"state": "gone", "last_seen": "x", "since": 2}"#,
            r#"{"state": "gone", "last_seen": 1}"#,
        ] {
            assert_eq!(read(text), None, "{text}");
        }
        assert!(StateGrid::parse(b"{").is_err());
        assert!(StateGrid::parse(br#"{"state": ["gone"]}"#).is_err());
    }
}
