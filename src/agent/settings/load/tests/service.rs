//! What root checks with the eyes of the service.

use super::*;
use crate::base::durable::owner::{
    self,
    tests::{NOBODY, is_root},
};
use crate::config::service::ServiceView;

#[test]
fn what_the_service_cannot_see_is_refused() {
    let mut host = Host::new();
    host.pair("hidden", "c");
    host.pair("hidden", "agent");
    host.etc(&format!(
        "[collector.a]\nendpoint = 'h'\npublic_key_file = '{}'",
        host.at("hidden/c.key").display()
    ));
    assert!(host.load().is_ok());
    host.inputs.sight = ServiceView::hiding("a.service", &host.at("hidden"), "ProtectHome");
    let hidden =
        "ProtectHome= of a.service hides ~/hidden from the service; put it into ~/etc/curve";
    assert_eq!(
        host.problems(),
        [format!(
            "~/etc/metrics-agent.toml:3: collector.a.public_key_file: ~/hidden/c.key: {hidden}"
        )]
    );
    host.etc(&format!(
        "curve.secret_key_file = '{}'",
        host.at("hidden/agent.key_secret").display()
    ));
    assert_eq!(
        host.problems(),
        [format!(
            "~/etc/metrics-agent.toml:1: curve.secret_key_file: ~/hidden/agent.key_secret: {hidden}"
        )]
    );
}

#[test]
fn what_only_the_service_sees_is_a_note() {
    let mut host = Host::new();
    host.pair("etc/curve", "agent");
    host.etc(&format!(
        "[collector.a]\nendpoint = 'h'\npublic_key_file = '{}'",
        host.at("bound/c.key").display()
    ));
    assert!(host.load().is_err());
    host.inputs.sight = ServiceView::binding("a.service", &host.at("bound"));
    let loaded = load(&host.inputs, KeyPolicy::ReadOnly).unwrap();
    let told = host.shown(&loaded.warnings[0]);
    assert!(told.starts_with("~/bound/c.key: not checked: "), "{told}");
    let text = host.shown(&crate::agent::settings::print::effective(&loaded));
    let line = "# public_key is not set: that of ~/bound/c.key, which only the service sees";
    assert!(text.contains(line), "{text}");
}

#[test]
fn a_credential_of_the_next_start_is_checked_where_it_is() {
    let mut host = Host::new();
    host.pair("etc/curve", "agent");
    let key = host.pair("store", "a.collector");
    host.etc("collector.a.endpoint = 'h'");
    assert!(host.load().is_err());
    let file = host.at("store/a.collector.key");
    let load = |host: &Host| load(&host.inputs, KeyPolicy::ReadOnly);
    host.inputs.sight = ServiceView::handing("a.service", "collector.key", &file);
    let loaded = load(&host).unwrap();
    assert!(
        loaded
            .settings
            .collectors
            .values()
            .all(|one| one.public_keys == [key])
    );
    assert_eq!(
        host.shown(&loaded.warnings[0]),
        "~/store/a.collector.key: taken as the credential collector.key, which systemd hands over \
         at the start of a.service"
    );
    host.write("store/a.collector.key", "no key");
    host.inputs.sight = ServiceView::handing("a.service", "collector.key", &file);
    let problem = host.shown(load(&host).unwrap_err().problems().next().unwrap());
    assert!(problem.contains("~/store/a.collector.key:1: "), "{problem}");
}

/// With the rights of a user that may not go where systemd keeps a dynamic user's state.
#[test]
fn the_state_of_a_dynamic_user_is_not_refused() {
    if !is_root() {
        return;
    }
    let mut host = Host::new();
    mode(&host.at(""), 0o755);
    host.pair("private/state", "agent");
    mode(&host.at("private"), 0o700);
    std::os::unix::fs::symlink("private/state", host.at("state")).unwrap();
    fs::create_dir(host.at("nobodys")).unwrap();
    std::os::unix::fs::chown(host.at("nobodys"), Some(NOBODY), Some(NOBODY)).unwrap();
    let check = |host: &Host| {
        let load = || load(&host.inputs, KeyPolicy::ReadOnly);
        owner::on_behalf(&host.at("nobodys"), load).unwrap()
    };
    assert!(check(&host).is_err());
    host.inputs.sight = ServiceView::dynamic("a.service", &host.at("state"));
    let loaded = check(&host).unwrap();
    let told: Vec<_> = loaded.warnings.iter().map(|one| host.shown(one)).collect();
    let why =
        "not checked: DynamicUser= of a.service shuts ~/state for all but root and the service";
    assert_eq!(
        told,
        ["settings.toml", "agent.key_secret"].map(|file| format!("~/state/{file}: {why}"))
    );
}

/// What root has seen there counts as if the service had read it.
#[test]
fn the_state_of_a_dynamic_user_is_checked_where_root_sees_it() {
    if !is_root() {
        return;
    }
    let mut host = Host::new();
    mode(&host.at(""), 0o755);
    let key = host.pair("private/state", "agent");
    host.write("private/state/settings.toml", "intervals.metrics = '7s'\n");
    let own = |path: &str| std::os::unix::fs::chown(host.at(path), Some(NOBODY), Some(NOBODY));
    for path in ["private/state", "private/state/agent.key_secret"] {
        own(path).unwrap();
    }
    mode(&host.at("private"), 0o700);
    std::os::unix::fs::symlink("private/state", host.at("state")).unwrap();
    fs::create_dir(host.at("nobodys")).unwrap();
    own("nobodys").unwrap();
    let check = |host: &mut Host| {
        let (state, real) = (host.at("state"), host.at("private/state"));
        host.inputs.sight = ServiceView::dynamic_seen("a.service", &state, &real);
        let load = || load(&host.inputs, KeyPolicy::ReadOnly);
        owner::on_behalf(&host.at("nobodys"), load).unwrap()
    };
    let loaded = check(&mut host).unwrap();
    assert_eq!(loaded.settings.key_pair.public, key);
    assert_eq!(loaded.settings.intervals.metrics, Duration::from_secs(7));
    assert_eq!(warnings_of(&loaded), [""; 0]);
    // Named by the path that the service has.
    host.write("private/state/agent.key_secret", "no key");
    let problem = check(&mut host).unwrap_err();
    let problem = host.shown(problem.problems().next().unwrap());
    assert!(
        problem.contains(" ~/state/agent.key_secret:1: "),
        "{problem}"
    );
    // A link of the service's user to a file that only root may read is not followed.
    let file = host.at("private/state/agent.key_secret");
    host.pair("private", "roots");
    fs::remove_file(&file).unwrap();
    std::os::unix::fs::symlink(host.at("private/roots.key_secret"), &file).unwrap();
    let problem = check(&mut host).unwrap_err();
    let problem = host.shown(problem.problems().next().unwrap());
    assert!(
        problem.contains("~/state/agent.key_secret: cannot open it: Perm"),
        "{problem}"
    );
    // Where there is none, one is made.
    fs::remove_file(&file).unwrap();
    let loaded = check(&mut host).unwrap();
    assert!(!loaded.key_found);
    assert_eq!(loaded.key_file, host.at("state/agent.key_secret"));
}
