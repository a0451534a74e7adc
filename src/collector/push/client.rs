//! Requests to one target, over HTTP/1.1 with or without TLS.
//!
//! Every phase has a time-out, that of the whole request included. Redirections are not
//! followed, and proxies of the environment are not used: samples go where the settings say,
//! or nowhere. Certificates are checked against the system's, or against those of `ca_file`
//! alone.

use std::error::Error as _;
use std::fmt::Write as _;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use thiserror::Error;
use ureq::config::Config;
use ureq::http::header::{
    AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HOST, HeaderMap, LOCATION, RETRY_AFTER,
    USER_AGENT,
};
use ureq::http::{HeaderName, HeaderValue, Request, Uri};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::unversioned::transport::DefaultConnector;

use super::answer::{Answer, MAX_ANSWER_BYTES, first_line};
use super::resolver::OneQuestion;
use super::secrets::{FileError, Secret, certificates};
use crate::collector::settings::{Credentials, RemoteWrite};

/// How long finding the address and connecting may take each: a receiver that takes longer
/// for a handshake is as good as away.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection that was not used for so long is not used again: most receivers and proxies
/// close theirs after a minute or more.
const MAX_IDLE: Duration = Duration::from_secs(30);

/// A connection that is so old is made again, and the name asked for again: without that, one
/// that is never idle stays with a receiver that its name has left long ago.
pub(super) const MAX_AGE: Duration = Duration::from_secs(5 * 60);

/// Most bytes of an answer's headers.
const MAX_HEADER_BYTES: usize = 16 * 1024;

/// What a receiver knows us by.
const AGENT: &str = concat!("metrics-collector/", env!("CARGO_PKG_VERSION"));

/// The version that remote write 1.0 has on the wire.
const VERSION: HeaderName = HeaderName::from_static("x-prometheus-remote-write-version");

/// Why a request cannot be made, or had no answer.
#[derive(Debug, Error)]
pub(super) enum ClientError {
    #[error("{setting}: {source}")]
    File {
        setting: &'static str,
        source: FileError,
    },
    #[error("{setting}: the file has no certificate in PEM form")]
    NoCertificate { setting: &'static str },
    #[error(
        "the system has no certificates to trust; install ca-certificates, or set `ca_file`{0}"
    )]
    NoSystemCertificates(String),
    #[error("{setting}: the file's content cannot be sent in a header")]
    NoHeader { setting: &'static str },
    #[error("{0} is not an address for a request")]
    NoAddress(String),
    #[error("{0}")]
    Request(String),
}

/// Sends to one target.
#[derive(Debug)]
pub(super) struct Client {
    agent: ureq::Agent,
    /// When that began: its connection is no older.
    since: Instant,
    max_age: Duration,
    config: Config,
    resolver: OneQuestion,
    uri: Uri,
    /// What the receiver is called, where that is not the authority of the URI.
    host: Option<String>,
    settings: RemoteWrite,
    authorization: Option<HeaderValue>,
}

impl Client {
    /// Reads the files that the settings name.
    pub(super) fn open(settings: &RemoteWrite) -> Result<Self, ClientError> {
        // The settings have made sure of that.
        let uri = settings.url.as_str().parse::<Uri>();
        let uri = uri.map_err(|_| ClientError::NoAddress(settings.url.to_string()))?;
        let trusted = trusted(&uri, settings.ca_file.as_deref())?;
        // ring builds without cmake.
        let crypto = Arc::new(rustls::crypto::ring::default_provider());
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::from(trusted))
            .unversioned_rustls_crypto_provider(crypto)
            .build();
        let connect = settings.timeout.min(CONNECT_TIMEOUT);
        let config = ureq::Agent::config_builder()
            .tls_config(tls)
            .proxy(None)
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .max_response_header_size(MAX_HEADER_BYTES)
            .max_idle_connections(1)
            .max_idle_connections_per_host(1)
            .max_idle_age(MAX_IDLE)
            .timeout_resolve(Some(connect))
            .timeout_connect(Some(connect))
            .build();
        let resolver = OneQuestion::default();
        Ok(Self {
            agent: agent(&config, &resolver),
            since: Instant::now(),
            max_age: MAX_AGE,
            config,
            resolver,
            host: host_without_zone(&uri),
            uri,
            settings: settings.clone(),
            authorization: authorization(settings.credentials.as_ref())?,
        })
    }

    /// Reads the secret again; whether it is another one now.
    pub(super) fn read_secret_again(&mut self) -> Result<bool, ClientError> {
        let authorization = authorization(self.settings.credentials.as_ref())?;
        let other = authorization != self.authorization;
        self.authorization = authorization;
        Ok(other)
    }

    /// The same, with connections that become no older than this.
    #[cfg(test)]
    pub(super) fn with_max_age(mut self, max_age: Duration) -> Self {
        self.max_age = max_age;
        self
    }

    /// Sends a request of compressed samples, and waits for its answer no longer than this.
    pub(super) fn post(&mut self, body: &[u8], timeout: Duration) -> Result<Answer, ClientError> {
        if self.since.elapsed() >= self.max_age {
            // The connection goes with it.
            self.agent = agent(&self.config, &self.resolver);
            self.since = Instant::now();
        }
        let failed = |error: &ureq::Error| ClientError::Request(explain(error, timeout));
        let mut request = Request::post(self.uri.clone())
            .header(CONTENT_TYPE, "application/x-protobuf")
            .header(CONTENT_ENCODING, "snappy")
            .header(USER_AGENT, AGENT)
            .header(VERSION, "0.1.0");
        for (name, value) in &self.settings.headers {
            request = request.header(name.as_str(), value.as_str());
        }
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        if let Some(host) = &self.host {
            request = request.header(HOST, host.as_str());
        }
        let request = request.body(body).map_err(|error| failed(&error.into()))?;
        let request = self
            .agent
            .configure_request(request)
            .timeout_global(Some(timeout))
            .build();
        let response = self.agent.run(request).map_err(|error| failed(&error))?;
        let (head, mut body) = response.into_parts();
        let mut answer = Answer {
            status: head.status.as_u16(),
            retry_after: text(&head.headers, &RETRY_AFTER),
            location: text(&head.headers, &LOCATION),
            body: Vec::new(),
        };
        // The status has said it all; what cannot be read of the rest is left out. A body
        // that is read to its end leaves the connection for the next request.
        let _ = body
            .as_reader()
            .take(MAX_ANSWER_BYTES as u64)
            .read_to_end(&mut answer.body);
        Ok(answer)
    }
}

