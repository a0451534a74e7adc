//! Where samples are pushed to: what the sections `[remote_write.NAME]` say, as types that
//! hold nothing invalid.
//!
//! Secrets are named here by their files and read elsewhere. What might hold one all the
//! same, the query of an address and the values of headers, is left out of `Debug`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use thiserror::Error;
use ureq::http::{HeaderName, HeaderValue, Uri};

use crate::collectors::table::METRICS;
use crate::config::ConnectionName;
use crate::server::prometheus::naming;

/// Most targets: each has a thread, and for a while a second one for the resolver.
pub const MAX_TARGETS: usize = 16;

/// How long a request may take by default, as that of Prometheus.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// Less is cut off by any hiccup; for more than 5 minutes nobody waits, engines included.
pub const TIMEOUT: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(300);

/// Most bytes of all labels of a target together: each series has them all.
pub const MAX_LABELS_BYTES: usize = 2048;

/// Most headers of a target; receivers take some kilobytes of them.
pub const MAX_HEADERS: usize = 32;

/// Most bytes of a header's value.
pub const MAX_HEADER_BYTES: usize = 1024;

/// Most bytes of an address.
const MAX_URL_BYTES: usize = 2048;

/// Headers that the protocol, the connection or other settings decide.
const RESERVED_HEADERS: &[&str] = &[
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "keep-alive",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "x-prometheus-remote-write-version",
];

/// Why a setting is no good: what was found, what was expected.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SettingError {
    /// More than [`MAX_TARGETS`].
    #[error("{0} targets are set, {MAX_TARGETS} are allowed")]
    TooManyTargets(usize),
    /// Not an address of the web.
    #[error(
        "expected an address such as \"https://mimir.example.org/api/v1/push\", of at most \
         {MAX_URL_BYTES} bytes"
    )]
    Url,
    /// An address with a user or a password in it.
    #[error(
        "the address holds a user name or a password; set `username` and `password_file` instead"
    )]
    UserInfo,
    /// Two ways to prove who we are.
    #[error("`username` and `bearer_token_file` exclude each other")]
    TwoCredentials,
    /// One half of a pair.
    #[error("`username` and `password_file` belong together, and one is missing")]
    HalfCredentials,
    /// A user name that HTTP cannot carry.
    #[error("a user name holds no `:` and no control character")]
    UserName,
    /// Outside of [`TIMEOUT`].
    #[error("expected a time from {} s to {} s", TIMEOUT.start().as_secs(), TIMEOUT.end().as_secs())]
    Timeout,
    /// A header that HTTP cannot carry.
    #[error(
        "\"{0}\" is no header: expected a name such as \"X-Scope-OrgID\", and a value of at most \
         {MAX_HEADER_BYTES} visible characters"
    )]
    Header(String),
    /// A header that is not the administrator's to set.
    #[error(
        "the header \"{0}\" is set by the collector; for credentials there are `username` and \
         `bearer_token_file`"
    )]
    ReservedHeader(String),
    /// The same header twice, in letters of another case.
    #[error("the header \"{0}\" is set twice; upper and lower case are the same here")]
    HeaderTwice(String),
    /// More than [`MAX_HEADERS`].
    #[error("{0} headers are set, {MAX_HEADERS} are allowed")]
    TooManyHeaders(usize),
    /// Not what Prometheus takes for a label.
    #[error(
        "\"{0}\" is no label: letters, digits and \"_\" are allowed, no digit in front, not \"__\""
    )]
    LabelName(String),
    /// A label that series have already.
    #[error("the label \"{0}\" is one that series of hosts have themselves; choose another")]
    LabelTaken(String),
    /// A label without a value is none.
    #[error("the label \"{0}\" has no value")]
    LabelEmpty(String),
    /// More than [`MAX_LABELS_BYTES`].
    #[error("the labels have {0} bytes together, {MAX_LABELS_BYTES} are allowed")]
    LabelsTooLong(usize),
}

/// All targets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    targets: BTreeMap<ConnectionName, Target>,
}

impl Settings {
    /// These targets.
    ///
    /// # Errors
    ///
    /// [`SettingError::TooManyTargets`].
    pub fn new(targets: BTreeMap<ConnectionName, Target>) -> Result<Self, SettingError> {
        match targets.len() {
            count if count > MAX_TARGETS => Err(SettingError::TooManyTargets(count)),
            _ => Ok(Self { targets }),
        }
    }

    /// Each target by its name.
    pub fn iter(&self) -> impl Iterator<Item = (&ConnectionName, &Target)> {
        self.targets.iter()
    }

