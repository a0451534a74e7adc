# SPDX-License-Identifier: Apache-2.0
"""The agent on D-Bus, by systemd's own tools."""

import json
import time
import xml.etree.ElementTree as xml

from machine import (
    AGENT,
    AS_NOBODY,
    BUS_NAME,
    COLLECTOR,
    OBJECT,
    RPM_SUITE,
    SOURCE,
    SOURCE_INSIDE,
    Failure,
    call,
    get_property,
    set_property,
)

# On an RPM system, too.
SUITES = ["bookworm", "trixie", RPM_SUITE]
BUS_MESSAGES = f"{SOURCE_INSIDE}/tests/system/bus_messages.py"
MESSAGE_BYTES = 31 * 1024 * 1024
FLOOD_CALLS = 50_000
# The agent's back-off doubles from 1 s.
BACK_SECONDS = 40

CHANGED = "org.freedesktop.DBus.Property.EmitsChangedSignal"


def introspection_is_as_documented(m):
    """What the daemon answers to Introspect is what dbus/*.xml says."""
    m.configure(public_key="rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7")
    m.run("systemctl", "start", AGENT)
    collector = m.agent("Sources")[0]
    for path, interface in (
        (OBJECT, "org.metricsagent.Agent1"),
        (f"{OBJECT}/connection/main", "org.metricsagent.Connection1"),
        (collector, "org.metricsagent.Source1"),
    ):
        documented = (SOURCE / "dbus" / f"{interface}.xml").read_text()
        answered = m.run("busctl", "introspect", "--xml-interface", BUS_NAME, path)
        wanted, served = _members(documented, interface), _members(answered, interface)
        for name in sorted(wanted.keys() | served.keys()):
            if wanted.get(name) != served.get(name):
                raise Failure(
                    f"{interface}.{name}: documented {wanted.get(name)}, served {served.get(name)}"
                )
        m.saw(f"{interface}: {len(served)} members at {path}")
    root = m.run("busctl", "introspect", "--xml-interface", BUS_NAME, OBJECT)
    for interface in ("ObjectManager", "Properties", "Introspectable", "Peer"):
        m.expect_match("standard interface", root, f"org.freedesktop.DBus.{interface}")


def _members(text, interface):
    """An interface's members by name, each as comparable values."""
    node = xml.fromstring(text).find(f"interface[@name='{interface}']")
    if node is None:
        return {}
    members = {}
    for member in node:
        if member.tag == "property":
            changed = member.find(f"annotation[@name='{CHANGED}']")
            value = "true" if changed is None else changed.get("value")
            shape = (member.get("type"), member.get("access"), value)
        elif member.tag in ("method", "signal"):
            out = "in" if member.tag == "method" else "out"
            shape = [
                (arg.get("name"), arg.get("type"), arg.get("direction", out))
                for arg in member.findall("arg")
            ]
        else:
            continue
        members[member.get("name")] = (member.tag, shape)
    return members


def calls_answer(m):
    """Sampling, listing, the object manager: what a script would ask."""
    m.run("systemctl", "start", AGENT)
    # The answer's single value is a grid: name to value with its type.
    (grid,) = json.loads(m.run(*call("Sample", "s", "metrics")))["data"]
    meminfo = m.read("/proc/meminfo")
    total = int(m.expect_match("this machine", meminfo, r"MemTotal: +(\d+) kB").group(1))
    free = grid["mem.free"]["data"]
    m.expect_true(f"mem.free is between 0 and {total} kB: {free}", 0 < free < total)
    m.expect_true("cpu.percent is a percentage", 0 <= grid["cpu.percent"]["data"] <= 100)
    (model,) = json.loads(m.run(*call("Sample", "s", "model")))["data"]
    m.expect("mem.total", model["mem.total"]["data"], total)
    m.expect_refused("another kind", *call("Sample", "s", "weather"), saying="weather|metrics")
    (metrics,) = json.loads(m.run(*call("ListMetrics")))["data"]
    units = {name: unit for name, unit, _, _ in metrics}
    m.expect("unit of mem.total", units["mem.total"], "kB")
    m.expect("unit of sys.uptime", units["sys.uptime"], "s")
    manager = "org.freedesktop.DBus.ObjectManager"
    objects = m.run("busctl", "call", BUS_NAME, OBJECT, manager, "GetManagedObjects")
    m.expect_match("managed objects", objects, f"{OBJECT}/source/[a-z]+")


