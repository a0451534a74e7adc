//! What hosts report, as Prometheus wants it.
//!
//! - [`naming`]: from a metric of a grid to a series, pure;
//! - [`number`]: values in base units, without rounding where that can be;
//! - [`own`]: what the collector says of itself;
//! - [`exposition`]: all of it in the text format, piece by piece;
//! - [`text`]: the lines of that format.

pub mod exposition;
pub mod naming;
pub mod number;
pub mod own;
pub mod text;