    /// The target of this name.
    #[must_use]
    pub fn get(&self, name: &ConnectionName) -> Option<&Target> {
        self.targets.get(name)
    }
}

/// One target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Where it is.
    pub url: TargetUrl,
    /// How we prove who we are.
    pub credentials: Credentials,
    /// The certificates to trust, instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// How long a request may take.
    pub timeout: Timeout,
    /// What else to send with each request.
    pub headers: Headers,
    /// What else to put on each series.
    pub labels: Labels,
}

impl Target {
    /// One that needs nothing but its address.
    #[must_use]
    pub fn new(url: TargetUrl) -> Self {
        Self {
            url,
            credentials: Credentials::None,
            ca_file: None,
            timeout: Timeout::default(),
            headers: Headers::default(),
            labels: Labels::default(),
        }
    }
}

/// An address, `http` or `https`, without a user.
#[derive(Clone, PartialEq, Eq)]
pub struct TargetUrl(Uri);

impl TargetUrl {
    /// As requests have it.
    #[must_use]
    pub fn uri(&self) -> &Uri {
        &self.0
    }
}

impl FromStr for TargetUrl {
    type Err = SettingError;

    fn from_str(text: &str) -> Result<Self, SettingError> {
        if text.len() > MAX_URL_BYTES {
            return Err(SettingError::Url);
        }
        // Before parsing, so that a password with odd characters gets the right answer.
        let authority = text.split_once("://").map_or("", |(_, rest)| rest);
        let authority = authority.split(['/', '?', '#']).next().unwrap_or("");
        if authority.contains('@') {
            return Err(SettingError::UserInfo);
        }
        if text.contains('#') {
            return Err(SettingError::Url);
        }
        let uri: Uri = text.parse().map_err(|_| SettingError::Url)?;
        let scheme = matches!(uri.scheme_str(), Some("http" | "https"));
        let host = uri.host().is_some_and(|host| !host.is_empty());
        if scheme && host {
            Ok(Self(uri))
        } else {
            Err(SettingError::Url)
        }
    }
}

/// Without the query, which may hold a key.
impl fmt::Display for TargetUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let uri = &self.0;
        let scheme = uri.scheme_str().unwrap_or_default();
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        write!(f, "{scheme}://{authority}{}", uri.path())
    }
}

impl fmt::Debug for TargetUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// How we prove to a target who we are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// Not at all.
    None,
    /// With a user name and a password.
    Basic {
        /// The name.
        username: String,
        /// The file with the password.
        password_file: PathBuf,
    },
    /// With a token.
    Bearer {
        /// The file with the token.
        token_file: PathBuf,
    },
}

impl Credentials {
    /// From the settings `username`, `password_file` and `bearer_token_file`.
    ///
    /// # Errors
    ///
    /// Half of a pair, or too much.
    pub fn new(
        username: Option<String>,
        password_file: Option<PathBuf>,
        bearer_token_file: Option<PathBuf>,
    ) -> Result<Self, SettingError> {
        match (username, password_file, bearer_token_file) {
            (None, None, None) => Ok(Self::None),
            (None, None, Some(token_file)) => Ok(Self::Bearer { token_file }),
            (Some(username), Some(password_file), None) => {
                // RFC 7617, 2.
                if username.contains(|c: char| c == ':' || c.is_control()) {
                    return Err(SettingError::UserName);
                }
                Ok(Self::Basic {
                    username,
                    password_file,
                })
            }
            (Some(_), None, None) | (None, Some(_), None) => Err(SettingError::HalfCredentials),
            (_, _, Some(_)) => Err(SettingError::TwoCredentials),
        }
    }
}

/// How long a request may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeout(Duration);

impl Timeout {
    /// The time.
    #[must_use]
    pub fn duration(self) -> Duration {
        self.0
    }
}

impl Default for Timeout {
    fn default() -> Self {
        Self(DEFAULT_TIMEOUT)
    }
}

impl TryFrom<Duration> for Timeout {
    type Error = SettingError;

    fn try_from(time: Duration) -> Result<Self, SettingError> {
        if TIMEOUT.contains(&time) {
            Ok(Self(time))
        } else {
            Err(SettingError::Timeout)
        }
    }
}

/// What else is sent with each request.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers(Vec<(HeaderName, HeaderValue)>);

