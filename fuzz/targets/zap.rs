//! What libzmq asks of a key (ZAP): its own words, but for the address.
#![no_main]

use libfuzzer_sys::fuzz_target;
use metrics_agent::curve::router::RoutingIdBytes;
use metrics_agent::curve::zap::ZapRequest;
use metrics_agent_fuzz::frames;

fuzz_target!(|input: &[u8]| {
    let frames = frames(input);
    let session = RoutingIdBytes::from(&b"session"[..]);
    let Some(request) = ZapRequest::parse(session, &frames) else {
        return;
    };
    let [b"", b"1.0", _, domain, address, _, b"CURVE", key] = frames[..] else {
        panic!("RFC 27 knows no such question: {frames:?}");
    };
    assert_eq!(request.domain.as_bytes(), domain);
    assert_eq!(request.address.as_bytes(), address);
    assert_eq!(&request.key.as_bytes()[..], key);
});
