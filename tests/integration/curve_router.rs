//! Our ROUTER: with libzmq's DEALER, and with our own.

use std::collections::HashSet;
use std::io::{ErrorKind, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use metrics_agent::curve::dealer::{DealerEvent, HandshakeFailure, LinkDownCause};
use metrics_agent::curve::keys::{KeyPair, PublicKey};
use metrics_agent::curve::router::{
    Arrived, Failure, Listen, MAX_FRAME_BYTES, Origin, Router, RouterOptions, RoutingIdBytes,
    Verdict,
};
use metrics_agent::curve::zmtp::message::Received;
use metrics_agent::curve::{SendError, TransportError};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;
use tokio::time::timeout;

use crate::curve_dealer::{connect, event, local, up};
use crate::support::peer::{PATIENCE, Peer, hex};

/// A router on a free port of 127.0.0.1, and its key.
fn bound() -> (Router, String) {
    bound_on(local(0).into())
}

fn bound_on(listen: Listen) -> (Router, String) {
    let keys = KeyPair::generate().unwrap();
    let router = Router::bind(RouterOptions {
        listen,
        keys: &keys,
        connections: usize::MAX,
    });
    (router.unwrap(), keys.public.to_string())
}

async fn arrived(router: &mut Router) -> Arrived {
    let arrived = timeout(PATIENCE, router.receive()).await;
    arrived.expect("something arrives").unwrap()
}

/// What is received next; everybody is let in.
async fn received(router: &mut Router) -> (Origin, Received) {
    loop {
        match arrived(router).await {
            Arrived::Message(from, received) => return (from, received),
            Arrived::Knock(peer) => router.answer(Instant::now(), &peer, Verdict::Allow),
            Arrived::Failed { .. } => {}
        }
    }
}

/// What arrives now; everybody is let in.
fn received_now(router: &mut Router) -> Option<(Origin, Received)> {
    loop {
        match router.try_receive().unwrap()? {
            Arrived::Message(from, received) => return Some((from, received)),
            Arrived::Knock(peer) => router.answer(Instant::now(), &peer, Verdict::Allow),
            Arrived::Failed { .. } => {}
        }
    }
}

/// The next message: its sender, its frames as text.
async fn message(router: &mut Router) -> (RoutingIdBytes, Vec<String>) {
    match received(router).await {
        (from, Received::Message(frames)) => {
            let text = |frame: &[u8]| String::from_utf8(frame.to_vec()).unwrap();
            (from.id, frames.iter().map(text).collect())
        }
        other => panic!("expected a message: {other:?}"),
    }
}

/// Waits for something else meanwhile; every peer is let in, and none sends a message.
async fn driving<T>(router: &mut Router, other: impl Future<Output = T>) -> T {
    let mut other = std::pin::pin!(other);
    loop {
        tokio::select! {
            value = &mut other => return value,
            arrived = router.receive() => match arrived.unwrap() {
                Arrived::Knock(peer) => router.answer(Instant::now(), &peer, Verdict::Allow),
                Arrived::Failed { .. } => {}
                Arrived::Message(from, received) => panic!("{from:?}: {received:?}"),
            },
        }
    }
}

async fn peer(address: SocketAddr, key: &str, id: &[u8]) -> Peer {
    let mut peer = Peer::dealer();
    let address = format!("tcp://{address}");
    let connect = json!({"do": "connect", "address": address, "server": key, "id": hex(id)});
    peer.ask(connect).await;
    peer
}

/// A peer that was told to connect, and its key.
async fn peer_with_key(address: SocketAddr, server: &str) -> (Peer, PublicKey) {
    let mut peer = Peer::dealer();
    let keys = peer.ask(json!({"do": "keys"})).await;
    let address = format!("tcp://{address}");
    let connect = json!({"do": "connect", "address": address, "server": server});
    peer.ask(connect).await;
    (peer, keys["public"].as_str().unwrap().parse().unwrap())
}

#[tokio::test]
async fn serves_both_families() {
    let (mut router, key) = bound_on(Listen::Any { port: 0 });
    let port = router.address().port();
    assert!(router.address().ip().is_unspecified());
    assert_ne!(port, 0);
    let six = SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], port));
    for (address, id) in [(local(port), "four"), (six, "six")] {
        let mut peer = peer(address, &key, id.as_bytes()).await;
        peer.send(None, &[b"CTRL", b"hello"]).await;
        let (from, frames) = message(&mut router).await;
        assert_eq!(from.to_string(), id);
        assert_eq!(frames, ["CTRL", "hello"]);
        router.try_send(&from, &[b"CTRL", b"model"]).unwrap();
        let (_, frames) = driving(&mut router, peer.message()).await;
        assert_eq!(frames, [b"CTRL".to_vec(), b"model".to_vec()]);
    }
}

