//! What a collector with the right key may do to metrics-top: its memory stays bounded, and it says
//! why there is no link.

use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use crate::support::attack::{Memory, say};
use crate::support::evil::Evil;
use crate::support::place::eventually;
use crate::support::tmux::Tmux;
use crate::support::zmtp::{CLOSED, Socket};

const PROGRAM: &str = env!("CARGO_BIN_EXE_metrics-top");

/// What is received is held once as a frame and once as a message, a mebibyte each, in memory that
/// doubles; the rest is the screen, and what the allocator keeps.
const BOUND_KIB: u64 = 8 * 1024;

/// Does this to a metrics-top, again and again, which shows each of these, in any order.
async fn is_told(
    act: impl FnMut(&mut Socket) -> std::io::Result<()> + Send + 'static,
    whys: &[&str],
) {
    let (evil, home) = (Evil::new(), tempfile::tempdir().unwrap());
    let variables = [("HOME", home.path().to_str().unwrap()), ("LANG", "C.UTF-8")];
    let line = format!(
        "{PROGRAM} --public-key '{}' {}",
        evil.public(),
        evil.endpoint()
    );
    let tmux = Tmux::run(150, 30, &variables, &line);
    tmux.shows("connecting").await;
    let process = tmux.process(Path::new(PROGRAM)).unwrap();
    let memory = Memory::watch_process(process.try_into().unwrap());
    let (attack, ended) = evil.on_each(act);
    for why in whys {
        tmux.shows(why).await;
    }
    ended.reaches(2, "it comes again").await;
    let grown = memory.grown().await;
    say(&format!("metrics-top, {whys:?}: {grown} KiB"));
    attack.end().await;
    assert!(grown < BOUND_KIB, "{grown} KiB");
    // It is there, and hears its keys.
    tmux.types(&["q"]);
    eventually("it ends", async || {
        tmux.process(Path::new(PROGRAM)).is_none().then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_message_of_endless_small_frames_is_not_held() {
    let why = "the peer's message has more than 10000 frames and does not end";
    is_told(|socket| socket.send_on(&[&b"x"[..]; 100]), &[why]).await;
}

#[tokio::test]
async fn a_message_of_endless_large_frames_is_not_held() {
    let frame = vec![b'x'; 1000 * 1024];
    let why = "the peer's message has more than 1052672 bytes";
    is_told(move |socket| socket.send_on(&[&frame]), &[why]).await;
}

/// As much of it comes as is taken.
#[tokio::test]
async fn a_frame_that_is_too_large_is_not_held() {
    let why = "the peer announces a frame of 4611686018427387904 bytes; at most 1048609";
    let endless = [&b"\x02\x40\0\0\0\0\0\0\0"[..], &vec![b'x'; 64 * 1024]].concat();
    is_told(move |socket| socket.stream().write_all(&endless), &[why]).await;
}

/// Without a screen it says so at its end, instead of an empty table.
#[tokio::test]
async fn once_says_why_there_is_no_link_any_more() {
    let (evil, home) = (Evil::new(), tempfile::tempdir().unwrap());
    let mut once = Command::new(PROGRAM);
    once.args(["--once", "--wait", "3s", "--public-key", &evil.public()])
        .arg(evil.endpoint())
        .env_clear()
        .env("HOME", home.path());
    let output = tokio::task::spawn_blocking(move || once.output().unwrap());
    let mut socket = eventually("it comes", async || evil.lets_in()).await;
    socket
        .stream()
        .write_all(b"\x02\x40\0\0\0\0\0\0\0")
        .unwrap();
    assert_eq!(socket.ended(), CLOSED);
    // When it comes again, no collector answers.
    let output = output.await.unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    let why = "the peer announces a frame of 4611686018427387904 bytes; at most 1048609";
    assert!(error.contains(why), "{error}");
    assert_eq!(output.status.code(), Some(69), "{error}");
}
