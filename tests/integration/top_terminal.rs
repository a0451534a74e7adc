//! metrics-top on a terminal, which tmux(1) makes, with another implementation's ROUTER at
//! the other end.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use metrics_agent::base::shell;
use metrics_agent::curve::certificate::Certificate;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::support::peer::{PATIENCE, Peer};
use crate::support::tmux::Tmux;

const PROGRAM: &str = env!("CARGO_BIN_EXE_metrics-top");

const MODEL: &str = r#"{"mem.total":4194304,"host.cpus":4,"host.os":"Debian GNU/Linux 13","host.kernel":"6.12.1","sys.uptime":900}"#;

/// A collector's end, and a home for the viewer.
struct World {
    collector: Peer,
    port: u16,
    public: String,
    home: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        let (collector, port, public) = Peer::bound_router().await;
        Self {
            collector,
            port,
            public,
            home: tempfile::tempdir().unwrap(),
        }
    }

    fn words(&self) -> String {
        // Z85 has no single quote.
        format!("--public-key '{}' 127.0.0.1:{}", self.public, self.port)
    }

    fn start(&self, columns: u16, rows: u16, more: &[(&str, &str)]) -> Tmux {
        self.start_with(&self.words(), columns, rows, more)
    }

    fn start_with(&self, words: &str, columns: u16, rows: u16, more: &[(&str, &str)]) -> Tmux {
        let mut variables = vec![
            ("HOME", self.home.path().to_str().unwrap()),
            ("LANG", "C.UTF-8"),
            ("PS1", "$ "),
        ];
        variables.extend(more);
        let line =
            format!("stty cols {columns} rows {rows}; {PROGRAM} {words}; echo status $?; stty -a");
        Tmux::run(columns, rows, &variables, &line)
    }

    /// The viewer that says hello next.
    async fn viewer(&mut self, tmux: &Tmux) -> Vec<u8> {
        let message = tokio::time::timeout(PATIENCE / 2, self.collector.message()).await;
        let (viewer, frames) =
            message.unwrap_or_else(|_| panic!("no viewer says hello:\n{}", tmux.screen()));
        assert_eq!(frames, [b"CTRL".to_vec(), b"hello".to_vec()]);
        // So that collectors that know of it tell more.
        assert!(viewer.starts_with(b"viewer2-"), "{viewer:?}");
        viewer
    }

    async fn send(&mut self, viewer: &[u8], host: &str, grid: &str, kind: &str) {
        let frames = ["METR", host, grid, kind].map(str::as_bytes);
        self.collector.send(Some(viewer), &frames).await;
    }

    /// Two hosts, of which one has said twice what it counts.
    async fn fleet(&mut self, viewer: &[u8]) {
        for host in ["web1.example.org", "db1.example.org"] {
            self.send(viewer, host, MODEL, "model").await;
        }
        let db1 = r#"{"cpu.percent":5,"mem.avail":4000000,"load.1m":0.1}"#;
        self.send(viewer, "db1.example.org", db1, "metrics").await;
        self.web1(viewer, 0).await;
        self.web1(viewer, 5).await;
    }

    async fn web1(&mut self, viewer: &[u8], seconds: u32) {
        let web1 = format!(
            r#"{{"cpu.percent":92,"mem.avail":1048576,"load.1m":3.5,"sys.uptime":{},"systemd.jobs":0,
            "systemd.failed[backup.service]":1,"net.rx.bytes.total[eth0]":{},
            "net.tx.bytes.total[eth0]":{},"unit.cpu.total[nginx.service]":{},
            "unit.memory[nginx.service]":1048576}}"#,
            1000 + seconds,
            seconds * 1_048_576,
            seconds * 2048,
            seconds * 500_000,
        );
        self.send(viewer, "web1.example.org", &web1, "metrics")
            .await;
    }
}

/// That the terminal is as it was, by what stty says after the program.
async fn assert_given_back(tmux: &Tmux, status: i32) {
    let screen = tmux.shows("-echoprt").await;
    assert!(screen.contains(&format!("status {status}\n")), "{screen}");
    for setting in ["icanon", "echo", "isig"] {
        let is_on = screen.split_whitespace().any(|word| word == setting);
        assert!(is_on, "{setting}: {screen}");
    }
    assert!(!screen.contains("metrics-top  "), "{screen}");
}