#[tokio::test]
async fn every_message_carries_its_senders_key_and_address() {
    let (mut router, server) = bound();
    let (mut peer, key) = peer_with_key(router.address(), &server).await;
    let Arrived::Knock(knock) = arrived(&mut router).await else {
        panic!("expected a knock");
    };
    assert_eq!((knock.key, knock.address), (key, local(0).ip()));
    router.answer(Instant::now(), &knock, Verdict::Allow);
    driving(&mut router, peer.link("HANDSHAKE_SUCCEEDED")).await;
    for word in [b"one", b"two"] {
        peer.send(None, &[word, b"x"]).await;
        let (from, Received::Message(frames)) = received(&mut router).await else {
            panic!("expected a message");
        };
        assert_eq!(from, knock);
        assert_eq!(frames.as_slices(), [&word[..], b"x"]);
    }
}

#[tokio::test]
async fn a_peer_that_is_denied_learns_it_and_is_not_heard() {
    let (mut router, server) = bound();
    let (mut denied, key) = peer_with_key(router.address(), &server).await;
    denied.tell(&json!({"do": "send", "frames": ["00"]}));
    let Arrived::Knock(knock) = arrived(&mut router).await else {
        panic!("expected a knock");
    };
    assert_eq!(knock.key, key);
    router.answer(Instant::now(), &knock, Verdict::Deny);
    denied.link("HANDSHAKE_FAILED_AUTH").await;

    let mut ours = connect(router.address(), &server);
    let answer = async {
        let Arrived::Knock(knock) = arrived(&mut router).await else {
            panic!("expected a knock");
        };
        router.answer(Instant::now(), &knock, Verdict::Deny);
    };
    let (told, ()) = tokio::join!(event(&mut ours), answer);
    match told {
        DealerEvent::LinkDown(LinkDownCause::HandshakeFailed(HandshakeFailure::Refused(
            status,
        ))) => {
            assert_eq!(&*status, "400");
        }
        other => panic!("expected a refusal: {other:?}"),
    }

    let mut friend = peer(router.address(), &server, b"friend").await;
    friend.send(None, &[b"hello"]).await;
    assert_eq!(message(&mut router).await.1, ["hello"]);
    assert!(received_now(&mut router).is_none());
}

#[tokio::test]
async fn no_peer_is_let_in_without_an_answer() {
    let (mut router, server) = bound();
    let (mut early, _) = peer_with_key(router.address(), &server).await;
    let Arrived::Knock(unanswered) = arrived(&mut router).await else {
        panic!("expected a knock");
    };
    early.tell(&json!({"do": "send", "frames": ["00"]}));
    let mut other = peer(router.address(), &server, b"other").await;
    other.send(None, &[b"other"]).await;
    assert_eq!(message(&mut router).await.1, ["other"]);
    // An answer for one who has gone is no trouble.
    early.kill();
    other.kill();
    let late = peer(router.address(), &server, b"late");
    let mut late = driving(&mut router, late).await;
    driving(&mut router, late.link("HANDSHAKE_SUCCEEDED")).await;
    router.answer(Instant::now(), &unanswered, Verdict::Allow);
    late.send(None, &[b"late"]).await;
    assert_eq!(message(&mut router).await.1, ["late"]);
}

/// A whole fleet at once, each with a key of its own.
#[tokio::test]
async fn a_flood_of_handshakes_is_answered() {
    const COUNT: usize = 1_000;
    let (mut router, server) = bound();
    let mut crowd = Peer::dealer();
    let address = format!("tcp://{}", router.address());
    let connecting = crowd.ask(
        json!({"do": "crowd", "address": address, "server": server, "count": COUNT,
               "frames": ["00"]}),
    );
    let hear_all = async {
        let mut keys = HashSet::new();
        while keys.len() < COUNT {
            keys.insert(received(&mut router).await.0.key);
        }
    };
    let heard = async { tokio::join!(connecting, hear_all) };
    timeout(4 * PATIENCE, heard).await.expect("all are heard");
    assert_eq!(router.connections(), COUNT);
}

