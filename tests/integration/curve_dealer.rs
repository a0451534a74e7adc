//! Our DEALER and libzmq's ROUTER: what goes over a link that works.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use metrics_agent::curve::SendError;
use metrics_agent::curve::dealer::{
    Dealer, DealerEvent, DealerOptions, LinkDownCause, MAX_FRAME_BYTES, RoutingId,
};
use metrics_agent::curve::keys::KeyPair;
use metrics_agent::curve::zmtp::Violation;
use metrics_agent::curve::zmtp::message::{MAX_FRAMES, Received};
use serde_json::json;
use tokio::time::timeout;

use crate::support::peer::{PATIENCE, Peer, hex};

pub(crate) fn connect(address: SocketAddr, server_key: &str) -> Dealer {
    connect_as(address, server_key, RoutingId::random())
}

pub(crate) fn connect_as(address: SocketAddr, key: &str, routing_id: RoutingId) -> Dealer {
    let options = DealerOptions {
        address,
        server_key: key.parse().unwrap(),
        keys: &KeyPair::generate().unwrap(),
        routing_id,
    };
    Dealer::connect(options).unwrap()
}

pub(crate) fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

pub(crate) async fn event(dealer: &mut Dealer) -> DealerEvent {
    timeout(PATIENCE, dealer.event())
        .await
        .expect("something happens")
}

pub(crate) async fn up(dealer: &mut Dealer) {
    match event(dealer).await {
        DealerEvent::LinkUp => {}
        other => panic!("expected the link to come up: {other:?}"),
    }
}

/// The frames of the next message, as text.
async fn message(dealer: &mut Dealer) -> Vec<String> {
    match event(dealer).await {
        DealerEvent::Received(Received::Message(frames)) => frames
            .iter()
            .map(|frame| String::from_utf8(frame.to_vec()).unwrap())
            .collect(),
        other => panic!("expected a message: {other:?}"),
    }
}

/// A peer, a link to it that is up, and the routing id that the peer knows.
async fn linked() -> (Peer, Dealer, RoutingId) {
    let (mut peer, port, key) = Peer::bound_router().await;
    let id = RoutingId::random();
    let mut dealer = connect_as(local(port), &key, id);
    up(&mut dealer).await;
    peer.link("HANDSHAKE_SUCCEEDED").await;
    // A ROUTER can send to those that it has heard from.
    dealer.try_send(&[b"CTRL", b"hello"]).unwrap();
    let (from, frames) = peer.message().await;
    assert_eq!(from, id.as_str().as_bytes());
    assert_eq!(frames, [b"CTRL".to_vec(), b"hello".to_vec()]);
    (peer, dealer, id)
}

#[tokio::test]
async fn talks_both_ways() {
    let (mut peer, mut dealer, id) = linked().await;
    let id = id.as_str().as_bytes();
    peer.send(Some(id), &[b"CTRL", b"model"]).await;
    assert_eq!(message(&mut dealer).await, ["CTRL", "model"]);

    // Empty frames are frames.
    dealer.try_send(&[b"", b"a", b""]).unwrap();
    let (_, frames) = peer.message().await;
    assert_eq!(frames, [b"".to_vec(), b"a".to_vec(), b"".to_vec()]);
    peer.send(Some(id), &[b"", b"b", b""]).await;
    assert_eq!(message(&mut dealer).await, ["", "b", ""]);
    assert_eq!(dealer.try_send(&[]), Err(SendError::Empty));
}

#[tokio::test]
async fn talks_over_ipv6() {
    let mut peer = Peer::router();
    let bind = json!({"do": "bind", "address": "tcp://[::1]:*"});
    let bound = peer.ask(bind).await;
    let port: u16 = bound["port"].as_u64().unwrap().try_into().unwrap();
    let address = SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], port));
    let mut dealer = connect(address, bound["public"].as_str().unwrap());
    up(&mut dealer).await;
    dealer.try_send(&[b"six"]).unwrap();
    assert_eq!(peer.message().await.1, [b"six"]);
}

/// A read may give any number of messages: all must be found.
#[tokio::test]
async fn finds_every_message_of_a_burst() {
    const COUNT: u32 = 10_000;
    let (mut peer, mut dealer, id) = linked().await;
    let id = id.as_str().as_bytes();
    let read = async {
        for number in 0..COUNT {
            assert_eq!(message(&mut dealer).await, ["n", &number.to_string()]);
            if number % 10 == 0 {
                let _ = dealer.try_send(&[b"x"]);
            }
        }
    };
    peer.ask(json!({"do": "loud", "on": false})).await;
    tokio::join!(peer.send_many(Some(id), &[b"n", b"%d"], COUNT), read);
    // Nothing is left behind, and nothing twice.
    peer.send(Some(id), &[b"last"]).await;
    assert_eq!(message(&mut dealer).await, ["last"]);
}

