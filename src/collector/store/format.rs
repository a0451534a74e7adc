//! The file's text: a line that says what it is, and a line of JSON for each host. Pure.
//!
//! ```json
//! {"format":"metrics-collector hosts","version":1}
//! {"name":"web1","key":"rq:rM…","address":"192.0.2.7","seen":1764000000,"model":{"mem.total":16384}}
//! {"name":"web2","seen":1763990000,"gone":1763990030,"os":"Debian GNU/Linux 13 (trixie)"}
//! ```
//!
//! `several_hosts` is there where a key has or had more than one name: whether these are hosts
//! of their own, as behind a gateway, or names of one that was renamed. Times are seconds since
//! 1970. `gone` is there for a host that is gone, and since when; `os` is what is kept of its
//! model. `seen_ns` and `gone_ns` are the parts of a second that belong to those times: without
//! them each restart would move both back. Adding a field keeps the version, since unknown names are ignored; changing an
//! existing field needs a new version.

use std::io::{self, BufRead, Read as _, Write};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use thiserror::Error;

use crate::base::text::is_plain;
use crate::collector::hosts::snapshot::{HostSnapshot, Presence, Snapshot};
use crate::collector::hosts::{MAX_HOSTS, MAX_OS_BYTES, Restored};
use crate::curve::keys::PublicKey;
use crate::protocol::grid::Grid;
use crate::protocol::message::{GridKind, MAX_GRID_BYTES, check_host, encode_grid};

const FORMAT: &str = "metrics-collector hosts";
const VERSION: u32 = 1;

/// Most bytes of a line: a model, and what else is said of a host, which has at most 255
/// bytes of name, six times that escaped.
const MAX_LINE_BYTES: usize = MAX_GRID_BYTES + 8 * 1024;

/// Most bytes of an address: IPv6 in full, with a zone.
const MAX_ADDRESS_BYTES: usize = 128;

/// What a file holds.
#[derive(Debug, Default)]
pub struct Found {
    /// The hosts, in the order of the file.
    pub hosts: Vec<Remembered>,
    /// How many lines were no good.
    pub damaged: usize,
}

/// A host that was known.
#[derive(Debug, PartialEq)]
pub struct Remembered {
    /// Its name.
    pub name: Arc<str>,
    /// The key that it reported with.
    pub key: Option<PublicKey>,
    /// Whether the names of its key are those of several hosts; None where it has one name, or that
    /// is not known.
    pub several_hosts: Option<bool>,
    /// Where it reported from.
    pub address: Option<Arc<str>>,
    /// When it was last heard from.
    pub seen: SystemTime,
    /// Since when it is gone, if it is.
    pub gone: Option<SystemTime>,
    /// The operating system that it reported, if it is gone.
    pub os: Option<Arc<str>>,
    /// Its model, and how many bytes it has as JSON.
    pub model: Option<(Grid, usize)>,
}

impl Remembered {
    /// The same for the table of hosts, at `wall`. A clock that went back since makes
    /// nothing older than now.
    #[must_use]
    pub fn restored(self, wall: SystemTime) -> Restored {
        let ago = |time| wall.duration_since(time).unwrap_or_default();
        Restored {
            name: self.name,
            key: self.key,
            several_hosts: self.several_hosts,
            address: self.address,
            os: self.os,
            model: self.model,
            silence: ago(self.seen),
            gone: self.gone.map(ago),
        }
    }
}

/// Why nothing in a file can be used.
#[derive(Debug, Error)]
pub enum Unusable {
    /// It could not be read.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It does not begin as it must.
    #[error("it is not a file of this program")]
    NotOurs,
    /// A later version has written it.
    #[error("its version is {0}, and this program reads version {VERSION}")]
    TooNew(u32),
}

/// Writes what is to be known again.
///
/// # Errors
///
/// What `out` says.
pub fn write(snapshot: &Snapshot, out: &mut impl Write) -> io::Result<()> {
    let header = Header {
        format: FORMAT.into(),
        version: VERSION,
    };
    // One host at a time: all of them would be as much memory again.
    let (mut line, mut model) = (Vec::new(), Vec::new());
    serde_json::to_writer(&mut line, &header)?;
    line.push(b'\n');
    out.write_all(&line)?;
    for host in &snapshot.hosts {
        line.clear();
        write_host(snapshot.taken, host, &mut model, &mut line)?;
        out.write_all(&line)?;
    }
    Ok(())
}

