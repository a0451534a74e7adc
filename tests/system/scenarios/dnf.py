# SPDX-License-Identifier: Apache-2.0
"""The RPM packages, with a real dnf: dependencies, scriptlets and file triggers.

The container is no RPM distribution, but has what counts: rpm's database with the library and the
systemd that our packages ask for (tests/system/rpm), dnf, and a running systemd.
"""

import pathlib
import re
import subprocess
import tempfile

import package
from arrivals import expect_one_missing_at_most
from machine import AGENT, BUS_NAME, COLLECTOR, CONFIGURATION, RPM_SUITE, SOURCE, get_property, idle
from rpm_repository import BUILD, add_repository, build

SERVICES = ["metrics-agent", "metrics-collector"]
OURS = [*SERVICES, "metrics-top"]
# The first is Cargo.toml's.
HIGHER_VERSION = "99.0.0"
# All that the programs are linked to.
LIBRARIES = {"libc.so.6", "libgcc_s.so.1", "libm.so.6"}
DYNAMIC_LOADER = "ld-linux-x86-64.so.2"

# Each scenario brings the packages in itself.
INSTALL = "nothing"


def _with_dnf(scenario):
    """For scenarios that need an RPM system, with nothing of ours in it yet."""
    scenario.suites = [RPM_SUITE]
    return scenario


@_with_dnf
def refuses_what_would_not_run(m):
    """Too old a C library: dnf installs nothing, and names what is missing."""
    add_repository(m)
    m.expect_refused(
        "with an older C library",
        "dnf", "install", "--assumeyes", "too-new",
        saying=r"nothing provides libc\.so\.6\(GLIBC_2\.38\)\(64bit\) needed by too-new",
    )  # fmt: skip
    m.expect("installed", _installed(m, *OURS, "too-new"), {})


@_with_dnf
def installs_what_reports(m):
    """dnf install needs nothing else, enables and starts nothing; enabled, the agent reports."""
    version = add_repository(m)
    m.run("dnf", "install", "--assumeyes", *OURS)
    m.expect("installed", _installed(m, *OURS), dict.fromkeys(OURS, version))
    needs = m.run("rpm", "--query", "--requires", *OURS)
    libraries = set(re.findall(r"(?m)^[^(\s]+\.so\.\d+", needs))
    m.expect("libraries", libraries - {DYNAMIC_LOADER}, LIBRARIES)
    m.expect("what rpm finds changed", m.run("rpm", "--verify", *OURS), "")
    for line in (SOURCE / "packaging/files").read_text().splitlines():
        if line and not line.startswith("#"):
            owner, _, mode, _, destination = line.split()
            if destination.startswith("/usr/share/man/"):
                destination += ".gz"
            destination = destination.replace("/zsh/vendor-completions/", "/zsh/site-functions/")
            m.expect(destination, _owner(m, destination), owner)
            shown = m.run("stat", "-c", "%a %U:%G", destination).strip()
            m.expect(destination, shown, f"{int(mode)} root:root")
    for name in OURS:
        licence = m.run("rpm", "--query", "--licensefiles", name).split()
        wanted = [f"/usr/share/licenses/{name}/{file}" for file in ("LICENSE", "third-party-notices")]
        m.expect("licence", licence, wanted)
    for directory in ("/etc/metrics-agent", "/etc/metrics-agent/metrics-agent.d"):
        m.expect(directory, _owner(m, directory), "metrics-agent")
    for directory, wanted in package.COLLECTORS_DIRECTORIES.items():
        directory = f"/etc/metrics-collector/{directory}"
        m.expect(directory, _owner(m, directory), "metrics-collector")
        m.expect(directory, m.run("stat", "-c", "%a %U:%G", directory).strip(), wanted)

    for unit in (AGENT, COLLECTOR):
        m.expect(f"load state of {unit}", m.unit("LoadState", unit), "loaded")
        m.expect(f"enabled {unit}", m.unit("UnitFileState", unit), "disabled")
        m.expect(f"active state of {unit}", m.unit("ActiveState", unit), "inactive")
    # The users are there before the bus is told of its policy.
    package.bus_takes_the_policy(m)
    for user in SERVICES:
        m.expect_match("user", m.run("getent", "passwd", user), ".*nologin")
    listed = m.run("journalctl", "--list-catalog")
    m.expect_match("catalog", listed, "(?m)^[0-9a-f]{32} metrics-agent: .*is ready$")

    m.configure(m.start_collector())
    m.run("systemctl", "enable", "--now", AGENT)
    m.expect_steady(m.main_pid())
    m.eventually("state", lambda: m.agent("State"), "reporting")
    owner = m.run("stat", "-c", "%U", f"/proc/{m.main_pid()}").strip()
    m.expect("user of the process", owner, "metrics-agent")


