//! The rules of the session one by one, on simulated time.

mod attempts;
mod delivery;
mod refusals;

use super::*;
use crate::protocol::message::Control;

use Action::{Close, Open, SendHello, SendMetrics, SendModel, StartMetrics, StopMetrics};
use Event::{LinkUp, Opened, Received, Reconnect, SampleReady, Start, Stop, Tick};

const PING: Event = Received(Ok(Control::Ping));
const MODEL: Event = Received(Ok(Control::Model));
const REFUSED: Event = Received(Ok(Control::Refused));
const GIBBERISH: Event = Received(Err(()));
const DISCONNECTED: Event = Event::LinkDown(LinkDown::Disconnected);

fn secs(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

/// A session on a clock that starts at 0, with a random source that gives `share`.
struct Bench {
    session: Session,
    zero: Instant,
    share: f64,
}

impl Bench {
    fn new() -> Self {
        let zero = Instant::now();
        Self {
            session: Session::new(SessionSettings::default(), zero),
            zero,
            share: 1.0,
        }
    }

    /// A session that reports since second 0, its model just answered.
    fn reporting() -> Self {
        let mut bench = Self::new();
        for event in [Start, Opened, LinkUp, MODEL] {
            bench.at(0.0, event);
        }
        // What arrives is ignored, except where a test looks at it.
        bench.at(0.0, Event::Looked(None));
        assert_eq!(bench.session.state(), State::Reporting);
        bench
    }

    fn at(&mut self, seconds: f64, event: Event) -> Vec<Action> {
        let share = self.share;
        self.session
            .handle(event, self.zero + secs(seconds), &mut || share)
            .to_vec()
    }

    fn due(&self) -> Duration {
        self.session.deadline().unwrap() - self.zero
    }

    fn now(&self) -> (State, Reason) {
        (self.session.state(), self.session.reason())
    }
}

fn changed(old: State, new: State, reason: Reason) -> Action {
    Action::StateChanged { old, new, reason }
}

fn back_off(reason: Reason, seconds: f64) -> Action {
    Action::BackOff {
        reason,
        delay: secs(seconds),
    }
}

/// What a failure does to a session that reports.
fn lost(reason: Reason) -> Vec<Action> {
    vec![
        StopMetrics,
        Close,
        back_off(reason, 1.0),
        changed(State::Reporting, State::Stale, reason),
    ]
}

#[test]
fn a_session_from_start_to_stop() {
    let mut bench = Bench::new();
    assert_eq!(bench.now(), (State::Connecting, Reason::NotStarted));
    assert_eq!(bench.due(), secs(0.0));

    assert_eq!(bench.at(0.0, Start), [Open]);
    assert_eq!(bench.now(), (State::Connecting, Reason::Opening));
    assert_eq!(bench.at(1.0, Opened), []);
    assert_eq!(bench.now(), (State::Connecting, Reason::NotYetConnected));
    assert_eq!(bench.at(2.0, LinkUp), [SendHello]);
    assert_eq!(bench.now(), (State::Connecting, Reason::NotYetAnswered));
    assert_eq!(bench.at(2.5, SampleReady), []);
    assert_eq!(bench.at(3.0, PING), []);
    assert_eq!(
        bench.now(),
        (State::Connecting, Reason::AwaitingModelRequest)
    );
    assert_eq!(bench.at(3.5, SampleReady), []);
    assert_eq!(bench.at(4.0, MODEL), [SendModel, StartMetrics]);
    let reporting = changed(
        State::Connecting,
        State::Reporting,
        Reason::MetricsRequested,
    );
    assert_eq!(bench.at(4.0, GIBBERISH), [reporting]);
    assert_eq!(bench.at(9.0, SampleReady), [SendMetrics]);
    assert_eq!(bench.due(), secs(10.0), "to look whether the model arrived");
    assert_eq!(bench.at(9.0, delivery::looked(false, 9000)), []);
    assert_eq!(bench.due(), secs(34.0));

    let at = |seconds| Some(bench.zero + secs(seconds));
    assert_eq!(bench.session.connected_since(), at(2.0));
    assert_eq!(bench.session.last_received(), at(4.0));
    assert_eq!(bench.session.last_model(), at(4.0));

    assert_eq!(
        bench.at(10.0, Stop),
        [
            StopMetrics,
            Close,
            changed(State::Reporting, State::Stopping, Reason::Stopped)
        ]
    );
    assert_eq!(bench.session.deadline(), None);
    for event in [Start, Opened, LinkUp, MODEL, SampleReady, Reconnect, Stop] {
        assert_eq!(bench.at(99.0, event), [], "{event:?}");
    }
}

#[test]
fn a_tick_starts_as_well_as_start_does() {
    assert_eq!(Bench::new().at(0.0, Tick), [Open]);
}

#[test]
fn one_model_answer_in_any_5_s() {
    let mut bench = Bench::reporting();
    for (seconds, answer) in [
        (0.0, &[][..]),
        (4.999, &[]),
        (5.0, &[SendModel]),
        (9.999, &[]),
        (10.5, &[SendModel]),
    ] {
        assert_eq!(bench.at(seconds, MODEL), answer, "at {seconds} s");
    }
}

#[test]
fn the_window_of_the_model_spans_connections_but_metrics_start_within_it() {
    let mut bench = Bench::reporting();
    bench.at(1.0, Reconnect);
    bench.at(1.0, Opened);
    assert_eq!(bench.at(1.0, LinkUp), [SendHello]);
    assert_eq!(
        bench.at(1.0, MODEL),
        [
            StartMetrics,
            changed(
                State::Connecting,
                State::Reporting,
                Reason::MetricsRequested
            )
        ]
    );
    assert_eq!(bench.at(2.0, SampleReady), [SendMetrics]);
    assert_eq!(bench.at(5.0, MODEL), [SendModel]);
}

#[test]
fn silence_closes_and_connects_again_with_growing_waits_until_an_answer() {
    let mut bench = Bench::reporting();
    let silent = Reason::Silent {
        lasting: secs(30.0),
    };
    assert_eq!(bench.at(29.999, Tick), []);
    assert_eq!(bench.due(), secs(30.0));
    assert_eq!(bench.at(30.0, Tick), lost(silent));
    assert_eq!(bench.now(), (State::Stale, silent));
    assert_eq!(bench.at(30.5, SampleReady), []);
    assert_eq!(bench.due(), secs(31.0));

    // The collector accepts connections but says nothing: no answer, no reset, and no
    // second change of the state.
    assert_eq!(bench.at(31.0, Tick), [Open]);
    bench.at(31.0, Opened);
    assert_eq!(bench.at(32.0, LinkUp), [SendHello]);
    assert_eq!(bench.session.state(), State::Stale);
    assert_eq!(bench.due(), secs(61.0));
    assert_eq!(bench.at(61.0, Tick), [Close, back_off(silent, 2.0)]);
    assert_eq!(bench.at(63.0, Tick), [Open]);
    bench.at(63.0, Opened);
    bench.at(63.0, LinkUp);
    assert_eq!(
        bench.at(63.0, MODEL),
        [
            SendModel,
            StartMetrics,
            changed(State::Stale, State::Reporting, Reason::MetricsRequested)
        ]
    );
    assert_eq!(bench.at(64.0, DISCONNECTED), lost(Reason::LinkLost));
}

#[test]
fn every_message_is_a_sign_of_life_and_ends_staleness() {
    for event in [PING, GIBBERISH, Received(Ok(Control::Hello))] {
        let mut bench = Bench::reporting();
        assert_eq!(bench.at(29.0, event), [], "{event:?}");
        assert_eq!(bench.due(), secs(59.0));

        bench.at(40.0, DISCONNECTED);
        bench.at(41.0, Tick);
        bench.at(41.0, Opened);
        bench.at(41.0, LinkUp);
        assert_eq!(
            bench.at(42.0, event),
            [changed(
                State::Stale,
                State::Connecting,
                Reason::AwaitingModelRequest
            )],
            "{event:?}"
        );
        // And it reset the back-off.
        assert_eq!(
            bench.at(43.0, DISCONNECTED),
            [
                Close,
                back_off(Reason::LinkLost, 1.0),
                changed(State::Connecting, State::Stale, Reason::LinkLost)
            ]
        );
    }
}

/// An offer comes also from a collector that refuses this host.
#[test]
fn what_says_nothing_of_this_host_only_ends_silence() {
    let mut bench = Bench::reporting();
    assert_eq!(bench.at(20.0, Event::Heard), []);
    assert_eq!(bench.at(49.0, Tick), []);
    bench.at(49.5, REFUSED);
    let refused = bench.now();
    assert_eq!(refused.1, Reason::Refused);
    for event in [Start, Opened, LinkUp, MODEL] {
        bench.at(60.0, event);
    }
    assert_eq!(bench.at(60.1, Event::Heard), []);
    assert_eq!(bench.now(), refused);
    bench.at(60.2, PING);
    assert_eq!(bench.now().0, State::Reporting);
}

#[test]
fn a_sample_that_comes_before_the_due_tick_is_not_sent_to_a_silent_collector() {
    let mut bench = Bench::reporting();
    let silent = Reason::Silent {
        lasting: secs(31.0),
    };
    assert_eq!(bench.at(31.0, SampleReady), lost(silent));
}

#[test]
fn settings_take_effect_at_once() {
    let configure = |stale| {
        Event::Configure(SessionSettings {
            stale_interval: secs(stale),
            ..SessionSettings::default()
        })
    };
    let mut bench = Bench::reporting();
    assert_eq!(bench.at(10.0, configure(60.0)), []);
    assert_eq!(bench.due(), secs(60.0));
    assert_eq!(bench.at(10.0, configure(10.5)), []);
    assert_eq!(bench.due(), secs(10.5));
    let silent = Reason::Silent {
        lasting: secs(20.0),
    };
    assert_eq!(bench.at(10.0, configure(60.0)), []);
    assert_eq!(bench.at(20.0, configure(15.0)), lost(silent));
    assert_eq!(bench.session.settings().stale_interval, secs(15.0));
}

#[test]
fn a_clock_that_goes_back_stands_still() {
    let mut bench = Bench::new();
    let before = bench.zero;
    bench.zero += secs(100.0);
    for event in [Start, Opened, LinkUp, MODEL] {
        bench.at(0.0, event);
    }
    bench.zero = before;
    assert_eq!(bench.at(50.0, MODEL), []);
    assert_eq!(bench.at(51.0, SampleReady), [SendMetrics]);
    assert_eq!(bench.at(52.0, Tick), []);
    assert_eq!(bench.session.state(), State::Reporting);
}

#[test]
fn intervals_beyond_the_clock_are_only_far_away() {
    let mut bench = Bench::reporting();
    let settings = SessionSettings {
        stale_interval: Duration::MAX,
        model_min_interval: Duration::MAX,
        connect_timeout: Duration::MAX,
    };
    assert_eq!(bench.at(1.0, Event::Configure(settings)), []);
    assert!(bench.due() > secs(1e6));
    assert_eq!(bench.at(1e6, MODEL), []);
}
