//! What to do when more arrives than the collector can read: drop the oldest, and report it.
//! Pure: time is an argument.
//!
//! As long as the collector keeps up, it reads every message in order. Unread messages wait in
//! libzmq, which slows their senders down. That is right for a burst, but under a lasting
//! overload the messages would be older and older when they are read. So a collector that has
//! not caught up for [`BEHIND_AFTER`] reads ahead, and of each host keeps only the latest
//! waiting metrics message ([`ahead`]); older ones are dropped without being parsed, and
//! counted. Hellos and models are never dropped.

use std::time::{Duration, Instant};

mod ahead;

pub use ahead::Ahead;

/// A collector that has not seen an empty socket for this long is behind. The largest burst
/// that it should handle without dropping, 300,000 messages, takes 7 s.
pub const BEHIND_AFTER: Duration = Duration::from_secs(10);

/// After this many bytes without an empty socket it is behind, too: large messages fill the
/// memory before the time is over. 10,000 hosts with 20 KiB each are 200 MB.
pub const BEHIND_BYTES: usize = 256 * 1024 * 1024;

/// It has caught up when it has seen only empty sockets, and dropped nothing, for this long, so
/// that a load at the limit is one episode, not many.
pub const CALM: Duration = Duration::from_secs(5);

/// A longer time between two turns is not caused by messages (the machine was suspended), and
/// counts as this.
const TURN_AT_MOST: Duration = Duration::from_secs(5);

/// Tracks whether the collector keeps up.
#[derive(Debug)]
pub struct Backlog {
    /// The last turn.
    turn: Instant,
    /// For how long, and how many bytes, the socket was not empty.
    busy: Duration,
    bytes: usize,
    episode: Option<Episode>,
}

#[derive(Debug)]
struct Episode {
    began: Instant,
    /// When a turn last left something, or a message was dropped.
    troubled: Instant,
    dropped: u64,
}

/// A change to report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// It is behind from now on.
    Behind,
    /// It has caught up.
    CaughtUp {
        /// How long it was behind.
        lasted: Duration,
        /// How many messages were dropped meanwhile.
        dropped: u64,
    },
}

impl Backlog {
    /// Nothing waits.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self {
            turn: now,
            busy: Duration::ZERO,
            bytes: 0,
            episode: None,
        }
    }

    /// Returns true if messages must be read ahead and dropped.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        self.episode.is_some()
    }

    /// Records that a message was dropped.
    pub fn dropped(&mut self, now: Instant) {
        if let Some(episode) = &mut self.episode {
            episode.dropped += 1;
            episode.troubled = now;
        }
    }

    /// Records the end of a turn that read so many bytes; `drained` if no message was left.
    /// Returns a change to report.
    pub fn turned(&mut self, now: Instant, bytes: usize, drained: bool) -> Option<News> {
        let passed = now.saturating_duration_since(self.turn).min(TURN_AT_MOST);
        self.turn = now;
        if drained {
            (self.busy, self.bytes) = (Duration::ZERO, 0);
        } else {
            self.busy += passed;
            self.bytes = self.bytes.saturating_add(bytes);
        }
        match &mut self.episode {
            Some(episode) if !drained => {
                episode.troubled = now;
                None
            }
            Some(episode) if now.saturating_duration_since(episode.troubled) < CALM => None,
            Some(episode) => {
                let news = News::CaughtUp {
                    lasted: episode.troubled.saturating_duration_since(episode.began),
                    dropped: episode.dropped,
                };
                self.episode = None;
                Some(news)
            }
            None if self.busy >= BEHIND_AFTER || self.bytes >= BEHIND_BYTES => {
                self.episode = Some(Episode {
                    began: now,
                    troubled: now,
                    dropped: 0,
                });
                Some(News::Behind)
            }
            None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TURN: Duration = Duration::from_millis(10);

    /// Turns without an empty socket until there is news; when that is.
    fn until_news(backlog: &mut Backlog, mut now: Instant, bytes: usize) -> (Instant, News) {
        loop {
            now += TURN;
            if let Some(news) = backlog.turned(now, bytes, false) {
                return (now, news);
            }
        }
    }

    #[test]
    fn a_burst_is_no_backlog() {
        let mut now = Instant::now();
        let mut backlog = Backlog::new(now);
        for _ in 0..10 {
            let end = now + BEHIND_AFTER.saturating_sub(TURN);
            while now < end {
                now += TURN;
                assert_eq!(backlog.turned(now, 100_000, false), None);
            }
            assert_eq!(backlog.turned(now, 100_000, true), None);
            assert!(!backlog.is_behind());
        }
    }

    #[test]
    fn a_load_that_stays_is_told_once_and_so_is_its_end() {
        let start = Instant::now();
        let mut backlog = Backlog::new(start);
        let (mut now, news) = until_news(&mut backlog, start, 1000);
        assert_eq!((now, news), (start + BEHIND_AFTER, News::Behind));
        let began = now;
        assert!(backlog.is_behind());
        // Now and then it is done, as what was dropped is not read.
        for number in 0..10_000 {
            now += TURN;
            backlog.dropped(now);
            assert_eq!(backlog.turned(now, 1000, number % 3 > 0), None);
        }
        let troubled = now;
        while now < troubled + CALM.saturating_sub(TURN) {
            now += TURN;
            assert_eq!(backlog.turned(now, 1000, true), None);
        }
        now += TURN;
        let expected = News::CaughtUp {
            lasted: troubled - began,
            dropped: 10_000,
        };
        assert_eq!(backlog.turned(now, 1000, true), Some(expected));
        assert!(!backlog.is_behind());
        assert_eq!(backlog.turned(now, 1000, true), None);
    }

    #[test]
    fn large_messages_are_noticed_before_they_fill_the_memory() {
        let start = Instant::now();
        let mut backlog = Backlog::new(start);
        let mib = 1024 * 1024;
        let (now, news) = until_news(&mut backlog, start, 4 * mib);
        assert_eq!((now, news), (start + 64 * TURN, News::Behind));
    }

    /// Suspended for an hour: what has piled up is read, not dropped.
    #[test]
    fn a_pause_of_its_own_is_no_load() {
        let start = Instant::now();
        let mut backlog = Backlog::new(start);
        let now = start + Duration::from_secs(3600);
        assert_eq!(backlog.turned(now, 1000, false), None);
        let (behind, _) = until_news(&mut backlog, now, 1000);
        assert_eq!(behind - now + TURN_AT_MOST, BEHIND_AFTER);
    }
}
