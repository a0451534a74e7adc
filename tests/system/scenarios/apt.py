# SPDX-License-Identifier: Apache-2.0
"""The Debian packages, installed by apt from a repository."""

import re

from arrivals import expect_one_missing_at_most
from machine import AGENT, BUS_NAME, COLLECTOR, CONFIGURATION, Failure, get_property, idle
from repository import (
    CARELESS,
    NEWER,
    NEWER_LINE,
    PACKAGES,
    TOO_NEW,
    apt,
    command,
    prepare,
    publish,
    version,
)

# Each scenario brings the packages in itself.
INSTALL = "nothing"
# It depends on the release's own programs: systemd, dpkg, what they confine.
EVERYWHERE = True

UNITS = [AGENT, COLLECTOR]
AGENT_KEY = "/var/lib/metrics-agent/agent.key_secret"
# All that the programs are linked to.
LIBRARIES = {"libc6", "libgcc-s1"}

# Whatever has a name of ours, except for what the test itself has in /srv.
OURS = ["find", "/", "-xdev", "(", "-path", "/proc", "-o", "-path", "/sys", "-o", "-path", "/srv"]
OURS += ["-o", "-path", "/run", ")", "-prune", "-o", "-regextype", "egrep"]
OURS += ["-regex", ".*/[^/]*(metrics-?agent|metrics-collector|metrics-top)[^/]*", "-print"]


def _install(m):
    prepare(m)
    publish(m)
    apt(m, "install", *PACKAGES)


def _enabled(m, unit):
    return m.execute("systemctl", "is-enabled", unit).stdout.strip()


def _activatable(m):
    return BUS_NAME in m.run("busctl", "list", "--no-pager", "--activatable", "--acquired")


def install_makes_ready(m):
    """Nothing but a Debian is needed; all is in place and known, and nothing runs unasked."""
    prepare(m)
    publish(m)
    apt(m, "install", *PACKAGES)
    for package in PACKAGES:
        needs = m.run("dpkg-query", "--show", "--showformat=${Depends}", package)
        needs = {need.split()[0] for need in needs.split(",")}
        m.expect(f"{package} needs", needs - {"passwd", "systemd"}, LIBRARIES)
    # The container has no documentation of any package.
    other = [
        line
        for line in m.run("dpkg", "--verify", *PACKAGES).splitlines()
        if not re.match(r"missing +/usr/share/(doc|man)/", line)
    ]
    m.expect("files that are not as packaged", other, [])

    for unit, package in zip(UNITS, PACKAGES):
        state = (m.unit("ActiveState", unit), _enabled(m, unit))
        m.expect(f"{unit} is", state, ("inactive", "disabled"))
        m.expect_match("user", m.run("getent", "passwd", package), ".*nologin")
    listed = m.run("journalctl", "--list-catalog")
    m.expect_match("catalog", listed, "(?m)^[0-9a-f]{32} metrics-agent: .*is ready$")
    m.expect_match("catalog", listed, "(?m)^[0-9a-f]{32} metrics-collector: .*$")
    m.expect_refused("a look at the name", *get_property("Version"))

    # On the bus, which has read its policy again now that the user exists.
    m.run("systemctl", "enable", "--now", AGENT)
    m.expect_steady(m.main_pid())
    m.expect("enabled", _enabled(m, AGENT), "enabled")
    m.expect("state", m.agent("State"), "unconfigured")
    m.expect_match("status", m.status_line(), "(?i)collector")


def refuses_a_build_of_a_later_release(m):
    """Too old a C library: apt names it and installs nothing, and an upgrade leaves what runs."""
    prepare(m)
    publish(m, TOO_NEW)
    here = m.run("dpkg-query", "--show", "--showformat=${Version}", "libc6")
    why = rf"metrics-agent : Depends: libc6 \(>= (2\.\d+)\) but {re.escape(here)} is to be .*"
    _expect_too_new(m, why, "install", "metrics-agent")
    m.expect("installed", version(m, "metrics-agent"), "")
    m.expect("ours", m.run(*OURS), "")

    publish(m)
    apt(m, "install", *PACKAGES)
    m.start_reporting()
    pid, own = m.main_pid(), version(m, "metrics-agent")
    publish(m, TOO_NEW)
    _expect_too_new(m, why, "install", "--only-upgrade", "metrics-agent")
    # An upgrade of everything gets the rest, and says so.
    said = apt(m, "upgrade")
    m.expect_match("apt upgrade", said, r"(?i)(kept|not upgrading)[^:]*:\s+metrics-agent")
    m.expect("version", version(m, "metrics-agent"), own)
    m.expect("dpkg finds amiss", m.run("dpkg", "--audit"), "")
    m.expect("state", m.agent("State"), "reporting")
    m.expect_steady(pid)


