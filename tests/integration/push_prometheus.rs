//! metrics-collector pushing to Prometheus itself.

use std::fs;
use std::time::Instant;

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
