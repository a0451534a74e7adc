//! An administrator's way from any key to a list: many keys at once, what closing the listener costs,
//! and what an agent says that is refused.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::private_bus::PrivateBus;
use crate::support::agent::{Agent, Site};
use crate::support::collector::{Collector, program};
use crate::support::peer::Peer;
use crate::support::place::eventually;
use crate::support::tmux::Tmux;

fn run(home: &Path, words: &[&str]) -> Output {
    program(home).args(words).output().unwrap()
}

/// What it prints; it succeeds, and complains of nothing but this.
fn done(home: &Path, words: &[&str], complaint: &str) -> String {
    let output = run(home, words);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{words:?}: {errors}");
    assert!(errors.contains(complaint), "{words:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

fn refused(home: &Path, words: &[&str]) -> String {
    let output = run(home, words);
    assert!(!output.status.success(), "{words:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "", "{words:?}");
    String::from_utf8(output.stderr).unwrap()
}

/// A peer that reports under this name, and its key.
async fn host(collector: &mut Collector, name: &str) -> (Peer, String) {
    let mut peer = Peer::dealer();
    let keys = peer.ask(json!({"do": "keys"})).await;
    let address = format!("tcp://{}", collector.address);
    peer.ask(json!({"do": "connect", "address": address, "server": collector.public_key}))
        .await;
    peer.hello().await;
    peer.report(name, "{}", "model").await;
    let line = collector.logged("reports").await;
    assert!(!line.contains('\u{202e}'), "{line}");
    (peer, keys["public"].as_str().unwrap().to_owned())
}

fn files(home: &Path) -> Vec<String> {
    let directory = home.join(".curve/authorized_agents");
    let mut names: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// The check ends with the words and the status of the start.
#[test]
fn damaged_pins_are_no_start_and_no_valid_settings() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let config = home.join("collector.toml");
    fs::write(&config, "[agents]\npin_names = true\n").unwrap();
    let check = ["--config", config.to_str().unwrap(), "--check-config"];
    done(home, &check, "");
    fs::create_dir(home.join(".curve")).unwrap();
    fs::write(home.join(".curve/pins"), "damaged\n").unwrap();
    let output = run(home, &check);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(78), "{said}");
    let expected = ".curve/pins:1: expected \"metrics-collector pins 1\"; bring the file back";
    assert!(said.contains(expected), "{said}");
    fs::write(&config, "").unwrap();
    done(home, &check, "");
}

#[tokio::test]
async fn many_keys_are_let_in_at_once_and_closing_the_door_is_counted() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let config = home.join("collector.toml");
    fs::write(&config, "").unwrap();
    let with_file = ["--config", config.to_str().unwrap()];
    let closed = "[agents]\nauthorized = \"directory\"\n";
    let mut collector = Collector::start(home, &with_file).await;
    let mut peers = Vec::new();
    for name in ["web1", "web2", "db\u{202e}1", "mail"] {
        peers.push(host(&mut collector, name).await);
    }
    let check = [&with_file[..], &["--check-config"]].concat();
    assert!(!done(home, &check, "").contains("report now"));
    fs::write(&config, closed).unwrap();
    let of_four = "4 of the 4 keys that report now are not in authorized_agents: \
                   those of \"db\\u{202e}1\", mail, web1, web2";
    done(home, &check, of_four);

    // By names and patterns, all or none.
    let error = refused(home, &["keys", "allow", "web*", "nobody"]);
    assert!(error.contains("\"nobody\": expected"), "{error}");
    assert!(!home.join(".curve/authorized_agents").exists());
    let error = refused(home, &["keys", "allow", "web*", "--name", "web"]);
    assert!(
        error.contains("--name works for one key only, and 2 were given"),
        "{error}"
    );
    let output = done(home, &["keys", "allow", "web*"], "the list counts once");
    assert_eq!(output.lines().count(), 2, "{output}");
    assert_eq!(files(home), ["web1.key", "web2.key"]);
    done(
        home,
        &check,
        "2 of the 4 keys that report now are not in authorized_agents: those of \"db\\u{202e}1\", \
         mail;",
    );

    // The listener is closed on the other two.
    collector.signal(Signal::HUP);
    let line = collector
        .logged("what is not listed is refused from now on")
        .await;
    assert!(
        line.contains("2 of the 4 keys that report now are not in authorized_agents"),
        "{line}"
    );
    assert!(line.contains("\"db\\u{202e}1\", mail; "), "{line}");

    // All that report, among them one whose name cannot be a file's.
    fs::write(&config, "").unwrap();
    collector.signal(Signal::HUP);
    collector.logged("Configuration reloaded").await;
    for (peer, _) in &mut peers {
        peer.report("mail2", "{}", "metrics").await;
        peer.hello().await;
    }
    // A door that was opened a moment ago is open to the check, too.
    fs::write(&config, closed).unwrap();
    done(
        home,
        &check,
        "of the 4 keys that report now are not in authorized_agents",
    );
    fs::write(&config, "").unwrap();
    let output = done(home, &["keys", "allow", "--reporting"], "");
    assert_eq!(output.matches("already").count(), 2, "{output}");
    assert_eq!(files(home).len(), 4, "{output}");
    fs::write(&config, closed).unwrap();
    assert!(!done(home, &check, "").contains("report now"));
    collector.stop().await;
    let error = refused(home, &["keys", "allow", "--reporting"]);
    assert!(error.contains("no collector is running here"), "{error}");
}

/// Who reports now is what the collector says now, and a host that it calls gone does not.
#[tokio::test]
async fn a_host_that_is_gone_does_not_report() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let bus = PrivateBus::start();
    let collector = || {
        let mut command = program(home);
        command
            .env("METRICS_COLLECTOR_DBUS__BUS", bus.address())
            .env("METRICS_COLLECTOR_HOSTS__TIMEOUT", "1s");
        command
    };
    let mut command = collector();
    command.args(["--listen", "127.0.0.1:0"]);
    let mut running = Collector::run(command).await;
    let (_peer, _) = host(&mut running, "web1").await;
    running.logged("web1 is gone").await;
    done(home, &["keys", "list"], "");
    let said = |words: &[&str]| {
        let output = collector().args(words).output().unwrap();
        String::from_utf8(output.stderr).unwrap()
    };
    let error = said(&["keys", "allow", "--reporting"]);
    assert!(error.contains("no agent reports now"), "{error}");
    assert!(!error.contains("record"), "{error}");
    let closing = ["--check-config", "--authorized", "directory"];
    let error = said(&closing);
    assert!(!error.contains("now"), "{error}");
    // Where nothing else tells, the record does.
    done(
        home,
        &closing,
        "taken from the record of the running collector",
    );
    done(home, &closing, "the one key that reports now is not in");
    running.stop().await;
}

