//! Who may report: allow lists, pinned host names, and an administrator's way to them, with
//! the real program, `metrics-agent` and other peers.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use metrics_agent::base::shell;
use metrics_agent::base::text::quoted;
use metrics_agent::curve::certificate::Certificate;
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::spawn_blocking;

use crate::support::agent::Site;
use crate::support::collector::{Collector, program};
use crate::support::peer::Peer;
use crate::support::place::eventually;

const DIRECTORY: &[&str] = &["--authorized", "directory"];

fn agents(home: &TempDir) -> std::path::PathBuf {
    home.path().join(".curve/authorized_agents")
}

/// Runs `metrics-collector keys` with these words: status, standard output, standard error.
async fn keys(home: &Path, words: &[&str]) -> (i32, String, String) {
    let mut command = program(home);
    command.arg("keys").args(words);
    outcome(command).await
}

async fn outcome(mut command: Command) -> (i32, String, String) {
    let output = spawn_blocking(move || command.output().unwrap());
    let Output {
        status,
        stdout,
        stderr,
    } = output.await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

/// What `keys` does without a complaint.
async fn done(home: &Path, words: &[&str]) -> String {
    let (status, output, errors) = keys(home, words).await;
    assert_eq!((status, &*errors), (0, ""), "{words:?}");
    output
}

/// The complaint of `keys`, and its status.
async fn complaint(home: &Path, words: &[&str]) -> (i32, String) {
    let (status, output, errors) = keys(home, words).await;
    assert_eq!(output, "");
    let line = errors.strip_prefix("metrics-collector: ").unwrap();
    (status, line.trim_end().to_owned())
}

async fn list(home: &Path) -> Value {
    serde_json::from_str(&done(home, &["list", "--json"]).await).unwrap()
}

/// A peer with a key of its own, not connected yet, and the key.
async fn stranger() -> (Peer, String) {
    let mut peer = Peer::dealer();
    let keys = peer.ask(json!({"do": "keys"})).await;
    (peer, keys["public"].as_str().unwrap().to_owned())
}

async fn connect(peer: &mut Peer, collector: &Collector) {
    let address = format!("tcp://{}", collector.address);
    peer.ask(json!({"do": "connect", "address": address, "server": collector.public_key}))
        .await;
}

/// Connects again and again until the collector lets it in.
async fn let_in(peer: &mut Peer, collector: &Collector) {
    eventually("the key is let in", async || {
        connect(peer, collector).await;
        let end = peer.event("link").await;
        let mut name = end["name"].clone();
        while name != "HANDSHAKE_SUCCEEDED" && name != "HANDSHAKE_FAILED_AUTH" {
            name = peer.event("link").await["name"].clone();
        }
        (name == "HANDSHAKE_SUCCEEDED").then_some(())
    })
    .await;
}

#[tokio::test]
async fn of_a_list_that_cannot_be_read_it_is_not_said_that_it_is_empty() {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir_all(agents(&home).parent().unwrap()).unwrap();
    fs::write(agents(&home), "no directory").unwrap();
    let mut collector = Collector::start(home.path(), DIRECTORY).await;
    let before = std::mem::take(&mut collector.before);
    let said = |text: &str| before.iter().any(|line| line.contains(text));
    assert!(said("cannot read the directory"), "{before:?}");
    assert!(!said("No agent is let in"), "{before:?}");
    collector.stop().await;
}

#[tokio::test]
async fn only_those_listed_report_and_a_list_is_followed() {
    let home = tempfile::tempdir().unwrap();
    let mut collector = Collector::start(home.path(), DIRECTORY).await;
    assert!(
        collector
            .before
            .iter()
            .any(|line| line.contains("No agent is let in yet")),
        "{:?}",
        collector.before
    );
    let (mut web1, key) = stranger().await;
    connect(&mut web1, &collector).await;
    web1.tell(&json!({"do": "send", "frames": ["00"]}));
    web1.link("HANDSHAKE_FAILED_AUTH").await;
    let line = collector.logged("Refused the key").await;
    let word = shell::word(&key);
    let hint = format!(
        "Refused the key {key} of 127.0.0.1, as it is not in authorized_agents; \
         `metrics-collector keys allow -- {word}` lets that agent in"
    );
    assert!(line.ends_with(&hint), "{line}");

    // Somebody else's file is no help.
    fs::create_dir_all(agents(&home)).unwrap();
    Certificate::write_pair(&agents(&home), "other").unwrap();
    collector
        .logged("Read authorized_agents: 1 key (new: other)")
        .await;
    connect(&mut web1, &collector).await;
    web1.link("HANDSHAKE_FAILED_AUTH").await;

    let output = done(home.path(), &["allow", "--name", "web1", "--", &key]).await;
    let path = agents(&home).join("web1.key");
    let expected = format!(
        "Wrote {}: the key {key} is let in as agent\n",
        path.display()
    );
    assert_eq!(output, expected);
    collector
        .logged("Read authorized_agents: 2 keys (new: web1)")
        .await;
    let_in(&mut web1, &collector).await;
    web1.hello().await;
    web1.report("web1", "{}", "model").await;
    collector.logged("web1 reports").await;

    // Shut out while it is connected.
    let output = done(home.path(), &["revoke", "web1"]).await;
    assert_eq!(
        output,
        format!(
            "Removed {} (the key {key})\n\
             A running collector refuses it from now on, also where it is connected\n",
            path.display()
        )
    );
    collector
        .logged("Read authorized_agents: 1 key (gone: web1)")
        .await;
    // Its connection is ended, and another one is refused.
    web1.link("DISCONNECTED").await;
    web1.link("HANDSHAKE_FAILED_AUTH").await;

    // And let in again.
    fs::write(&path, format!("curve\n    public-key = \"{key}\"\n")).unwrap();
    collector.logged("(new: web1)").await;
    let_in(&mut web1, &collector).await;
    web1.hello().await;
    let totals = collector.stop().await;
    assert_eq!(totals, "1 host, 3 messages, 0 refused");
}

#[tokio::test]
async fn an_agent_that_waits_is_let_in_without_a_restart() {
    let home = tempfile::tempdir().unwrap();
    let mut collector = Collector::start(home.path(), DIRECTORY).await;
    let site = Site::new(&format!(
        "[dbus]\nbus = \"none\"\n[host]\nname = \"web1\"\n[collector.main]\n\
         endpoint = \"{}\"\npublic_key = \"{}\"\n",
        collector.address, collector.public_key
    ));
    let mut command = site.command();
    command.env("STATE_DIRECTORY", site.dir());
    let mut agent = command.stderr(std::process::Stdio::null()).spawn().unwrap();
    let line = collector.logged("Refused the key").await;
    let (_, rest) = line.split_once("Refused the key ").unwrap();
    let (key, _) = rest.split_once(" of ").unwrap();
    // As an administrator might do it: a directory from elsewhere.
    let prepared = home.path().join("prepared");
    fs::create_dir(&prepared).unwrap();
    fs::write(
        prepared.join("web1.key"),
        format!("curve\n    public-key = \"{key}\"\n"),
    )
    .unwrap();
    fs::rename(&prepared, agents(&home)).unwrap();
    collector.logged("(new: web1)").await;
    collector.logged("web1 reports").await;
    agent.kill().unwrap();
    agent.wait().unwrap();
}

#[tokio::test]
async fn a_bad_file_is_said_and_costs_itself() {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir_all(agents(&home)).unwrap();
    let bad = agents(&home).join("bad.key");
    fs::write(&bad, "curve\n    public-key = \"tooshort\"\n").unwrap();
    let (mut web1, key) = stranger().await;
    let words = ["allow", "--name", "web1", "--", &key];
    let (status, output, errors) = keys(home.path(), &words).await;
    assert_eq!(status, 0, "{errors}");
    assert!(
        output.starts_with("Wrote ") && errors.contains("bad.key:2: "),
        "{output}{errors}"
    );
    let collector = Collector::start(home.path(), DIRECTORY).await;
    let told = format!(
        "{}:2: public-key: expected 40 Z85 characters, found 8",
        bad.display()
    );
    assert!(
        collector.before.iter().any(|line| line.contains(&told)),
        "{:?}",
        collector.before
    );
    let_in(&mut web1, &collector).await;
}

/// Peers that report as these hosts, and their keys.
async fn reporting(collector: &mut Collector, hosts: [&str; 3]) -> [(Peer, String); 3] {
    let mut peers = Vec::new();
    for host in hosts {
        let (mut peer, key) = stranger().await;
        connect(&mut peer, collector).await;
        peer.hello().await;
        peer.report(host, "{}", "model").await;
        let name = quoted(host);
        collector.logged(&format!("{name} reports")).await;
        peers.push((peer, key));
    }
    peers.try_into().ok().unwrap()
}

#[tokio::test]
async fn an_allow_list_is_made_from_those_that_came() {
    let home = tempfile::tempdir().unwrap();
    let mut collector = Collector::start(home.path(), &[]).await;
    let hosts = ["web1", "web2", "db 1/x"];
    let mut peers = reporting(&mut collector, hosts).await;
    // While it runs, and at once.
    let listed = list(home.path()).await;
    assert_eq!(listed["authorized"], "any");
    let entries = listed["keys"].as_array().unwrap();
    assert_eq!(entries.len(), 3);
    for ((_, key), host) in peers.iter().zip(hosts) {
        let entry = entries.iter().find(|entry| entry["key"] == **key).unwrap();
        assert_eq!(entry["hosts"][0]["name"], host);
        assert_eq!(entry["state"], "any");
        assert_eq!(entry["address"], "127.0.0.1");
        assert_eq!(entry["name"], Value::Null);
    }
    let (status, output, errors) = keys(home.path(), &["allow", "web1"]).await;
    let path = agents(&home).join("web1.key");
    let wrote = format!(
        "Wrote {}: the key {} is let in as agent\n",
        path.display(),
        peers[0].1
    );
    assert_eq!((status, output), (0, wrote));
    assert!(
        errors.contains("the collector lets every agent in"),
        "{errors}"
    );
    collector.stop().await;

    // With the list in force, who is on it goes on, and the others do not.
    let collector = Collector::start(home.path(), DIRECTORY).await;
    let (web1, refused) = peers.split_first_mut().unwrap();
    let_in(&mut web1.0, &collector).await;
    for (peer, _) in refused {
        connect(peer, &collector).await;
        peer.link("HANDSHAKE_FAILED_AUTH").await;
    }
    // What came before the restart is known still.
    let listed = list(home.path()).await;
    assert_eq!(listed["authorized"], "directory");
    let entries = listed["keys"].as_array().unwrap();
    assert_eq!(entries.len(), 3);
    for entry in entries {
        let (state, refusals) = if entry["key"] == *web1.1 {
            ("allowed", 0)
        } else {
            ("refused", 1)
        };
        assert_eq!(
            (&entry["state"], &entry["refusals"]),
            (&json!(state), &json!(refusals))
        );
    }
    let table = done(home.path(), &["list"]).await;
    assert!(table.starts_with("ROLE   NAME  KEY "), "{table}");
    assert_eq!(table.lines().count(), 4);
    // By the host name that it had then.
    done(home.path(), &["allow", "--name", "db1", "db 1/x"]).await;
    let_in(&mut peers[2].0, &collector).await;
}

#[tokio::test]
async fn what_cannot_be_done_about_a_key_is_said() {
    let home = tempfile::tempdir().unwrap();
    let mut collector = Collector::start(home.path(), &[]).await;
    let peers = reporting(&mut collector, ["web1", "web2", "db 1/x"]).await;
    let [web1, web2, db] = peers.each_ref().map(|(_, key)| key);
    // A name that several keys use stands for none.
    let (mut impostor, other) = stranger().await;
    connect(&mut impostor, &collector).await;
    impostor.report("web2", "{}", "model").await;
    let told = format!(
        "web2 reports on another connection now, with the key {other}, and before with {web2}"
    );
    collector.logged(&told).await;
    let (status, line) = complaint(home.path(), &["allow", "web2"]).await;
    assert_eq!(status, 1);
    assert!(
        line.starts_with("web2: 2 keys have reported under that name") && line.contains(&other),
        "{line}"
    );
    keys(home.path(), &["allow", "web1"]).await;
    let path = agents(&home).join("web1.key");
    let (_, output, _) = keys(home.path(), &["allow", "web1"]).await;
    let has = format!("{} has the key {web1} already\n", path.display());
    assert_eq!(output, has);
    for (words, told) in [
        (
            &["allow", "--name", "web1", "--", web2][..],
            format!("{}: holds another key, {web1}", path.display()),
        ),
        (
            &["allow", "db 1/x"],
            "\"db 1/x\": expected a name without `/`".to_owned(),
        ),
        (
            &["allow", "nobody"],
            "\"nobody\": expected a public key of 40".to_owned(),
        ),
        (
            &["revoke", "--", db],
            format!("no key of {db} is in /etc/metrics-collector/authorized_agents or "),
        ),
        (
            &["revoke", "--viewer", "--", web1],
            format!("no key of {web1} is in /etc/metrics-collector/authorized_viewers or "),
        ),
    ] {
        let (status, line) = complaint(home.path(), words).await;
        assert_eq!(status, 1, "{words:?}");
        assert!(line.starts_with(&told), "{line}");
    }
    let (_, line) = complaint(home.path(), &["revoke", "--", db]).await;
    assert!(line.contains("set authorized = \"directory\""), "{line}");
}

/// Viewers are let in by their list alone, and sent nothing once they are off it.
#[tokio::test]
async fn only_those_listed_look_on() {
    let home = tempfile::tempdir().unwrap();
    let options = ["--viewers-listen", "127.0.0.1:0"];
    let mut collector = Collector::start(home.path(), &options).await;
    let listening = "Listening for viewers at ";
    let line = collector
        .before
        .iter()
        .find(|line| line.contains(listening));
    let (_, endpoint) = line.unwrap().split_once(listening).unwrap();
    let address = format!("tcp://{endpoint}");
    let (mut viewer, key) = stranger().await;
    let words = json!({"do": "connect", "address": address, "server": collector.public_key});
    viewer.ask(words.clone()).await;
    viewer.link("HANDSHAKE_FAILED_AUTH").await;
    let line = collector.logged("Refused the key").await;
    let word = shell::word(&key);
    let hint = format!("`metrics-collector keys allow --viewer -- {word}` lets that viewer in");
    assert!(line.ends_with(&hint), "{line}");

    // As an agent it is no viewer.
    keys(home.path(), &["allow", "--name", "top", "--", &key]).await;
    collector.logged("Read authorized_agents: 1 key").await;
    viewer.ask(words.clone()).await;
    viewer.link("HANDSHAKE_FAILED_AUTH").await;
    done(
        home.path(),
        &["allow", "--viewer", "--name", "top", "--", &key],
    )
    .await;
    collector
        .logged("Read authorized_viewers: 1 key (new: top)")
        .await;
    viewer.ask(words).await;
    viewer.link("HANDSHAKE_SUCCEEDED").await;
    let mut agent = collector.peer("A").await;
    agent.hello().await;
    viewer.send(None, &[b"CTRL", b"hello"]).await;
    // What it is sent ends with what an agent says.
    let seen = async |viewer: &mut Peer, agent: &mut Peer| {
        eventually("the viewer is heard", async || {
            agent.report("web1", "{}", "metrics").await;
            // It may have been sent before the collector had read the viewer's hello.
            viewer.count().await;
            while viewer.waiting("message") > 0 {
                let frames = viewer.message().await.1;
                if frames[0] == b"METR" {
                    return Some(frames[1].clone());
                }
            }
            None
        })
        .await
    };
    assert_eq!(seen(&mut viewer, &mut agent).await, b"web1");
    let listed = list(home.path()).await;
    let role = |role| {
        let entries = listed["keys"].as_array().unwrap().iter();
        entries.filter(move |entry| entry["role"] == role).count()
    };
    assert_eq!((role("agent"), role("viewer")), (2, 1));

    done(home.path(), &["revoke", "--viewer", "top"]).await;
    collector
        .logged("Read authorized_viewers: 0 keys (gone: top)")
        .await;
    viewer.link("DISCONNECTED").await;
    viewer.link("HANDSHAKE_FAILED_AUTH").await;
    agent.hello().await;
    let before = viewer.count().await;
    for _ in 0..10 {
        agent.report("web1", "{}", "metrics").await;
    }
    agent.hello().await;
    assert_eq!(viewer.count().await, before);
}

/// From any key to a list by a reload: who is connected is judged again.
#[tokio::test]
async fn a_reload_puts_the_list_in_force() {
    let home = tempfile::tempdir().unwrap();
    let config = home.path().join("collector.toml");
    fs::write(&config, "").unwrap();
    let with_file = ["--config", config.to_str().unwrap()];
    let mut collector = Collector::start(home.path(), &with_file).await;
    let mut peers = reporting(&mut collector, ["web1", "web2", "web3"]).await;
    keys(home.path(), &["allow", "web1"]).await;
    collector
        .logged("(new: web1); the list does not count")
        .await;
    fs::write(&config, "[agents]\nauthorized = \"directory\"\n").unwrap();
    collector.signal(Signal::HUP);
    collector.logged("Configuration reloaded").await;
    let [(web1, _), (web2, key), _] = &mut peers;
    web2.link("DISCONNECTED").await;
    while !collector.logged("Refused the key").await.contains(&*key) {}
    web1.hello().await;
    // The record of keys may be a minute old: what is said of the listener is not.
    let (_, output, errors) = keys(home.path(), &["revoke", "web1"]).await;
    assert!(output.contains("refuses it from now on"), "{output}");
    assert_eq!(errors, "");
    assert_eq!(list(home.path()).await["authorized"], "directory");
    fs::write(&config, "").unwrap();
    collector.signal(Signal::HUP);
    collector.logged("Configuration reloaded").await;
    let (_, _, errors) = keys(home.path(), &["allow", "--", &*key]).await;
    assert!(errors.contains("lets every agent in"), "{errors}");
    let_in(web2, &collector).await;
    web2.hello().await;
    collector.stop().await;
}

#[tokio::test]
async fn a_pinned_name_is_its_first_keys_over_a_restart() {
    let home = tempfile::tempdir().unwrap();
    let pinning = &["--pin-names"][..];
    let mut collector = Collector::start(home.path(), pinning).await;
    let (mut web1, key) = stranger().await;
    let (mut impostor, other) = stranger().await;
    for peer in [&mut web1, &mut impostor] {
        connect(peer, &collector).await;
        peer.hello().await;
    }
    web1.report("web1", "{}", "model").await;
    collector.logged("web1 reports").await;
    impostor.report("web1", "{}", "model").await;
    let line = collector
        .logged("the host name web1 belongs to the key")
        .await;
    assert!(
        line.contains("ERROR") && line.contains(&key) && line.contains(&other),
        "{line}"
    );
    assert!(
        line.contains("`metrics-collector keys forget web1`"),
        "{line}"
    );
    // Nonsense before does not hide it, nor does it keep the impostor from a name of its own.
    impostor.report("web2", "{}", "model").await;
    collector.logged("web2 reports").await;
    assert_eq!(collector.stop().await, "2 hosts, 4 messages, 1 refused");

    let mut collector = Collector::start(home.path(), pinning).await;
    connect(&mut impostor, &collector).await;
    impostor.report("web1", "{}", "model").await;
    collector
        .logged("the host name web1 belongs to the key")
        .await;
    let listed = list(home.path()).await;
    let pins: Vec<_> = listed["pins"]
        .as_array()
        .unwrap()
        .iter()
        .map(|pin| &pin["key"])
        .collect();
    assert_eq!(pins, [&key, &other]);

    // While it runs.
    let output = done(home.path(), &["forget", "web1"]).await;
    assert_eq!(
        output,
        "web1 is no longer pinned: it will belong to the next key that reports under it\n"
    );
    collector
        .logged("The host name web1 is no longer pinned")
        .await;
    impostor.report("web1", "{}", "model").await;
    collector.logged("web1 reports").await;
    connect(&mut web1, &collector).await;
    web1.report("web1", "{}", "model").await;
    collector
        .logged(&format!("and this is the key {key}"))
        .await;
    let (status, line) = complaint(home.path(), &["forget", "web9"]).await;
    assert_eq!(status, 1);
    assert!(
        line.starts_with("web9: the host name is not pinned"),
        "{line}"
    );
    collector.stop().await;

    // While it does not run.
    done(home.path(), &["forget", "web1"]).await;
    let (status, _) = complaint(home.path(), &["forget", "web1"]).await;
    assert_eq!(status, 1);
    let mut collector = Collector::start(home.path(), pinning).await;
    connect(&mut web1, &collector).await;
    web1.report("web1", "{}", "model").await;
    collector.logged("web1 reports").await;
    assert_eq!(collector.stop().await, "1 host, 1 message, 0 refused");
}

/// Names are claimed and let go by many at once: none is lost, and none comes back.
/// A key that makes names up has no more pins than the table has hosts of it, and all of them
/// go with one command.
#[tokio::test]
async fn made_up_names_are_pinned_no_further_than_the_table_goes() {
    let home = tempfile::tempdir().unwrap();
    let pinning = &["--pin-names", "--ping-interval", "1min"][..];
    let mut collector = Collector::start(home.path(), pinning).await;
    let (mut evil, key) = stranger().await;
    connect(&mut evil, &collector).await;
    let frames = [&b"METR"[..], b"host-%d", b"{}", b"model"];
    evil.send_many(None, &frames, 500).await;
    evil.hello().await;
    let (mut good, other) = stranger().await;
    connect(&mut good, &collector).await;
    // A name that the table refused is free.
    good.report("host-400", "{}", "model").await;
    collector.logged("host-400 reports").await;
    let pinned = async || {
        let listed = list(home.path()).await;
        let pins = listed["pins"].as_array().unwrap();
        let of = |key: &str| pins.iter().filter(|pin| pin["key"] == key).count();
        (of(&key), of(&other))
    };
    assert_eq!(pinned().await, (100, 1));

    let output = done(home.path(), &["forget", "--key", &key]).await;
    let expected = format!(
        "Forgot 100 pinned host names of the key {key}: each will belong to the next key that \
         reports under it\n"
    );
    assert_eq!(output, expected);
    collector
        .logged(&format!("Forgot 100 pinned host names of the key {key}:"))
        .await;
    assert_eq!(pinned().await, (0, 1));
    let (status, line) = complaint(home.path(), &["forget", "--key", &key]).await;
    assert_eq!(status, 1);
    let expected = format!("the key {key} has no pinned host name; ");
    assert!(line.starts_with(&expected), "{line}");
    collector.stop().await;
    // While it does not run.
    let output = done(home.path(), &["forget", "--key", &other]).await;
    assert!(
        output.starts_with("Forgot 1 pinned host name of "),
        "{output}"
    );
    assert_eq!(pinned().await, (0, 0));
}

#[tokio::test]
async fn no_pin_is_lost_while_others_are_forgotten() {
    let home = tempfile::tempdir().unwrap();
    let pinning = &["--pin-names"][..];
    let mut collector = Collector::start(home.path(), pinning).await;
    let (mut relay, _) = stranger().await;
    connect(&mut relay, &collector).await;
    for number in 0..20 {
        relay.report(&format!("old{number}"), "{}", "model").await;
    }
    collector.logged("old19 reports").await;
    let mut forgetting = tokio::task::JoinSet::new();
    for number in 0..10 {
        let path = home.path().to_owned();
        forgetting.spawn(async move {
            done(&path, &["forget", &format!("old{number}")]).await;
        });
    }
    for number in 0..20 {
        relay.report(&format!("new{number}"), "{}", "model").await;
    }
    while let Some(forgotten) = forgetting.join_next().await {
        forgotten.unwrap();
    }
    collector.logged("new19 reports").await;
    // A kill right after a request was answered loses nothing of it.
    done(home.path(), &["forget", "old10"]).await;
    drop(collector);
    let listed = list(home.path()).await;
    let mut expected: Vec<_> = (11..20).map(|number| format!("old{number}")).collect();
    expected.extend((0..20).map(|number| format!("new{number}")));
    expected.sort();
    let pins = listed["pins"].as_array().unwrap().iter();
    let hosts: Vec<_> = pins.map(|pin| pin["host"].as_str().unwrap()).collect();
    assert_eq!(hosts, expected);
}

#[tokio::test]
async fn damaged_pins_are_no_start_and_no_pins_are_no_damage() {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join(".curve")).unwrap();
    let pins = home.path().join(".curve/pins");
    fs::write(&pins, "metrics-collector pins 1\n").unwrap();
    let start = |options: &[&str]| {
        let mut command = program(home.path());
        command.args(["--listen", "127.0.0.1:0"]).args(options);
        outcome(command)
    };
    let (status, _, errors) = start(&["--pin-names"]).await;
    assert_eq!(status, 78);
    let told = format!("{}:2: the file is cut off", pins.display());
    assert!(
        errors.contains(&told) && errors.contains("move it away"),
        "{errors}"
    );
    assert_eq!(
        fs::read_to_string(&pins).unwrap(),
        "metrics-collector pins 1\n"
    );
    for words in [&["list"][..], &["forget", "web1"]] {
        let (status, line) = complaint(home.path(), words).await;
        assert_eq!(status, 78, "{line}");
    }
    // Where names are not pinned it does not matter.
    let mut collector = Collector::start(home.path(), &[]).await;
    collector.stop().await;
    fs::remove_file(&pins).unwrap();
    let mut collector = Collector::start(home.path(), &["--pin-names"]).await;
    // Two would overwrite each other's pins.
    let (status, _, errors) = start(&["--pin-names"]).await;
    assert_eq!(status, 69);
    assert!(
        errors.contains("another metrics-collector keeps the pins"),
        "{errors}"
    );
    collector.stop().await;
    // A damaged record of keys is only that.
    fs::write(home.path().join(".curve/keys.json"), "{").unwrap();
    let mut collector = Collector::start(home.path(), &["--pin-names"]).await;
    assert!(
        collector
            .before
            .iter()
            .any(|line| line.contains("keys that came starts over")),
        "{:?}",
        collector.before
    );
    collector.stop().await;
}

