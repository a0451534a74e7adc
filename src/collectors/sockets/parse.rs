//! The two forms of the files in /proc/net that count for protocols.
//!
//! `sockstat` has a line for each protocol, of names and numbers by turns. `snmp` and
//! `netstat` have two lines for each, of names and of numbers. What is not reported is not
//! looked into, but has to have the form. `netstat`'s grows with every kernel.

use crate::collectors::{
    error::Malformed,
    lines::{Line, lines},
    text::{decimal, fields, split_once},
};

const EXPECTED_SOCKSTAT: &str = "PROTOCOL: NAME NUMBER ...";

const EXPECTED_NAMES: &str = "PROTOCOL: NAME ...";

const EXPECTED_NUMBERS: &str = "the protocol of the line before and a number for each name";

/// What is reported of /proc/net/sockstat.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sockstat {
    /// `sockets: used`
    pub used: Option<u64>,
    /// `TCP: inuse`, of IPv4
    pub tcp_inuse: Option<u64>,
    /// `TCP: orphan`, of both
    pub tcp_orphans: Option<u64>,
    /// `TCP: tw`, of both
    pub tcp_timewait: Option<u64>,
    /// `TCP: mem`, of both
    pub tcp_memory_pages: Option<u64>,
    /// `UDP: inuse`, of IPv4
    pub udp_inuse: Option<u64>,
}

/// What is reported of /proc/net/sockstat6.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sockstat6 {
    /// `TCP6: inuse`
    pub tcp_inuse: Option<u64>,
    /// `UDP6: inuse`
    pub udp_inuse: Option<u64>,
}

/// What is reported of TCP in /proc/net/snmp (RFC 2012).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tcp {
    /// `CurrEstab`: ESTABLISHED or CLOSE-WAIT
    pub established: Option<u64>,
    /// `ActiveOpens`
    pub opens_active: Option<u64>,
    /// `PassiveOpens`
    pub opens_passive: Option<u64>,
    /// `AttemptFails`
    pub fails: Option<u64>,
    /// `EstabResets`
    pub resets: Option<u64>,
    /// `InSegs`
    pub segments_in: Option<u64>,
    /// `OutSegs`
    pub segments_out: Option<u64>,
    /// `RetransSegs`
    pub retransmits: Option<u64>,
    /// `InErrs`
    pub errors_in: Option<u64>,
}

/// What is reported of UDP in /proc/net/snmp (RFC 2013).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Udp {
    /// `InDatagrams`
    pub datagrams_in: Option<u64>,
    /// `OutDatagrams`
    pub datagrams_out: Option<u64>,
    /// `InErrors`
    pub errors_in: Option<u64>,
    /// `NoPorts`
    pub no_ports: Option<u64>,
    /// `RcvbufErrors`
    pub overflows: Option<u64>,
}

/// What is reported of `TcpExt` in /proc/net/netstat.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Listen {
    /// `ListenOverflows`
    pub overflows: Option<u64>,
    /// `ListenDrops`
    pub drops: Option<u64>,
}

/// What is reported out of the text of /proc/net/sockstat.
pub fn parse_sockstat(text: &[u8]) -> Result<Sockstat, Malformed> {
    let mut found = Sockstat::default();
    each_in_turn(text, |protocol, name, number| {
        let field = match (protocol, name) {
            (b"sockets", b"used") => &mut found.used,
            (b"TCP", b"inuse") => &mut found.tcp_inuse,
            (b"TCP", b"orphan") => &mut found.tcp_orphans,
            (b"TCP", b"tw") => &mut found.tcp_timewait,
            (b"TCP", b"mem") => &mut found.tcp_memory_pages,
            (b"UDP", b"inuse") => &mut found.udp_inuse,
            _ => return Some(()),
        };
        set(field, number)
    })?;
    Ok(found)
}

/// What is reported out of the text of /proc/net/sockstat6.
pub fn parse_sockstat6(text: &[u8]) -> Result<Sockstat6, Malformed> {
    let mut found = Sockstat6::default();
    each_in_turn(text, |protocol, name, number| {
        let field = match (protocol, name) {
            (b"TCP6", b"inuse") => &mut found.tcp_inuse,
            (b"UDP6", b"inuse") => &mut found.udp_inuse,
            _ => return Some(()),
        };
        set(field, number)
    })?;
    Ok(found)
}

