//! `sockets.*`, `tcp.*` and `udp.*` from /proc/net/sockstat, sockstat6, snmp and netstat
//! (`proc_pid_net(5)`, `Documentation/networking/snmp_counter.rst` of the kernel, RFC 2012 and
//! 2013).
//!
//! All of them are those of the agent's network namespace. The counts of TCP are of IPv4 and IPv6
//! together, those of UDP only of IPv4, as the kernel has them. A host without IPv6 has no
//! sockstat6. What a kernel does not count is left out.

use super::{
    Context, Sink, Source,
    error::{CollectError, Malformed},
    file::ProcFile,
    odd::Odd,
};
use crate::metrics::table::{
    SOCKETS_USED, TCP_ERRORS_IN, TCP_ESTABLISHED, TCP_FAILS, TCP_INUSE, TCP_LISTEN_DROPS,
    TCP_LISTEN_OVERFLOWS, TCP_MEMORY, TCP_OPENS_ACTIVE, TCP_OPENS_PASSIVE, TCP_ORPHANS, TCP_RESETS,
    TCP_RETRANSMITS, TCP_SEGMENTS_IN, TCP_SEGMENTS_OUT, TCP_TIMEWAIT, UDP_ERRORS_IN, UDP_IN,
    UDP_INUSE, UDP_NOPORTS, UDP_OUT, UDP_OVERFLOWS,
};
use parse::{Sockstat6, parse_netstat, parse_snmp, parse_sockstat, parse_sockstat6};

pub mod parse;

const SOCKSTAT: &str = "/proc/net/sockstat";
const SOCKSTAT6: &str = "/proc/net/sockstat6";
const SNMP: &str = "/proc/net/snmp";
const NETSTAT: &str = "/proc/net/netstat";

/// Reads the four files.
#[derive(Debug)]
pub struct SocketsSource {
    sockstat: ProcFile,
    sockstat6: ProcFile,
    snmp: ProcFile,
    netstat: ProcFile,
    page_kilobytes: u64,
}

impl SocketsSource {
    /// One that reads below the context's root.
    #[must_use]
    pub fn open(context: &Context) -> Self {
        let file = |absolute| ProcFile::new(&context.root, absolute);
        Self {
            sockstat: file(SOCKSTAT),
            sockstat6: file(SOCKSTAT6),
            snmp: file(SNMP),
            netstat: file(NETSTAT),
            page_kilobytes: rustix::param::page_size() as u64 / 1024,
        }
    }
}

impl Source for SocketsSource {
    fn collect(&mut self, scratch: &mut Vec<u8>, sink: &mut Sink<'_>) -> Result<(), CollectError> {
        // Each file costs only its own values.
        let mut errors = Vec::new();
        let mut found = false;
        let sockets = read(&mut self.sockstat, parse_sockstat, scratch, sink);
        let sockets = kept(sockets, &mut found, &mut errors);
        let sockets6 = match read(&mut self.sockstat6, parse_sockstat6, scratch, sink) {
            Err(CollectError::Source(error)) if error.is_missing() => Ok(None),
            result => result.map(Some),
        };
        let sockets6 = kept(sockets6, &mut false, &mut errors);
        let snmp = read(&mut self.snmp, parse_snmp, scratch, sink);
        let (tcp, udp) = kept(snmp, &mut found, &mut errors).unwrap_or_default();
        let listen = read(&mut self.netstat, parse_netstat, scratch, sink);
        let listen = kept(listen, &mut found, &mut errors).unwrap_or_default();
        let mut errors = errors.into_iter();
        if !found && let Some(error) = errors.next() {
            return Err(error);
        }
        errors.for_each(|error| sink.left_out(error));
        let sockets = sockets.unwrap_or_default();
        // Without the value of IPv6 there is no sum either.
        let both = |v4: Option<u64>, v6: &dyn Fn(&Sockstat6) -> Option<u64>| {
            let v6 = match &sockets6 {
                None => None,
                Some(None) => Some(0),
                Some(Some(sockets6)) => v6(sockets6),
            };
            Some(v4?.saturating_add(v6?))
        };
        let memory = |pages: u64| pages.saturating_mul(self.page_kilobytes);
        sink.unsigned_all([
            (&SOCKETS_USED, sockets.used),
            (&TCP_INUSE, both(sockets.tcp_inuse, &|v6| v6.tcp_inuse)),
            (&TCP_ESTABLISHED, tcp.established),
            (&TCP_ORPHANS, sockets.tcp_orphans),
            (&TCP_TIMEWAIT, sockets.tcp_timewait),
            (&TCP_MEMORY, sockets.tcp_memory_pages.map(memory)),
            (&TCP_OPENS_ACTIVE, tcp.opens_active),
            (&TCP_OPENS_PASSIVE, tcp.opens_passive),
            (&TCP_FAILS, tcp.fails),
            (&TCP_RESETS, tcp.resets),
            (&TCP_SEGMENTS_IN, tcp.segments_in),
            (&TCP_SEGMENTS_OUT, tcp.segments_out),
            (&TCP_RETRANSMITS, tcp.retransmits),
            (&TCP_ERRORS_IN, tcp.errors_in),
            (&TCP_LISTEN_OVERFLOWS, listen.overflows),
            (&TCP_LISTEN_DROPS, listen.drops),
            (&UDP_INUSE, both(sockets.udp_inuse, &|v6| v6.udp_inuse)),
            (&UDP_IN, udp.datagrams_in),
            (&UDP_OUT, udp.datagrams_out),
            (&UDP_ERRORS_IN, udp.errors_in),
            (&UDP_NOPORTS, udp.no_ports),
            (&UDP_OVERFLOWS, udp.overflows),
        ]);
        Ok(())
    }
}

/// What a file says; what makes no sense in it is the sink's.
fn read<T>(
    file: &mut ProcFile,
    parse: fn(&[u8], &mut Odd) -> Result<T, Malformed>,
    scratch: &mut Vec<u8>,
    sink: &mut Sink<'_>,
) -> Result<T, CollectError> {
    let text = file.read_whole(scratch)?;
    sink.parse(file.path(), text, parse)
}

/// What was read; else why not is kept for later.
fn kept<T>(
    result: Result<T, CollectError>,
    found: &mut bool,
    errors: &mut Vec<CollectError>,
) -> Option<T> {
    *found |= result.is_ok();
    result.map_err(|error| errors.push(error)).ok()
}

#[cfg(test)]
mod tests;
