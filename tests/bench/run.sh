#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# run.sh [--quick] [--only WORD,...] [--help] - Culvert side by side with plain forwarding and with other tunnels, on two nodes in network namespaces.
#
# Installs what is missing, builds the release preset, and calls tests/bench/compare, which has the other options; docs/performance.md says what is measured
# and how. Prints a table; results.jsonl, table.md and chart.svg are in build/bench.
#
# Variables: CULVERT_BIN_DIR  programs that are built already, so that nothing is built here
#            WIREGUARD_GO     a wireguard-go; else its newest release is built into $CULVERT_CACHE where there is Go, else Debian's is taken
set -u

ROOT=$(cd "$(dirname "$0")/../.." && pwd) || exit 1
CACHE=${CULVERT_CACHE:-$HOME/.cache/culvert}
WIREGUARD_GO_VERSION=v0.0.0-20260522210424-ecfc5a8d5446

case " $* " in
*" -h "* | *" --help "*)
	sed -n '3,10s/^# \{0,1\}//p' "$0"
	echo
	;;
*" --list "* | *" --again "*) ;;
*)
	"$ROOT/deploy/deps.sh" bench || exit 1
	if [ -z "${CULVERT_BIN_DIR:-}" ]; then
		"$ROOT/deploy/deps.sh" build || exit 1
		log=$(mktemp)
		if ! { cd "$ROOT" && cmake --preset release && cmake --build --preset release -j "$(nproc)"; } > "$log" 2>&1; then
			tail -n 30 "$log" >&2
			echo "run.sh: the build failed (the end of its log is above)" >&2
			rm -f "$log"
			exit 1
		fi
		rm -f "$log"
	fi
	;;
esac

# Debian 12's is of 2022, and much slower than what one would use today.
if [ -z "${WIREGUARD_GO:-}" ] && [ ! -x "$CACHE/wireguard-go-$WIREGUARD_GO_VERSION/wireguard" ] && command -v go > /dev/null; then
	GOBIN=$CACHE/wireguard-go-$WIREGUARD_GO_VERSION go install "golang.zx2c4.com/wireguard@$WIREGUARD_GO_VERSION" 2> /dev/null ||
		echo "run.sh: wireguard-go $WIREGUARD_GO_VERSION could not be built" >&2
fi
if [ -z "${WIREGUARD_GO:-}" ] && [ -x "$CACHE/wireguard-go-$WIREGUARD_GO_VERSION/wireguard" ]; then
	export WIREGUARD_GO=$CACHE/wireguard-go-$WIREGUARD_GO_VERSION/wireguard
fi

cd "$ROOT" || exit 1
export CULVERT_BIN_DIR=${CULVERT_BIN_DIR:-$ROOT/build/release} PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$ROOT/tests/bench
exec /usr/bin/python3 -m compare "$@"
