//! The credentials that systemd passes to a unit at its next start (systemd.exec(5),
//! "Credentials"), as root finds them before. `systemctl show` cannot print these settings, so the
//! bus is asked.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use glob::Pattern;

use super::manager::Properties;
use super::unit::Unit;
use super::{CREDENTIALS, Obstacle, ask_with};
use crate::curve::certificate::{Certificate, MAX_CERTIFICATE_BYTES};

/// Those that the service manager was given, by its container or machine.
const SYSTEM: &str = "/run/credentials/@system";
const SYSTEM_ENCRYPTED: &str = "/run/credentials/@encrypted";

/// Where systemd looks for credentials that have no absolute path.
pub(super) const STORES: [&str; 4] = [
    "/etc/credstore",
    "/run/credstore",
    "/usr/local/lib/credstore",
    "/usr/lib/credstore",
];

/// A credential of the unit.
#[derive(Clone, Debug)]
pub struct Credential {
    /// The name that the service finds it by.
    pub name: String,
    /// Where it is now; where it will be, if the unit itself has its text.
    pub path: PathBuf,
    /// What root has read there; None if it cannot.
    pub certificate: Option<Result<Certificate, String>>,
    /// Why root cannot read it.
    pub obstacle: &'static str,
    /// It is encrypted, and root cannot decrypt it.
    pub(super) is_sealed: bool,
}

/// A credential that a unit asks for.
#[derive(Debug, PartialEq)]
pub(super) enum Wanted {
    /// `LoadCredential=`, `LoadCredentialEncrypted=`.
    Load {
        name: String,
        path: String,
        encrypted: bool,
    },
    /// `ImportCredential=`: whatever is there by such a name, perhaps under another one.
    Import { names: String, renamed: String },
    /// `SetCredential=`, `SetCredentialEncrypted=`.
    Set {
        name: String,
        bytes: Vec<u8>,
        encrypted: bool,
    },
}

impl Wanted {
    pub(super) fn load(name: &str, path: &str, encrypted: bool) -> Self {
        Self::Load {
            name: name.to_owned(),
            path: path.to_owned(),
            encrypted,
        }
    }
}

/// Directories of credentials.
#[derive(Debug, Default)]
pub(super) struct Stores {
    pub(super) plain: Vec<PathBuf>,
    pub(super) encrypted: Vec<PathBuf>,
}

impl Stores {
    pub(super) fn of_system() -> Self {
        let encrypted = STORES.iter().map(|store| format!("{store}.encrypted"));
        Self {
            plain: [SYSTEM].iter().chain(&STORES).map(PathBuf::from).collect(),
            encrypted: [SYSTEM_ENCRYPTED.into()]
                .into_iter()
                .chain(encrypted.map(PathBuf::from))
                .collect(),
        }
    }
}

/// The credentials that the service manager has for the unit.
pub(super) fn of_properties(properties: &Properties) -> Vec<Wanted> {
    let mut wanted = Vec::new();
    for (property, encrypted) in [("LoadCredential", false), ("LoadCredentialEncrypted", true)] {
        let all: Vec<(String, String)> = properties.get(property).unwrap_or_default();
        let all = all.into_iter();
        wanted.extend(all.map(|(name, path)| Wanted::load(&name, &path, encrypted)));
    }
    // From systemd 257 on, with names to rename them to.
    let renamed: Option<Vec<(String, String)>> = properties.get("ImportCredentialEx");
    let imported = renamed.unwrap_or_else(|| {
        let all: Option<Vec<String>> = properties.get("ImportCredential");
        let all = all.unwrap_or_default().into_iter();
        all.map(|names| (names, String::new())).collect()
    });
    let imported = imported.into_iter();
    wanted.extend(imported.map(|(names, renamed)| Wanted::Import { names, renamed }));
    for (property, encrypted) in [("SetCredential", false), ("SetCredentialEncrypted", true)] {
        let all: Vec<(String, Vec<u8>)> = properties.get(property).unwrap_or_default();
        wanted.extend(all.into_iter().map(|(name, bytes)| Wanted::Set {
            name,
            bytes,
            encrypted,
        }));
    }
    wanted
}

