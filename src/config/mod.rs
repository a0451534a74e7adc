//! The settings.

mod endpoint;
mod interval;
mod settings;
mod values;

pub use endpoint::{DEFAULT_PORT, Endpoint, EndpointError, Host};
pub use interval::{
    METRICS_INTERVAL, OutOfRange, STALE_INTERVAL, metrics_interval, stale_interval,
};
pub use settings::{CollectorSettings, Intervals, Settings};
pub use values::{
    BusAddress, ConnectionName, ConnectionNameError, HostName, HostNameError, LogLevel,
    MAX_CONNECTION_NAME_BYTES, MAX_HOST_NAME_BYTES, UnknownLogLevel,
};
