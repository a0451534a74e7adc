# SPDX-License-Identifier: Apache-2.0
"""The collector in front of a fleet: who may report, who may look on, what it hands out, restarts."""

import json
import re

from machine import AGENT, COLLECTOR, RPM_SUITE

# On an RPM system, too.
SUITES = ["bookworm", "trixie", RPM_SUITE]

SETTINGS = "/etc/metrics-collector/metrics-collector.toml"
NAME, OBJECT = "org.metricsagent.Collector1", "/org/metricsagent/Collector1"

# The agent tries again after a minute at most.
AGAIN_SECONDS = 100


def only_allowed_agents_report(m):
    """A list instead of any key: shut out, let in by `keys allow`, shut out by `keys revoke`."""
    m.start_reporting()
    m.await_host()
    host, key = m.agent("HostName"), m.agent("PublicKey")
    pid = m.main_pid(COLLECTOR)
    m.expect_true("the agent's key in the list: any", {host, "any"} <= _row(m, key))

    m.write(SETTINGS, '[agents]\nauthorized = "directory"\n')
    m.run("systemctl", "reload", COLLECTOR)
    m.run("systemctl", "restart", AGENT)
    m.eventually("shut out", lambda: m.agent("HandshakeFailures"), lambda count: count > 0)
    m.expect("state", m.agent("State") == "reporting", False)
    m.eventually("keys", lambda: _keys(m), lambda keys: "refused" in keys, show=len)
    refused = m.event("COLLECTOR_KEY_REFUSED", COLLECTOR)
    m.expect("its PUBLIC_KEY=", refused["PUBLIC_KEY"], key)

    m.run("metrics-collector", "keys", "allow", host)
    m.eventually("state", lambda: m.agent("State"), "reporting", within=AGAIN_SECONDS)
    m.expect_true("the agent's key in the list: allowed", {host, "allowed"} <= _row(m, key))

    m.run("metrics-collector", "keys", "revoke", host)
    # The connection that it has is ended, and the next one is refused.
    failures = m.agent("HandshakeFailures")
    m.eventually("state", lambda: m.agent("State"), lambda state: state != "reporting")
    m.eventually(
        "shut out",
        lambda: m.agent("HandshakeFailures"),
        lambda count: count > failures,
        within=AGAIN_SECONDS,
    )
    m.expect("state", m.agent("State") == "reporting", False)
    m.expect_steady(pid, COLLECTOR)


def a_pinned_name_is_its_keys(m):
    """The same host with another key is refused, loudly, until the pin is forgotten."""
    m.write(SETTINGS, "[agents]\npin_names = true\n")
    m.start_reporting()
    m.await_host()
    host = m.agent("HostName")
    m.run("systemctl", "stop", AGENT)
    m.run("sh", "-c", "rm /var/lib/metrics-agent/agent.key*")
    m.run("systemctl", "start", AGENT)
    taken = m.event("COLLECTOR_NAME_TAKEN", COLLECTOR)
    m.expect("its HOST=", taken["HOST"], host)
    explained = m.run("journalctl", "-x", "--no-pager", "--unit", COLLECTOR)
    m.expect_match("explained", explained, "metrics-collector keys forget")
    before = _received(m)
    m.run("metrics-collector", "keys", "forget", host)
    m.eventually("messages", lambda: _received(m), lambda now: now > before)


def prometheus_finds_the_host(m):
    """/metrics on the loopback address, with the host's values and its being up."""
    m.start_reporting()
    m.await_host()
    host = m.agent("HostName")
    m.eventually(
        "up", lambda: f'metrics_agent_up{{host="{host}"}} 1' in _scrape(m), True
    )
    m.eventually(
        "memory",
        lambda: re.search(
            rf'(?m)^metrics_agent_mem_free_bytes{{host="{host}"}} \d+$', _scrape(m)
        )
        is not None,
        True,
    )
    for shipped in ("prometheus/metrics-agent.rules.yml", "grafana/metrics-agent.json"):
        m.expect_true(shipped, len(m.read(f"/usr/share/metrics-collector/{shipped}")) > 1000)