/// The credentials whose file is missing, which keeps the unit from starting. If the path is not
/// absolute, or the unit has a literal value for the credential, systemd does not need the file.
pub(super) fn missing(unit: &Unit, unit_name: &str) -> Vec<Obstacle> {
    let has_text = |wanted: &str| {
        let set = |one: &Wanted| matches!(one, Wanted::Set { name, .. } if name == wanted);
        unit.credentials.iter().any(set)
    };
    let obstacle = |wanted: &Wanted| {
        let Wanted::Load {
            name,
            path,
            encrypted,
        } = wanted
        else {
            return None;
        };
        let property = if *encrypted {
            "LoadCredentialEncrypted"
        } else {
            "LoadCredential"
        };
        let path = PathBuf::from(path);
        let is_missing = path.is_absolute() && fs::symlink_metadata(&path).is_err();
        let of_it = |value: &str| value.split(':').next() == Some(name);
        (is_missing && !has_text(name)).then(|| Obstacle::Credential {
            path,
            unit: unit_name.to_owned(),
            property,
            name: name.clone(),
            place: unit.place(&[property], of_it),
        })
    };
    unit.credentials.iter().filter_map(obstacle).collect()
}

/// Where the unit's next start may have the credential of this name from, as far as users other than
/// root can tell: None if it has none.
#[must_use]
pub fn may_be_handed(unit: &str, name: &str) -> Option<PathBuf> {
    let properties = Properties::of(unit)?;
    let stores = Stores::of_system();
    let wanted = of_properties(&properties);
    wanted
        .iter()
        .find_map(|one| source(one, unit, name, &stores))
}

fn source(wanted: &Wanted, unit: &str, credential: &str, stores: &Stores) -> Option<PathBuf> {
    let perhaps = |path: &PathBuf| {
        let error = fs::metadata(path).err().map(|error| error.kind());
        !matches!(error, Some(ErrorKind::NotFound | ErrorKind::NotADirectory))
    };
    match wanted {
        Wanted::Load {
            name,
            path,
            encrypted,
        } if name == credential => {
            let stores = if *encrypted {
                &stores.encrypted
            } else {
                &stores.plain
            };
            // Of an absolute path join takes that alone.
            stores.iter().map(|store| store.join(path)).find(perhaps)
        }
        Wanted::Import { names, renamed } => {
            let (start, new) = match names.split_once('*') {
                _ if renamed.is_empty() => ("", ""),
                Some((start, _)) => (start, renamed.as_str()),
                None => (names.as_str(), renamed.as_str()),
            };
            let name = start.to_owned() + credential.strip_prefix(new)?;
            let fits = Pattern::new(names).is_ok_and(|names| names.matches(&name));
            let stores = stores.plain.iter().chain(&stores.encrypted);
            let mut paths = stores.filter(|_| fits).map(|store| store.join(&name));
            paths.find(perhaps)
        }
        Wanted::Set { name, .. } if name == credential => {
            Some(Path::new(CREDENTIALS).join(unit).join(name))
        }
        _ => None,
    }
}

/// Those that are there, in systemd's order: the first of a name counts.
pub(super) fn resolve(unit: &str, wanted: &[Wanted], stores: &Stores) -> Vec<Credential> {
    let mut all: Vec<Credential> = Vec::new();
    for one in wanted {
        let found = match one {
            Wanted::Load {
                name,
                path,
                encrypted,
            } => load(name, path, *encrypted, stores),
            Wanted::Import { names, renamed } => import(names, renamed, stores),
            Wanted::Set {
                name,
                bytes,
                encrypted,
            } => vec![set(unit, name, bytes, *encrypted)],
        };
        for credential in found {
            if all.iter().all(|other| other.name != credential.name) {
                all.push(credential);
            }
        }
    }
    all
}

