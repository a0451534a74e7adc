//! When a host's samples were taken, by the collector's clock. Pure.
//!
//! A sample has the host's wall clock and its time since boot. Two things may be wrong with the first:
//!
//! - it was set after the sample was taken. A sample of the boot that its message is of is dated by the
//!   time since boot instead, which no clock that is set changes;
//! - it is off all the time. A message says when it was made; it arrives later by its way alone, so the
//!   least difference of some messages is how far the host's clock is off. Below [`TOLERATED`] that is left
//!   alone; above, all times of the host are moved by it. A sample that is told again, to this collector
//!   after a restart or to another one, has to get the same time again, or an engine has it twice: so the
//!   agent is told by how much it is moved and repeats it, and that is changed only where it is wrong.
//!   A message that waited here before it was read is late by up to that time: no clock is taken for behind
//!   because of it.
//!
//! No series goes back in time: see [`Dating::date`].

use std::time::Duration;

use crate::protocol::data::Sent;

/// A clock that is off by less is left alone: such as a host keeps without NTP for some days.
pub(super) const TOLERATED: Duration = Duration::from_secs(5);

/// A clock that was moved for is left alone again once it is off by less.
const GOOD_AGAIN: u64 = TOLERATED.as_secs() * 1_000_000 / 2;

/// By so much, in µs, what an agent repeats may differ from what is found on a new link: its first
/// messages may be slow.
const AGREED: i64 = 250_000;

/// What times are moved by is left as it is while it is too little by less, in µs.
const TOO_LITTLE: i64 = 20_000;

/// And while it is too much by less, in µs.
const TOO_MUCH: i64 = 1000;

/// Both clocks are read one after the other; a difference of more is a clock that was set.
const STEP: u64 = 50_000;

/// So many messages are one window, of which the least difference counts: a host's clock may drift.
const WINDOW: u32 = 64;

/// A host's clock against the collector's, in µs.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Dating {
    /// The least of this window and the one before, collector minus host.
    offset: Option<i64>,
    window: Option<i64>,
    seen: u32,
    /// Wall clock minus time since boot in the last message, with its boot.
    base: Option<([u8; 16], i64)>,
    /// A whole window was seen on this link: the offset is not that of slow messages.
    sure: bool,
    /// Times are moved by so much.
    moved: Option<i64>,
    /// The last time that was given, in ms since 1970.
    last: Option<i64>,
}

/// How a message arrived.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrived {
    /// When it was read, on the collector's wall clock in µs since 1970.
    pub(super) at: i64,
    /// It may have been here for so long before, in µs: so long the collector was busy without a pause.
    pub(super) waited: i64,
}

/// Something to say about a host's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClockNews {
    /// It is off by so much (collector minus host, in µs), and all of its times are moved.
    Moved(i64),
    /// It is right again.
    Right,
}

/// The time of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Dated {
    /// In ms since 1970, later than that of the sample before.
    pub(super) time: i64,
    /// By how many ms it had to be moved so as not to go back.
    pub(super) held: i64,
}

impl Dating {
    /// Goes on after this time, in ms since 1970: the host's last one before a restart.
    #[cfg(test)]
    fn after(last: i64) -> Self {
        Self {
            last: Some(last),
            ..Self::default()
        }
    }

