# SPDX-License-Identifier: Apache-2.0
"""What root is told, and what root does, where the services' users have a say."""

from machine import (
    AGENT,
    AS_NOBODY,
    COLLECTOR,
    COLLECTOR_KEY,
    CONFIGURATION,
    IMPORT_SINCE_SYSTEMD,
    RPM_SUITE,
    key_pair,
    public_certificate,
    systemd_version,
)

# On an RPM system, too.
SUITES = ["bookworm", "trixie", RPM_SUITE]

COLLECTOR_SETTINGS = "/etc/metrics-collector/metrics-collector.toml"
STATE = "/var/lib/metrics-collector"
AS_COLLECTOR = [
    "setpriv", "--reuid=metrics-collector", "--regid=metrics-collector", "--init-groups",
]  # fmt: skip

# The drop-in that a scenario adds.
DROP_INS = "/run/systemd/system/{}.d/50-test.conf"

# sysexits(3).
EX_CONFIG = "78"
EX_UNAVAILABLE = "69"


def checking_the_agent_as_root_sees_what_the_service_sees(m):
    """What root can read and the service can't is refused by the check, as by the start."""
    m.run("metrics-agentctl", "keygen", "--name", "agent", "/etc/metrics-agent/curve")
    _expect_agent_refused(m, "", "agent.key_secret: cannot open it: Permission denied")
    m.run("chown", "metrics-agent:", "/etc/metrics-agent/curve/agent.key_secret")
    # Only the directory is root's alone now.
    _expect_agent_refused(m, "", "agent.key_secret: cannot open it: Permission denied")
    m.run("chown", "metrics-agent:", "/etc/metrics-agent/curve")
    _expect_agent_accepted(m, "")

    for directory, said in (
        ("/root", "Permission denied|ProtectHome= of metrics-agent.service hides /root"),
        ("/tmp", "PrivateTmp= of metrics-agent.service hides /tmp"),
        ("/var/tmp", "PrivateTmp= of metrics-agent.service hides /var/tmp"),
    ):
        m.run("cp", "/etc/metrics-agent/curve/agent.key", f"{directory}/collector.key")
        m.run("chmod", "0644", f"{directory}/collector.key")
        _expect_agent_refused(m, _reporting_to(f"{directory}/collector.key"), said)
    # What the agent's unit leaves in sight is no problem.
    m.run("cp", "/etc/metrics-agent/curve/agent.key", "/home/collector.key")
    _expect_agent_accepted(m, _reporting_to("/home/collector.key"))
    # The settings themselves, and a draft of them that only root can read.
    m.run("chmod", "0600", CONFIGURATION)
    _expect_agent_refused(m, None, f"{CONFIGURATION}: cannot be read: Permission denied")
    m.write("/root/draft.toml", _reporting_to("/home/collector.key"))
    m.run("metrics-agent", "--check-config", "--config", "/root/draft.toml")
    # A site that shows more is believed.
    m.run("chmod", "0644", CONFIGURATION)
    m.drop_in("[Service]\nPrivateTmp=no\n")
    _expect_agent_accepted(m, _reporting_to("/tmp/collector.key"))


def _reporting_to(key_file):
    return f'[collector.main]\nendpoint = "127.0.0.1"\npublic_key_file = "{key_file}"\n'


def _expect_agent_refused(m, settings, saying):
    """The check and the start give the same answer."""
    if settings is not None:
        m.write(CONFIGURATION, settings)
    error = m.expect_refused("check", "metrics-agent", "--check-config", saying=saying)
    m.expect_match("as whom", error, "as metrics-agent, the user of metrics-agent.service")
    m.expect_refused("start", "systemctl", "start", AGENT)
    m.expect("exit status", m.unit("ExecMainStatus"), EX_CONFIG)
    m.run("systemctl", "reset-failed", AGENT)


def _expect_agent_accepted(m, settings):
    m.write(CONFIGURATION, settings)
    checked = m.run("metrics-agent", "--check-config")
    m.expect("check", checked, "The configuration is valid.\n")
    m.run("systemctl", "restart", AGENT)
    m.expect("active state", m.unit("ActiveState"), "active")
    m.run("systemctl", "stop", AGENT)


