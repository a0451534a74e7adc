//! metrics-collector pushing what agents report, to receivers that answer in every way that
//! there is.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::json;
use tempfile::TempDir;

use crate::support::collector::{Collector, program};
use crate::support::peer::Peer;
use crate::support::receiver::{Authority, Receiver, Request};

/// A collector's directory, with what its targets are.
struct Site {
    home: TempDir,
    /// After which hosts are gone.
    timeout: &'static str,
}

impl Site {
    fn new() -> Self {
        Self {
            home: tempfile::tempdir().unwrap(),
            timeout: "1h",
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn secret(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// A collector that pushes to `url` with these settings more.
    async fn collector(&self, url: &str, more: &str) -> Collector {
        let text = format!("[remote_write.main]\nurl = \"{url}\"\n{more}");
        fs::write(self.path("collector.toml"), text).unwrap();
        let mut command = program(self.home.path());
        command
            .args(["--listen", "127.0.0.1:0", "--config"])
            .arg(self.path("collector.toml"))
            .env("METRICS_COLLECTOR_HOSTS__TIMEOUT", self.timeout);
        Collector::run(command).await
    }
}

impl Site {
    /// Has a running collector push to `url` with these settings more.
    fn reload(&self, collector: &Collector, url: &str, more: &str) {
        let text = format!("[remote_write.main]\nurl = \"{url}\"\n{more}");
        fs::write(self.path("collector.toml"), text).unwrap();
        collector.signal(rustix::process::Signal::HUP);
    }
}

/// An agent says how much memory is free.
async fn report(agent: &mut Peer, free: u32) {
    let grid = format!(r#"{{"mem.free":{free}}}"#);
    agent.report("web1", &grid, "metrics").await;
}

const FREE: &str = r#"metrics_agent_mem_free_bytes{host="web1"}"#;
const UP: &str = r#"metrics_agent_up{host="web1"}"#;

/// How much memory was free, in kB.
fn free(request: &Request) -> f64 {
    request.value(FREE).unwrap() / 1024.0
}

#[tokio::test]
async fn a_request_is_what_the_protocol_says() {
    let site = Site::new();
    let mut receiver = Receiver::start().await;
    let url = format!("{}?key=1", receiver.url());
    let more = "[remote_write.main.headers]\nX-Scope-OrgID = \"tenant 1\"\n\
                [remote_write.main.labels]\ncluster = \"a\"\nZone = \"Büro\"\n";
    let collector = site.collector(&url, more).await;
    let mut agent = collector.peer("A").await;
    let metrics = r#"{"disk.reads.total[sda]":7,"made.up":0.5,"cpu.percent":50}"#;
    agent.report("web1", metrics, "metrics").await;
    let model = r#"{"host.os":"Debian \"12\"","mem.total":1}"#;
    agent.report("web1", model, "model").await;

    let request = receiver.request().await;
    assert_eq!(request.path, "/push?key=1");
    for (name, value) in [
        ("content-encoding", "snappy"),
        ("content-type", "application/x-protobuf"),
        ("x-prometheus-remote-write-version", "0.1.0"),
        ("x-scope-orgid", "tenant 1"),
        (
            "user-agent",
            concat!("metrics-collector/", env!("CARGO_PKG_VERSION")),
        ),
    ] {
        assert_eq!(request.header(name), Some(value), "{name}");
    }
    assert_eq!(request.header("authorization"), None);
    assert_eq!(request.header("transfer-encoding"), None);
    let value = |name: &str, instance: &str, more: &str| {
        let series = format!(
            "metrics_agent_{name}{{Zone=\"Büro\",cluster=\"a\",{instance}host=\"web1\"{more}}}"
        );
        let value = request.value(&series);
        value.unwrap_or_else(|| panic!("no {series} in {request:#?}"))
    };
    let is = |found: f64, expected: f64| assert_eq!(found.to_bits(), expected.to_bits());
    is(value("disk_reads_total", "device=\"sda\",", ""), 7.0);
    is(value("made_up", "", ""), 0.5);
    is(value("cpu_busy_ratio", "", ""), 0.5);
    is(value("mem_total_bytes", "", ""), 1024.0);
    is(
        value("host_os_info", "", ",value=\"Debian \\\"12\\\"\""),
        1.0,
    );
    // Two messages, each of which shows that the host is up.
    let up = request.samples.iter();
    let up: Vec<_> = up
        .filter(|one| one.series.starts_with("metrics_agent_up{"))
        .collect();
    assert_eq!(up.len(), 2);
    assert!(up[0].time < up[1].time);
    let now = std::time::SystemTime::now();
    let now = now.duration_since(std::time::UNIX_EPOCH).unwrap();
    let age = i64::try_from(now.as_millis()).unwrap() - up[0].time;
    assert!((0..60_000).contains(&age), "{age} ms old");
}

#[tokio::test]
async fn what_a_receiver_cannot_take_now_is_sent_again_in_order() {
    let site = Site::new();
    let mut receiver = Receiver::start().await;
    receiver
        .answers(json!([
            {"status": 503, "body": "starting\nplease wait"},
            {"close": true},
            {"status": 429, "headers": {"Retry-After": "2"}},
            {"status": 302, "headers": {"Location": "http://127.0.0.1:1/login"}},
        ]))
        .await;
    let mut collector = site.collector(&receiver.url(), "").await;
    let mut agent = collector.peer("A").await;
    report(&mut agent, 1).await;
    let first = receiver.request().await;
    report(&mut agent, 2).await;
    let mut last = first.time;
    for number in 0..4 {
        let again = receiver.request().await;
        assert_eq!(again.samples, first.samples);
        if number == 2 {
            // After the 429.
            assert!(again.time - last >= 2.0, "{} after {last}", again.time);
        }
        last = again.time;
    }
    let then = receiver.request().await;
    assert!((free(&then) - 2.0).abs() < 0.1, "{then:?}");
    let line = collector.logged("Remote write main").await;
    let url = receiver.url();
    assert!(
        line.contains(&format!("Remote write main to {url} fails: ")),
        "{line}"
    );
    let line = collector.logged("Remote write main").await;
    assert!(
        line.contains("works again after") && line.contains("nothing was lost"),
        "{line}"
    );
}

#[tokio::test]
async fn what_a_receiver_refuses_is_lost_alone_and_said_once() {
    let site = Site::new();
    let mut receiver = Receiver::start().await;
    let refused = json!({"status": 400, "body": "out of\u{1b}[31m bounds\nmore"});
    let taken = json!({"status": 200});
    // Twice a request, that the host is up, and the value.
    let answers = [&refused, &taken, &refused];
    receiver.answers(json!([answers, answers].concat())).await;
    let mut collector = site.collector(&receiver.url(), "").await;
    let mut agent = collector.peer("A").await;
    for number in 1..=3 {
        report(&mut agent, number).await;
        let request = receiver.request().await;
        assert!((free(&request) - f64::from(number)).abs() < 0.1);
        if number < 3 {
            let up = receiver.request().await;
            assert_eq!((up.value(UP), up.samples.len()), (Some(1.0), 1));
            let alone = receiver.request().await;
            assert_eq!(alone.samples.len(), 1);
            assert!((free(&alone) - f64::from(number)).abs() < 0.1);
        }
    }
    let line = collector.logged("Remote write main").await;
    assert!(
        line.ends_with("refuses 1 sample for good: it answers 400: out of\\u{1b}[31m bounds"),
        "{line}"
    );
    // No other line of it before the end.
    let totals = collector.stop().await;
    assert!(totals.starts_with("1 host"), "{totals}");
}

#[tokio::test]
async fn a_redirection_is_not_followed() {
    let site = Site::new();
    let mut receiver = Receiver::start().await;
    let mut other = Receiver::start().await;
    let to = json!({"status": 307, "headers": {"Location": other.url()}});
    receiver.answers(json!([to, to])).await;
    let mut collector = site.collector(&receiver.url(), "").await;
    let mut agent = collector.peer("A").await;
    report(&mut agent, 1).await;
    for _ in 0..3 {
        receiver.request().await;
    }
    let line = collector.logged("Remote write main").await;
    let expected = format!(
        "it answers 307, a redirection to {}, which is not followed",
        other.url()
    );
    assert!(line.contains(&expected), "{line}");
    collector.logged("works again").await;
    let asked = other.count_requests().await;
    assert_eq!(asked, 0);
}

#[tokio::test]
async fn a_receiver_that_hangs_is_given_up_in_time() {
    let site = Site::new();
    let mut receiver = Receiver::start().await;
    receiver
        .answers(json!([{"hang": true}, {"hang": true}]))
        .await;
    let mut collector = site.collector(&receiver.url(), "timeout = \"1s\"\n").await;
    let mut agent = collector.peer("A").await;
    report(&mut agent, 1).await;
    let first = receiver.request().await;
    assert_eq!(receiver.request().await.samples, first.samples);
    let line = collector.logged("Remote write main").await;
    assert!(line.contains("fails: no answer within 1s;"), "{line}");
    assert_eq!(receiver.request().await.samples, first.samples);
    collector.logged("works again").await;
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_an_answer() {
    let site = Site::new();
    let mut receiver = Receiver::start().await;
    receiver
        .answers(json!([{"status": 200, "torn": true}]))
        .await;
    let collector = site.collector(&receiver.url(), "").await;
    let mut agent = collector.peer("A").await;
    report(&mut agent, 1).await;
    receiver.request().await;
    report(&mut agent, 2).await;
    let next = receiver.request().await;
    assert!((free(&next) - 2.0).abs() < 0.1, "{next:?}");
}

#[tokio::test]
async fn a_password_is_sent_as_http_has_it() {
    let site = Site::new();
    site.secret("password", "s3cret: ä\n");
    let mut receiver = Receiver::start().await;
    let file = site.path("password");
    let more = format!(
        "username = \"ada\"\npassword_file = \"{}\"\n",
        file.display()
    );
    let collector = site.collector(&receiver.url(), &more).await;
    let mut agent = collector.peer("A").await;
    report(&mut agent, 1).await;
    let request = receiver.request().await;
    // `printf 'ada:s3cret: ä' | base64`
    assert_eq!(
        request.header("authorization"),
        Some("Basic YWRhOnMzY3JldDogw6Q=")
    );
}

#[tokio::test]
async fn a_token_that_was_replaced_is_read_again() {
    let site = Site::new();
    site.secret("token", "old");
    let mut receiver = Receiver::start().await;
    let file = site.path("token");
    let more = format!("bearer_token_file = \"{}\"\n", file.display());
    let mut collector = site.collector(&receiver.url(), &more).await;
    let mut agent = collector.peer("A").await;
    report(&mut agent, 1).await;
    let request = receiver.request().await;
    assert_eq!(request.header("authorization"), Some("Bearer old"));

    site.secret("token", "new\n");
    receiver.answers(json!([{"status": 401}])).await;
    report(&mut agent, 2).await;
    let request = receiver.request().await;
    assert_eq!(request.header("authorization"), Some("Bearer old"));
    let again = receiver.request().await;
    assert_eq!(again.header("authorization"), Some("Bearer new"));
    assert_eq!(again.samples, request.samples);

    // The same token again: the samples wait until there is another one.
    receiver
        .answers(json!([{"status": 403, "body": "who are you?"}]))
        .await;
    report(&mut agent, 3).await;
    receiver.request().await;
    let line = collector.logged("Remote write main").await;
    assert!(line.contains("it answers 403: who are you?"), "{line}");
    site.secret("token", "newer");
    let again = receiver.request().await;
    assert_eq!(again.header("authorization"), Some("Bearer newer"));
    assert!((free(&again) - 3.0).abs() < 0.1);
    collector.logged("works again").await;
    report(&mut agent, 4).await;
    assert!((free(&receiver.request().await) - 4.0).abs() < 0.1);
}

#[tokio::test]
async fn a_file_that_is_no_good_keeps_the_samples_until_it_is() {
    let site = Site::new();
    site.secret("token", "new");
    let mut receiver = Receiver::start().await;
    let file = site.path("token");
    let more = format!("bearer_token_file = \"{}\"\n", file.display());
    let mut collector = site.collector(&receiver.url(), &more).await;
    let mut agent = collector.peer("A").await;
    report(&mut agent, 1).await;
    receiver.request().await;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    receiver.answers(json!([{"status": 401}])).await;
    report(&mut agent, 5).await;
    receiver.request().await;
    // One more 401 and the file is read again, which is told as a failure.
    receiver.answers(json!([{"status": 401}])).await;
    let request = receiver.request().await;
    assert!((free(&request) - 5.0).abs() < 0.1);
    let line = collector.logged("Remote write main").await;
    assert!(
        line.contains("mode 0644 lets everyone read the secret"),
        "{line}"
    );
    assert!(!line.contains("new"), "{line}");
    collector.logged("works again").await;
}

#[tokio::test]
async fn certificates_are_checked_against_those_that_are_set() {
    let site = Site::new();
    let directory = |name: &str| {
        let path = site.path(name);
        fs::create_dir(&path).unwrap();
        path
    };
    let authority = Authority::make(&directory("mine"));
    let another = Authority::make(&directory("another"));
    let mut receiver = Receiver::with_tls(&authority).await;
    let ca = |file: &Path| format!("ca_file = \"{}\"\n", file.display());
    for (more, reason) in [
        (String::new(), "invalid peer certificate: UnknownIssuer"),
        (ca(&another.trusted), "invalid peer certificate: "),
        (
            ca(&site.path("collector.toml")),
            "the file has no certificate in PEM form",
        ),
    ] {
        let mut collector = site.collector(&receiver.url(), &more).await;
        let mut agent = collector.peer("A").await;
        report(&mut agent, 1).await;
        let line = collector.logged("Remote write main").await;
        assert!(line.contains(reason), "{line}");
    }
    assert_eq!(receiver.count_requests().await, 0);
    let collector = site
        .collector(&receiver.url(), &ca(&authority.trusted))
        .await;
    let mut agent = collector.peer("A").await;
    report(&mut agent, 2).await;
    let request = receiver.request().await;
    assert!((free(&request) - 2.0).abs() < 0.1, "{request:?}");
    // The connection is used again.
    report(&mut agent, 3).await;
    assert!((free(&receiver.request().await) - 3.0).abs() < 0.1);
}

#[tokio::test]
async fn the_series_of_a_host_that_is_gone_end() {
    let mut site = Site::new();
    // Longer than samples are gathered.
    site.timeout = "3s";
    let mut receiver = Receiver::start().await;
    let mut collector = site.collector(&receiver.url(), "").await;
    let mut agent = collector.peer("A").await;
    report(&mut agent, 1).await;
    let first = receiver.request().await;
    assert_eq!(first.value(UP), Some(1.0));
    collector.logged("web1 is gone").await;
    let last = receiver.request().await;
    let [up, ended] = &last.samples[..] else {
        panic!("{last:?}");
    };
    assert_eq!((up.series.as_str(), up.value.to_bits()), (UP, 0));
    assert_eq!(ended.series, FREE);
    assert!(ended.is_stale(), "{ended:?}");
    assert!(ended.time > first.samples[0].time);
    // It is back.
    report(&mut agent, 2).await;
    let back = receiver.request().await;
    assert_eq!(back.value(UP), Some(1.0));
    assert!(back.samples[0].time > ended.time);
}

#[tokio::test]
async fn what_waits_is_sent_before_the_end() {
    let site = Site::new();
    let mut receiver = Receiver::start().await;
    let mut collector = site.collector(&receiver.url(), "").await;
    let mut agent = collector.peer("A").await;
    agent.hello().await;
    report(&mut agent, 1).await;
    report(&mut agent, 2).await;
    // Heard, and not sent yet: they are gathered for a second. The first of these answers is
    // to the first report, whose model is not known.
    agent.hello().await;
    agent.hello().await;
    let totals = collector.stop().await;
    assert!(
        totals.starts_with("1 host, ") && totals.ends_with(" 0 refused"),
        "{totals}"
    );
    let request = receiver.request().await;
    assert_eq!(request.samples.len(), 4, "{request:?}");
}

#[tokio::test]
async fn a_receiver_that_hangs_does_not_hold_up_the_end() {
    let site = Site::new();
    let mut receiver = Receiver::start().await;
    receiver.answers(json!([{"hang": true}])).await;
    let mut collector = site
        .collector(&receiver.url(), "timeout = \"300s\"\n")
        .await;
    let mut agent = collector.peer("A").await;
    report(&mut agent, 1).await;
    receiver.request().await;
    collector.signal(rustix::process::Signal::TERM);
    let line = collector.logged("Remote write main").await;
    assert!(
        line.ends_with("Remote write main ends with 2 samples not sent"),
        "{line}"
    );
    assert_eq!(collector.ended().await.code(), Some(0));
}

#[tokio::test]
async fn one_target_costs_another_nothing() {
    let site = Site::new();
    let mut stuck = Receiver::start().await;
    stuck.answers(json!([{"hang": true}])).await;
    let mut receiver = Receiver::start().await;
    let more = format!("[remote_write.other]\nurl = \"{}\"\n", receiver.url());
    let collector = site.collector(&stuck.url(), &more).await;
    let mut agent = collector.peer("A").await;
    report(&mut agent, 1).await;
    stuck.request().await;
    for number in 2..5 {
        let request = receiver.request().await;
        assert!((free(&request) - f64::from(number - 1)).abs() < 0.1);
        report(&mut agent, number).await;
    }
}

const OS: &str = r#"metrics_agent_host_os_info{host="web1",value="Debian"}"#;

/// Requests until one has this series: its value.
async fn sent(receiver: &mut Receiver, series: &str) -> f64 {
    loop {
        if let Some(value) = receiver.request().await.value(series) {
            return value;
        }
    }
}

/// A host says its model once; a target that comes later, or is another, gets it all the same.
#[tokio::test]
async fn a_target_of_a_reload_gets_the_models_of_those_who_report() {
    let site = Site::new();
    let mut first = Receiver::start().await;
    let mut collector = site.collector(&first.url(), "").await;
    let mut agent = collector.peer("A").await;
    agent
        .report("web1", r#"{"host.os":"Debian"}"#, "model")
        .await;
    report(&mut agent, 1).await;
    assert_eq!(sent(&mut first, OS).await.to_string(), "1");

    let mut second = Receiver::start().await;
    let new = format!("[remote_write.new]\nurl = \"{}\"\n", second.url());
    site.reload(&collector, &first.url(), &new);
    assert_eq!(sent(&mut second, OS).await.to_string(), "1");
    // A change is a new target, too: it may be another tenant's.
    let changed = format!("{new}[remote_write.new.labels]\na = \"b\"\n");
    site.reload(&collector, &first.url(), &changed);
    let labelled = r#"metrics_agent_host_os_info{a="b",host="web1",value="Debian"}"#;
    assert_eq!(sent(&mut second, labelled).await.to_string(), "1");
    // Who has it is not sent it again for that.
    report(&mut agent, 2).await;
    let request = first.request().await;
    assert_eq!(
        (free(&request).to_string(), request.value(OS)),
        ("2".to_owned(), None)
    );
    collector.stop().await;
}

/// After a restart hosts that go on with their metrics are not asked for their models, which
/// are known from before; targets get them.
#[tokio::test]
async fn models_from_before_a_restart_are_sent() {
    let site = Site::new();
    let mut receiver = Receiver::start().await;
    let text = format!("[remote_write.main]\nurl = \"{}\"\n", receiver.url());
    fs::write(site.path("collector.toml"), text).unwrap();
    let start = async || {
        let mut command = program(site.home.path());
        command
            .env("STATE_DIRECTORY", site.path("state"))
            .args(["--listen", "127.0.0.1:0", "--config"])
            .arg(site.path("collector.toml"));
        Collector::run(command).await
    };
    let connect = async |peer: &mut Peer, collector: &Collector| {
        let address = format!("tcp://{}", collector.address);
        let server = &collector.public_key;
        peer.ask(json!({"do": "connect", "address": address, "server": server}))
            .await;
    };
    let mut peer = Peer::dealer();
    let mut collector = start().await;
    connect(&mut peer, &collector).await;
    peer.report("web1", r#"{"host.os":"Debian"}"#, "model")
        .await;
    assert_eq!(sent(&mut receiver, OS).await.to_string(), "1");
    collector.stop().await;

    let mut collector = start().await;
    connect(&mut peer, &collector).await;
    report(&mut peer, 1).await;
    assert_eq!(sent(&mut receiver, OS).await.to_string(), "1");
    collector.stop().await;
}
