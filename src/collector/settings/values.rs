//! The values that the collector's settings are made of: each is parsed once, and what
//! exists is valid. Refuses, with the reason, what does not fit.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use hyper::Uri;
use serde::{Deserialize, Deserializer};

use super::DEFAULT_WEB_PORT;
use crate::base::text::is_plain;
pub use crate::collector::access::Authorized;
use crate::collector::prometheus::naming;
use crate::collector::publish::endpoint::{Endpoint, SocketMode};
use crate::config::deserialize_within;
use crate::curve::endpoint::{DEFAULT_PORT, DEFAULT_VIEWERS_PORT};
use crate::curve::endpoint::{EndpointError, Host, link_local, parse_ipv6};
use crate::curve::keys::PublicKey;
use crate::curve::router::Listen;

/// Faster is a load without a use; agents give a collector up after 30 s without a sign
/// of life, and a ping may get lost.
const PING_INTERVAL: RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(60);

/// Agents report at least once an hour, so that is no sign of anything before two.
const HOST_TIMEOUT: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(7200);

/// Who is away for longer than a year does not come back.
const FORGET_AFTER: RangeInclusive<Duration> =
    Duration::ZERO..=Duration::from_secs(365 * 24 * 3600);

/// What takes longer than minutes will not succeed, and holds up what comes after it.
const PUSH_TIMEOUT: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(300);

/// The longest value of a header or a label, and name of a user, in bytes: receivers have
/// limits of about that (Mimir takes 2048 for a label's value), and each series bears it.
const MAX_VALUE_BYTES: usize = 1024;

/// The longest name of a header or a label, in bytes, as Mimir has it for labels.
const MAX_NAME_BYTES: usize = 1024;

/// The longest URL, in bytes. Proxies refuse more than 8 KiB.
const MAX_URL_BYTES: usize = 4096;

/// Headers that a request has anyway, in lower case.
const OUR_HEADERS: &[&str] = &[
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "x-prometheus-remote-write-version",
];

/// Implements reading from a text by `TryFrom<String>`, with what serde asks for.
macro_rules! from_text {
    ($name:ty, $error:ty, $parse:expr) => {
        impl TryFrom<String> for $name {
            type Error = $error;

            fn try_from(text: String) -> Result<Self, $error> {
                let parse: fn(String) -> Result<Self, $error> = $parse;
                parse(text)
            }
        }
    };
}

/// A time of a range, as it stands in a file.
macro_rules! time {
    ($name:ident, $range:ident, $about:literal) => {
        #[doc = $about]
        #[derive(Clone, Copy, Debug)]
        pub(super) struct $name(pub(super) Duration);

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                deserialize_within(from, $range).map(Self)
            }
        }
    };
}

time!(PingInterval, PING_INTERVAL, "Between two pings.");
time!(HostTimeout, HOST_TIMEOUT, "After which a host is gone.");
time!(ForgetAfter, FORGET_AFTER, "After which it is forgotten.");
time!(
    PushTimeout,
    PUSH_TIMEOUT,
    "After which a request has failed."
);

/// Where to listen for agents.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct AgentsListen(pub(super) Listen);

/// Where to listen for viewers, if at all.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct ViewersListen(pub(super) Option<Listen>);

/// Where to listen for HTTP, if at all.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct WebListen(pub(super) Option<Listen>);

/// Where to publish, if at all.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct PublishEndpoint(pub(super) Option<Endpoint>);

/// Who may connect there.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct PublishMode(pub(super) SocketMode);

from_text!(PublishEndpoint, String, |text| {
    if text == "none" {
        return Ok(Self(None));
    }
    Endpoint::parse(&text).map(|endpoint| Self(Some(endpoint)))
});
from_text!(PublishMode, &'static str, |text| {
    SocketMode::parse(&text).map(Self)
});

from_text!(AgentsListen, String, |text| {
    listen(&text, DEFAULT_PORT).map(Self)
});
from_text!(ViewersListen, String, |text| {
    listen_if_at_all(&text, DEFAULT_VIEWERS_PORT).map(Self)
});
from_text!(WebListen, String, |text| {
    listen_if_at_all(&text, DEFAULT_WEB_PORT).map(Self)
});

/// A name that the web server answers to: a host name in lower case or an address, without a
/// port; or `*`, which is any.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct WebHost(String);

from_text!(WebHost, String, |text| {
    let inner = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    if text == "*" {
        return Ok(Self(text));
    }
    if let Ok(address) = inner.unwrap_or(&text).parse::<IpAddr>() {
        return Ok(Self(address.to_canonical().to_string()));
    }
    match text.parse::<Host>() {
        Ok(Host::Name(name)) => Ok(Self(name.trim_end_matches('.').to_owned())),
        Ok(host @ (Host::Ip(_) | Host::LinkLocal(..))) => Ok(Self(host.to_string())),
        Err(_) if text.contains([':', '/']) => Err(format!(
            "{text:?} is not a host name; leave out scheme and port"
        )),
        Err(error) => Err(error.to_string()),
    }
});

