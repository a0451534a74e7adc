# SPDX-License-Identifier: Apache-2.0
"""What root's --check-config says, and what the start then does: the same."""

import re

from machine import AGENT, AS_NOBODY, COLLECTOR, RPM_SUITE

# On an RPM system, too.
SUITES = ["bookworm", "trixie", RPM_SUITE]

COLLECTOR_SETTINGS = "/etc/metrics-collector/metrics-collector.toml"
PROGRAMS = {AGENT: "metrics-agent", COLLECTOR: "metrics-collector"}

VALID = "The configuration is valid.\n"

# sysexits(3), and clap's for a wrong command line.
EX_CONFIG = "78"
EX_UNAVAILABLE = "69"
WRONG_USAGE = "2"

# More than a unit that fails is started in 10 s, see systemd.unit(5).
NO_LIMIT = "[Unit]\nStartLimitIntervalSec=0\n"


def the_options_of_the_agents_command_are_checked(m):
    """A drop-in's ExecStart= with options: a file of settings, a collector, and a wrong one."""
    site = "/etc/site.toml"
    m.write(site, '[intervals]\nmetrics = "soon"\n')
    _command(m, AGENT, f"--config {site}")
    _expect_refused(m, AGENT, f"{site}:2: intervals.metrics")
    # What is named for this run counts more: it may be a draft, which only root can read.
    m.write("/root/draft.toml", "", mode=0o600)
    m.expect("draft", m.run("metrics-agent", "--check-config", "--config", "/root/draft.toml"), VALID)
    # The unit's own file is none: its user has to read it, and its sandbox has to show it.
    m.write(site, "", mode=0o600)
    _expect_refused(m, AGENT, f"{site}: cannot be read: Permission denied")
    m.write("/tmp/site.toml", "")
    _command(m, AGENT, "--config=/tmp/site.toml")
    _expect_refused(m, AGENT, "PrivateTmp= of metrics-agent.service hides /tmp")
    # A relative path begins where the unit does.
    m.write(site, '[intervals]\nmetrics = "7s"\n')
    for begin, file in ("", "etc/site.toml"), ("WorkingDirectory=/etc\n", "site.toml"):
        _command(m, AGENT, f"--config {file}", begin)
        _expect_accepted(m, AGENT)
        printed = m.run("metrics-agent", "--print-config")
        m.expect_match("printed", printed, f'metrics = "7s".*{site}:2')

    m.run("metrics-agentctl", "keygen", "--name", "collector", "/etc/metrics-agent/curve")
    m.run("chown", "-R", "metrics-agent:", "/etc/metrics-agent/curve")
    _command(m, AGENT, "127.0.0.1:99999")
    _expect_refused(m, AGENT, "COLLECTOR in ExecStart= of metrics-agent.service: ")
    _command(m, AGENT, "127.0.0.1")
    _expect_accepted(m, AGENT)
    _expect_of_any_program(m, AGENT)


def the_options_of_the_collectors_command_are_checked(m):
    """The same of the collector's, which has many."""
    m.write("/etc/site.toml", '[hosts]\ntimeout = "soon"\n')
    _command(m, COLLECTOR, "--config /etc/site.toml")
    _expect_refused(m, COLLECTOR, "/etc/site.toml:2: hosts.timeout")
    for options, said in (
        ("--authorized=nobody", "--authorized in ExecStart= of metrics-collector.service: "),
        ("--listen 127.0.0.1:5557", "listens there, too|listen.viewers"),
        ("--key-file etc/none.key_secret", "/etc/none.key_secret"),
    ):
        _command(m, COLLECTOR, options)
        _expect_refused(m, COLLECTOR, said)
    m.run("metrics-agentctl", "keygen", "--name", "site", "/etc/keys")
    m.run("chown", "-R", "metrics-collector:", "/etc/keys")
    _command(m, COLLECTOR, "--key-file etc/keys/site.key_secret --pin-names")
    key = m.run("metrics-agentctl", "public-key", "--file", "/etc/keys/site.key")
    # No collector runs, and root is told which key it will have.
    m.expect("key", m.run("metrics-collector", "--public-key"), key)
    _expect_accepted(m, COLLECTOR)
    _expect_of_any_program(m, COLLECTOR)