/// A routing id is whatever a peer says: who takes another's gets nothing of it.
#[tokio::test]
async fn two_connections_with_one_routing_id_are_two() {
    let (mut router, key) = bound();
    let mut old = peer(router.address(), &key, b"SAME").await;
    old.send(None, &[b"old"]).await;
    let (first, frames) = message(&mut router).await;
    assert_eq!(frames, ["old"]);
    let mut new = peer(router.address(), &key, b"SAME").await;
    new.send(None, &[b"new"]).await;
    let (second, frames) = message(&mut router).await;
    assert_eq!(frames, ["new"]);
    assert_eq!((&*first, &*second), (&b"SAME"[..], &b"SAME"[..]));
    assert_ne!(first, second);
    for (id, peer, word) in [(first, &mut old, b"first_"), (second, &mut new, b"second")] {
        router.try_send(&id, &[word]).unwrap();
        let (_, frames) = driving(&mut router, peer.message()).await;
        assert_eq!(frames, [word]);
    }
    assert_eq!((old.count().await, new.count().await), (1, 1));
}

#[tokio::test]
async fn a_review_ends_the_connections_of_keys_that_are_not_allowed() {
    let (mut router, server) = bound();
    let mut peers = Vec::new();
    for word in [b"revoked", b"allowed"] {
        let (mut peer, key) = peer_with_key(router.address(), &server).await;
        peer.send(None, &[word]).await;
        let (from, _) = received(&mut router).await;
        assert_eq!(from.key, key);
        peers.push((peer, key));
    }
    let revoked = peers[0].1;
    router.review(&mut |key| *key != revoked);
    let (peer, _) = &mut peers[0];
    driving(&mut router, peer.link("DISCONNECTED")).await;
    let (peer, key) = &mut peers[1];
    peer.send(None, &[b"still"]).await;
    let (from, _) = received(&mut router).await;
    assert_eq!(from.key, *key);
}

#[tokio::test]
async fn bounds_the_size_of_a_frame() {
    let (mut router, key) = bound();
    let mut peer = peer(router.address(), &key, b"big").await;
    let mut frame = vec![b'x'; MAX_FRAME_BYTES];
    peer.send(None, &[b"METR", &frame]).await;
    assert_eq!(message(&mut router).await.1[1].len(), frame.len());
    frame.push(b'x');
    peer.send(None, &[b"METR", &frame]).await;
    match arrived(&mut router).await {
        Arrived::Failed {
            origin: Some(_),
            why: Failure::Violation(violation),
            ..
        } => assert_eq!(
            violation.to_string(),
            "the peer announces a frame of 1048610 bytes; at most 1048609 are accepted here"
        ),
        other => panic!("expected a violation: {other:?}"),
    }
    // The peer comes back (libzmq does by itself) and is served.
    driving(&mut router, peer.link("HANDSHAKE_SUCCEEDED")).await;
    peer.send(None, &[b"small"]).await;
    assert_eq!(message(&mut router).await.1, ["small"]);
}

#[tokio::test]
async fn bounds_the_frames_of_a_message() {
    let (mut router, key) = bound();
    let mut peer = peer(router.address(), &key, b"many").await;
    peer.send(None, &[b"f".as_slice(); 9]).await;
    peer.send(None, &[b"f".as_slice(); 8]).await;
    match received(&mut router).await {
        (from, Received::TooManyFrames { found: 9 }) => assert_eq!(&*from.id, b"many"),
        other => panic!("expected too many frames: {other:?}"),
    }
    assert_eq!(message(&mut router).await.1.len(), 8);
}

#[tokio::test]
async fn a_client_with_a_wrong_server_key_gets_nowhere() {
    let (mut router, key) = bound();
    let wrong = KeyPair::generate().unwrap().public.to_string();
    let mut stranger = peer(router.address(), &wrong, b"stranger").await;
    stranger.tell(&json!({"do": "send", "frames": ["00"]}));
    match arrived(&mut router).await {
        Arrived::Failed {
            origin: None,
            address,
            why: Failure::Violation(violation),
        } => {
            let text = "the peer's HELLO was made with another key or changed on its way";
            assert_eq!((address, &*violation.to_string()), (local(0).ip(), text));
        }
        other => panic!("expected a violation: {other:?}"),
    }
    driving(&mut router, stranger.link("DISCONNECTED")).await;
    let mut friend = peer(router.address(), &key, b"friend").await;
    friend.send(None, &[b"hello"]).await;
    let (from, frames) = message(&mut router).await;
    assert_eq!(
        (&*from, frames),
        (b"friend".as_slice(), vec!["hello".to_owned()])
    );
    assert!(received_now(&mut router).is_none());
}

