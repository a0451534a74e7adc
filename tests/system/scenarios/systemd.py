# SPDX-License-Identifier: Apache-2.0
"""What the agent tells of the service manager, compared with what systemctl says."""

import collections
import json

from machine import AGENT, BUS_NAME, CONFIGURATION, OBJECT

# It depends on the release's own programs: systemd, dpkg, what they confine.
EVERYWHERE = True

# systemd is away for a moment, and the agent tries again at up to 30 s distance.
BACK_SECONDS = 60


def _sample(m, collector="systemd"):
    """Everything that one source has."""
    path, interface = f"{OBJECT}/source/{collector}", "org.metricsagent.Source1"
    answer = m.run(
        "busctl", "--json=short", "call", BUS_NAME, path, interface, "Sample"
    )
    return {name: value["data"] for name, value in json.loads(answer)["data"][0].items()}


def _counts(m):
    """How many units are in which state: the agent's numbers."""
    values = _family(_sample(m), "systemd.units")
    return {state: count for state, count in values.items() if count > 0}


def _family(values, name):
    """The values of a metric by its instances."""
    return {
        full[len(name) + 1 : -1]: value
        for full, value in values.items()
        if full.startswith(f"{name}[")
    }


def _units(m):
    """What systemctl lists: every loaded unit with its state."""
    rows = json.loads(m.run("systemctl", "list-units", "--all", "--output=json"))
    return {row["unit"]: row["active"] for row in rows}


def _services(m):
    """The services among them; others are only mentioned by units, and have no file."""
    rows = json.loads(m.run("systemctl", "list-units", "--all", "--type=service", "--output=json"))
    return [row["unit"] for row in rows if row["load"] == "loaded"]


def _units_by_state(m):
    return dict(collections.Counter(_units(m).values()))


def _settled(m):
    """Waits until no unit changes any more, and the agent says what systemctl says."""

    def both():
        return _counts(m), _units_by_state(m)

    return m.eventually("units by state", both, lambda seen: seen[0] == seen[1])


def _service(m, name, text):
    m.write(f"/run/systemd/system/{name}", f"[Service]\n{text}")
    m.run("systemctl", "daemon-reload")


def units_are_those_that_systemctl_lists(m):
    """Units by state equal systemctl's; what starts and stops moves; nothing is loaded."""
    m.write(CONFIGURATION, '[metrics]\nsources = ["uptime"]\n')
    m.run("systemctl", "start", AGENT)
    m.eventually("jobs", lambda: m.run("systemctl", "list-jobs", "--no-legend"), "")
    before = _units(m)
    path, interface = f"{OBJECT}/source/systemd", "org.metricsagent.Source1"
    m.run("busctl", "set-property", BUS_NAME, path, interface, "Enabled", "b", "true")
    m.eventually("jobs", lambda: _sample(m)["systemd.jobs"], 0)
    _settled(m)
    m.expect("loaded as the agent listens", sorted(set(_units(m)) - set(before)), [])
    _service(m, "sleeper.service", "ExecStart=sleep 1000\n")
    _settled(m)
    active = _counts(m)["active"]
    m.run("systemctl", "start", "sleeper.service")
    m.eventually("active units", lambda: _counts(m)["active"], active + 1)
    _settled(m)
    m.run("systemctl", "stop", "sleeper.service")
    m.eventually("active units", lambda: _counts(m)["active"], active)
    _settled(m)
    # A unit of a moment's life, which has no file.
    m.run("systemd-run", "--wait", "--collect", "true")
    _settled(m)


def a_failed_unit_is_named(m):
    """A unit that fails appears by name and makes the system degraded, until reset-failed."""
    m.run("systemctl", "start", AGENT)
    m.eventually("state", lambda: _state(m), "running")
    m.expect("failed", _family(_sample(m), "systemd.failed"), {})
    _service(m, "broken.service", "ExecStart=false\n")
    m.execute("systemctl", "start", "broken.service")
    m.eventually("failed", lambda: _family(_sample(m), "systemd.failed"), {"broken.service": 1})
    m.eventually("state", lambda: _state(m), "degraded")
    m.expect("systemctl", m.execute("systemctl", "is-system-running").stdout.strip(), "degraded")
    m.run("systemctl", "daemon-reload")
    m.eventually("failed", lambda: _family(_sample(m), "systemd.failed"), {"broken.service": 1})
    m.run("systemctl", "reset-failed")
    m.eventually("failed", lambda: _family(_sample(m), "systemd.failed"), {})
    m.eventually("state", lambda: _state(m), "running")
    _settled(m)


def _state(m):
    """The one state that the manager is in."""
    states = _family(_sample(m), "systemd.state")
    assert sum(states.values()) == 1, states
    return next(state for state, value in states.items() if value == 1)


