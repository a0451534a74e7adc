# SPDX-License-Identifier: Apache-2.0
"""Who may do what: the bus policy and polkit."""

import re

from machine import (
    AGENT,
    AS_NOBODY,
    BUS_NAME,
    OBJECT,
    RPM_SUITE,
    SOURCE,
    call,
    get_property,
    set_property,
)

# On an RPM system, too.
SUITES = ["bookworm", "trixie", RPM_SUITE]

# What busctl says of AccessDenied and InteractiveAuthorizationRequired.
DENIED = "(?i)denied|not authorized|authentication required|authorization"
REPLY_IS_OWNER = "u 1"

# As the manual page calls it.
GROUP = "metrics-admins"


def anyone_may_look(m):
    """Somebody without rights reads, samples and lists."""
    m.run("systemctl", "start", AGENT)
    m.expect_match("state", m.run(*AS_NOBODY, *get_property("State")), "unconfigured")
    m.expect_match("sample", m.run(*AS_NOBODY, *call("Sample", "s", "metrics")), "mem.free")
    m.expect_match("list", m.run(*AS_NOBODY, *call("ListMetrics")), "mem.free")
    m.run(*AS_NOBODY, "busctl", "introspect", BUS_NAME, OBJECT)


def nobody_may_change(m):
    """Somebody without rights is refused whatever changes the agent, and nothing is changed."""
    m.run("systemctl", "start", AGENT)
    collector = m.agent("Sources")[0]
    log = ("/org/freedesktop/LogControl1", "org.freedesktop.LogControl1")
    for command in (
        set_property("MetricsIntervalUSec", "t", "1000000"),
        set_property("StaleIntervalUSec", "t", "10000000"),
        call("SetMetricsInterval", "tb", "1000000", "true"),
        call("SetStaleInterval", "tb", "10000000", "true"),
        call("Revert"),
        call("Reconnect"),
        call("Reload"),
        _set(collector, "org.metricsagent.Source1", "Enabled", "b", "false"),
        _set(*log, "LogLevel", "s", "debug"),
        _set(*log, "LogTarget", "s", "null"),
    ):
        m.expect_refused(" ".join(command[5:]), *AS_NOBODY, *command, saying=DENIED)
    m.expect("metrics interval", m.agent("MetricsIntervalUSec"), 5_000_000)
    m.expect("stale interval", m.agent("StaleIntervalUSec"), 30_000_000)
    m.expect("enabled", m.property(collector, "org.metricsagent.Source1", "Enabled"), True)
    level = m.run("systemctl", "service-log-level", AGENT).strip()
    m.expect("log level", level, "info")


def _set(path, interface, prop, signature, value):
    return ["busctl", "set-property", BUS_NAME, path, interface, prop, signature, value]


def nobody_else_may_own_the_name(m):
    """The bus keeps the name for the service's user and root."""
    request = ["busctl", "call", "org.freedesktop.DBus", "/org/freedesktop/DBus"]
    request += ["org.freedesktop.DBus", "RequestName", "su", BUS_NAME, "4"]
    m.expect_refused("nobody", *AS_NOBODY, *request, saying=DENIED + "|not allowed")
    m.expect("root", m.run(*request).strip(), REPLY_IS_OWNER)


def polkit_rule_lets_a_group(m):
    """An administrator's rule opens one action, to one group: no other action, and no other user."""
    member, other = _users(m)
    _add_rule(
        m,
        "polkit.addRule(function(action, subject) {\n"
        f'  if (action.id == "org.metricsagent.set-intervals" && subject.isInGroup("{GROUP}"))\n'
        "    return polkit.Result.YES;\n"
        "});\n",
    )
    m.run("systemctl", "start", AGENT)
    change = set_property("MetricsIntervalUSec", "t", "1000000")
    m.expect_refused("who is not in the group", *other, *change, saying=DENIED)
    m.expect("metrics interval", m.agent("MetricsIntervalUSec"), 5_000_000)
    m.run(*member, *change)
    m.expect("metrics interval by a member", m.agent("MetricsIntervalUSec"), 1_000_000)
    m.expect_refused("another action", *member, *call("Reload"), saying=DENIED)


def the_manuals_polkit_rule_lets_a_group(m):
    """The rule of the manual page, as it is there: every action, to that group alone."""
    member, other = _users(m)
    page = (SOURCE / "docs/man/org.metricsagent.Agent1.5").read_text()
    (rule,) = re.findall(r"^(polkit\.addRule.*?)^\.EE$", page, re.MULTILINE | re.DOTALL)
    # A dash that stays one, in roff.
    _add_rule(m, rule.replace("\\-", "-"))
    m.start_reporting()
    for command in (
        call("SetMetricsInterval", "tb", "1000000", "true"),
        call("Revert"),
        call("Reconnect"),
        call("Reload"),
        _set(m.agent("Sources")[0], "org.metricsagent.Source1", "Enabled", "b", "false"),
        _set("/org/freedesktop/LogControl1", "org.freedesktop.LogControl1", "LogLevel", "s", "err"),
    ):
        what = " ".join(command[5:])
        m.expect_refused(f"{what} by another", *other, *command, saying=DENIED)
        m.run(*member, *command)
        m.saw(f"{what} by a member is done")


def _users(m):
    """Two users, the first in the group: what goes before a command to run it as one of them."""
    m.run("groupadd", GROUP)
    m.run("useradd", "--groups", GROUP, "alice")
    m.run("useradd", "bob")
    m.saw(m.run("id", "alice") + m.run("id", "bob"))
    return [
        ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups"]
        for user in ("alice", "bob")
    ]


def _add_rule(m, rule):
    m.write("/etc/polkit-1/rules.d/50-metrics-agent.rules", rule)
    m.run("systemctl", "restart", "polkit.service")


def without_polkit_only_root(m):
    """No polkit: root may, and no other user."""
    m.run("systemctl", "mask", "--now", "polkit.service")
    m.run("systemctl", "start", AGENT)
    m.run(*set_property("MetricsIntervalUSec", "t", "1000000"))
    m.expect("metrics interval", m.agent("MetricsIntervalUSec"), 1_000_000)
    m.expect_refused(
        "nobody",
        *AS_NOBODY,
        *set_property("MetricsIntervalUSec", "t", "2000000"),
        # With dbus-broker the mask is as if polkit were not installed.
        saying=DENIED + "|polkit could not be asked whether .*: .*polkit.service is masked",
    )
    m.expect("metrics interval after", m.agent("MetricsIntervalUSec"), 1_000_000)
    m.run("systemctl", "reload", AGENT)
    m.saw("systemctl reload works")