/// A crowd of strangers costs neither memory nor the log, and keeps no agent out.
#[tokio::test]
async fn ever_new_keys_are_refused_and_bounded() {
    const ROUNDS: u64 = 12;
    const EACH: u64 = 250;
    let home = tempfile::tempdir().unwrap();
    let (mut friend, key) = stranger().await;
    done(home.path(), &["allow", "--name", "friend", "--", &key]).await;
    let mut collector = Collector::start(home.path(), DIRECTORY).await;
    connect(&mut friend, &collector).await;
    friend.hello().await;
    let memory = collector.resident_kib();
    let address = format!("tcp://{}", collector.address);
    let mut crowd = Peer::dealer();
    for _ in 0..ROUNDS {
        crowd
            .ask(
                json!({"do": "knock", "address": address, "server": collector.public_key,
                        "count": EACH}),
            )
            .await;
        friend.report("friend", "{}", "metrics").await;
    }
    friend.hello().await;
    let grown = collector.resident_kib().saturating_sub(memory);
    assert!(grown < 32 * 1024, "{grown} KiB");
    let listed = list(home.path()).await;
    let entries = listed["keys"].as_array().unwrap();
    let refused = entries
        .iter()
        .filter(|entry| entry["state"] == "refused")
        .count();
    assert!((500..=1000).contains(&refused), "{refused}");
    assert_eq!(entries.len(), refused + 1);
    collector.stop().await;
    let rest = collector.rest_of_log().await;
    let totals = rest.iter().find(|line| line.contains("Since the start: "));
    let totals = totals.expect("the totals are logged");
    let expected = format!(
        "Since the start: 1 connection let in and {} refused;",
        ROUNDS * EACH
    );
    assert!(totals.contains(&expected), "{totals}");
}
