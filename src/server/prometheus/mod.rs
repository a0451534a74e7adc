//! What hosts report, as Prometheus wants it.
//!
//! - [`naming`]: from a metric of a grid to a series, pure;
//! - [`number`]: values in base units, without rounding where that can be.

pub mod naming;
pub mod number;
