# SPDX-License-Identifier: Apache-2.0
"""What the agent lives on breaks, and comes back: bus, journal, disk, name."""

import re

from machine import AGENT, COLLECTOR, RPM_SUITE, call, idle, set_property

# On an RPM system, too.
SUITES = ["bookworm", "trixie", RPM_SUITE]

# The agent tries the bus again at up to 30 s distance, from a quarter of a second on.
BUS_SECONDS = 60
STATE_DIRECTORY = "/var/lib/metrics-agent"
# Several for each of the 512 lines that find room: those that come while settings are read are one.
RELOADS = 2000


def bus_is_restarted(m):
    """The bus goes and comes: the agent reports all the while, and takes its name again."""
    m.start_reporting('[intervals]\nmetrics = "200ms"\n')
    pid, routing_id = m.main_pid(), m.connection("RoutingId")
    since = m.agent("StateSinceUSec")
    sent = m.agent("MessagesSent")
    m.run("systemctl", "restart", "dbus.service")
    m.eventually("state", lambda: m.agent("State"), "reporting", within=BUS_SECONDS)
    m.expect("messages lost the bus", len(m.events("BUS_UNAVAILABLE")), 1)
    m.expect("messages on the bus again", len(m.events("BUS_AVAILABLE")), 1)
    m.expect("routing id", m.connection("RoutingId"), routing_id)
    m.expect("reporting since", m.agent("StateSinceUSec"), since)
    m.expect_true("metrics went on", m.agent("MessagesSent") > sent)
    # What writes works too, polkit included, which had to take its own name again.
    m.run(*set_property("MetricsIntervalUSec", "t", "300000"))
    m.expect("interval", m.agent("MetricsIntervalUSec"), 300_000)
    m.run("systemctl", "reload", AGENT)
    m.expect_steady(pid)


def bus_is_away_for_a_while(m):
    """No bus: ready all the same after a restart, and on the bus once there is one."""
    m.start_reporting()
    m.run("systemctl", "stop", "dbus.socket", "dbus.service")
    m.run("systemctl", "restart", AGENT)
    pid = m.main_pid()
    m.eventually("status line", m.status_line, lambda line: line.startswith("Reporting to "))
    m.run("systemctl", "start", "dbus.socket", "dbus.service")
    m.eventually("state", lambda: m.agent("State"), "reporting", within=BUS_SECONDS)
    m.expect_steady(pid)


def journal_is_restarted(m):
    """journald goes and comes: both programs go on, and so do their messages."""
    m.start_reporting('[intervals]\nmetrics = "200ms"\n')
    pids = {unit: m.main_pid(unit) for unit in (AGENT, COLLECTOR)}
    m.run("systemctl", "restart", "systemd-journald.service")
    m.run(*set_property("MetricsIntervalUSec", "t", "300000"))
    m.event("SETTING_CHANGED")
    routing_id = m.connection("RoutingId")
    m.run(*call("Reconnect"))
    m.event("COLLECTOR_HOST_REPLACED", COLLECTOR)
    m.expect_true("another routing id", m.connection("RoutingId") != routing_id)
    # And while it is away nothing waits for it.
    m.run("systemctl", "stop", "systemd-journald.socket", "systemd-journald-dev-log.socket",
          "systemd-journald-audit.socket", "systemd-journald.service")  # fmt: skip
    sent = m.agent("MessagesSent")
    m.run(*set_property("MetricsIntervalUSec", "t", "250000"))
    m.eventually("messages", lambda: m.agent("MessagesSent"), lambda now: now > sent + 2)
    m.run("systemctl", "start", "systemd-journald.socket", "systemd-journald.service")
    m.run(*set_property("MetricsIntervalUSec", "t", "350000"))
    m.eventually(
        "settings in the journal",
        lambda: [entry["VALUE"] for entry in m.events("SETTING_CHANGED")][-1],
        "350ms",
    )
    for unit, pid in pids.items():
        m.expect_steady(pid, unit)


@idle
def journal_hangs(m):
    """journald stops, as it does when its disk does: both go on, also from the start, and say it."""
    m.start_reporting('[intervals]\nmetrics = "200ms"\n')
    m.drop_in("[Service]\nWatchdogSec=5s\n")
    m.drop_in("[Service]\nWatchdogSec=5s\n", COLLECTOR)
    m.run("systemctl", "kill", "--kill-whom=main", "--signal=STOP", "systemd-journald.service")
    try:
        _fill_the_journal(m)
        # Before they are ready.
        m.run("systemctl", "restart", AGENT, COLLECTOR)
        pids = {unit: m.main_pid(unit) for unit in (AGENT, COLLECTOR)}
        m.eventually("state", lambda: m.agent("State"), "reporting")
        # And while they run: more lines than there is room for. A reload is one at least.
        numbers = " ".join(str(pid) for pid in pids.values())
        reload = f"for i in $(seq {RELOADS}); do kill -HUP {numbers}; sleep 0.01; done"
        m.run("sh", "-c", reload, timeout=180)
        m.eventually("lines lost", lambda: _log_lost(m), lambda lost: lost > 0)
        sent = m.agent("MessagesSent")
        # Longer than the watchdog waits.
        m.eventually("messages", lambda: m.agent("MessagesSent"), lambda now: now > sent + 50)
        for unit, pid in pids.items():
            m.expect_steady(pid, unit)
    finally:
        m.run("systemctl", "kill", "--kill-whom=main", "--signal=CONT", "systemd-journald.service")
    for unit, lost in ((AGENT, "LOG_LINES_LOST"), (COLLECTOR, "COLLECTOR_LOG_LINES_LOST")):
        said = m.eventually(lost, lambda: m.events(lost, unit), len, show=len)
        m.expect_match("message", said[0]["MESSAGE"], "^Lost [0-9,]+ log lines? since 2")
    m.expect("state", m.agent("State"), "reporting")
    for unit, pid in pids.items():
        m.expect_steady(pid, unit)


