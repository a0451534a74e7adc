//! The listening socket.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use rustix::net::sockopt::set_ipv6_v6only;
use thiserror::Error;
use tokio::net::{TcpListener, TcpSocket};

use crate::curve::router::Listen;

/// Connections that the kernel holds until they are accepted. If it has no room, who connects tries
/// again only after 1 s, then 3 s; so many are accepted in a fraction of a second.
const BACKLOG: u32 = 1024;

/// What the kernel holds of an answer until the peer has taken it; it doubles that for its own
/// needs. Many connections that read nothing cost no more than this each, and over a path of 20 ms
/// an answer still goes at 10 MB/s. It is what a process may ask for by default.
const SEND_BUFFER: u32 = 208 * 1024;

/// A web server that listens and does not answer yet.
#[derive(Debug)]
pub struct Web {
    pub(super) listener: TcpListener,
    address: SocketAddr,
    listen: Listen,
}

/// Why there is no listening socket.
#[derive(Debug, Error)]
#[error("cannot serve Prometheus at {listen}: {source}")]
pub struct BindError {
    listen: Listen,
    #[source]
    source: io::Error,
}

impl BindError {
    /// What an administrator may look at.
    #[must_use]
    pub fn way_out(&self) -> &'static str {
        way_out(&self.source)
    }
}

/// What may be done where the system does not let a port be listened at.
#[must_use]
pub fn way_out(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrNotAvailable => "`ip address` shows the addresses of this host",
        io::ErrorKind::PermissionDenied => "choose a port above 1023",
        _ if error.raw_os_error() == Some(libc::EAFNOSUPPORT) => {
            "RestrictAddressFamilies= of the unit needs AF_INET or AF_INET6, as the address is"
        }
        _ => "`ss -ltnp` shows who listens there",
    }
}

impl Web {
    /// Listens.
    ///
    /// # Errors
    ///
    /// [`BindError`].
    pub fn bind(listen: Listen) -> Result<Self, BindError> {
        let bind = || {
            let port = listen.port();
            let listener = match listen.address() {
                Some(address) => bind(address)?,
                None => bind((Ipv6Addr::UNSPECIFIED, port).into()).or_else(|error| {
                    match error.raw_os_error() {
                        // A kernel without IPv6.
                        Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL) => {
                            bind((Ipv4Addr::UNSPECIFIED, port).into())
                        }
                        _ => Err(error),
                    }
                })?,
            };
            let address = listener.local_addr()?;
            Ok(Self {
                listener,
                address,
                listen,
            })
        };
        bind().map_err(|source| BindError { listen, source })
    }

    /// Where it listens, with the port that was free.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The same for people: the interface of a link-local address as it was written.
    #[must_use]
    pub fn listening(&self) -> Listen {
        match self.listen {
            Listen::LinkLocal(..) => self.listen.at_port(self.address.port()),
            Listen::Address(_) | Listen::Any { .. } => self.address.into(),
        }
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        let socket = TcpSocket::new_v6()?;
        // Of the unspecified address both families, whatever the system's default is.
        set_ipv6_v6only(&socket, !address.ip().is_unspecified())?;
        socket
    };
    // A restart must not wait until the last one's connections are forgotten.
    socket.set_reuseaddr(true)?;
    // Connections inherit it.
    socket.set_send_buffer_size(SEND_BUFFER)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn both_families_come_in_at_all_addresses() {
        for listen in [
            Listen::Any { port: 0 },
            Listen::Address((Ipv6Addr::UNSPECIFIED, 0).into()),
        ] {
            let web = Web::bind(listen).unwrap();
            let port = web.address().port();
            TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
            TcpStream::connect((Ipv6Addr::LOCALHOST, port)).unwrap();
        }
        for address in [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()] {
            let web = Web::bind(Listen::Address(SocketAddr::new(address, 0))).unwrap();
            assert_eq!(web.address().ip(), address);
            TcpStream::connect(web.address()).unwrap();
        }
    }

    #[tokio::test]
    async fn an_address_that_cannot_be_had_is_named() {
        let first = Web::bind(Listen::Address((Ipv4Addr::LOCALHOST, 0).into())).unwrap();
        let error = Web::bind(Listen::Address(first.address())).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "cannot serve Prometheus at {}: Address already in use (os error 98)",
                first.address()
            )
        );
        assert_eq!(error.way_out(), "`ss -ltnp` shows who listens there");
        let error = io::Error::from_raw_os_error(libc::EAFNOSUPPORT);
        assert!(way_out(&error).starts_with("RestrictAddressFamilies= of the unit needs AF_INET "));
        let error = Web::bind(Listen::Address(([192, 0, 2, 1], 0).into())).unwrap_err();
        assert_eq!(
            error.way_out(),
            "`ip address` shows the addresses of this host"
        );
    }
}
