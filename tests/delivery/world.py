# SPDX-License-Identifier: Apache-2.0
"""A world: a Prometheus, collectors that write to it, and agents that report to them.

Owns their processes, their files, and an address of the loopback that no other world has. They are real
programs; whatever a scenario does to them is done from outside: signals, files, the network.
"""

import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

import proof
from proof import Fault

# Long enough for a slow machine that does other things as well; nothing waits for it that works.
PATIENCE = 180

# What an agent reads: little, so that many of them fit on one machine.
SOURCES = ["agent", "uptime", "load", "meminfo"]

AGENTS, WEB, ENGINE = 5556, 9650, 9090

# Words that no log may have: who is wrong in such a way is wrong in any scenario.
NEVER = ["panicked", "ERROR", "is a bug"]
# Words for samples that are lost: only where the scenario expects it.
LOSSES = ["has lost", "has left out", "are being lost", "are not complete"]

_numbers = itertools.count(1)


def wait_for(what, done, patience=PATIENCE):
    """Waits until `done` returns something, and returns it."""
    begun = time.monotonic()
    while True:
        found = done()
        if found:
            return found
        if time.monotonic() - begun > patience:
            raise Fault(f"{what}: not within {patience} s")
        time.sleep(0.1)


def zero():
    """When this host was booted, by its clock as it is now."""
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)