/// None if there is nothing, which is no error of the unit's for a relative path.
fn load(name: &str, path: &str, encrypted: bool, stores: &Stores) -> Vec<Credential> {
    let path = Path::new(path);
    let path = if path.is_absolute() {
        path.to_owned()
    } else {
        let stores = if encrypted {
            &stores.encrypted
        } else {
            &stores.plain
        };
        let mut paths = stores.iter().map(|store| store.join(path));
        let Some(path) = paths.find(|path| path.exists()) else {
            return Vec::new();
        };
        path
    };
    if !path.is_dir() {
        return read(name, &path, encrypted).into_iter().collect();
    }
    // Each file of a directory is one, without links.
    let entries = fs::read_dir(&path).ok().into_iter().flatten();
    let files = entries.filter_map(|entry| {
        let entry = entry.ok()?;
        let is_file = entry.file_type().ok()?.is_file();
        let name = format!("{name}_{}", entry.file_name().to_str()?);
        is_file.then(|| read(&name, &entry.path(), encrypted))?
    });
    files.collect()
}

fn import(names: &str, renamed: &str, stores: &Stores) -> Vec<Credential> {
    let Ok(pattern) = Pattern::new(names) else {
        return Vec::new();
    };
    let plain = stores.plain.iter().map(|store| (store, false));
    let encrypted = stores.encrypted.iter().map(|store| (store, true));
    let mut found = Vec::new();
    for (store, encrypted) in plain.chain(encrypted) {
        for entry in fs::read_dir(store).ok().into_iter().flatten().flatten() {
            let name = entry.file_name();
            let Some(name) = name.to_str().filter(|name| pattern.matches(name)) else {
                continue;
            };
            // Of a pattern, the part before the asterisk is renamed.
            let new = match (renamed, names.split_once('*')) {
                ("", _) => name.to_owned(),
                (new, None) => new.to_owned(),
                (new, Some((start, _))) => {
                    new.to_owned() + name.strip_prefix(start).unwrap_or_default()
                }
            };
            found.extend(read(&new, &entry.path(), encrypted));
        }
    }
    found
}

/// A credential in a file; None if there is nothing.
fn read(name: &str, path: &Path, encrypted: bool) -> Option<Credential> {
    let about = fs::metadata(path).ok()?;
    // systemd copies it: what is handed over has a mode of its own.
    let fits = about.is_file() && about.len() <= MAX_CERTIFICATE_BYTES * 2;
    let bytes = match (fits, encrypted) {
        (false, _) => None,
        (true, false) => fs::read(path).ok(),
        (true, true) => decrypt(name, path.to_str()?, &[]),
    };
    Some(Credential::of(
        name,
        path.to_owned(),
        bytes,
        encrypted && fits,
    ))
}

fn set(unit: &str, name: &str, bytes: &[u8], encrypted: bool) -> Credential {
    let path = Path::new(CREDENTIALS).join(unit).join(name);
    let bytes = if encrypted {
        decrypt(name, "-", STANDARD.encode(bytes).as_bytes())
    } else {
        Some(bytes.to_owned())
    };
    Credential::of(name, path, bytes, encrypted)
}

/// What root can decrypt, as the service manager will.
fn decrypt(name: &str, path: &str, input: &[u8]) -> Option<Vec<u8>> {
    let name = format!("--name={name}");
    ask_with("systemd-creds", &["decrypt", &name, path, "-"], input)
}

