# SPDX-License-Identifier: Apache-2.0
"""What can be done on a machine that runs systemd, whatever kind of machine it is.

A kind (a container, a whole machine) brings execute() and write().
"""

import json

# A command that never ends would take the test with it.
COMMAND_SECONDS = 60

# What a person's shell would have, and nothing of the caller's.
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "TERM": "dumb",
    "SYSTEMD_PAGER": "",
    "SYSTEMD_COLORS": "0",
}


class BootError(Exception):
    """The machine did not come up; the text has its console."""


class CommandFailed(AssertionError):
    """A command on the machine ended otherwise than expected; the text has its output."""


class Host:
    """A machine by its commands."""

    def run(self, *command, timeout=COMMAND_SECONDS):
        """Runs a command that has to succeed, and returns what it printed."""
        done = self.execute(*command, timeout=timeout)
        if done.returncode != 0:
            output = (done.stdout + done.stderr).rstrip()
            raise CommandFailed(f"{' '.join(command)}: status {done.returncode}\n{output}")
        return done.stdout

    def journal(self, *options):
        """The journal's entries as dictionaries, oldest first."""
        self.run("journalctl", "--sync")
        lines = self.run("journalctl", "--no-pager", "--all", "--output=json", *options)
        return [json.loads(line) for line in lines.splitlines()]