class World:
    """One engine, collectors and agents; ends all of it at its end.

    `settings` is for each agent's file; `near` and `far` are what begins the commands of collectors and
    engine, and of agents, such as `ip netns exec`; `address` is where collectors and engine listen.
    """

    def __init__(
        self,
        binaries,
        collectors=1,
        agents=1,
        interval=1.0,
        settings="",
        near=(),
        far=(),
        address=None,
        environment=(),
        sources=SOURCES,
    ):
        self.binaries = os.path.abspath(binaries)
        self.dir = tempfile.mkdtemp(prefix="delivery-", dir="/var/tmp")
        self.interval = interval
        self.near, self.far = list(near), list(far)
        number = next(_numbers)
        pid = os.getpid()
        self.address = address or f"127.{64 + (pid >> 8) % 64}.{pid % 256}.{number}"
        # What agents have besides in their environment.
        self.environment = dict(environment)
        self.sources = sources
        self.processes = {}
        self.losses_expected = False
        self.zeros = [(time.time(), zero())]
        self.began = time.time()
        try:
            self._begin(collectors, agents, settings)
        except BaseException:
            self.close()
            raise

    def _begin(self, collectors, agents, settings):
        self.path("prometheus.yml", "global: {}\n")
        self.start_engine()
        keys = []
        for number in range(collectors):
            self.path(
                f"collector{number}.toml",
                f'[listen]\nagents = "{self.address}:{AGENTS + number}"\nviewers = "none"\n'
                f'web = "{self.address}:{WEB + number}"\n[dbus]\nbus = "none"\n'
                f'[remote_write.engine]\nurl = "http://{self.address}:{ENGINE}/api/v1/write"\n',
            )
            self.start_collector(number)
            keys.append(self._key(number))
        self.collectors = range(collectors)
        endpoints = ", ".join(f'"{self.address}:{AGENTS + number}"' for number in self.collectors)
        public_keys = ", ".join(f'"{key}"' for key in keys)
        intervals = "".join(
            f'[metrics.{source}]\ninterval = "{self.interval * 1000:.0f}ms"\n' for source in self.sources
        )
        self.agents = [f"host{number}" for number in range(agents)]
        for name in self.agents:
            self.path(
                f"{name}.toml",
                f'[host]\nname = "{name}"\n'
                f'[intervals]\nmetrics = "{self.interval * 1000:.0f}ms"\nstale = "6s"\n'
                f"[metrics]\nsources = {json.dumps(self.sources)}\n{intervals}"
                f"[collector.main]\nendpoint = [{endpoints}]\npublic_key = [{public_keys}]\n{settings}",
            )
            self.start_agent(name)
        self.await_live()

    def _key(self, number):
        text = r"public key they need is (\S{40})"
        found = lambda: re.search(text, self.log(f"collector{number}"))
        return wait_for("a collector listens", found).group(1)

    # Files --------------------------------------------------------------------------------------

    def path(self, name, text=None):
        """The path of a file of this world; writes it where there is a text."""
        path = os.path.join(self.dir, name)
        if text is not None:
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
        return path

    def log(self, name):
        """What a program has logged, in all of its runs."""
        with open(self.path(name + ".log"), encoding="utf-8", errors="replace") as file:
            return file.read()

    def state(self, name):
        """The state directory of an agent."""
        return self.path(name + "-state")

    # Processes ----------------------------------------------------------------------------------

    def start(self, name, command, environment):
        """Starts a program, which ends with this one, whatever happens."""
        command = ["setpriv", "--pdeathsig=KILL", *command]
        with open(self.path(name + ".log"), "a", encoding="utf-8") as log:
            self.processes[name] = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment
            )

    def start_engine(self):
        """Starts Prometheus, with what it had."""
        command = [*self.near, "prometheus", "--config.file", self.path("prometheus.yml")]
        command += ["--storage.tsdb.path", self.path("tsdb"), "--web.enable-remote-write-receiver"]
        command += ["--web.listen-address", f"{self.address}:{ENGINE}"]
        self.start("engine", command, dict(os.environ))

    def start_collector(self, number=0):
        """Starts a collector, with the key that it had."""
        name = f"collector{number}"
        home = self.path(name)
        os.makedirs(home, exist_ok=True)
        command = [*self.near, f"{self.binaries}/metrics-collector", "--config", self.path(name + ".toml")]
        self.start(name, command, {"HOME": home, "PATH": os.environ["PATH"]})

    def start_agent(self, name, prefix=()):
        """Starts an agent, with the state that it had."""
        state = self.state(name)
        os.makedirs(state, exist_ok=True)
        command = [*self.far, *prefix, f"{self.binaries}/metrics-agent"]
        command += ["--config", self.path(name + ".toml")]
        environment = {"STATE_DIRECTORY": state, "METRICS_AGENT_DBUS__BUS": "none"}
        environment |= {"PATH": os.environ["PATH"], **self.environment}
        self.start(name, command, environment)

    def end(self, name, how=signal.SIGKILL):
        """Ends a program, and waits until it is gone."""
        process = self.processes.pop(name)
        if process.poll() is not None:
            raise Fault(f"{name} has ended by itself, with status {process.returncode}")
        process.send_signal(how)
        process.wait(timeout=PATIENCE)

    def stop(self):
        """Ends everything."""
        for process in self.processes.values():
            process.kill()
            process.wait()

    def close(self):
        """Ends everything, and removes its files."""
        self.stop()
        shutil.rmtree(self.dir, ignore_errors=True)

    # Asking -------------------------------------------------------------------------------------

    def fetch(self, port, path):
        """What a web server of this world answers; None if it does not."""
        url = f"http://{self.address}:{port}{path}"
        if self.near:
            read = "import sys, urllib.request as r; sys.stdout.write(r.urlopen(sys.argv[1], timeout=30).read().decode())"
            done = subprocess.run([*self.near, "python3", "-c", read, url], capture_output=True, text=True)
            return done.stdout if done.returncode == 0 else None
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                return answer.read().decode()
        except OSError:
            return None

    def told(self, name, number=0, **labels):
        """A value of the collector's own, over all series that have these labels; 0 where it has none."""
        text = self.fetch(WEB + number, "/metrics") or ""
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        lines = [line for line in text.splitlines() if re.match(rf"{name}[ {{]", line)]
        chosen = [line for line in lines if all(label in line for label in wanted)]
        return sum(float(line.rsplit(" ", 1)[1]) for line in chosen)

    def told_lost(self, **labels):
        """How many samples the collectors that run were told to be lost."""
        name = "metrics_collector_samples_lost_total"
        return int(sum(self.told(name, number, **labels) for number in self.collectors))

    def ask(self, hosts="host.*"):
        """Every sample of each host that the engine has."""
        answer = self.fetch(ENGINE, proof.question(self.began - 60, time.time() + 60, hosts))
        return proof.samples(answer) if answer else {}

    def latest(self):
        """When the latest sample of each host was taken, as far as the engine has it."""
        text = f'max by (host) (timestamp({proof.NUMBER}{{host=~"host.*"}}))'
        answer = self.fetch(ENGINE, proof.query(text, time.time()))
        found = json.loads(answer)["data"]["result"] if answer else []
        return {one["metric"]["host"]: float(one["value"][1]) for one in found}

    def await_live(self, names=None):
        """Waits until the engine has of each host what was taken just now. Returns how long that took."""
        names = self.agents if names is None else names
        until, begun = time.time(), time.monotonic()

        def arrived():
            latest = self.latest()
            return all(latest.get(name, 0) > until for name in names)

        wait_for("what agents tell arrives in the engine", arrived)
        return time.monotonic() - begun

    # Judging ------------------------------------------------------------------------------------

    def true_zero(self, at):
        """When this host was booted, by the clock at that time: it may be corrected meanwhile."""
        (first, then), (last, now) = self.zeros[0], self.zeros[-1]
        part = min(max((at - first) / max(last - first, 1e-9), 0), 1)
        return then + part * (now - then)

    def judge(self):
        """What there is of each host, once all has arrived."""
        self.await_live()
        self.zeros.append((time.time(), zero()))
        found = self.ask()
        return {name: proof.judge(found.get(name, []), self.true_zero) for name in self.agents}

    def check(self, saw, starts=0, missing=None):
        """Everything has arrived once, in order, with its time; the agents were started again so often.
        Where samples may be missing, `missing(name, verdict)` decides; returns the verdicts."""
        verdicts = self.judge()
        faults = []
        for name, verdict in verdicts.items():
            if len(verdicts) <= 4:
                saw(f"{name}: {verdict}")
            faults += [f"{name}: {fault}" for fault in self._faults(verdict, starts, missing)]
        if len(verdicts) > 4:
            saw(f"{len(verdicts)} hosts: {together(verdicts.values())}")
        faults += self.lies()
        if faults:
            raise Fault("; ".join(faults[:8]))
        return verdicts

    def _faults(self, verdict, starts, missing):
        if len(verdict.samples) < 10:
            yield f"{len(verdict.samples)} samples in all"
            return
        if verdict.samples[0].number != 1:
            yield f"the first sample is number {verdict.samples[0].number}"
        if verdict.holes and missing is None:
            before, after = verdict.holes[0]
            yield (
                f"{verdict.missing} samples are missing, first after number {before.number} of "
                f"{before.at:.3f}, before {after.number} of {after.at:.3f}"
            )
        if verdict.twice:
            one = verdict.twice[0]
            yield f"{len(verdict.twice)} samples came twice, first number {one.number} at {one.at:.3f}"
        if len(verdict.starts) != starts:
            yield f"{len(verdict.starts)} starts in what arrived, where there were {starts}"
        for _, after in verdict.starts:
            if after.number != 1 and missing is None:
                yield f"the first sample after a start is number {after.number}"
        # The system may hold up a process between reading the clock and reading a file: a few times in
        # a hundred samples are let pass, as long as that is less than half an interval.
        wrong = verdict.wrong_times()
        if len(wrong) > 1 + len(verdict.samples) // 50 or any(abs(e) > self.interval / 2 for e in wrong):
            yield f"{len(wrong)} times are wrong, such as by {max(wrong, key=abs) * 1000:.0f} ms"

    def lies(self):
        """Lines of logs that must not be there."""
        never = NEVER if self.losses_expected else [*NEVER, *LOSSES]
        for file in sorted(os.listdir(self.dir)):
            if file.endswith(".log") and not file.startswith("engine"):
                for line in self.log(file.removesuffix(".log")).splitlines():
                    if any(word in line for word in never):
                        yield f"{file}: {line}"
                        break


def together(verdicts):
    """The words for many hosts."""
    verdicts = list(verdicts)
    errors = [abs(error) for verdict in verdicts for error in verdict.errors]
    return (
        f"{sum(len(verdict.samples) for verdict in verdicts)} samples, "
        f"{sum(verdict.missing for verdict in verdicts)} missing, "
        f"{sum(len(verdict.twice) for verdict in verdicts)} twice, "
        f"times right to {max(errors, default=0) * 1000:.0f} ms"
    )
