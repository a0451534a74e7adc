//! Our side of ZMTP with CURVE, and libzmq's: every shape of message both ways, heartbeats,
//! refusals, and strangers.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use metrics_agent::curve::keys::{KeyPair, PublicKey};
use metrics_agent::curve::zmtp::connection::HeartbeatOptions;
use metrics_agent::curve::zmtp::message::Received;
use serde_json::json;

use crate::support::peer::{PATIENCE, Peer, hex};
use crate::support::zmtp::{BOUNDS, CLOSED, Frames, Socket};

/// All numbers of frames, all lengths at which something changes: headers of one byte and of
/// eight with and without what CURVE adds, blocks of the cipher, pieces of reading.
pub(crate) fn shapes() -> Vec<Frames> {
    let frame = |length: usize| -> Vec<u8> { (0..=250_u8).cycle().take(length).collect() };
    let mut shapes: Vec<Frames> = (1..=8)
        .map(|count| (0..count).map(|index| frame(3 * index)).collect())
        .collect();
    shapes.extend((1..=8).map(|count| vec![Vec::new(); count]));
    let lengths = [
        1, 30, 31, 32, 33, 221, 222, 223, 254, 255, 256, 257, 65_534, 65_535, 65_536, 1_048_576,
    ];
    shapes.extend(lengths.map(|length| vec![frame(length)]));
    shapes.push(lengths[..8].iter().map(|length| frame(*length)).collect());
    shapes.push(vec![
        Vec::new(),
        frame(1_048_576),
        Vec::new(),
        frame(65_535),
    ]);
    shapes
}

fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = format!("tcp://{}", listener.local_addr().unwrap());
    (listener, address)
}

fn patience() -> i32 {
    PATIENCE.as_millis().try_into().unwrap()
}

/// A socket of libzmq's that is closed without waiting for a peer.
fn socket(context: &zmq::Context, kind: zmq::SocketType) -> zmq::Socket {
    let socket = context.socket(kind).unwrap();
    socket.set_linger(0).unwrap();
    socket.set_rcvtimeo(patience()).unwrap();
    socket.set_sndtimeo(patience()).unwrap();
    socket
}

/// libzmq's own keys.
fn curve_keys(socket: &zmq::Socket) -> PublicKey {
    let keys = zmq::CurveKeyPair::new().unwrap();
    socket.set_curve_publickey(&keys.public_key).unwrap();
    socket.set_curve_secretkey(&keys.secret_key).unwrap();
    PublicKey::from_bytes(keys.public_key)
}

/// A socket of libzmq's that connects to a server of ours, and its key.
fn client(
    context: &zmq::Context,
    kind: zmq::SocketType,
    server: &PublicKey,
) -> (zmq::Socket, PublicKey) {
    let socket = socket(context, kind);
    let key = curve_keys(&socket);
    socket.set_curve_serverkey(server.as_bytes()).unwrap();
    (socket, key)
}

/// A ROUTER of libzmq's with CURVE that listens, its address and its key.
fn router(
    context: &zmq::Context,
    set: impl FnOnce(&zmq::Socket),
) -> (zmq::Socket, SocketAddr, PublicKey) {
    let socket = socket(context, zmq::ROUTER);
    let key = curve_keys(&socket);
    socket.set_curve_server(true).unwrap();
    set(&socket);
    let address = bind(&socket);
    (socket, address, key)
}

fn bind(socket: &zmq::Socket) -> SocketAddr {
    socket.bind("tcp://127.0.0.1:*").unwrap();
    let address = socket.get_last_endpoint().unwrap().unwrap();
    address.strip_prefix("tcp://").unwrap().parse().unwrap()
}

/// What libzmq tells of a socket's connections, from now on.
struct Monitor(zmq::Socket);

impl Monitor {
    fn of(context: &zmq::Context, monitored: &zmq::Socket) -> Self {
        let address = format!("inproc://monitor-{}", fastrand::u64(..));
        let all = zmq::SocketEvent::ALL as i32;
        monitored.monitor(&address, all).unwrap();
        let pair = socket(context, zmq::PAIR);
        pair.connect(&address).unwrap();
        Self(pair)
    }

