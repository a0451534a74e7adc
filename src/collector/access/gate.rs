//! Decides which keys are let in and which names they may report under, and says why a message is
//! refused. Pure: time is an argument.

use std::{sync::Arc, time::Instant};

use jiff::Timestamp;
use thiserror::Error;

use super::directory::{AllowList, Change};
use super::key_log::{Decision, KeyLog};
use super::pins::{ClaimError, MAX_PINS, MAX_PINS_OF_KEY, Pin, Pins};
use super::{Authorized, Listener};
use crate::base::{
    shell, text,
    throttle::{PeerThrottle, Tell},
};
use crate::collector::hosts::Trust;
use crate::curve::keys::PublicKey;

/// A moment on both clocks: the monotonic one for rate limits, the wall clock for what people
/// read.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// For intervals.
    pub now: Instant,
    /// Seconds since 1970.
    pub unix: u64,
}

/// What was decided since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AccessCounters {
    /// Handshakes that were let through.
    pub admitted: u64,
    /// Handshakes that were refused.
    pub refused: u64,
    /// Messages that were refused, of those that had been let in.
    pub messages_refused: u64,
}

/// The decision on a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Knock {
    /// Let in.
    Admitted,
    /// Refused, and what to log about it.
    Refused(Tell),
}

/// Decides.
#[derive(Debug)]
pub struct Gate {
    authorized: Authorized,
    agents: AllowList,
    viewers: AllowList,
    /// Set if names are pinned.
    pins: Option<Pins>,
    /// The pins have changed since they were last taken to be saved.
    pins_changed: bool,
    seen: KeyLog,
    seen_changed: bool,
    refused_keys: PeerThrottle<PublicKey>,
    taken_names: PeerThrottle<PublicKey>,
    totals: AccessCounters,
}

impl Gate {
    /// Makes a gate with empty lists.
    #[must_use]
    pub fn new(authorized: Authorized, pins: Option<Pins>, seen: KeyLog) -> Self {
        Self {
            authorized,
            agents: AllowList::default(),
            viewers: AllowList::default(),
            pins,
            pins_changed: false,
            seen,
            seen_changed: false,
            refused_keys: PeerThrottle::default(),
            taken_names: PeerThrottle::default(),
            totals: AccessCounters::default(),
        }
    }

    /// Whose keys are let in as agents.
    #[must_use]
    pub fn authorized(&self) -> Authorized {
        self.authorized
    }

    /// Changes which agents are let in. Connected agents are checked again with their next
    /// message.
    pub fn authorize(&mut self, authorized: Authorized) {
        self.authorized = authorized;
        // The key log has it.
        self.seen_changed = true;
    }

    /// Returns true if a key is let in as an agent.
    #[must_use]
    pub fn is_agent(&self, key: &PublicKey) -> bool {
        self.standing(Listener::Agents, key) != Decision::Refused
    }

    /// Returns true if a key is let in as a viewer.
    #[must_use]
    pub fn is_viewer(&self, key: &PublicKey) -> bool {
        self.viewers.contains(key)
    }

    /// Replaces a list by one that was read. Returns what changes by that.
    pub fn list(&mut self, listener: Listener, list: AllowList) -> Change {
        let kept = match listener {
            Listener::Agents => &mut self.agents,
            Listener::Viewers => &mut self.viewers,
        };
        let change = list.change_since(kept);
        *kept = list;
        change
    }

    /// How many keys are listed.
    #[must_use]
    pub fn listed(&self, listener: Listener) -> usize {
        match listener {
            Listener::Agents => self.agents.len(),
            Listener::Viewers => self.viewers.len(),
        }
    }

    /// Decides on a handshake of a peer that has proved to hold `key`.
    pub fn knock(
        &mut self,
        at: Moment,
        listener: Listener,
        key: PublicKey,
        address: &str,
    ) -> Knock {
        let standing = self.standing(listener, &key);
        self.seen
            .knocked((listener, key), address, standing, at.unix);
        self.seen_changed = true;
        if standing == Decision::Refused {
            self.totals.refused += 1;
            return Knock::Refused(self.refused_keys.note(at.now, &key));
        }
        self.totals.admitted += 1;
        Knock::Admitted
    }

    /// Decides on a message of a key that was let in, under this host name if it has one.
    /// Returns why the key is trusted.
    ///
    /// # Errors
    ///
    /// [`AccessRefusal`]: the message must be dropped.
    pub fn admit(
        &mut self,
        unix: u64,
        listener: Listener,
        key: Option<PublicKey>,
        host: Option<&str>,
    ) -> Result<Trust, AccessRefusal> {
        self.judge(unix, listener, key, host)
            .inspect_err(|_| self.totals.messages_refused += 1)
    }