#[tokio::test]
async fn a_peer_that_is_gone_is_unknown() {
    let (mut router, key) = bound();
    let unknown = RoutingIdBytes::from(&b"nobody"[..]);
    assert_eq!(
        router.try_send(&unknown, &[b"x"]),
        Err(SendError::UnknownPeer)
    );
    assert_eq!(router.try_send(&unknown, &[]), Err(SendError::Empty));
    let mut peer = peer(router.address(), &key, b"some").await;
    peer.send(None, &[b"x"]).await;
    let (id, _) = message(&mut router).await;
    router.try_send(&id, &[b"x"]).unwrap();
    peer.kill();
    timeout(PATIENCE, async {
        while router.try_send(&id, &[b"x"]) != Err(SendError::UnknownPeer) {
            let pause = tokio::time::sleep(Duration::from_millis(5));
            driving(&mut router, pause).await;
        }
    })
    .await
    .expect("the peer is forgotten");
    assert_eq!(router.connections(), 0);
}

#[tokio::test]
async fn a_peer_that_does_not_read_is_refused() {
    let (mut router, key) = bound();
    let mut peer = Peer::dealer();
    let address = format!("tcp://{}", router.address());
    let options = json!({"RCVHWM": 1, "RCVBUF": 65536});
    peer.ask(json!({"do": "reading", "on": false})).await;
    let id = hex(b"slow");
    peer.ask(
        json!({"do": "connect", "address": address, "server": key, "id": id,
                    "options": options}),
    )
    .await;
    peer.send(None, &[b"x"]).await;
    let (id, _) = message(&mut router).await;
    let big = vec![0; 256 * 1024];
    let mut accepted = 0;
    let mut refused = 0;
    while refused < 20 {
        match router.try_send(&id, &[&big]) {
            Ok(()) => (accepted, refused) = (accepted + 1, 0),
            Err(error) => {
                assert_eq!(error, SendError::WouldBlock);
                refused += 1;
                let pause = tokio::time::sleep(Duration::from_millis(10));
                driving(&mut router, pause).await;
            }
        }
        assert!(
            accepted < 400,
            "100 MiB were accepted of which not a byte was read"
        );
    }
}

#[tokio::test]
async fn strangers_do_not_disturb() {
    let (mut router, key) = bound();
    let noise: Vec<u8> = {
        let mut rng = fastrand::Rng::with_seed(3);
        (0..10_000).map(|_| rng.u8(..)).collect()
    };
    let mut open = Vec::new();
    for bytes in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &noise,
        &[0xFF; 64],
        b"",
        b"\xFF",
    ] {
        for _ in 0..10 {
            let mut stream = TcpStream::connect(router.address()).unwrap();
            // It may hang up on us.
            let _ = stream.write_all(bytes);
            open.push(stream);
        }
    }
    let mut friend = peer(router.address(), &key, b"friend").await;
    friend.send(None, &[b"hello"]).await;
    assert_eq!(message(&mut router).await.1, ["hello"]);
}

/// After a pause of the process or of the machine, what has come meanwhile is heard first.
#[tokio::test]
async fn a_peer_that_has_spoken_during_a_pause_is_not_silent() {
    let (mut router, key) = bound();
    let mut peer = Peer::dealer();
    let address = format!("tcp://{}", router.address());
    let options = json!({"HEARTBEAT_IVL": 50, "HEARTBEAT_TTL": 2_000, "HEARTBEAT_TIMEOUT": 60_000});
    let connect = json!({"do": "connect", "address": address, "server": key, "id": hex(b"a"),
                         "options": options});
    peer.ask(connect).await;
    peer.send(None, &[b"first"]).await;
    assert_eq!(message(&mut router).await.1, ["first"]);
    // Some PINGs are heard, with the time that it may be silent.
    driving(&mut router, tokio::time::sleep(Duration::from_millis(300))).await;
    // Far longer than that, the router does not read.
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    peer.send(None, &[b"second"]).await;
    assert_eq!(message(&mut router).await.1, ["second"]);
    assert_eq!(router.connections(), 1);
    assert!(!peer.links().await.contains(&"DISCONNECTED".to_owned()));
    // And one that stands still is.
    peer.stop();
    match arrived(&mut router).await {
        Arrived::Failed {
            why: Failure::Violation(violation),
            ..
        } => assert!(
            violation.to_string().contains("was silent for"),
            "{violation}"
        ),
        other => panic!("expected a violation: {other:?}"),
    }
}

