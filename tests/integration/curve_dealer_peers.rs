//! Our DEALER and what it may meet: libzmq's ROUTER with each shape of message, with heartbeats,
//! standing still; servers with another mechanism, another key, another protocol; ends at any byte of
//! the handshake.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread::{JoinHandle, spawn};
use std::time::Duration;

use metrics_agent::curve::dealer::{
    Dealer, DealerEvent, DealerOptions, HandshakeFailure, LinkDownCause, MAX_FRAME_BYTES,
    MAX_VIEW_FRAME_BYTES, RoutingId, Suspect,
};
use metrics_agent::curve::keys::KeyPair;
use metrics_agent::curve::timing::{HEARTBEAT_INTERVAL, HEARTBEAT_TIMEOUT};
use metrics_agent::curve::zmtp::connection::Awaits;
use metrics_agent::curve::zmtp::message::Received;
use metrics_agent::curve::zmtp::{Command, Violation};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::curve_dealer::{connect, connect_as, event, local, up};
use crate::curve_dealer_failures::{any_key, disconnected, handshake_failure};
use crate::curve_zmtp::shapes;
use crate::support::peer::Peer;
use crate::support::zmtp::Frames;

/// What a message may have besides one large frame, in bytes.
const BESIDE: usize = 4096;

/// A ROUTER of pyzmq's with these options, and a link to it that is up.
async fn linked(options: Value) -> (Peer, Dealer, RoutingId) {
    let mut peer = Peer::router();
    let bound = peer.ask(json!({"do": "bind", "options": options})).await;
    let port = bound["port"].as_u64().unwrap().try_into().unwrap();
    let id = RoutingId::random();
    let mut dealer = connect_as(local(port), bound["public"].as_str().unwrap(), id);
    up(&mut dealer).await;
    (peer, dealer, id)
}

async fn message(dealer: &mut Dealer) -> Frames {
    match event(dealer).await {
        DealerEvent::Received(Received::Message(frames)) => {
            frames.iter().map(<[u8]>::to_vec).collect()
        }
        other => panic!("expected a message: {other:?}"),
    }
}

/// Why the link is down, which is what happens next.
async fn ended(dealer: &mut Dealer) -> String {
    match event(dealer).await {
        DealerEvent::LinkDown(cause) => cause.to_string(),
        DealerEvent::Received(_) => panic!("a message was taken"),
        other => panic!("expected the link to go down: {other:?}"),
    }
}

/// There and, where the bounds of this end have room for it, back again.
async fn echoed(peer: &mut Peer, dealer: &mut Dealer, id: RoutingId, shape: &Frames, bound: usize) {
    let frames: Vec<&[u8]> = shape.iter().map(Vec::as_slice).collect();
    // What the kernel does not take leaves while events are waited for.
    dealer.try_send(&frames).unwrap();
    let (from, there) = tokio::select! {
        there = peer.message() => there,
        event = dealer.event() => panic!("{event:?}"),
    };
    assert!(from == id.as_str().as_bytes() && there == *shape);
    let total: usize = shape.iter().map(Vec::len).sum();
    if shape.iter().all(|frame| frame.len() <= bound) && total <= bound + BESIDE {
        let back = peer.send(Some(&from), &frames);
        let (back, ()) = tokio::join!(message(dealer), back);
        assert!(back == *shape);
    }
}

#[tokio::test]
async fn every_shape_goes_both_ways_up_to_the_bounds() {
    let (mut peer, mut dealer, id) = linked(json!({})).await;
    let whole = |bound: usize| -> [Frames; 2] {
        let frame = vec![b'x'; bound];
        [
            vec![frame.clone(), vec![b'y'; BESIDE]],
            vec![Vec::new(), frame, Vec::new()],
        ]
    };
    for shape in shapes().iter().chain(&whole(MAX_FRAME_BYTES)) {
        echoed(&mut peer, &mut dealer, id, shape, MAX_FRAME_BYTES).await;
    }
    // A byte more than a message may have, of frames that each are right.
    let frame = vec![b'x'; MAX_FRAME_BYTES];
    let beyond = [&frame[..], &[b'y'; BESIDE + 1]];
    peer.send(Some(id.as_str().as_bytes()), &beyond).await;
    let text = "the peer's message has more than 69632 bytes";
    assert_eq!(ended(&mut dealer).await, text);

    // A viewer's bounds.
    let (mut peer, port, key) = Peer::bound_router().await;
    let options = DealerOptions {
        address: local(port),
        server_key: key.parse().unwrap(),
        keys: &KeyPair::generate().unwrap(),
        routing_id: RoutingId::random(),
    };
    let mut viewer = Dealer::connect_to_view(options).unwrap();
    up(&mut viewer).await;
    viewer.try_send(&[b"CTRL", b"hello"]).unwrap();
    let (from, _) = peer.message().await;
    for shape in shapes().iter().chain(&whole(MAX_VIEW_FRAME_BYTES)) {
        let total: usize = shape.iter().map(Vec::len).sum();
        if total > MAX_VIEW_FRAME_BYTES + BESIDE {
            continue;
        }
        let frames: Vec<&[u8]> = shape.iter().map(Vec::as_slice).collect();
        let back = peer.send(Some(&from), &frames);
        let (back, ()) = tokio::join!(message(&mut viewer), back);
        assert!(back == *shape);
    }
    let frame = vec![b'x'; MAX_VIEW_FRAME_BYTES + 1];
    peer.send(Some(&from), &[&frame]).await;
    let text = "the peer announces a frame of 1048610 bytes; at most 1048609 are accepted here";
    assert_eq!(ended(&mut viewer).await, text);
}

