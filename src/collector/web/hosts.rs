//! The names that this collector answers to.
//!
//! A browser sends the host name of the URL with each request. An attacker can make a name of
//! theirs resolve to an address of ours, and then read the answer in a browser (DNS rebinding);
//! so unknown names are refused. An address cannot be forged like that, and is accepted if it
//! is the one that was connected to.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::header::HOST;
use hyper::{Request, Version};

use crate::base::host_name;
use crate::base::monitor::Lock;
use crate::base::offload::on_a_thread;
use crate::base::throttle::Throttle;
use crate::collector::settings::WebHost;
use crate::curve::endpoint::Host;

/// The full host name is looked up again after this where a name is not known: the resolver
/// may not have been there at the start, and names change.
const AGAIN: Duration = Duration::from_secs(30);

/// What a request is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// It does not say, as requests of HTTP/1.0 need not. No browser sends one.
    NoHost,
    /// It does not say as it should (RFC 9112, 3.2).
    Unclear,
    /// This.
    Host(Named),
}

/// A name or an address in a request, without its port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Named {
    /// In lower case, without a final dot.
    Name(String),
    /// As IPv4 where it is that.
    Address(IpAddr),
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(address) => write!(f, "{address}"),
        }
    }
}

impl Wanted {
    /// What this request is for.
    pub(super) fn of<B>(request: &Request<B>) -> Self {
        // That of the target goes before the header (RFC 9112, 3.2.2).
        if let Some(authority) = request.uri().authority() {
            return Self::parse(authority.as_str());
        }
        let mut headers = request.headers().get_all(HOST).iter();
        match (headers.next(), headers.next()) {
            (None, _) if request.version() < Version::HTTP_11 => Self::NoHost,
            (Some(host), None) => host.to_str().map_or(Self::Unclear, Self::parse),
            _ => Self::Unclear,
        }
    }

    fn parse(text: &str) -> Self {
        Named::parse(text).map_or(Self::Unclear, Self::Host)
    }
}

impl Named {
    /// `HOST` or `HOST:PORT`.
    fn parse(text: &str) -> Option<Self> {
        let (host, port) = if let Some(rest) = text.strip_prefix('[') {
            let (address, port) = rest.split_once(']')?;
            let address: Ipv6Addr = address.split('%').next()?.parse().ok()?;
            (Self::Address(IpAddr::V6(address).to_canonical()), port)
        } else {
            let (host, port) = text.find(':').map_or((text, ""), |at| text.split_at(at));
            let host = match host.parse().ok()? {
                Host::Ip(address) => Self::Address(address),
                Host::LinkLocal(..) => return None,
                Host::Name(name) => Self::Name(name.trim_end_matches('.').to_owned()),
            };
            (host, port)
        };
        let digits = port.strip_prefix(':').unwrap_or(port);
        digits
            .bytes()
            .all(|byte| byte.is_ascii_digit())
            .then_some(host)
    }
}

/// The names of this host.
#[derive(Debug, Default)]
pub(super) struct OwnNames {
    full: Arc<Lock<Full>>,
    refused: Lock<Throttle>,
}

/// The full host name, as it was looked up last.
#[derive(Debug, Default)]
struct Full {
    name: Option<String>,
    /// When that began.
    asked: Option<Instant>,
    under_way: bool,
}

impl OwnNames {
    /// Returns true if the name is this collector's, on a connection to the address `here`,
    /// with the additional names of the settings.
    pub(super) fn include(&self, named: &Named, here: Option<IpAddr>, more: &[WebHost]) -> bool {
        let text = named.to_string();
        if more
            .iter()
            .any(|host| [&*text, "*"].contains(&host.as_str()))
        {
            return true;
        }
        match named {
            Named::Address(address) => here.is_some_and(|here| here.to_canonical() == *address),
            Named::Name(name) => {
                let own = |own: &str| own.trim_end_matches('.').eq_ignore_ascii_case(name);
                own("localhost")
                    || own(&host_name::short())
                    || self.full.lock().name.as_deref().is_some_and(own)
            }
        }
    }

