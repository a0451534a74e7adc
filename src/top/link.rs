//! The link to the collector as a state machine. Pure: time and chance are arguments.
//!
//! Says hello when the link is up and every [`HELLO_INTERVAL`] after, ends the link to a silent
//! collector, reconnects with a back-off, and always knows why there is no link.

use std::time::{Duration, Instant};

use crate::curve::dealer::{LinkDownCause, Suspect};
use crate::protocol::backoff::Backoff;

/// Collectors want a hello at least every 30 s; two may get lost.
pub const HELLO_INTERVAL: Duration = Duration::from_secs(10);

/// A collector sends at least a ping in 20 s of silence, and answers hello where it knows
/// a host: two that got lost are forgiven.
pub const SILENCE: Duration = Duration::from_secs(45);

/// From the look-up to the end of the handshake: 12 s for the one, twice 10 s for the other.
const OPENING: Duration = Duration::from_secs(40);

/// The longest wait before the next attempt: short, as a person is waiting.
const MAX_WAIT: Duration = Duration::from_secs(15);

/// Why there is no link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The name has no address; why.
    NoAddress(String),
    /// No connection was made; why.
    Unreachable(String),
    /// The collector does not let this key in.
    KeyRefused,
    /// The collector does not have the key that was expected, most likely.
    WrongKey(String),
    /// There was a link, and it has ended.
    Lost(String),
    /// There was a link, and nothing came.
    Silent,
    /// This is where agents report.
    AgentsPort,
    /// The collector serves no viewers, or something else listens there.
    NotSecured(String),
}

impl Trouble {
    /// Returns true if waiting cannot help.
    #[must_use]
    pub fn is_final(&self) -> bool {
        matches!(self, Self::KeyRefused | Self::AgentsPort)
    }

    /// What a link that is down means.
    #[must_use]
    pub fn of(cause: &LinkDownCause) -> Self {
        let text = cause.to_string();
        match cause {
            LinkDownCause::HandshakeFailed(failure) => match failure.suspect() {
                Suspect::OwnKey => Self::KeyRefused,
                Suspect::ServerKey => Self::WrongKey(text),
                Suspect::Listener | Suspect::Server => Self::NotSecured(text),
            },
            LinkDownCause::NoRandom(_) => Self::NotSecured(text),
            LinkDownCause::Closed | LinkDownCause::Failed(_) | LinkDownCause::Violated(_) => {
                Self::Lost(text)
            }
        }
    }
}

/// Where the link is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Opening { since: Instant },
    Up { heard: Instant, hello_due: Instant },
    Waiting { until: Instant },
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The handshake succeeded.
    Up,
    /// The collector said something.
    Heard,
    /// There is no link, or not any more.
    Down(Trouble),
    /// The user wants to try at once.
    Retry,
    /// Time has passed.
    Tick,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Look the name up and connect.
    Open,
    /// Close what is open, or about to be.
    Close,
    /// Say hello.
    Hello,
}

