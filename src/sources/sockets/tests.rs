use proptest::prelude::*;

use super::{
    parse::{Listen, Sockstat, Sockstat6, Tcp, Udp},
    *,
};
use crate::metrics::Samples;
use crate::metrics::table::METRICS;
use crate::sources::{
    Root,
    testing::{Host, KERNELS, captured, names, read, read_whole, unsigned},
};

fn of(root: Root) -> Samples {
    read(&mut SocketsSource::open(&Context::new(root))).unwrap()
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

/// What is read and in which lines something is wrong.
fn parsed<T>(
    parse: fn(&[u8], &mut Odd) -> Result<T, Malformed>,
    text: &[u8],
) -> (Result<T, Malformed>, Vec<usize>) {
    let mut odd = Odd::default();
    let found = parse(text, &mut odd);
    (found, odd.named().iter().map(|one| one.line).collect())
}

#[test]
fn sockstat_is_names_and_numbers_by_turns() {
    const TEXT: &str = "sockets: used 94\nTCP: inuse 4 orphan 1 tw 9 alloc 13 mem 146\n\
        UDP: inuse 3 mem 0\nRAW: inuse 7\n";
    let whole = Sockstat {
        used: Some(94),
        tcp_inuse: Some(4),
        tcp_orphans: Some(1),
        tcp_timewait: Some(9),
        tcp_memory_pages: Some(146),
        udp_inuse: Some(3),
    };
    assert_eq!(parsed(parse_sockstat, TEXT.as_bytes()), (Ok(whole), vec![]));
    let found = Sockstat6 {
        tcp_inuse: Some(1),
        udp_inuse: Some(2),
    };
    assert_eq!(
        parsed(
            parse_sockstat6,
            b"TCP6: inuse 1\nUDP6: inuse 2\nFRAG6: inuse 0 memory 0\n"
        ),
        (Ok(found), vec![])
    );
    let none = (Ok(Sockstat::default()), vec![]);
    assert_eq!(parsed(parse_sockstat, b"MPTCP: inuse x\n"), none);
    // A number that makes no sense costs only itself.
    for (from, to, line) in [
        ("mem 146", "mem -3", 2),
        ("mem 146", "mem 18446744073709551613", 2),
        ("mem 146", "mem", 2),
        ("used 94", "used 99999999999999999999", 1),
        ("used 94", "used", 1),
        ("sockets: used", "sockets used", 1),
    ] {
        let left = Sockstat {
            used: whole.used.filter(|_| line != 1),
            tcp_memory_pages: whole.tcp_memory_pages.filter(|_| line != 2),
            ..whole
        };
        let text = TEXT.replace(from, to);
        let found = parsed(parse_sockstat, text.as_bytes());
        assert_eq!(found, (Ok(left), vec![line]), "{to}");
    }
    for text in [&b""[..], b"sockets: used 94", b"\n", b"sockets used 94\n"] {
        let (found, _) = parsed(parse_sockstat, text);
        assert_eq!(found.unwrap_err().line, 1, "{text:?}");
    }
}

#[test]
fn snmp_is_a_line_of_names_and_one_of_numbers() {
    const TEXT: &str = "Ip: Forwarding\nIp: whatever\nTcp: MaxConn InErrs CurrEstab\nTcp: -1 2 3\n\
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
    assert_eq!(
        parsed(parse_snmp, TEXT.as_bytes()),
        (Ok((tcp, udp)), vec![])
    );
    let listen = Listen {
        overflows: Some(6),
        drops: Some(5),
    };
    let text = b"TcpExt: ListenDrops ListenOverflows\nTcpExt: 5 6\nIpExt:\nIpExt:\n";
    assert_eq!(parsed(parse_netstat, text), (Ok(listen), vec![]));
    for (from, to, line, left) in [
        ("-1 2 3", "-1 x 3", 4, (tcp.established, None, udp)),
        ("-1 2 3", "-1 2 -3", 4, (None, tcp.errors_in, udp)),
        (
            "-1 2 3",
            "-1 2 18446744073709551613",
            4,
            (None, tcp.errors_in, udp),
        ),
        ("-1 2 3", "-1 2", 4, (None, None, udp)),
        ("-1 2 3", "-1 2 3 4", 4, (None, None, udp)),
        ("Tcp: -1", "Tcp -1", 4, (None, None, udp)),
        (
            "Udp: 4\n",
            "",
            6,
            (tcp.established, tcp.errors_in, Udp::default()),
        ),
        (
            "Udp: 4",
            "Idp: 4",
            6,
            (tcp.established, tcp.errors_in, Udp::default()),
        ),
    ] {
        let text = TEXT.replace(from, to);
        let (found, wrong) = parsed(parse_snmp, text.as_bytes());
        let (tcp, udp) = found.unwrap();
        assert_eq!((tcp.established, tcp.errors_in, udp), left, "{to}");
        assert_eq!(wrong.first(), Some(&line), "{to}");
    }
    for text in [
        &b""[..],
        b"Tcp: InErrs",
        b"Tcp InErrs\nTcp 1\n",
        b"Tcp: InErrs\n",
    ] {
        assert!(parsed(parse_snmp, text).0.is_err(), "{text:?}");
    }
}

/// As read with a person's eyes, in the table's order.
#[test]
fn the_values_of_captured_machines() {
    let page = rustix::param::page_size() as u64 / 1024;
    let table = METRICS.iter().filter(|m| m.source == "sockets");
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
fn each_file_costs_its_own_values_alone_and_is_named() {
    let files = [SOCKSTAT, SOCKSTAT6, SNMP, NETSTAT];
    for (file, lost) in [(SOCKSTAT, 6), (SOCKSTAT6, 2), (SNMP, 14), (NETSTAT, 2)] {
        let host = host(&files);
        let mut source = SocketsSource::open(&host.context());
        let whole = read(&mut source).unwrap();
        let check = |expected: &str, lost: usize| {
            let mut source = SocketsSource::open(&host.context());
            let (samples, left_out) = read_whole(&mut source).unwrap();
            assert_eq!(samples.len(), whole.len() - lost, "{file}");
            let others = samples.iter();
            assert!(
                others
                    .into_iter()
                    .all(|(name, value)| whole.get(&name.to_string()) == Some(value)
                        || file == SOCKSTAT6)
            );
            let named: Vec<_> = left_out.named().iter().map(ToString::to_string).collect();
            assert_eq!(named.len(), usize::from(!expected.is_empty()), "{named:?}");
            assert!(
                named.iter().all(|error| error.contains(expected)),
                "{named:?}"
            );
        };
        host.write(file, "Tcp inuse\n");
        check(&format!("{file}, line 1: "), lost);
        std::fs::remove_file(host.path(file)).unwrap();
        let missing = file == SOCKSTAT6;
        check(
            if missing { "" } else { "cannot open " },
            if missing { 0 } else { lost },
        );
        std::fs::create_dir(host.path(file)).unwrap();
        check(&format!("{file}: Is a directory"), lost);
    }
    let mut source = SocketsSource::open(&Host::new().context());
    let error = read(&mut source).unwrap_err().to_string();
    assert!(error.starts_with("cannot open "), "{error}");
}

/// What this test does to the counts is seen in them.
#[test]
fn the_running_machine_counts_what_happens() {
    let mut source = SocketsSource::open(&Context::new(Root::default()));
    let before = read(&mut source).unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (server, _) = listener.accept().unwrap();
    let after = read(&mut source).unwrap();
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
        let found = parse_netstat(text.as_bytes(), &mut Odd::default());
        assert_eq!(found.unwrap().drops, Some(drops));
    }
}

proptest! {
    #[test]
    fn random_bytes_never_panic(text in proptest::collection::vec(any::<u8>(), 0..256)) {
        let _ = (parsed(parse_sockstat, &text), parsed(parse_sockstat6, &text));
        let _ = (parsed(parse_snmp, &text), parsed(parse_netstat, &text));
    }

    #[test]
    fn random_lines_of_known_names_never_panic(text in "(Tcp|Udp|TcpExt|TCP): [a-zA-Z0-9 :\n-]{0,80}\n") {
        let _ = (parsed(parse_sockstat, text.as_bytes()), parsed(parse_snmp, text.as_bytes()));
        let _ = parsed(parse_netstat, text.as_bytes());
    }
}