    /// Waits for an event; its value.
    fn wait(&self, event: zmq::SocketEvent) -> u32 {
        loop {
            let frames = self.0.recv_multipart(0).expect("libzmq tells something");
            let (found, value) = frames[0].split_first_chunk::<2>().unwrap();
            let found = zmq::SocketEvent::from_raw(u16::from_ne_bytes(*found));
            if found == event {
                return u32::from_ne_bytes(value.try_into().unwrap());
            }
        }
    }
}

/// A server of ours, and a client of libzmq's that has connected to it.
fn served(
    kind: zmq::SocketType,
    set: impl FnOnce(&zmq::Socket),
) -> (zmq::Context, zmq::Socket, Socket) {
    let context = zmq::Context::new();
    let (listener, address) = listen();
    let keys = KeyPair::generate().unwrap();
    let (theirs, key) = client(&context, kind, &keys.public);
    set(&theirs);
    theirs.connect(&address).unwrap();
    let mut ours = Socket::accept(&listener, &keys);
    let (knocked, _) = ours.up().unwrap();
    assert_eq!(knocked, key);
    (context, theirs, ours)
}

#[test]
fn our_client_and_libzmqs_router() {
    let context = zmq::Context::new();
    let (theirs, address, key) = router(&context, |_| {});
    let mut ours = Socket::connect(address, key);
    ours.up();
    for shape in shapes() {
        ours.send(&shape);
        let frames = theirs.recv_multipart(0).unwrap();
        assert!(frames[0] == b"OURS" && frames[1..] == shape[..]);
        theirs.send_multipart(&frames, 0).unwrap();
        assert!(ours.message() == shape);
    }
}

#[test]
fn our_server_and_libzmqs_dealer() {
    let (context, theirs, mut ours) = served(zmq::DEALER, |socket| {
        socket.set_identity(b"THEIRS").unwrap();
    });
    assert_eq!(ours.up().unwrap().1, b"THEIRS");
    for shape in shapes() {
        theirs.send_multipart(&shape, 0).unwrap();
        assert!(ours.message() == shape);
        ours.send(&shape);
        assert!(theirs.recv_multipart(0).unwrap() == shape);
    }
    // Many at once, so that frames are cut anywhere.
    for shape in shapes() {
        theirs.send_multipart(&shape, 0).unwrap();
        ours.send(&shape);
    }
    for shape in shapes() {
        assert!(ours.message() == shape);
        assert!(theirs.recv_multipart(0).unwrap() == shape);
    }
    drop((theirs, context));
    assert_eq!(ours.ended(), CLOSED);
}

#[test]
fn our_server_and_libzmqs_req() {
    let (_context, theirs, mut ours) = served(zmq::REQ, |_| {});
    for shape in shapes().into_iter().filter(|shape| shape.len() < 8) {
        theirs.send_multipart(&shape, 0).unwrap();
        let request = ours.message();
        assert!(request[0].is_empty() && request[1..] == shape[..]);
        ours.send(&request);
        assert!(theirs.recv_multipart(0).unwrap() == shape);
    }
}

#[test]
fn our_server_and_libzmqs_router() {
    let (_context, theirs, mut ours) = served(zmq::ROUTER, |_| {});
    for shape in shapes() {
        ours.send(&shape);
        let frames = theirs.recv_multipart(0).unwrap();
        assert!(!frames[0].is_empty() && frames[1..] == shape[..]);
        theirs.send_multipart(&frames, 0).unwrap();
        assert!(ours.message() == shape);
    }
}

#[test]
fn more_than_the_bounds_is_counted_or_ends_the_connection() {
    let (context, theirs, mut ours) = served(zmq::DEALER, |_| {});
    theirs.send_multipart([&b"x"[..]; 500], 0).unwrap();
    assert_eq!(ours.received(), Received::TooManyFrames { found: 500 });
    theirs.send_multipart([&b"x"[..]; 8], 0).unwrap();
    assert_eq!(ours.message().len(), 8);

    let monitor = Monitor::of(&context, &theirs);
    theirs.send(vec![0; BOUNDS.frame_bytes + 1], 0).unwrap();
    let ended = ours.ended();
    assert!(
        ended.starts_with("the peer announces a frame of 2097186 bytes"),
        "{ended}"
    );
    monitor.wait(zmq::SocketEvent::DISCONNECTED);
}