/// What people are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status<'a> {
    /// On the way for the first time, or again.
    Connecting(Option<&'a Trouble>),
    /// The link is up.
    Connected,
    /// There was trouble; when it is tried again.
    Waiting(&'a Trouble, Instant),
}

/// The link.
#[derive(Debug)]
pub struct Link {
    state: State,
    backoff: Backoff,
    trouble: Option<Trouble>,
}

impl Link {
    /// A link that is being opened: the caller does that first.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self {
            state: State::Opening { since: now },
            backoff: Backoff::new(),
            trouble: None,
        }
    }

    /// What people are told.
    #[must_use]
    pub fn status(&self) -> Status<'_> {
        match (&self.state, &self.trouble) {
            // Until it says something else, it is most likely what it was.
            (State::Up { .. }, Some(trouble @ Trouble::AgentsPort)) => {
                Status::Connecting(Some(trouble))
            }
            (State::Up { .. }, _) => Status::Connected,
            (State::Waiting { until }, Some(trouble)) => Status::Waiting(trouble, *until),
            (_, trouble) => Status::Connecting(trouble.as_ref()),
        }
    }

    /// When to tell it that time has passed.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        match self.state {
            State::Opening { since } => since + OPENING,
            State::Up { heard, hello_due } => hello_due.min(heard + SILENCE),
            State::Waiting { until } => until,
        }
    }

    /// Handles an event. Returns the actions, in this order.
    pub fn take(
        &mut self,
        event: Event,
        now: Instant,
        random: &mut impl FnMut() -> f64,
    ) -> Vec<Action> {
        match (&mut self.state, event) {
            (State::Opening { .. }, Event::Up) => {
                self.state = State::Up {
                    heard: now,
                    hello_due: now + HELLO_INTERVAL,
                };
                vec![Action::Hello]
            }
            (State::Up { heard, .. }, Event::Heard) => {
                *heard = now;
                // Only an answer proves that it is worth to come back soon.
                self.backoff.reset();
                self.trouble = None;
                Vec::new()
            }
            (State::Opening { .. } | State::Up { .. }, Event::Down(trouble)) => {
                self.wait(trouble, now, random)
            }
            (State::Opening { since }, Event::Tick) if now >= *since + OPENING => {
                let trouble = Trouble::Unreachable(format!(
                    "no secure connection within {} s",
                    OPENING.as_secs()
                ));
                self.wait(trouble, now, random)
            }
            (State::Up { heard, hello_due }, Event::Tick) => {
                if now >= *heard + SILENCE {
                    self.wait(Trouble::Silent, now, random)
                } else if now >= *hello_due {
                    *hello_due = now + HELLO_INTERVAL;
                    vec![Action::Hello]
                } else {
                    Vec::new()
                }
            }
            (State::Waiting { until }, Event::Tick) if now < *until => Vec::new(),
            (State::Waiting { .. }, Event::Tick) => {
                self.state = State::Opening { since: now };
                vec![Action::Open]
            }
            (_, Event::Retry) => {
                self.state = State::Opening { since: now };
                vec![Action::Close, Action::Open]
            }
            // Late messages of a socket that is closed.
            (_, Event::Up | Event::Heard | Event::Down(_) | Event::Tick) => Vec::new(),
        }
    }

    fn wait(
        &mut self,
        trouble: Trouble,
        now: Instant,
        random: &mut impl FnMut() -> f64,
    ) -> Vec<Action> {
        let wait = match trouble {
            // It listens there, and will for long.
            Trouble::AgentsPort => MAX_WAIT,
            _ => self.backoff.delay(random).min(MAX_WAIT),
        };
        self.trouble = Some(trouble);
        let until = now + wait;
        self.state = State::Waiting { until };
        vec![Action::Close]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::curve::dealer::HandshakeFailure;
    use crate::curve::zmtp::connection::Awaits;
    use crate::curve::zmtp::{Command, Speaks, Violation};

    const SECOND: Duration = Duration::from_secs(1);

    /// Takes events at seconds from the start; the longest waits.
    struct World {
        link: Link,
        start: Instant,
    }

    impl World {
        fn new() -> Self {
            let start = Instant::now();
            let link = Link::new(start);
            Self { link, start }
        }

        fn take(&mut self, at: u32, event: Event) -> Vec<Action> {
            let now = self.start + at * SECOND;
            self.link.take(event, now, &mut || 1.0)
        }

        fn deadline(&self) -> u64 {
            (self.link.deadline() - self.start).as_secs()
        }
    }

    #[test]
    fn hello_is_said_when_the_link_is_up_and_again_and_again() {
        let mut world = World::new();
        assert_eq!(world.link.status(), Status::Connecting(None));
        assert_eq!(world.take(1, Event::Up), [Action::Hello]);
        assert_eq!(world.link.status(), Status::Connected);
        assert_eq!(world.deadline(), 11);
        assert_eq!(world.take(10, Event::Tick), []);
        world.take(10, Event::Heard);
        assert_eq!(world.take(11, Event::Tick), [Action::Hello]);
        assert_eq!(world.take(21, Event::Tick), [Action::Hello]);
    }

    #[test]
    fn a_collector_that_is_silent_is_given_up() {
        let mut world = World::new();
        world.take(0, Event::Up);
        for at in [10, 20, 30, 40] {
            assert_eq!(world.take(at, Event::Tick), [Action::Hello]);
        }
        assert_eq!(world.deadline(), 45);
        assert_eq!(world.take(45, Event::Tick), [Action::Close]);
        let until = world.start + 46 * SECOND;
        assert_eq!(
            world.link.status(),
            Status::Waiting(&Trouble::Silent, until)
        );
        assert_eq!(world.take(46, Event::Tick), [Action::Open]);
        assert_eq!(
            world.link.status(),
            Status::Connecting(Some(&Trouble::Silent))
        );
    }

    #[test]
    fn waits_grow_up_to_a_bound_and_an_answer_ends_that() {
        let mut world = World::new();
        let mut at = 0;
        let mut waits = Vec::new();
        for _ in 0..7 {
            let down = Event::Down(Trouble::Unreachable("refused".to_owned()));
            assert_eq!(world.take(at, down), [Action::Close]);
            waits.push(world.deadline() - u64::from(at));
            at = u32::try_from(world.deadline()).unwrap();
            assert_eq!(world.take(at, Event::Tick), [Action::Open]);
        }
        assert_eq!(waits, [1, 2, 4, 8, 15, 15, 15]);
        // A handshake alone proves nothing.
        world.take(at, Event::Up);
        world.take(at, Event::Down(Trouble::Silent));
        assert_eq!(world.deadline() - u64::from(at), 15);
        at += 15;
        world.take(at, Event::Tick);
        world.take(at, Event::Up);
        world.take(at, Event::Heard);
        world.take(at, Event::Down(Trouble::Lost(String::new())));
        assert_eq!(world.deadline() - u64::from(at), 1);
    }

    #[test]
    fn a_link_that_waits_may_try_at_once() {
        let mut world = World::new();
        world.take(0, Event::Down(Trouble::KeyRefused));
        assert_eq!(world.take(0, Event::Retry), [Action::Close, Action::Open]);
        assert_eq!(world.take(39, Event::Tick), []);
        assert_eq!(world.take(40, Event::Tick), [Action::Close]);
        // What a closed socket had still to say.
        assert_eq!(world.take(40, Event::Heard), []);
        assert_eq!(world.take(40, Event::Up), []);
        assert!(matches!(world.link.status(), Status::Waiting(..)));
    }

    #[test]
    fn the_agents_port_stays_that_until_something_else_is_heard() {
        let mut world = World::new();
        world.take(0, Event::Up);
        let down = Event::Down(Trouble::AgentsPort);
        assert_eq!(world.take(1, down), [Action::Close]);
        assert_eq!(world.deadline(), 16);
        assert_eq!(world.take(16, Event::Tick), [Action::Open]);
        assert_eq!(world.take(16, Event::Up), [Action::Hello]);
        let still = Status::Connecting(Some(&Trouble::AgentsPort));
        assert_eq!(world.link.status(), still);
        world.take(17, Event::Heard);
        assert_eq!(world.link.status(), Status::Connected);
    }

    #[test]
    fn what_is_wrong_follows_from_how_the_link_ended() {
        let of = |failure| Trouble::of(&LinkDownCause::HandshakeFailed(failure));
        let refused = HandshakeFailure::Refused("400".into());
        assert_eq!(of(refused), Trouble::KeyRefused);
        let dropped = HandshakeFailure::Dropped(Awaits::Command(Command::Welcome));
        assert!(matches!(of(dropped), Trouble::WrongKey(_)));
        let http = HandshakeFailure::Protocol(Violation::NotZmtp(Speaks::Http));
        assert_eq!(
            of(http),
            Trouble::NotSecured("the peer speaks HTTP, not ZMTP".to_owned())
        );
        let slow = of(HandshakeFailure::TimedOut);
        assert!(matches!(slow, Trouble::NotSecured(_)));
        let lost = Trouble::of(&LinkDownCause::Closed);
        assert_eq!(lost, Trouble::Lost("the peer closed it".to_owned()));
    }
}
