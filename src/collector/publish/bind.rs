//! The listening sockets: the one that readers connect to, and the PUB socket's own, which only the
//! relays do.

use std::fs::{self, Permissions};
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::sockopt::{set_ipv6_v6only, set_socket_reuseaddr, set_socket_send_buffer_size};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use thiserror::Error;

use super::endpoint::{Endpoint, SocketMode};
use crate::base::text;

/// Connections that the kernel holds until they are accepted. There are few readers.
const BACKLOG: i32 = 64;

/// What the kernel holds for a reader over TCP; it doubles that for its own needs.
const SEND_BUFFER: usize = 208 * 1024;

/// A socket that listens, and does not block.
#[derive(Debug)]
pub(super) enum Listener {
    Unix(UnixListener),
    Tcp(std::net::TcpListener),
}

/// What readers connect to.
#[derive(Debug)]
pub(super) struct Bound {
    pub(super) listener: Listener,
    pub(super) file: Option<SocketFile>,
    pub(super) endpoint: Endpoint,
}

/// Why there is no listening socket.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BindError {
    /// The system does not allow it.
    #[error("cannot publish at {endpoint}: {source}")]
    System {
        /// Where.
        endpoint: Endpoint,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// A file is in the way that is no socket.
    #[error("cannot publish at {endpoint}: that is a file and not a socket; it is left as it is")]
    NoSocket {
        /// Where.
        endpoint: Endpoint,
    },
    /// A process listens there.
    #[error("cannot publish at {endpoint}: another process listens there")]
    Taken {
        /// Where.
        endpoint: Endpoint,
    },
    /// The PUB socket's own.
    #[error("cannot make a socket in {}: {source}", text::path(directory))]
    Inner {
        /// Where.
        directory: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
}

impl BindError {
    /// What an administrator may look at.
    #[must_use]
    pub fn way_out(&self) -> String {
        match self {
            Self::System { endpoint, source } => system_way_out(endpoint, source),
            Self::NoSocket { endpoint } => match endpoint {
                Endpoint::Ipc(path) => format!("`ls -l {}` shows it", text::path(path)),
                Endpoint::Tcp(_) => String::new(),
            },
            Self::Taken { endpoint } => match endpoint {
                Endpoint::Ipc(path) => {
                    format!("`ss -lxp 'src = {}'` shows which", text::path(path))
                }
                Endpoint::Tcp(_) => "`ss -ltnp` shows which".to_owned(),
            },
            Self::Inner { .. } => "TMPDIR names another directory".to_owned(),
        }
    }
}

fn system_way_out(endpoint: &Endpoint, source: &io::Error) -> String {
    let Endpoint::Ipc(path) = endpoint else {
        return super::super::web::way_out(source).to_owned();
    };
    let directory = text::path(path.parent().unwrap_or(path));
    match source.kind() {
        io::ErrorKind::NotFound => {
            format!("there is no directory {directory}; RuntimeDirectory= of the unit makes one")
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => format!(
            "the collector must be able to write to {directory}: RuntimeDirectory= or \
             ReadWritePaths= of the unit"
        ),
        _ if source.raw_os_error() == Some(libc::EAFNOSUPPORT) => {
            "RestrictAddressFamilies= of the unit needs AF_UNIX".to_owned()
        }
        _ => format!("`ls -ld {directory}` shows the directory"),
    }
}

/// A socket in the file system, which is removed with this.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl SocketFile {
    fn at(path: &Path) -> io::Result<Self> {
        let about = fs::symlink_metadata(path)?;
        Ok(Self {
            path: path.to_owned(),
            device: about.dev(),
            inode: about.ino(),
        })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // A later collector may have put its own there.
        let about = fs::symlink_metadata(&self.path);
        if about.is_ok_and(|about| about.dev() == self.device && about.ino() == self.inode) {
            // The next start replaces it otherwise.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Listens for readers.
pub(super) fn bind(endpoint: &Endpoint, mode: SocketMode) -> Result<Bound, BindError> {
    let failed = |source: io::Error| BindError::System {
        endpoint: endpoint.clone(),
        source,
    };
    match endpoint {
        Endpoint::Ipc(path) => {
            make_room(endpoint, path)?;
            let listener = bind_unix(path, mode).map_err(failed)?;
            let file = SocketFile::at(path).map_err(failed)?;
            Ok(Bound {
                listener: Listener::Unix(listener),
                file: Some(file),
                endpoint: endpoint.clone(),
            })
        }
        Endpoint::Tcp(address) => {
            let listener = bind_tcp(*address).map_err(failed)?;
            let address = listener.local_addr().map_err(failed)?;
            Ok(Bound {
                listener: Listener::Tcp(listener),
                file: None,
                endpoint: Endpoint::Tcp(address),
            })
        }
    }
}

/// Removes the socket that a killed collector left.
fn make_room(endpoint: &Endpoint, path: &Path) -> Result<(), BindError> {
    let endpoint = endpoint.clone();
    match fs::symlink_metadata(path) {
        Err(_) => Ok(()),
        Ok(about) if !about.file_type().is_socket() => Err(BindError::NoSocket { endpoint }),
        // unix(7): no process listens. A connection that works is closed at once.
        Ok(_) => match UnixStream::connect(path) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                fs::remove_file(path).map_err(|source| BindError::System { endpoint, source })
            }
            Err(source) => Err(BindError::System { endpoint, source }),
            Ok(_) => Err(BindError::Taken { endpoint }),
        },
    }
}

/// No process can connect before it has its mode: until it listens, the kernel refuses all.
fn bind_unix(path: &Path, mode: SocketMode) -> io::Result<UnixListener> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    fs::set_permissions(path, Permissions::from_mode(mode.bits()))?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(OwnedFd::into(socket))
}

fn bind_tcp(address: std::net::SocketAddr) -> io::Result<std::net::TcpListener> {
    let family = if address.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    set_socket_reuseaddr(&socket, true)?;
    // Connections inherit it.
    set_socket_send_buffer_size(&socket, SEND_BUFFER)?;
    if address.is_ipv6() {
        let has_ipv4 = address.ip().to_canonical().is_ipv4();
        set_ipv6_v6only(&socket, !has_ipv4)?;
    }
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(OwnedFd::into(socket))
}

/// The PUB socket's own listener. It has no name that another process could connect to: its file is
/// removed before it listens, and the relays reach it by a descriptor of that file.
#[derive(Debug)]
pub(super) struct Inner {
    pub(super) listener: UnixListener,
    file: OwnedFd,
}

impl Inner {
    /// A descriptor of it, and the path by which this process alone reaches it.
    pub(super) fn split(self) -> (UnixListener, OwnedFd, PathBuf) {
        let path = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        (self.listener, self.file, path.into())
    }
}

/// Makes the PUB socket's own listener.
pub(super) fn inner() -> Result<Inner, BindError> {
    let directory = std::env::temp_dir();
    let name = format!(
        ".metrics-collector-{}-{:08x}",
        std::process::id(),
        fastrand::u32(..)
    );
    let path = directory.join(name);
    inner_at(&path).map_err(|error| BindError::Inner {
        directory,
        source: error.into(),
    })
}

fn inner_at(path: &Path) -> Result<Inner, Errno> {
    let socket = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::empty());
    rustix::fs::unlink(path)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(Inner {
        listener: OwnedFd::into(socket),
        file: file?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ipc(path: &Path) -> Endpoint {
        Endpoint::Ipc(path.to_owned())
    }

    #[test]
    fn a_socket_has_its_mode_and_is_removed_at_the_end() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("publish");
        for (mode, bits) in [
            (SocketMode::User, 0o600),
            (SocketMode::Group, 0o660),
            (SocketMode::All, 0o666),
        ] {
            let bound = bind(&ipc(&path), mode).unwrap();
            let found = fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(found & 0o7777, bits);
            UnixStream::connect(&path).unwrap();
            drop(bound);
            assert!(!path.exists());
        }
    }

    #[test]
    fn what_a_killed_collector_left_is_replaced_and_nothing_else() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("publish");
        // Closing it leaves the file, as a killed process does.
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let bound = bind(&ipc(&path), SocketMode::Group).unwrap();
        let taken = bind(&ipc(&path), SocketMode::Group).unwrap_err();
        assert_eq!(
            taken.to_string(),
            format!(
                "cannot publish at ipc://{}: another process listens there",
                path.display()
            )
        );
        assert!(path.exists());
        // Another one's is not removed.
        fs::remove_file(&path).unwrap();
        let other = UnixListener::bind(&path).unwrap();
        drop(bound);
        assert!(path.exists());
        drop(other);
        fs::remove_file(&path).unwrap();
        fs::write(&path, "precious").unwrap();
        let refused = bind(&ipc(&path), SocketMode::Group).unwrap_err();
        assert!(matches!(refused, BindError::NoSocket { .. }), "{refused}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
        // Nor is what a link leads to.
        let link = home.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let refused = bind(&ipc(&link), SocketMode::Group).unwrap_err();
        assert!(matches!(refused, BindError::NoSocket { .. }), "{refused}");
    }

    #[test]
    fn errors_name_the_way_out() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("missing/publish");
        let error = bind(&ipc(&path), SocketMode::Group).unwrap_err();
        assert_eq!(
            error.way_out(),
            format!(
                "there is no directory {}; RuntimeDirectory= of the unit makes one",
                home.path().join("missing").display()
            )
        );
        let first = bind(
            &Endpoint::Tcp(([127, 0, 0, 1], 0).into()),
            SocketMode::Group,
        );
        let first = first.unwrap();
        let error = bind(&first.endpoint, SocketMode::Group).unwrap_err();
        assert_eq!(error.way_out(), "`ss -ltnp` shows who listens there");
    }

    #[test]
    fn the_inner_socket_has_no_name() {
        let home = tempfile::tempdir().unwrap();
        let inner = inner_at(&home.path().join("inner")).unwrap();
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
        let (listener, _file, path) = inner.split();
        listener.set_nonblocking(false).unwrap();
        let here = UnixStream::connect(path).unwrap();
        let (there, _) = listener.accept().unwrap();
        io::Write::write_all(&mut &here, b"x").unwrap();
        let mut read = [0];
        io::Read::read_exact(&mut &there, &mut read).unwrap();
        assert_eq!(read, *b"x");
    }
}
