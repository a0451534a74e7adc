//! From a collector's name to the addresses to try.
//!
//! The system's resolver may block for 20 s and more, so it is asked on tokio's
//! blocking threads, at most one question per connection at a time, and nobody waits
//! longer than [`PATIENCE`].

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::config::{Endpoint, Host};

/// How long one connecting waits for the resolver: glibc's default is 2 rounds of 5 s
/// for a server that does not answer (resolv.conf(5)).
pub(crate) const PATIENCE: Duration = Duration::from_secs(12);

/// Addresses tried in one connecting at most; a name with more has the rest cut off.
const MAX_ADDRESSES: usize = 16;

/// Why there is no address.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ResolveError {
    #[error("the name {0} does not resolve: {1}")]
    Failed(String, #[source] io::Error),
    #[error("the name {0} resolves to no address")]
    Empty(String),
    #[error("the resolver did not answer for {0} within {} s", PATIENCE.as_secs())]
    TimedOut(String),
}

type Answer = io::Result<Vec<SocketAddr>>;

/// Asks the resolver for one connection.
#[derive(Debug, Default)]
pub(crate) struct Resolver {
    // A question that outlived the patience: the next look-up waits for its answer
    // instead of losing one more thread to a resolver that hangs.
    pending: Option<(Endpoint, JoinHandle<Answer>)>,
}

impl Resolver {
    /// The addresses of `endpoint` in the order of preference that the system has for them
    /// (RFC 6724, gai.conf(5)), both families. Cancel safe.
    pub(crate) async fn look_up(
        &mut self,
        endpoint: &Endpoint,
    ) -> Result<VecDeque<SocketAddr>, ResolveError> {
        let name = match &endpoint.host {
            Host::Address(address) => {
                return Ok(VecDeque::from([SocketAddr::new(*address, endpoint.port)]));
            }
            Host::Name(name) => name.clone(),
        };
        let question = match self.pending.take() {
            Some((asked, question)) if asked == *endpoint => question,
            _ => {
                let target = (name.clone(), endpoint.port);
                tokio::task::spawn_blocking(move || {
                    target
                        .to_socket_addrs()
                        .map(|found| found.take(MAX_ADDRESSES).collect())
                })
            }
        };
        let (_, question) = self.pending.insert((endpoint.clone(), question));
        let answer = timeout(PATIENCE, question)
            .await
            .map_err(|_| ResolveError::TimedOut(name.clone()))?;
        self.pending = None;
        let found = answer
            .unwrap_or_else(|ended| Err(io::Error::other(ended)))
            .map_err(|error| ResolveError::Failed(name.clone(), error))?;
        if found.is_empty() {
            return Err(ResolveError::Empty(name));
        }
        let mut addresses = VecDeque::with_capacity(found.len());
        for address in found {
            if !addresses.contains(&address) {
                addresses.push_back(address);
            }
        }
        Ok(addresses)
    }
}
