//! Whether one name is that of two machines, by the ids of their boots. Pure.
//!
//! Each boot has a random id, which is in the model. A machine that is started again has a new
//! one. So if ids come back in turn, two machines report under one name, also where neither keeps
//! a connection for long. One machine has one id over all of its connections, paths and
//! addresses.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::metrics::table::SYS_BOOT_ID;
use crate::protocol::grid::{Grid, Value};

/// Digits of an id, without dashes.
const ID_DIGITS: usize = 32;

/// Maximum number of ids that are remembered: this many clones of one name are told apart.
const MAX_BOOTS: usize = 8;

/// How often ids have to come back. A virtual machine that is set back to an earlier state has
/// its old id once more, and a proxy may deliver an old message once more.
const MIN_RETURNS: u32 = 3;

/// They have to come back within this time: an agent that cannot connect tries at least once a
/// minute.
const WINDOW: Duration = Duration::from_secs(3600);

/// The boots of which a name has reported. The last one is the current one.
#[derive(Debug, Default)]
pub(super) struct Boots {
    recent: Vec<Boot>,
    returns: u32,
}

#[derive(Debug)]
struct Boot {
    id: u128,
    address: Option<Arc<str>>,
    came_back: Option<Instant>,
}

/// The address of the other machine.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct OtherMachine(pub(super) Option<Arc<str>>);

/// The id of the boot that a model names.
pub(super) fn boot_id(model: &Grid) -> Option<u128> {
    match model.get(SYS_BOOT_ID.name) {
        Some(Value::Text(id)) if id.len() == ID_DIGITS => u128::from_str_radix(id, 16).ok(),
        _ => None,
    }
}

impl Boots {
    /// The id of the boot that it reported last.
    pub(super) fn current(&self) -> Option<u128> {
        self.recent.last().map(|boot| boot.id)
    }

    /// Records the id of a model. Returns the other machine, if there are two that report in
    /// turn.
    pub(super) fn note(
        &mut self,
        now: Instant,
        id: u128,
        address: Option<&Arc<str>>,
    ) -> Option<OtherMachine> {
        let address = address.cloned();
        if let Some(boot) = self.recent.last_mut()
            && boot.id == id
        {
            boot.address = address;
            return None;
        }
        let lately = |then: Option<Instant>| {
            then.is_some_and(|then| now.saturating_duration_since(then) < WINDOW)
        };
        let known = self.recent.iter().position(|boot| boot.id == id);
        let came_back = known.map(|_| now);
        if known.is_some() {
            let goes_on = self.recent.iter().any(|boot| lately(boot.came_back));
            self.returns = if goes_on {
                self.returns.saturating_add(1)
            } else {
                1
            };
        }
        if let Some(at) = known.or((self.recent.len() >= MAX_BOOTS).then_some(0)) {
            self.recent.remove(at);
        }
        let other = self.recent.last().filter(|_| known.is_some());
        let other = other.filter(|other| lately(other.came_back) && self.returns >= MIN_RETURNS);
        let other = other.map(|other| OtherMachine(other.address.clone()));
        // Most hosts have one for long.
        self.recent.reserve_exact(1);
        self.recent.push(Boot {
            id,
            address,
            came_back,
        });
        other
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::message::GridKind;

    /// For each id, reported that many seconds apart, whether another machine is found.
    fn found(ids: &str, seconds: u64) -> String {
        let start = Instant::now();
        let mut boots = Boots::default();
        let note = |(number, id): (usize, char)| {
            let now = start + Duration::from_secs(seconds * number as u64);
            let address: Arc<str> = format!("at {id}").into();
            match boots.note(now, id as u128, Some(&address)) {
                Some(OtherMachine(address)) => address.unwrap().chars().last().unwrap(),
                None => '-',
            }
        };
        ids.chars().enumerate().map(note).collect()
    }

    #[test]
    fn ids_that_come_back_in_turn_are_two_machines() {
        assert_eq!(found("abababaa", 60), "----bab-");
        assert_eq!(found("abcabcab", 60), "-----bca");
        // Machines that are started again now and then, an old message, a state set back to.
        assert_eq!(found("aabbccdd", 60), "--------");
        assert_eq!(found("abaabbcc", 60), "--------");
        assert_eq!(found("abacadaeafa", 60), "-----------");
        // Not within the hour.
        assert_eq!(found("abababab", 3600), "--------");
    }

    #[test]
    fn as_many_ids_as_are_remembered_are_told_apart() {
        assert_eq!(found("abcdefghabcdefgh", 10), "----------bcdefg");
        let mut boots = Boots::default();
        for id in 0..1000 {
            assert_eq!(boots.note(Instant::now(), id, None), None);
            assert!(boots.recent.capacity() <= MAX_BOOTS + 1);
        }
        assert_eq!(boots.current(), Some(999));
    }

    #[test]
    fn an_id_is_what_the_kernel_makes() {
        let model = |id: &str| {
            let text = format!(r#"{{"sys.boot.id": {id}}}"#);
            boot_id(&Grid::parse(text.as_bytes(), GridKind::Model).unwrap())
        };
        assert_eq!(model(r#""0000000000000000000000000000002a""#), Some(42));
        for other in [
            "42",
            r#""2a""#,
            r#""""#,
            r#""zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz""#,
        ] {
            assert_eq!(model(other), None, "{other}");
        }
    }
}
