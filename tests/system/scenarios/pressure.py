# SPDX-License-Identifier: Apache-2.0
"""Memory is short: what the programs give back, by systemd's memory pressure protocol."""

import os

from machine import AGENT, COLLECTOR

GIVEN_BACK = "Memory is short on this host"
# MemoryPressureWatch= is as old as this.
SINCE_SYSTEMD = 254


def the_kernel_is_watched(m):
    """Nothing has to be set: systemd names its file, and both programs watch it."""
    m.start_reporting()
    if _systemd(m) < SINCE_SYSTEMD:
        m.saw(f"left out: systemd {_systemd(m)} knows no MemoryPressureWatch=")
        return
    for unit in (AGENT, COLLECTOR):
        pid = m.main_pid(unit)
        environment = m.read(f"/proc/{pid}/environ").split("\0")
        (named,) = [v for v in environment if v.startswith("MEMORY_PRESSURE_WATCH=")]
        m.expect_match("named by systemd", named, f"=/sys/fs/cgroup/.*/{unit}/memory.pressure")
        files = m.run("find", f"/proc/{pid}/fd", "-printf", "%l\n").splitlines()
        m.expect("open in the process", named.partition("=")[2] in files, True)


def the_agent_gives_back(m):
    """Told of pressure it gives memory back, and goes on."""
    _told_by_a_fifo(m, AGENT, "METRICS_AGENT_LOG__LEVEL=debug")
    m.start_reporting('[intervals]\nmetrics = "200ms"\n')
    pid, sent = m.main_pid(), m.agent("MessagesSent")
    _squeeze(m, AGENT)
    m.eventually("messages", lambda: m.agent("MessagesSent"), lambda now: now > sent + 2)
    m.expect("state", m.agent("State"), "reporting")
    m.expect_steady(pid)


def the_collector_gives_back(m):
    """Likewise the collector, which prints."""
    more = "METRICS_COLLECTOR_LOG__LEVEL=debug\n"
    more += "ExecStart=\nExecStart=/usr/bin/metrics-collector --print"
    _told_by_a_fifo(m, COLLECTOR, more)
    m.start_reporting('[intervals]\nmetrics = "200ms"\n')
    pid = m.main_pid(COLLECTOR)
    _squeeze(m, COLLECTOR)
    printed = len(_lines(m))
    m.eventually("lines", lambda: len(_lines(m)), lambda now: now > printed + 2)
    m.expect_steady(pid, COLLECTOR)


def what_cannot_be_watched_costs_nothing_else(m):
    """A path that is no good is a warning, and the agent runs."""
    m.drop_in(
        "[Service]\nEnvironment=MEMORY_PRESSURE_WATCH=/nowhere/pressure\n" + _own_watch(m), AGENT
    )
    m.run("systemctl", "start", AGENT)
    said = [entry["MESSAGE"] for entry in m.journal("--unit", AGENT, "_COMM=metrics-agent")]
    m.expect_match("warning", "\n".join(said), "memory pressure is not watched: .*/nowhere/.*")
    m.expect("state", m.agent("State"), "unconfigured")


def _systemd(m):
    return int(m.run("systemctl", "--version").split()[1])


def _own_watch(m):
    """What keeps systemd from naming a file of its own."""
    return "MemoryPressureWatch=off\n" if _systemd(m) >= SINCE_SYSTEMD else ""


def _fifo(unit):
    return f"/run/{unit}.pressure"


def _told_by_a_fifo(m, unit, more):
    """A FIFO instead of the kernel's file: this machine's memory is not ours to use up."""
    m.run("mkfifo", "--mode=666", _fifo(unit))
    environment = f"Environment=MEMORY_PRESSURE_WATCH={_fifo(unit)} {more}\n"
    m.drop_in(f"[Service]\n{environment}{_own_watch(m)}", unit)


def _squeeze(m, unit):
    m.expect("given back before", _given_back(m, unit), [])
    # Reading as well, so that opening does not wait for the other end.
    fifo = os.open(m.path(_fifo(unit)), os.O_RDWR | os.O_NONBLOCK)
    try:
        os.write(fifo, b"x")
        m.eventually("given back", lambda: _given_back(m, unit), lambda told: len(told) == 1)
    finally:
        os.close(fifo)


def _given_back(m, unit):
    entries = m.journal("--unit", unit)
    return [e["MESSAGE"] for e in entries if str(e["MESSAGE"]).startswith(GIVEN_BACK)]


def _lines(m):
    return [e for e in m.journal("--unit", COLLECTOR) if str(e["MESSAGE"]).startswith("{")]
