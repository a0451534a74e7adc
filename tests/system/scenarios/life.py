# SPDX-License-Identifier: Apache-2.0
"""The service's life as systemd sees it: start, failure, restart, stop."""

import time

from machine import AGENT, CONFIGURATION, RPM_SUITE

# On an RPM system, too.
SUITES = ["bookworm", "trixie", RPM_SUITE]
# It depends on the release's own programs: systemd, dpkg, what they confine.
EVERYWHERE = True

# Long enough to see a program that ends by itself, or is restarted, soon after its start.
SETTLE_SECONDS = 3
# The promise is well under a second; this machine may be busy with something else.
STOP_SECONDS = 5


def starts_with_no_collector(m):
    """Right after the installation: enabled, ready, says what is missing, stays up."""
    m.run("systemctl", "enable", "--now", AGENT)
    pid = m.main_pid()
    m.expect("enabled", m.run("systemctl", "is-enabled", AGENT).strip(), "enabled")
    m.expect_steady(pid)
    began, ready = (
        int(m.unit(f"{point}TimestampMonotonic")) for point in ("ExecMainStart", "ActiveEnter")
    )
    m.saw(f"ready {(ready - began) / 1000:.0f} ms after it was executed")
    m.expect("state", m.agent("State"), "unconfigured")
    m.expect_match("status line", m.status_line(), "(?i)no collector")
    m.expect("user", m.unit("User"), "metrics-agent")
    owner = m.run("stat", "-c", "%a %U", "/var/lib/metrics-agent").strip()
    m.expect("state directory", owner, "700 metrics-agent")
    m.event("AGENT_READY")
    m.event("AGENT_UNCONFIGURED")
    time.sleep(SETTLE_SECONDS)
    m.expect_steady(pid)


def is_restarted_when_stuck(m):
    """The watchdog: a process that does nothing any more is replaced."""
    m.drop_in("[Service]\nWatchdogSec=2s\nRestartSec=100ms\n")
    m.run("systemctl", "start", AGENT)
    pid = m.main_pid()
    # A loop that does its work feeds the watchdog: it has to outlive several of its intervals.
    time.sleep(5)
    m.expect_steady(pid)
    m.signal("STOP")
    _restarted(m, pid, "watchdog")


def is_restarted_when_killed(m):
    """kill -9: systemd starts it again."""
    m.drop_in("[Service]\nRestartSec=100ms\n")
    m.run("systemctl", "start", AGENT)
    pid = m.main_pid()
    m.signal("KILL")
    _restarted(m, pid, "signal")


def _restarted(m, old_pid, result):
    m.eventually("restarts", lambda: m.unit("NRestarts"), "1")
    m.eventually("active state", lambda: m.unit("ActiveState"), "active")
    m.expect_true("it is another process", m.main_pid() not in (0, old_pid))
    failures = [
        entry["UNIT_RESULT"] for entry in m.journal(f"UNIT={AGENT}") if "UNIT_RESULT" in entry
    ]
    m.expect("result of the first run", failures, [result])
    m.eventually("state", lambda: m.agent("State"), "unconfigured")


def ends_on_a_bad_configuration(m):
    """Status 78 and a line that names the place; no restart, as nothing would come of it."""
    m.write(CONFIGURATION, '[intervals]\nmetrics = "5 parsecs"\n')
    m.expect_refused("start", "systemctl", "start", AGENT)
    m.expect("exit status", m.unit("ExecMainStatus"), "78")
    m.expect("result", m.unit("Result"), "exit-code")
    # Not "activating", which is where a unit waits for its restart.
    m.expect("active state", m.unit("ActiveState"), "failed")
    m.expect("restarts", m.unit("NRestarts"), "0")
    entries = m.journal("--unit", AGENT, "_COMM=metrics-agent")
    said = "\n".join(entry["MESSAGE"] for entry in entries)
    m.expect_match("what it said", said, rf".*{CONFIGURATION}.*")
    m.expect_match("what it said", said, r".*intervals\.metrics.*")


def goes_on_when_corrected(m):
    """After a failed start a corrected file and a plain start are enough."""
    m.write(CONFIGURATION, "[intervls]\n")
    m.expect_refused("start", "systemctl", "start", AGENT)
    m.write(CONFIGURATION, "")
    m.run("systemctl", "start", AGENT)
    m.expect("state", m.agent("State"), "unconfigured")


def stops_at_once(m):
    """SIGTERM while it reports: a clean end, with nothing waiting for the collector."""
    m.start_reporting()
    _stop(m)


def stops_at_once_without_its_collector(m):
    """SIGTERM while it waits for a collector that is not there."""
    m.configure(public_key="rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7")
    m.run("systemctl", "start", AGENT)
    m.eventually("state", lambda: m.agent("State"), lambda state: state in ("connecting", "stale"))
    _stop(m)


def _stop(m):
    began = time.monotonic()
    m.run("systemctl", "stop", AGENT)
    took = time.monotonic() - began
    m.saw(f"systemctl stop took {took * 1000:.0f} ms")
    m.expect_true(f"that is less than {STOP_SECONDS} s", took < STOP_SECONDS)
    m.expect("result", m.unit("Result"), "success")
    m.expect("exit status", m.unit("ExecMainStatus"), "0")
    m.event("AGENT_STOPPING")
