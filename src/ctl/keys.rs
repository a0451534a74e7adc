//! Keys in files, which need no agent.

use std::path::{Path, PathBuf};

use super::{Failure, print};
use crate::curve::certificate::Certificate;

/// Makes a pair and says where it is.
pub(super) fn generate(name: &str, directory: Option<PathBuf>) -> Result<(), Failure> {
    let directory = match directory {
        Some(directory) => directory,
        None => home()?.join(".curve"),
    };
    let pair = Certificate::write_pair(&directory, name)?;
    let file = |suffix: &str| directory.join(format!("{name}.{suffix}"));
    print(&format!(
        "Public key: {}\n      File: {}\n    Secret: {}\n",
        pair.public,
        file("key").display(),
        file("key_secret").display()
    ))
}

/// Prints the public key of a key file.
pub(super) fn print_public(file: &Path) -> Result<(), Failure> {
    print(&format!("{}\n", Certificate::read_public(file)?))
}

fn home() -> Result<PathBuf, Failure> {
    match std::env::var_os("HOME") {
        Some(home) if !home.is_empty() => Ok(home.into()),
        _ => Err(Failure::NoHome),
    }
}
