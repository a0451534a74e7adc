//! Prometheus itself, which takes what is pushed to it.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use serde_json::Value;
use tempfile::TempDir;
use tokio::time::sleep;

use super::peer::PATIENCE;
use super::place::LOOK_AGAIN;

/// A Prometheus with a directory of its own; killed when dropped.
pub(crate) struct Prometheus {
    directory: TempDir,
    port: u16,
    child: Option<Child>,
}

impl Prometheus {
    /// One that does not run yet, on a port that was free.
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("prometheus.yml"), "global: {}\n").unwrap();
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        Self {
            directory,
            port: free.local_addr().unwrap().port(),
            child: None,
        }
    }

    /// Starts it, and waits until it takes samples.
    pub(crate) async fn start(&mut self) {
        let path = |name: &str| self.directory.path().join(name);
        let child = Command::new("prometheus")
            .arg(format!(
                "--config.file={}",
                path("prometheus.yml").display()
            ))
            .arg(format!("--storage.tsdb.path={}", path("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{}", self.port))
            .arg("--web.enable-remote-write-receiver")
            .current_dir(Path::new("/"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("prometheus is installed");
        self.child = Some(child);
        let start = Instant::now();
        while self.read("/-/ready").is_none() {
            assert!(start.elapsed() < PATIENCE, "Prometheus is not ready");
            sleep(LOOK_AGAIN).await;
        }
    }

    /// Ends it as a power cut would, but for what the kernel has taken.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Where it takes samples.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/api/v1/write", self.port)
    }

    /// The result of a query at this moment.
    pub(crate) fn query(&self, query: &str) -> Vec<Value> {
        let query: String = query
            .bytes()
            .map(|byte| match byte {
                b'a'..=b'z' | b'0'..=b'9' | b'_' => char::from(byte).to_string(),
                byte => format!("%{byte:02X}"),
            })
            .collect();
        let text = self.read(&format!("/api/v1/query?query={query}"));
        let text = text.expect("Prometheus answers");
        let answer: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(answer["status"], "success", "{answer}");
        answer["data"]["result"].as_array().unwrap().clone()
    }

    /// All samples of the one series of this name: times in milliseconds, values.
    pub(crate) fn samples(&self, name: &str) -> Vec<(i64, f64)> {
        let result = self.query(&format!("{name}[1h]"));
        assert!(result.len() <= 1, "one series: {result:?}");
        let values = result
            .iter()
            .filter_map(|series| series["values"].as_array());
        let samples = values.flatten().map(|pair| {
            #[expect(clippy::cast_possible_truncation, reason = "a time in milliseconds")]
            let time = (pair[0].as_f64().unwrap() * 1000.0).round() as i64;
            (time, pair[1].as_str().unwrap().parse().unwrap())
        });
        samples.collect()
    }

    fn read(&self, path: &str) -> Option<String> {
        let config = ureq::Agent::config_builder().timeout_global(Some(PATIENCE));
        let agent = config.proxy(None).build().new_agent();
        let url = format!("http://127.0.0.1:{}{path}", self.port);
        let mut answer = agent.get(url).call().ok()?;
        answer.body_mut().read_to_string().ok()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        self.kill();
    }
}
