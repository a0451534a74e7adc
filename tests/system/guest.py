#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The machine's end of tests/system/qemu.py: does what is asked for on a virtio port.

Lines of JSON. Says {"boot": ID} at first; {"command": […], "timeout": SECONDS} is answered by
{"status", "stdout", "stderr"}, {"write": PATH, "text", "mode"} by {"status": 0}.
"""

import json
import pathlib
import subprocess
import time

PORT = "control"


def main():
    with open(device(), "r+b", buffering=0) as port:
        boot = pathlib.Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        say(port, {"boot": boot})
        rest = b""
        while True:
            more = port.read(65536)
            if not more:
                # There is no connection yet.
                time.sleep(0.1)
            rest += more
            while b"\n" in rest:
                line, _, rest = rest.partition(b"\n")
                say(port, do(json.loads(line)))


def device():
    """The device of our port, which may have any number."""
    for port in pathlib.Path("/sys/class/virtio-ports").iterdir():
        if (port / "name").read_text().strip() == PORT:
            return f"/dev/{port.name}"
    raise SystemExit(f"no virtio port is called {PORT}")


def say(port, answer):
    """Writes all of a line."""
    rest = json.dumps(answer).encode() + b"\n"
    while rest:
        rest = rest[port.write(rest) :]


def do(order):
    """Carries out one order."""
    if "write" in order:
        file = pathlib.Path(order["write"])
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(order["text"])
        file.chmod(order["mode"])
        return {"status": 0}
    try:
        done = subprocess.run(
            order["command"],
            env=order["environment"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=order["timeout"],
        )
    except subprocess.TimeoutExpired:
        return {"status": 124, "stdout": "", "stderr": f"no end after {order['timeout']} s"}
    except OSError as error:
        return {"status": 127, "stdout": "", "stderr": str(error)}
    texts = [text.decode(errors="replace") for text in (done.stdout, done.stderr)]
    return {"status": done.returncode, "stdout": texts[0], "stderr": texts[1]}


if __name__ == "__main__":
    main()
