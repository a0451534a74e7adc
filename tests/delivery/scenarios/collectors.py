# SPDX-License-Identifier: Apache-2.0
"""The collector is killed, or one of two is."""

import random
import time

from play import scenario


@scenario(seconds=60, short=20)
def collector_killed(play):
    """The collector is killed with SIGKILL at random instants."""
    kill_collector(play, agents=3, pause=(0.5, 6), away=(0, 4))


@scenario(seconds=600)
def collector_killed_fifty_times(play):
    """The collector is killed with SIGKILL 50 times in 10 min; 20 agents."""
    # Together 12 s in the mean.
    kill_collector(play, agents=20, pause=(0.5, 15), away=(0, 8.5), times=50)


def kill_collector(play, agents, pause, away, times=None):
    """Kills it again and again."""
    world = play.world(agents=agents)
    kills = 0
    for _ in play.until_over() if times is None else range(times):
        time.sleep(random.uniform(*pause))
        world.end("collector0")
        kills += 1
        time.sleep(random.uniform(*away))
        world.start_collector()
    play.saw(f"killed {kills} times")
    world.check(play.saw)


@scenario(seconds=60, short=25)
def collectors_in_turn(play):
    """Two collectors write to one engine; one after the other is killed."""
    world = play.world(collectors=2, agents=2)
    number, kills = 0, 0
    for _ in play.until_over():
        time.sleep(random.uniform(3, 8))
        world.end(f"collector{number}")
        kills += 1
        time.sleep(random.uniform(3, 8))
        world.start_collector(number)
        number = 1 - number
    play.saw(f"killed {kills} times")
    world.check(play.saw)