    /// A message has arrived. On a new link nothing is known of its way: `first` begins a new window.
    pub(super) fn hear(&mut self, sent: &Sent, arrived: Arrived, first: bool) -> Option<ClockNews> {
        let base = sent.time.saturating_sub_unsigned(sent.boottime);
        let step = match self.base.replace((sent.boot, base)) {
            Some((boot, before)) if boot == sent.boot => base.saturating_sub(before),
            _ => 0,
        };
        if step.unsigned_abs() > STEP {
            // By exactly so much the clock is off otherwise.
            let shift = |offset: i64| offset.saturating_sub(step);
            self.offset = self.offset.map(shift);
            self.window = self.window.map(shift);
            self.moved = self.moved.map(shift);
        }
        let difference = arrived.at.saturating_sub(sent.time);
        if first {
            (self.offset, self.window, self.seen) = (None, None, 0);
            self.sure = false;
        }
        let least =
            |known: Option<i64>| Some(known.map_or(difference, |least| least.min(difference)));
        self.offset = least(self.offset);
        // A window of nothing but late messages would be of no use.
        if arrived.waited.unsigned_abs() <= STEP {
            self.window = least(self.window);
            self.seen += 1;
        }
        if self.seen >= WINDOW {
            self.seen = 0;
            self.offset = self.window.take();
            self.sure = true;
        }
        let offset = self.offset_micros();
        // The host's clock is behind by so much at least.
        let surely = offset.saturating_sub(arrived.waited);
        let may_be = surely.saturating_sub(AGREED)..=offset.saturating_add(AGREED);
        let agreed = sent.moved != 0 && may_be.contains(&sent.moved);
        let tolerated = i64::try_from(TOLERATED.as_micros()).unwrap_or(i64::MAX);
        match self.moved {
            None if surely >= tolerated || offset <= -tolerated => {
                self.moved = Some(if agreed { sent.moved } else { offset });
                return Some(ClockNews::Moved(offset));
            }
            Some(_) if offset.unsigned_abs() < GOOD_AGAIN => {
                self.moved = None;
                return Some(ClockNews::Right);
            }
            Some(_) if first && agreed => self.moved = Some(sent.moved),
            _ => {}
        }
        // What is less is nearer to the truth, as messages are only late. What is more may be late itself.
        if let Some(moved) = &mut self.moved {
            let more = surely.saturating_sub(*moved);
            let too_little = more > TOO_LITTLE && (self.sure || more > AGREED);
            if offset.saturating_sub(*moved) < -TOO_MUCH || too_little {
                *moved = offset;
            }
        }
        None
    }

    /// By how much times are moved, in µs; 0 for not at all.
    pub(super) fn moved_micros(&self) -> i64 {
        self.moved.unwrap_or(0)
    }

    /// How far the host's clock is off, collector minus host, in µs; never less than the time that messages
    /// take.
    pub(super) fn offset_micros(&self) -> i64 {
        self.offset.unwrap_or(0)
    }

    /// When the last sample was taken, in µs since 1970; None before the first.
    pub(super) fn last_micros(&self) -> Option<i64> {
        self.last.map(|millis| millis.saturating_mul(1000))
    }

