//! Machines that were cloned with their key: real agents, each with the boot id of a machine of its
//! own, and a collector that has to notice.

use std::fs;

use metrics_agent::curve::certificate::Certificate;
use metrics_agent::dbus::COLLECTOR_NAME;
use zbus::fdo::PropertiesProxy;

use crate::private_bus::PrivateBus;
use crate::support::agent::{Agent, Site};
use crate::support::collector::{Collector, program};
use crate::support::http::{address_of, fetch};
use crate::support::place::eventually;
use crate::support::root_for;

const TOLD: &str = "reports from two machines at a time";

/// A collector with a bus and a page of metrics, and what its agents are made from.
struct Fleet {
    bus: PrivateBus,
    collector: Collector,
    home: tempfile::TempDir,
}

impl Fleet {
    async fn start() -> Self {
        let (bus, home) = (PrivateBus::start(), tempfile::tempdir().unwrap());
        let mut command = program(home.path());
        command.args(["--listen", "127.0.0.1:0", "--web-listen", "127.0.0.1:0"]);
        command.args(["--bus", &bus.address()]);
        let collector = Collector::run(command).await;
        Certificate::write_pair(&home.path().join("image"), "agent").unwrap();
        Self {
            bus,
            collector,
            home,
        }
    }

    /// A machine with the image's key and name, whose kernel made this boot id, and which may have
    /// another uptime.
    fn machine(&self, boot: &str, uptime: Option<&str>) -> (Site, String) {
        let site = Site::new(&format!(
            "[host]\nname = \"web1\"\n[collector.main]\nendpoint = \"tcp://{}\"\n\
             public_key = '{}'\n[intervals]\nmetrics = \"1s\"\n",
            self.collector.address, self.collector.public_key
        ));
        let image = self.home.path().join("image");
        fs::create_dir(site.at("state")).unwrap();
        for file in fs::read_dir(image).unwrap() {
            let file = file.unwrap();
            fs::copy(file.path(), site.at("state").join(file.file_name())).unwrap();
        }
        let boot = site.write("boot_id", format!("{boot}\n"));
        let mut script = format!(
            "mount --bind {} /proc/sys/kernel/random/boot_id",
            boot.display()
        );
        if let Some(uptime) = uptime {
            let uptime = site.write("uptime", format!("{uptime} 1.00\n"));
            script = format!("{script} && mount --bind {} /proc/uptime", uptime.display());
        }
        (site, script)
    }

    /// The count at /metrics, for all hosts and for this one.
    async fn counted(&self) -> [u64; 2] {
        let answer = fetch(address_of(&self.collector), "/metrics").await;
        let all = answer.series("metrics_collector_shared_key_messages_total");
        let host = answer.series("metrics_collector_host_shared_key_messages_total");
        let of_host = host
            .iter()
            .find(|(series, _)| series.contains("host=\"web1\""));
        [all.first(), of_host].map(|found| found.map_or(0, |(_, value)| value.parse().unwrap()))
    }

    /// The same on the bus.
    async fn counted_on_bus(&self) -> u64 {
        let address = self.bus.address();
        let builder = zbus::connection::Builder::address(address.as_str());
        let connection = builder.build().await.unwrap();
        let properties = PropertiesProxy::builder(&connection)
            .destination(COLLECTOR_NAME)
            .path("/org/metricsagent/Collector1")
            .build()
            .await
            .unwrap();
        let interface = "org.metricsagent.Collector1".try_into().unwrap();
        let value = properties.get(interface, "SharedKeyMessages").await;
        value.unwrap().try_into().unwrap()
    }

    async fn is_told_nothing(&self, turn: usize) {
        assert_eq!(self.counted().await, [0, 0], "{turn}");
        assert_eq!(self.counted_on_bus().await, 0, "{turn}");
    }

