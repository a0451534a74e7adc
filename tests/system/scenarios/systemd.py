# SPDX-License-Identifier: Apache-2.0
"""What the agent tells of the service manager, compared with what systemctl says."""

import collections
import json

from machine import AGENT, OBJECT

# systemd is away for a moment, and the agent tries again at up to 30 s distance.
BACK_SECONDS = 60


def _sample(m, collector="systemd"):
    """Everything that one metric collector has."""
    path, interface = f"{OBJECT}/collector/{collector}", "org.metricsagent.Collector1"
    answer = m.run(
        "busctl", "--json=short", "call", "org.metricsagent.Agent1", path, interface, "Sample"
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
    before = _units(m)
    m.run("systemctl", "start", AGENT)
    m.eventually("jobs", lambda: _sample(m)["systemd.jobs"], 0)
    _settled(m)
    loaded = set(_units(m)) - set(before) - {AGENT}
    m.expect("units that are loaded since", sorted(unit for unit in loaded if "agent" not in unit), [])
    _service(m, "sleeper.service", "ExecStart=sleep 1000\n")
    _settled(m)
    active = _counts(m)["active"]
    m.run("systemctl", "start", "sleeper.service")
    m.eventually("active units", lambda: _counts(m)["active"], active + 1)
    _settled(m)
    m.run("systemctl", "stop", "sleeper.service")
    m.eventually("active units", lambda: _counts(m)["active"], active)
    _settled(m)
    # A unit of a moment's life, which nobody has a file of.
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
        "ExecStart=false\nRestart=always\nRestartSec=100ms\n[Unit]\nStartLimitIntervalSec=0\n",
    )
    m.run("systemctl", "start", "--no-block", "crasher.service")
    m.eventually("restarts", lambda: _restarts(m)["crasher.service"], lambda times: times >= 5)
    m.run("systemctl", "daemon-reload")
    m.eventually("restarts", lambda: _restarts(m)["crasher.service"], lambda times: times >= 8)
    m.run("systemctl", "stop", "crasher.service")
    times = int(m.unit("NRestarts", "crasher.service"))
    m.eventually("restarts", lambda: _restarts(m)["crasher.service"], times)
    # Those that were there before the agent.
    m.run("systemctl", "restart", AGENT)
    m.eventually("restarts", lambda: _restarts(m)["crasher.service"], times)
    # A unit that is not loaded has properties too, but this would load it.
    services = [unit for unit in _units(m) if unit.endswith(".service")]
    wanted = {unit: int(m.unit("NRestarts", unit) or 0) for unit in services}
    seen = _restarts(m)
    m.expect("services of which the agent knows", sorted(seen), sorted(wanted))
    m.expect("restarts", {u: n for u, n in seen.items() if n}, {u: n for u, n in wanted.items() if n})


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
    """The manager loads anew and executes itself anew, the bus restarts: values return."""
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
    m.run("loginctl", "enable-linger", "nobody")
    m.eventually("logins", lambda: _sample(m, "logins"), {"login.sessions": 0, "login.users": 1})
    _logins(m)
    m.run("loginctl", "disable-linger", "nobody")
    m.eventually("logins", lambda: _sample(m, "logins"), lambda seen: seen == _loginctl(m))
    m.run("systemctl", "stop", "systemd-logind.service")
    m.eventually("logins without logind", lambda: _sample(m, "logins"), {})


def _loginctl(m):
    """How many sessions and users loginctl lists."""
    return {
        f"login.{what}": len(m.run("loginctl", "--no-legend", f"list-{what}").splitlines())
        for what in ("sessions", "users")
    }


def _logins(m):
    m.expect("logins", _sample(m, "logins"), _loginctl(m))
