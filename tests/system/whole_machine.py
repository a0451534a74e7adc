# SPDX-License-Identifier: Apache-2.0
"""What only a machine of its own shows: its limits, its clock, its power.

One machine for all: each scenario begins with what the one before has left, or with a machine that
was just installed.
"""

import json
import time
import tomllib

from machine import AGENT, AS_NOBODY, BUS_NAME, COLLECTOR, OBJECT, SOURCE_INSIDE, call

COLLECTOR_PRINTS = "/run/metrics-collector.lines"
STATE_DIRECTORY = "/var/lib/metrics-agent"

COLLECTOR_NAME = "org.metricsagent.Collector1"
COLLECTOR_OBJECT = "/org/metricsagent/Collector1"
BUS_MESSAGES = f"{SOURCE_INSIDE}/tests/system/bus_messages.py"
# The bus takes 32 MiB, its headers included.
MESSAGE_BYTES = 31 * 1024 * 1024
MESSAGES = 4
# What a service may have more after all that was answered.
MESSAGE_ROOM = 8 * 1024 * 1024

# As many connections as the settings may have, one of them to a collector that is there.
CONNECTIONS = 16
# Long enough for every look-up to be begun, and some to be given up.
WORK_SECONDS = 20
# Of what the unit allows, at most this part may ever be used: the rest is room.
ROOM = 0.5

DAY_SECONDS = 24 * 60 * 60
# How long each clock is watched, in seconds of a clock that cannot be set.
WATCH_SECONDS = 10
# A machine that is emulated wakes late: a message more or less is no burst.
TOLERANCE = 3

# Persistent settings that are written before the power is cut.
WRITTEN = 15


# Joins the cgroup and forks there until that fails, or so often, and writes down why it failed.
# What was forked sleeps.
FORKS = """
import os, sys, time
procs, most, answer = sys.argv[1], int(sys.argv[2]), sys.argv[3]
with open(procs, "w") as file:
    file.write(str(os.getpid()))
why = "nothing failed"
for _ in range(most):
    try:
        if os.fork() == 0:
            for descriptor in range(3):
                os.close(descriptor)
            time.sleep(3600)
            os._exit(0)
    except OSError as error:
        why = error.strerror
        break
with open(answer, "w") as file:
    file.write(why)
"""


def has_what_a_container_lacks(m):
    """Its kernel has the controllers, and the units' limits are theirs."""
    m.saw("kernel " + m.run("uname", "-r"))
    m.saw(m.run("systemctl", "--version").splitlines()[0])
    controllers = m.read("/sys/fs/cgroup/cgroup.controllers").split()
    for wanted in ("cpu", "io", "memory", "pids"):
        m.expect_true(f"controller {wanted}", wanted in controllers)
    start(m)
    for unit in (AGENT, COLLECTOR):
        for prop, file in (
            ("MemoryHigh", "memory.high"),
            ("MemoryMax", "memory.max"),
            ("TasksMax", "pids.max"),
        ):
            m.expect(f"{unit}: {file}", cgroup(m, file, unit), m.unit(prop, unit))
        m.expect_steady(m.main_pid(unit), unit)


def has_room_within_its_limits(m):
    """All connections at work, the resolver hangs: far below MemoryMax= and TasksMax=."""
    start(m)
    # Takes questions, and never answers.
    deaf = "import socket, time; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); "
    deaf += "s.bind(('127.0.0.1', 53)); time.sleep(3600)"
    m.run("systemd-run", "--quiet", "--unit=deaf", "python3", "-c", deaf)
    m.write("/etc/resolv.conf", "nameserver 127.0.0.1\noptions timeout:30 attempts:5\n")
    pid, key = m.main_pid(), m.connection("CollectorKey")
    more = "".join(
        f'[collector.c{number}]\nendpoint = "c{number}.example.org"\n'
        f"public_key = {json.dumps(key)}\n"
        for number in range(1, CONNECTIONS)
    )
    m.configure(key, more + '[intervals]\nmetrics = "100ms"\n')
    m.run("systemctl", "reload", AGENT)
    m.expect("connections", len(m.agent("Connections")), CONNECTIONS)
    until = time.monotonic() + WORK_SECONDS
    while time.monotonic() < until:
        # Who looks at it costs memory, too.
        m.run(*call("Sample", "s", "metrics"))
        m.run("busctl", "introspect", BUS_NAME, OBJECT)
        m.run("systemctl", "reload", AGENT)
    m.expect("state", m.agent("State"), "reporting")
    # No look-up has come to an answer.
    state = m.connection("State", "c1")
    m.expect_true(f"c1 is {state}", state in ("connecting", "stale"))
    for unit in (AGENT, COLLECTOR):
        _expect_room(m, unit)
    m.expect_steady(pid)
    m.run("systemctl", "stop", "deaf")
    m.run("truncate", "--size=0", "/etc/resolv.conf")


