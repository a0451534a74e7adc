//! The members of a D-Bus interface, from its introspection XML in dbus/.
//!
//! The comment before a member says what it is. A member that follows another one without a
//! comment of its own shares that one's. Reads no other XML than those files: no text, no CDATA,
//! no `>` in an attribute.

use std::error::Error;

use super::roff::text;

/// The interfaces that dbus/ documents.
const DOCUMENTS: [(&str, &str); 4] = [
    (
        "org.metricsagent.Agent1",
        include_str!("../../../dbus/org.metricsagent.Agent1.xml"),
    ),
    (
        "org.metricsagent.Connection1",
        include_str!("../../../dbus/org.metricsagent.Connection1.xml"),
    ),
    (
        "org.metricsagent.Source1",
        include_str!("../../../dbus/org.metricsagent.Source1.xml"),
    ),
    (
        "org.metricsagent.Collector1",
        include_str!("../../../dbus/org.metricsagent.Collector1.xml"),
    ),
];

/// The kinds of members, as tags and as headings.
const KINDS: [(&str, &str); 3] = [
    ("method", "Methods"),
    ("signal", "Signals"),
    ("property", "Properties"),
];

/// A member: the kind's tag, how it is called, and its comment, where it has one of its own.
struct Member {
    kind: String,
    signature: String,
    comment: Option<String>,
}

/// Methods, signals and properties, a paragraph for each comment.
pub(super) fn members(interface: &str) -> Result<String, Box<dyn Error>> {
    let (_, xml) = DOCUMENTS
        .into_iter()
        .find(|(name, _)| *name == interface)
        .ok_or_else(|| format!("dbus/ has no interface {interface:?}"))?;
    let members = parse(xml)?;
    let mut page = String::new();
    for (kind, heading) in KINDS {
        let mut members = members
            .iter()
            .filter(|member| member.kind == kind)
            .peekable();
        if members.peek().is_none() {
            continue;
        }
        page.extend([".SS ", heading, " of ", interface, "\n"]);
        while let Some(member) = members.next() {
            let comment = member
                .comment
                .as_ref()
                .ok_or_else(|| format!("{} has no comment", member.signature))?;
            page.extend([".TP\n", &member.signature, "\n"]);
            while let Some(also) = members.next_if(|next| next.comment.is_none()) {
                page.extend([".TQ\n", &also.signature, "\n"]);
            }
            page.push_str(&text(comment));
            page.push('\n');
        }
    }
    Ok(page)
}

/// The members in the order of the document.
fn parse(mut xml: &str) -> Result<Vec<Member>, Box<dyn Error>> {
    let mut members = Vec::new();
    let mut comment = None;
    // The member that is open: its tag, and the tags inside of it.
    let mut open: Option<(&str, Vec<&str>)> = None;
    while let Some(start) = xml.find('<') {
        xml = xml.get(start..).unwrap_or_default();
        if let Some(rest) = xml.strip_prefix("<!--") {
            let (inside, rest) = rest.split_once("-->").ok_or("a comment has no end")?;
            comment = Some(inside.split_whitespace().collect::<Vec<_>>().join(" "));
            xml = rest;
            continue;
        }
        let (tag, rest) = xml.split_once('>').ok_or("a tag has no end")?;
        xml = rest;
        let name = tag_name(tag);
        let kind = name.trim_start_matches('/');
        if name == "interface" {
            comment = None;
        }
        if KINDS.iter().any(|(tag, _)| *tag == kind) {
            if !name.starts_with('/') {
                open = Some((tag, Vec::new()));
            }
            if (name.starts_with('/') || tag.ends_with('/'))
                && let Some((tag, inner)) = open.take()
            {
                members.push(Member {
                    kind: kind.to_owned(),
                    signature: signature(kind, tag, &inner),
                    comment: comment.take(),
                });
            }
        } else if let Some((_, inner)) = &mut open {
            inner.push(tag);
        }
    }
    Ok(members)
}

/// The member's name with its arguments or its type, in roff.
fn signature(kind: &str, tag: &str, inner: &[&str]) -> String {
    let name = text(attribute(tag, "name"));
    if kind == "property" {
        let access = match attribute(tag, "access") {
            "readwrite" => "read and write",
            access => access,
        };
        let annotation = "org.freedesktop.DBus.Property.EmitsChangedSignal";
        let emits = inner
            .iter()
            .find(|tag| attribute(tag, "name") == annotation)
            .map_or("true", |tag| attribute(tag, "value"));
        let change = match emits {
            "const" => ", constant",
            "false" => ", changes are not announced",
            _ => "",
        };
        return format!(
            "\\fB{name}\\fR (\\fI{}\\fR, {access}{change})",
            text(attribute(tag, "type"))
        );
    }
    let arguments: Vec<_> = inner
        .iter()
        .filter(|tag| tag_name(tag) == "arg")
        .map(|tag| {
            let direction = match attribute(tag, "direction") {
                "out" => "out ",
                _ => "",
            };
            format!(
                "{direction}\\fI{}\\fR {}",
                text(attribute(tag, "type")),
                text(attribute(tag, "name"))
            )
        })
        .collect();
    format!("\\fB{name}\\fR({})", arguments.join(", "))
}

/// `arg` of `<arg name="usec" …`.
fn tag_name(tag: &str) -> &str {
    tag.trim_start_matches('<')
        .split([' ', '\n'])
        .next()
        .unwrap_or_default()
        .trim_end_matches('/')
}

/// The value of an attribute; empty where there is none.
fn attribute<'a>(tag: &'a str, name: &str) -> &'a str {
    tag.split_once(&format!(" {name}=\""))
        .and_then(|(_, rest)| rest.split_once('"'))
        .map_or("", |(value, _)| value)
}
