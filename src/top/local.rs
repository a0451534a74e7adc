//! Finds the collector of this host: where viewers reach it, and its key. A running one is
//! asked on the bus; if there is none, its settings and certificates are read, as far as this
//! user may.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::num::NonZeroU16;
use std::time::Duration;

use thiserror::Error;
use tokio::net::lookup_host;
use tokio::time::timeout;
use zbus::names::WellKnownName;
use zbus::proxy::{self, CacheProperties};
use zbus::{Proxy, fdo};

use crate::curve::endpoint::DEFAULT_VIEWERS_PORT;
use crate::curve::endpoint::{Endpoint, Host, link_local};
use crate::curve::keys::PublicKey;
use crate::curve::router::Listen;
use crate::dbus::{Bus, COLLECTOR_NAME, path};

/// How long the bus may take. A person waits.
const PATIENCE: Duration = Duration::from_secs(3);

/// The collector of this host.
#[derive(Clone, Debug, PartialEq)]
pub struct Local {
    /// Where viewers reach it.
    pub endpoint: Endpoint,
    /// Its key.
    pub key: PublicKey,
}

/// It is there, and serves no viewers.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error(
    "the metrics-collector on this host serves no viewers: `listen.viewers` is \"none\" in \
     its settings; name another collector, or change that and restart it"
)]
pub struct NoViewers;

/// What the files of a collector on this host say: where viewers reach it, if at all,
/// and its key, if there is one that this user may read.
pub type FromFiles = fn() -> (Option<Listen>, Option<PublicKey>);

/// Finds it; None where there is none that this user may know of.
///
/// # Errors
///
/// [`NoViewers`].
pub async fn find(bus: &Bus, files: FromFiles) -> Result<Option<Local>, NoViewers> {
    match timeout(PATIENCE, ask(bus)).await {
        Ok(Ok(Some(Answer { key, viewers }))) => told(&key, &viewers),
        // No bus, or no collector on it: use its files.
        _ => read(files()),
    }
}

/// Returns true if that is this host: one of its names or addresses.
pub async fn is_here(host: &Host) -> bool {
    let addresses: Vec<SocketAddr> = match host {
        Host::Name(name) if is_own_name(name) => return true,
        Host::Name(name) => match timeout(PATIENCE, lookup_host((name.as_str(), 0))).await {
            Ok(Ok(addresses)) => addresses.collect(),
            _ => return false,
        },
        Host::Ip(ip) => vec![SocketAddr::from((*ip, 0))],
        Host::LinkLocal(address, zone) => link_local(*address, zone, 0)
            .map(SocketAddr::from)
            .into_iter()
            .collect(),
    };
    !addresses.is_empty() && addresses.into_iter().all(is_own_address)
}

fn is_own_name(name: &str) -> bool {
    let name = name.trim_end_matches('.');
    // RFC 6761.
    let is_local = name == "localhost" || name.ends_with(".localhost");
    let own = rustix::system::uname();
    is_local || own.nodename().to_string_lossy().eq_ignore_ascii_case(name)
}

