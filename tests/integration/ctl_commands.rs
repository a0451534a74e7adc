//! metrics-agentctl against a running agent, and against none.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;

use crate::support::peer::Peer;
use crate::support::place::{Place, SOME_KEY, eventually};
use crate::support::root_for;

/// Standard output of a command that succeeds.
async fn succeeds(place: &Place, words: &[&str]) -> String {
    let (status, output, error) = place.control(words).await;
    assert_eq!((status, error.as_str()), (0, ""), "{words:?}");
    output
}

/// Standard error of a command that fails with this status.
async fn fails(place: &Place, words: &[&str], expected: i32) -> String {
    let (status, _, error) = place.control(words).await;
    assert_eq!(status, expected, "{words:?}: {error}");
    error
}

async fn json(place: &Place, command: &str) -> Value {
    let output = succeeds(place, &[command, "--json=short"]).await;
    assert_eq!(output.lines().count(), 1, "{output}");
    serde_json::from_str(&output).unwrap()
}

#[tokio::test]
async fn without_an_agent_status_is_3_and_the_rest_is_1() {
    let place = Place::new();
    let (status, output, error) = place.control(&[]).await;
    assert_eq!(status, 3);
    assert_eq!(output, "○ metrics-agent is not running\n");
    assert_eq!(error, "start it with: systemctl start metrics-agent\n");
    let error = fails(&place, &["reload"], 1).await;
    assert!(error.contains("metrics-agent is not running"), "{error}");
    let error = fails(&place, &["set-interval", "soon"], 1).await;
    assert!(error.contains("soon"), "{error}");
    let error = fails(&place, &["--bus=nonsense"], 1).await;
    assert!(
        error.contains("expected system, session or an address"),
        "{error}"
    );
    let error = fails(&place, &["--bus=unix:path=/nonexistent"], 1).await;
    assert!(
        error.contains("cannot reach the bus at unix:path=/nonexistent"),
        "{error}"
    );
}

#[tokio::test]
async fn status_shows_a_reporting_agent() {
    let (_router, port, key) = Peer::bound_router().await;
    let place = Place::new();
    place.configure(&format!(
        "[host]\nname = \"web1.example.org\"\n\
         [collector.main]\nendpoint = \"127.0.0.1:{port}\"\npublic_key = \"{key}\"\n"
    ));
    let _running = place.start().await;
    // The peer answers nothing, so connecting is as far as it gets; hello is one message.
    let status = eventually("hello is sent", async || {
        let status = json(&place, "status").await;
        (status["Agent"]["MessagesSent"] == 1).then_some(status)
    })
    .await;
    assert_eq!(status["Agent"]["HostName"], "web1.example.org");
    assert_eq!(status["Connections"][0]["Name"], "main");
    assert_eq!(status["Connections"][0]["CollectorKey"], key);
    // Made together, and still in the state that both began with.
    let since = status["Agent"]["StateSinceUSec"].as_u64().unwrap();
    assert!(since > 1_700_000_000_000_000, "{since}");
    assert_eq!(status["Connections"][0]["StateSinceUSec"], since);
    assert_eq!(status["Sources"][0]["Enabled"], true);

    let text = succeeds(&place, &["status"]).await;
    let version = env!("CARGO_PKG_VERSION");
    let title = format!("● metrics-agent {version} on web1.example.org\n");
    assert!(text.starts_with(&title), "{text}");
    assert!(
        text.contains("    Interval: metrics every 5s, stale after 30s\n"),
        "{text}"
    );
    let state = text.matches("\n       State: connecting since ").count();
    assert_eq!(state, 2, "of the agent and of its connection: {text}");
    assert!(
        text.contains("\n        Sent: 1 message, 9B, last "),
        "{text}"
    );
    assert!(
        !text.contains('\x1b'),
        "no colours but on a terminal: {text:?}"
    );
    let text = succeeds(&place, &["connections"]).await;
    assert!(
        text.starts_with(&format!("● main - 127.0.0.1:{port}\n")),
        "{text}"
    );
    // Where the locale has no more than ASCII, nothing else is printed.
    for words in [&["status"][..], &["metrics"], &["--help"], &["public-key"]] {
        let mut command = place.control_command(words);
        command.env("LANG", "C");
        let output = command.output().unwrap();
        assert!(output.stdout.is_ascii() && output.stderr.is_ascii());
        if words == ["status"] {
            assert!(output.stdout.starts_with(b"* metrics-agent "));
        }
    }
    // A reconnect that was asked for is no trouble.
    succeeds(&place, &["reconnect"]).await;
    let status = eventually("hello is sent again", async || {
        let status = json(&place, "status").await;
        (status["Agent"]["MessagesSent"] == 2).then_some(status)
    })
    .await;
    assert_eq!(status["Connections"][0]["Reconnects"], 0);
    let text = succeeds(&place, &["status"]).await;
    assert!(!text.contains("Trouble"), "{text}");
}

