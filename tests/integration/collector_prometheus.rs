//! What metrics-collector serves, as Debian's Prometheus understands it.

use std::collections::{BTreeSet, HashSet};
use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use metrics_agent::collector::prometheus::{naming, own};
use serde_json::{Value, json};

use crate::support::collector::Collector;
use crate::support::http::{address_of, fetch};
use crate::support::place::eventually;

/// A Prometheus that scrapes a collector; killed when dropped.
struct Prometheus {
    child: Child,
    address: SocketAddr,
    dir: tempfile::TempDir,
}

impl Prometheus {
    /// One that scrapes this address every second, and has these rules.
    async fn start(target: SocketAddr) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("prometheus.yml");
        let text = format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\n\
             scrape_configs:\n\
             - {{job_name: metrics-collector, static_configs: [{{targets: ['{target}']}}]}}\n"
        );
        fs::write(&config, text).unwrap();
        // It does not say which free port it took. No other test uses this address.
        let [_, high, middle, low] = std::process::id().to_be_bytes();
        let address = SocketAddr::from((Ipv4Addr::new(127, 100 + high, middle, low), 9090));
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                dir.path().join("data").display()
            ))
            .arg(format!("--web.listen-address={address}"))
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(dir.path().join("log")).unwrap())
            .spawn()
            .expect("prometheus of the package of that name, see tests/dependencies");
        let mut prometheus = Self {
            child,
            address,
            dir,
        };
        eventually("Prometheus is ready", async || {
            if let Some(status) = prometheus.child.try_wait().unwrap() {
                panic!("{status}: {}", prometheus.log());
            }
            std::net::TcpStream::connect(address).ok()?;
            (fetch(address, "/-/ready").await.status == 200).then_some(())
        })
        .await;
        prometheus
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap()
    }

    /// The series that this query gives at this time, or now.
    async fn query(&self, query: &str, at: Option<&str>) -> Vec<Series> {
        let mut path = "/api/v1/query?query=".to_owned();
        for byte in query.bytes() {
            write!(path, "%{byte:02x}").unwrap();
        }
        if let Some(at) = at {
            write!(path, "&time={at}").unwrap();
        }
        let answer = fetch(self.address, &path).await;
        let mut answer: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(answer["status"], "success", "{query}: {answer}");
        let Value::Array(series) = answer["data"]["result"].take() else {
            panic!("{query}: no series but {answer}");
        };
        let series = series.into_iter().map(|mut series| Series {
            labels: series["metric"].take(),
            time: series["value"][0].to_string(),
            value: series["value"][1].as_str().unwrap().to_owned(),
        });
        series.collect()
    }

    /// The only series that it gives at this time: its labels and its value.
    async fn only(&self, query: &str, at: &str) -> (Value, String) {
        let mut series = self.query(query, Some(at)).await;
        assert_eq!(series.len(), 1, "{query}: {series:?}");
        let Series { labels, value, .. } = series.remove(0);
        (labels, value)
    }
}

