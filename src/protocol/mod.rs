//! The wire protocol, pure: what the frames of a message mean, and what an agent does
//! next in its session with a collector.
//!
//! Nothing here does I/O, reads a clock, or knows which transport carries the frames:
//! time is an argument, randomness is an argument, bytes come in and go out. So every
//! rule of the protocol can be tested at any speed, and the shells around it only drive.
//!
//! - [`message`]: messages to frames and back, bounded;
//! - [`grid`]: the metrics inside a message, as a collector reads them;
//! - [`state`]: whether a host reports, as viewing clients are told;
//! - [`backoff`]: how long to wait before connecting anew;
//! - [`session`]: the agent's side of a connection as a state machine.

pub mod backoff;
pub mod grid;
pub mod message;
pub mod session;
pub mod state;
