# SPDX-License-Identifier: Apache-2.0
"""A file system that does not answer, as the service of a booted system meets it."""

import json
import re
import time

from machine import AGENT, SOURCE_INSIDE, call

MOUNT = "/srv/hang"
# Character device 10:229 (Documentation/admin-guide/devices.txt).
FUSE = ("c", "10", "229")
# Short enough that a loop that waits for the file system is seen.
WATCHDOG_SECONDS = 3
# Of 1000 blocks of 4096 bytes: tests/peers/hang.py.
SIZE = 4096000


def one_hangs_and_is_unmounted(m):
    """The service goes on, other file systems are reported, one thread waits; then it is gone."""
    pid = _stuck(m)
    m.run("umount", "--lazy", MOUNT)
    m.eventually("gone", lambda: _values(m).get(f"fs.stuck[{MOUNT}]"), None)
    told = m.event("INSTANCE_UNSTUCK")
    m.expect("its INSTANCE=", told["INSTANCE"], MOUNT)
    m.expect_match("told", told["MESSAGE"], "is gone")
    _whole_again(m, pid)


def one_hangs_and_answers(m):
    """Likewise; then it answers, and its values are back."""
    pid = _stuck(m)
    m.run("systemctl", "kill", "--signal=SIGUSR2", "hang.service")
    m.eventually("size", lambda: _values(m).get(f"fs.size[{MOUNT}]"), SIZE)
    m.expect("stuck", _values(m)[f"fs.stuck[{MOUNT}]"], 0)
    m.expect_match("told", m.event("INSTANCE_UNSTUCK")["MESSAGE"], "answers again")
    _whole_again(m, pid)


def what_the_sandbox_has_made_is_no_file_system(m):
    """All that is reported is mounted on the host, too; /root, which the unit hides, is not."""
    m.start_reporting()
    mounted = m.run("findmnt", "--list", "--noheadings", "--output", "TARGET").split()
    hidden = m.run("cat", f"/proc/{m.main_pid()}/mountinfo")
    m.expect_match("the service's own", hidden, " /root .* - tmpfs ")
    points = m.eventually("reported", lambda: _points(m), bool)
    m.expect("reported and not mounted", sorted(points - set(mounted)), [])


def _points(m):
    """Where the file systems that are reported are mounted."""
    sizes = (re.fullmatch(r"fs\.size\[(.*)\]", name) for name in _values(m))
    return {size.group(1) for size in sizes if size}


def _stuck(m):
    """An agent that has met a file system that hangs; its process id."""
    m.drop_in(f"[Service]\nWatchdogSec={WATCHDOG_SECONDS}s\n")
    times = '[intervals]\nmetrics = "500ms"\n[metrics.filesystem]\ninterval = "500ms"\n'
    m.start_reporting(times)
    pid = m.main_pid()
    m.run("mknod", "--mode=600", "/dev/fuse", *FUSE)
    m.run("mkdir", MOUNT)
    script = f"{SOURCE_INSIDE}/tests/peers/hang.py"
    m.run("systemd-run", "--quiet", "--unit=hang", "python3", "-B", script, MOUNT, "/run/hang.pid")
    m.eventually("size", lambda: _values(m).get(f"fs.size[{MOUNT}]"), SIZE)
    m.expect("threads that ask", _threads(m, pid), 1)

    m.run("systemctl", "kill", "--signal=SIGUSR1", "hang.service")
    m.eventually("stuck", lambda: _values(m).get(f"fs.stuck[{MOUNT}]"), 1)
    m.expect("its INSTANCE=", m.event("INSTANCE_STUCK")["INSTANCE"], MOUNT)
    sent = m.agent("MessagesSent")
    time.sleep(2 * WATCHDOG_SECONDS)
    m.eventually("messages", lambda: m.agent("MessagesSent"), lambda now: now > sent + 4)
    values = _values(m)
    m.expect("its size", values.get(f"fs.size[{MOUNT}]"), None)
    m.expect("still stuck", values[f"fs.stuck[{MOUNT}]"], 1)
    m.expect_true("others are reported", values["fs.size[/run]"] > 0)
    m.expect("and answer", values["fs.stuck[/run]"], 0)
    m.expect("threads that ask", _threads(m, pid), 2)
    m.expect("times told", len(m.events("INSTANCE_STUCK")), 1)
    m.expect_steady(pid)
    return pid


def _whole_again(m, pid):
    m.run("systemctl", "stop", "hang.service")
    m.eventually("threads that ask", lambda: _threads(m, pid), 1)
    m.expect("times told", len(m.events("INSTANCE_STUCK")), 1)
    m.expect_steady(pid)
    m.run("systemctl", "stop", AGENT)
    m.expect("result", m.unit("Result"), "success")


def _values(m):
    command, *rest = call("Sample", "s", "metrics")
    (values,) = json.loads(m.run(command, "--json=short", *rest))["data"]
    return {name: value["data"] for name, value in values.items()}


def _threads(m, pid):
    names = m.run("sh", "-c", f"cat /proc/{pid}/task/*/comm").split()
    return names.count("prober")
