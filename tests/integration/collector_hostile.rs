//! metrics-collector and peers that mean no good, or are broken: whatever they send ends
//! nothing and disturbs no other peer.

use std::io::{Read, Write};
use std::net::TcpStream;

use rustix::process::Signal;
use serde_json::json;

use crate::support::collector::{Collector, Fleet};
use crate::support::http::{address_of, fetch};
use crate::support::peer::{PATIENCE, hex};

/// Messages without sense, each on its own refused.
fn nonsense() -> Vec<Vec<Vec<u8>>> {
    let message = |frames: &[&[u8]]| frames.iter().map(|frame| frame.to_vec()).collect();
    let grid = |grid: &str| message(&[b"METR", b"evil", grid.as_bytes(), b"metrics"]);
    let metrics: Vec<_> = (0..20_000)
        .map(|number| format!("\"m{number}\":1"))
        .collect();
    let mut random = fastrand::Rng::with_seed(5556);
    let mut noise = |length| -> Vec<u8> { (0..length).map(|_| random.u8(..)).collect() };
    let mut messages: Vec<Vec<Vec<u8>>> = vec![
        message(&[b""]),
        message(&[b"", b"", b"", b""]),
        message(&[b"CTRL"]),
        message(&[b"CTRL", b""]),
        message(&[b"CTRL", b"hello", b""]),
        message(&[b"CTRL", b"shutdown"]),
        message(&[b"CTRL", b"ping"]),
        message(&[b"CTRL", b"model"]),
        message(&[b"CTRL", b"\xff\xfe"]),
        message(&[b"ctrl", b"hello"]),
        message(&[b"METR", b"evil", b"{}"]),
        message(&[b"METR", b"evil", b"{}", b"metrics", b""]),
        message(&[b"METR", b"evil", b"{}", b"history"]),
        message(&[b"METR", b"", b"{}", b"metrics"]),
        message(&[b"METR", b"\xc3\x28", b"{}", b"metrics"]),
        message(&[b"METR", b"evil\x1b[2J\n", b"{}", b"metrics"]),
        message(&[b"METR", &[b'x'; 256], b"{}", b"metrics"]),
        message(&[&b"x"[..]; 100]),
        grid(""),
        grid("{"),
        grid("[]"),
        grid("{}{}"),
        grid(r#"{"a": 1, "a": 2}"#),
        grid(r#"{"a": 1e999}"#),
        grid(r#"{"a": NaN}"#),
        grid(r#"{"a": null}"#),
        grid(r#"{"a": true}"#),
        grid(r#"{"a": "text"}"#),
        grid(r#"{"a": {"b": 1}}"#),
        grid(r#"{"": 1}"#),
        grid(r#"{"a\u001b[2J\n": 1}"#),
        grid(&"[".repeat(500_000)),
        grid(&r#"{"a":"#.repeat(100_000)),
        grid(&format!("{{{}}}", metrics.join(","))),
        message(&[b"METR", b"evil", b"\xff\xfe{}", b"metrics"]),
    ];
    for length in [1, 4, 100, 65_536] {
        messages.push(vec![noise(length)]);
        messages.push(vec![
            b"METR".to_vec(),
            b"evil".to_vec(),
            noise(length),
            b"model".to_vec(),
        ]);
    }
    messages
}

#[tokio::test]
async fn nonsense_is_refused_and_disturbs_no_other() {
    let home = tempfile::tempdir().unwrap();
    let mut collector = Collector::start(home.path(), &["--print"]).await;
    let mut printed = collector.printed();
    let mut good = collector.peer("GOOD").await;
    good.report("web1", r#"{"a": 1}"#, "model").await;
    assert_eq!(printed.next().await["host"], "web1");

    let mut evil = collector.peer("EVIL").await;
    let nonsense = nonsense();
    for (number, frames) in nonsense.iter().enumerate() {
        let frames: Vec<_> = frames.iter().map(Vec::as_slice).collect();
        evil.send(None, &frames).await;
        if number % 10 == 0 {
            good.report("web1", &json!({"a": number}).to_string(), "metrics")
                .await;
            assert_eq!(printed.next().await["metrics"]["a"], number);
        }
    }
    // Once a minute, with the first fault and where it came from.
    let line = collector
        .logged("Refused a message from 127.0.0.1 (the key ")
        .await;
    assert!(line.contains(r#"an unknown tag """#), "{line}");
    // What it says with sense is heard.
    evil.hello().await;
    evil.report("web2", "{}", "model").await;
    assert_eq!(printed.next().await["host"], "web2");
    let good_messages = 1 + nonsense.len().div_ceil(10);
    let expected = format!(
        "2 hosts, {} messages, {} refused",
        good_messages + 2,
        nonsense.len()
    );
    assert_eq!(collector.stop().await, expected);
}

#[tokio::test]
async fn a_frame_beyond_the_bound_ends_that_connection_alone() {
    let home = tempfile::tempdir().unwrap();
    let mut collector = Collector::start(home.path(), &["--print"]).await;
    let mut printed = collector.printed();
    let mut good = collector.peer("GOOD").await;
    let mut evil = collector.peer("EVIL").await;
    let large = vec![b' '; 2 * 1024 * 1024];
    evil.send(None, &[b"METR", b"evil", &large, b"metrics"])
        .await;
    evil.link("DISCONNECTED").await;
    good.report("web1", "{}", "model").await;
    assert_eq!(printed.next().await["host"], "web1");
    assert_eq!(collector.stop().await, "1 host, 1 message, 0 refused");
}

#[tokio::test]
async fn what_is_no_zeromq_is_let_go() {
    let home = tempfile::tempdir().unwrap();
    let mut collector = Collector::start(home.path(), &[]).await;
    let mut random = fastrand::Rng::with_seed(5556);
    let noise: Vec<_> = (0..10_000).map(|_| random.u8(..)).collect();
    for bytes in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &noise,
        &[0xff; 100],
        b"\xff\0\0\0\0\0\0\0\x01\x7f\x03",
    ] {
        let mut stranger = TcpStream::connect(collector.address).unwrap();
        stranger.set_read_timeout(Some(PATIENCE)).unwrap();
        // It may be cut off before all is written.
        let _ = stranger.write_all(bytes);
        stranger
            .shutdown(std::net::Shutdown::Write)
            .unwrap_or_default();
        let _ = stranger.read_to_end(&mut Vec::new());
    }
    let mut good = collector.peer("GOOD").await;
    good.hello().await;
    assert_eq!(collector.stop().await, "0 hosts, 1 message, 0 refused");
}

#[tokio::test]
async fn a_flood_keeps_no_agent_waiting() {
    const FLOOD: u32 = 20_000;
    let home = tempfile::tempdir().unwrap();
    let options = ["--ping-interval", "100ms"];
    let mut collector = Collector::start(home.path(), &options).await;
    let mut good = collector.peer("GOOD").await;
    good.report("web1", "{}", "model").await;
    let mut evil = collector.peer("EVIL").await;
    let frames = [&b"METR"[..], b"evil", b"{\"a\": %d}", b"model"];
    let flood = evil.send_many(None, &frames, FLOOD);
    let live = async {
        let mut pings = 0;
        for _ in 0..20 {
            good.send(None, &[b"CTRL", b"hello"]).await;
            loop {
                match good.word().await.as_str() {
                    "model" => break,
                    word => assert_eq!(word, "ping"),
                }
                pings += 1;
            }
        }
        while pings < 3 {
            assert_eq!(good.word().await, "ping");
            pings += 1;
        }
    };
    tokio::join!(flood, live);
    // All of it was heard, in order behind the rest.
    evil.hello().await;
    assert_eq!(
        collector.stop().await,
        "2 hosts, 20,022 messages, 0 refused"
    );
}

/// Made-up hosts: as many as one connection may report, and no more.
#[tokio::test]
async fn made_up_hosts_do_not_fill_the_table() {
    let home = tempfile::tempdir().unwrap();
    let mut collector = Collector::start(home.path(), &[]).await;
    let mut evil = collector.peer("EVIL").await;
    let frames = [&b"METR"[..], b"host-%d", b"{}", b"model"];
    evil.send_many(None, &frames, 500).await;
    collector
        .logged("too many hosts on this connection (limit 100)")
        .await;
    evil.hello().await;
    let mut good = collector.peer("GOOD").await;
    good.report("web1", "{}", "model").await;
    good.hello().await;
    assert_eq!(
        collector.stop().await,
        "101 hosts, 103 messages, 400 refused"
    );
}

#[tokio::test]
async fn a_signal_is_heard_in_a_flood() {
    let home = tempfile::tempdir().unwrap();
    let mut collector = Collector::start(home.path(), &["--print"]).await;
    // What it prints is not read, either.
    let _stdout = collector.stdout();
    let mut evil = collector.peer("EVIL").await;
    // Read more slowly than sent, so that there is always another.
    let metrics: Vec<_> = (0..9_000)
        .map(|number| format!("\"m{number}\":1"))
        .collect();
    let grid = format!("{{{}}}", metrics.join(","));
    let frames = ["METR", "evil", &grid, "model"].map(|frame| hex(frame.as_bytes()));
    evil.tell(&json!({"do": "send", "frames": frames, "count": 1_000_000}));
    collector.logged("evil reports").await;
    let mut good = collector.peer("GOOD").await;
    for _ in 0..5 {
        good.hello().await;
    }
    // All of the flood would take hours.
    collector.signal(Signal::TERM);
    assert_eq!(collector.ended().await.code(), Some(0));
}

/// More than it can read, for longer than a burst lasts: what is old is dropped, what
/// counts is heard.
#[tokio::test]
async fn past_what_it_can_read_the_oldest_is_dropped() {
    let home = tempfile::tempdir().unwrap();
    let options = ["--print", "--ping-interval", "100ms"];
    let mut collector = Collector::start(home.path(), &options).await;
    let mut printed = collector.printed();
    let mut good = collector.peer("GOOD").await;
    good.report("web1", "{}", "model").await;
    let mut evil = collector.peer("EVIL").await;
    let metrics: Vec<_> = (0..9_000)
        .map(|number| format!("\"m{number}\":1"))
        .collect();
    let grid = format!("{{{}}}", metrics.join(","));
    let frames = ["METR", "evil", &grid, "metrics"].map(|frame| hex(frame.as_bytes()));
    evil.tell(&json!({"do": "send", "frames": frames, "count": 1_000_000}));
    collector
        .logged("Messages arrive faster than this collector can process them")
        .await;
    // Each of these is an answer to what was said behind the flood.
    for number in 0..5 {
        good.hello().await;
        let grid = json!({"number": number}).to_string();
        good.report("web1", &grid, "metrics").await;
        loop {
            let line = printed.next().await;
            if line["host"] == "web1" && line["metrics"]["number"] == number {
                break;
            }
        }
    }
    evil.kill();
    let line = collector.logged("Caught up after").await;
    let (_, dropped) = line.split_once(": dropped ").unwrap();
    assert!(!dropped.starts_with("0 "), "{line}");
    let totals = collector.stop().await;
    assert!(
        totals.starts_with("2 hosts, ") && totals.ends_with(" dropped"),
        "{totals}"
    );
    assert!(totals.contains(" 0 refused"), "{totals}");
}

/// Who speaks something else on the port of agents is named by what it speaks.
#[tokio::test]
async fn a_stranger_is_told_by_what_it_speaks() {
    let home = tempfile::tempdir().unwrap();
    let mut collector = Collector::start(home.path(), &[]).await;
    let mut stranger = TcpStream::connect(collector.address).unwrap();
    stranger
        .write_all(b"GET /metrics HTTP/1.1\r\n\r\n")
        .unwrap();
    let line = collector.logged("Ended a connection").await;
    let expected = "Ended a connection of 127.0.0.1 to the agents' port: the peer speaks HTTP, \
                    not ZMTP";
    assert!(line.ends_with(expected), "{line}");
    collector.stop().await;
}

/// As many metrics as a message may hold, from one host, again and again, and one more.
#[tokio::test]
async fn a_host_with_too_many_metrics_is_refused_and_said() {
    let grid = |count: usize, from: usize| {
        let metrics: Vec<_> = (from..from + count)
            .map(|number| format!("\"family{}.metric[{number}]\":{number}", number % 97))
            .collect();
        format!("{{{}}}", metrics.join(","))
    };
    let home = tempfile::tempdir().unwrap();
    let mut collector = Collector::start(home.path(), &["--print"]).await;
    let mut printed = collector.printed();
    let mut agent = collector.peer("A").await;
    agent.report("web1", "{}", "model").await;
    printed.next().await;
    // Other names each time: what is kept of a host is bounded.
    for round in 0..10 {
        agent
            .report("web1", &grid(10_000, 10_000 * round), "metrics")
            .await;
        let line = printed.next().await;
        assert_eq!(line["metrics"].as_object().unwrap().len(), 10_000);
    }
    agent.report("web1", &grid(10_001, 0), "metrics").await;
    collector.logged("a grid of more than 10000 metrics").await;
    agent.report("web1", r#"{"a": 1}"#, "metrics").await;
    assert_eq!(printed.next().await["metrics"]["a"], 1);
    assert_eq!(collector.stop().await, "1 host, 12 messages, 1 refused");
}

/// A peer that sends as fast as it can, while fifty others report.
#[tokio::test]
async fn a_flood_of_one_disturbs_no_fleet() {
    const FLEET: u32 = 50;
    const ROUNDS: u32 = 20;
    let home = tempfile::tempdir().unwrap();
    let options = ["--ping-interval", "1min"];
    let mut collector = Collector::start(home.path(), &options).await;
    let mut fleet = Fleet::connect(&collector, "F", FLEET).await;
    fleet.send(&["CTRL", "hello"], 1).await;
    fleet.heard_by_each("model", 1).await;
    let mut evil = collector.peer("EVIL").await;
    let frames = ["METR", "evil", r#"{"a": 1}"#, "metrics"].map(|frame| hex(frame.as_bytes()));
    evil.tell(&json!({"do": "send", "frames": frames, "count": 10_000_000}));
    collector.logged("evil reports").await;
    for round in 0..ROUNDS {
        fleet
            .send(&["METR", "host-%d", r#"{"a": %m}"#, "metrics"], 1)
            .await;
        fleet.send(&["CTRL", "hello"], 1).await;
        // Models are asked for of those that have said none, too: at most once in 5 s.
        fleet.heard_by_each("model", 2 + round).await;
    }
    evil.kill();
    let mut good = collector.peer("GOOD").await;
    good.hello().await;
    let totals = collector.stop().await;
    assert!(
        totals.starts_with("51 hosts, ") && totals.contains(" 0 refused"),
        "{totals}"
    );
}

/// Over many connections, too: each may report so many, and so may each key.
#[tokio::test]
async fn made_up_hosts_over_many_connections_are_bounded() {
    let home = tempfile::tempdir().unwrap();
    for (one_key, hosts) in [(false, 2_000), (true, 1_000)] {
        let mut collector = Collector::start(home.path(), &["--ping-interval", "1min"]).await;
        let mut fleet = if one_key {
            Fleet::connect_with_one_key(&collector, "EVIL", 20).await
        } else {
            Fleet::connect(&collector, "EVIL", 20).await
        };
        let frames = ["METR", "host-%d-%m", "{}", "model"];
        fleet.send(&frames, 150).await;
        fleet.send(&["CTRL", "hello"], 1).await;
        fleet.heard_by_each("model", 1).await;
        let said = if one_key {
            "too many hosts of this key (limit 1000)"
        } else {
            "too many hosts on this connection (limit 100)"
        };
        collector.logged(said).await;
        let totals = collector.stop().await.replace(',', "");
        let expected = format!(
            "{hosts} hosts {} messages {} refused",
            hosts + 20,
            3_000 - hosts
        );
        assert_eq!(totals, expected);
    }
}

/// Grids that cost much at `/metrics`, over several connections: a key gets its share and no
/// more, and others are heard and scraped.
#[tokio::test]
async fn one_key_gets_no_more_than_its_share() {
    let home = tempfile::tempdir().unwrap();
    let options = ["--ping-interval", "1min", "--web-listen", "127.0.0.1:0"];
    let mut collector = Collector::start(home.path(), &options).await;
    let web = address_of(&collector);
    let metrics: Vec<_> = (0..9_000)
        .map(|number| format!("\"made.up.metric{number}\":{number}"))
        .collect();
    let grid = format!("{{{}}}", metrics.join(","));
    let mut one = collector.peer("ONE").await;
    let frames = ["METR", "one-%d", &grid, "metrics"].map(str::as_bytes);
    one.send_many(None, &frames, 12).await;
    let line = collector
        .logged("the hosts of this connection have too many values (limit 16 MiB at /metrics)")
        .await;
    assert!(line.contains(" (the key "), "{line}");
    let mut evil = Fleet::connect_with_one_key(&collector, "EVIL", 6).await;
    let frames = ["METR", "evil-%d-%m", &grid, "metrics"];
    evil.send(&frames, 12).await;
    let line = collector
        .logged("the hosts of this key have too many values (limit 64 MiB at /metrics)")
        .await;
    assert!(line.contains(" (the key "), "{line}");
    let mut good = collector.peer("GOOD").await;
    good.report("web1", r#"{"mem.free":1,"mem.total":1e308}"#, "metrics")
        .await;
    good.hello().await;
    let answer = fetch(web, "/metrics").await;
    let bytes = answer.body.len();
    assert!(bytes < (16 + 64) * 1024 * 1024, "{bytes}");
    let up = answer.series("metrics_agent_up");
    assert!(up.contains(&(r#"metrics_agent_up{host="web1"}"#, "1")));
    assert_eq!(
        answer.series("metrics_agent_mem_free_bytes"),
        [(r#"metrics_agent_mem_free_bytes{host="web1"}"#, "1024")]
    );
    // Too large to be bytes, and nothing else is missing for that.
    assert_eq!(answer.series("metrics_agent_mem_total_bytes"), []);
    assert!(answer.number("metrics_collector_metrics_left_out") >= 1.0);
}
