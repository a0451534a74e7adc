# SPDX-License-Identifier: Apache-2.0
"""Whether what the agent says of a host is right: on a whole machine, by what others say of it."""

from machine import SOURCE_INSIDE, Failure
from whole_machine import start

EXPORTER = "prometheus-node-exporter.service"


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
        raise Failure(f"the two say different things: {done.stdout}{done.stderr}")
    m.run("systemctl", "stop", EXPORTER)


SCENARIOS = [says_what_the_exporter_says]
