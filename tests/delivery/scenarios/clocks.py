# SPDX-License-Identifier: Apache-2.0
"""The agent's clock is wrong, or is set. Its clock alone, by libfaketime: the time since boot stays true."""

import glob
import os
import random
import time

from play import scenario

HOUR = 3600


def library():
    """Debian's libfaketime."""
    found = glob.glob("/usr/lib/*/faketime/libfaketime.so.1")
    return found[0] if found else None


def without_library():
    """Why it cannot be played here."""
    return None if library() else "needs the package faketime"


def world_with_clocks(play, offset, **how):
    """A world whose agents' clocks are off by so many seconds."""
    class Clocks:
        """The clock of all agents of this world."""

        def __init__(self):
            self.file = os.path.join(play.scratch, "clock")
            self.set(offset)

        def set(self, seconds):
            """Sets it, so far from the truth."""
            with open(self.file + ".new", "w", encoding="utf-8") as file:
                file.write(f"{seconds:+d}\n")
            os.rename(self.file + ".new", self.file)

    clocks = Clocks()
    environment = {
        "LD_PRELOAD": library(),
        "FAKETIME_TIMESTAMP_FILE": clocks.file,
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",
        # Condition variables of glibc wait by the clock that is not faked.
        "FAKETIME_FAKE_CONDATTR": "0",
    }
    return play.world(environment=environment, **how), clocks


@scenario(seconds=60, without=without_library)
def clock_off(play):
    """An agent's clock is 10 min ahead all the time; its collector is killed meanwhile."""
    world, _ = world_with_clocks(play, 600, agents=10, interval=0.2)
    kills = 0
    for _ in play.until_over():
        time.sleep(random.uniform(1, 5))
        world.end("collector0")
        kills += 1
        time.sleep(random.uniform(0, 3))
        world.start_collector()
    play.saw(f"the collector was killed {kills} times")
    said_off(play, world)
    world.check(play.saw)


@scenario(seconds=60, without=without_library)
def clock_behind(play):
    """An agent's clock is 10 min behind all the time; it is restarted while its collector is away."""
    world, _ = world_with_clocks(play, -600)
    time.sleep(play.seconds / 3)
    world.end("collector0")
    time.sleep(play.seconds / 3)
    world.end("host0", 15)
    world.start_agent("host0")
    time.sleep(play.seconds / 3)
    world.start_collector()
    said_off(play, world)
    world.check(play.saw, starts=1)


@scenario(seconds=60, short=24, without=without_library)
def clock_set(play):
    """An agent's clock is set forward and back by an hour, while its collector is there and while it is away."""
    world, clocks = world_with_clocks(play, 0)
    step = play.seconds / 12
    for away in (False, True):
        if away:
            world.end("collector0")
        for offset in (HOUR, 0, -HOUR, 0):
            time.sleep(step)
            clocks.set(offset)
        time.sleep(step)
    # It comes back to a clock that is an hour ahead, and to samples of before.
    clocks.set(HOUR)
    time.sleep(step)
    world.start_collector()
    time.sleep(step)
    said_off(play, world)
    world.check(play.saw)


def said_off(play, world):
    """The collector has said that the clock is wrong."""
    lines = [line for line in world.log("collector0").splitlines() if "The clock of" in line]
    play.saw(f"the collector's log has {len(lines)} lines on the clock, the last: {lines[-1:]}")
