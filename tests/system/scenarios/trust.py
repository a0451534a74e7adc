# SPDX-License-Identifier: Apache-2.0
"""What root is told, and what root does, where the services' users have a say."""

from machine import AGENT, AS_NOBODY, COLLECTOR, COLLECTOR_KEY, CONFIGURATION, RPM_SUITE

# On an RPM system, too.
SUITES = ["bookworm", "trixie", RPM_SUITE]

COLLECTOR_SETTINGS = "/etc/metrics-collector/metrics-collector.toml"
STATE = "/var/lib/metrics-collector"
AS_COLLECTOR = [
    "setpriv", "--reuid=metrics-collector", "--regid=metrics-collector", "--init-groups",
]  # fmt: skip

# EX_CONFIG, sysexits(3).
EX_CONFIG = "78"


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
    asked = m.execute("metrics-collector", "--public-key")
    m.expect("key in force", asked.stdout.strip(), key)
    m.expect_match("said", asked.stderr, "in force until the restart")
    m.expect_true("the new key is named", other.strip() in asked.stderr)
    m.run("systemctl", "restart", COLLECTOR)
    asked = m.execute("metrics-collector", "--public-key")
    m.expect("key after", (asked.stdout, asked.stderr), (other, ""))
    # Root reads what is there where nobody answers.
    m.run("systemctl", "stop", COLLECTOR)
    m.expect("key of the file", m.run("metrics-collector", "--public-key"), other)


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
    m.expect("/etc/shadow", m.run("stat", "-c", "%a %U %Y", "/etc/shadow"), shadow)
    # A daemon that root starts by hand there is the user's.
    m.run(*AS_COLLECTOR, "sh", "-c", f"cd {STATE} && rm -f collector.key_secret keys.json")
    started = m.execute(
        "timeout", "5", "metrics-collector", "--listen", "127.0.0.1:0", "--bus", "none"
    )
    m.expect_match("said", started.stderr, f"Started as root, .* who controls {STATE}")
    owners = m.run("sh", "-c", f"stat -c %U {STATE}/* | sort -u").strip()
    m.expect("owners of the state", owners, "metrics-collector")
