# SPDX-License-Identifier: Apache-2.0
"""A whole machine: a kernel of its own, under qemu without the help of the processor.

Owns what the machine needs: a copy of its disk, a second disk with what is tested, the process; and
gives all of it back. Knows nothing of what is tested in it.
"""

import json
import pathlib
import shutil
import socket
import subprocess
import tempfile
import time

from host import COMMAND_SECONDS, ENVIRONMENT, BootError, CommandFailed, Host

# Emulated, and beside other work: half a minute is usual.
BOOT_SECONDS = 240
# Commands take some ten times as long as elsewhere.
SLOWER = 4
MEMORY_MIB = 768
CPUS = 2
# The second disk: three programs with their debugging information, and some files.
STAGED_BYTES = "256M"


class Qemu(Host):
    """One machine; a context manager, so that it always ends.

    root: the directory that tests/system/root has made, an image of it beside. staged: a directory
    that the machine has at /srv.
    """

    def __init__(self, root, staged):
        self.root = pathlib.Path(root)
        # On a disk rather than in memory: the machine's own is some hundred megabytes.
        self.workspace = pathlib.Path(tempfile.mkdtemp(prefix="metrics-agent-vm-", dir="/var/tmp"))
        self.console = self.workspace / "console.log"
        self.staged = staged
        self.process = None
        self.port = None
        self.received = b""
        self.boot_id = None

    def __enter__(self):
        try:
            disk = self.root.with_name(f"{self.root.name}.img")
            copy = ["cp", "--sparse=always", "--reflink=auto", disk, self.workspace / "disk.img"]
            subprocess.run(copy, check=True)
            staged = ["mke2fs", "-q", "-t", "ext4", "-d", self.staged]
            staged += [self.workspace / "srv.img", STAGED_BYTES]
            subprocess.run(staged, check=True, stdout=subprocess.DEVNULL)
            self.power_on()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_):
        self.close()

    # Commands -----------------------------------------------------------------------------------

    def execute(self, *command, timeout=COMMAND_SECONDS):
        """Runs a command on the machine and returns it completed, whatever its status."""
        timeout *= SLOWER
        order = {"command": list(map(str, command)), "timeout": timeout, "environment": ENVIRONMENT}
        answer = self._ask(order, timeout + COMMAND_SECONDS)
        return subprocess.CompletedProcess(
            command, answer["status"], answer["stdout"], answer["stderr"]
        )

    def write(self, path, text, mode=0o644):
        """Writes a file on the machine, with the directories above it."""
        self._ask({"write": path, "text": text, "mode": mode}, COMMAND_SECONDS)

    def read(self, path):
        """A file's text."""
        return self.run("cat", path)

    def _ask(self, order, timeout):
        self.port.sendall(json.dumps(order).encode() + b"\n")
        return self._line(timeout)

    def _line(self, timeout):
        """The next line that the machine says, as what it stands for."""
        deadline = time.monotonic() + timeout
        while b"\n" not in self.received:
            self.port.settimeout(max(deadline - time.monotonic(), 0.001))
            try:
                more = self.port.recv(65536)
            except TimeoutError as late:
                raise CommandFailed(f"no answer from the machine after {timeout} s") from late
            if not more:
                raise BootError(f"the machine is gone\n{self._log()}")
            self.received += more
        line, _, self.received = self.received.partition(b"\n")
        return json.loads(line)

    # Life ---------------------------------------------------------------------------------------

    def power_on(self):
        """Starts the machine, and waits until its systemd has started everything."""
        address = self.workspace / "control"
        address.unlink(missing_ok=True)
        (kernel,) = self.root.glob("boot/vmlinuz-*")
        (initrd,) = self.root.glob("boot/initrd.img-*")
        command = ["setpriv", "--pdeathsig=KILL", "qemu-system-x86_64"]
        # There need not be a processor that helps; where it could, it would be another test.
        # Of what that has, page tables of five levels and the kernel's guards against a leaky
        # processor only cost time.
        command += ["-accel", "tcg,thread=multi", "-cpu", "max,la57=off"]
        command += ["-m", str(MEMORY_MIB), "-smp", str(CPUS), "-display", "none", "-nic", "none"]
        command += ["-kernel", kernel, "-initrd", initrd]
        append = "root=/dev/vda rw console=ttyS0 quiet systemd.show_status=0 mitigations=off"
        command += ["-append", append]
        command += ["-serial", "stdio", "-monitor", "none"]
        for disk, options in (("disk.img", ""), ("srv.img", ",readonly=on")):
            drive = f"file={self.workspace / disk},format=raw,if=virtio{options}"
            command += ["-drive", drive]
        command += ["-device", "virtio-serial-pci"]
        command += ["-chardev", f"socket,id=control,path={address},server=on,wait=on"]
        command += ["-device", "virtserialport,chardev=control,name=control"]
        with open(self.console, "ab") as console:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=console, stderr=console
            )
        self.port, self.received = socket.socket(socket.AF_UNIX), b""
        deadline = time.monotonic() + COMMAND_SECONDS
        while True:
            try:
                self.port.connect(str(address))
                break
            except OSError as error:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise BootError(f"no machine: {error}\n{self._log()}") from error
                time.sleep(0.05)
        self.wait_for_boot()

    def wait_for_boot(self):
        """Waits until the machine has booted another time."""
        try:
            booted = self._line(BOOT_SECONDS)
        except CommandFailed as late:
            raise BootError(f"no systemd after {BOOT_SECONDS} s\n{self._log()}") from late
        if booted.get("boot") in (None, self.boot_id):
            raise BootError(f"not booted again: {booted}")
        self.boot_id = booted["boot"]
        state = self.execute("systemctl", "is-system-running", "--wait").stdout.strip()
        if state not in ("running", "degraded"):
            raise BootError(f"the machine is {state}\n{self._log()}")

    def reboot(self):
        """Has its systemd boot it again."""
        self.run("systemctl", "--no-block", "reboot")
        self.wait_for_boot()

    def cut_power(self):
        """What the machine has not written to its disk by now is lost."""
        self.process.kill()
        self.process.wait()
        self.port.close()

    def _log(self):
        return self.console.read_text(errors="replace")

    def close(self):
        """Ends the machine, and gives everything back."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self.port is not None:
            self.port.close()
        shutil.rmtree(self.workspace, ignore_errors=True)
