//! What a metric is, for all code that reads, sends, keeps or shows one.
//!
//! - [`definition`] and [`table`]: name, unit and kind of every metric that the agent has;
//! - [`samples`]: values by name, ready for the wire;
//! - [`families`]: which metrics are reported together;
//! - [`latest`]: a host's latest value of each.

pub mod definition;
pub mod families;
pub mod latest;
pub mod samples;
pub mod table;

pub use definition::{Definition, Kind};
pub use latest::LatestMetrics;
pub use samples::{Name, Samples, Value};
