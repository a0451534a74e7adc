//! The two forms of the files in /proc/net that count for protocols.
//!
//! `sockstat` has a line for each protocol, with names and numbers in turn. `snmp` and `netstat`
//! have two lines for each, one of names and one of numbers. What is not reported is not parsed,
//! because `netstat`'s lines grow with every kernel. A number that makes no sense costs only
//! itself; lines of a wrong form cost their protocol.

use crate::sources::{
    error::Malformed,
    odd::Odd,
    text::{Line, MAX_COUNT, MAX_EVENTS, count, fields, lines, split_once},
};

const EXPECTED_SOCKSTAT: &str = "PROTOCOL: NAME NUMBER ..., numbers up to 2147483647";

const EXPECTED_NAMES: &str = "PROTOCOL: NAME ...";

const EXPECTED_NUMBERS: &str = "the protocol of the line before and a number for each name, up to 9223372036854775807 (CurrEstab: 2147483647)";

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
pub fn parse_sockstat(text: &[u8], odd: &mut Odd) -> Result<Sockstat, Malformed> {
    fn place<'s>(found: &'s mut Sockstat, protocol: &[u8], name: &[u8]) -> Place<'s> {
        let field = match (protocol, name) {
            (b"sockets", b"used") => &mut found.used,
            (b"TCP", b"inuse") => &mut found.tcp_inuse,
            (b"TCP", b"orphan") => &mut found.tcp_orphans,
            (b"TCP", b"tw") => &mut found.tcp_timewait,
            (b"TCP", b"mem") => &mut found.tcp_memory_pages,
            (b"UDP", b"inuse") => &mut found.udp_inuse,
            _ => return None,
        };
        // All that is counted here is there at the time.
        Some((field, MAX_COUNT))
    }
    each_in_turn(text, odd, place)
}

/// What is reported out of the text of /proc/net/sockstat6.
pub fn parse_sockstat6(text: &[u8], odd: &mut Odd) -> Result<Sockstat6, Malformed> {
    fn place<'s>(found: &'s mut Sockstat6, protocol: &[u8], name: &[u8]) -> Place<'s> {
        match (protocol, name) {
            (b"TCP6", b"inuse") => Some((&mut found.tcp_inuse, MAX_COUNT)),
            (b"UDP6", b"inuse") => Some((&mut found.udp_inuse, MAX_COUNT)),
            _ => None,
        }
    }
    each_in_turn(text, odd, place)
}

/// What is reported out of the text of /proc/net/snmp.
pub fn parse_snmp(text: &[u8], odd: &mut Odd) -> Result<(Tcp, Udp), Malformed> {
    fn place<'s>((tcp, udp): &'s mut (Tcp, Udp), protocol: &[u8], name: &[u8]) -> Place<'s> {
        let field = match (protocol, name) {
            (b"Tcp", b"CurrEstab") => return Some((&mut tcp.established, MAX_COUNT)),
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
            _ => return None,
        };
        Some((field, MAX_EVENTS))
    }
    each_in_pairs(text, &[b"Tcp", b"Udp"], odd, place)
}

/// What is reported out of the text of /proc/net/netstat.
pub fn parse_netstat(text: &[u8], odd: &mut Odd) -> Result<Listen, Malformed> {
    fn place<'s>(found: &'s mut Listen, _protocol: &[u8], name: &[u8]) -> Place<'s> {
        match name {
            b"ListenOverflows" => Some((&mut found.overflows, MAX_EVENTS)),
            b"ListenDrops" => Some((&mut found.drops, MAX_EVENTS)),
            _ => None,
        }
    }
    each_in_pairs(text, &[b"TcpExt"], odd, place)
}

/// Where a number belongs, and its upper limit; None if it is not used.
type Place<'s> = Option<(&'s mut Option<u64>, u64)>;

/// Where the number of a protocol and a name belongs.
type FindPlace<S> = for<'s> fn(&'s mut S, &[u8], &[u8]) -> Place<'s>;

/// The numbers of a text such as sockstat. An error where the text has no such line.
fn each_in_turn<S: Default>(
    text: &[u8],
    odd: &mut Odd,
    place: FindPlace<S>,
) -> Result<S, Malformed> {
    let mut found = S::default();
    let mut any = false;
    for line in lines(text) {
        let Some(line) = odd.keep(line) else {
            break;
        };
        let malformed = || line.malformed(EXPECTED_SOCKSTAT);
        let Some((protocol, rest)) = odd.note(split_once(line.text, b':'), malformed) else {
            continue;
        };
        any = true;
        let mut fields = fields(rest);
        while let Some(name) = fields.next() {
            let number = fields.next();
            if let Some((place, most)) = place(&mut found, protocol, name) {
                let value = number.and_then(|number| count(number, most));
                *place = odd.note(value, || line.malformed_word(EXPECTED_SOCKSTAT, number));
            }
        }
    }
    first_unless(any, odd, EXPECTED_SOCKSTAT).map(|()| found)
}

/// The numbers of a text such as snmp, of the protocols that are `wanted`. An error where the
/// text has no such lines.
fn each_in_pairs<S: Default>(
    text: &[u8],
    wanted: &[&[u8]],
    odd: &mut Odd,
    place: FindPlace<S>,
) -> Result<S, Malformed> {
    let mut found = S::default();
    let mut any = false;
    let mut lines = lines(text).peekable();
    while let Some(names) = lines.next() {
        let Some(names) = odd.keep(names) else {
            break;
        };
        let malformed = || names.malformed(EXPECTED_NAMES);
        let Some((protocol, titles)) = odd.note(split_once(names.text, b':'), malformed) else {
            continue;
        };
        let same =
            |line: &Line<'_>| split_once(line.text, b':').is_some_and(|(of, _)| of == protocol);
        let next = lines.next_if(|line| line.as_ref().is_ok_and(same));
        let Some(Ok(numbers)) = next else {
            // The line below may be the names of the next protocol.
            let below = lines.peek().and_then(|line| line.as_ref().ok());
            let below = below.map_or(&b""[..], |line| line.text);
            odd.add(Malformed::new(names.number + 1, EXPECTED_NUMBERS, below));
            continue;
        };
        any = true;
        if !wanted.contains(&protocol) {
            continue;
        }
        let malformed = || numbers.malformed(EXPECTED_NUMBERS);
        let (_, values) = split_once(numbers.text, b':').unwrap_or_default();
        if fields(titles).count() != fields(values).count() {
            // It is unknown which number belongs to which name.
            odd.add(malformed());
            continue;
        }
        for (name, number) in fields(titles).zip(fields(values)) {
            if let Some((place, most)) = place(&mut found, protocol, name) {
                *place = odd.note(count(number, most), || {
                    numbers.malformed_word(EXPECTED_NUMBERS, Some(number))
                });
            }
        }
    }
    first_unless(any, odd, EXPECTED_NAMES).map(|()| found)
}

/// What is wrong with a text that has nothing of what it should have.
fn first_unless(any: bool, odd: &mut Odd, expected: &'static str) -> Result<(), Malformed> {
    if any {
        return Ok(());
    }
    let first = odd.take_first();
    Err(first.unwrap_or_else(|| Malformed::new(1, expected, b"")))
}