/// The listener is closed: who is not on the list does not report.
#[tokio::test]
async fn a_key_that_was_revoked_a_moment_ago_does_not_report() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let closed = ["--authorized", "directory"];
    let mut collector = Collector::start(home, &closed).await;
    let mut peer = Peer::dealer();
    let keys = peer.ask(json!({"do": "keys"})).await;
    let key = keys["public"].as_str().unwrap();
    done(home, &["keys", "allow", "--name", "web1", "--", key], "");
    collector.logged("1 key (").await;
    let address = format!("tcp://{}", collector.address);
    peer.ask(json!({"do": "connect", "address": address, "server": collector.public_key}))
        .await;
    peer.hello().await;
    peer.report("web1", "{}", "model").await;
    collector.logged("reports").await;
    let output = done(home, &["keys", "allow", "--reporting"], "");
    assert!(output.contains("already"), "{output}");
    done(home, &["keys", "revoke", "web1"], "");
    let error = refused(home, &["keys", "allow", "--reporting"]);
    assert!(error.contains("no agent reports now"), "{error}");
    // It was let in when it last came.
    assert!(error.contains("1 key that came is refused"), "{error}");
    assert_eq!(files(home), [""; 0]);
    let check = [&["--check-config"], &closed[..]].concat();
    let output = run(home, &check);
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(!error.contains("reports now"), "{error}");
    assert!(
        error.contains("no agent is let in, as no key is in "),
        "{error}"
    );
    collector.stop().await;
}

/// A real agent of this name with settings that make it quick, reporting to this collector.
fn agent(collector: &Collector, name: &str) -> (Site, Agent) {
    agent_at(collector, name, "200ms")
}

/// The same, with this metrics interval.
fn agent_at(collector: &Collector, name: &str, interval: &str) -> (Site, Agent) {
    let site = Site::new(&format!(
        "[host]\nname = \"{name}\"\n[intervals]\nmetrics = \"{interval}\"\nstale = \"20s\"\n\
         [metrics]\nsources = [\"agent\", \"load\"]\n\
         [collector.main]\nendpoint = \"tcp://{}\"\npublic_key = '{}'\n",
        collector.address, collector.public_key
    ));
    let agent = site.start();
    (site, agent)
}

