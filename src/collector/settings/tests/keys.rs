//! The own key, and what the service sees of it.

use super::*;

#[test]
fn a_key_that_cannot_be_used_is_named_with_its_setting() {
    let mut site = Site::new();
    Certificate::write_pair(&site.at("etc/curve"), "mine").unwrap();
    site.etc("curve.secret_key_file = 'mine.key_secret'");
    let found = site.load().unwrap().keys;
    assert!(matches!(&found, Found::Keys(_)), "{found:?}");
    assert_eq!(found.path(), site.at("etc/curve/mine.key_secret"));

    fs::set_permissions(found.path(), fs::Permissions::from_mode(0o644)).unwrap();
    let [problem] = &site.problems()[..] else {
        panic!("one problem is expected");
    };
    let start = "~/etc/metrics-collector.toml:1: curve.secret_key_file: \
                 ~/etc/curve/mine.key_secret: mode 0644 lets others at the secret key";
    assert!(problem.starts_with(start), "{problem}");

    site.option("key-file", "curve.secret_key_file", "/nonexistent/key");
    let problems = site.problems();
    let start = "--key-file: curve.secret_key_file: /nonexistent/key: cannot open it";
    assert!(problems[0].starts_with(start), "{problems:?}");
}

#[test]
fn what_the_service_cannot_see_is_refused() {
    use crate::config::service::ServiceView;

    let mut site = Site::new();
    site.write("hidden/password", "x");
    let password = site.at("hidden/password");
    let key = Certificate::write_pair(&site.at("hidden"), "collector").unwrap();
    let file = site.at("hidden/collector.key_secret");
    let text = format!(
        "[curve]\nsecret_key_file = '{}'\n[remote_write.a]\nurl = 'http://h'\nusername = 'u'\n\
         password_file = '{}'\n",
        file.display(),
        password.display()
    );
    site.etc(&text);
    let loaded = site.load().unwrap();
    assert!(matches!(loaded.keys, Found::Keys(keys) if keys.pair.public == key.public));
    site.inputs.sight = ServiceView::hiding("c.service", &site.at("hidden"), "PrivateTmp");
    assert_eq!(
        site.problems(),
        [
            "~/etc/metrics-collector.toml:6: remote_write.a.password_file: ~/hidden/password: \
             PrivateTmp= of c.service hides ~/hidden from the service; put it into ~/etc",
            "~/etc/metrics-collector.toml:2: curve.secret_key_file: ~/hidden/collector.key_secret: \
             PrivateTmp= of c.service hides ~/hidden from the service; put it into ~/etc/curve",
        ]
    );
}

/// Before the first start there is no directory of credentials to look into.
#[test]
fn the_own_key_is_found_as_a_credential_of_the_next_start() {
    use crate::config::service::ServiceView;

    let mut site = Site::new();
    let key = Certificate::write_pair(&site.at("store"), "c").unwrap();
    let file = site.at("store/c.key_secret");
    site.inputs.sight = ServiceView::handing("c.service", "collector.key_secret", &file);
    let loaded = site.load().unwrap();
    assert!(matches!(&loaded.keys, Found::Keys(keys) if keys.pair.public == key.public));
    assert_eq!(
        site.warnings()[0],
        "~/store/c.key_secret: taken as the credential collector.key_secret, which systemd hands \
         over at the start of c.service"
    );
    // Whatever its name is there: what is set is the name of the credential.
    site.etc("[curve]\nsecret_key_file = 'other'\n");
    assert!(site.problems()[0].contains("other not found: looked in"));
    site.inputs.sight = ServiceView::handing("c.service", "other", &file);
    assert!(matches!(site.load().unwrap().keys, Found::Keys(_)));
    site.write("store/c.key_secret", "no key");
    site.inputs.sight = ServiceView::handing("c.service", "other", &file);
    let problems = site.problems();
    assert!(
        problems[0].contains("~/store/c.key_secret:1: "),
        "{problems:?}"
    );
}

#[test]
fn a_key_that_only_the_service_sees_is_a_note() {
    use crate::config::service::ServiceView;

    let mut site = Site::new();
    site.etc(&format!(
        "[curve]\nsecret_key_file = '{}'\n",
        site.at("bound/k").display()
    ));
    assert!(site.load().is_err());
    site.inputs.sight = ServiceView::binding("c.service", &site.at("bound"));
    let loaded = site.load().unwrap();
    assert!(matches!(&loaded.keys, Found::Unclear(path) if *path == site.at("bound/k")));
    assert!(
        loaded.warnings[0]
            .to_string()
            .contains("bound/k: not checked: ")
    );
}

#[test]
fn a_key_that_others_have_a_say_in_is_told() {
    let site = Site::new();
    Certificate::write_pair(&site.at("etc/curve"), "collector").unwrap();
    assert_eq!(site.warnings(), [""; 0]);
    let mode = fs::Permissions::from_mode(0o777);
    fs::set_permissions(site.at("etc/curve"), mode).unwrap();
    assert_eq!(
        site.warnings(),
        [
            "~/etc/curve: mode 0777 lets others put keys there; `chmod go-w` on the directory ends that"
        ]
    );
    // What systemd hands out is in order.
    fs::rename(site.at("etc/curve"), site.at("credentials")).unwrap();
    assert_eq!(site.warnings(), [""; 0]);
}
