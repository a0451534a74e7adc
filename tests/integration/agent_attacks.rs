//! What a collector with the right key may do to the running agent: its memory stays bounded, it goes
//! on sampling, and its other collector misses nothing.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::Duration;

use metrics_agent::curve::keys::KeyPair;

use crate::support::attack::{Attack, greeting, say};
use crate::support::evil::{Count, Evil, write_some};
use crate::support::victim::Victim;
use crate::support::zmtp::Socket;

/// What is received is held once as a frame and once as a message, 68 KiB each. The rest is what
/// sampling takes and gives back meanwhile, and what the allocator keeps.
const BOUND_OF_RECEIVED_KIB: u64 = 2 * 1024;

/// Of what waits to be sent there are 256 KiB, a message of the largest size that a collector takes,
/// and what has left and is not let go of yet, in memory that doubles.
const BOUND_OF_SENT_KIB: u64 = 6 * 1024;

/// Where a test has no better sign that an attack is under way than that much was taken.
const MANY: usize = 10_000;

/// A message that does not end, of small frames, of large ones, and of frames that do not end.
#[tokio::test]
async fn a_message_of_endless_frames_is_not_held() {
    let evil = Evil::new();
    let mut victim = Victim::of(&evil.section("evil")).await;
    let memory = victim.memory();
    let (mut number, mut sent) = (0, 0);
    let (attack, ended) = evil.on_each(move |socket| {
        let size = [1, 4 * 1024, 60 * 1024][number % 3];
        let frame = vec![b'x'; size];
        let frames = [&frame[..]; 16];
        let went = socket.send_on(&frames);
        sent += frames.len();
        // Far beyond where it has to end.
        assert!(sent < 1_000_000, "{size}");
        if went.is_err() {
            (number, sent) = (number + 1, 0);
        }
        went
    });
    let why = "the peer's message has more than 10000 frames and does not end";
    victim.is_without("evil", why).await;
    ended.reaches(3, "each kind has ended").await;
    victim.goes_on().await;
    let grown = memory.grown().await;
    say(&format!("endless frames: {grown} KiB"));
    attack.end().await;
    assert!(grown < BOUND_OF_RECEIVED_KIB, "{grown} KiB");
    victim.missed_nothing().await;
}

/// PINGs without end, each of which wants an answer.
#[tokio::test]
async fn a_flood_of_pings_holds_nothing_up() {
    let evil = Evil::new();
    let mut victim = Victim::of(&evil.section("evil")).await;
    let memory = victim.memory();
    let sent = Count::default();
    let counted = sent.clone();
    let (attack, ended) = evil.on_each(move |socket| {
        let pings = socket.pings(100);
        socket.stream().write_all(&pings)?;
        socket.look();
        counted.add(100);
        Ok(())
    });
    sent.reaches(MANY, "many are sent").await;
    victim.goes_on().await;
    let grown = memory.grown().await;
    say(&format!("PINGs: {grown} KiB"));
    assert_eq!(ended.now(), 0, "the connection is up");
    attack.end().await;
    assert!(grown < BOUND_OF_RECEIVED_KIB, "{grown} KiB");
    victim.missed_nothing().await;
}

/// Messages without end that make no sense.
#[tokio::test]
async fn a_flood_of_garbage_holds_nothing_up() {
    let evil = Evil::new();
    let mut victim = Victim::of(&evil.section("evil")).await;
    let memory = victim.memory();
    let mut random = fastrand::Rng::with_seed(7);
    let (attack, ended) = evil.on_each(move |socket| {
        let mut garbage = vec![Vec::new(); random.usize(1..12)];
        for frame in &mut garbage {
            frame.resize(random.usize(0..500), 0);
            random.fill(frame);
        }
        let frames: Vec<_> = garbage.iter().map(Vec::as_slice).collect();
        let message = socket.sealed(&frames);
        socket.stream().write_all(&message)?;
        socket.look();
        Ok(())
    });
    victim.counts("MessagesReceived", MANY as u64).await;
    victim.goes_on().await;
    let grown = memory.grown().await;
    say(&format!("garbage: {grown} KiB"));
    assert_eq!(ended.now(), 0, "the connection is up");
    attack.end().await;
    assert!(grown < BOUND_OF_RECEIVED_KIB, "{grown} KiB");
    let lines = victim.agent.said("Ignored a message from evil");
    assert!(lines.len() < 3, "{lines:#?}");
    victim.missed_nothing().await;
}

