//! The interface's documentation against the running daemon: what `dbus/*.xml` says is
//! what Introspect answers.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use metrics_agent::dbus::NAME;
use zbus::fdo;

use crate::support::place::{Place, SOME_KEY, eventually};

/// Members of an interface, each as one comparable line.
pub(crate) type Interfaces = BTreeMap<String, BTreeSet<String>>;

/// A tag of an XML document: its name and attributes; `/name` for an end.
#[derive(Debug)]
pub(crate) struct Tag {
    pub(crate) name: String,
    pub(crate) attributes: BTreeMap<String, String>,
    closed: bool,
}

/// The tags of an introspection document, in order. Enough of XML for what has no text,
/// no CDATA and no `>` in an attribute.
pub(crate) fn tags(mut xml: &str) -> Vec<Tag> {
    let mut tags = Vec::new();
    while let Some(start) = xml.find('<') {
        xml = &xml[start..];
        let end = if xml.starts_with("<!--") { "-->" } else { ">" };
        let end = xml.find(end).expect("the tag ends") + end.len();
        let (tag, rest) = xml.split_at(end);
        xml = rest;
        if tag.starts_with("<!") || tag.starts_with("<?") {
            continue;
        }
        let closed = tag.ends_with("/>");
        let inner = tag.trim_matches(['<', '>']).trim_end_matches('/');
        let (name, mut rest) = inner.split_once(char::is_whitespace).unwrap_or((inner, ""));
        let mut attributes = BTreeMap::new();
        while let Some((key, after)) = rest.split_once("=\"") {
            let (value, after) = after.split_once('"').expect("the attribute ends");
            attributes.insert(key.trim().to_owned(), value.to_owned());
            rest = after;
        }
        tags.push(Tag {
            name: name.to_owned(),
            attributes,
            closed,
        });
    }
    tags
}

/// The interfaces of a document's own node. Annotations that say the default are left
/// out, so that it does not matter whether a document spells it.
fn interfaces(xml: &str) -> Interfaces {
    let mut interfaces = Interfaces::new();
    let mut interface = String::new();
    let mut member = Vec::new();
    // zbus puts the nodes below into the document, with their interfaces.
    let mut depth = 0;
    for tag in tags(xml) {
        match (tag.name.as_str(), tag.closed) {
            ("node", false) => depth += 1,
            ("/node", _) => depth -= 1,
            _ => (),
        }
        if depth != 1 {
            continue;
        }
        let of = |name: &str| tag.attributes.get(name).map_or("", String::as_str);
        match tag.name.as_str() {
            "interface" => {
                of("name").clone_into(&mut interface);
                interfaces.entry(interface.clone()).or_default();
            }
            "method" | "signal" => member = vec![format!("{} {}", tag.name, of("name"))],
            "property" => {
                member = vec![format!(
                    "property {} {} {}",
                    of("name"),
                    of("type"),
                    of("access")
                )];
            }
            // Arguments of signals have but one direction.
            "arg" if member[0].starts_with("signal") => {
                member.push(format!("{} {}", of("name"), of("type")));
            }
            "arg" => member.push(format!("{} {} {}", of("direction"), of("name"), of("type"))),
            "annotation" => {
                let annotation = format!("{}={}", of("name"), of("value"));
                if annotation != "org.freedesktop.DBus.Property.EmitsChangedSignal=true" {
                    member.push(annotation);
                }
            }
            _ => (),
        }
        let ends = tag.closed || tag.name.starts_with('/');
        let kind = tag.name.trim_start_matches('/');
        if ends && ["method", "signal", "property"].contains(&kind) {
            let members = interfaces
                .get_mut(&interface)
                .expect("an interface is open");
            assert!(members.insert(member.join(", ")), "{member:?} twice");
        }
    }
    interfaces
}

async fn introspected(place: &Place, path: &str) -> Interfaces {
    answered(&place.connect().await, NAME, path).await
}

/// What the object of a service answers.
pub(crate) async fn answered(
    connection: &zbus::Connection,
    service: &'static str,
    path: &str,
) -> Interfaces {
    let proxy = fdo::IntrospectableProxy::builder(connection)
        .destination(service)
        .path(path)
        .build()
        .await
        .unwrap();
    interfaces(&proxy.introspect().await.unwrap())
}

pub(crate) fn documented(interface: &str) -> BTreeSet<String> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("dbus/{interface}.xml"));
    let mut documented = interfaces(&fs::read_to_string(file).unwrap());
    assert_eq!(documented.len(), 1);
    documented.remove(interface).expect("the file's interface")
}

#[tokio::test]
async fn the_daemon_answers_what_the_documentation_says() {
    let place = Place::new();
    place.configure(&format!(
        "[collector.main]\nendpoint = \"127.0.0.1:1\"\npublic_key = \"{SOME_KEY}\"\n"
    ));
    let _running = place.start().await;
    for (path, interface) in [
        ("/org/metricsagent/Agent1", "org.metricsagent.Agent1"),
        (
            "/org/metricsagent/Agent1/connection/main",
            "org.metricsagent.Connection1",
        ),
        (
            "/org/metricsagent/Agent1/source/uptime",
            "org.metricsagent.Source1",
        ),
    ] {
        let mut answered = introspected(&place, path).await;
        let answered = answered.remove(interface).expect(interface);
        let documented = documented(interface);
        let missing: Vec<_> = documented.difference(&answered).collect();
        let extra: Vec<_> = answered.difference(&documented).collect();
        assert!(
            missing.is_empty() && extra.is_empty(),
            "{interface}: only documented: {missing:#?}; only answered: {extra:#?}"
        );
    }
}

#[tokio::test]
async fn the_standard_interfaces_are_there() {
    let place = Place::new();
    let _running = place.start().await;
    let root = introspected(&place, "/org/metricsagent/Agent1").await;
    for interface in [
        "org.freedesktop.DBus.ObjectManager",
        "org.freedesktop.DBus.Properties",
        "org.freedesktop.DBus.Introspectable",
        "org.freedesktop.DBus.Peer",
    ] {
        assert!(root.contains_key(interface), "{interface}");
    }
    let log = introspected(&place, "/org/freedesktop/LogControl1").await;
    // As systemd's own services answer (org.freedesktop.LogControl1(5)).
    let quiet = "org.freedesktop.DBus.Property.EmitsChangedSignal=false";
    assert_eq!(
        log["org.freedesktop.LogControl1"],
        BTreeSet::from([
            format!("property LogLevel s readwrite, {quiet}"),
            format!("property LogTarget s readwrite, {quiet}"),
            format!("property SyslogIdentifier s read, {quiet}"),
        ])
    );
}

#[tokio::test]
async fn properties_are_of_the_documented_types() {
    let place = Place::new();
    let _running = place.start().await;
    let properties = place.properties("/org/metricsagent/Agent1").await;
    let interface = "org.metricsagent.Agent1";
    let all = eventually("the agent answers", async || {
        let name = interface.try_into().unwrap();
        properties.get_all(name).await.ok()
    })
    .await;
    let documented: BTreeSet<String> = documented(interface)
        .iter()
        .filter_map(|member| member.strip_prefix("property ")?.split(' ').next())
        .map(str::to_owned)
        .collect();
    assert_eq!(all.keys().cloned().collect::<BTreeSet<_>>(), documented);
    for (name, value) in &all {
        let types = self::documented(interface);
        let says = format!("property {name} {} ", value.value_signature());
        assert!(types.iter().any(|line| line.starts_with(&says)), "{says}");
    }
}
