//! Which host name belongs to which key: trust on first use. Pure.
//!
//! A pin is made by the first key that reports under a name, once its host is in the table, and
//! stays until an administrator removes it. The text form has one line for each, and a last
//! line with their number, so that a truncated file is noticed: a pin that is silently missing
//! would open its name to any key.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

use jiff::Timestamp;
use thiserror::Error;

use crate::collector::hosts::MAX_HOSTS_PER_KEY;
use crate::curve::keys::{KeyError, PublicKey};
use crate::protocol::message::{MAX_HOST_BYTES, check_host};

/// Maximum number of pinned names: ten fleets of the size that one collector is designed for,
/// some 30 MiB of memory.
pub const MAX_PINS: usize = 100_000;

/// Maximum number of names of one key: as many as it may have hosts. A key that invents names
/// uses up only this.
pub const MAX_PINS_OF_KEY: usize = MAX_HOSTS_PER_KEY;

/// The longest line: a key, a time, a name and what separates them.
const MAX_LINE_BYTES: usize = 40 + 1 + 32 + 1 + MAX_HOST_BYTES + 1;

/// The largest text that this program can have written.
pub const MAX_TEXT_BYTES: usize = 256 + MAX_PINS * MAX_LINE_BYTES;

const FIRST_LINE: &str = "metrics-collector pins 1";

/// The key that a name belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pin {
    /// The key that first reported under it.
    pub key: PublicKey,
    /// When that was, in seconds since 1970.
    pub since: u64,
}

/// Names and the keys that they belong to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pins {
    names: HashMap<Arc<str>, Pin>,
    /// How many names each key has.
    keys: HashMap<PublicKey, usize>,
}

/// Why a name could not be claimed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ClaimError {
    /// It belongs to another key.
    #[error("the name belongs to the key {}", .pin.key)]
    Taken {
        /// The name.
        host: Arc<str>,
        /// The pin of that key.
        pin: Pin,
    },
    /// There are [`MAX_PINS`].
    #[error("{MAX_PINS} host names are pinned already")]
    Full,
    /// The key has [`MAX_PINS_OF_KEY`].
    #[error("the key has {MAX_PINS_OF_KEY} pinned host names already")]
    KeyFull,
}

impl Pins {
    /// Checks that `key` may report under the name `host`. Returns true if the name is not
    /// pinned yet.
    ///
    /// # Errors
    ///
    /// [`ClaimError`].
    pub fn may_claim(&self, host: &str, key: PublicKey) -> Result<bool, ClaimError> {
        if let Some((host, pin)) = self.names.get_key_value(host) {
            if pin.key == key {
                return Ok(false);
            }
            return Err(ClaimError::Taken {
                host: Arc::clone(host),
                pin: *pin,
            });
        }
        if self.names.len() >= MAX_PINS {
            return Err(ClaimError::Full);
        }
        if self.of_key(key) >= MAX_PINS_OF_KEY {
            return Err(ClaimError::KeyFull);
        }
        Ok(true)
    }

    /// Pins the name `host` to `key`, which reports under it. Returns true if the name was not
    /// pinned before.
    ///
    /// # Errors
    ///
    /// As [`Pins::may_claim`].
    pub fn claim(&mut self, host: &str, key: PublicKey, unix: u64) -> Result<bool, ClaimError> {
        let new = self.may_claim(host, key)?;
        if new {
            self.insert(host.into(), Pin { key, since: unix });
        }
        Ok(new)
    }

    fn insert(&mut self, host: Arc<str>, pin: Pin) -> Option<Pin> {
        let before = self.names.insert(host, pin);
        *self.keys.entry(pin.key).or_default() += 1;
        if let Some(before) = before {
            self.less(before.key, 1);
        }
        before
    }

    fn less(&mut self, key: PublicKey, by: usize) {
        if let Some(names) = self.keys.get_mut(&key) {
            *names = names.saturating_sub(by);
            if *names == 0 {
                self.keys.remove(&key);
            }
        }
    }

    /// Removes the pin of a name: the next key that reports under it gets it.
    pub fn forget(&mut self, host: &str) -> Option<Pin> {
        let pin = self.names.remove(host)?;
        self.less(pin.key, 1);
        Some(pin)
    }

    /// Removes all pins of a key. Returns how many there were.
    pub fn forget_key(&mut self, key: PublicKey) -> usize {
        let before = self.names.len();
        self.names.retain(|_, pin| pin.key != key);
        self.keys.remove(&key);
        before - self.names.len()
    }

    /// The key that a name belongs to.
    #[must_use]
    pub fn get(&self, host: &str) -> Option<Pin> {
        self.names.get(host).copied()
    }