/// Nothing happens to the link for as long as it takes our heartbeat to notice that a peer is gone,
/// and then it still is the first one, both ways.
async fn lasts(options: Value) {
    let (mut peer, mut dealer, id) = linked(options).await;
    let more = timeout(HEARTBEAT_INTERVAL + HEARTBEAT_TIMEOUT, dealer.event()).await;
    assert!(more.is_err(), "{more:?}");
    echoed(&mut peer, &mut dealer, id, &vec![b"still".to_vec()], 5).await;
    let links = peer.links().await;
    assert!(
        !links.iter().any(|link| link == "DISCONNECTED"),
        "{links:?}"
    );
}

/// A ROUTER that stands still for a shorter time than our heartbeat has, and goes on.
async fn pauses() {
    let (mut peer, mut dealer, id) = linked(json!({})).await;
    peer.stop();
    dealer.try_send(&[b"sent meanwhile"]).unwrap();
    // A PING waits for its answer by then.
    let pause = HEARTBEAT_INTERVAL + Duration::from_secs(2);
    let more = timeout(pause, dealer.event()).await;
    assert!(more.is_err(), "{more:?}");
    peer.go_on();
    assert_eq!(peer.message().await.1, [b"sent meanwhile"]);
    // By now the time would be over, if the answer did not count.
    let more = timeout(HEARTBEAT_TIMEOUT, dealer.event()).await;
    assert!(more.is_err(), "{more:?}");
    echoed(&mut peer, &mut dealer, id, &vec![b"still".to_vec()], 5).await;
}

/// The same for a longer time: it is left, and found again when it goes on.
async fn stands_still() {
    let (mut peer, port, key) = Peer::bound_router().await;
    let mut old = connect(local(port), &key);
    up(&mut old).await;
    peer.stop();
    let cause = disconnected(&mut old).await;
    let is_silent = matches!(cause, LinkDownCause::Violated(Violation::Silent(_)));
    assert!(is_silent, "{cause:?}");
    peer.go_on();
    peer.link("DISCONNECTED").await;
    let mut new = connect(local(port), &key);
    up(&mut new).await;
    new.try_send(&[b"new"]).unwrap();
    assert_eq!(peer.message().await.1, [b"new"]);
}

/// All that takes its time, at once. Libzmq asks many times within each of these, and drops who does
/// not answer.
#[tokio::test]
async fn a_pause_is_no_end_and_heartbeats_keep_a_link() {
    let asks = json!({"HEARTBEAT_IVL": 200, "HEARTBEAT_TIMEOUT": 6000});
    let with_ttl = json!({"HEARTBEAT_IVL": 200, "HEARTBEAT_TIMEOUT": 6000, "HEARTBEAT_TTL": 6000});
    tokio::join!(
        lasts(json!({})),
        lasts(asks),
        lasts(with_ttl),
        pauses(),
        stands_still(),
    );
}

#[tokio::test]
async fn a_server_with_another_mechanism_is_told_by_its_name() {
    for (mechanism, options) in [("NULL", json!({})), ("PLAIN", json!({"PLAIN_SERVER": 1}))] {
        let mut peer = Peer::router();
        let bound = peer.ask(json!({"do": "plain", "options": options})).await;
        let port = bound["port"].as_u64().unwrap().try_into().unwrap();
        let failure = handshake_failure(&mut connect(local(port), &any_key())).await;
        let text = format!("the peer wants the mechanism {mechanism}, not CURVE");
        assert_eq!(failure.to_string(), text);
        assert_eq!(failure.suspect(), Suspect::Listener);
    }
}