def restarts_are_the_managers(m):
    """NRestarts of a service that crashes, and of every other, over a reload too."""
    m.run("systemctl", "start", AGENT)
    _service(
        m,
        "crasher.service",
        "ExecStart=false\nRestart=always\nRestartSec=200ms\n"
        "[Unit]\nStartLimitIntervalSec=1000\nStartLimitBurst=10\n",
    )
    m.run("systemctl", "start", "--no-block", "crasher.service")
    m.eventually("restarts", lambda: _restarts(m).get("crasher.service", 0), lambda n: n >= 3)
    m.run("systemctl", "daemon-reload")
    m.eventually("state", lambda: m.unit("ActiveState", "crasher.service"), "failed")
    times = int(m.unit("NRestarts", "crasher.service"))
    m.expect_true("it was restarted until the limit", times >= 9)
    m.eventually("restarts", lambda: _restarts(m)["crasher.service"], times)
    # Those that were there before the agent.
    m.run("systemctl", "restart", AGENT)
    m.eventually("restarts", lambda: _restarts(m).get("crasher.service"), times)
    # A unit that is not loaded has properties too, but this would load it.
    wanted = {unit: int(m.unit("NRestarts", unit)) for unit in _services(m)}
    seen = _restarts(m)
    m.expect_true("the services are systemctl's", sorted(seen) == sorted(wanted))
    m.expect("restarted services", {unit for unit in seen if seen[unit] > 0}, {"crasher.service"})
    m.expect_true("each as often as it says", seen == wanted)


def _restarts(m):
    return _family(_sample(m), "unit.restarts.total")


def boot_times_are_those_of_systemd_analyze(m):
    """The boot's parts, and the manager's version."""
    m.run("systemctl", "start", AGENT)
    values = m.eventually(
        "model", lambda: _sample(m), lambda values: "systemd.boot.userspace" in values, show=len
    )
    said = m.run("systemd-analyze", "time")
    userspace = values["systemd.boot.userspace"]
    m.expect_match("systemd-analyze", said, f"{userspace // 1000}ms|{userspace / 1e6:.3f}s")
    boot = sorted(name for name in values if name.startswith("systemd.boot."))
    # A container is not booted by firmware, loader or kernel.
    m.expect("parts", boot, ["systemd.boot.userspace"])
    version = m.run("systemctl", "--version").split()[2].strip("()")
    m.expect("version", values["systemd.version"], version)


def reloads_and_restarts_of_others_are_lived_through(m):
    """The manager loads again and executes itself again, the bus restarts: values return."""
    m.run("systemctl", "start", AGENT)
    _settled(m)
    for command in ("daemon-reload", "daemon-reexec"):
        m.run("systemctl", command)
        _service(m, f"{command}.service", "ExecStart=false\n")
        m.execute("systemctl", "start", f"{command}.service")
        m.eventually(
            f"failed after {command}",
            lambda: _family(_sample(m), "systemd.failed"),
            lambda failed: f"{command}.service" in failed,
            within=BACK_SECONDS,
        )
        _settled(m)
    pid = m.main_pid()
    m.run("systemctl", "restart", "dbus.service")
    m.execute("systemctl", "start", "--no-block", "daemon-reload.service")
    m.eventually("values", lambda: len(_sample(m)) > 0, True, within=BACK_SECONDS)
    _settled(m)
    m.run("systemctl", "reset-failed")
    m.eventually("state", lambda: _state(m), "running")
    m.expect_steady(pid)


def logind_is_followed_and_never_started(m):
    """Sessions and users are loginctl's; without logind there are none, and none is started."""
    m.run("systemctl", "stop", "systemd-logind.service")
    m.run("systemctl", "start", AGENT)
    m.eventually("systemd", lambda: len(_sample(m)) > 0, True)
    m.expect("logins without logind", _sample(m, "logins"), {})
    m.expect("logind", m.unit("ActiveState", "systemd-logind.service"), "inactive")
    m.run("systemctl", "start", "systemd-logind.service")
    none = {"login.sessions": 0, "login.users": 0}
    m.eventually("logins", lambda: _sample(m, "logins"), none)
    session = ["--property=PAMName=login", "--property=User=nobody", "--unit=session.service"]
    m.run("systemd-run", *session, "sleep", "1000")
    m.eventually("sessions", lambda: _sample(m, "logins")["login.sessions"], lambda n: n > 0)

    def both():
        return _sample(m, "logins"), _loginctl(m)

    m.eventually("logins", both, lambda seen: seen[0] == seen[1])
    m.run("systemctl", "stop", "session.service")
    # logind lets go of a session when the last of its processes has ended.
    m.eventually("logins", both, (none, none), within=60)
    m.run("systemctl", "stop", "systemd-logind.service")
    m.eventually("logins without logind", lambda: _sample(m, "logins"), {})


def _loginctl(m):
    """How many sessions and users loginctl lists."""
    return {
        f"login.{what}": len(m.run("loginctl", "--no-legend", f"list-{what}").splitlines())
        for what in ("sessions", "users")
    }



def the_clock_is_asked_of_timedated(m):
    """The sandbox keeps the agent from the kernel's clock; timedated is asked instead."""
    m.run("systemctl", "start", AGENT)
    pid = m.main_pid()
    said = m.run("timedatectl", "show", "--value", "--property=NTPSynchronized").strip()
    wanted = {"time.synchronised": int(said == "yes")}
    m.eventually("time", lambda: _sample(m, "time"), wanted)
    m.expect_match("filter", m.read(f"/proc/{pid}/status"), r"Seccomp:\s+2")
    m.expect_steady(pid)
    # Without it nothing is known, and that is no error.
    m.run("systemctl", "stop", "systemd-timedated.service")
    m.run("systemctl", "mask", "--runtime", "systemd-timedated.service")
    m.run("systemctl", "restart", AGENT)
    m.eventually("systemd", lambda: len(_sample(m)) > 0, True)
    m.eventually("time without timedated", lambda: _sample(m, "time"), {})
    errors = m.property(f"{OBJECT}/source/time", "org.metricsagent.Source1", "Errors")
    m.expect("errors", errors, 0)
