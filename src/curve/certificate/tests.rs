use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::*;

const PUBLIC: &str = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7";
const SECRET: &str = "JTKVSB%%)wK0E.X)V>+}o?pNmC{O&4W4b!Ni{Lh6";

fn parsed(text: &str) -> Result<Certificate, String> {
    parse::certificate(Path::new("x.key"), text.as_bytes()).map_err(|error| error.to_string())
}

fn file(dir: &Path, text: &str, mode: u32) -> PathBuf {
    let path = dir.join("x.key_secret");
    let _ = fs::remove_file(&path);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    path
}

fn secret_text() -> String {
    format!("metadata\ncurve\n    public-key = \"{PUBLIC}\"\n    secret-key = \"{SECRET}\"\n")
}

#[test]
fn reads_every_form_of_a_value() {
    for line in [
        format!("    public-key = \"{PUBLIC}\""),
        format!("    public-key = '{PUBLIC}'  # ours"),
        format!("\tpublic-key={PUBLIC}\r"),
        format!("    public-key = {PUBLIC} # ours"),
    ] {
        let text = format!("# a note\n\nmetadata\n    name = web 1\ncurve # keys\n{line}\n");
        let certificate = parsed(&text).unwrap();
        assert_eq!(certificate.public.to_string(), PUBLIC, "{line}");
        assert!(certificate.secret.is_none());
        let metadata = [("name".to_owned(), "web 1".to_owned())];
        assert_eq!(certificate.metadata, metadata);
    }
}

#[test]
fn steps_over_what_it_does_not_know() {
    let text = format!(
        "root = 1\nother\n    public-key = \"x\"\ncurve\n    more = 2\n    \
         public-key = \"{PUBLIC}\"\nmetadata\n    deep\n        a = b\n# caf\u{e9}\n"
    );
    assert_eq!(parsed(&text).unwrap().public.to_string(), PUBLIC);
    let mut latin = text.into_bytes();
    latin.extend_from_slice(b"# caf\xE9\n");
    assert!(parse::certificate(Path::new("x"), &latin).is_ok());
}

#[test]
fn says_what_is_wrong_and_where() {
    let key = format!("curve\n    public-key = \"{PUBLIC}\"\n");
    let cases = [
        (
            "",
            "x.key: expected `public-key = \"<40 Z85 characters>\"` in a section `curve`",
        ),
        (
            "metadata\n    public-key = \"x\"\n",
            "x.key: expected `public-key = \"<40 Z85 characters>\"` in a section `curve`",
        ),
        (
            "curve\n    public-key = \"abc\"\n",
            "x.key:2: public-key: expected 40 Z85 characters, found 3",
        ),
        (
            "curve\n\n    public-key = \"abc\n",
            "x.key:3: expected a closing \"",
        ),
        (
            "curve\n    public-key = 'a' b\n",
            "x.key:2: expected nothing after the value but a comment",
        ),
        (
            "-----BEGIN CERTIFICATE-----\n",
            "x.key:1: expected `name = value`, a section's name or a comment",
        ),
        (
            &format!("{key}    secret-key = \"{}~\"\n", "0".repeat(39)),
            "x.key:3: secret-key: expected 40 Z85 characters, found '~' at position 40",
        ),
        (&format!("{key}{key}"), "x.key:4: public-key is given twice"),
    ];
    for (text, expected) in cases {
        assert_eq!(parsed(text).unwrap_err(), expected, "{text:?}");
    }
    let error = parse::certificate(Path::new("x.key"), b"curve\n  \xFF = 1\n").unwrap_err();
    assert_eq!(error.to_string(), "x.key:2: expected UTF-8 text");
}

#[test]
fn refuses_a_secret_that_others_can_read() {
    let dir = tempfile::tempdir().unwrap();
    for mode in [0o400, 0o600] {
        let path = file(dir.path(), &secret_text(), mode);
        for trust in [Trust::OwnFile, Trust::Credential] {
            let secret = Certificate::read(&path, trust).unwrap().secret.unwrap();
            assert_eq!(secret.to_z85(), SECRET.as_bytes());
        }
    }
    for mode in [0o640, 0o604, 0o644, 0o620, 0o601] {
        let path = file(dir.path(), &secret_text(), mode);
        let error = Certificate::read(&path, Trust::OwnFile).unwrap_err();
        assert!(matches!(error, CertificateError::Exposed { mode: m, .. } if m == mode));
        let path = path.display();
        assert!(error.to_string().starts_with(&format!(
            "{path}: mode {mode:04o} lets others at the secret key; run `chmod 600 {path}`"
        )));
    }
    // As systemd 257 has it, and what even there is too much.
    let path = file(dir.path(), &secret_text(), 0o440);
    assert!(Certificate::read(&path, Trust::Credential).is_ok());
    for mode in [0o444, 0o460] {
        let path = file(dir.path(), &secret_text(), mode);
        assert!(Certificate::read(&path, Trust::Credential).is_err());
    }
    // The public key is no secret.
    let path = file(dir.path(), &secret_text(), 0o644);
    assert_eq!(Certificate::read_public(&path).unwrap().to_string(), PUBLIC);
    let public = format!("curve\n    public-key = \"{PUBLIC}\"\n");
    let path = file(dir.path(), &public, 0o644);
    assert!(Certificate::read(&path, Trust::OwnFile).is_ok());
}

