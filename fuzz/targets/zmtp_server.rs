//! What a server of ZMTP with CURVE is sent at any time. The first byte says how far a handshake
//! has gone by the rules, the second how the rest is cut.
#![no_main]

use libfuzzer_sys::fuzz_target;
use metrics_agent_fuzz::zmtp::{carry, ends};

fuzz_target!(|input: &[u8]| {
    let [stage, cut, bytes @ ..] = input else {
        return;
    };
    let (mut client, mut server) = ends();
    // The first part of the greetings, the rest of the server's, the client's with HELLO,
    // WELCOME, INITIATE.
    for step in 0..stage % 7 {
        match step {
            0 | 2 => carry(&mut client, &mut server),
            1 | 3 => carry(&mut server, &mut client),
            4 => {
                server.verdict = [Some(true), None, Some(false)][usize::from(stage / 7 % 3)];
                carry(&mut client, &mut server);
            }
            // READY, and what is on its way with a message.
            _ => {
                carry(&mut server, &mut client);
                if client.connection.is_up() {
                    let sent = client.connection.send(&[b"one", b"two"], &mut client.out);
                    assert!(matches!(sent, Ok(true)));
                    carry(&mut client, &mut server);
                }
            }
        }
    }
    assert!(!server.over);
    let was_up = server.connection.is_up();
    let received = server.take_in_pieces(bytes, *cut);
    // Who does not know the keys brings nobody in, and nothing through.
    assert!(received.is_empty());
    assert!(was_up || !server.connection.is_up());
});
