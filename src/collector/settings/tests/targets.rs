//! What remote write targets are taken.

use super::*;

pub(super) fn target(text: &str) -> Result<RemoteWrite, Vec<String>> {
    let site = Site::new();
    for file in ["etc/secret", "etc/ca.pem", "credentials/token"] {
        site.write(file, "x");
    }
    site.etc(&format!("[remote_write.a]\n{text}"));
    match site.load() {
        Ok(loaded) => Ok(loaded.settings.remote_write["a"].clone()),
        Err(_) => Err(site.problems()),
    }
}

#[test]
fn credentials_are_whole_and_of_one_kind() {
    let at = "~/etc/metrics-collector.toml";
    let cases = [
        (
            "",
            ":1: remote_write.a.url: missing: set where to write to, such as \"https://mimir.example.org/api/v1/push\"",
        ),
        (
            "url = 'http://h'\nusername = 'u'",
            ":3: remote_write.a.password_file: missing: required with username",
        ),
        (
            "url = 'http://h'\npassword_file = 'secret'",
            ":3: remote_write.a.username: missing: required with password_file",
        ),
        (
            "url = 'http://h'\nusername = 'u'\npassword_file = 'secret'\nbearer_token_file = 'token'",
            ":5: remote_write.a.bearer_token_file: set either a bearer token or a password, not both",
        ),
        (
            "url = 'http://h'\nca_file = 'none'",
            ":3: remote_write.a.ca_file: none not found: looked in ~/credentials, ~/etc; put the file there",
        ),
        (
            "url = 'http://h'\nbearer_token_file = '/nonexistent/t'",
            ":3: remote_write.a.bearer_token_file: t not found: looked in /nonexistent; put the file there",
        ),
        (
            "url = 'http://h'\nheaders.x-a = '1'\nheaders.X-A = '1'",
            ":3: remote_write.a.headers.x-a: is the same header as X-A",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(
            target(text).unwrap_err(),
            [format!("{at}{expected}")],
            "{text}"
        );
    }
}

#[test]
fn values_of_a_target_are_checked() {
    let cases = [
        (
            "url = 'mimir.example.org'",
            "remote_write.a.url: the value is not an address such as \"https://mimir.example.org/api/v1/push\": expected http:// or https:// in front",
        ),
        ("url = 'ftp://h'", "expected http:// or https:// in front"),
        (
            "url = 'https://u:p@h/'",
            "put the user and the password into username and password_file",
        ),
        (
            "url = 'https://h/#x'",
            "remove the fragment (#…): it is never sent",
        ),
        ("url = 'https:///x'", "remote_write.a.url: "),
        ("username = 'a:b'", "a user name cannot contain a colon"),
        ("timeout = '6min'", "'6min' is not a time from 1s to 5min"),
        (
            "acknowledge = 'yes'",
            "remote_write.a.acknowledge: 'yes' is not true or false",
        ),
        (
            "headers.'a b' = '1'",
            "remote_write.a.headers.\"a b\": not a name for a header: expected letters, digits and \"-\"",
        ),
        (
            "headers.Authorization = 'Bearer x'",
            "not a name for a header: use username and password_file, or bearer_token_file",
        ),
        (
            "headers.Content-Type = 'x'",
            "not a name for a header: the collector sets it",
        ),
        (
            "headers.x = \"a\\nb\"",
            "remote_write.a.headers.x: the value is not a header's value",
        ),
        (
            "headers.x = 3",
            "remote_write.a.headers.x: the value is not a header's value",
        ),
        ("labels.1a = 'x'", "not a name for a label: "),
        (
            "labels.__name__ = 'x'",
            "names that begin with \"__\" are reserved",
        ),
        (
            "labels.host = 'x'",
            "the collector sets this label itself; choose another name",
        ),
        (
            "labels.device = 'x'",
            "the collector sets this label itself; choose another name",
        ),
        (
            "labels.a = ''",
            "remote_write.a.labels.a: '' is not a label's value",
        ),
        ("labels.a.b = 'x'", "remote_write.a.labels.a: "),
        (
            "headers = 'x'",
            "remote_write.a.headers: 'x' is not a table [remote_write.a.headers]",
        ),
        ("urll = 'x'", "unknown key; did you mean \"url\"?"),
    ];
    for (text, expected) in cases {
        let problems = target(text).unwrap_err();
        assert!(problems[0].contains(expected), "{text}: {problems:?}");
    }
    let site = Site::new();
    site.etc("[remote_write.'a/b']\nurl = 'http://h'\n");
    let problems = site.problems();
    let expected = "remote_write.\"a/b\": not a name for a remote write target: it contains '/'";
    assert!(problems[0].contains(expected), "{problems:?}");
}

#[test]
fn what_may_be_secret_is_not_shown_of_an_address() {
    let url = PushUrl::try_from("https://h:1/push?key=hidden".to_owned()).unwrap();
    assert_eq!(url.to_string(), "https://h:1/push?…");
    assert_eq!(format!("{url:?}"), "PushUrl(https://h:1/push?…)");
    assert_eq!(url.as_str(), "https://h:1/push?key=hidden");
}

#[test]
fn a_query_may_be_a_secret() {
    let site = Site::new();
    site.etc("[remote_write.eu]\nurl = 'https://h/push?token=verysecret'\n");
    let loaded = site.load().unwrap();
    let shown = site.shown(&print::effective(&loaded));
    assert!(!shown.contains("verysecret"), "{shown}");
    let line = "# url is set, and may be a secret  # ~/etc/metrics-collector.toml:2\n";
    assert!(shown.contains(line), "{shown}");
}

/// The wrong name is refused once, however many settings stand below it.
#[test]
fn a_target_without_a_name_is_told_so() {
    let site = Site::new();
    site.etc("[remote_write]\nurl = 'http://h'\nusername = 'u'\n");
    assert_eq!(
        site.problems(),
        [
            "~/etc/metrics-collector.toml:2: remote_write.url: a remote write target needs a name: \
             write [remote_write.NAME], for example [remote_write.main]"
        ]
    );
}

#[test]
fn an_interface_that_a_target_lacks_is_told() {
    let site = Site::new();
    let target = |name: &str, zone: &str| {
        format!("[remote_write.{name}]\nurl = 'http://[fe80::1%{zone}]:9/push?key=hidden'\n")
    };
    site.etc(&(target("a", "25lo") + &target("b", "25no-such") + &target("c", "lo")));
    assert_eq!(
        site.warnings(),
        [
            "~/etc/metrics-collector.toml:4: http://[fe80::1%25no-such]:9/push?… cannot be reached: \
             this host has no such interface now"
        ]
    );
}
