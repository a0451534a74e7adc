//! Calls that are being answered on a connection to a bus, within bounds.
//!
//! Any user of the bus may call, at no cost; zbus starts a task for each call before our code sees
//! it, so limits on what a call asks for come too late. A call counts from when it is read until
//! its answer is written.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::stream::{HEADER_BYTES, number};

/// Calls of one connection to the bus that are being answered. Programs ask one question after
/// the other, or a few at a time.
const CONNECTION: usize = 32;

/// Calls of all of them.
const ALL: usize = 512;

/// The same for users without open calls. A user may have some hundred connections to a bus;
/// however many calls it makes, these places are kept for the others.
const ALL_FIRST: usize = 1024;

/// A call is answered by then: polkit gives a person 2 minutes. Later than that, answering has
/// failed.
const LONGEST: Duration = Duration::from_secs(180);

/// How often the log hears of calls that are refused, and how often what has failed is looked for.
const PAUSE: Duration = Duration::from_secs(60);

/// What matters here of a call's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Call<'a> {
    pub(super) sender: &'a str,
    pub(super) serial: u32,
    pub(super) wants_answer: bool,
}

impl<'a> Call<'a> {
    /// Reads the 16 bytes that begin a header and all of its fields (D-Bus specification, "Message
    /// Format"). None if the bus does not name the sender, or if there is a field that the
    /// specification does not have.
    pub(super) fn read(header: &'a [u8]) -> Option<Self> {
        let &[order, _, flags, _, _, _, _, _, s0, s1, s2, s3, ..] = header else {
            return None;
        };
        let mut sender = None;
        let mut at = HEADER_BYTES;
        while at < header.len() {
            at = at.next_multiple_of(8);
            let &[code, 1, kind, 0, ..] = header.get(at..)? else {
                return None;
            };
            at += 4;
            let length = match kind {
                b'u' => {
                    at += 4;
                    continue;
                }
                b'g' => {
                    at += usize::from(*header.get(at)?) + 2;
                    continue;
                }
                b's' | b'o' => number(order, *header.get(at..)?.first_chunk()?),
                _ => return None,
            };
            let begin = at + 4;
            let end = begin.checked_add(usize::try_from(length).ok()?)?;
            if code == SENDER {
                sender = std::str::from_utf8(header.get(begin..end)?).ok();
            }
            at = end.checked_add(1)?;
        }
        Some(Self {
            sender: sender?,
            serial: number(order, [s0, s1, s2, s3]),
            wants_answer: flags & NO_REPLY_EXPECTED == 0,
        })
    }
}

/// The field for the sender of a message, which the bus writes.
const SENDER: u8 = 7;

/// The flag of a call that wants no answer.
pub(super) const NO_REPLY_EXPECTED: u8 = 1;

/// Those that are being answered.
#[derive(Debug, Default)]
pub(super) struct Calls {
    all: usize,
    senders: HashMap<String, Vec<UnderWay>>,
    told: Option<Instant>,
    looked: Option<Instant>,
}

#[derive(Debug)]
struct UnderWay {
    serial: u32,
    since: Instant,
    wants_answer: bool,
}

impl Calls {
    /// Takes a place for a call; without one, why.
    pub(super) fn enter(&mut self, call: Call<'_>, now: Instant) -> Result<(), String> {
        let entered = self.try_enter(call, now);
        let entered = match entered {
            Err(_) if is_over(self.looked, now) => {
                self.looked = Some(now);
                self.give_up(now);
                self.try_enter(call, now)
            }
            entered => entered,
        };
        if let Err(why) = &entered
            && is_over(self.told, now)
        {
            self.told = Some(now);
            tracing::warn!("calls of {} on the bus are refused: {why}", call.sender);
        }
        entered
    }

    fn try_enter(&mut self, call: Call<'_>, now: Instant) -> Result<(), String> {
        let of_sender = self.senders.get(call.sender).map_or(0, Vec::len);
        let all = if of_sender == 0 { ALL_FIRST } else { ALL };
        if of_sender >= CONNECTION {
            return Err(format!(
                "{CONNECTION} calls of this connection are being answered already; try again"
            ));
        }
        if self.all >= all {
            return Err(format!(
                "{} calls are being answered already; try again",
                self.all
            ));
        }
        self.all += 1;
        let under_way = UnderWay {
            serial: call.serial,
            since: now,
            wants_answer: call.wants_answer,
        };
        let of_sender = self.senders.entry(call.sender.to_owned()).or_default();
        of_sender.push(under_way);
        Ok(())
    }

