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

import rpm_repository
from container import WORKSPACES, mount, mount_overlay
from host import ENVIRONMENT, CommandFailed
from machine import RPM_SUITE, SOURCE, Failure, make_root

PACKAGES = ["metrics-agent", "metrics-collector", "metrics-top"]
# What ours do without, and only a peer in the container needs.
LIBZMQ = "libzmq5"
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
_installed = {}
_lock = threading.RLock()


def built(m, version=None):
    """A directory of this version's packages; None is the tree's own. Built at the first call."""
    with _lock:
        if version not in _built:
            directory = _workspace(m) / (version or "own")
            if version is None:
                _build(SOURCE, m.binaries, directory)
            elif version == NEWER:
                _build_newer(m.binaries, _workspace(m), directory)
            elif version == CARELESS:
                _without_restart(built(m, NEWER), _workspace(m), directory)
            else:
                _of_a_later_release(built(m, NEWER), _workspace(m), directory)
            _built[version] = directory
        return _built[version]


def installed(m):
    """What installing the tree's own packages adds to the root that the container is to boot from:
    a directory to lay over it. Installed at the first call, as those do who make images."""
    with _lock:
        if m.suite not in _installed:
            # A failure is kept as well: it would be the same one for every scenario.
            _installed[m.suite] = concurrent.futures.Future()
            try:
                _installed[m.suite].set_result(_install(m))
            except CommandFailed as failure:
                _installed[m.suite].set_exception(failure)
    return _installed[m.suite].result()


def _install(m):
    place = _workspace(m) / m.suite
    place.mkdir()
    mount("tmpfs", place, "tmpfs", "size=1g,mode=0755")
    root, upper, work = (place / part for part in ("root", "upper", "work"))
    for directory in (root, upper, work):
        directory.mkdir()
    mount_overlay(root, m.lower, upper, work)
    packages = root / "packages"
    if m.suite == RPM_SUITE:
        shutil.copytree(rpm_repository.build(m.binaries).name, packages)
        install = "dnf install --assumeyes /packages/metrics-{agent,collector,top}-[0-9]*.rpm"
    else:
        shutil.copytree(built(m), packages)
        install = "dpkg --install /packages/*.deb"
    script = f"mount -t proc proc /proc && {install}; status=$?; umount /proc; exit $status"
    _run("chroot", root, "bash", "-c", script, env=ENVIRONMENT)
    shutil.rmtree(packages)
    _run("umount", root)
    return upper


def _workspace(m):
    """What is made in this run, until it ends."""
    workspace = WORKSPACES / f"{m.name.partition('.')[0]}.packages"
    if not workspace.exists():
        workspace.mkdir(parents=True)
        atexit.register(shutil.rmtree, workspace, ignore_errors=True)
    return workspace


def _build(tree, binaries, output, *options):
    # Debug symbols take most of the time, and are looked at by tests/package-deb.
    build = ["env", "DEB_BUILD_OPTIONS=noautodbgsym", tree / "packaging/build-deb"]
    build += ["--binaries", binaries, "--manual", SOURCE / "target/manual"]
    _run(*build, "--output", output, *options)


def _build_newer(binaries, workspace, output):
    """Another version, of a tree in which the configuration file has changed."""
    tree = workspace / "tree"
    shutil.copytree(SOURCE, tree, ignore=shutil.ignore_patterns("target", ".git"), symlinks=True)
    with open(tree / "packaging/metrics-agent.toml", "a") as shipped:
        shipped.write(f"{NEWER_LINE}\n")
    _build(tree, binaries, output, "--version", NEWER)


def _without_restart(newer, workspace, output):
    """The newer agent once more, made to forget the restart: the control of the test of it."""
    with _taken_apart(newer, workspace, CARELESS, output) as tree:
        postinst = tree / "DEBIAN/postinst"
        text = postinst.read_text()
        restart = "deb-systemd-invoke try-restart"
        if restart not in text:
            raise Failure(f"the agent's postinst has no {restart}")
        postinst.write_text(text.replace(restart, "true"))


def _of_a_later_release(newer, workspace, output):
    """The newer agent once more, with a program of a later release and what that release's
    dpkg-shlibdeps says of it: as if built there."""
    root = pathlib.Path(make_root(LATER_SUITE))
    with _taken_apart(newer, workspace, TOO_NEW, output) as tree:
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
def _taken_apart(newer, workspace, version, output):
    """The newer agent's package as a tree, which becomes a package of this version."""
    tree = workspace / f"{version}.tree"
    (package,) = newer.glob(f"metrics-agent_{NEWER}_*.deb")
    _run("dpkg-deb", "--raw-extract", package, tree)
    control = tree / "DEBIAN/control"
    control.write_text(control.read_text().replace(f"Version: {NEWER}", f"Version: {version}"))
    yield tree
    output.mkdir()
    _run("dpkg-deb", "--root-owner-group", "-Zgzip", "--build", tree, output)


def _run(*command, cwd=None, env=None):
    done = subprocess.run(
        command,
        cwd=cwd,
        env=env,
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
    """Makes the container one that knows our repository alone, without libzmq."""
    apt(m, "purge", LIBZMQ)
    m.write("/etc/apt/sources.list", f"deb [trusted=yes] file://{REPOSITORY} ./\n")


def publish(m, version=None):
    """Makes the repository one of this version."""
    packages = [*built(m, version).glob("*.deb")]
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


# What unattended upgrades do, as there is no one to ask about changed configuration files.
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
