//! Names: the host's own, and the collector's on the way to its addresses.
//!
//! Most of this takes a host whose name and resolver can be chosen: name spaces that only
//! root can make.

use std::fs;
use std::process::Command;

use tokio::net::UdpSocket;
use tokio::time::timeout;

use crate::support::agent::{Agent, Site};
use crate::support::deployed::{Collector, Said};
use crate::support::manager::Manager;
use crate::support::peer::PATIENCE;
use crate::support::root_for;

const NAME_SPACES: &str = "mount and UTS name spaces";

const HEAD: &str = "intervals = { metrics = '100ms', stale = '1min' }\n";

/// A site whose host has this name, these hosts and this name server.
fn host(settings: &str, name: &str, hosts: &str, server: &str) -> (Site, Command) {
    let site = Site::new(settings);
    let hosts = site.write("hosts", format!("127.0.0.1 localhost\n{hosts}"));
    let resolver = format!("nameserver {server}\noptions timeout:30 attempts:1\n");
    let resolver = site.write("resolv.conf", resolver);
    let command = site.on_another_host(&format!(
        "hostname {name}; mount --bind {} /etc/hosts; mount --bind {} /etc/resolv.conf",
        hosts.display(),
        resolver.display()
    ));
    (site, command)
}

/// A name server that hears questions and never answers.
async fn silent_server(address: &str) -> UdpSocket {
    UdpSocket::bind((address, 53)).await.unwrap()
}

/// Waits until the server is asked for a name with this label.
async fn asked_for(server: &UdpSocket, label: &str) {
    let mut question = [0; 512];
    loop {
        let heard = timeout(PATIENCE, server.recv(&mut question)).await;
        let length = heard.expect("the resolver asks").unwrap();
        let found = question[..length].windows(label.len());
        if found.into_iter().any(|part| part == label.as_bytes()) {
            return;
        }
    }
}

#[tokio::test]
async fn without_a_setting_it_reports_under_the_host_s_name() {
    let mut collector = Collector::start().await;
    let site = Site::new(&format!("{HEAD}{}", collector.section("main")));
    let _agent = site.start();
    collector.welcome().await;
    let kernel = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let short = kernel.trim_end();
    let host = collector.grid_of("metrics").await.host;
    let rest = host.strip_prefix(short);
    assert!(
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.')),
        "{host}"
    );
}

#[tokio::test]
async fn the_full_name_is_found_and_followed() {
    if !root_for(NAME_SPACES) {
        return;
    }
    let mut collector = Collector::start().await;
    let hosts = "127.0.1.1 web7.example.org web7\n127.0.1.1 web8.example.org web8\n";
    let settings = format!("{HEAD}{}", collector.section("main"));
    let (_site, command) = host(&settings, "web7", hosts, "127.0.0.1");
    let mut agent = Agent::start(command);
    let mut ids = vec![collector.welcome().await];
    assert_eq!(collector.grid_of("metrics").await.host, "web7.example.org");

    let pid = agent.pid().to_string();
    // One that the resolver knows in full, and one that has no longer name.
    let mut previous = "web7.example.org";
    for (name, full) in [("web8", "web8.example.org"), ("web9", "web9")] {
        let renamed = Command::new("nsenter")
            .args(["--uts", "--target", &pid, "hostname", name])
            .status();
        assert!(renamed.unwrap().success());
        let line = format!("Reporting as {full} from now on, not as {previous}");
        agent.says(&line).await;
        // Over a connection of its own: one that has two names is taken for a gateway's.
        let id = loop {
            match collector.next().await {
                Said::Hello(id) => break id,
                Said::Grid(grid) => assert_eq!(grid.host, previous),
            }
        };
        assert!(!ids.contains(&id));
        collector.say(&id, "model").await;
        let grid = collector.grid().await;
        assert_eq!((grid.host.as_str(), &grid.from), (full, &id));
        ids.push(id);
        previous = full;
    }
    assert!(agent.said("No answer").is_empty());
}

#[tokio::test]
async fn a_resolver_that_hangs_does_not_hold_the_start_up() {
    if !root_for(NAME_SPACES) {
        return;
    }
    let server = silent_server("127.0.0.77").await;
    let mut manager = Manager::new();
    let mut collector = Collector::start().await;
    let settings = format!("{HEAD}{}", collector.section("main"));
    let (_site, mut command) = host(&settings, "web7", "", "127.0.0.77");
    manager.adopt(&mut command);
    let mut agent = Agent::start(command);
    assert!(manager.next().await.is("READY"));
    asked_for(&server, "web7").await;
    // The short name has to do.
    collector.welcome().await;
    assert_eq!(collector.grid_of("metrics").await.host, "web7");
    // The question is still open.
    agent.terminate().await;
}

#[tokio::test]
async fn a_look_up_that_hangs_disturbs_nothing_else() {
    if !root_for(NAME_SPACES) {
        return;
    }
    let server = silent_server("127.0.0.78").await;
    let mut collector = Collector::start().await;
    let settings = format!(
        "host.name = 'web1'\n{HEAD}{}{}",
        collector.section_at("far", "collector.example.org"),
        collector.section("near")
    );
    let (site, command) = host(&settings, "web7", "", "127.0.0.78");
    let mut agent = Agent::start(command);
    asked_for(&server, "collector").await;
    collector.welcome().await;
    collector.grid_of("metrics").await;
    // Settings are taken meanwhile.
    site.configure(&settings.replace("web1", "web2"));
    agent.signal(rustix::process::Signal::HUP);
    collector.welcome_again().await;
    assert_eq!(collector.grid_of("metrics").await.host, "web2");
    assert!(
        agent.said("far").is_empty(),
        "the look-up has not ended yet"
    );
    agent.terminate().await;
}

#[tokio::test]
async fn an_ipv6_address_is_reached() {
    let mut collector = Collector::start_on("tcp://[::1]:*").await;
    let section = collector.section_at("main", "[::1]");
    let site = Site::new(&format!("{HEAD}{section}"));
    let mut agent = site.start();
    collector.welcome().await;
    collector.grid_of("metrics").await;
    let endpoint = format!("Reporting to main ([::1]:{})", collector.port);
    agent.says(&endpoint).await;
}

/// The collector listens on one of its addresses only; whichever comes first, it is found.
#[tokio::test]
async fn every_address_of_a_name_is_tried() {
    if !root_for(NAME_SPACES) {
        return;
    }
    let hosts = "::1 two.example.org\n127.0.0.1 two.example.org\n127.0.0.2 two.example.org\n";
    for address in ["tcp://[::1]:*", "tcp://127.0.0.1:*", "tcp://127.0.0.2:*"] {
        let mut collector = Collector::start_on(address).await;
        let section = collector.section_at("main", "two.example.org");
        let settings = format!("host.name = 'web1'\n{HEAD}{section}");
        let (_site, command) = host(&settings, "web7", hosts, "127.0.0.1");
        let mut agent = Agent::start(command);
        collector.welcome().await;
        agent.says("Reporting to main (two.example.org:").await;
        // The addresses that did not answer are part of one attempt, which succeeded.
        assert!(agent.said("No answer").is_empty(), "{address}");
    }
}
