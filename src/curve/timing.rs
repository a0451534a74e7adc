//! How long the ends of a connection wait for each other.

use std::time::Duration;

/// Time after which TCP's connecting is given up.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// From the TCP connection to the end of the handshake: four messages, and a peer that is busy
/// with a whole fleet's handshakes.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// From one question for a sign of life to the next.
///
/// With [`HEARTBEAT_TIMEOUT`] a half-open connection is found within 20 s, below the stale
/// interval's default of 30 s.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(10);

/// How long the peer may be silent after such a question.
pub const HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(10);

/// Sent to the peer: if it receives nothing from us for this long, it may drop the link. Two
/// heartbeats may get lost.
pub const HEARTBEAT_TTL: Duration = Duration::from_secs(30);
