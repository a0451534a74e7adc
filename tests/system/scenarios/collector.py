# SPDX-License-Identifier: Apache-2.0
"""The collector as a service: its settings, reloads, the bus, its log."""

import json
import re

from machine import AS_NOBODY, COLLECTOR, RPM_SUITE

# On an RPM system, too.
SUITES = ["bookworm", "trixie", RPM_SUITE]

NAME = "org.metricsagent.Collector1"
OBJECT = "/org/metricsagent/Collector1"
SETTINGS = "/etc/metrics-collector/metrics-collector.toml"

# Of a file with a bad timeout in its fourth line.
REASON = rf"busctl\[\d+\]: .*{SETTINGS}:4.*hosts\.timeout.*soon.*"

# What busctl says of AccessDenied and InteractiveAuthorizationRequired.
DENIED = "(?i)denied|not authorized|authentication required|authorization"


def is_on_the_bus_once_started(m):
    """enable --now: ready, under its name, seen by busctl; the agent's host is in its list."""
    m.run("systemctl", "enable", "--now", COLLECTOR)
    pid = m.main_pid(COLLECTOR)
    m.start_reporting()
    m.await_host()
    m.expect("state", _property(m, "State"), "ready")
    m.expect("endpoint", _property(m, "Endpoint"), "*:5556")
    m.expect("settings", _property(m, "ConfigurationFiles"), [SETTINGS])
    m.expect("its key", _property(m, "PublicKey"), m.connection("CollectorKey"))
    host = m.agent("HostName")
    m.eventually("hosts", lambda: _names(m), [host])
    for kind in ("model", "metrics"):
        m.eventually(
            kind,
            lambda kind=kind: m.execute(*_call("GetMetrics", "ss", host, kind)).stdout,
            lambda text: "mem." in text,
            show=len,
        )
    m.expect_match("introspection", m.run("busctl", "introspect", NAME, OBJECT), "ListHosts")
    m.expect_steady(pid, COLLECTOR)


def reload_is_whole_or_refused(m):
    """A good file is in force after systemctl reload; a bad one fails it and changes nothing."""
    m.start_reporting()
    m.await_host()
    pid = m.main_pid(COLLECTOR)
    m.write(SETTINGS, '[log]\nlevel = "debug"\n')
    m.run("systemctl", "reload", COLLECTOR)
    m.event("COLLECTOR_CONFIGURATION_RELOADED", COLLECTOR)
    level = m.run("systemctl", "service-log-level", COLLECTOR).strip()
    m.expect("log level", level, "debug")

    m.write(SETTINGS, '[log]\nlevel = "info"\n[hosts]\ntimeout = "soon"\n')
    m.expect_refused("reload", "systemctl", "reload", COLLECTOR)
    # What systemctl points to: the reason, once the journal has it.
    status = ("systemctl", "status", "--full", "--no-pager", COLLECTOR)
    m.eventually(
        "reason shown",
        lambda: bool(re.search(REASON, m.execute(*status).stdout)),
        True,
    )
    refused = m.event("COLLECTOR_CONFIGURATION_INVALID", COLLECTOR)
    m.expect_match("its ERROR=", refused["ERROR"], rf"{SETTINGS}.*")
    explained = m.run("journalctl", "-x", "--no-pager", "--unit", COLLECTOR)
    m.expect_match("explained", explained, "metrics-collector --check-config")
    level = m.run("systemctl", "service-log-level", COLLECTOR).strip()
    m.expect("log level", level, "debug")
    m.expect("unit", m.unit("ActiveState", COLLECTOR), "active")
    m.expect("state", m.agent("State"), "reporting")
    m.expect_steady(pid, COLLECTOR)


def reload_works_without_a_bus(m):
    """No bus at all: systemctl reload sends SIGHUP, and the log has the outcome."""
    m.run("systemctl", "start", COLLECTOR)
    pid = m.main_pid(COLLECTOR)
    m.run("systemctl", "mask", "--now", "--runtime", "dbus.socket", "dbus.service")
    said = m.event("COLLECTOR_BUS_UNAVAILABLE", COLLECTOR)
    m.expect_match("the way there", said["MESSAGE"], ".*systemctl reload metrics-collector.*")
    m.write(SETTINGS, '[hosts]\ntimeout = "soon"\n')
    m.run("systemctl", "reload", COLLECTOR)
    refused = m.event("COLLECTOR_CONFIGURATION_INVALID", COLLECTOR)
    m.expect_match("its ERROR=", refused["ERROR"], rf"{SETTINGS}:2.*")
    m.write(SETTINGS, '[hosts]\ntimeout = "45s"\n')
    m.run("systemctl", "kill", "-s", "HUP", COLLECTOR)
    m.event("COLLECTOR_CONFIGURATION_RELOADED", COLLECTOR)
    m.expect_steady(pid, COLLECTOR)


