# SPDX-License-Identifier: Apache-2.0
"""A repository of RPM packages in a container: what is built from the tree.

Owns the packages, which are built once in a run from the release build that is tested. Knows
nothing of what they do.
"""

import functools
import pathlib
import subprocess
import tempfile
import threading

from machine import SOURCE

BUILD = SOURCE / "packaging/build-rpm"
REPOSITORY = "/srv/packages"

_lock = threading.Lock()


def add_repository(m, *versions):
    """Makes a repository of our packages known to dnf: Cargo.toml's version, which it returns, and
    others. They are built from the release build that is tested."""
    built = [build(m.binaries, version) for version in (None, *versions)]
    m.path(REPOSITORY).mkdir()
    for directory in built:
        for file in pathlib.Path(directory.name).glob("*.rpm"):
            (m.path(REPOSITORY) / file.name).write_bytes(file.read_bytes())
    m.run("createrepo_c", "--quiet", REPOSITORY)
    m.write(
        "/etc/yum.repos.d/packages.repo",
        f"[packages]\nname=Ours\nbaseurl=file://{REPOSITORY}\ngpgcheck=0\n",
    )
    return next(pathlib.Path(built[0].name).glob("metrics-collector-*.rpm")).name.split("-")[2]


def build(release, version=None):
    """A directory with our packages made from this release build, which lasts as long as we do."""
    # Once for all scenarios, whichever comes first.
    with _lock:
        return _built(release, version)


@functools.cache
def _built(release, version):
    directory = tempfile.TemporaryDirectory(prefix="metrics-agent-rpm-")
    command = [BUILD, "--binaries", release, "--output", directory.name]
    if version is not None:
        command += ["--version", version]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise AssertionError(f"packaging/build-rpm: status {done.returncode}\n{done.stderr}")
    return directory