def _fill_the_journal(m):
    """Sends to journald's socket until it takes no more."""
    # One sender alone is held back by its own buffer.
    fill = (
        "import socket\n"
        "senders, sent = [], 1\n"
        "while sent:\n"
        "    sent = 0\n"
        "    senders.append(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))\n"
        "    senders[-1].setblocking(False)\n"
        "    try:\n"
        "        while True:\n"
        "            senders[-1].sendto(b'MESSAGE=filler\\n', '/run/systemd/journal/socket')\n"
        "            sent += 1\n"
        "    except BlockingIOError:\n"
        "        pass\n"
        "print(len(senders))\n"
    )
    m.saw("senders that filled the queue: " + m.run("python3", "-c", fill).strip())


def _log_lost(m):
    """Lines of the agent's log that found no room."""
    sample = m.run("metrics-agentctl", "--json=short", "metrics", "agent.log.lost.total")
    return int(re.search(r'agent\.log\.lost\.total"[^0-9]*([0-9]+)', sample).group(1))


def disk_is_full(m):
    """No room for a persistent setting: in force, the caller told so; kept once there is room."""
    m.start_reporting()
    m.run("systemctl", "stop", AGENT)
    # The unit sees what is mounted before its start.
    m.run("mount", "-t", "tmpfs", "-o", "size=64k,mode=0700", "tmpfs", STATE_DIRECTORY)
    m.run("systemctl", "start", AGENT)
    pid = m.main_pid()
    m.eventually("state", lambda: m.agent("State"), "reporting")
    m.execute("dd", "if=/dev/zero", f"of={STATE_DIRECTORY}/filler", "bs=4k", "status=none")
    m.expect_match("free", m.run("df", "--output=avail", STATE_DIRECTORY), r"(?m)^ *0$")
    m.expect_refused(
        "persistently",
        *call("SetMetricsInterval", "tb", "700000", "true"),
        saying="(?i).*no space left.*",
    )
    m.expect("interval", m.agent("MetricsIntervalUSec"), 700_000)
    m.event("SETTING_NOT_KEPT")
    m.run(*call("SetMetricsInterval", "tb", "800000", "false"))
    m.expect("interval", m.agent("MetricsIntervalUSec"), 800_000)
    m.expect("state", m.agent("State"), "reporting")
    # Nothing half written is left to be read at the next start.
    m.expect("files", _files(m), ["agent.key", "agent.key_secret", "filler", "history"])
    m.run("rm", f"{STATE_DIRECTORY}/filler")
    m.run(*call("SetMetricsInterval", "tb", "900000", "true"))
    m.expect("files", _files(m), ["agent.key", "agent.key_secret", "history", "settings.toml"])
    m.expect_steady(pid)
    m.run("systemctl", "restart", AGENT)
    m.expect("interval after a restart", m.agent("MetricsIntervalUSec"), 900_000)


def disk_is_full_at_the_first_start(m):
    """No room for the key pair: status 78 and the reason, and nothing half made."""
    m.run("mkdir", "-p", STATE_DIRECTORY)
    m.run("mount", "-t", "tmpfs", "-o", "size=16k,mode=0700", "tmpfs", STATE_DIRECTORY)
    m.execute("dd", "if=/dev/zero", f"of={STATE_DIRECTORY}/filler", "bs=4k", "status=none")
    m.expect_refused("start", "systemctl", "start", AGENT)
    m.expect("exit status", m.unit("ExecMainStatus"), "78")
    said = "\n".join(e["MESSAGE"] for e in m.journal("--unit", AGENT, "_COMM=metrics-agent"))
    m.expect_match("what it said", said, "(?i).*no space left.*")
    m.expect("files", _files(m), ["filler"])
    m.run("rm", f"{STATE_DIRECTORY}/filler")
    m.run("systemctl", "start", AGENT)
    m.expect("files", _files(m), ["agent.key", "agent.key_secret", "history"])


def host_is_renamed_by_hostnamectl(m):
    """hostnamectl gives the host another name: properties, journal and collector follow."""
    m.start_reporting()
    pid, old = m.main_pid(), m.agent("HostName")
    m.run("hostnamectl", "set-hostname", "web3.example.org")
    m.eventually("host name", lambda: m.agent("HostName"), "web3.example.org")
    m.event("HOST_NAME_CHANGED")
    m.eventually(
        "hosts at the collector",
        lambda: [entry["HOST"] for entry in m.events("COLLECTOR_HOST_APPEARED", COLLECTOR)],
        [old, "web3.example.org"],
    )
    m.expect("state", m.agent("State"), "reporting")
    m.expect_steady(pid)


def _files(m):
    """What stands in the state directory."""
    return sorted(m.run("ls", "-A", STATE_DIRECTORY).split())
