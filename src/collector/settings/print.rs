//! `--print-config`: every effective value with where it comes from, as TOML that can be
//! read again. Of secrets it shows the files alone, and headers without their values.

use super::fragment::COLLECTOR;
use super::load::{DEFAULT_PUSH_TIMEOUT, Loaded};
use crate::base::text;
use crate::collector::keys::Found;
use crate::config::format_time;
use crate::config::print::{Shown, as_toml, document, origin, quoted};
use crate::config::table::Setting;
use crate::curve::router::Listen;

/// The settings in force, as TOML; behind each value, where it comes from.
#[must_use]
pub fn effective(loaded: &Loaded) -> String {
    document(&COLLECTOR, &loaded.layers, |setting, path| {
        show(loaded, setting, path)
    })
}

fn show(loaded: &Loaded, setting: &Setting, path: &[&str]) -> Shown {
    let settings = &loaded.settings;
    let from = origin(&loaded.layers, path);
    let time = |time| Some(quoted(format_time(time)));
    let listen = |listen: Option<Listen>| match listen {
        Some(listen) => Some(quoted(listen)),
        None => Some(quoted("none")),
    };
    let value = match setting.key {
        "listen.agents" => listen(Some(settings.listen.agents)),
        "listen.viewers" => listen(settings.listen.viewers),
        "listen.web" => listen(settings.listen.web),
        "curve.secret_key_file" => match &loaded.keys {
            Found::Keys(keys) => Some(quoted(keys.path.display())),
            Found::Unclear(path) => Some(quoted(path.display())),
            Found::Nowhere { .. } => {
                let file = text::path(&loaded.keys.path());
                let why = format!("a key pair will be made and kept in {file}");
                return Shown::Unset { why };
            }
        },
        "hosts.ping_interval" => time(settings.timing.ping_interval),
        "hosts.timeout" => time(settings.timing.host_timeout),
        "hosts.forget_after" => time(settings.timing.forget_after),
        "remote_write.NAME.timeout" => {
            let target = path
                .get(1)
                .and_then(|name| settings.remote_write.get(*name));
            time(target.map_or(DEFAULT_PUSH_TIMEOUT, |target| target.timeout))
        }
        "remote_write.NAME.acknowledge" => {
            let target = path
                .get(1)
                .and_then(|name| settings.remote_write.get(*name));
            Some(target.is_none_or(|target| target.acknowledge).to_string())
        }
        "remote_write.NAME.headers.HEADER" => return Shown::Hidden { from },
        // Tokens are put into queries.
        "remote_write.NAME.url" => {
            let target = path
                .get(1)
                .and_then(|name| settings.remote_write.get(*name));
            let url = target.map(|target| target.url.as_str());
            if url.is_some_and(|url| url.contains('?')) {
                return Shown::Hidden { from };
            }
            url.map(quoted)
        }
        "log.level" => Some(quoted(settings.log_level)),
        // As it was written.
        _ => loaded.layers.value(path).and_then(as_toml),
    };
    match value {
        Some(value) => Shown::Value { value, from },
        None => Shown::Unset {
            why: setting.otherwise.to_owned(),
        },
    }
}
