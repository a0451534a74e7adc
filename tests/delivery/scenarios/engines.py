# SPDX-License-Identifier: Apache-2.0
"""Prometheus is away."""

import signal
import time

from play import scenario
from world import wait_for


@scenario(seconds=60, short=20)
def engine_killed(play):
    """The engine is killed, and the collector while the engine is away."""
    world = play.world(agents=2)
    world.end("engine")
    time.sleep(play.seconds / 2)
    world.end("collector0")
    world.start_collector()
    time.sleep(play.seconds / 2)
    world.start_engine()
    world.check(play.saw)


@scenario(seconds=60)
def engine_away_for_long(play):
    """The engine is away until the collector takes no more of any agent; the collector is killed meanwhile."""
    world = play.world(agents=4, interval=0.1, settings='[spool]\nafter = "5s"\n')
    world.end("engine", signal.SIGKILL)
    for _ in range(2):
        stops_taking(play, world)
        world.end("collector0")
        time.sleep(play.seconds / 10)
        world.start_collector()
    stops_taking(play, world)
    time.sleep(play.seconds / 3)
    world.start_engine()
    world.check(play.saw)


def stops_taking(play, world):
    """Waits until the collector, whose queue is full, has taken nothing for 3 s."""
    name = "metrics_collector_samples_total"
    begun, seen = time.monotonic(), []

    def stopped():
        seen.append((time.monotonic(), world.told(name)))
        same = [at for at, count in seen if count == seen[-1][1] and count > 0]
        return same and same[-1] - same[0] > 3

    wait_for("the collector takes no more", stopped, patience=900)
    play.saw(f"the collector takes no more after {time.monotonic() - begun:.0f} s and {seen[-1][1]:.0f} samples")