def listening_addresses_that_are_not_free_are_told(m):
    """Ports that another has, addresses of other hosts, ports and families that the unit forbids."""
    for held, key, address in (
        ("5556", "listen.agents", r"\*:5556"),
        ("127.0.0.1:5557", "listen.viewers", r"\*:5557"),
        ("[::]:9650", "listen.web", "127.0.0.1:9650"),
    ):
        port = held.rpartition(":")[2]
        m.run("systemd-run", "--quiet", "--unit=holder", "--uid=daemon", "systemd-socket-activate", f"--listen={held}", "cat")  # fmt: skip
        m.eventually("port held", lambda: _told(m).count(f":{port}"), lambda count: count > 0)
        told = f"default: {key}: .* at {address} now, .* a process of user 1 listens there already"
        _expect_not_listening(m, told)
        m.expect_match("the way out", _told(m), f"`ss -ltnp 'sport = :{port}'`")
        m.run("systemctl", "stop", "holder")
        m.expect("told afterwards", _told(m), "")
    # The service itself is no trouble, also for those who are not root, and as a dynamic user.
    for drop_in in "", "[Service]\nDynamicUser=yes\n":
        m.drop_in(drop_in, COLLECTOR)
        m.run("systemctl", "start", COLLECTOR)
        m.expect("told while it runs", _told(m), "")
        m.expect_true("nor to nobody", "could not listen" not in _told(m, AS_NOBODY))
        m.run("systemctl", "stop", COLLECTOR)
    m.drop_in("", COLLECTOR)

    m.write(COLLECTOR_SETTINGS, '[listen]\nweb = "192.0.2.1:9650"\n')
    _expect_not_listening(m, f"{COLLECTOR_SETTINGS}:2: listen.web: .* not have the address 192.0.2.1 ")
    m.write(COLLECTOR_SETTINGS, '[listen]\nagents = "*:80"\n')
    _expect_never_listening(m, f"{COLLECTOR_SETTINGS}:2: listen.agents: .* below 1024 needs a capability")
    capability = "CAP_NET_BIND_SERVICE"
    able = f"[Service]\nAmbientCapabilities={capability}\nCapabilityBoundingSet={capability}\n"
    m.drop_in(able, COLLECTOR)
    _expect_never_listening(m, "below 1024 needs a capability")
    m.drop_in(able + "PrivateUsers=no\n", COLLECTOR)
    _expect_accepted(m, COLLECTOR)
    m.drop_in(f"[Service]\nAmbientCapabilities={capability}\nPrivateUsers=no\n", COLLECTOR)
    _expect_never_listening(m, "below 1024 needs a capability")
    # Root has no more than the unit leaves it.
    bounding = f"CapabilityBoundingSet={capability}\n"
    for more in "", bounding, "PrivateUsers=no\n":
        m.drop_in(f"[Service]\nUser=root\n{more}", COLLECTOR)
        _expect_never_listening(m, "below 1024 needs a capability")
    m.drop_in(f"[Service]\nUser=root\n{bounding}PrivateUsers=no\n", COLLECTOR)
    _expect_accepted(m, COLLECTOR)
    m.write(COLLECTOR_SETTINGS, '[listen]\nviewers = "127.0.0.1:5557"\n')
    families = "[Service]\nRestrictAddressFamilies=\nRestrictAddressFamilies=AF_UNIX AF_INET"
    m.drop_in(f"{families}\n", COLLECTOR)
    _expect_accepted(m, COLLECTOR)
    m.write(COLLECTOR_SETTINGS, "")
    only = "[Service]\nRestrictAddressFamilies=\nRestrictAddressFamilies=AF_UNIX AF_NETLINK"
    m.drop_in(f"{only}\n", COLLECTOR)
    _expect_never_listening(m, "default: listen.agents: .* RestrictAddressFamilies= .* forbids AF_INET,")
    m.write(COLLECTOR_SETTINGS, '[listen]\nviewers = "[::1]:5557"\n')
    m.drop_in("[Service]\nRestrictAddressFamilies=\nRestrictAddressFamilies=~AF_INET6\n", COLLECTOR)
    _expect_never_listening(m, "listen.viewers: .* RestrictAddressFamilies= .* forbids AF_INET6,")
    m.write(COLLECTOR_SETTINGS, "")
    # Not every kernel, and no container, lets systemd enforce these: what is told is looked at.
    deny = "[Service]\nSocketBindDeny=any\n"
    for allow, keys in (
        ("", ["agents", "viewers", "web"]),
        ("SocketBindAllow=tcp:5555-5557\nSocketBindAllow=udp:9650\n", ["web"]),
        ("SocketBindAllow=ipv4:tcp\n", ["agents", "viewers"]),
        ("SocketBindAllow=any\n", []),
    ):
        m.drop_in(deny + allow, COLLECTOR)
        asked = m.execute("metrics-collector", "--check-config")
        m.expect("check", (asked.returncode, asked.stdout), (78, "") if keys else (0, VALID))
        lines = [line for line in asked.stderr.splitlines() if "SocketBindDeny= of its unit" in line]
        named = [re.search(r"listen\.(\w+)", line).group(1) for line in lines]
        m.expect("forbidden", named, keys)
    m.drop_in("[Service]\nPrivateNetwork=yes\n", COLLECTOR)
    m.expect_match("told", _told(m), "not checked: whether its addresses are free, as PrivateNetwork=")