def large_messages_do_not_reach_it(m):
    """Of messages of nearly 32 MiB from anybody nothing is held."""
    m.start_reporting()
    for unit, name, path in (
        (AGENT, BUS_NAME, OBJECT),
        (COLLECTOR, "org.metricsagent.Collector1", "/org/metricsagent/Collector1"),
    ):
        pid, before = m.main_pid(unit), _most_memory(m, unit)
        sent = m.run(*AS_NOBODY, "python3", BUS_MESSAGES, name, path, "3", timeout=60)
        m.expect("bytes of calls", sent, f"{3 * MESSAGE_BYTES}\n")
        answer = m.run(*AS_NOBODY, "python3", BUS_MESSAGES, name, path, "1", "signal")
        # dbus-daemon says so, dbus-broker drops it: a signal has no answer.
        refusal = answer.split()[1:]
        denied = "org.freedesktop.DBus.Error.AccessDenied"
        m.expect_true(f"a signal is not passed on: {refusal}", refusal in ([], [denied]))
        # It answers, so it has read what came before.
        m.run("busctl", "introspect", name, path)
        most = _most_memory(m, unit)
        m.expect_true(f"at the most {most} kB, {before} kB before", most < before + 8 * 1024)
        m.expect_steady(pid, unit)
    m.expect("state", m.agent("State"), "reporting")


def small_calls_do_not_pile_up(m):
    """Of calls from anybody, as fast as the bus takes them, few are held, and others get answers.

    The memory of the process counts: containers here hold no MemoryMax=.
    """
    m.start_reporting()
    for unit, name, path in (
        (AGENT, BUS_NAME, OBJECT),
        (COLLECTOR, "org.metricsagent.Collector1", "/org/metricsagent/Collector1"),
    ):
        pid, before = m.main_pid(unit), _most_memory(m, unit)
        for method in ("Reload", "NoSuchMethod"):
            flood = ("python3", BUS_MESSAGES, name, path, str(FLOOD_CALLS), "flood", method)
            sent = m.run(*AS_NOBODY, *flood, timeout=120)
            m.expect_true(f"calls of {method}: {sent.strip()}", int(sent) > 0)
            m.run("busctl", "get-property", name, path, name, "Version")
        most = _most_memory(m, unit)
        m.expect_true(f"at the most {most} kB, {before} kB before", most < before + 32 * 1024)
        m.expect_steady(pid, unit)
    m.expect("state", m.agent("State"), "reporting")


def _most_memory(m, unit):
    """What a service's process has had at the most, in kB."""
    status = m.read(f"/proc/{m.main_pid(unit)}/status")
    return int(m.expect_match("memory", status, r"VmHWM:\s*(\d+) kB").group(1))


def interval_changes_at_once(m):
    """From an hour to 200 ms: messages follow, without waiting for the hour to end."""
    m.start_reporting('[intervals]\nmetrics = "1h"\n')
    m.eventually("first messages", lambda: m.agent("MessagesSent"), lambda sent: sent >= 2)
    sent = m.agent("MessagesSent")
    m.run(*set_property("MetricsIntervalUSec", "t", "200000"))
    m.expect("interval", m.agent("MetricsIntervalUSec"), 200_000)
    m.eventually("messages", lambda: m.agent("MessagesSent"), lambda now: now >= sent + 5)
    m.eventually(
        "status line",
        m.status_line,
        lambda line: line.startswith("Reporting to 127.0.0.1:5556 every 200ms"),
    )
    changed = m.event("SETTING_CHANGED")
    m.saw(f"logged: {changed['MESSAGE']} ({changed['SETTING']}={changed['VALUE']})")


def since_is_when_the_state_changed(m):
    """StateSinceUSec follows State and nothing else: no other reason, no reload."""
    before = _now()
    m.start_reporting()
    reporting = _since(m)
    m.expect_true("agent and connection report since their start", before <= min(reporting))
    m.run("systemctl", "reload", AGENT)
    m.expect("since, after a reload", _since(m), reporting)
    stopped = _now()
    m.run("systemctl", "stop", COLLECTOR)
    m.eventually("state", lambda: m.agent("State"), "stale")
    stale = _since(m)
    m.expect_true("stale since the collector was stopped", stopped <= min(stale) <= _now())
    refused = "connection refused"
    m.eventually("reason", lambda: m.agent("StateReason"), lambda reason: refused in reason)
    m.expect("since, after another reason", _since(m), stale)
    # A stranger in its place: another reason again, and still no answer.
    m.run("mv", "/var/lib/metrics-collector", "/var/lib/metrics-collector.away")
    m.run("systemctl", "start", COLLECTOR)
    m.run("systemctl", "reload", AGENT)
    key = "its key is not the configured public_key"
    m.eventually(
        "reason",
        lambda: m.agent("StateReason"),
        lambda reason: key in reason,
        within=BACK_SECONDS,
    )
    m.expect("state", m.agent("State"), "stale")
    m.expect("since, after a third reason", _since(m), stale)


