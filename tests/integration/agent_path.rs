//! A path that loses large packets alone, as one with a smaller MTU does whose "too big" is
//! filtered: hello and pings pass, and no metrics ever do. The real program, on a network of its
//! own.

use std::process::Command;
use std::time::{Duration, Instant};

use tokio::time::timeout;

use crate::support::agent::Site;
use crate::support::collector;
use crate::support::deployed::{Collector, Said, section};

const HEAD: &str = "host.name = 'web1'\nintervals = { metrics = '1s', stale = '1min' }\n";

/// Set in the process that runs in a network name space of its own.
const INSIDE: &str = "METRICS_AGENT_TEST_ON_A_NETWORK_OF_ITS_OWN";

/// Where packets end.
const HOLE: &str = "ip link set lo up; ip link add name hole0 type veth peer name hole1; \
                    ip link set hole0 up; ip link set hole1 up";

/// Packets of 512 bytes and more disappear there without notice: a bit of their length each.
const LOSE: &str = "tc qdisc add dev lo clsact; \
     for bits in 0200 0400 0800 1000 2000 4000 8000; do \
         tc filter add dev lo egress protocol ip u32 match u16 0x$bits 0x$bits at 2 \
             action mirred egress redirect dev hole0; \
     done";
/// Packets of more than 1,215 bytes go there.
const LOSE_LARGER: &str = "tc qdisc add dev lo clsact; \
     for bits in 8000:8000 4000:4000 2000:2000 1000:1000 0800:0800 0600:fe00 0500:ff00 04c0:ffc0; do \
         tc filter add dev lo egress protocol ip u32 match u16 0x${bits%:*} 0x${bits#*:} at 2 \
             action mirred egress redirect dev hole0; \
     done";
const MEND: &str = "tc qdisc del dev lo clsact";

fn sh(script: &str) {
    let done = Command::new("sh").args(["-ec", script]).output().unwrap();
    assert!(done.status.success(), "{done:?}");
}

/// Runs one of these tests again, on a network of its own; the text to print of that.
fn again_on_a_network_of_its_own(name: &str) -> String {
    let output = Command::new("unshare")
        .args(["--net", "sh", "-ec"])
        .arg(format!("{HOLE}; {LOSE}; {MEND}; exec \"$@\""))
        .arg("sh")
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", &format!("agent_path::{name}"), "--nocapture"])
        .env(INSIDE, "1")
        .output();
    let output = match output {
        Ok(output) => output,
        Err(error) => return format!("skipped: no unshare(1): {error}"),
    };
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    if !output.status.success() && !said.contains("running 1 test") {
        return format!("skipped, as this needs root, unshare(1), ip(8) and tc(8): {said}");
    }
    assert!(output.status.success(), "{said}");
    said
}

