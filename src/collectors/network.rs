//! `net.*` from /proc/net/dev (`proc_pid_net(5)`) and /sys/class/net
//! (Documentation/ABI/testing/sysfs-class-net of the kernel).
//!
//! Counts go out as the kernel has them. Whether a link is up is read with every sample,
//! which takes no lock. Its speed is read beside the loop ([`speeds`]), so that of a new
//! interface comes one sample after its counts.
//!
//! Interfaces come and go, and a name may be another device from one sample to the next:
//! see [`link`].

pub mod link;
pub mod speeds;

use std::time::Instant;

use link::Link;
use speeds::Speeds;

use super::{
    Collector, Grid, Purpose, Sink,
    context::Context,
    error::{CollectError, Malformed},
    instances::Instances,
    lines::{Line, lines},
    source::{ProcFile, Root},
    table::{
        NET_RX_BYTES, NET_RX_DROPS, NET_RX_ERRORS, NET_RX_PACKETS, NET_SPEED, NET_TX_BYTES,
        NET_TX_DROPS, NET_TX_ERRORS, NET_TX_PACKETS, NET_UP,
    },
    text::{decimal, fields},
};

/// Where the kernel says it.
const FILE: &str = "/proc/net/dev";

/// Most that is read of it: room for 10,000 interfaces of at most 350 bytes each.
const FILE_LIMIT: usize = 4 * 1024 * 1024;

/// Most interfaces of a sample. With ten values each they take 5,120 of the 10,000 that a
/// message may have.
pub const MAX_INTERFACES: usize = 512;

/// Most files of /sys that stay open: hosts of containers have hundreds of interfaces, and
/// 1,024 handles are all that a process has by default.
pub const MAX_KEPT_OPEN: usize = 64;

const EXPECTED_HEADER: &str =
    "two lines of titles, with bytes, packets, errs, drop, ... received and transmitted";

const EXPECTED: &str = "a name, a colon and sixteen counts";

const TITLES: [&[u8]; 4] = [b"bytes", b"packets", b"errs", b"drop"];

/// How many counts there are in each direction; those behind the fourth are not reported.
const COUNTS: usize = 8;

/// What the kernel counts for one interface.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Interface {
    /// Received.
    pub rx: Traffic,
    /// Transmitted.
    pub tx: Traffic,
}

/// The counts of one direction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes
    pub bytes: u64,
    /// Packets
    pub packets: u64,
    /// Packets with an error.
    pub errors: u64,
    /// Packets dropped.
    pub drops: u64,
}

/// The lines of /proc/net/dev that are about interfaces.
pub fn interfaces(text: &[u8]) -> impl Iterator<Item = Result<Line<'_>, Malformed>> {
    let mut lines = lines(text);
    let problem = check_titles(&mut lines).err();
    problem.map(Err).into_iter().chain(lines)
}

fn check_titles<'t>(
    lines: &mut impl Iterator<Item = Result<Line<'t>, Malformed>>,
) -> Result<(), Malformed> {
    let missing = |number| Malformed::new(number, EXPECTED_HEADER, b"");
    lines.next().ok_or_else(|| missing(1))??;
    let titles = lines.next().ok_or_else(|| missing(2))??;
    let mut parts = titles.text.split(|&byte| byte == b'|').skip(1);
    for _direction in ["rx", "tx"] {
        let part = parts.next().unwrap_or_default();
        if !fields(part).take(TITLES.len()).eq(TITLES) {
            return Err(titles.malformed(EXPECTED_HEADER));
        }
    }
    Ok(())
}

/// The name of the interface that a line is about: one that a path can be made of.
pub fn name<'t>(line: &Line<'t>) -> Result<&'t [u8], Malformed> {
    let found = split(line.text).map(|(name, _)| name);
    // The kernel takes no such name (dev_valid_name() in net/core/dev.c).
    let valid = |name: &&[u8]| !matches!(*name, b"" | b"." | b"..") && !name.contains(&b'/');
    found.filter(valid).ok_or_else(|| line.malformed(EXPECTED))
}

/// The counts of a line about an interface.
pub fn parse(line: &Line<'_>) -> Result<Interface, Malformed> {
    counts(line.text).ok_or_else(|| line.malformed(EXPECTED))
}

/// Old kernels allowed a colon in a name; counts never have one.
fn split(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = line.iter().rposition(|&byte| byte == b':')?;
    Some((
        line.get(..colon)?.trim_ascii_start(),
        line.get(colon + 1..)?,
    ))
}