def what_the_start_needs_beside_the_settings_is_missed(m):
    """Directories of the sandbox, programs of commands, credentials: each start fails as was said."""
    m.write("/etc/plain", "#!/bin/sh\n", mode=0o644)
    m.write("/etc/garbage.cred", "garbage\n")
    none = "/etc/none"
    for unit, program in PROGRAMS.items():
        for line, path, why, status in (
            (f"WorkingDirectory={none}", none, "does not exist", "200"),
            ("WorkingDirectory=/etc/plain", "/etc/plain", "is no directory", "200"),
            (f"RootDirectory={none}", none, "does not exist", "226"),
            (f"ReadWritePaths=-/nor/this {none}", none, "does not exist", "226"),
            (f"InaccessiblePaths={none}", none, "does not exist", "226"),
            (f"BindPaths={none}:/srv", none, "does not exist", "226"),
            (f"NetworkNamespacePath={none}", none, "does not exist", "225"),
            (f"ExecStart=\nExecStart={none}", none, "does not exist", "203"),
            ("ExecStart=\nExecStart=/etc/plain", "/etc/plain", f"is no program that {program} may run", "203"),
            # That of the main process, which there is none of.
            (f"ExecStartPre={none}", none, "does not exist", "0"),
        ):
            m.drop_in(f"{NO_LIMIT}[Service]\nRestart=no\n{line}\n", unit)
            error = _expect_refused(m, unit, f"{path}: {why}, but ", status)
            directive, at = line.split("\n")[-1].split("=")[0], 5 + line.count("\n")
            place = f"{directive}= of {unit} (/run/systemd/system/{unit}.d/50-test.conf:{at}) needs it"
            m.expect_true("where it stands", place in error)
        for line in (
            f"WorkingDirectory=-{none}",
            f"ReadWritePaths=-{none}",
            f"ReadOnlyPaths={none}",
            f"BindPaths=-{none}:/srv",
            f"ExecStartPre=-{none}",
            "ExecStartPre=/bin/true",
            f"ReadWritePaths=/var/lib/{program}",
        ):
            m.drop_in(f"{NO_LIMIT}[Service]\n{line}\n", unit)
            _expect_accepted(m, unit)
        m.drop_in(f"{NO_LIMIT}[Service]\nRestart=no\nLoadCredentialEncrypted=x:/etc/garbage.cred\n", unit)
        asked = m.execute(program, "--check-config")
        m.expect("check", (asked.returncode, asked.stdout), (0, VALID))
        said = "/etc/garbage.cred: not checked: .* as the credential x, .* cannot decrypt here"
        m.expect_match("said", asked.stderr, said)
        m.expect_refused("start", "systemctl", "start", unit)
        m.expect("exit status", m.unit("ExecMainStatus", unit), "243")
        m.execute("systemctl", "reset-failed", unit)


def the_state_directory_is_that_of_the_unit(m):
    """A drop-in takes it away, names another one, or the user's home takes its place."""
    for unit, program in PROGRAMS.items():
        key = "agent.key_secret" if unit == AGENT else "collector.key_secret"
        m.drop_in(f"{NO_LIMIT}[Service]\nStateDirectory=\n", unit)
        _expect_refused(m, unit, f"{key} .*STATE_DIRECTORY \\(in a unit StateDirectory=\\)")
        for lines, key in (
            ("StateDirectory=\nStateDirectory=site", f"/var/lib/site/{key}"),
            ("StateDirectory=\nEnvironment=STATE_DIRECTORY=/srv", f"/srv/{key}"),
        ):
            m.run("chown", f"{program}:", "/srv")
            m.drop_in(f"{NO_LIMIT}[Service]\nReadWritePaths=/srv\n{lines}\n", unit)
            _expect_accepted(m, unit)
            m.run("test", "-f", key)
        m.drop_in("", unit)


