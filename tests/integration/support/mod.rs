//! What tests of several parts use.

pub(crate) mod agent;
pub(crate) mod collector;
pub(crate) mod manager;
pub(crate) mod peer;
