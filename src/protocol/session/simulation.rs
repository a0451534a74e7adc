//! Whatever random events and a lossy collector can do to a session, on simulated time:
//! the rules hold after every event, and every deadline leads on.

use proptest::prelude::*;

use super::*;
use crate::protocol::backoff::{MAX_CEILING, MIN_DELAY};
use crate::protocol::message::Control;

use Action::{Close, Open, SendHello, SendMetrics, SendModel, StartMetrics, StopMetrics};
use Event::{LinkUp, Opened, Received, Reconnect, SampleReady, Start, Stop, Tick};

const PING: Event = Received(Ok(Control::Ping));
const MODEL: Event = Received(Ok(Control::Model));
const REFUSED: Event = Received(Ok(Control::Refused));
const GIBBERISH: Event = Received(Err(()));
const DISCONNECTED: Event = Event::LinkDown(LinkDown::Disconnected);

/// The shell of a session, which checks everything that must hold after any event.
struct Checked {
    session: Session,
    now: Instant,
    random: u64,
    held: Held,
    metrics: bool,
    stopped: bool,
    last_model: Option<Instant>,
    reported: usize,
}

/// What the shell has in its hands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Held {
    Nothing,
    /// An attempt to make a socket.
    Attempt,
    Socket,
    /// A socket whose link is up.
    Link,
    /// One on which the collector asked for the model.
    AskedLink,
}

impl Checked {
    fn linked(&self) -> bool {
        matches!(self.held, Held::Link | Held::AskedLink)
    }

    fn new(seed: u64) -> Self {
        let now = Instant::now() + Duration::from_secs(1000);
        Self {
            session: Session::new(SessionSettings::default(), now),
            now,
            random: seed,
            held: Held::Nothing,
            metrics: false,
            stopped: false,
            last_model: None,
            reported: 0,
        }
    }

    /// A small generator of its own (xorshift64): a property's failure must repeat.
    fn draw(state: &mut u64) -> f64 {
        *state |= 1;
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        f64::from(u32::try_from(*state >> 32).unwrap()) / f64::from(u32::MAX)
    }

    fn step(&mut self, event: Event) -> Actions {
        let now = self.now;
        match event {
            Opened if self.held == Held::Attempt => self.held = Held::Socket,
            LinkUp if self.held != Held::Nothing => self.held = Held::Link,
            MODEL if self.linked() => self.held = Held::AskedLink,
            Event::OpenFailed(_) if self.held == Held::Attempt => self.held = Held::Nothing,
            Stop => self.stopped = true,
            _ => {}
        }
        let was_stopped = self.session.state() == State::Stopping;
        let old_state = self.session.state();
        let random = &mut self.random;
        let actions = self.session.handle(event, now, &mut || Self::draw(random));
        if was_stopped {
            assert!(actions.is_empty());
        }
        for action in actions {
            match action {
                Open => {
                    assert_eq!(self.held, Held::Nothing);
                    self.held = Held::Attempt;
                }
                Close => {
                    assert_ne!(self.held, Held::Nothing);
                    self.held = Held::Nothing;
                }
                SendHello => assert!(self.linked() && event == LinkUp),
                SendModel => {
                    assert!(self.linked() && event == MODEL);
                    if let Some(last) = self.last_model.replace(now) {
                        assert!(now.saturating_duration_since(last) >= MODEL_MIN_INTERVAL);
                    }
                }
                Action::Look => assert!(self.linked() && event != LinkUp),
                SendMetrics => {
                    assert!(self.held == Held::AskedLink && self.metrics && event == SampleReady);
                    self.reported += 1;
                }
                StartMetrics => {
                    assert!(self.held == Held::AskedLink && !self.metrics);
                    self.metrics = true;
                }
                StopMetrics => {
                    assert!(self.metrics);
                    self.metrics = false;
                }
                Action::BackOff { delay, .. } => {
                    assert_eq!(self.held, Held::Nothing);
                    assert!((MIN_DELAY..=MAX_CEILING).contains(&delay), "{delay:?}");
                    assert_eq!(self.session.deadline(), Some(now + delay));
                }
                Action::StateChanged { old, new, reason } => {
                    assert!(old == old_state && new == self.session.state() && old != new);
                    assert_eq!(reason, self.session.reason());
                }
            }
        }
        let announced = matches!(actions.last(), Some(Action::StateChanged { .. }));
        assert_eq!(announced, self.session.state() != old_state);
        assert_eq!(self.session.wants_metrics(), self.metrics);
        assert_eq!(self.metrics, self.held == Held::AskedLink);
        assert_eq!(self.session.connected_since().is_some(), self.linked());
        assert_eq!(self.session.deadline().is_none(), self.stopped);
        if self.stopped {
            assert!(self.held == Held::Nothing && !self.metrics);
        }
        actions
    }

