# SPDX-License-Identifier: Apache-2.0
"""What goes wrong: a file for each thing that does."""

from . import agents, clocks, collectors, disks, engines, fleet, hosts, links  # noqa: F401
