//! Targets as a whole, with receivers on threads of the tests.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use prost::Message as _;

use super::batch::schema::WriteRequest;
use super::*;
use crate::collector::settings::PushUrl;
use crate::protocol::grid::Grid;

/// What nothing here should ever take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Receives requests, and answers each when it is told to.
struct Sink {
    url: String,
    requests: Receiver<(WriteRequest, Sender<&'static str>)>,
}

const TAKEN: &str = "HTTP/1.1 204 No Content\r\n\r\n";

impl Sink {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let (sender, requests) = channel();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let sender = sender.clone();
                thread::spawn(move || serve(&stream.unwrap(), &sender));
            }
        });
        Self { url, requests }
    }

    /// The next request, not answered yet: the values of the series of this name.
    fn request(&self, name: &str) -> (Vec<f64>, Sender<&'static str>) {
        let (request, answer) = self.requests.recv_timeout(PATIENCE).unwrap();
        let series = request.timeseries.iter();
        let series = series.filter(|series| series.labels.iter().any(|label| label.value == name));
        let values = series.flat_map(|series| series.samples.iter().map(|sample| sample.value));
        (values.collect(), answer)
    }
}

fn serve(stream: &TcpStream, requests: &Sender<(WriteRequest, Sender<&'static str>)>) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            let line = line.trim_end().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let body = snap::raw::Decoder::new().decompress_vec(&body).unwrap();
        let (answer, answers) = channel();
        let request = WriteRequest::decode(&body[..]).unwrap();
        if requests.send((request, answer)).is_err() {
            return;
        }
        let Ok(answer) = answers.recv() else {
            return;
        };
        let mut stream = stream;
        stream.write_all(answer.as_bytes()).unwrap();
    }
}

fn target(url: &str) -> RemoteWrite {
    RemoteWrite {
        url: PushUrl::try_from(url.to_owned()).unwrap(),
        credentials: None,
        ca_file: None,
        timeout: PATIENCE,
        acknowledge: true,
        headers: BTreeMap::new(),
        labels: BTreeMap::new(),
    }
}

fn settings(targets: &[(&str, RemoteWrite)]) -> BTreeMap<ConnectionName, RemoteWrite> {
    let targets = targets.iter().cloned();
    targets
        .map(|(name, target)| (name.parse().unwrap(), target))
        .collect()
}

/// Other targets, where no host has said its model.
fn reconfigure(pushes: &mut Pushes, settings: &BTreeMap<ConnectionName, RemoteWrite>) {
    pushes.reconfigure(settings, SystemTime::now(), std::iter::empty);
}

fn report(pushes: &mut Pushes, value: u32) {
    let text = format!("{{\"x\":{value}}}");
    let grid = HostGrid::from(Grid::parse(text.as_bytes(), GridKind::Metrics).unwrap());
    pushes.take(
        &"web1".into(),
        GridKind::Metrics,
        &Arc::new(grid),
        SystemTime::now(),
    );
}

const X: &str = "metrics_agent_x";

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "in vain: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn each_sample_is_sent_once_or_counted() {
    let sink = Sink::start();
    let limits = Limits {
        samples: 20,
        bytes: usize::MAX,
    };
    let mut pushes = Pushes::within(limits);
    reconfigure(&mut pushes, &settings(&[("main", target(&sink.url))]));
    report(&mut pushes, 0);
    let (first, answer) = sink.request(X);
    assert_eq!(first, [0.0]);
    // With that under way there is room for ten of two samples.
    for value in 1..=25 {
        report(&mut pushes, value);
    }
    let status = pushes.status().remove(0);
    assert_eq!((status.sent, status.dropped, status.queued), (0, 30, 22));
    assert_eq!(status.last_success, None);
    answer.send(TAKEN).unwrap();
    let (rest, answer) = sink.request(X);
    let latest: Vec<_> = (16..=25).map(f64::from).collect();
    assert_eq!(rest, latest);
    answer.send(TAKEN).unwrap();
    until("all is settled", || pushes.status()[0].queued == 0);
    let status = pushes.status().remove(0);
    assert_eq!((status.sent, status.dropped, status.failed), (22, 30, 0));
    assert!(status.last_success.is_some());
    assert_eq!((status.name.as_str(), &status.url), ("main", &sink.url));
}

