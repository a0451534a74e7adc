//! Waiting on the event loop: for a deadline, for a descriptor.

use std::future::pending;
use std::io;
use std::os::fd::AsRawFd;
use std::time::Instant;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::sleep_until;

/// Returns at the deadline; never where there is none. Cancel safe.
pub(crate) async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline.into()).await,
        None => pending().await,
    }
}

/// Waits for a descriptor in the runtime that this is called in. `owner` keeps it open.
///
/// # Errors
///
/// The runtime cannot wait for it: it is a regular file, or epoll(7) has no room.
#[expect(
    deprecated,
    reason = "its successor is unsafe, and asks for what an owner gives: one descriptor that is \
              open for as long as the AsyncFd owns it"
)]
pub(crate) fn register<T: AsRawFd>(owner: T, interest: Interest) -> io::Result<AsyncFd<T>> {
    AsyncFd::with_interest(owner, interest)
}
