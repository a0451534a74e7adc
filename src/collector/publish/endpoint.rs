//! Where to publish, and who may connect: only programs of this host, as nothing asks for a key.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Component, Path, PathBuf};

use crate::base::text;

/// The longest path of a socket, in bytes: unix(7) has room for 108 with the NUL.
pub const MAX_PATH_BYTES: usize = 107;

/// Where to publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// A socket in the file system.
    Ipc(PathBuf),
    /// A port of the loopback interface; 0 is any free one.
    Tcp(SocketAddr),
}

impl Endpoint {
    /// Reads an endpoint as ZeroMQ writes it.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("ipc://") {
            return parse_path(path).map(Self::Ipc);
        }
        let Some(address) = text.strip_prefix("tcp://") else {
            return Err("it begins with neither ipc:// nor tcp://".to_owned());
        };
        let address: SocketAddr = address.parse().map_err(|_| {
            "expected an address and a port behind tcp://, such as 127.0.0.1:5558".to_owned()
        })?;
        if address.ip().to_canonical().is_loopback() {
            Ok(Self::Tcp(address))
        } else {
            Err(format!(
                "{} is not a loopback address, and what is published is neither encrypted nor \
                 asks for a key; programs of other hosts can be viewers (listen.viewers)",
                address.ip()
            ))
        }
    }
}

fn parse_path(text: &str) -> Result<PathBuf, String> {
    if text.starts_with('@') {
        let reason = "an abstract socket has no owner and no mode; expected an absolute path";
        return Err(reason.to_owned());
    }
    let path = Path::new(text);
    if !path.is_absolute() || path.file_name().is_none() || text.ends_with('/') {
        return Err("expected the absolute path of a socket behind ipc://".to_owned());
    }
    if path.components().any(|part| part == Component::ParentDir) {
        return Err("expected a path without \"..\"".to_owned());
    }
    if !text::is_plain(text) {
        return Err("it contains a control character or an invisible one".to_owned());
    }
    if text.len() > MAX_PATH_BYTES {
        let length = text.len();
        return Err(format!(
            "the path has {length} bytes (limit {MAX_PATH_BYTES})"
        ));
    }
    Ok(path.to_owned())
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ipc(path) => write!(f, "ipc://{}", text::path(path)),
            Self::Tcp(address) => write!(f, "tcp://{address}"),
        }
    }
}

/// Who may connect to a socket in the file system: its mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketMode {
    /// The collector's user, and root.
    User,
    /// And the socket's group.
    Group,
    /// Every user.
    All,
}

impl SocketMode {
    /// As chmod(1) has it.
    #[must_use]
    pub fn bits(self) -> u32 {
        match self {
            Self::User => 0o600,
            Self::Group => 0o660,
            Self::All => 0o666,
        }
    }

    /// Reads a mode.
    ///
    /// # Errors
    ///
    /// It is another one.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        match text {
            "0600" | "600" => Ok(Self::User),
            "0660" | "660" => Ok(Self::Group),
            "0666" | "666" => Ok(Self::All),
            _ => Err("a socket is for its user, for its group too, or for all"),
        }
    }
}

impl fmt::Display for SocketMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.bits())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_of_this_host_alone() {
        for text in [
            "ipc:///run/metrics-collector/publish",
            "tcp://127.0.0.1:5558",
            "tcp://127.3.2.1:0",
            "tcp://[::1]:5558",
            "tcp://[::ffff:127.0.0.1]:5558",
        ] {
            assert_eq!(Endpoint::parse(text).unwrap().to_string(), text);
        }
        let long = format!("ipc:///{}", "x".repeat(MAX_PATH_BYTES));
        for (text, reason) in [
            ("/run/x", "neither ipc:// nor tcp://"),
            ("udp://127.0.0.1:1", "neither ipc:// nor tcp://"),
            ("ipc://", "absolute path"),
            ("ipc://x", "absolute path"),
            ("ipc:///", "absolute path"),
            ("ipc:///run/", "absolute path"),
            ("ipc://*", "absolute path"),
            ("ipc://@x", "abstract socket"),
            ("ipc:///run/../x", "\"..\""),
            ("ipc:///run/\u{202e}x", "invisible"),
            (&*long, "108 bytes (limit 107)"),
            ("tcp://127.0.0.1", "and a port"),
            ("tcp://localhost:1", "and a port"),
            ("tcp://*:1", "and a port"),
            ("tcp://0.0.0.0:1", "0.0.0.0 is not a loopback address"),
            ("tcp://[::]:1", ":: is not a loopback address"),
            ("tcp://192.0.2.1:1", "192.0.2.1 is not a loopback address"),
        ] {
            let error = Endpoint::parse(text).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
        let longest = format!("ipc:///{}", "x".repeat(MAX_PATH_BYTES - 1));
        assert!(Endpoint::parse(&longest).is_ok());
    }

    #[test]
    fn modes_are_those_of_a_socket() {
        for mode in ["0600", "0660", "0666"] {
            assert_eq!(SocketMode::parse(mode).unwrap().to_string(), mode);
        }
        for mode in ["0777", "0662", "0606", "", "rw"] {
            assert!(SocketMode::parse(mode).is_err(), "{mode}");
        }
    }
}
