# SPDX-License-Identifier: Apache-2.0
"""A throw-away container with a real systemd as its first process.

Owns what the container needs of the machine: an overlay over a root that is never written to, a
network with nothing but a loopback (wire() connects two), a cgroup, a process; and gives all of it
back. Knows nothing of what is tested in it.

The caller lives in mount and PID namespaces of its own (tests/system/run sees to it), so that
mounts and processes end with it even where it is killed.
"""

import os
import pathlib
import shutil
import signal
import subprocess
import time

from host import COMMAND_SECONDS, ENVIRONMENT, BootError, CommandFailed, Host

# systemd's signal for "power off": systemd(1), SIGRTMIN+4.
POWER_OFF = signal.SIGRTMIN + 4
# Half a second is usual for either; a loaded machine may take its time.
BOOT_SECONDS = 60
POWER_OFF_SECONDS = 30

# Where mount points and consoles are, and how the cgroups' names begin. Both end in
# RUNNER.NUMBER, where RUNNER is the process id of tests/system/run.
WORKSPACES = pathlib.Path("/run/metrics-agent-test")
CGROUP_PREFIX = "metrics-agent-test"

# The container's host name, where it has none of its own.
HOST_NAME = "web1"

# Between two containers: addresses that RFC 5737 keeps for examples, and a domain of RFC 2606. They
# exist in the network namespaces of the two alone.
ADDRESSES = ["192.0.2.1", "192.0.2.2"]
DOMAIN = "example.org"
CABLE = "cable0"


def cgroup_tree():
    """Where cgroup2 is mounted: beside version 1, or alone."""
    beside = pathlib.Path("/sys/fs/cgroup/unified")
    return beside if beside.is_dir() else pathlib.Path("/sys/fs/cgroup")


def remove_cgroup(path):
    """Removes a cgroup and those below it, as far as they are empty."""
    for directory, _, _ in os.walk(path, topdown=False):
        try:
            os.rmdir(directory)
        except OSError:
            pass  # still in use, or gone already


def remove_stale():
    """Removes what killed runs have left. For the machine's own PID namespace."""
    for cgroup in cgroup_tree().glob(f"{CGROUP_PREFIX}.*"):
        if not os.path.exists(f"/proc/{cgroup.name.split('.')[1]}"):
            remove_cgroup(cgroup)
    for workspace in WORKSPACES.glob("*"):
        if not os.path.exists(f"/proc/{workspace.name.split('.')[0]}"):
            shutil.rmtree(workspace)


