//! Our DEALER and everything that a link can fail by.

use std::io::Write;
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use metrics_agent::curve::dealer::{
    ConnectFailure, Dealer, DealerEvent, DealerOptions, HandshakeFailure, LinkDownCause, RoutingId,
    Suspect,
};
use metrics_agent::curve::keys::KeyPair;
use metrics_agent::curve::timing::{
    CONNECT_TIMEOUT, HANDSHAKE_TIMEOUT, HEARTBEAT_INTERVAL, HEARTBEAT_TIMEOUT,
};
use metrics_agent::curve::zmtp::Violation;
use metrics_agent::curve::{SendError, TransportError};
use serde_json::json;
use tokio::time::timeout;

use crate::curve_dealer::{connect, event, local, up};
use crate::support::peer::Peer;

pub(crate) fn any_key() -> String {
    KeyPair::generate().unwrap().public.to_string()
}

pub(crate) async fn handshake_failure(dealer: &mut Dealer) -> HandshakeFailure {
    let failure = match event(dealer).await {
        DealerEvent::LinkDown(LinkDownCause::HandshakeFailed(failure)) => failure,
        other => panic!("expected a failed handshake: {other:?}"),
    };
    assert_eq!(dealer.try_send(&[b"x"]), Err(SendError::WouldBlock));
    failure
}

pub(crate) async fn disconnected(dealer: &mut Dealer) -> LinkDownCause {
    let cause = match event(dealer).await {
        DealerEvent::LinkDown(cause) => cause,
        other => panic!("expected the link to go down: {other:?}"),
    };
    stays_down(dealer).await;
    cause
}

/// Nothing happens to a link that is down, and nothing is queued for it.
async fn stays_down(dealer: &mut Dealer) {
    assert_eq!(dealer.try_send(&[b"x"]), Err(SendError::WouldBlock));
    let more = timeout(Duration::from_millis(400), dealer.event()).await;
    assert!(more.is_err(), "{more:?}");
    assert_eq!(dealer.try_send(&[b"x"]), Err(SendError::WouldBlock));
}

/// How many connections the peer accepted since this was last asked.
async fn accepted(peer: &mut Peer) -> usize {
    let links = peer.links().await;
    links.iter().filter(|&name| name == "ACCEPTED").count()
}

#[tokio::test]
async fn a_killed_peer_is_noticed() {
    let (mut peer, port, key) = Peer::bound_router().await;
    let mut dealer = connect(local(port), &key);
    up(&mut dealer).await;
    peer.kill();
    let cause = disconnected(&mut dealer).await;
    assert!(
        matches!(cause, LinkDownCause::Closed | LinkDownCause::Failed(_)),
        "{cause:?}"
    );
}

#[tokio::test]
async fn never_connects_again_by_itself() {
    let (mut peer, port, key) = Peer::bound_router().await;
    let mut old = connect(local(port), &key);
    up(&mut old).await;
    peer.ask(json!({"do": "close"})).await;
    let cause = disconnected(&mut old).await;
    assert!(matches!(cause, LinkDownCause::Closed), "{cause:?}");
    assert_eq!(accepted(&mut peer).await, 1);
    peer.ask(json!({"do": "bind"})).await;
    stays_down(&mut old).await;
    assert_eq!(accepted(&mut peer).await, 0);

    // A new one does, and the peer gets nothing of what the old one was given.
    let mut new = connect(local(port), &key);
    assert_eq!(new.try_send(&[b"early"]), Err(SendError::WouldBlock));
    up(&mut new).await;
    new.try_send(&[b"new"]).unwrap();
    assert_eq!(peer.message().await.1, [b"new"]);
    assert_eq!(peer.count().await, 1);
}

#[tokio::test]
async fn a_wrong_server_key_is_a_failed_handshake() {
    let (mut peer, port, _) = Peer::bound_router().await;
    let mut dealer = connect(local(port), &any_key());
    let failure = handshake_failure(&mut dealer).await;
    assert_eq!(failure.suspect(), Suspect::ServerKey, "{failure:?}");
    stays_down(&mut dealer).await;
    assert_eq!(accepted(&mut peer).await, 1);
}

#[tokio::test]
async fn a_peer_without_curve_is_a_failed_handshake() {
    let mut peer = Peer::router();
    let bound = peer.ask(json!({"do": "plain"})).await;
    let port = bound["port"].as_u64().unwrap().try_into().unwrap();
    let mut dealer = connect(local(port), &any_key());
    let failure = handshake_failure(&mut dealer).await;
    assert!(
        matches!(&failure, HandshakeFailure::Protocol(Violation::Mechanism(name)) if &**name == "NULL"),
        "{failure:?}"
    );
    assert_eq!(peer.count().await, 0);
}

#[tokio::test]
async fn a_refused_connection_is_told() {
    let unused = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = unused.local_addr().unwrap();
    drop(unused);
    let mut dealer = connect(address, &any_key());
    match event(&mut dealer).await {
        DealerEvent::ConnectFailed(failure) => {
            assert_eq!(failure.to_string(), "connection refused");
        }
        other => panic!("expected a refusal: {other:?}"),
    }
    stays_down(&mut dealer).await;
}

/// TCP has no broadcast: the kernel refuses at once.
#[tokio::test]
async fn an_impossible_address_is_told() {
    let address = SocketAddr::from(([255, 255, 255, 255], 5556));
    let mut dealer = connect(address, &any_key());
    match event(&mut dealer).await {
        DealerEvent::ConnectFailed(failure) => {
            assert_eq!(failure.to_string(), "network unreachable");
        }
        other => panic!("expected no route: {other:?}"),
    }
    stays_down(&mut dealer).await;
}

