//! Metric collectors.
