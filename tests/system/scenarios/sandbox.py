# SPDX-License-Identifier: Apache-2.0
"""The service's sandbox leaves what is measured in sight, and takes the rest away."""

import ipaddress
import json

from machine import AGENT, AS_NOBODY, COLLECTOR, OBJECT, call

# It depends on the release's own programs: systemd, dpkg, what they confine.
EVERYWHERE = True

# Blocks of 4 KiB in a tmpfs of one MiB: the size says which file system it is.
BLOCKS_OF_A_MIB = 256

# From the loopback, which is all there is.
SEND = """
import os, socket, sys
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
udp.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
try:
    udp.sendto(b"x", (sys.argv[1], 9))
    print("sent")
except OSError as error:
    print(os.strerror(error.errno))
"""

def file_systems_below_home_are_in_sight(m):
    """statvfs there has the file system's values: mounted before the agent began, and after."""
    _mount(m, "/home/before", 3)
    _mount(m, "/run/user/1000", 4)
    m.run("systemctl", "start", AGENT)
    _mount(m, "/home/after", 5)
    _mount(m, "/run/user/1001", 6)
    for directory, mib in (
        ("/home/before", 3),
        ("/run/user/1000", 4),
        ("/home/after", 5),
        ("/run/user/1001", 6),
    ):
        blocks = _as_the_agent(m, "stat", "--file-system", "--format=%b", directory)
        m.expect(f"size of {directory}", blocks, str(mib * BLOCKS_OF_A_MIB))
    # Over what was there when the agent began.
    _mount(m, "/home", 7)
    blocks = _as_the_agent(m, "stat", "--file-system", "--format=%b", "/home")
    m.expect("size of a later /home", blocks, str(7 * BLOCKS_OF_A_MIB))


def home_may_be_a_link_or_missing(m):
    """The agent starts, and what is below a linked /home is in sight."""
    m.run("sh", "-c", "rmdir /home && mkdir -p /var/home && ln -s var/home /home")
    _mount(m, "/var/home/data", 3)
    m.run("systemctl", "start", AGENT)
    blocks = _as_the_agent(m, "stat", "--file-system", "--format=%b", "/home/data")
    m.expect("size of /home/data", blocks, str(3 * BLOCKS_OF_A_MIB))
    m.run("systemctl", "stop", AGENT)
    m.run("sh", "-c", "umount /var/home/data && rm /home && rm -rf /run/user /root")
    m.run("systemctl", "start", AGENT)
    m.expect_steady(m.main_pid())


def homes_are_read_only_and_roots_is_hidden(m):
    """No file of others can be written; root's are not even seen, and the host's mounts are."""
    m.run("sh", "-c", "install -d -m 0777 /home/open && chmod 0755 /root && touch /root/secret")
    m.run("systemctl", "start", AGENT)
    m.expect_match(
        "writing", _as_the_agent(m, "sh", "-c", "touch /home/open/x 2>&1 || true"), "Read-only"
    )
    seen = _as_the_agent(m, "sh", "-c", "ls -A /root 2>&1 || true")
    m.expect_true("/root/secret is not seen", "secret" not in seen)
    inside = _as_the_agent(m, "cut", "-d ", "-f5", "/proc/1/mountinfo")
    m.expect("mounts of the host", inside, m.run("cut", "-d ", "-f5", "/proc/1/mountinfo").strip())


def every_address_but_multicast_is_allowed(m):
    """Nothing is left out of the list but what is no host's address; and systemd applies it."""
    list_of_collector = sorted(m.unit("IPAddressAllow", COLLECTOR).split())
    m.expect("the collector's list", list_of_collector, sorted(m.unit("IPAddressAllow").split()))
    allowed = [ipaddress.ip_network(each) for each in m.unit("IPAddressAllow").split()]
    for everything, refused in (
        ("0.0.0.0/0", ["224.0.0.0/3"]),
        ("::/0", ["ff00::/8"]),
    ):
        left = [ipaddress.ip_network(everything)]
        for network in (each for each in allowed if each.version == left[0].version):
            around = next(each for each in left if network.subnet_of(each))
            left = [each for each in left if each != around]
            left += around.address_exclude(network)
        m.expect("not allowed", [str(each) for each in sorted(left)], refused)
    m.start_reporting()
    properties = [f"--property=IPAddressDeny={m.unit('IPAddressDeny')}"]
    properties += [f"--property=IPAddressAllow={m.unit('IPAddressAllow')}"]
    run = ["systemd-run", "--quiet", "--wait", "--pipe", "--collect", *properties]
    m.expect("to a host", m.run(*run, "python3", "-c", SEND, "127.0.0.1").strip(), "sent")
    m.expect("to all", m.run(*run, "python3", "-c", SEND, "127.255.255.255").strip(), "sent")
    refused = m.run(*run, "python3", "-c", SEND, "224.0.0.251").strip()
    m.expect("to a group", refused, "Operation not permitted")


