# SPDX-License-Identifier: Apache-2.0
"""metrics-agentctl, for root and for others: what it shows, what it is refused."""

import json
import re

from machine import AGENT, AS_NOBODY

CTL = "metrics-agentctl"
# "Sun 2026-11-22 17:36:05 UTC; 2s ago", as systemctl has it.
SINCE = r"since [A-Z][a-z]{2} \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC; (now|\d+s ago|\d+min( \d+s)? ago)"
UNREADABLE = "The log is not readable: it is for root and the groups adm and systemd-journal"

# What an administrator types, and sha512crypt of it as it is in /etc/shadow.
PASSWORD = "secret"
PASSWORD_HASH = (
    "$6$metricsagent$/3ko3M7wSo2t7kR2YvdupHPzy3QgWH3DsGSMXON/ckI2"
    "xnoiOya9wii7fR0GgAIp4hhrNaNDagiEvDFKwR6yx0"
)

# Types a password where one is asked for, on a terminal of its own; prints what the terminal
# showed and exits as the command did. As somebody with an unprivileged shell would run it.
TYPIST = r"""
import os, pty, select, sys, termios
password, command = sys.argv[1], sys.argv[2:]
child, terminal = pty.fork()
if child == 0:
    os.execvp(command[0], command)
shown, typed = b"", False
while True:
    ready = select.select([terminal], [], [], 0.05)[0]
    if ready:
        try:
            part = os.read(terminal, 4096)
        except OSError:  # the terminal is gone with its last process
            break
        shown += part
    # Turning the echo off comes after the prompt, and drops what was typed before.
    echo = termios.tcgetattr(terminal)[3] & termios.ECHO
    if b"assword: " in shown and not echo and not typed:
        os.write(terminal, password.encode() + b"\n")
        typed = True
sys.stdout.write(shown.decode(errors="replace"))
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def status_for_root(m):
    """Root sees since when the agent runs, its connection, and its last log lines."""
    m.start_reporting()
    status = m.run(CTL, "status")
    m.expect_match("title", status, r"(?m)^● metrics-agent \S+ on \S+$")
    # The agent's, and that of its connection.
    state = m.expect_match("state", status, "State: reporting " + SINCE)
    m.expect_match("state of main", status[state.end() :], "State: reporting " + SINCE)
    m.expect_match("reason", status, r"Reason: Reporting to 127\.0\.0\.1:5556")
    m.expect_match("active", status, r"Active: active \(running\) " + SINCE)
    m.expect_match("process", status, rf"Process: {m.main_pid()} \(metrics-agent\.service\)")
    m.expect_match("link", status, "Link: up " + SINCE)
    m.expect_match("heard", status, r"last heard (now|\d+s ago)")
    line = rf"(?m)^\w{{3}} \d\d \d\d:\d\d:\d\d \S+ metrics-agent\[{m.main_pid()}\]: .+$"
    m.expect_match("log", status.rpartition("\n\n")[2], line)
    m.expect_true("no log with --lines=0", "metrics-agent[" not in m.run(CTL, "--lines=0"))
    # The agent's last, or the manager's on it.
    log = re.findall(r"(?m)^\w{3} \d\d [\d:]{8} .*\[\d+\]: ", m.run(CTL, "-n", "1"))
    m.expect("lines with --lines=1", len(log), 1)
    document = json.loads(m.run(CTL, "--json=short"))
    m.expect("json", document["Connections"][0]["State"], "reporting")
    m.expect("json", document["Agent"]["StateSinceUSec"], m.agent("StateSinceUSec"))
    main = m.connection("StateSinceUSec")
    m.expect("json", document["Connections"][0]["StateSinceUSec"], main)


def status_for_others(m):
    """Somebody without rights sees all but the log, and why not."""
    m.run("systemctl", "start", AGENT)
    status = m.run(*AS_NOBODY, CTL)
    m.expect_match("active", status, r"Active: active \(running\) " + SINCE)
    m.expect_match("log", status, UNREADABLE)
    journal = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--groups=systemd-journal"]
    status = m.run(*journal, CTL)
    m.expect_match("log, in the group", status, r"metrics-agent\[\d+\]: .+")


def status_of_a_failed_agent(m):
    """Where the agent does not run, status is 3 and says what became of its unit."""
    m.write("/etc/metrics-agent/metrics-agent.toml", "nonsense = 1\n")
    m.expect_refused("start", "systemctl", "start", AGENT)
    m.eventually("unit", lambda: m.unit("ActiveState"), "failed")
    done = m.execute(CTL, "status")
    m.expect("exit status", done.returncode, 3)
    m.expect_match("title", done.stdout, "^× metrics-agent is not running")
    m.expect_match("active", done.stdout, r"Active: failed \(Result: exit-code\) " + SINCE)
    # The journal may have it a moment later.
    logged = r"metrics-agent\[\d+\]: .*nonsense.*"
    m.eventually("log", lambda: bool(re.search(logged, m.execute(CTL, "status").stdout)), True)
    # It would fail again: the way out is another one.
    hint = "metrics-agent --check-config"
    m.expect_match("reason", done.stdout, r"(?m)Reason: its settings are invalid \(status 78\)$")
    m.expect("said once", (done.stdout + done.stderr).count(f"see what is wrong with: {hint}"), 1)
    m.expect_match("hint", done.stderr, hint)
    other = m.execute(CTL, "reload")
    m.expect("others fail with 1", other.returncode, 1)
    m.expect_match("hint of others", other.stderr, f"settings are invalid .*{hint}")
    m.expect("json", m.execute(CTL, "--json=short").stdout, '{"Agent":null}\n')


def status_of_sources(m):
    """One that fails is named with its reason, and one for which the host has nothing."""
    hidden = "ProcSubset=pid\nProtectControlGroups=no\nTemporaryFileSystem=/sys/fs/cgroup:ro\n"
    m.drop_in(f"[Service]\n{hidden}")
    m.run("systemctl", "start", AGENT)
    # Reads all of them.
    m.run(CTL, "metrics")
    status = m.run(CTL, "status")
    m.expect_match("failing", status, r"(?m)^     Failing: \w+: ")
    m.expect_match("of several", status, r"(?m)^ *(Failing: | {5})cpu: cannot open /proc/stat: .+$")
    m.expect_match("lacking", status, r"(?m)^   No values: units: no cgroup v2 .+$")
    m.run(CTL, "disable", "cpu")
    m.expect_true("one that is disabled does not fail", " cpu: " not in m.run(CTL, "status"))


def intervals_set_at_run_time_are_marked(m):
    """status and --print-config say that an order is in force, and where it is kept."""
    m.run("systemctl", "start", AGENT)
    m.expect_match("as set", m.run("metrics-agent", "--print-config"), "^# The running agent has th")
    m.run(CTL, "set-interval", "2")
    m.run(CTL, "set-stale", "1min", "--persistent")
    status = m.run(CTL, "status")
    m.expect_match("at run time", status, r'metrics was set at run time, until the agent ends or "rev')
    file = "/var/lib/metrics-agent/settings.toml"
    m.expect_match("kept", status, f'stale was set at run time and is kept in {file}, until "revert"')
    printed = m.run("metrics-agent", "--print-config")
    m.expect_match("in force", printed, r'(?m)^#   intervals.metrics = "2s", set at run time')
    m.expect_match("kept", printed, rf'(?m)^stale = "1m"  # {file}:3, set over D-Bus$')
    m.run("systemctl", "restart", AGENT)
    status = m.run(CTL, "status")
    m.expect_match("after a restart", status, f"metrics every 5s, stale after 1min\n.* kept in {file}")
    m.run(CTL, "revert")
    m.expect_true("back to the files", "at run time" not in m.run(CTL, "status"))


def others_are_refused_by_name_of_the_action(m):
    """Somebody without rights is told which of polkit's actions it takes."""
    m.run("systemctl", "start", AGENT)
    for action, command in (
        ("set-intervals", ["set-interval", "1s"]),
        ("set-intervals", ["set-stale", "10s", "--persistent"]),
        ("set-intervals", ["revert"]),
        ("reconnect", ["reconnect"]),
        ("reload", ["reload"]),
        ("manage-sources", ["disable", "cpu"]),
        ("set-log", ["log-level", "debug"]),
    ):
        for option in ([], ["--no-ask-password"]):
            words = [CTL, *option, *command]
            error = m.expect_refused(
                " ".join(words), *AS_NOBODY, *words, saying=f"org.metricsagent.{action}"
            )
            m.expect_match("way out", error, "polkit rule")
    m.expect("interval", m.agent("MetricsIntervalUSec"), 5_000_000)
    m.run(*AS_NOBODY, CTL, "metrics")
    m.run(*AS_NOBODY, CTL, "public-key")


