# SPDX-License-Identifier: Apache-2.0
"""Prometheus is away."""

import time

from play import scenario


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