def what_no_start_can_do_with_is_refused(m):
    """No sockets of the host itself, and too few open files."""
    for unit, program in PROGRAMS.items():
        for line, said in (
            ("RestrictAddressFamilies=none", "forbids AF_UNIX, "),
            ("RestrictAddressFamilies=\nRestrictAddressFamilies=~AF_UNIX", "forbids AF_UNIX, "),
            ("LimitNOFILE=10", "LimitNOFILE=10 of .* is too low, "),
        ):
            m.drop_in(f"{NO_LIMIT}[Service]\nRestart=no\nTimeoutStartSec=3s\n{line}\n", unit)
            error = m.expect_refused("check", program, "--check-config", saying=said)
            at = 6 + line.count("\n")
            m.expect_true("where it stands", f"(/run/systemd/system/{unit}.d/50-test.conf:{at})" in error)
            m.expect_refused("start", "systemctl", "start", unit)
            m.execute("systemctl", "reset-failed", unit)
        m.drop_in("", unit)


def settings_that_the_sandbox_hides_are_refused(m):
    """The directory of settings itself, and a drop-in of settings that is a link to /tmp."""
    for unit, program in PROGRAMS.items():
        directory = f"/etc/{program}"
        m.drop_in(f"{NO_LIMIT}[Service]\nInaccessiblePaths={directory}\n", unit)
        _expect_refused(m, unit, f"InaccessiblePaths= of {unit} hides {directory}")
        root = "User=root\nCapabilityBoundingSet=CAP_DAC_OVERRIDE"
        m.drop_in(f"{NO_LIMIT}[Service]\n{root}\nInaccessiblePaths={directory}\n", unit)
        m.expect_refused(
            "check", program, "--check-config", saying=f"InaccessiblePaths= of {unit} hides {directory}"
        )
        m.drop_in("", unit)
        m.write("/tmp/site.toml", "")
        m.run("mkdir", "-p", f"{directory}/{program}.d")
        m.run("ln", "-s", "/tmp/site.toml", f"{directory}/{program}.d/site.toml")
        _expect_refused(m, unit, f"PrivateTmp= of {unit} hides /tmp")
        m.run("rm", f"{directory}/{program}.d/site.toml")
        _expect_accepted(m, unit)


def damaged_pins_are_refused_where_names_are_pinned(m):
    """The file of pins is read at the start, so the check reads it, too."""
    m.start_collector()
    m.run("systemctl", "stop", COLLECTOR)
    m.drop_in(f"{NO_LIMIT}[Service]\n", COLLECTOR)
    m.write("/var/lib/metrics-collector/pins", "nonsense\n")
    m.write(COLLECTOR_SETTINGS, "[agents]\npin_names = true\n")
    _expect_refused(m, COLLECTOR, "/var/lib/metrics-collector/pins:1: expected ")
    m.write(COLLECTOR_SETTINGS, "")
    _expect_accepted(m, COLLECTOR)


def roots_keys_are_those_of_a_dynamic_user(m):
    """Its state is below a directory that only root may pass."""
    m.drop_in("[Service]\nDynamicUser=yes\n", COLLECTOR)
    m.run("systemctl", "start", COLLECTOR)
    m.configure(m.run("metrics-collector", "--public-key").strip())
    m.run("systemctl", "start", AGENT)
    m.await_host()
    host = m.run("hostname").strip()
    listed = m.eventually(
        "keys list", lambda: m.run("metrics-collector", "keys", "list"), lambda text: host in text
    )
    m.expect_match("state", listed, host)
    m.expect_match("allow", m.run("metrics-collector", "keys", "allow", "--reporting"), "^Wrote /")
    m.expect_match("list", m.run("metrics-collector", "keys", "list"), "listed|allowed")


