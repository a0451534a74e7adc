#!/usr/bin/env python3
"""Prints the medians of a comparison as a table, with ratios to the C loop.

  table.py DIRECTORY

DIRECTORY holds, for each program and round, NAME.ROUND.json of measure.py and
NAME.ROUND.received of its peer. Status 1 where a peer received less than it should have:
a program that does not do its work costs nothing.
"""
import collections
import json
import pathlib
import statistics
import sys

# Below this share of one message a sample, something was lost.
DELIVERED = 0.9

COLUMNS = (
    ("CPU us/sample", "cpu_us_per_sample", 0, 1),
    ("PSS MiB", "pss_kib", 1, 1024),
    ("private MiB", "private_kib", 1, 1024),
    ("dirty MiB", "private_dirty_kib", 1, 1024),
    ("growth KiB", "private_growth_kib", 0, 1),
    ("threads", "threads", 0, 1),
    ("switches/s", "context_switches_per_s", 1, 1),
    ("syscalls/sample", "system_calls_per_sample", 0, 1),
    ("bytes/sample", "wire_bytes_per_sample", 0, 1),
    ("others' CPU %", "others_cpu_percent", 1, 1),
)


def load(directory):
    rounds = collections.defaultdict(list)
    for path in sorted(pathlib.Path(directory).glob("*.json")):
        rounds[path.name.split(".")[0]].append(
            (json.loads(path.read_text()), json.loads(path.with_suffix(".received").read_text())))
    return rounds


def cell(results, key, digits, unit):
    values = [result[key] / unit for result, _ in results if key in result]
    return f"{statistics.median(values):.{digits}f}" if values else "-"


def main():
    rounds = load(sys.argv[1])
    cpu = {name: [result["cpu_us_per_sample"] for result, _ in results]
           for name, results in rounds.items()}
    floor = statistics.median(cpu["loop"]) if "loop" in cpu else None
    order = sorted(rounds, key=lambda name: statistics.median(cpu[name]))

    rows = [["program", "rounds", "x loop", "CPU spread"] + [title for title, *_ in COLUMNS]]
    for name in order:
        ratio = f"{statistics.median(cpu[name]) / floor:.2f}" if floor else "-"
        rows.append([name, str(len(cpu[name])), ratio,
                     f"{min(cpu[name]):.0f}..{max(cpu[name]):.0f}"]
                    + [cell(rounds[name], *column) for _, *column in COLUMNS])
    widths = [max(map(len, column)) for column in zip(*rows)]
    for row in rows:
        print("  ".join(text.rjust(width) if index else text.ljust(width)
                        for index, (text, width) in enumerate(zip(row, widths))))

    failed = False
    for name, results in rounds.items():
        for number, (result, received) in enumerate(results, 1):
            # collectd fills a datagram with several samples' values.
            expected = 1 if name.startswith("collectd") else DELIVERED * result["samples"]
            if received["messages"] < expected:
                failed = True
                print(f"table.py: {name}, round {number}: the peer received {received['messages']} "
                      f"messages of {result['samples']:.0f} samples", file=sys.stderr)
    sys.exit(failed)


main()
