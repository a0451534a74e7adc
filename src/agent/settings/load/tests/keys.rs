//! Where keys are looked for, and which ones are refused.

use super::*;

#[test]
fn of_the_two_ways_to_give_a_key_the_later_layer_counts() {
    let host = Host::new();
    let public = host.pair("etc/curve", "c");
    host.etc(&format!(
        "[collector.a]\nendpoint = 'h'\npublic_key = '{KEY}'\npublic_key_file = 'c.key'"
    ));
    assert_eq!(
        host.problems(),
        [
            "~/etc/metrics-agent.toml:4: collector.a.public_key_file: set either public_key or public_key_file, not both",
        ]
    );
    let key = || host.load().unwrap().settings.collectors["a"].public_keys[0];
    host.etc(&format!(
        "[collector.a]\nendpoint = 'h'\npublic_key = '{KEY}'"
    ));
    host.write(
        "etc/metrics-agent.d/1.toml",
        "collector.a.public_key_file = 'c.key'",
    );
    assert_eq!(key(), public);
    host.write(
        "etc/metrics-agent.d/2.toml",
        format!("collector.a.public_key = '{KEY}'"),
    );
    assert_eq!(key().to_string(), KEY);
}

#[test]
fn key_files_are_looked_for_in_order() {
    let mut host = Host::new();
    host.inputs.credentials_directory = Some(host.at("credentials"));
    host.inputs.home = Some(host.at("home"));
    host.etc("collector.a.endpoint = 'h'");
    let missing = "~/etc/metrics-agent.toml:1: collector.a.public_key: collector.key not found: looked in \
                   ~/credentials, ~/etc/curve, ~/home/.curve; put the collector's public key there, or set public_key";
    assert_eq!(host.problems(), [missing]);
    for directory in ["home/.curve", "etc/curve", "credentials"] {
        let public = host.pair(directory, "collector");
        host.pair(directory, "agent");
        let loaded = host.load().unwrap();
        assert_eq!(
            loaded.settings.collectors["a"].public_keys[0], public,
            "{directory}"
        );
        assert_eq!(loaded.key_file, host.at(directory).join("agent.key_secret"));
        assert_eq!(loaded.generated_key, None);
    }
}

#[test]
fn key_files_that_are_no_good_are_refused() {
    let host = Host::new();
    host.etc("[collector.a]\nendpoint = 'h'\npublic_key_file = 'c.key'");
    let only = |text: &str| {
        let problems = host.problems();
        assert_eq!(problems.len(), 1, "{problems:#?}");
        assert!(problems[0].starts_with(text), "{}\n{text}", problems[0]);
    };
    let line = "~/etc/metrics-agent.toml:3: collector.a.public_key_file: ";
    only(&format!(
        "{line}c.key not found: looked in ~/etc/curve; put"
    ));
    fs::create_dir_all(host.at("etc/curve/c.key")).unwrap();
    only(&format!("{line}~/etc/curve/c.key: expected a regular file"));
    fs::remove_dir(host.at("etc/curve/c.key")).unwrap();
    host.write("etc/curve/c.key", "curve\n    public-key = \"short\"\n");
    only(&format!(
        "{line}~/etc/curve/c.key:2: public-key: expected 40 Z85 characters, found 5"
    ));
    host.write("etc/curve/c.key", "metadata\n");
    only(&format!("{line}~/etc/curve/c.key: expected `public-key"));
    host.write("etc/curve/c.key", vec![b'#'; 17 * 1024]);
    only(&format!(
        "{line}~/etc/curve/c.key: expected a certificate of at most"
    ));
    symlink("loop.key", host.at("etc/curve/loop.key")).unwrap();
    host.etc("[collector.a]\nendpoint = 'h'\npublic_key_file = 'loop.key'");
    only(&format!(
        "{line}~/etc/curve/loop.key: cannot open it: Too many levels"
    ));
    host.etc("[collector.a]\nendpoint = 'h'\npublic_key_file = '/nowhere/c.key'");
    only(&format!("{line}c.key not found: looked in /nowhere; put"));
}

#[test]
fn the_agents_own_key_file_must_be_there_and_secret() {
    let host = Host::new();
    host.etc("curve.secret_key_file = 'me.key_secret'");
    let line = "~/etc/metrics-agent.toml:1: curve.secret_key_file: ";
    assert_eq!(
        host.problems(),
        [format!(
            "{line}me.key_secret not found: looked in ~/etc/curve; put the certificate there, or remove secret_key_file to have a key pair made"
        )]
    );
    let public = host.pair("etc/curve", "me");
    let loaded = host.load().unwrap();
    assert_eq!(loaded.settings.key_pair.public, public);
    assert_eq!(
        (loaded.key_file, loaded.generated_key),
        (host.at("etc/curve/me.key_secret"), None)
    );
    for exposed in [0o640, 0o604, 0o644, 0o620] {
        mode(&host.at("etc/curve/me.key_secret"), exposed);
        let problems = host.problems();
        let expected = format!(
            "{line}~/etc/curve/me.key_secret: mode {exposed:04o} lets others at the secret key"
        );
        assert!(problems[0].starts_with(&expected), "{}", problems[0]);
    }
    host.etc("curve.secret_key_file = 'me.key'");
    assert_eq!(
        host.problems(),
        [format!("{line}~/etc/curve/me.key: holds no secret key")]
    );
    assert!(!host.at("state").exists());
}

