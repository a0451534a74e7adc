//! Our ROUTER: with libzmq's DEALER, and with our own.

use std::io::{ErrorKind, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use metrics_agent::curve::context::{Context, TransportError};
use metrics_agent::curve::dealer::DealerEvent;
use metrics_agent::curve::frames::Received;
use metrics_agent::curve::keys::KeyPair;
use metrics_agent::curve::router::{
    Listen, MAX_FRAME_BYTES, Router, RouterOptions, RoutingIdBytes, SendError,
};
use serde_json::json;
use tokio::time::timeout;

use crate::curve_dealer::{connect, event, local, up};
use crate::support::peer::{PATIENCE, Peer, hex};

/// A router on a free port of 127.0.0.1, and its key.
fn bound(context: &Context) -> (Router, String) {
    bound_on(context, local(0).into())
}

fn bound_on(context: &Context, listen: Listen) -> (Router, String) {
    let keys = KeyPair::generate().unwrap();
    let options = RouterOptions {
        listen,
        keys: &keys,
        domain: None,
    };
    let router = Router::bind(context, options).unwrap();
    (router, keys.public.to_string())
}

async fn received(router: &mut Router) -> (RoutingIdBytes, Received) {
    let received = timeout(PATIENCE, router.receive()).await;
    received.expect("something arrives").unwrap()
}

/// The next message: its sender, its frames as text.
async fn message(router: &mut Router) -> (RoutingIdBytes, Vec<String>) {
    match received(router).await {
        (from, Received::Message(frames)) => {
            let text = |frame: &[u8]| String::from_utf8(frame.to_vec()).unwrap();
            (from, frames.iter().map(text).collect())
        }
        other => panic!("expected a message: {other:?}"),
    }
}

async fn peer(address: SocketAddr, key: &str, id: &[u8]) -> Peer {
    let mut peer = Peer::dealer();
    let address = format!("tcp://{address}");
    let connect = json!({"do": "connect", "address": address, "server": key, "id": hex(id)});
    peer.ask(connect).await;
    peer
}

#[tokio::test]
async fn serves_both_families() {
    let context = Context::new().unwrap();
    let (mut router, key) = bound_on(&context, Listen::Any { port: 0 });
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
        let (_, frames) = peer.message().await;
        assert_eq!(frames, [b"CTRL".to_vec(), b"model".to_vec()]);
    }
}

#[tokio::test]
async fn names_the_address_of_a_peer() {
    let context = Context::new().unwrap();
    let (mut router, key) = bound(&context);
    let mut peer = peer(router.address(), &key, b"a").await;
    peer.send(None, &[b"x"]).await;
    let (_, Received::Message(mut frames)) = received(&mut router).await else {
        panic!("expected a message");
    };
    assert_eq!(frames.peer_address(), Some("127.0.0.1"));
    assert_eq!((frames.len(), frames.bytes()), (1, 1));
}

#[tokio::test]
async fn a_new_connection_takes_over_its_routing_id() {
    let context = Context::new().unwrap();
    let (mut router, key) = bound(&context);
    let mut old = peer(router.address(), &key, b"SAME").await;
    old.send(None, &[b"old"]).await;
    assert_eq!(message(&mut router).await.1, ["old"]);
    let mut new = peer(router.address(), &key, b"SAME").await;
    new.send(None, &[b"new"]).await;
    let (from, frames) = message(&mut router).await;
    assert_eq!(
        (&*from, frames),
        (b"SAME".as_slice(), vec!["new".to_owned()])
    );
    router.try_send(b"SAME", &[b"to the new one"]).unwrap();
    assert_eq!(new.message().await.1, [b"to the new one"]);
    assert_eq!(old.count().await, 0);
}