/// A series at one time.
#[derive(Debug)]
struct Series {
    labels: Value,
    time: String,
    value: String,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Every character that there is to be careful with, but for those that no name has.
const HOST: &str = "web1 \"\\n.example";
const MOUNT: &str = "/a \"b\"\\n]\u{e9}\u{2028},}";

/// The same as a selector.
const OF_HOST: &str = r#"{host="web1 \"\\n.example"}"#;

/// A text may have all of them.
fn awkward() -> String {
    let controls: String = (0..0x20_u8).map(char::from).collect();
    format!("{controls}\u{7f}\u{85}\u{2028}\u{feff}\u{ffff}\u{10ffff}\"\\n{{}}=,'")
}

#[tokio::test]
async fn prometheus_understands_every_value_and_that_a_host_is_gone() {
    let home = tempfile::tempdir().unwrap();
    let options = ["--web-listen", "127.0.0.1:0", "--host-timeout", "3s"];
    let collector = Collector::start(home.path(), &options).await;
    let prometheus = Prometheus::start(address_of(&collector)).await;
    let mut agent = collector.peer("A").await;
    let mut other = collector.peer("B").await;
    let model = json!({"host.os": awkward(), "agent.version": "1"}).to_string();
    let metrics = json!({
        "cpu.percent": 12.5, "mem.free": 3, "net.rx.bytes.total[eth0]": u64::MAX,
        "time.offset": -1.5e-7, "load.1m": 1e300, format!("fs.size[{MOUNT}]"): 1,
        "other-agent's metric[x]": -3, "a.b": 1, "a_b": 2,
    })
    .to_string();
    let then = eventually("it is scraped", async || {
        agent.report(HOST, &model, "model").await;
        agent.report(HOST, &metrics, "metrics").await;
        other.report("web2", &metrics, "metrics").await;
        let query = "sum(metrics_agent_up) + 0 * count(metrics_agent_host_os_info)";
        let series = prometheus.query(query, None).await;
        let series = series.into_iter().next()?;
        (series.value == "2").then_some(series.time)
    })
    .await;
    understood(&prometheus, &then).await;

    // One falls silent. Its values end at once: Prometheus does not look back for them.
    let then = eventually("web1 is gone", async || {
        other.report("web2", &metrics, "metrics").await;
        let query = format!("metrics_agent_up{OF_HOST}");
        let series = prometheus.query(&query, None).await;
        let series = series.into_iter().next()?;
        (series.value == "0").then_some(series.time)
    })
    .await;
    let silence = format!("time() - metrics_agent_last_seen_timestamp_seconds{OF_HOST} > 2");
    for (query, series) in [
        ("{__name__=~'metrics_agent_.*',host!='web2'}", 2),
        (&silence, 1),
        ("metrics_agent_cpu_busy_ratio", 1),
        ("metrics_collector_host_messages_total", 1),
    ] {
        let found = prometheus.query(query, Some(&then)).await;
        assert_eq!(found.len(), series, "{query}: {found:?}");
    }
    let log = prometheus.log();
    for complaint in ["level=warn", "level=error"] {
        assert!(!log.contains(complaint), "{log}");
    }
}

/// Prometheus has at this time what the host reported.
async fn understood(prometheus: &Prometheus, then: &str) {
    for (family, value) in [
        ("metrics_agent_cpu_busy_ratio", 0.125_f64),
        ("metrics_agent_mem_free_bytes", 3072.0),
        (
            "metrics_agent_net_rx_bytes_total",
            18_446_744_073_709_551_615.0,
        ),
        ("metrics_agent_time_offset_seconds", -1.5e-7),
        ("metrics_agent_load_1m", 1e300),
        ("metrics_agent_other_agent_s_metric", -3.0),
        ("metrics_agent_a_b", 1.0),
    ] {
        let (labels, found) = prometheus.only(&format!("{family}{OF_HOST}"), then).await;
        let found: f64 = found.parse().unwrap();
        assert_eq!(found.to_bits(), value.to_bits(), "{family}: {found}");
        assert_eq!(
            (&labels["host"], &labels["__name__"]),
            (&json!(HOST), &json!(family))
        );
    }
    let mount = format!("metrics_agent_fs_size_bytes{OF_HOST}");
    assert_eq!(prometheus.only(&mount, then).await.0["mount"], MOUNT);
    let (labels, one) = prometheus.only("metrics_agent_host_os_info", then).await;
    assert_eq!((&labels["value"], one.as_str()), (&json!(awkward()), "1"));
    for (query, value) in [
        ("metrics_collector_metrics_left_out", "2"),
        ("metrics_collector_hosts{presence='reporting'}", "2"),
        ("up{job='metrics-collector'}", "1"),
    ] {
        assert_eq!(prometheus.only(query, then).await.1, value, "{query}");
    }
    // What it learned of the families.
    let family = "metrics_agent_net_rx_bytes_total";
    let path = format!("/api/v1/metadata?metric={family}");
    let answer = fetch(prometheus.address, &path).await;
    let metadata: Value = serde_json::from_str(&answer.body).unwrap();
    let learned = &metadata["data"][family][0];
    assert_eq!(learned["type"], "counter");
    assert_eq!(learned["help"], "Bytes received");
}

/// A file of this repository.
fn shipped(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

const RULES: &str = "packaging/prometheus/metrics-agent.rules.yml";
const DASHBOARD: &str = "packaging/grafana/metrics-agent.json";

/// Runs promtool on a file; it has nothing to complain about.
fn promtool(arguments: &[&str], file: &Path) {
    let output = Command::new("promtool")
        .args(arguments)
        .arg(file)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("promtool of the package prometheus, see tests/dependencies");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}

/// What promtool says of rules, every finding an error.
const STRICT: [&str; 4] = ["check", "rules", "--lint=all", "--lint-fatal"];

#[test]
fn every_alert_is_tested_to_fire_and_not_to() {
    promtool(&STRICT, Path::new(RULES));
    promtool(&["test", "rules"], Path::new("tests/prometheus/rules.yml"));
    let (rules, tests) = (shipped(RULES), shipped("tests/prometheus/rules.yml"));
    let alerts = rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "));
    assert!(alerts.clone().count() > 10);
    for alert in alerts {
        assert!(
            tests.contains(&format!("alertname: {alert}, exp_alerts: []}}\n")),
            "{alert}"
        );
        let fires = format!("alertname: {alert}\n        exp_alerts:\n          - exp_labels: {{");
        assert!(tests.contains(&fires), "{alert}");
    }
}

/// Every query in the dashboard.
fn queries(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            found.extend(
                fields
                    .get("expr")
                    .map(|expr| expr.as_str().unwrap().to_owned()),
            );
            fields.values().for_each(|value| queries(value, found));
        }
        Value::Array(values) => values.iter().for_each(|value| queries(value, found)),
        _ => {}
    }
}

