# SPDX-License-Identifier: Apache-2.0
"""A repository of Debian packages in a container: what is built from the tree, and what it needs.

Owns the packages, which are built once in a run from the release build that is tested, and how apt
is called. Knows nothing of what they do.
"""

import atexit
import concurrent.futures
import contextlib
import pathlib
import re
import shutil
import subprocess
import tempfile
import threading

from container import WORKSPACES, CommandFailed
from machine import SOURCE, Failure, make_root

PACKAGES = ["metrics-agent", "metrics-collector"]
# What the packages need and the container has no longer; tests/system/root has put it there.
LIBRARY = "libzmq5"
ARCHIVE = "/srv/archive"
REPOSITORY = "/srv/repository"

# Higher than any that the tree may have. The second does not restart what runs; the third is one as
# from a build on a later release.
NEWER = "9998"
CARELESS = "9999"
TOO_NEW = "10000"
# A release that the packages are not built on, with a later C library than that of the one that
# they are built on; and a program of it that uses what is new there.
LATER_SUITE = "trixie"
LATER_PROGRAM = "usr/bin/sort"
# What the newer one's configuration file has at its end, so that it is another.
NEWER_LINE = "# As of the newer version."

APT_SECONDS = 120
BUILD_SECONDS = 600

_built = {}
_lock = threading.Lock()


def built(m):
    """The directories of packages, by version; None is the tree's own. Built at the first call."""
    with _lock:
        if not _built:
            workspace = WORKSPACES / f"{m.name.partition('.')[0]}.packages"
            workspace.mkdir(parents=True)
            atexit.register(shutil.rmtree, workspace, ignore_errors=True)
            with concurrent.futures.ThreadPoolExecutor() as pool:
                binaries = m.binaries
                own = pool.submit(_build, SOURCE, binaries, workspace / "own")
                newer = pool.submit(_build_newer, binaries, workspace)
            own.result()
            newer.result()
            _without_restart(workspace)
            _of_a_later_release(workspace)
            _built[None] = workspace / "own"
            _built[NEWER] = workspace / "newer"
            _built[CARELESS] = workspace / "careless"
            _built[TOO_NEW] = workspace / "too-new"
        return _built


def _build(tree, binaries, output, *options):
    # Debug symbols take most of the time, and are looked at by tests/package-deb.
    build = ["env", "DEB_BUILD_OPTIONS=noautodbgsym", tree / "packaging/build-deb"]
    build += ["--binaries", binaries, "--manual", SOURCE / "target/manual"]
    _run(*build, "--output", output, *options)


def _build_newer(binaries, workspace):
    """Another version, of a tree in which the configuration file has changed."""
    tree = workspace / "tree"
    shutil.copytree(SOURCE, tree, ignore=shutil.ignore_patterns("target", ".git"), symlinks=True)
    with open(tree / "packaging/metrics-agent.toml", "a") as shipped:
        shipped.write(f"{NEWER_LINE}\n")
    _build(tree, binaries, workspace / "newer", "--version", NEWER)


def _without_restart(workspace):
    """The newer agent once more, made to forget the restart: the control of the test of it."""
    with _newer_taken_apart(workspace, CARELESS, "careless") as tree:
        postinst = tree / "DEBIAN/postinst"
        text = postinst.read_text()
        restart = "deb-systemd-invoke try-restart"
        if restart not in text:
            raise Failure(f"the agent's postinst has no {restart}")
        postinst.write_text(text.replace(restart, "true"))


def _of_a_later_release(workspace):
    """The newer agent once more, with a program of a later release and what that release's
    dpkg-shlibdeps says of it: as if built there."""
    root = pathlib.Path(make_root(LATER_SUITE))
    with _newer_taken_apart(workspace, TOO_NEW, "too-new") as tree:
        program = tree / "usr/libexec/metrics-agent/program"
        program.parent.mkdir(parents=True)
        shutil.copy(root / LATER_PROGRAM, program)
        # It looks for the source's control file where it is called.
        source = workspace / "too-new.source"
        (source / "debian").mkdir(parents=True)
        (source / "debian/control").write_text("Source: any\n\nPackage: any\nArchitecture: any\n")
        shlibdeps = ["dpkg-shlibdeps", f"--admindir={root}/var/lib/dpkg", "--warnings=0", "-O"]
        programs = [program, tree / "usr/bin/metrics-agent", tree / "usr/bin/metrics-agentctl"]
        found = _run(*shlibdeps, *programs, cwd=source).partition("shlibs:Depends=")[2].strip()
        control = tree / "DEBIAN/control"
        text = re.sub("(?m)^Depends: .*", f"Depends: {found}", control.read_text())
        control.write_text(text)


@contextlib.contextmanager
def _newer_taken_apart(workspace, version, name):
    """The newer agent's package as a tree, packed again in a directory of that name."""
    tree = workspace / f"{name}.tree"
    (package,) = (workspace / "newer").glob(f"metrics-agent_{NEWER}_*.deb")
    _run("dpkg-deb", "--raw-extract", package, tree)
    control = tree / "DEBIAN/control"
    control.write_text(control.read_text().replace(f"Version: {NEWER}", f"Version: {version}"))
    yield tree
    (workspace / name).mkdir()
    _run("dpkg-deb", "--root-owner-group", "-Zgzip", "--build", tree, workspace / name)


def _run(*command, cwd=None):
    done = subprocess.run(
        command,
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=BUILD_SECONDS,
    )
    if done.returncode != 0:
        line = " ".join(map(str, command))
        raise CommandFailed(f"{line}: status {done.returncode}\n{done.stdout}")
    return done.stdout


def prepare(m):
    """Makes the container one that knows our repository alone, and has not what we need."""
    apt(m, "purge", LIBRARY)
    m.write("/etc/apt/sources.list", f"deb [trusted=yes] file://{REPOSITORY} ./\n")


def publish(m, version=None, needs=True):
    """Makes the repository one of this version, and, where wanted, of what the packages need."""
    packages = [path for path in built(m)[version].glob("*.deb") if "-dbgsym_" not in path.name]
    if needs:
        packages += m.path(ARCHIVE).glob("*.deb")
    repository = m.path(REPOSITORY)
    shutil.rmtree(repository, ignore_errors=True)
    with tempfile.TemporaryDirectory() as made:
        for package in packages:
            shutil.copy(package, made)
        index = subprocess.run(
            ["dpkg-scanpackages", "--multiversion", "."], cwd=made, capture_output=True, check=True
        )
        (pathlib.Path(made) / "Packages").write_bytes(index.stdout)
        # Not for root alone: apt reads as a user of its own.
        pathlib.Path(made).chmod(0o755)
        shutil.copytree(made, repository)
    apt(m, "update")


# What unattended upgrades do, as nobody is there to be asked about changed configuration files.
_UNATTENDED = ["--yes", "--quiet", "-oDpkg::Use-Pty=0"]
_UNATTENDED += ["-oDpkg::Options::=--force-confdef", "-oDpkg::Options::=--force-confold"]


def command(*arguments):
    """The command line of apt-get."""
    return ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", *_UNATTENDED, *arguments]


def apt(m, *arguments):
    """Runs apt-get, which has to succeed."""
    return m.run(*command(*arguments), timeout=APT_SECONDS)


def version(m, package):
    """The version that is installed; empty where none is."""
    form = "--showformat=${db:Status-Status} ${Version}"
    shown = m.execute("dpkg-query", "--show", form, package)
    status, _, number = shown.stdout.partition(" ")
    return number if status == "installed" else ""