def what_takes_a_restart_is_said(m):
    """Another address: the reload succeeds, says so, and the restart brings it."""
    m.run("systemctl", "start", COLLECTOR)
    m.write(SETTINGS, '[listen]\nagents = "127.0.0.1:5566"\n')
    m.run("systemctl", "reload", COLLECTOR)
    said = m.event("COLLECTOR_RESTART_NEEDED", COLLECTOR)
    m.expect("its SETTINGS=", said["SETTINGS"], "listen.agents")
    m.expect("endpoint", _property(m, "Endpoint"), "*:5556")
    m.run("systemctl", "restart", COLLECTOR)
    m.expect("endpoint", _property(m, "Endpoint"), "127.0.0.1:5566")


def bad_settings_keep_it_from_starting(m):
    """An invalid file at the start: status 78, no restart, and the reason in the journal."""
    m.write(SETTINGS, "[listen]\nagent = 5\n")
    m.expect_refused("start", "systemctl", "start", COLLECTOR)
    m.expect("exit status", m.unit("ExecMainStatus", COLLECTOR), "78")
    m.expect("restarts", m.unit("NRestarts", COLLECTOR), "0")
    refused = m.event("COLLECTOR_CONFIGURATION_INVALID", COLLECTOR)
    m.expect_match("its ERROR=", refused["ERROR"], f"{SETTINGS}:2: listen.agent: unknown key.*")
    m.expect_refused("check", "metrics-collector", "--check-config", saying="unknown key")


def log_level_is_systemds(m):
    """systemctl service-log-level sets it, and no other program's."""
    m.run("systemctl", "start", COLLECTOR)
    m.run("systemctl", "service-log-level", COLLECTOR, "debug")
    m.expect("level", m.run("systemctl", "service-log-level", COLLECTOR).strip(), "debug")
    m.run("systemctl", "service-log-level", COLLECTOR, "info")
    target = m.run("systemctl", "service-log-target", COLLECTOR).strip()
    m.expect("target", target, "journal")


def who_has_no_rights_may_look_alone(m):
    """Reading is for everybody; reloading, forgetting and the log are not."""
    m.run("systemctl", "start", COLLECTOR)
    m.expect_match("list", m.run(*AS_NOBODY, *_list()), "false")
    level = [
        "busctl", "set-property", NAME, "/org/freedesktop/LogControl1",
        "org.freedesktop.LogControl1", "LogLevel", "s", "debug",
    ]  # fmt: skip
    for command in (_call("Reload"), _call("ForgetHost", "s", "web1"), level):
        m.expect_refused(" ".join(command[-3:]), *AS_NOBODY, *command, saying=DENIED)
    m.expect("level", m.run("systemctl", "service-log-level", COLLECTOR).strip(), "info")


def a_look_starts_what_is_enabled(m):
    """Enabled and stopped: a look at the name starts it; disabled, nothing does."""
    m.expect_refused("a look", *_call("ListHosts", "ssu", "", "", "0"))
    m.run("systemctl", "enable", COLLECTOR)
    m.eventually("a look", lambda: m.execute(*_list()).returncode, 0)
    m.expect("active state", m.unit("ActiveState", COLLECTOR), "active")
    m.run("systemctl", "disable", "--now", COLLECTOR)
    m.expect_refused("a look", *_list())


def goes_on_without_the_bus(m):
    """The bus is restarted: hosts are heard meanwhile, and the name is back."""
    m.start_reporting()
    m.await_host()
    pid = m.main_pid(COLLECTOR)
    m.run("systemctl", "restart", "dbus.service")
    m.eventually("on the bus", lambda: m.execute(*_list()).returncode, 0, within=60)
    m.event("COLLECTOR_BUS_UNAVAILABLE", COLLECTOR)
    m.event("COLLECTOR_BUS_AVAILABLE", COLLECTOR)
    m.expect_steady(pid, COLLECTOR)


def its_settings_show_where_they_are_from(m):
    """--print-config as root: every value, and the drop-in that it is from."""
    m.write("/etc/metrics-collector/metrics-collector.d/10.toml", '[hosts]\ntimeout = "45s"\n')
    shown = m.run("metrics-collector", "--print-config")
    place = r"/etc/metrics-collector/metrics-collector\.d/10\.toml:2"
    m.expect_match("shown", shown, rf'timeout = "45s"  # {place}')
    m.run("systemctl", "start", COLLECTOR)
    again = m.run("metrics-collector", "--print-config")
    m.expect_match("its key", again, r'secret_key_file = "/var/lib/metrics-collector/.*"')


def _call(method, *arguments):
    return ["busctl", "--json=short", "call", NAME, OBJECT, NAME, method, *arguments]


def _list():
    return _call("ListHosts", "ssu", "", "", "0")


def _names(m):
    hosts, _more = json.loads(m.run(*_list()))["data"]
    return [host[0] for host in hosts]


def _property(m, name):
    answer = m.run("busctl", "--json=short", "get-property", NAME, OBJECT, NAME, name)
    return json.loads(answer)["data"]