def checking_the_collector_as_root_sees_what_the_service_sees(m):
    """The same of its own key, and of a password of remote write."""
    m.run("metrics-agentctl", "keygen", "--name", "collector", "/etc/metrics-collector/curve")
    _expect_collector_refused(m, "", "collector.key_secret: cannot open it: Permission denied")
    # In a directory of root's there is nothing for the service: it makes a pair of its own.
    m.run("chmod", "0700", "/etc/metrics-collector/curve")
    m.expect_match(
        "warned",
        m.execute("metrics-collector", "--check-config").stderr,
        "cannot read /etc/metrics-collector/curve: a key there is not used",
    )
    m.run("chmod", "0750", "/etc/metrics-collector/curve")
    m.run("chown", "metrics-collector:", "/etc/metrics-collector/curve/collector.key_secret")
    _expect_collector_accepted(m, "")
    for file, said in (
        ("/etc/metrics-collector/password", "password: cannot be read: Permission denied"),
        ("/tmp/password", "PrivateTmp= of metrics-collector.service hides /tmp"),
        ("/home/password", "ProtectHome= of metrics-collector.service hides /home"),
    ):
        m.write(file, "secret\n", mode=0o600 if file.startswith("/etc") else 0o644)
        _expect_collector_refused(
            m,
            '[remote_write.main]\nurl = "http://127.0.0.1:9"\nusername = "a"\n'
            f'password_file = "{file}"\n',
            said,
        )


def _expect_collector_refused(m, settings, saying):
    m.write(COLLECTOR_SETTINGS, settings)
    error = m.expect_refused("check", "metrics-collector", "--check-config", saying=saying)
    m.expect_match(
        "as whom", error, "as metrics-collector, the user of metrics-collector.service"
    )
    m.expect_refused("start", "systemctl", "start", COLLECTOR)
    m.expect("exit status", m.unit("ExecMainStatus", COLLECTOR), EX_CONFIG)
    m.run("systemctl", "reset-failed", COLLECTOR)


def _expect_collector_accepted(m, settings):
    m.write(COLLECTOR_SETTINGS, settings)
    checked = m.run("metrics-collector", "--check-config")
    m.expect("check", checked, "The configuration is valid.\n")
    m.run("systemctl", "restart", COLLECTOR)
    m.expect("active state", m.unit("ActiveState", COLLECTOR), "active")
    m.run("systemctl", "stop", COLLECTOR)


