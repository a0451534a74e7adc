# SPDX-License-Identifier: Apache-2.0
"""The agent's state directory is full, read-only or damaged, or the log has no more room."""

import glob
import os
import random
import signal
import subprocess
import time

from play import needs, scenario
from proof import Fault
from world import wait_for

# What is kept in memory alone is 256 KiB at least; a sample of these agents takes some ten bytes.
SMALL = "256 KiB"


def mounted(world, name, size):
    """Starts the agent again, with a small file system of its own as state directory."""
    world.end(name)
    mount = f'mount -t tmpfs -o size={size} tmpfs "$0" && exec "$@"'
    world.start_agent(name, prefix=["unshare", "--mount", "sh", "-c", mount, world.state(name)])


def inside(world, name, *command):
    """Runs a command where the agent's state directory is what the agent has."""
    pid = str(world.processes[name].pid)
    done = subprocess.run(["nsenter", "--mount", "-t", pid, *command], capture_output=True, text=True)
    if done.returncode != 0:
        raise Fault(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


def says(world, name, text, times=1):
    """Waits until the agent has logged this so often."""
    wait_for(f"{name} says {text!r}", lambda: world.log(name).count(text) >= times)


MEMORY_ALONE = "are kept in memory alone"
ON_DISK_AGAIN = "are kept on disk again"


@scenario(seconds=30, short=10, without=needs("unshare", "nsenter", "mount"))
def disk_read_only(play):
    """The state directory becomes read-only while the collector is away: memory alone, said once."""
    world = play.world(settings='[spool]\nafter = "1s"\n')
    mounted(world, "host0", "16m")
    world.await_live()
    world.end("collector0")
    inside(world, "host0", "mount", "-o", "remount,ro", world.state("host0"))
    says(world, "host0", MEMORY_ALONE)
    time.sleep(play.seconds)
    world.start_collector()
    world.check(play.saw, starts=1)
    said_once(world, "host0")


@scenario(seconds=90, without=needs("unshare", "nsenter", "mount"))
def disk_full(play):
    """The state directory is full while the collector is away; there is room again later, and then a restart."""
    world = play.world(settings='[spool]\nafter = "1s"\n')
    mounted(world, "host0", "128k")
    world.await_live()
    fill = f'dd if=/dev/zero of={world.state("host0")}/other bs=4k'
    inside(world, "host0", "sh", "-c", f"{fill} 2>/dev/null; true")
    world.end("collector0")
    says(world, "host0", MEMORY_ALONE)
    time.sleep(play.seconds / 3)
    inside(world, "host0", "rm", f'{world.state("host0")}/other')
    says(world, "host0", ON_DISK_AGAIN)
    said_once(world, "host0")
    time.sleep(play.seconds / 3)
    world.start_collector()
    world.check(play.saw, starts=1)
    if world.told_lost():
        raise Fault(f"{world.told_lost()} samples are told as lost")


def said_once(world, name):
    """What is wrong with the disk was said once, not again with each sample."""
    times = world.log(name).count(MEMORY_ALONE)
    if times != 1:
        raise Fault(f"{name} said {times} times that samples {MEMORY_ALONE}")


def damaged(play, harm):
    """The log of a stopped agent is damaged on disk; what is missing then is told."""
    world = play.world(interval=0.1, settings='[spool]\nafter = "1s"\n')
    world.losses_expected = True
    world.end("collector0")
    time.sleep(play.seconds)
    world.end("host0", signal.SIGTERM)
    files = [path for path in glob.glob(world.state("host0") + "/**", recursive=True) if is_log(path)]
    if not files:
        raise Fault("the stopped agent has left no log")
    play.saw(harm(max(files, key=os.path.getsize)))
    world.start_agent("host0")
    time.sleep(2)
    world.start_collector()
    verdict = world.check(play.saw, missing=True, starts=1)["host0"]
    ((before, after),) = verdict.starts
    told, missing = world.told_lost(), verdict.missing
    play.saw(
        f"{missing} samples are missing in between and those of the last {after.at - before.at:.1f} s; "
        f"{told} are told as lost"
    )
    gap = int((after.at - before.at) / world.interval) - 20
    # How many samples the end had that is gone is not known: it counts as one.
    if told < missing + int(gap > 0):
        raise Fault(f"{missing} samples and {gap} at the end are missing, and {told} are told")
    if len(verdict.samples) < 10 * play.seconds / 2:
        raise Fault(f"only {len(verdict.samples)} samples are left")


def is_log(path):
    """Whether a file has samples."""
    return os.path.isfile(path) and "history" in path


@scenario(seconds=20, short=10)
def log_torn(play):
    """The last file of a stopped agent's log lacks its end."""
    def tear(path):
        size = os.path.getsize(path)
        cut = random.randrange(1, min(size // 4, 2000))
        os.truncate(path, size - cut)
        return f"cut {cut} of {size} bytes"
    damaged(play, tear)


@scenario(seconds=20)
def log_flipped(play):
    """A byte in the middle of a stopped agent's log is another one."""
    def flip(path):
        size = os.path.getsize(path)
        with open(path, "r+b") as file:
            at = random.randrange(size // 3, 2 * size // 3)
            file.seek(at)
            byte = file.read(1)[0]
            file.seek(at)
            file.write(bytes([byte ^ 0x10]))
        return f"flipped a bit of byte {at} of {size}"
    damaged(play, flip)


@scenario(seconds=60)
def memory_full(play):
    """No disk, and the least memory: exactly the oldest samples go, told with their range."""
    overflow(play, f'[spool]\nmemory = "{SMALL}"\ndisk = 0\n')


@scenario(seconds=60)
def spool_full(play):
    """Little room on disk: exactly the oldest samples go, told with their range."""
    overflow(play, f'[spool]\nmemory = "{SMALL}"\ndisk = "{SMALL}"\nafter = "1s"\n')


def overflow(play, settings):
    """The collector is away until samples are lost, and then some."""
    world = play.world(interval=0.1, settings=settings, sources=EVERY_SOURCE)
    world.losses_expected = True
    time.sleep(2)
    # A collector that is stopped sends the receipts that wait; what one that is killed has not acknowledged counts
    # as lost once it has to go, though it has arrived.
    world.end("collector0", signal.SIGTERM)
    stopped = time.time()
    wait_for("samples are lost", lambda: "are being lost" in world.log("host0"), patience=900)
    full = time.time() - stopped
    time.sleep(play.seconds / 4)
    world.start_collector()
    back = time.time()
    verdict = world.check(play.saw, missing=True)["host0"]
    # The log is still full when the collector is back: what is under way then arrives, and what is behind it
    # may have to go.
    if not 1 <= len(verdict.holes) <= 2:
        raise Fault(f"{len(verdict.holes)} holes where the oldest samples in one range should be missing")
    before, after = verdict.holes[0]
    told = world.told_lost(reason="full")
    play.saw(
        f"full after {full:.0f} s; {verdict.missing} samples are missing, from number {before.number + 1} to "
        f"{after.number - 1} ({before.at - stopped:+.1f} s to {after.at - back:+.1f} s from the collector's return); "
        f"{told} are told as lost"
    )
    # Those that the engine took while the collector stopped.
    spare = told - verdict.missing
    if not 0 <= spare <= MOST_UNTOLD or world.told_lost() != told:
        raise Fault(f"{verdict.missing} samples are missing, and {told} of {world.told_lost()} are told as full")
    if before.at < stopped - 3:
        raise Fault(f"samples of {stopped - before.at:.1f} s before the outage are missing")
    if world.log("host0").count("are being lost") != 1:
        raise Fault("the agent said more than once that samples are being lost")
    said_range(play, world, before, after)


def said_range(play, world, before, after):
    """The collector's log says what is lost, with the time of the first and the last."""
    line = next(line for line in world.log("collector0").splitlines() if "has lost" in line)
    play.saw(line.strip())
    begin, end = (time.strftime("%Y-%m-%dT%H:%M:", time.gmtime(one.at)) for one in (before, after))
    if begin not in line or end not in line:
        raise Fault(f"the range that was told is not from {begin} to {end}: {line}")


# Samples of a second.
MOST_UNTOLD = 10

EVERY_SOURCE = ["agent", "uptime", "cpu", "load", "meminfo", "vmstat", "disk", "network", "sockets", "pressure", "files"]
