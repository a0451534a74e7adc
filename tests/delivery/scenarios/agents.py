# SPDX-License-Identifier: Apache-2.0
"""The agent is stopped or killed while its collector is away."""

import signal
import time

from play import scenario
from proof import Fault

# What an agent that is killed may have not written yet, in seconds: see docs/settings.md.
UNWRITTEN = 10
# How long a slow disk and a slow machine may take for that, and for starting again.
SLACK = 5


@scenario(seconds=60, short=15)
def agent_restarted(play):
    """The collector is away; the agent is restarted by SIGTERM meanwhile."""
    world = play.world()
    world.end("collector0")
    time.sleep(play.seconds / 2)
    restart(world, "host0", signal.SIGTERM)
    time.sleep(play.seconds / 2)
    world.start_collector()
    verdict = world.check(play.saw, starts=1)["host0"]
    nothing_told(world)
    ((before, after),) = verdict.starts
    play.saw(f"{after.at - before.at:.1f} s from the last sample before to the first one after")
    if after.at - before.at > world.interval + SLACK:
        raise Fault(f"between the two runs there is nothing for {after.at - before.at:.1f} s")


@scenario(seconds=60, short=25)
def agent_killed(play):
    """The collector is away; the agent is killed with SIGKILL meanwhile: 10 s at most are lost, and told."""
    world = play.world(settings='[spool]\nafter = "1s"\n')
    world.losses_expected = True
    world.end("collector0")
    time.sleep(play.seconds / 2 + 5)
    killed = time.time()
    restart(world, "host0", signal.SIGKILL)
    time.sleep(play.seconds / 2)
    world.start_collector()
    verdict = world.check(play.saw, starts=1)["host0"]
    ((before, after),) = verdict.starts
    lost_at_kill(play, world, before, killed)
    if after.number != 1:
        raise Fault(f"the first sample of the new run is number {after.number}")


@scenario(seconds=180)
def long_outage(play):
    """The collector is away for 360 samples; agents are stopped, others killed, in the middle."""
    # As many samples as 30 min have at 5 s.
    world = play.world(agents=6, interval=0.5, settings='[spool]\nafter = "5s"\n')
    world.losses_expected = True
    world.end("collector0")
    time.sleep(play.seconds / 2)
    killed = {}
    for number, name in enumerate(world.agents):
        how = signal.SIGKILL if number % 2 else signal.SIGTERM
        if number % 2:
            killed[name] = time.time()
        restart(world, name, how)
    time.sleep(play.seconds / 2)
    world.start_collector()
    verdicts = world.check(play.saw, starts=1)
    told, kills = 0, 0
    for name, verdict in verdicts.items():
        ((before, after),) = verdict.starts
        if after.number != 1:
            raise Fault(f"{name}: the first sample of the new run is number {after.number}")
        if name in killed:
            told += at_most_unwritten(play, name, before, killed[name])
            kills += 1
    lost = world.told_lost(reason="unwritten")
    play.saw(f"at most {told} samples are missing of {kills} agents that were killed; {lost} kills are told")
    # How many samples a kill has cost is not known: each counts as one.
    if lost != kills or world.told_lost() != lost:
        raise Fault(f"{kills} agents were killed, and {lost} losses are told of {world.told_lost()}")


def restart(world, name, how):
    """Ends an agent and starts it again at once."""
    world.end(name, how)
    world.start_agent(name)


def at_most_unwritten(play, name, before, killed):
    """How many samples are missing before the agent was killed; no more than what is written at a time."""
    silent = killed - before.at
    if silent > UNWRITTEN + SLACK:
        raise Fault(f"{name}: of the last {silent:.1f} s before it was killed nothing has arrived")
    return int(silent / play.worlds[0].interval)


def lost_at_kill(play, world, before, killed):
    """What is missing before a kill is told as lost."""
    missing = at_most_unwritten(play, "host0", before, killed)
    lost = world.told_lost(reason="unwritten")
    play.saw(f"{killed - before.at:.1f} s are missing before the kill, {missing} samples; {lost} kill is told")
    if lost != 1 or world.told_lost() != lost:
        raise Fault(f"{missing} samples are missing, and {lost} losses are told of {world.told_lost()}")
    if "how many is not known" not in world.log("collector0"):
        raise Fault("the collector's log does not say that samples are lost, and that it is not known how many")


def nothing_told(world):
    """No collector was told of a loss."""
    if world.told_lost():
        raise Fault(f"{world.told_lost()} samples are told as lost, and none is missing")
