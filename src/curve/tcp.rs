//! What the kernel knows of a TCP connection that libzmq owns, tcp(7).
//!
//! libzmq's monitor tells the number of the descriptor, and its thread closes it when it likes. So
//! nothing is held: a question names the number, and is one system call, which reads and changes
//! nothing. That the number still means the same socket is seen by the socket's cookie, which the
//! kernel gives no other one, before and after the question.

use std::os::fd::RawFd;
use std::time::Duration;

/// What is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Something was sent that the peer's host has not acknowledged, or waits although the peer's
    /// host has room for it: this host's own network device does not take it.
    pub outstanding: bool,
    /// Nothing is under way to the peer's host, and what waits has room there: this host's own
    /// network device does not take it.
    pub kept: bool,
    /// Bytes acknowledged since the connection began.
    pub acknowledged: u64,
    /// How long ago anything of the peer's host arrived.
    pub heard: Duration,
}

/// Where `struct tcp_info` of linux/tcp.h has them; what is new is added at its end. The C
/// library's own does not go as far.
const SND_MSS: usize = 16;
const UNACKED: usize = 24;
const LAST_DATA_RECV: usize = 52;
const LAST_ACK_RECV: usize = 56;
const BYTES_ACKED: usize = 120;
const NOTSENT_BYTES: usize = 144;
const SND_WND: usize = 228;
const TCP_INFO_LENGTH: usize = 232;
/// What every kernel since 4.2 has. Of one before 5.4 the rest reads as 0: no room at the peer's.
const TCP_INFO_LEAST: usize = 128;

/// A connection of libzmq's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tcp {
    descriptor: RawFd,
    cookie: u64,
}

impl Tcp {
    /// The one whose descriptor this is now.
    pub(super) fn of(descriptor: RawFd) -> Option<Self> {
        let cookie = cookie(descriptor)?;
        Some(Self { descriptor, cookie })
    }

    pub(super) fn delivery(&self) -> Option<Delivery> {
        self.is_same().then_some(())?;
        let info: [u8; TCP_INFO_LENGTH] = option(
            self.descriptor,
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            TCP_INFO_LEAST,
        )?;
        self.is_same().then_some(())?;
        let number = |at: usize| Some(u32::from_ne_bytes(*info.get(at..)?.first_chunk()?));
        let acknowledged = info.get(BYTES_ACKED..)?.first_chunk()?;
        // Where the peer's host has no room, the collector does not read.
        let held_back = number(NOTSENT_BYTES)? > 0 && number(SND_WND)? >= number(SND_MSS)?;
        let heard = number(LAST_DATA_RECV)?.min(number(LAST_ACK_RECV)?);
        Some(Delivery {
            outstanding: number(UNACKED)? > 0 || held_back,
            kept: number(UNACKED)? == 0 && held_back,
            acknowledged: u64::from_ne_bytes(*acknowledged),
            heard: Duration::from_millis(heard.into()),
        })
    }

    fn is_same(&self) -> bool {
        cookie(self.descriptor) == Some(self.cookie)
    }
}

fn cookie(descriptor: RawFd) -> Option<u64> {
    let bytes: [u8; 8] = option(descriptor, libc::SOL_SOCKET, libc::SO_COOKIE, 8)?;
    Some(u64::from_ne_bytes(bytes))
}

/// The first `N` bytes of a socket's option; what the kernel does not have is 0. None where the
/// number is no socket's, or the kernel has fewer than `least`.
fn option<const N: usize>(
    descriptor: RawFd,
    level: i32,
    name: i32,
    least: usize,
) -> Option<[u8; N]> {
    let mut value = [0_u8; N];
    let mut length = libc::socklen_t::try_from(N).ok()?;
    #[expect(
        unsafe_code,
        reason = "the descriptor is libzmq's, which rustix could only borrow, and that would \
                  promise that it stays open; TCP_INFO has no safe wrapper"
    )]
    // SAFETY: the kernel writes `length` bytes at most to `value`, which has them, and the number
    // it wrote to `length` (getsockopt(2)). The descriptor is a number to it: one that is closed
    // or another's is an error or an answer about another socket, which the cookie tells.
    let status = unsafe {
        libc::getsockopt(
            descriptor,
            level,
            name,
            value.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if status != 0 || usize::try_from(length).ok()? < least {
        return None;
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd as _;
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn what_the_peer_s_host_has_is_acknowledged() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        let tcp = Tcp::of(client.as_raw_fd()).unwrap();
        let before = tcp.delivery().unwrap();
        assert!(!before.outstanding);
        client.write_all(&[7; 1000]).unwrap();
        server.read_exact(&mut [0; 1000]).unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let now = tcp.delivery().unwrap();
            if !now.outstanding {
                assert_eq!(now.acknowledged, before.acknowledged + 1000);
                assert!(now.heard < Duration::from_secs(20));
                break;
            }
            assert!(Instant::now() < deadline, "{now:?}");
        }
    }

    /// Which is no trouble of the path.
    #[test]
    fn what_waits_for_a_peer_that_does_not_read_is_not_outstanding() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (_server, _) = listener.accept().unwrap();
        client.set_nonblocking(true).unwrap();
        let tcp = Tcp::of(client.as_raw_fd()).unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        // Until neither end has room.
        let mut full = 0;
        while full < 100 {
            full = match client.write(&vec![7; 65_536]) {
                Ok(_) => 0,
                Err(_) if tcp.delivery().unwrap().outstanding => 0,
                Err(_) => full + 1,
            };
            assert!(Instant::now() < deadline, "{:?}", tcp.delivery());
        }
    }

    #[test]
    fn a_number_that_means_something_else_by_now_says_nothing() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let tcp = Tcp::of(client.as_raw_fd()).unwrap();
        let other = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let taken = Tcp {
            descriptor: other.as_raw_fd(),
            ..tcp
        };
        assert!(tcp.delivery().is_some());
        assert_eq!(taken.delivery(), None);
        assert_eq!(Tcp::of(File::open("/dev/null").unwrap().as_raw_fd()), None);
        assert_eq!(Tcp::of(-1), None);
    }
}