def a_crash_of_the_collector_leaves_no_memory_behind(m):
    """No core file has its secret keys; and it reloads as it is."""
    m.run("systemctl", "start", COLLECTOR)
    pid = m.main_pid(COLLECTOR)
    limits = m.run("cat", f"/proc/{pid}/limits")
    m.expect_match("limit of core files", limits, r"(?m)^Max core file size\s+0\s+0\s")
    m.run("systemctl", "reload", COLLECTOR)
    m.event("COLLECTOR_CONFIGURATION_RELOADED", COLLECTOR)
    m.expect_steady(pid, COLLECTOR)


def processes_of_all_are_counted(m):
    """The count has others' processes, as the state of each; hidden ones make it an error."""
    m.run("systemctl", "start", AGENT)
    before = _metrics(m)
    m.expect("stopped", before["proc.state[stopped]"], 0)
    m.run(
        "systemd-run", "--quiet", "--uid=nobody", "--unit=many",
        "sh", "-c", "for i in $(seq 50); do sleep infinity & done; kill -s STOP $!; wait",
    )  # fmt: skip
    m.eventually("stopped", lambda: _metrics(m)["proc.state[stopped]"], 1)
    # Besides these come and go but few.
    more = _metrics(m)["proc.count"] - before["proc.count"]
    m.expect_true(f"50 more are {more}", 50 <= more <= 70)
    seen = int(m.run("sh", "-c", "ls -d /proc/[0-9]* | wc -l"))
    m.expect_true(f"{seen} in /proc", abs(_metrics(m)["proc.count"] - seen) <= 15)

    m.drop_in("[Service]\nProtectProc=invisible\n")
    m.run("systemctl", "restart", AGENT)
    hidden = [name for name in _metrics(m) if name.startswith("proc.state")]
    m.expect("with ProtectProc=invisible", hidden, [])
    collector = f"{OBJECT}/source/processes"
    error = m.property(collector, "org.metricsagent.Source1", "LastError")
    m.expect_match("error", error, "hidepid=invisible.*ProtectProc=default")


def a_host_that_hides_processes_has_them_counted(m):
    """The service has a /proc of its own, so that what hides processes from users does not matter."""
    m.run("mount", "-o", "remount,hidepid=2", "/proc")
    m.expect_refused("a look", *AS_NOBODY, "cat", "/proc/1/stat", saying="No such file")
    m.run("systemctl", "start", AGENT)
    seen = int(m.run("sh", "-c", "ls -d /proc/[0-9]* | wc -l"))
    count = _metrics(m)["proc.count"]
    # The looking itself takes a few.
    m.expect_true(f"{seen} in /proc, {count} counted", seen > 5 and abs(count - seen) <= 4)


def _metrics(m):
    (grid,) = json.loads(m.run(*call("Sample", "s", "metrics")))["data"]
    return {name: value["data"] for name, value in grid.items()}


def _mount(m, directory, mib):
    m.run("mkdir", "-p", directory)
    m.run("mount", "-t", "tmpfs", "-o", f"size={mib}m,mode=0755", "test", directory)


def _as_the_agent(m, *command):
    """What a command prints that sees what the agent sees, as the agent's user."""
    user = m.run("id", "-u", "metrics-agent").strip()
    group = m.run("id", "-g", "metrics-agent").strip()
    enter = ["nsenter", f"--target={m.main_pid()}", "--mount", "--"]
    enter += ["setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups"]
    return m.run(*enter, *command).strip()