/// It takes nothing off its socket: neither samples nor the answers to its PINGs, which it sends as
/// long as the agent takes them.
async fn never_reads() {
    let evil = Evil::new();
    let mut victim = Victim::of(&evil.section("evil")).await;
    let memory = victim.memory();
    let stalled = Count::default();
    let (counted, mut waits) = (stalled.clone(), Vec::new());
    let (attack, ended) = evil.on_each(move |socket| {
        if waits.is_empty() {
            waits = socket.sealed(&[b"CTRL", b"model"]);
            waits.extend(socket.pings(1000));
        }
        let taken = write_some(socket.stream(), &mut waits);
        if matches!(taken, Ok(false)) {
            counted.add(1);
            std::thread::sleep(Duration::from_millis(5));
        }
        // What is left of it is not for the next connection.
        taken.map(drop).inspect_err(|_| waits.clear())
    });
    victim.counts("MessagesDropped", 10).await;
    // The agent has read nothing for a while, and this is not its pace.
    stalled.reaches(400, "the agent reads no more").await;
    victim.goes_on().await;
    // It is left when the agent has heard nothing for the time of two heartbeats.
    victim.is_without("evil", "the peer was silent for").await;
    let grown = memory.grown().await;
    say(&format!("never reads: {grown} KiB"));
    assert!(ended.now() > 0, "that was its connection");
    attack.end().await;
    assert!(grown < BOUND_OF_SENT_KIB, "{grown} KiB");
    victim.missed_nothing().await;
}

/// A byte a second, of the greeting and of WELCOME.
async fn trickles() {
    let [early, late] = [Evil::new(), Evil::new()];
    let sections = early.section("evil") + &late.section("late");
    let mut victim = Victim::of(&sections).await;
    let memory = victim.memory();
    let trickle = |evil: Evil, first: Vec<u8>, rest: Vec<u8>| {
        let mut open: Option<(TcpStream, std::vec::IntoIter<u8>)> = None;
        Attack::begin(move |_| {
            let Some((stream, rest_of_it)) = &mut open else {
                open = evil.comes().map(|mut stream| {
                    stream.write_all(&first).unwrap();
                    (stream, rest.clone().into_iter())
                });
                return;
            };
            // There is more than fits into the time that a handshake has.
            if stream.write_all(&[rest_of_it.next().unwrap()]).is_err() {
                open = None;
                return;
            }
            std::thread::sleep(Duration::from_secs(1));
        })
    };
    let welcome = [b"\x04\xA8\x07WELCOME".as_slice(), &[0; 160]].concat();
    let one = trickle(early, Vec::new(), greeting());
    let other = trickle(late, greeting(), welcome);
    for name in ["evil", "late"] {
        let why = "the peer did not finish the handshake within 10 s";
        victim.is_without(name, why).await;
    }
    victim.goes_on().await;
    let grown = memory.grown().await;
    say(&format!("trickles: {grown} KiB"));
    one.end().await;
    other.end().await;
    assert!(grown < BOUND_OF_RECEIVED_KIB, "{grown} KiB");
    victim.missed_nothing().await;
}

/// What can only be told by waiting for it, at once.
#[tokio::test]
async fn a_collector_that_takes_or_tells_nothing_is_not_waited_for() {
    tokio::join!(never_reads(), trickles());
}

/// ERROR, with the status 400.
const ERROR: &[u8] = b"\x04\x0A\x05ERROR\x03400";

/// A frame of 2^62 bytes: a command, and what came of it.
const HUGE: &[u8] = b"\x06\x40\0\0\0\0\0\0\0and some of it";

/// Does it on the next connection, and keeps that open.
type Act = fn(&Evil) -> Option<Socket>;