def a_password_is_asked_for_on_a_terminal(m):
    """An administrator's own shell: polkit's password is asked for there, and counts."""
    m.run("systemctl", "start", AGENT)
    _add_administrator(m, "admin", 1000, PASSWORD_HASH)
    m.write("/tmp/typist.py", TYPIST)
    # polkit has pkttyagent ask within a session alone; it knows one by the name of its cgroup.
    session = ["systemd-run", "--quiet", "--scope", "--unit=session-1", "--slice=user-1000"]
    admin = ["setpriv", "--reuid=admin", "--regid=nogroup", "--init-groups", "env", "TERM=dumb"]
    typist = [*session, *admin, "python3", "/tmp/typist.py"]
    shown = m.run(*typist, PASSWORD, CTL, "set-interval", "2s")
    m.expect_match("asked", shown, "org.metricsagent.set-intervals")
    m.expect("interval", m.agent("MetricsIntervalUSec"), 2_000_000)
    # Ctrl-C at the prompt: the shell goes on, and what is typed is seen again.
    shell = f"trap : INT; {CTL} set-interval 3s; echo status=$?; stty -a"
    shown = m.run(*typist, "\x03", "sh", "-c", shell)
    m.expect_match("Ctrl-C", shown, "status=130")
    m.expect_match("terminal after it", shown, r" icanon .* echo ")
    done = m.execute(*typist, "wrong", CTL, "set-interval", "3s")
    m.expect("wrong password", done.returncode, 1)
    m.expect_match("wrong password", done.stdout, "access denied: org.metricsagent.set-intervals")
    done = m.execute(*typist, PASSWORD, CTL, "--no-ask-password", "set-interval", "3s")
    m.expect("not to be asked", done.returncode, 1)
    m.expect_match("not asked", done.stdout, "authorization required")
    m.expect("interval", m.agent("MetricsIntervalUSec"), 2_000_000)


def _add_administrator(m, name, uid, password_hash):
    """By hand: a minimal Debian has no useradd. Who is in the group sudo may say yes for polkit."""
    m.write("/etc/passwd", m.read("/etc/passwd") + f"{name}:x:{uid}:65534::/:/bin/sh\n")
    m.write("/etc/shadow", m.read("/etc/shadow") + f"{name}:{password_hash}:::::::\n", mode=0o640)
    groups = m.read("/etc/group").splitlines()
    groups = [group + name if group.startswith("sudo:") else group for group in groups]
    m.write("/etc/group", "\n".join(groups) + "\n")


def without_a_bus_it_says_so(m):
    """No bus is an error that names the bus."""
    command = ["env", "DBUS_SYSTEM_BUS_ADDRESS=unix:path=/nonexistent", CTL]
    way_out = "systemctl reload metrics-agent"
    m.expect_refused("no bus", *command, saying=f"(?s)^cannot reach the system bus: .*{way_out}$")