#[tokio::test]
async fn an_address_without_a_port_is_an_error() {
    for address in ["127.0.0.1:0", "0.0.0.0:5556", "[::]:5556"] {
        let options = DealerOptions {
            address: address.parse().unwrap(),
            server_key: any_key().parse().unwrap(),
            keys: &KeyPair::generate().unwrap(),
            routing_id: RoutingId::random(),
        };
        let error = Dealer::connect(options).unwrap_err();
        assert!(matches!(error, TransportError::Address { .. }), "{address}");
    }
}

/// Whatever answers on the port, we are told that no collector does.
#[tokio::test]
async fn garbage_is_a_failed_handshake() {
    // The greeting of ZMTP 3.0 with CURVE (RFC 23), to get past the first check.
    let mut greeting = b"\xFF\0\0\0\0\0\0\0\x01\x7F\x03\0CURVE".to_vec();
    greeting.resize(64, 0);
    let with_greeting = |rest: &[u8]| [&greeting, rest].concat();
    let mut noise = vec![0; 4096];
    fastrand::Rng::with_seed(7).fill(&mut noise);
    let answers = [
        b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n".to_vec(),
        b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(),
        vec![0; 100],
        vec![0xFF; 100],
        noise.clone(),
        with_greeting(&noise),
        // A command of 2^62 bytes.
        with_greeting(b"\x06\x40\0\0\0\0\0\0\0"),
        // WELCOME, of the right length and wrong.
        with_greeting(&[b"\x04\xA8\x07WELCOME".as_slice(), &noise[..160]].concat()),
        // ERROR, with a reason.
        with_greeting(b"\x04\x0A\x05ERROR\x03400"),
        greeting.clone(),
        Vec::new(),
    ];
    for answer in answers {
        for close in [true, false] {
            // What does not end and says too little to be wrong times out;
            // that is tested below.
            if !close && (answer.is_empty() || answer == greeting || answer[0] == b'S') {
                continue;
            }
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let port = listener.local_addr().unwrap().port();
            let bytes = answer.clone();
            let server = thread::spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                // It may have hung up on us by now.
                let _ = stream.write_all(&bytes);
                if close {
                    let _ = stream.shutdown(Shutdown::Write);
                }
                stream
            });
            let mut dealer = connect(local(port), &any_key());
            let failure = handshake_failure(&mut dealer).await;
            let shown = String::from_utf8_lossy(&answer[..answer.len().min(80)]);
            assert!(
                !matches!(failure, HandshakeFailure::TimedOut),
                "{shown:?} {close}"
            );
            drop(server.join().unwrap());
        }
    }
}

/// What can only be told by waiting for it, all at once. The bounds are those that
/// the constants promise; the upper ones are generous.
#[tokio::test]
async fn silence_ends_a_link() {
    // Accepts, and says nothing.
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();

    // Answers no SYN: its queue of two is full.
    let mut deaf = Command::new("/usr/bin/python3")
        .args(["-c", DEAF])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let stdout = deaf.stdout.take().unwrap();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line).unwrap();
    let deaf_address = local(line.trim().parse().unwrap());

    // Is there, and then stops without a word, as a host that lost power.
    let (mut peer, port, key) = Peer::bound_router().await;
    let mut stopped_dealer = connect(local(port), &key);
    up(&mut stopped_dealer).await;
    peer.stop();

    // All of them listened to from their beginning, as an agent does.
    let mut mute_dealer = connect(mute.local_addr().unwrap(), &any_key());
    let mut deaf_dealer = connect(deaf_address, &any_key());
    let start = Instant::now();
    let mute = async {
        let failure = handshake_failure(&mut mute_dealer).await;
        (failure, start.elapsed())
    };
    let deaf_result = async {
        let failure = match event(&mut deaf_dealer).await {
            DealerEvent::ConnectFailed(failure) => failure,
            other => panic!("expected a failed connection: {other:?}"),
        };
        (failure, start.elapsed())
    };
    let stopped = async {
        let cause = disconnected(&mut stopped_dealer).await;
        let is_silent = matches!(cause, LinkDownCause::Violated(Violation::Silent(_)));
        assert!(is_silent, "{cause:?}");
        start.elapsed()
    };
    let ((mute, mute_time), (deaf_failure, deaf_time), stopped_time) =
        tokio::join!(mute, deaf_result, stopped);
    deaf.kill().unwrap();
    deaf.wait().unwrap();

    let slack = Duration::from_secs(1);
    assert!(matches!(mute, HandshakeFailure::TimedOut), "{mute:?}");
    assert!(mute_time + slack > HANDSHAKE_TIMEOUT, "{mute_time:?}");
    assert!(
        matches!(deaf_failure, ConnectFailure::TimedOut),
        "{deaf_failure:?}"
    );
    assert!(deaf_time + slack > CONNECT_TIMEOUT, "{deaf_time:?}");
    let promised = HEARTBEAT_INTERVAL + HEARTBEAT_TIMEOUT;
    assert!(stopped_time + slack > HEARTBEAT_TIMEOUT, "{stopped_time:?}");
    assert!(
        stopped_time < promised + Duration::from_secs(8),
        "{stopped_time:?}"
    );
}

const DEAF: &str = "
import socket, sys
listener = socket.socket()
listener.bind(('127.0.0.1', 0))
listener.listen(0)
callers = []
for _ in range(4):
    caller = socket.socket()
    caller.setblocking(False)
    caller.connect_ex(listener.getsockname())
    callers.append(caller)
print(listener.getsockname()[1], flush=True)
sys.stdin.read()
";