def a_viewer_connects(m):
    """metrics-top with a key that is allowed while the collector runs; without, it is told how."""
    m.start_reporting()
    m.await_host()
    host, collector = m.agent("HostName"), m.connection("CollectorKey")
    m.run("metrics-agentctl", "keygen", "--name", "viewer", "/root/.curve")
    certificate = m.read("/root/.curve/viewer.key")
    key = m.expect_match("key", certificate, r'public-key\s*=\s*"([!-~]{40})"').group(1)
    top = ["env", "HOME=/root", "metrics-top", "--once", f"--public-key={collector}"]
    m.expect_refused("stranger", *top, "--wait", "3s", "127.0.0.1", saying="keys allow")
    m.run("metrics-collector", "keys", "allow", "--viewer", "--name", "ops", "--", key)
    m.eventually(
        "what it shows", lambda: host in m.execute(*top, "--wait", "10s", "127.0.0.1").stdout, True
    )
    # On the collector's own host it needs neither a key nor a name.
    bare = ["env", "HOME=/root", "metrics-top", "--once", "--wait", "10s"]
    m.expect_true("found by itself", host in m.run(*bare))
    # Once it was proved, nor does it from elsewhere.
    m.expect_true("remembered", host in m.run(*bare, "127.0.0.1"))

    # Who is down? One that is restarted tells, too.
    m.run("systemctl", "stop", AGENT)
    m.eventually(
        "gone",
        lambda: re.search(rf"(?m)^{re.escape(host)} +gone ", m.run(*bare)) is not None,
        True,
        within=AGAIN_SECONDS,
    )
    m.run("metrics-collector", "keys", "revoke", "ops", "--viewer")
    m.eventually(
        "shut out", lambda: m.execute(*top, "--wait", "1s", "127.0.0.1").returncode == 0, False
    )


def a_restart_loses_no_host(m):
    """Restarted, the collector knows the host before it is heard, and its model."""
    m.start_reporting()
    m.await_host()
    host = m.agent("HostName")
    m.eventually("model", lambda: "host.kernel" in _get(m, host, "model"), True)
    # From here on nothing is heard of it.
    m.run("systemctl", "stop", AGENT)
    m.run("systemctl", "restart", COLLECTOR)
    m.expect("hosts", _hosts(m), [[host, "expected"]])
    m.expect_true("its model", "host.kernel" in _get(m, host, "model"))
    m.expect_true("not up", f'metrics_agent_up{{host="{host}"}} 0' in _scrape(m))
    m.run("systemctl", "start", AGENT)
    m.eventually("hosts", lambda: _hosts(m), [[host, "reporting"]])
    m.signal("KILL", COLLECTOR)
    m.eventually("hosts", lambda: _hosts_or_none(m), [[host, "reporting"]], within=AGAIN_SECONDS)


def _keys(m):
    return m.run("metrics-collector", "keys", "list", "--full")


def _row(m, key):
    """The words of a key's line, in whatever order the columns are."""
    return next((set(line.split()) for line in _keys(m).splitlines() if key in line), set())


def _scrape(m):
    program = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:9650/metrics').read().decode())"
    return m.run("python3", "-c", program)


def _call(method, *arguments):
    return ["busctl", "--json=short", "call", NAME, OBJECT, NAME, method, *arguments]


def _get(m, host, kind):
    return m.execute(*_call("GetMetrics", "ss", host, kind)).stdout


def _hosts(m):
    hosts, _more = json.loads(m.run(*_call("ListHosts", "ssu", "", "", "0")))["data"]
    return [host[:2] for host in hosts]


def _hosts_or_none(m):
    answer = m.execute(*_call("ListHosts", "ssu", "", "", "0"))
    return [host[:2] for host in json.loads(answer.stdout)["data"][0]] if answer.stdout else None


def _received(m):
    answer = m.run(
        "busctl", "--json=short", "get-property", NAME, OBJECT, NAME, "MessagesReceived"
    )
    return json.loads(answer)["data"]