const REFUSED: &str = "the collector refuses what this host reports";
const NOT_LISTED: &str = "the peer refused our key (status 400); most likely the agent's public \
                          key is not on the collector's list; this agent's key is";

/// The key is let in, the name is another's: every handshake succeeds, and nothing is heard.
#[tokio::test]
async fn an_agent_under_a_name_of_another_key_does_not_report() {
    let home = tempfile::tempdir().unwrap();
    let mut collector = Collector::start(home.path(), &["--pin-names"]).await;
    let (_peer, _) = host(&mut collector, "web1").await;
    let (_site, mut agent) = agent(&collector, "web1");
    let line = agent.says(REFUSED).await;
    assert!(!line.contains("Lost main"), "{line}");
    // It has tried again, and was refused again, and has never said that it reports.
    eventually("another handshake", async || {
        let listed = done(home.path(), &["keys", "list", "--json"], "");
        let listed: Value = serde_json::from_str(&listed).unwrap();
        let keys = listed["keys"].as_array().unwrap();
        let agent = keys.iter().find(|entry| entry["hosts"] == json!([]))?;
        (agent["first_seen"] != agent["last_seen"]).then_some(())
    })
    .await;
    assert!(agent.said("Reporting to main").is_empty());
    done(home.path(), &["keys", "forget", "web1"], "");
    // Once it is heard, it says so.
    agent.says("Reporting to main").await;
    collector.stop().await;
}

/// The listener is closed on an agent that reports: it says so at once, and that its key is the cause.
#[tokio::test]
async fn an_agent_that_is_shut_out_says_so() {
    let home = tempfile::tempdir().unwrap();
    let config = home.path().join("collector.toml");
    fs::write(&config, "").unwrap();
    let with_file = ["--config", config.to_str().unwrap()];
    let mut collector = Collector::start(home.path(), &with_file).await;
    let (_site, mut agent) = agent(&collector, "web1");
    collector.logged("web1 reports").await;
    agent.says("Reporting to main").await;
    fs::write(&config, "[agents]\nauthorized = \"directory\"\n").unwrap();
    collector.signal(Signal::HUP);
    // Long before anything is silent for too long.
    agent.says(NOT_LISTED).await;
    assert_eq!(agent.said("Reporting to main").len(), 1);

    // An administrator who closed the listener too early finds the way to let the others in.
    let home = home.path();
    let error = refused(home, &["keys", "allow", "--reporting"]);
    assert!(
        error.contains("1 key that came is refused: `metrics-collector keys list`")
            && error.contains("keys allow KEY..."),
        "{error}"
    );
    let error = refused(home, &["keys", "allow", "web1.example.org"]);
    assert!(error.contains("; did you mean web1?"), "{error}");
    done(home, &["keys", "allow", "web1", "--name", "first"], "");
    for unknown in ["nosuch", "[ag]*"] {
        let error = refused(home, &["keys", "revoke", unknown]);
        assert!(error.contains("expected the name of a file in"), "{error}");
    }
    // Of a file, and of a host.
    for pattern in ["[af]*t", "w*"] {
        done(home, &["keys", "revoke", pattern], "");
        assert_eq!(files(home), Vec::<String>::new());
        done(home, &["keys", "allow", "web1", "--name", "first"], "");
    }
    // The other names of a key go with the one that was named, and are told apart from it.
    let list = home.join(".curve/authorized_agents");
    fs::copy(list.join("first.key"), list.join("web1-old.key")).unwrap();
    let told = done(home, &["keys", "revoke", "first"], "");
    let removed: Vec<_> = told
        .lines()
        .filter(|line| line.starts_with("Removed"))
        .collect();
    let [named, other] = removed[..] else {
        panic!("{told}");
    };
    assert!(named.contains("/first.key (the key "), "{told}");
    assert!(!named.contains("too"), "{told}");
    assert!(other.contains("/web1-old.key (the key "), "{told}");
    assert!(
        other.ends_with(", let in under the name web1-old, too)"),
        "{told}"
    );
    assert_eq!(files(home), Vec::<String>::new());
    collector.stop().await;
}