/// The names that the web server answers to besides its own.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Vec<WebHost>")]
pub(super) struct WebHosts(pub(super) Vec<WebHost>);

/// The most names: every request is compared with them, and nothing has so many.
const MAX_WEB_HOSTS: usize = 100;

impl TryFrom<Vec<WebHost>> for WebHosts {
    type Error = String;

    fn try_from(hosts: Vec<WebHost>) -> Result<Self, String> {
        if hosts.len() > MAX_WEB_HOSTS {
            return Err(format!("too many names (limit {MAX_WEB_HOSTS})"));
        }
        Ok(Self(hosts))
    }
}

fn listen_if_at_all(text: &str, port: u16) -> Result<Option<Listen>, String> {
    if text == "none" {
        Ok(None)
    } else {
        listen(text, port).map(Some)
    }
}

/// `ADDRESS`, `ADDRESS:PORT`, with `*` for every address; `tcp://` in front as ZeroMQ
/// writes it. A link-local address has its interface behind it.
fn listen(text: &str, default_port: u16) -> Result<Listen, String> {
    let address = text.strip_prefix("tcp://").unwrap_or(text);
    if let Some(rest) = address.strip_prefix('*') {
        let port = match rest.strip_prefix(':') {
            Some(port) => parse_port(port)?,
            None if rest.is_empty() => default_port,
            None => return Err("only a colon and a port can follow the `*`".to_owned()),
        };
        return Ok(Listen::Any { port });
    }
    if let Some((inner, rest)) = address
        .strip_prefix('[')
        .and_then(|rest| rest.split_once(']'))
    {
        let port = match rest.strip_prefix(':') {
            Some(port) => parse_port(port)?,
            None if rest.is_empty() => default_port,
            None => return Err("only a colon and a port can follow the `]`".to_owned()),
        };
        return listen_at(inner, port);
    }
    if address
        .split_once('%')
        .is_some_and(|(_, zone)| zone.contains(':'))
    {
        return Err(IN_BRACKETS.to_owned());
    }
    if address.parse::<Ipv6Addr>().is_ok() || address.contains('%') {
        return listen_at(address, default_port);
    }
    if let Ok(address) = address.parse::<IpAddr>() {
        return Ok(Listen::Address(SocketAddr::new(address, default_port)));
    }
    let parsed = address.parse::<SocketAddr>().map(Listen::Address);
    parsed.map_err(|_| match address.rsplit_once(':') {
        Some((_, port)) if parse_port(port).is_err() => BAD_PORT.to_owned(),
        _ => NO_ADDRESS.to_owned(),
    })
}

const BAD_PORT: &str = "the port must be a number from 0 to 65535";
const IN_BRACKETS: &str =
    "write an IPv6 address with a port in brackets, such as \"[fe80::1%eth0]:5556\"";
const NO_ADDRESS: &str = "expected an IP address of this host, or `*`";

/// At an IPv6 address.
fn listen_at(text: &str, port: u16) -> Result<Listen, String> {
    match parse_ipv6(text) {
        Ok(Host::Ip(address)) => Ok(Listen::Address(SocketAddr::new(address, port))),
        Ok(Host::LinkLocal(address, zone)) => match link_local(address, &zone, port) {
            Ok(address) => Ok(Listen::LinkLocal(address, zone)),
            Err(error) => {
                let zone = zone.as_str();
                Err(format!("this host has no interface {zone}: {error}"))
            }
        },
        Ok(Host::Name(_)) | Err(EndpointError::Ipv6(_)) => Err(NO_ADDRESS.to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn parse_port(port: &str) -> Result<u16, &'static str> {
    // str::parse would take a sign.
    let digits = port.bytes().all(|byte| byte.is_ascii_digit());
    let port = port.parse().ok().filter(|_| digits);
    port.ok_or(BAD_PORT)
}

from_text!(Authorized, &'static str, |text| match text.as_str() {
    "any" => Ok(Self::Any),
    "directory" => Ok(Self::Directory),
    _ => Err("only these two are known"),
});

impl fmt::Display for Authorized {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Any => "any",
            Self::Directory => "directory",
        })
    }
}

/// The name of a file.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct FileName(pub(super) PathBuf);

from_text!(FileName, &'static str, |text| {
    if text.is_empty() || text.ends_with('/') || !is_plain(&text) {
        return Err("it is not the name of a file");
    }
    // It may be the secret one, which then must not be quoted either.
    if !text.starts_with('/') && text.parse::<PublicKey>().is_ok() {
        return Err("it is a key, not a file; put the key into a file and name that file here");
    }
    Ok(Self(text.into()))
});

/// An address to write metrics to: of scheme `http` or `https`, with a host, without a
/// user and a fragment.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct PushUrl(String);

/// Without the query, which may hold a secret.
impl fmt::Display for PushUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (address, query) = match self.0.split_once('?') {
            Some((address, _)) => (address, "?…"),
            None => (self.0.as_str(), ""),
        };
        write!(f, "{address}{query}")
    }
}

