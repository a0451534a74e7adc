//! Our answers about who is let in, with libzmq's DEALER and with our own.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::Duration;

use metrics_agent::curve::context::Context;
use metrics_agent::curve::dealer::DealerEvent;
use metrics_agent::curve::frames::Received;
use metrics_agent::curve::keys::{KeyPair, PublicKey};
use metrics_agent::curve::link::{HandshakeFailure, LinkDownCause};
use metrics_agent::curve::router::{Router, RouterOptions};
use metrics_agent::curve::zap::{Authenticator, Domain, Verdict, ZapRequest};
use serde_json::json;
use tokio::time::timeout;

use crate::curve_dealer::{connect, event, local, up};
use crate::support::peer::{PATIENCE, Peer};

/// A router on a free port of 127.0.0.1 and its key.
fn bound(context: &Context, domain: Option<&Domain>) -> (Router, String) {
    let keys = KeyPair::generate().unwrap();
    let options = RouterOptions {
        listen: local(0).into(),
        keys: &keys,
        domain,
    };
    let router = Router::bind(context, options).unwrap();
    (router, keys.public.to_string())
}

/// A peer that was told to connect, and its key.
async fn peer(address: SocketAddr, server: &str) -> (Peer, PublicKey) {
    let mut peer = Peer::dealer();
    let keys = peer.ask(json!({"do": "keys"})).await;
    let address = format!("tcp://{address}");
    let connect = json!({"do": "connect", "address": address, "server": server});
    peer.ask(connect).await;
    (peer, keys["public"].as_str().unwrap().parse().unwrap())
}

async fn question(authenticator: &mut Authenticator) -> ZapRequest {
    let request = timeout(PATIENCE, authenticator.receive()).await;
    request.expect("libzmq asks").unwrap()
}

/// Answers whatever is asked from now on, for as long as it is polled.
async fn answering(authenticator: &mut Authenticator, verdict: Verdict) {
    loop {
        let request = authenticator.receive().await.unwrap();
        authenticator.answer(request, verdict);
    }
}

/// The next message's sender's key, and its first frame.
async fn message(router: &mut Router) -> (Option<PublicKey>, Vec<u8>) {
    let received = timeout(PATIENCE, router.receive()).await;
    match received.expect("something arrives").unwrap().1 {
        Received::Message(mut frames) => (frames.peer_key(), frames.get(0).unwrap().to_vec()),
        other @ Received::TooManyFrames { .. } => panic!("expected a message: {other:?}"),
    }
}

#[tokio::test]
async fn every_message_of_a_peer_that_is_let_in_carries_its_key() {
    let context = Context::new().unwrap();
    let mut authenticator = Authenticator::bind(&context).unwrap();
    let agents = authenticator.domain("agents");
    let (mut router, server) = bound(&context, Some(&agents));
    let (mut peer, key) = peer(router.address(), &server).await;
    let request = question(&mut authenticator).await;
    assert_eq!(
        (&*request.domain, &*request.address, request.key),
        ("agents", "127.0.0.1", key)
    );
    authenticator.answer(request, Verdict::Allow);
    peer.link("HANDSHAKE_SUCCEEDED").await;
    for word in [b"one", b"two"] {
        peer.send(None, &[word, b"x"]).await;
        assert_eq!(message(&mut router).await, (Some(key), word.to_vec()));
    }
}

#[tokio::test]
async fn a_peer_that_is_denied_learns_it_and_is_not_heard() {
    let context = Context::new().unwrap();
    let mut authenticator = Authenticator::bind(&context).unwrap();
    let agents = authenticator.domain("agents");
    let (mut router, server) = bound(&context, Some(&agents));
    let (mut denied, key) = peer(router.address(), &server).await;
    denied.tell(&json!({"do": "send", "frames": ["00"]}));
    let request = question(&mut authenticator).await;
    assert_eq!(request.key, key);
    authenticator.answer(request, Verdict::Deny);
    denied.link("HANDSHAKE_FAILED_AUTH").await;

    let mut ours = connect(&context, router.address(), &server);
    let request = question(&mut authenticator).await;
    authenticator.answer(request, Verdict::Deny);
    match event(&mut ours).await {
        DealerEvent::LinkDown(LinkDownCause::HandshakeFailed(HandshakeFailure::Refused(400))) => {}
        other => panic!("expected a refusal: {other:?}"),
    }

    let (mut friend, key) = peer(router.address(), &server).await;
    let request = question(&mut authenticator).await;
    authenticator.answer(request, Verdict::Allow);
    friend.send(None, &[b"hello"]).await;
    assert_eq!(message(&mut router).await, (Some(key), b"hello".to_vec()));
    assert!(router.try_receive().unwrap().is_none());
}

