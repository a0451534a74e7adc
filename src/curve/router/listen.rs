//! Where a ROUTER listens.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, TcpListener};
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

use crate::curve::endpoint::Zone;

/// Connections that the kernel holds until they are accepted: a fleet that returns at once. The
/// kernel's own limit (`net.core.somaxconn`) is 4,096.
const BACKLOG: i32 = 4096;

/// Where to listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listen {
    /// One address; of IPv6's unspecified one (`[::]`), both families. Port 0 is any free port.
    Address(SocketAddr),
    /// A link-local address, with its interface as it was written.
    LinkLocal(SocketAddrV6, Zone),
    /// Every address of the host, of both families where the kernel has IPv6.
    Any {
        /// The port; 0 is any free one.
        port: u16,
    },
}

impl Listen {
    /// The address; None if it is every one of the host.
    #[must_use]
    pub fn address(self) -> Option<SocketAddr> {
        match self {
            Self::Address(address) => Some(address),
            Self::LinkLocal(address, _) => Some(address.into()),
            Self::Any { .. } => None,
        }
    }

    /// The port; 0 is any free one.
    #[must_use]
    pub fn port(self) -> u16 {
        match self {
            Self::Address(address) => address.port(),
            Self::LinkLocal(address, _) => address.port(),
            Self::Any { port } => port,
        }
    }

    /// The same address with another port, such as the one that was free.
    #[must_use]
    pub fn at_port(self, port: u16) -> Self {
        match self {
            Self::Address(mut address) => {
                address.set_port(port);
                Self::Address(address)
            }
            Self::LinkLocal(mut address, zone) => {
                address.set_port(port);
                Self::LinkLocal(address, zone)
            }
            Self::Any { .. } => Self::Any { port },
        }
    }
}

impl From<SocketAddr> for Listen {
    fn from(address: SocketAddr) -> Self {
        Self::Address(address)
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::LinkLocal(address, zone) => {
                write!(f, "[{}{zone}]:{}", address.ip(), address.port())
            }
            Self::Any { port } => write!(f, "*:{port}"),
        }
    }
}

/// Listens, without waiting for anything.
///
/// # Errors
///
/// The system's.
pub(super) fn listen(listen: Listen) -> io::Result<TcpListener> {
    match listen {
        Listen::Address(address) => bind(address),
        Listen::LinkLocal(address, _) => bind(address.into()),
        Listen::Any { port } => {
            let every = |ip: IpAddr| bind((ip, port).into());
            every(Ipv6Addr::UNSPECIFIED.into()).or_else(|error| {
                match error.raw_os_error().map(Errno::from_raw_os_error) {
                    Some(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL) => {
                        every(Ipv4Addr::UNSPECIFIED.into())
                    }
                    _ => Err(error),
                }
            })
        }
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    // Those that the last collector has served may still be in TIME_WAIT.
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if let SocketAddr::V6(address) = address {
        // Whatever net.ipv6.bindv6only says.
        sockopt::set_ipv6_v6only(&socket, !address.ip().is_unspecified())?;
    }
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(OwnedFd::into(socket))
}
