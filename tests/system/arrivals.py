# SPDX-License-Identifier: Apache-2.0
"""When messages arrive at the collector, and what an upgrade costs of them."""

import json

from machine import COLLECTOR

# Of metrics, by default, in seconds.
INTERVAL = 5


def expect_one_missing_at_most(m, upgrade):
    """Fails where more than one message is missing between the old agent's and the new one's."""
    m.drop_in("[Service]\nExecStart=\nExecStart=/usr/bin/metrics-collector --print\n", COLLECTOR)
    m.start_reporting()
    before = m.eventually("messages of the old one", lambda: len(_times(m)), lambda n: n >= 2)
    pid = m.main_pid()
    upgrade()
    m.expect_true("another process", m.main_pid() not in (pid, 0))
    there = len(_times(m))
    m.eventually("messages of both", lambda: len(_times(m)), lambda n: n >= there + 2)
    times = _times(m)[before - 1 :]
    longest = max(later - earlier for earlier, later in zip(times, times[1:]))
    # One that is missing is an interval more; two would be three in all.
    m.expect_true(f"{longest:.1f} s at most between two messages", longest < 3 * INTERVAL)


def _times(m):
    """When each message with metrics came, in seconds since the boot."""
    return [
        int(entry["__MONOTONIC_TIMESTAMP"]) / 1e6
        for entry in m.journal("--unit", COLLECTOR, "_TRANSPORT=stdout")
        if entry["MESSAGE"].startswith("{") and json.loads(entry["MESSAGE"])["kind"] == "metrics"
    ]