fn counts(line: &[u8]) -> Option<Interface> {
    let (_, counts) = split(line)?;
    let mut fields = fields(counts);
    let mut traffic = || {
        let mut count = || decimal(fields.next()?);
        let traffic = Traffic {
            bytes: count()?,
            packets: count()?,
            errors: count()?,
            drops: count()?,
        };
        for _ in 4..COUNTS {
            count()?;
        }
        Some(traffic)
    };
    Some(Interface {
        rx: traffic()?,
        tx: traffic()?,
    })
}

/// Reads /proc/net/dev and what /sys/class/net has about the interfaces in it.
#[derive(Debug)]
pub struct NetworkCollector {
    root: Root,
    file: ProcFile,
    links: Instances<Link>,
    speeds: Speeds,
}

impl NetworkCollector {
    /// One for the interfaces that [`Options::network`](super::Options) admits, with a first
    /// look at what there is, so that the first sample has their speeds.
    #[must_use]
    pub fn open(context: &Context) -> Self {
        let mut collector = Self {
            root: context.root.clone(),
            file: ProcFile::new(&context.root, FILE),
            links: Instances::new(context.options.network.clone(), MAX_INTERFACES),
            speeds: Speeds::new(context.prober.clone()),
        };
        // A failure is not lost: the first sample will meet and return it.
        let _ = collector.look(&mut Vec::new());
        collector
    }

    /// Looks at all that there is, before any of it goes out.
    fn look<'s>(&mut self, scratch: &'s mut Vec<u8>) -> Result<&'s [u8], CollectError> {
        self.speeds.take(&mut self.links);
        let text = self.file.read_up_to(FILE_LIMIT, scratch)?;
        let malformed = |problem| CollectError::malformed(self.file.path(), problem);
        self.links.begin();
        for line in interfaces(text) {
            let line = line.map_err(malformed)?;
            let name = name(&line).map_err(malformed)?;
            let new = |name: &str| Link::new(&self.root, name);
            if self.links.meet(name, new).is_some() {
                parse(&line).map_err(malformed)?;
            }
        }
        // Where names came or went, any name may have passed to another device.
        if self.links.forget_others() {
            self.close_all();
        }
        let mut replaced = false;
        for (at, (_, link)) in self.links.iter_mut().enumerate() {
            replaced |= link.look(at < MAX_KEPT_OPEN)?;
        }
        if replaced {
            self.close_all();
        }
        Ok(text)
    }

    fn close_all(&mut self) {
        self.links.iter_mut().for_each(|(_, link)| link.close());
    }
}

impl Collector for NetworkCollector {
    fn prepare(&mut self, grid: Grid, now: Instant) {
        if grid.admits(&NET_SPEED) {
            self.speeds.ask(&mut self.links, now);
        }
    }

    fn ready(&self) -> bool {
        self.speeds.ready()
    }

    fn collect(
        &mut self,
        _purpose: Purpose,
        scratch: &mut Vec<u8>,
        sink: &mut Sink<'_>,
    ) -> Result<(), CollectError> {
        let text = self.look(scratch)?;
        report(&mut self.links, text, sink)
            .map_err(|problem| CollectError::malformed(self.file.path(), problem))
    }
}

/// Nothing fails here: the same lines have been parsed before.
fn report(links: &mut Instances<Link>, text: &[u8], sink: &mut Sink<'_>) -> Result<(), Malformed> {
    for line in interfaces(text) {
        let line = line?;
        if let Some((name, link)) = links.take(name(&line)?) {
            emit(name, &parse(&line)?, link, sink);
        }
    }
    sink.cut(links.cut());
    Ok(())
}

fn emit(name: &str, counts: &Interface, link: &Link, sink: &mut Sink<'_>) {
    for (definition, value) in [
        (&NET_RX_BYTES, Some(counts.rx.bytes)),
        (&NET_RX_PACKETS, Some(counts.rx.packets)),
        (&NET_RX_ERRORS, Some(counts.rx.errors)),
        (&NET_RX_DROPS, Some(counts.rx.drops)),
        (&NET_TX_BYTES, Some(counts.tx.bytes)),
        (&NET_TX_PACKETS, Some(counts.tx.packets)),
        (&NET_TX_ERRORS, Some(counts.tx.errors)),
        (&NET_TX_DROPS, Some(counts.tx.drops)),
        (&NET_UP, link.up().map(u64::from)),
        (&NET_SPEED, link.speed()),
    ] {
        if let Some(value) = value {
            sink.unsigned_of(definition, name, value);
        }
    }
}

#[cfg(test)]
mod tests;
