//! The rules of the session one by one, on simulated time.

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
    assert_eq!(bench.at(9.0, looked(false, 9000)), []);
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
fn silence_closes_and_connects_anew_with_growing_waits_until_an_answer() {
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

/// What the kernel knows of what was sent, to a host of which nothing arrives but what the
/// collector says.
fn looked(outstanding: bool, acknowledged: u64) -> Event {
    looked_and_heard(outstanding, acknowledged, 3600.0)
}

fn looked_and_heard(outstanding: bool, acknowledged: u64, ago: f64) -> Event {
    Event::Looked(Some(Delivery {
        outstanding,
        kept: false,
        acknowledged,
        heard: secs(ago),
    }))
}

/// Samples every 5 s and pings between them, from one second until before another, on a path
/// that acknowledges nothing of it. Returns what was done beside sending them.
fn lose(bench: &mut Bench, from: f64, until: f64) -> Vec<Action> {
    let mut done = Vec::new();
    let mut at = from;
    while at < until {
        done.extend(bench.at(at, looked(true, 700)));
        if bench.session.state() == State::Reporting || bench.session.wants_metrics() {
            assert_eq!(bench.at(at, SampleReady), [SendMetrics], "at {at} s");
        }
        done.extend(bench.at(at + 2.0, PING));
        at += 5.0;
    }
    done
}

#[test]
fn what_is_never_acknowledged_is_stale_until_something_large_arrives() {
    let mut bench = Bench::reporting();
    let unacknowledged = Reason::Unacknowledged {
        lasting: secs(20.0),
    };
    assert_eq!(lose(&mut bench, 0.0, 20.0), []);
    assert_eq!(bench.at(20.0, looked(true, 700)), lost(unacknowledged));
    assert_eq!(bench.now(), (State::Stale, unacknowledged));

    // Small messages pass: the agent reconnects and is asked again. Metrics are sent, but the state
    // does not change for that, and the wait is not reset.
    for wait in [2.0, 4.0] {
        let at = bench.due().as_secs_f64();
        assert_eq!(bench.at(at, Tick), [Open]);
        bench.at(at, Opened);
        assert_eq!(bench.at(at, LinkUp), [SendHello]);
        assert_eq!(bench.at(at, MODEL), [SendModel, StartMetrics]);
        assert_eq!(bench.now(), (State::Stale, unacknowledged));
        // Hello is acknowledged late: that is no proof.
        assert_eq!(bench.at(at + 0.5, looked(true, 300)), []);
        assert_eq!(lose(&mut bench, at + 1.0, at + 20.0), []);
        let end = bench.at(at + 21.0, looked(true, 700));
        assert_eq!(
            end,
            [StopMetrics, Close, back_off(unacknowledged, wait)],
            "{wait}"
        );
        assert_eq!(bench.now(), (State::Stale, unacknowledged));
    }

    // The path is mended.
    let at = bench.due().as_secs_f64();
    for event in [Tick, Opened, LinkUp, MODEL] {
        bench.at(at, event);
    }
    assert_eq!(
        bench.at(at + 5.0, looked(false, 1200)),
        [],
        "a model alone says nothing"
    );
    assert_eq!(bench.at(at + 5.0, SampleReady), [SendMetrics]);
    assert_eq!(
        bench.at(at + 6.0, looked(false, 1200)),
        [],
        "not on its way yet"
    );
    assert_eq!(
        bench.at(at + 10.0, looked(false, 9000)),
        [changed(
            State::Stale,
            State::Reporting,
            Reason::MetricsRequested
        )]
    );
    assert_eq!(bench.at(at + 11.0, DISCONNECTED), lost(Reason::LinkLost));
}

#[test]
fn another_failure_meanwhile_does_not_make_it_report_again() {
    let mut bench = Bench::reporting();
    lose(&mut bench, 0.0, 20.0);
    bench.at(20.0, looked(true, 700));
    bench.at(21.0, Tick);
    bench.at(21.0, Opened);
    bench.at(21.0, Event::ConnectFailed);
    assert_eq!(bench.now(), (State::Stale, Reason::Unreachable));
    let at = bench.due().as_secs_f64();
    for event in [Tick, Opened, LinkUp, MODEL] {
        bench.at(at, event);
    }
    let lasting = secs(20.0);
    let unacknowledged = Reason::Unacknowledged { lasting };
    assert_eq!(bench.now(), (State::Stale, unacknowledged));
    // An administrator may know better.
    bench.at(at, Reconnect);
    for event in [Opened, LinkUp, MODEL] {
        bench.at(at + 5.0, event);
    }
    assert_eq!(bench.session.state(), State::Reporting);
}

#[test]
fn a_collector_that_is_not_heard_either_is_silent() {
    let mut bench = Bench::reporting();
    bench.at(5.0, PING);
    for at in [5.0, 10.0, 15.0, 20.0, 25.0, 30.0] {
        assert_eq!(bench.at(at, looked(true, 700)), []);
        assert_eq!(bench.at(at, SampleReady), [SendMetrics]);
    }
    let silent = Reason::Silent {
        lasting: secs(30.0),
    };
    assert_eq!(bench.at(35.0, SampleReady), lost(silent));
}

/// A device of this host that takes no large packets: the kernel gives up after eight seconds.
#[test]
fn a_connection_that_ends_of_what_is_not_acknowledged_is_stale_for_that() {
    let mut bench = Bench::reporting();
    bench.at(1.0, SampleReady);
    bench.at(4.0, PING);
    assert_eq!(bench.at(6.0, looked_and_heard(true, 700, 2.0)), []);
    assert_eq!(bench.at(6.0, SampleReady), [SendMetrics]);
    let unacknowledged = Reason::Unacknowledged { lasting: secs(8.0) };
    assert_eq!(bench.at(9.0, DISCONNECTED), lost(unacknowledged));
    let at = bench.due().as_secs_f64();
    for event in [Tick, Opened, LinkUp, MODEL, PING] {
        bench.at(at, event);
    }
    assert_eq!(bench.now(), (State::Stale, unacknowledged));
    // The collector's host may be silent meanwhile: nothing has left that it could acknowledge.
    let mut bench = Bench::reporting();
    bench.at(1.0, SampleReady);
    let kept = Event::Looked(Some(Delivery {
        outstanding: true,
        kept: true,
        acknowledged: 700,
        heard: secs(5.0),
    }));
    assert_eq!(bench.at(6.0, kept), []);
    assert_eq!(bench.at(9.0, DISCONNECTED), lost(unacknowledged));
    // A host that goes is another thing.
    let mut bench = Bench::reporting();
    bench.at(1.0, SampleReady);
    assert_eq!(bench.at(6.0, looked_and_heard(true, 700, 5.0)), []);
    assert_eq!(bench.at(9.0, DISCONNECTED), lost(Reason::LinkLost));
}

#[test]
fn where_the_collector_says_nothing_its_host_is_heard() {
    let mut bench = Bench::reporting();
    bench.at(1.0, SampleReady);
    for at in [6.0, 11.0, 16.0] {
        assert_eq!(bench.at(at, looked_and_heard(true, 700, 2.0)), []);
    }
    let lasting = secs(20.0);
    let unacknowledged = Reason::Unacknowledged { lasting };
    let found = looked_and_heard(true, 700, 2.0);
    assert_eq!(bench.at(21.0, found), lost(unacknowledged));
}

#[test]
fn where_samples_are_rare_it_is_looked_all_the_same() {
    let mut bench = Bench::reporting();
    assert_eq!(bench.at(1.0, SampleReady), [SendMetrics]);
    assert_eq!(bench.due(), secs(7.0));
    for at in 7..21 {
        assert_eq!(bench.at(f64::from(at), Tick), [Action::Look]);
        assert_eq!(bench.at(f64::from(at), looked(true, 700)), []);
        assert_eq!(bench.due(), secs(f64::from(at + 1)));
    }
    assert_eq!(bench.at(20.0, PING), []);
    assert_eq!(bench.at(21.0, Tick), [Action::Look]);
    let lasting = secs(20.0);
    assert_eq!(
        bench.at(21.0, looked(true, 700)),
        lost(Reason::Unacknowledged { lasting })
    );
    // All has arrived: nothing more to look at.
    let mut bench = Bench::reporting();
    bench.at(1.0, SampleReady);
    bench.at(5.0, PING);
    assert_eq!(bench.at(7.0, Tick), [Action::Look]);
    assert_eq!(bench.at(7.0, looked(false, 9000)), []);
    assert_eq!(bench.due(), secs(35.0));
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

#[test]
fn a_sample_that_comes_before_the_due_tick_is_not_sent_to_a_silent_collector() {
    let mut bench = Bench::reporting();
    let silent = Reason::Silent {
        lasting: secs(31.0),
    };
    assert_eq!(bench.at(31.0, SampleReady), lost(silent));
}

#[test]
fn failures_of_an_attempt_and_their_reasons() {
    use Event::{ConnectFailed, LinkDown as Down, OpenFailed};
    let cases: [(&[Event], Event, Reason, bool); 9] = [
        (
            &[],
            OpenFailed(OpenFailure::NameLookUp),
            Reason::OpenFailed(OpenFailure::NameLookUp),
            false,
        ),
        (
            &[Opened],
            OpenFailed(OpenFailure::Socket),
            Reason::OpenFailed(OpenFailure::Socket),
            true,
        ),
        (&[Opened], ConnectFailed, Reason::Unreachable, true),
        (&[Opened], DISCONNECTED, Reason::HandshakeFailed, true),
        (
            &[Opened],
            Down(LinkDown::HandshakeFailed),
            Reason::HandshakeFailed,
            true,
        ),
        (&[Opened, LinkUp], DISCONNECTED, Reason::LinkLost, true),
        (
            &[Opened, LinkUp],
            Down(LinkDown::HandshakeFailed),
            Reason::HandshakeFailed,
            true,
        ),
        (&[Opened, LinkUp], ConnectFailed, Reason::Unreachable, true),
        (
            &[LinkUp],
            OpenFailed(OpenFailure::Socket),
            Reason::OpenFailed(OpenFailure::Socket),
            true,
        ),
    ];
    for (before, event, reason, closes) in cases {
        let mut bench = Bench::new();
        bench.at(0.0, Start);
        for event in before {
            bench.at(0.0, *event);
        }
        let mut expected = vec![
            back_off(reason, 1.0),
            changed(State::Connecting, State::Stale, reason),
        ];
        if closes {
            expected.insert(0, Close);
        }
        assert_eq!(bench.at(0.0, event), expected, "{before:?} {event:?}");
        assert_eq!(bench.now(), (State::Stale, reason));
        // Once more: no other state, a longer wait, the same reason.
        assert_eq!(bench.at(1.0, Tick), [Open]);
        bench.at(1.0, Opened);
        assert_eq!(
            bench.at(1.0, DISCONNECTED),
            [Close, back_off(Reason::HandshakeFailed, 2.0)]
        );
        assert_eq!(bench.now(), (State::Stale, Reason::HandshakeFailed));
    }
}

#[test]
fn an_attempt_that_neither_succeeds_nor_fails_is_ended() {
    // Stale interval, connect timeout, when it ends.
    for (stale, connect, end) in [(30.0, 30.0, 30.0), (3600.0, 30.0, 30.0), (5.0, 30.0, 5.0)] {
        for opened in [false, true] {
            let mut bench = Bench::new();
            let settings = SessionSettings {
                stale_interval: secs(stale),
                connect_timeout: secs(connect),
                ..SessionSettings::default()
            };
            bench.at(0.0, Event::Configure(settings));
            if opened {
                bench.at(0.0, Opened);
            }
            let reason = Reason::ConnectTimedOut { after: secs(end) };
            assert_eq!(bench.due(), secs(end));
            assert_eq!(
                bench.at(end, Tick),
                [
                    Close,
                    back_off(reason, 1.0),
                    changed(State::Connecting, State::Stale, reason)
                ]
            );
        }
    }
}

#[test]
fn silence_before_the_first_message_counts_from_the_socket_s_opening() {
    let mut bench = Bench::new();
    bench.at(0.0, Start);
    bench.at(10.0, Opened);
    bench.at(35.0, LinkUp);
    assert_eq!(bench.due(), secs(40.0));
}

#[test]
fn a_link_that_the_transport_renewed_says_hello_and_awaits_a_new_request() {
    let mut bench = Bench::reporting();
    assert_eq!(
        bench.at(10.0, LinkUp),
        [
            StopMetrics,
            SendHello,
            changed(State::Reporting, State::Connecting, Reason::NotYetAnswered)
        ]
    );
    assert_eq!(bench.at(10.5, SampleReady), []);
    // A flapping link is no sign of life.
    assert_eq!(bench.due(), secs(30.0));
    assert_eq!(
        bench.at(11.0, MODEL),
        [
            SendModel,
            StartMetrics,
            changed(
                State::Connecting,
                State::Reporting,
                Reason::MetricsRequested
            )
        ]
    );
}

#[test]
fn a_message_heard_before_the_link_is_told_is_alive_but_not_answered() {
    let mut bench = Bench::new();
    bench.at(0.0, Start);
    bench.at(0.0, Opened);
    assert_eq!(bench.at(20.0, MODEL), []);
    assert_eq!(bench.at(21.0, LinkUp), [SendHello]);
    assert_eq!(bench.due(), secs(50.0));
}

#[test]
fn what_comes_without_a_socket_changes_nothing() {
    let mut bench = Bench::reporting();
    bench.at(10.0, DISCONNECTED);
    let socket_events = [
        Opened,
        LinkUp,
        DISCONNECTED,
        MODEL,
        SampleReady,
        Event::ConnectFailed,
        Event::OpenFailed(OpenFailure::Socket),
    ];
    for event in socket_events {
        assert_eq!(bench.at(10.5, event), [], "{event:?}");
        assert_eq!(bench.now(), (State::Stale, Reason::LinkLost));
        assert_eq!(bench.due(), secs(11.0));
    }
}

#[test]
fn an_ordered_reconnect_comes_at_once_in_every_state() {
    let mut bench = Bench::new();
    assert_eq!(bench.at(0.0, Reconnect), [Open]);
    assert_eq!(bench.at(0.0, Reconnect), [Close, Open]);
    bench.at(0.0, Opened);
    assert_eq!(bench.at(0.0, Reconnect), [Close, Open]);
    bench.at(0.0, Opened);
    bench.at(0.0, LinkUp);
    bench.at(0.0, MODEL);
    assert_eq!(
        bench.at(1.0, Reconnect),
        [
            StopMetrics,
            Close,
            Open,
            changed(State::Reporting, State::Connecting, Reason::Ordered)
        ]
    );
    bench.at(1.0, Event::OpenFailed(OpenFailure::NameLookUp));
    assert_eq!(
        bench.at(1.5, Reconnect),
        [
            Open,
            changed(State::Stale, State::Connecting, Reason::Ordered)
        ]
    );
    // It was no answer: the wait goes on growing.
    assert_eq!(
        bench.at(1.5, Event::OpenFailed(OpenFailure::NameLookUp)),
        [
            back_off(Reason::OpenFailed(OpenFailure::NameLookUp), 2.0),
            changed(
                State::Connecting,
                State::Stale,
                Reason::OpenFailed(OpenFailure::NameLookUp)
            )
        ]
    );
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

/// A refusal ends the connection at once. From then on a collector's request for the model, which
/// it makes of everybody, is answered and does not make the connection one that reports.
#[test]
fn who_is_refused_does_not_report_again_before_it_is_taken() {
    let mut bench = Bench::reporting();
    let refused = Reason::Refused;
    // Never sooner than the model may be answered again: it is what the collector judges by.
    let expected = vec![
        StopMetrics,
        Close,
        back_off(refused, 5.0),
        changed(State::Reporting, State::Stale, refused),
    ];
    assert_eq!(bench.at(0.1, REFUSED), expected);
    assert_eq!(bench.at(5.1, Tick), [Open]);
    bench.at(5.2, Opened);
    assert_eq!(bench.at(5.3, LinkUp), [SendHello]);
    assert_eq!(bench.at(5.4, MODEL), [SendModel, StartMetrics]);
    assert_eq!(bench.now(), (State::Stale, refused));
    // Only what is sent can be taken.
    assert_eq!(bench.at(5.5, SampleReady), [SendMetrics]);
    let again = |delay| [StopMetrics, Close, back_off(refused, delay)];
    assert_eq!(bench.at(5.6, REFUSED), again(5.0));
    for (at, delay) in [(11.0, 5.0), (17.0, 8.0), (26.0, 16.0)] {
        for event in [Tick, Opened, LinkUp, MODEL] {
            bench.at(at, event);
        }
        // Each wait is longer: hearing of a refusal is no success.
        assert_eq!(bench.at(at, REFUSED), again(delay));
        assert_eq!(bench.now(), (State::Stale, refused));
    }
    // Whom a collector hears, it pings.
    for event in [Tick, Opened, LinkUp, PING, MODEL] {
        bench.at(50.0, event);
        assert_eq!(bench.now(), (State::Stale, refused), "{event:?}");
    }
    let reporting = changed(State::Stale, State::Reporting, Reason::MetricsRequested);
    assert_eq!(bench.at(51.0, PING), [reporting]);
    assert_eq!(bench.at(52.0, SampleReady), [SendMetrics]);
    // And the back-off starts over.
    assert_eq!(bench.at(53.0, DISCONNECTED), lost(Reason::LinkLost));
}

/// A collector that may refuse pings before it asks for the model: nothing counts as reporting
/// before it has said what it makes of it.
#[test]
fn who_may_be_refused_does_not_report_before_the_verdict() {
    let refused = Reason::Refused;
    for taken in [true, false] {
        let mut bench = Bench::new();
        for event in [Start, Opened, LinkUp, PING] {
            bench.at(0.0, event);
        }
        let awaiting = (State::Connecting, Reason::AwaitingModelRequest);
        assert_eq!(bench.now(), awaiting);
        assert_eq!(bench.at(0.1, MODEL), [SendModel, StartMetrics]);
        assert_eq!(bench.now(), (State::Connecting, Reason::AwaitingVerdict));
        assert_eq!(bench.at(0.2, SampleReady), [SendMetrics]);
        assert_eq!(bench.now(), (State::Connecting, Reason::AwaitingVerdict));
        if taken {
            let reporting = changed(
                State::Connecting,
                State::Reporting,
                Reason::MetricsRequested,
            );
            assert_eq!(bench.at(0.3, PING), [reporting]);
        } else {
            let stale = changed(State::Connecting, State::Stale, refused);
            let expected = [StopMetrics, Close, back_off(refused, 5.0), stale];
            assert_eq!(bench.at(0.3, REFUSED), expected);
        }
    }
}

#[test]
fn a_refusal_is_over_with_silence_and_by_an_order() {
    for order in [false, true] {
        let mut bench = Bench::reporting();
        bench.at(0.0, REFUSED);
        if order {
            assert_eq!(
                bench.at(1.0, Reconnect),
                [
                    Open,
                    changed(State::Stale, State::Connecting, Reason::Ordered)
                ]
            );
        } else {
            for event in [Tick, Opened, LinkUp, MODEL] {
                bench.at(5.0, event);
            }
            bench.at(35.0, Tick);
            bench.at(40.0, Tick);
        }
        for event in [Opened, LinkUp, MODEL] {
            bench.at(40.0, event);
        }
        assert_eq!(bench.session.state(), State::Reporting, "{order}");
    }
}

#[test]
fn a_refusal_outside_of_a_link_is_nothing() {
    let mut bench = Bench::new();
    bench.at(0.0, Start);
    bench.at(0.0, Opened);
    assert_eq!(bench.at(0.0, REFUSED), []);
    for event in [LinkUp, MODEL] {
        bench.at(0.0, event);
    }
    assert_eq!(bench.session.state(), State::Reporting);
}
