//! `net.*` from /proc/net/dev (`proc_pid_net(5)`) and /sys/class/net
//! (Documentation/ABI/testing/sysfs-class-net of the kernel).
//!
//! Counts go out as the kernel has them. The state of a link (up or not) is read with every sample,
//! which takes no lock. Its speed is read beside the loop ([`link::Speeds`]), so the speed of a new
//! interface comes one sample after its counts.
//!
//! Interfaces come and go, and a name may be another device from one sample to the next: see
//! [`link`].

pub mod link;

use std::time::Instant;

use link::Link;
use link::Speeds;

use super::{
    Context, Grid, Sink, Source,
    error::{CollectError, Malformed},
    file::{ProcFile, Root},
    instances::{EXPECTED_NAME, Instances, is_name},
    odd::{LeftOut, Odd},
    text::{Line, MAX_EVENTS, count, fields, lines},
};
use crate::metrics::table::{
    NET_RX_BYTES, NET_RX_DROPS, NET_RX_ERRORS, NET_RX_PACKETS, NET_SPEED, NET_TX_BYTES,
    NET_TX_DROPS, NET_TX_ERRORS, NET_TX_PACKETS, NET_UP,
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

const EXPECTED: &str = "a name, a colon and sixteen counts up to 9223372036854775807";

const TITLES: [&[u8]; 4] = [b"bytes", b"packets", b"errs", b"drop"];

/// How many counts there are in each direction; those after the fourth are not reported.
const COUNTS: usize = 8;

/// What the kernel counts for one interface.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Interface {
    /// Received.
    pub rx: Traffic,
    /// Transmitted.
    pub tx: Traffic,
}

/// The counts of one direction: bytes, packets, packets with an error, packets dropped. None
/// for what makes no sense.
pub type Traffic = [Option<u64>; 4];

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

/// The name of the interface that a line is about, if it is printable and can be part of a path.
pub fn name<'t>(line: &Line<'t>) -> Result<&'t [u8], Malformed> {
    let found = split(line.text).map(|(name, _)| name);
    // The kernel takes no such name (dev_valid_name() in net/core/dev.c).
    let valid = |name: &&[u8]| !matches!(*name, b"" | b"." | b"..") && !name.contains(&b'/');
    let name = found.filter(valid);
    let name = name.ok_or_else(|| line.malformed(EXPECTED))?;
    let shown = is_name(name).then_some(name);
    shown.ok_or_else(|| line.malformed_word(EXPECTED_NAME, Some(name)))
}

/// The counts of a line about an interface. Those that are not reported are not looked into.
pub fn parse(line: &Line<'_>, odd: &mut Odd) -> Interface {
    let mut fields = fields(split(line.text).map_or(&b""[..], |(_, counts)| counts));
    let mut traffic = || {
        let mut traffic = Traffic::default();
        for value in &mut traffic {
            let field = fields.next();
            let number = field.and_then(|field| count(field, MAX_EVENTS));
            *value = odd.note(number, || line.malformed_word(EXPECTED, field));
        }
        let _not_reported = fields.nth(COUNTS - traffic.len() - 1);
        traffic
    };
    Interface {
        rx: traffic(),
        tx: traffic(),
    }
}

/// Old kernels allowed a colon in a name; counts never have one.
fn split(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = line.iter().rposition(|&byte| byte == b':')?;
    Some((
        line.get(..colon)?.trim_ascii_start(),
        line.get(colon + 1..)?,
    ))
}

/// Reads /proc/net/dev and what /sys/class/net has about the interfaces in it.
#[derive(Debug)]
pub struct NetworkSource {
    root: Root,
    file: ProcFile,
    links: Instances<Link>,
    speeds: Speeds,
}

impl NetworkSource {
    /// One for the interfaces that [`Options::network`](super::Options) admits, with a first
    /// look at what there is, so that the first sample has their speeds.
    #[must_use]
    pub fn open(context: &Context) -> Self {
        let mut source = Self {
            root: context.root.clone(),
            file: ProcFile::new(&context.root, FILE),
            links: Instances::new(context.options.network.clone(), MAX_INTERFACES),
            speeds: Speeds::new(context.prober.clone()),
        };
        // A failure is not lost: the first sample will meet and return it.
        let _ = source.look(&mut Vec::new(), &mut LeftOut::default());
        source
    }

    /// Looks at all that there is, before any of it goes out.
    fn look<'s>(
        &mut self,
        scratch: &'s mut Vec<u8>,
        left_out: &mut LeftOut,
    ) -> Result<&'s [u8], CollectError> {
        self.speeds.take(&mut self.links);
        let text = self.file.read_up_to(FILE_LIMIT, scratch)?;
        let malformed = |problem| CollectError::malformed(self.file.path(), problem);
        let mut lines = lines(text);
        // Without the titles it is unknown what the numbers are.
        check_titles(&mut lines).map_err(malformed)?;
        let mut odd = Odd::default();
        let mut any = false;
        self.links.begin();
        for line in lines {
            let Some(line) = odd.keep(line) else {
                break;
            };
            if let Some(name) = odd.keep(name(&line)) {
                any = true;
                self.links.meet(name, |name| Link::new(&self.root, name));
            }
        }
        if !any && let Some(problem) = odd.take_first() {
            return Err(malformed(problem));
        }
        left_out.add_all(self.file.path(), odd);
        // Where names came or went, any name may have passed to another device.
        if self.links.forget_others() {
            self.close_all();
        }
        let mut replaced = false;
        for (at, (_, link)) in self.links.iter_mut().enumerate() {
            match link.look(at < MAX_KEPT_OPEN) {
                Ok(another) => replaced |= another,
                Err(error) => left_out.add(error),
            }
            if let Some(problem) = link.speed_problem() {
                left_out.add(problem);
            }
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

impl Source for NetworkSource {
    fn prepare(&mut self, grid: Grid, now: Instant) {
        if grid.admits(&NET_SPEED) {
            self.speeds.ask(&mut self.links, now);
        }
    }

    fn ready(&self) -> bool {
        self.speeds.ready()
    }

    fn collect(&mut self, scratch: &mut Vec<u8>, sink: &mut Sink<'_>) -> Result<(), CollectError> {
        let mut left_out = LeftOut::default();
        let text = self.look(scratch, &mut left_out)?;
        sink.left_out_all(&mut left_out);
        let mut odd = Odd::default();
        for line in interfaces(text).flatten() {
            if let Ok(name) = name(&line)
                && let Some((name, link)) = self.links.take(name)
            {
                emit(name, &parse(&line, &mut odd), link, sink);
            }
        }
        sink.cut(self.links.cut());
        sink.odd(self.file.path(), odd);
        Ok(())
    }
}

fn emit(name: &str, counts: &Interface, link: &Link, sink: &mut Sink<'_>) {
    let [rx_bytes, rx_packets, rx_errors, rx_drops] = counts.rx;
    let [tx_bytes, tx_packets, tx_errors, tx_drops] = counts.tx;
    let values = [
        (&NET_RX_BYTES, rx_bytes),
        (&NET_RX_PACKETS, rx_packets),
        (&NET_RX_ERRORS, rx_errors),
        (&NET_RX_DROPS, rx_drops),
        (&NET_TX_BYTES, tx_bytes),
        (&NET_TX_PACKETS, tx_packets),
        (&NET_TX_ERRORS, tx_errors),
        (&NET_TX_DROPS, tx_drops),
        (&NET_UP, link.up().map(u64::from)),
        (&NET_SPEED, link.speed()),
    ];
    sink.unsigned_all_of(name, values);
}

#[cfg(test)]
mod tests;
