//! Ends that know the cryptography and break the rules behind it.

use super::*;
use crate::curve::keys::SecretKey;
use crate::curve::zmtp::boxes::tests::low_order_points;
use crate::curve::zmtp::connection::Awaits;
use crate::curve::zmtp::frames::LONG;
use crate::curve::zmtp::random;
use crate::curve::zmtp::test_ends::{CLIENT_SEED, Ends, SERVER_SEED, Seeded, key_pair};

/// Where the box begins, behind what stands open in a command.
const HELLO_BOX: usize = HELLO.len() + 2 + 72 + 32 + COUNTER_BYTES;
const WELCOME_BOX: usize = WELCOME.len() + LONG_NONCE_BYTES;
const INITIATE_BOX: usize = INITIATE.len() + COOKIE_BYTES + COUNTER_BYTES;
const READY_BOX: usize = READY.len() + COUNTER_BYTES;

/// The secret key that an end of [`Ends`] draws first.
fn transient(seed: u64) -> SecretKey {
    let mut random = Seeded(fastrand::Rng::with_seed(seed));
    random::transient_pair(&mut random).unwrap().secret
}

fn agree(ours: &SecretKey, theirs: &PublicKey) -> SharedKey {
    SharedKey::agree(ours, theirs).unwrap()
}

/// What the ends have in common before the server's transient key is known, and after.
fn shared_keys(ends: &Ends) -> (SharedKey, SharedKey) {
    let client = transient(CLIENT_SEED);
    let server = transient(SERVER_SEED).public();
    (
        agree(&client, &ends.server.keys.public),
        agree(&client, &server),
    )
}

fn body(written: &[u8]) -> &[u8] {
    let header = if written[0] & LONG == 0 { 2 } else { 9 };
    &written[header..]
}

fn command(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    push_header(&mut out, COMMAND, body.len());
    out.extend(body);
    out
}

/// A command whose box is opened, changed and sealed again.
fn altered(
    written: &[u8],
    at: usize,
    (key, counter): (&BoxKey, [u8; COUNTER_BYTES]),
    change: impl FnOnce(&mut Vec<u8>),
) -> Vec<u8> {
    let (open, sealed) = body(written).split_at(at);
    let (tag, text) = sealed.split_first_chunk::<TAG_BYTES>().unwrap();
    let mut text = text.to_vec();
    key.open(counter, tag, &mut text).unwrap();
    change(&mut text);
    let tag = key.seal(counter, &mut text);
    command(&[open, &tag, &text].concat())
}

/// What becomes of a server that gets this INITIATE.
fn after_initiate(change: impl FnOnce(&mut Vec<u8>)) -> Ends {
    let mut ends = Ends::new();
    let initiate = ends.stop_before(true, 2);
    let (_, shared) = shared_keys(&ends);
    let key = shared.begin(INITIATE_NONCE);
    let initiate = altered(&initiate, INITIATE_BOX, (&key, 2_u64.to_be_bytes()), change);
    ends.server.take(&initiate, ends.now);
    ends
}

fn violation_of_server(ends: &Ends) -> &str {
    assert!(ends.server.knocked.is_none());
    ends.server.violation.as_deref().unwrap_or_default()
}

/// What becomes of a client that gets this WELCOME.
fn after_welcome(change: impl FnOnce(&mut Vec<u8>)) -> Ends {
    let mut ends = Ends::new();
    let welcome = ends.stop_before(false, 1);
    let (shared, _) = shared_keys(&ends);
    let nonce = *body(&welcome)[WELCOME.len()..].first_chunk().unwrap();
    let (key, counter) = with_long_nonce(&shared, *WELCOME_NONCE, nonce);
    let welcome = altered(&welcome, WELCOME_BOX, (&key, counter), change);
    ends.client.take(&welcome, ends.now);
    ends
}

fn after_ready(change: impl FnOnce(&mut Vec<u8>)) -> Ends {
    let mut ends = Ends::new();
    let ready = ends.stop_before(false, 2);
    let (_, shared) = shared_keys(&ends);
    let key = shared.begin(READY_NONCE);
    let ready = altered(&ready, READY_BOX, (&key, 1_u64.to_be_bytes()), change);
    ends.client.take(&ready, ends.now);
    ends
}

const FORGED: &str = "the peer's INITIATE was made with another key or changed on its way";

#[test]
fn what_is_sealed_again_unchanged_is_taken() {
    assert!(after_initiate(|_| {}).server.connection.is_up());
    assert_eq!(after_welcome(|_| {}).client.violation, None);
    assert!(after_ready(|_| {}).client.connection.is_up());
}

#[test]
fn keys_of_low_order_are_refused_wherever_they_stand() {
    for low in low_order_points() {
        let mut ends = Ends::new();
        let mut hello = ends.stop_before(true, 1);
        let key = hello.len() - TAG_BYTES - 64 - COUNTER_BYTES - 32;
        hello[key..][..32].copy_from_slice(low.as_bytes());
        ends.server.take(&hello, ends.now);
        let text = "the peer's HELLO has a public key that keeps no secret";
        assert_eq!(violation_of_server(&ends), text, "{low}");

        let ends = after_welcome(|text| text[..32].copy_from_slice(low.as_bytes()));
        let text = "the peer's WELCOME has a public key that keeps no secret";
        assert_eq!(ends.client.violation.as_deref(), Some(text), "{low}");
        assert!(ends.client.out.is_empty());

        let ends = after_initiate(|text| text[..32].copy_from_slice(low.as_bytes()));
        let text = "the peer's INITIATE has a public key that keeps no secret";
        assert_eq!(violation_of_server(&ends), text, "{low}");
    }
}

