//! The wire protocol, pure: what the frames of a message mean, and what an agent does next in its
//! session with a collector.
//!
//! Nothing here does I/O, reads a clock, or knows which transport carries the frames: time is an
//! argument, randomness is an argument, bytes come in and go out. So every rule of the protocol can
//! be tested at any speed, and the shells around it only drive.
//!
//! - [`message`]: messages to frames and back, bounded;
//! - [`grid`]: the metrics inside a message, as a collector reads them;
//! - [`data`]: the second wire, by which no sample is lost;
//! - [`state`]: the state of a host, as viewers get it;
//! - [`backoff`]: how long to wait before reconnecting;
//! - [`session`]: the agent's side of a connection as a state machine.

use std::ops::RangeInclusive;
use std::time::Duration;

pub mod backoff;
pub mod data;
pub mod grid;
pub mod message;
pub mod session;
pub mod state;

/// The range of the metrics interval. Faster than ten times a second measures
/// mostly itself; rarer than hourly is no monitoring.
pub const METRICS_INTERVAL: RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(3600);

/// The metrics interval where nothing else is set.
pub const DEFAULT_METRICS_INTERVAL: Duration = Duration::from_secs(5);

/// The range of the stale interval. Collectors are heard from every few
/// seconds: below one second every connection would flap.
pub const STALE_INTERVAL: RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(3600);

/// The longest time between two pings of the collectors that are in use: metrics-collector
/// pings every 5 s where nothing else is set, others every 15 s.
pub const LONGEST_PING_INTERVAL: Duration = Duration::from_secs(15);

/// Silence after which an agent connects again where nothing else is set.
pub const DEFAULT_STALE_INTERVAL: Duration = Duration::from_secs(30);