impl Headers {
    /// These headers.
    ///
    /// # Errors
    ///
    /// One is none, or not the administrator's to set.
    pub fn new(headers: &BTreeMap<String, String>) -> Result<Self, SettingError> {
        if headers.len() > MAX_HEADERS {
            return Err(SettingError::TooManyHeaders(headers.len()));
        }
        let mut taken = BTreeSet::new();
        let mut valid = Vec::with_capacity(headers.len());
        for (name, text) in headers {
            let no_header = || SettingError::Header(name.clone());
            let header: HeaderName = name.parse().map_err(|_| no_header())?;
            if RESERVED_HEADERS.contains(&header.as_str()) {
                return Err(SettingError::ReservedHeader(name.clone()));
            }
            if text.len() > MAX_HEADER_BYTES {
                return Err(no_header());
            }
            // Visible ASCII and blanks.
            if !text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
                return Err(no_header());
            }
            let mut value = HeaderValue::from_str(text).map_err(|_| no_header())?;
            value.set_sensitive(true);
            if !taken.insert(header.as_str().to_owned()) {
                return Err(SettingError::HeaderTwice(name.clone()));
            }
            valid.push((header, value));
        }
        Ok(Self(valid))
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
        self.0.iter().map(|(name, value)| (name, value))
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set()
            .entries(self.iter().map(|(name, _)| name))
            .finish()
    }
}

/// What else each series has for labels, sorted by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels(Vec<(String, String)>);

impl Labels {
    /// These labels.
    ///
    /// # Errors
    ///
    /// One is none, or series have it already.
    pub fn new(labels: &BTreeMap<String, String>) -> Result<Self, SettingError> {
        let bytes = labels.iter().map(|(name, value)| name.len() + value.len());
        let bytes: usize = bytes.sum();
        if bytes > MAX_LABELS_BYTES {
            return Err(SettingError::LabelsTooLong(bytes));
        }
        for (name, value) in labels {
            if !is_label(name) {
                return Err(SettingError::LabelName(name.clone()));
            }
            if taken(name) {
                return Err(SettingError::LabelTaken(name.clone()));
            }
            if value.is_empty() {
                return Err(SettingError::LabelEmpty(name.clone()));
            }
        }
        let labels = labels.iter();
        Ok(Self(
            labels
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
        ))
    }