/// Far more than may be in their handshake at a time, and none of them goes on.
#[tokio::test]
async fn strangers_crowd_out_each_other_and_nobody_else() {
    const STRANGERS: usize = 4_500;
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, raised).unwrap();
    let (mut router, key) = bound();
    let mut known = peer(router.address(), &key, b"known").await;
    known.send(None, &[b"first"]).await;
    assert_eq!(message(&mut router).await.1, ["first"]);
    let address = router.address();
    let mut strangers = Vec::new();
    while strangers.len() < STRANGERS {
        let stream = tokio::net::TcpStream::connect(address);
        let stream = driving(&mut router, stream).await.unwrap();
        // The beginning of a greeting, of as many as may begin in a second.
        if strangers.len() % 9 == 0 {
            let _ = stream.try_write(b"\xFF\0\0\0\0\0\0\0\0\x7F\x03");
        }
        strangers.push(stream);
    }
    let mut friend = peer(address, &key, b"friend").await;
    friend.send(None, &[b"hello"]).await;
    assert_eq!(message(&mut router).await.1, ["hello"]);
    known.send(None, &[b"second"]).await;
    assert_eq!(message(&mut router).await.1, ["second"]);
    // 4,096 of them, and the two who were let in.
    assert!(router.connections() <= 4098, "{}", router.connections());
}

#[tokio::test]
async fn says_why_it_cannot_listen() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().map(|address| (taken, address)).unwrap();
    let foreign: SocketAddr = "192.0.2.1:5556".parse().unwrap();
    let cases = [
        (Listen::Address(taken.1), taken.1.to_string()),
        (foreign.into(), foreign.to_string()),
        (
            Listen::Any {
                port: taken.1.port(),
            },
            format!("*:{}", taken.1.port()),
        ),
    ];
    for (listen, named) in cases {
        let keys = KeyPair::generate().unwrap();
        let error = Router::bind(RouterOptions {
            listen,
            keys: &keys,
            connections: usize::MAX,
        });
        let error = error.unwrap_err();
        let TransportError::Bind { address, source } = &error else {
            panic!("{error}");
        };
        assert_eq!(*address, named);
        let expected = if listen == foreign.into() {
            ErrorKind::AddrNotAvailable
        } else {
            ErrorKind::AddrInUse
        };
        assert_eq!(source.kind(), expected, "{listen}");
        assert!(
            error
                .to_string()
                .starts_with(&format!("cannot listen on {named}: ")),
            "{error}"
        );
    }
}

/// Our two ends together, in a burst: a queue of 16 on one side, batches on the
/// other.
#[tokio::test]
async fn both_ends_are_ours() {
    const COUNT: usize = 10_000;
    let (mut router, key) = bound();
    let mut dealer = connect(router.address(), &key);
    driving(&mut router, up(&mut dealer)).await;
    let send = async {
        let mut number = 0;
        while number < COUNT {
            match dealer.try_send(&[b"METR", number.to_string().as_bytes()]) {
                Ok(()) => number += 1,
                Err(error) => {
                    assert_eq!(error, SendError::WouldBlock);
                    tokio::task::yield_now().await;
                }
            }
        }
    };
    let receive = async {
        let (mut next, mut from) = (0, None);
        while next < COUNT {
            let mut batch = vec![received(&mut router).await];
            while batch.len() < 64 {
                let Some(more) = received_now(&mut router) else {
                    break;
                };
                batch.push(more);
            }
            for (sender, received) in batch {
                let Received::Message(frames) = received else {
                    panic!("{received:?}");
                };
                assert_eq!(frames.as_slices(), [b"METR", next.to_string().as_bytes()]);
                next += 1;
                from = Some(sender);
            }
        }
        from.unwrap()
    };
    let ((), from) = tokio::join!(send, receive);
    router.try_send(&from.id, &[b"CTRL", b"ping"]).unwrap();
    match driving(&mut router, event(&mut dealer)).await {
        DealerEvent::Received(Received::Message(frames)) => {
            assert_eq!(frames.get(1), Some(b"ping".as_slice()));
        }
        other => panic!("expected a message: {other:?}"),
    }
    drop(router);
    match event(&mut dealer).await {
        DealerEvent::LinkDown(_) => {}
        other => panic!("expected the link to go down: {other:?}"),
    }
}
