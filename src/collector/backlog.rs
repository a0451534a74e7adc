//! What to do when more arrives than the collector can read: drop the oldest, and report it.
//! Pure: time is an argument.
//!
//! As long as the collector keeps up, it reads every message in order. Unread messages wait in
//! the kernel, which slows their senders down. That is right for a burst, but under a lasting
//! overload the messages would be older and older when they are read. So a collector that has
//! not caught up for [`BEHIND_AFTER`] reads ahead, and of each host keeps only the latest
//! waiting metrics message ([`Ahead`]); older ones are dropped without being parsed, and
//! counted. Hellos and models are never dropped.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use crate::curve::router::RoutingIdBytes;

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

    /// For how long a message that is read now may have been there, as far as the collector's own time goes:
    /// so long it has not seen an empty socket.
    #[must_use]
    pub fn waited(&self, now: Instant) -> Duration {
        if self.busy.is_zero() {
            return Duration::ZERO;
        }
        let passed = now.saturating_duration_since(self.turn);
        self.busy + passed.min(TURN_AT_MOST)
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

/// Maximum bytes of messages read ahead: 3,000 hosts with full grids. The rest waits in the
/// kernel as usual.
const MAX_BYTES: usize = 64 * 1024 * 1024;

/// Maximum number of messages read ahead; each takes some 700 bytes besides its text.
const MAX_MESSAGES: usize = 50_000;

/// Messages in the order in which they are handled.
#[derive(Debug)]
pub struct Ahead<M> {
    queue: VecDeque<Waiting<M>>,
    /// The position of each host's metrics, counted from the first message ever added.
    metrics: HashMap<Key, u64>,
    /// How many have left the queue.
    left: u64,
    bytes: usize,
}

/// A host on a connection: a relay reports several.
type Key = (RoutingIdBytes, Box<[u8]>);

#[derive(Debug)]
struct Waiting<M> {
    message: M,
    bytes: usize,
    key: Option<Key>,
}

impl<M> Default for Ahead<M> {
    fn default() -> Self {
        Self {
            queue: VecDeque::new(),
            metrics: HashMap::new(),
            left: 0,
            bytes: 0,
        }
    }
}

impl<M> Ahead<M> {
    /// Returns true if nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Returns true if no more may be read ahead.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.bytes >= MAX_BYTES || self.queue.len() >= MAX_MESSAGES
    }

    /// Adds a message of so many bytes; `host` is set if it holds metrics. It replaces that
    /// host's older metrics, which are returned.
    pub fn add(
        &mut self,
        from: &RoutingIdBytes,
        host: Option<&[u8]>,
        message: M,
        bytes: usize,
    ) -> Option<M> {
        self.bytes += bytes;
        let key = host.map(|host| (from.clone(), Box::from(host)));
        let place = key.as_ref().and_then(|key| self.metrics.get(key));
        let older = place
            .and_then(|place| usize::try_from(place - self.left).ok())
            .and_then(|place| self.queue.get_mut(place));
        if let Some(older) = older {
            self.bytes -= std::mem::replace(&mut older.bytes, bytes);
            return Some(std::mem::replace(&mut older.message, message));
        }
        if let Some(key) = &key {
            let place = self.left + self.queue.len() as u64;
            self.metrics.insert(key.clone(), place);
        }
        self.queue.push_back(Waiting {
            message,
            bytes,
            key,
        });
        None
    }

    /// Takes the first message.
    pub fn take(&mut self) -> Option<M> {
        let Waiting {
            message,
            bytes,
            key,
        } = self.queue.pop_front()?;
        self.left += 1;
        self.bytes -= bytes;
        if let Some(key) = key {
            self.metrics.remove(&key);
        }
        if self.queue.is_empty() {
            // It is rarely needed, so its memory is freed.
            (self.queue, self.metrics) = (VecDeque::new(), HashMap::new());
        }
        Some(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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
    fn messages_wait_while_the_socket_is_not_empty() {
        let start = Instant::now();
        let mut backlog = Backlog::new(start);
        // The first one after a quiet time was read at once.
        assert_eq!(backlog.waited(start + CALM), Duration::ZERO);
        backlog.turned(start + TURN, 1000, false);
        backlog.turned(start + TURN * 2, 1000, false);
        assert_eq!(backlog.waited(start + TURN * 3), TURN * 3);
        backlog.turned(start + TURN * 3, 1000, true);
        assert_eq!(backlog.waited(start + TURN * 3), Duration::ZERO);
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

    fn peer(text: &str) -> RoutingIdBytes {
        RoutingIdBytes::from(text.as_bytes())
    }

    fn rest(ahead: &mut Ahead<&'static str>) -> Vec<&'static str> {
        std::iter::from_fn(|| ahead.take()).collect()
    }

    #[test]
    fn the_latest_metrics_of_each_host_stay_in_their_place() {
        let mut ahead = Ahead::default();
        let (a, b) = (peer("A"), peer("B"));
        assert_eq!(ahead.add(&a, Some(b"web1"), "a1", 10), None);
        assert_eq!(ahead.add(&b, Some(b"web1"), "b1", 10), None);
        assert_eq!(ahead.add(&a, Some(b"web2"), "a2", 10), None);
        assert_eq!(ahead.add(&a, None, "hello", 10), None);
        assert_eq!(ahead.add(&a, None, "hello", 10), None);
        assert_eq!(ahead.add(&a, Some(b"web1"), "a1 later", 30), Some("a1"));
        assert_eq!(ahead.add(&b, Some(b"web1"), "b1 later", 10), Some("b1"));
        assert_eq!(ahead.bytes, 70);
        assert_eq!(ahead.take(), Some("a1 later"));
        // A message that was taken cannot be replaced any more.
        assert_eq!(ahead.add(&a, Some(b"web1"), "a1 last", 10), None);
        let expected = ["b1 later", "a2", "hello", "hello", "a1 last"];
        assert_eq!(rest(&mut ahead), expected);
        assert!(ahead.is_empty());
        assert_eq!(ahead.bytes, 0);
        assert_eq!(ahead.queue.capacity(), 0);
    }

    #[test]
    fn it_is_bounded_in_number_and_bytes() {
        let mut ahead = Ahead::default();
        let a = peer("A");
        for number in 0..MAX_MESSAGES {
            assert!(!ahead.is_full());
            assert_eq!(ahead.add(&a, None, number, 1), None);
        }
        assert!(ahead.is_full());
        ahead.take();
        assert!(!ahead.is_full());
        ahead.add(&a, None, 0, MAX_BYTES);
        ahead.take();
        assert!(ahead.is_full());
    }

    proptest! {
        #[test]
        fn nothing_is_lost_but_older_metrics(
            steps in prop::collection::vec((0_u8..4, prop::option::of(0_u8..4), any::<bool>()), 0..200)
        ) {
            let mut ahead = Ahead::default();
            let mut added = Vec::new();
            let mut out = Vec::new();
            for (number, (from, host, take)) in steps.into_iter().enumerate() {
                let host_bytes = host.map(|host| [host]);
                let host_bytes = host_bytes.as_ref().map(<[u8; 1]>::as_slice);
                let older = ahead.add(&peer(&from.to_string()), host_bytes, number, number);
                added.push((number, from, host));
                if let Some(older) = older {
                    // Older metrics of the same host.
                    prop_assert!(older < number);
                    prop_assert_eq!(added[older].1, from);
                    prop_assert!(host.is_some());
                    prop_assert_eq!(added[older].2, host);
                    out.push(older);
                }
                if take {
                    out.extend(ahead.take());
                }
                let bytes: usize = ahead.queue.iter().map(|waiting| waiting.message).sum();
                prop_assert_eq!(ahead.bytes, bytes);
                let with_key = ahead.queue.iter().filter(|waiting| waiting.key.is_some());
                prop_assert_eq!(ahead.metrics.len(), with_key.count());
            }
            out.extend(std::iter::from_fn(|| ahead.take()));
            out.sort_unstable();
            prop_assert!(out.into_iter().eq(0..added.len()));
        }
    }
}
