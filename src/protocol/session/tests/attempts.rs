//! Attempts to connect, and connections that are made again.

use super::*;

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
fn where_another_address_is_left_there_is_no_wait() {
    let mut bench = Bench::new();
    bench.at(0.0, Start);
    let mut start = 0.0;
    for wait in [1.0, 2.0, 4.0] {
        let failed = [Close, back_off(Reason::Unreachable, wait)];
        bench.at(start, Opened);
        assert_eq!(bench.at(start, Event::ConnectFailed)[..2], failed);
        assert_eq!(bench.at(start, Event::TryNext), [Open]);
        assert_eq!(bench.now(), (State::Stale, Reason::Unreachable));
        bench.at(start, Opened);
        // The wait is as long as without the attempt in between, and twice the last one.
        assert_eq!(bench.at(start, Event::ConnectFailed), failed);
        start += wait;
        assert_eq!(bench.at(start, Tick), [Open]);
    }
    let mut bench = Bench::reporting();
    assert_eq!(bench.at(9.0, Event::TryNext), []);
    assert_eq!(bench.at(9.0, DISCONNECTED), lost(Reason::LinkLost));
    assert_eq!(bench.at(9.0, Event::TryNext), [Open]);
    // Once is enough.
    assert_eq!(bench.at(9.0, Event::TryNext), []);
    bench.at(9.0, Stop);
    assert_eq!(bench.at(9.0, Event::TryNext), []);
}
