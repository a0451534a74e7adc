//! From a target's name to its addresses, without ever waiting longer than a request may.
//!
//! The system's resolver may block for 20 s and more, so it is asked on a thread of its own.
//! There is one question at a time: the next request waits for the same answer instead of
//! losing one more thread to a resolver that hangs.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

use crate::base::monitor::Lock;
use crate::base::offload::on_a_thread;
use crate::curve::endpoint::{Endpoint, Host, link_local};

/// HTTP's; TLS is not for addresses of a link.
const DEFAULT_PORT: u16 = 80;

/// Most addresses of a name that are tried; ureq has room for so many.
const MAX_ADDRESSES: usize = 16;

type Answer = io::Result<Vec<SocketAddr>>;

/// Asks the resolver for one target. Its clones share the question.
#[derive(Clone, Debug, Default)]
pub(super) struct OneQuestion {
    /// Not answered when it was last waited for.
    pending: Arc<Lock<Option<Receiver<Answer>>>>,
}

impl Resolver for OneQuestion {
    fn resolve(
        &self,
        uri: &Uri,
        _: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let (Some(scheme), Some(authority)) = (uri.scheme(), uri.authority()) else {
            return Err(ureq::Error::HostNotFound);
        };
        let name = DefaultResolver::host_and_port(scheme, authority);
        let name = name.ok_or(ureq::Error::HostNotFound)?;
        let found = match name.parse::<SocketAddr>() {
            Ok(address) => vec![address],
            Err(_) => match name.parse::<Endpoint>().as_ref().map(Endpoint::host) {
                Ok(Host::LinkLocal(address, zone)) => {
                    let port = authority.port_u16().unwrap_or(DEFAULT_PORT);
                    vec![link_local(*address, zone, port)?.into()]
                }
                _ => self.ask(name, timeout)?,
            },
        };
        let mut addresses = self.empty();
        for address in found.into_iter().take(MAX_ADDRESSES) {
            addresses.push(address);
        }
        if addresses.is_empty() {
            return Err(ureq::Error::HostNotFound);
        }
        Ok(addresses)
    }
}

impl OneQuestion {
    /// A target has one name, so whatever is pending is the same question.
    fn ask(&self, name: String, timeout: NextTimeout) -> Result<Vec<SocketAddr>, ureq::Error> {
        let mut pending = self.pending.lock();
        let answer = match pending.take() {
            Some(answer) => answer,
            None => begin(name)?,
        };
        match answer.recv_timeout(*timeout.after) {
            Ok(found) => Ok(found?),
            Err(RecvTimeoutError::Timeout) => {
                *pending = Some(answer);
                Err(ureq::Error::Timeout(timeout.reason))
            }
            Err(RecvTimeoutError::Disconnected) => Err(ureq::Error::HostNotFound),
        }
    }
}

fn begin(name: String) -> io::Result<Receiver<Answer>> {
    let (answer, answered) = sync_channel(1);
    on_a_thread("push-resolver", move || {
        let found = name.to_socket_addrs();
        // The caller may have gone.
        let _ = answer.send(found.map(|found| found.take(MAX_ADDRESSES).collect()));
    })?;
    Ok(answered)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ureq::unversioned::transport::time;

    use super::*;

    #[test]
    fn a_link_local_address_has_the_number_of_its_interface() {
        let timeout = NextTimeout {
            after: time::Duration::from(Duration::from_secs(10)),
            reason: ureq::Timeout::Resolve,
            per_read: None,
            per_write: None,
        };
        for (url, expected) in [
            ("http://[fe80::1%25lo]:9090/push", Ok("[fe80::1%1]:9090")),
            ("http://[fe80::1%lo]/push", Ok("[fe80::1%1]:80")),
            ("http://[::1]:9090/push", Ok("[::1]:9090")),
            ("http://[fe80::1%25no-such]/push", Err("No such device")),
        ] {
            let resolver = OneQuestion::default();
            let found = resolver.resolve(&url.parse().unwrap(), &Config::default(), timeout);
            match (found, expected) {
                (Ok(found), Ok(expected)) => {
                    let found: Vec<_> = found.iter().map(ToString::to_string).collect();
                    assert_eq!(found, [expected], "{url}");
                }
                (Err(error), Err(expected)) => {
                    assert!(error.to_string().contains(expected), "{url}: {error}");
                }
                (found, _) => panic!("{url}: {found:?}"),
            }
        }
    }
}
