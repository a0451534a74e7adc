# SPDX-License-Identifier: Apache-2.0
"""A host is rebooted, or its power is cut, while its collector is away.

A whole machine under qemu, as tests/system/vm has it. Collector and engine live there too, but are stopped
and on disk before, so that whatever is missing afterwards was the agent's.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

import proof
from play import needs, scenario
from proof import Fault
from scenarios.agents import SLACK, UNWRITTEN
from world import LOSSES, NEVER, wait_for

SYSTEM = pathlib.Path(__file__).resolve().parents[2] / "system"
sys.path.append(str(SYSTEM))

import qemu  # noqa: E402

INTERVAL = 1.0
AGENT, COLLECTOR, ENGINE = "proof-agent.service", "proof-collector.service", "proof-engine.service"
UNITS = {
    ENGINE: "[Service]\nStateDirectory=engine\nWorkingDirectory=/var/lib/engine\nLimitNOFILE=65536\n"
    "ExecStart=/srv/binaries/prometheus --config.file /etc/prometheus.yml --storage.tsdb.path data "
    "--web.enable-remote-write-receiver --web.listen-address 127.0.0.1:9090\n",
    COLLECTOR: "[Service]\nType=notify\nTimeoutStartSec=5min\nStateDirectory=collector\n"
    "ExecStart=/srv/binaries/metrics-collector --config /etc/collector.toml\n",
    AGENT: "[Service]\nType=notify\nTimeoutStartSec=5min\nStateDirectory=agent\n"
    "ExecStart=/srv/binaries/metrics-agent --config /etc/agent.toml\n[Install]\nWantedBy=multi-user.target\n",
}
COLLECTOR_SETTINGS = """[listen]
agents = "127.0.0.1:5556"
viewers = "none"
web = "127.0.0.1:9650"
[dbus]
bus = "none"
[remote_write.engine]
url = "http://127.0.0.1:9090/api/v1/write"
"""
AGENT_SETTINGS = """[host]
name = "host0"
[intervals]
metrics = "1s"
[spool]
after = "1s"
[dbus]
bus = "none"
[metrics]
sources = ["agent", "uptime", "load", "meminfo"]
[metrics.agent]
interval = "1s"
[metrics.uptime]
interval = "1s"
[collector.main]
endpoint = "127.0.0.1:5556"
public_key = "KEY"
"""
FETCH = "import sys, urllib.request as r; print(r.urlopen(sys.argv[1], timeout=60).read().decode())"
CLOCKS = "import time; print(time.time(), time.time() - time.clock_gettime(time.CLOCK_BOOTTIME))"


class Machine(qemu.Qemu):
    """The machine, with an agent that is started at each boot."""

    def begin(self):
        """Starts all, and waits until samples arrive."""
        self.zeros = []
        self.write("/etc/prometheus.yml", "global: {}\n")
        self.write("/etc/collector.toml", COLLECTOR_SETTINGS)
        for name, text in UNITS.items():
            self.write(f"/etc/systemd/system/{name}", text)
        self.run("systemctl", "daemon-reload")
        self.run("systemctl", "start", ENGINE, COLLECTOR, timeout=120)
        journal = self.run("journalctl", "-u", COLLECTOR, "-o", "cat")
        key = journal.split("public key they need is ", 1)[1][:40]
        self.write("/etc/agent.toml", AGENT_SETTINGS.replace("KEY", key))
        self.run("systemctl", "enable", "--quiet", "--now", AGENT, timeout=120)
        self.look_at_clock()
        self.await_live()

    def look_at_clock(self):
        """Remembers when this boot was. Returns what time it is there."""
        now, zero = map(float, self.run("python3", "-c", CLOCKS).split())
        self.zeros.append(zero)
        return now

    def zero(self, at):
        """When the machine was booted, as of this time."""
        return max((zero for zero in self.zeros if zero <= at), default=self.zeros[0])

    def fetch(self, port, path):
        """What a server there answers; None if it does not."""
        done = self.execute("python3", "-c", FETCH, f"http://127.0.0.1:{port}{path}")
        return done.stdout if done.returncode == 0 else None

    def samples(self):
        """What the engine has."""
        end = time.time() + 3600
        answer = self.fetch(9090, proof.question(end - 7200, end))
        return proof.samples(answer).get("host0", []) if answer else []

    def await_live(self):
        """Waits until what is taken now arrives."""
        until = float(self.run("date", "+%s.%N"))
        wait_for("samples arrive in the engine", lambda: any(one.at > until for one in self.samples()), 600)

    def leave_alone(self):
        """Stops collector and engine, and has all that they wrote on disk."""
        self.run("systemctl", "kill", "--signal=KILL", COLLECTOR)
        self.run("systemctl", "stop", ENGINE)
        self.run("sync")

    def told_lost(self):
        """How many samples the collector was told to be lost."""
        text = self.fetch(9650, "/metrics") or ""
        lines = [line for line in text.splitlines() if line.startswith("metrics_collector_samples_lost_total")]
        return int(sum(float(line.rsplit(" ", 1)[1]) for line in lines))


def with_machine(play, scene):
    """Plays a scene on a machine that was just installed."""
    made = subprocess.run([SYSTEM / "root", "machine"], stdout=subprocess.PIPE, text=True)
    if made.returncode != 0:
        raise Fault("the root file system of the machine cannot be made")
    with tempfile.TemporaryDirectory(prefix="delivery-staged-", dir="/var/tmp") as staged:
        staged = pathlib.Path(staged)
        (staged / "binaries").mkdir()
        for program in ("metrics-agent", "metrics-collector"):
            # With what only a debugger needs they would not fit.
            command = ["strip", "--strip-debug", "-o", staged / "binaries" / program]
            subprocess.run([*command, os.path.join(play.binaries, program)], check=True)
        shutil.copy2(os.path.realpath(shutil.which("prometheus")), staged / "binaries/prometheus")
        (staged / "source/tests/system").mkdir(parents=True)
        shutil.copy2(SYSTEM / "guest.py", staged / "source/tests/system")
        with Machine(made.stdout.strip(), staged) as machine:
            machine.begin()
            scene(machine)


def judge(play, machine, losses):
    """What the engine has after the collector is back; the samples around the time without agent."""
    machine.run("systemctl", "start", ENGINE, COLLECTOR, timeout=120)
    machine.await_live()
    verdict = proof.judge(machine.samples(), machine.zero)
    told = machine.told_lost()
    play.saw(f"{verdict}; {told} are told as lost")
    journal = machine.run("journalctl", "-o", "cat", "-u", AGENT, "-u", COLLECTOR).splitlines()
    bad = [line for line in journal if any(word in line for word in ([] if losses else LOSSES) + NEVER)]
    for line in journal:
        if any(word in line for word in LOSSES):
            play.saw(line.strip())
    if bad:
        raise Fault(bad[0])
    if verdict.samples[0].number != 1 or verdict.holes or verdict.twice or len(verdict.starts) != 1:
        raise Fault(f"{verdict}, first number {verdict.samples[0].number}")
    wrong = verdict.wrong_times()
    # An emulated machine may be held up for longer than others.
    if len(wrong) > 1 + len(verdict.samples) // 20:
        raise Fault(f"{len(wrong)} times are wrong, such as by {max(wrong, key=abs) * 1000:.0f} ms")
    ((before, after),) = verdict.starts
    if after.number != 1:
        raise Fault(f"the first sample after the boot is number {after.number}")
    return before, told


TOOLS = needs("qemu-system-x86_64", "mke2fs", "mmdebstrap", "setpriv", "strip", "prometheus")


def begin_again(play, machine, end):
    """Ends the machine while its collector is away, and starts it; returns when it was asked to end, in s since 1970."""
    machine.leave_alone()
    time.sleep(play.seconds / 2)
    left = float(machine.run("date", "+%s.%N"))
    end()
    machine.look_at_clock()
    time.sleep(play.seconds / 2)
    return left


@scenario(seconds=60, without=TOOLS)
def host_reboots(play):
    """A host is rebooted while its collector is away: nothing is missing but the time of the boot."""
    def scene(machine):
        left = begin_again(play, machine, machine.reboot)
        before, told = judge(play, machine, losses=False)
        play.saw(f"the last sample before the boot is {before.at - left:+.1f} s from when the reboot was asked for")
        if before.at < left - 2 * INTERVAL or told:
            raise Fault(f"samples before the reboot are missing, or {told} are told as lost")
    with_machine(play, scene)


@scenario(seconds=80, without=TOOLS)
def host_loses_power(play):
    """The power of a host is cut while its collector is away: 10 s at most are lost, and told."""
    def scene(machine):
        def end():
            machine.cut_power()
            machine.power_on()
        left = begin_again(play, machine, end)
        before, told = judge(play, machine, losses=True)
        silent = left - before.at
        play.saw(f"{silent:.1f} s are missing before the power cut")
        # How many samples a power cut has cost is not known: it counts as one.
        if silent > UNWRITTEN + SLACK or told != 1:
            raise Fault(f"{silent:.1f} s are missing, and {told} losses are told")
    with_machine(play, scene)