def takes_in_no_large_message_of_the_bus(m):
    """Messages of nearly 32 MiB from a user without rights: no memory goes, both answer on."""
    start(m)
    services = [(AGENT, BUS_NAME, OBJECT), (COLLECTOR, COLLECTOR_NAME, COLLECTOR_OBJECT)]
    for unit, name, path in services:
        pid, before = m.main_pid(unit), _memory(m, unit)
        # At once, so that none is gone before the next one is there.
        sent = m.run(*AS_NOBODY, "python3", BUS_MESSAGES, name, path, str(MESSAGES), timeout=60)
        m.expect("bytes sent", int(sent), MESSAGES * MESSAGE_BYTES)
        # It answers, and has read what came before.
        m.run("busctl", "introspect", name, path)
        after = _memory(m, unit)
        for what in after:
            text = f"{unit}: {what} memory was {before[what]}, is {after[what]}"
            m.expect_true(text, after[what] < before[what] + MESSAGE_ROOM)
        m.expect(f"{unit}: limit hit", events(m, "memory.events", unit)["high"], "0")
        m.expect_steady(pid, unit)
    m.expect("state", m.agent("State"), "reporting")
    # The bound below, for what is not foreseen: it holds several of them.
    for unit, _, _ in services:
        high, most = int(m.unit("MemoryHigh", unit)), int(m.unit("MemoryMax", unit))
        m.expect_true(f"{unit}: {high} < {most}", most - high >= 3 * MESSAGE_BYTES)


def gives_memory_back_under_pressure(m):
    """The kernel's own pressure: the agent is told, gives back, and goes on."""
    start(m, '[intervals]\nmetrics = "100ms"\n[log]\nlevel = "debug"\n')
    pid, high = m.main_pid(), m.unit("MemoryHigh")
    # Less than it has: the kernel takes pages away, and the agent waits for each to come back.
    m.run("systemctl", "set-property", "--runtime", AGENT, "MemoryHigh=512K")
    m.eventually("given back", lambda: _given_back(m), len, within=120, show=len)
    m.run("systemctl", "set-property", "--runtime", AGENT, f"MemoryHigh={high}")
    m.saw("pressure: " + cgroup(m, "memory.pressure"))
    sent = m.agent("MessagesSent")
    m.eventually("messages", lambda: m.agent("MessagesSent"), lambda now: now > sent + 5)
    m.expect("state", m.agent("State"), "reporting")
    m.expect_steady(pid)


def comes_back_when_it_is_out_of_memory(m):
    """MemoryMax= is held: the kernel ends the agent there, and systemd starts it again."""
    start(m)
    pid, limit = m.main_pid(), m.unit("MemoryMax")
    m.run("systemctl", "set-property", "--runtime", AGENT, "MemoryMax=256K")
    m.eventually("restarts", lambda: int(m.unit("NRestarts")), lambda n: n >= 1, within=120)
    m.run("systemctl", "set-property", "--runtime", AGENT, f"MemoryMax={limit}")
    m.eventually("state", lambda: m.agent("State"), "reporting", within=120)
    results = {e["UNIT_RESULT"] for e in m.journal(f"UNIT={AGENT}") if "UNIT_RESULT" in e}
    m.expect("results of the runs before", results, {"oom-kill"})
    m.expect_true("it is another process", m.main_pid() not in (0, pid))