/// Writes this after a greeting.
fn greets(evil: &Evil, then: &[u8]) -> Option<Socket> {
    let mut socket = evil.comes()?;
    socket.write_all(&[&greeting(), then].concat()).unwrap();
    Some(Socket::served(socket, &KeyPair::generate().unwrap()))
}

/// Writes what is made of a connection that is up.
fn writes(evil: &Evil, make: impl FnOnce(&mut Socket) -> Vec<u8>) -> Option<Socket> {
    let mut socket = evil.lets_in()?;
    let bytes = make(&mut socket);
    socket.stream().write_all(&bytes).unwrap();
    Some(socket)
}

const PING: &[&[u8]] = &[b"CTRL", b"ping"];
const REPLAYED: &str = "the peer's MESSAGE has a nonce that is not higher than the last one";
const FORGED: &str = "the peer's MESSAGE was made with another key or changed on its way";

/// What is done on a connection, why that ends it, and how it is done.
const CASES: [(&str, &str, Act); 11] = [
    ("repeats", REPLAYED, |evil| {
        writes(evil, |socket| socket.sealed(PING).repeat(2))
    }),
    ("jumps-and-goes-back", REPLAYED, |evil| {
        writes(evil, |socket| {
            let [first, second] = [socket.sealed(PING), socket.sealed(PING)];
            [second, first].concat()
        })
    }),
    ("changes-a-tag", FORGED, |evil| {
        writes(evil, |socket| {
            let mut message = socket.sealed(PING);
            message[20] ^= 1;
            message
        })
    }),
    ("changes-a-text", FORGED, |evil| {
        writes(evil, |socket| {
            let mut message = socket.sealed(PING);
            *message.last_mut().unwrap() ^= 0x80;
            message
        })
    }),
    (
        "huge-when-up",
        "the peer announces a frame of 4611686018427387904 bytes; at most 65569",
        |evil| writes(evil, |_| HUGE.to_vec()),
    ),
    (
        "huge-in-the-handshake",
        "the peer announces a frame of 4611686018427387904 bytes; at most 2048",
        |evil| greets(evil, HUGE),
    ),
    (
        "error-when-up",
        "the peer sent an unknown command where MESSAGE was due",
        |evil| writes(evil, |_| ERROR.to_vec()),
    ),
    (
        "error-first",
        "the peer speaks another protocol, not ZMTP",
        |evil| {
            let mut stream = evil.comes()?;
            stream.write_all(ERROR).unwrap();
            Some(Socket::served(stream, &KeyPair::generate().unwrap()))
        },
    ),
    (
        "error-for-welcome",
        "the peer refused our key (status 400)",
        |evil| greets(evil, ERROR),
    ),
    (
        "error-for-ready",
        "the peer refused our key (status 400)",
        |evil| {
            let mut socket = evil.begins()?.refusing();
            assert_eq!(socket.ended(), "refused");
            Some(socket)
        },
    ),
    (
        "ready-for-welcome",
        "the peer sent READY where WELCOME was due",
        |evil| greets(evil, b"\x04\x06\x05READY"),
    ),
];

/// What is wrong with each is said, and ends that connection alone.
#[tokio::test]
async fn who_breaks_a_rule_is_left_with_the_reason() {
    let evils: Vec<_> = CASES.iter().map(|_| Evil::new()).collect();
    let sections = CASES.iter().zip(&evils);
    let sections: String = sections
        .map(|((name, ..), evil)| evil.section(name))
        .collect();
    let mut victim = Victim::of(&sections).await;
    let memory = victim.memory();
    let attacks: Vec<_> = CASES
        .into_iter()
        .zip(evils)
        .map(|((.., act), evil)| {
            let mut held = Vec::new();
            Attack::begin(move |_| held.extend(act(&evil)))
        })
        .collect();
    for (name, why, _) in CASES {
        victim.is_without(name, why).await;
    }
    victim.samples(10).await;
    let grown = memory.grown().await;
    say(&format!("rules broken: {grown} KiB"));
    for attack in attacks {
        attack.end().await;
    }
    assert!(grown < BOUND_OF_RECEIVED_KIB, "{grown} KiB");
    victim.missed_nothing().await;
}