# trixie has that C library.
refuses_a_build_of_a_later_release.suites = ["bookworm"]


def _expect_too_new(m, why, *arguments):
    done = m.execute(*command(*arguments))
    m.expect(f"status of apt-get {' '.join(arguments)}", done.returncode, 100)
    m.expect_match("because", done.stdout + done.stderr, why)


def first_steps_lead_to_reports(m):
    """What the manual says to do after installing makes the agent report to the collector."""
    _install(m)
    m.run("systemctl", "enable", "--now", COLLECTOR)
    m.expect_steady(m.main_pid(COLLECTOR), COLLECTOR)
    key = m.run("metrics-collector", "--public-key").strip()
    m.run("systemctl", "enable", "--now", AGENT)
    pid = m.main_pid()
    m.configure(key)
    m.expect_match("check", m.run("metrics-agent", "--check-config"), ".*")
    m.run("systemctl", "reload", AGENT)
    m.eventually("state", lambda: m.agent("State"), "reporting")
    m.eventually("sent", lambda: m.agent("MessagesSent"), lambda sent: sent >= 2)
    m.expect_steady(pid)


def upgrade_restarts_what_runs(m):
    """A higher version: settings kept, the running agent restarted, a stopped collector not."""
    _install(m)
    m.run("systemctl", "enable", COLLECTOR)
    m.start_reporting()
    m.run("metrics-agentctl", "set-interval", "3s", "--persistent")
    m.run("systemctl", "enable", AGENT)
    m.run("systemctl", "stop", COLLECTOR)
    settings, agent_key, before = m.read(CONFIGURATION), m.read(AGENT_KEY), m.main_pid()

    publish(m, NEWER)
    apt(m, "upgrade")
    for package in PACKAGES:
        m.expect(f"version of {package}", version(m, package), NEWER)
    m.expect("settings", m.read(CONFIGURATION), settings)
    shipped = m.read(f"{CONFIGURATION}.dpkg-dist").splitlines()
    m.expect("the shipped ones beside them end with", shipped[-1], NEWER_LINE)
    after = m.main_pid()
    m.expect_true(f"another process: {before}, then {after}", after not in (before, 0))
    m.expect_steady(after)
    m.expect("interval", m.agent("MetricsIntervalUSec"), 3_000_000)
    m.expect_true("the same key", m.read(AGENT_KEY) == agent_key)
    m.expect("the collector is", m.unit("ActiveState", COLLECTOR), "inactive")
    m.expect("enabled", [_enabled(m, unit) for unit in UNITS], ["enabled", "enabled"])
    m.run("systemctl", "start", COLLECTOR)
    m.eventually("state", lambda: m.agent("State"), "reporting", within=90)

    # The control: that the check above can fail.
    publish(m, CARELESS)
    apt(m, "upgrade")
    m.expect("version of the careless one", version(m, "metrics-agent"), CARELESS)
    m.expect("the old process, without the scriptlet", m.main_pid(), after)


@idle
def upgrade_misses_one_interval_at_most(m):
    """No more than one message is missing between the old agent's and the new one's."""
    _install(m)

    def upgrade():
        publish(m, NEWER)
        apt(m, "install", "--only-upgrade", "metrics-agent")

    expect_one_missing_at_most(m, upgrade)