def a_changed_unit_is_told_of_with_the_public_key(m):
    """A credential of a drop-in has another key: root is told which, and others that there is a change."""
    key = m.start_collector()
    asked = [m.execute(*who, "metrics-collector", "--public-key") for who in ([], AS_NOBODY)]
    m.expect("before", [(one.stdout.strip(), one.stderr) for one in asked], [(key, "")] * 2)
    m.run("metrics-agentctl", "keygen", "--name", "other", "/root/keys")
    other = m.run("metrics-agentctl", "public-key", "--file", "/root/keys/other.key").strip()
    place = f"/run/systemd/system/{COLLECTOR}.d/50-test.conf"
    text = "[Service]\nLoadCredential=collector.key_secret:/root/keys/other.key_secret\n"
    # A named key makes the running collector itself expect no good of its next start.
    for settings in "", '[curve]\nsecret_key_file = "collector.key_secret"\n':
        m.write(COLLECTOR_SETTINGS, settings)
        m.drop_in(text, COLLECTOR)
        _expect_key(m, [], key, f"then it is {re.escape(other)}, of /root/keys/other.key_secret")
        said = f"it may be another, as {place} has changed .*`sudo metrics-collector --public-key`"
        _expect_key(m, AS_NOBODY, key, said)
    m.run("systemctl", "restart", COLLECTOR)
    for who in [], AS_NOBODY:
        asked = m.execute(*who, "metrics-collector", "--public-key")
        m.expect("after", (asked.stdout.strip(), asked.stderr), (other, ""))
    # And away again: the credential that the collector still has is not that of the next start.
    m.run("rm", place)
    m.run("systemctl", "daemon-reload")
    _expect_key(m, [], other, f"then it is {re.escape(key)}, of /var/lib/metrics-collector/")
    _expect_key(m, AS_NOBODY, other, f"it may be another, as /run/systemd/system/{COLLECTOR}.d has changed")


def a_next_start_that_fails_is_told_with_the_public_key(m):
    """Root asks, and hears what `--check-config` says."""
    key = m.start_collector()
    for line, why in (
        ("LoadCredential=collector.key_secret:/etc/none", "/etc/none: there is no such file"),
        ("User=ghost", "User=ghost of .*the system knows no such user"),
    ):
        m.drop_in(f"[Service]\n{line}\n", COLLECTOR)
        _expect_key(m, [], key, f"the next start fails: {why}")


def the_key_of_a_service_that_cannot_be_asked_is_roots_to_tell(m):
    """Stopped, or hanging: other users are told to ask as root, and never that there is no key."""
    key = m.start_collector()
    m.run("systemctl", "stop", COLLECTOR)
    # Each of the other places is empty for everybody to see.
    m.run("mkdir", "-p", "/etc/metrics-collector/curve", "/etc/keys")
    m.run("chmod", "755", "/etc/metrics-collector/curve")
    m.run("chmod", "700", "/etc/keys")
    state = "/var/lib/metrics-collector"
    closed = "own.key_secret:/etc/keys/own.key_secret"
    # Since systemd 255 the first is there, and closed.
    own = f"(/etc/credstore/metrics-collector.key_secret|{state})"
    for settings, drop_in, where in (
        ("", "", own),
        ('secret_key_file = "collector.key_secret"', "", own),
        ('secret_key_file = "own.key_secret"', "", state),
        (f'secret_key_file = "{state}/collector.key_secret"', "", f"{state}/collector.key_secret"),
        ('secret_key_file = "own.key_secret"', f"LoadCredential={closed}", "/etc/keys/own.key_secret"),
    ):
        m.write(COLLECTOR_SETTINGS, f"[curve]\n{settings}\n")
        m.drop_in(f"[Service]\n{drop_in}\n", COLLECTOR)
        _expect_ask_as_root(m, "a collector that does not run", where)
    m.drop_in("", COLLECTOR)
    m.write(COLLECTOR_SETTINGS, "", mode=0o600)
    _expect_ask_as_root(m, "a collector that does not run", COLLECTOR_SETTINGS)
    m.write(COLLECTOR_SETTINGS, "", mode=0o644)

    m.run("systemctl", "start", COLLECTOR)
    m.signal("SIGSTOP", COLLECTOR)
    silent = "the running collector, which does not answer on the bus"
    _expect_ask_as_root(m, silent, own)
    _expect_key(m, [], key, silent)
    m.signal("SIGCONT", COLLECTOR)


def _expect_ask_as_root(m, of, where):
    saying = f"cannot tell the key of {of}: only root can say what is in {where}; ask as root"
    m.expect_refused("key", *AS_NOBODY, "metrics-collector", "--public-key", saying=saying)


