//! Asks systemd-resolved for the SRV records of a service, over the system bus
//! (org.freedesktop.resolve1(5)). Keeps nothing: each question makes its own connection, as one
//! comes once in a round of attempts. Puts nothing into an order, and looks no host up.

use std::time::Duration;

use tokio::time::timeout;

use super::srv::Target;
use crate::agent::settings::ServiceName;
use crate::curve::endpoint::{Endpoint, Host};
use crate::curve::resolve::PATIENCE;
use crate::dbus::Bus;

const SERVICE: &str = "org.freedesktop.resolve1";
const PATH: &str = "/org/freedesktop/resolve1";
const MANAGER: &str = "org.freedesktop.resolve1.Manager";

/// `SD_RESOLVED_NO_TXT` and `SD_RESOLVED_NO_ADDRESS`: the hosts are looked up as any other, when it
/// is their turn.
const FLAGS: u64 = 1 << 6 | 1 << 7;

/// `ifindex` 0 and `AF_UNSPEC`: any.
const ANY: i32 = 0;

/// Records that are looked at. An answer over TCP may hold some thousand, and the bus passes more.
const MAX_RECORDS: usize = 1024;

/// Priority, weight, port, host, the host's addresses, its canonical name.
type Record = (u16, u16, u16, String, Vec<(i32, i32, Vec<u8>)>, String);
/// The records, the TXT records, the canonical name in its three parts, flags.
type Answer = (Vec<Record>, Vec<Vec<u8>>, String, String, String, u64);

/// Why there are no targets.
#[derive(Debug, thiserror::Error)]
pub(super) enum SrvError {
    #[error("cannot ask systemd-resolved for {0}: no system bus: {1}")]
    NoBus(ServiceName, #[source] zbus::Error),
    #[error("cannot ask systemd-resolved for {0}: it does not run on this host")]
    NotRunning(ServiceName),
    #[error("{0} has no SRV records")]
    None(ServiceName),
    #[error("the SRV records of {0} name no host that can be connected to")]
    NoHost(ServiceName),
    #[error("systemd-resolved finds no SRV records of {0}: {1}")]
    Failed(ServiceName, String),
    #[error("systemd-resolved did not answer for {0} within {limit} s", limit = PATIENCE.as_secs())]
    TimedOut(ServiceName),
}

/// The targets of a service, one at least, within [`PATIENCE`].
pub(super) async fn targets(name: ServiceName) -> Result<Vec<Target>, SrvError> {
    let limit: Duration = PATIENCE;
    let asked = timeout(limit, ask(&name)).await;
    let records = asked.unwrap_or_else(|_| Err(SrvError::TimedOut(name.clone())))?;
    if records.is_empty() {
        return Err(SrvError::None(name));
    }
    let records = records.into_iter().take(MAX_RECORDS);
    let targets: Vec<Target> = records.filter_map(target).collect();
    if targets.is_empty() {
        return Err(SrvError::NoHost(name));
    }
    Ok(targets)
}

async fn ask(name: &ServiceName) -> Result<Vec<Record>, SrvError> {
    let no_bus = |error| SrvError::NoBus(name.clone(), error);
    let connection = Bus::System.connect().await.map_err(no_bus)?;
    // No instance: a service of a domain, not one of DNS-SD.
    let question = (ANY, "", name.service(), name.domain(), ANY, FLAGS);
    let called = connection.call_method(
        Some(SERVICE),
        PATH,
        Some(MANAGER),
        "ResolveService",
        &question,
    );
    let answer = called.await.map_err(|error| refusal(name, &error))?;
    let body = answer.body();
    let found: Result<Answer, _> = body.deserialize();
    let found = found.map_err(|error| SrvError::Failed(name.clone(), error.to_string()))?;
    Ok(found.0)
}

/// None of a record whose target is no host, as "." is, which says that there is no such service.
fn target((priority, weight, port, host, _, _): Record) -> Option<Target> {
    let host: Host = host.parse().ok()?;
    let endpoint = Endpoint::new(host, port.try_into().ok()?);
    Some(Target {
        priority,
        weight,
        endpoint,
    })
}

fn refusal(name: &ServiceName, error: &zbus::Error) -> SrvError {
    use zbus::DBusError as _;

    let (error_name, text) = match error {
        zbus::Error::MethodError(error_name, text, _) => {
            (error_name.to_string(), text.clone().unwrap_or_default())
        }
        zbus::Error::FDO(error) => (error.name().to_string(), error.to_string()),
        other => return SrvError::Failed(name.clone(), other.to_string()),
    };
    match error_name.as_str() {
        // Not installed; installed and not enabled; masked.
        "org.freedesktop.DBus.Error.ServiceUnknown"
        | "org.freedesktop.DBus.Error.NameHasNoOwner"
        | "org.freedesktop.systemd1.NoSuchUnit"
        | "org.freedesktop.systemd1.UnitMasked" => SrvError::NotRunning(name.clone()),
        "org.freedesktop.resolve1.NoSuchRR"
        | "org.freedesktop.resolve1.NoSuchService"
        | "org.freedesktop.resolve1.DnsError.NXDOMAIN" => SrvError::None(name.clone()),
        _ if text.is_empty() => SrvError::Failed(name.clone(), error_name),
        _ => SrvError::Failed(name.clone(), text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(port: u16, host: &str) -> Record {
        (1, 2, port, host.to_owned(), Vec::new(), String::new())
    }

    #[test]
    fn a_record_without_a_host_or_a_port_is_left_out() {
        for (port, host) in [(5556, "."), (5556, ""), (0, "a"), (5556, "a b")] {
            assert_eq!(target(record(port, host)), None, "{host}:{port}");
        }
        let found = target(record(7, "C.Example.org")).unwrap();
        assert_eq!((found.priority, found.weight), (1, 2));
        assert_eq!(found.endpoint.to_string(), "c.example.org:7");
    }

    #[test]
    fn what_resolved_says_is_told_in_words() {
        let name: ServiceName = "example.org".parse().unwrap();
        let told = |error: zbus::fdo::Error| {
            refusal(&name, &zbus::Error::FDO(Box::new(error))).to_string()
        };
        let gone = "cannot ask systemd-resolved for _metrics-agent._tcp.example.org: it does not \
                    run on this host";
        assert_eq!(told(zbus::fdo::Error::ServiceUnknown("x".to_owned())), gone);
        let failed = told(zbus::fdo::Error::AccessDenied("not you".to_owned()));
        assert!(
            failed.starts_with("systemd-resolved finds no SRV records of _metrics-agent"),
            "{failed}"
        );
        assert!(failed.contains("not you"), "{failed}");
    }
}