const REFUSED: &str = "HTTP/1.1 400 Bad Request\r\nContent-Length: 4\r\n\r\nlate";

#[test]
fn what_is_refused_is_counted_alone_and_the_next_is_sent() {
    let sink = Sink::start();
    let mut pushes = Pushes::new(&settings(&[("main", target(&sink.url))]));
    report(&mut pushes, 1);
    // That it is up is taken, its value is not.
    let answer = |request: &WriteRequest| {
        let all = request.timeseries.iter().flat_map(|series| &series.labels);
        let odd = all.clone().any(|label| label.value == X);
        (all.count(), if odd { REFUSED } else { TAKEN })
    };
    for _ in 0..3 {
        let (request, answers) = sink.requests.recv_timeout(PATIENCE).unwrap();
        answers.send(answer(&request).1).unwrap();
    }
    until("it is counted", || pushes.status()[0].failed == 1);
    report(&mut pushes, 2);
    let (values, answer) = sink.request(X);
    assert_eq!(values, [2.0]);
    answer.send(TAKEN).unwrap();
    until("it is sent", || pushes.status()[0].sent == 3);
    let error = pushes.status().remove(0).last_error;
    assert_eq!(error.as_deref(), Some("it answers 400: late"));
}

/// A sample of the second wire, of a host for each.
fn sample(pushes: &mut Pushes, host: &str, seq: u64) {
    let text = format!("{{\"x\":{seq}}}");
    let grid = Grid::parse(text.as_bytes(), GridKind::Metrics).unwrap();
    let time = 1_700_000_000_000 + i64::try_from(seq).unwrap();
    let ticket = Ticket { stream: 7, seq };
    pushes.history(
        &host.into(),
        vec![Arc::new(grid.into())],
        time,
        Some(ticket),
    );
}

fn receipts(pushes: &mut Pushes) -> Vec<(String, u64)> {
    let settled = pushes.settled().into_iter();
    let mut all: Vec<_> = settled
        .map(|settled| (settled.host.to_string(), settled.ticket.seq))
        .collect();
    all.sort();
    all
}

#[test]
fn receipts_wait_for_all_targets_that_hold_them_back() {
    let (a, b, c) = (Sink::start(), Sink::start(), Sink::start());
    let mut careless = target(&c.url);
    careless.acknowledge = false;
    let both = [
        ("a", target(&a.url)),
        ("b", target(&b.url)),
        ("c", careless),
    ];
    let mut pushes = Pushes::new(&settings(&both));
    assert!(pushes.acknowledge());
    let woken = pushes.progressed();
    let woken = || {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.unwrap().block_on(woken.notified());
    };
    for seq in 1..=3 {
        sample(&mut pushes, "web1", seq);
    }
    sample(&mut pushes, "web2", 9);
    assert_eq!(receipts(&mut pushes), []);
    let (values, answer) = a.request(X);
    assert_eq!(values, [1.0, 2.0, 3.0, 9.0]);
    answer.send(TAKEN).unwrap();
    woken();
    assert_eq!(receipts(&mut pushes), []);
    // A refusal settles as well: here everything but the last is refused.
    let (_, answer) = b.request(X);
    answer.send(REFUSED).unwrap();
    let mut requests = 1;
    loop {
        let (values, answer) = b.request(X);
        requests += 1;
        let taken = values == [9.0];
        answer.send(if taken { TAKEN } else { REFUSED }).unwrap();
        if taken {
            break;
        }
    }
    assert_eq!(requests, 6, "two in halves, each one alone");
    woken();
    let all = [("web1".to_owned(), 3), ("web2".to_owned(), 9)];
    assert_eq!(receipts(&mut pushes), all);
    let status = pushes.status();
    let counts: Vec<_> = status.iter().map(|one| (one.sent, one.failed)).collect();
    assert_eq!(counts, [(4, 0), (1, 3), (0, 0)]);

    // One that is removed holds nothing back, one that remains does.
    sample(&mut pushes, "web1", 4);
    let (_, answer) = a.request(X);
    answer.send(TAKEN).unwrap();
    woken();
    assert_eq!(receipts(&mut pushes), []);
    reconfigure(&mut pushes, &settings(&both[..1]));
    woken();
    assert_eq!(receipts(&mut pushes), [("web1".to_owned(), 4)]);
    // Without any, everything is settled at once.
    reconfigure(&mut pushes, &BTreeMap::new());
    assert!(!pushes.acknowledge());
    sample(&mut pushes, "web1", 5);
    woken();
    assert_eq!(receipts(&mut pushes), [("web1".to_owned(), 5)]);
}

