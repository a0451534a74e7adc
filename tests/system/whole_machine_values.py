# SPDX-License-Identifier: Apache-2.0
"""Whether what the agent says of a host is right: on a whole machine, by what others say of it."""

import json
import re
import time

from machine import AGENT, BUS_NAME, OBJECT, SOURCE_INSIDE, Failure, call
from whole_machine import WATCH_SECONDS, cgroup, events, start, uptime

EXPORTER = "prometheus-node-exporter.service"

MIB = 1 << 20
# What services of known needs hold, read and may burn.
HOARD = 50 * MIB
READ = 16 * MIB
QUOTA = 0.2


def says_what_the_exporter_says(m):
    """Memory, CPU, load, pressure, disks, file systems, network: as prometheus-node-exporter."""
    start(m)
    m.run("systemctl", "start", EXPORTER)
    compare = f"{SOURCE_INSIDE}/tests/system/compare.py"
    # It may be started before it listens.
    m.eventually(
        "the exporter listens",
        lambda: m.run("python3", "-c", "import socket; socket.create_connection(('127.0.0.1', 9100))"),
        "",
        within=120,
    )
    # So that each value has something to say.
    m.run("sh", "-c", "dd if=/dev/zero of=/var/tmp/written bs=1M count=8 conv=fsync 2>&1; cat /srv/*/* > /dev/null 2>&1; true")
    done = m.execute("python3", compare, timeout=120)
    for line in done.stdout.splitlines():
        m.saw(line)
    if done.returncode != 0:
        wrong = [line for line in done.stdout.splitlines() if not re.match(r"\S+: ", line)]
        raise Failure("the two say different things: " + "; ".join(wrong) + done.stderr)
    m.run("systemctl", "stop", EXPORTER)


def tells_what_it_is(m):
    """Virtualisation, vendor, CPUs and disks are what systemd and the kernel tell of them."""
    m.run("systemctl", "start", AGENT)
    (grid,) = json.loads(m.run(*call("Sample", "s", "model")))["data"]
    model = {name: value["data"] for name, value in grid.items()}
    m.expect("virtualisation", model["host.virtualization"], m.run("systemd-detect-virt").strip())
    m.expect("vendor", model["host.vendor"], m.read("/sys/class/dmi/id/sys_vendor").strip())
    m.expect("CPUs", model["host.cpus"], int(m.run("nproc")))
    sizes = {name: size for name, size in model.items() if name.startswith("host.disk.size[")}
    m.expect_true(f"disks: {sizes}", sizes)
    for name, size in sizes.items():
        device = name.removeprefix("host.disk.size[").removesuffix("]")
        m.expect(name, size, int(m.run("blockdev", "--getsize64", f"/dev/{device}")))


def units_are_what_systemd_says(m):
    """Services that hold, read, burn and are killed by known amounts: values as systemd's."""
    start(m, '[metrics]\nsources = ["units"]\n')
    pid = m.main_pid()
    touch = "import sys, time; b = bytearray(int(sys.argv[1])); "
    touch += "b[::4096] = bytes(len(b[::4096])); time.sleep(float(sys.argv[2]))"
    hold = ["python3", "-c", touch]
    _run_service(m, "hoarder", [], *hold, HOARD, 3600)
    burn = "while :; do :; done"
    _run_service(m, "burner", [f"CPUQuota={QUOTA:.0%}"], "sh", "-c", burn)
    take = f"dd if=/dev/vda of=/dev/null bs=1M count={READ // MIB} iflag=direct; sleep 3600"
    _run_service(m, "taker", ["IOAccounting=yes"], "sh", "-c", take)
    limits = ["MemoryMax=32M", "MemorySwapMax=0", "OOMPolicy=continue"]
    killed = f"python3 -c '{touch}' {2 * HOARD} 0; sleep 3600"
    _run_service(m, "victim", limits, "sh", "-c", killed)

    for name, wanted in (
        ("unit.memory.anon[hoarder.service]", lambda held: HOARD <= held < 2 * HOARD),
        ("unit.io.read.bytes.total[taker.service]", lambda read: READ <= read < 2 * READ),
        ("unit.oom.kills.total[victim.service]", lambda kills: kills == 1),
    ):
        m.eventually(name, lambda name=name: _units(m).get(name, 0), wanted, within=120)
    m.expect("kills", events(m, "memory.events", "victim.service")["oom_kill"], "1")
    peak = _units(m)["unit.memory.peak[victim.service]"]
    m.expect("memory at the most", peak, int(cgroup(m, "memory.peak", "victim.service")))

    for unit in ("hoarder", "burner", "taker", "victim"):
        before = _systemds(m, f"{unit}.service")
        values = _units(m)
        after = _systemds(m, f"{unit}.service")
        for name, least in before.items():
            value, most = values[f"{name}[{unit}.service]"], after[name]
            slack = MIB if name == "unit.memory" else 0
            m.expect_true(
                f"{name} of {unit}: {value} from {least} to {most}",
                min(least, most) - slack <= value <= max(least, most) + slack,
            )
    first, began = _units(m), uptime(m)
    time.sleep(WATCH_SECONDS)
    last, took = _units(m), uptime(m) - began
    burnt = {k: last[k] - first[k] for k in last if k.endswith("[burner.service]")}
    share = burnt["unit.cpu.total[burner.service]"] / 1e6 / took
    m.expect_true(f"burner: {share:.0%} of a CPU", QUOTA / 2 < share < QUOTA * 1.5)
    m.expect_true("burner: held back", burnt["unit.cpu.throttled.total[burner.service]"] > 0)

    m.run("systemctl", "stop", "hoarder", "burner", "taker", "victim")
    names = [name for name in _units(m) if "hoarder" in name]
    m.expect("of those that were stopped", names, [])
    m.expect_steady(pid)


SCENARIOS = [says_what_the_exporter_says, tells_what_it_is, units_are_what_systemd_says]


def _run_service(m, name, properties, *command):
    """A service that runs until it is stopped."""
    options = [f"--property={text}" for text in properties]
    m.run("systemd-run", "--quiet", f"--unit={name}", *options, *command)


def _units(m):
    """What the agent says of units now, by name."""
    path, interface = f"{OBJECT}/source/units", "org.metricsagent.Source1"
    answer = m.run("busctl", "--json=short", "call", BUS_NAME, path, interface, "Sample")
    (values,) = json.loads(answer)["data"]
    return {name: value["data"] for name, value in values.items()}


def _systemds(m, unit):
    """What systemd says of one, under our names and in our units."""
    values = {
        "unit.cpu.total": int(m.unit("CPUUsageNSec", unit)) // 1000,
        "unit.memory": int(m.unit("MemoryCurrent", unit)),
        "unit.tasks": int(m.unit("TasksCurrent", unit)),
    }
    if m.unit("IOAccounting", unit) == "yes":
        values["unit.io.read.bytes.total"] = int(m.unit("IOReadBytes", unit))
        values["unit.io.reads.total"] = int(m.unit("IOReadOperations", unit))
    return values
