//! metrics-collector's web server: what it answers, and clients that mean no good.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::support::collector::{Collector, program};
use crate::support::http::{
    Answer, address_of, answer, ask, connect_from, fetch, fetch_from, read_to_end, request,
};
use crate::support::peer::{PATIENCE, Peer};
use crate::support::place::eventually;

const ON: [&str; 2] = ["--web-listen", "127.0.0.1:0"];

async fn collector(home: &tempfile::TempDir) -> (Collector, SocketAddr) {
    let collector = Collector::start(home.path(), &ON).await;
    let address = address_of(&collector);
    (collector, address)
}

/// The metrics, once the host is among them.
async fn scraped_with(address: SocketAddr, host: &str) -> Answer {
    let up = format!("metrics_agent_up{{host=\"{host}\"}}");
    eventually("the host is there", async || {
        let answer = fetch(address, "/metrics").await;
        let found = answer
            .series("metrics_agent_up")
            .contains(&(up.as_str(), "1"));
        found.then_some(answer)
    })
    .await
}

/// Asks for a page, and reads nothing of it.
async fn ask_on(stream: &mut TcpStream, path: &str) {
    let request = request("GET", path);
    stream.write_all(request.as_bytes()).await.unwrap();
}

#[tokio::test]
async fn what_hosts_report_can_be_scraped() {
    let home = tempfile::tempdir().unwrap();
    let (collector, address) = collector(&home).await;
    let mut agent = collector.peer("A").await;
    let model = r#"{"host.os":"Debian \"12\"\n\\","mem.total":2,"made up":7}"#;
    let metrics = r#"{"mem.free":18446744073709551615,"cpu.percent":12.3,"fs.size[/a\"b]":5}"#;
    agent.report("web1", model, "model").await;
    agent.report("web1", metrics, "metrics").await;
    agent
        .send(None, &[b"METR", b"web1", b"[]", b"metrics"])
        .await;
    agent.hello().await;

    let answer = scraped_with(address, "web1").await;
    assert_eq!(answer.status, 200);
    let kind = answer.header("content-type");
    assert_eq!(kind, Some("text/plain; version=0.0.4; charset=utf-8"));
    for (family, series) in [
        (
            "metrics_agent_host_os_info",
            (
                r#"metrics_agent_host_os_info{host="web1",value="Debian \"12\"\n\\"}"#,
                "1",
            ),
        ),
        (
            "metrics_agent_mem_free_bytes",
            (
                r#"metrics_agent_mem_free_bytes{host="web1"}"#,
                "18889465931478580853760",
            ),
        ),
        (
            "metrics_agent_cpu_busy_ratio",
            (r#"metrics_agent_cpu_busy_ratio{host="web1"}"#, "0.123"),
        ),
        (
            "metrics_agent_fs_size_bytes",
            (
                r#"metrics_agent_fs_size_bytes{host="web1",mount="/a\"b"}"#,
                "5",
            ),
        ),
        (
            "metrics_agent_made_up",
            (r#"metrics_agent_made_up{host="web1"}"#, "7"),
        ),
        (
            "metrics_collector_hosts",
            (r#"metrics_collector_hosts{presence="reporting"}"#, "1"),
        ),
    ] {
        assert_eq!(answer.series(family)[0], series);
    }
    for (family, value) in [
        ("metrics_collector_messages_total", "3"),
        ("metrics_collector_messages_refused_total", "1"),
    ] {
        assert_eq!(answer.series(family), [(family, value)]);
    }
    assert!(answer.number("process_resident_memory_bytes") > 1e6);
}

#[tokio::test]
async fn there_are_three_pages_and_two_methods() {
    let home = tempfile::tempdir().unwrap();
    let (_collector, address) = collector(&home).await;
    let landing = fetch(address, "/").await;
    assert_eq!(
        (landing.status, landing.header("content-type")),
        (200, Some("text/html; charset=utf-8"))
    );
    assert!(landing.body.contains("href=\"metrics\""));
    let healthy = fetch(address, "/-/healthy").await;
    assert_eq!(
        (healthy.status, healthy.body.as_str()),
        (200, "metrics-collector is healthy\n")
    );
    for path in ["/metric", "/metrics/..", "/favicon.ico", "//", "/%6detrics"] {
        let answer = fetch(address, path).await;
        assert_eq!(
            (answer.status, answer.body.lines().count()),
            (404, 1),
            "{path}"
        );
    }
    // The query means nothing.
    assert_eq!(fetch(address, "/metrics?a=b").await.status, 200);
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "FROB"] {
        let answer = ask(address, &request(method, "/metrics")).await;
        assert_eq!(
            (answer.status, answer.body.lines().count()),
            (405, 1),
            "{method}"
        );
        assert_eq!(answer.header("allow"), Some("GET, HEAD"));
    }
    for path in ["/metrics", "/", "/-/healthy"] {
        let head = ask(address, &request("HEAD", path)).await;
        assert_eq!((head.status, head.body.as_str()), (200, ""), "{path}");
        let full = fetch(address, path).await;
        assert_eq!(head.header("content-type"), full.header("content-type"));
        assert_eq!(
            head.header("content-length"),
            full.header("content-length"),
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_connection_serves_more_than_one_request() {
    let home = tempfile::tempdir().unwrap();
    let (_collector, address) = collector(&home).await;
    // All at once; the last one ends it.
    let asked = "GET /-/healthy HTTP/1.1\r\nHost: a\r\n\r\n".repeat(3);
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(asked.as_bytes()).await.unwrap();
    ask_on(&mut stream, "/metrics").await;
    let text = String::from_utf8(read_to_end(&mut stream).await).unwrap();
    assert_eq!(text.matches("HTTP/1.1 200 OK").count(), 4, "{text}");
    assert_eq!(text.matches("is healthy").count(), 3);
    assert!(text.ends_with("\r\n0\r\n\r\n"));
    // HTTP/1.0 knows no chunks: the end of the answer is the end of the connection.
    let old = ask(address, "GET /metrics HTTP/1.0\r\n\r\n").await;
    assert_eq!(old.header("transfer-encoding"), None);
    assert!(old.number("process_open_fds") > 3.0);
}

#[tokio::test]
async fn who_closes_its_half_has_its_answer() {
    let home = tempfile::tempdir().unwrap();
    let (_collector, address) = collector(&home).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    ask_on(&mut stream, "/metrics").await;
    stream.shutdown().await.unwrap();
    let text = String::from_utf8(read_to_end(&mut stream).await).unwrap();
    assert!(
        text.starts_with("HTTP/1.1 200 OK\r\n") && text.ends_with("\r\n0\r\n\r\n"),
        "{text}"
    );
}

#[tokio::test]
async fn what_is_no_request_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let (_collector, address) = collector(&home).await;
    let long = "x".repeat(20_000);
    let many = "a: b\r\n".repeat(65);
    for (sent, status) in [
        ("\u{0}\u{1}\u{2}garbage\r\n\r\n".to_owned(), "400"),
        ("GET / HTTP/9.9\r\n\r\n".to_owned(), "400"),
        ("GET /\u{7f} HTTP/1.1\r\n\r\n".to_owned(), "400"),
        (format!("GET /{long} HTTP/1.1\r\n\r\n"), "4"),
        (format!("GET / HTTP/1.1\r\na: {long}\r\n\r\n"), "431"),
        (format!("GET / HTTP/1.1\r\n{many}\r\n"), "431"),
        // A ClientHello.
        ("\u{16}\u{3}\u{1}\u{0}\u{5}hello".to_owned(), "400"),
    ] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(sent.as_bytes()).await.unwrap();
        let text = read_to_end(&mut stream).await;
        let text = String::from_utf8_lossy(&text);
        assert!(
            text.starts_with(&format!("HTTP/1.1 {status}")),
            "{sent:.30}: {text}"
        );
    }
    // HTTP/2 is not spoken, and who speaks it would not understand an answer.
    let mut stream = TcpStream::connect(address).await.unwrap();
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    stream.write_all(preface).await.unwrap();
    assert_eq!(read_to_end(&mut stream).await, b"");
    assert_eq!(fetch(address, "/-/healthy").await.status, 200);
}

#[tokio::test]
async fn a_thousand_connections_keep_no_scraper_out() {
    let home = tempfile::tempdir().unwrap();
    let (collector, address) = collector(&home).await;
    let mut agent = collector.peer("A").await;
    agent.report("web1", "{}", "metrics").await;
    // Their requests have begun, and never end.
    let mut slow = Vec::new();
    for _ in 0..1000 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        // It may be cut already.
        let _ = stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: ").await;
        slow.push(stream);
    }
    let answer = scraped_with(address, "web1").await;
    assert!(answer.number("process_open_fds") < 300.0);
    agent.report("web2", "{}", "metrics").await;
    scraped_with(address, "web2").await;
    // All of them end, those without a successor by their time.
    for stream in &mut slow {
        assert_eq!(read_to_end(stream).await, b"");
    }
}

#[tokio::test]
async fn who_does_not_read_keeps_no_other_from_the_metrics() {
    let home = tempfile::tempdir().unwrap();
    let (collector, address) = collector(&home).await;
    let mut agent = collector.peer("A").await;
    let fleet = 40;
    report_much(&mut agent, fleet).await;
    let one = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let other = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
    scraped_with(address, &format!("web{:02}", fleet - 1)).await;

    let begin = async |from| {
        let mut stream = connect_from(from, address).await;
        ask_on(&mut stream, "/metrics").await;
        // The answer has begun.
        stream.read_u8().await.unwrap();
        stream
    };
    let mut idle = [begin(one).await, begin(one).await];
    // The others are served, and the same peer's other pages.
    let answer = fetch_from(other, address, "/metrics").await;
    assert_eq!(answer.series("metrics_agent_up").len(), fleet);
    assert_eq!(fetch_from(one, address, "/-/healthy").await.status, 200);
    agent.report("late", "{}", "metrics").await;
    let up = (r#"metrics_agent_up{host="late"}"#, "1");
    eventually("agents are heard", async || {
        let answer = fetch_from(other, address, "/metrics").await;
        answer
            .series("metrics_agent_up")
            .contains(&up)
            .then_some(())
    })
    .await;
    // The same peer has a place once one of its readers has stood still for a while.
    eventually("there is a place", async || {
        let answer = fetch_from(one, address, "/metrics").await;
        if answer.status == 503 {
            assert_eq!(answer.header("retry-after"), Some("5"));
            assert_eq!(answer.body, "too many requests for this; try again\n");
        }
        (answer.status == 200).then_some(())
    })
    .await;
    let mut torn = 0;
    for stream in &mut idle {
        torn += usize::from(!read_to_end(stream).await.ends_with(b"\r\n0\r\n\r\n"));
    }
    assert!(torn >= 1, "one of them has only a part");
}

/// New ones again and again that never read, from the same address: who reads is served each time.
#[tokio::test]
async fn new_readers_that_never_read_do_not_take_each_place_that_is_free() {
    let home = tempfile::tempdir().unwrap();
    let (collector, address) = collector(&home).await;
    let mut agent = collector.peer("A").await;
    let fleet = 40;
    report_much(&mut agent, fleet).await;
    scraped_with(address, &format!("web{:02}", fleet - 1)).await;
    let one = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let mut streams = VecDeque::new();
    // One may be pushed out where others have the processors.
    let (most, wanted) = (20, 5);
    let mut in_a_row = 0;
    for _ in 0..most {
        // As many as are answered at a time for one address.
        for _ in 0..2 {
            let mut stream = connect_from(one, address).await;
            // It may be cut already.
            let _ = stream
                .write_all(request("GET", "/metrics").as_bytes())
                .await;
            streams.push_back(stream);
            if streams.len() > 20 {
                streams.pop_front();
            }
        }
        let answer = fetch_from(one, address, "/metrics").await;
        in_a_row = if answer.status == 200 {
            in_a_row + 1
        } else {
            0
        };
        if in_a_row == wanted {
            break;
        }
    }
    assert_eq!(in_a_row, wanted, "of {most}");
}

/// Connections as fast as they can be made, none of which reads: a scraper at the same address
/// that keeps its connection has each answer, and so has one at another address.
#[tokio::test]
async fn a_flood_keeps_no_scraper_out_that_keeps_its_connection() {
    let home = tempfile::tempdir().unwrap();
    let (collector, address) = collector(&home).await;
    let mut agent = collector.peer("A").await;
    report_much(&mut agent, 12).await;
    scraped_with(address, "web11").await;
    let mut scrapers = Vec::new();
    for last in [1, 2] {
        let from = IpAddr::V4(Ipv4Addr::new(127, 0, 0, last));
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((from, 0).into()).unwrap();
        let mut stream = socket.connect(address).await.unwrap();
        scrape_on(&mut stream).await;
        scrapers.push(stream);
    }
    let flood = Flood::begin(
        address,
        &[b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"],
    );
    for round in 1..=4 {
        flood.has_made(50 * round).await;
        for stream in &mut scrapers {
            scrape_on(stream).await;
        }
    }
    flood.end();
}

/// The same, with requests that never end and connections that ask for nothing among them: a scraper
/// at the same address that opens a connection for each scrape has its answer at once, as it reads.
#[tokio::test]
async fn a_flood_keeps_no_scraper_out_that_opens_a_connection_for_each_scrape() {
    let home = tempfile::tempdir().unwrap();
    let (collector, address) = collector(&home).await;
    let mut agent = collector.peer("A").await;
    // Some 4 MB, so that the answer has a rest.
    let fleet = 12;
    report_much(&mut agent, fleet).await;
    scraped_with(address, &format!("web{:02}", fleet - 1)).await;
    let flood = Flood::begin(
        address,
        &[
            b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n",
            b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n",
            b"GET /metrics HTTP/1.1\r\nHo",
            b"",
        ],
    );
    // Some may be pushed out where others have the processors; before answers began with shared
    // text, one in ten was served.
    let (most, wanted) = (40, 3);
    let mut in_a_row = 0;
    for round in 1..=most {
        // More than there may be connections.
        flood.has_made(300 * round).await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        ask_on(&mut stream, "/metrics").await;
        let text = read_to_end(&mut stream).await;
        let whole = text.ends_with(b"\r\n0\r\n\r\n");
        let served = whole && text.starts_with(b"HTTP/1.1 200 OK\r\n");
        in_a_row = if served { in_a_row + 1 } else { 0 };
        if in_a_row == wanted {
            break;
        }
    }
    flood.end();
    assert_eq!(in_a_row, wanted, "of {most}");
}

/// Threads that open connections as fast as they can, each of which says one of these and reads
/// nothing.
struct Flood {
    made: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    threads: [thread::JoinHandle<()>; 3],
}

impl Flood {
    fn begin(address: SocketAddr, texts: &'static [&'static [u8]]) -> Self {
        let made = Arc::new(AtomicUsize::new(0));
        let stop = Arc::new(AtomicBool::new(false));
        let threads = [(); 3].map(|()| {
            let (made, stop) = (Arc::clone(&made), Arc::clone(&stop));
            thread::spawn(move || {
                let mut streams = VecDeque::new();
                for text in texts.iter().cycle() {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    // There may be no room to connect.
                    let Ok(mut stream) = std::net::TcpStream::connect(address) else {
                        continue;
                    };
                    // It may be cut already.
                    let _ = stream.write_all(text);
                    streams.push_back(stream);
                    if streams.len() > 128 {
                        streams.pop_front();
                    }
                    made.fetch_add(1, Ordering::Relaxed);
                }
            })
        });
        Self {
            made,
            stop,
            threads,
        }
    }

    /// Waits until it has made that many connections.
    async fn has_made(&self, connections: usize) {
        eventually("many connections are made", async || {
            (self.made.load(Ordering::Relaxed) > connections).then_some(())
        })
        .await;
    }

    fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().unwrap();
        }
    }
}

/// Asks for the metrics on a connection that stays, and reads all of them.
async fn scrape_on(stream: &mut TcpStream) {
    let request = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut all = Vec::new();
    let read = async {
        while !all.ends_with(b"\r\n0\r\n\r\n") {
            assert_ne!(stream.read_buf(&mut all).await.unwrap(), 0, "it was cut");
        }
    };
    timeout(PATIENCE, read).await.expect("an answer");
    assert!(
        all.starts_with(b"HTTP/1.1 200 OK\r\n"),
        "{:?}",
        all.get(..200)
    );
}

/// Two slow readers, which never stand still for as long as a piece may take, have all places
/// of their address; one of them has to go for who reads.
#[tokio::test]
async fn readers_that_crawl_make_room() {
    crawling_readers_make_room(false).await;
}

/// The same of readers that have read a whole answer before.
#[tokio::test]
async fn readers_that_crawl_from_the_second_answer_on_make_room() {
    crawling_readers_make_room(true).await;
}

async fn crawling_readers_make_room(known: bool) {
    let home = tempfile::tempdir().unwrap();
    let (collector, address) = collector(&home).await;
    let mut agent = collector.peer("A").await;
    let fleet = 40;
    report_much(&mut agent, fleet).await;
    scraped_with(address, &format!("web{:02}", fleet - 1)).await;
    let one = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let begin = async || {
        let mut stream = connect_from(one, address).await;
        if known {
            scrape_on(&mut stream).await;
        }
        ask_on(&mut stream, "/metrics").await;
        // Past the beginning, which takes no place.
        let mut beginning = vec![0; 2 * 1024 * 1024];
        stream.read_exact(&mut beginning).await.unwrap();
        stream
    };
    let crawl = |mut stream: TcpStream| {
        tokio::spawn(async move {
            let mut some = vec![0; 128 * 1024];
            let mut pause = tokio::time::interval(Duration::from_secs(1));
            loop {
                pause.tick().await;
                let mut left = some.len();
                while left > 0 {
                    match stream.read(&mut some[..left]).await {
                        Ok(0) | Err(_) => return,
                        Ok(bytes) => left -= bytes,
                    }
                }
            }
        })
    };
    let crawling = [crawl(begin().await), crawl(begin().await)];
    let answer = eventually("there is a place", async || {
        let answer = fetch_from(one, address, "/metrics").await;
        (answer.status == 200).then_some(answer)
    })
    .await;
    assert_eq!(answer.series("metrics_agent_up").len(), fleet);
    for crawling in crawling {
        crawling.abort();
    }
}

/// A browser that was led here by another's name is told nothing.
#[tokio::test]
async fn only_its_own_names_are_answered_to() {
    let home = tempfile::tempdir().unwrap();
    let settings = home.path().join("collector.toml");
    std::fs::write(&settings, "").unwrap();
    let options = [
        "--web-listen",
        "127.0.0.1:0",
        "--config",
        settings.to_str().unwrap(),
    ];
    let mut collector = Collector::start(home.path(), &options).await;
    let address = address_of(&collector);
    let asked =
        |host: &str| format!("GET /metrics HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    let name = rustix::system::uname();
    let name = name.nodename().to_str().unwrap().to_owned();
    for own in [
        "localhost",
        "LocalHost:1",
        &address.to_string(),
        "127.0.0.1",
        &name,
    ] {
        assert_eq!(ask(address, &asked(own)).await.status, 200, "{own}");
    }
    let text = "this collector is not known as evil.example; if it should be, set\n\n\
                [web]\nhosts = [\"evil.example\"]\n\n\
                in the collector's settings (its log names a file), and reload it\n";
    let evil = ask(address, &asked("Evil.example:9650")).await;
    assert_eq!((evil.status, &*evil.body), (421, text));
    assert_eq!(
        evil.header("content-type"),
        Some("text/plain; charset=utf-8")
    );
    let line = collector
        .logged("for evil.example: that is not a name of this collector")
        .await;
    assert!(line.contains("Refused a request of 127.0.0.1"), "{line}");
    let file = format!("in the section [web] of {}, and reload", settings.display());
    assert!(line.contains(&file), "{line}");
    for (request, status) in [
        (asked("127.0.0.2"), 421),
        (asked("[::1]"), 421),
        ("GET http://evil.example/metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".to_owned(), 421),
        ("GET /metrics HTTP/1.1\r\nConnection: close\r\n\r\n".to_owned(), 400),
        (asked("a\r\nHost: localhost"), 400),
        (asked("<script>"), 400),
        (asked("evil.example").replace("/metrics", "/"), 421),
        (asked("evil.example").replace("/metrics", "/-/healthy"), 200),
    ] {
        let answer = ask(address, &request).await;
        assert_eq!(answer.status, status, "{request:?}");
        assert!(!answer.body.contains("metrics_agent_") && !answer.body.contains('<'));
    }
    // What the settings add is answered to at once.
    std::fs::write(&settings, "[web]\nhosts = [\"Evil.example\"]\n").unwrap();
    collector.signal(rustix::process::Signal::HUP);
    eventually("it is known by that name", async || {
        let answer = ask(address, &asked("evil.example")).await;
        (answer.status == 200).then_some(())
    })
    .await;
    assert_eq!(ask(address, &asked("evil.org")).await.status, 421);
}

/// So much that it does not fit into any socket's buffers.
async fn report_much(agent: &mut Peer, hosts: usize) {
    let mut grid = "{".to_owned();
    for number in 0..3000 {
        let item = "i".repeat(60);
        write!(grid, r#""some.made.up.metric[{item}{number}]":{number},"#).unwrap();
    }
    grid.pop();
    grid.push('}');
    for host in 0..hosts {
        agent
            .report(&format!("web{host:02}"), &grid, "metrics")
            .await;
    }
    agent.hello().await;
}

#[tokio::test]
async fn an_address_that_is_taken_ends_it() {
    let home = tempfile::tempdir().unwrap();
    let (_collector, address) = collector(&home).await;
    let text = address.to_string();
    let other = tempfile::tempdir().unwrap();
    let output = program(other.path())
        .args(["--listen", "127.0.0.1:0", "--web-listen", &text])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(69));
    let log = String::from_utf8(output.stderr).unwrap();
    let expected = format!(
        "cannot serve Prometheus at {text}: Address already in use (os error 98); `ss -ltnp` shows \
         who listens there, and --web-listen (listen.web) takes another address, or none"
    );
    assert!(log.contains(&expected), "{log}");
}

#[tokio::test]
async fn none_is_none() {
    let home = tempfile::tempdir().unwrap();
    let collector = Collector::start(home.path(), &["--web-listen", "none"]).await;
    assert!(
        !collector
            .before
            .iter()
            .any(|line| line.contains("Prometheus"))
    );
    let on_all = Collector::start(home.path(), &["--web-listen", "*:0"]).await;
    let mut address = address_of(&on_all);
    for ip in [IpAddr::V4(Ipv4Addr::LOCALHOST), "::1".parse().unwrap()] {
        address.set_ip(ip);
        let stream = TcpStream::connect(address).await.unwrap();
        assert_eq!(
            answer(stream, &request("GET", "/metrics")).await.status,
            200
        );
    }
}