#[tokio::test]
async fn adjustments_take_effect() {
    let place = Place::new();
    let _running = place.start().await;
    let agent = async |property: &str| json(&place, "status").await["Agent"][property].clone();
    succeeds(&place, &["set-interval", "250ms"]).await;
    assert_eq!(agent("MetricsIntervalUSec").await, 250_000);
    // A bare number is seconds, as in the settings.
    succeeds(&place, &["set-interval", "10"]).await;
    assert_eq!(agent("MetricsIntervalUSec").await, 10_000_000);
    succeeds(&place, &["set-stale", "2min", "--persistent"]).await;
    assert_eq!(agent("StaleIntervalUSec").await, 120_000_000);
    let kept = place.state_file("settings.toml");
    let status = succeeds(&place, &["status"]).await;
    let interval = format!(
        "    Interval: metrics every 10s, stale after 2min\n              \
         metrics was set at run time, until the agent ends or \"revert\"\n              \
         stale was set at run time and is kept in {kept}, until \"revert\"\n"
    );
    assert!(status.contains(&interval), "{status}");
    // The settings as the files have them, with what the running agent has beside them.
    let printed = place.print_config().await;
    let expected = "# In force in the running agent, other than below:\n\
        #   intervals.metrics = \"10s\", set at run time, until the agent ends or \
        \"metrics-agentctl revert\"\n\
        # The files of keys below are those of a start by this user; the running agent may have \
        others.\n\n";
    assert!(printed.starts_with(expected), "{printed}");
    assert!(
        printed.contains(&format!("stale = \"2m\"  # {kept}:3, set over D-Bus")),
        "{printed}"
    );
    succeeds(&place, &["revert"]).await;
    let status = succeeds(&place, &["status"]).await;
    assert!(!status.contains("at run time"), "{status}");
    let printed = place.print_config().await;
    assert!(
        printed.starts_with("# The running agent has these settings in force.\n"),
        "{printed}"
    );
    assert_eq!(agent("StaleIntervalUSec").await, 30_000_000);
    assert_eq!(agent("MetricsIntervalUSec").await, 5_000_000);
    let error = fails(&place, &["set-interval", "1ms"], 1).await;
    assert!(
        error.contains("1h") && !error.contains("org.freedesktop"),
        "{error}"
    );

    succeeds(&place, &["disable", "cpu", "meminfo"]).await;
    let metrics = json(&place, "metrics").await;
    assert!(metrics["sys.uptime"].as_f64().unwrap() > 0.0);
    assert_eq!(metrics["cpu.percent"], Value::Null);
    succeeds(&place, &["enable", "cpu"]).await;
    let error = fails(&place, &["enable", "gpu"], 1).await;
    assert!(
        error.starts_with("no source is named \"gpu\"; there is: agent, conntrack, cpu, "),
        "{error}"
    );

    assert_eq!(succeeds(&place, &["log-level"]).await, "info\n");
    // Every word of the settings, also the one that syslog(3) lacks.
    for level in ["error", "warning", "debug", "trace"] {
        succeeds(&place, &["log-level", level]).await;
        assert_eq!(succeeds(&place, &["log-level"]).await, format!("{level}\n"));
    }
    let error = fails(&place, &["log-level", "loud"], 1).await;
    assert!(
        error.contains("possible values: error, warning, info, debug, trace, emerg"),
        "{error}"
    );

    let table = succeeds(&place, &["metrics"]).await;
    assert!(table.starts_with("METRIC "), "{table}");
    let uptime = table.lines().find(|line| line.starts_with("sys.uptime "));
    assert!(uptime.unwrap().contains("  Time since boot"), "{table}");

    let (status, output, error) = place.control(&["reconnect"]).await;
    assert_eq!((status, &*output), (0, ""), "{error}");
    let why = agent("StateReason").await;
    let expected = format!(
        "metrics-agentctl: nothing to reconnect: {}\n",
        why.as_str().unwrap()
    );
    assert_eq!(error, expected);

    place.configure(&format!(
        "[collector.main]\nendpoint = \"127.0.0.1:1\"\npublic_key = \"{SOME_KEY}\"\n"
    ));
    succeeds(&place, &["reload"]).await;
    succeeds(&place, &["reconnect"]).await;
    succeeds(&place, &["reconnect", "main"]).await;
    let (status, output, _) = place.control(&["metrics", "agent"]).await;
    assert_eq!(status, 0);
    assert!(
        output
            .lines()
            .skip(1)
            .all(|line| line.starts_with("agent.")),
        "{output}"
    );
    let error = fails(&place, &["reconnect", "other"], 1).await;
    assert_eq!(error, "no connection is named \"other\"; there is: main\n");
    let key = succeeds(&place, &["public-key"]).await;
    assert_eq!(key.trim_end(), agent("PublicKey").await.as_str().unwrap());
}

