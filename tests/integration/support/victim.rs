//! An agent that reports to a collector and is attacked by another one.

use std::time::Duration;

use metrics_agent::ctl::proxy::{Agent as OnBus, Values};
use metrics_agent::dbus::Bus;
use serde_json::json;
use zbus::Variant;

use super::agent::{Agent, Site};
use super::attack::Memory;
use super::deployed::Collector;
use super::manager::Manager;
use super::place::eventually;
use crate::private_bus::PrivateBus;

/// Silence does not end a connection here.
const SETTINGS: &str = "\
    host.name = 'web1.example.org'\n\
    intervals = { metrics = '100ms', stale = '10min' }\n";

/// An agent under a manager with a watchdog, on a bus, with a good collector and an evil one.
pub(crate) struct Victim {
    pub(crate) agent: Agent,
    good: Collector,
    manager: Manager,
    bus: PrivateBus,
    _site: Site,
}

impl Victim {
    /// One that has these sections for evil collectors, and reports to the good one.
    pub(crate) async fn of(evil: &str) -> Self {
        let (bus, manager) = (PrivateBus::start(), Manager::new());
        let mut good = Collector::start().await;
        let site = Site::new(&format!("{SETTINGS}{}{evil}", good.section("good")));
        let mut command = site.command();
        command.env("METRICS_AGENT_DBUS__BUS", bus.address());
        let command = manager.adopt_with_watchdog(&command, Duration::from_secs(1));
        let agent = Agent::start(command);
        good.welcome().await;
        good.peer.ask(json!({"do": "loud", "on": false})).await;
        let mut victim = Self {
            agent,
            good,
            manager,
            bus,
            _site: site,
        };
        // Until memory is what it needs for the good one alone.
        victim.samples(20).await;
        victim
    }

    /// The memory that it takes from now on.
    pub(crate) fn memory(&self) -> Memory {
        Memory::watch_process(self.agent.pid())
    }

    /// Waits until the good collector has so many messages more.
    pub(crate) async fn samples(&mut self, count: u64) {
        let before = self.good.peer.count().await;
        let peer = &mut self.good.peer;
        eventually("the good collector gets samples", async || {
            (peer.count().await >= before + count).then_some(())
        })
        .await;
    }

    /// Samples, the watchdog and the bus go on.
    pub(crate) async fn goes_on(&mut self) {
        while !self.manager.told_nothing() {}
        self.samples(10).await;
        for _ in 0..2 {
            self.manager.until(|told| told.is("WATCHDOG")).await;
        }
        self.of_connection("evil", "MessagesSent").await;
    }

    /// A counter of a connection, as the bus has it.
    pub(crate) async fn of_connection(&self, name: &str, property: &str) -> u64 {
        match &*self.connection(name).await[property] {
            Variant::U64(value) => *value,
            other => panic!("{property}: {other}"),
        }
    }

    /// A connection, as the bus has it.
    async fn connection(&self, name: &str) -> Values {
        let address = Bus::Address(self.bus.address());
        let agent = eventually("the agent is on the bus", async || {
            OnBus::find(&address, false).await.ok()
        });
        let objects = agent.await.objects().await.unwrap();
        let is_named =
            |values: &Values| matches!(&*values["Name"], Variant::Str(found) if *found == name);
        let found = objects.connections.into_iter().find(is_named);
        found.unwrap_or_else(|| panic!("no {name}"))
    }

    /// Waits until there is no link to this collector for this reason.
    pub(crate) async fn is_without(&self, name: &str, why: &str) {
        eventually(&format!("{name} is left: {why}"), async || {
            let values = self.connection(name).await;
            match &*values["StateReason"] {
                Variant::Str(reason) => reason.contains(why).then_some(()),
                other => panic!("{other}"),
            }
        })
        .await;
    }

    /// Waits until the counter of the evil connection is as large as this.
    pub(crate) async fn counts(&self, property: &str, least: u64) {
        eventually(&format!("{least} {property}"), async || {
            (self.of_connection("evil", property).await >= least).then_some(())
        })
        .await;
    }

    /// All that was sampled for the good collector is there, on its first connection.
    pub(crate) async fn missed_nothing(mut self) {
        for counter in ["MessagesDropped", "Reconnects", "HandshakeFailures"] {
            assert_eq!(self.of_connection("good", counter).await, 0, "{counter}");
        }
        let sent = self.of_connection("good", "MessagesSent").await;
        let peer = &mut self.good.peer;
        eventually("all that was sent is there", async || {
            (peer.count().await >= sent).then_some(())
        })
        .await;
        assert!(self.agent.said("Lost good").is_empty());
        self.agent.terminate().await;
    }
}