def removal_and_purge(m):
    """Removal stops and disables, and keeps settings and keys; a purge leaves nothing."""
    m.expect("ours beforehand", m.run(*OURS), "")
    _install(m)
    m.run("systemctl", "enable", *UNITS)
    m.start_reporting()
    m.write("/etc/metrics-agent/metrics-agent.d/log.toml", '[log]\nlevel = "debug"\n')
    m.write("/etc/metrics-agent/curve/other.key", "of the administrator's\n")
    settings, agent_key = m.read(CONFIGURATION), m.read(AGENT_KEY)

    _without_warning(m, "remove")
    _expect_gone(m)
    m.expect("links that enabled them", m.run("find", "/etc/systemd", "-name", "*metrics*"), "")
    kept = (m.read(CONFIGURATION), m.read(AGENT_KEY))
    m.expect_true("settings and key are kept", kept == (settings, agent_key))

    apt(m, "install", *PACKAGES)
    m.expect("installed again", [_enabled(m, unit) for unit in UNITS], ["disabled", "disabled"])
    m.run("systemctl", "start", *UNITS)
    m.eventually("state", lambda: m.agent("State"), "reporting")
    m.expect_true("with the same key", m.read(AGENT_KEY) == agent_key)

    # One of the two: the other runs on.
    collector = m.main_pid(COLLECTOR)
    apt(m, "purge", "metrics-agent")
    left = m.execute("find", "/etc/metrics-agent", "/var/lib/metrics-agent").stdout.split()
    m.expect("left of the agent", left, [])
    m.write("/etc/metrics-collector/curve/other.key", "of the administrator's\n")
    m.expect_steady(collector, COLLECTOR)
    _without_warning(m, "purge")
    _expect_gone(m)
    m.expect("ours", m.run(*OURS), "")
    for user in PACKAGES:
        for database in ("passwd", "group"):
            m.expect(f"{user} in {database}", m.execute("getent", database, user).stdout, "")
    m.expect_true("nothing in the catalog", "metrics-" not in m.run("journalctl", "--list-catalog"))


def _without_warning(m, action):
    """systemd is asked nothing about a unit whose file is gone unknown to it."""
    done = m.execute(*command(action, *PACKAGES), timeout=120)
    said = done.stdout + done.stderr
    m.expect(f"status of apt-get {action}", done.returncode, 0)
    m.expect("warnings", [line for line in said.splitlines() if "changed on disk" in line], [])


def removal_of_what_was_never_configured(m):
    """A purge stops and removes all, also after an upgrade left at dpkg's question about a file."""
    _install(m)
    m.run("systemctl", "enable", *UNITS)
    m.start_reporting()
    m.write(CONFIGURATION, m.read(CONFIGURATION) + "# Of the administrator's.\n")
    # What a site's DynamicUser= would have made.
    m.write("/var/lib/private/metrics-agent/settings.toml", "")
    publish(m, NEWER)
    apt(m, "update")
    # There is no answer: dpkg reads the end of its input.
    upgrade = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-y"]
    asked = m.execute(*upgrade, "metrics-agent", timeout=120)
    left = "end of file on stdin at conffile prompt"
    m.expect_true(f"dpkg: {left}", left in asked.stdout + asked.stderr)
    state = m.run("dpkg-query", "--show", "--showformat=${db:Status-Status}", "metrics-agent")
    m.expect("state of the package", state, "unpacked")

    apt(m, "purge", *PACKAGES)
    _expect_gone(m)
    m.expect("links that enabled them", m.run("find", "/etc/systemd", "-name", "*metrics*"), "")
    m.expect("ours", m.run(*OURS), "")
    m.expect("user", m.execute("getent", "passwd", "metrics-agent").stdout, "")


def _expect_gone(m):
    """No process, unit or name of ours."""
    for unit in UNITS:
        state = (m.unit("LoadState", unit), m.unit("ActiveState", unit))
        m.expect(f"{unit} is", state, ("not-found", "inactive"))
    listed = m.execute("systemctl", "list-unit-files", "--no-legend", "metrics-*")
    m.expect("unit files", listed.stdout, "")
    m.expect_true(f"no {BUS_NAME} on the bus", not _activatable(m))
    m.expect_refused("the name", *get_property("Version"))
    for directory in m.path("/proc").glob("[0-9]*"):
        try:
            name = (directory / "comm").read_text().strip()
        except OSError:
            continue  # it has ended
        if re.match("metrics-", name):
            raise Failure(f"still running: {name}")
    m.saw("no process of ours")