/// Whatever a send does to the socket.
#[tokio::test]
async fn a_send_hides_no_message() {
    let (mut peer, mut dealer, id) = linked().await;
    for round in 0..5 {
        // Nothing there: the socket is waited for from now on.
        let none = timeout(Duration::ZERO, dealer.event()).await;
        assert!(none.is_err(), "{none:?}");
        let to = hex(id.as_str().as_bytes());
        peer.tell(&json!({"do": "send", "to": to, "frames": [hex(b"there")]}));
        // Arrives while the runtime, on this thread, hears nothing of it. Were it
        // later, the test would say less.
        std::thread::sleep(Duration::from_millis(100));
        dealer.try_send(&[b"x"]).unwrap();
        assert_eq!(message(&mut dealer).await, ["there"], "{round}");
    }
}

/// A wait that is given up loses nothing.
#[tokio::test]
async fn waiting_can_be_given_up() {
    const COUNT: u32 = 2_000;
    let (mut peer, mut dealer, id) = linked().await;
    let read = async {
        let (mut found, mut given_up) = (0, 0);
        while found < COUNT {
            tokio::select! {
                biased;
                () = tokio::task::yield_now() => given_up += 1,
                message = message(&mut dealer) => {
                    assert_eq!(message, [found.to_string()]);
                    found += 1;
                }
            }
        }
        given_up
    };
    let id = id.as_str().as_bytes();
    let ((), given_up) = tokio::join!(peer.send_many(Some(id), &[b"%d"], COUNT), read);
    assert!(given_up > 0);
}

/// Messages without end leave other tasks their turn.
#[tokio::test]
async fn a_flood_starves_no_peer() {
    const COUNT: u32 = 200;
    let (mut peer, mut dealer, id) = linked().await;
    let id = id.as_str().as_bytes();
    peer.send_many(Some(id), &[b"%d"], COUNT).await;
    // As good as certainly all of them are here now; if not, the test says less.
    std::thread::sleep(Duration::from_millis(200));
    let other = tokio::spawn(async {});
    for number in 0..COUNT {
        assert_eq!(message(&mut dealer).await, [number.to_string()]);
    }
    assert!(other.is_finished());
}

#[tokio::test]
async fn bounds_the_frames_of_a_message() {
    let (mut peer, mut dealer, id) = linked().await;
    let id = id.as_str().as_bytes();
    let frames = [b"f".as_slice(); 500];
    peer.send(Some(id), &frames[..MAX_FRAMES]).await;
    assert_eq!(message(&mut dealer).await.len(), MAX_FRAMES);
    for count in [MAX_FRAMES + 1, 500] {
        peer.send(Some(id), &frames[..count]).await;
        match event(&mut dealer).await {
            DealerEvent::Received(Received::TooManyFrames { found }) => {
                assert_eq!(usize::try_from(found).unwrap(), count);
            }
            other => panic!("expected too many frames: {other:?}"),
        }
    }
    peer.send(Some(id), &[b"next"]).await;
    assert_eq!(message(&mut dealer).await, ["next"]);
}

#[tokio::test]
async fn bounds_the_size_of_a_frame() {
    let (mut peer, mut dealer, id) = linked().await;
    let id = id.as_str().as_bytes();
    let mut frame = vec![b'x'; MAX_FRAME_BYTES];
    peer.send(Some(id), &[b"CTRL", &frame]).await;
    assert_eq!(message(&mut dealer).await[1].len(), frame.len());
    frame.push(b'x');
    peer.send(Some(id), &[b"CTRL", &frame]).await;
    match event(&mut dealer).await {
        DealerEvent::LinkDown(LinkDownCause::Violated(Violation::FrameTooLarge { .. })) => {}
        other => panic!("expected the link to go down: {other:?}"),
    }
    assert_eq!(dealer.try_send(&[b"x"]), Err(SendError::WouldBlock));
}

