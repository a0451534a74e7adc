//! A collector that refuses what the host reports.

use super::*;

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