def has_no_more_tasks_than_it_may(m):
    """TasksMax= is held: forks in the agent's cgroup end there, and it reports all the while."""
    start(m, '[intervals]\nmetrics = "1s"\n')
    pid, limit = m.main_pid(), int(m.unit("TasksMax"))
    directory = f"/sys/fs/cgroup/system.slice/{AGENT}"
    m.run("python3", "-c", FORKS, f"{directory}/cgroup.procs", str(2 * limit), "/run/forks")
    m.expect("why no more", m.read("/run/forks").strip(), "Resource temporarily unavailable")
    m.expect("tasks at the most", int(cgroup(m, "pids.peak")), limit)
    refused = int(events(m, "pids.events", AGENT)["max"])
    m.expect_true(f"tasks that the kernel refused: {refused}", refused >= 1)
    sent = m.agent("MessagesSent")
    m.eventually("messages", lambda: m.agent("MessagesSent"), lambda now: now > sent + 2, within=60)
    m.expect("state", m.agent("State"), "reporting")
    # And none of them outlives the service.
    m.run("systemctl", "stop", AGENT)
    m.expect("left in its cgroup", m.execute("cat", f"{directory}/cgroup.procs").stdout, "")
    m.run("systemctl", "start", AGENT)
    m.eventually("state", lambda: m.agent("State"), "reporting", within=60)
    m.expect_true("it is another process", m.main_pid() not in (0, pid))


def clock_is_set(m):
    """A day forward, a day back: neither a wrong state nor a burst, at either end."""
    m.drop_in(
        "[Service]\nExecStart=\nExecStart=/usr/bin/metrics-collector --print\n"
        f"StandardOutput=append:{COLLECTOR_PRINTS}\n",
        COLLECTOR,
    )
    start(m, '[intervals]\nmetrics = "500ms"\nstale = "20s"\n')
    pids = {unit: m.main_pid(unit) for unit in (AGENT, COLLECTOR)}
    lost = len(m.events("CONNECTION_LOST"))
    gone = len(m.events("COLLECTOR_HOST_GONE", COLLECTOR))
    _expect_even_pace(m, "as it is")
    for what, seconds in (("a day later", DAY_SECONDS), ("back", -DAY_SECONDS)):
        now = int(m.run("date", "+%s"))
        m.run("date", f"--set=@{now + seconds}")
        _expect_even_pace(m, what)
        heard = m.connection("LastReceivedUSec") / 1e6
        age = int(m.run("date", "+%s")) - heard
        m.expect_true(f"last heard {age:.0f} s ago, by the clock as it is now", -2 < age < 60)
        m.expect_match("status line", m.status_line(), r"last heard \d+s ago")
        m.expect("state", m.agent("State"), "reporting")
    m.expect("connections lost", len(m.events("CONNECTION_LOST")) - lost, 0)
    m.expect("hosts gone", len(m.events("COLLECTOR_HOST_GONE", COLLECTOR)) - gone, 0)
    for unit, pid in pids.items():
        m.expect("main process", m.main_pid(unit), pid)


def reports_again_after_a_reboot(m):
    """Enabled, and rebooted: it reports by itself, under the same key and settings."""
    start(m)
    key = m.agent("PublicKey")
    m.run(*call("SetMetricsInterval", "tb", "700000", "true"))
    m.reboot()
    m.eventually("state", lambda: m.agent("State"), "reporting", within=120)
    m.expect("public key", m.agent("PublicKey"), key)
    m.expect("interval", m.agent("MetricsIntervalUSec"), 700_000)
    for unit in (AGENT, COLLECTOR):
        m.expect(f"restarts of {unit}", m.unit("NRestarts", unit), "0")
    m.saw(m.status_line())