#[test]
fn a_target_that_is_mended_goes_on_with_what_the_one_before_could_not_send() {
    let (away, sink) = (Sink::start(), Sink::start());
    let mut pushes = Pushes::new(&settings(&[("main", target(&away.url))]));
    sample(&mut pushes, "web1", 1);
    // That one is under way, others wait.
    let (values, answer) = away.request(X);
    assert_eq!(values, [1.0]);
    for seq in 2..=4 {
        sample(&mut pushes, "web1", seq);
    }
    report(&mut pushes, 5);
    reconfigure(&mut pushes, &settings(&[("main", target(&sink.url))]));
    sample(&mut pushes, "web1", 5);
    assert_eq!(receipts(&mut pushes), []);
    answer
        .send("HTTP/1.1 503 x\r\nContent-Length: 0\r\n\r\n")
        .unwrap();
    let (values, answer) = sink.request(X);
    assert_eq!(values, [1.0, 2.0, 3.0, 4.0]);
    answer.send(TAKEN).unwrap();
    let (values, answer) = sink.request(X);
    assert_eq!(values, [5.0]);
    answer.send(TAKEN).unwrap();
    let mut last = Vec::new();
    until("receipts of all", || {
        last.extend(receipts(&mut pushes));
        last.last() == Some(&("web1".to_owned(), 5))
    });
    // What was of the first wire is lost with the target before, as ever.
    let status = pushes.status().remove(0);
    assert_eq!((status.sent, status.failed, status.dropped), (5, 0, 0));
    // One that is removed holds nothing back.
    sample(&mut pushes, "web1", 6);
    let (_, _answer) = sink.request(X);
    reconfigure(&mut pushes, &BTreeMap::new());
    assert_eq!(receipts(&mut pushes), [("web1".to_owned(), 6)]);
}

#[test]
fn history_is_not_dropped_and_says_when_there_is_no_room() {
    let sink = Sink::start();
    let limits = Limits {
        samples: 20,
        bytes: usize::MAX,
    };
    let mut pushes = Pushes::within(limits);
    reconfigure(&mut pushes, &settings(&[("main", target(&sink.url))]));
    sample(&mut pushes, "web1", 0);
    let (_, answer) = sink.request(X);
    for seq in 1..=10 {
        assert!(pushes.has_room());
        sample(&mut pushes, "web1", seq);
    }
    assert!(!pushes.has_room());
    // What is dropped is of the first wire.
    for value in 0..100 {
        report(&mut pushes, value);
    }
    for seq in 11..=13 {
        sample(&mut pushes, "web2", seq);
    }
    answer.send(TAKEN).unwrap();
    let mut all = Vec::new();
    while all.len() < 13 {
        let (request, answer) = sink.requests.recv_timeout(PATIENCE).unwrap();
        let series = request.timeseries.iter();
        let samples = series.flat_map(|series| &series.samples);
        let old = samples.filter(|sample| sample.timestamp < 1_700_000_001_000);
        all.extend(old.map(|sample| sample.value));
        answer.send(TAKEN).unwrap();
    }
    assert_eq!(all, (1..=13).map(f64::from).collect::<Vec<_>>());
    until("all is settled", || pushes.status()[0].queued == 0);
    assert!(pushes.has_room());
    assert!(pushes.status()[0].dropped > 0);
}