fn line<'a>(screen: &'a str, part: &str) -> &'a str {
    let found = screen.lines().find(|line| line.contains(part));
    found.unwrap_or_else(|| panic!("no {part:?}:\n{screen}"))
}

#[tokio::test]
async fn the_fleet_is_shown_and_looked_into() {
    let mut world = World::new().await;
    let tmux = world.start(100, 30, &[]);
    let viewer = world.viewer(&tmux).await;
    tmux.shows("no host reports to this collector yet").await;
    world.fleet(&viewer).await;
    let screen = tmux
        .until("the rates", |screen| screen.contains("1.0M"))
        .await;
    assert!(line(&screen, "metrics-top").contains("● connected"));
    assert!(line(&screen, "metrics-top").ends_with("2 hosts: 2 reporting"));
    let web1 = line(&screen, "web1.example.org");
    assert!(web1.starts_with("▲ web1.example.org"), "{web1}");
    for part in [
        "1 failed",
        "92%",
        "75%",
        "3.50",
        "1.0M  2.0K     -     1 16min",
    ] {
        assert!(web1.contains(part), "{part}: {web1}");
    }
    // What is in trouble first; then by name.
    let order = |screen: &str| screen.find("web1.ex") < screen.find("db1.ex");
    assert!(order(&screen));
    tmux.types(&["n"]);
    tmux.until("sorted by name", |screen| !order(screen)).await;
    tmux.types(&["r"]);
    tmux.until("turned round", order).await;

    tmux.types(&["Enter"]);
    // At once, with the rates between what it said before and last.
    let screen = tmux.shows("nginx.service").await;
    assert!(screen.contains("Debian GNU/Linux 13"), "{screen}");
    assert!(screen.contains("▲ backup.service"), "{screen}");
    let nginx = line(&screen, "nginx.service");
    assert!(
        nginx.contains("50.0%") && nginx.contains("1.0M"),
        "{screen}"
    );
    tmux.types(&["Escape"]);
    tmux.shows("Enter look").await;
    // Once too often is no harm.
    tmux.types(&["Escape"]);
    tmux.types(&["?"]);
    tmux.shows("these keys").await;
    tmux.types(&["Escape"]);
    tmux.shows("Enter look").await;

    tmux.types(&["/", "d", "b"]);
    tmux.shows("Filter: db").await;
    tmux.types(&["Enter"]);
    let screen = tmux.shows("1 shown").await;
    assert!(!screen.contains("web1.example.org"), "{screen}");
    tmux.types(&["?"]);
    tmux.shows("these keys").await;
    tmux.types(&["q"]);
    assert_given_back(&tmux, 0).await;
}

#[tokio::test]
async fn hosts_that_are_gone_are_shown_first_with_when_they_were_seen() {
    let mut world = World::new().await;
    let tmux = world.start(100, 30, &[("TZ", "UTC")]);
    let viewer = world.viewer(&tmux).await;
    world.fleet(&viewer).await;
    let gone = r#"{"state":"gone","last_seen":1718000000,"since":1718000030}"#;
    world.send(&viewer, "web9", MODEL, "model").await;
    world.send(&viewer, "web9", gone, "state").await;
    let screen = tmux.shows("1 gone").await;
    let row = screen.lines().nth(3).unwrap();
    assert!(row.starts_with("✗ web9 "), "{screen}");
    assert!(row.contains("last seen 10 Jun 2024"), "{screen}");
    // Bold and reversed, so that it stands out without a colour.
    let coloured = tmux.coloured();
    let (_, row) = coloured.split_once("web9").unwrap();
    let (style, _) = row.split_once("gone ").unwrap();
    let codes = style.split("\x1b[").filter_map(|text| text.split_once('m'));
    let codes: Vec<_> = codes.flat_map(|(codes, _)| codes.split(';')).collect();
    assert!(codes.contains(&"1") && codes.contains(&"7"), "{codes:?}");
    let back = r#"{"state":"reporting","last_seen":1795960000,"since":1795960000}"#;
    world.send(&viewer, "web9", back, "state").await;
    tmux.until("it is back", |screen| !screen.contains("1 gone"))
        .await;
    world.send(&viewer, "web9", gone, "state").await;
    tmux.shows("1 gone").await;
    let forgotten = gone.replace("gone", "forgotten");
    world.send(&viewer, "web9", &forgotten, "state").await;
    tmux.until("it is forgotten", |screen| !screen.contains("web9"))
        .await;
}

