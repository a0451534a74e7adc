//! More calls on a bus than anybody can answer.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::thread::JoinHandle;

use zbus::Message;
use zbus::message::Flags;

use crate::private_bus::PrivateBus;

/// Makes a call without wanting an answer a hundred thousand times on each of three
/// connections, as fast as the bus takes them.
pub(crate) fn flood(bus: &PrivateBus, name: &str, path: &str, method: &str) -> Vec<JoinHandle<()>> {
    const AT_ONCE: usize = 100;
    const TIMES: usize = 1000;
    let call = Message::method_call(path.to_owned(), method.to_owned());
    let call = call.interface(name).destination(name);
    let call = call
        .with_flags(Flags::NO_REPLY_EXPECTED)
        .build(&())
        .unwrap();
    let calls = call.data().bytes().repeat(AT_ONCE);
    let socket = bus.address().strip_prefix("unix:path=").unwrap().to_owned();
    let hello = Message::method_call("/org/freedesktop/DBus", "Hello");
    let hello = hello
        .interface("org.freedesktop.DBus")
        .destination("org.freedesktop.DBus")
        .build(&())
        .unwrap();
    let flood = move || {
        let mut bus = UnixStream::connect(&socket).unwrap();
        bus.write_all(b"\0AUTH EXTERNAL\r\nDATA\r\n").unwrap();
        let mut answers = BufReader::new(bus.try_clone().unwrap());
        for expected in ["DATA", "OK "] {
            let mut answer = String::new();
            answers.read_line(&mut answer).unwrap();
            assert!(answer.starts_with(expected), "{answer:?}");
        }
        bus.write_all(b"BEGIN\r\n").unwrap();
        bus.write_all(hello.data().bytes()).unwrap();
        for _ in 0..TIMES {
            bus.write_all(&calls).unwrap();
        }
        // Its end is read only after all of them.
        bus.shutdown(std::net::Shutdown::Write).unwrap();
        answers.read_to_end(&mut Vec::new()).unwrap();
    };
    let again = flood.clone();
    let once_more = flood.clone();
    vec![
        std::thread::spawn(flood),
        std::thread::spawn(again),
        std::thread::spawn(once_more),
    ]
}
