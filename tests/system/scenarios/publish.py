# SPDX-License-Identifier: Apache-2.0
"""[publish]: programs of the collector's host follow what agents send, if they may connect."""

import json

from machine import AS_NOBODY, COLLECTOR

SETTINGS = "/etc/metrics-collector/metrics-collector.toml"
SOCKET = "/run/metrics-collector/publish"

# As docs/collector.md has it for a group of its own.
GROUP = "metrics-readers"
DIRECTORY = "/run/metrics-publish"
OWN_SOCKET = f"{DIRECTORY}/socket"
AS_READER = ["setpriv", "--reuid=nobody", "--regid=nogroup", f"--groups={GROUP}"]

READ = """
import json, sys, zmq
reader = zmq.Context().socket(zmq.SUB)
reader.subscribe(sys.argv[2])
reader.connect(f"ipc://{sys.argv[1]}")
reader.rcvtimeo = 30000
print(json.dumps([frame.decode() for frame in reader.recv_multipart()]))
"""
CONNECT = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])"


def who_may_connect_follows_the_host(m):
    """In the unit's sandbox: root by default, a group by a directory of its own, and no other."""
    _publish(m, SOCKET)
    m.expect("check", m.execute("metrics-collector", "--check-config").stderr.strip(), "")
    m.start_reporting()
    published = m.event("COLLECTOR_PUBLISH_READY", COLLECTOR)
    m.expect("its ENDPOINT=", published["ENDPOINT"], f"ipc://{SOCKET}")
    m.expect("the socket", _about(m, SOCKET), "660 metrics-collector:metrics-collector")
    _expect_followed(m, [], SOCKET)
    _expect_refused(m, SOCKET)

    # The socket of a killed one is replaced.
    m.signal("KILL", COLLECTOR)
    m.eventually("restarts", lambda: m.unit("NRestarts", COLLECTOR), "1")
    _expect_followed(m, [], SOCKET)

    m.run("groupadd", "--system", GROUP)
    m.write("/etc/tmpfiles.d/metrics-publish.conf", f"d {DIRECTORY} 2750 metrics-collector {GROUP} -\n")
    _publish(m, OWN_SOCKET)
    told = m.execute("metrics-collector", "--check-config").stderr
    m.expect_match("check", told, f"{SETTINGS}:2: publish.endpoint: .* no directory {DIRECTORY}")
    m.run("systemd-tmpfiles", "--create", "metrics-publish.conf")
    m.drop_in(f"[Service]\nReadWritePaths={DIRECTORY}\n", COLLECTOR)
    m.run("systemctl", "restart", COLLECTOR)
    m.expect("the socket", _about(m, OWN_SOCKET), f"660 metrics-collector:{GROUP}")
    m.eventually("state", lambda: m.agent("State"), "reporting")
    _expect_followed(m, AS_READER, OWN_SOCKET)
    _expect_refused(m, OWN_SOCKET)


def _publish(m, path):
    m.write(SETTINGS, f'[publish]\nendpoint = "ipc://{path}"\n')


def _about(m, path):
    return m.run("stat", "--format=%a %U:%G", path).strip()


def _expect_followed(m, user, path):
    host = m.agent("HostName")
    name, kind, grid = json.loads(m.run(*user, "python3", "-c", READ, path, host, timeout=60))
    m.expect("host", name, host)
    m.expect_true("a kind", kind in ("model", "metrics"))
    m.expect_true("a grid", isinstance(json.loads(grid), dict))


def _expect_refused(m, path):
    connect = [*AS_NOBODY, "python3", "-c", CONNECT, path]
    m.expect_refused("others", *connect, saying="PermissionError")
