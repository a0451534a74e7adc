//! How both ends have TCP work.

use std::os::fd::AsFd;
use std::time::Duration;

use rustix::net::sockopt;

/// TCP's own probing, for a kernel that outlives its stuck process or the other way round: first
/// after this, then at this distance, this many.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_COUNT: u32 = 3;

/// Has what is written leave at once, and a peer that is gone be noticed.
pub(super) fn prepare(socket: impl AsFd) -> rustix::io::Result<()> {
    sockopt::set_tcp_nodelay(&socket, true)?;
    sockopt::set_socket_keepalive(&socket, true)?;
    sockopt::set_tcp_keepidle(&socket, KEEPALIVE_IDLE)?;
    sockopt::set_tcp_keepintvl(&socket, KEEPALIVE_INTERVAL)?;
    sockopt::set_tcp_keepcnt(&socket, KEEPALIVE_COUNT)
}
