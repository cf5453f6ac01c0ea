#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# counts.sh [--workers 1,2,4] [--rounds 2] [--again FILE] [--sharing] [--help] - how many instructions Culvert's daemons take for a byte and for a request, with 1, 2 and
# 4 workers, counted in a guest (tests/guest) of one emulated processor. It counts and does not time, so the machine may be busy. With --sharing: which cache
# lines the workers share while data moves, and which locks they take (tests/lib/sharing.c).
#
# Installs what is missing, builds the release preset, and makes what guests boot once per machine. docs/performance.md says what is counted. Prints a table;
# counts.jsonl is in build/counts.
#
# Variables: CULVERT_BIN_DIR      programs that are built already, so that nothing is built here
#            CULVERT_SHARING_DIR  the same for --sharing's daemon
set -u

ROOT=$(cd "$(dirname "$0")/../.." && pwd) || exit 1

# build PRESET
build()
{
	local log

	"$ROOT/deploy/deps.sh" build test || exit 1
	log=$(mktemp)
	if ! { cd "$ROOT" && cmake --preset "$1" && cmake --build --preset "$1" -j "$(nproc)"; } > "$log" 2>&1; then
		tail -n 30 "$log" >&2
		echo "counts.sh: the build of $1 failed (the end of its log is above)" >&2
		rm -f "$log"
		exit 1
	fi
	rm -f "$log"
}

case " $* " in
*" -h "* | *" --help "* | *" --again "*) ;;
*)
	"$ROOT/deploy/deps.sh" guest || exit 1
	[ -n "${CULVERT_BIN_DIR:-}" ] || build release
	case " $* " in
	*" --sharing "*) [ -n "${CULVERT_SHARING_DIR:-}" ] || build sharing ;;
	esac
	;;
esac

cd "$ROOT" || exit 1
export CULVERT_BIN_DIR=${CULVERT_BIN_DIR:-$ROOT/build/release} PYTHONDONTWRITEBYTECODE=1
exec /usr/bin/python3 tests/bench/counts.py "$@"
