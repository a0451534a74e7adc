//! Messages that were read ahead: of each host only the latest metrics.

use std::collections::{HashMap, VecDeque};

use crate::curve::router::RoutingIdBytes;

/// Maximum bytes of messages read ahead: 3,000 hosts with full grids. The rest waits in libzmq
/// as usual.
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
