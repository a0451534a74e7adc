//! Addresses of collectors, as people and configuration management write them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use metrics_agent::curve::endpoint::{Endpoint, Host};

fuzz_target!(|text: &str| {
    match text.parse::<Endpoint>() {
        Ok(endpoint) => {
            assert_ne!(endpoint.port(), 0);
            if let Host::Name(name) = endpoint.host() {
                assert!(!name.is_empty() && name.len() <= 254, "{name:?}");
                assert!(name.bytes().all(|byte| byte.is_ascii_graphic()), "{name:?}");
            }
            let shown = endpoint.to_string();
            assert_eq!(
                shown.parse::<Endpoint>().as_ref(),
                Ok(&endpoint),
                "{shown:?}"
            );
        }
        Err(error) => {
            let text = error.to_string();
            assert!(!text.chars().any(char::is_control), "{text:?}");
        }
    }
});