def _since(m):
    """Since when the states of the agent and of its connection hold, in µs since 1970."""
    return m.agent("StateSinceUSec"), m.connection("StateSinceUSec")


def _now():
    return time.time_ns() // 1000


def interval_has_a_range(m):
    """A value out of range is refused, with the range, and changes nothing."""
    m.run("systemctl", "start", AGENT)
    m.expect_refused(
        "99 ms", *set_property("MetricsIntervalUSec", "t", "99999"), saying=".*100 ?ms.*1 ?h.*"
    )
    m.expect_refused(
        "no interval", *call("SetMetricsInterval", "tb", "0", "false"), saying=".*100 ?ms.*1 ?h.*"
    )
    m.expect_refused(
        "half a second", *call("SetStaleInterval", "tb", "500000", "true"), saying=".*1 ?s.*1 ?h.*"
    )
    m.expect("metrics interval", m.agent("MetricsIntervalUSec"), 5_000_000)
    m.expect("stale interval", m.agent("StaleIntervalUSec"), 30_000_000)


def persistent_means_over_a_restart(m):
    """What was set persistently holds until Revert(); what was only written, until the end."""
    m.run("systemctl", "start", AGENT)
    m.run(*call("SetMetricsInterval", "tb", "1500000", "true"))
    m.run(*set_property("StaleIntervalUSec", "t", "9000000"))
    m.expect("metrics interval", m.agent("MetricsIntervalUSec"), 1_500_000)
    m.expect("stale interval", m.agent("StaleIntervalUSec"), 9_000_000)
    m.run("systemctl", "restart", AGENT)
    m.expect("metrics interval after a restart", m.agent("MetricsIntervalUSec"), 1_500_000)
    m.expect("stale interval after a restart", m.agent("StaleIntervalUSec"), 30_000_000)
    m.run("systemctl", "reload", AGENT)
    m.expect("metrics interval after a reload", m.agent("MetricsIntervalUSec"), 1_500_000)
    m.run(*call("Revert"))
    m.expect("metrics interval after Revert()", m.agent("MetricsIntervalUSec"), 5_000_000)
    m.run("systemctl", "restart", AGENT)
    m.expect("metrics interval after both", m.agent("MetricsIntervalUSec"), 5_000_000)


def log_level_is_systemctls(m):
    """systemctl service-log-level and service-log-target, by LogControl1."""
    m.run("systemctl", "start", AGENT)
    m.expect("level", _log(m, "level"), "info")
    m.run("systemctl", "service-log-level", AGENT, "debug")
    m.expect("level", _log(m, "level"), "debug")
    m.expect("target", _log(m, "target"), "journal")
    m.expect_refused("no such level", "systemctl", "service-log-level", AGENT, "loud")
    m.expect("level", _log(m, "level"), "debug")
    identifier = m.property(
        "/org/freedesktop/LogControl1", "org.freedesktop.LogControl1", "SyslogIdentifier"
    )
    m.expect("identifier", identifier, "metrics-agent")


def _log(m, what):
    return m.run("systemctl", f"service-log-{what}", AGENT).strip()


def name_starts_only_an_enabled_agent(m):
    """Who looks at the name starts an agent that was stopped, never one that was disabled."""
    m.expect_refused("disabled", *get_property("Version"))
    m.expect("active state", m.unit("ActiveState"), "inactive")
    m.run("systemctl", "enable", AGENT)
    m.expect_match("version", m.run(*get_property("Version")), r"\d+\.\d+\.\d+")
    # It answers on the bus a moment before it says that it is ready.
    m.eventually("active state", lambda: m.unit("ActiveState"), "active")
    m.run("systemctl", "disable", "--now", AGENT)
    m.expect_refused("disabled again", *get_property("Version"))
    m.expect("active state", m.unit("ActiveState"), "inactive")
