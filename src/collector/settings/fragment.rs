//! All layers merged, before their settings are compared with each other. Settings with a
//! default in the table are present.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::values::{
    AgentsListen, Authorized, FileName, ForgetAfter, HeaderName, HeaderValue, HostTimeout,
    LabelName, LabelValue, PingInterval, PushTimeout, PushUrl, UserName, ViewersListen, WebHosts,
    WebListen,
};
use crate::config::{ConnectionName, Flag, LogLevel};
use crate::dbus::BusAddress;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Fragment {
    pub(super) listen: ListenFragment,
    pub(super) web: WebFragment,
    #[serde(default)]
    pub(super) curve: CurveFragment,
    pub(super) agents: AgentsFragment,
    pub(super) hosts: HostsFragment,
    #[serde(default)]
    pub(super) remote_write: BTreeMap<ConnectionName, RemoteWriteFragment>,
    pub(super) log: LogFragment,
    pub(super) dbus: DbusFragment,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListenFragment {
    pub(super) agents: AgentsListen,
    pub(super) viewers: ViewersListen,
    pub(super) web: WebListen,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WebFragment {
    pub(super) hosts: WebHosts,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CurveFragment {
    pub(super) secret_key_file: Option<FileName>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AgentsFragment {
    pub(super) authorized: Authorized,
    pub(super) pin_names: Flag,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HostsFragment {
    pub(super) ping_interval: PingInterval,
    pub(super) timeout: HostTimeout,
    pub(super) forget_after: ForgetAfter,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RemoteWriteFragment {
    pub(super) url: Option<PushUrl>,
    pub(super) username: Option<UserName>,
    pub(super) password_file: Option<FileName>,
    pub(super) bearer_token_file: Option<FileName>,
    pub(super) ca_file: Option<FileName>,
    pub(super) timeout: Option<PushTimeout>,
    #[serde(default)]
    pub(super) headers: BTreeMap<HeaderName, HeaderValue>,
    #[serde(default)]
    pub(super) labels: BTreeMap<LabelName, LabelValue>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LogFragment {
    pub(super) level: LogLevel,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DbusFragment {
    pub(super) bus: BusAddress,
}
