# SPDX-License-Identifier: Apache-2.0
"""What is installed, and what is left when it is removed."""

import re

from machine import AGENT, BUS_NAME, COLLECTOR, SOURCE, SOURCE_INSIDE, Failure, get_property

# systemd-analyze security: 0 is best, 10 is worst. The units say what they leave open, and why.
EXPOSURE = {AGENT: 1.2, COLLECTOR: 1.0}

# Below /etc/metrics-collector.
COLLECTORS_DIRECTORIES = {
    "curve": "750 root:metrics-collector",
    "authorized_agents": "755 root:root",
    "authorized_viewers": "755 root:root",
}

# By packaging/install, which is what is tested here.
INSTALL = "files"
# It depends on the release's own programs: systemd, dpkg, what they confine.
EVERYWHERE = True


def units_are_sound(m):
    """systemd-analyze finds nothing to object to, and little that is exposed."""
    # The manual pages are not part of a container's root.
    for unit in (AGENT, COLLECTOR):
        done = m.execute("systemd-analyze", "verify", "--man=no", unit)
        m.expect(f"verify {unit}", (done.returncode, done.stdout + done.stderr), (0, ""))
        security = m.run("systemd-analyze", "security", "--no-pager", unit)
        score = m.expect_match("security", security, rf"exposure level for {unit}: ([\d.]+)")
        m.expect_true(f"that is at most {EXPOSURE[unit]}", float(score.group(1)) <= EXPOSURE[unit])


def everything_is_in_its_place(m):
    """The files are where the list says, as the list says; the running system knows of them."""
    for line in (SOURCE / "packaging/files").read_text().splitlines():
        if line and not line.startswith("#"):
            _, _, mode, _, destination = line.split()
            shown = m.run("stat", "-c", "%a %U:%G", destination).strip()
            m.expect(destination, shown, f"{int(mode)} root:root")
    m.expect_match("user", m.run("getent", "passwd", "metrics-agent"), ".*nologin")
    m.expect_match("user", m.run("getent", "passwd", "metrics-collector"), ".*nologin")
    listed = m.run("journalctl", "--list-catalog")
    m.expect_match("catalog", listed, "(?m)^[0-9a-f]{32} metrics-agent: .*is ready$")
    actions = m.run(
        "busctl", "call", "org.freedesktop.PolicyKit1", "/org/freedesktop/PolicyKit1/Authority",
        "org.freedesktop.PolicyKit1.Authority", "EnumerateActions", "s", "C",
    )  # fmt: skip
    known = sorted(set(re.findall(r"org\.metricsagent\.[a-z.-]+", actions)))
    policies = ("org.metricsagent.policy", "org.metricsagent.collector.policy")
    texts = "".join((SOURCE / "dbus" / policy).read_text() for policy in policies)
    wanted = sorted(re.findall(r'action id="([^"]+)"', texts))
    m.expect("polkit actions", known, wanted)
    m.expect("enabled", m.execute("systemctl", "is-enabled", AGENT).stdout.strip(), "disabled")
    for directory, wanted in COLLECTORS_DIRECTORIES.items():
        shown = m.run("stat", "-c", "%a %U:%G", f"/etc/metrics-collector/{directory}").strip()
        m.expect(directory, shown, wanted)


def bus_takes_the_policy(m):
    """Neither bus implementation finds fault with our policy or activation file."""
    complaints = [
        entry["MESSAGE"]
        for entry in m.journal("--boot")
        if re.search("metrics-?agent", str(entry["MESSAGE"]))
        and entry.get("SYSLOG_IDENTIFIER", "").startswith("dbus")
    ]
    m.expect("complaints", complaints, [])
    names = m.run("busctl", "list", "--no-pager", "--activatable")
    m.expect_match("activatable", names, BUS_NAME)
    m.expect_match("activatable", names, "org.metricsagent.Collector1")


def installing_again_keeps_the_configuration(m):
    """What the administrator wrote stays as it is."""
    m.write("/etc/metrics-agent/metrics-agent.toml", '[log]\nlevel = "debug"\n')
    m.expect_match("install", m.install("--activate"), "kept as it is")
    m.expect(
        "configuration", m.read("/etc/metrics-agent/metrics-agent.toml"), '[log]\nlevel = "debug"\n'
    )


def removal_leaves_nothing_running(m):
    """Disable, uninstall: no process, no unit, no bus name; keys and changed settings stay."""
    m.run("systemctl", "enable", "--now", AGENT, COLLECTOR)
    m.configure(m.start_collector())
    m.run("systemctl", "disable", "--now", AGENT)
    m.expect("active state", m.unit("ActiveState"), "inactive")
    m.run(f"{SOURCE_INSIDE}/packaging/install", "--uninstall")
    for unit in (AGENT, COLLECTOR):
        m.expect(f"load state of {unit}", m.unit("LoadState", unit), "not-found")
        m.expect(f"active state of {unit}", m.unit("ActiveState", unit), "inactive")
    m.expect_refused("the name", *get_property("Version"))
    for directory in m.path("/proc").glob("[0-9]*"):
        try:
            name = (directory / "comm").read_text().strip()
        except OSError:
            continue  # it has ended
        if name.startswith("metrics-"):
            raise Failure(f"still running: {name}")
    m.saw("no process of ours")
    left = m.run(
        "find", "/etc", "/usr", "/var/lib", "-xdev", "-regex", ".*/[^/]*metrics-?[ac][^/]*"
    )
    m.expect(
        "left",
        sorted(left.split()),
        [
            "/etc/metrics-agent",
            "/etc/metrics-agent/metrics-agent.toml",
            "/var/lib/metrics-agent",
            "/var/lib/metrics-collector",
        ],
    )
    m.expect_true(
        "nothing in the catalog", "metrics-agent" not in m.run("journalctl", "--list-catalog")
    )