#[tokio::test]
async fn large_packets_that_are_lost_are_named_and_nothing_flaps() {
    if std::env::var_os(INSIDE).is_none() {
        let name = "large_packets_that_are_lost_are_named_and_nothing_flaps";
        return println!("{}", again_on_a_network_of_its_own(name));
    }
    let mut collector = Collector::start().await;
    let site = Site::new(&format!("{HEAD}{}", collector.section("main")));
    let mut agent = site.start();
    let mut id = collector.welcome().await;
    collector.grid_of("metrics").await;
    agent.says("Reporting to main").await;

    sh(LOSE);
    let began = Instant::now();
    // Twice it reconnects, is asked for the model again, and is pinged all the while.
    let mut hellos = 0;
    while hellos < 3 {
        let passed = began.elapsed();
        assert!(passed < Duration::from_secs(180), "{:?}", agent.said(""));
        // A ping to a connection that is just gone is lost.
        match timeout(Duration::from_millis(500), collector.next()).await {
            Ok(Said::Hello(from)) => {
                hellos += 1;
                id = from;
                collector.flood(&id, "model", 1);
            }
            // Under way when the path broke.
            Ok(Said::Grid(_)) => assert!(passed < Duration::from_secs(15)),
            Err(_) => collector.flood(&id, "ping", 1),
        }
    }
    let lost = agent.said("Lost main");
    assert_eq!(lost.len(), 1, "{lost:#?}");
    let reason = "nothing that was sent has been acknowledged for 2";
    assert!(lost[0].contains(reason), "{lost:?}");
    assert!(lost[0].contains("large packets may be lost on the way: try a smaller MTU"));
    assert!(began.elapsed() > Duration::from_secs(40));
    assert_eq!(agent.said("Reporting to main").len(), 1);

    sh(MEND);
    let mended = Instant::now();
    while agent.said("Reporting to main").len() < 2 {
        let passed = mended.elapsed();
        assert!(passed < Duration::from_secs(120), "{:?}", agent.said(""));
        match timeout(Duration::from_millis(500), collector.next()).await {
            Ok(Said::Hello(from)) => {
                id = from;
                collector.flood(&id, "model", 1);
            }
            Ok(Said::Grid(_)) => {}
            Err(_) => collector.flood(&id, "ping", 1),
        }
    }
    assert_eq!(agent.said("Lost main").len(), 1);
    agent.terminate().await;
}

/// All as it is by default, with the real collector: packets of more than 1,215 bytes are lost on
/// the way.
#[tokio::test]
async fn at_the_default_interval_a_lossy_path_is_named() {
    if std::env::var_os(INSIDE).is_none() {
        let name = "at_the_default_interval_a_lossy_path_is_named";
        return println!("{}", again_on_a_network_of_its_own(name));
    }
    is_named_and_nothing_flaps("up", &[], "").await;
}

/// Here it is a device of this host that takes no such packets: the kernel keeps them, and ends the
/// connection itself.
#[tokio::test]
async fn at_the_default_interval_a_device_that_refuses_is_named() {
    if std::env::var_os(INSIDE).is_none() {
        let name = "at_the_default_interval_a_device_that_refuses_is_named";
        return println!("{}", again_on_a_network_of_its_own(name));
    }
    is_named_and_nothing_flaps("down", &[], "").await;
}

/// The same, where nothing is heard of the collector meanwhile.
#[tokio::test]
async fn a_device_that_refuses_is_named_where_the_collector_is_silent() {
    if std::env::var_os(INSIDE).is_none() {
        let name = "a_device_that_refuses_is_named_where_the_collector_is_silent";
        return println!("{}", again_on_a_network_of_its_own(name));
    }
    let rare = ["--ping-interval", "1min", "--host-timeout", "10min"];
    is_named_and_nothing_flaps("down", &rare, "intervals.stale = '5min'\n").await;
}

async fn is_named_and_nothing_flaps(state: &str, options: &[&str], settings: &str) {
    let home = tempfile::tempdir().unwrap();
    let mut collector = collector::Collector::start(home.path(), options).await;
    let section = section(
        "main",
        &collector.address.to_string(),
        &collector.public_key,
    );
    let site = Site::new(&format!("host.name = 'web1'\n{settings}{section}"));
    let mut agent = site.start();
    collector.logged("web1 reports").await;
    agent.says("Reporting to main").await;

    sh(&format!("ip link set hole0 {state}; {LOSE_LARGER}"));
    let lost = agent.says("Lost main").await;
    assert!(
        lost.contains("nothing that was sent has been acknowledged for "),
        "{lost}"
    );
    assert!(lost.contains("try a smaller MTU"), "{lost}");
    // It reconnects, and says hello.
    collector.logged("web1 reports on another connection").await;
    assert_eq!(agent.said("Reporting to main").len(), 1);
    sh(MEND);
    agent.says_times("Reporting to main", 2).await;
    assert_eq!(agent.said("Lost main").len(), 1);
    agent.terminate().await;
}
