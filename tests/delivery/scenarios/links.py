# SPDX-License-Identifier: Apache-2.0
"""The network between agents and collectors is bad.

Collectors and engine live in one network namespace and agents in another, with a cable between them. The
kernel drops packets by rules of nftables at the agents' end: that needs no netem, which few kernels of
virtual machines have. What is not had so: packets that are delayed, or that come in another order.
"""

import os
import subprocess
import time

from play import needs, scenario
from proof import Fault
from world import AGENTS

NEAR, FAR = "10.77.0.1", "10.77.0.2"


class Cable:
    """Two namespaces with a cable between them, and what it drops."""

    def __init__(self):
        self.near, self.far = (f"delivery-{os.getpid()}-{id(self) % 1000000}-{end}" for end in "nf")
        for name in (self.near, self.far):
            ip("netns", "add", name)
        ip("-n", self.near, "link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns", self.far)
        for name, address in ((self.near, NEAR), (self.far, FAR)):
            ip("-n", name, "addr", "add", f"{address}/24", "dev", "cable")
            ip("-n", name, "link", "set", "cable", "up")
            ip("-n", name, "link", "set", "lo", "up")

    def drop(self, *rules):
        """Drops packets that agents send or get by these rules, and by no others."""
        text = "flush ruleset\ntable inet bad {\n"
        for hook in ("input", "output"):
            lines = "\n".join(rule.replace("PORT", "tcp sport" if hook == "input" else "tcp dport") for rule in rules)
            text += f"chain {hook} {{ type filter hook {hook} priority 0; policy accept;\n{lines}\n}}\n"
        run("ip", "netns", "exec", self.far, "nft", "-f", "-", input=text + "}\n")

    def close(self):
        """Removes both."""
        for name in (self.near, self.far):
            subprocess.run(["ip", "netns", "del", name], check=False)


def run(*command, **how):
    """Runs a command that has to work."""
    done = subprocess.run(command, text=True, capture_output=True, **how)
    if done.returncode != 0:
        raise Fault(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


def ip(*arguments):
    """Runs ip(8)."""
    return run("ip", *arguments)


def blackhole(number):
    """The rule that drops all between agents and a collector."""
    return f"PORT {AGENTS + number} drop"


def lossy(percent):
    """The rule that drops so many packets in a hundred, of all collectors."""
    return f"PORT {AGENTS}-{AGENTS + 1} numgen random mod 100 < {percent} drop"


def with_cable(scene):
    """Plays a scene in a world with a cable."""
    def play_it(play, **how):
        cable = Cable()
        try:
            near, far = (["ip", "netns", "exec", name] for name in (cable.near, cable.far))
            scene(play, cable, play.world(near=near, far=far, address=NEAR, **how))
        finally:
            for world in play.worlds:
                world.stop()
            cable.close()
    return play_it


@scenario(seconds=60, short=25, without=needs("ip", "nft"))
def link_drops_packets(play):
    """Every fifth packet between agents and collectors is lost, both ways."""
    def scene(play, cable, world):
        cable.drop(lossy(20))
        time.sleep(play.seconds)
        cable.drop()
        world.check(play.saw)
    with_cable(scene)(play, agents=3)


@scenario(seconds=60, without=needs("ip", "nft"))
def link_blackholes(play):
    """The way to the first of two collectors takes packets and loses all; then that to the second; then both."""
    def scene(play, cable, world):
        cable.drop(blackhole(0))
        play.saw(f"reports to the second collector within {world.await_live():.0f} s")
        cable.drop(blackhole(1))
        play.saw(f"reports to the first one again within {world.await_live():.0f} s")
        cable.drop(blackhole(0), blackhole(1))
        time.sleep(play.seconds)
        cable.drop(blackhole(1), lossy(10))
        play.saw(f"after {play.seconds} s without any, everything has arrived within {world.await_live():.0f} s")
        cable.drop()
        world.check(play.saw)
    with_cable(scene)(play, collectors=2, agents=3)


@scenario(seconds=60, without=needs("ip", "nft"))
def link_comes_and_goes(play):
    """The way to both collectors is cut for seconds, again and again, and collectors are killed meanwhile."""
    def scene(play, cable, world):
        cuts = 0
        for _ in play.until_over():
            cable.drop(blackhole(cuts % 2))
            time.sleep(3)
            world.end(f"collector{(cuts + 1) % 2}")
            time.sleep(2)
            world.start_collector((cuts + 1) % 2)
            cable.drop(lossy(10))
            time.sleep(4)
            cuts += 1
        cable.drop()
        play.saw(f"{cuts} cuts and kills")
        world.check(play.saw)
    with_cable(scene)(play, collectors=2, agents=3)
