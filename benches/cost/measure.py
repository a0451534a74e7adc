#!/usr/bin/env python3
"""Starts a program, lets it settle, and says as JSON what it cost over a window.

  measure.py [options] NAME COMMAND [ARGUMENT...]

CPU time is that of the whole thread group, threads that have ended included, from its
CPU-time clock in nanoseconds (clock_getcpuclockid(3)). Bytes on the wire are those of the
loopback interface, IP headers and acknowledgements included, so run it in a network
namespace where nothing else talks. System calls are counted by strace in a span of their
own after the window, since tracing costs far more than what it counts.
"""
import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time


def read(path):
    with open(path) as file:
        return file.read()


def number(name, text):
    return int(re.search(rf"^{name}:\s+(\d+)", text, re.M)[1])


def cpu_ns(pid):
    """The kernel's MAKE_PROCESS_CPUCLOCK(pid, CPUCLOCK_SCHED); see clock_getcpuclockid(3)."""
    return time.clock_gettime_ns((~pid << 3) | 2)


def switches(pid):
    """Context switches by thread: of one that ended in the window, those are lost."""
    counts = {}
    for task in os.listdir(f"/proc/{pid}/task"):
        status = read(f"/proc/{pid}/task/{task}/status")
        counts[task] = number("voluntary_ctxt_switches", status) + number(
            "nonvoluntary_ctxt_switches", status)
    return counts


def loopback():
    """Bytes and packets sent on lo, which are those received on it."""
    columns = re.search(r"^\s*lo:\s*(.*)$", read("/proc/net/dev"), re.M)[1].split()
    return int(columns[8]), int(columns[9])


def machine_busy_s():
    """CPU time of everybody, in seconds: whether others disturbed the measurement."""
    user, nice, system, _, _, irq, softirq, steal = map(
        int, read("/proc/stat").split("\n", 1)[0].split()[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def memory_kib(pid):
    text = read(f"/proc/{pid}/smaps_rollup")
    dirty = number("Private_Dirty", text)
    return {"pss_kib": number("Pss", text), "private_kib": dirty + number("Private_Clean", text),
            "private_dirty_kib": dirty}


def snapshot(pid):
    size, packets = loopback()
    return {"at": time.monotonic(), "cpu_ns": cpu_ns(pid), "switches": switches(pid),
            "bytes": size, "packets": packets, "machine_s": machine_busy_s(), **memory_kib(pid)}


def system_calls(pid, seconds):
    """Calls a second, in all and by name."""
    tracer = subprocess.Popen(["strace", "-c", "-f", "-o", "/dev/stdout", "-p", str(pid)],
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    time.sleep(seconds)
    tracer.send_signal(signal.SIGINT)
    calls = {}
    for line in tracer.communicate()[0].splitlines():
        columns = line.split()
        # % time, seconds, usecs/call, calls, [errors,] syscall
        if len(columns) >= 5 and columns[0][0].isdigit() and columns[-1] != "total":
            calls[columns[-1]] = int(columns[3]) / seconds
    return dict(sorted(calls.items(), key=lambda item: -item[1]))


def costs(before, after, interval):
    seconds = after["at"] - before["at"]
    samples = seconds / interval
    cpu_s = (after["cpu_ns"] - before["cpu_ns"]) / 1e9
    switched = sum(count - before["switches"].get(task, 0)
                   for task, count in after["switches"].items())
    others = after["machine_s"] - before["machine_s"] - cpu_s
    return {
        "window_s": seconds,
        "samples": samples,
        "cpu_us_per_sample": cpu_s * 1e6 / samples,
        "threads": len(after["switches"]),
        "context_switches_per_s": switched / seconds,
        "wire_bytes_per_sample": (after["bytes"] - before["bytes"]) / samples,
        "wire_packets_per_sample": (after["packets"] - before["packets"]) / samples,
        "pss_kib": after["pss_kib"],
        "private_kib": after["private_kib"],
        "private_dirty_kib": after["private_dirty_kib"],
        "private_growth_kib": after["private_kib"] - before["private_kib"],
        "others_cpu_percent": 100 * others / seconds / os.cpu_count(),
    }


def arguments():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--warmup", type=float, default=5, metavar="S", help="before the window")
    parser.add_argument("--window", type=float, default=60, metavar="S")
    parser.add_argument("--interval", type=float, default=1, metavar="S",
                        help="between the program's samples")
    parser.add_argument("--strace", type=float, default=10, metavar="S",
                        help="after the window; 0: no counting of system calls")
    parser.add_argument("--log", default="/dev/null", help="where the program's output goes")
    parser.add_argument("name")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    return parser.parse_args()


def main():
    options = arguments()
    with open(options.log, "wb") as log:
        program = subprocess.Popen(options.command, stdin=subprocess.DEVNULL, stdout=log,
                                   stderr=log)

    def wait(seconds, span):
        try:
            status = program.wait(seconds)
        except subprocess.TimeoutExpired:
            return
        sys.exit(f"measure.py: {options.name} ended with {status} in its {span}: "
                 f"see {options.log}")

    try:
        wait(options.warmup, "warm-up")
        before = snapshot(program.pid)
        wait(options.window, "window")
        result = costs(before, snapshot(program.pid), options.interval)
        if options.strace and shutil.which("strace"):
            calls = system_calls(program.pid, options.strace)
            result["system_calls_per_sample"] = sum(calls.values()) * options.interval
            result["system_calls_per_s"] = calls
        json.dump({"name": options.name, **result}, sys.stdout, indent=1)
        print()
    finally:
        program.terminate()
        try:
            program.wait(5)
        except subprocess.TimeoutExpired:
            program.kill()
            program.wait()


main()
