//! The agent's command line: every bad setting ends it with the same status and one line
//! that says which; `--check-config` and `--print-config` agree with a real start.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use metrics_agent::curve::certificate::Certificate;

use crate::support::agent::{Agent, Site};
use crate::support::deployed::Collector;
use crate::support::root_for;

/// `EX_CONFIG` of sysexits(3).
const EX_CONFIG: i32 = 78;

const KEY: &str = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7";

/// Settings, and how the one line that refuses them begins behind the file's name, which
/// stands for DIR/agent.toml.
const BAD: &[(&str, &str)] = &[
    (
        "intervals.metrics = '99ms'",
        ":1: intervals.metrics: '99ms' is not a time from 100ms to 1h",
    ),
    (
        "[intervals]\nstale = '2h'",
        ":2: intervals.stale: '2h' is not a time from 1s to 1h",
    ),
    (
        "intervals.metrics = true",
        ":1: intervals.metrics: true is not a time",
    ),
    ("host.name = 3", ":1: host.name: 3 is not a host name"),
    (
        "[collector.main]\nendpiont = 'h'",
        ":2: collector.main.endpiont: unknown key; did you mean \"endpoint\"?",
    ),
    (
        "[colector.main]\nendpoint = 'h'",
        ":1: colector: unknown key; did you mean \"collector\"?",
    ),
    (
        "[collector.main]\nendpoint = 'h:0'\npublic_key = 'KEY'",
        ":2: collector.main.endpoint: 'h:0' is not an address",
    ),
    (
        "[collector.main]\nendpoint = 'h:99999'\npublic_key = 'KEY'",
        ":2: collector.main.endpoint: 'h:99999' is not an address",
    ),
    (
        "[collector.main]\npublic_key = 'KEY'",
        ":1: collector.main.endpoint: missing",
    ),
    (
        "[collector.main]\nendpoint = 'h'\npublic_key = 'too short'",
        ":3: collector.main.public_key: 'too short' is not a public key of 40 Z85 characters",
    ),
    (
        "[collector.main]\nendpoint = 'h'\npublic_key_file = 'DIR/none.key'",
        ":3: collector.main.public_key_file: none.key not found: looked in DIR",
    ),
    (
        "[collector.main]\nendpoint = 'h'\npublic_key_file = 'DIR/garbled.key'",
        ":3: collector.main.public_key_file: DIR/garbled.key",
    ),
    (
        "curve.secret_key_file = 'DIR/none.key_secret'",
        ":1: curve.secret_key_file: none.key_secret not found: looked in DIR",
    ),
    (
        "curve.secret_key_file = 'DIR/open.key_secret'",
        ":1: curve.secret_key_file: DIR/open.key_secret",
    ),
    (
        "curve.secret_key_file = 'DIR/garbled.key'",
        ":1: curve.secret_key_file: DIR/garbled.key",
    ),
    (
        "curve.secret_key_file = 'DIR/agent.key'",
        ":1: curve.secret_key_file: DIR/agent.key: holds no secret key",
    ),
    (
        "metrics.sources = ['cpus']",
        ":1: metrics.sources: unknown source \"cpus\"; did you mean \"cpu\"?",
    ),
    ("log.level = 'loud'", ":1: log.level: 'loud' is not one of"),
    ("dbus.bus = 'sytem'", ":1: dbus.bus: 'sytem' is not"),
    ("[collector.main", ":1: "),
];

fn text(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).unwrap()
}

/// A place with key files, good and bad ones.
fn site() -> Site {
    let site = Site::new("");
    Certificate::write_pair(site.dir(), "agent").unwrap();
    // A public file is for all to see, and nothing else is wrong with this one.
    fs::set_permissions(site.at("agent.key"), fs::Permissions::from_mode(0o600)).unwrap();
    Certificate::write_pair(site.dir(), "open").unwrap();
    let open = site.at("open.key_secret");
    fs::set_permissions(open, fs::Permissions::from_mode(0o644)).unwrap();
    let garbled = site.write("garbled.key", "curve\n    public-key = \"what?\"\n");
    fs::set_permissions(garbled, fs::Permissions::from_mode(0o600)).unwrap();
    site
}

/// The one line on standard error, less what stands in front of every such line.
fn complaint(output: &Output) -> String {
    let lines: Vec<_> = text(&output.stderr).lines().collect();
    let [line] = lines.as_slice() else {
        panic!("expected one line: {output:?}");
    };
    let known = ["ERROR ", "metrics-agent: "];
    let line = line.trim_start();
    let line = known.iter().find_map(|start| line.strip_prefix(start));
    line.unwrap_or_else(|| panic!("{output:?}")).to_owned()
}