fn write_host(
    taken: SystemTime,
    host: &HostSnapshot,
    model: &mut Vec<u8>,
    line: &mut Vec<u8>,
) -> io::Result<()> {
    let seen = Written::of(taken.checked_sub(host.silence).unwrap_or(taken));
    let gone = (host.presence == Presence::Gone).then(|| Written::of(host.since));
    let said = Line {
        name: (&*host.name).into(),
        key: host.key.map(|key| key.to_string().into()),
        several_hosts: host.several_hosts,
        address: host.address.as_deref().map(Into::into),
        seen: seen.seconds,
        seen_ns: seen.ns,
        gone: gone.map(|gone| gone.seconds),
        gone_ns: gone.map_or(0, |gone| gone.ns),
        os: host.os.as_deref().map(Into::into),
        model: None,
    };
    serde_json::to_writer(&mut *line, &said)?;
    // A model that has become too long (1e15 is longer as it is written here) is not
    // kept: it is asked for again.
    if let Some(grid) = host.model.as_deref()
        && encode_grid(grid, model).is_ok()
        && line.pop().is_some()
    {
        line.extend_from_slice(b",\"model\":");
        line.append(model);
        line.push(b'}');
    }
    line.push(b'\n');
    Ok(())
}

/// Reads a file's text.
///
/// # Errors
///
/// [`Unusable`].
pub fn read(mut text: impl BufRead) -> Result<Found, Unusable> {
    let mut line = Vec::new();
    if !next_line(&mut text, &mut line)? {
        return Err(Unusable::NotOurs);
    }
    match serde_json::from_slice::<Header<'_>>(&line) {
        Ok(header) if header.format != FORMAT => return Err(Unusable::NotOurs),
        Ok(header) if header.version > VERSION => return Err(Unusable::TooNew(header.version)),
        Ok(header) if header.version == VERSION => {}
        Ok(_) | Err(_) => return Err(Unusable::NotOurs),
    }
    let mut found = Found::default();
    while next_line(&mut text, &mut line)? {
        match host(&line) {
            Some(host) if found.hosts.len() < MAX_HOSTS => found.hosts.push(host),
            Some(_) | None => found.damaged += 1,
        }
        // The rest is skipped: each takes time.
        if found.damaged > MAX_HOSTS {
            break;
        }
    }
    Ok(found)
}

/// Reads the next line, without its end; of one that is too long nothing. False at the end
/// of the text.
fn next_line(text: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    let mut most = text.take(MAX_LINE_BYTES as u64 + 1);
    if most.read_until(b'\n', line)? == 0 {
        return Ok(false);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
        return Ok(true);
    }
    if line.len() > MAX_LINE_BYTES {
        line.clear();
        text.skip_until(b'\n')?;
    }
    Ok(true)
}

fn host(line: &[u8]) -> Option<Remembered> {
    let said: Line<'_> = serde_json::from_slice(line).ok()?;
    check_host(&said.name).ok()?;
    let key = match said.key {
        Some(key) => Some(key.parse().ok()?),
        None => None,
    };
    let address = said
        .address
        .filter(|address| address.len() <= MAX_ADDRESS_BYTES && is_plain(address));
    let os = said
        .os
        .filter(|os| said.gone.is_some() && os.len() <= MAX_OS_BYTES);
    let model = match said.model {
        Some(model) => {
            let bytes = model.get().as_bytes();
            Some((Grid::parse(bytes, GridKind::Model).ok()?, bytes.len()))
        }
        None => None,
    };
    Some(Remembered {
        name: (*said.name).into(),
        key,
        several_hosts: said.several_hosts,
        address: address.map(|address| (*address).into()),
        os: os.map(|os| (*os).into()),
        seen: Written::time(said.seen, said.seen_ns)?,
        gone: match said.gone {
            Some(gone) => Some(Written::time(gone, said.gone_ns)?),
            None => None,
        },
        // A host that is gone has none.
        model: model.filter(|_| said.gone.is_none()),
    })
}

/// What a file begins with.
#[derive(Debug, Deserialize, Serialize)]
struct Header<'a> {
    format: Text<'a>,
    version: u32,
}

/// What is said of a host.
#[derive(Debug, Deserialize, Serialize)]
struct Line<'a> {
    #[serde(borrow)]
    name: Text<'a>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    key: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    several_hosts: Option<bool>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    address: Option<Text<'a>>,
    seen: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    seen_ns: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    gone: Option<u64>,
    #[serde(default, skip_serializing_if = "is_zero")]
    gone_ns: u32,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    os: Option<Text<'a>>,
    #[serde(borrow, skip_serializing)]
    model: Option<&'a RawValue>,
}

type Text<'a> = std::borrow::Cow<'a, str>;

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_zero(ns: &u32) -> bool {
    *ns == 0
}

/// A time as it is written: since 1970.
#[derive(Clone, Copy)]
struct Written {
    seconds: u64,
    ns: u32,
}

impl Written {
    fn of(time: SystemTime) -> Self {
        let since = time.duration_since(SystemTime::UNIX_EPOCH);
        let since = since.unwrap_or_default();
        Self {
            seconds: since.as_secs(),
            ns: since.subsec_nanos(),
        }
    }

    /// None where there is no such time.
    fn time(seconds: u64, ns: u32) -> Option<SystemTime> {
        let part = Duration::from_nanos(ns.into());
        let since = Duration::from_secs(seconds).checked_add(part)?;
        SystemTime::UNIX_EPOCH.checked_add(since)
    }
}