/// What goes to an address of this host comes from it, too; nothing is sent to find that out.
fn is_own_address(address: SocketAddr) -> bool {
    let ip = address.ip();
    if ip.is_loopback() {
        return true;
    }
    let any: IpAddr = match ip {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    // Some port, as 0 is none that can be connected to.
    let mut address = address;
    address.set_port(DEFAULT_VIEWERS_PORT);
    let source = UdpSocket::bind((any, 0)).and_then(|socket| {
        socket.connect(address)?;
        socket.local_addr()
    });
    source.is_ok_and(|source| source.ip() == ip)
}

/// What the collector says of itself.
struct Answer {
    key: String,
    viewers: String,
}

async fn ask(bus: &Bus) -> zbus::Result<Option<Answer>> {
    let connection = bus.connect().await?;
    let driver = fdo::DBusProxy::new(&connection).await?;
    let name = WellKnownName::from_static_str_unchecked(COLLECTOR_NAME);
    // A call to the name itself would start a collector.
    let owner = match driver.get_name_owner(name.into()).await {
        Ok(owner) => owner,
        Err(fdo::Error::NameHasNoOwner(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let proxy: Proxy<'_> = proxy::Builder::new(&connection)
        .destination(owner)
        .path(path::COLLECTOR)
        .interface(COLLECTOR_NAME)
        .cache_properties(CacheProperties::No)
        .build()
        .await?;
    Ok(Some(Answer {
        key: proxy.get_property("PublicKey").await?,
        viewers: proxy.get_property("ViewersEndpoint").await?,
    }))
}

fn told(key: &str, viewers: &str) -> Result<Option<Local>, NoViewers> {
    if viewers.is_empty() {
        return Err(NoViewers);
    }
    let endpoint = match viewers.strip_prefix("*:") {
        Some(port) => port
            .parse()
            .ok()
            .and_then(|port| reached(Listen::Any { port })),
        None => viewers.parse().ok().and_then(here),
    };
    let local = endpoint.zip(key.parse().ok());
    Ok(local.map(|(endpoint, key)| Local { endpoint, key }))
}

fn read((listen, key): (Option<Listen>, Option<PublicKey>)) -> Result<Option<Local>, NoViewers> {
    let Some(key) = key else { return Ok(None) };
    let endpoint = reached(listen.ok_or(NoViewers)?);
    Ok(endpoint.map(|endpoint| Local { endpoint, key }))
}

/// The endpoint that reaches this listener from its own host.
fn reached(listen: Listen) -> Option<Endpoint> {
    let host = match listen {
        Listen::Address(address) => Host::Ip(address.ip()),
        Listen::LinkLocal(address, zone) => Host::LinkLocal(*address.ip(), zone),
        Listen::Any { .. } => Host::Ip(Ipv4Addr::UNSPECIFIED.into()),
    };
    // Port 0 is any free port, which only the running collector knows.
    let port = NonZeroU16::new(listen.port())?;
    here(Endpoint::new(host, port))
}

/// The same endpoint, with the host's own address for every one.
fn here(endpoint: Endpoint) -> Option<Endpoint> {
    let ip: IpAddr = match endpoint.host() {
        Host::Ip(IpAddr::V4(ip)) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        Host::Ip(IpAddr::V6(ip)) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        _ => return Some(endpoint),
    };
    let port = NonZeroU16::new(endpoint.port())?;
    Some(Endpoint::new(Host::Ip(ip), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7";

    #[test]
    fn a_collector_that_listens_everywhere_is_reached_here() {
        for (listens, reached) in [
            ("*:5557", "127.0.0.1:5557"),
            ("0.0.0.0:6000", "127.0.0.1:6000"),
            ("[::]:6000", "[::1]:6000"),
            ("192.0.2.7:5557", "192.0.2.7:5557"),
            ("[2001:db8::7]:5557", "[2001:db8::7]:5557"),
            ("[fe80::7%eth0]:5557", "[fe80::7%eth0]:5557"),
        ] {
            let local = told(KEY, listens).unwrap().unwrap();
            assert_eq!(local.endpoint.to_string(), reached);
            assert_eq!(local.key.to_string(), KEY);
        }
        assert_eq!(told(KEY, ""), Err(NoViewers));
        assert_eq!(told(KEY, "*:0"), Ok(None));
        assert_eq!(told("?", "*:5557"), Ok(None));
    }

    #[test]
    fn what_its_files_say_is_taken_where_it_does_not_run() {
        let key = Some(KEY.parse().unwrap());
        let local = read((Some(Listen::Any { port: 6001 }), key))
            .unwrap()
            .unwrap();
        assert_eq!(local.endpoint.to_string(), "127.0.0.1:6001");
        assert_eq!(read((Some(Listen::Any { port: 6001 }), None)), Ok(None));
        assert_eq!(read((None, key)), Err(NoViewers));
        assert_eq!(read((None, None)), Ok(None));
    }

    #[tokio::test]
    async fn this_host_is_known_by_its_names_and_addresses() {
        let own = rustix::system::uname();
        let own = own.nodename().to_str().unwrap();
        for (host, here) in [
            ("localhost", true),
            (own, true),
            ("127.0.0.1", true),
            ("127.0.1.1", true),
            ("[::1]", true),
            ("192.0.2.7", false),
            ("[2001:db8::7]", false),
            ("nobody.invalid", false),
        ] {
            let endpoint: Endpoint = format!("{host}:5557").parse().unwrap();
            assert_eq!(is_here(endpoint.host()).await, here, "{host}");
        }
    }
}