#[test]
fn refuses_what_is_no_certificate_file() {
    let dir = tempfile::tempdir().unwrap();
    let error = Certificate::read(&dir.path().join("none"), Trust::OwnFile).unwrap_err();
    assert!(matches!(&error, CertificateError::Io { source, .. }
        if source.kind() == io::ErrorKind::NotFound));
    let error = Certificate::read(dir.path(), Trust::OwnFile).unwrap_err();
    assert!(matches!(error, CertificateError::NotAFile { .. }));

    let pipe = dir.path().join("pipe");
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    let error = Certificate::read_public(&pipe).unwrap_err();
    assert!(matches!(error, CertificateError::NotAFile { .. }));

    let limit = usize::try_from(MAX_CERTIFICATE_BYTES).unwrap();
    let mut text = secret_text() + "#";
    text += &"x".repeat(limit - text.len());
    assert!(Certificate::read(&file(dir.path(), &text, 0o600), Trust::OwnFile).is_ok());
    text.push('x');
    let error = Certificate::read(&file(dir.path(), &text, 0o600), Trust::OwnFile).unwrap_err();
    assert!(matches!(error, CertificateError::TooLarge { .. }));
}

#[test]
fn writes_a_pair_once() {
    let dir = tempfile::tempdir().unwrap();
    let keys = dir.path().join("a/curve");
    let pair = Certificate::write_pair(&keys, "agent").unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&keys), 0o700);
    let (public, secret) = (keys.join("agent.key"), keys.join("agent.key_secret"));
    assert_eq!((mode(&public), mode(&secret)), (0o644, 0o600));

    let read = Certificate::read(&secret, Trust::OwnFile).unwrap();
    assert_eq!(read.public, pair.public);
    assert_eq!(read.secret.unwrap().to_z85(), pair.secret.to_z85());
    let read = Certificate::read(&public, Trust::OwnFile).unwrap();
    assert_eq!(read.public, pair.public);
    assert!(read.secret.is_none());

    // Neither file is replaced, and neither is made without the other.
    let before = fs::read(&secret).unwrap();
    let error = Certificate::write_pair(&keys, "agent").unwrap_err();
    assert!(matches!(error, CertificateError::Exists { path } if path == secret));
    assert_eq!(fs::read(&secret).unwrap(), before);
    fs::remove_file(&secret).unwrap();
    let error = Certificate::write_pair(&keys, "agent").unwrap_err();
    assert!(matches!(error, CertificateError::Exists { path } if path == public));
    let left: Vec<_> = fs::read_dir(&keys)
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    assert_eq!(left, [public]);
}

#[test]
fn refuses_names_that_lead_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["", "../x", "a/b", ".x"] {
        let error = Certificate::write_pair(dir.path(), name).unwrap_err();
        assert!(matches!(error, CertificateError::Name { .. }), "{name}");
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

/// pyzmq's `zmq.auth` reads what we write, and we read what it writes.
#[test]
fn agrees_with_pyzmq() {
    let dir = tempfile::tempdir().unwrap();
    let python = |script: &str| {
        let out = Command::new("/usr/bin/python3")
            .args(["-c", script])
            .arg(dir.path())
            .output()
            .unwrap();
        assert!(out.status.success(), "{out:?}");
        String::from_utf8(out.stdout).unwrap()
    };
    let pair = Certificate::write_pair(dir.path(), "ours").unwrap();
    let read = python(
        "import sys, zmq.auth\n\
         for end in ('key', 'key_secret'):\n    \
             print(*zmq.auth.load_certificate(f'{sys.argv[1]}/ours.{end}'))",
    );
    let public = pair.public.to_string();
    let secret = String::from_utf8(pair.secret.to_z85().to_vec()).unwrap();
    assert_eq!(read, format!("b'{public}' None\nb'{public}' b'{secret}'\n"));

    let made = python(
        "import sys, zmq.auth\n\
         zmq.auth.create_certificates(sys.argv[1], 'theirs', {'name': 'web 1'})\n\
         print(*(key.decode() for key in \
             zmq.auth.load_certificate(f'{sys.argv[1]}/theirs.key_secret')))",
    );
    let path = dir.path().join("theirs.key_secret");
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    let theirs = Certificate::read(&path, Trust::OwnFile).unwrap();
    let secret = String::from_utf8(theirs.secret.unwrap().to_z85().to_vec()).unwrap();
    assert_eq!(made, format!("{} {secret}\n", theirs.public));
    assert_eq!(theirs.metadata, [("name".to_owned(), "web 1".to_owned())]);
    let public = Certificate::read_public(&dir.path().join("theirs.key")).unwrap();
    assert_eq!(public, theirs.public);
}
