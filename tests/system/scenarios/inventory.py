# SPDX-License-Identifier: Apache-2.0
"""What the model says of the host is what systemd's own tools say."""

import json
import os
import re

from machine import AGENT, SOURCE, call


def model_agrees_with_systemd(m):
    """Virtualisation, the hashed machine id, the system and the kernel, as the service sees them."""
    m.write("/etc/machine-id", "0f1e2d3c4b5a69788796a5b4c3d2e1f0\n", 0o444)
    m.run("ln", "-sf", "/usr/share/zoneinfo/Europe/Berlin", "/etc/localtime")
    m.run("systemctl", "start", AGENT)
    model = _model(m)
    virtualization = m.run("systemd-detect-virt").strip()
    m.expect("virtualisation", model["host.virtualization"], virtualization)
    application = _application_id()
    hashed = m.run("systemd-id128", "machine-id", f"--app-specific={application}").strip()
    m.expect("machine id", model["host.machine.id"], hashed)
    m.expect_true("the machine id itself is told nowhere", "0f1e2d3c4b5a" not in str(model))
    os_release = m.run("sh", "-c", '. /etc/os-release && echo "$PRETTY_NAME|$ID|$VERSION_ID"')
    told = [model[name] for name in ("host.os", "host.os.id", "host.os.version")]
    m.expect("system", told, os_release.strip().split("|"))
    m.expect("kernel", model["host.kernel"], m.run("uname", "-r").strip())
    m.expect("architecture", model["host.architecture"], m.run("uname", "-m").strip())
    m.expect("CPUs", model["host.cpus"], os.sysconf("SC_NPROCESSORS_ONLN"))
    m.expect("time zone", model["host.timezone"], "Europe/Berlin")


def _model(m):
    (grid,) = json.loads(m.run(*call("Sample", "s", "model")))["data"]
    return {name: value["data"] for name, value in grid.items()}


def _application_id():
    source = (SOURCE / "src/sources/inventory/host.rs").read_text()
    return re.search(r"0x([0-9a-f_]+)_u128", source).group(1).replace("_", "")
