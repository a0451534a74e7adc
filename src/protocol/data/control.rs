//! The control words of the second wire: what a collector offers, and what it has received.
//!
//! Deployed agents know neither word; they log that they don't, and go on.

use std::fmt;
use std::ops::RangeInclusive;

/// Where samples are when a collector acknowledges them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Acknowledged {
    /// In the collector's table of hosts: it has seen them.
    #[default]
    Table,
    /// In every engine that it writes to and waits for: they are stored.
    Engine,
}

impl Acknowledged {
    /// The word on the wire, and everywhere a person meets it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::Engine => "engine",
        }
    }
}

/// How much an agent may have under way, in bytes: a sample of every metric at least, and no more than a
/// collector could want.
pub const WINDOW: RangeInclusive<u32> = 4096..=16 * 1024 * 1024;

/// How much an agent may have under way where the offer does not say.
pub const DEFAULT_WINDOW: u32 = 256 * 1024;

/// Collector to agent, after `model`: from now on DATA messages are understood. A later offer on the same
/// connection replaces an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Offer {
    /// How many bytes of messages may be sent and not acknowledged; within [`WINDOW`]. One message may
    /// be under way in any case.
    pub window: u32,
    /// What a receipt means.
    pub acknowledged: Acknowledged,
    /// By how much the collector moves the times of this host's samples, in µs, as its clock is off. None
    /// where it has nothing new to say. An agent repeats it in its messages, also to another collector, so
    /// that a sample that is told again has the same time again.
    pub clock: Option<i64>,
}

impl Default for Offer {
    fn default() -> Self {
        Self {
            window: DEFAULT_WINDOW,
            acknowledged: Acknowledged::default(),
            clock: None,
        }
    }
}

impl fmt::Display for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ack = self.acknowledged.as_str();
        write!(f, "offer 2 window={} ack={ack}", self.window)?;
        match self.clock {
            Some(micros) => write!(f, " clock={micros}"),
            None => Ok(()),
        }
    }
}

/// Collector to agent: everything of this log up to this sample has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Receipt {
    /// The number of the agent's log.
    pub stream: u64,
    /// The highest number of a sample that has arrived, with all below.
    pub seq: u64,
}

impl fmt::Display for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ack {:016x} {}", self.stream, self.seq)
    }
}

/// One of the words of the second wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Word {
    /// What a collector understands.
    Offer(Offer),
    /// What has arrived.
    Receipt(Receipt),
}

impl Word {
    /// Reads the second frame of a control message; None if it is no word of the second wire that we
    /// understand, such as an offer of a third one.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        match words.next()? {
            "offer" => {
                if words.next()? != "2" {
                    return None;
                }
                let mut offer = Offer::default();
                for (name, value) in words.filter_map(|word| word.split_once('=')) {
                    match (name, value) {
                        ("window", bytes) => {
                            let bytes: u32 = bytes.parse().ok()?;
                            offer.window = bytes.clamp(*WINDOW.start(), *WINDOW.end());
                        }
                        ("ack", "table") => offer.acknowledged = Acknowledged::Table,
                        ("ack", "engine") => offer.acknowledged = Acknowledged::Engine,
                        ("clock", micros) => offer.clock = Some(micros.parse().ok()?),
                        // Parameters of collectors to come.
                        _ => {}
                    }
                }
                Some(Self::Offer(offer))
            }
            "ack" => {
                let stream = words.next()?;
                let seq = words.next()?.parse().ok()?;
                let hexadecimal = stream.len() == 16
                    && stream
                        .bytes()
                        .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
                if !hexadecimal || words.next().is_some() {
                    return None;
                }
                let stream = u64::from_str_radix(stream, 16).ok()?;
                Some(Self::Receipt(Receipt { stream, seq }))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[expect(clippy::unnecessary_wraps, reason = "it is what is compared")]
    fn offer(window: u32, acknowledged: Acknowledged) -> Option<Word> {
        Some(Word::Offer(Offer {
            window,
            acknowledged,
            clock: None,
        }))
    }

    #[test]
    fn an_offer_may_say_more_or_less_than_we_know() {
        use Acknowledged::{Engine, Table};
        for (text, expected) in [
            ("offer 2", offer(DEFAULT_WINDOW, Table)),
            ("offer 2 window=65536 ack=engine", offer(65536, Engine)),
            (
                "offer 2 ack=engine later=1 flag",
                offer(DEFAULT_WINDOW, Engine),
            ),
            ("offer 2 ack=moon", offer(DEFAULT_WINDOW, Table)),
            ("offer 2 window=1", offer(4096, Table)),
            ("offer 2 window=4000000000", offer(16 * 1024 * 1024, Table)),
            ("offer 2 window=x", None),
            ("offer 2 window=-1", None),
            ("offer 2 window=99999999999999999999", None),
            ("offer 3", None),
            ("offer", None),
            ("offer2", None),
            ("", None),
        ] {
            assert_eq!(Word::read(text), expected, "{text}");
        }
    }

    #[test]
    fn a_receipt_is_exact() {
        let receipt = |stream, seq| Some(Word::Receipt(Receipt { stream, seq }));
        for (text, expected) in [
            ("ack 00000000000000ff 7", receipt(255, 7)),
            ("ack 00000000000000FF 7", None),
            ("ack ff 7", None),
            ("ack +0000000000000ff 7", None),
            ("ack 00000000000000ff", None),
            ("ack 00000000000000ff -7", None),
            ("ack 00000000000000ff 7 8", None),
            ("ack 00000000000000ff 18446744073709551616", None),
        ] {
            assert_eq!(Word::read(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(stream: u64, seq: u64, window in WINDOW, engine: bool, clock: Option<i64>) {
            let receipt = Receipt { stream, seq };
            prop_assert_eq!(Word::read(&receipt.to_string()), Some(Word::Receipt(receipt)));
            let acknowledged = if engine { Acknowledged::Engine } else { Acknowledged::Table };
            let offer = Offer { window, acknowledged, clock };
            prop_assert_eq!(Word::read(&offer.to_string()), Some(Word::Offer(offer)));
        }

        #[test]
        fn any_text_is_read(text in "(ack|offer|) ?\\PC{0,60}") {
            let _ = Word::read(&text);
        }
    }
}
