//! A client of the web server that says exactly what it is told, also what no client should.

use std::net::{IpAddr, SocketAddr};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use super::collector::Collector;
use super::peer::PATIENCE;

/// What was answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: String,
}

impl Answer {
    /// One header's value.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(": ")?;
            found.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    /// The series of a family, each with its value.
    pub(crate) fn series(&self, family: &str) -> Vec<(&str, &str)> {
        let lines = self.body.lines().filter(|line| !line.starts_with('#'));
        let series = lines.map(|line| line.rsplit_once(' ').unwrap());
        series
            .filter(|(series, _)| series.split('{').next() == Some(family))
            .collect()
    }

    /// The only one, which has no labels.
    pub(crate) fn number(&self, family: &str) -> f64 {
        let [(_, number)] = self.series(family)[..] else {
            panic!("not one series of {family}: {}", self.body);
        };
        number.parse().unwrap()
    }
}

/// Where the collector serves it.
pub(crate) fn address_of(collector: &Collector) -> SocketAddr {
    let line = collector.before.iter();
    let mut lines = line.filter_map(|line| line.split_once("Serving Prometheus at http://"));
    let (_, rest) = lines.next().expect("it says where");
    rest.strip_suffix("/metrics").unwrap().parse().unwrap()
}

/// A connection, from this address.
pub(crate) async fn connect_from(from: IpAddr, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((from, 0).into()).unwrap();
    // Who does not read holds back the other side soon.
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(to).await.unwrap()
}

/// Asks on a connection of its own, and reads to its end.
pub(crate) async fn ask(to: SocketAddr, request: &str) -> Answer {
    answer(TcpStream::connect(to).await.unwrap(), request).await
}

/// The page at this path.
pub(crate) async fn fetch(to: SocketAddr, path: &str) -> Answer {
    ask(to, &request("GET", path)).await
}

/// The same, from this address.
pub(crate) async fn fetch_from(from: IpAddr, to: SocketAddr, path: &str) -> Answer {
    answer(connect_from(from, to).await, &request("GET", path)).await
}

/// The only request of a connection.
pub(crate) fn request(method: &str, path: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
}

/// Asks on this connection, and reads to its end.
pub(crate) async fn answer(mut stream: TcpStream, request: &str) -> Answer {
    stream.write_all(request.as_bytes()).await.unwrap();
    parse(&read_to_end(&mut stream).await)
}

/// All that comes until the other side closes the connection.
pub(crate) async fn read_to_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut all)).await;
    // A connection that is cut is at its end, too.
    let _ = read.expect("the connection ends");
    all
}

fn parse(all: &[u8]) -> Answer {
    let end = all.windows(4).position(|four| four == b"\r\n\r\n");
    let (head, body) = all.split_at(end.expect("a head") + 4);
    let head = String::from_utf8(head.to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let mut answer = Answer {
        status,
        head,
        body: String::new(),
    };
    let body = if answer.header("transfer-encoding") == Some("chunked") && !body.is_empty() {
        joined(body)
    } else {
        body.to_vec()
    };
    answer.body = String::from_utf8(body).unwrap();
    answer
}

/// Chunks put together (RFC 9112, 7.1), up to the last one, which has to be there.
fn joined(mut chunks: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let end = chunks.windows(2).position(|two| two == b"\r\n").unwrap();
        let size = std::str::from_utf8(&chunks[..end]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        let chunk = &chunks[end + 2..];
        assert_eq!(&chunk[size..size + 2], b"\r\n");
        if size == 0 {
            return body;
        }
        body.extend_from_slice(&chunk[..size]);
        chunks = &chunk[size + 2..];
    }
}
