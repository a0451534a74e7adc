//! metrics-collector pushing to Prometheus itself.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use metrics_agent::collector::push::{Pushes, Ticket};
use metrics_agent::collector::settings::{PushUrl, RemoteWrite};
use metrics_agent::protocol::grid::Grid;
use metrics_agent::protocol::message::GridKind;
use tokio::time::sleep;

use crate::support::collector::{Collector, program};
use crate::support::peer::PATIENCE;
use crate::support::place::LOOK_AGAIN;
use crate::support::prometheus::Prometheus;

const HOSTS: [&str; 3] = ["web1", "web2", "db1"];

/// Waits until this holds.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "in vain: {what}");
        sleep(LOOK_AGAIN).await;
    }
}

#[tokio::test]
async fn every_sample_arrives_once_over_a_crash_of_the_receiver() {
    let mut prometheus = Prometheus::new();
    prometheus.start().await;
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("collector.toml");
    let url = prometheus.url();
    let text = format!(
        "[remote_write.prometheus]\nurl = \"{url}\"\n[remote_write.prometheus.labels]\nsite = \"x\"\n"
    );
    fs::write(&file, text).unwrap();
    let mut command = program(home.path());
    command
        .args(["--listen", "127.0.0.1:0", "--config"])
        .arg(&file)
        .env("METRICS_COLLECTOR_HOSTS__TIMEOUT", "10s");
    let mut collector = Collector::run(command).await;
    let mut agents = Vec::new();
    for host in HOSTS {
        agents.push((host, collector.peer(host).await));
    }
    let free = |host: &str| format!("metrics_agent_mem_free_bytes{{host=\"{host}\"}}");

    // While it runs, while it is away, and while it runs again.
    let mut said = 0_u32;
    for phase in 0..3 {
        for _ in 0..40 {
            for (host, agent) in &mut agents {
                let grid = format!(
                    r#"{{"mem.free":{said},"fs.size[/]":1,"fs.size[/mnt]":{said},"sys.uptime":{said}}}"#
                );
                agent.report(host, &grid, "metrics").await;
            }
            said += 1;
        }
        match phase {
            0 => {
                // Some of it has arrived, more is on its way.
                until("the first samples", || {
                    !prometheus.samples(&free("web1")).is_empty()
                })
                .await;
                prometheus.kill();
            }
            1 => {
                let line = collector.logged("Remote write prometheus").await;
                assert!(line.contains("fails: "), "{line}");
                prometheus.start().await;
                let line = collector.logged("Remote write prometheus").await;
                assert!(line.contains("nothing was lost"), "{line}");
            }
            _ => {}
        }
    }
    let expected: Vec<_> = (0..said).map(|number| f64::from(number) * 1024.0).collect();
    for host in HOSTS {
        let all = || prometheus.samples(&free(host));
        until(host, || all().len() >= expected.len()).await;
        let samples = all();
        assert!(samples.is_sorted_by(|a, b| a.0 < b.0));
        let values: Vec<_> = samples.iter().map(|(_, value)| *value).collect();
        assert_eq!(values, expected, "{host}");
    }
    let up = prometheus.query("metrics_agent_up");
    assert_eq!(up.len(), HOSTS.len(), "{up:?}");
    for series in &up {
        assert_eq!(series["metric"]["site"], "x");
        assert_eq!(series["value"][1], "1");
    }

    // A file system goes: it is not there any more at once, but was.
    let web1 = &mut agents[0].1;
    let mounts = r#"metrics_agent_fs_size_bytes{host="web1"}"#;
    assert_eq!(prometheus.query(mounts).len(), 2);
    let grid = r#"{"mem.free":0,"fs.size[/]":1}"#;
    web1.report("web1", grid, "metrics").await;
    until("one mount is left", || prometheus.query(mounts).len() == 1).await;
    let gone = r#"metrics_agent_fs_size_bytes{host="web1",mount="/mnt"}"#;
    assert_eq!(prometheus.samples(gone).len(), said as usize);

    // All hosts go.
    for _ in HOSTS {
        collector.logged(" is gone: ").await;
    }
    let of_hosts = "{host!=\"\",__name__!=\"metrics_agent_up\"}";
    until("no series is left", || {
        prometheus.query(of_hosts).is_empty()
    })
    .await;
    let down = prometheus.query("metrics_agent_up == 0");
    assert_eq!(down.len(), HOSTS.len(), "{down:?}");
    assert_eq!(prometheus.samples(&free("db1")).len(), said as usize);
}

/// What a collector has on the way to Prometheus, without the collector.
fn pushes(prometheus: &Prometheus) -> Pushes {
    let target = RemoteWrite {
        url: PushUrl::try_from(prometheus.url()).unwrap(),
        credentials: None,
        ca_file: None,
        timeout: PATIENCE,
        acknowledge: true,
        headers: BTreeMap::new(),
        labels: BTreeMap::new(),
    };
    Pushes::new(&BTreeMap::from([("main".parse().unwrap(), target)]))
}

