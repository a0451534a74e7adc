# SPDX-License-Identifier: Apache-2.0
"""A container with the agent installed: what a scenario does there, and how it says what it saw.

Every check notes what it saw. A failed one raises, with what was wanted and what was there instead.
"""

import json
import pathlib
import re
import subprocess
import time

from container import HOST_NAME, Container
from host import BootError, CommandFailed, Host

AGENT = "metrics-agent.service"
COLLECTOR = "metrics-collector.service"
PROGRAMS = ["metrics-agent", "metrics-agentctl", "metrics-collector", "metrics-top"]
CONFIGURATION = "/etc/metrics-agent/metrics-agent.toml"
COLLECTOR_KEY = "/var/lib/metrics-collector/collector.key"

BUS_NAME = "org.metricsagent.Agent1"
OBJECT = "/org/metricsagent/Agent1"

# The release with rpm's database and dnf.
RPM_SUITE = "trixie-rpm"

# What goes before a command to run it as somebody with no rights at all.
AS_NOBODY = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]

SOURCE = pathlib.Path(__file__).resolve().parents[2]
# Where the source and the release build are seen in the container.
SOURCE_INSIDE = "/srv/source"
BINARIES_INSIDE = "/srv/binaries"

# Generous: a condition ends the wait, and only a failure takes it all.
PATIENCE_SECONDS = 20
POLL_SECONDS = 0.05

# ImportCredential= is as old as this.
IMPORT_SINCE_SYSTEMD = 254


def message_ids():
    """The programs' message ids by the names of their constants."""
    text = (SOURCE / "src/systemd/message_id.rs").read_text()
    return dict(re.findall(r'^\s*(\w+) = "([0-9a-f]{32})";', text, re.MULTILINE))


def catalog():
    """The fields that each message's explanation uses, by message id."""
    fields = {}
    for file in sorted((SOURCE / "systemd").glob("*.catalog")):
        for entry in re.split(r"^-- ", file.read_text(), flags=re.MULTILINE)[1:]:
            fields[entry[:32]] = set(re.findall(r"@(\w+)@", entry))
    return fields


MESSAGE_IDS = message_ids()


def get_property(prop):
    """The command that reads a property of the agent's."""
    return ["busctl", "get-property", BUS_NAME, OBJECT, BUS_NAME, prop]


def set_property(prop, signature, value):
    """The command that writes a property of the agent's."""
    return ["busctl", "set-property", BUS_NAME, OBJECT, BUS_NAME, prop, signature, value]


def call(method, *arguments):
    """The command that calls a method of the agent's."""
    return ["busctl", "--json=short", "call", BUS_NAME, OBJECT, BUS_NAME, method, *arguments]


def key_pair(m):
    """A key pair of another make: its public key, and the certificate with both."""
    program = "import zmq; print(*(k.decode() for k in zmq.curve_keypair()), sep='\\n')"
    public, secret = m.run("python3", "-c", program).split()
    return public, public_certificate(public) + f'    secret-key = "{secret}"\n'


def public_certificate(public):
    return f'metadata\ncurve\n    public-key = "{public}"\n'


def systemd_version(m):
    return int(m.run("systemctl", "--version").split()[1])


def idle(scenario):
    """For a scenario that mostly waits: it is played beside the others, and takes no turn."""
    scenario.idle = True
    return scenario


class Failure(AssertionError):
    """A check that did not hold."""