#[test]
fn a_credential_may_have_systemds_mode() {
    let mut host = Host::new();
    host.inputs.credentials_directory = Some(host.at("credentials"));
    let public = host.pair("credentials", "agent");
    let secret = host.at("credentials/agent.key_secret");
    for systemds in [0o400, 0o440] {
        mode(&secret, systemds);
        assert_eq!(host.load().unwrap().settings.key_pair.public, public);
    }
    host.etc(&format!("curve.secret_key_file = '{}'", secret.display()));
    assert_eq!(
        host.load().unwrap().settings.key_pair.public,
        public,
        "named in full"
    );
    mode(&secret, 0o444);
    assert!(host.problems()[0].contains("mode 0444 lets others"));
}

#[test]
fn a_key_pair_is_made_once_and_kept() {
    let host = Host::new();
    let secret = host.at("state/agent.key_secret");
    let checked = load(&host.inputs, KeyPolicy::ReadOnly).unwrap();
    assert_eq!((&checked.key_file, checked.generated_key), (&secret, None));
    assert!(!host.at("state").exists(), "a check writes nothing");

    let first = host.load().unwrap();
    assert_eq!(first.generated_key, Some(secret.clone()));
    assert_ne!(
        first.settings.key_pair.public,
        checked.settings.key_pair.public
    );
    assert_eq!(fs::metadata(&secret).unwrap().mode() & 0o777, 0o600);
    let second = host.load().unwrap();
    assert_eq!((&second.key_file, second.generated_key), (&secret, None));
    assert_eq!(
        second.settings.key_pair.public,
        first.settings.key_pair.public
    );

    // It is not replaced by another because something is wrong with it.
    mode(&secret, 0o644);
    assert!(
        host.problems()[0]
            .starts_with("default: curve.secret_key_file: ~/state/agent.key_secret: mode 0644")
    );
    fs::write(&secret, "").unwrap();
    mode(&secret, 0o600);
    assert!(host.problems()[0].contains("agent.key_secret: expected `public-key"));
}

#[test]
fn what_root_makes_belongs_to_the_owner_of_the_directory() {
    if !rustix::process::geteuid().is_root() {
        // Only root can make files for another user.
        return;
    }
    let host = Host::new();
    let state = host.at("state");
    fs::create_dir(&state).unwrap();
    std::os::unix::fs::chown(&state, Some(4242), Some(4243)).unwrap();
    host.load().unwrap();
    let settings = persistent::Persistent {
        metrics: Some(Duration::from_secs(1)),
        stale: None,
    };
    persistent::write(&state, &settings).unwrap();
    for file in ["agent.key_secret", "agent.key", "settings.toml"] {
        let about = fs::metadata(state.join(file)).unwrap();
        assert_eq!((about.uid(), about.gid()), (4242, 4243), "{file}");
    }
}

#[test]
fn by_hand_the_services_keys_are_not_there_and_for_the_service_they_must_be_readable() {
    if rustix::process::geteuid().is_root() {
        // Root reads everything.
        return;
    }
    let mut host = Host::new();
    let own = host.pair("home/.curve", "agent");
    host.pair("etc/curve", "agent");
    for (path, bits) in [("etc/curve/agent.key_secret", 0), ("etc/curve", 0)] {
        mode(&host.at(path), bits);
        host.inputs.home = None;
        let problem = &host.problems()[0];
        let expected = "default: curve.secret_key_file: ~/etc/curve/agent.key_secret: cannot open it: Permission denied";
        assert!(problem.starts_with(expected), "{problem}");
        host.inputs.home = Some(host.at("home"));
        assert_eq!(host.load().unwrap().settings.key_pair.public, own);
    }
    host.etc("collector.a.endpoint = 'h'");
    let problem = &host.problems()[0];
    assert!(
        problem.contains("looked in ~/etc/curve (permission denied), ~/home/.curve;"),
        "{problem}"
    );
    mode(&host.at("etc/curve"), 0o700);
}

#[test]
fn without_a_place_for_a_key_the_way_out_is_named() {
    let mut host = Host::new();
    host.inputs.state_directory = None;
    assert_eq!(
        host.problems(),
        [
            "default: curve.secret_key_file: agent.key_secret not found: looked in ~/etc/curve; \
         set secret_key_file, or STATE_DIRECTORY (in a unit StateDirectory=) to where a key pair can \
         be kept",
        ]
    );
}
