//! What tests of several parts use.

pub(crate) mod agent;
pub(crate) mod attack;
pub(crate) mod collector;
pub(crate) mod deployed;
pub(crate) mod evil;
pub(crate) mod flood;
pub(crate) mod history;
pub(crate) mod http;
pub(crate) mod manager;
pub(crate) mod peer;
pub(crate) mod place;
pub(crate) mod prometheus;
pub(crate) mod receiver;
pub(crate) mod tmux;
pub(crate) mod victim;
pub(crate) mod zmtp;

/// True for root, who alone may do this; else says what is left out.
#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
pub(crate) fn root_for(what: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("skipped: {what} takes root");
    }
    root
}
