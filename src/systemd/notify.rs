//! Readiness, status and watchdog: the service's side of `sd_notify(3)`.
//!
//! Without a service manager (`NOTIFY_SOCKET` unset) every call does nothing. A
//! notification that cannot be delivered is lost without harm: the manager's own
//! time-outs are what notices.

use std::time::{Duration, Instant};

use sd_notify::NotifyState;

/// The watchdog is fed once this part of its interval has passed, as systemd recommends
/// (`sd_watchdog_enabled(3)`).
const WATCHDOG_LATEST: u32 = 2;

/// A loop that is awake anyway feeds it from this part on, and spares itself a wake-up.
const WATCHDOG_EARLIEST: u32 = 3;

/// How often the status text is refreshed where there is no watchdog to ride on.
const STATUS_REFRESH: Duration = Duration::from_secs(15);

/// The service manager, as one process talks to it.
#[derive(Debug)]
pub struct Notifier {
    watchdog: Option<Duration>,
    fed: Instant,
    status: String,
}

impl Notifier {
    /// The manager that started this process, if any; `now` counts as the first sign of
    /// life.
    #[must_use]
    pub fn from_environment(now: Instant) -> Self {
        Self::new(sd_notify::watchdog_enabled(), now)
    }

    fn new(watchdog: Option<Duration>, now: Instant) -> Self {
        Self {
            watchdog,
            fed: now,
            status: String::new(),
        }
    }

    /// The service is up: its settings are valid, its name is owned, its sockets exist.
    pub fn ready(&mut self, status: &str) {
        status.clone_into(&mut self.status);
        send(&[NotifyState::Ready, NotifyState::Status(status)]);
    }

    /// The configuration is being read again; [`ready`](Self::ready) must follow.
    pub fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => send(&[NotifyState::Reloading, now]),
            // Type=notify-reload insists on the time stamp, Type=notify does without.
            Err(_) => send(&[NotifyState::Reloading]),
        }
    }

    /// The service is about to end.
    pub fn stopping(&mut self, status: &str) {
        status.clone_into(&mut self.status);
        send(&[NotifyState::Stopping, NotifyState::Status(status)]);
    }

    /// Says at once what the service is doing, where that has changed.
    pub fn status(&mut self, status: &str) {
        if self.status != status {
            status.clone_into(&mut self.status);
            send(&[NotifyState::Status(status)]);
        }
    }

    /// When [`alive`](Self::alive) must be called again at the latest; None where no
    /// watchdog waits for it.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        Some(self.fed + self.watchdog? / WATCHDOG_LATEST)
    }

    /// True where a call of [`alive`](Self::alive) at `now` would say something. Lets a
    /// loop that is awake anyway feed the watchdog early and spare itself a wake-up.
    #[must_use]
    pub fn due(&self, now: Instant) -> bool {
        let interval = self
            .watchdog
            .map_or(STATUS_REFRESH, |watchdog| watchdog / WATCHDOG_EARLIEST);
        now.saturating_duration_since(self.fed) >= interval
    }

    /// The work does not go on: the watchdog is left unfed, and looked at again when it
    /// would have been fed next.
    pub fn withhold(&mut self, now: Instant) {
        self.fed = now;
    }

    /// The loop that does the work has made progress: feeds the watchdog and refreshes the
    /// status text, in one message.
    pub fn alive(&mut self, status: &str, now: Instant) {
        self.fed = now;
        let changed = self.status != status;
        if changed {
            status.clone_into(&mut self.status);
        }
        match (self.watchdog.is_some(), changed) {
            (true, true) => send(&[NotifyState::Watchdog, NotifyState::Status(status)]),
            (true, false) => send(&[NotifyState::Watchdog]),
            (false, true) => send(&[NotifyState::Status(status)]),
            (false, false) => {}
        }
    }
}

/// A count as people read it in a status text: 1234567 as `1,234,567`.
#[must_use]
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

fn send(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!("the service manager was not reached: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_numbers_are_grouped() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (1_234_567, "1,234,567"),
            (u64::MAX, "18,446,744,073,709,551,615"),
        ] {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn the_watchdog_is_fed_twice_an_interval_or_earlier_in_passing() {
        let start = Instant::now();
        let mut notifier = Notifier::new(Some(Duration::from_secs(30)), start);
        assert_eq!(notifier.deadline(), Some(start + Duration::from_secs(15)));
        assert!(!notifier.due(start + Duration::from_secs(9)));
        assert!(notifier.due(start + Duration::from_secs(10)));
        notifier.alive("fine", start + Duration::from_secs(10));
        assert_eq!(notifier.deadline(), Some(start + Duration::from_secs(25)));
    }

    #[test]
    fn without_a_watchdog_nothing_has_to_wake() {
        let start = Instant::now();
        let notifier = Notifier::new(None, start);
        assert_eq!(notifier.deadline(), None);
        assert!(notifier.due(start + STATUS_REFRESH));
    }
}