/// The same where its host is gone between any two of its messages.
#[tokio::test]
async fn an_agent_that_is_shut_out_while_its_host_is_gone_says_so() {
    let home = tempfile::tempdir().unwrap();
    let config = home.path().join("collector.toml");
    let short = "[hosts]\ntimeout = \"1s\"\n";
    fs::write(&config, short).unwrap();
    let with_file = ["--config", config.to_str().unwrap()];
    let mut collector = Collector::start(home.path(), &with_file).await;
    let (_site, mut agent) = agent_at(&collector, "web1", "4s");
    agent.says("Reporting to main").await;
    collector.logged("web1 is gone").await;
    let closed = format!("{short}[agents]\nauthorized = \"directory\"\n");
    fs::write(&config, closed).unwrap();
    collector.signal(Signal::HUP);
    // Long before it has heard nothing for too long.
    agent.says(NOT_LISTED).await;
    assert!(agent.said("has been silent").is_empty());
    collector.stop().await;
}

#[tokio::test]
async fn the_list_fits_the_terminal_and_goes_to_a_pager() {
    let home = tempfile::tempdir().unwrap();
    let mut collector = Collector::start(home.path(), &[]).await;
    let (_peer, key) = host(&mut collector, "a-host-with-a-long-name.example.org").await;
    let program = env!("CARGO_BIN_EXE_metrics-collector");
    let variables = [
        ("HOME", home.path().to_str().unwrap()),
        ("SYSTEMD_PAGER", "sed s/ROLE/PAGED/"),
    ];
    let tmux = Tmux::run(84, 20, &variables, &format!("{program} keys list"));
    let screen = tmux.shows("--full shows all.").await;
    let row = screen.lines().find(|line| line.contains("a-host")).unwrap();
    assert!(row.starts_with("agent  -"), "{screen}");
    assert!(screen.contains("PAGED"), "{screen}");
    assert!(
        row.contains("  any    a-host-with-a-long-name.example.org  2"),
        "{screen}"
    );
    // Whole, below what is to be known of it.
    assert!(screen.contains(&format!("  {key}\n")), "{screen}");
    assert!(
        screen.contains("Columns left out: first seen, address"),
        "{screen}"
    );
    let tmux = Tmux::run(
        200,
        20,
        &variables,
        &format!("{program} keys list --no-pager"),
    );
    let screen = tmux.shows("127.0.0.1").await;
    assert!(
        !screen.contains("PAGED") && !screen.contains("::ffff"),
        "{screen}"
    );
    assert!(
        screen.contains("a-host-with-a-long-name.example.org"),
        "{screen}"
    );
    collector.stop().await;
}

/// Of both families at one socket, an IPv4 peer's address is its own.
#[tokio::test]
async fn an_address_of_ipv4_is_shown_as_one() {
    let home = tempfile::tempdir().unwrap();
    let mut command = program(home.path());
    command.args(["--listen", "[::]:0"]);
    let mut collector = Collector::run(command).await;
    let port = collector.address.port();
    collector.address = ([127, 0, 0, 1], port).into();
    let (_peer, _) = host(&mut collector, "web1").await;
    let listed = eventually("the key is on record", async || {
        let listed = done(home.path(), &["keys", "list", "--json"], "");
        listed.contains("web1").then_some(listed)
    })
    .await;
    let listed: Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed["keys"][0]["address"], "127.0.0.1");
    collector.stop().await;
}

/// An empty table would say that no host reports.
#[test]
fn who_may_not_read_the_record_is_told_so() {
    let home = tempfile::tempdir().unwrap();
    let error = refused(home.path(), &["keys", "list"]);
    assert!(
        error.contains("no collector has kept a record of keys there yet"),
        "{error}"
    );
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let script = "mount -t tmpfs none /var/lib && mkdir -m 700 /var/lib/metrics-collector && \
                  exec setpriv --reuid 65534 --regid 65534 --clear-groups \"$@\"";
    // In a place that no program starts from.
    let copy = home.path().join("metrics-collector");
    fs::copy(env!("CARGO_BIN_EXE_metrics-collector"), &copy).unwrap();
    fs::set_permissions(
        home.path(),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", script, "sh"])
        .arg(&copy)
        .args(["keys", "list"])
        .env("HOME", home.path().join("none"))
        .output()
        .unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "");
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(
        error.contains("/var/lib/metrics-collector: only root and the service's own user may see"),
        "{error}"
    );
}
