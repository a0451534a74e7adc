# SPDX-License-Identifier: Apache-2.0
"""What a scenario is, and what it is given."""

import os
import shutil
import tempfile
import time

from world import World

SCENARIOS = {}


def scenario(seconds=60, short=None, without=None):
    """Makes a function a scenario: things go wrong for `seconds`; for `short` seconds in the short form, if it
    belongs to that. `without` says why it cannot be played here, or returns None."""

    def add(function):
        function.seconds, function.short, function.without = seconds, short, without
        SCENARIOS[function.__name__] = function
        return function

    return add


class Play:
    """One scenario that is being played: its worlds, and what it has seen."""

    def __init__(self, function, binaries, seconds):
        self.function = function
        self.name = function.__name__
        self.binaries = binaries
        self.seconds = seconds
        self.report = []
        self.worlds = []
        # For files that several worlds use, or that are there before a world is.
        self.scratch = tempfile.mkdtemp(prefix="delivery-", dir="/var/tmp")

    def world(self, **how):
        """A world of its own, which ends with the scenario."""
        world = World(self.binaries, **how)
        self.worlds.append(world)
        return world

    def saw(self, text):
        """Says what was seen."""
        self.report.append(f"  {text}")

    def until_over(self):
        """Goes on as long as things go wrong."""
        end = time.monotonic() + self.seconds
        while time.monotonic() < end:
            yield end - time.monotonic()

    def close(self, keep):
        """Ends the worlds; keeps their logs where something failed."""
        for number, world in enumerate(self.worlds):
            if keep:
                to = os.path.join(keep, f"{self.name}-{number}")
                shutil.rmtree(to, ignore_errors=True)
                shutil.copytree(world.dir, to, ignore_dangling_symlinks=True)
            world.close()
        shutil.rmtree(self.scratch, ignore_errors=True)


def needs_root():
    """Why what needs root cannot be played."""
    return None if os.geteuid() == 0 else "needs root"


def needs(*tools):
    """Why what needs root and these tools cannot be played."""

    def why():
        missing = [tool for tool in tools if shutil.which(tool) is None]
        return needs_root() or (f"needs {', '.join(missing)}" if missing else None)

    return why