class Installed(Host):
    """A machine on which packaging/install has run, and what a test does and says there."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        # What the scenario saw, and why it failed: shown in one piece, as others run beside it.
        self.report = []
        # Goes before it, where there is more than one machine.
        self.said_by = ""

    def install(self, *options):
        """Runs packaging/install on the machine."""
        return self.run(
            f"{SOURCE_INSIDE}/packaging/install", "--binaries", BINARIES_INSIDE, *options
        )

    # Checks -------------------------------------------------------------------------------------

    def saw(self, what):
        """Notes what a scenario saw, on one line."""
        self.report.append("    " + self.said_by + " | ".join(what.strip().splitlines()))

    def expect(self, what, actual, wanted):
        """Fails unless what is there is what was wanted."""
        if actual != wanted:
            raise Failure(f"{what}: wanted {wanted!r}, is {actual!r}")
        self.saw(f"{what}: {actual}")

    def expect_match(self, what, text, pattern):
        """Fails unless the pattern is found in the text; notes what was found."""
        found = re.search(pattern, text)
        if found is None:
            raise Failure(f"{what}: wanted a match for {pattern!r}, is {text!r}")
        self.saw(f"{what}: {found.group()}")
        return found

    def expect_true(self, what, condition):
        """Fails unless the condition holds."""
        if not condition:
            raise Failure(f"not so: {what}")
        self.saw(what)

    def eventually(self, what, look, wanted, within=PATIENCE_SECONDS, show=str):
        """Waits until look() returns what is wanted, or, where that is a function, satisfies it."""
        holds = wanted if callable(wanted) else lambda value: value == wanted
        deadline = time.monotonic() + within
        while True:
            try:
                value = look()
            except CommandFailed as failed:  # not there yet, say a service between two runs
                value = failed
            if not isinstance(value, CommandFailed) and holds(value):
                self.saw(f"{what}: {show(value)}")
                return value
            if time.monotonic() > deadline:
                wish = "something else" if callable(wanted) else repr(wanted)
                raise Failure(f"{what}: wanted {wish}, is {value!r} after {within} s")
            time.sleep(POLL_SECONDS)

    def expect_refused(self, what, *command, saying=None):
        """Fails unless the command does; returns its error output."""
        done = self.execute(*command)
        if done.returncode == 0:
            raise Failure(f"{what}: wanted a refusal, but it was done: {' '.join(command)}")
        error = done.stderr.strip()
        if saying is None:
            self.saw(f"{what}: {error}")
        else:
            self.expect_match(what, error, saying)
        return error

    # systemd ------------------------------------------------------------------------------------

    def unit(self, prop, unit=AGENT):
        """A property of a unit, as systemctl shows it."""
        return self.run("systemctl", "show", "--value", f"--property={prop}", unit).strip()

    def main_pid(self, unit=AGENT):
        """The service's main process, by its number in the container."""
        return int(self.unit("MainPID", unit))

    def status_line(self, unit=AGENT):
        """What the service says of itself, STATUS= of sd_notify(3)."""
        return self.unit("StatusText", unit)

    def signal(self, name, unit=AGENT):
        """Sends a signal to the service's main process."""
        self.run("systemctl", "kill", "--kill-whom=main", f"--signal={name}", unit)

    def drop_in(self, text, unit=AGENT):
        """Adds to a unit, until the container ends."""
        self.write(f"/run/systemd/system/{unit}.d/50-test.conf", text)
        self.run("systemctl", "daemon-reload")

    def expect_steady(self, pid, unit=AGENT):
        """Fails unless the service runs, in this process, and never was restarted."""
        self.expect("active state", self.unit("ActiveState", unit), "active")
        self.expect("restarts", self.unit("NRestarts", unit), "0")
        self.expect("main process", self.main_pid(unit), pid)

    # The journal --------------------------------------------------------------------------------

    def events(self, name, unit=AGENT):
        """The entries of a unit with the message id of this constant."""
        return self.journal("--unit", unit, f"MESSAGE_ID={MESSAGE_IDS[name]}")

    def event(self, name, unit=AGENT):
        """The one entry with this message id: waits for it, and fails where there are more."""
        entries = self.eventually(
            f"messages {name}", lambda: self.events(name, unit), len, show=len
        )
        if len(entries) > 1:
            raise Failure(f"messages {name}: wanted 1, are {len(entries)}")
        return entries[0]

    def expect_clean_journal(self):
        """What has to hold of the programs' messages after every scenario."""
        used = catalog()
        for entry in self.journal("--unit", AGENT, "--unit", COLLECTOR):
            message = entry["MESSAGE"]
            if "panicked at" in message:
                raise Failure(f"a panic: {message}")
            missing = used.get(entry.get("MESSAGE_ID"), set()) - entry.keys()
            if missing:
                raise Failure(
                    f"the catalog's entry for {message!r} uses fields that the message lacks: "
                    + ", ".join(sorted(missing))
                )

    # D-Bus --------------------------------------------------------------------------------------

    def agent(self, prop):
        """A property of the agent's."""
        return self.property(OBJECT, BUS_NAME, prop)

    def connection(self, prop, name="main"):
        """A property of one of the agent's connections."""
        return self.property(f"{OBJECT}/connection/{name}", "org.metricsagent.Connection1", prop)

    def property(self, path, interface, prop):
        """A property of one of the agent's objects."""
        answer = self.run(
            "busctl", "--json=short", "get-property", BUS_NAME, path, interface, prop
        )
        return json.loads(answer)["data"]

    # The product --------------------------------------------------------------------------------

    def start_collector(self):
        """Starts metrics-collector here; returns its public key, from where people look for it."""
        self.run("systemctl", "start", COLLECTOR)
        certificate = self.read(COLLECTOR_KEY)
        key = self.expect_match(
            f"{COLLECTOR_KEY}", certificate, r'public-key\s*=\s*"([!-~]{40})"'
        )
        return key.group(1)

    def configure(self, public_key, more=""):
        """Writes the agent's configuration: one collector, in the same container."""
        self.write(
            CONFIGURATION,
            "[collector.main]\n"
            'endpoint = "tcp://127.0.0.1:5556"\n'
            f"public_key = {json.dumps(public_key)}\n{more}",
        )

    def start_reporting(self, more=""):
        """Starts a collector and an agent that reports to it, and waits until it does."""
        self.configure(self.start_collector(), more)
        self.run("systemctl", "start", AGENT)
        self.eventually("state", lambda: self.agent("State"), "reporting")

    def await_host(self):
        """Waits until the collector knows this host: it has its model."""
        self.eventually(
            "hosts at the collector",
            lambda: len(self.events("COLLECTOR_HOST_APPEARED", COLLECTOR)),
            lambda hosts: hosts > 0,
        )


def make_root(suite):
    """The root file system to boot from."""
    command = [SOURCE / "tests/system/root", suite]
    made = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if made.returncode != 0:
        raise BootError(f"no root of {suite}")
    return made.stdout.strip()


class Machine(Installed, Container):
    """A container of that kind, and those beside it."""

    def __init__(self, suite, name, binaries, host_name=HOST_NAME):
        binds = {SOURCE_INSIDE: SOURCE, BINARIES_INSIDE: binaries}
        super().__init__(make_root(suite), name, binds, host_name)
        self.suite = suite
        self.binaries = binaries
        self.neighbours = []

    def neighbour(self, suite, host_name):
        """Boots another host, with a cable to it, which ends with this one; says what it sees."""
        other = Machine(suite, f"{self.name}.{host_name}", self.binaries, host_name)
        other.report = self.report
        for each in (self, other):
            each.said_by = f"{each.host_name}: "
        self.neighbours.append(other.__enter__())
        self.wire(other)
        return other

    def close(self):
        """Powers off, the neighbours first."""
        for other in self.neighbours:
            other.close()
        super().close()