#[tokio::test]
async fn the_key_of_each_collector_is_remembered_and_a_change_is_an_error() {
    let mut world = World::new().await;
    let known = world
        .home
        .path()
        .join(".local/state/metrics-top/known_collectors");
    let tmux = world.start(120, 30, &[]);
    world.viewer(&tmux).await;
    tmux.shows("● connected").await;
    tmux.types(&["q"]);
    assert_given_back(&tmux, 0).await;
    let address = format!("127.0.0.1:{}", world.port);
    let text = fs::read_to_string(&known).unwrap();
    assert_eq!(text, format!("{address} {}\n", world.public));

    // It need not be named again.
    let tmux = world.start_with(&address, 120, 30, &[]);
    world.viewer(&tmux).await;
    tmux.shows("● connected").await;
    tmux.types(&["q"]);
    assert_given_back(&tmux, 0).await;

    // Another is not known by that.
    let output = run(&world, "--once c1.example.org");
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(78), "{error}");
    assert!(
        error.contains("the public key of c1.example.org:5557 is not known"),
        "{error}"
    );
    // The port of agents is told by its number, whatever is known of the host.
    let output = run(&world, "--once c1.example.org:5556");
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(78), "{error}");
    assert!(
        error.ends_with("5557 where nothing else is set: metrics-top c1.example.org\n"),
        "{error}"
    );

    let other = crate::support::place::SOME_KEY;
    fs::write(&known, format!("{address} {other}\n")).unwrap();
    let output = run(&world, &format!("--once --wait 2s {address}"));
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(69), "{error}");
    for part in [
        "is not the one that it had: it was changed there, or something else answers",
        &format!("{}, line 1", known.display()),
        &format!("metrics-top --public-key 'KEY' {address}"),
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }
    // The way out that it names.
    let tmux = world.start(120, 30, &[]);
    world.viewer(&tmux).await;
    tmux.shows("● connected").await;
    tmux.types(&["q"]);
    assert_given_back(&tmux, 0).await;
    assert_eq!(fs::read_to_string(&known).unwrap(), text);
}

#[tokio::test]
async fn the_port_of_agents_is_told_from_that_of_viewers() {
    let mut world = World::new().await;
    let tmux = world.start(120, 30, &[]);
    let viewer = world.viewer(&tmux).await;
    // What a collector says to an agent that says hello.
    world
        .collector
        .send(Some(&viewer), &[b"CTRL", b"model"])
        .await;
    let screen = tmux.shows("is where agents report").await;
    assert!(
        screen.contains("Viewers connect to another port, 5557"),
        "{screen}"
    );
}

