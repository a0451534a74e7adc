//! A host's directories in a temporary one, for the tests of this module.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::agent::settings::{Inputs, KeyPolicy, Loaded, Overrides, load};
use crate::config::ConfigError;
use crate::curve::certificate::Certificate;
use crate::curve::keys::PublicKey;

pub(super) const KEY: &str = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7";

pub(super) struct Host {
    dir: tempfile::TempDir,
    pub(super) inputs: Inputs,
}

impl Host {
    /// An empty one, with a state directory and neither home nor credentials.
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let inputs = Inputs {
            config_file: None,
            usr_dir: at("usr"),
            etc_dir: at("etc"),
            environment: std::collections::BTreeMap::new(),
            command_line: Overrides::default(),
            state_directory: Some(at("state")),
            credentials_directory: None,
            home: None,
            sight: crate::config::service::ServiceView::default(),
            known_sources: vec!["uptime", "meminfo", "cpu", "disk"],
            default_sources: vec!["uptime", "meminfo", "cpu"],
        };
        Self { dir, inputs }
    }

    pub(super) fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(super) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.at(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    /// The administrator's file.
    pub(super) fn etc(&self, text: &str) {
        self.write("etc/metrics-agent.toml", text);
    }

    pub(super) fn variable(&mut self, name: &str, value: &str) {
        self.inputs
            .environment
            .insert(format!("METRICS_AGENT_{name}").into(), value.into());
    }

    /// A pair of key files.
    pub(super) fn pair(&self, dir: &str, name: &str) -> PublicKey {
        Certificate::write_pair(&self.at(dir), name).unwrap().public
    }

    pub(super) fn load(&self) -> Result<Loaded, ConfigError> {
        load(&self.inputs, KeyPolicy::Create)
    }

    /// All problems, the host's own directory shown as `~`.
    pub(super) fn problems(&self) -> Vec<String> {
        let error = self.load().expect_err("nothing was wrong");
        error
            .problems()
            .map(|problem| self.shown(problem))
            .collect()
    }

    pub(super) fn shown(&self, text: &impl ToString) -> String {
        text.to_string()
            .replace(self.dir.path().to_str().unwrap(), "~")
    }
}

pub(super) fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}
