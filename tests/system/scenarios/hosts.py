# SPDX-License-Identifier: Apache-2.0
"""Agent and collector on hosts of their own, each from its package, as README.md says to do it."""

import json
import re
import shlex

import rpm_repository
from machine import AGENT, COLLECTOR, COLLECTOR_KEY, RPM_SUITE, SOURCE, Failure, idle
from repository import apt, prepare, publish

# Each scenario brings the packages in itself.
INSTALL = "nothing"

# The collector's host by the agent's. Every release and kind of package is either once.
COLLECTORS_SUITE = {"bookworm": "trixie", "trixie": RPM_SUITE, RPM_SUITE: "bookworm"}
COLLECTORS_HOST = "collector"


@idle
def report_from_one_to_the_other(m):
    """The manual's first steps, on two hosts: what arrives is the agent's, under its name."""
    collector = m.neighbour(COLLECTORS_SUITE[m.suite], COLLECTORS_HOST)
    _install(collector, "metrics-collector")
    _install(m, "metrics-agent")
    programs = ["/usr/bin/metrics-agent", "/usr/bin/metrics-collector"]
    here, there = ([path for path in programs if h.path(path).exists()] for h in (m, collector))
    m.expect("programs", here, programs[:1])
    collector.expect("programs", there, programs[1:])

    on_the_collectors, settings, on_the_agents, *_ = _blocks("README.md", "## First steps")
    key = _do(collector, on_the_collectors)["metrics-collector --public-key"].strip()
    collector.expect_match("public key", key, "^[!-~]{40}$")
    collector.expect_true(f"{COLLECTOR_KEY} has it", f'"{key}"' in collector.read(COLLECTOR_KEY))
    path, print_messages = _print_messages()
    collector.write(path, print_messages)
    collector.run("systemctl", "daemon-reload")
    collector.run("systemctl", "restart", COLLECTOR)

    example = re.search('public_key = "(.*)"', settings).group(1)
    m.write(_drop_in(), settings.replace(example, key))
    said = _do(m, on_the_agents)
    m.expect_match("check", said["metrics-agent --check-config"], "configuration is valid")
    pid = m.main_pid()
    m.expect_steady(pid)
    m.expect("enabled", m.run("systemctl", "is-enabled", AGENT).strip(), "enabled")
    m.eventually("state", lambda: m.agent("State"), "reporting")
    _looks_as_shown(m)

    printed = collector.eventually(
        "printed",
        lambda: _printed(collector),
        lambda messages: len(messages) >= 3,
        show=lambda messages: "\n".join(json.dumps(message)[:120] for message in messages[:3]),
    )
    name = m.run("hostname", "--fqdn").strip()
    m.expect("its name", name, "web1.example.org")
    collector.expect("its own name", collector.run("hostname").strip(), COLLECTORS_HOST)
    collector.expect("hosts", {message["host"] for message in printed}, {name})
    kinds = [message["kind"] for message in printed]
    collector.expect("first kinds", kinds[:3], ["model", "metrics", "metrics"])
    total = int(re.search(r"MemTotal: +(\d+)", m.read("/proc/meminfo")).group(1))
    collector.expect("mem.total", printed[0]["metrics"]["mem.total"], total)
    free = printed[1]["metrics"]["mem.free"]
    collector.expect_true(f"mem.free is between 0 and {total}: {free}", 0 < free < total)
    appeared = collector.event("COLLECTOR_HOST_APPEARED", COLLECTOR)
    collector.expect("the host in its journal", appeared["HOST"], name)
    collector.expect_match("status", collector.status_line(COLLECTOR), "1 host, .*")
    collector.expect_steady(collector.main_pid(COLLECTOR), COLLECTOR)

    _goes_away_and_comes_back(m, collector)
    m.expect_steady(pid)


report_from_one_to_the_other.suites = list(COLLECTORS_SUITE)