    /// Has the full host name looked up, beside the loop, unless that was done of late.
    pub(super) fn look_up(&self, now: Instant) {
        let mut full = self.full.lock();
        let lately = |asked| now.saturating_duration_since(asked) < AGAIN;
        if full.under_way || full.asked.is_some_and(lately) {
            return;
        }
        full.asked = Some(now);
        full.under_way = true;
        drop(full);
        let found = Arc::clone(&self.full);
        let started = on_a_thread("web names", move || {
            let name = host_name::fully_qualified(&host_name::short());
            let mut full = found.lock();
            full.under_way = false;
            full.name = name;
        });
        if started.is_err() {
            // It is tried again.
            self.full.lock().under_way = false;
        }
    }

    /// A request was refused: of how many nothing was said, where something is to be.
    pub(super) fn refused(&self, now: Instant) -> Option<u64> {
        self.refused.lock().note(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(version: Version, target: &str, hosts: &[&str]) -> String {
        let mut request = Request::builder().version(version).uri(target);
        for host in hosts {
            request = request.header(HOST, *host);
        }
        match Wanted::of(&request.body(()).unwrap()) {
            Wanted::NoHost => "no host".to_owned(),
            Wanted::Unclear => "unclear".to_owned(),
            Wanted::Host(named) => named.to_string(),
        }
    }

    #[test]
    fn what_a_request_is_for() {
        for (target, hosts, expected) in [
            (
                "/metrics",
                &["Web1.Example.ORG:9650"][..],
                "web1.example.org",
            ),
            ("/metrics", &["web1."], "web1"),
            ("/metrics", &["127.0.0.1"], "127.0.0.1"),
            ("/metrics", &["[::1]:80"], "::1"),
            ("/metrics", &["[::ffff:192.0.2.1]"], "192.0.2.1"),
            ("/metrics", &["[fe80::1%25eth0]:9650"], "fe80::1"),
            (
                "http://evil.example/metrics",
                &["localhost"],
                "evil.example",
            ),
            ("/metrics", &[], "unclear"),
            ("/metrics", &["a", "b"], "unclear"),
            ("/metrics", &[""], "unclear"),
            ("/metrics", &["a:b"], "unclear"),
            ("/metrics", &["a b"], "unclear"),
            ("/metrics", &["::1"], "unclear"),
            ("/metrics", &["user@localhost"], "unclear"),
            ("/metrics", &["localhost, evil.example"], "unclear"),
        ] {
            let found = wanted(Version::HTTP_11, target, hosts);
            assert_eq!(found, expected, "{target} {hosts:?}");
        }
        assert_eq!(wanted(Version::HTTP_10, "/metrics", &[]), "no host");
        assert_eq!(wanted(Version::HTTP_10, "/metrics", &["a"]), "a");
    }

    #[test]
    fn own_names_and_those_of_the_settings_are_answered_to() {
        let names = OwnNames::default();
        let full = Some("web1.example.org".to_owned());
        names.full.lock().name = full;
        let here = Some("::ffff:192.0.2.1".parse().unwrap());
        let more = |hosts: &[&str]| -> Vec<WebHost> {
            let hosts = hosts.iter().map(|host| (*host).to_owned().try_into());
            hosts.collect::<Result<_, _>>().unwrap()
        };
        let include =
            |text: &str, more: &[WebHost]| names.include(&Named::parse(text).unwrap(), here, more);
        let short = host_name::short();
        for own in [
            "localhost",
            "LOCALHOST:9650",
            &short,
            "web1.example.org.",
            "192.0.2.1",
        ] {
            assert!(include(own, &[]), "{own}");
        }
        let others = [
            "evil.example",
            "192.0.2.2",
            "web1.example.org.evil.example",
            "[::1]",
        ];
        for other in others {
            assert!(!include(other, &[]), "{other}");
            assert!(include(other, &more(&["*"])), "{other}");
        }
        let added = more(&["Metrics.Example.org.", "192.0.2.2", "[::1]"]);
        assert!(include("metrics.example.org", &added));
        assert!(include("192.0.2.2", &added) && include("[::1]", &added));
        assert!(!include("evil.example", &added));
    }

    #[test]
    fn a_name_is_looked_up_once_in_a_while() {
        let names = OwnNames::default();
        let start = Instant::now();
        names.look_up(start);
        let asked = || names.full.lock().asked;
        assert_eq!(asked(), Some(start));
        names.look_up(start + AGAIN / 2);
        assert_eq!(asked(), Some(start));
        while names.full.lock().under_way {
            std::thread::yield_now();
        }
        names.look_up(start + AGAIN);
        assert_eq!(asked(), Some(start + AGAIN));
    }
}
