//! The agent on the bus: the objects that it serves.
//!
//! `dbus/*.xml` documents them. This room translates between the bus and the agent's public
//! [`Handle`](crate::agent::handle::Handle); it decides nothing about metrics.

pub(crate) mod agent1;
mod changes;
pub(crate) mod connection1;
pub mod running;
pub mod service;
pub(crate) mod source1;
#[cfg(test)]
mod tests;

use crate::agent::handle::OrderError;
use crate::dbus::error::Error;

impl From<OrderError> for Error {
    fn from(error: OrderError) -> Self {
        let name = match &error {
            OrderError::OutOfRange(_) => Self::INVALID_ARGS,
            OrderError::NoSuchConnection(_) | OrderError::NoSuchSource(_) => Self::UNKNOWN_OBJECT,
            OrderError::InvalidConfiguration(_) => Self::INVALID_CONFIGURATION,
            OrderError::NotKept(_) => Self::IO_ERROR,
            OrderError::NotSampled(_) => Self::NOT_SAMPLED,
            OrderError::Stopping => Self::STOPPING,
        };
        Self::new(name, error.to_string())
    }
}
