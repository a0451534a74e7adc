//! What is never acknowledged.

use super::*;

/// What the kernel knows of what was sent, to a host of which nothing arrives but what the
/// collector says.
pub(super) fn looked(outstanding: bool, acknowledged: u64) -> Event {
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
