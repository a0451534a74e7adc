#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# What a fleet costs the collector, on the loopback interface of this machine, as a table: CPU time for
# a message in all, in the collector's own threads and in libzmq's, messages a second, memory, and what
# was lost.
#
#   benches/load/run.sh [--sink] [--window S] [--scale PERCENT] [SCENARIO...]
#   benches/load/run.sh --idle CONNECTIONS [--window S]
#
# --sink has libzmq alone in the collector's place. --idle holds so many connections that say nothing, and
# tells what each of them costs. Compare only figures of one run on one machine.
set -euo pipefail
cd -- "$(dirname -- "$0")/../.."
cargo build --quiet --release --locked --bin metrics-collector
exec cargo bench --quiet --locked --bench load -- "$@"