#[test]
fn a_client_refuses_a_server_key_of_low_order_before_it_says_anything() {
    for low in low_order_points() {
        let mut ends = Ends::new();
        ends.client.expect(low);
        ends.settle();
        assert!(ends.client.violation.is_some());
        let hello = Awaits::Command(Command::Hello);
        assert_eq!(ends.server.connection.awaits(), Some(hello));
    }
}

/// The vouch is a box of the client's lasting key, with its transient key and the server's in it.
#[test]
fn a_vouch_is_for_this_transient_key_and_this_server() {
    let client = transient(CLIENT_SEED).public();
    let server = key_pair(2).public;
    let other = key_pair(7).public;
    let vouched = |transient_key: PublicKey, server: PublicKey, with: SecretKey| {
        after_initiate(|text| {
            let lasting = agree(&with, &transient(SERVER_SEED).public());
            let nonce = *text[32..].first_chunk().unwrap();
            let (key, counter) = with_long_nonce(&lasting, *VOUCH_NONCE, nonce);
            let mut vouch = [*transient_key.as_bytes(), *server.as_bytes()].concat();
            let tag = key.seal(counter, &mut vouch);
            text[48..64].copy_from_slice(&tag);
            text[64..128].copy_from_slice(&vouch);
        })
    };
    assert!(
        vouched(client, server, key_pair(1).secret)
            .server
            .connection
            .is_up()
    );
    for ends in [
        vouched(other, server, key_pair(1).secret),
        vouched(client, other, key_pair(1).secret),
        vouched(client, server, key_pair(7).secret),
        // Another's key, and the vouch as it was.
        after_initiate(|text| text[..32].copy_from_slice(other.as_bytes())),
        // The server's own key: no other end can vouch with it.
        after_initiate(|text| text[..32].copy_from_slice(server.as_bytes())),
    ] {
        assert_eq!(violation_of_server(&ends), FORGED);
    }
}

#[test]
fn what_is_authentic_and_has_another_form_is_malformed() {
    let malformed = |command| format!("the peer's {command} is malformed");
    // All of a vouch has to be there, and something behind it.
    for length in 0..=128 {
        let ends = after_initiate(|text| text.truncate(length));
        assert_eq!(violation_of_server(&ends), malformed("INITIATE"));
    }
    let ends = after_initiate(|text| text.push(1));
    assert_eq!(violation_of_server(&ends), malformed("INITIATE"));
    let ends = after_ready(|text| text.push(1));
    assert_eq!(ends.client.violation, Some(malformed("READY")));
    for ends in [
        after_welcome(|text| text.push(0)),
        after_welcome(|text| text.truncate(127)),
    ] {
        assert_eq!(ends.client.violation, Some(malformed("WELCOME")));
    }

    let hello = || {
        let mut ends = Ends::new();
        let hello = ends.stop_before(true, 1);
        (ends, hello)
    };
    let (ends, written) = hello();
    let (shared, _) = shared_keys(&ends);
    let key = shared.begin(HELLO_NONCE);
    let counter = 1_u64.to_be_bytes();
    let body = body(&written);
    let with = |at: usize, byte: u8| {
        let mut body = body.to_vec();
        body[at] = byte;
        command(&body)
    };
    for wrong in [
        altered(&written, HELLO_BOX, (&key, counter), |text| text[63] = 1),
        altered(&written, HELLO_BOX, (&key, counter), |text| text.push(0)),
        with(HELLO.len(), 2),
        with(HELLO.len() + 1, 1),
        with(HELLO.len() + 2, 1),
        with(HELLO.len() + 2 + 71, 1),
        command(&body[..body.len() - 1]),
        command(HELLO),
    ] {
        let (mut ends, _) = hello();
        ends.server.take(&wrong, ends.now);
        assert_eq!(violation_of_server(&ends), malformed("HELLO"));
        assert!(ends.server.out.is_empty());
    }
}

#[test]
fn an_initiate_has_a_higher_nonce_than_the_hello() {
    for (counter, fits) in [(0_u64, false), (1, false), (2, true), (u64::MAX, true)] {
        let mut ends = Ends::new();
        let initiate = ends.stop_before(true, 2);
        let (_, shared) = shared_keys(&ends);
        let key = shared.begin(INITIATE_NONCE);
        let mut body = body(&initiate).to_vec();
        let (open, sealed) = body.split_at_mut(INITIATE_BOX);
        let (tag, text) = sealed.split_first_chunk_mut::<TAG_BYTES>().unwrap();
        key.open(2_u64.to_be_bytes(), tag, text).unwrap();
        *tag = key.seal(counter.to_be_bytes(), text);
        open[INITIATE_BOX - COUNTER_BYTES..].copy_from_slice(&counter.to_be_bytes());
        ends.server.take(&command(&body), ends.now);
        assert_eq!(ends.server.connection.is_up(), fits, "{counter}");
        if !fits {
            let text = "the peer's INITIATE has a nonce that is not higher than the last one";
            assert_eq!(violation_of_server(&ends), text);
        }
    }
}

#[test]
fn an_error_tells_its_reason_and_not_too_much_of_it() {
    let told = |rest: &[u8]| {
        let mut ends = Ends::new();
        let _ = ends.stop_before(false, 2);
        ends.client
            .take(&command(&[ERROR, rest].concat()), ends.now);
        ends.client.violation.unwrap()
    };
    assert_eq!(told(b"\x03400"), "the peer refused the connection: 400");
    assert_eq!(told(b"\0"), "the peer refused the connection: ");
    for malformed in [&b""[..], b"\x03", b"\x0340", b"\x034000"] {
        assert_eq!(told(malformed), "the peer's ERROR is malformed");
    }
    let long = [&[255], &[0x1B; 255][..]].concat();
    let expected = "the peer refused the connection: ".to_owned() + &r"\x1b".repeat(64);
    assert_eq!(told(&long), expected);
}