/// What a PING of libzmq's has on the wire, and a PONG, in bytes.
const PING_BYTES: usize = 2 + 33 + 7;
const PONG_BYTES: usize = 2 + 33 + 5;

/// More of them than fit into the time after which libzmq, and we, count a peer as gone.
const BEATS: usize = 60;
const BEAT: Duration = Duration::from_millis(50);
const GONE: Duration = Duration::from_secs(2);

fn millis(time: Duration) -> i32 {
    time.as_millis().try_into().unwrap()
}

#[test]
fn libzmqs_heartbeats_are_answered() {
    for ttl in [None, Some(GONE)] {
        let (context, theirs, mut ours) = served(zmq::DEALER, |socket| {
            socket.set_heartbeat_ivl(millis(BEAT)).unwrap();
            socket.set_heartbeat_timeout(millis(GONE)).unwrap();
            if let Some(ttl) = ttl {
                socket.set_heartbeat_ttl(millis(ttl)).unwrap();
            }
        });
        let monitor = Monitor::of(&context, &theirs);
        ours.read_more(BEATS * PING_BYTES);
        theirs.send("still", 0).unwrap();
        assert_eq!(ours.message(), [b"still"]);
        // Without an answer it ends, so there was one before.
        monitor.wait(zmq::SocketEvent::DISCONNECTED);
        assert_eq!(ours.ended(), CLOSED);
    }
    // And a server's.
    let context = zmq::Context::new();
    let (theirs, address, key) = router(&context, |socket| {
        socket.set_heartbeat_ivl(millis(BEAT)).unwrap();
        socket.set_heartbeat_timeout(millis(GONE)).unwrap();
    });
    let mut ours = Socket::connect(address, key);
    ours.up();
    ours.read_more(BEATS * PING_BYTES);
    ours.send(&[b"still".to_vec()]);
    assert_eq!(theirs.recv_multipart(0).unwrap(), [b"OURS", &b"still"[..]]);
}

#[test]
fn libzmq_answers_our_heartbeats_and_keeps_to_our_time_to_live() {
    let heartbeat = HeartbeatOptions {
        interval: Some(BEAT),
        timeout: GONE,
        ttl: GONE,
    };
    let context = zmq::Context::new();
    let (theirs, address, key) = router(&context, |_| {});
    let monitor = Monitor::of(&context, &theirs);
    let mut ours = Socket::connect(address, key).with_heartbeat(heartbeat);
    ours.up();
    ours.read_more(BEATS * PONG_BYTES);
    ours.send(&[b"still".to_vec()]);
    assert_eq!(theirs.recv_multipart(0).unwrap(), [b"OURS", &b"still"[..]]);
    // libzmq forgets the time to live at each message, until the next PING.
    ours.read_more(10 * PONG_BYTES);
    // We are silent from here on.
    monitor.wait(zmq::SocketEvent::DISCONNECTED);
    assert_eq!(ours.ended(), CLOSED);
}

/// A DEALER of pyzmq's at a server of ours.
async fn python_dealer(heartbeat: HeartbeatOptions, options: serde_json::Value) -> (Peer, Socket) {
    let (listener, address) = listen();
    let keys = KeyPair::generate().unwrap();
    let mut peer = Peer::dealer();
    let server = keys.public.to_string();
    let connect = json!({
        "do": "connect", "address": address, "server": server, "id": hex(b"PYTHON"),
        "options": options,
    });
    peer.ask(connect).await;
    let mut ours = Socket::accept(&listener, &keys).with_heartbeat(heartbeat);
    assert_eq!(ours.up().unwrap().1, b"PYTHON");
    (peer, ours)
}

