# SPDX-License-Identifier: Apache-2.0
"""The agent and what it reports to, over time, as the journal tells it."""

import json
import time

from machine import AGENT, COLLECTOR, RPM_SUITE, SOURCE_INSIDE, idle

# On an RPM system, too.
SUITES = ["bookworm", "trixie", RPM_SUITE]

# The agent's back-off doubles from 1 s: in this time a message for each attempt would show, were
# there any.
AWAY_SECONDS = 5
LONG_AWAY_SECONDS = 60
# The next attempt is as far off as it was away, and a minute at most.
BACK_SECONDS = 40
LONG_BACK_SECONDS = 100

# How the agent's status line begins.
REPORTING = "Reporting to 127.0.0.1:5556"
NO_ANSWER = "Not reporting to 127.0.0.1:5556"


@idle
def collector_is_away_for_a_minute(m):
    """Its collector is stopped, and started a minute later: one message each, and all follow."""
    m.start_reporting('[intervals]\nmetrics = "500ms"\n')
    pid = m.main_pid()
    m.event("CONNECTION_REPORTING")
    m.run("systemctl", "stop", COLLECTOR)
    m.eventually("state", lambda: m.agent("State"), "stale")
    m.eventually("status line", m.status_line, lambda line: line.startswith(NO_ANSWER))
    m.event("CONNECTION_LOST")
    sent, tried = m.agent("MessagesSent"), m.agent("Reconnects")
    time.sleep(LONG_AWAY_SECONDS)
    m.expect("state a minute later", m.agent("State"), "stale")
    m.expect_match("status line a minute later", m.status_line(), f"^{NO_ANSWER}.*")
    m.expect("sent meanwhile", m.agent("MessagesSent") - sent, 0)
    attempts = m.agent("Reconnects") - tried
    # By doubling, not one a second.
    m.expect_true(f"attempts meanwhile: {attempts}", 2 <= attempts <= 10)
    m.run("systemctl", "start", COLLECTOR)
    m.eventually("state", lambda: m.agent("State"), "reporting", within=LONG_BACK_SECONDS)
    m.eventually("status line", m.status_line, lambda line: line.startswith(REPORTING))
    m.eventually("messages", lambda: m.agent("MessagesSent"), lambda now: now > sent + 2)
    told = [
        e["MESSAGE"] for e in m.journal("--unit", AGENT, "_COMM=metrics-agent") if "CONNECTION" in e
    ]
    for line in told:
        m.saw(f"in the journal: {line}")
    # Reporting, lost, reporting: nothing else, under whatever message id.
    m.expect("messages of the connection", len(told), 3)
    m.expect("messages CONNECTION_LOST", len(m.events("CONNECTION_LOST")), 1)
    m.expect("messages CONNECTION_REPORTING", len(m.events("CONNECTION_REPORTING")), 2)
    m.expect_steady(pid)


def collector_is_away_from_the_start(m):
    """Ready all the same; one message that it waits, and one when the collector answers."""
    key = m.start_collector()
    m.run("systemctl", "stop", COLLECTOR)
    m.configure(key)
    m.run("systemctl", "start", AGENT)
    m.event("CONNECTION_WAITING")
    time.sleep(AWAY_SECONDS)
    m.expect("messages CONNECTION_WAITING", len(m.events("CONNECTION_WAITING")), 1)
    m.run("systemctl", "start", COLLECTOR)
    m.eventually("state", lambda: m.agent("State"), "reporting", within=BACK_SECONDS)
    m.event("CONNECTION_REPORTING")
    m.expect_steady(m.main_pid())


def wrong_key_is_named(m):
    """A collector with another key than configured: the status line and the journal say so."""
    m.start_collector()
    m.configure(public_key="rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7")
    m.run("systemctl", "start", AGENT)
    m.eventually("handshake failures", lambda: m.agent("HandshakeFailures"), lambda n: n > 0)
    refused = m.event("CONNECTION_KEY_REFUSED")
    m.expect("its CONNECTION=", refused["CONNECTION"], "main")
    m.eventually("status line", m.status_line, lambda line: "key" in line)
    m.expect_match("reason", m.connection("StateReason"), "key")
    m.expect("hosts the collector has seen", m.events("COLLECTOR_HOST_APPEARED", COLLECTOR), [])


def reconnect_is_another_connection(m):
    """Reconnect(): a new routing id, the same host at the collector."""
    m.start_reporting()
    m.await_host()
    routing_id = m.connection("RoutingId")
    m.run("metrics-agentctl", "reconnect")
    m.eventually(
        "routing id", lambda: m.connection("RoutingId"), lambda new: new not in ("", routing_id)
    )
    m.eventually("state", lambda: m.agent("State"), "reporting")
    m.event("COLLECTOR_HOST_REPLACED", COLLECTOR)


def independent_collector_understands(m):
    """A collector of another make, on libzmq's Python binding, gets model and metrics."""
    peer = f"{SOURCE_INSIDE}/tests/system/peer.py"
    m.run("systemd-run", "--quiet", "--unit=peer", "python3", peer, "/run/peer")
    key = m.eventually("its key", lambda: m.run("cat", "/run/peer/key"), lambda key: len(key) == 40)
    m.configure(key, '[host]\nname = "web1.example.org"\n[intervals]\nmetrics = "200ms"\n')
    m.run("systemctl", "start", AGENT)
    ended = ("dead", "failed")
    m.eventually("peer", lambda: m.unit("SubState", "peer.service"), lambda state: state in ended)
    m.expect("result of the peer", m.unit("Result", "peer.service"), "success")
    hello, model, *metrics = json.loads(m.read("/run/peer/messages"))
    m.expect("first message", hello, ["CTRL", "hello"])
    m.expect("model", [model[0], model[1], model[3]], ["METR", "web1.example.org", "model"])
    m.expect_true("mem.total is in the model", json.loads(model[2])["mem.total"] > 0)
    for tag, host, grid, kind in metrics:
        m.expect("metrics", [tag, host, kind], ["METR", "web1.example.org", "metrics"])
        m.expect_true("mem.free is in the metrics", json.loads(grid)["mem.free"] > 0)


# They have its Python.
independent_collector_understands.suites = ["bookworm", "trixie"]


def journal_explains(m):
    """Structured fields, and journalctl -x with an explanation that names them."""
    m.start_reporting()
    m.event("CONNECTION_REPORTING")
    ready = m.event("AGENT_READY")
    m.expect("HOST_NAME=", ready["HOST_NAME"], m.agent("HostName"))
    m.expect("PUBLIC_KEY=", ready["PUBLIC_KEY"], m.agent("PublicKey"))
    m.expect("SYSLOG_IDENTIFIER=", ready["SYSLOG_IDENTIFIER"], "metrics-agent")
    m.expect("transport", ready["_TRANSPORT"], "journal")
    explained = m.run("journalctl", "--no-pager", "-x", "--unit", AGENT)
    m.expect_match("explanation", explained, "Subject: The metrics agent is ready")
    m.expect_match("explanation", explained, "Subject: Metrics are reported to collector main")
    m.expect_match("explanation", explained, "collector main at .*127.0.0.1:5556.* has answered")