    /// The time of a sample of a message that was [heard](Self::hear). It is later than that of the sample
    /// before, by 1 ms at least.
    pub(super) fn date(&mut self, sent: &Sent, time: i64, boottime: u64, boot: &[u8; 16]) -> Dated {
        let mut micros = time.saturating_add(self.moved_micros());
        if *boot == sent.boot && boottime <= sent.boottime {
            let age = i64::try_from(sent.boottime - boottime).unwrap_or(i64::MAX);
            let by_boot = sent.time.saturating_sub(age);
            if by_boot.abs_diff(time) > STEP {
                let found = by_boot.saturating_add(self.moved_micros());
                // If the clock was right then, or off as the agent was told, it was dated by that before it was
                // set: one that is told again has the same time again.
                let told = [time, time.saturating_add(sent.moved)];
                let mut told = told.into_iter();
                let same = told.find(|told| told.abs_diff(found) <= AGREED.unsigned_abs());
                micros = same.unwrap_or(found);
            }
        }
        let wanted = micros.div_euclid(1000);
        let time = self.last.map_or(wanted, |last| wanted.max(last + 1));
        self.last = Some(time);
        Dated {
            time,
            held: time - wanted,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Read at once.
    fn soon(at: i64) -> Arrived {
        Arrived { at, waited: 0 }
    }

    const BOOT: [u8; 16] = [1; 16];
    const SECOND: i64 = 1_000_000;
    /// When the host was booted.
    const ZERO: i64 = 1_700_000_000 * SECOND;

    fn sent(time: i64, boottime: i64) -> Sent {
        Sent {
            time,
            boottime: boottime.unsigned_abs(),
            boot: BOOT,
            ..Sent::default()
        }
    }

    fn date(dating: &mut Dating, sent: &Sent, time: i64, boottime: i64) -> i64 {
        dating.date(sent, time, boottime.unsigned_abs(), &BOOT).time
    }

    #[test]
    fn a_clock_that_is_off_is_said_once_and_times_are_moved() {
        let mut dating = Dating::default();
        for second in 1..10 {
            let true_time = ZERO + second * SECOND;
            let message = sent(true_time - 600 * SECOND, second * SECOND);
            // The first messages are slower.
            let delay = SECOND / second / 10;
            let news = dating.hear(&message, soon(true_time + delay), second == 1);
            let expected = (second == 1).then_some(ClockNews::Moved(600 * SECOND + delay));
            assert_eq!(news, expected);
            let found = date(&mut dating, &message, message.time, second * SECOND);
            let late = found - true_time / 1000;
            assert!((0..=delay / 1000).contains(&late), "{late} ms");
        }
        let message = sent(ZERO + 20 * SECOND, 20 * SECOND);
        assert_eq!(
            dating.hear(&message, soon(ZERO + 20 * SECOND), false),
            Some(ClockNews::Right)
        );
    }

    #[test]
    fn a_clock_that_was_set_dates_no_sample_wrong() {
        let mut dating = Dating::default();
        // It is an hour ahead from second 2 to second 4; nothing is sent meanwhile.
        let hour = 3600 * SECOND;
        let message = sent(ZERO + 6 * SECOND, 6 * SECOND);
        assert_eq!(dating.hear(&message, soon(ZERO + 6 * SECOND), true), None);
        for (second, ahead) in [(1, 0), (2, hour), (3, hour), (4, 0), (5, 0)] {
            let taken = ZERO + second * SECOND + ahead;
            let found = date(&mut dating, &message, taken, second * SECOND);
            assert_eq!(found, (ZERO + second * SECOND) / 1000);
        }
        // It is set ahead while messages are sent: by exactly that much it is off.
        let message = sent(ZERO + 7 * SECOND + hour, 7 * SECOND);
        let news = dating.hear(&message, soon(ZERO + 7 * SECOND + 30_000), false);
        assert_eq!(news, Some(ClockNews::Moved(-hour)));
        let found = date(&mut dating, &message, message.time, 7 * SECOND);
        assert_eq!(found, (ZERO + 7 * SECOND) / 1000);
    }

    #[test]
    fn a_sample_that_is_told_again_gets_the_same_time() {
        let off = 600 * SECOND;
        let message = |second: i64, moved| Sent {
            moved,
            ..sent(ZERO + second * SECOND - off, second * SECOND)
        };
        let (mut first, mut second) = (Dating::default(), Dating::default());
        let told = message(1, 0);
        first.hear(&told, soon(ZERO + SECOND + 3000), true);
        let time = date(&mut first, &told, told.time, SECOND);
        // The next collector gets its first message late, and is told what the one before did.
        let again = message(2, first.moved_micros());
        let news = second.hear(&again, soon(ZERO + 2 * SECOND + 90_000), true);
        assert_eq!(news, Some(ClockNews::Moved(off + 90_000)));
        assert_eq!(date(&mut second, &again, told.time, SECOND), time);
        // Once that is sure to be wrong it is changed.
        for later in 3..3 + i64::from(WINDOW) * 2 {
            let message = message(later, again.moved);
            second.hear(&message, soon(ZERO + later * SECOND + 90_000), false);
        }
        assert_eq!(second.moved_micros(), off + 90_000);
        // What another collector said of another clock is not taken.
        let mut third = Dating::default();
        let message = message(500, again.moved);
        third.hear(&message, soon(ZERO + 530 * SECOND), true);
        assert_eq!(third.moved_micros(), off + 30 * SECOND);
    }

    #[test]
    fn a_message_that_waited_makes_no_clock_behind() {
        let mut dating = Dating::default();
        // More than a window of messages waits for longer and longer, while a fleet returns.
        for second in 1..=100 {
            let message = sent(ZERO + second * SECOND, second * SECOND);
            let late = Arrived {
                at: message.time + second * SECOND / 2,
                waited: second * SECOND / 2,
            };
            assert_eq!(dating.hear(&message, late, second == 1), None);
            let found = date(&mut dating, &message, message.time, second * SECOND);
            assert_eq!(found, message.time / 1000);
        }
        // A clock that is behind by more than that is found all the same, and then how much.
        let mut dating = Dating::default();
        let message = sent(ZERO, SECOND);
        let arrived = |off, waited| Arrived {
            at: ZERO + off * SECOND + waited,
            waited,
        };
        let news = dating.hear(&message, arrived(600, 7 * SECOND), true);
        assert_eq!(news, Some(ClockNews::Moved(607 * SECOND)));
        dating.hear(&message, arrived(600, 0), false);
        assert_eq!(dating.moved_micros(), 600 * SECOND);
        // One that is ahead, too: waiting makes that only less.
        let mut dating = Dating::default();
        let news = dating.hear(&message, arrived(-600, 7 * SECOND), true);
        assert_eq!(news, Some(ClockNews::Moved(-593 * SECOND)));
        // What an agent was told before holds where it may be right.
        let again = Sent {
            moved: 600 * SECOND,
            ..message
        };
        let mut dating = Dating::default();
        dating.hear(&again, arrived(600, 7 * SECOND), true);
        assert_eq!(dating.moved_micros(), 600 * SECOND);
    }

    /// A collector has a sample and is killed before its agent hears so; meanwhile the agent's clock is set.
    #[test]
    fn a_sample_that_is_told_again_after_the_clock_was_set_gets_the_same_time() {
        // The clock was right, or off by an hour which the agent was told.
        for off in [0, 3600 * SECOND] {
            let taken = ZERO + 100 * SECOND;
            let mut first = Dating::default();
            let message = sent(taken - off, 100 * SECOND);
            first.hear(&message, soon(taken + 3000), true);
            let moved = first.moved_micros();
            let told = date(&mut first, &message, taken - off, 100 * SECOND);
            // An hour ahead now, and on a slower way.
            let mut second = Dating::default();
            let later = taken + 20 * SECOND;
            let message = Sent {
                moved,
                ..sent(later + 3600 * SECOND, 120 * SECOND)
            };
            second.hear(&message, soon(later + 47_000), true);
            let again = date(&mut second, &message, taken - off, 100 * SECOND);
            assert_eq!(again, told, "{off}");
        }
    }

    #[test]
    fn a_sample_of_another_boot_keeps_its_time() {
        let mut dating = Dating::default();
        let message = sent(ZERO, 5 * SECOND);
        dating.hear(&message, soon(ZERO), true);
        let dated = dating.date(&message, ZERO - 3600 * SECOND, 7, &[2; 16]);
        assert_eq!(dated.time, (ZERO - 3600 * SECOND) / 1000);
        // One of this boot that claims to be of the future, too.
        let dated = dating.date(
            &message,
            ZERO - 10 * SECOND,
            9 * SECOND.unsigned_abs(),
            &BOOT,
        );
        assert_eq!(dated.time, (ZERO - 10 * SECOND) / 1000);
    }

    #[test]
    fn what_would_go_back_is_held() {
        let mut dating = Dating::after(1_000_000);
        let message = sent(900_000_000, 0);
        let held = |dated: Dated| (dated.time, dated.held);
        let mut date = |time| held(dating.date(&message, time, 1, &[0; 16]));
        assert_eq!(date(900_000_000), (1_000_001, 100_001));
        assert_eq!(date(1_000_001_000), (1_000_002, 1));
        assert_eq!(date(1_000_002_999), (1_000_003, 1));
        assert_eq!(date(1_000_005_000), (1_000_005, 0));
    }

    /// The delay of later messages is forgotten, and a clock that drifts is followed.
    #[test]
    fn drift_is_followed() {
        let mut dating = Dating::default();
        for message in 0..1000 {
            // 10 ms each: far more than any clock drifts.
            let off = message * 10_000;
            let time = ZERO + message * 5 * SECOND;
            dating.hear(
                &sent(time - off, message * 5 * SECOND),
                soon(time),
                message == 0,
            );
            let lag = off - dating.offset_micros();
            assert!((0..=2 * 64 * 10_000).contains(&lag), "{lag}");
        }
    }

    proptest! {
        #[test]
        fn no_time_goes_back(times in prop::collection::vec((any::<i64>(), any::<u64>(), any::<i64>(), any::<u64>()), 1..30)) {
            let mut dating = Dating::default();
            let mut last = i64::MIN;
            for (time, boottime, taken, at) in times {
                let message = Sent { time, boottime, boot: BOOT, ..Sent::default() };
                dating.hear(&message, soon(taken), at % 2 == 0);
                let dated = dating.date(&message, taken, at, &BOOT);
                prop_assert!(dated.time > last || last >= i64::MAX / 1000);
                last = dated.time;
            }
        }
    }
}