def checking_the_agent_knows_what_the_unit_gives_it(m):
    """Variables and credentials of drop-ins, of every kind, before any start has used them."""
    public, certificate = key_pair(m)
    m.write("/root/site.key", public_certificate(public), mode=0o600)
    text = public_certificate(public).replace("\n", "\\n")
    m.write("/run/plain", public_certificate(public), mode=0o600)
    encrypt = ("systemd-creds", "encrypt", "--with-key=host", "--name=collector.key")
    m.run(*encrypt, "/run/plain", "/etc/site.cred")
    inline = m.run(*encrypt, "--pretty", "/run/plain", "-")
    m.write("/run/other", "no key", mode=0o600)
    m.run(*encrypt, "/run/other", "/etc/other.cred")

    unset = '[collector.main]\nendpoint = "127.0.0.1"\n'
    _expect_agent_refused(m, unset, "collector.key not found")
    # Given by the unit alone; nothing of it is left unchecked.
    ways = ["LoadCredential=collector.key:/root/site.key", f"SetCredential=collector.key:{text}"]
    ways += ["LoadCredentialEncrypted=collector.key:/etc/site.cred", inline]
    if systemd_version(m) >= IMPORT_SINCE_SYSTEMD:
        m.write("/etc/credstore/site.key", public_certificate(public), mode=0o600)
        ways.append("LoadCredential=\nLoadCredential=collector.key:site.key")
        m.run("install", "-D", "/root/site.key", "/run/credstore/collector.key")
        ways.append("LoadCredential=\nImportCredential=collector.*")
    for way in ways:
        m.drop_in(f"[Service]\n{way}\n")
        told = m.execute("metrics-agent", "--check-config").stderr
        m.expect(f"left unchecked with {way[:40]}", "not checked" in told, False)
        _expect_agent_accepted(m, unset)
    m.run("rm", "-f", "/run/credstore/collector.key", "/etc/credstore/site.key")
    m.drop_in("[Service]\nLoadCredentialEncrypted=collector.key:/etc/other.cred\n")
    _expect_agent_refused(m, unset, "/etc/other.cred:1: ")

    # Variables, of which the later ones count.
    inline_key = f'public_key = "{public}"\n'
    wrong = "METRICS_AGENT_INTERVALS__METRICS=soon"
    m.write("/root/wrong.env", f"# wrong\n{wrong}\n")
    m.write("/root/right.env", "METRICS_AGENT_INTERVALS__METRICS='7s'\n")
    saying = "METRICS_AGENT_INTERVALS__METRICS: "
    for way in ("EnvironmentFile=/root/wrong.env", f"Environment={wrong}"):
        m.drop_in(f"[Service]\n{way}\n")
        _expect_agent_refused(m, unset + inline_key, saying)
    m.drop_in("[Service]\nEnvironmentFile=/root/*.env\nEnvironmentFile=/root/right.env\n")
    _expect_agent_accepted(m, unset + inline_key)
    m.drop_in("[Service]\n")
    m.run("systemctl", "set-environment", wrong)
    _expect_agent_refused(m, unset + inline_key, saying)
    m.drop_in("[Service]\nUnsetEnvironment=METRICS_AGENT_INTERVALS__METRICS\n")
    _expect_agent_accepted(m, unset + inline_key)
    m.run("systemctl", "unset-environment", "METRICS_AGENT_INTERVALS__METRICS")
    drop_in = f"{DROP_INS.format(AGENT)}:2"
    for line, said in (
        ("EnvironmentFile=/root/none.env", "/root/none.env: EnvironmentFile= of "),
        ("LoadCredential=x:/root/none", "/root/none: there is no such file, .* LoadCredential=x"),
        ("LoadCredentialEncrypted=x:/root/none", "/root/none: there .* LoadCredentialEncrypted=x"),
        ("User=ghost", "User=ghost of .*the system knows no such user"),
        ("Group=ghosts", "Group=ghosts of .*the system knows no such group"),
        ("SupplementaryGroups=ghosts", "SupplementaryGroups=ghosts of .*no such group"),
    ):
        m.drop_in(f"[Service]\n{line}\n")
        error = m.expect_refused("check", "metrics-agent", "--check-config", saying=said)
        m.expect_true("where it stands", drop_in in error)
        m.expect_match("said", error, "the service does not start")
        m.expect_refused("start", "systemctl", "start", AGENT)
        m.run("systemctl", "reset-failed", AGENT)

    # A user that is there only while the unit runs.
    m.drop_in("[Service]\nDynamicUser=yes\n")
    _expect_agent_accepted(m, unset + inline_key)
    told = m.execute("metrics-agent", "--check-config").stderr
    m.expect("left unchecked", told, "")
    state = "/var/lib/private/metrics-agent"
    m.write(f"{state}/agent.key_secret", "no key", mode=0o600)
    _expect_agent_refused(m, None, "/var/lib/metrics-agent/agent.key_secret:1: ")


# Key pairs are made by pyzmq, which the RPM root lacks.
checking_the_agent_knows_what_the_unit_gives_it.suites = ["bookworm", "trixie"]


def checking_the_collector_knows_its_key_before_the_first_start(m):
    """Its own key, handed over as a credential: in the clear, encrypted, and a wrong one."""
    public, certificate = key_pair(m)
    m.write("/run/plain", certificate, mode=0o600)
    encrypt = ("systemd-creds", "encrypt", "--with-key=host", "--name=collector.key_secret")
    m.run(*encrypt, "/run/plain", "/etc/site.cred")
    m.write("/etc/credstore/wrong", "no key", mode=0o600)
    m.drop_in("[Service]\nLoadCredential=collector.key_secret:wrong\n", COLLECTOR)
    _expect_collector_refused(m, "", "/etc/credstore/wrong:1: ")
    m.write("/etc/credstore/right", certificate, mode=0o600)
    for way in (
        "LoadCredential=collector.key_secret:right",
        "LoadCredentialEncrypted=collector.key_secret:/etc/site.cred",
    ):
        m.drop_in(f"[Service]\n{way}\n", COLLECTOR)
        m.expect("key", m.run("metrics-collector", "--public-key").strip(), public)
        _expect_collector_accepted(m, "")
        made = m.execute("sh", "-c", f"ls {STATE}/*.key_secret").stdout
        m.expect("keys that were made", made, "")


