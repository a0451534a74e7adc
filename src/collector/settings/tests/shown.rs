//! The file that is shipped, and what is shown as in force.

use super::*;

#[test]
fn what_is_in_force_is_shown_with_its_origin_and_without_secrets() {
    let mut site = Site::new();
    site.write("etc/password", "x");
    site.etc(
        "[remote_write.eu]\nurl = 'https://h/push'\nusername = 'u'\npassword_file = 'password'\n\
         headers.X-Key = 'verysecret'\nlabels.cluster = 'a'\n[remote_write.us]\nurl = 'http://h'\n",
    );
    site.variable("HOSTS__TIMEOUT", "45");
    site.option("web-listen", "listen.web", "none");
    let loaded = site.load().unwrap();
    let shown = print::effective(&loaded);
    assert!(!shown.contains("verysecret"), "{shown}");
    let expected = "\
# ~/etc/metrics-collector.toml

[listen]
agents = \"*:5556\"  # default
viewers = \"*:5557\"  # default
web = \"none\"  # --web-listen

[web]
hosts = []  # default

[publish]
endpoint = \"none\"  # default
mode = \"0660\"  # default

[curve]
# secret_key_file is not set: a key pair will be made and kept in ~/state/collector.key_secret

[agents]
authorized = \"any\"  # default
pin_names = false  # default

[hosts]
ping_interval = \"5s\"  # default
timeout = \"45s\"  # variable METRICS_COLLECTOR_HOSTS__TIMEOUT
forget_after = \"7days\"  # default

[remote_write.eu]
url = \"https://h/push\"  # ~/etc/metrics-collector.toml:2
username = \"u\"  # ~/etc/metrics-collector.toml:3
password_file = \"password\"  # ~/etc/metrics-collector.toml:4
# bearer_token_file is not set: none
# ca_file is not set: the system's
timeout = \"30s\"  # default
acknowledge = true  # default

[remote_write.eu.headers]
# X-Key is set, and may be a secret  # ~/etc/metrics-collector.toml:5

[remote_write.eu.labels]
cluster = \"a\"  # ~/etc/metrics-collector.toml:6

[remote_write.us]
url = \"http://h\"  # ~/etc/metrics-collector.toml:8
# username is not set: none
# password_file is not set: none
# bearer_token_file is not set: none
# ca_file is not set: the system's
timeout = \"30s\"  # default
acknowledge = true  # default

[log]
level = \"info\"  # default

[dbus]
bus = \"system\"  # default
";
    assert_eq!(site.shown(&shown), expected);
    let again = Site::new();
    again.write("etc/password", "x");
    again.etc(&shown);
    let mut settings = again.settings();
    let eu = settings.remote_write.get_mut("eu").unwrap();
    eu.headers
        .clone_from(&loaded.settings.remote_write["eu"].headers);
    eu.credentials
        .clone_from(&loaded.settings.remote_write["eu"].credentials);
    assert_eq!(settings, loaded.settings);
}

#[test]
fn what_takes_a_restart_is_named() {
    let mut site = Site::new();
    let before = site.load().unwrap();
    assert_eq!(restart_needed(&before, &before), [""; 0]);
    site.etc("hosts.timeout = 9\nlog.level = 'debug'\nagents.authorized = 'directory'\n");
    assert_eq!(restart_needed(&before, &site.load().unwrap()), [""; 0]);
    Certificate::write_pair(&site.at("etc/curve"), "collector").unwrap();
    site.option("pin-names", "agents.pin_names", "true");
    site.option("listen", "listen.agents", "*:1");
    site.option("viewers-listen", "listen.viewers", "none");
    site.option("web-listen", "listen.web", "*:3");
    site.option("bus", "dbus.bus", "none");
    site.variable("PUBLISH__ENDPOINT", "ipc:///run/x");
    assert_eq!(
        restart_needed(&before, &site.load().unwrap()),
        [
            "listen.agents",
            "listen.viewers",
            "listen.web",
            "publish.endpoint",
            "curve.secret_key_file",
            "agents.pin_names",
            "dbus.bus"
        ]
    );
}

#[test]
fn a_mode_counts_with_an_endpoint_alone() {
    let mut site = Site::new();
    let before = site.load().unwrap();
    site.variable("PUBLISH__MODE", "0666");
    let with_mode = site.load().unwrap();
    assert_eq!(restart_needed(&before, &with_mode), [""; 0]);
    site.variable("PUBLISH__ENDPOINT", "ipc:///run/x");
    let open = site.load().unwrap();
    assert_eq!(restart_needed(&with_mode, &open), ["publish.endpoint"]);
    site.variable("PUBLISH__MODE", "0600");
    let closed = site.load().unwrap();
    assert_eq!(restart_needed(&open, &closed), ["publish.mode"]);
}

/// The settings of the shipped file: key to what stands behind the `=`, commented out.
fn shipped() -> BTreeMap<String, String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/metrics-collector.toml");
    let text = fs::read_to_string(path).unwrap();
    let mut section = String::new();
    let mut found = BTreeMap::new();
    for line in text.lines() {
        let line = line.trim_start_matches('#');
        let title = line
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        if let Some(title) = title {
            section = title.replace(".mimir", ".NAME");
        } else if let Some((key, value)) = line.split_once(" = ")
            && !key.contains(' ')
        {
            let key = match section.rsplit_once('.') {
                Some((_, "headers")) => "HEADER",
                Some((_, "labels")) => "LABEL",
                _ => key,
            };
            found.insert(format!("{section}.{key}"), value.to_owned());
        }
    }
    found
}

#[test]
fn the_shipped_file_shows_every_setting_with_its_default_and_no_other() {
    let shipped = shipped();
    let keys: Vec<&str> = shipped.keys().map(String::as_str).collect();
    let mut known: Vec<&str> = COLLECTOR.settings.iter().map(|one| one.key).collect();
    known.sort_unstable();
    assert_eq!(keys, known);
    for setting in COLLECTOR.settings {
        if let Some(default) = setting.default {
            assert_eq!(shipped[setting.key], default, "{}", setting.key);
        }
    }
}

/// What is commented out in it is valid all the same, and the rest sets nothing.
#[test]
fn the_shipped_file_sets_nothing_and_holds_what_it_shows() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/metrics-collector.toml");
    let text = fs::read_to_string(path).unwrap();
    for line in text.lines() {
        let blank = line.is_empty() || line.starts_with('#') || line.starts_with('[');
        assert!(blank, "{line}");
    }
    let site = Site::new();
    for file in ["mimir.password", "mimir.pem"] {
        site.write(&format!("etc/{file}"), "x");
    }
    Certificate::write_pair(&site.at("etc/curve"), "collector").unwrap();
    let shown = |line: &str| {
        let line = line.strip_prefix('#').unwrap_or(line).to_owned();
        let setting = line.starts_with('[') || (line.contains(" = ") && !line.starts_with(' '));
        setting.then_some(line)
    };
    let lines = text.lines().filter_map(shown);
    let lines: Vec<_> = lines.filter(|line| !line.starts_with("bearer")).collect();
    site.etc(&lines.join("\n"));
    assert!(site.settings().remote_write["mimir"].credentials.is_some());
}
