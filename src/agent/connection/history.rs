//! What a connection knows of the second wire: what its collector has said of it on this link, and
//! which bodies the socket has not taken yet.
//!
//! Pure. It refuses to decide what is sent: that is the history's, by the agent's task.

use std::collections::VecDeque;
use std::sync::Arc;

use super::HistoryOrder;

/// What the collector has said on this link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Standing {
    /// Nothing that would tell.
    #[default]
    Unknown,
    /// It asked for the model. One that takes history says so at once.
    Asked,
    /// It went on without an offer: a collector of the first wire.
    Declined,
    /// It takes history.
    Offered,
}

/// The second wire on one link.
#[derive(Debug, Default)]
pub(super) struct SecondWire {
    standing: Standing,
    /// Bodies that the socket has not taken, each with the name that it goes under. Not more than the
    /// agent's task lets be under way.
    waiting: VecDeque<(Arc<str>, Vec<u8>)>,
}

impl SecondWire {
    /// The collector asked for the model.
    pub(super) fn asked(&mut self) {
        if self.standing == Standing::Unknown {
            self.standing = Standing::Asked;
        }
    }

    /// The collector said that it is alive. Returns true if that shows, for the first time, that it does not
    /// take history.
    pub(super) fn pinged(&mut self) -> bool {
        let declines = self.standing == Standing::Asked;
        if declines {
            self.standing = Standing::Declined;
        }
        declines
    }

    /// The collector takes history.
    pub(super) fn offered(&mut self) {
        self.standing = Standing::Offered;
    }

    /// Returns true if the collector takes history.
    pub(super) fn is_offered(&self) -> bool {
        self.standing == Standing::Offered
    }

    /// Bodies to send after those that wait.
    pub(super) fn push(&mut self, order: HistoryOrder) {
        let HistoryOrder { host, bodies, .. } = order;
        let bodies = bodies.into_iter().map(|body| (Arc::clone(&host), body));
        self.waiting.extend(bodies);
    }

    /// The next body and its name, if one waits.
    pub(super) fn next(&mut self) -> Option<(Arc<str>, Vec<u8>)> {
        self.waiting.pop_front()
    }

    /// The socket did not take this one: it is the next again.
    pub(super) fn put_back(&mut self, body: (Arc<str>, Vec<u8>)) {
        self.waiting.push_front(body);
    }

    /// The link is down. Returns true if its collector took history.
    pub(super) fn end(&mut self) -> bool {
        std::mem::take(self).is_offered()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_goes_on_without_an_offer_declines_once() {
        let mut wire = SecondWire::default();
        // A collector that may refuse pings before it asks for the model.
        assert!(!wire.pinged());
        wire.asked();
        assert!(wire.pinged());
        assert!(!wire.pinged());
        wire.asked();
        assert!(!wire.pinged());
        // It may change its mind.
        wire.offered();
        assert!(wire.is_offered() && !wire.pinged());
        assert!(wire.end());
        assert!(!wire.end());
        wire.asked();
        wire.offered();
        assert!(!wire.pinged(), "an offer comes with the request");
    }

    #[test]
    fn what_is_not_taken_goes_first_the_next_time_and_ends_with_its_link() {
        let mut wire = SecondWire::default();
        let order = |bodies: &[u8]| HistoryOrder {
            host: "web1".into(),
            bodies: bodies.iter().map(|body| vec![*body]).collect(),
            link: 1,
            fresh: false,
        };
        wire.push(order(&[1, 2]));
        wire.push(order(&[3]));
        let first = wire.next().unwrap();
        assert_eq!(first.1, [1]);
        wire.put_back(first);
        assert_eq!(wire.next().unwrap().1, [1]);
        assert_eq!(wire.next().unwrap().1, [2]);
        wire.end();
        assert!(wire.next().is_none());
    }
}