def survives_a_power_cut(m):
    """The power goes while settings are written: the old or the new one is there, whole."""
    if m.unit("ActiveState") != "active":
        start(m)
    key = m.agent("PublicKey")
    m.run(*call("SetMetricsInterval", "tb", "500000", "true"))
    loop = "i=0; while i=$(((i + 1) % 400)); do echo $i > /run/written; "
    loop += "metrics-agentctl set-interval $((i + 500))ms --persistent; done"
    m.run("systemd-run", "--quiet", "--unit=writer", "sh", "-c", loop)
    m.eventually(
        "settings written",
        lambda: int(m.run("cat", "/run/written") or 0),
        lambda written: written > WRITTEN,
        within=240,
    )
    m.cut_power()
    m.power_on()
    m.eventually("state", lambda: m.agent("State"), "reporting", within=120)
    text = m.read(f"{STATE_DIRECTORY}/settings.toml")
    m.saw("settings.toml: " + text)
    m.expect_match("interval in the file", tomllib.loads(text)["intervals"]["metrics"], r"^\d+ms$")
    interval = m.agent("MetricsIntervalUSec")
    m.expect_true(f"interval {interval} is one of those", 500_000 <= interval < 900_000)
    m.expect("public key", m.agent("PublicKey"), key)
    checked = m.execute("metrics-agent", "--check-config")
    m.expect("complaints", (checked.returncode, checked.stderr), (0, ""))
    m.expect("restarts", m.unit("NRestarts"), "0")


SCENARIOS = [
    has_what_a_container_lacks,
    has_room_within_its_limits,
    takes_in_no_large_message_of_the_bus,
    gives_memory_back_under_pressure,
    comes_back_when_it_is_out_of_memory,
    has_no_more_tasks_than_it_may,
    clock_is_set,
    reports_again_after_a_reboot,
    survives_a_power_cut,
]


def start(m, more=""):
    """Agent and collector enabled and reporting, with these settings and no others."""
    m.run("systemctl", "stop", AGENT, COLLECTOR)
    m.run("systemctl", "reset-failed")
    m.run("systemctl", "enable", "--quiet", AGENT, COLLECTOR)
    m.run("rm", "-f", f"{STATE_DIRECTORY}/settings.toml")
    m.start_reporting(more)


def cgroup(m, file, unit=AGENT):
    return m.read(f"/sys/fs/cgroup/system.slice/{unit}/{file}").strip()


def events(m, file, unit):
    return dict(line.split() for line in cgroup(m, file, unit).splitlines())


def _expect_room(m, unit):
    """What a service has used at most is well below what it may."""
    for what, limit in (("memory", "MemoryMax"), ("pids", "TasksMax")):
        peak, bound = int(cgroup(m, f"{what}.peak", unit)), int(m.unit(limit, unit))
        m.expect_true(f"{unit}: {what} {peak} of {bound} at the most", peak <= ROOM * bound)
        m.expect(f"{unit}: limit hit", events(m, f"{what}.events", unit)["max"], "0")


def _memory(m, unit):
    """What a service has, and what it has had at the most."""
    return {what: int(cgroup(m, f"memory.{what}", unit)) for what in ("current", "peak")}


def _given_back(m):
    messages = [str(entry["MESSAGE"]) for entry in m.journal("--unit", AGENT)]
    return [text for text in messages if text.startswith("Memory is short on this host")]


def _expect_even_pace(m, what):
    """As many messages as there is time for, where they are sent and where they arrive."""
    began, sent, printed = uptime(m), m.agent("MessagesSent"), _printed(m)
    time.sleep(WATCH_SECONDS)
    interval = m.agent("MetricsIntervalUSec") / 1e6
    due = (uptime(m) - began) / interval
    for where, number in (
        ("sent", m.agent("MessagesSent") - sent),
        ("arrived", _printed(m) - printed),
    ):
        m.expect_true(
            f"{what}: {number} {where} where {due:.0f} were due",
            due / 2 <= number <= due + TOLERANCE,
        )


def uptime(m):
    """Of a clock that cannot be set."""
    return float(m.read("/proc/uptime").split()[0])


def _printed(m):
    return int(m.run("wc", "-l", COLLECTOR_PRINTS).split()[0])