def a_user_whom_the_bus_refuses_the_name_is_refused_by_the_check(m):
    """A drop-in with another user: the bus's policy lets the service's own user own the name."""
    m.run("useradd", "--system", "ada")
    for unit, program, name, settings in (
        (AGENT, "metrics-agent", "org.metricsagent.Agent1", CONFIGURATION),
        (COLLECTOR, "metrics-collector", "org.metricsagent.Collector1", COLLECTOR_SETTINGS),
    ):
        # Its key is made, and is the own user's until the next start.
        m.run("systemctl", "start", unit)
        m.drop_in("[Service]\nUser=ada\n", unit)
        error = m.expect_refused(
            "check", program, "--check-config", saying=f"not let this user own the name {name}"
        )
        m.expect_true("where it stands", f"{DROP_INS.format(unit)}:2" in error)
        m.expect_true("nothing else is wrong", "Permission denied" not in error)
        m.expect_refused("start", "systemctl", "restart", unit)
        m.expect("exit status", m.unit("ExecMainStatus", unit), EX_UNAVAILABLE)
        m.run("systemctl", "stop", unit)
        # The way out that is said: without a bus, or with a policy.
        m.write(settings, '[dbus]\nbus = "none"\n')
        m.expect("check", m.run(program, "--check-config"), "The configuration is valid.\n")
        m.write(settings, "")
        policy = error[error.index("<busconfig>") : error.index("</busconfig>")] + "</busconfig>"
        m.write(f"/etc/dbus-1/system.d/{program}.conf", policy)
        m.run("systemctl", "reload", "dbus")
        m.expect("check", m.run(program, "--check-config"), "The configuration is valid.\n")
        m.run("systemctl", "start", unit)
        m.expect("active state", m.unit("ActiveState", unit), "active")
        # And back.
        m.drop_in("[Service]\n", unit)
        m.expect("check", m.run(program, "--check-config"), "The configuration is valid.\n")
        m.run("systemctl", "restart", unit)
        m.expect("active state", m.unit("ActiveState", unit), "active")


checking_the_collector_knows_its_key_before_the_first_start.suites = ["bookworm", "trixie"]


def asking_for_the_public_key_makes_none(m):
    """Before the first start there is none; then it is the running service's, for everybody."""
    # Only root may look whether there is one.
    for who, saying in ([], "no key pair yet"), (AS_NOBODY, "ask as root"):
        m.expect_refused("key", *who, "metrics-collector", "--public-key", saying=saying)
    made = m.execute("sh", "-c", f"ls {STATE}/*.key* /root/.curve")
    m.expect("keys that were made", made.stdout, "")
    key = m.start_collector()
    for who in ([], AS_NOBODY):
        m.expect("key", m.run(*who, "metrics-collector", "--public-key").strip(), key)
    m.expect("mode", m.run("stat", "-c", "%a %U", COLLECTOR_KEY).strip(), "644 metrics-collector")

    # Another key in the settings counts from the next start on.
    m.run("metrics-agentctl", "keygen", "--name", "other", "/etc/metrics-collector/curve")
    m.run("chown", "-R", "metrics-collector:", "/etc/metrics-collector/curve")
    file = "/etc/metrics-collector/curve/other.key"
    other = m.run("metrics-agentctl", "public-key", "--file", file)
    m.write(COLLECTOR_SETTINGS, '[curve]\nsecret_key_file = "other.key_secret"\n')
    m.run("chmod", "0750", "/etc/metrics-collector/curve")
    for who in ([], AS_NOBODY):
        asked = m.execute(*who, "metrics-collector", "--public-key")
        m.expect("key in force", asked.stdout.strip(), key)
        m.expect_match("said", asked.stderr, "in force until the restart")
        m.expect_true("the new key is named", other.strip() in asked.stderr)
    m.run("systemctl", "restart", COLLECTOR)
    asked = m.execute("metrics-collector", "--public-key")
    m.expect("key after", (asked.stdout, asked.stderr), (other, ""))
    # Root reads what is there if there is no answer.
    m.run("systemctl", "stop", COLLECTOR)
    m.expect("key of the file", m.run("metrics-collector", "--public-key"), other)