    /// Goes to the deadline and ticks. It must lead on: to a later deadline.
    fn tick_at_deadline(&mut self) -> Actions {
        let due = self.session.deadline().unwrap();
        self.now = self.now.max(due);
        let actions = self.step(Tick);
        assert!(!actions.is_empty(), "nothing was due at the deadline");
        assert!(self.session.deadline().unwrap() > self.now);
        actions
    }
}

fn event() -> impl Strategy<Value = Event> {
    let settings = |stale| {
        Event::Configure(SessionSettings {
            stale_interval: Duration::from_secs(stale),
            ..SessionSettings::default()
        })
    };
    prop_oneof![
        2 => Just(Start),
        6 => Just(Tick),
        8 => Just(Opened),
        8 => Just(LinkUp),
        8 => Just(MODEL),
        4 => Just(PING),
        2 => Just(GIBBERISH),
        3 => Just(REFUSED),
        8 => Just(SampleReady),
        2 => Just(Event::Looked(None)),
        8 => (any::<(bool, bool)>(), 0u64..3, 0u64..30).prop_map(|((outstanding, kept), acknowledged, heard)| {
            let heard = Duration::from_secs(heard);
            Event::Looked(Some(Delivery { outstanding, kept, acknowledged, heard }))
        }),
        2 => Just(DISCONNECTED),
        1 => Just(Event::LinkDown(LinkDown::HandshakeFailed)),
        1 => Just(Event::ConnectFailed),
        1 => Just(Event::OpenFailed(OpenFailure::NameLookUp)),
        1 => Just(Event::OpenFailed(OpenFailure::Socket)),
        1 => Just(Reconnect),
        1 => (1u64..100).prop_map(settings),
    ]
}

/// Milliseconds until the next event; a clock that goes back now and then.
fn pause() -> impl Strategy<Value = i64> {
    prop_oneof![
        6 => 0i64..1500,
        3 => 0i64..8_000,
        1 => 0i64..100_000,
        1 => -20_000i64..0,
    ]
}

