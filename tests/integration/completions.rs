//! The completions of names in real shells, on a terminal, with the real programs behind them.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use metrics_agent::curve::certificate::Certificate;

use crate::manual::completions;
use crate::private_bus::PrivateBus;
use crate::support::collector::{Collector, program};
use crate::support::place::Place;
use crate::support::tmux::Tmux;

/// Each shell: its program, how it is started and loads the completions of `@dir@`.
const SHELLS: [(&str, &str, &str); 3] = [
    (
        "bash",
        "bash --norc --noprofile -i",
        "PS1='> '; for f in @dir@/bash/*; do . $f; done; clear",
    ),
    (
        "zsh",
        "zsh -f -i",
        "PS1='> '; fpath=(@dir@/zsh $fpath); autoload -Uz compinit; compinit -u -D; clear",
    ),
    (
        "fish",
        "fish --no-config --interactive",
        "set -g fish_autosuggestion_enabled 0; function fish_prompt; echo '> '; end; for f in @dir@/fish/*; source $f; end; clear",
    ),
];

/// Public keys, one of them with characters that shells know.
const PINNED: &str = "kEyOfWeb1kEyOfWeb1kEyOfWeb1kEyOfWeb1kEyO";
const ODD: &str = "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID";

/// A shell on a terminal with all completions loaded; None where it is not installed.
async fn shell(
    (name, start, load): (&str, &str, &str),
    directory: &Path,
    variables: &[(&str, &str)],
) -> Option<Tmux> {
    if Command::new(name).arg("--version").output().is_err() {
        // A test that is left out says so.
        let _ = writeln!(std::io::stderr(), "skipped: there is no {name}");
        return None;
    }
    for completion in completions::completions().unwrap() {
        let path = directory.join(&completion.path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &completion.script).unwrap();
    }
    let tmux = Tmux::run(150, 30, variables, start);
    let load = load.replace("@dir@", directory.to_str().unwrap());
    tmux.types(&["-l", &load]);
    tmux.types(&["Enter"]);
    tmux.until("an empty prompt", |screen| screen.trim() == ">")
        .await;
    Some(tmux)
}

/// The line, as soon as it is `expected` once TAB was pressed behind what was typed.
async fn completes(tmux: &Tmux, typed: &str, expected: &str) {
    tmux.types(&["-l", typed]);
    tmux.until("what was typed", |screen| screen.contains(typed))
        .await;
    tmux.types(&["Tab"]);
    let what = format!("{expected:?} after {typed:?}");
    tmux.until(&what, |screen| {
        screen
            .lines()
            .any(|line| line.trim_start_matches("> ").trim_end() == expected)
    })
    .await;
    tmux.types(&["C-u"]);
    tmux.types(&["C-l"]);
    tmux.until("an empty prompt", |screen| screen.trim() == ">")
        .await;
}

/// The line stays as it was typed; what is typed behind TAB comes to the shell after that.
async fn does_not_complete(tmux: &Tmux, typed: &str) {
    tmux.types(&["-l", typed]);
    tmux.until("what was typed", |screen| screen.contains(typed))
        .await;
    tmux.types(&["Tab"]);
    tmux.types(&["-l", "!"]);
    let screen = tmux
        .until("what was typed last", |screen| {
            screen.lines().any(|line| line.trim_end().ends_with('!'))
        })
        .await;
    let line = screen.lines().find(|line| line.contains(typed)).unwrap();
    let rest = line.split_once(typed).unwrap().1;
    // bash puts a blank behind what it takes for complete.
    assert_eq!(rest.trim(), "!", "{screen}");
    tmux.types(&["C-u"]);
    tmux.types(&["C-l"]);
    tmux.until("an empty prompt", |screen| screen.trim() == ">")
        .await;
}

fn path_of(program: &str) -> String {
    let directory = Path::new(program).parent().unwrap();
    format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", directory.display())
}

/// Lists keys and pins names, as an administrator and a running collector would.
fn list_and_pin(home: &Path) {
    for (list, name) in [
        ("authorized_agents", "web1"),
        ("authorized_agents", "db 1"),
        ("authorized_viewers", "laptop"),
    ] {
        let directory = home.join(".curve").join(list);
        Certificate::write_pair(&directory, name).unwrap();
    }
    let pins = home.join(".curve/pins");
    fs::write(
        &pins,
        format!("metrics-collector pins 1\n{PINNED} 2026-01-31T12:00:05Z web1.example.org\n{ODD} 2026-01-31T12:00:05Z x;touch y\nend 2\n"),
    )
    .unwrap();
}

