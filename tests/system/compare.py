#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Compares what the agent says of a host with what prometheus-node-exporter says of it.

    compare.py

Runs on the host where both run. Each round asks the agent, the exporter, and the agent again: a
count has to lie between the agent's two, what stands still has to be the same, and what goes up and
down has to lie between the two in some round. Prints a line for each value, and as the last how many
were compared; the exit status is 1 where one was not right.
"""

import json
import re
import subprocess
import sys
import time
import urllib.request

EXPORTER = "http://127.0.0.1:9100/metrics"
# What moves is rarely caught between two looks at once.
ROUNDS = 40
PATIENCE_SECONDS = 120

# Clock ticks of 10 ms: the sum over the CPUs and the kernel's own sum are each rounded down.
TICKS = 0.1

STILL, COUNT, MOVES = "still", "count", "moves"

# Ours, theirs, ours in theirs, how it behaves, and what rounding may do. Where ours has an instance,
# {} in theirs is that instance.
PAIRS = [
    ("mem.total", "node_memory_MemTotal_bytes", 1024, STILL, 0),
    ("mem.swap.total", "node_memory_SwapTotal_bytes", 1024, STILL, 0),
    ("mem.free", "node_memory_MemFree_bytes", 1024, MOVES, 0),
    ("mem.avail", "node_memory_MemAvailable_bytes", 1024, MOVES, 0),
    ("mem.buffers", "node_memory_Buffers_bytes", 1024, MOVES, 0),
    ("mem.cached", "node_memory_Cached_bytes", 1024, MOVES, 0),
    ("mem.swap.free", "node_memory_SwapFree_bytes", 1024, MOVES, 0),
    ("mem.dirty", "node_memory_Dirty_bytes", 1024, MOVES, 0),
    ("mem.writeback", "node_memory_Writeback_bytes", 1024, MOVES, 0),
    ("mem.faults.total", "node_vmstat_pgfault", 1, COUNT, 0),
    ("mem.faults.major.total", "node_vmstat_pgmajfault", 1, COUNT, 0),
    ("mem.oom.kills.total", "node_vmstat_oom_kill", 1, COUNT, 0),
    ("cpu.user.total", 'node_cpu_seconds_total{*,mode="user"}', 0.001, COUNT, TICKS),
    ("cpu.nice.total", 'node_cpu_seconds_total{*,mode="nice"}', 0.001, COUNT, TICKS),
    ("cpu.system.total", 'node_cpu_seconds_total{*,mode="system"}', 0.001, COUNT, TICKS),
    ("cpu.idle.total", 'node_cpu_seconds_total{*,mode="idle"}', 0.001, COUNT, TICKS),
    ("cpu.irq.total", 'node_cpu_seconds_total{*,mode="irq"}', 0.001, COUNT, TICKS),
    ("cpu.softirq.total", 'node_cpu_seconds_total{*,mode="softirq"}', 0.001, COUNT, TICKS),
    ("cpu.steal.total", 'node_cpu_seconds_total{*,mode="steal"}', 0.001, COUNT, TICKS),
    ("cpu.switches.total", "node_context_switches_total", 1, COUNT, 0),
    ("cpu.interrupts.total", "node_intr_total", 1, COUNT, 0),
    ("proc.forks.total", "node_forks_total", 1, COUNT, 0),
    ("proc.running", "node_procs_running", 1, MOVES, 0),
    ("proc.blocked", "node_procs_blocked", 1, MOVES, 0),
    ("load.1m", "node_load1", 1, MOVES, 0.001),
    ("load.5m", "node_load5", 1, MOVES, 0.001),
    ("load.15m", "node_load15", 1, MOVES, 0.001),
    ("pressure.some.total[cpu]", "node_pressure_cpu_waiting_seconds_total", 1e-6, COUNT, 1e-5),
    ("pressure.some.total[memory]", "node_pressure_memory_waiting_seconds_total", 1e-6, COUNT, 1e-5),
    ("pressure.full.total[memory]", "node_pressure_memory_stalled_seconds_total", 1e-6, COUNT, 1e-5),
    ("pressure.some.total[io]", "node_pressure_io_waiting_seconds_total", 1e-6, COUNT, 1e-5),
    ("pressure.full.total[io]", "node_pressure_io_stalled_seconds_total", 1e-6, COUNT, 1e-5),
    ("disk.reads.total[*]", 'node_disk_reads_completed_total{device="{}"}', 1, COUNT, 0),
    ("disk.reads.merged.total[*]", 'node_disk_reads_merged_total{device="{}"}', 1, COUNT, 0),
    ("disk.read.bytes.total[*]", 'node_disk_read_bytes_total{device="{}"}', 1, COUNT, 0),
    ("disk.read.time.total[*]", 'node_disk_read_time_seconds_total{device="{}"}', 0.001, COUNT, 1e-6),
    ("disk.writes.total[*]", 'node_disk_writes_completed_total{device="{}"}', 1, COUNT, 0),
    ("disk.writes.merged.total[*]", 'node_disk_writes_merged_total{device="{}"}', 1, COUNT, 0),
    ("disk.write.bytes.total[*]", 'node_disk_written_bytes_total{device="{}"}', 1, COUNT, 0),
    ("disk.write.time.total[*]", 'node_disk_write_time_seconds_total{device="{}"}', 0.001, COUNT, 1e-6),
    ("disk.inflight[*]", 'node_disk_io_now{device="{}"}', 1, MOVES, 0),
    ("disk.busy.total[*]", 'node_disk_io_time_seconds_total{device="{}"}', 0.001, COUNT, 1e-6),
    ("disk.queue.time.total[*]", 'node_disk_io_time_weighted_seconds_total{device="{}"}', 0.001, COUNT, 1e-6),
    ("disk.discards.total[*]", 'node_disk_discards_completed_total{device="{}"}', 1, COUNT, 0),
    ("disk.flushes.total[*]", 'node_disk_flush_requests_total{device="{}"}', 1, COUNT, 0),
    ("fs.size[*]", 'node_filesystem_size_bytes{*,mountpoint="{}"*}', 1, STILL, 0),
    ("fs.free[*]", 'node_filesystem_free_bytes{*,mountpoint="{}"*}', 1, MOVES, 0),
    ("fs.avail[*]", 'node_filesystem_avail_bytes{*,mountpoint="{}"*}', 1, MOVES, 0),
    ("fs.inodes[*]", 'node_filesystem_files{*,mountpoint="{}"*}', 1, STILL, 0),
    ("fs.inodes.free[*]", 'node_filesystem_files_free{*,mountpoint="{}"*}', 1, MOVES, 0),
    ("fs.readonly[*]", 'node_filesystem_readonly{*,mountpoint="{}"*}', 1, STILL, 0),
    ("net.rx.bytes.total[*]", 'node_network_receive_bytes_total{device="{}"}', 1, COUNT, 0),
    ("net.rx.packets.total[*]", 'node_network_receive_packets_total{device="{}"}', 1, COUNT, 0),
    ("net.rx.errors.total[*]", 'node_network_receive_errs_total{device="{}"}', 1, COUNT, 0),
    ("net.rx.drops.total[*]", 'node_network_receive_drop_total{device="{}"}', 1, COUNT, 0),
    ("net.tx.bytes.total[*]", 'node_network_transmit_bytes_total{device="{}"}', 1, COUNT, 0),
    ("net.tx.packets.total[*]", 'node_network_transmit_packets_total{device="{}"}', 1, COUNT, 0),
    ("net.tx.errors.total[*]", 'node_network_transmit_errs_total{device="{}"}', 1, COUNT, 0),
    ("net.tx.drops.total[*]", 'node_network_transmit_drop_total{device="{}"}', 1, COUNT, 0),
    # The connection that asks the exporter has both of its ends here.
    ("tcp.established", "node_netstat_Tcp_CurrEstab", 1, MOVES, 2),
    ("tcp.opens.active.total", "node_netstat_Tcp_ActiveOpens", 1, COUNT, 0),
    ("tcp.opens.passive.total", "node_netstat_Tcp_PassiveOpens", 1, COUNT, 0),
    ("tcp.segments.in.total", "node_netstat_Tcp_InSegs", 1, COUNT, 0),
    ("tcp.segments.out.total", "node_netstat_Tcp_OutSegs", 1, COUNT, 0),
    ("tcp.retransmits.total", "node_netstat_Tcp_RetransSegs", 1, COUNT, 0),
    ("tcp.errors.in.total", "node_netstat_Tcp_InErrs", 1, COUNT, 0),
    ("tcp.listen.overflows.total", "node_netstat_TcpExt_ListenOverflows", 1, COUNT, 0),
    ("tcp.listen.drops.total", "node_netstat_TcpExt_ListenDrops", 1, COUNT, 0),
    ("udp.in.total", "node_netstat_Udp_InDatagrams", 1, COUNT, 0),
    ("udp.out.total", "node_netstat_Udp_OutDatagrams", 1, COUNT, 0),
    # Each end of the connections that ask is a socket: two of the exporter's, two of the bus's.
    ("sockets.used", "node_sockstat_sockets_used", 1, MOVES, 4),
    ("tcp.timewait", "node_sockstat_TCP_tw", 1, MOVES, 0),
]

# A host has these, so that a comparison of nothing is none.
NEEDED = ["mem", "cpu", "load", "pressure", "disk", "fs", "net", "tcp"]


def main():
    held, seen, wrong = {}, {}, {}
    deadline = time.monotonic() + PATIENCE_SECONDS
    for _ in range(ROUNDS):
        before, theirs, after = ours(), exporter(), ours()
        for pair in PAIRS:
            for name, *judged in judge(pair, before, theirs, after):
                good, text = judged
                seen[name] = text
                if good:
                    held[name] = text
                elif pair[3] != MOVES:
                    wrong.setdefault(name, text)
        if time.monotonic() > deadline or (not wrong and seen.keys() == held.keys()):
            break
    for name in seen.keys() - held.keys():
        wrong.setdefault(name, seen[name])
    for name, text in sorted(held.items()):
        print(f"{name}: {text}")
    for name, text in sorted(wrong.items()):
        print(f"WRONG {name}: {text}")
    families = {name.split(".")[0] for name in seen}
    missing = [family for family in NEEDED if family not in families]
    if missing:
        print("nothing to compare of: " + ", ".join(missing))
    print(f"{len(seen)} values compared, {len(wrong)} wrong")
    return 1 if wrong or missing else 0


def ours():
    """What the agent says, as numbers."""
    grid = {}
    for more in ([], ["--model"]):
        command = ["metrics-agentctl", "--json=short", "metrics", *more]
        grid |= json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return {name: value for name, value in grid.items() if not isinstance(value, str)}


def exporter():
    """What the exporter says: series, as it writes them, to numbers."""
    with urllib.request.urlopen(EXPORTER, timeout=60) as answer:
        lines = answer.read().decode().splitlines()
    series = (line.rpartition(" ") for line in lines if not line.startswith("#"))
    return {name: float(value) for name, _, value in series}


def judge(pair, before, theirs, after):
    """For each instance that both have: its name, whether it is right, and what was there."""
    name, series, factor, behaviour, rounding = pair
    if name.endswith("[*]"):
        family = name[:-2]
        names = [n for n in before if n.startswith(family) and n in after]
    else:
        names = [name] if name in before and name in after else []
    for each in names:
        wanted = series.replace("{}", each[each.find("[") + 1 : -1])
        pattern = re.compile(re.escape(wanted).replace(r"\*,", ".*").replace(r"\*", ".*") + "$")
        found = [value for one, value in theirs.items() if pattern.match(one)]
        if not found:
            # What is not there for the other is not there.
            if name.endswith("[*]") and not left_out_there(each):
                yield each, False, f"{before[each]:g}, and the exporter has none"
            continue
        value = sum(found)
        low, high = sorted([before[each] * factor, after[each] * factor])
        # What is large has been through the exporter's floats.
        room = rounding + abs(value) * 1e-12
        good = low - room <= value <= high + room
        if behaviour == STILL:
            good = good and low == high
        yield each, good, f"{value:g} is {low:g}" + ("" if low == high else f" to {high:g}")


def left_out_there(name):
    """Whether Debian's settings of the exporter leave it out: what is in memory below /run."""
    return name.startswith("fs.") and re.search(r"\[/run(/|\])", name) is not None


if __name__ == "__main__":
    sys.exit(main())
