//! The file that says which host name belongs to which key.
#![no_main]

use libfuzzer_sys::fuzz_target;
use metrics_agent::collector::access::pins::Pins;
use metrics_agent::protocol::message::check_host;
use metrics_agent_fuzz::assert_loggable;

fuzz_target!(|text: &str| {
    match Pins::from_text(text) {
        Ok(pins) => {
            for (host, pin) in pins.sorted() {
                assert_eq!(check_host(host), Ok(()));
                assert_eq!(pins.get(host), Some(pin));
            }
            let written = pins.to_text();
            assert_eq!(Pins::from_text(&written).as_ref(), Ok(&pins), "{written}");
            // Without its end it is no file of pins.
            let lines = written.trim_end().lines().count();
            let cut: String = written
                .lines()
                .take(lines - 1)
                .flat_map(|line| [line, "\n"])
                .collect();
            assert!(Pins::from_text(&cut).is_err());
        }
        Err(error) => assert_loggable(&error),
    }
});
