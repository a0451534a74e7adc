//! metrics-collector as a program: its keys, its signals, its exit statuses, what it tells
//! systemd, and the reader of what it prints.

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Output;

use metrics_agent::curve::certificate::{Certificate, Trust};
use rustix::process::Signal;

use crate::support::collector::{Collector, program};
use crate::support::peer::PATIENCE;

fn run(home: &Path, options: &[&str]) -> Output {
    program(home).args(options).output().unwrap()
}

/// The exit status, and the only line of standard error.
fn failure(output: &Output) -> (Option<i32>, String) {
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    (output.status.code(), text.trim_end().to_owned())
}

#[tokio::test]
async fn its_key_is_made_once() {
    let home = tempfile::tempdir().unwrap();
    let mut first = Collector::start(home.path(), &[]).await;
    let secret = home.path().join(".curve/collector.key_secret");
    let certificate = Certificate::read(&secret, Trust::OwnFile).unwrap();
    let public = certificate.public.to_string();
    let [line, _listening] = &first.before[..] else {
        panic!("{:?}", first.before);
    };
    let expected = format!(
        "Made the collector's key pair in {}; agents need its public key: {public}",
        secret.display()
    );
    assert!(line.ends_with(&expected), "{line}");
    assert_eq!(first.public_key, public);
    first.stop().await;
    for _ in 0..2 {
        let mut collector = Collector::start(home.path(), &[]).await;
        assert_eq!(collector.public_key, public);
        let [_listening] = &collector.before[..] else {
            panic!("{:?}", collector.before);
        };
        let mut agent = collector.peer("A").await;
        agent.hello().await;
        collector.stop().await;
    }
    let output = run(home.path(), &["--public-key"]);
    assert_eq!(output.stdout, format!("{public}\n").into_bytes());
    assert!(output.status.success() && output.stderr.is_empty());
}

#[tokio::test]
async fn signals_are_obeyed() {
    let home = tempfile::tempdir().unwrap();
    for signal in [Signal::TERM, Signal::INT] {
        let mut collector = Collector::start(home.path(), &[]).await;
        let mut agent = collector.peer("A").await;
        collector.signal(Signal::HUP);
        collector.logged("Configuration reloaded").await;
        agent.hello().await;
        collector.signal(signal);
        assert_eq!(collector.ended().await.code(), Some(0));
    }
}

#[tokio::test]
async fn an_address_that_is_taken_is_named() {
    let home = tempfile::tempdir().unwrap();
    let collector = Collector::start(home.path(), &[]).await;
    let address = collector.address.to_string();
    let (status, line) = failure(&run(home.path(), &["--listen", &address]));
    assert_eq!(status, Some(69));
    assert!(
        line.contains(&format!(
            "cannot listen on {address}: Address already in use"
        )) && line.contains("--listen takes another address"),
        "{line}"
    );
    let any = format!("*:{}", collector.address.port());
    let (status, line) = failure(&run(home.path(), &["--listen", &any]));
    assert_eq!(status, Some(69));
    assert!(
        line.contains(&format!("cannot listen on {any}: ")),
        "{line}"
    );
    // 192.0.2.0/24 belongs to no network (RFC 5737).
    let (status, line) = failure(&run(home.path(), &["--listen", "192.0.2.1:0"]));
    assert_eq!(status, Some(69));
    assert!(line.contains("`ip address` shows"), "{line}");
}

#[test]
fn settings_and_keys_that_do_not_fit_are_named() {
    let home = tempfile::tempdir().unwrap();
    let (status, line) = failure(&run(home.path(), &["--ping-interval", "never"]));
    assert_eq!(status, Some(78));
    assert!(
        line.contains("--ping-interval: hosts.ping_interval: \"never\" is not a time"),
        "{line}"
    );
    let output = program(home.path())
        .env("METRICS_COLLECTOR_LISTEN__AGENTS", "nowhere")
        .output()
        .unwrap();
    let (status, line) = failure(&output);
    assert_eq!(status, Some(78));
    assert!(
        line.contains("METRICS_COLLECTOR_LISTEN__AGENTS: listen.agents: \"nowhere\""),
        "{line}"
    );

    let (status, line) = failure(&run(home.path(), &["--key-file", "/nonexistent/key"]));
    assert_eq!(status, Some(78));
    assert!(line.contains("/nonexistent/key: cannot open it"), "{line}");
    let keys = home.path().join(".curve");
    Certificate::write_pair(&keys, "collector").unwrap();
    let secret = keys.join("collector.key_secret");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o640)).unwrap();
    for options in [&["--public-key"][..], &[]] {
        let (status, line) = failure(&run(home.path(), options));
        assert_eq!(status, Some(78));
        assert!(
            line.contains("mode 0640 lets others at the secret key"),
            "{line}"
        );
    }
}

#[tokio::test]
async fn it_ends_with_its_reader() {
    let home = tempfile::tempdir().unwrap();
    let mut collector = Collector::start(home.path(), &["--print"]).await;
    drop(collector.stdout());
    let mut agent = collector.peer("A").await;
    agent.report("web1", "{}", "model").await;
    collector
        .logged("Stopping on the end of standard output's reader")
        .await;
    assert_eq!(collector.ended().await.code(), Some(0));
}

#[tokio::test]
async fn a_reader_that_stands_still_holds_nothing_up() {
    let home = tempfile::tempdir().unwrap();
    let mut collector = Collector::start(home.path(), &["--print"]).await;
    let mut stdout = collector.stdout();
    let mut agent = collector.peer("A").await;
    // More than all that may wait: 8 MiB here, 64 KiB in the pipe, 8 MiB being written.
    let text = format!("{{\"os\": \"{}\"}}", "x".repeat(4000));
    let frames = [&b"METR"[..], b"web1", text.as_bytes(), b"model"];
    agent.send_many(None, &frames, 6000).await;
    agent.hello().await;
    collector
        .logged("The reader of standard output does not keep up")
        .await;
    // What was taken comes whole, once somebody reads.
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        stdout.read_to_string(&mut text).unwrap();
        text
    });
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    assert_eq!(collector.stop().await, "1 host, 6,001 messages, 0 refused");
    let text = reader.join().unwrap();
    let lines: Vec<_> = text.lines().collect();
    assert!((1000..6000).contains(&lines.len()), "{}", lines.len());
    for line in lines {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["metrics"]["os"].as_str().unwrap().len(), 4000);
    }
}

#[tokio::test]
async fn systemd_hears_what_it_does() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let hear = |part: &str| {
        let mut buffer = [0; 4096];
        loop {
            let length = socket.recv(&mut buffer).expect("it tells systemd");
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if text.contains(part) {
                return text;
            }
        }
    };
    let mut command = program(home.path());
    command
        .args(["--listen", "127.0.0.1:0"])
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "300000");
    let mut collector = Collector::run(command).await;
    let ready = hear("READY=1");
    let listening = format!(
        "STATUS=Listening at {}: 0 hosts, 0 messages, 0 refused; public key {}",
        collector.address, collector.public_key
    );
    assert!(ready.contains(&listening), "{ready}");
    for _ in 0..3 {
        hear("WATCHDOG=1");
    }
    let mut agent = collector.peer("A").await;
    agent.report("web1", "{}", "model").await;
    agent.report("web1", "?", "metrics").await;
    hear("1 host, 1 message, 1 refused");
    collector.stop().await;
    let stopping = hear("STOPPING=1");
    assert!(
        stopping.contains("STATUS=Stopping on SIGTERM"),
        "{stopping}"
    );
}