/// Its time is short where its end is waited for, long where life is.
fn ours(timeout: Duration) -> HeartbeatOptions {
    HeartbeatOptions {
        interval: Some(BEAT),
        timeout,
        ttl: PATIENCE,
    }
}

#[tokio::test]
async fn a_peer_that_stands_still_is_noticed() {
    let (mut peer, mut socket) = python_dealer(ours(GONE), json!({})).await;
    socket.read_more(BEATS * PONG_BYTES);
    peer.stop();
    let ended = socket.ended();
    assert!(ended.starts_with("the peer was silent for "), "{ended}");

    // By what it has announced itself, without a question of ours.
    let quiet = HeartbeatOptions {
        interval: None,
        ..ours(PATIENCE)
    };
    let options = json!({"HEARTBEAT_IVL": 50, "HEARTBEAT_TTL": 2000, "HEARTBEAT_TIMEOUT": 30_000});
    let (mut peer, mut socket) = python_dealer(quiet, options).await;
    socket.read_more(BEATS * PING_BYTES);
    peer.stop();
    let ended = socket.ended();
    assert!(ended.starts_with("the peer was silent for "), "{ended}");
}

#[tokio::test]
async fn pyzmqs_dealer_and_router() {
    let (mut peer, mut socket) = python_dealer(ours(PATIENCE), json!({})).await;
    for shape in shapes() {
        let frames: Vec<&[u8]> = shape.iter().map(Vec::as_slice).collect();
        peer.send(None, &frames).await;
        assert!(socket.message() == shape);
        socket.send(&shape);
        assert!(peer.message().await.1 == shape);
    }

    let (mut peer, port, key) = Peer::bound_router().await;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut socket = Socket::connect(address, key.parse().unwrap());
    socket.up();
    for shape in shapes() {
        socket.send(&shape);
        let (from, frames) = peer.message().await;
        assert!(from == b"OURS" && frames == shape);
        let frames: Vec<&[u8]> = shape.iter().map(Vec::as_slice).collect();
        peer.send(Some(b"OURS"), &frames).await;
        assert!(socket.message() == shape);
    }
}

#[test]
fn a_wrong_server_key_gets_nowhere() {
    let context = zmq::Context::new();
    let wrong = KeyPair::generate().unwrap();
    let (theirs, address, _) = router(&context, |_| {});
    let monitor = Monitor::of(&context, &theirs);
    let mut ours = Socket::connect(address, wrong.public);
    assert_eq!(ours.ended(), CLOSED);
    monitor.wait(zmq::SocketEvent::HANDSHAKE_FAILED_PROTOCOL);

    let (listener, address) = listen();
    let keys = KeyPair::generate().unwrap();
    let (theirs, _) = client(&context, zmq::DEALER, &wrong.public);
    theirs.connect(&address).unwrap();
    let mut ours = Socket::accept(&listener, &keys);
    let text = "the peer's HELLO was made with another key or changed on its way";
    assert_eq!(ours.ended(), text);
}

#[test]
fn a_key_that_libzmq_refuses_is_told_so() {
    let context = zmq::Context::new();
    let zap = socket(&context, zmq::REP);
    zap.bind("inproc://zeromq.zap.01").unwrap();
    let (_theirs, address, key) = router(&context, |_| {});
    let asked = thread::spawn(move || {
        let question = zap.recv_multipart(0).unwrap();
        let answer = [b"1.0", &question[1][..], b"400", b"not you", b"", b""];
        zap.send_multipart(answer, 0).unwrap();
        question[6].clone()
    });
    let mut ours = Socket::connect(address, key);
    assert_eq!(ours.ended(), "the peer refused the connection: 400");
    assert_eq!(asked.join().unwrap().len(), 32);
}

#[test]
fn a_key_that_we_refuse_is_told_so() {
    let context = zmq::Context::new();
    let (listener, address) = listen();
    let keys = KeyPair::generate().unwrap();
    let (theirs, _) = client(&context, zmq::DEALER, &keys.public);
    let monitor = Monitor::of(&context, &theirs);
    theirs.connect(&address).unwrap();
    let mut ours = Socket::accept(&listener, &keys).refusing();
    assert_eq!(ours.ended(), "refused");
    let status = monitor.wait(zmq::SocketEvent::HANDSHAKE_FAILED_AUTH);
    assert_eq!(status, 400);
}

