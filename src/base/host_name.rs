//! The name that the host reports under.
//!
//! The configured one, else the host's fully qualified name, else its host name. The fully
//! qualified name takes a resolver, which may hang: it is asked on a thread of its own, with a wait
//! of at most [`PATIENCE`].

use std::fs::File;
use std::time::Duration;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::waiting::register;

use crate::base::text::is_hidden;

/// How long the first hello waits for the fully qualified name. A resolver on the host or
/// in its network answers in milliseconds; past this the short name has to do.
pub(crate) const PATIENCE: Duration = Duration::from_secs(2);

/// Where the kernel reports the host name and its changes (proc(5); poll(2) reports an exceptional
/// condition at each change).
const KERNEL_HOST_NAME: &str = "/proc/sys/kernel/hostname";

/// The host name of this UTS name space, uname(2).
pub(crate) fn short() -> String {
    let uname = rustix::system::uname();
    // The kernel takes any bytes for a name; no collector takes all of them.
    let name = printable(&uname.nodename().to_string_lossy());
    if name.is_empty() || name == "(none)" {
        // What systemd falls back to as well, os-release(5) DEFAULT_HOSTNAME.
        "localhost".to_owned()
    } else {
        name
    }
}

fn printable(name: &str) -> String {
    let shown = |c: char| if is_hidden(c) { '-' } else { c };
    name.trim().chars().map(shown).collect()
}

/// The fully qualified name of the host named `short`. Blocks on the resolver: never call
/// it on the loop. None if the resolver knows no longer name.
pub(crate) fn fully_qualified(short: &str) -> Option<String> {
    if short.contains('.') {
        return Some(short.to_owned());
    }
    let hints = dns_lookup::AddrInfoHints {
        flags: AI_CANONNAME,
        socktype: dns_lookup::SockType::Stream.into(),
        ..dns_lookup::AddrInfoHints::default()
    };
    let canonical = dns_lookup::getaddrinfo(Some(short), None, Some(hints))
        .ok()?
        .filter_map(Result::ok)
        .find_map(|info| info.canonname)?;
    qualifies(&canonical).then_some(canonical)
}

/// `AI_CANONNAME` of netdb.h, the same on every Linux; see getaddrinfo(3).
const AI_CANONNAME: i32 = 2;

/// A host is not its loopback interface, whatever /etc/hosts lists first.
fn qualifies(canonical: &str) -> bool {
    canonical.contains('.')
        && !canonical.starts_with("localhost")
        && canonical.parse::<std::net::IpAddr>().is_err()
        && !canonical.contains(is_hidden)
}

/// Wakes when the host's name changes.
///
/// The kernel wakes every watcher whenever a name is set in any UTS name space, so a host
/// that runs containers wakes it for nothing: compare before acting.
#[derive(Debug)]
pub(crate) struct Watch(Option<AsyncFd<File>>);

impl Watch {
    /// Watches the kernel's host name. Where that can't be watched, changes show with the
    /// next reload.
    pub(crate) fn start() -> Self {
        let watched = File::open(KERNEL_HOST_NAME)
            .and_then(|file| register(file, Interest::PRIORITY))
            .inspect_err(|error| {
                tracing::warn!(
                    "cannot watch {KERNEL_HOST_NAME}: {error}; changes of the host name are not \
                     seen until a reload"
                );
            });
        Self(watched.ok())
    }

    /// Returns when a name was set; never if that can't be watched. Cancel safe.
    pub(crate) async fn changed(&mut self) {
        let Some(file) = &self.0 else {
            return std::future::pending().await;
        };
        match file.ready(Interest::PRIORITY).await {
            Ok(mut guard) => guard.clear_ready(),
            Err(_) => self.0 = None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_name_is_the_kernel_s() {
        let kernel = std::fs::read_to_string(KERNEL_HOST_NAME).unwrap();
        assert_eq!(short(), kernel.trim_end());
    }

    #[test]
    fn a_qualified_name_is_taken_as_it_is() {
        assert_eq!(
            fully_qualified("web1.example.org").as_deref(),
            Some("web1.example.org")
        );
    }

    #[test]
    fn loopback_and_addresses_are_no_names_of_a_host() {
        assert!(qualifies("web1.example.org"));
        for name in [
            "web1",
            "a.\u{7}",
            "localhost",
            "localhost.localdomain",
            "127.0.0.1",
        ] {
            assert!(!qualifies(name), "{name}");
        }
    }

    #[tokio::test]
    async fn the_kernel_s_host_name_can_be_watched() {
        assert!(Watch::start().0.is_some());
    }
}