    fn judge(
        &mut self,
        unix: u64,
        listener: Listener,
        key: Option<PublicKey>,
        host: Option<&str>,
    ) -> Result<Trust, AccessRefusal> {
        let key = key.ok_or(AccessRefusal::Unknown)?;
        // The key may have been taken off the list since its handshake.
        let mut trust = match self.standing(listener, &key) {
            Decision::Refused => return Err(AccessRefusal::NotAuthorized { listener, key }),
            Decision::Allowed => Trust::Listed,
            Decision::Any => Trust::New,
        };
        if let (Listener::Agents, Some(host), Some(pins)) = (listener, host, &self.pins) {
            match pins.may_claim(host, key) {
                Ok(false) if trust == Trust::New => trust = Trust::Pinned,
                Ok(_) => {}
                Err(ClaimError::Taken { host, pin }) => {
                    return Err(AccessRefusal::NameTaken { host, key, pin });
                }
                Err(ClaimError::Full) => return Err(AccessRefusal::TooManyNames),
                Err(ClaimError::KeyFull) => return Err(AccessRefusal::TooManyNamesOfKey(key)),
            }
        }
        self.seen.note((listener, key), host, unix);
        self.seen_changed = true;
        Ok(trust)
    }

    /// Records that an [admitted](Self::admit) host is in the table. If names are pinned, its
    /// name belongs to its key from now on.
    pub fn settle(&mut self, unix: u64, key: PublicKey, host: &str) {
        if let Some(pins) = &mut self.pins {
            // No other key can have claimed it in between.
            self.pins_changed |= pins.claim(host, key, unix).unwrap_or(false);
        }
    }

    fn standing(&self, listener: Listener, key: &PublicKey) -> Decision {
        let (list, anybody) = match listener {
            Listener::Agents => (&self.agents, self.authorized == Authorized::Any),
            Listener::Viewers => (&self.viewers, false),
        };
        if list.contains(key) {
            Decision::Allowed
        } else if anybody {
            Decision::Any
        } else {
            Decision::Refused
        }
    }

    /// A message was refused because its name belongs to another key. Returns what to log about
    /// it. Limited for each claiming key, and apart from other refusals, so that a flood of
    /// those does not hide it.
    pub fn name_was_taken(&mut self, now: Instant, key: &PublicKey) -> Tell {
        self.taken_names.note(now, key)
    }

    /// Removes the pin of a name: the next key that reports under it gets it. Returns true if
    /// it was pinned.
    pub fn forget(&mut self, host: &str) -> bool {
        let forgotten = self.pins.as_mut().and_then(|pins| pins.forget(host));
        self.pins_changed |= forgotten.is_some();
        // A refusal under this name from now on concerns another pin, so it is logged again.
        self.taken_names = PeerThrottle::default();
        forgotten.is_some()
    }

    /// Removes all pins of a key. Returns how many there were.
    pub fn forget_key(&mut self, key: PublicKey) -> usize {
        let pins = self.pins.as_mut();
        let forgotten = pins.map_or(0, |pins| pins.forget_key(key));
        self.pins_changed |= forgotten > 0;
        forgotten
    }

    /// The pins, if names are pinned.
    #[must_use]
    pub fn pins(&self) -> Option<&Pins> {
        self.pins.as_ref()
    }

    /// Returns true if the pins must be saved, and marks them as saved.
    pub fn take_pins_changed(&mut self) -> bool {
        std::mem::take(&mut self.pins_changed)
    }

    /// Returns true if the pins must be saved.
    #[must_use]
    pub fn pins_changed(&self) -> bool {
        self.pins_changed
    }

    /// The pins could not be saved: they must be saved again.
    pub fn pins_not_kept(&mut self) {
        self.pins_changed = true;
    }

    /// The keys that have connected.
    #[must_use]
    pub fn seen(&self) -> &KeyLog {
        &self.seen
    }

    /// Returns true if the keys have changed since they were last taken.
    #[must_use]
    pub fn seen_changed(&self) -> bool {
        self.seen_changed
    }

    /// Returns true if the keys must be saved, and marks them as saved.
    pub fn take_seen_changed(&mut self) -> bool {
        std::mem::take(&mut self.seen_changed)
    }

    /// What was decided so far.
    #[must_use]
    pub fn totals(&self) -> AccessCounters {
        self.totals
    }
}