impl PushUrl {
    /// Returns true if the address names an interface that this host does not have now.
    #[must_use]
    pub fn lacks_interface(&self) -> bool {
        let uri = self.0.parse::<Uri>().ok();
        match uri.as_ref().and_then(Uri::host).and_then(ipv6_of) {
            Some(Ok(Host::LinkLocal(_, zone))) => zone.index().is_err(),
            _ => false,
        }
    }
}

/// The IPv6 address in a URL's host; None if it is none.
fn ipv6_of(host: &str) -> Option<Result<Host, EndpointError>> {
    let inner = host.strip_prefix('[')?.strip_suffix(']')?;
    // In a URL `%25` is the `%` alone (RFC 6874), and no interface 25 without one.
    Some(match inner.strip_suffix("%25") {
        Some(address) => parse_ipv6(&format!("{address}%")),
        None => parse_ipv6(inner),
    })
}

impl fmt::Debug for PushUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PushUrl({self})")
    }
}

from_text!(PushUrl, String, |text| {
    if text.len() > MAX_URL_BYTES {
        return Err(format!("too long (limit {MAX_URL_BYTES} bytes)"));
    }
    if text.contains('#') {
        return Err("remove the fragment (#…): it is never sent".to_owned());
    }
    let uri: Uri = text.parse().map_err(|error| format!("{error}"))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err("expected http:// or https:// in front".to_owned());
    }
    let authority = uri.authority().map(hyper::http::uri::Authority::as_str);
    if authority.is_some_and(|authority| authority.contains('@')) {
        return Err("put the user and the password into username and password_file".to_owned());
    }
    let host = match uri.host() {
        None | Some("") => return Err("expected a host".to_owned()),
        Some(host) => host,
    };
    if let Some(host) = ipv6_of(host) {
        let host = host.map_err(|error| error.to_string())?;
        if matches!(host, Host::LinkLocal(..)) && uri.scheme_str() == Some("https") {
            return Err(
                "certificates do not cover link-local addresses; use a name, or http".to_owned(),
            );
        }
    }
    Ok(Self(text))
});

/// The name of a user of HTTP's basic authentication, which ends at a colon.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct UserName(String);

from_text!(UserName, &'static str, |text| {
    if text.contains(':') {
        return Err("a user name cannot contain a colon");
    }
    printable(&text).map(|()| Self(text))
});

/// The name of a header (RFC 9110, section 5.6.2), none of those that requests have anyway.
/// Kept as it is written; two that differ in case alone are the same header.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct HeaderName(String);

from_text!(HeaderName, &'static str, |text| {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let lower = text.to_ascii_lowercase();
    if text.is_empty() || text.len() > MAX_NAME_BYTES || !text.bytes().all(token) {
        return Err("expected letters, digits and \"-\"");
    }
    if lower == "authorization" {
        return Err("use username and password_file, or bearer_token_file");
    }
    if OUR_HEADERS.contains(&lower.as_str()) {
        return Err("the collector sets it");
    }
    Ok(Self(text))
});

/// The value of a header.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct HeaderValue(String);

from_text!(HeaderValue, &'static str, |text| {
    let printable = |byte: u8| byte.is_ascii_graphic() || byte == b' ';
    if text.is_empty() || text.len() > MAX_VALUE_BYTES || !text.bytes().all(printable) {
        return Err("it is empty, too long, or not ASCII");
    }
    if text.trim().len() != text.len() {
        return Err("it begins or ends with a space");
    }
    Ok(Self(text))
});

impl fmt::Debug for HeaderValue {
    /// It may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HeaderValue(…)")
    }
}

/// The name of a label, as Prometheus has it; `__` in front is Prometheus' own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct LabelName(String);

from_text!(LabelName, &'static str, |text| {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let digit = text
        .bytes()
        .next()
        .is_none_or(|first| first.is_ascii_digit());
    if digit || text.len() > MAX_NAME_BYTES || !text.bytes().all(word) {
        return Err("expected letters, digits and \"_\", and no digit in front");
    }
    if text.starts_with("__") {
        return Err("names that begin with \"__\" are reserved");
    }
    if naming::is_label(&text) {
        return Err("the collector sets this label itself; choose another name");
    }
    Ok(Self(text))
});

/// The value of a label. An empty one would be none.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct LabelValue(String);

from_text!(LabelValue, &'static str, |text| {
    printable(&text).map(|()| Self(text))
});

fn printable(text: &str) -> Result<(), &'static str> {
    if text.is_empty() {
        Err("it is empty")
    } else if text.len() > MAX_VALUE_BYTES {
        Err("it is too long")
    } else if !is_plain(text) {
        Err("it contains a control character or an invisible one")
    } else {
        Ok(())
    }
}

/// Implements access to the text.
macro_rules! as_text {
    ($($name:ident),*) => {$(
        impl $name {
            /// It, as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
    )*};
}

as_text!(
    PushUrl,
    UserName,
    HeaderName,
    HeaderValue,
    LabelName,
    LabelValue,
    WebHost
);