#[tokio::test]
async fn a_key_that_is_refused_is_our_own() {
    let mut peer = Peer::router();
    peer.ask(json!({"do": "guard"})).await;
    let bound = peer.ask(json!({"do": "bind"})).await;
    let port = bound["port"].as_u64().unwrap().try_into().unwrap();
    let mut dealer = connect(local(port), bound["public"].as_str().unwrap());
    let failure = handshake_failure(&mut dealer).await;
    assert_eq!(failure.to_string(), "the peer refused our key (status 400)");
    assert_eq!(failure.suspect(), Suspect::OwnKey);
}

#[tokio::test]
async fn what_listens_there_instead_is_told_by_its_protocol() {
    let servers: [(&[u8], &str); 6] = [
        // An alert: protocol_version.
        (
            b"\x15\x03\x01\0\x02\x02\x46",
            "the peer speaks TLS, not ZMTP",
        ),
        (
            b"HTTP/1.1 400 Bad Request\r\nServer: nginx\r\n\r\n<html>",
            "the peer speaks HTTP, not ZMTP",
        ),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "the peer speaks SSH, not ZMTP"),
        (
            b"\xFF\0\0\0\0\0\0\0\x01\x7F\x01\x05\0\0",
            "the peer speaks ZMTP 2, which has no CURVE; 3.0 is needed",
        ),
        (
            b"220 mail.example.org ESMTP\r\n",
            "the peer speaks another protocol, not ZMTP",
        ),
        (&[0; 64], "the peer speaks another protocol, not ZMTP"),
    ];
    for (bytes, text) in servers {
        for closes in [false, true] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let server = spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                // When it has heard something, as most of them do.
                stream.read_exact(&mut [0; 10]).unwrap();
                stream.write_all(bytes).unwrap();
                if closes {
                    stream.shutdown(Shutdown::Write).unwrap();
                }
                stream
            });
            let failure = handshake_failure(&mut connect(address, &any_key())).await;
            assert_eq!(failure.to_string(), text);
            assert_eq!(failure.suspect(), Suspect::Listener, "{text}");
            drop(server.join().unwrap());
        }
    }
}

/// Lets one connection to `server` pass and, after so many bytes of the server's, ends it.
fn cut_after(mut bytes: usize, server: SocketAddr) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let relay = spawn(move || {
        let (mut ours, _) = listener.accept().unwrap();
        let mut theirs = TcpStream::connect(server).unwrap();
        let (mut from, mut to) = (ours.try_clone().unwrap(), theirs.try_clone().unwrap());
        let up = spawn(move || {
            // Until either is ended below.
            let _ = std::io::copy(&mut from, &mut to);
        });
        while bytes > 0 {
            let mut part = vec![0; bytes];
            let count = theirs.read(&mut part).unwrap();
            ours.write_all(&part[..count]).unwrap();
            bytes -= count;
        }
        let _ = ours.shutdown(Shutdown::Both);
        let _ = theirs.shutdown(Shutdown::Both);
        up.join().unwrap();
    });
    (address, relay)
}

/// The greeting; with the header a WELCOME; and the least that a READY has.
const GREETING: usize = 64;
const WELCOME: usize = 2 + 168;
const READY: usize = 2 + 30;

#[tokio::test]
async fn an_end_at_any_byte_of_the_handshake_tells_what_was_due() {
    let welcomed = GREETING + WELCOME;
    let stages = [
        (0, Awaits::Greeting, Suspect::Server),
        (1, Awaits::Greeting, Suspect::Server),
        (11, Awaits::Greeting, Suspect::Server),
        (GREETING - 1, Awaits::Greeting, Suspect::Server),
        (
            GREETING,
            Awaits::Command(Command::Welcome),
            Suspect::ServerKey,
        ),
        (
            GREETING + 1,
            Awaits::Command(Command::Welcome),
            Suspect::ServerKey,
        ),
        (
            welcomed - 1,
            Awaits::Command(Command::Welcome),
            Suspect::ServerKey,
        ),
        (welcomed, Awaits::Command(Command::Ready), Suspect::Server),
        (
            welcomed + 2,
            Awaits::Command(Command::Ready),
            Suspect::Server,
        ),
        (
            welcomed + READY,
            Awaits::Command(Command::Ready),
            Suspect::Server,
        ),
    ];
    let (_peer, port, key) = Peer::bound_router().await;
    for (bytes, awaited, suspect) in stages {
        let (address, relay) = cut_after(bytes, local(port));
        let failure = handshake_failure(&mut connect(address, &key)).await;
        assert!(
            matches!(failure, HandshakeFailure::Dropped(found) if found == awaited),
            "{bytes}: {failure:?}"
        );
        assert_eq!(failure.suspect(), suspect, "{bytes}");
        relay.join().unwrap();
    }
}
