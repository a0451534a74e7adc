//! What a client of ZMTP with CURVE is sent at any time. The first byte says how far a handshake
//! has gone by the rules, the second how the rest is cut.
#![no_main]

use libfuzzer_sys::fuzz_target;
use metrics_agent_fuzz::zmtp::{carry, ends};

fuzz_target!(|input: &[u8]| {
    let [stage, cut, bytes @ ..] = input else {
        return;
    };
    let (mut client, mut server) = ends();
    // The first part of the greetings, the rest of the server's, HELLO, WELCOME, INITIATE, READY.
    for step in 0..stage % 7 {
        if step % 2 == 0 {
            carry(&mut client, &mut server);
        } else {
            carry(&mut server, &mut client);
        }
    }
    assert!(!client.over);
    let was_up = client.connection.is_up();
    let received = client.take_in_pieces(bytes, *cut);
    // Who does not know the keys is no server, and brings nothing through.
    assert!(received.is_empty());
    assert!(was_up || !client.connection.is_up());
});