#[test]
fn what_is_too_large_is_sent_in_parts_and_less_at_a_time() {
    let sink = Sink::start();
    let mut pushes = Pushes::new(&settings(&[("main", target(&sink.url))]));
    for seq in 1..=4 {
        sample(&mut pushes, "web1", seq);
    }
    let too_large = "HTTP/1.1 413 Payload Too Large\r\nContent-Length: 0\r\n\r\n";
    let (mut all, mut largest) = (Vec::new(), 0);
    while all.len() < 4 {
        let (values, answer) = sink.request(X);
        largest = largest.max(values.len());
        let taken = values.len() <= 1;
        answer.send(if taken { TAKEN } else { too_large }).unwrap();
        if taken {
            all.extend(values);
        }
    }
    assert_eq!((all, largest), (vec![1.0, 2.0, 3.0, 4.0], 4));
    until("it is counted", || pushes.status()[0].sent == 4);
    assert_eq!(pushes.status()[0].failed, 0);
}

#[test]
fn a_target_that_is_the_same_keeps_what_waits_and_another_gets_what_is_new() {
    let (a, b) = (Sink::start(), Sink::start());
    let mut pushes = Pushes::new(&settings(&[("a", target(&a.url)), ("b", target(&b.url))]));
    report(&mut pushes, 1);
    let (_, answer_a) = a.request(X);
    let (_, answer_b) = b.request(X);
    report(&mut pushes, 2);
    // `b` has another address from now on, `c` is new.
    let c = Sink::start();
    let other = Sink::start();
    reconfigure(
        &mut pushes,
        &settings(&[
            ("a", target(&a.url)),
            ("b", target(&other.url)),
            ("c", target(&c.url)),
        ]),
    );
    report(&mut pushes, 3);
    answer_a.send(TAKEN).unwrap();
    answer_b.send(TAKEN).unwrap();
    let (values, answer) = a.request(X);
    assert_eq!(values, [2.0, 3.0]);
    answer.send(TAKEN).unwrap();
    // What waited for the address before is still sent there.
    let (values, answer) = b.request(X);
    assert_eq!(values, [2.0]);
    answer.send(TAKEN).unwrap();
    for new in [&other, &c] {
        let (values, answer) = new.request(X);
        assert_eq!(values, [3.0]);
        answer.send(TAKEN).unwrap();
    }
    until("all is settled", || {
        pushes.status().iter().all(|target| target.queued == 0)
    });
    let sent: Vec<_> = pushes.status().iter().map(|target| target.sent).collect();
    assert_eq!(sent, [6, 2, 2]);
    reconfigure(&mut pushes, &BTreeMap::new());
    assert!(pushes.is_empty());
}

#[test]
fn the_same_name_sends_the_old_before_the_new() {
    let sink = Sink::start();
    let mut pushes = Pushes::new(&settings(&[("main", target(&sink.url))]));
    report(&mut pushes, 1);
    let (_, answer) = sink.request(X);
    report(&mut pushes, 2);
    let mut changed = target(&sink.url);
    changed.timeout = PATIENCE * 2;
    reconfigure(&mut pushes, &settings(&[("main", changed)]));
    report(&mut pushes, 3);
    answer.send(TAKEN).unwrap();
    for value in [2.0, 3.0] {
        let (values, answer) = sink.request(X);
        assert_eq!(values, [value]);
        answer.send(TAKEN).unwrap();
    }
}