/// A peer that does not read fills the kernel's buffers and our short queue,
/// and then sends are refused; what was accepted arrives whole and in order.
#[tokio::test]
async fn refuses_when_the_queue_is_full() {
    let mut peer = Peer::router();
    let options = json!({"RCVHWM": 1, "RCVBUF": 65536});
    let bound = peer.ask(json!({"do": "bind", "options": options})).await;
    peer.ask(json!({"do": "reading", "on": false})).await;
    let port = bound["port"].as_u64().unwrap().try_into().unwrap();
    let mut dealer = connect(local(port), bound["public"].as_str().unwrap());
    up(&mut dealer).await;

    let big = vec![b'x'; 256 * 1024];
    let mut accepted = 0_u32;
    // Refused once may be the other end's pace; refused for a while is full.
    let mut refused = 0;
    while refused < 20 {
        let number = accepted.to_string();
        match dealer.try_send(&[number.as_bytes(), &big]) {
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
    peer.ask(json!({"do": "reading", "on": true})).await;
    let read = async {
        for number in 0..accepted {
            let (_, frames) = peer.message().await;
            assert_eq!(frames[0], number.to_string().as_bytes());
            assert_eq!(frames[1].len(), big.len());
            assert_eq!(frames.len(), 2);
        }
    };
    // What waits leaves while events are waited for.
    tokio::select! {
        () = read => {}
        event = dealer.event() => panic!("{event:?}"),
    }
    // There is room again.
    dealer.try_send(&[b"after"]).unwrap();
    assert_eq!(peer.message().await.1, [b"after"]);
}

#[tokio::test]
async fn what_is_under_way_may_linger() {
    let (mut peer, mut dealer, _) = linked().await;
    for _ in 0..10 {
        dealer.try_send(&[b"goodbye"]).unwrap();
    }
    dealer.close(PATIENCE).await;
    for _ in 0..10 {
        assert_eq!(peer.message().await.1, [b"goodbye"]);
    }
    peer.link("DISCONNECTED").await;
}

/// Something of the peer's that was not read must not cost what was sent before the end.
#[tokio::test]
async fn what_is_under_way_arrives_though_something_is_unread() {
    // More than the peer takes while it does not read, and less than the kernel does.
    const COUNT: u32 = 12;
    let mut peer = Peer::router();
    let options = json!({"RCVHWM": 1, "RCVBUF": 65536});
    let bound = peer.ask(json!({"do": "bind", "options": options})).await;
    let port = bound["port"].as_u64().unwrap().try_into().unwrap();
    let id = RoutingId::random();
    let mut dealer = connect_as(local(port), bound["public"].as_str().unwrap(), id);
    up(&mut dealer).await;
    dealer.try_send(&[b"CTRL", b"hello"]).unwrap();
    peer.message().await;
    peer.send(Some(id.as_str().as_bytes()), &[b"CTRL", b"ping"])
        .await;
    // As good as certainly it is here now; if not, the test says less.
    std::thread::sleep(Duration::from_millis(200));
    peer.ask(json!({"do": "reading", "on": false})).await;
    let big = vec![b'x'; 128 * 1024];
    for _ in 0..COUNT {
        dealer.try_send(&[&big]).unwrap();
    }
    dealer.close(PATIENCE).await;
    peer.ask(json!({"do": "reading", "on": true})).await;
    for _ in 0..COUNT {
        assert_eq!(peer.message().await.1, [&big[..]]);
    }
}

/// Closing at any stage of a link's life gives back all of it, and never hangs.
#[test]
fn leaks_nothing() {
    // In a process where no other test opens anything.
    let run = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "curve_dealer::leaks_nothing_alone", "--ignored"])
        .output()
        .unwrap();
    let output = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success(), "{output}");
    assert!(output.contains("1 passed"), "{output}");
}

#[tokio::test]
#[ignore = "run by leaks_nothing in a process of its own"]
async fn leaks_nothing_alone() {
    fn open() -> (usize, usize) {
        let count = |path| std::fs::read_dir(path).unwrap().count();
        (count("/proc/self/fd"), count("/proc/self/task"))
    }
    let (mut peer, port, key) = Peer::bound_router().await;
    peer.ask(json!({"do": "loud", "on": false})).await;
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent_port = silent.local_addr().unwrap().port();
    drop(connect(local(port), &key));
    let refused = {
        let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        unused.local_addr().unwrap()
    };

    let settled = |limit: (usize, usize)| async move {
        timeout(PATIENCE, async {
            while open() > limit {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await
        .unwrap_or_else(|_| panic!("{:?} are open, {limit:?} were", open()));
    };
    let before = open();
    for round in 0..1_000 {
        let address = match round % 4 {
            0 | 1 => local(port),
            2 => local(silent_port),
            _ => refused,
        };
        let mut dealer = connect(address, &key);
        if round % 4 == 0 {
            up(&mut dealer).await;
            dealer.try_send(&[b"CTRL", b"hello"]).unwrap();
        }
        if round % 8 == 0 {
            dealer.close(Duration::from_secs(1)).await;
        } else {
            drop(dealer);
        }
        if round % 100 == 99 {
            settled(before).await;
        }
    }
    settled(before).await;
    drop(peer);
}
