# SPDX-License-Identifier: Apache-2.0
"""New settings for an agent that runs."""

import json
import re

from machine import AGENT, COLLECTOR, CONFIGURATION, RPM_SUITE

# On an RPM system, too.
SUITES = ["bookworm", "trixie", RPM_SUITE]


def reload_begins_the_reporting(m):
    """A newcomer's day: agent and collector up, keys exchanged, one reload."""
    m.run("systemctl", "enable", "--now", AGENT)
    pid = m.main_pid()
    key = m.start_collector()
    ready = m.event("COLLECTOR_READY", COLLECTOR)
    m.expect("public key in the collector's journal", ready["PUBLIC_KEY"], key)
    m.configure(key)
    m.run("systemctl", "reload", AGENT)
    m.eventually("state", lambda: m.agent("State"), "reporting")
    m.eventually(
        "status line",
        m.status_line,
        lambda line: line.startswith("Reporting to 127.0.0.1:5556 every 5s"),
    )
    m.expect("connections", m.agent("Connections"), ["/org/metricsagent/Agent1/connection/main"])
    m.expect("server key", m.connection("CollectorKey"), key)
    m.expect("configuration files", m.agent("ConfigurationFiles"), [CONFIGURATION])
    m.event("CONFIGURATION_RELOADED")
    reporting = m.event("CONNECTION_REPORTING")
    m.expect("its CONNECTION=", reporting["CONNECTION"], "main")
    host = m.event("COLLECTOR_HOST_APPEARED", COLLECTOR)
    m.expect("the collector's HOST=", host["HOST"], m.agent("HostName"))
    m.expect_steady(pid)
    m.expect_steady(m.main_pid(COLLECTOR), COLLECTOR)


def bad_reload_changes_nothing(m):
    """An invalid file fails systemctl reload, and the agent goes on as it was."""
    m.start_reporting('[intervals]\nmetrics = "1s"\n')
    pid, routing_id = m.main_pid(), m.connection("RoutingId")
    m.write(CONFIGURATION, '[intervals]\nmetrics = "5 parsecs"\n')
    m.expect_refused("reload", "systemctl", "reload", AGENT)
    # What systemctl points to: the reason, in the words of the reload itself, once the journal has it.
    status = ("systemctl", "status", "--full", "--no-pager", AGENT)
    reason = rf"busctl\[\d+\]: .*{CONFIGURATION}:2.*metrics.*5 parsecs.*"
    m.eventually(
        "reason shown",
        lambda: bool(re.search(reason, m.execute(*status).stdout)),
        True,
    )
    m.expect_steady(pid)
    m.expect("interval", m.agent("MetricsIntervalUSec"), 1_000_000)
    m.expect("state", m.agent("State"), "reporting")
    m.expect("routing id", m.connection("RoutingId"), routing_id)
    refused = m.event("CONFIGURATION_INVALID")
    m.expect_match("its ERROR=", refused["ERROR"], rf"{CONFIGURATION}.*")


def reload_keeps_what_did_not_change(m):
    """Another interval: in force at once, over the same connection."""
    m.start_reporting()
    pid, routing_id = m.main_pid(), m.connection("RoutingId")
    m.configure(m.connection("CollectorKey"), '[intervals]\nmetrics = "2s"\nstale = "20s"\n')
    m.run("systemctl", "reload", AGENT)
    m.expect("metrics interval", m.agent("MetricsIntervalUSec"), 2_000_000)
    m.expect("stale interval", m.agent("StaleIntervalUSec"), 20_000_000)
    m.expect("routing id", m.connection("RoutingId"), routing_id)
    m.expect("state", m.agent("State"), "reporting")
    m.expect_steady(pid)


def hangup_reloads_too(m):
    """SIGHUP, for those who send it."""
    m.run("systemctl", "start", AGENT)
    pid = m.main_pid()
    m.write(CONFIGURATION, '[intervals]\nmetrics = "2s"\n')
    m.signal("HUP")
    m.eventually("interval", lambda: m.agent("MetricsIntervalUSec"), 2_000_000)
    m.event("CONFIGURATION_RELOADED")
    m.eventually("active state", lambda: m.unit("ActiveState"), "active")
    m.expect_steady(pid)


def reload_works_without_a_bus(m):
    """No bus at all: systemctl reload sends SIGHUP; the log has the outcome, and the way there."""
    m.run("systemctl", "start", AGENT)
    pid = m.main_pid()
    m.run("systemctl", "mask", "--now", "--runtime", "dbus.socket", "dbus.service")
    said = m.event("BUS_UNAVAILABLE")
    m.expect_match("the way there", said["MESSAGE"], ".*systemctl reload metrics-agent.*")
    m.write(CONFIGURATION, '[intervals]\nmetrics = "never"\n')
    m.run("systemctl", "reload", AGENT)
    refused = m.event("CONFIGURATION_INVALID")
    m.expect_match("its ERROR=", refused["ERROR"], rf"{CONFIGURATION}:2.*")
    m.write(CONFIGURATION, '[intervals]\nmetrics = "2s"\n')
    m.run("systemctl", "reload", AGENT)
    m.event("CONFIGURATION_RELOADED")
    m.expect_steady(pid)


def key_is_made_once(m):
    """No key anywhere: one is made, kept private, and is the same after a restart."""
    m.run("systemctl", "start", AGENT)
    key = m.agent("PublicKey")
    made = m.event("KEY_GENERATED")
    m.expect("its PUBLIC_KEY=", made["PUBLIC_KEY"], key)
    m.expect_match("its PATH=", made["PATH"], "/var/lib/metrics-agent/.*")
    owner = m.run("stat", "-c", "%a %U", made["PATH"]).strip()
    m.expect("mode and owner", owner, "600 metrics-agent")
    m.run("systemctl", "restart", AGENT)
    m.expect("public key", m.agent("PublicKey"), key)
    m.expect("keys that were made", len(m.events("KEY_GENERATED")), 1)


def host_name_change_is_noticed(m):
    """The host is renamed while the agent runs: it reports under the new name, and back; no name is left."""
    m.start_reporting()
    m.await_host()
    pid, old = m.main_pid(), m.agent("HostName")
    m.run("hostname", "web2")
    m.eventually("host name", lambda: m.agent("HostName"), "web2")
    changed = m.event("HOST_NAME_CHANGED")
    m.expect("its HOST_NAME=", changed["HOST_NAME"], "web2")
    m.expect("its PREVIOUS=", changed["PREVIOUS"], old)
    m.eventually(
        "hosts at the collector",
        lambda: [entry["HOST"] for entry in m.events("COLLECTOR_HOST_APPEARED", COLLECTOR)],
        [old, "web2"],
    )
    # And back at once: the name between is the old one.
    m.run("hostname", old)
    m.eventually("host name", lambda: m.agent("HostName"), old)
    m.eventually(
        "hosts that were renamed",
        lambda: [(entry["HOST"], entry["NEW_NAME"]) for entry in m.events("COLLECTOR_HOST_RENAMED", COLLECTOR)],
        [("web2", old)],
        within=60,
    )
    known = json.loads(m.run("metrics-collector", "hosts", "--json"))
    m.expect("hosts that are known", [host["name"] for host in known], [old])
    m.expect_steady(pid)