@_with_dnf
def upgrades_what_runs(m):
    """Settings are kept, what runs is restarted, what does not is not started; and back again."""
    version = add_repository(m, HIGHER_VERSION)
    m.run("dnf", "install", "--assumeyes", *(f"{name}-{version}" for name in OURS))
    m.configure(m.start_collector())
    m.run("systemctl", "stop", COLLECTOR)
    m.run("systemctl", "enable", "--now", AGENT)
    settings, pid = m.read(CONFIGURATION), m.main_pid()

    # The same packages without what they tell systemd: this is how an agent that was not restarted
    # looks, so that the rest can't pass by accident.
    m.run("dnf", "reinstall", "--assumeyes", "--setopt=tsflags=noscripts,notriggers", *OURS)
    m.expect_steady(pid)

    for command, target in (("upgrade", HIGHER_VERSION), ("downgrade", version)):
        m.run("dnf", command, "--assumeyes", *OURS)
        m.expect("installed", _installed(m, *OURS), dict.fromkeys(OURS, target))
        old, pid = pid, m.main_pid()
        m.expect_true(f"after the {command} the agent is another process", pid not in (0, old))
        # Not by way of a failure that Restart= has hidden.
        m.expect_steady(pid)
        m.expect("enabled", m.unit("UnitFileState"), "enabled")
        m.expect("active state of the collector", m.unit("ActiveState", COLLECTOR), "inactive")
        m.expect("settings", m.read(CONFIGURATION), settings)
    m.run("systemctl", "start", COLLECTOR)
    m.run("busctl", "call", BUS_NAME, "/org/metricsagent/Agent1", BUS_NAME, "Reconnect")
    m.eventually("state", lambda: m.agent("State"), "reporting")


@_with_dnf
@idle
def upgrade_misses_one_interval_at_most(m):
    """No more than one message is missing between the old agent's and the new one's."""
    version = add_repository(m, HIGHER_VERSION)
    m.run("dnf", "install", "--assumeyes", *(f"{name}-{version}" for name in OURS))

    def upgrade():
        m.run("dnf", "upgrade", "--assumeyes", "metrics-agent")
        m.expect("installed", _installed(m, "metrics-agent"), {"metrics-agent": HIGHER_VERSION})

    expect_one_missing_at_most(m, upgrade)


@_with_dnf
def removes_what_it_installed(m):
    """dnf remove: stopped, disabled, off the bus; keys and what the administrator wrote stay."""
    add_repository(m)
    m.run("dnf", "install", "--assumeyes", *OURS)
    m.configure(m.start_collector())
    m.run("systemctl", "enable", "--now", AGENT, COLLECTOR)
    m.eventually("state", lambda: m.agent("State"), "reporting")
    m.run("dnf", "remove", "--assumeyes", *OURS)
    m.expect("installed", _installed(m, *OURS), {})
    for unit in (AGENT, COLLECTOR):
        m.expect(f"load state of {unit}", m.unit("LoadState", unit), "not-found")
        m.expect(f"active state of {unit}", m.unit("ActiveState", unit), "inactive")
    m.expect_refused("the name", *get_property("Version"))
    m.expect_true(
        "nothing in the catalog", "metrics-agent" not in m.run("journalctl", "--list-catalog")
    )
    left = m.run(
        "find", "/etc", "/usr", "/var/lib", "-xdev", "-regex", ".*/[^/]*metrics-?[ac][^/]*"
    )
    m.expect(
        "left",
        sorted(left.split()),
        [
            "/etc/metrics-agent",
            "/etc/metrics-agent/metrics-agent.toml.rpmsave",
            "/var/lib/metrics-agent",
            "/var/lib/metrics-collector",
        ],
    )


@_with_dnf
def is_the_same_every_time(m):
    """Built again, with another umask and time zone: the same packages, byte for byte."""
    directory = pathlib.Path(build(m.binaries).name)
    with tempfile.TemporaryDirectory(prefix="metrics-agent-rpm-") as again:
        command = [BUILD, "--binaries", m.binaries, "--output", again]
        subprocess.run(
            ["sh", "-c", 'umask 077; TZ=Asia/Tokyo exec "$@"', "sh", *command],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        names = sorted(file.name for file in directory.iterdir())
        m.expect("packages", sorted(file.name for file in pathlib.Path(again).iterdir()), names)
        for name in names:
            same = (directory / name).read_bytes() == pathlib.Path(again, name).read_bytes()
            m.expect_true(f"{name} is the same", same)


def _installed(m, *packages):
    """The versions of those of these packages that are installed."""
    listed = m.run("rpm", "--query", "--all", "--queryformat", "%{NAME} %{VERSION}\n", *packages)
    return dict(line.split() for line in listed.splitlines())


def _owner(m, path):
    """The package that a file belongs to."""
    return m.run("rpm", "--query", "--queryformat", "%{NAME}", "--file", path)