    /// Waits until a series of this metric is at /metrics that is as wanted.
    async fn shows(&self, metric: &str, wanted: impl Fn(&str, &str) -> bool) {
        eventually(metric, async || {
            let answer = fetch(address_of(&self.collector), "/metrics").await;
            let all = answer.series(metric);
            all.iter()
                .any(|(series, value)| wanted(series, value))
                .then_some(())
        })
        .await;
    }

    /// Waits until the warning is logged and the counts have begun.
    async fn is_told(&mut self) -> String {
        let line = self.collector.logged(TOLD).await;
        eventually("it is counted", async || {
            let counted = self.counted().await;
            (counted.iter().all(|count| *count > 0) && self.counted_on_bus().await > 0)
                .then_some(())
        })
        .await;
        line
    }
}

/// Neither is there while the other one is, so that their connections say nothing.
#[tokio::test]
async fn clones_that_report_in_turn_are_told_by_their_boots() {
    if !root_for("a boot id of its own") {
        return;
    }
    let mut fleet = Fleet::start().await;
    let machines = [
        fleet.machine("11111111-1111-4111-8111-111111111111", None),
        fleet.machine("22222222-2222-4222-8222-222222222222", None),
    ];
    // A machine that is started again has a new id; the same ones come back only from two.
    for turn in 0..5 {
        fleet.is_told_nothing(turn).await;
        let (site, script) = &machines[turn % 2];
        let mut agent = Agent::start(site.on_another_host(script));
        let boot = fs::read_to_string(site.at("boot_id")).unwrap();
        let boot = boot.trim().replace('-', "");
        fleet
            .shows("metrics_agent_sys_boot_id_info", |series, _| {
                series.contains(&boot)
            })
            .await;
        agent.terminate().await;
    }
    let line = fleet.is_told().await;
    for part in [
        "as web1 from 127.0.0.1 and as web1 from 127.0.0.1",
        "the ids of their boots differ, so they are not one",
        "On the clone, remove agent.key_secret and restart metrics-agent",
    ] {
        assert!(line.contains(part), "{part}: {line}");
    }
}

/// One was cloned from the other while it ran.
#[tokio::test]
async fn clones_with_one_boot_id_that_report_in_turn_are_told_by_their_uptimes() {
    if !root_for("a boot id and an uptime of its own") {
        return;
    }
    let mut fleet = Fleet::start().await;
    let boot = "44444444-4444-4444-8444-444444444444";
    let uptimes = ["1000.25", "5000.25"];
    let machines = uptimes.map(|uptime| fleet.machine(boot, Some(uptime)));
    // The uptime goes back at every second turn.
    for turn in 0..7 {
        fleet.is_told_nothing(turn).await;
        let (site, script) = &machines[turn % 2];
        let mut agent = Agent::start(site.on_another_host(script));
        fleet
            .shows("metrics_agent_sys_uptime_seconds", |_, value| {
                value == uptimes[turn % 2]
            })
            .await;
        agent.terminate().await;
    }
    let line = fleet.is_told().await;
    for part in [
        "as web1 from 127.0.0.1 and as web1 from 127.0.0.1",
        "their boots have one id, but their uptimes differ, so they are not one",
    ] {
        assert!(line.contains(part), "{part}: {line}");
    }
}

/// Containers on one kernel, or a machine that was cloned while it ran.
#[tokio::test]
async fn clones_with_one_boot_id_are_told_while_both_are_connected() {
    if !root_for("a boot id of its own") {
        return;
    }
    let mut fleet = Fleet::start().await;
    let boot = "33333333-3333-4333-8333-333333333333";
    let machines = [fleet.machine(boot, None), fleet.machine(boot, None)];
    let _agents = machines
        .each_ref()
        .map(|(site, script)| Agent::start(site.on_another_host(script)));
    let line = fleet.is_told().await;
    let part = "if it is one machine, its agent has two connections to this collector: remove one";
    assert!(line.contains(part), "{line}");
}