def _expect_key(m, who, key, saying):
    asked = m.execute(*who, "metrics-collector", "--public-key")
    m.expect("key in force", asked.stdout.strip(), key)
    m.expect_match("said", asked.stderr, saying)


def _told(m, who=()):
    asked = m.execute(*who, "metrics-collector", "--check-config")
    m.expect("check", (asked.returncode, asked.stdout), (0, VALID))
    return asked.stderr


def _expect_not_listening(m, saying):
    m.expect_match("told", _told(m), saying)
    m.expect_refused("start", "systemctl", "restart", COLLECTOR)
    m.expect("exit status", m.unit("ExecMainStatus", COLLECTOR), EX_UNAVAILABLE)
    m.run("systemctl", "stop", COLLECTOR)
    m.execute("systemctl", "reset-failed", COLLECTOR)


def _expect_never_listening(m, saying):
    """The same start, and a check that refuses what no start can do."""
    m.expect_refused("check", "metrics-collector", "--check-config", saying=saying)
    m.expect_refused("start", "systemctl", "restart", COLLECTOR)
    m.expect("exit status", m.unit("ExecMainStatus", COLLECTOR), EX_UNAVAILABLE)
    m.run("systemctl", "stop", COLLECTOR)
    m.execute("systemctl", "reset-failed", COLLECTOR)


def _expect_of_any_program(m, unit):
    program = PROGRAMS[unit]
    place = f"/run/systemd/system/{unit}.d/50-test.conf:5"
    _command(m, unit, "--no-such-option")
    error = _expect_refused(m, unit, "unexpected argument '--no-such-option'", WRONG_USAGE)
    m.expect_true("where it stands", f"({place})" in error)
    # Not known before the start: said, with what it is.
    _command(m, unit, "$OPTIONS")
    asked = m.execute(program, "--check-config")
    m.expect("check", (asked.returncode, asked.stdout), (0, VALID))
    m.expect_match("said", asked.stderr, rf"not checked: .*{place}\) has the variable \$OPTIONS;")
    m.drop_in(f"[Service]\nExecStart=\nExecStart=/bin/sh -c 'exec {program}'\n", unit)
    asked = m.execute(program, "--check-config")
    m.expect_match("said", asked.stderr, "not checked: .* runs another program, /bin/sh")
    # A second command, as the first was not taken away: systemd refuses the unit.
    m.drop_in(f"[Service]\nExecStart=/usr/bin/{program} --config /etc/site.toml\n", unit)
    m.expect_refused("check", program, "--check-config", saying="systemd refuses the files of this unit")
    m.expect_refused("start", "systemctl", "start", unit)
    m.drop_in("", unit)
    m.run("systemctl", "mask", "--runtime", unit)
    asked = m.execute(program, "--check-config")
    m.expect("check", (asked.returncode, asked.stdout), (78, ""))
    m.expect_match("said", asked.stderr, f"the unit is masked, .*`systemctl unmask {unit}`")
    m.expect_refused("start", "systemctl", "start", unit)
    m.run("systemctl", "unmask", "--runtime", unit)
    asked = m.execute(program, "--check-config")
    m.expect("check as shipped", (asked.stdout, asked.stderr), (VALID, ""))


def _command(m, unit, options, more=""):
    """A drop-in with these options."""
    program = PROGRAMS[unit]
    text = f"{NO_LIMIT}[Service]\nExecStart=\nExecStart=/usr/bin/{program} {options}\n{more}"
    m.drop_in(text, unit)


def _expect_refused(m, unit, saying, status=EX_CONFIG):
    error = m.expect_refused("check", PROGRAMS[unit], "--check-config", saying=saying)
    m.expect_refused("start", "systemctl", "start", unit)
    m.expect("exit status", m.unit("ExecMainStatus", unit), status)
    m.run("systemctl", "stop", unit)
    # One that waited for its restart is forgotten by now.
    m.execute("systemctl", "reset-failed", unit)
    return error


def _expect_accepted(m, unit):
    asked = m.execute(PROGRAMS[unit], "--check-config")
    m.expect("check", (asked.stdout, asked.stderr), (VALID, ""))
    m.run("systemctl", "restart", unit)
    m.expect("active state", m.unit("ActiveState", unit), "active")
    m.run("systemctl", "stop", unit)
