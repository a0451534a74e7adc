# SPDX-License-Identifier: Apache-2.0
"""Starts that systemd refuses, or that the unit's sandbox lets fail: root's --check-config says so."""

import re

from machine import AGENT, COLLECTOR, RPM_SUITE, SOURCE

# On an RPM system, too.
SUITES = ["bookworm", "trixie", RPM_SUITE]
# It depends on the release's own programs: systemd, dpkg, what they confine.
EVERYWHERE = True

PROGRAMS = {AGENT: "metrics-agent", COLLECTOR: "metrics-collector"}

VALID = "The configuration is valid.\n"

# One start each; one that hangs ends soon.
ONCE = "[Unit]\nStartLimitIntervalSec=0\n[Service]\nRestart=no\nTimeoutStartSec=5s\n"
# Where the first line behind it stands, below a section.
FIRST = 7


def units_without_which_there_is_no_start_are_told(m):
    """Units that are required, and are missing, masked or not active."""
    m.write("/etc/systemd/system/idle.service", "[Service]\nExecStart=/bin/sleep infinity\n")
    m.run("systemctl", "mask", "masked.service")
    for unit in PROGRAMS:
        for kind in "Requires", "BindsTo", "Requisite":
            for name, why in (
                ("none.service", "there is no such unit"),
                ("masked.service", r"that unit is masked.*`systemctl unmask`"),
            ):
                _expect_refused(m, unit, "[Unit]", f"{kind}={name}", f".*: {why}")
        _expect_refused(m, unit, "[Unit]", "Requisite=idle.service", ".*: that unit is not active now")
        for line in "Requires=idle.service", "Wants=none.service", "Requisite=idle.service":
            _expect_started(m, unit, f"[Unit]\n{line}")
        m.run("systemctl", "stop", "idle")


def calls_that_every_start_needs(m):
    """Each system call of the check's list is one without which neither program starts."""
    source = (SOURCE / "src/config/service/calls.rs").read_text()
    listed = re.search(r"const NEEDED: \[&str; \d+\] = \[(.*?)\];", source, re.DOTALL)
    calls = re.findall(r'"(\w+)"', listed[1])
    m.expect_true("a list of calls", "socket" in calls)
    m.run("metrics-agentctl", "keygen", "--name", "collector", "/etc/metrics-agent/curve")
    m.run("chown", "-R", "metrics-agent:", "/etc/metrics-agent/curve")
    m.write("/etc/metrics-agent/metrics-agent.toml", '[collector.main]\nendpoint = "tcp://127.0.0.1:5556"\n')
    for unit in PROGRAMS:
        for call in calls:
            _expect_refused(m, unit, "[Service]", f"SystemCallFilter=~{call}", f" forbids {call}, which")
        _expect_refused(m, unit, "[Service]", "SystemCallFilter=~@network-io", " forbids connect, sendto, socket, which")
        only = "SystemCallFilter=\nSystemCallFilter=@basic-io @file-system"
        _expect_refused(m, unit, "[Service]", only, " forbids .* and .* more, which", FIRST + 1)
        # Others are told of, and take nothing from the start.
        said = _expect_started(m, unit, "[Service]\nSystemCallFilter=~fallocate")
        m.expect_match("told", said, f"SystemCallFilter= of {unit} .* forbids fallocate, which the unit as shipped")
        for harmless in "SystemCallFilter=@mount", "SystemCallFilter=", "SystemCallArchitectures=x86":
            m.expect(harmless, _expect_started(m, unit, f"[Service]\n{harmless}"), "")


def files_that_a_start_mounts_or_opens_are_told(m):
    """Images and a terminal that are not there."""
    for unit in PROGRAMS:
        for line in "MountImages=/none.img:/mnt", "ExtensionImages=/none.raw", "ExtensionDirectories=/none":
            _expect_refused(m, unit, "[Service]", line, f".* but {line.split('=')[0]}= of {unit}")
        terminal = "TTYPath=/dev/none"
        _expect_refused(m, unit, "[Service]", f"{terminal}\nStandardInput=tty", f".* but TTYPath= of {unit}")
        _expect_started(m, unit, f"[Service]\n{terminal}")
        _expect_started(m, unit, "[Service]\nExtensionDirectories=-/none")


def _expect_refused(m, unit, section, lines, saying, at=FIRST):
    m.drop_in(f"{ONCE}{section}\n{lines}\n", unit)
    error = m.expect_refused("check", PROGRAMS[unit], "--check-config", saying=saying)
    place = f"(/run/systemd/system/{unit}.d/50-test.conf:{at})"
    m.expect_true(f"where {lines!r} stands, in {error}", place in error)
    m.expect_refused("start", "systemctl", "start", unit)
    m.execute("systemctl", "stop", unit)
    m.execute("systemctl", "reset-failed", unit)


def _expect_started(m, unit, drop_in):
    """Returns what the check says beside that it is valid."""
    m.drop_in(f"{ONCE}{drop_in}\n", unit)
    asked = m.execute(PROGRAMS[unit], "--check-config")
    m.expect(f"check of {drop_in!r}", (asked.returncode, asked.stdout), (0, VALID))
    m.run("systemctl", "restart", unit)
    m.expect("active state", m.unit("ActiveState", unit), "active")
    m.run("systemctl", "stop", unit)
    return asked.stderr