fn agent(config: &Config, resolver: &OneQuestion) -> ureq::Agent {
    let connector = DefaultConnector::default();
    ureq::Agent::with_parts(config.clone(), connector, resolver.clone())
}

/// An interface of this host is nothing to the receiver (RFC 6874, section 4).
fn host_without_zone(uri: &Uri) -> Option<String> {
    let authority = uri.authority()?.as_str();
    let (address, rest) = authority.split_once('%')?;
    let (_, port) = rest.split_once(']')?;
    Some(format!("{address}]{port}"))
}

fn text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let value = headers.get(name)?;
    Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
}

/// None is needed where there is no TLS.
fn trusted(uri: &Uri, ca_file: Option<&Path>) -> Result<Vec<Certificate<'static>>, ClientError> {
    if uri.scheme_str() != Some("https") {
        return Ok(Vec::new());
    }
    let own = |found: CertificateDer<'_>| Certificate::from_der(&found).to_owned();
    if let Some(file) = ca_file {
        let setting = "ca_file";
        let text = certificates(file).map_err(|source| ClientError::File { setting, source })?;
        let found = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>();
        let found = found.map_err(|_| ClientError::NoCertificate { setting })?;
        if found.is_empty() {
            return Err(ClientError::NoCertificate { setting });
        }
        return Ok(found.into_iter().map(own).collect());
    }
    let found = rustls_native_certs::load_native_certs();
    if found.certs.is_empty() {
        let errors = found.errors.iter().map(|error| format!(" ({error})"));
        return Err(ClientError::NoSystemCertificates(errors.take(1).collect()));
    }
    Ok(found.certs.into_iter().map(own).collect())
}

/// What to prove ourselves with.
fn authorization(credentials: Option<&Credentials>) -> Result<Option<HeaderValue>, ClientError> {
    let (setting, text) = match credentials {
        None => return Ok(None),
        Some(Credentials::Basic {
            username,
            password_file,
        }) => {
            let setting = "password_file";
            let password = Secret::read(password_file)
                .map_err(|source| ClientError::File { setting, source })?;
            let pair = format!("{}:{}", username.as_str(), password.expose());
            (setting, format!("Basic {}", BASE64_STANDARD.encode(pair)))
        }
        Some(Credentials::Bearer { token_file }) => {
            let setting = "bearer_token_file";
            let token =
                Secret::read(token_file).map_err(|source| ClientError::File { setting, source })?;
            (setting, format!("Bearer {}", token.expose()))
        }
    };
    let value = HeaderValue::from_str(&text);
    let mut value = value.map_err(|_| ClientError::NoHeader { setting })?;
    value.set_sensitive(true);
    Ok(Some(value))
}

/// What went wrong, for a person.
fn explain(error: &ureq::Error, timeout: Duration) -> String {
    let text = match error {
        ureq::Error::Io(error) => error.to_string(),
        ureq::Error::Timeout(ureq::Timeout::Resolve) => "its name is not found in time".to_owned(),
        ureq::Error::Timeout(ureq::Timeout::Connect) => "no connection comes about".to_owned(),
        ureq::Error::Timeout(_) => {
            format!("no answer within {}", humantime::format_duration(timeout))
        }
        ureq::Error::HostNotFound => "its name resolves to no address".to_owned(),
        other => other.to_string(),
    };
    let mut text = first_line(text.as_bytes());
    let mut source = error.source();
    // What stands behind it is worth a word where the text does not have it.
    while let Some(error) = source {
        let more = first_line(error.to_string().as_bytes());
        if !text.contains(&more) {
            // Writing to a string cannot fail.
            let _ = write!(text, ": {more}");
        }
        source = error.source();
    }
    text
}