class Container(Host):
    """One booted container; a context manager, so that it always ends.

    root: the directory to boot from. name: RUNNER.NUMBER, or more after another dot. binds: paths
    of the machine by paths in the container, read-only.
    """

    def __init__(self, root, name, binds, host_name=HOST_NAME):
        # What the container's files lie over, the topmost first; none of it is written to.
        self.lower = [pathlib.Path(root)]
        self.workspace = WORKSPACES / name
        self.name = name
        self.binds = binds
        self.host_name = host_name
        self.root = self.workspace / "root"
        self.layers = self.workspace / "layers"
        self.console = self.workspace / "console.log"
        self.cgroup = None
        self.nspawn = None
        self.leader = None

    def __enter__(self):
        try:
            self._mount()
            self._boot()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_):
        self.close()

    # Commands -----------------------------------------------------------------------------------

    def execute(self, *command, timeout=COMMAND_SECONDS):
        """Runs a command in the container and returns it completed, whatever its status."""
        enter = ["nsenter", f"--target={self.leader}", "--mount", "--uts", "--ipc", "--net"]
        enter += ["--pid", "--cgroup", "--root", "--wd", "--"]
        try:
            return subprocess.run(
                ["timeout", f"{timeout}s", *enter, *command],
                env=ENVIRONMENT,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=timeout + 5,
            )
        except subprocess.TimeoutExpired as expired:
            raise CommandFailed(f"{' '.join(command)}: no end after {timeout} s") from expired

    def path(self, path):
        """A path in the container as one of the machine."""
        return pathlib.Path(f"/proc/{self.leader}/root{path}")

    def write(self, path, text, mode=0o644):
        """Writes a file in the container, with the directories above it."""
        file = self.path(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)

    def read(self, path):
        """A file's text."""
        return self.path(path).read_text()

    # Network ------------------------------------------------------------------------------------

    def wire(self, other):
        """Lays a cable to another container; each then reaches the other by name and address."""
        ends = dict(zip((self, other), ADDRESSES))
        names = "".join(
            f"{address} {end.host_name}.{DOMAIN} {end.host_name}\n"
            for end, address in ends.items()
        )
        self._ip("link", "add", CABLE, "type", "veth", "peer", "name", CABLE,
                 "netns", str(other.leader))  # fmt: skip
        for end, address in ends.items():
            end._ip("address", "add", f"{address}/24", "dev", CABLE)
            end._ip("link", "set", CABLE, "up")
            end.write("/etc/hosts", f"127.0.0.1 localhost\n{names}")

    def cut(self, off):
        """Cuts the cable of wire(), or mends it: a sender is not told of it."""
        self._ip("link", "set", CABLE, "down" if off else "up")

    def _ip(self, *arguments):
        """Runs the machine's ip(8) in the container's network: the container need not have one."""
        command = ["nsenter", f"--target={self.leader}", "--net", "ip", *arguments]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            raise BootError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")

    # Life ---------------------------------------------------------------------------------------

    def _mount(self):
        self.root.mkdir(parents=True)
        self.layers.mkdir()
        mount("tmpfs", self.layers, "tmpfs", "size=2g,mode=0755")
        upper, work = self.layers / "upper", self.layers / "work"
        upper.mkdir()
        work.mkdir()
        mount_overlay(self.root, self.lower, upper, work)
        # The root has the name of the machine that it was made on.
        (self.root / "etc/hostname").write_text(f"{self.host_name}\n")

    def _boot(self):
        # A cgroup of its own, so that containers side by side do not share one.
        self.cgroup = cgroup_tree() / f"{CGROUP_PREFIX}.{self.name}"
        self.cgroup.mkdir()
        command = ["systemd-nspawn", "--quiet", f"--directory={self.root}"]
        # nspawn keeps a directory for each of its names in /run, and removes it at the end: two
        # containers at once must not have the same one.
        machine = f"{CGROUP_PREFIX}.{self.name}".replace(".", "-")
        command += [f"--machine={machine}", f"--hostname={self.host_name}"]
        # No machined needed, and none told.
        command += ["--register=no", "--keep-unit", "--link-journal=no"]
        command += ["--private-network", "--resolv-conf=off", "--timezone=off"]
        # Without these IPAddressDeny= has no effect, nor has PrivateNetwork= on systemd 257.
        command += ["--capability=CAP_NET_ADMIN,CAP_BPF,CAP_PERFMON", "--system-call-filter=bpf"]
        command += [f"--bind-ro={outside}:{inside}" for inside, outside in self.binds.items()]
        command += ["--boot"]
        with open(self.console, "wb") as console:
            self.nspawn = subprocess.Popen(
                # The shell joins the cgroup before it becomes nspawn.
                ["sh", "-c", 'echo $$ > "$0/cgroup.procs" && exec "$@"', self.cgroup, *command],
                env={"PATH": os.environ["PATH"], "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,
            )
        deadline = time.monotonic() + BOOT_SECONDS
        while not self._find_leader():
            if self.nspawn.poll() is not None:
                status = self.nspawn.returncode
                raise BootError(f"systemd-nspawn ended with {status}\n{self._log()}")
            if time.monotonic() > deadline:
                raise BootError(f"no systemd after {BOOT_SECONDS} s\n{self._log()}")
            time.sleep(0.01)
        state = self.execute("systemctl", "is-system-running", "--wait", timeout=BOOT_SECONDS)
        if state.stdout.strip() not in ("running", "degraded"):
            raise BootError(f"the container is {state.stdout or state.stderr}\n{self._log()}")

    def _find_leader(self):
        """Finds the container's first process, once its systemd takes calls."""
        children = pathlib.Path(f"/proc/{self.nspawn.pid}/task/{self.nspawn.pid}/children")
        try:
            for child in children.read_text().split():
                if os.path.exists(f"/proc/{child}/root/run/systemd/private"):
                    self.leader = int(child)
                    return True
        except OSError:
            pass  # it ended meanwhile: the caller sees that
        return False

    def _log(self):
        return self.console.read_text(errors="replace")

    def close(self):
        """Powers off, and gives everything back."""
        if self.nspawn is not None and self.nspawn.poll() is None:
            if self.leader is not None:
                try:
                    os.kill(self.leader, POWER_OFF)
                    self.nspawn.wait(POWER_OFF_SECONDS)
                except (ProcessLookupError, subprocess.TimeoutExpired):
                    pass
            # The container's processes end with nspawn's.
            if self.nspawn.poll() is None:
                self.nspawn.kill()
                self.nspawn.wait()
        for mounted in (self.root, self.layers):
            if os.path.ismount(mounted):
                subprocess.run(["umount", "--lazy", mounted], check=True)
        if self.cgroup is not None:
            remove_cgroup(self.cgroup)
        shutil.rmtree(self.workspace, ignore_errors=True)


def mount_overlay(target, lower, upper, work):
    """Mounts directories one over the other; what is written goes to the upper one."""
    below = ":".join(map(str, lower))
    mount("overlay", target, "overlay", f"lowerdir={below},upperdir={upper},workdir={work}")


def mount(source, target, kind, options):
    """Mounts, or says in the exception why not."""
    done = subprocess.run(
        ["mount", "-t", kind, "-o", options, source, target], capture_output=True, text=True
    )
    if done.returncode != 0:
        raise BootError(f"no {kind}: {done.stderr.strip()}")
