# SPDX-License-Identifier: Apache-2.0
"""What is printed of scenarios, for a person and for a program that counts."""

import pathlib
import traceback

from machine import AGENT, COLLECTOR

# The exit status of automake's tests that were left out; who calls us tells them apart by it.
NOTHING_RUN = 77
# Whose messages help to find out why a scenario failed.
SHOWN = [f"--unit={unit}" for unit in (AGENT, COLLECTOR, "dbus*", "polkit", "peer")]


def summary(passed, failed, skipped):
    """Prints the line that others read, and returns the exit status."""
    print(f"{passed} passed, {failed} failed, {skipped} skipped", flush=True)
    return 1 if failed else 0


def explain(failure, *machines):
    """The lines that a person needs to find out why."""
    frames = traceback.extract_tb(failure.__traceback__)
    scenario = [frame for frame in frames if "/scenarios/" in frame.filename] or frames
    where = scenario[-1]
    yield f"  FAILED: {failure}"
    yield f"  at {pathlib.Path(where.filename).name}:{where.lineno}: {where.line}"
    if not isinstance(failure, AssertionError):
        yield from "".join(traceback.format_exception(failure)).splitlines()
    for machine in machines:
        for command in (
            ["systemctl", "--no-pager", "--full", "--lines=0", "status", AGENT, COLLECTOR],
            ["journalctl", "--no-pager", "--lines=40", "--output=short-monotonic", *SHOWN],
        ):
            try:
                done = machine.execute(*command)
                shown = done.stdout + done.stderr
            except AssertionError as also:
                shown = str(also)
            yield f"  --- {machine.said_by}{' '.join(command)}"
            yield from (f"  | {line}" for line in shown.splitlines())