    /// Each of them, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// What Prometheus takes; two underscores in front are its own.
fn is_label(name: &str) -> bool {
    let letters = |c: char| c.is_ascii_alphanumeric() || c == '_';
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(letters)
        && !name.starts_with("__")
}

/// Whether a series of a host may have this label of its own.
fn taken(name: &str) -> bool {
    [naming::HOST, naming::ITEM, naming::TEXT].contains(&name)
        || METRICS.iter().any(|metric| metric.instance == Some(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        let pairs = pairs.iter();
        pairs
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn addresses_of_the_web_alone_are_targets() {
        for good in [
            "http://127.0.0.1:9090/api/v1/write",
            "https://mimir.example.org/api/v1/push",
            "http://[::1]:9090/",
            "https://example.org/a@b",
        ] {
            let url: TargetUrl = good.parse().unwrap();
            assert_eq!(url.to_string(), good);
        }
        for bad in [
            "",
            "mimir.example.org",
            "/api/v1/push",
            "ftp://example.org/",
            "unix:///run/x",
            "http://",
            "http:///path",
            "https://example.org/#part",
            "http://a b/",
        ] {
            assert_eq!(bad.parse::<TargetUrl>(), Err(SettingError::Url), "{bad}");
        }
        let long = format!("http://example.org/{}", "a".repeat(MAX_URL_BYTES));
        assert_eq!(long.parse::<TargetUrl>(), Err(SettingError::Url));
    }

    #[test]
    fn a_user_in_an_address_is_an_error_that_names_the_way_out() {
        for bad in [
            "https://ada@example.org/",
            "https://ada:secret@example.org/",
            "https://ada:s^cret @example.org",
            "ftp://ada:secret@example.org?x",
        ] {
            let error = bad.parse::<TargetUrl>().unwrap_err();
            assert_eq!(error, SettingError::UserInfo);
            let text = error.to_string();
            assert!(text.contains("`username` and `password_file`"), "{text}");
            assert!(!text.contains("secret"), "{text}");
        }
    }

    #[test]
    fn what_may_be_secret_is_not_shown() {
        let mut target = Target::new("https://example.org/push?key=hidden".parse().unwrap());
        target.headers = Headers::new(&map(&[("X-Api-Key", "hidden")])).unwrap();
        let shown = format!("{target:?}");
        assert!(!shown.contains("hidden"), "{shown}");
        assert!(shown.contains("https://example.org/push"), "{shown}");
        assert!(shown.contains("x-api-key"), "{shown}");
        assert_eq!(target.url.uri().query(), Some("key=hidden"));
    }

    #[test]
    fn there_is_one_way_to_prove_who_we_are() {
        let new = |name: Option<&str>, password: Option<&str>, token: Option<&str>| {
            Credentials::new(
                name.map(str::to_owned),
                password.map(PathBuf::from),
                token.map(PathBuf::from),
            )
        };
        assert_eq!(new(None, None, None), Ok(Credentials::None));
        let basic = Credentials::Basic {
            username: "ada".to_owned(),
            password_file: "p".into(),
        };
        assert_eq!(new(Some("ada"), Some("p"), None), Ok(basic));
        let bearer = Credentials::Bearer {
            token_file: "t".into(),
        };
        assert_eq!(new(None, None, Some("t")), Ok(bearer));
        let half = Err(SettingError::HalfCredentials);
        assert_eq!(new(Some("ada"), None, None), half);
        assert_eq!(new(None, Some("p"), None), half);
        let two = Err(SettingError::TwoCredentials);
        assert_eq!(new(Some("ada"), Some("p"), Some("t")), two);
        assert_eq!(new(None, Some("p"), Some("t")), two);
        for bad in ["a:b", "a\nb"] {
            assert_eq!(new(Some(bad), Some("p"), None), Err(SettingError::UserName));
        }
    }

    #[test]
    fn headers_are_those_that_are_an_administrator_s_to_set() {
        let headers = Headers::new(&map(&[("X-Scope-OrgID", "tenant 1")])).unwrap();
        let found: Vec<_> = headers.iter().collect();
        assert_eq!(found[0].0, "x-scope-orgid");
        assert_eq!(found[0].1, "tenant 1");
        for (name, value) in [("a b", "c"), ("", "c"), ("x", "a\r\nHost: b"), ("x", "ä")] {
            let error = Headers::new(&map(&[(name, value)])).unwrap_err();
            assert_eq!(error, SettingError::Header(name.to_owned()));
        }
        let long = "x".repeat(MAX_HEADER_BYTES + 1);
        assert!(Headers::new(&map(&[("x", &long)])).is_err());
        for name in ["Authorization", "HOST", "content-length", "User-Agent"] {
            let error = Headers::new(&map(&[(name, "x")])).unwrap_err();
            assert_eq!(error, SettingError::ReservedHeader(name.to_owned()));
        }
        let error = Headers::new(&map(&[("X-a", "1"), ("x-A", "2")])).unwrap_err();
        assert_eq!(error, SettingError::HeaderTwice("x-A".to_owned()));
    }

    #[test]
    fn labels_are_no_series_own() {
        let labels = Labels::new(&map(&[("site", "b"), ("cluster", "ä \"1\"")])).unwrap();
        let found: Vec<_> = labels.iter().collect();
        assert_eq!(found, [("cluster", "ä \"1\""), ("site", "b")]);
        for name in ["host", "device", "item", "value", "unit"] {
            let error = Labels::new(&map(&[(name, "x")])).unwrap_err();
            assert_eq!(error, SettingError::LabelTaken(name.to_owned()));
        }
        for name in ["", "1a", "a-b", "__name__", "__x", "ä", "a b"] {
            let error = Labels::new(&map(&[(name, "x")])).unwrap_err();
            assert_eq!(error, SettingError::LabelName(name.to_owned()));
        }
        let error = Labels::new(&map(&[("a", "")])).unwrap_err();
        assert_eq!(error, SettingError::LabelEmpty("a".to_owned()));
        let long = "x".repeat(MAX_LABELS_BYTES);
        let error = Labels::new(&map(&[("a", &long)])).unwrap_err();
        assert_eq!(error, SettingError::LabelsTooLong(MAX_LABELS_BYTES + 1));
    }

    #[test]
    fn times_and_targets_are_bounded() {
        assert!(Timeout::try_from(Duration::from_millis(999)).is_err());
        assert!(Timeout::try_from(Duration::from_secs(301)).is_err());
        let time = Duration::from_secs(300);
        assert_eq!(Timeout::try_from(time).unwrap().duration(), time);
        let target = Target::new("http://example.org/".parse().unwrap());
        let targets = |count: usize| {
            let names = (0..count).map(|number| number.to_string().parse().unwrap());
            Settings::new(names.map(|name| (name, target.clone())).collect())
        };
        assert_eq!(targets(MAX_TARGETS).unwrap().iter().count(), MAX_TARGETS);
        assert_eq!(targets(17), Err(SettingError::TooManyTargets(17)));
    }
}
