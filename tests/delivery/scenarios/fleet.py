# SPDX-License-Identifier: Apache-2.0
"""Many agents come back at once, each with a backlog."""

import os
import re
import time

import proof
from play import scenario
from proof import Fault
from world import PATIENCE, WEB, wait_for

HOSTS = 1000
# How long the view of the fleet may be behind once all agents are connected, in seconds: as long as a collector
# may be silent for an agent.
STALE = 30
# A host whose latest sample is younger is not behind: samples come in order.
RECENT = 10
# What the collector may have at the most, in MiB: docs/performance.md.
MEMORY = 512


@scenario(seconds=360)
def fleet_returns(play):
    """1,000 agents come back with 720 samples each, as many as an hour has at 5 s."""
    settings = '[spool]\nafter = "5s"\n'
    interval = max(play.seconds / 720, 0.5)
    world = play.world(agents=HOSTS, interval=interval, settings=settings, sources=["agent", "uptime"])
    play.saw(f"{HOSTS} agents report, with a sample each {interval} s")
    world.end("collector0")
    time.sleep(play.seconds)
    away = time.time()
    used = {name: cpu(world, name) for name in ("engine",)}
    world.start_collector()
    begun = time.monotonic()
    wait_for("every agent is connected", lambda: connected(world) == HOSTS, 4 * PATIENCE)
    there = time.monotonic() - begun
    play.saw(f"every agent has connected again after {there:.0f} s")
    wait_for("the collector shows every host as it is now", lambda: shown_now(world, away), 4 * PATIENCE)
    live = time.monotonic() - begun
    play.saw(f"every host is shown as it is now after {live:.0f} s")
    # Memory and CPU time while the backlog flows.
    wait_for("all of the backlog is in the engine", lambda: latest_age(world) < RECENT, 1800)
    took = time.monotonic() - begun
    engine, collector = cpu(world, "engine") - used["engine"], cpu(world, "collector0")
    peak = memory(world)
    play.saw(
        f"the backlog is in the engine after {took:.0f} s; meanwhile the engine has used {engine:.0f} s of CPU time "
        f"and the collector {collector:.0f} s; the collector had {peak} MiB at the most"
    )
    verdicts = world.check(play.saw)
    samples = sum(len(verdict.samples) for verdict in verdicts.values())
    play.saw(f"{samples} samples in the engine, {samples / HOSTS:.0f} of each host")
    if live - there > STALE or peak > MEMORY:
        raise Fault(f"shown as it is now {live - there:.0f} s after all were connected; {peak} MiB")


def shown_now(world, since):
    """Whether the collector shows each host with a value that was taken after this time."""
    text = world.fetch(WEB, "/metrics") or ""
    zero = world.zeros[0][1]
    values = re.findall(rf'^{proof.UPTIME}{{host="host\d+"}} ([0-9.e+]+)', text, re.MULTILINE)
    return len(values) == HOSTS and min(map(float, values)) + zero > since


def connected(world):
    """How many hosts report."""
    return world.told("metrics_collector_hosts", presence="reporting")


def latest_age(world):
    """How old the latest sample is of the host of which the engine lacks most, in seconds."""
    latest = world.latest()
    return time.time() - min(latest.values()) if len(latest) == HOSTS else float("inf")


def cpu(world, name):
    """The CPU time that a program has used, in seconds."""
    with open(f"/proc/{world.processes[name].pid}/stat", encoding="ascii") as file:
        user, system = file.read().rsplit(")", 1)[1].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def memory(world):
    """The most memory that the collector had, in MiB."""
    with open(f"/proc/{world.processes['collector0'].pid}/status", encoding="ascii") as file:
        return int(re.search(r"VmHWM:\s+(\d+)", file.read()).group(1)) // 1024