#[test]
fn the_end_waits_for_what_is_under_way_and_no_longer() {
    let sink = Sink::start();
    let mut pushes = Pushes::new(&settings(&[("main", target(&sink.url))]));
    report(&mut pushes, 1);
    let (_, _answer) = sink.request(X);
    let start = Instant::now();
    pushes.finish(start + Duration::from_millis(100));
    assert!(start.elapsed() < PATIENCE / 2);

    let mut pushes = Pushes::new(&settings(&[("main", target(&sink.url))]));
    report(&mut pushes, 2);
    let ended = thread::spawn(move || pushes.finish(Instant::now() + PATIENCE));
    let (values, answer) = sink.request(X);
    assert_eq!(values, [2.0]);
    answer.send(TAKEN).unwrap();
    ended.join().unwrap();
}

#[test]
fn a_new_target_begins_with_the_models_that_are_known() {
    let (old, new) = (Sink::start(), Sink::start());
    let mut pushes = Pushes::new(&settings(&[("old", target(&old.url))]));
    let host: Arc<str> = "web1".into();
    let model = Grid::parse(br#"{"x": 7}"#, GridKind::Model).unwrap();
    let model = HostGrid::from(model);
    let model = Arc::new(model);
    let both = settings(&[("old", target(&old.url)), ("new", target(&new.url))]);
    pushes.reconfigure(&both, SystemTime::now(), || [(&host, &model)].into_iter());
    let (values, answer) = new.request(X);
    assert_eq!(values, [7.0]);
    answer.send(TAKEN).unwrap();
    until("it is sent", || pushes.status()[0].sent == 2);
    // The other one had it when it was said.
    let status = &pushes.status()[1];
    assert_eq!(
        (status.name.as_str(), status.sent, status.queued),
        ("old", 0, 0)
    );
    // And so had both, where nothing changes.
    pushes.reconfigure(&both, SystemTime::now(), || [(&host, &model)].into_iter());
    assert!(pushes.status().iter().all(|target| target.queued == 0));
}

/// A receiver that takes everything: the number of connections, and what each request said
/// that it is called.
fn taking(requests: usize) -> (u16, thread::JoinHandle<(usize, Vec<String>)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let serving = thread::spawn(move || {
        let (mut connections, mut hosts) = (0, Vec::new());
        while hosts.len() < requests {
            let (stream, _) = listener.accept().unwrap();
            connections += 1;
            let mut reader = BufReader::new(&stream);
            let mut line = String::new();
            while hosts.len() < requests && reader.read_line(&mut line).unwrap_or(0) > 0 {
                let text = std::mem::take(&mut line);
                if let Some(host) = text.to_ascii_lowercase().strip_prefix("host: ") {
                    hosts.push(host.trim_end().to_owned());
                }
                if text == "\r\n" {
                    // The body is one byte.
                    reader.read_exact(&mut [0]).unwrap();
                    (&stream).write_all(TAKEN.as_bytes()).unwrap();
                }
            }
        }
        (connections, hosts)
    });
    (port, serving)
}

#[test]
fn a_connection_is_made_again_after_a_while() {
    use super::client::{Client, MAX_AGE};

    for (max_age, connections) in [(MAX_AGE, 1), (Duration::ZERO, 4)] {
        let (port, serving) = taking(5);
        let url = format!("http://localhost:{port}/push");
        let mut client = Client::open(&target(&url)).unwrap().with_max_age(max_age);
        for _ in 0..4 {
            assert_eq!(client.post(b"x", PATIENCE).unwrap().status, 204);
        }
        // The last one, which ends the receiver.
        drop(client);
        let mut last = TcpStream::connect(("127.0.0.1", port)).unwrap();
        last.write_all(b"host: last\r\n").unwrap();
        let (made, hosts) = serving.join().unwrap();
        assert_eq!(made, connections + 1, "{max_age:?}");
        assert_eq!(hosts[..4], [(); 4].map(|()| format!("localhost:{port}")));
    }
}