    /// How many names a key has.
    #[must_use]
    pub fn of_key(&self, key: PublicKey) -> usize {
        self.keys.get(&key).copied().unwrap_or(0)
    }

    /// Every name, in order.
    #[must_use]
    pub fn sorted(&self) -> Vec<(&str, Pin)> {
        let mut pins: Vec<_> = self
            .names
            .iter()
            .map(|(host, pin)| (&**host, *pin))
            .collect();
        pins.sort_unstable_by_key(|(host, _)| *host);
        pins
    }

    /// How many names are pinned.
    #[must_use]
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Returns true if none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The text that is kept.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = format!("{FIRST_LINE}\n");
        for (host, pin) in self.sorted() {
            // jiff cannot represent this year, so the clock was wrong.
            let since = i64::try_from(pin.since).unwrap_or(0);
            let since = Timestamp::from_second(since).unwrap_or(Timestamp::UNIX_EPOCH);
            // Writing to a string does not fail.
            let _ = writeln!(text, "{} {since} {host}", pin.key);
        }
        let _ = writeln!(text, "end {}", self.len());
        text
    }

    /// The pins of a text that was kept.
    ///
    /// # Errors
    ///
    /// The first line that this program cannot have written.
    pub fn from_text(text: &str) -> Result<Self, PinsError> {
        let mut lines = text
            .lines()
            .enumerate()
            .map(|(index, line)| (index + 1, line));
        if lines.next().is_none_or(|(_, line)| line != FIRST_LINE) {
            return Err(PinsError::NotOurs);
        }
        let mut pins = Self::default();
        let mut last = 1;
        while let Some((line, content)) = lines.next() {
            last = line;
            let at = |problem| PinsError::Line { line, problem };
            if let Some(count) = content.strip_prefix("end ") {
                if count.parse() != Ok(pins.len()) || lines.next().is_some() {
                    return Err(at(LineProblem::Count));
                }
                return Ok(pins);
            }
            let (host, pin) = parse_line(content).map_err(at)?;
            if pins.len() >= MAX_PINS {
                return Err(at(LineProblem::TooMany));
            }
            if pins.insert(host.into(), pin).is_some() {
                return Err(at(LineProblem::Twice));
            }
        }
        Err(PinsError::CutOff { line: last + 1 })
    }
}

fn parse_line(line: &str) -> Result<(&str, Pin), LineProblem> {
    let mut parts = line.splitn(3, ' ');
    let (Some(key), Some(since), Some(host)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(LineProblem::Form);
    };
    let since: Timestamp = since.parse().map_err(|_| LineProblem::Form)?;
    check_host(host).map_err(|_| LineProblem::Form)?;
    let pin = Pin {
        key: key.parse().map_err(LineProblem::Key)?,
        since: u64::try_from(since.as_second()).unwrap_or(0),
    };
    Ok((host, pin))
}

