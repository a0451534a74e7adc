//! The collector's settings: their table, and the type that all layers together fill before its
//! settings are compared with each other. What has a default in the table is there. What the
//! settings mean is decided in [`load()`](super::load()), what fits by the types in `values`.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::values::{
    AgentsListen, Authorized, FileName, ForgetAfter, HeaderName, HeaderValue, HostTimeout,
    LabelName, LabelValue, PingInterval, PublishEndpoint, PublishMode, PushTimeout, PushUrl,
    UserName, ViewersListen, WebHosts, WebListen,
};
use crate::config::{
    ConnectionName, Flag, LogLevel,
    table::{Chosen, RESERVED_VARIABLES, Schema, Setting, Shape, check, check_alone, check_name},
};
use crate::dbus::BusAddress;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Fragment {
    pub(super) listen: ListenFragment,
    pub(super) web: WebFragment,
    pub(super) publish: PublishFragment,
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

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PublishFragment {
    pub(super) endpoint: PublishEndpoint,
    pub(super) mode: PublishMode,
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
    pub(super) acknowledge: Option<Flag>,
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

/// A file with a secret, or one that belongs to it.
const FILE: Setting = Setting {
    expected: "the name of a file",
    otherwise: "none",
    // It may be the secret itself.
    quotable: false,
    check: check::<FileName>,
    ..Setting::TEXT
};

/// The collector's settings.
pub static COLLECTOR: Schema = Schema {
    program: "metrics-collector",
    prefix: "METRICS_COLLECTOR_",
    // Kubernetes sets the same for a service called `metrics-collector`.
    reserved: RESERVED_VARIABLES,
    chosen: &[
        Chosen {
            part: "NAME",
            of: "a remote write target",
            check: check_name::<ConnectionName>,
        },
        Chosen {
            part: "HEADER",
            of: "a header",
            check: check_name::<HeaderName>,
        },
        Chosen {
            part: "LABEL",
            of: "a label",
            check: check_name::<LabelName>,
        },
    ],
    settings: &[
        Setting {
            key: "listen.agents",
            expected: "an address to listen on, such as \"*:5556\", \"127.0.0.1:5556\" or \"[::1]:5556\"",
            default: Some("\"*:5556\""),
            description: "Where agents report to. `*` is every address of this host; the port is \
                          5556 where none is given, and port 0 any free one, which the log names.",
            check: check::<AgentsListen>,
            ..Setting::TEXT
        },
        Setting {
            key: "listen.viewers",
            expected: "an address to listen on, such as \"*:5557\" or \"[::1]:5557\", or \"none\"",
            default: Some("\"*:5557\""),
            description: "Where viewers connect to; \"none\" turns it off.",
            check: check::<ViewersListen>,
            ..Setting::TEXT
        },
        Setting {
            key: "listen.web",
            expected: "an address to listen on, such as \"127.0.0.1:9650\" or \"*:9650\", or \"none\"",
            default: Some("\"127.0.0.1:9650\""),
            description: "Where Prometheus scrapes metrics over HTTP. Everyone who can reach the address can read them; \"none\" turns it off.",
            check: check::<WebListen>,
            ..Setting::TEXT
        },
        Setting {
            key: "web.hosts",
            shape: Shape::List,
            expected: "a list of host names and addresses, such as [\"metrics.example.org\"]",
            default: Some("[]"),
            description: "More names that the web server answers to in the Host header, such as that of a proxy in front. It always answers to this host's own names, to localhost and to the address that was connected to; \"*\" allows any name.",
            check: check::<WebHosts>,
            ..Setting::TEXT
        },
        Setting {
            key: "publish.endpoint",
            expected: "a place on this host, such as \"ipc:///run/metrics-collector/publish\" or \"tcp://127.0.0.1:5558\", or \"none\"",
            default: Some("\"none\""),
            description: "Where programs of this host follow what agents send, over a ZeroMQ PUB socket; \"none\" turns it off. Every user of this host can connect to a TCP port.",
            check: check::<PublishEndpoint>,
            ..Setting::TEXT
        },
        Setting {
            key: "publish.mode",
            expected: "\"0600\", \"0660\" or \"0666\"",
            default: Some("\"0660\""),
            description: "Which users can connect to an ipc socket, as chmod(1) has it: the collector's and root, the socket's group too, or all.",
            check: check::<PublishMode>,
            ..Setting::TEXT
        },
        Setting {
            key: "curve.secret_key_file",
            expected: "the name of a certificate file",
            otherwise: "collector.key_secret; if there is none, a key pair is made in the state directory",
            description: "The certificate with the collector's own secret key. A relative name is \
                          looked for in the credentials directory, in /etc/metrics-collector/curve \
                          and in the state directory (by hand ~/.curve).",
            ..FILE
        },
        Setting {
            key: "agents.authorized",
            expected: "\"any\" or \"directory\"",
            default: Some("\"any\""),
            description: "Which agents may report: any agent that has a key, or only agents whose public key is in the directory authorized_agents.",
            check: check_alone::<Authorized>,
            ..Setting::TEXT
        },
        Setting {
            key: "agents.pin_names",
            expected: "true or false",
            default: Some("false"),
            description: "Whether a host name belongs to the key that first reported under it, so \
                          that no other agent can take it.",
            check: check::<Flag>,
            ..Setting::TEXT
        },
        Setting {
            key: "hosts.ping_interval",
            expected: "a time from 100ms to 1min, such as \"5s\"",
            default: Some("\"5s\""),
            description: "How often each host is pinged; a bare number is seconds.",
            check: check::<PingInterval>,
            ..Setting::TEXT
        },
        Setting {
            key: "hosts.timeout",
            expected: "a time from 1s to 2h, such as \"30s\"",
            default: Some("\"30s\""),
            description: "After how long a silent host is gone; a bare number is seconds.",
            check: check::<HostTimeout>,
            ..Setting::TEXT
        },
        Setting {
            key: "hosts.forget_after",
            expected: "a time from 0s to 365days, such as \"7d\"",
            default: Some("\"7d\""),
            description: "How long a host that is gone is remembered; 0 for not at all.",
            check: check::<ForgetAfter>,
            ..Setting::TEXT
        },
        Setting {
            key: "remote_write.NAME.url",
            expected: "an address such as \"https://mimir.example.org/api/v1/push\"",
            otherwise: "required",
            description: "Where metrics are sent with Prometheus remote write.",
            // Secrets do not belong there, and are put there all the same.
            quotable: false,
            check: check::<PushUrl>,
            ..Setting::TEXT
        },
        Setting {
            key: "remote_write.NAME.username",
            expected: "a user's name without colon and control characters",
            otherwise: "none",
            description: "The user of basic authentication, together with password_file.",
            check: check::<UserName>,
            ..Setting::TEXT
        },
        Setting {
            key: "remote_write.NAME.password_file",
            description: "The file with the password. A relative name is looked for in the \
                          credentials directory and in /etc/metrics-collector.",
            ..FILE
        },
        Setting {
            key: "remote_write.NAME.bearer_token_file",
            description: "The file with a bearer token, instead of username and password_file. A \
                          relative name is looked for as that of password_file.",
            ..FILE
        },
        Setting {
            key: "remote_write.NAME.ca_file",
            otherwise: "the system's",
            description: "The file with the certificates, in PEM, of the authorities to trust. A \
                          relative name is looked for as that of password_file.",
            ..FILE
        },
        Setting {
            key: "remote_write.NAME.timeout",
            expected: "a time from 1s to 5min, such as \"30s\"",
            otherwise: "\"30s\"",
            description: "How long a request may take.",
            check: check::<PushTimeout>,
            ..Setting::TEXT
        },
        Setting {
            key: "remote_write.NAME.acknowledge",
            expected: "true or false",
            otherwise: "true",
            description: "Whether agents keep each sample until this target has taken it, or \
                          refused it for good.",
            check: check::<Flag>,
            ..Setting::TEXT
        },
        Setting {
            key: "remote_write.NAME.headers.HEADER",
            expected: "a header's value of 1 to 1024 printable ASCII characters",
            otherwise: "none",
            description: "A header that is sent with each request, such as X-Scope-OrgID.",
            // It may be a secret.
            quotable: false,
            check: check::<HeaderValue>,
            ..Setting::TEXT
        },
        Setting {
            key: "remote_write.NAME.labels.LABEL",
            expected: "a label's value of 1 to 1024 bytes without control characters",
            otherwise: "none",
            description: "A label that is added to each series.",
            check: check::<LabelValue>,
            ..Setting::TEXT
        },
        Setting {
            key: "log.level",
            expected: LogLevel::EXPECTED,
            default: Some("\"info\""),
            description: "How much is logged.",
            check: check_alone::<LogLevel>,
            ..Setting::TEXT
        },
        Setting {
            key: "dbus.bus",
            expected: "\"system\", \"session\", \"none\" or an address such as \"unix:path=/run/bus\"",
            default: Some("\"system\""),
            description: "The message bus that the collector is observed on.",
            check: check::<BusAddress>,
            ..Setting::TEXT
        },
    ],
};