fn advance(now: Instant, milliseconds: i64) -> Instant {
    let distance = Duration::from_millis(milliseconds.unsigned_abs());
    if milliseconds < 0 {
        now.checked_sub(distance).unwrap_or(now)
    } else {
        now + distance
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn whatever_happens_the_rules_hold_and_silence_leads_to_reconnecting(
        seed in any::<u64>(),
        events in prop::collection::vec((pause(), event()), 0..60),
        stop in any::<bool>(),
    ) {
        let mut shell = Checked::new(seed);
        for (pause, event) in events {
            shell.now = advance(shell.now, pause);
            shell.step(event);
        }
        // From wherever that led: the collector falls silent, and only the deadlines
        // come. Each leads on, and the connection is opened again and again.
        let mut opened = Vec::new();
        for _ in 0..40 {
            if shell.tick_at_deadline().contains(&Open) {
                opened.push(shell.now);
            }
        }
        prop_assert!(opened.len() >= 9);
        for pair in opened.windows(2) {
            // An attempt's end and the longest wait.
            prop_assert!(pair[1] - pair[0] <= CONNECT_TIMEOUT + MAX_CEILING);
        }
        // And once it is back, the agent reports again; one that it had refused, with its ping.
        if shell.held == Held::Nothing {
            shell.tick_at_deadline();
        }
        for event in [Opened, LinkUp, MODEL, PING, SampleReady, Event::Looked(None)] {
            shell.step(event);
        }
        prop_assert_eq!(shell.session.state(), State::Reporting);
        if stop {
            shell.step(Stop);
            for event in [Start, Tick, Opened, LinkUp, MODEL, SampleReady, Reconnect, Stop] {
                shell.step(event);
            }
        }
    }
}

/// A collector and a network that lose, drop and go away, each with its odds in percent.
#[derive(Clone, Debug)]
struct Network {
    look_up_fails: u32,
    refuses: u32,
    handshake_fails: u32,
    /// Nothing ever comes of the attempt.
    hangs: u32,
    loses_message: u32,
    /// In each second of a link.
    drops_link: u32,
    /// A request for the model in each second, needed or not.
    asks_again: u32,
    ping_every: u64,
}

fn network() -> impl Strategy<Value = Network> {
    (
        0u32..60,
        0u32..60,
        0u32..60,
        0u32..30,
        0u32..100,
        0u32..20,
        0u32..100,
        1u64..60,
    )
        .prop_map(|odds| Network {
            look_up_fails: odds.0,
            refuses: odds.1,
            handshake_fails: odds.2,
            hangs: odds.3,
            loses_message: odds.4,
            drops_link: odds.5,
            asks_again: odds.6,
            ping_every: odds.7,
        })
}

impl Network {
    /// What the network makes of the agent's actions, and of theirs in turn.
    fn react(&self, shell: &mut Checked, dice: &mut u64, actions: Actions) {
        let mut pending = actions.to_vec();
        while let Some(action) = pending.pop() {
            let happens = |dice: &mut u64, odds: u32| Checked::draw(dice) * 100.0 < odds.into();
            let event = match action {
                Open if happens(dice, self.hangs) => continue,
                Open if happens(dice, self.look_up_fails) => {
                    Event::OpenFailed(OpenFailure::NameLookUp)
                }
                Open => {
                    pending.extend(shell.step(Opened));
                    if happens(dice, self.hangs) {
                        continue;
                    } else if happens(dice, self.refuses) {
                        Event::ConnectFailed
                    } else if happens(dice, self.handshake_fails) {
                        DISCONNECTED
                    } else {
                        LinkUp
                    }
                }
                SendHello if !happens(dice, self.loses_message) => MODEL,
                _ => continue,
            };
            pending.extend(shell.step(event));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_lossy_collector_is_reported_to_when_it_can_be_and_never_flooded(
        network in network(),
        seed in any::<u64>(),
    ) {
        let mut shell = Checked::new(seed);
        let mut dice = seed.rotate_left(32);
        let mut attempts = 0usize;
        for second in 0u64..600 {
            let end = shell.now + Duration::from_secs(1);
            // Every deadline of this second. Few: each step waits MIN_DELAY at least,
            // save those that open.
            let mut ticks = 0;
            while shell.session.deadline().is_some_and(|due| due < end) {
                let actions = shell.tick_at_deadline();
                attempts += usize::from(actions.contains(&Open));
                network.react(&mut shell, &mut dice, actions);
                ticks += 1;
                prop_assert!(ticks <= 20, "a busy loop");
            }
            shell.now = end;
            let events = [
                (SampleReady, 100),
                (PING, if second % network.ping_every == 0 { 100 - network.loses_message } else { 0 }),
                (MODEL, network.asks_again),
                (DISCONNECTED, network.drops_link),
            ];
            for (event, odds) in events {
                let speaks = event == SampleReady || shell.linked();
                if speaks && Checked::draw(&mut dice) * 100.0 < odds.into() {
                    let actions = shell.step(event);
                    network.react(&mut shell, &mut dice, actions);
                }
            }
        }
        prop_assert!(attempts >= 1);

        // The network recovers: within the longest attempt and wait it is reported to.
        let good = Network {
            look_up_fails: 0, refuses: 0, handshake_fails: 0, hangs: 0,
            loses_message: 0, drops_link: 0, asks_again: 0, ping_every: 5,
        };
        let recovery = shell.now + STALE_INTERVAL + MAX_CEILING;
        while !shell.session.wants_metrics() {
            let actions = shell.tick_at_deadline();
            prop_assert!(shell.now <= recovery);
            good.react(&mut shell, &mut dice, actions);
        }
        let reported = shell.reported;
        shell.step(SampleReady);
        prop_assert_eq!(shell.reported, reported + 1);
    }
}
