use proptest::prelude::*;

use super::{
    parse::{Listen, Sockstat, Sockstat6, Tcp, Udp},
    *,
};
use crate::collectors::{
    Root, Samples,
    table::METRICS,
    testing::{Host, KERNELS, captured, names, read, unsigned},
};

fn of(root: Root) -> Samples {
    read(&mut SocketsCollector::open(&Context::new(root))).unwrap()
}

/// A host like a captured one, whose files a test may change.
fn host(files: &[&str]) -> Host {
    let host = Host::new();
    for file in files {
        let text = std::fs::read(captured("6.12-qemu").path(file)).unwrap();
        host.write(file, text);
    }
    host
}

#[test]
fn sockstat_is_names_and_numbers_by_turns() {
    assert_eq!(
        parse_sockstat(b"sockets: used 94\nTCP: inuse 4 orphan 1 tw 9 alloc 13 mem 146\nUDP: inuse 3 mem 0\nRAW: inuse 7\n"),
        Ok(Sockstat {
            used: Some(94),
            tcp_inuse: Some(4),
            tcp_orphans: Some(1),
            tcp_timewait: Some(9),
            tcp_memory_pages: Some(146),
            udp_inuse: Some(3),
        })
    );
    assert_eq!(
        parse_sockstat6(b"TCP6: inuse 1\nUDP6: inuse 2\nFRAG6: inuse 0 memory 0\n"),
        Ok(Sockstat6 {
            tcp_inuse: Some(1),
            udp_inuse: Some(2),
        })
    );
    assert_eq!(parse_sockstat(b"MPTCP: inuse x\n"), Ok(Sockstat::default()));
    for text in [
        &b"sockets: used 94"[..],
        b"sockets: used\n",
        b"sockets used 94\n",
        b"sockets: used -1\n",
        b"sockets: used 99999999999999999999\n",
        b"\n",
    ] {
        assert_eq!(parse_sockstat(text).unwrap_err().line, 1, "{text:?}");
    }
}

#[test]
fn snmp_is_a_line_of_names_and_one_of_numbers() {
    let text = b"Ip: Forwarding\nIp: whatever\nTcp: MaxConn InErrs CurrEstab\nTcp: -1 2 3\n\
        Udp: NoPorts\nUdp: 4\n";
    let tcp = Tcp {
        errors_in: Some(2),
        established: Some(3),
        ..Tcp::default()
    };
    let udp = Udp {
        no_ports: Some(4),
        ..Udp::default()
    };
    assert_eq!(parse_snmp(text), Ok((tcp, udp)));
    assert_eq!(parse_snmp(b""), Ok((Tcp::default(), Udp::default())));
    assert_eq!(
        parse_netstat(b"TcpExt: ListenDrops ListenOverflows\nTcpExt: 5 6\nIpExt:\nIpExt:\n"),
        Ok(Listen {
            overflows: Some(6),
            drops: Some(5),
        })
    );
    for (text, line) in [
        (&b"Tcp: InErrs"[..], 1),
        (b"Tcp InErrs\nTcp 1\n", 1),
        (b"Tcp: InErrs\n", 2),
        (b"Tcp: InErrs\nTcp: 1", 2),
        (b"Tcp: InErrs\nUdp: 1\n", 2),
        (b"Tcp: InErrs\nTcp:\n", 2),
        (b"Tcp: InErrs\nTcp: 1 2\n", 2),
        (b"Tcp: InErrs\nTcp: -1\n", 2),
        (b"Ip: A\nIp: 1\nTcp: InErrs\nTcp: x\n", 4),
    ] {
        assert_eq!(parse_snmp(text).unwrap_err().line, line, "{text:?}");
    }
}