#[tokio::test]
async fn names_of_keys_and_hosts_are_completed() {
    let home = tempfile::tempdir().unwrap();
    list_and_pin(home.path());
    let names = |words: &[&str]| {
        let output = program(home.path())
            .arg("complete-names")
            .args(words)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(names(&["revoke"]), "db 1\nweb1\n");
    assert_eq!(names(&["revoke", "--viewer"]), "laptop\n");
    assert_eq!(
        names(&["pins", "--", "-x"]),
        "web1.example.org\nx;touch y\n"
    );
    assert_eq!(names(&["allow"]), "");
    assert_eq!(names(&["pinned-keys"]), format!("{ODD}\n{PINNED}\n"));
    let path = path_of(env!("CARGO_BIN_EXE_metrics-collector"));
    let variables = [("HOME", home.path().to_str().unwrap()), ("PATH", &*path)];
    for one in SHELLS {
        let directory = tempfile::tempdir().unwrap();
        let Some(tmux) = shell(one, directory.path(), &variables).await else {
            continue;
        };
        for (typed, expected) in [
            (
                "metrics-collector keys revoke w",
                "metrics-collector keys revoke web1",
            ),
            (
                "metrics-collector keys revoke 'db 1",
                "metrics-collector keys revoke 'db 1'",
            ),
            (
                "metrics-collector keys revoke d",
                "metrics-collector keys revoke db\\ 1",
            ),
            (
                "metrics-collector keys revoke --viewer l",
                "metrics-collector keys revoke --viewer laptop",
            ),
            (
                "metrics-collector keys forget w",
                "metrics-collector keys forget web1.example.org",
            ),
            (
                "metrics-collector --authorized d",
                "metrics-collector --authorized directory",
            ),
            (
                "metrics-collector --log-level wa",
                "metrics-collector --log-level warn",
            ),
            (
                "metrics-collector --log-level em",
                "metrics-collector --log-level emerg",
            ),
            (
                "metrics-collector --bus se",
                "metrics-collector --bus session",
            ),
            (
                "metrics-collector keys forget --key kE",
                &format!("metrics-collector keys forget --key {PINNED}"),
            ),
            // What a name holds is not carried out.
            (
                "metrics-collector keys forget x",
                "metrics-collector keys forget x\\;touch\\ y",
            ),
        ] {
            completes(&tmux, typed, expected).await;
        }
        if one.0 == "bash" {
            let quoted = r"Yne@\$w-vo\<fVvi\]a\<NY6T1ed:M\$fCG\*\[IaLV\{hID";
            let expected = format!("metrics-collector keys forget --key {quoted}");
            for typed in ["Yn", r"Yne@\$w-vo\<fVvi\]a\<NY6T1ed:M"] {
                let typed = format!("metrics-collector keys forget --key {typed}");
                completes(&tmux, &typed, &expected).await;
            }
        }
        // What stands on the line already is not offered again.
        for again in ["revoke web1 w", "revoke 'db 1' d"] {
            does_not_complete(&tmux, &format!("metrics-collector keys {again}")).await;
        }
        // What is no file's place is not completed with files.
        let file = home.path().join(".cur");
        for option in ["keys allow --name", "--listen"] {
            let typed = format!("metrics-collector {option} {}", file.display());
            does_not_complete(&tmux, &typed).await;
        }
    }
}

/// A unit whose name shells do not take as it is.
const UNITS: &str = r#"mount -t tmpfs none /sys/fs/cgroup
cd /sys/fs/cgroup
echo cpu memory > cgroup.controllers
for unit in nginx.service user@1000.service foo:bar.service 'dev-disk\x2d1.service'; do
    mkdir -p "system.slice/$unit"
    echo 4096 > "system.slice/$unit/memory.current"
    printf 'usage_usec 3\nuser_usec 2\nsystem_usec 1\n' > "system.slice/$unit/cpu.stat"
done"#;

#[tokio::test]
async fn names_of_connections_and_metrics_are_completed() {
    let place = Place::new();
    place.configure(
        "[metrics]\nsources = [\"load\", \"network\", \"units\", \"inventory\"]\n\
         [metrics.network]\ninclude = [\"lo\"]\nexclude = []\n\
         [collector.backup]\nendpoint = \"127.0.0.1:1\"\npublic_key = \"Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID\"\n",
    );
    let _agent = place.start_on_another_host(UNITS).await;
    let path = path_of(env!("CARGO_BIN_EXE_metrics-agentctl"));
    let address = place.bus.address();
    // Shells keep things there.
    let home = tempfile::tempdir().unwrap();
    let variables = [("HOME", home.path().to_str().unwrap()), ("PATH", &*path)];
    for one in SHELLS {
        let directory = tempfile::tempdir().unwrap();
        let Some(tmux) = shell(one, directory.path(), &variables).await else {
            continue;
        };
        let ctl = format!("metrics-agentctl --bus {address}");
        let all = [
            ("reconnect b", "reconnect backup"),
            ("disable net", "disable network"),
            ("disable load net", "disable load network"),
            ("enable mem", "enable meminfo"),
            ("log-level em", "log-level emerg"),
            ("metrics load.15", "metrics load.15m"),
            (
                "metrics --model host.os.v",
                "metrics --model host.os.version",
            ),
            // The instance, behind its bracket, and where there is one metric at once.
            ("metrics net.rx.bytes", r"metrics net.rx.bytes.total\[lo\]"),
            (
                r"metrics net.rx.bytes.total\[l",
                r"metrics net.rx.bytes.total\[lo\]",
            ),
            ("metrics 'net.rx.bytes", "metrics 'net.rx.bytes.total[lo]'"),
            (
                "metrics 'unit.memory[n",
                "metrics 'unit.memory[nginx.service]'",
            ),
            (
                "metrics 'unit.memory[user@",
                "metrics 'unit.memory[user@1000.service]'",
            ),
            (
                "metrics 'unit.memory[foo:",
                "metrics 'unit.memory[foo:bar.service]'",
            ),
            (
                r"metrics unit.memory\[user@",
                r"metrics unit.memory\[user@1000.service\]",
            ),
            (
                r"metrics unit.memory\[foo:",
                r"metrics unit.memory\[foo:bar.service\]",
            ),
            (
                "metrics load 'unit.memory[n",
                "metrics load 'unit.memory[nginx.service]'",
            ),
            // A pattern in front of the bracket stays.
            ("metrics 'unit.*[ng", "metrics 'unit.*[nginx.service]'"),
        ];
        for (typed, expected) in all {
            let (typed, expected) = (format!("{ctl} {typed}"), format!("{ctl} {expected}"));
            completes(&tmux, &typed, &expected).await;
        }
        // What more than one begins with.
        let open = format!("{ctl} metrics 'unit.memo");
        completes(&tmux, &open, &format!("{ctl} metrics 'unit.memory[")).await;
        if one.0 == "bash" {
            for (typed, expected) in [
                (
                    "metrics \"unit.memory[dev",
                    r#"metrics "unit.memory[dev-disk\\x2d1.service]""#,
                ),
                (
                    "metrics unit.memory'[n",
                    "metrics unit.memory'[nginx.service]'",
                ),
                (
                    "metrics unit.memory[n",
                    r"metrics unit.memory\[nginx.service\]",
                ),
                ("log-level --json=pr", "log-level --json=pretty"),
            ] {
                let (typed, expected) = (format!("{ctl} {typed}"), format!("{ctl} {expected}"));
                completes(&tmux, &typed, &expected).await;
            }
        }
    }
}

#[tokio::test]
async fn hosts_and_collectors_are_completed() {
    let bus = PrivateBus::start();
    let home = tempfile::tempdir().unwrap();
    let mut command = program(home.path());
    command.args(["--listen", "127.0.0.1:0", "--bus", &bus.address()]);
    let mut collector = Collector::run(command).await;
    let mut agent = collector.peer("AGENT").await;
    for host in ["web1.example.org", "db1.example.org", "x;touch y"] {
        agent.report(host, "{}", "metrics").await;
        collector.logged("reports").await;
    }
    let known = home.path().join(".local/state/metrics-top");
    fs::create_dir_all(&known).unwrap();
    fs::write(
        known.join("known_collectors"),
        format!("c1.example.org:5557 {PINNED}\nd2:6000 {ODD}\n[2001:db8::1]:5557 {ODD}\n"),
    )
    .unwrap();
    let path = path_of(env!("CARGO_BIN_EXE_metrics-collector"));
    let address = bus.address();
    let variables = [
        ("HOME", home.path().to_str().unwrap()),
        ("PATH", &*path),
        ("DBUS_SYSTEM_BUS_ADDRESS", &*address),
    ];
    for one in SHELLS {
        let directory = tempfile::tempdir().unwrap();
        let Some(tmux) = shell(one, directory.path(), &variables).await else {
            continue;
        };
        let named = format!("metrics-collector hosts --bus {address}");
        for (typed, expected) in [
            (
                "metrics-collector hosts w",
                "metrics-collector hosts web1.example.org",
            ),
            (
                "metrics-collector hosts 'w",
                "metrics-collector hosts 'web1.example.org'",
            ),
            (
                "metrics-collector hosts x",
                r"metrics-collector hosts x\;touch\ y",
            ),
            (
                "metrics-collector hosts --json web1.example.org d",
                "metrics-collector hosts --json web1.example.org db1.example.org",
            ),
            (
                "metrics-collector hosts web1.example.org --go",
                "metrics-collector hosts web1.example.org --gone",
            ),
            (
                "metrics-collector hosts fo",
                "metrics-collector hosts forget",
            ),
            (&format!("{named} w"), &format!("{named} web1.example.org")),
            (
                "metrics-collector --web-listen no",
                "metrics-collector --web-listen none",
            ),
            ("metrics-top --once c", "metrics-top --once c1.example.org"),
            ("metrics-top d", "metrics-top d2:6000"),
            ("metrics-top '[2", "metrics-top '[2001:db8::1]'"),
            ("metrics-top --sort mem", "metrics-top --sort memory"),
        ] {
            completes(&tmux, typed, expected).await;
        }
        does_not_complete(&tmux, "metrics-collector hosts web1.example.org w").await;
        // None of them is gone.
        does_not_complete(&tmux, "metrics-collector hosts --gone w").await;
        does_not_complete(&tmux, "metrics-collector hosts forget w").await;
    }
}