#[tokio::test]
async fn two_routers_are_told_apart() {
    let context = Context::new().unwrap();
    let mut authenticator = Authenticator::bind(&context).unwrap();
    let (agents, viewers) = (
        authenticator.domain("agents"),
        authenticator.domain("viewers"),
    );
    let (mut first, first_key) = bound(&context, Some(&agents));
    let (mut second, second_key) = bound(&context, Some(&viewers));
    for (router, server, domain) in [
        (&mut first, first_key, "agents"),
        (&mut second, second_key, "viewers"),
    ] {
        // Our own end, too.
        let mut ours = connect(&context, router.address(), &server);
        let request = question(&mut authenticator).await;
        assert_eq!(request.domain, domain);
        let key = request.key;
        authenticator.answer(request, Verdict::Allow);
        up(&mut ours).await;
        ours.try_send(&[domain.as_bytes()]).unwrap();
        assert_eq!(
            message(router).await,
            (Some(key), domain.as_bytes().to_vec())
        );
    }
}

/// libzmq waits for the answer: who has none is neither let in nor heard.
#[tokio::test]
async fn no_peer_is_let_in_without_an_answer() {
    let context = Context::new().unwrap();
    let mut authenticator = Authenticator::bind(&context).unwrap();
    let agents = authenticator.domain("agents");
    let (mut router, server) = bound(&context, Some(&agents));
    let (mut early, _) = peer(router.address(), &server).await;
    let unanswered = question(&mut authenticator).await;
    early.tell(&json!({"do": "send", "frames": ["00"]}));
    // Another one comes and goes meanwhile.
    let (mut other, key) = peer(router.address(), &server).await;
    let request = question(&mut authenticator).await;
    authenticator.answer(request, Verdict::Allow);
    other.send(None, &[b"other"]).await;
    assert_eq!(message(&mut router).await, (Some(key), b"other".to_vec()));
    assert!(router.try_receive().unwrap().is_none());
    // An answer for one who has gone is no trouble.
    early.kill();
    other.kill();
    authenticator.answer(unanswered, Verdict::Allow);
    let (mut late, key) = peer(router.address(), &server).await;
    let request = question(&mut authenticator).await;
    authenticator.answer(request, Verdict::Allow);
    late.send(None, &[b"late"]).await;
    assert_eq!(message(&mut router).await, (Some(key), b"late".to_vec()));
}

#[tokio::test]
async fn without_a_domain_no_peer_is_known() {
    let context = Context::new().unwrap();
    let (mut router, server) = bound(&context, None);
    let (mut peer, _) = peer(router.address(), &server).await;
    peer.send(None, &[b"hello"]).await;
    assert_eq!(message(&mut router).await, (None, b"hello".to_vec()));
}

/// Without an answer libzmq lets all peers in: then none of them is known.
#[tokio::test]
async fn no_peer_is_known_once_no_answer_comes() {
    let context = Context::new().unwrap();
    let mut authenticator = Authenticator::bind(&context).unwrap();
    let agents = authenticator.domain("agents");
    let (mut router, server) = bound(&context, Some(&agents));
    let (mut known, key) = peer(router.address(), &server).await;
    let request = question(&mut authenticator).await;
    authenticator.answer(request, Verdict::Allow);
    known.send(None, &[b"known"]).await;
    assert_eq!(message(&mut router).await, (Some(key), b"known".to_vec()));
    drop(authenticator);
    let (mut unknown, _) = peer(router.address(), &server).await;
    for peer in [&mut known, &mut unknown] {
        peer.send(None, &[b"later"]).await;
        assert_eq!(message(&mut router).await, (None, b"later".to_vec()));
    }
}

/// A whole fleet at once, each with a key of its own.
#[tokio::test]
async fn a_flood_of_handshakes_is_answered() {
    const COUNT: usize = 1_000;
    let context = Context::new().unwrap();
    let mut authenticator = Authenticator::bind(&context).unwrap();
    let agents = authenticator.domain("agents");
    let (mut router, server) = bound(&context, Some(&agents));
    let mut crowd = Peer::dealer();
    let address = format!("tcp://{}", router.address());
    let connecting = crowd.ask(
        json!({"do": "crowd", "address": address, "server": server, "count": COUNT,
               "frames": ["00"]}),
    );
    let mut keys = HashSet::new();
    let hear_all = async {
        while keys.len() < COUNT {
            let (key, _) = message(&mut router).await;
            keys.insert(key.expect("a key that was let in"));
        }
    };
    let heard = async {
        tokio::select! {
            () = answering(&mut authenticator, Verdict::Allow) => {}
            _ = async { tokio::join!(connecting, hear_all) } => {}
        }
    };
    timeout(4 * PATIENCE, heard).await.expect("all are heard");
    assert_eq!(keys.len(), COUNT);
    assert!(
        timeout(Duration::ZERO, authenticator.receive())
            .await
            .is_err(),
        "one was asked about twice"
    );
}