#[test]
fn libzmq_without_curve_is_told_apart() {
    let context = zmq::Context::new();
    for mechanism in ["NULL", "PLAIN"] {
        let plain = mechanism == "PLAIN";
        let expected = format!("the peer wants the mechanism {mechanism}, not CURVE");

        let theirs = socket(&context, zmq::ROUTER);
        theirs.set_plain_server(plain).unwrap();
        let address = bind(&theirs);
        let mut ours = Socket::connect(address, KeyPair::generate().unwrap().public);
        assert_eq!(ours.ended(), expected);

        let theirs = socket(&context, zmq::DEALER);
        if plain {
            theirs.set_plain_username(Some("somebody")).unwrap();
            theirs.set_plain_password(Some("secret")).unwrap();
        }
        let (listener, address) = listen();
        theirs.connect(&address).unwrap();
        let mut ours = Socket::accept(&listener, &KeyPair::generate().unwrap());
        assert_eq!(ours.ended(), expected);
    }
}

#[test]
fn a_socket_that_cannot_talk_with_ours_is_told_apart() {
    let context = zmq::Context::new();
    let (listener, address) = listen();
    let keys = KeyPair::generate().unwrap();
    let (theirs, _) = client(&context, zmq::SUB, &keys.public);
    theirs.connect(&address).unwrap();
    let mut ours = Socket::accept(&listener, &keys);
    let text = "the peer is a socket of type SUB, which a ROUTER cannot talk with";
    assert_eq!(ours.ended(), text);

    let theirs = socket(&context, zmq::PUB);
    let key = curve_keys(&theirs);
    theirs.set_curve_server(true).unwrap();
    let address = bind(&theirs);
    let mut ours = Socket::connect(address, key);
    let ended = ours.ended();
    // libzmq looks at the types, too, and may be faster.
    let text = "the peer is a socket of type PUB, which a DEALER cannot talk with";
    assert!(ended == CLOSED || ended == text, "{ended}");
}

#[test]
fn strangers_are_told_apart_and_learn_our_version_at_most() {
    let tls = b"\x16\x03\x01\x00\xA5\x01\x00\x00\xA1\x03\x03".repeat(10);
    let http = b"GET / HTTP/1.1\r\nHost: metrics.example\r\n\r\n";
    let zmtp2 = b"\xFF\0\0\0\0\0\0\0\x01\x7F\x01\x05\0\0";
    let other = "the peer speaks another protocol, not ZMTP";
    let strangers: [(&[u8], &str); 6] = [
        (&tls, "the peer speaks TLS, not ZMTP"),
        (http, "the peer speaks HTTP, not ZMTP"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "the peer speaks SSH, not ZMTP"),
        (
            zmtp2,
            "the peer speaks ZMTP 2, which has no CURVE; 3.0 is needed",
        ),
        (&[0; 300], other),
        (b"\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFE garbage", other),
    ];
    let keys = KeyPair::generate().unwrap();
    for (bytes, expected) in strangers {
        let (listener, _) = listen();
        let mut stranger = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        stranger.set_read_timeout(Some(PATIENCE)).unwrap();
        stranger.write_all(bytes).unwrap();
        let mut ours = Socket::accept(&listener, &keys);
        assert_eq!(ours.ended(), expected);
        drop(ours);
        let mut greeting = Vec::new();
        // A reset may come before it was read.
        let _ = stranger.read_to_end(&mut greeting);
        assert!(greeting.len() <= 12);

        // The same in the place of a server.
        let (listener, _) = listen();
        let address = listener.local_addr().unwrap();
        let mut ours = Socket::connect(address, keys.public);
        let (mut stranger, _) = listener.accept().unwrap();
        stranger.write_all(bytes).unwrap();
        assert_eq!(ours.ended(), expected);
    }
}