/// What is reported out of the text of /proc/net/snmp.
pub fn parse_snmp(text: &[u8]) -> Result<(Tcp, Udp), Malformed> {
    let mut tcp = Tcp::default();
    let mut udp = Udp::default();
    each_in_pairs(text, &[b"Tcp", b"Udp"], |protocol, name, number| {
        let field = match (protocol, name) {
            (b"Tcp", b"CurrEstab") => &mut tcp.established,
            (b"Tcp", b"ActiveOpens") => &mut tcp.opens_active,
            (b"Tcp", b"PassiveOpens") => &mut tcp.opens_passive,
            (b"Tcp", b"AttemptFails") => &mut tcp.fails,
            (b"Tcp", b"EstabResets") => &mut tcp.resets,
            (b"Tcp", b"InSegs") => &mut tcp.segments_in,
            (b"Tcp", b"OutSegs") => &mut tcp.segments_out,
            (b"Tcp", b"RetransSegs") => &mut tcp.retransmits,
            (b"Tcp", b"InErrs") => &mut tcp.errors_in,
            (b"Udp", b"InDatagrams") => &mut udp.datagrams_in,
            (b"Udp", b"OutDatagrams") => &mut udp.datagrams_out,
            (b"Udp", b"InErrors") => &mut udp.errors_in,
            (b"Udp", b"NoPorts") => &mut udp.no_ports,
            (b"Udp", b"RcvbufErrors") => &mut udp.overflows,
            // MaxConn is -1 where it is dynamic.
            _ => return Some(()),
        };
        set(field, number)
    })?;
    Ok((tcp, udp))
}

/// What is reported out of the text of /proc/net/netstat.
pub fn parse_netstat(text: &[u8]) -> Result<Listen, Malformed> {
    let mut found = Listen::default();
    each_in_pairs(text, &[b"TcpExt"], |_, name, number| {
        let field = match name {
            b"ListenOverflows" => &mut found.overflows,
            b"ListenDrops" => &mut found.drops,
            _ => return Some(()),
        };
        set(field, number)
    })?;
    Ok(found)
}

/// None for what is no number.
fn set(field: &mut Option<u64>, number: &[u8]) -> Option<()> {
    *field = Some(decimal(number)?);
    Some(())
}

/// Shows each protocol, name and number of a text such as sockstat to `take`, which gives
/// None where it does not like the number.
fn each_in_turn(
    text: &[u8],
    mut take: impl FnMut(&[u8], &[u8], &[u8]) -> Option<()>,
) -> Result<(), Malformed> {
    for line in lines(text) {
        let line = line?;
        let mut whole = || {
            let (protocol, rest) = split_once(line.text, b':')?;
            let mut fields = fields(rest);
            while let Some(name) = fields.next() {
                take(protocol, name, fields.next()?)?;
            }
            Some(())
        };
        whole().ok_or_else(|| line.malformed(EXPECTED_SOCKSTAT))?;
    }
    Ok(())
}

/// Shows each protocol, name and number of a text such as snmp to `take`, as
/// [`each_in_turn`], for those protocols that are `wanted`.
fn each_in_pairs(
    text: &[u8],
    wanted: &[&[u8]],
    mut take: impl FnMut(&[u8], &[u8], &[u8]) -> Option<()>,
) -> Result<(), Malformed> {
    let mut lines = lines(text);
    while let Some(names) = lines.next() {
        let names = names?;
        let (protocol, titles) =
            split_once(names.text, b':').ok_or_else(|| names.malformed(EXPECTED_NAMES))?;
        let end = Line {
            number: names.number + 1,
            text: b"",
        };
        let numbers = lines.next().unwrap_or(Ok(end))?;
        let mut whole = || {
            let (same, numbers) = split_once(numbers.text, b':')?;
            if same != protocol {
                return None;
            }
            if wanted.contains(&protocol) {
                let mut numbers = fields(numbers);
                for name in fields(titles) {
                    take(protocol, name, numbers.next()?)?;
                }
                if numbers.next().is_some() {
                    return None;
                }
            }
            Some(())
        };
        whole().ok_or_else(|| numbers.malformed(EXPECTED_NUMBERS))?;
    }
    Ok(())
}
