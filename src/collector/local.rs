//! What the files of this host's collector say, for programs that look for it while it does not
//! run or cannot be asked.

use std::path::Path;

use super::keys::Found;
use super::settings::{self, Inputs};
use crate::curve::certificate::Certificate;
use crate::curve::endpoint::DEFAULT_VIEWERS_PORT;
use crate::curve::keys::PublicKey;
use crate::curve::router::Listen;

/// Where its public certificate may be, besides what its settings name.
const CERTIFICATES: [&str; 2] = [
    "/etc/metrics-collector/curve/collector.key",
    "/var/lib/metrics-collector/collector.key",
];

/// Where viewers reach it, if at all; its key, if there is one that this user may read.
#[must_use]
pub fn from_files() -> (Option<Listen>, Option<PublicKey>) {
    read(&Inputs::of_process(), &CERTIFICATES.map(Path::new))
}

fn read(inputs: &Inputs, certificates: &[&Path]) -> (Option<Listen>, Option<PublicKey>) {
    let by_default = Listen::Any {
        port: DEFAULT_VIEWERS_PORT,
    };
    // Mistakes in its settings are reported by the collector.
    let loaded = settings::load(inputs).ok();
    let listen = loaded
        .as_ref()
        .map_or(Some(by_default), |loaded| loaded.settings.listen.viewers);
    let key = match loaded.map(|loaded| loaded.keys) {
        Some(Found::Keys(keys)) => Some(keys.pair.public),
        _ => certificates
            .iter()
            .find_map(|path| Certificate::read_public(path).ok()),
    };
    (listen, key)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::collector::keys::Places;

    const KEY: &str = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7";

    #[test]
    fn settings_and_certificates_are_read() {
        let root = tempfile::tempdir().unwrap();
        let etc = root.path().join("etc");
        let state = root.path().join("state");
        fs::create_dir_all(&etc).unwrap();
        let mut inputs = Inputs::of_process();
        inputs.usr_dir = root.path().join("usr");
        inputs.etc_dir.clone_from(&etc);
        inputs.places = Places {
            credentials: None,
            etc: etc.join("curve"),
            state: Some(state.clone()),
        };
        let certificate = root.path().join("collector.key");
        let find = || read(&inputs, &[&certificate]);
        assert_eq!(find(), (Some(Listen::Any { port: 5557 }), None));

        fs::write(&certificate, format!("curve\n    public-key = \"{KEY}\"\n")).unwrap();
        let (listen, key) = find();
        assert_eq!(listen, Some(Listen::Any { port: 5557 }));
        assert_eq!(key.unwrap().to_string(), KEY);

        let text = "[listen]\nviewers = \"127.0.0.1:6001\"\n";
        fs::write(etc.join("metrics-collector.toml"), text).unwrap();
        let pair = Certificate::write_pair(&state, "collector").unwrap();
        let address = "127.0.0.1:6001".parse().unwrap();
        let expected = (Some(Listen::Address(address)), Some(pair.public));
        assert_eq!(find(), expected);

        let text = "[listen]\nviewers = \"none\"\n";
        fs::write(etc.join("metrics-collector.toml"), text).unwrap();
        assert_eq!(find(), (None, Some(pair.public)));
    }
}
