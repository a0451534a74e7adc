//! Key files. They come from administrators, who may have them from anywhere.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use metrics_agent::curve::certificate::Certificate;
use metrics_agent::curve::keys::PublicKey;

fuzz_target!(|input: &[u8]| {
    match Certificate::parse(Path::new("web1.key"), input) {
        Ok(certificate) => {
            let public = certificate.public.to_string();
            assert_eq!(public.parse::<PublicKey>().ok(), Some(certificate.public));
            // It is in the file, as it stands there.
            assert!(
                input
                    .windows(public.len())
                    .any(|part| part == public.as_bytes())
            );
            let text = format!("curve\n    public-key = \"{public}\"\n");
            let again = Certificate::parse(Path::new("again.key"), text.as_bytes());
            let again = again.expect("the least that a certificate says");
            assert_eq!(again.public, certificate.public);
            assert!(!format!("{certificate:?}").is_empty());
        }
        Err(error) => {
            let text = error.to_string();
            assert!(text.contains("web1.key"), "{text:?}");
            assert!(!text.chars().any(char::is_control), "{text:?}");
            for secret in secrets(input) {
                assert!(!text.contains(secret), "{text:?}");
            }
        }
    }
});

/// What may be a secret key, be it a wrong one. No text of an error has so many characters
/// without a blank, so none is in there by chance.
fn secrets(input: &[u8]) -> impl Iterator<Item = &str> {
    let lines = input.split(|byte| *byte == b'\n');
    lines.filter_map(|line| {
        let (name, value) = str::from_utf8(line).ok()?.split_once('=')?;
        let value = value.trim().trim_matches(['"', '\'']);
        let secret = value.len() >= 30 && !value.contains(char::is_whitespace);
        (name.trim() == "secret-key" && secret).then_some(value)
    })
}
