//! Writes the manual pages and the shell completions:
//!
//! ```sh
//! cargo run --locked --example manual -- target/manual
//! ```
//!
//! `man/` in that directory has the pages, `bash/`, `zsh/` and `fish/` the completions, where
//! packaging/install finds them.

mod completions;
mod pages;

use std::error::Error;
use std::fs;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let [directory] = <[_; 1]>::try_from(std::env::args_os().skip(1).collect::<Vec<_>>())
        .map_err(|_| "usage: manual DIRECTORY")?;
    let directory = Path::new(&directory);
    let date = pages::date(std::env::var("SOURCE_DATE_EPOCH").ok().as_deref())?;
    for page in pages::pages(&date)? {
        write(&directory.join("man").join(page.name), page.text.as_bytes())?;
    }
    for completion in completions::completions()? {
        write(
            &directory.join(completion.path),
            completion.script.as_bytes(),
        )?;
    }
    Ok(())
}

fn write(path: &Path, content: &[u8]) -> Result<(), Box<dyn Error>> {
    let place = |error| format!("{}: {error}", path.display());
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).map_err(place)?;
    }
    fs::write(path, content).map_err(place)?;
    Ok(())
}