#[test]
fn the_dashboard_is_made_of_queries_that_prometheus_understands() {
    let dashboard: Value = serde_json::from_str(&shipped(DASHBOARD)).unwrap();
    assert_eq!(dashboard.get("__inputs"), None);
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let variables: Vec<_> = variables.iter().map(|one| &one["name"]).collect();
    assert_eq!(variables, ["datasource", "host"]);
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: HashSet<_> = panels
        .iter()
        .map(|panel| panel["id"].as_u64().unwrap())
        .collect();
    assert_eq!(ids.len(), panels.len());
    for panel in panels.iter().filter(|panel| panel["type"] != "row") {
        assert_eq!(
            panel["datasource"]["uid"], "${datasource}",
            "{}",
            panel["title"]
        );
    }
    let mut found = Vec::new();
    queries(&dashboard, &mut found);
    assert!(found.len() > panels.len());
    let mut rules = "groups:\n- name: dashboard\n  rules:\n".to_owned();
    for (number, query) in found.iter().enumerate() {
        let query = query
            .replace("$__rate_interval", "5m")
            .replace("$host", "web1");
        assert!(!query.contains(['$', '\'']), "{query}");
        writeln!(rules, "  - {{record: 'query:{number}', expr: '{query}'}}").unwrap();
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("rules.yml");
    fs::write(&file, rules).unwrap();
    promtool(&["check", "rules"], &file);
}

/// The names that look like ours.
fn names(text: &str) -> BTreeSet<&str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| !word.ends_with('_'))
        .filter(|word| {
            ["metrics_agent_", "metrics_collector_", "process_"]
                .iter()
                .any(|ours| word.starts_with(ours))
        })
        .collect()
}

#[test]
fn dashboard_rules_and_manual_name_only_what_there_is() {
    let known: BTreeSet<_> = naming::known()
        .chain([&*naming::UP, &*naming::LAST_SEEN])
        .map(|family| family.name.as_str())
        .chain(own::OWN.iter().map(|own| own.name))
        .collect();
    for (file, least) in [
        (DASHBOARD, 60),
        (RULES, 15),
        ("tests/prometheus/rules.yml", 15),
        ("docs/prometheus.md", 10),
    ] {
        let text = shipped(file);
        let names = names(&text);
        assert!(names.len() >= least, "{file}: {names:?}");
        let unknown: Vec<_> = names.difference(&known).collect();
        assert!(unknown.is_empty(), "{file}: {unknown:?}");
    }
}
