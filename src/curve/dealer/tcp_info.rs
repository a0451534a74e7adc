//! What the kernel knows of a TCP connection, tcp(7).

use std::os::fd::{AsFd, AsRawFd as _};
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

/// What is under way over this connection. None where the socket is no connection of TCP, or the
/// kernel does not say.
pub(super) fn delivery(socket: impl AsFd) -> Option<Delivery> {
    let info = read(socket)?;
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

/// `struct tcp_info`; what the kernel does not have of it is 0.
fn read(socket: impl AsFd) -> Option<[u8; TCP_INFO_LENGTH]> {
    let mut info = [0_u8; TCP_INFO_LENGTH];
    let mut length = libc::socklen_t::try_from(info.len()).ok()?;
    #[expect(unsafe_code, reason = "TCP_INFO has no safe wrapper")]
    // SAFETY: the descriptor is open for as long as `socket` is borrowed; the kernel writes `length`
    // bytes at most to `info`, which has them, and the number it wrote to `length`
    // (getsockopt(2)).
    let status = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if status != 0 || usize::try_from(length).ok()? < TCP_INFO_LEAST {
        return None;
    }
    Some(info)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn what_the_peer_s_host_has_is_acknowledged() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        let before = delivery(&client).unwrap();
        assert!(!before.outstanding);
        client.write_all(&[7; 1000]).unwrap();
        server.read_exact(&mut [0; 1000]).unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let now = delivery(&client).unwrap();
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
        let deadline = Instant::now() + Duration::from_secs(20);
        // Until neither end has room.
        let mut full = 0;
        while full < 100 {
            full = match client.write(&vec![7; 65_536]) {
                Ok(_) => 0,
                Err(_) if delivery(&client).unwrap().outstanding => 0,
                Err(_) => full + 1,
            };
            assert!(Instant::now() < deadline, "{:?}", delivery(&client));
        }
    }

    #[test]
    fn what_is_no_connection_says_nothing() {
        assert_eq!(delivery(File::open("/dev/null").unwrap()), None);
        let (one, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        assert_eq!(delivery(&one), None);
    }
}
