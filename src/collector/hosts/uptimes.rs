//! Whether one name is that of two machines with one boot id, by their uptimes. Pure.
//!
//! A machine that was cloned while it ran has the id of its boot and another uptime. The uptime of
//! one machine never goes back within a boot, over however many connections. So if it goes back
//! again and again from one connection to the next, two machines report under one name, also where
//! neither keeps a connection for long.
//!
//! A virtual machine that is set back to an earlier state goes back as well, but never runs ahead of
//! the time that has passed. One that was paused falls behind that time, but does not go back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::boots::{OtherMachine, boot_id};
use crate::curve::router::RoutingIdBytes;
use crate::metrics::table::SYS_UPTIME;
use crate::protocol::grid::Grid;
use crate::protocol::message::GridKind;

/// What differs by less may be a message that was on its way for long, or a clock of the kernel.
const STEP_S: f64 = 60.0;

/// How often the uptime has to go back.
const MIN_RETURNS: usize = 3;

/// They have to be within this time, as for [`super::boots`].
const WINDOW: Duration = Duration::from_secs(3600);

/// The uptimes that a name has reported.
#[derive(Debug, Default)]
pub(super) struct Uptimes {
    last: Option<Reported>,
    /// When it went back, the last ones.
    returns: Vec<Instant>,
    /// It has gone back, and did not run ahead since.
    is_back: bool,
}

#[derive(Debug)]
struct Reported {
    routing_id: RoutingIdBytes,
    boot: u128,
    uptime: f64,
    at: Instant,
    address: Option<Arc<str>>,
}

impl Uptimes {
    /// Records a message. Returns the other machine if there are two that report in turn. A
    /// connection counts from its first model on, which names the boot.
    pub(super) fn note(
        &mut self,
        now: Instant,
        from: &RoutingIdBytes,
        (kind, grid): (GridKind, &Grid),
        address: Option<&Arc<str>>,
    ) -> Option<OtherMachine> {
        let uptime = grid.get(SYS_UPTIME.name)?.as_f64()?;
        if let Some(last) = self.last.as_mut().filter(|last| last.routing_id == *from) {
            last.uptime = uptime;
            last.at = now;
            return None;
        }
        let boot = (kind == GridKind::Model).then(|| boot_id(grid))??;
        let before = self.last.replace(Reported {
            routing_id: from.clone(),
            boot,
            uptime,
            at: now,
            address: address.cloned(),
        })?;
        if before.boot != boot {
            self.returns = Vec::new();
            self.is_back = false;
            return None;
        }
        let passed = now.saturating_duration_since(before.at).as_secs_f64();
        if uptime < before.uptime - STEP_S {
            if !self.is_back {
                self.count(now);
            }
            self.is_back = true;
        } else if uptime > before.uptime + passed + STEP_S {
            self.is_back = false;
        } else {
            return None;
        }
        let lately = |then: &&Instant| now.saturating_duration_since(**then) < WINDOW;
        let are_two = self.returns.iter().filter(lately).count() >= MIN_RETURNS;
        are_two.then_some(OtherMachine(before.address))
    }

    fn count(&mut self, now: Instant) {
        if self.returns.len() >= MIN_RETURNS {
            self.returns.remove(0);
        }
        // Most hosts have none, ever.
        self.returns.reserve_exact(1);
        self.returns.push(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A connection of a machine that was started so many seconds before (or after) the test, that
    /// begins at this second; whether another machine is found.
    fn found(connections: &[(u64, i64)]) -> String {
        let start = Instant::now();
        let mut uptimes = Uptimes::default();
        let mut found = String::new();
        for (number, (second, ahead)) in connections.iter().enumerate() {
            let from = RoutingIdBytes::from(format!("C{number}").as_bytes());
            let address: Arc<str> = format!("{ahead}").into();
            let mut note = |kind, second: u64| {
                let uptime = i64::try_from(second).unwrap() + 100_000 + ahead;
                let boot = "0000000000000000000000000000002a";
                let text = match kind {
                    GridKind::Model => {
                        format!(r#"{{"sys.boot.id": "{boot}", "sys.uptime": {uptime}}}"#)
                    }
                    GridKind::Metrics => format!(r#"{{"sys.uptime": {uptime}}}"#),
                };
                let grid = Grid::parse(text.as_bytes(), kind).unwrap();
                let now = start + Duration::from_secs(second);
                uptimes.note(now, &from, (kind, &grid), Some(&address))
            };
            // Metrics may be there before the model.
            assert_eq!(note(GridKind::Metrics, *second), None);
            let other = note(GridKind::Model, *second);
            assert_eq!(note(GridKind::Metrics, second + 20), None);
            found.push_str(&other.map_or("-".to_owned(), |other| format!("{}", other.0.unwrap())));
        }
        found
    }

    fn every(seconds: u64, ahead: &[i64]) -> Vec<(u64, i64)> {
        let at = (0..).step_by(usize::try_from(seconds).unwrap());
        at.zip(ahead.iter().copied()).collect()
    }

    #[test]
    fn uptimes_that_go_back_and_ahead_in_turn_are_two_machines() {
        let turns = [0, 500, 0, 500, 0, 500, 0, 500, 0];
        assert_eq!(found(&every(30, &turns)), "------5000500");
        assert_eq!(found(&every(30, &turns[1..])), "-----5000500");
        // Three clones.
        assert_eq!(
            found(&every(30, &[0, 900, 500, 0, 900, 500, 0, 900, 500])),
            "--------900"
        );
        // Not within the hour.
        assert_eq!(found(&every(1000, &turns)), "---------");
    }

    #[test]
    fn one_machine_is_one() {
        // Its connections break all the time.
        assert_eq!(found(&every(30, &[0; 20])), "-".repeat(20));
        // It is paused again and again, and falls behind.
        let paused: Vec<_> = (0..20).map(|number| -200 * number).collect();
        assert_eq!(found(&every(300, &paused)), "-".repeat(20));
        // It is set back to an earlier state again and again.
        let set_back: Vec<_> = (0..20).map(|number| -500 * number).collect();
        assert_eq!(found(&every(100, &set_back)), "-".repeat(20));
        // Twice something odd, and differences that are small.
        assert_eq!(found(&every(30, &[0, 500, 0, 500, 0, 0, 0])), "-".repeat(7));
        let small: Vec<_> = (0..20).map(|number| number % 2 * 59).collect();
        assert_eq!(found(&every(30, &small)), "-".repeat(20));
    }

    #[test]
    fn each_boot_begins_anew_and_nothing_grows() {
        let now = Instant::now();
        let mut uptimes = Uptimes::default();
        for number in 0..1000_u32 {
            let from = RoutingIdBytes::from(format!("C{number}").as_bytes());
            let (boot, uptime) = (number / 4, 1000 * (number % 2));
            let text = format!(r#"{{"sys.boot.id": "{boot:032x}", "sys.uptime": {uptime}}}"#);
            let grid = Grid::parse(text.as_bytes(), GridKind::Model).unwrap();
            let other = uptimes.note(now, &from, (GridKind::Model, &grid), None);
            assert_eq!(other, None);
            assert!(uptimes.returns.capacity() <= MIN_RETURNS);
        }
    }
}