impl Credential {
    /// None for bytes that cannot be read, or decrypted if that was `tried`.
    fn of(name: &str, path: PathBuf, bytes: Option<Vec<u8>>, tried: bool) -> Self {
        let parse = |bytes: Vec<u8>| {
            let parsed = Certificate::parse(&path, &bytes).map_err(|error| error.to_string());
            crate::curve::certificate::scrub(bytes);
            parsed
        };
        let is_sealed = tried && bytes.is_none();
        Self {
            name: name.to_owned(),
            certificate: bytes.map(parse),
            path,
            is_sealed,
            obstacle: if is_sealed {
                "which `systemd-creds decrypt` cannot decrypt here; if systemd cannot, either, the \
                 service does not start"
            } else {
                "from a socket or a file that is too long; whether it can is seen by starting it"
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_service_manager_says_is_read() {
        // As busctl of systemd 257 prints it, without other properties.
        let json = r#"{"type":"a{sv}","data":[{"Type":{"type":"s","data":"notify"},
            "SetCredential":{"type":"a(say)","data":[["c.key",[109,101]]]},
            "SetCredentialEncrypted":{"type":"a(say)","data":[]},
            "LoadCredential":{"type":"a(ss)","data":[["agent.key_secret","metrics-agent.key_secret"]]},
            "LoadCredentialEncrypted":{"type":"a(ss)","data":[["x","/etc/x.cred"]]},
            "ImportCredential":{"type":"as","data":["a.*"]},
            "ImportCredentialEx":{"type":"a(ss)","data":[["a.*","b."]]}}]}"#;
        let import = Wanted::Import {
            names: "a.*".to_owned(),
            renamed: "b.".to_owned(),
        };
        let set = Wanted::Set {
            name: "c.key".to_owned(),
            bytes: b"me".to_vec(),
            encrypted: false,
        };
        let expected = [
            Wanted::load("agent.key_secret", "metrics-agent.key_secret", false),
            Wanted::load("x", "/etc/x.cred", true),
            import,
            set,
        ];
        let of_answer = |json: &str| of_properties(&Properties::parse(json).unwrap());
        assert_eq!(of_answer(json), expected);
        let older = json.replace("ImportCredentialEx", "Other");
        let older = of_answer(&older);
        let import = Wanted::Import {
            names: "a.*".to_owned(),
            renamed: String::new(),
        };
        assert!(older.contains(&import), "{older:?}");
    }

    #[test]
    fn credentials_are_found_in_the_order_of_systemd() {
        let root = tempfile::tempdir().unwrap();
        let stores = Stores {
            plain: ["one", "two"].map(|name| root.path().join(name)).into(),
            encrypted: Vec::new(),
        };
        let find = |wanted: Wanted| resolve("u.service", &[wanted], &stores);
        let load = |path: &str| find(Wanted::load("c.key", path, false));
        assert!(load("a.c.key").is_empty() && load("/nonexistent/c.key").is_empty());
        let pair = Certificate::write_pair(&stores.plain[1], "c").unwrap();
        let found = &load("c.key_secret")[0];
        assert_eq!(found.path, stores.plain[1].join("c.key_secret"));
        let read = found.certificate.as_ref().unwrap().as_ref().unwrap();
        assert_eq!(read.public, pair.public);
        // What its text is wrong about is said by its path; its mode is no matter.
        fs::write(stores.plain[1].join("c.key"), "x").unwrap();
        let problem = load("c.key")[0].certificate.clone().unwrap().unwrap_err();
        assert!(problem.contains("two/c.key"), "{problem}");
        let names = |wanted: Wanted| {
            let found = find(wanted).into_iter().map(|one| one.name);
            let mut names: Vec<_> = found.collect();
            names.sort();
            names
        };
        let import = |names: &str, renamed: &str| Wanted::Import {
            names: names.to_owned(),
            renamed: renamed.to_owned(),
        };
        assert_eq!(names(import("c.*", "")), ["c.key", "c.key_secret"]);
        assert_eq!(names(import("c.k*", "d.k")), ["d.key", "d.key_secret"]);
        assert_eq!(names(import("c.key", "e")), ["e"]);
        let directory = Wanted::load("all", stores.plain[1].to_str().unwrap(), false);
        assert_eq!(names(directory), ["all_c.key", "all_c.key_secret"]);
        // A text of the unit itself counts where nothing is found.
        let text = fs::read(stores.plain[1].join("c.key_secret")).unwrap();
        let set = || Wanted::Set {
            name: "c.key".to_owned(),
            bytes: text.clone(),
            encrypted: false,
        };
        let both = [Wanted::load("c.key", "none", false), set()];
        let found = resolve("u.service", &both, &stores);
        assert_eq!(found[0].path, Path::new("/run/credentials/u.service/c.key"));
        assert!(matches!(&found[0].certificate, Some(Ok(read)) if read.public == pair.public));
        let both = [Wanted::load("c.key", "c.key_secret", false), set()];
        assert_eq!(resolve("u.service", &both, &stores).len(), 1);
        // Encrypted with the null key: its content cannot be told.
        let encrypted = Wanted::load("c.key", found_path(&stores).as_str(), true);
        let encrypted = &find(encrypted)[0];
        assert!(encrypted.certificate.is_none() && encrypted.is_sealed);
        let long = stores.plain[1].join("long");
        fs::write(&long, vec![b'x'; 1024 * 1024]).unwrap();
        for encrypted in [true, false] {
            let long = Wanted::load("l", long.to_str().unwrap(), encrypted);
            assert!(!find(long)[0].is_sealed);
        }
    }