/// Why a message is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AccessRefusal {
    /// Nothing is known of its key.
    #[error("peer was not authenticated")]
    Unknown,
    /// The key is not, or no longer, on the list.
    #[error("its key is not in {}; `{}` lets that {} in", .listener.directory(), allow(*.listener, .key), .listener.role())]
    NotAuthorized {
        /// The listener that it connected to.
        listener: Listener,
        /// Its key.
        key: PublicKey,
    },
    /// The host name belongs to another key.
    #[error(
        "the host name {} belongs to the key {} since {}, and this is the key {key}; \
         `{}` gives it the name, if it should have it",
        text::quoted(.host), .pin.key, day(.pin), forget(.host)
    )]
    NameTaken {
        /// The name.
        host: Arc<str>,
        /// The key that reported under it.
        key: PublicKey,
        /// The pin of that key.
        pin: Pin,
    },
    /// Too many names are pinned.
    #[error(
        "too many host names are pinned (limit {MAX_PINS}); `metrics-collector keys list` shows them, \
         and `metrics-collector keys forget HOST` removes one"
    )]
    TooManyNames,
    /// The key has as many pinned names as it may have.
    #[error(
        "too many host names pinned for this key (limit {MAX_PINS_OF_KEY}); \
         `metrics-collector keys forget --key {}` removes them all",
        shell::word(&.0.to_string())
    )]
    TooManyNamesOfKey(PublicKey),
}

/// The command that lets a key in, as an administrator would type it. A key may begin with a
/// dash.
pub(crate) fn allow(listener: Listener, key: &PublicKey) -> String {
    let viewer = match listener {
        Listener::Agents => None,
        Listener::Viewers => Some("--viewer"),
    };
    let words = ["metrics-collector", "keys", "allow"].into_iter();
    let words: Vec<_> = words.chain(viewer).chain(["--"]).collect();
    shell::command(&words, &[&key.to_string()])
}

/// The command that removes the pin of a host name.
pub(crate) fn forget(host: &str) -> String {
    shell::command(&["metrics-collector", "keys", "forget"], &[host])
}