#[tokio::test]
async fn the_collector_of_this_host_is_found_without_being_told() {
    use crate::private_bus::PrivateBus;
    use crate::support::collector::{Collector, program};
    use crate::support::place::eventually;

    let bus = PrivateBus::start();
    let home = tempfile::tempdir().unwrap();
    let top = |words: &[&str]| {
        let output = Command::new(PROGRAM)
            .args(words)
            .env_clear()
            .env("HOME", home.path().join("person"))
            .env("DBUS_SYSTEM_BUS_ADDRESS", bus.address())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        (output.status.code(), error)
    };
    let start = async |viewers: &str| {
        let mut command = program(home.path());
        command.args(["--listen", "127.0.0.1:0", "--viewers-listen", viewers]);
        command.args(["--bus", &bus.address()]);
        let collector = Collector::run(command).await;
        // It is on the bus a moment later.
        eventually("the collector is on the bus", async || {
            let (_, error) = top(&["--once", "--wait", "1s"]);
            (!error.contains("no metrics-collector was found")).then_some(())
        })
        .await;
        collector
    };
    let (code, error) = top(&["--once", "--wait", "1s"]);
    assert_eq!(code, Some(78), "{error}");
    assert!(
        error.contains("no metrics-collector was found on this host; name the one"),
        "{error}"
    );

    let collector = start("*:0").await;
    let (code, error) = top(&["--once", "--wait", "30s"]);
    assert_eq!(code, Some(69), "{error}");
    // It has the address and the key: all that is missing is to be let in.
    assert!(error.contains("127.0.0.1:"), "{error}");
    assert!(error.contains("does not let this viewer in"), "{error}");
    // So it has where this host is named.
    let (_, port) = error.split_once("127.0.0.1:").unwrap();
    let (port, _) = port.split_once(' ').unwrap();
    let own = rustix::system::uname();
    for host in ["localhost", "127.0.0.1", own.nodename().to_str().unwrap()] {
        let (code, error) = top(&["--once", "--wait", "30s", &format!("{host}:{port}")]);
        assert_eq!(code, Some(69), "{host}: {error}");
        assert!(error.contains("does not let this viewer in"), "{error}");
    }
    // Neither another port nor another host is that collector.
    for (words, expected) in [
        ("127.0.0.1:5556", "nothing else is set: metrics-top\n"),
        (
            &collector.address.to_string(),
            &format!("the collector of this host serves viewers at 127.0.0.1:{port}, not at "),
        ),
        ("localhost:1", "`metrics-top` without an address shows it"),
        (&format!("192.0.2.7:{port}"), "is not known"),
    ] {
        let (code, error) = top(&["--once", words]);
        assert_eq!(code, Some(78), "{words}: {error}");
        assert!(error.contains(expected), "{words}: {error}");
    }
    let viewers = home.path().join(".curve/authorized_viewers");
    fs::create_dir_all(&viewers).unwrap();
    let key = home.path().join("person/.curve/viewer.key");
    fs::copy(key, viewers.join("person.key")).unwrap();
    eventually("it is let in", async || {
        let (code, error) = top(&["--once", "--wait", "1s"]);
        (code == Some(0)).then_some(error)
    })
    .await;
    drop(collector);

    let collector = start("none").await;
    let (code, error) = top(&["--once"]);
    assert_eq!(code, Some(78), "{error}");
    assert!(error.contains("serves no viewers"), "{error}");
    drop(collector);
}

#[tokio::test]
async fn it_fits_any_terminal_or_says_that_it_does_not() {
    let mut world = World::new().await;
    let tmux = world.start(80, 24, &[("NO_COLOR", "1"), ("LC_ALL", "C")]);
    let viewer = world.viewer(&tmux).await;
    world.fleet(&viewer).await;
    let screen = tmux.shows("1.0M").await;
    assert!(screen.is_ascii(), "{screen}");
    assert!(line(&screen, "HOST").contains("FAIL"), "{screen}");
    let coloured = tmux.coloured();
    for escape in coloured.split("\x1b[").skip(1) {
        let (codes, _) = escape.split_once('m').unwrap();
        for code in codes.split(';').filter_map(|code| code.parse::<u8>().ok()) {
            // SGR 30 to 49 are colours, and 39 and 49 the terminal's own (ECMA-48).
            let is_colour = (30..50).contains(&code) && code != 39 && code != 49;
            assert!(!is_colour, "{codes:?}");
        }
    }
    tmux.resize(30, 6);
    let screen = tmux.shows("The terminal is too small.").await;
    assert!(screen.contains("It has 30x6,"), "{screen}");
    tmux.resize(120, 40);
    let screen = tmux.shows("PRESSURE").await;
    assert!(screen.contains("web1.example.org"), "{screen}");
    tmux.types(&["C-c"]);
    assert_given_back(&tmux, 0).await;
}

#[tokio::test]
async fn a_collector_that_goes_is_missed_and_found_again() {
    let mut world = World::new().await;
    let tmux = world.start(100, 30, &[]);
    let viewer = world.viewer(&tmux).await;
    world.fleet(&viewer).await;
    tmux.shows("web1.example.org").await;
    world.collector.ask(json!({"do": "close"})).await;
    let screen = tmux.shows("Not connected").await;
    // The hosts stay in sight.
    assert!(screen.contains("web1.example.org"), "{screen}");
    tmux.shows("cannot be reached (connection refused").await;
    world.collector.ask(json!({"do": "bind"})).await;
    tmux.types(&["R"]);
    let viewer = world.viewer(&tmux).await;
    world.send(&viewer, "new1", MODEL, "model").await;
    let screen = tmux.shows("new1").await;
    assert!(line(&screen, "metrics-top").contains("● connected"));
    assert!(!screen.contains("Not connected"), "{screen}");
}