    #[test]
    fn where_a_credential_may_come_from_is_found_without_reading_it() {
        let root = tempfile::tempdir().unwrap();
        let store = root.path().join("store");
        fs::create_dir(&store).unwrap();
        fs::write(store.join("c.key"), "").unwrap();
        let stores = Stores {
            plain: vec![store.clone()],
            encrypted: vec![store.join("c.key")],
        };
        let kept = store.join("c.key").display().to_string();
        let import = |names: &str, renamed: &str| Wanted::Import {
            names: names.to_owned(),
            renamed: renamed.to_owned(),
        };
        let set = Wanted::Set {
            name: "k".to_owned(),
            bytes: Vec::new(),
            encrypted: false,
        };
        for (wanted, name, expected) in [
            (Wanted::load("k", "c.key", false), "k", true),
            (Wanted::load("k", &kept, false), "k", true),
            (Wanted::load("k", "c.key", false), "c.key", false),
            (Wanted::load("k", "none", false), "k", false),
            // Its store is no directory.
            (Wanted::load("k", "c.key", true), "k", false),
            (import("c.*", ""), "c.key", true),
            (import("d.*", ""), "c.key", false),
            (import("c.*", "d."), "d.key", true),
            (import("c.*", "d."), "c.key", false),
            (import("c.key", "k"), "k", true),
        ] {
            let found = source(&wanted, "a.service", name, &stores);
            let expected = expected.then(|| PathBuf::from(&kept));
            assert_eq!(found, expected, "{wanted:?} {name}");
        }
        let found = source(&set, "a.service", "k", &stores);
        assert_eq!(found, Some("/run/credentials/a.service/k".into()));
    }

    #[test]
    fn a_file_that_is_missing_is_named_with_its_line() {
        let root = tempfile::tempdir().unwrap();
        let unit_file = root.path().join("a.service");
        let drop_in = root.path().join("10 keys.conf");
        fs::write(&unit_file, "[Service]\nLoadCredential=a.key:a.key\n").unwrap();
        let gone = root.path().join("gone");
        let gone = gone.display();
        let text =
            format!("[Service]\n# Ours\nLoadCredential = a.key:{gone}\nLoadCredential=b:{gone}\n");
        fs::write(&drop_in, text).unwrap();
        let shown = format!(
            "FragmentPath={}\nDropInPaths=\"{}\"\n",
            unit_file.display(),
            drop_in.display()
        );
        let gone = gone.to_string();
        let mut unit = Unit::parse("a.service", &shown);
        unit.credentials = vec![
            Wanted::load("a.key", &gone, false),
            Wanted::load("a.key", "a.key", false),
            Wanted::load("b", &gone, false),
            Wanted::load("here", unit_file.to_str().unwrap(), false),
            // Its text counts where there is no file.
            Wanted::Set {
                name: "b".to_owned(),
                bytes: Vec::new(),
                encrypted: false,
            },
        ];
        let said: Vec<_> = missing(&unit, "a.service")
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            said,
            [format!(
                "{gone}: there is no such file, and LoadCredential=a.key of a.service ({}:3) takes \
                 it from there, so the service does not start; put the file there, or correct that \
                 line",
                drop_in.display()
            )]
        );
    }

    fn found_path(stores: &Stores) -> String {
        stores.plain[1].join("c.key").display().to_string()
    }
}