fn day(pin: &Pin) -> String {
    let since = i64::try_from(pin.since).unwrap_or(0);
    let since = Timestamp::from_second(since).unwrap_or(Timestamp::UNIX_EPOCH);
    since.strftime("%Y-%m-%d").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::text::hostile;
    use crate::collector::access::pins::Pin;
    use proptest::prelude::*;
    use std::sync::Arc;
    use std::time::Duration;

    fn key(number: u8) -> PublicKey {
        PublicKey::from_bytes([number; 32])
    }

    fn list(keys: &[u8]) -> AllowList {
        AllowList::new(
            keys.iter()
                .map(|number| (Arc::from(format!("n{number}")), key(*number))),
        )
    }

    fn at(unix: u64) -> Moment {
        Moment {
            now: Instant::now(),
            unix,
        }
    }

    fn gate(authorized: Authorized) -> Gate {
        let mut gate = Gate::new(authorized, None, KeyLog::default());
        gate.list(Listener::Agents, list(&[1]));
        gate.list(Listener::Viewers, list(&[2]));
        gate
    }

    fn admitted(gate: &mut Gate, listener: Listener, number: u8) -> bool {
        let knock = gate.knock(at(1), listener, key(number), "10.0.0.1");
        let says = gate.admit(1, listener, Some(key(number)), None);
        assert_eq!(knock == Knock::Admitted, says.is_ok());
        says.is_ok()
    }

    #[test]
    fn a_directory_lets_in_those_listed_at_that_door() {
        let mut gate = gate(Authorized::Directory);
        assert!(admitted(&mut gate, Listener::Agents, 1));
        assert!(!admitted(&mut gate, Listener::Agents, 2));
        assert!(!admitted(&mut gate, Listener::Viewers, 1));
        assert!(admitted(&mut gate, Listener::Viewers, 2));
        let standing =
            |listener, number| gate.seen().get(&(listener, key(number))).unwrap().standing;
        assert_eq!(standing(Listener::Agents, 1), Decision::Allowed);
        assert_eq!(standing(Listener::Agents, 2), Decision::Refused);
        let totals = AccessCounters {
            admitted: 2,
            refused: 2,
            messages_refused: 2,
        };
        assert_eq!(gate.totals(), totals);
    }

    #[test]
    fn any_lets_in_every_agent_and_no_viewer_that_is_not_listed() {
        let mut gate = gate(Authorized::Any);
        assert!(admitted(&mut gate, Listener::Agents, 1));
        assert!(admitted(&mut gate, Listener::Agents, 2));
        assert!(!admitted(&mut gate, Listener::Viewers, 1));
        let standing = |number| {
            gate.seen()
                .get(&(Listener::Agents, key(number)))
                .unwrap()
                .standing
        };
        assert_eq!(standing(1), Decision::Allowed);
        assert_eq!(standing(2), Decision::Any);
    }

    #[test]
    fn a_peer_that_was_not_authenticated_is_not_heard() {
        let mut gate = gate(Authorized::Any);
        let refusal = gate.admit(1, Listener::Agents, None, Some("web1"));
        assert_eq!(refusal, Err(AccessRefusal::Unknown));
    }

    #[test]
    fn a_key_that_is_taken_off_the_list_is_not_heard_from_then_on() {
        let mut gate = gate(Authorized::Directory);
        let says = |gate: &mut Gate| gate.admit(5, Listener::Agents, Some(key(1)), Some("web1"));
        assert!(admitted(&mut gate, Listener::Agents, 1));
        assert_eq!(says(&mut gate), Ok(Trust::Listed));
        let change = gate.list(Listener::Agents, list(&[3]));
        assert_eq!(
            (change.added, change.removed),
            (vec!["n3".into()], vec!["n1".into()])
        );
        let refusal = AccessRefusal::NotAuthorized {
            listener: Listener::Agents,
            key: key(1),
        };
        assert_eq!(says(&mut gate), Err(refusal));
        gate.list(Listener::Agents, list(&[1]));
        assert_eq!(says(&mut gate), Ok(Trust::Listed));
    }

    #[test]
    fn a_pinned_name_is_its_first_keys() {
        let mut gate = Gate::new(Authorized::Any, Some(Pins::default()), KeyLog::default());
        let says = |gate: &mut Gate, number: u8, host: &str| {
            let trust = gate.admit(7, Listener::Agents, Some(key(number)), Some(host))?;
            gate.settle(7, key(number), host);
            Ok(trust)
        };
        // Not before its host is in the table.
        let admitted = gate.admit(7, Listener::Agents, Some(key(2)), Some("web1"));
        assert_eq!((admitted, gate.pins_changed()), (Ok(Trust::New), false));
        assert_eq!(says(&mut gate, 1, "web1"), Ok(Trust::New));
        assert!(gate.take_pins_changed());
        assert_eq!(says(&mut gate, 1, "web1"), Ok(Trust::Pinned));
        assert!(!gate.pins_changed());
        let taken = AccessRefusal::NameTaken {
            host: "web1".into(),
            key: key(2),
            pin: Pin {
                key: key(1),
                since: 7,
            },
        };
        assert_eq!(says(&mut gate, 2, "web1"), Err(taken));
        assert!(!gate.pins_changed());
        // A hello names no host.
        assert_eq!(
            gate.admit(7, Listener::Agents, Some(key(2)), None),
            Ok(Trust::New)
        );
        assert!(gate.forget("web1"));
        assert!(gate.take_pins_changed());
        assert!(!gate.forget("web1"));
        assert_eq!(says(&mut gate, 2, "web1"), Ok(Trust::New));
        assert!(says(&mut gate, 1, "web1").is_err());
        // All of a key at once.
        assert_eq!(says(&mut gate, 2, "web2"), Ok(Trust::New));
        gate.take_pins_changed();
        assert_eq!(gate.forget_key(key(1)), 0);
        assert!(!gate.pins_changed());
        assert_eq!(gate.forget_key(key(2)), 2);
        assert!(gate.take_pins_changed());
        assert_eq!(says(&mut gate, 1, "web1"), Ok(Trust::New));
    }

    #[test]
    fn a_key_has_no_more_pins_than_hosts() {
        use crate::collector::access::pins::MAX_PINS_OF_KEY;

        let mut gate = Gate::new(Authorized::Any, Some(Pins::default()), KeyLog::default());
        for number in 0..MAX_PINS_OF_KEY {
            gate.settle(7, key(1), &number.to_string());
        }
        let says =
            |gate: &mut Gate, by| gate.admit(7, Listener::Agents, Some(key(by)), Some("more"));
        let refusal = says(&mut gate, 1).unwrap_err();
        assert_eq!(refusal, AccessRefusal::TooManyNamesOfKey(key(1)));
        let way_out = format!("`metrics-collector keys forget --key {}`", key(1));
        assert!(refusal.to_string().contains(&way_out), "{refusal}");
        assert_eq!(says(&mut gate, 2), Ok(Trust::New));
    }

    #[test]
    fn names_are_free_where_they_are_not_pinned() {
        let mut gate = gate(Authorized::Any);
        for number in 1..4 {
            let says = gate.admit(7, Listener::Agents, Some(key(number)), Some("web1"));
            let listed = number == 1;
            let trust = if listed { Trust::Listed } else { Trust::New };
            assert_eq!(says, Ok(trust));
        }
        assert!(!gate.pins_changed());
    }

    #[test]
    fn a_refused_key_does_not_get_a_name() {
        let mut gate = Gate::new(
            Authorized::Directory,
            Some(Pins::default()),
            KeyLog::default(),
        );
        let says = gate.admit(7, Listener::Agents, Some(key(1)), Some("web1"));
        assert!(says.is_err());
        assert!(gate.pins().unwrap().is_empty());
    }

    #[test]
    fn a_key_is_told_of_once_a_minute_and_a_crowd_as_one() {
        let mut gate = gate(Authorized::Directory);
        let start = Instant::now();
        let mut knock = |seconds, number: usize| {
            let mut bytes = [9; 32];
            bytes[..8].copy_from_slice(&number.to_le_bytes());
            let at = Moment {
                now: start + Duration::from_secs(seconds),
                unix: seconds,
            };
            gate.knock(
                at,
                Listener::Agents,
                PublicKey::from_bytes(bytes),
                "10.0.0.1",
            )
        };
        assert_eq!(knock(0, 1), Knock::Refused(Tell::Peer { untold: 0 }));
        assert_eq!(knock(59, 1), Knock::Refused(Tell::Nothing));
        assert_eq!(knock(60, 1), Knock::Refused(Tell::Peer { untold: 1 }));
        let told = (0..10_000).filter(|number| {
            let knock = knock(61, 100 + number);
            assert_ne!(knock, Knock::Admitted);
            knock != Knock::Refused(Tell::Nothing)
        });
        assert!(told.count() <= crate::base::throttle::MAX_PEERS + 1);
    }

    #[test]
    fn it_names_the_way_out() {
        let key = |number| PublicKey::from_bytes([number; 32]);
        let refusal = AccessRefusal::NameTaken {
            host: "web1".into(),
            key: key(2),
            pin: Pin {
                key: key(1),
                since: 1_700_000_000,
            },
        };
        let (one, two) = (key(1), key(2));
        assert_eq!(
            refusal.to_string(),
            format!(
                "the host name web1 belongs to the key {one} since 2023-11-14, and this is the \
                 key {two}; `metrics-collector keys forget web1` gives it the name, if it should \
                 have it"
            )
        );
        let refusal = AccessRefusal::NotAuthorized {
            listener: Listener::Agents,
            key: two,
        };
        let command = allow(Listener::Agents, &two);
        let text = format!("its key is not in authorized_agents; `{command}` lets that agent in");
        assert_eq!(refusal.to_string(), text);
    }

    #[test]
    fn a_hint_can_be_typed() {
        let key = "-:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7-".parse().unwrap();
        assert_eq!(
            allow(Listener::Viewers, &key),
            "metrics-collector keys allow --viewer -- '-:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7-'"
        );
    }

    proptest! {
        #[test]
        fn no_name_is_more_than_a_word_of_the_command(text in hostile::texts()) {
            let refusal = AccessRefusal::NameTaken {
                host: text.as_str().into(),
                key: PublicKey::from_bytes([2; 32]),
                pin: Pin { key: PublicKey::from_bytes([1; 32]), since: 0 },
            };
            let shown = refusal.to_string();
            hostile::assert_harmless(&shown);
            prop_assert!(!shown.contains('\n'), "{shown:?}");
            let command = shell::command(&["metrics-collector", "keys", "forget"], &[&text]);
            prop_assert!(shown.contains(&format!("`{command}`")), "{shown:?}");
        }
    }

    #[test]
    fn a_name_cannot_add_a_command() {
        let refusal = AccessRefusal::NameTaken {
            host: "x;touch /tmp/y".into(),
            key: PublicKey::from_bytes([2; 32]),
            pin: Pin {
                key: PublicKey::from_bytes([1; 32]),
                since: 0,
            },
        };
        let shown = refusal.to_string();
        assert!(
            shown.contains("`metrics-collector keys forget 'x;touch /tmp/y'`"),
            "{shown}"
        );
    }
}
