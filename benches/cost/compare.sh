#!/bin/bash
# What the agent costs a host, beside a loop in C that reads the same files and beside collectd
# with its encrypted network plugin: each in turn, one sample a second, several rounds, medians.
#
#   compare.sh [--window S] [--warmup S] [--rounds N] [--strace S] [--agent FILE] [--out DIR] [PROGRAM...]
#
# PROGRAM: loop, agent, collectd, collectd-1 (one reader and one writer thread); with all that a host
# has to tell, agent-all (as it comes) and collectd-all (plugins for the same); agent-2 and agent-all-2: with
# a collector that takes the second wire. All of them where none is named, without collectd where it is not installed. FILE is the release build by default.
#
# Figures compare only within one run on one machine, as ratios; below 15 % they differ by nothing.
# Needs a C compiler, python3 with pyzmq (PYTHON=... where it is not the default one), strace for the
# system calls, and for its network namespace root or unprivileged user namespaces.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
project=$(cd "$here/../.." && pwd)
window=60 warmup=5 rounds=3 strace=10 out=
agent=${CARGO_TARGET_DIR:-$project/target}/release/metrics-agent
tcp_port=5555 agent_port=5556 udp_port=25826

die() { echo "compare.sh: $*" >&2; exit 1; }

programs=()
while (($#)); do
	case $1 in
	--window | --warmup | --rounds | --strace | --agent | --out)
		(($# > 1)) || die "$1 wants a value"
		declare "${1#--}=$2"
		shift
		;;
	-h | --help) sed -n '2,/^set/{/^set/d; s/^# \{0,1\}//; p}' "$0"; exit ;;
	loop | agent | agent-2 | agent-all | agent-all-2 | collectd | collectd-1 | collectd-all) programs+=("$1") ;;
	*) die "no such program or option: $1; see --help" ;;
	esac
	shift