def _goes_away_and_comes_back(m, collector):
    """The cable is cut: no packet says so. The agent notices by the silence, and comes back."""
    m.run("metrics-agentctl", "set-stale", "6s")
    m.cut(True)
    m.eventually("state", lambda: m.agent("State"), "stale")
    m.expect_match("status", m.status_line(), "Not reporting to .*")
    m.cut(False)
    m.eventually("state", lambda: m.agent("State"), "reporting", within=90)
    m.expect("lost", len(m.events("CONNECTION_LOST")), 1)
    before = len(_printed(collector))
    collector.eventually("messages", lambda: len(_printed(collector)), lambda now: now > before)


def _looks_as_shown(m):
    """What systemctl and metrics-agentctl print is what README.md shows, whatever the numbers."""
    blocks = _blocks("README.md", "## What a host says, shortened")
    (shown,) = [block for block in blocks if block.startswith("# systemctl")]
    of_systemctl, _, of_ctl = shown.partition("# metrics-agentctl status\n")
    patterns = [_pattern(line) for line in of_systemctl.splitlines()[1:]]
    m.eventually(
        "systemctl status",
        lambda: m.run("systemctl", "status", "--full", "--lines=0", AGENT),
        lambda text: _in_order(patterns, text.splitlines()),
    )
    # The values are compared by tests/integration/documents.rs.
    labels = [re.match(r" *[^:]*:|\S+ \S+ ", line).group() for line in of_ctl.splitlines() if line]
    m.eventually(
        "metrics-agentctl status",
        lambda: m.run("metrics-agentctl", "status", "--full", "--lines=0"),
        lambda text: _in_order(map(re.escape, labels), text.splitlines()),
    )


def _pattern(line):
    """A line of systemctl's, whatever its numbers and times, the preset, and where units are."""
    line = re.sub(r"preset: \w+", "preset: @", line.replace("(/usr/lib/", "(@/lib/"))
    line = re.sub(r"since .* ago", "since @", line)
    line = re.sub(r"\d[\d,.]*[A-Z]?", "@", line)
    return re.escape(line.strip()).replace("@", ".*?")


def _in_order(patterns, lines):
    """True if each pattern is found in a line of its own, in this order; there may be more lines."""
    lines = iter(lines)
    return all(any(re.search(pattern, line) for line in lines) for pattern in patterns)


def _install(m, package):
    """From a repository, with what it needs; and starts nothing."""
    if m.suite == RPM_SUITE:
        rpm_repository.add_repository(m)
        m.run("dnf", "install", "--assumeyes", package)
        m.saw("dnf: " + m.run("rpm", "--query", package))
    else:
        prepare(m)
        publish(m)
        apt(m, "install", package)
        m.saw("apt: " + m.run("dpkg-query", "--show", package))
    unit = f"{package}.service"
    m.expect(f"{unit} is", m.unit("ActiveState", unit), "inactive")


def _blocks(document, heading):
    """The examples below a heading of a document."""
    text = (SOURCE / document).read_text()
    section = re.search(rf"^{re.escape(heading)}$(.*?)(^##|\Z)", text, re.MULTILINE | re.DOTALL)
    if section is None:
        raise Failure(f"{document} has no {heading}")
    return re.findall(r"^```\w*\n(.*?)^```$", section.group(1), re.MULTILINE | re.DOTALL)


def _drop_in():
    """Where README.md says that the collector is named."""
    text = (SOURCE / "README.md").read_text()
    line = r"^`(/etc/metrics-agent/metrics-agent\.d/.*\.toml)`:$"
    return re.search(line, text, re.MULTILINE).group(1)


def _print_messages():
    """The drop-in that docs/collector.md has for the collector to print: its path, its text."""
    document = "docs/collector.md"
    text = (SOURCE / document).read_text()
    path = re.search(r"^`(/etc/.*\.service\.d/print\.conf)`", text, re.MULTILINE).group(1)
    (drop_in,) = _blocks(document, "## Each message as a line of JSON")
    return path, drop_in


def _do(m, commands):
    """Types these lines one after the other; what each printed. All have to succeed."""
    done = {}
    for line in commands.splitlines():
        done[line] = m.run(*shlex.split(line))
        m.saw(f"did {line}")
    return done


def _printed(collector):
    """What docs/collector.md says shows the messages."""
    shown = collector.run("journalctl", "-u", "metrics-collector", "-o", "cat")
    return [json.loads(line) for line in shown.splitlines() if line.startswith("{")]