#[tokio::test]
async fn keys_are_made_once_and_for_the_owner_alone() {
    let place = Place::new();
    let dir = tempfile::tempdir().unwrap();
    let keys = dir.path().join("keys");
    let words = ["keygen", "--name", "web1", keys.to_str().unwrap()];
    let output = succeeds(&place, &words).await;
    let mode = |name: &str| {
        let metadata = fs::metadata(keys.join(name)).unwrap();
        metadata.permissions().mode() & 0o7777
    };
    assert_eq!(mode(""), 0o700);
    assert_eq!((mode("web1.key"), mode("web1.key_secret")), (0o644, 0o600));
    let secret = keys.join("web1.key_secret");
    let file = format!("--file={}", secret.display());
    let key = succeeds(&place, &["public-key", &file]).await;
    let expected = format!("Public key: {key}");
    assert!(output.starts_with(&expected), "{output}");

    let before = fs::read(&secret).unwrap();
    let error = fails(&place, &words, 1).await;
    assert!(error.contains("exists already"), "{error}");
    assert_eq!(fs::read(&secret).unwrap(), before);

    // A directory where the process is, that is not there yet.
    let relative = std::process::Command::new(env!("CARGO_BIN_EXE_metrics-agentctl"))
        .args(["keygen", "--name", "web1", "new/keys"])
        .current_dir(dir.path())
        .output()
        .unwrap();
    assert!(relative.status.success(), "{relative:?}");
    assert!(dir.path().join("new/keys/web1.key_secret").exists());
}

#[tokio::test]
async fn metrics_that_fail_are_told_from_those_that_there_are_not() {
    if !root_for("mounting") {
        return;
    }
    let place = Place::new();
    place.configure("[metrics]\nsources = [\"load\", \"uptime\"]\n");
    let _running = place
        .start_on_another_host("mount --bind /dev/null /proc/loadavg")
        .await;
    let error = fails(&place, &["metrics", "load"], 1).await;
    assert!(error.contains("this fails:\nload: /"), "{error}");
    assert!(error.contains("/proc/loadavg, line 1: expected"), "{error}");
    let error = fails(&place, &["metrics", "laod"], 1).await;
    assert!(error.contains("no metric of this host matches"), "{error}");
    let text = succeeds(&place, &["status"]).await;
    assert!(text.contains("Failing: load: /"), "{text}");
}