/// A sample of the second wire, with two sources.
fn sample(pushes: &mut Pushes, host: &Arc<str>, start: i64, seq: u64) {
    let number = i64::try_from(seq).unwrap();
    let grids = [
        format!(r#"{{"mem.free":{seq},"mem.total":7}}"#),
        format!(r#"{{"fs.size[/]":{seq},"fs.free[/]":1,"fs.size[/mnt]":{seq}}}"#),
    ];
    let grids = grids.map(|text| {
        let grid = Grid::parse(text.as_bytes(), GridKind::Metrics);
        Arc::new(grid.unwrap().into())
    });
    let ticket = Ticket { stream: 1, seq };
    pushes.history(host, grids.into(), start + number * 1000, Some(ticket));
}

/// Waits until everything up to this sample has its receipt.
async fn settled(pushes: &mut Pushes, hosts: &[Arc<str>], last: u64) {
    let mut known = BTreeMap::new();
    let start = Instant::now();
    while !hosts.iter().all(|host| known.get(host) == Some(&last)) {
        assert!(start.elapsed() < PATIENCE, "{known:?}");
        let progressed = pushes.progressed();
        let woken = tokio::time::timeout(PATIENCE, progressed.notified()).await;
        woken.expect("there is progress");
        for settled in pushes.settled() {
            known.insert(settled.host, settled.ticket.seq);
        }
    }
}

fn millis_ago(passed: Duration) -> i64 {
    let time = SystemTime::now() - passed;
    let time = time.duration_since(SystemTime::UNIX_EPOCH).unwrap();
    i64::try_from(time.as_millis()).unwrap()
}

/// A collector is killed after Prometheus has taken samples and before the agents have their
/// receipts. The agents send them to the next one again, and what came since.
#[tokio::test]
async fn what_is_sent_again_after_a_kill_is_there_once() {
    const TAKEN: u64 = 40;
    const ALL: u64 = 60;
    let mut prometheus = Prometheus::new();
    prometheus.start().await;
    let hosts: Vec<Arc<str>> = (0..10)
        .map(|number| format!("host{number}").into())
        .collect();
    let start = millis_ago(Duration::from_secs(600));
    let mut first = pushes(&prometheus);
    for seq in 1..=TAKEN {
        for host in &hosts {
            sample(&mut first, host, start, seq);
        }
    }
    settled(&mut first, &hosts, TAKEN).await;
    let taken = first.status().remove(0);
    drop(first);

    let mut second = pushes(&prometheus);
    let mut refused = 0;
    for (number, host) in hosts.iter().enumerate() {
        // Each has other receipts; the last one has none for ten samples.
        let receipted = TAKEN - u64::try_from(number).unwrap() - 1;
        // Prometheus takes the last one again, as it is the same.
        refused += (TAKEN - receipted - 1) * 5;
        for seq in receipted + 1..=ALL {
            sample(&mut second, host, start, seq);
        }
        second.up(host, SystemTime::now());
    }
    settled(&mut second, &hosts, ALL).await;
    let status = second.status().remove(0);
    assert_eq!((taken.sent, taken.failed), (10 * TAKEN * 5, 0));
    assert_eq!(status.failed, refused, "{status:?}");
    assert_eq!((status.dropped, status.moved), (0, 0));
    let of = |host: &str, rest: &str| format!("metrics_agent_{rest}host=\"{host}\"}}");
    let expected = |factor: f64, last: u64| -> Vec<(i64, f64)> {
        let all = 1..=u32::try_from(last).unwrap();
        all.map(|number| (start + i64::from(number) * 1000, f64::from(number) * factor))
            .collect()
    };
    for host in &hosts {
        let free = prometheus.samples(&of(host, "mem_free_bytes{"));
        assert_eq!(free, expected(1024.0, ALL), "{host}");
        let mnt = prometheus.samples(&of(host, "fs_size_bytes{mount=\"/mnt\","));
        assert_eq!(mnt.len(), usize::try_from(ALL).unwrap(), "{host}");
    }

    // One is gone, and comes with what it took meanwhile: all of that is newer than its end.
    second.host_gone(&hosts[0], SystemTime::now());
    for seq in ALL + 1..=ALL + 20 {
        sample(&mut second, &hosts[0], start, seq);
    }
    second.up(&hosts[0], SystemTime::now() + Duration::from_secs(1));
    settled(&mut second, &hosts[..1], ALL + 20).await;
    assert_eq!(second.status().remove(0).failed, refused);
    let free = prometheus.samples(&of("host0", "mem_free_bytes{"));
    assert_eq!(free, expected(1024.0, ALL + 20));
}

/// Another has written one series of many, later: only that one is refused.
#[tokio::test]
async fn one_series_that_is_out_of_order_costs_itself() {
    let mut prometheus = Prometheus::new();
    prometheus.start().await;
    let hosts: Vec<Arc<str>> = ["a".into(), "b".into()].into();
    let start = millis_ago(Duration::from_secs(300));
    let mut other = pushes(&prometheus);
    let odd = Grid::parse(br#"{"mem.total":7}"#, GridKind::Metrics).unwrap();
    let ticket = Ticket { stream: 2, seq: 1 };
    let later = start + 100_000;
    other.history(&hosts[0], vec![Arc::new(odd.into())], later, Some(ticket));
    settled(&mut other, &hosts[..1], 1).await;
    let mut pushes = pushes(&prometheus);
    for seq in 1..=50 {
        for host in &hosts {
            sample(&mut pushes, host, start, seq);
        }
    }
    settled(&mut pushes, &hosts, 50).await;
    let status = pushes.status().remove(0);
    assert_eq!((status.sent, status.failed), (2 * 50 * 5 - 50, 50));
    assert_eq!(
        prometheus
            .samples("metrics_agent_mem_free_bytes{host=\"a\"}")
            .len(),
        50
    );
    assert_eq!(
        prometheus
            .samples("metrics_agent_mem_total_bytes{host=\"a\"}")
            .len(),
        1
    );
    assert_eq!(
        prometheus
            .samples("metrics_agent_mem_total_bytes{host=\"b\"}")
            .len(),
        50
    );
}
