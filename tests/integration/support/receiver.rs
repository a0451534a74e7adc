//! A receiver of remote write, and what it was sent.

use std::path::{Path, PathBuf};
use std::process::Command;

use metrics_agent::collector::push::batch::schema::WriteRequest;
use prost::Message as _;
use serde_json::{Value, json};

use super::peer::{Peer, unhex};

/// The value that ends a series.
pub(crate) const STALE: u64 = 0x7ff0_0000_0000_0002;

/// A running receiver that answers as it is told.
pub(crate) struct Receiver {
    peer: Peer,
    port: u16,
    scheme: &'static str,
}

/// A request as it was received.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Request {
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) samples: Vec<Sample>,
    /// In seconds, of the receiver's clock.
    pub(crate) time: f64,
}

/// One sample of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sample {
    /// `name{label="value",...}`, in the order of the request.
    pub(crate) series: String,
    pub(crate) value: f64,
    pub(crate) time: i64,
}

impl Sample {
    pub(crate) fn is_stale(&self) -> bool {
        self.value.to_bits() == STALE
    }
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(known, _)| known == name);
        let value = found.next()?.1.as_str();
        assert!(found.next().is_none(), "{name} is there twice");
        Some(value)
    }

    /// The value of a series that has one sample in it.
    pub(crate) fn value(&self, series: &str) -> Option<f64> {
        let mut found = self.samples.iter().filter(|one| one.series == series);
        let value = found.next()?.value;
        assert!(found.next().is_none(), "{series} is there twice");
        Some(value)
    }
}

impl Receiver {
    /// One without TLS.
    pub(crate) async fn start() -> Self {
        Self::listen("http", json!({"do": "listen"})).await
    }

    /// One with a certificate that this authority has signed.
    pub(crate) async fn with_tls(authority: &Authority) -> Self {
        let (certificate, key) = (&authority.certificate, &authority.key);
        let command = json!({"do": "listen", "certificate": certificate, "key": key});
        Self::listen("https", command).await
    }

    async fn listen(scheme: &'static str, command: Value) -> Self {
        let mut peer = Peer::start("receiver.py");
        let port = peer.ask(command).await["port"].as_u64().unwrap();
        let port = port.try_into().unwrap();
        Self { peer, port, scheme }
    }

    pub(crate) fn url(&self) -> String {
        format!("{}://127.0.0.1:{}/push", self.scheme, self.port)
    }

    /// The answers to the next requests.
    pub(crate) async fn answers(&mut self, answers: Value) {
        self.peer
            .ask(json!({"do": "answer", "answers": answers}))
            .await;
    }

    /// How many requests came so far and were not looked at.
    pub(crate) async fn count_requests(&mut self) -> usize {
        // Whatever was told before the answer is here with it.
        self.answers(json!([])).await;
        self.peer.waiting("request")
    }

    /// The next request.
    pub(crate) async fn request(&mut self) -> Request {
        let event = self.peer.event("request").await;
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let headers = event["headers"].as_array().unwrap().iter();
        let body = unhex(event["body"].as_str().unwrap());
        let body = snap::raw::Decoder::new().decompress_vec(&body);
        let body = body.expect("a body is in snappy's block format");
        let request = WriteRequest::decode(&body[..]).expect("a body is protobuf");
        let samples = request.timeseries.iter().map(|series| {
            let labels = series.labels.iter();
            assert!(
                labels.clone().is_sorted_by(|a, b| a.name < b.name),
                "labels are sorted: {series:?}"
            );
            let (name, others): (Vec<_>, _) = labels.partition(|label| label.name == "__name__");
            let others: Vec<_> = others
                .iter()
                .map(|label: &&_| format!("{}={:?}", label.name, label.value))
                .collect();
            let [sample] = series.samples[..] else {
                panic!("one sample a series: {series:?}");
            };
            Sample {
                series: format!("{}{{{}}}", name[0].value, others.join(",")),
                value: sample.value,
                time: sample.timestamp,
            }
        });
        Request {
            path: text(&event["path"]),
            headers: headers
                .map(|pair| (text(&pair[0]), text(&pair[1])))
                .collect(),
            samples: samples.collect(),
            time: event["time"].as_f64().unwrap(),
        }
    }
}

/// An authority of the test's own, and a certificate for 127.0.0.1 that it has signed.
pub(crate) struct Authority {
    /// The authority's own certificate.
    pub(crate) trusted: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
}

impl Authority {
    /// Made in this directory.
    pub(crate) fn make(directory: &Path) -> Self {
        let path = |name: &str| directory.join(name);
        let openssl = |arguments: &[&str]| {
            let output = Command::new("openssl")
                .args(arguments)
                .current_dir(directory)
                .output()
                .expect("openssl is installed");
            assert!(output.status.success(), "{output:?}");
        };
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -batch";
        let key: Vec<_> = key.split(' ').collect();
        let ca = "-x509 -days 2 -subj /CN=test-ca -keyout ca.pem.key -out ca.pem";
        let request = "-subj /CN=receiver -keyout key.pem -out request.pem";
        let split = |text: &'static str| text.split(' ');
        openssl(&[&["req"][..], &key, &split(ca).collect::<Vec<_>>()].concat());
        openssl(&[&["req"][..], &key, &split(request).collect::<Vec<_>>()].concat());
        std::fs::write(path("names"), "subjectAltName=IP:127.0.0.1\n").unwrap();
        let sign = "x509 -req -in request.pem -CA ca.pem -CAkey ca.pem.key -CAcreateserial \
                    -days 2 -extfile names -out certificate.pem";
        openssl(
            &split(sign)
                .filter(|part| !part.is_empty())
                .collect::<Vec<_>>(),
        );
        Self {
            trusted: path("ca.pem"),
            certificate: path("certificate.pem"),
            key: path("key.pem"),
        }
    }
}