/// Why a text cannot be read as pins.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PinsError {
    /// The first line is not that of a file of pins.
    #[error("1: expected {FIRST_LINE:?}")]
    NotOurs,
    /// A line that this program cannot have written.
    #[error("{line}: {problem}")]
    Line {
        /// Its number, from 1.
        line: usize,
        /// What is wrong with it.
        problem: LineProblem,
    },
    /// The last line is missing.
    #[error(
        "{line}: the file is cut off: expected \"end\" and the number of pins as its last line"
    )]
    CutOff {
        /// The number of the line that is missing, from 1.
        line: usize,
    },
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LineProblem {
    /// It does not have three parts, or one of them is malformed.
    #[error("expected a key, a time and a host name")]
    Form,
    /// The key is not valid.
    #[error(transparent)]
    Key(KeyError),
    /// The name was there before.
    #[error("the host name is there twice")]
    Twice,
    /// There were [`MAX_PINS`] before.
    #[error("expected at most {MAX_PINS} pins")]
    TooMany,
    /// The number of pins is wrong, or something follows.
    #[error("expected the last line, with the number of pins before it")]
    Count,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u8) -> PublicKey {
        PublicKey::from_bytes([number; 32])
    }

    #[test]
    fn a_name_belongs_to_the_first_key_until_it_is_forgotten() {
        let mut pins = Pins::default();
        assert_eq!(pins.claim("web1", key(1), 100), Ok(true));
        assert_eq!(pins.claim("web1", key(1), 200), Ok(false));
        let pin = Pin {
            key: key(1),
            since: 100,
        };
        let taken = ClaimError::Taken {
            host: "web1".into(),
            pin,
        };
        assert_eq!(pins.claim("web1", key(2), 300), Err(taken));
        // A key may have several names.
        assert_eq!(pins.claim("web2", key(1), 300), Ok(true));
        assert_eq!(pins.forget("web1"), Some(pin));
        assert_eq!(pins.forget("web1"), None);
        assert_eq!(pins.claim("web1", key(2), 400), Ok(true));
        assert_eq!(pins.get("web1").unwrap().key, key(2));
    }

    #[test]
    fn their_number_is_bounded() {
        let numbered = |number: usize| {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&number.to_le_bytes());
            PublicKey::from_bytes(bytes)
        };
        let mut pins = Pins::default();
        for number in 0..MAX_PINS {
            let key = numbered(number / MAX_PINS_OF_KEY);
            pins.claim(&number.to_string(), key, 0).unwrap();
        }
        let new = numbered(MAX_PINS);
        assert_eq!(pins.claim("one more", new, 0), Err(ClaimError::Full));
        assert_eq!(pins.claim("5", numbered(0), 0), Ok(false));
        let text = pins.to_text();
        assert!(text.len() <= MAX_TEXT_BYTES);
        assert_eq!(Pins::from_text(&text).unwrap(), pins);
    }

    #[test]
    fn a_key_has_no_more_names_than_hosts() {
        let mut pins = Pins::default();
        for number in 0..MAX_PINS_OF_KEY {
            assert_eq!(pins.claim(&number.to_string(), key(1), 0), Ok(true));
        }
        assert_eq!(pins.claim("more", key(1), 0), Err(ClaimError::KeyFull));
        assert_eq!(pins.claim("7", key(1), 0), Ok(false));
        assert_eq!(pins.claim("more", key(2), 0), Ok(true));
        // One that goes makes room for another, also after a restart.
        pins.forget("7").unwrap();
        assert_eq!(pins.claim("another", key(1), 0), Ok(true));
        let mut pins = Pins::from_text(&pins.to_text()).unwrap();
        assert_eq!(pins.claim("and more", key(1), 0), Err(ClaimError::KeyFull));
        // All pins of a key are removed at once, and no others.
        assert_eq!(pins.forget_key(key(1)), MAX_PINS_OF_KEY);
        assert_eq!(pins.forget_key(key(1)), 0);
        assert_eq!((pins.len(), pins.of_key(key(1))), (1, 0));
        assert_eq!(pins.get("more").map(|pin| pin.key), Some(key(2)));
        assert_eq!(pins.claim("and more", key(1), 0), Ok(true));
    }

    #[test]
    fn what_is_written_is_read_again() {
        let mut pins = Pins::default();
        assert_eq!(Pins::from_text(&pins.to_text()), Ok(pins.clone()));
        let long = "ä".repeat(MAX_HOST_BYTES / 2);
        for (number, host) in ["web1", "end 3", " two words ", &long]
            .into_iter()
            .enumerate()
        {
            let unix = 1_700_000_000 + number as u64;
            pins.claim(host, key(u8::try_from(number).unwrap()), unix)
                .unwrap();
        }
        let text = pins.to_text();
        assert_eq!(Pins::from_text(&text), Ok(pins));
        let line = text.lines().find(|line| line.ends_with(" web1")).unwrap();
        assert_eq!(line, format!("{} 2023-11-14T22:13:20Z web1", key(0)));
    }

    #[test]
    fn a_text_that_is_not_whole_is_no_pins() {
        let mut pins = Pins::default();
        for host in ["a", "b", "c"] {
            pins.claim(host, key(1), 0).unwrap();
        }
        let text = pins.to_text();
        for length in 0..text.len() - 1 {
            assert!(Pins::from_text(&text[..length]).is_err(), "{length}");
        }
        for line in 0..4 {
            let mut lines: Vec<_> = text.lines().collect();
            lines.remove(line);
            assert!(Pins::from_text(&lines.join("\n")).is_err(), "{line}");
        }
        let good = format!("{} 2023-11-14T22:13:20Z web1", key(0));
        for (lines, error) in [
            (
                format!("{good}\n{good}\nend 2"),
                "3: the host name is there twice",
            ),
            (format!("{good}\nend 2"), "3: expected the last line, with"),
            (
                format!("{good}\nend 1\n{good}"),
                "3: expected the last line, with",
            ),
            (format!("{good}\n"), "3: the file is cut off"),
            (
                format!("{}\nend 1", &good[..60]),
                "2: expected a key, a time",
            ),
            (
                format!("x{good}\nend 1"),
                "2: expected 40 Z85 characters, found 41",
            ),
            (good.replace("2023", "then"), "2: expected a key, a time"),
        ] {
            let found = Pins::from_text(&format!("{FIRST_LINE}\n{lines}")).unwrap_err();
            assert!(found.to_string().starts_with(error), "{found}");
        }
        let error = Pins::from_text("{}").unwrap_err().to_string();
        assert_eq!(error, "1: expected \"metrics-collector pins 1\"");
    }
}
