//! `sockets.*`, `tcp.*` and `udp.*` from /proc/net/sockstat, sockstat6, snmp and netstat
//! (`proc_pid_net(5)`, `Documentation/networking/snmp_counter.rst` of the kernel, RFC 2012 and
//! 2013).
//!
//! All of them are those of the agent's network namespace. The counts of TCP are of IPv4 and
//! IPv6 together, those of UDP of IPv4 alone, as the kernel has them. A host without IPv6 has
//! no sockstat6. What a kernel does not count is left out.

use super::{
    Collector, Purpose, Sink,
    context::Context,
    error::CollectError,
    source::ProcFile,
    table::{
        SOCKETS_USED, TCP_ERRORS_IN, TCP_ESTABLISHED, TCP_FAILS, TCP_INUSE, TCP_LISTEN_DROPS,
        TCP_LISTEN_OVERFLOWS, TCP_MEMORY, TCP_OPENS_ACTIVE, TCP_OPENS_PASSIVE, TCP_ORPHANS,
        TCP_RESETS, TCP_RETRANSMITS, TCP_SEGMENTS_IN, TCP_SEGMENTS_OUT, TCP_TIMEWAIT,
        UDP_ERRORS_IN, UDP_IN, UDP_INUSE, UDP_NOPORTS, UDP_OUT, UDP_OVERFLOWS,
    },
};
use parse::{parse_netstat, parse_snmp, parse_sockstat, parse_sockstat6};

pub mod parse;

const SOCKSTAT: &str = "/proc/net/sockstat";
const SOCKSTAT6: &str = "/proc/net/sockstat6";
const SNMP: &str = "/proc/net/snmp";
const NETSTAT: &str = "/proc/net/netstat";

/// Reads the four files.
#[derive(Debug)]
pub struct SocketsCollector {
    sockstat: ProcFile,
    sockstat6: ProcFile,
    snmp: ProcFile,
    netstat: ProcFile,
    page_kilobytes: u64,
}

impl SocketsCollector {
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

impl Collector for SocketsCollector {
    fn collect(
        &mut self,
        _purpose: Purpose,
        scratch: &mut Vec<u8>,
        sink: &mut Sink<'_>,
    ) -> Result<(), CollectError> {
        let sockets = parse_sockstat(self.sockstat.read_whole(scratch)?)
            .map_err(|problem| CollectError::malformed(self.sockstat.path(), problem))?;
        let sockets6 = match self.sockstat6.read_whole(scratch) {
            Ok(text) => parse_sockstat6(text)
                .map_err(|problem| CollectError::malformed(self.sockstat6.path(), problem))?,
            Err(error) if error.is_missing() => parse::Sockstat6::default(),
            Err(error) => return Err(error.into()),
        };
        let (tcp, udp) = parse_snmp(self.snmp.read_whole(scratch)?)
            .map_err(|problem| CollectError::malformed(self.snmp.path(), problem))?;
        let listen = parse_netstat(self.netstat.read_whole(scratch)?)
            .map_err(|problem| CollectError::malformed(self.netstat.path(), problem))?;
        let both = |v4: Option<u64>, v6: Option<u64>| Some(v4?.saturating_add(v6.unwrap_or(0)));
        let memory = |pages: u64| pages.saturating_mul(self.page_kilobytes);
        for (definition, value) in [
            (&SOCKETS_USED, sockets.used),
            (&TCP_INUSE, both(sockets.tcp_inuse, sockets6.tcp_inuse)),
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
            (&UDP_INUSE, both(sockets.udp_inuse, sockets6.udp_inuse)),
            (&UDP_IN, udp.datagrams_in),
            (&UDP_OUT, udp.datagrams_out),
            (&UDP_ERRORS_IN, udp.errors_in),
            (&UDP_NOPORTS, udp.no_ports),
            (&UDP_OVERFLOWS, udp.overflows),
        ] {
            if let Some(value) = value {
                sink.unsigned(definition, value);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