#[test]
fn every_bad_setting_is_one_line_and_status_78() {
    let site = site();
    let dir = site.dir().to_str().unwrap();
    for (settings, problem) in BAD {
        site.configure(&settings.replace("DIR", dir).replace("KEY", KEY));
        let problem = format!("{dir}/agent.toml{}", problem.replace("DIR", dir));
        for arguments in [&[][..], &["--check-config"], &["--print-config"]] {
            let output = site.run(arguments);
            assert_eq!(output.status.code(), Some(EX_CONFIG), "{output:?}");
            assert_eq!(text(&output.stdout), "", "{output:?}");
            let line = complaint(&output);
            assert!(line.starts_with(&problem), "{settings}:\n{line}\n{problem}");
        }
    }
    assert!(!site.at("state").exists(), "nothing was written");
}

#[test]
fn what_is_no_settings_file_is_status_78() {
    let site = site();
    let file = site.at("agent.toml");
    let shown = file.to_str().unwrap();
    let expect = |problem: &str| {
        for arguments in [&[][..], &["--check-config"]] {
            let output = site.run(arguments);
            assert_eq!(output.status.code(), Some(EX_CONFIG), "{output:?}");
            let line = complaint(&output);
            assert!(line.starts_with(&format!("{shown}: {problem}")), "{line}");
        }
    };
    site.write("agent.toml", b"host.name = 'B\xfcro'\n");
    expect("is not UTF-8 text");
    site.write("agent.toml", vec![b'#'; 1 << 20]);
    expect("is too large");
    fs::remove_file(&file).unwrap();
    expect("cannot be read: No such file or directory");
    fs::create_dir(&file).unwrap();
    expect("is a directory");
}

#[test]
fn variables_and_arguments_are_checked_like_files() {
    let site = Site::new("");
    let run = |command: &mut Command, problem: &str| {
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(EX_CONFIG), "{output:?}");
        let line = complaint(&output);
        assert!(line.starts_with(problem), "{line}");
    };
    run(
        site.command()
            .env("METRICS_AGENT_INTERVALS__METRICS", "1ms"),
        "variable METRICS_AGENT_INTERVALS__METRICS: intervals.metrics: \"1ms\" is not a time",
    );
    run(
        site.command().env("METRICS_AGENT_INTERVAL__METRICS", "1s"),
        "variable METRICS_AGENT_INTERVAL__METRICS: unknown variable; did you mean",
    );
    run(
        site.command().arg("host:99999"),
        "command line: collector.main.endpoint: \"host:99999\" is not an address",
    );
}

#[test]
fn unknown_arguments_are_status_2() {
    let site = Site::new("");
    for arguments in [
        &["--chek-config"][..],
        &["--check-config", "--print-config"],
        &["one", "two"],
        &["-x"],
    ] {
        let output = site.run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?} {output:?}");
        assert!(text(&output.stderr).contains("Usage"), "{output:?}");
    }
    let help = site.run(&["--help"]);
    assert_eq!(help.status.code(), Some(0));
    for option in ["--config", "--check-config", "--print-config"] {
        assert!(text(&help.stdout).contains(option), "{help:?}");
    }
    let version = site.run(&["--version"]);
    let expected = concat!("metrics-agent ", env!("CARGO_PKG_VERSION"), "\n");
    assert_eq!(text(&version.stdout), expected);
}