def keys_are_let_in_before_the_first_start(m):
    """What root says of keys is for the service, which has never run; others have no say in it."""
    public, _ = key_pair(m)
    m.expect_refused("state", "test", "-e", STATE)
    for door, option in ("agents", []), ("viewers", ["--viewer"]):
        let_in = m.execute(
            "metrics-collector", "keys", "allow", *option, "--name", "first", "--", public
        )
        file = f"/etc/metrics-collector/authorized_{door}/first.key"
        m.expect_match("written", let_in.stdout, f"Wrote {file}: ")
        said = "lets every agent in" in let_in.stderr
        m.expect("whether the list counts", said, door == "agents")
    m.expect_refused(
        "list of somebody else", *AS_NOBODY, "env", "HOME=/tmp", "metrics-collector", "keys",
        "revoke", "first", saying="(?i)permission denied",
    )  # fmt: skip
    own = m.execute(
        *AS_NOBODY, "env", "HOME=/tmp", "metrics-collector", "keys", "allow", "--name", "mine",
        "--viewer", "--", "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7",
    )  # fmt: skip
    m.expect_match("own list", own.stderr, "only a collector that you run by hand reads /tmp/")
    m.write(COLLECTOR_SETTINGS, '[agents]\nauthorized = "directory"\n')
    m.run("systemctl", "start", COLLECTOR)
    table = m.run("metrics-collector", "keys", "list", "--json")
    m.expect("names that are let in", table.count('"first"'), 2)
    for command in (["allow", "--reporting"], ["forget", "web1"], ["allow", "web1"]):
        m.expect_refused(
            " ".join(command), *AS_NOBODY, "env", "HOME=/nonexistent", "metrics-collector",
            "keys", *command, saying="only root and the service.s own user may see",
        )  # fmt: skip


keys_are_let_in_before_the_first_start.suites = ["bookworm", "trixie"]


def a_door_that_was_just_opened_is_open_to_the_check(m):
    """Who reports since a moment is counted among those whom the new settings would shut out."""
    door = "/etc/metrics-collector/metrics-collector.d/door.toml"
    closed = '[agents]\nauthorized = "directory"\n'
    m.start_reporting()
    m.write(door, closed)
    m.run("systemctl", "reload", COLLECTOR)
    m.eventually("shut out", lambda: m.agent("State") != "reporting", True)
    # The record is of the closed door.
    m.run("metrics-collector", "keys", "list")
    m.run("rm", door)
    m.run("systemctl", "reload", COLLECTOR)
    m.eventually("state", lambda: m.agent("State"), "reporting", within=90)
    m.write(door, closed)
    said = m.execute("metrics-collector", "--check-config")
    m.expect("status", said.returncode, 0)
    m.expect_match("check", said.stdout + said.stderr, "not in authorized_agents: .*web1")


def roots_commands_follow_no_link_of_the_services_user(m):
    """A service's user that was taken over puts links where root's commands work."""
    m.run("systemctl", "start", COLLECTOR)
    m.run("systemctl", "stop", COLLECTOR)
    shadow = m.run("stat", "-c", "%a %U %Y", "/etc/shadow")
    attacks = (
        "ln -sf /etc/shadow access.lock",
        "rm -f access.lock; mkfifo access.lock",
        "rm -f access.lock; ln -s /etc/shadow .pins.new",
        "ln -sf /etc/shadow pins",
        "rm -f pins; mkfifo pins",
        "rm -f pins; ln -sf /etc/shadow keys.json",
        "rm -rf requests; ln -s /etc requests",
        "rm -rf requests; ln -sf /etc/shadow collector.key_secret",
    )
    for attack in attacks:
        m.run(*AS_COLLECTOR, "sh", "-c", f"cd {STATE} && {attack}")
        for command in (["keys", "forget", "web1"], ["keys", "list"], ["--public-key"]):
            said = m.execute("timeout", "20", "metrics-collector", *command)
            m.expect_true(f"{attack}; {command}: it ends", said.returncode != 124)
            m.expect_true("no word of the file", "root:" not in said.stdout + said.stderr)
            m.expect_true("root is not sent to root", "as root" not in said.stderr)
    m.expect("/etc/shadow", m.run("stat", "-c", "%a %U %Y", "/etc/shadow"), shadow)
    # A daemon that root starts by hand there is the user's.
    m.run(*AS_COLLECTOR, "sh", "-c", f"cd {STATE} && rm -f collector.key_secret keys.json")
    started = m.execute(
        "timeout", "5", "metrics-collector", "--listen", "127.0.0.1:0", "--bus", "none"
    )
    m.expect_match("said", started.stderr, f"Started as root, .* who controls {STATE}")
    owners = m.run("sh", "-c", f"stat -c %U {STATE}/* | sort -u").strip()
    m.expect("owners of the state", owners, "metrics-collector")