/// As read with a person's eyes, in the table's order.
#[test]
fn the_values_of_captured_machines() {
    let page = rustix::param::page_size() as u64 / 1024;
    let table = METRICS.iter().filter(|m| m.collector == "sockets");
    let table: Vec<_> = table.map(|m| m.name.to_owned()).collect();
    for (kernel, values) in [
        (
            "6.1-qemu",
            [
                94, 5, 4, 0, 0, 0, 17, 2, 3, 0, 455, 353, 2, 0, 10, 10, 0, 0, 0, 0, 3, 0,
            ],
        ),
        (
            "6.12-qemu",
            [
                107, 5, 4, 0, 0, 433, 18, 2, 4, 2, 362, 316, 3, 0, 15, 15, 0, 0, 0, 0, 3, 0,
            ],
        ),
        (
            "6.18-firecracker",
            [
                94, 5, 4, 0, 9, 146, 16, 2, 2, 0, 275, 238, 3, 0, 15, 15, 0, 0, 0, 0, 3, 0,
            ],
        ),
    ] {
        let samples = of(captured(kernel));
        assert_eq!(names(&samples), table);
        for (name, value) in table.iter().zip(values) {
            let unit = if name == "tcp.memory" { page } else { 1 };
            assert_eq!(
                unsigned(&samples, name),
                Some(value * unit),
                "{kernel} {name}"
            );
        }
    }
}

#[test]
fn a_host_without_ipv6_has_the_rest() {
    let host = host(&[SOCKSTAT, SNMP, NETSTAT]);
    let samples = of(host.root());
    assert_eq!(samples.len(), 22);
    assert_eq!(unsigned(&samples, "tcp.inuse"), Some(4));
}

#[test]
fn each_file_fails_by_its_name() {
    let files = [SOCKSTAT, SOCKSTAT6, SNMP, NETSTAT];
    for file in files {
        let host = host(&files);
        host.write(file, "Tcp inuse\n");
        let mut collector = SocketsCollector::open(&host.context());
        let error = read(&mut collector).unwrap_err().to_string();
        assert!(error.contains(&format!("{file}, line 1: ")), "{error}");
        std::fs::remove_file(host.path(file)).unwrap();
        let mut collector = SocketsCollector::open(&host.context());
        match read(&mut collector) {
            Ok(_) => assert_eq!(file, SOCKSTAT6),
            Err(error) => assert!(error.to_string().starts_with("cannot open "), "{error}"),
        }
    }
}

/// What this test does to the counts is seen in them.
#[test]
fn the_running_machine_counts_what_happens() {
    let mut collector = SocketsCollector::open(&Context::new(Root::default()));
    let before = read(&mut collector).unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (server, _) = listener.accept().unwrap();
    let after = read(&mut collector).unwrap();
    assert_eq!(after.len(), 22);
    for name in ["tcp.opens.active.total", "tcp.opens.passive.total"] {
        assert!(unsigned(&after, name) > unsigned(&before, name), "{name}");
    }
    // Three at least: those above. Others come and go.
    assert!(unsigned(&after, "tcp.inuse") >= Some(3));
    assert!(unsigned(&after, "tcp.established") >= Some(2));
    assert!(unsigned(&after, "sockets.used") >= Some(3));
    drop((client, server));
}

#[test]
fn the_numbers_are_those_of_the_names_above_them() {
    // Told by counting columns, another way than the parser's.
    for kernel in KERNELS {
        let text = std::fs::read_to_string(captured(kernel).path(NETSTAT)).unwrap();
        let mut lines = text.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        let (names, numbers) = (lines.next().unwrap(), lines.next().unwrap());
        let at = names
            .iter()
            .position(|name| *name == "ListenDrops")
            .unwrap();
        let drops: u64 = numbers[at].parse().unwrap();
        assert!(drops > 0, "a captured machine has full queues");
        assert_eq!(parse_netstat(text.as_bytes()).unwrap().drops, Some(drops));
    }
}

proptest! {
    #[test]
    fn random_bytes_never_panic(text in proptest::collection::vec(any::<u8>(), 0..256)) {
        let _ = (parse_sockstat(&text), parse_sockstat6(&text));
        let _ = (parse_snmp(&text), parse_netstat(&text));
    }

    #[test]
    fn random_lines_of_known_names_never_panic(text in "(Tcp|Udp|TcpExt|TCP): [a-zA-Z0-9 :\n-]{0,80}\n") {
        let _ = (parse_sockstat(text.as_bytes()), parse_snmp(text.as_bytes()));
        let _ = parse_netstat(text.as_bytes());
    }
}