    /// The answer to this call is there; returns true if the caller wants it.
    pub(super) fn wants_answer(&self, sender: &str, serial: u32) -> bool {
        let mut of_sender = self.senders.get(sender).into_iter().flatten();
        of_sender
            .find(|call| call.serial == serial)
            .is_none_or(|call| call.wants_answer)
    }

    /// The answer to this call is written.
    pub(super) fn end(&mut self, sender: &str, serial: u32) {
        let Some(of_sender) = self.senders.get_mut(sender) else {
            return;
        };
        let Some(at) = of_sender.iter().position(|call| call.serial == serial) else {
            return;
        };
        of_sender.remove(at);
        self.all -= 1;
        if of_sender.is_empty() {
            self.senders.remove(sender);
        }
    }

    /// Frees the places of calls that will not be answered any more.
    fn give_up(&mut self, now: Instant) {
        self.senders.retain(|_, calls| {
            calls.retain(|call| now.duration_since(call.since) < LONGEST);
            !calls.is_empty()
        });
        self.all = self.senders.values().map(Vec::len).sum();
    }
}

fn is_over(last: Option<Instant>, now: Instant) -> bool {
    last.is_none_or(|last| now.duration_since(last) >= PAUSE)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use zbus::Message;
    use zbus::message::Flags;

    use super::*;

    fn call(sender: &str, serial: u32) -> Call<'_> {
        Call {
            sender,
            serial,
            wants_answer: true,
        }
    }

    #[test]
    fn a_header_says_whose_the_call_is() {
        for endian in [zbus::wire::Endian::Little, zbus::wire::Endian::Big] {
            for wants_answer in [true, false] {
                let mut builder = Message::method_call("/org/metricsagent", "Reload")
                    .interface("org.metricsagent.Agent1")
                    .destination("org.metricsagent.Agent1")
                    .sender(":1.4711")
                    .serial(77.try_into().unwrap())
                    .endian(endian);
                if !wants_answer {
                    builder = builder.with_flags(Flags::NO_REPLY_EXPECTED);
                }
                let message = builder.build(&("text", 1_u32)).unwrap();
                let bytes = message.data().bytes();
                let order = bytes[0];
                let fields = number(order, *bytes[12..].first_chunk().unwrap());
                let header = &bytes[..16 + fields as usize];
                let expected = Call {
                    sender: ":1.4711",
                    serial: 77,
                    wants_answer,
                };
                assert_eq!(Call::read(header), Some(expected));
                // Cut off anywhere, it is read without harm.
                for end in 0..header.len() {
                    let _ = Call::read(&header[..end]);
                }
            }
        }
    }

    proptest! {
        #[test]
        fn no_header_does_harm(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Call::read(&bytes);
        }
    }

    #[test]
    fn a_connection_has_its_share_and_no_other_is_shut_out() {
        let now = Instant::now();
        let mut calls = Calls::default();
        let names: Vec<_> = (0..ALL_FIRST).map(|n| format!(":1.{n}")).collect();
        for name in &names[..ALL / CONNECTION] {
            for serial in 1..=u32::try_from(CONNECTION).unwrap() {
                calls.enter(call(name, serial), now).unwrap();
            }
            let why = calls.enter(call(name, 99), now).unwrap_err();
            assert!(why.contains("of this connection"), "{why}");
        }
        // All places but those of newcomers are taken.
        let others = &names[ALL / CONNECTION..];
        let (newcomers, late) = others.split_at(ALL_FIRST - ALL);
        for name in newcomers {
            calls.enter(call(name, 1), now).unwrap();
            assert!(calls.enter(call(name, 2), now).is_err());
        }
        assert!(late.is_empty() || calls.enter(call(&late[0], 1), now).is_err());
        // What ends makes room, and only what was there ends.
        calls.end(&newcomers[0], 7);
        calls.end(":2.1", 1);
        assert!(calls.enter(call(":3.1", 1), now).is_err());
        calls.end(&newcomers[0], 1);
        calls.enter(call(":3.1", 1), now).unwrap();
    }

    #[test]
    fn what_is_never_answered_gives_its_place_back() {
        let now = Instant::now();
        let mut calls = Calls::default();
        for serial in 0..u32::try_from(CONNECTION).unwrap() {
            calls.enter(call(":1.1", serial), now).unwrap();
        }
        assert!(calls.enter(call(":1.1", 99), now).is_err());
        calls.enter(call(":1.1", 99), now + LONGEST).unwrap();
        assert_eq!((calls.all, calls.senders.len()), (1, 1));
    }
}