#[tokio::test]
async fn bounds_the_size_of_a_frame() {
    let context = Context::new().unwrap();
    let (mut router, key) = bound(&context);
    let mut peer = peer(router.address(), &key, b"big").await;
    let mut frame = vec![b'x'; usize::try_from(MAX_FRAME_BYTES).unwrap()];
    peer.send(None, &[b"METR", &frame]).await;
    assert_eq!(message(&mut router).await.1[1].len(), frame.len());
    frame.push(b'x');
    peer.send(None, &[b"METR", &frame]).await;
    peer.link("DISCONNECTED").await;
    // The peer comes back (libzmq does by itself) and is served.
    peer.link("HANDSHAKE_SUCCEEDED").await;
    peer.send(None, &[b"small"]).await;
    assert_eq!(message(&mut router).await.1, ["small"]);
}

#[tokio::test]
async fn bounds_the_frames_of_a_message() {
    let context = Context::new().unwrap();
    let (mut router, key) = bound(&context);
    let mut peer = peer(router.address(), &key, b"many").await;
    peer.send(None, &[b"f".as_slice(); 9]).await;
    peer.send(None, &[b"f".as_slice(); 8]).await;
    match received(&mut router).await {
        (from, Received::TooManyFrames { found: 9 }) => assert_eq!(&*from, b"many"),
        other => panic!("expected too many frames: {other:?}"),
    }
    assert_eq!(message(&mut router).await.1.len(), 8);
}

#[tokio::test]
async fn a_client_with_a_wrong_server_key_gets_nowhere() {
    let context = Context::new().unwrap();
    let (mut router, key) = bound(&context);
    let wrong = KeyPair::generate().unwrap().public.to_string();
    let mut stranger = peer(router.address(), &wrong, b"stranger").await;
    stranger.tell(&json!({"do": "send", "frames": ["00"]}));
    stranger.link("DISCONNECTED").await;
    let mut friend = peer(router.address(), &key, b"friend").await;
    friend.send(None, &[b"hello"]).await;
    let (from, frames) = message(&mut router).await;
    assert_eq!(
        (&*from, frames),
        (b"friend".as_slice(), vec!["hello".to_owned()])
    );
    assert!(router.try_receive().unwrap().is_none());
}

#[tokio::test]
async fn a_peer_that_is_gone_is_unknown() {
    let context = Context::new().unwrap();
    let (mut router, key) = bound(&context);
    assert_eq!(
        router.try_send(b"nobody", &[b"x"]),
        Err(SendError::UnknownPeer)
    );
    assert_eq!(router.try_send(b"nobody", &[]), Err(SendError::Empty));
    let mut peer = peer(router.address(), &key, b"some").await;
    peer.send(None, &[b"x"]).await;
    message(&mut router).await;
    router.try_send(b"some", &[b"x"]).unwrap();
    peer.kill();
    timeout(PATIENCE, async {
        while router.try_send(b"some", &[b"x"]) != Err(SendError::UnknownPeer) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("the peer is forgotten");
}

#[tokio::test]
async fn a_peer_that_does_not_read_is_refused() {
    let context = Context::new().unwrap();
    let (mut router, key) = bound(&context);
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
    message(&mut router).await;
    let big = vec![0; 256 * 1024];
    let mut accepted = 0;
    let mut refused = 0;
    while refused < 20 {
        match router.try_send(b"slow", &[&big]) {
            Ok(()) => (accepted, refused) = (accepted + 1, 0),
            Err(error) => {
                assert_eq!(error, SendError::WouldBlock);
                refused += 1;
                tokio::time::sleep(Duration::from_millis(10)).await;
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
    let context = Context::new().unwrap();
    let (mut router, key) = bound(&context);
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

#[tokio::test]
async fn says_why_it_cannot_listen() {
    let context = Context::new().unwrap();
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
        let options = RouterOptions {
            listen,
            keys: &keys,
            domain: None,
        };
        let error = Router::bind(&context, options).unwrap_err();
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
    let context = Context::new().unwrap();
    let (mut router, key) = bound(&context);
    let mut dealer = connect(&context, router.address(), &key);
    up(&mut dealer).await;
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
                let Some(more) = router.try_receive().unwrap() else {
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
    router.try_send(&from, &[b"CTRL", b"ping"]).unwrap();
    match event(&mut dealer).await {
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