#[test]
fn valid_settings_are_said_to_be_and_nothing_is_made() {
    let site = Site::new("intervals.metrics = '1s'\n");
    let output = site.run(&["--check-config"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(text(&output.stdout), "The configuration is valid.\n");
    assert_eq!(text(&output.stderr), "");
    assert!(!site.at("state").exists(), "a check makes no keys");
}

#[test]
fn printed_settings_name_their_origin_and_can_be_read_again() {
    let site = site();
    let dir = site.dir().to_str().unwrap();
    site.configure(&format!(
        "host.name = 'web1'\n[intervals]\nmetrics = '250ms'\n[collector.\"eu.1\"]\n\
         endpoint = '[::1]'\npublic_key_file = '{dir}/agent.key'\n"
    ));
    let output = site
        .command()
        .env("METRICS_AGENT_LOG__LEVEL", "debug")
        .arg("--print-config")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let printed = text(&output.stdout);
    let key = Certificate::read_public(&site.at("agent.key")).unwrap();
    for line in [
        format!("# {dir}/agent.toml"),
        format!("name = \"web1\"  # {dir}/agent.toml:1"),
        format!("metrics = \"250ms\"  # {dir}/agent.toml:3"),
        "stale = \"30s\"  # default".to_owned(),
        "[collector.\"eu.1\"]".to_owned(),
        format!("endpoint = \"tcp://[::1]:5556\"  # {dir}/agent.toml:5"),
        format!("public_key = \"{key}\"  # {dir}/agent.key (public_key_file: {dir}/agent.toml:6)"),
        "level = \"debug\"  # variable METRICS_AGENT_LOG__LEVEL".to_owned(),
        "bus = \"none\"  # variable METRICS_AGENT_DBUS__BUS".to_owned(),
    ] {
        assert!(
            printed.lines().any(|found| found == line),
            "{line}\n{printed}"
        );
    }
    let parsed: toml_edit::DocumentMut = printed.parse().unwrap();
    assert_eq!(parsed["intervals"]["metrics"].as_str(), Some("250ms"));
    assert_eq!(
        parsed["collector"]["eu.1"]["endpoint"].as_str(),
        Some("tcp://[::1]:5556")
    );

    // A second reading comes to the same values, whatever their origin.
    let values = |printed: &str| -> Vec<String> {
        let lines = printed.lines().filter(|line| !line.starts_with('#'));
        let value = |line: &str| line.split("  # ").next().unwrap().to_owned();
        lines.map(value).collect()
    };
    site.configure(printed);
    let again = site.run(&["--print-config"]);
    assert_eq!(again.status.code(), Some(0), "{again:?}");
    assert_eq!(values(text(&again.stdout)), values(printed));
}

/// An administrator has to install the collector's key alone.
#[tokio::test]
async fn a_key_pair_is_made_once_and_told() {
    let mut collector = Collector::start().await;
    let site = Site::new(&collector.section("main"));
    let mut agent = site.start();
    let secret = site.at("state/agent.key_secret");
    let line = agent.says("Made the agent's key pair in").await;
    assert!(line.contains(secret.to_str().unwrap()), "{line}");
    collector.welcome().await;
    let first = fs::read_to_string(&secret).unwrap();
    let mode = fs::metadata(&secret).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "{mode:o}");
    let public = Certificate::read_public(&site.at("state/agent.key")).unwrap();
    assert!(line.contains(&public.to_string()), "{line}");
    agent.terminate().await;

    let mut agent = site.start();
    collector.hello_again().await;
    assert!(agent.said("key pair").is_empty());
    assert_eq!(fs::read_to_string(&secret).unwrap(), first);
}

/// What was kept over D-Bus and has become unreadable is left out, not fatal; it is told.
#[tokio::test]
async fn a_broken_state_file_is_told_and_ignored() {
    let site = Site::new("");
    fs::create_dir(site.at("state")).unwrap();
    site.write("state/settings.toml", "intervals.metrics = 'often'\n");
    let mut agent = site.start();
    let line = agent.says("settings kept over D-Bus are ignored").await;
    assert!(line.contains("settings.toml:1"), "{line}");
    agent.says("is ready").await;
    agent.terminate().await;
}

/// By hand, as the original agent was used: `metrics-agent HOST:PORT`, keys in `~/.curve`.
#[tokio::test]
async fn an_unprivileged_user_runs_it_with_the_keys_in_the_home_directory() {
    const NOBODY: u32 = 65534;
    if !root_for("becoming another user") {
        return;
    }
    let mut collector = Collector::start().await;
    let site = Site::new("");
    let home = site.dir();
    let keys = site.at(".curve");
    fs::create_dir(&keys).unwrap();
    let certificate = format!("curve\n    public-key = \"{}\"\n", collector.public);
    fs::write(keys.join("collector.key"), certificate).unwrap();
    Certificate::write_pair(&keys, "agent").unwrap();
    for path in [
        "",
        ".curve",
        ".curve/collector.key",
        ".curve/agent.key",
        ".curve/agent.key_secret",
    ] {
        std::os::unix::fs::chown(home.join(path), Some(NOBODY), Some(NOBODY)).unwrap();
    }
    // Where the build is, others may have no access.
    let programs = tempfile::tempdir().unwrap();
    fs::set_permissions(programs.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let program = programs.path().join("metrics-agent");
    fs::copy(env!("CARGO_BIN_EXE_metrics-agent"), &program).unwrap();

    let mut command = site.bare(Path::new("setpriv"));
    command
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(program)
        .arg(format!("127.0.0.1:{}", collector.port))
        .env_remove("STATE_DIRECTORY")
        .env("HOME", home);
    let mut agent = Agent::start(command);
    collector.welcome().await;
    agent.says("Reporting to main").await;
    assert!(
        agent.said("key pair").is_empty(),
        "the keys of ~/.curve are used"
    );
    agent.terminate().await;
}