#[tokio::test]
async fn a_key_that_is_refused_is_shown_with_the_way_in() {
    let mut world = World::new().await;
    world.collector.ask(json!({"do": "guard"})).await;
    let tmux = world.start(120, 30, &[]);
    let screen = tmux.shows("does not let this viewer in").await;
    let file = world.home.path().join(".curve/viewer.key");
    let public = Certificate::read_public(&file).unwrap().to_string();
    // The key is in the next line where it has no room, and both are one command.
    let start = "metrics-collector keys allow --viewer --name ";
    assert!(screen.contains(start), "{screen}");
    let key = shell::word(&public);
    assert!(screen.contains(&key), "{screen}");
    tmux.types(&["q"]);
    let screen = tmux.shows("-echoprt").await;
    // Once more where it can be copied from.
    assert!(screen.contains("metrics-collector keys allow"), "{screen}");
}

#[tokio::test]
async fn a_wrong_key_of_the_collector_is_named() {
    let mut world = World::new().await;
    world.public = crate::support::place::SOME_KEY.to_owned();
    let tmux = world.start(120, 30, &[]);
    let screen = tmux.shows("does not have the key that was given").await;
    assert!(
        screen.contains("metrics-collector --public-key"),
        "{screen}"
    );
}

#[tokio::test]
async fn signals_end_it_and_stop_it_properly() {
    let mut world = World::new().await;
    let pid = |tmux: &Tmux| Pid::from_raw(tmux.process(Path::new(PROGRAM)).unwrap()).unwrap();
    for signal in [Signal::TERM, Signal::HUP] {
        let tmux = world.start(100, 30, &[]);
        world.viewer(&tmux).await;
        tmux.shows("● connected").await;
        kill_process(pid(&tmux), signal).unwrap();
        assert_given_back(&tmux, 0).await;
    }
    let tmux = world.start(100, 30, &[]);
    world.viewer(&tmux).await;
    tmux.shows("● connected").await;
    let process = pid(&tmux);
    tmux.types(&["C-z"]);
    tmux.until("the terminal is the shell's", |screen| {
        !screen.contains("metrics-top  ")
    })
    .await;
    let stopped = fs::read_to_string(format!("/proc/{}/stat", process.as_raw_nonzero())).unwrap();
    assert!(stopped.contains(") T "), "{stopped}");
    kill_process(process, Signal::CONT).unwrap();
    tmux.shows("● connected").await;
    tmux.types(&["q"]);
    assert_given_back(&tmux, 0).await;
}

fn run(world: &World, words: &str) -> std::process::Output {
    Command::new("/bin/sh")
        .arg("-c")
        .arg(format!("{PROGRAM} {words}"))
        .env_clear()
        .env("HOME", world.home.path())
        .env("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent")
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

#[tokio::test]
async fn without_a_terminal_it_says_what_to_do_instead() {
    let world = World::new().await;
    let output = run(&world, &world.words());
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        "metrics-top: standard input and output are not a terminal; --once prints the table as \
         plain text instead\n"
    );
    let output = run(&world, "--once");
    assert_eq!(output.status.code(), Some(78));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(
        error.contains("no metrics-collector was found on this host"),
        "{error}"
    );
}

#[tokio::test]
async fn once_prints_the_table_as_soon_as_all_have_reported() {
    let mut world = World::new().await;
    let words = format!("--once --sort name --wait 30s {}", world.words());
    let mut child = Command::new("/bin/sh");
    child
        .arg("-c")
        .arg(format!("{PROGRAM} {words}"))
        .env_clear()
        .env("HOME", world.home.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let child = child.spawn().unwrap();
    let (viewer, _) = world.collector.message().await;
    world.fleet(&viewer).await;
    let ended = tokio::task::spawn_blocking(move || child.wait_with_output());
    let output = tokio::time::timeout(PATIENCE, ended).await.unwrap();
    let output = output.unwrap().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert!(lines[0].starts_with("HOST "), "{text}");
    assert!(
        lines[1].starts_with("db1.example.org   reporting "),
        "{text}"
    );
    assert!(
        lines[2].contains("  92%  75%     -     -     3.50"),
        "{text}"
    );

    // A collector that is away: told within the time given, and another status.
    world.collector.ask(json!({"do": "close"})).await;
    let output = run(&world, &format!("--once --wait 1s {}", world.words()));
    assert_eq!(output.status.code(), Some(69));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("no link to 127.0.0.1:"), "{error}");
}
