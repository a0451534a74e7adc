//! Which crates the programs are made from, and the notices in their sources. By cargo's word alone.

use std::collections::BTreeSet;
use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde::Deserialize;

use crate::licence::Licence;

/// How the names of files with notices begin, in capital letters.
const NOTICES: [&str; 5] = ["COPYING", "COPYRIGHT", "LICEN", "NOTICE", "UNLICENSE"];

/// One crate that is linked in.
pub(crate) struct Crate {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) licence: Licence,
    pub(crate) authors: Vec<String>,
    pub(crate) repository: Option<String>,
    /// Name and content of each file, sorted.
    pub(crate) notices: Vec<(String, String)>,
}

/// What a program is linked from.
pub(crate) struct Linked {
    pub(crate) own_licence: Licence,
    /// The text of Apache-2.0, which is the project's.
    pub(crate) own_licence_text: String,
    /// Sorted by name and version.
    pub(crate) others: Vec<Crate>,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    license: Option<String>,
    license_file: Option<String>,
    authors: Vec<String>,
    repository: Option<String>,
    manifest_path: String,
}

/// The crates of a build for this machine, with the features that a release has.
pub(crate) fn linked() -> Result<Linked, Box<dyn Error>> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let platform = rustc(&["--version", "--verbose"])?
        .lines()
        .find_map(|line| line.strip_prefix("host: ").map(str::to_owned))
        .ok_or("rustc --version --verbose: no host")?;
    // The tree knows what is linked, without what tests alone need; the metadata knows where it is.
    let tree = ["tree", "--locked", "--edges=normal", "--prefix=none"];
    let tree =
        said_by(
            Command::new(&cargo)
                .args(tree)
                .args(["--format={p}", "--target", &platform]),
        )?;
    let names = tree
        .lines()
        .filter_map(|line| {
            let (name, rest) = line.split_once(" v")?;
            Some((name, rest.split(' ').next()?))
        })
        .collect::<BTreeSet<_>>();
    let metadata = ["metadata", "--locked", "--format-version=1"];
    let metadata = said_by(
        Command::new(&cargo)
            .args(metadata)
            .args(["--filter-platform", &platform]),
    )?;
    let mut packages = serde_json::from_str::<Metadata>(&metadata)?.packages;
    packages.sort_by(|a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));

    let own = env!("CARGO_PKG_NAME");
    let mut own_licence_text = None;
    let mut others = Vec::new();
    for (name, version) in names {
        let package = packages
            .iter()
            .find(|package| package.name == name && package.version == version)
            .ok_or_else(|| format!("cargo metadata lacks {name} {version} of cargo tree"))?;
        if name == own {
            own_licence_text = notices(package)?.pop().map(|(_, text)| text);
        } else {
            let licence = package
                .license
                .as_deref()
                .ok_or("its manifest names no licence");
            let place = |error| format!("{name} {version}: {error}");
            others.push(Crate {
                name: package.name.clone(),
                version: package.version.clone(),
                licence: Licence::parse(licence.map_err(place)?)?,
                authors: package.authors.clone(),
                repository: package.repository.clone(),
                notices: notices(package)?,
            });
        }
    }
    Ok(Linked {
        own_licence: Licence::parse(env!("CARGO_PKG_LICENSE"))?,
        own_licence_text: own_licence_text.ok_or("no file LICENSE in this repository")?,
        others,
    })
}

fn notices(package: &Package) -> Result<Vec<(String, String)>, Box<dyn Error>> {
    let directory = Path::new(&package.manifest_path)
        .parent()
        .ok_or("a manifest without a directory")?;
    let place = |error: std::io::Error| format!("{}: {error}", directory.display());
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).map_err(place)? {
        let entry = entry.map_err(place)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let capital = name.to_uppercase();
        let named = NOTICES
            .iter()
            .any(|beginning| capital.starts_with(beginning));
        if (named || package.license_file.as_ref() == Some(&name)) && entry.path().is_file() {
            found.push((name, fs::read_to_string(entry.path()).map_err(place)?));
        }
    }
    found.sort();
    Ok(found)
}

/// What rustc says to these arguments.
pub(crate) fn rustc(arguments: &[&str]) -> Result<String, Box<dyn Error>> {
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    said_by(Command::new(rustc).args(arguments))
}

fn said_by(command: &mut Command) -> Result<String, Box<dyn Error>> {
    let output = command
        .output()
        .map_err(|error| format!("{command:?}: {error}"))?;
    if !output.status.success() {
        let message = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{command:?}: {}\n{message}", output.status).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}
