//! What metrics-collector counts of the connections that it ended or refused.

use std::fs::remove_file;
use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use metrics_agent::curve::keys::KeyPair;
use metrics_agent::curve::zmtp::connection::HeartbeatOptions;

use crate::support::attack::{Figures, greeting, list, read_to_end};
use crate::support::collector::Collector;
use crate::support::place::eventually;
use crate::support::zmtp::{CLOSED, QUIET, Socket};

/// A connection with these keys.
fn connected(collector: &Collector, keys: &KeyPair) -> Socket {
    let stream = TcpStream::connect(collector.address).unwrap();
    let server = collector.public_key.parse().unwrap();
    Socket::over(stream, keys.clone(), server)
}

/// A stranger that says this, and is not answered.
fn says(collector: &Collector, bytes: &[u8]) {
    let mut stream = TcpStream::connect(collector.address).unwrap();
    // It may be cut off before all is written.
    let _ = stream.write_all(bytes);
    read_to_end(&mut stream);
}

async fn ended(collector: &Collector, reason: &str, count: u64) {
    eventually(reason, async || {
        let ended = Figures::of(collector).await.ended(reason);
        assert!(ended <= count, "{reason}: {ended}");
        (ended == count).then_some(())
    })
    .await;
}

#[tokio::test]
async fn each_is_counted_once_by_its_reason() {
    let home = tempfile::tempdir().unwrap();
    let keys = ["good", "revoked"].map(|name| list(home.path(), name));
    let options = ["--web-listen", "127.0.0.1:0", "--authorized", "directory"];
    let mut collector = Collector::start(home.path(), &options).await;
    let figures = Figures::of(&collector).await;
    let reasons = [
        "closed",
        "not_authorized",
        "revoked",
        "other_protocol",
        "malformed",
        "forged",
        "too_large",
        "unfinished",
        "silent",
        "handshake_timeout",
        "crowded",
        "handshake_rate",
        "full",
        "key_full",
        "internal",
    ];
    for reason in reasons {
        assert_eq!(figures.ended(reason), 0, "{reason}");
    }

    says(&collector, b"GET / HTTP/1.1\r\n\r\n");
    ended(&collector, "other_protocol", 1).await;

    let command = b"\x04\x08\x07UNKNOWN";
    says(&collector, &[&greeting()[..], command].concat());
    ended(&collector, "malformed", 1).await;

    let other = KeyPair::generate().unwrap();
    let stream = TcpStream::connect(collector.address).unwrap();
    let mut deceived = Socket::over(stream, keys[0].clone(), other.public);
    assert_eq!(deceived.ended(), CLOSED);
    ended(&collector, "forged", 1).await;

    let refused = connected(&collector, &other).ended();
    assert_eq!(refused, "the peer refused the connection: 400");
    ended(&collector, "not_authorized", 1).await;

    let mut large = connected(&collector, &keys[0]);
    large.up();
    let _ = large.send_on(&[&vec![b' '; 1024 * 1024 + 1]]);
    assert_eq!(large.ended(), CLOSED);
    ended(&collector, "too_large", 1).await;

    let mut silent = connected(&collector, &keys[0]).with_heartbeat(HeartbeatOptions {
        interval: Some(Duration::from_millis(20)),
        ttl: Duration::from_millis(500),
        ..QUIET
    });
    silent.up();
    // Its PING was answered, so that the collector knows how long it may be silent.
    silent.read_more(1);
    ended(&collector, "silent", 1).await;

    let mut revoked = connected(&collector, &keys[1]);
    revoked.up();
    remove_file(home.path().join(".curve/authorized_agents/revoked.key")).unwrap();
    assert_eq!(revoked.ended(), CLOSED);
    ended(&collector, "revoked", 1).await;

    let mut good = connected(&collector, &keys[0]);
    good.up();
    let beginning = TcpStream::connect(collector.address).unwrap();
    eventually("both are counted", async || {
        let figures = Figures::of(&collector).await;
        ((figures.connections(), figures.handshakes()) == (2, 1)).then_some(())
    })
    .await;
    drop((good, beginning));
    ended(&collector, "closed", 2).await;

    let figures = Figures::of(&collector).await;
    assert_eq!((figures.connections(), figures.handshakes()), (0, 0));
    for reason in reasons {
        let expected = match reason {
            "closed" => 2,
            "unfinished" | "handshake_timeout" | "crowded" | "handshake_rate" | "full"
            | "key_full" | "internal" => 0,
            _ => 1,
        };
        assert_eq!(figures.ended(reason), expected, "{reason}");
    }
    collector.stop().await;
}