done
if ((!${#programs[@]})); then
	programs=(loop agent agent-2 agent-all agent-all-2)
	if command -v collectd >/dev/null; then programs+=(collectd collectd-1 collectd-all); fi
fi

# Nothing but one program and its peer talks on this loopback interface.
if [[ -z ${COMPARE_IN_NAMESPACE-} ]]; then
	out=${out:-$(mktemp -d)}
	mkdir -p "$out"
	out=$(cd "$out" && pwd)
	[[ -z $(find "$out" -mindepth 1 -print -quit) ]] || die "$out is not empty"
	agent=$(realpath -m "$agent")
	map=()
	((EUID == 0)) || map=(--map-root-user)
	exec unshare --net "${map[@]}" env COMPARE_IN_NAMESPACE=1 "$0" --window "$window" --warmup "$warmup" \
		--rounds "$rounds" --strace "$strace" --agent "$agent" --out "$out" "${programs[@]}"
fi
ip link set lo up

python=${PYTHON-}
for candidate in python3 /usr/bin/python3; do
	[[ -z $python ]] || break
	! "$candidate" -c 'import zmq' 2>/dev/null || python=$candidate
done
python=${python:-python3}

work=$out/work
mkdir "$work"
# Neither the journal nor a service manager is part of what is measured.
unset JOURNAL_STREAM NOTIFY_SOCKET WATCHDOG_USEC INVOCATION_ID

peer=
stop_peer() {
	[[ -z $peer ]] || { kill "$peer" 2>/dev/null && wait "$peer"; } || true
	peer=
}
trap stop_peer EXIT

# run NAME ROUND PEER-COMMAND... -- PROGRAM-COMMAND...
run() {
	local name=$1 round=$2 serve=()
	shift 2
	while [[ $1 != -- ]]; do serve+=("$1"); shift; done
	shift
	"$python" "${serve[@]}" >"$out/$name.$round.received" &
	peer=$!
	echo "round $round: $name" >&2
	sleep 1
	"$python" "$here/measure.py" --window "$window" --warmup "$warmup" --strace "$strace" \
		--log "$out/$name.$round.log" "$name" "$@" >"$work/result"
	stop_peer
	mv "$work/result" "$out/$name.$round.json"
}

prepare_loop() { "${CC:-cc}" -O2 -Wall -Wextra -o "$work/loop" "$here/loop.c"; }
run_loop() { run loop "$1" "$here/sink.py" tcp $tcp_port -- "$work/loop" 127.0.0.1 $tcp_port; }

# agent_configuration NAME LINE...
agent_configuration() {
	local name=$1
	shift
	[[ -x $agent ]] || die "$agent is not there: cargo build --release, or --agent FILE"
	if [[ ! -d $work/keys ]]; then
		"$python" "$here/peer.py" keys "$work/keys" || die "the agent's peer needs python3-zmq"
	fi
	mkdir "$work/$name.state"
	cat >"$work/$name.toml" <<-END
		[host]
		name = "bench"
		[collector.bench]
		endpoint = "tcp://127.0.0.1:$agent_port"
		public_key_file = "$work/keys/collector.key"
		[curve]
		secret_key_file = "$work/keys/agent.key_secret"
		[intervals]
		metrics = "1s"
		[dbus]
		bus = "none"
	END
	printf '%s\n' "$@" >>"$work/$name.toml"
}
# run_agent_as NAME ROUND HOW-OF-THE-PEER
run_agent_as() {
	run "$1" "$2" "$here/peer.py" "$3" "$work/keys" $agent_port -- \
		env STATE_DIRECTORY="$work/$1.state" "$agent" --config "$work/$1.toml"
}
few=('[metrics]' 'sources = ["uptime", "meminfo", "cpu"]')
prepare_agent() { agent_configuration agent "${few[@]}"; }
run_agent() { run_agent_as agent "$1" serve; }
prepare_agent-2() { agent_configuration agent-2 "${few[@]}"; }
run_agent-2() { run_agent_as agent-2 "$1" take; }
prepare_agent-all() { agent_configuration agent-all; }
run_agent-all() { run_agent_as agent-all "$1" serve; }
prepare_agent-all-2() { agent_configuration agent-all-2; }
run_agent-all-2() { run_agent_as agent-all-2 "$1" take; }

# The same families as the agent's: uptime, memory, swap, CPU over all cores.
collectd_configuration() {
	cat <<-END
		Hostname "bench"
		FQDNLookup false
		Interval 1
		BaseDir "$work"
		PIDFile "$work/collectd.pid"
		TypesDB "/usr/share/collectd/types.db"
		LoadPlugin uptime
		LoadPlugin memory
		LoadPlugin swap
		LoadPlugin cpu
		LoadPlugin network
		<Plugin cpu>
			ReportByCpu false
			ValuesPercentage true
		</Plugin>
		<Plugin network>
			<Server "127.0.0.1" "$udp_port">
				SecurityLevel Encrypt
				Username "bench"
				Password "bench"
			</Server>
		</Plugin>
	END
	printf '%s\n' "$@"
}
prepare_collectd() {
	command -v collectd >/dev/null || die "collectd is not installed"
	collectd_configuration >"$work/collectd.conf"
}
run_collectd() {
	run collectd "$1" "$here/sink.py" udp $udp_port -- collectd -f -C "$work/collectd.conf"
}
prepare_collectd-1() {
	command -v collectd >/dev/null || die "collectd is not installed"
	collectd_configuration "ReadThreads 1" "WriteThreads 1" >"$work/collectd-1.conf"
}
run_collectd-1() {
	run collectd-1 "$1" "$here/sink.py" udp $udp_port -- collectd -f -C "$work/collectd-1.conf"
}

# What collectd 5.12 has of the agent's full set: no pressure, no sockets by state, of the service
# manager only the CPU time of its cgroups.
prepare_collectd-all() {
	command -v collectd >/dev/null || die "collectd is not installed"
	local plugins=(load vmem contextswitch irq disk df interface protocols conntrack processes users
		cgroups thermal)
	collectd_configuration "${plugins[@]/#/LoadPlugin }" >"$work/collectd-all.conf"
}
run_collectd-all() {
	run collectd-all "$1" "$here/sink.py" udp $udp_port -- collectd -f -C "$work/collectd-all.conf"
}

for program in "${programs[@]}"; do "prepare_$program"; done
for ((round = 1; round <= rounds; round++)); do
	for program in "${programs[@]}"; do "run_$program" "$round"; done
done
"$python" "$here/table.py" "$out"
echo "All figures: $out" >&2
