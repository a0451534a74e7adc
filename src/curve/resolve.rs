//! From a collector's name to the addresses to try.
//!
//! The system's resolver may block for 20 s and more, so it is asked on a thread of its own, at
//! most one question per connection at a time, and callers wait no longer than [`PATIENCE`].

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::base::offload::{Offloaded, offload};
use crate::curve::endpoint::{Endpoint, Host, link_local};

/// How long one connecting waits for the resolver: glibc's default is 2 rounds of 5 s
/// for a server that does not answer (resolv.conf(5)).
pub(crate) const PATIENCE: Duration = Duration::from_secs(12);

/// Addresses tried in one connecting at most; a name with more has the rest cut off.
const MAX_ADDRESSES: usize = 16;

/// Why there is no address.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ResolveError {
    #[error("the name {0} does not resolve: {cause}", cause = cause(.1))]
    Failed(String, #[source] io::Error),
    #[error("the name {0} resolves to no address")]
    Empty(String),
    #[error("the resolver did not answer for {name} within {} s", PATIENCE.as_secs())]
    TimedOut { name: String },
    #[error("this host has no interface for {host}: {source}")]
    NoInterface { host: Host, source: io::Error },
}

/// What the resolver said, without what the standard library puts before it: that is said already.
fn cause(error: &io::Error) -> String {
    let text = error.to_string();
    let cause = text.strip_prefix("failed to lookup address information: ");
    cause.map_or_else(|| text.clone(), str::to_owned)
}

type Answer = io::Result<Vec<SocketAddr>>;

/// Asks the resolver for one connection.
#[derive(Debug, Default)]
pub(crate) struct Resolver {
    /// Kept while unanswered, also beyond the patience: the next look-up waits for its
    /// answer instead of losing one more thread to a resolver that hangs.
    pending: Option<Question>,
    /// By when the present look-up ends, answered or not.
    deadline: Option<Instant>,
}

#[derive(Debug)]
struct Question {
    target: (String, u16),
    answer: Offloaded<Answer>,
}

impl Resolver {
    /// Another connecting, with all the patience there is.
    pub(crate) fn begin(&mut self) {
        self.deadline = None;
    }

    /// The addresses of `endpoint` in the order of preference that the system has for them
    /// (RFC 6724, gai.conf(5)), both families. Cancel safe.
    pub(crate) async fn look_up(
        &mut self,
        endpoint: &Endpoint,
    ) -> Result<VecDeque<SocketAddr>, ResolveError> {
        let name = match endpoint.host() {
            Host::Ip(address) => {
                return Ok(VecDeque::from([SocketAddr::new(*address, endpoint.port())]));
            }
            host @ Host::LinkLocal(address, zone) => {
                let found = link_local(*address, zone, endpoint.port());
                let found = found.map_err(|source| ResolveError::NoInterface {
                    host: host.clone(),
                    source,
                })?;
                return Ok(VecDeque::from([found.into()]));
            }
            Host::Name(name) => name.clone(),
        };
        let target = (name, endpoint.port());
        let deadline = *self
            .deadline
            .get_or_insert_with(|| Instant::now() + PATIENCE);
        let question = match self.pending.take() {
            Some(question) if question.target == target => question,
            _ => Question::ask(target),
        };
        let question = self.pending.insert(question);
        let answer = timeout_at(deadline, &mut question.answer).await;
        let name = question.target.0.clone();
        self.deadline = None;
        let Ok(answer) = answer else {
            return Err(ResolveError::TimedOut { name });
        };
        self.pending = None;
        let found = answer
            .flatten()
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

impl Question {
    fn ask(target: (String, u16)) -> Self {
        let asked = target.clone();
        let answer = offload("resolver", move || {
            asked
                .to_socket_addrs()
                .map(|found| found.take(MAX_ADDRESSES).collect())
        });
        Self { target, answer }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(text: &str) -> Endpoint {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn an_address_needs_no_resolver() {
        let mut resolver = Resolver::default();
        let found = resolver.look_up(&endpoint("[::1]:7000")).await.unwrap();
        assert_eq!(found, ["[::1]:7000".parse().unwrap()]);
        assert!(resolver.pending.is_none());
    }

    #[tokio::test]
    async fn a_name_gives_each_address_once() {
        let mut resolver = Resolver::default();
        let found = resolver.look_up(&endpoint("localhost:7000")).await.unwrap();
        assert!(found.contains(&"127.0.0.1:7000".parse().unwrap()));
        for address in &found {
            assert_eq!(found.iter().filter(|other| *other == address).count(), 1);
        }
    }

    #[tokio::test]
    async fn a_name_that_does_not_exist_is_named() {
        let mut resolver = Resolver::default();
        let error = resolver.look_up(&endpoint("no.such.invalid")).await;
        let text = error.unwrap_err().to_string();
        assert!(text.contains("no.such.invalid"), "{text}");
        assert!(resolver.deadline.is_none());
    }
}
