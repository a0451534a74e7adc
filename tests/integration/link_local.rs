//! Link-local addresses with their interface: the programs on a link of their own.

use std::process::{Command, Stdio};

use crate::support::agent::{Agent, Site};
use crate::support::collector::{Collector, program};

/// Has a link of its own, on which it is `fe80::1`, and runs the rest of the line there.
const ON_A_LINK: &str =
    "ip link set lo up && ip address add fe80::1/64 dev lo nodad && exec \"$@\"";

#[tokio::test]
async fn agent_and_collector_meet_on_a_link() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: a network namespace takes root");
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let inner = program(home.path());
    let variables = inner.get_envs();
    let mut command = Command::new("unshare");
    command
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .envs(variables.filter_map(|(name, value)| Some((name, value?))))
        .args(["--net", "sh", "-c", ON_A_LINK, "sh"])
        .arg(inner.get_program())
        .args([
            "--listen",
            "[fe80::1%lo]:0",
            "--viewers-listen",
            "[fe80::1%lo]:0",
            "--web-listen",
            "[fe80::1%25lo]:0",
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut collector = Collector::run(command).await;
    // As it is written, not as the kernel numbers it.
    let port = collector.address.port();
    for line in [
        format!("Listening for agents at [fe80::1%lo]:{port};"),
        "Listening for viewers at [fe80::1%lo]:".to_owned(),
        "Serving Prometheus at http://[fe80::1%lo]:".to_owned(),
    ] {
        let has = |lines: &[String]| lines.iter().any(|found| found.contains(&line));
        assert!(has(&collector.before), "{line}: {:?}", collector.before);
    }

    // One that is there, by a URL's form, and one that is not.
    let section = |name, host| {
        let key = &collector.public_key;
        format!("[collector.{name}]\nendpoint = '{host}:{port}'\npublic_key = '{key}'\n")
    };
    let settings = format!(
        "host.name = 'web1'\n{}{}",
        section("main", "tcp://[fe80::1%25lo]"),
        section("other", "[fe80::1%nope]")
    );
    let site = Site::new(&settings);
    let mut command = site.bare("nsenter".as_ref());
    command
        .arg(format!("--net=/proc/{}/ns/net", collector.id()))
        .arg(env!("CARGO_BIN_EXE_metrics-agent"))
        .arg("--config")
        .arg(site.at("agent.toml"));
    let mut agent = Agent::start(command);
    collector.logged("web1 reports").await;
    agent
        .says(&format!("Reporting to main ([fe80::1%lo]:{port})"))
        .await;
    let line = agent
        .says("this host has no interface for [fe80::1%nope]")
        .await;
    assert!(line.contains("No such device"), "{line}");
}
